"""Table 1: `python -m bench.reproduce [OVERRIDE ...]` trains what is missing of it and writes the table.

The cells are all rows of the registry on all data sets, under protocol `table`, and on the data sets
of stars under protocol `text` too (elsewhere the two are the same). A cell takes its tuned
configuration from `conf/tuned/PROTOCOL/DATASET/METHOD.yaml` where there is one, else from the same place
under the other protocol. Where there is none at all it is swept over the default grid, or, on the large
data sets, takes the default settings (`dataset.untuned_sweep`). Overrides hold for every cell. Coat's
cells have 20 seeds, the others the configuration's 10.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import joblib
from tqdm import tqdm

import methods
from bench import cell as cells
from bench import compose, data, tuned
from bench.command.progress import Bar, summary
from bench.config import Config
from bench.data import Ratings
from bench.engine.device import device_of
from bench.errors import BenchError, MissingData, NotApplicable, nearest
from bench.files import write_all
from bench.records import store
from bench.report import page_files
from bench.table import files, load_results
from bench.table.manifest import Dataset, Listed, Manifest, Row

DATASETS = ("coat", "yahoo_r3", "kuairec", "synthetic")  # in the table's order
PROTOCOLS = ("table", "text")
REFERENCE = "mf"  # the row that the others are tested against
SEEDS = {"coat": 20}  # final runs where the configuration's number is too few: small test sets, cheap cells


@dataclass(frozen=True)
class Plan:
    """What to reproduce."""

    protocols: tuple[str, ...]
    datasets: tuple[str, ...]
    rows: tuple[str, ...]
    overrides: tuple[str, ...]
    deadline: float = math.inf  # no cell is begun after this time


@dataclass(frozen=True)
class Task:
    """One cell to look up or to train.

    overrides: of the configuration, its groups included. deadline: time after which it is not begun.
    """

    protocol: str
    dataset: str
    method: str
    overrides: tuple[str, ...]
    deadline: float


@dataclass(frozen=True)
class Answer:
    """What came of a task: the record's digest, or why there is none (`failed`: for no good reason)."""

    digest: str | None
    missing: str | None = None
    failed: bool = False
    said: str = ""  # for the terminal


