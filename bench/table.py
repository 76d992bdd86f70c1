"""Table 1 from the records: `python -m bench.table [--results DIR]`.

Reads `DIR/table1/cells.json` (which cells the table has) and the records that it names, and writes
beside it `table1.csv` (one line per protocol, data set, row and metric), `seeds.csv` (the values
behind it), `comparisons.csv` (every row against the reference and against the best baseline) and
`table1.md` (the paper's layout). Needs neither torch nor data, and the same records give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench import store
from bench.errors import BenchError
from bench.statistics import bootstrap_median, holm, paired, smallest_p, wilcoxon

PAPER = Path(__file__).resolve().parents[1] / "conf" / "paper" / "table1.csv"
TOLERANCE = 0.01  # a mean this close to the paper's number reproduces it
ALPHA = 0.05  # family-wise error rate behind the table's dagger
HEADER = (
    "protocol,dataset,source,method,metric,k,no_positive,mean,std,n,"
    "paper,delta,within,reference,p_value,p_holm,points,cell"
)
SEEDS_HEADER = "protocol,dataset,method,seed,metric,no_positive,value"
COMPARISONS_HEADER = (
    "protocol,dataset,method,metric,no_positive,against,reference,n,median,low,high,p_value,p_holm,smallest_p"
)

# (metric, convention for users without a positive), in the order of the CSV's lines.
METRICS = (
    ("auc", ""),
    *((metric, convention) for metric in ("ndcg", "recall") for convention in ("skip", "one", "zero")),
)
# Of generated data only, whose every label is known: L_ideal of the paper's "Problem Setup".
IDEAL_LOSS = ("ideal_loss", "")

# What a protocol's `no_positive` does with users without a positive test rating, in words.
NO_POSITIVE = {"skip": "are skipped", "one": "count NDCG 1 and Recall 0", "zero": "count 0"}

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
    """

    digest: str = ""
    missing: str = ""
    source: str = ""
    threshold: float = 0.0
    no_positive: str = ""
    comparable: bool = False
    points: int = 0
    values: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)


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


@dataclass(frozen=True)
class Comparison:
    """A line tested against another of its column. differences: (n,) the line minus the base, by seed."""

    line: Line
    base: Line
    differences: NDArray[np.float64]
    p_value: float
    p_holm: float


def build(results: Path, paper: Path = PAPER) -> dict[str, str]:
    """The table's files, name → text.

    Raises:
        BenchError: the manifest or the paper's numbers cannot be read, a record is absent, damaged or
            of another cell, or rows of one data set were not measured alike.
    """
    manifest = read_manifest(results / "table1" / "cells.json")
    lines = collect(manifest, results / "runs", read_paper(paper))
    return {
        "table1.csv": _csv(HEADER, map(_csv_fields, lines)),
        "seeds.csv": _csv(SEEDS_HEADER, _seed_fields(lines)),
        "comparisons.csv": _csv(COMPARISONS_HEADER, _comparison_fields(manifest, lines)),
        "table1.md": markdown(manifest, lines),
    }


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


def collect(manifest: Manifest, runs: Path, paper: dict[tuple[str, str, str], str]) -> list[Line]:
    """Every line of the table, in its order, p-values included.

    Raises:
        BenchError: see `build`.
    """
    lines = []
    for protocol in manifest.protocols:
        for dataset in manifest.datasets:
            cells = {row.method: _cell(manifest, runs, protocol, dataset, row) for row in manifest.rows}
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


def _cell(manifest: Manifest, runs: Path, protocol: str, dataset: Dataset, row: Row) -> Cell:
    digest, missing = manifest.cells.get((protocol, dataset.dataset, row.method), (None, None))
    if digest is None:
        return Cell(missing=missing or ("Not trained yet." if row.implemented else "Not implemented."))
    return read_cell(runs, digest, protocol, dataset, row.method)


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
    for each in _compare(column, _find(column, reference)):
        each.line.reference, each.line.p_value, each.line.p_holm = reference, each.p_value, each.p_holm


def _compare(column: Sequence[Line], base: Line | None) -> list[Comparison]:
    """Tests every line of a column that has values against one of them; they are one family for Holm."""
    if base is None or not base.values:
        return []
    tested = [line for line in column if line is not base and line.values]
    differences = []
    for line in tested:
        try:
            ours, theirs = paired(line.values, base.values)
        except BenchError as error:
            raise BenchError(
                f"In {line.protocol}/{line.dataset.dataset}, {line.row.method} cannot be tested against "
                f"{base.row.method}. {error}"
            ) from error
        differences.append(ours - theirs)
    p_values = [wilcoxon(each, np.zeros_like(each))[0] for each in differences]
    return [
        Comparison(line, base, difference, p_value, p_holm)
        for line, difference, p_value, p_holm in zip(
            tested, differences, p_values, holm(p_values), strict=True
        )
    ]


