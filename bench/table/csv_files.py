"""The table's CSV files: of each its columns, how they are written and how they are read back.

table1.csv        one line per protocol, data set, row and metric
seeds.csv         the values behind it
tuning.csv        of every cell: its validation, and the spread over re-tunings of its means
columns.csv       what the rows of a data set share: source, threshold, users without a positive
comparisons.csv   every row against the reference and against the best baseline, over paired seeds
users.csv         the same for NDCG and Recall, over paired users
provenance.csv    of every cell: commit, time, device, seconds of training, the command that makes it, the
                  fingerprint of the code that trained it and the plan of the sweep that chose its point
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from bench.errors import BenchError
from bench.files import csv_text, read_csv
from bench.table.comparisons import SeedComparison, UserComparison
from bench.table.lines import PUBLISHED, Line
from bench.table.manifest import way_out
from bench.table.statistics import smallest_p

_WRITER = "python -m bench.table"

_Entry = TypeVar("_Entry")


# --- Kinds of columns ---------------------------------------------------------------------------------


def _column(write: Callable[[Any], str], read: Callable[[str], Any], default: Any = MISSING) -> Any:
    """A column. default: its value in files that were written before it existed."""
    return field(default=default, metadata={"write": write, "read": read})


def _optional(write: Callable[[Any], str], read: Callable[[str], Any], default: Any = MISSING) -> Any:
    """A column whose None is an empty field."""
    return _column(
        lambda value: "" if value is None else write(value),
        lambda text: read(text) if text else None,
        default,
    )


def _truth(text: str) -> bool:
    if text not in ("True", "False"):
        raise ValueError(f"'{text}' is neither True nor False")
    return text == "True"


def _fixed(value: float) -> str:
    """To six decimals; none is -0.000000."""
    return f"{value:.6f}".replace("-0.000000", "0.000000")


def _text(default: Any = MISSING) -> Any:
    return _column(str, str, default)


def _number(digits: int) -> Any:
    return _column(lambda value: f"{value:.{digits}g}", float)


# --- The lines of each file ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TableEntry:
    """A line of table1.csv: outside tools read its columns, so that new ones come last."""

    protocol: str = _text()
    dataset: str = _text()
    source: str = _text()
    method: str = _text()
    metric: str = _text()
    k: int | None = _optional(str, int)
    no_positive: str = _text()
    mean: float | None = _optional(_fixed, float)
    std: float | None = _optional(_fixed, float)
    n: int = _column(str, int)
    paper: str = _text()
    delta: float | None = _optional(_fixed, float)
    within: bool | None = _optional(str, _truth)
    reference: str = _text()
    p_value: float | None = _optional("{:.6g}".format, float)
    p_holm: float | None = _optional("{:.6g}".format, float)
    points: int | None = _optional(str, int)
    cell: str = _text()
    origin: str = _text(PUBLISHED)
    tuning_std: float | None = _optional(_fixed, float, None)


@dataclass(frozen=True, kw_only=True)
class SeedEntry:
    """A line of seeds.csv: one value of a line of table1.csv, in full."""

    protocol: str = _text()
    dataset: str = _text()
    method: str = _text()
    seed: int = _column(str, int)
    metric: str = _text()
    no_positive: str = _text()
    value: float = _column(repr, float)


@dataclass(frozen=True, kw_only=True)
class TuningEntry:
    """A line of tuning.csv: what validation and the sweep say of one mean of a cell.

    held_out: mean held-out validation AUC of the final runs. tuning_std, finalists, seeds, resamples: see
    `bench.table.retuning.Retuned`; empty where the finalists' test metrics are not known.
    """

    protocol: str = _text()
    dataset: str = _text()
    method: str = _text()
    metric: str = _text()
    cell: str = _text()
    held_out: float | None = _optional("{:.12g}".format, float)
    tuning_std: float | None = _optional("{:.12g}".format, float)
    finalists: int | None = _optional(str, int)
    seeds: int | None = _optional(str, int)
    resamples: int | None = _optional(str, int)


@dataclass(frozen=True, kw_only=True)
class ColumnEntry:
    """A line of columns.csv: what the rows of one data set under one protocol share."""

    protocol: str = _text()
    dataset: str = _text()
    source: str = _text()
    threshold: float = _column("{:g}".format, float)
    no_positive: str = _text()
    comparable: bool = _column(str, _truth)


@dataclass(frozen=True, kw_only=True)
class ComparisonEntry:
    """A line of comparisons.csv (`SeedComparison`). smallest_p: what so many seeds can reach.

    The columns behind it: whether the difference survives the spread of the tuning.
    """

    protocol: str = _text()
    dataset: str = _text()
    method: str = _text()
    metric: str = _text()
    no_positive: str = _text()
    against: str = _text()
    reference: str = _text()
    n: int = _column(str, int)
    median: float = _column(_fixed, float)
    low: float = _column(_fixed, float)
    high: float = _column(_fixed, float)
    p_value: float = _number(6)
    p_holm: float = _number(6)
    smallest_p: float = _number(6)
    tuning_std: float | None = _optional(_fixed, float, None)
    p_tuning: float | None = _optional("{:.6g}".format, float, None)
    p_tuning_holm: float | None = _optional("{:.6g}".format, float, None)
    survives: bool | None = _optional(str, _truth, None)


@dataclass(frozen=True, kw_only=True)
class UserEntry:
    """A line of users.csv (`UserComparison`).

    It has more digits than anybody reads, because they are read back where the records are not.
    """

    protocol: str = _text()
    dataset: str = _text()
    method: str = _text()
    metric: str = _text()
    against: str = _text()
    reference: str = _text()
    users: int = _column(str, int)
    mean: float = _number(12)
    low: float = _number(12)
    high: float = _number(12)
    p_value: float = _number(12)
    p_holm: float = _number(12)
    cell: str = _text()
    reference_cell: str = _text()


@dataclass(frozen=True, kw_only=True)
class ProvenanceEntry:
    """A line of provenance.csv: a cell that has a record (`bench.records.record.Provenance`)."""

    protocol: str = _text()
    dataset: str = _text()
    method: str = _text()
    cell: str = _text()
    commit: str = _text()
    finished: str = _text()
    device: str = _text()
    training_seconds: str = _text()
    command: str = _text()
    torch: str = _text("")
    numpy: str = _text("")
    kernels: str = _text("")
    code: str = _text("")
    sweep: str = _text("")


# What `CellResult.provenance` holds.
PROVENANCE = tuple(each.name for each in fields(ProvenanceEntry))[4:]


# --- The files ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CsvFile(Generic[_Entry]):
    """A CSV file of the table. name: of the file. kind: of its lines, whose fields are its columns."""

    name: str
    kind: type[_Entry]

    @property
    def header(self) -> tuple[str, ...]:
        """The columns."""
        return tuple(each.name for each in fields(self.kind))  # type: ignore[arg-type]

    def text(self, entries: Iterable[_Entry]) -> str:
        """The file's text."""
        columns = [(each.name, each.metadata["write"]) for each in fields(self.kind)]  # type: ignore[arg-type]
        rows = ([write(getattr(entry, name)) for name, write in columns] for entry in entries)
        return csv_text(self.header, rows)

    def read(self, folder: Path) -> list[_Entry]:
        """Reads the file of a folder; nothing where it is not there.

        Raises:
            BenchError: it is not as it was written.
        """
        file = folder / self.name
        if not file.is_file():
            return []
        columns = fields(self.kind)  # type: ignore[arg-type]
        try:
            rows = read_csv(file, [each.name for each in columns if each.default is MISSING], _WRITER)
        except BenchError as error:
            raise BenchError(f"{str(error).removesuffix('.')}; {way_out(folder)}.") from error
        known = [each for each in columns if not rows or each.name in rows[0]]
        entries = []
        for number, row in enumerate(rows, 2):
            values = {}
            for each in known:
                text = row[each.name]
                try:
                    values[each.name] = each.metadata["read"](text)
                except ValueError as error:
                    raise BenchError(
                        f"{file}, line {number}, is not as `{_WRITER}` writes it ({each.name} is "
                        f"{text[:40]!r}); {way_out(folder)}."
                    ) from error
            entries.append(self.kind(**values))
        return entries