def run(plan: Plan, jobs: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Trains every cell of the plan that has no record, `jobs` at a time.

    Returns:
        the cells as `cells.json` lists them, and a sentence for each that failed.
    """
    listed: list[dict[str, Any]] = []
    waiting: list[tuple[int, Task]] = []  # place in `listed`
    for protocol in plan.protocols:
        for dataset in plan.datasets:
            why = _absent(plan, protocol, dataset)
            if why is not None:
                print(f"{dataset}, protocol {protocol}: {why}", flush=True)
            for method in plan.rows:
                entry = {"protocol": protocol, "dataset": dataset, "method": method}
                listed.append({**entry, "cell": None, "missing": why})
                if why is None:
                    overrides = _overrides(plan, protocol, dataset, method)
                    task = Task(protocol, dataset, method, overrides, plan.deadline)
                    answer = look_up(task)
                    if answer is None:
                        waiting.append((len(listed) - 1, task))
                    else:
                        listed[-1].update(cell=answer.digest, missing=answer.missing)

    failures: list[str] = []
    if waiting:
        print(f"{len(waiting)} cells are to be trained, {min(jobs, len(waiting))} at a time.", flush=True)
    for place, answer in _train_all(waiting, min(jobs, len(waiting)), plan.overrides):
        listed[place].update(cell=answer.digest, missing=answer.missing)
        if answer.failed:
            entry = listed[place]
            failures.append(f"{entry['method']} on {entry['dataset']}: {answer.missing}")
    return listed, failures


def _train_all(
    waiting: list[tuple[int, Task]], jobs: int, overrides: tuple[str, ...]
) -> Iterator[tuple[int, Answer]]:
    """The tasks' places and answers, as they come."""
    work = (joblib.delayed(_numbered)(place, task, overrides, jobs <= 1) for place, task in waiting)
    # Each process is given cores of its own: one thread trains as fast as two (`make speed`).
    answers = joblib.Parallel(n_jobs=max(jobs, 1), return_as="generator_unordered", batch_size=1)(work)
    bar = tqdm(total=len(waiting), desc="cells", unit="cell", disable=None if jobs > 1 else True)
    for place, answer in answers:
        bar.update()
        if answer.said:
            tqdm.write(answer.said, file=sys.stderr if answer.failed else sys.stdout)
        yield place, answer
    bar.close()


def _numbered(place: int, task: Task, overrides: tuple[str, ...], show: bool) -> tuple[int, Answer]:
    """One task in a worker process."""
    compose.register(overrides)
    return place, train(task, show)


def look_up(task: Task) -> Answer | None:
    """The answer to a task, if it is there without training."""
    try:
        config = compose.composed(task.overrides)
        cell = cells.prepare(config, _load(config))
    except BenchError as error:
        return Answer(None, str(error), failed=True)
    runs = Path(config.results) / "runs"
    found = store.find(runs, cell.digest, report=lambda sentence: print(sentence, file=sys.stderr))
    return None if found is None else Answer(cell.digest)


def train(task: Task, show: bool) -> Answer:
    """Trains a cell; `show`: with a bar of its own."""
    name = f"{task.method} on {task.dataset}, protocol {task.protocol}"
    started = time.time()
    if started > task.deadline:
        return Answer(None, "Not trained yet: the time was up; `make table1` goes on.")
    try:
        config = compose.composed(task.overrides)
        cell = cells.prepare(config, _load(config), task.overrides)
        runs = Path(config.results) / "runs"
        with Bar(name, show) as bar:
            record = cells.run(cell, runs, bar)
    except NotApplicable as error:
        return Answer(None, str(error))
    except BenchError as error:
        return Answer(None, str(error), failed=True, said=f"{name}: {error}")
    seconds = f"  time      {time.time() - started:.0f} s"
    return Answer(cell.digest, said=f"{summary(name, record, runs / cell.digest)}\n{seconds}")


_loaded: dict[str, Ratings] = {}


def _load(config: Config) -> Ratings:
    """The ratings, read once in each process."""
    key = repr((config.data_dir, config.dataset))
    if key not in _loaded:
        _loaded[key] = cells.load(config)
    return _loaded[key]


def _absent(plan: Plan, protocol: str, dataset: str) -> str | None:
    """Why a protocol has no cells on a data set, if it has none."""
    config = compose.composed(_overrides(plan, protocol, dataset, REFERENCE))
    try:
        _load(config)
    except MissingData as error:
        return _anywhere(str(error), Path(config.data_dir))
    first = plan.protocols[0]
    if protocol != first:
        other = compose.composed(_overrides(plan, first, dataset, REFERENCE))
        if config.dataset.threshold == other.dataset.threshold:
            return f"On {config.dataset.title} this protocol is the same as protocol `{first}`."
    return None


def _anywhere(sentence: str, data_dir: Path) -> str:
    """A sentence without the place of the data on this machine: the table is for everybody."""
    return re.sub(rf"(?<![\w./-]){re.escape(str(data_dir))}(?=/)", "the data folder", sentence)


def _overrides(plan: Plan, protocol: str, dataset: str, method: str) -> tuple[str, ...]:
    groups = [f"protocol={protocol}", f"dataset={dataset}", f"method={method}"]
    found = tuned.places(method, dataset, (protocol, *PROTOCOLS))
    choice = f"+tuned={found[0]}" if found else f"sweep={_untuned_sweep(dataset)}"
    told = any(word.lstrip("+").startswith(("seeds=", "profile=")) for word in plan.overrides)
    seeds = [f"seeds={SEEDS[dataset]}"] if dataset in SEEDS and not told else []
    return (*groups, choice, *seeds, *plan.overrides)


@cache
def _untuned_sweep(dataset: str) -> str:
    return compose.composed([f"dataset={dataset}"]).dataset.untuned_sweep


def rows(plan: Plan) -> list[Row]:
    """What the table prints about its rows."""
    described = []
    for key in plan.rows:
        kind = methods.get(key)
        described.append(
            Row(
                method=key,
                title=kind.title,
                uses_unbiased=kind.uses_unbiased,
                control=methods.is_control(key),
                # What the table calls the best baseline is one of the paper's, not its own method.
                baseline=key in methods.ROWS and key not in methods.OWN,
                guest=key not in methods.ROWS and not methods.is_control(key),
            )
        )
    return described


def write_list(results: Path, plan: Plan, listed: list[dict[str, Any]]) -> None:
    """Writes `cells.json`, from which `bench.table` makes the table.

    Raises:
        BenchError: the folder cannot be written.
    """
    datasets = []
    for name in plan.datasets:
        config = compose.composed(_overrides(plan, plan.protocols[0], name, REFERENCE)).dataset
        datasets.append(Dataset(dataset=name, title=config.title, k=config.k))
    manifest = Manifest(
        protocols=list(plan.protocols),
        datasets=datasets,
        rows=rows(plan),
        reference=REFERENCE,
        cells={
            (entry["protocol"], entry["dataset"], entry["method"]): Listed(entry["cell"], entry["missing"])
            for entry in listed
        },
    )
    manifest.write(results / "table1")


def _chosen(given: str, known: Sequence[str], what: str) -> tuple[str, ...]:
    if not given:
        return tuple(known)
    names = given.split(",")
    for name in names:
        if name not in known:
            raise BenchError(f"There is no {what} '{name}': {nearest(name, known)}")
    return tuple(name for name in known if name in names)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.reproduce", description="Trains what is missing of Table 1, and writes it."
    )
    parser.add_argument("--protocols", default="", help=f"some of {','.join(PROTOCOLS)}")
    parser.add_argument("--datasets", default="", help=f"some of {','.join(DATASETS)}")
    parser.add_argument("--methods", default="", help="some of the rows' keys")
    parser.add_argument("--jobs", type=int, default=0, help="cells trained at once; 0: one for each core")
    parser.add_argument("--minutes", type=float, help="begin no cell after so many minutes")
    parser.add_argument("overrides", nargs="*", help="of the configuration, for every cell: seeds=20")
    given = parser.parse_args(arguments)
    try:
        compose.register(given.overrides)
        known = methods.rows() + [key for key in methods.names() if key not in methods.rows()]
        plan = Plan(
            protocols=_chosen(given.protocols, PROTOCOLS, "protocol"),
            datasets=_chosen(
                given.datasets, [*DATASETS, *sorted(set(data.names()) - set(DATASETS))], "data set"
            ),
            rows=_chosen(given.methods, known, "method"),
            overrides=tuple(given.overrides),
            deadline=math.inf if given.minutes is None else time.time() + 60 * given.minutes,
        )
        some = compose.composed(_overrides(plan, plan.protocols[0], plan.datasets[0], REFERENCE))
        results = Path(some.results)
        store.clean(results / "runs")
        jobs = given.jobs or (1 if device_of(some.engine).type == "cuda" else os.cpu_count() or 1)
        listed, failures = run(plan, jobs)
        write_list(results, plan, listed)
        numbers = load_results(results)
        texts = {**files(numbers), **page_files(numbers, results)}
        for file in write_all(results / "table1", texts):
            print(file)
        n = sum(entry["cell"] is not None for entry in listed)
        print(f"{n} of {len(listed)} cells are filled; the table names the reason of every other.")
        if failures:
            print(f"{len(failures)} cells failed; their sentences stand above.", file=sys.stderr)
        return 1 if failures else 0
    except BenchError as error:
        if os.environ.get("BENCH_DEBUG") == "1":
            raise
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; finished cells are kept, and the same command goes on from them.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
