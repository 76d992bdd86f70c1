"""What sweeps found, for others to start from: `python -m bench.tuned [--results DIR]`.

Reads the records of swept cells and writes, for each protocol, data set and method,
`conf/tuned/PROTOCOL/DATASET/METHOD.yaml` (the winner, from which `make table1` starts) and
`results/sweep/PROTOCOL/DATASET/METHOD.csv` (every training of the sweep: stage, point, seed, validation AUC,
epoch of the kept parameters, seconds). Where a cell was swept several times, the record with the most
points counts, then the latest. A point that is missing, because it diverged, is named. A record that was
made with another data set or protocol than the files of `conf/` describe (`dataset.positive_boost=2`) is no
sweep of theirs, and is passed over.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

import methods
from bench import compose
from bench.errors import BenchError
from bench.records import store

CONF = Path(__file__).resolve().parents[1] / "conf" / "tuned"


def swept(runs: Path, conf: Path = CONF) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The record of each cell that chose among several points: (protocol, data set, method) → record.

    Raises:
        BenchError: the store cannot be read.
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for digest in store.digests(runs):
        record = store.find(runs, digest, report=lambda sentence: print(sentence, file=sys.stderr))
        if record is None or len(record["tried"]) < 2 or record["selection"] == "oracle_test":
            continue
        key = (record["protocol"]["name"], record["dataset"]["name"], record["method"]["name"])
        if "plan" not in record or any(_differs(record, each, conf) for each in ("protocol", "dataset")):
            continue
        if key not in found or _rank(record) > _rank(found[key]):
            found[key] = {**record, "digest": digest}
    return found


# How much is tried on a data set, not what it is.
_BUDGET = {"screening_seeds", "selection_seeds", "untuned_sweep"}


def _differs(record: dict[str, Any], group: str, conf: Path) -> bool:
    """Whether a record's protocol or data set has other values than its file in `conf/` (lists aside)."""
    file = conf.parent / group / f"{record[group]['name']}.yaml"
    if not file.is_file():
        return False
    given: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    plain = {name: value for name, value in given.items() if isinstance(value, int | float | bool)}
    return any(record[group].get(name) != value for name, value in plain.items() if name not in _BUDGET)


def _rank(record: dict[str, Any]) -> tuple[int, str]:
    return len(record["tried"]), record["provenance"]["finished"]


def configuration(record: dict[str, Any]) -> str:
    """The YAML of a winner; it holds for the whole configuration, so that it can set the sweep too."""
    stages = ", ".join(
        f"{stage['name']} {stage['tried']} × {stage['seeds']} seeds" for stage in record["plan"]
    )
    mean = _mean(record["validation"]["auc"])
    lines = [
        "# @package _global_",
        f"# Mean validation AUC {mean:.4f} over {len(record['seeds'])} seeds; the first of "
        f"{len(record['tried'])} points",
        f"# by {record['selection']} ({stages}). Found by:",
        f"#   {_command(record)}",
        *(f"# {sentence}" for sentence in gaps(record)),
        "# and written by `python -m bench.tuned`.",
        "sweep: {name: none, stages: []}",
        f"tuned_points: {len(record['tried'])}",
        "method:",
        *(f"  {name}: {_plain(value)}" for name, value in (given(record) | record["selected"]).items()),
    ]
    return "\n".join(lines) + "\n"


def given(record: dict[str, Any]) -> dict[str, Any]:
    """The method's fields that a sweep left alone at another value than the files of `conf/` give them.

    They came with its command line (`method.loss=mse`, `+tuned=...`), and the winner is none without them.
    """
    key = record["method"]["name"]
    if key not in methods.names():
        return {}  # a method from a file of its own, whose defaults are not in `conf/`
    compose.register()
    names = (f"{group}={record[group]['name']}" for group in ("protocol", "dataset", "method"))
    default = vars(compose.composed(list(names)).method)
    own = {name: value for name, value in record["method"].items() if name in default and name != "name"}
    return {
        name: value
        for name, value in own.items()
        if value != default[name] and name not in record["selected"]
    }


def _command(record: dict[str, Any]) -> str:
    names = {key: record[key]["name"] for key in ("protocol", "dataset", "method")}
    default = " ".join(["python -m bench", *(f"{key}={name}" for key, name in names.items())])
    return record["provenance"]["command"] or f"{default} sweep={record['sweep']}"


def gaps(record: dict[str, Any]) -> list[str]:
    """Sentences about what is missing from a sweep."""
    found = []
    lost = {tuple(each["point"].values()) for each in record["tried"] if each["validation_auc"] is None}
    if lost:
        found.append(f"{len(lost)} of {len(record['tried'])} points have no mean: a training diverged.")
    for stage in record["plan"]:
        if stage["points"] and stage["tried"] < stage["points"]:
            found.append(
                f"Stage {stage['name']} tried {stage['tried']} of {stage['points']} points: the lists have "
                "no more."
            )
    return found


def points(record: dict[str, Any], arrays: dict[str, Any]) -> list[list[str]]:
    """The lines of a sweep's CSV, its header first: one for each training."""
    names = list(record["grid"])
    stages = [stage["name"] for stage in record["plan"]]
    rows = []
    for number, place in enumerate(arrays["trial_point"]):
        point = record["tried"][place]["point"]
        batch_size = point.get("batch_size", record["method"]["batch_size"])
        steps_per_epoch = -(-record["counts"]["biased"] // batch_size)
        auc = float(arrays["trial_auc"][number])
        held_out = float(arrays["trial_held_out"][number])
        rows.append(
            [
                stages[arrays["trial_stage"][number]],
                *(_plain(point[name]) for name in names),
                str(arrays["trial_seed"][number]),
                f"{auc:.6f}" if auc == auc else "",
                f"{held_out:.6f}" if held_out == held_out else "",
                f"{arrays['trial_step'][number] / steps_per_epoch:.2f}",
                f"{arrays['trial_seconds'][number]:.2f}",
            ]
        )
    header = ["stage", *names, "seed", "validation_auc", "held_out_auc", "epoch", "seconds"]
    return [header, *rows]


def _plain(value: Any) -> str:
    # YAML reads 1e-05 as a string; a float with a point it reads as a number.
    return f"{value:.12f}".rstrip("0").rstrip(".") or "0" if isinstance(value, float) else str(value)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def write(file: Path, text: str) -> None:
    """Writes a file whole or not at all.

    Raises:
        BenchError: it cannot be written.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, file)
    except OSError as error:
        raise BenchError(f"{file} cannot be written: {error.strerror or error}.") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    import io

    parser = argparse.ArgumentParser(
        prog="python -m bench.tuned", description="Writes the winners and the points of all sweeps."
    )
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--sweeps", type=Path, default=Path("results/sweep"), metavar="DIR")
    parser.add_argument("--conf", type=Path, default=CONF, metavar="DIR")
    given = parser.parse_args(arguments)
    try:
        found = swept(given.results / "runs", given.conf)
        for (protocol, dataset, method), record in sorted(found.items()):
            write(given.conf / protocol / dataset / f"{method}.yaml", configuration(record))
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(
                points(record, store.read_arrays(given.results / "runs", record["digest"]))
            )
            write(given.sweeps / protocol / dataset / f"{method}.csv", text.getvalue())
            for sentence in gaps(record):
                print(f"{method} on {dataset}, protocol {protocol}: {sentence}")
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(found)} winners written to {given.conf}, their sweeps to {given.sweeps}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
