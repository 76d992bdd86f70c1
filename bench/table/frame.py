"""The table as one frame: the records' numbers beside the paper's, and every test.

Table, page and plots are made from it (`bench.table`, `bench.report`, `bench.report.plots`). A record that is
not in the store, as in a fresh clone, is read from the CSV files that were made from it and name its digest:
those of the table's own folder, or the published ones. Needs neither torch nor data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from bench.errors import BenchError
from bench.files import CONF, read_csv
from bench.records import points, store
from bench.records.metric import METRICS
from bench.records.points import CRITERIA
from bench.records.record import Record, read_record
from bench.records.trials import Trials, read_trials, trial_name
from bench.table.comparisons import (
    BEST_BASELINE,
    BEST_ROW,
    REFERENCE,
    SeedComparison,
    UserComparison,
    UserValues,
    compare_seeds,
    compare_users,
    enter_tests,
)
from bench.table.csv_files import PROVENANCE
from bench.table.lines import HERE, PUBLISHED, CellResult, Column, Line, MetricKey, ValuesBySeed, mean, std
from bench.table.manifest import FILE, CellKey, Dataset, Listed, Row, TableManifest
from bench.table.published import Published, read_published
from bench.table.retuning import Retuned, criterion_of, printed, retuned

PAPER = CONF / "paper" / "table1.csv"
AGREEING_ERRORS = 2.0  # by so many, a mean here may differ from the published one and still agree

PaperNumbers = dict[tuple[str, str, str], str]  # method, data set, metric as "auc", "ndcg@5", … → as printed


# --- The frame ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Repeated:
    """A line that was trained here, beside what is published for it.

    earlier_code: the published cell was trained by other code than the line's. Where that is not known, as of
    cells that were published before the code's fingerprint was kept, it was, if its record is another one.
    """

    line: Line
    published: ValuesBySeed
    earlier_code: bool = False

    @property
    def cell_key(self) -> CellKey:
        """Of the line's cell."""
        return self.line.protocol, self.line.dataset.dataset, self.line.row.method

    @property
    def mean(self) -> float:
        """The published mean."""
        return mean(self.published) or 0.0

    @property
    def std(self) -> float | None:
        """The published standard deviation."""
        return std(self.published)

    @property
    def n(self) -> int:
        """The published number of seeds."""
        return len(self.published)

    @property
    def difference(self) -> float:
        """The mean here minus the published one."""
        return (self.line.mean or 0.0) - self.mean

    @property
    def equal(self) -> bool:
        """Equal to the six decimals of `table1.csv`."""
        return f"{self.line.mean:.6f}" == f"{self.mean:.6f}"

    @property
    def agrees(self) -> bool:
        """Whether the difference is no more than noise.

        That is the gate's floor of the metric (`Metric.gate_floor`: what a seed that stops at another epoch
        moves a mean), or two standard errors of the difference of two means, whichever is larger.
        """
        variances = [
            (spread or 0.0) ** 2 / n
            for spread, n in ((self.line.std, len(self.line.values)), (self.std, self.n))
        ]
        noise = AGREEING_ERRORS * float(np.sqrt(sum(variances)))
        return abs(self.difference) <= max(noise, METRICS[self.line.metric].gate_floor)


@dataclass(frozen=True)
class Frame:
    """The whole table. lines: in the CSV's order. comparisons, users: of what a protocol counts.

    tuning: (protocol, data set) → the stages that its rows were swept in
    (`bench.records.points.stages_in_words`).
    both: of what a protocol counts, the lines trained here that are published, too.
    """

    manifest: TableManifest
    lines: list[Line]
    comparisons: list[SeedComparison]
    users: list[UserComparison]
    tuning: dict[tuple[str, str], str] = field(default_factory=dict)
    both: list[Repeated] = field(default_factory=list)

    def column_group(self, protocol: str, dataset: Dataset) -> dict[tuple[str, str], Line]:
        """(method, metric) → line, as the protocol counts users without a positive."""
        mine = [line for line in self.lines if (line.protocol, line.dataset) == (protocol, dataset)]
        rule = next((line.cell.no_positive for line in mine if not line.cell.missing), "skip")
        return {(line.row.method, line.metric): line for line in mine if line.no_positive in ("", rule)}

    def columns(self, protocol: str | None = None) -> Iterator[Column]:
        """The columns that have a value, of one protocol or of all, in the table's order."""
        for name in self.manifest.protocols if protocol is None else [protocol]:
            for dataset in self.manifest.datasets:
                group = self.column_group(name, dataset)
                for key, metric in METRICS.items():
                    lines = [line for (_, other), line in group.items() if other == key and line.values]
                    if lines:
                        yield Column(name, dataset, metric, lines)

    @property
    def mixed(self) -> bool:
        """Whether some cells were trained here and others are as published."""
        return {HERE, PUBLISHED} <= {line.cell.origin for line in self.lines}

    def title(self, method: str) -> str:
        """How the table writes a method."""
        return next((row.title for row in self.manifest.rows if row.method == method), method)


