"""Records for experiment trackers: `python -m bench.export --to tensorboard|mlflow|wandb [--results DIR]`.

A run of the tracker is a record: its configuration as parameters, its test metrics as mean, standard
deviation and each seed's value, its mean validation curve by steps. Trackers read what was kept; training
knows none of them. Everything stays on this machine: TensorBoard's and MLflow's files, and wandb's offline
runs, which `wandb sync` sends where its user wants them.

    tensorboard --logdir results/export/tensorboard
    MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri results/export/mlflow
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.command.main import main as run_command
from bench.errors import BenchError
from bench.records import store
from bench.records.record import Record, find_record


@dataclass(frozen=True)
class TrackedRun:
    """A record as trackers know runs. curves: name → (step, value) pairs."""

    name: str
    digest: str
    group: str
    parameters: dict[str, Any]
    metrics: dict[str, float]
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)


def tracked(record: Record) -> TrackedRun:
    """A record as a tracker's run.

    Raises:
        BenchError: its arrays are damaged.
    """
    protocol, dataset, method = record.cell
    groups = {"protocol": record.protocol, "dataset": record.dataset, "method": record.method}
    parameters = {
        f"{group}.{name}": value
        for group, fields in {**groups, "engine": record.engine}.items()
        for name, value in fields.items()
        if isinstance(value, str | int | float)
    }
    parameters |= {"seeds": len(record.seeds), "points": record.points, "sweep": record.sweep}
    metrics: dict[str, float] = {}
    for name in record.metrics:
        values = record.metric(name)
        metrics[f"test.{name}.mean"] = float(np.mean(list(values.values())))
        if len(values) > 1:
            metrics[f"test.{name}.std"] = float(np.std(list(values.values()), ddof=1))
        metrics |= {f"test.{name}.seed_{seed}": value for seed, value in values.items()}
    known = [value for value in record.validation.held_out if value is not None]
    if known:
        metrics["validation.held_out.mean"] = float(np.mean(known))
    steps, curves = record.curves()
    curve = []
    for place, step in enumerate(steps.tolist()):
        running = curves[:, place][np.isfinite(curves[:, place])]
        if len(running):  # the seeds that have not stopped
            curve.append((int(step), float(running.mean())))
    return TrackedRun(
        name=f"{method} on {dataset}, {protocol}",
        digest=record.digest,
        group=f"{protocol}/{dataset}",
        parameters=parameters,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        curves={"validation.auc": curve} if curve else {},
    )


# --- Trackers -------------------------------------------------------------------------------------------


def _to_tensorboard(runs: Sequence[TrackedRun], folder: Path) -> None:
    writer_of = _library("torch.utils.tensorboard", "tensorboard").SummaryWriter
    for run in runs:
        writer = writer_of(str(folder / run.group / f"{run.name.split()[0]}-{run.digest[:8]}"))
        writer.add_text("parameters", "\n".join(f"- {key}: {value}" for key, value in run.parameters.items()))
        for name, value in run.metrics.items():
            writer.add_scalar(name, value, 0)
        for name, step, value in _points(run):
            writer.add_scalar(name, value, step)
        writer.close()


def _to_mlflow(runs: Sequence[TrackedRun], folder: Path) -> None:
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # from version 3 on it asks for a database
    mlflow = _library("mlflow", "mlflow")
    mlflow.set_tracking_uri(folder.absolute().as_uri())
    for run in runs:
        mlflow.set_experiment(run.group.replace("/", " "))
        with mlflow.start_run(run_name=run.name, tags={"digest": run.digest}):
            mlflow.log_params(run.parameters)
            mlflow.log_metrics(run.metrics)
            for name, step, value in _points(run):
                mlflow.log_metric(name, value, step=step)


def _to_wandb(runs: Sequence[TrackedRun], folder: Path) -> None:
    wandb = _library("wandb", "wandb")
    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        with wandb.init(
            project="ultd-bench",
            mode="offline",
            dir=str(folder),
            name=run.name,
            group=run.group,
            config={**run.parameters, "digest": run.digest},
            settings=wandb.Settings(silent=True),
        ) as begun:
            for name, step, value in _points(run):
                begun.log({name: value}, step=step)
            begun.summary.update(run.metrics)


TRACKERS: Mapping[str, Callable[[Sequence[TrackedRun], Path], None]] = {
    "tensorboard": _to_tensorboard,
    "mlflow": _to_mlflow,
    "wandb": _to_wandb,
}


def _library(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BenchError(
            f"--to {extra} needs a package that is not installed: pip install -e '.[{extra}]'."
        ) from error


def _points(run: TrackedRun) -> Iterator[tuple[str, int, float]]:
    for name, curve in run.curves.items():
        yield from ((name, step, value) for step, value in curve)


# --- Command line ---------------------------------------------------------------------------------------


def export(results: Path, to: str, folder: Path) -> int:
    """Hands the records of a results folder to a tracker; returns how many.

    Raises:
        BenchError: there are none, the tracker is not installed, or its folder cannot be written.
    """
    runs = results / "runs"
    found = [find_record(runs, digest, print) for digest in store.digests(runs)]
    records = [record for record in found if record is not None]
    if not records:
        raise BenchError(f"There is no record in {runs}: train a cell first, or name its --results.")
    try:
        TRACKERS[to]([tracked(record) for record in records], folder)
    except OSError as error:
        raise BenchError(f"{folder} cannot be written: {error.strerror or error}.") from error
    return len(records)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.export", description="Hands records to an experiment tracker, offline."
    )
    parser.add_argument("--to", required=True, choices=list(TRACKERS))
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="DIR", help="by default RESULTS/export/TRACKER")

    def work(given: argparse.Namespace) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        folder = given.out or given.results / "export" / given.to
        n = export(given.results, given.to, folder)
        print(f"{n} record{'' if n == 1 else 's'} → {folder}")

    return run_command(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