def _find(column: Sequence[Line], method: str) -> Line | None:
    return next((line for line in column if line.row.method == method), None)


def _best_baseline(column: Sequence[Line]) -> Line | None:
    """The line of a column that the protocol calls the best baseline."""
    means = [
        (line.mean, line)
        for line in column
        if line.mean is not None and line.row.baseline and not line.row.control
    ]
    pick = min if column[0].metric == IDEAL_LOSS[0] else max
    return pick(means, key=lambda each: each[0])[1] if means else None


# --- CSV ----------------------------------------------------------------------------------------------


def _csv(header: str, rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    text.write(header + "\n")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _csv_fields(line: Line) -> list[str]:
    present = not line.cell.missing
    return [
        line.protocol,
        line.dataset.dataset,
        line.cell.source,
        line.row.method,
        line.metric,
        str(line.dataset.k) if line.no_positive else "",
        line.no_positive,
        _fixed(line.mean),
        _fixed(line.std),
        str(len(line.values)),
        line.paper,
        _fixed(line.delta),
        "" if line.within is None else str(line.within),
        line.reference,
        "" if line.p_value is None else f"{line.p_value:.6g}",
        "" if line.p_holm is None else f"{line.p_holm:.6g}",
        str(line.cell.points) if present else "",
        line.cell.digest,
    ]


def _seed_fields(lines: Iterable[Line]) -> Iterable[list[str]]:
    for line in lines:
        for seed in sorted(line.values):
            yield [
                line.protocol,
                line.dataset.dataset,
                line.row.method,
                str(seed),
                line.metric,
                line.no_positive,
                repr(line.values[seed]),
            ]


def _comparison_fields(manifest: Manifest, lines: Iterable[Line]) -> Iterator[list[str]]:
    """Only of what the protocol counts: the other conventions for users without a positive are left out."""
    columns: dict[tuple[str, str, str, str], list[Line]] = {}
    for line in lines:
        if not line.cell.missing and line.no_positive in ("", line.cell.no_positive):
            key = (line.protocol, line.dataset.dataset, line.metric, line.no_positive)
            columns.setdefault(key, []).append(line)
    for (protocol, dataset, metric, convention), column in columns.items():
        bases = {"reference": _find(column, manifest.reference), "best baseline": _best_baseline(column)}
        for against, base in bases.items():
            for each in _compare(column, base):
                n = len(each.differences)
                effect = bootstrap_median(each.differences, seed=0)
                numbers = (each.p_value, each.p_holm, smallest_p(n))
                yield [
                    *(protocol, dataset, each.line.row.method, metric, convention),
                    *(against, each.base.row.method, str(n)),
                    *map(_fixed, effect),
                    *(f"{number:.6g}" for number in numbers),
                ]


def _fixed(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}".replace("-0.000000", "0.000000")


# --- Markdown -----------------------------------------------------------------------------------------


def markdown(manifest: Manifest, lines: Sequence[Line]) -> str:
    """`table1.md`: for each protocol and data set a table with its caption and its footnotes."""
    parts = ["# Table 1", "\n".join(f"- {item}" for item in _reading(manifest, lines))]
    for protocol in manifest.protocols:
        mine = [line for line in lines if line.protocol == protocol]
        parts += [f"## Protocol `{protocol}`", _agreement(mine)]
        for dataset in manifest.datasets:
            parts += _section(manifest, dataset, [line for line in mine if line.dataset is dataset])
    parts.append("Made from the records by `python -m bench.table`; do not edit.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _reading(manifest: Manifest, lines: Sequence[Line]) -> list[str]:
    """How to read the tables."""
    items = [
        "Mean ± standard deviation over n seeds; in parentheses the paper's number and our difference.",
        "Bold: the best two of a column, controls aside.",
    ]
    reference = next((row.title for row in manifest.rows if row.method == manifest.reference), None)
    if any(line.p_holm is not None for line in lines):
        sizes = sorted({len(line.values) for line in lines if line.values})
        smallest = ", ".join(f"{smallest_p(n):.3g} for n = {n}" for n in sizes)
        items.append(
            f"†: differs from {reference}, p < {ALPHA:g} in an exact, two-sided Wilcoxon signed-rank test "
            "over paired seeds, after Holm's correction within the column. Smallest attainable p, "
            f"uncorrected: {smallest}."
        )
    items += [
        "A: the unbiased ratings of training, and what a row knows of them.",
        "Points: hyper-parameter points tried.",
        "`comparisons.csv`: median differences and tests against the best baseline, too.",
    ]
    return items


def _agreement(lines: Sequence[Line]) -> str:
    """How many of the paper's numbers came out."""
    compared = [line.within for line in lines if line.within is not None]
    if not compared:
        return "No number here is comparable with the paper's."
    return f"{sum(compared)} of {len(compared)} comparable numbers lie within ±{TOLERANCE:g} of the paper's."


def _section(manifest: Manifest, dataset: Dataset, lines: Sequence[Line]) -> list[str]:
    """One data set under one protocol: heading, caption, table, footnotes."""
    heading = f"### {dataset.title}"
    cell = next((line.cell for line in lines if not line.cell.missing), None)
    if cell is None:
        # What is not implemented is so everywhere; here the reason of the others is of interest.
        wanted = [line for line in lines if line.row.implemented] or lines
        return [heading, " ".join(dict.fromkeys(line.missing for line in wanted))]
    shown = {
        (line.row.method, line.metric): line for line in lines if line.no_positive in ("", cell.no_positive)
    }
    columns = list(dict.fromkeys(metric for _, metric in shown))
    best = {metric: _best_two(shown, metric) for metric in columns}
    reasons = list(dict.fromkeys(line.missing for line in shown.values() if line.missing))

    head = ["Method", "A", "Points", *(_heading(metric, dataset.k) for metric in columns)]
    table = [head, ["---"] * len(head)]
    above = [row for row in manifest.rows if not row.control]
    below = [row for row in manifest.rows if row.control]
    for row in [*above, None, *below] if below else above:
        if row is None:
            table.append(["*Controls*"] + [""] * (len(head) - 1))
            continue
        own = shown[row.method, "auc"].cell
        unbiased = {"True": "yes", "False": "no", "None": ""}.get(str(row.uses_unbiased), row.uses_unbiased)
        points = "" if own.missing else str(own.points)
        entries = [_text(shown[row.method, metric], reasons, best[metric]) for metric in columns]
        table.append([row.title, str(unbiased), points, *entries])
    n = ", ".join(map(str, sorted({len(line.values) for line in shown.values() if line.values})))
    rule = NO_POSITIVE.get(cell.no_positive, cell.no_positive)
    caption = (
        f"{cell.source.rstrip('.')}. Positive: ≥ {cell.threshold:g}. "
        f"Users without a positive test rating {rule}. K = {dataset.k}, n = {n}."
    )
    rendered = "\n".join("| " + " | ".join(map(_escape, entries)) + " |" for entries in table)
    footnotes = "\n".join(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))
    return [heading, caption, rendered, footnotes]


def _best_two(shown: dict[tuple[str, str], Line], metric: str) -> list[float]:
    """The two best means of a column, controls aside."""
    lines = [line for (_, name), line in shown.items() if name == metric and not line.row.control]
    means = sorted(line.mean for line in lines if line.mean is not None)
    return means[:2] if metric == IDEAL_LOSS[0] else means[-2:]


def _text(line: Line, reasons: Sequence[str], best: Sequence[float]) -> str:
    if line.mean is None:
        return f"X<sup>{reasons.index(line.missing) + 1}</sup>"
    text = f"{line.mean:.3f}"
    if line.mean in best and not line.row.control:
        text = f"**{text}**"
    if line.p_holm is not None and line.p_holm < ALPHA:
        text += "†"
    if line.std is not None:
        text += f" ± {line.std:.3f}"
    if line.delta is not None:
        text += f" ({line.paper}, {line.delta:+.3f})".replace("-0.000", "+0.000")
    return text


def _heading(metric: str, k: int) -> str:
    return {"auc": "AUC", "ideal_loss": "Ideal loss"}.get(metric, f"{metric[0].upper()}@{k}")


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


# --- Command line -------------------------------------------------------------------------------------


def write(results: Path) -> list[Path]:
    """Writes the table's files and returns their paths. Each appears complete or not at all.

    Raises:
        BenchError: see `build`; or the folder cannot be written.
    """
    written = []
    for name, text in build(results).items():
        file = results / "table1" / name
        temporary = file.with_name(f".{name}.{os.getpid()}")
        try:
            temporary.write_text(text, encoding="utf-8", newline="\n")
            os.replace(temporary, file)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise BenchError(f"{file} cannot be written: {error.strerror or error}.") from error
        written.append(file)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.table", description="Writes Table 1 from the records."
    )
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    try:
        for file in write(parser.parse_args(arguments).results):
            print(file)
    except BenchError as error:
        if os.environ.get("BENCH_DEBUG") == "1":
            raise
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