def load_frame(
    folder: Path,
    runs: Path | None,
    published: Path | None = None,
    *,
    paper: Path = PAPER,
    sweeps: Path | None = None,
) -> Frame:
    """The frame of the `cells.json` in a folder, beside the published cells.

    A cell is taken, in this order, from the record that the list names; from the folder's own CSV files; from
    the record that the published list names; from the published CSV files. Those of a record are HERE. Where
    folder and published are the same, the published table itself is made, and all of it is PUBLISHED.

    Args:
        folder: holds `cells.json`, and perhaps the CSV files of an earlier time. Where it holds no list and
            there is a published one, the table is the published one.
        runs: the store; None to read files alone.
        published: a folder like `results/published`, if its cells are wanted.
        paper: the paper's numbers.
        sweeps: folder of the sweeps' CSV files; by default `sweep` beside the store.

    Raises:
        BenchError: a list or the paper's numbers cannot be read, a record is damaged or of another cell, a
            cell is nowhere, or rows of one data set were not measured alike.
    """
    if sweeps is None and runs is not None:
        sweeps = runs.parent / "sweep"
    sources = _Sources.read(folder, runs, published, sweeps)
    manifest = sources.manifest
    lines, both = _collect(sources, read_paper(paper))
    comparisons: list[SeedComparison] = []
    users: list[UserComparison] = []
    frame = Frame(manifest, lines, comparisons, users, {}, both)
    values, place = UserValues(runs), ("", "")
    for column in frame.columns():
        if (column.protocol, column.dataset.dataset) != place:  # each data set's archives are let go
            values, place = UserValues(runs), (column.protocol, column.dataset.dataset)
        further = [line for line in column.lines if line.row.family == "further"]
        for against, base, tested in (
            (REFERENCE, column.line(manifest.reference), column.lines),
            (BEST_BASELINE, column.best_baseline, column.lines),
            (BEST_ROW, column.best_row, further),
        ):
            comparisons += compare_seeds(tested, base, against)
            users += compare_users(tested, base, against, values, sources.users)
    if sweeps is not None:
        for protocol in manifest.protocols:
            for dataset in manifest.datasets:
                swept = points.read_folder(sweeps / protocol / dataset.dataset)
                titled = {frame.title(method): found for method, found in swept.items()}
                frame.tuning[protocol, dataset.dataset] = points.plans_in_words(titled)
    return frame


# --- Reading ------------------------------------------------------------------------------------------


def read_paper(file: Path) -> PaperNumbers:
    """The paper's printed numbers: (method, data set, metric as "auc", "ndcg@5", …) → text.

    Raises:
        BenchError: the file is absent, lacks a column or holds something else than numbers.
    """
    numbers = {}
    for row in read_csv(file, ("method", "dataset", "metric", "value")):
        try:
            float(row["value"])
        except ValueError as error:
            raise BenchError(f"The paper's numbers in {file} cannot be read ({error}).") from error
        numbers[row["method"], row["dataset"], row["metric"]] = row["value"]
    return numbers


