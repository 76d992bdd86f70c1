"""The table's own files read back: what is known of records that need not be here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import BenchError
from bench.table import csv_files
from bench.table.comparisons import UserKey, UserNumbers
from bench.table.lines import CellResult, MetricKey, ValuesBySeed, mean
from bench.table.manifest import CellKey, way_out
from bench.table.retuning import Retuned


@dataclass(frozen=True)
class Published:
    """What a folder's CSV files say. cells: digest → cell. users: see `compare_users`."""

    cells: dict[str, CellResult] = field(default_factory=dict)
    users: dict[UserKey, UserNumbers] = field(default_factory=dict)


def read_published(folder: Path) -> Published:
    """Reads the CSV files of a folder; nothing where they are not there.

    Raises:
        BenchError: one of them is not as `bench.table` writes it.
    """
    values: dict[CellKey, dict[MetricKey, ValuesBySeed]] = {}
    for seed in csv_files.SEEDS_FILE.read(folder):
        cell = values.setdefault((seed.protocol, seed.dataset, seed.method), {})
        cell.setdefault((seed.metric, seed.no_positive), {})[seed.seed] = seed.value
    columns = {(column.protocol, column.dataset): column for column in csv_files.COLUMNS_FILE.read(folder)}
    provenance = {
        entry.cell: {name: getattr(entry, name) for name in csv_files.PROVENANCE}
        for entry in csv_files.PROVENANCE_FILE.read(folder)
    }
    held_out: dict[str, float | None] = {}
    spreads: dict[str, Retuned] = {}
    for tuning in csv_files.TUNING_FILE.read(folder):
        held_out[tuning.cell] = tuning.held_out
        if tuning.tuning_std is not None:
            known = spreads.get(tuning.cell, Retuned()).std
            spreads[tuning.cell] = Retuned(
                std={**known, tuning.metric: tuning.tuning_std},
                finalists=tuning.finalists or 0,
                seeds=tuning.seeds or 0,
                resamples=tuning.resamples or 0,
            )
    entries = csv_files.TABLE_FILE.read(folder)
    cut_offs = {(entry.protocol, entry.dataset): entry.k for entry in entries if entry.k is not None}
    cells: dict[str, CellResult] = {}
    for entry in entries:
        key = entry.protocol, entry.dataset, entry.method
        if not entry.cell:
            continue
        seeds = values.get(key, {}).get((entry.metric, entry.no_positive), {})
        if key in values and (len(seeds) != entry.n or not _alike(mean(seeds), entry.mean)):
            name = " ".join(filter(None, (*key, entry.metric, entry.no_positive)))
            raise _strangers(folder, f"{csv_files.SEEDS_FILE.name} has other values of {name}")
        if entry.cell in cells:
            continue
        column = columns.get(key[:2])
        if column is None or key not in values or entry.points is None:
            raise _strangers(folder, f"{'/'.join(key)} is in {csv_files.TABLE_FILE.name} alone")
        cells[entry.cell] = CellResult(
            digest=entry.cell,
            origin=entry.origin,
            source=entry.source,
            threshold=column.threshold,
            no_positive=column.no_positive,
            k=cut_offs.get(key[:2], 0),
            comparable=column.comparable,
            points=entry.points,
            values=values[key],
            provenance=provenance.get(entry.cell, {}),
            held_out=held_out.get(entry.cell),
            retuned=spreads.get(entry.cell),
        )
    users = {
        (entry.cell, entry.reference_cell, entry.metric): (
            entry.users,
            entry.mean,
            entry.low,
            entry.high,
            entry.p_value,
        )
        for entry in csv_files.USERS_FILE.read(folder)
    }
    return Published(cells, users)


def _alike(number: float | None, written: float | None) -> bool:
    """Whether a number is the one that table1.csv has to six digits."""
    if number is None or written is None:
        return number is written
    return abs(number - written) <= 1e-6


def _strangers(folder: Path, what: str) -> BenchError:
    return BenchError(f"The CSV files in {folder} do not belong together: {what}; {way_out(folder)}.")