TABLE_FILE = CsvFile("table1.csv", TableEntry)
SEEDS_FILE = CsvFile("seeds.csv", SeedEntry)
TUNING_FILE = CsvFile("tuning.csv", TuningEntry)
COLUMNS_FILE = CsvFile("columns.csv", ColumnEntry)
COMPARISONS_FILE = CsvFile("comparisons.csv", ComparisonEntry)
USERS_FILE = CsvFile("users.csv", UserEntry)
PROVENANCE_FILE = CsvFile("provenance.csv", ProvenanceEntry)
ALL: tuple[CsvFile[Any], ...] = (
    *(TABLE_FILE, SEEDS_FILE, TUNING_FILE, COLUMNS_FILE, COMPARISONS_FILE, USERS_FILE, PROVENANCE_FILE),
)


# --- From lines and comparisons -----------------------------------------------------------------------


def table_entries(lines: Iterable[Line]) -> Iterator[TableEntry]:
    """The lines of table1.csv."""
    for line in lines:
        cell = line.cell
        yield TableEntry(
            protocol=line.protocol,
            dataset=line.dataset.dataset,
            source=cell.source,
            method=line.row.method,
            metric=line.metric,
            k=line.dataset.k if line.no_positive else None,
            no_positive=line.no_positive,
            mean=line.mean,
            std=line.std,
            n=len(line.values),
            paper=line.paper,
            delta=line.delta,
            within=line.within,
            reference=line.reference,
            p_value=line.p_value,
            p_holm=line.p_holm,
            points=None if cell.missing else cell.points,
            cell=cell.digest,
            origin=cell.origin,
            tuning_std=line.tuning_std,
        )