def read_cell(record: Record, key: CellKey, dataset: Dataset) -> CellResult:
    """What the table needs of a record.

    One with a seed that has no number is a missing cell, never a mean over fewer seeds.

    Raises:
        BenchError: the record is of another cell, or lacks a field.
    """
    digest = record.digest
    try:
        if record.cell != key or record.k != dataset.k:
            raise BenchError(
                f"The record {digest} is of {'/'.join(record.cell)} with K = {record.k}, "
                f"but the table's list wants {'/'.join(key)} with K = {dataset.k}."
            )
        cell = CellResult(
            digest=digest,
            origin=HERE,
            source=record.source,
            threshold=float(record.dataset["threshold"]),
            no_positive=record.protocol["no_positive"],
            k=record.k,
            comparable=bool(record.comparable and record.protocol["compare_with_paper"]),
            points=int(record.points),
            provenance=_provenance(record),
            held_out=_held_out(record),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BenchError(
            f"The record {digest} lacks a field of the table ({error!r}); train it again."
        ) from error
    if not record.seeds or len(set(record.seeds)) != len(record.seeds):
        raise BenchError(f"The record {digest} does not hold one value per seed; train it again.")
    for name, metric in METRICS.items():
        if not metric.in_paper and name not in record.metrics:
            continue  # it can be measured on generated data alone, and of probabilities
        for convention in metric.conventions:
            column = record.metric(name, convention)
            for seed, value in column.items():
                if not np.isfinite(value):
                    return CellResult(missing=f"Seed {seed} gave no {name}.")
            cell.values[name, convention] = column
    return cell


def _provenance(record: Record) -> dict[str, str]:
    """What provenance.csv says of a record, beside its cell."""
    known = {**vars(record.provenance), "sweep": record.sweep}
    known["code"] = "" if record.identity is None else record.identity.code
    return {name: str(known[name] or "") for name in PROVENANCE}


def _held_out(record: Record) -> float | None:
    """Mean held-out validation AUC of the final runs; None where a seed has none."""
    values = [np.nan if value is None else value for value in record.validation.held_out]
    mean = float(np.mean(values)) if len(values) == len(record.seeds) else np.nan
    return printed(mean) if np.isfinite(mean) else None


@dataclass(frozen=True)
class _Sources:
    """Where the cells of a table are looked for.

    manifest: of the whole table. published_cells: what the published list says of its cells. own,
    published: the CSV files of the folder and the published ones. republished: they are the same. sweeps:
    folder of the sweeps' points, if there is one.
    """

    manifest: TableManifest
    runs: Path | None
    published_cells: Mapping[CellKey, Listed]
    own: Published
    published: Published
    republished: bool
    sweeps: Path | None = None

    @classmethod
    def read(cls, folder: Path, runs: Path | None, published: Path | None, sweeps: Path | None) -> _Sources:
        republished = published is not None and published.resolve() == folder.resolve()
        if published is None or republished or not (published / FILE).is_file():
            own = read_published(folder)
            return cls(TableManifest.read(folder), runs, {}, own, Published(), republished, sweeps)
        theirs = TableManifest.read(published)
        listed = (folder / FILE).is_file()
        manifest = TableManifest.read(folder).beside(theirs) if listed else replace(theirs, cells={})
        own = read_published(folder) if listed else Published()
        return cls(manifest, runs, theirs.cells, own, read_published(published), False, sweeps)

    @property
    def users(self) -> dict[tuple[str, str, str], tuple[int, float, float, float, float]]:
        """The comparisons over users that stand in the files."""
        return {**self.published.users, **self.own.users}

    def cell(self, key: CellKey, dataset: Dataset) -> CellResult:
        """A cell, from wherever it is known.

        Raises:
            BenchError: it is listed, and known nowhere; or its record is damaged or of another cell.
        """
        own, theirs = (cells.get(key, Listed(None)) for cells in (self.manifest.cells, self.published_cells))
        for listed, files in ((own, (self.own, self.published)), (theirs, (self.published,))):
            if listed.digest is None:
                continue
            record = self._record(listed.digest)
            if record is not None:
                cell = read_cell(record, key, dataset)
                cell = self._trials(record, replace(cell, retuned=self._retuned(record, key, cell, files)))
                return replace(cell, origin=PUBLISHED) if self.republished and cell.origin else cell
            for known in files:
                if listed.digest in known.cells:
                    return known.cells[listed.digest]
        if own.digest is not None or theirs.digest is not None:
            raise store.NoRecord(
                f"The table's list names the record {own.digest or theirs.digest} for {'/'.join(key)}, which "
                "is neither in the store nor in the table's files; `make table1` makes it."
            )
        return CellResult(missing=own.missing or theirs.missing or "Not trained yet.")

    def published_cell(self, key: CellKey) -> CellResult | None:
        """A cell as the published files have it, if they have it."""
        return self.published.cells.get(self.published_cells.get(key, Listed(None)).digest or "")

    def _trials(self, record: Record, cell: CellResult) -> CellResult:
        """A cell with the trials counted that another sweeper chose its point among."""
        found = self.trials.get(record.cell)
        if found is None or cell.missing or not found.chose(record):
            return cell
        sweep = trial_name(record.sweep, found.sweeper)
        points = max(cell.points, found.points)
        return replace(cell, points=points, provenance={**cell.provenance, "sweep": sweep})

    @cached_property
    def trials(self) -> dict[CellKey, Trials]:
        """Of the store."""
        return {} if self.runs is None else read_trials(self.runs)

    def _retuned(
        self, record: Record, key: CellKey, cell: CellResult, files: Sequence[Published]
    ) -> Retuned | None:
        """A cell's spread over re-tunings: of its own sweep, else of the sweep that chose its point, else as
        a table's files have it of the same record."""
        if len(record.tried) > 1 and record.plan:
            own = CRITERIA.get(record.selection)
            return None if own is None else retuned(points.Points.of_record(record), own)
        file = None
        if self.sweeps is not None and cell.points > 1:
            file = points.sweep_file(self.sweeps, key, cell.provenance.get("command", ""))
        if file is not None:
            swept = points.Points.read(file)
            criterion = criterion_of(swept, record.method)
            found = None if criterion is None else retuned(swept, criterion)
            if found is not None:
                return found
        known = (each.cells.get(cell.digest) for each in files)
        return next((each.retuned for each in known if each is not None and each.retuned), None)

    def _record(self, digest: str) -> Record | None:
        if self.runs is None:
            return None
        try:
            return read_record(self.runs, digest)
        except store.NoRecord:
            return None


def _collect(sources: _Sources, paper: PaperNumbers) -> tuple[list[Line], list[Repeated]]:
    """Every line of the table, in its order, p-values against the reference included; and what is both."""
    manifest = sources.manifest
    lines: list[Line] = []
    both: list[Repeated] = []
    for protocol in manifest.protocols:
        for dataset in manifest.datasets:
            keys = {row.method: (protocol, dataset.dataset, row.method) for row in manifest.rows}
            cells = {method: sources.cell(key, dataset) for method, key in keys.items()}
            cells = _alike(f"{protocol}/{dataset.dataset}", cells)
            block = [
                _line(
                    protocol,
                    dataset,
                    row,
                    cells[row.method],
                    key,
                    paper,
                    first=protocol == manifest.protocols[0],
                )
                for row in manifest.rows
                for key in _measured(cells.values())
            ]
            for metric, convention in _measured(cells.values()):
                column = [line for line in block if (line.metric, line.no_positive) == (metric, convention)]
                enter_tests(column, manifest.reference)
            lines += block
            for line in block:
                both += _repeated(line, sources.published_cell(keys[line.row.method]))
    return lines, both


def _repeated(line: Line, published: CellResult | None) -> Iterator[Repeated]:
    """The line beside its published values, if it was trained here, counts, and both were measured alike."""
    if line.cell.origin == HERE and published is not None and line.no_positive in ("", line.cell.no_positive):
        values = published.values.get((line.metric, line.no_positive), {})
        if values and line.values and _conditions(published) == _conditions(line.cell):
            theirs, mine = (cell.provenance.get("code", "") for cell in (published, line.cell))
            other = published.digest != line.cell.digest and (theirs != mine or not theirs)
            yield Repeated(line, values, earlier_code=other)


def _measured(cells: Iterable[CellResult]) -> list[MetricKey]:
    """The metrics and conventions of a data set: the paper's, and what else a record of it holds."""
    known = {key for cell in cells for key in cell.values}
    return [
        (name, convention)
        for name, metric in METRICS.items()
        for convention in metric.conventions
        if metric.in_paper or (name, convention) in known
    ]


_CONDITIONS = {
    "source": "source",
    "threshold": "threshold of a positive rating",
    "no_positive": "rule for users without a positive rating",
    "k": "cut-off K",
}


def _conditions(cell: CellResult) -> dict[str, object]:
    return {name: getattr(cell, name) for name in _CONDITIONS}


def _alike(place: str, cells: Mapping[str, CellResult]) -> dict[str, CellResult]:
    """Rows of one column group may be compared only if they saw the same ratings under the same rules.

    Where those trained here did not, as with `dataset.threshold=3`, the published ones are left out.

    Raises:
        BenchError: two rows of the same origin do not fit.
    """
    first: tuple[str, CellResult] | None = None
    alike = {}
    # Those trained here come first: they say what the conditions are.
    for method, cell in sorted(cells.items(), key=lambda item: item[1].origin != HERE):
        if not cell.missing:
            first = first or (method, cell)
            for name, value in _conditions(cell).items():
                wanted = _conditions(first[1])[name]
                if value == wanted:
                    continue
                if cell.origin != first[1].origin:
                    cell = CellResult(missing=f"The published number is of another {_CONDITIONS[name]}.")
                    break
                raise BenchError(
                    f"In {place}, {method} and {first[0]} cannot stand in one table: their "
                    f"{_CONDITIONS[name]} is {value!r} and {wanted!r}; train both alike."
                )
        alike[method] = cell
    return alike


def _line(
    protocol: str,
    dataset: Dataset,
    row: Row,
    cell: CellResult,
    key: MetricKey,
    paper: PaperNumbers,
    *,
    first: bool,
) -> Line:
    """first: the protocol is the one of the printed numbers, whether or not they are comparable."""
    metric, convention = key
    printed = (row.method, dataset.printed, f"{metric}@{dataset.k}" if convention else metric)
    honest = cell.comparable and convention in ("", cell.no_positive)
    return Line(
        protocol=protocol,
        dataset=dataset,
        row=row,
        cell=cell,
        metric=metric,
        no_positive=convention,
        paper=paper.get(printed, "") if honest else "",
        printed=paper.get(printed, "") if first and convention in ("", cell.no_positive) else "",
    )
