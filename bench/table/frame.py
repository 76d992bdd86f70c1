"""The table as one frame: the records' numbers beside the paper's, and every test.

Table, page and plots are made from it (`bench.table`, `bench.report`, `bench.report.plots`). A record that is
not in the store, as in a fresh clone, is read from `table1.csv`, `seeds.csv`, `columns.csv`,
`users.csv` and `provenance.csv`, which were made from it and name its digest. Needs neither torch nor data.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.records import store
from bench.table.statistics import (
    bootstrap_median,
    holm,
    mean_interval,
    paired,
    paired_users,
    wilcoxon,
    wilcoxon_normal,
)

PAPER = Path(__file__).resolve().parents[2] / "conf" / "paper" / "table1.csv"
TOLERANCE = 0.01  # a mean this close to the paper's number reproduces it
ALPHA = 0.05  # family-wise error rate behind the table's marks

# (metric, convention for users without a positive), in the order of the CSV's lines.
METRICS = (
    ("auc", ""),
    *((metric, convention) for metric in ("ndcg", "recall") for convention in ("skip", "one", "zero")),
)
PROVENANCE = ("commit", "finished", "device", "training_seconds", "command")
# Of generated data only, whose every label is known: L_ideal of the paper's "Problem Setup".
IDEAL_LOSS = ("ideal_loss", "")

Entry = TypeVar("Entry", "Row", "Dataset")


# --- What the table is made of ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table. uses_unbiased: a word ("mean label") or yes/no.

    control: stands below the rule. baseline: may be the best baseline, where it is no control.
    """

    method: str
    title: str
    uses_unbiased: str | bool | None
    control: bool
    implemented: bool
    baseline: bool = True


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A group of the table's columns; k is the cut-off of its NDCG and Recall."""

    dataset: str
    title: str
    k: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Which cells the table has. cells: (protocol, data set, method) → (digest, reason if missing)."""

    protocols: list[str]
    datasets: list[Dataset]
    rows: list[Row]
    reference: str  # method that every row is tested against; "" for no tests
    cells: dict[tuple[str, str, str], tuple[str | None, str | None]]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What the table needs of one record, or why there is none.

    values: (metric, convention) → seed → value. comparable: the paper's numbers were made alike.
    provenance: what `provenance.csv` says of it, by column.
    """

    digest: str = ""
    missing: str = ""
    source: str = ""
    threshold: float = 0.0
    no_positive: str = ""
    comparable: bool = False
    points: int = 0
    values: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Line:
    """One line of table1.csv; the p-values come in once their whole column is known."""

    protocol: str
    dataset: Dataset
    row: Row
    cell: Cell
    metric: str
    no_positive: str
    paper: str  # as printed there; empty where a comparison would be dishonest
    reference: str = ""
    p_value: float | None = None
    p_holm: float | None = None

    @property
    def values(self) -> dict[int, float]:
        """Seed → value; empty for a missing cell."""
        return self.cell.values.get((self.metric, self.no_positive), {})

    @property
    def missing(self) -> str:
        """Why there are no values; "" where there are."""
        if self.values:
            return ""
        return self.cell.missing or f"The record holds no {self.metric.replace('_', ' ')}."

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return float(np.mean(list(self.values.values()))) if self.values else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds (ddof 1)."""
        return float(np.std(list(self.values.values()), ddof=1)) if len(self.values) > 1 else None

    @property
    def delta(self) -> float | None:
        """Our mean minus the paper's number, to six decimals as the CSV prints it."""
        return None if self.mean is None or not self.paper else round(self.mean - float(self.paper), 6)

    @property
    def within(self) -> bool | None:
        """Whether our mean reproduces the paper's number."""
        return None if self.delta is None else abs(self.delta) <= TOLERANCE


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A line tested against another of its column, over paired seeds.

    against: "reference" or "best baseline". median, low, high: of the paired differences, the line
    minus the base, with their bootstrap interval. p_holm: corrected within the family.
    """

    line: Line
    base: Line
    against: str
    n: int
    median: float
    low: float
    high: float
    p_value: float
    p_holm: float


@dataclass(frozen=True, kw_only=True)
class UserComparison:
    """The same over paired users: it tells whether the trained models differ on other users, too.

    n: users with a positive test rating. mean, low, high: of the users' differences, each averaged
    over the seeds.
    """

    line: Line
    base: Line
    against: str
    n: int
    mean: float
    low: float
    high: float
    p_value: float
    p_holm: float


Place = tuple[str, str]  # protocol, data set
Column = tuple[str, str, str]  # protocol, data set, metric as its protocol counts it


@dataclass(frozen=True)
class Frame:
    """The whole table. lines: in the CSV's order. comparisons, users: of what a protocol counts.

    tuning: (protocol, data set) → by which stages its rows were swept (`sweep_plan`).
    """

    manifest: Manifest
    lines: list[Line]
    comparisons: list[Comparison]
    users: list[UserComparison]
    tuning: dict[tuple[str, str], str] = field(default_factory=dict)

    def column_group(self, protocol: str, dataset: Dataset) -> dict[tuple[str, str], Line]:
        """(method, metric) → line, as the protocol counts users without a positive."""
        mine = [x for x in self.lines if x.protocol == protocol and x.dataset is dataset]
        rule = next((line.cell.no_positive for line in mine if not line.cell.missing), "skip")
        return {(x.row.method, x.metric): x for x in mine if x.no_positive in ("", rule)}

    def title(self, method: str) -> str:
        """How the table writes a method."""
        return next((row.title for row in self.manifest.rows if row.method == method), method)


def load(results: Path, paper: Path = PAPER) -> Frame:
    """The frame of `results/table1/cells.json`.

    Raises:
        BenchError: the manifest or the paper's numbers cannot be read, a record is absent, damaged or
            of another cell, or rows of one data set were not measured alike.
    """
    manifest = read_manifest(results / "table1" / "cells.json")
    published = read_published(results / "table1")
    lines = collect(manifest, results / "runs", read_paper(paper), published)
    columns: dict[Column, list[Line]] = {}
    for line in lines:
        if not line.cell.missing and line.no_positive in ("", line.cell.no_positive):
            columns.setdefault((line.protocol, line.dataset.dataset, line.metric), []).append(line)
    comparisons, users = [], []
    for place in dict.fromkeys(key[:2] for key in columns):
        values = _UserValues(results / "runs")
        for key, column in columns.items():
            if key[:2] != place:
                continue
            bases = {"reference": _find(column, manifest.reference), "best baseline": best_baseline(column)}
            for against, base in bases.items():
                comparisons += _compare(column, base, against)
                if base is not None and column[0].no_positive:
                    users += _compare_users(column, base, against, values, published)
    places = ((protocol, each.dataset) for protocol in manifest.protocols for each in manifest.datasets)
    tuning = {place: sweep_plan(results / "sweep" / place[0] / place[1]) for place in places}
    return Frame(manifest, lines, comparisons, users, tuning)


# --- Reading ------------------------------------------------------------------------------------------


def read_manifest(file: Path) -> Manifest:
    """Reads `cells.json`.

    Raises:
        BenchError: it is absent, not JSON or lacks a field.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        manifest = Manifest(
            protocols=list(document["protocols"]),
            datasets=[_entry(Dataset, each) for each in document["datasets"]],
            rows=[_entry(Row, each) for each in document["rows"]],
            reference=document.get("reference", ""),
            cells={
                (cell["protocol"], cell["dataset"], cell["method"]): (cell["cell"], cell.get("missing"))
                for cell in document["cells"]
            },
        )
    except FileNotFoundError as error:
        raise BenchError(f"{file} does not exist; `make table1` writes it.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchError(f"{file} is not a list of the table's cells ({error!r}).") from error
    if len(manifest.cells) != len(document["cells"]):
        raise BenchError(f"{file} names a cell twice; keep one entry per protocol, data set and method.")
    return manifest


def _entry(kind: type[Entry], values: dict[str, Any]) -> Entry:
    """A row or data set of the list; fields that the table does not need are passed over."""
    wanted = [each.name for each in fields(kind) if each.name in values or each.default is MISSING]
    return kind(**{name: values[name] for name in wanted})


def sweep_plan(folder: Path) -> str:
    """The stages of a data set's sweeps, `shared 16 × 1, own 8 × 1; embedding sizes 16`; "" without any.

    Points of a row and seeds of each point, from the CSV files that `bench.tuned` writes.

    Raises:
        BenchError: one of them is not as it was written.
    """
    sizes: dict[str, set[int]] = {}
    seeds: dict[str, int] = {}
    embeddings: set[int] = set()
    for file in sorted(folder.glob("*.csv")):
        points: dict[str, set[tuple[str, ...]]] = {}
        try:
            for row in _rows(file):
                names = list(row)[1 : list(row).index("seed")]
                points.setdefault(row["stage"], set()).add(tuple(row[name] for name in names))
                seeds[row["stage"]] = max(seeds.get(row["stage"], 0), int(row["seed"]) + 1)
                embeddings |= {int(row["embedding_size"])} if "embedding_size" in row else set()
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise BenchError(f"{file} is not as `python -m bench.tuned` writes it ({error!r}).") from error
        for stage, found in points.items():
            sizes.setdefault(stage, set()).add(len(found))
    stages = ", ".join(
        f"{stage} {'–'.join(map(str, dict.fromkeys((min(found), max(found)))))} × {seeds[stage]}"
        for stage, found in sizes.items()
    )
    return stages + (f"; embedding sizes {', '.join(map(str, sorted(embeddings)))}" if embeddings else "")


def read_paper(file: Path) -> dict[tuple[str, str, str], str]:
    """The paper's printed numbers: (method, data set, metric as "auc", "ndcg@5", …) → text.

    Raises:
        BenchError: the file is absent, lacks a column or holds something else than numbers.
    """
    try:
        with open(file, newline="", encoding="utf-8") as stream:
            numbers = {(r["method"], r["dataset"], r["metric"]): r["value"] for r in csv.DictReader(stream)}
        for value in numbers.values():
            float(value)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(f"The paper's numbers in {file} cannot be read ({error!r}).") from error
    return numbers


@dataclass(frozen=True)
class Published:
    """What the table's files say of records that need not be here.

    cells: digest → cell. users: (digest, digest of the base, metric) → n, mean, low, high, p.
    """

    cells: dict[str, Cell]
    users: dict[tuple[str, str, str], tuple[int, float, float, float, float]]


def read_published(folder: Path) -> Published:
    """Reads the table's own files back; nothing where they are not there.

    Raises:
        BenchError: one of them is not as `bench.table` writes it.
    """
    found: dict[str, Cell] = {}
    users: dict[tuple[str, str, str], tuple[int, float, float, float, float]] = {}
    try:
        values: dict[tuple[str, str, str], dict[tuple[str, str], dict[int, float]]] = {}
        for r in _rows(folder / "seeds.csv"):
            cell = values.setdefault((r["protocol"], r["dataset"], r["method"]), {})
            cell.setdefault((r["metric"], r["no_positive"]), {})[int(r["seed"])] = float(r["value"])
        columns = {(r["protocol"], r["dataset"]): r for r in _rows(folder / "columns.csv")}
        origins = {
            r["cell"]: {name: r[name] for name in PROVENANCE} for r in _rows(folder / "provenance.csv")
        }
        for r in _rows(folder / "table1.csv"):
            column = columns.get((r["protocol"], r["dataset"]))
            if r["cell"] and r["cell"] not in found and column is not None:
                found[r["cell"]] = Cell(
                    digest=r["cell"],
                    source=r["source"],
                    threshold=float(column["threshold"]),
                    no_positive=column["no_positive"],
                    comparable=column["comparable"] == "True",
                    points=int(r["points"]),
                    values=values[r["protocol"], r["dataset"], r["method"]],
                    provenance=origins.get(r["cell"], {}),
                )
        for r in _rows(folder / "users.csv"):
            users[r["cell"], r["reference_cell"], r["metric"]] = (
                int(r["users"]),
                float(r["mean"]),
                float(r["low"]),
                float(r["high"]),
                float(r["p_value"]),
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"The files in {folder} are not as bench.table writes them ({error!r}); remove its CSV files."
        ) from error
    return Published(found, users)


def _rows(file: Path) -> Iterator[dict[str, str]]:
    if file.is_file():
        with open(file, newline="", encoding="utf-8") as stream:
            yield from csv.DictReader(stream)


def read_cell(runs: Path, digest: str, protocol: str, dataset: Dataset, method: str) -> Cell:
    """Reads a record. One with a seed that has no number is a missing cell, never a mean over fewer seeds.

    Raises:
        BenchError: the record is absent, damaged, of another cell or lacks a field.
    """
    record = store.read(runs, digest)
    try:
        found = (record["protocol"]["name"], record["dataset"]["name"], record["method"]["name"])
        k = record["dataset"]["k"]
        seeds = [int(seed) for seed in record["seeds"]]
        test = record["test"]
        columns: dict[tuple[str, str], list[float | None]] = {
            (metric, convention): test[metric][convention] if convention else test[metric]
            for metric, convention in METRICS
        }
        if IDEAL_LOSS[0] in test:
            columns[IDEAL_LOSS] = test[IDEAL_LOSS[0]]
        cell = Cell(
            digest=digest,
            source=record["source"],
            threshold=float(record["dataset"]["threshold"]),
            no_positive=record["protocol"]["no_positive"],
            comparable=bool(record["comparable"] and record["protocol"]["compare_with_paper"]),
            points=int(record["points"]),
            provenance={name: str(record["provenance"].get(name) or "") for name in PROVENANCE},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BenchError(
            f"The record {digest} lacks a field of the table ({error!r}); train it again."
        ) from error
    if found != (protocol, dataset.dataset, method) or k != dataset.k:
        raise BenchError(
            f"The record {digest} is of {'/'.join(map(str, found))} with K = {k}, "
            f"but the table's list wants {protocol}/{dataset.dataset}/{method} with K = {dataset.k}."
        )
    if not seeds or len(set(seeds)) != len(seeds) or any(len(c) != len(seeds) for c in columns.values()):
        raise BenchError(f"The record {digest} does not hold one value per seed; train it again.")
    for key, column in columns.items():
        cell.values[key] = {}
        for seed, value in zip(seeds, column, strict=True):
            if value is None or not np.isfinite(value):
                return Cell(missing=f"Seed {seed} gave no {key[0]}.")
            cell.values[key][seed] = float(value)
    return cell


def collect(
    manifest: Manifest, runs: Path, paper: dict[tuple[str, str, str], str], published: Published
) -> list[Line]:
    """Every line of the table, in its order, p-values against the reference included.

    Raises:
        BenchError: see `load`.
    """
    lines = []
    for protocol in manifest.protocols:
        for dataset in manifest.datasets:
            cells = {
                row.method: _cell(manifest, runs, protocol, dataset, row, published) for row in manifest.rows
            }
            _check_alike(f"{protocol}/{dataset.dataset}", cells)
            ideal = any(IDEAL_LOSS in cell.values for cell in cells.values())
            measured = (*METRICS, IDEAL_LOSS) if ideal else METRICS
            block = [
                _line(protocol, dataset, row, cells[row.method], metric, convention, paper)
                for row in manifest.rows
                for metric, convention in measured
            ]
            for metric, convention in measured:
                column = [x for x in block if (x.metric, x.no_positive) == (metric, convention)]
                _test(column, manifest.reference)
            lines += block
    return lines


def _cell(
    manifest: Manifest, runs: Path, protocol: str, dataset: Dataset, row: Row, published: Published
) -> Cell:
    digest, missing = manifest.cells.get((protocol, dataset.dataset, row.method), (None, None))
    if digest is None:
        return Cell(missing=missing or ("Not trained yet." if row.implemented else "Not implemented."))
    try:
        return read_cell(runs, digest, protocol, dataset, row.method)
    except store.NoRecord:
        if digest not in published.cells:
            raise
        return published.cells[digest]


def _check_alike(place: str, cells: dict[str, Cell]) -> None:
    """Rows of one column group may be compared only if they saw the same ratings under the same rules."""
    first: tuple[str, Cell] | None = None
    for method, cell in cells.items():
        if cell.missing:
            continue
        if first is None:
            first = method, cell
        for name in ("source", "threshold", "no_positive"):
            here, there = getattr(cell, name), getattr(first[1], name)
            if here != there:
                raise BenchError(
                    f"In {place}, {method} and {first[0]} cannot stand in one table: their {name} is "
                    f"{here!r} and {there!r}; train both alike."
                )


def _line(
    protocol: str,
    dataset: Dataset,
    row: Row,
    cell: Cell,
    metric: str,
    convention: str,
    paper: dict[tuple[str, str, str], str],
) -> Line:
    key = (row.method, dataset.dataset, f"{metric}@{dataset.k}" if convention else metric)
    honest = cell.comparable and convention in ("", cell.no_positive)
    return Line(
        protocol=protocol,
        dataset=dataset,
        row=row,
        cell=cell,
        metric=metric,
        no_positive=convention,
        paper=paper.get(key, "") if honest else "",
    )


def _test(column: Sequence[Line], reference: str) -> None:
    """Enters the tests against the reference into a column's lines."""
    base = _find(column, reference)
    if base is not None and base.values:
        for line, p_value, p_holm in _p_values(column, base):
            line.reference, line.p_value, line.p_holm = reference, p_value, p_holm


def _p_values(column: Sequence[Line], base: Line) -> list[tuple[Line, float, float]]:
    """Tests every line of a column that has values against one of them: (line, p, p after Holm).

    The rows of the paper's table are one family for Holm, the controls another. Otherwise each control
    that somebody adds would weaken the tests of the paper's rows; with ten seeds, whose smallest p is
    .00195, a family of 26 could not be significant at all.
    """
    tested = [line for line in column if line is not base and line.values]
    p_values = []
    for line in tested:
        ours, theirs = _paired(line, base)
        p_values.append(wilcoxon(ours - theirs, np.zeros(len(ours)))[0])
    return list(zip(tested, p_values, _corrected(tested, p_values), strict=True))


def _corrected(lines: Sequence[Line], p_values: Sequence[float]) -> list[float]:
    """Holm's correction within the paper's rows and within the controls."""
    corrected = [1.0] * len(lines)
    for control in (False, True):
        family = [place for place, line in enumerate(lines) if line.row.control is control]
        adjusted = holm([p_values[place] for place in family])
        for place, value in zip(family, adjusted, strict=True):
            corrected[place] = value
    return corrected


def _paired(line: Line, base: Line) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    try:
        return paired(line.values, base.values)
    except BenchError as error:
        raise BenchError(_untestable(line, base, error)) from error


def _untestable(line: Line, base: Line, error: BenchError) -> str:
    return (
        f"In {line.protocol}/{line.dataset.dataset}, {line.row.method} cannot be tested against "
        f"{base.row.method}. {error}"
    )


def _compare(column: Sequence[Line], base: Line | None, against: str) -> list[Comparison]:
    """A column's tests over seeds, with their effects."""
    if base is None or not base.values:
        return []
    found = []
    for line, p_value, p_holm in _p_values(column, base):
        ours, theirs = _paired(line, base)
        median, low, high = bootstrap_median(ours - theirs, seed=0)
        found.append(
            Comparison(
                line=line,
                base=base,
                against=against,
                n=len(ours),
                median=median,
                low=low,
                high=high,
                p_value=p_value,
                p_holm=p_holm,
            )
        )
    return found


class _UserValues:
    """The users' numbers in the records of one data set, each archive read once."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._known: dict[str, Mapping[str, NDArray[Any]] | None] = {}

    def of(self, line: Line) -> dict[int, tuple[NDArray[Any], NDArray[Any]]] | None:
        """Seed → users and values; None where the record is not here or has no such arrays."""
        digest = line.cell.digest
        if digest not in self._known:
            try:
                arrays = store.read_arrays(self._runs, digest)
            except store.NoRecord:
                self._known[digest] = None
            else:
                wanted = ("users_", "ndcg_", "recall_")
                self._known[digest] = {k: v for k, v in arrays.items() if k.startswith(wanted)}
        arrays_ = self._known[digest]
        if arrays_ is None or any(f"{line.metric}_{seed}" not in arrays_ for seed in line.values):
            return None
        return {seed: (arrays_[f"users_{seed}"], arrays_[f"{line.metric}_{seed}"]) for seed in line.values}


def _compare_users(
    column: Sequence[Line], base: Line, against: str, values: _UserValues, published: Published
) -> list[UserComparison]:
    """A column's tests over users. Lines whose users are known neither here nor there are left out."""
    tested, found = [], []
    theirs = values.of(base)
    for line in column:
        if line is base or not line.values:
            continue
        ours = values.of(line)
        if ours is None or theirs is None:
            known = published.users.get((line.cell.digest, base.cell.digest, line.metric))
            if known is None:
                continue
            found.append(known)
        else:
            try:
                differences = paired_users(ours, theirs)
            except BenchError as error:
                raise BenchError(_untestable(line, base, error)) from error
            if len(differences) < 2:
                continue
            # As the CSV prints them, so that they are the same when they are read back from there.
            mean, low, high = map(_printed, mean_interval(differences))
            found.append((len(differences), mean, low, high, _printed(wilcoxon_normal(differences))))
        tested.append(line)
    corrected = _corrected(tested, [each[-1] for each in found])
    return [
        UserComparison(
            line=line,
            base=base,
            against=against,
            n=n,
            mean=mean,
            low=low,
            high=high,
            p_value=p_value,
            p_holm=p_holm,
        )
        for line, (n, mean, low, high, p_value), p_holm in zip(tested, found, corrected, strict=True)
    ]


def _printed(number: float) -> float:
    return float(f"{number:.12g}")


def _find(column: Sequence[Line], method: str) -> Line | None:
    return next((line for line in column if line.row.method == method), None)


def best_baseline(column: Sequence[Line]) -> Line | None:
    """The line of a column that the protocol calls the best baseline."""
    means = [
        (line.mean, line)
        for line in column
        if line.mean is not None and line.row.baseline and not line.row.control
    ]
    pick = min if column[0].metric == IDEAL_LOSS[0] else max
    return pick(means, key=lambda each: each[0])[1] if means else None


def best_two(column: Sequence[Line]) -> list[float]:
    """The two best means of a column, controls aside."""
    means = sorted(line.mean for line in column if line.mean is not None and not line.row.control)
    return means[:2] if column and column[0].metric == IDEAL_LOSS[0] else means[-2:]
