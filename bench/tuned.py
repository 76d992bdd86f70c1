"""What sweeps found, for others to start from: `python -m bench.tuned [--results DIR]`.

Reads the records of swept cells and writes, for each protocol, data set and method,
`conf/tuned/PROTOCOL/DATASET/METHOD.yaml` (the winner, from which `make table1` starts) and
`results/sweep/PROTOCOL/DATASET/METHOD.csv` (every point tried, with its mean validation AUC).
Where a cell was swept several times, the record with the most points counts, then the latest.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import store
from bench.errors import BenchError

CONF = Path(__file__).resolve().parents[1] / "conf" / "tuned"


def swept(runs: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The record of each cell that chose among several points: (protocol, data set, method) → record.

    Raises:
        BenchError: the store cannot be read.
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for digest in store.digests(runs):
        record = store.find(runs, digest, report=lambda sentence: print(sentence, file=sys.stderr))
        if record is None or len(record["tried"]) < 2 or record["selection"] != "validation_auc":
            continue
        key = (record["protocol"]["name"], record["dataset"]["name"], record["method"]["name"])
        if key not in found or _rank(record) > _rank(found[key]):
            found[key] = {**record, "digest": digest}
    return found


def _rank(record: dict[str, Any]) -> tuple[int, str]:
    return len(record["tried"]), record["provenance"]["finished"]


def configuration(record: dict[str, Any]) -> str:
    """The YAML of a winner; it holds for the whole configuration, so that it can set the sweep too."""
    grid = " ".join(f"grid.{name}={_list(values)}" for name, values in record["grid"].items())
    names = {key: record[key]["name"] for key in ("protocol", "dataset", "method")}
    command = " ".join(f"{key}={name}" for key, name in names.items())
    validation = _mean(record["validation"]["auc"])
    lines = [
        "# @package _global_",
        f"# Mean validation AUC {validation:.4f} over {len(record['seeds'])} seeds, "
        f"the best of {len(record['tried'])} points. Found by:",
        f"#   python -m bench {command} sweep=none {grid}",
        "# and written by `python -m bench.tuned`.",
        "sweep: {shared: none, own: false}",
        f"tuned_points: {len(record['tried'])}",
        "method:",
        *(f"  {name}: {_plain(value)}" for name, value in record["selected"].items()),
    ]
    return "\n".join(lines) + "\n"


def points(record: dict[str, Any]) -> list[list[str]]:
    """The lines of a sweep's CSV, its header first."""
    names = list(record["grid"])
    rows = [
        [
            *(_plain(each["point"][name]) for name in names),
            str(each["seeds"]),
            "" if each["validation_auc"] is None else f"{each['validation_auc']:.6f}",
        ]
        for each in record["tried"]
    ]
    return [[*names, "seeds", "validation_auc"], *rows]


def _plain(value: Any) -> str:
    # YAML reads 1e-05 as a string; a float with a point it reads as a number.
    return f"{value:.12f}".rstrip("0").rstrip(".") or "0" if isinstance(value, float) else str(value)


def _list(values: Sequence[Any]) -> str:
    return "[" + ",".join(_plain(value) for value in values) + "]"


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
        found = swept(given.results / "runs")
        for (protocol, dataset, method), record in sorted(found.items()):
            write(given.conf / protocol / dataset / f"{method}.yaml", configuration(record))
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(points(record))
            write(given.sweeps / protocol / dataset / f"{method}.csv", text.getvalue())
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(found)} winners written to {given.conf}, their sweeps to {given.sweeps}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
