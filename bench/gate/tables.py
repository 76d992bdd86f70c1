"""The gate's files: a table with its seeds and its costs beside it, written and read here alone.

`NAME.csv` is of the form of `table1.csv`, `NAME_seeds.csv` of `seeds.csv` (`bench/table/files.py` makes both,
and every column of them is kept); `NAME_cost.csv` says what each cell took. Needs neither torch nor data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.files import read_csv, write_csv
from bench.records.metric import METRICS

_CELL = ("protocol", "dataset", "method")
_LINE = (*_CELL, "metric", "k", "no_positive")  # the columns that are read, of more
_TABLE = (*_LINE, "mean", "std", "n")
_SEEDS = (*_CELL, "metric", "no_positive", "seed", "value")
_COST = ("wall_seconds", "cpu_seconds", "peak_memory_mib")

LineKey = tuple[str, str, str, str, str, str]  # protocol, data set, method, metric, k, no_positive
SeedsKey = tuple[str, str, str, str, str]  # the same without k
SeedValues = dict[SeedsKey, dict[str, float]]  # → seed → value
CellName = tuple[str, str, str]  # protocol, data set, method


@dataclass(frozen=True)
class Mean:
    """A line's mean over seeds and the mean's standard error, 0 where there is one seed."""

    value: float
    error: float


@dataclass(frozen=True)
class Cost:
    """What a cell took. Memory is the peak of its process, which may have trained others before."""

    wall_seconds: float
    cpu_seconds: float
    peak_memory_mib: float


# --- Places -------------------------------------------------------------------------------------------


def seeds_file(table: Path) -> Path:
    """Where the seeds' values behind a table stand."""
    return table.with_name(f"{table.stem}_seeds.csv")


def cost_file(table: Path) -> Path:
    """Where the cost of a table's cells stands."""
    return table.with_name(f"{table.stem}_cost.csv")


# --- Reading ------------------------------------------------------------------------------------------


def read_table(file: Path) -> dict[LineKey, Mean | None]:
    """Reads a table; a line without numbers has None.

    Raises:
        BenchError: the file is absent, no table of this form, names a line twice, or holds a metric of
            unknown direction or something else than numbers.
    """
    found: dict[LineKey, Mean | None] = {}
    for number, row in _rows(file, _TABLE):
        protocol, dataset, method, metric, k, no_positive, mean, std, n = (row[name] for name in _TABLE)
        key = (protocol, dataset, method, metric, k, no_positive)
        if metric not in METRICS:
            raise BenchError(
                f"{file}, line {number}: metric is {metric!r}, but the gate knows {', '.join(METRICS)} only."
            )
        if key in found:
            raise BenchError(
                f"{file}, line {number}: {' '.join(filter(None, key))} is there twice; keep one."
            )
        if not mean:
            found[key] = None
            continue
        seeds = _number(file, number, "n", n)
        if seeds < 1:
            raise BenchError(f"{file}, line {number}: n is {n}, but a mean needs at least one seed.")
        spread = _number(file, number, "std", std) if std else 0.0
        found[key] = Mean(_number(file, number, "mean", mean), abs(spread) / math.sqrt(seeds))
    return found


def read_seeds(file: Path) -> SeedValues:
    """Reads the seeds' values.

    Raises:
        BenchError: the file is absent, lacks a column or holds something else than numbers.
    """
    found: SeedValues = {}
    for number, row in _rows(file, _SEEDS):
        protocol, dataset, method, metric, no_positive, seed, value = (row[name] for name in _SEEDS)
        values = found.setdefault((protocol, dataset, method, metric, no_positive), {})
        values[seed] = _number(file, number, "value", value)
    return found


def read_costs(file: Path) -> dict[CellName, Cost]:
    """Reads what cells took.

    Raises:
        BenchError: the file is absent, lacks a column or holds something else than numbers.
    """
    found: dict[CellName, Cost] = {}
    for number, row in _rows(file, (*_CELL, *_COST)):
        protocol, dataset, method = (row[name] for name in _CELL)
        found[protocol, dataset, method] = Cost(*(_number(file, number, name, row[name]) for name in _COST))
    return found


def read_digests(file: Path) -> dict[CellName, str]:
    """The records behind a table's cells, those without one left out.

    Raises:
        BenchError: the file is absent or no table of this form.
    """
    rows = [row for _, row in _rows(file, (*_CELL, "cell"))]
    return {(row["protocol"], row["dataset"], row["method"]): row["cell"] for row in rows if row["cell"]}


def _rows(file: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """The lines of a file with their numbers."""
    rows = read_csv(file, columns)
    if not rows:
        raise BenchError(f"{file} has no lines below its header.")
    return list(enumerate(rows, 2))


def _number(file: Path, line: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BenchError(f"{file}, line {line}: {name} is {text!r}, but a number is expected.")
    return value


# --- Writing ------------------------------------------------------------------------------------------


def write_costs(file: Path, costs: Mapping[CellName, Cost]) -> Path:
    """Writes what cells took, whole or not at all.

    Raises:
        BenchError: it cannot be written.
    """
    rows = ([*cell, *map(str, astuple(cost))] for cell, cost in costs.items())
    return write_csv(file, (*_CELL, *_COST), rows)


def replace_baseline(baseline: Path, table: Path) -> list[str]:
    """Puts a table, its seeds and its costs in the place of the baseline.

    Returns:
        the data sets whose lines were kept, because the new table has no numbers of them.

    Raises:
        BenchError: a file cannot be read or written.
    """
    kept: list[str] = []
    places: list[Callable[[Path], Path]] = [Path, seeds_file, cost_file]
    for place in places:
        old, new = place(baseline), place(table)
        rows = read_csv(new, ("dataset",))
        before = read_csv(old, ("dataset",)) if old.exists() else []
        measured = {row["dataset"] for row in rows if row.get("mean", "measured")}
        kept = sorted({row["dataset"] for row in before if row.get("mean", "measured")} - measured)
        rows = [row for row in rows if row["dataset"] not in kept]
        rows = [row for row in before if row["dataset"] in kept] + rows
        rows.sort(key=lambda row: row["dataset"])  # stable: a data set's lines stay in their order
        write_csv(old, list(rows[0]), (list(row.values()) for row in rows))
    return kept
