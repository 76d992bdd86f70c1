"""Table 1: `python -m bench.reproduce [OVERRIDE ...]` trains what is missing of it and writes the table.

The cells are all rows of the registry on all data sets, under protocol `table`, and on the data sets
of stars under protocol `text` too (elsewhere the two are the same). A cell takes its tuned
configuration from `conf/tuned/PROTOCOL/DATASET/METHOD.yaml` where there is one and is swept over the
default grid where there is none. Overrides hold for every cell.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import methods
from bench import cell as cells
from bench import compose, data, store, table
from bench.__main__ import Bar, summary
from bench.config import Config
from bench.data import Ratings
from bench.errors import BenchError, MissingData, NotApplicable, nearest

DATASETS = ("coat", "yahoo_r3", "kuairec", "synthetic")  # in the table's order
PROTOCOLS = ("table", "text")
REFERENCE = "mf"  # the row that the others are tested against


@dataclass(frozen=True)
class Plan:
    """What to reproduce."""

    protocols: tuple[str, ...]
    datasets: tuple[str, ...]
    rows: tuple[str, ...]
    overrides: tuple[str, ...]


def run(plan: Plan) -> tuple[list[dict[str, Any]], list[str]]:
    """Trains every cell of the plan that has no record.

    Returns:
        the cells as `cells.json` lists them, and a sentence for each that failed.
    """
    listed: list[dict[str, Any]] = []
    failures: list[str] = []
    implemented = set(methods.names())
    for protocol in plan.protocols:
        for dataset in plan.datasets:
            config = _compose(plan, protocol, dataset, next(iter(implemented)))
            ratings, why = _ratings(config)
            if why is None and not _applies(plan, protocol, dataset, config):
                why = (
                    f"On {config.dataset.title} this protocol is the same as protocol `{plan.protocols[0]}`."
                )
            if why is not None:
                print(f"{dataset}, protocol {protocol}: {why}", flush=True)
            for method in plan.rows:
                entry: dict[str, Any] = {"protocol": protocol, "dataset": dataset, "method": method}
                listed.append({**entry, "cell": None, "missing": why})
                if ratings is None or why is not None or method not in implemented:
                    continue
                try:
                    listed[-1]["cell"] = _cell(_compose(plan, protocol, dataset, method), ratings)
                except NotApplicable as error:
                    listed[-1]["missing"] = str(error)
                except BenchError as error:
                    listed[-1]["missing"] = str(error)
                    failures.append(f"{method} on {dataset}, protocol {protocol}: {error}")
                    print(failures[-1], file=sys.stderr, flush=True)
    return listed, failures


def _compose(plan: Plan, protocol: str, dataset: str, method: str) -> Config:
    tuned = f"{protocol}/{dataset}/{method}"
    overrides = [f"protocol={protocol}", f"dataset={dataset}", f"method={method}"]
    if (compose.CONF / "tuned" / f"{tuned}.yaml").is_file():
        overrides.append(f"+tuned={tuned}")
    return compose.composed([*overrides, *plan.overrides])


def _ratings(config: Config) -> tuple[Ratings | None, str | None]:
    """The ratings, or the sentence that gets them."""
    try:
        return cells.load(config), None
    except MissingData as error:
        return None, str(error)


def _applies(plan: Plan, protocol: str, dataset: str, config: Config) -> bool:
    """Whether a protocol measures something else on a data set than the plan's first one."""
    first = plan.protocols[0]
    if protocol == first:
        return True
    return config.dataset.threshold != _compose(plan, first, dataset, REFERENCE).dataset.threshold


def _cell(config: Config, ratings: Ratings) -> str:
    """The digest of the cell's record, trained if it is not there."""
    runs = Path(config.results) / "runs"
    cell = cells.prepare(config, ratings)
    name = f"{cell.method} on {cell.dataset.name}, protocol {cell.protocol.name}"
    if store.find(runs, cell.digest, report=lambda sentence: print(sentence, file=sys.stderr)) is None:
        started = time.time()
        with Bar(name) as bar:
            record = cells.run(cell, runs, bar)
        print(summary(name, record, runs / cell.digest))
        print(f"  time      {time.time() - started:.0f} s", flush=True)
    return cell.digest


def rows(plan: Plan) -> list[dict[str, Any]]:
    """What the table prints about its rows."""
    implemented = set(methods.names())
    described = []
    for key in plan.rows:
        kind = methods.get(key) if key in implemented else None
        described.append(
            {
                "method": key,
                "title": key if kind is None else kind.title,
                "uses_unbiased": None if kind is None else kind.uses_unbiased,
                "control": key in methods.CONTROLS if kind is None else kind.control,
                "implemented": kind is not None,
            }
        )
    return described


def write_list(results: Path, plan: Plan, listed: list[dict[str, Any]]) -> None:
    """Writes `cells.json`, from which `bench.table` makes the table.

    Raises:
        BenchError: the folder cannot be written.
    """
    described = []
    for name in plan.datasets:
        config = _compose(plan, plan.protocols[0], name, REFERENCE).dataset
        described.append({"dataset": name, "title": config.title, "k": config.k})
    document = {
        "protocols": list(plan.protocols),
        "datasets": described,
        "rows": rows(plan),
        "reference": REFERENCE,
        "cells": listed,
    }
    file = results / "table1" / "cells.json"
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, file)
    except OSError as error:
        raise BenchError(f"{file} cannot be written: {error.strerror or error}.") from error


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
        )
        results = Path(_compose(plan, plan.protocols[0], plan.datasets[0], REFERENCE).results)
        store.clean(results / "runs")
        listed, failures = run(plan)
        write_list(results, plan, listed)
        for file in table.write(results):
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