def seed_entries(lines: Iterable[Line]) -> Iterator[SeedEntry]:
    """The lines of seeds.csv."""
    for line in lines:
        for seed in sorted(line.values):
            yield SeedEntry(
                protocol=line.protocol,
                dataset=line.dataset.dataset,
                method=line.row.method,
                seed=seed,
                metric=line.metric,
                no_positive=line.no_positive,
                value=line.values[seed],
            )


def tuning_entries(lines: Iterable[Line]) -> Iterator[TuningEntry]:
    """The lines of tuning.csv: of every mean that a protocol counts."""
    for line in lines:
        cell = line.cell
        known = cell.retuned if line.tuning_std is not None else None
        if not line.missing and line.no_positive in ("", cell.no_positive):
            yield TuningEntry(
                protocol=line.protocol,
                dataset=line.dataset.dataset,
                method=line.row.method,
                metric=line.metric,
                cell=cell.digest,
                held_out=cell.held_out,
                tuning_std=line.tuning_std,
                finalists=None if known is None else known.finalists,
                seeds=None if known is None else known.seeds,
                resamples=None if known is None else known.resamples,
            )


def column_entries(lines: Iterable[Line]) -> Iterator[ColumnEntry]:
    """The lines of columns.csv: every data set under every protocol that has a record."""
    seen = set()
    for line in lines:
        place = line.protocol, line.dataset.dataset
        if not line.cell.missing and place not in seen:
            seen.add(place)
            yield ColumnEntry(
                protocol=line.protocol,
                dataset=line.dataset.dataset,
                source=line.cell.source,
                threshold=line.cell.threshold,
                no_positive=line.cell.no_positive,
                comparable=line.cell.comparable,
            )


def comparison_entries(comparisons: Iterable[SeedComparison]) -> Iterator[ComparisonEntry]:
    """The lines of comparisons.csv."""
    for comparison in comparisons:
        line = comparison.line
        yield ComparisonEntry(
            protocol=line.protocol,
            dataset=line.dataset.dataset,
            method=line.row.method,
            metric=line.metric,
            no_positive=line.no_positive,
            against=comparison.against,
            reference=comparison.base.row.method,
            n=comparison.n,
            median=comparison.median,
            low=comparison.low,
            high=comparison.high,
            p_value=comparison.p_value,
            p_holm=comparison.p_holm,
            smallest_p=smallest_p(comparison.n),
            tuning_std=comparison.tuning_std,
            p_tuning=comparison.p_tuning,
            p_tuning_holm=comparison.p_tuning_holm,
            survives=comparison.survives,
        )


def user_entries(comparisons: Iterable[UserComparison]) -> Iterator[UserEntry]:
    """The lines of users.csv."""
    for comparison in comparisons:
        line, base = comparison.line, comparison.base
        yield UserEntry(
            protocol=line.protocol,
            dataset=line.dataset.dataset,
            method=line.row.method,
            metric=line.metric,
            against=comparison.against,
            reference=base.row.method,
            users=comparison.n,
            mean=comparison.mean,
            low=comparison.low,
            high=comparison.high,
            p_value=comparison.p_value,
            p_holm=comparison.p_holm,
            cell=line.cell.digest,
            reference_cell=base.cell.digest,
        )


def provenance_entries(lines: Iterable[Line]) -> Iterator[ProvenanceEntry]:
    """The lines of provenance.csv: one for each cell that has a record."""
    for line in lines:
        if line.metric == "auc" and not line.cell.missing:
            yield ProvenanceEntry(
                protocol=line.protocol,
                dataset=line.dataset.dataset,
                method=line.row.method,
                cell=line.cell.digest,
                **{name: line.cell.provenance.get(name, "") for name in PROVENANCE},
            )
