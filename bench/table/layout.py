"""The paper's layout: what Markdown, LaTeX, HTML and terminal have in common.

The order of the rows in blocks with a rule between them, the marks of the numbers, and the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.records.metric import METRICS
from bench.table.claims import Reproduced, chosen_by, once_more
from bench.table.comparisons import BEST_BASELINE, REFERENCE
from bench.table.editions import editions
from bench.table.frame import Frame
from bench.table.lines import ALPHA, HERE, PUBLISHED, TOLERANCE, CellResult, Line, best_baseline, best_two
from bench.table.manifest import FAMILIES, Dataset, Row
from bench.table.retuning import RESAMPLES
from bench.table.statistics import smallest_p

# What a protocol's `no_positive` does with users without a positive test rating, in words.
_NO_POSITIVE = {"skip": "are skipped", "one": "count NDCG 1 and Recall 0", "zero": "count 0"}
DO_NOT_EDIT = "Made from the records by `python -m bench.table`; do not edit."


TEMPLATES = Path(__file__).with_name("templates")
UNEQUAL = "§"  # behind the numbers of a row whose budget of tuning is its own
# Family → heading under its rule.
BLOCKS = {"paper": "", "further": "Further methods", "control": "Controls", "guest": "Own rows"}


# --- Groups of columns --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Marks:
    """How a number is set. best: of the column's best two. base: the best baseline.

    differs: from the reference. differs_best: from the best baseline. holds, holds_best: that difference
    survives the spread of the tuning. unequal: chosen with another budget than a plan's.
    """

    best: bool = False
    base: bool = False
    differs: bool = False
    differs_best: bool = False
    holds: bool = False
    holds_best: bool = False
    unequal: bool = False

    @property
    def signs(self) -> str:
        """The signs behind the number."""
        tests = "†" * (self.differs + self.holds) + "‡" * (self.differs_best + self.holds_best)
        return tests + UNEQUAL * self.unequal


@dataclass(frozen=True)
class Group:
    """The columns of one data set under one protocol.

    cell: any that has values, for what they share; None where there is none. reasons: why cells are
    missing, in the order of their footnotes. tuning: see `Frame`.
    """

    protocol: str
    dataset: Dataset
    cell: CellResult | None
    metrics: list[str]
    lines: dict[tuple[str, str], Line]  # (method, metric)
    marks: dict[tuple[str, str], Marks]
    reasons: list[str]
    tuning: str = ""

    @property
    def compared(self) -> list[bool]:
        """Of every number of the paper's that is comparable: whether ours lies within the tolerance."""
        return [line.within for line in self.lines.values() if line.within is not None]

    @property
    def seeds(self) -> str:
        """The numbers of seeds; those of rows of one's own only where there are no others."""
        return ", ".join(map(str, seed_numbers(list(self.lines.values()))))

    @property
    def caption(self) -> str:
        """The conditions of the columns, in a sentence or two."""
        if self.cell is None:
            return ""
        rule = _NO_POSITIVE.get(self.cell.no_positive, self.cell.no_positive)
        return (
            (f"{self.dataset.note} " if self.dataset.note else "")
            + f"{self.cell.source.rstrip('.')}. Positive: ≥ {self.cell.threshold:g}. "
            f"Users without a positive test rating {rule}. K = {self.dataset.k}, n = {self.seeds}."
            + (f" Tuned over (points × seeds): {self.tuning}." if self.tuning else "")
            + (f" {self.editions}" if self.editions else "")
        )

    @property
    def editions(self) -> str:
        """Which rows are of which edition (`bench.table.editions`); "" where all are of one."""
        return editions(list(self.lines.values()))


def column_groups(frame: Frame, protocol: str) -> list[Group]:
    """The column groups of a protocol."""
    significant = {(each.against, id(each.line)) for each in frame.comparisons if each.sign}
    surviving = {(each.against, id(each.line)) for each in frame.comparisons if each.survives}
    made = []
    for dataset in frame.manifest.datasets:
        lines = frame.column_group(protocol, dataset)
        ordered = [line for family in FAMILIES for line in lines.values() if line.row.family == family]
        reasons = list(dict.fromkeys(line.missing for line in ordered if line.missing))
        cell = next((line.cell for line in ordered if not line.cell.missing), None)
        if cell is None:
            made.append(Group(protocol, dataset, None, [], lines, {}, reasons))
            continue
        metrics = list(dict.fromkeys(metric for _, metric in lines))
        marks = {}
        for metric in metrics:
            column = [line for (_, name), line in lines.items() if name == metric]
            best, base = best_two(column), best_baseline(column)
            for line in column:
                marks[line.row.method, metric] = Marks(
                    best=line.mean in best and line.row.family == "paper",
                    base=line is base,
                    differs=(REFERENCE, id(line)) in significant,
                    differs_best=(BEST_BASELINE, id(line)) in significant,
                    holds=(REFERENCE, id(line)) in surviving,
                    holds_best=(BEST_BASELINE, id(line)) in surviving,
                    unequal=bool(line.sweeper),
                )
        tuning = frame.tuning.get((protocol, dataset.dataset), "")
        made.append(Group(protocol, dataset, cell, metrics, lines, marks, reasons, tuning))
    return made


def row_blocks(frame: Frame) -> list[tuple[str, list[Row]]]:
    """The rows in the table's order, in blocks with a rule between them: (heading of the block, rows)."""
    families = [[row for row in frame.manifest.rows if row.family == family] for family in FAMILIES]
    return [(BLOCKS[rows[0].family], rows) for rows in families if rows]


def columns(groups: Sequence[Group]) -> list[tuple[Group, str]]:
    """The columns of numbers: (group, metric)."""
    return [(group, metric) for group in groups for metric in group.metrics]


def reasons(groups: Sequence[Group]) -> list[str]:
    """Why cells are missing, in the order of the footnotes."""
    return list(dict.fromkeys(reason for group in groups for reason in group.reasons))


def seed_numbers(lines: Sequence[Line]) -> list[int]:
    """The numbers of seeds; those of rows of one's own only where there are no others."""
    numbers = {len(line.values) for line in lines if line.values and not line.row.guest}
    return sorted(numbers or {len(line.values) for line in lines if line.values})


# --- Words --------------------------------------------------------------------------------------------


def reading(
    frame: Frame,
    *,
    points: bool = True,
    published: str = "Origin published",
    printed: str = "in parentheses the paper's number and our difference, with ✓ where it is",
    groups: Sequence[Group] | None = None,
) -> list[str]:
    """How to read a table, sentence by sentence; a sign that it does not have is not explained.

    points: whether it has a column of them. published: how numbers are set that were not trained here.
    printed: how the paper's numbers are set. groups: what it shows; None for the whole frame.
    """
    if groups is None:
        groups = [group for name in frame.manifest.protocols for group in column_groups(frame, name)]
    lines = [line for group in groups for line in group.lines.values()]
    marks = [mark for group in groups for mark in group.marks.values()]
    families = {line.row.family for line in lines}
    compared = any(line.within is not None for line in lines)
    items = [
        "Mean ± standard deviation over n seeds"
        + (f"; {printed} within ±{TOLERANCE:g}." if compared else ".")
    ]
    if any(line.tuning_std is not None for line in lines):
        items.append(
            "Behind a slash: standard deviation of the mean over re-tunings, where the test metrics of the "
            f"sweep's finalists are known (the finalists' seeds drawn anew {RESAMPLES} times, the winner "
            "chosen anew by validation)."
        )
    best = "Bold: the best two of a column. " if any(mark.best for mark in marks) else ""
    base = f"Underlined: the best baseline, {chosen_by(frame)}. " if any(mark.base for mark in marks) else ""
    if best or base:
        items.append(f"{best}{base}Controls aside.")
    signs = {sign for mark in marks for sign in mark.signs} - {UNEQUAL}
    if signs:
        smallest = ", ".join(f"{smallest_p(n):.3g} for n = {n}" for n in seed_numbers(lines))
        differs = f"†: differs from {frame.title(frame.manifest.reference)}" if "†" in signs else ""
        differs_best = "‡: from the column's best baseline" if "‡" in signs else ""
        if not differs:
            differs_best = differs_best.replace("from", "differs from")
        items.append(
            f"{', '.join(filter(None, (differs, differs_best)))}; "
            f"p < {ALPHA:g} in an exact, two-sided Wilcoxon signed-rank test over paired seeds, after Holm's "
            "correction within the column (the rows of the paper one family, the controls another). Smallest "
            f"attainable p, uncorrected: {smallest}; no mark does not mean equal."
        )
    if any(mark.holds or mark.holds_best for mark in marks):
        items.append(
            "††, ‡‡: the difference holds with the tuning's spread in the test, too: p < "
            f"{ALPHA:g} of Student's t = mean(d) / √(sd(d)² / n + τ² + τ'²), τ the two rows' standard "
            "deviations over re-tunings, after the same correction."
        )
    items.append("A: the unbiased ratings of training, and what a row knows of them.")
    if points:
        items.append("Points: hyper-parameter points tried.")
    items += unequal_budgets(lines)
    if any(line.missing for line in lines):
        items.append("X: no number; the footnote says why.")
    if "further" in families:
        items.append(
            "Further methods: of the field, not of the paper; neither bold nor underlined, corrected as a "
            "family of their own."
        )
    if "guest" in families:
        items.append(
            "Own rows: none of the suite's; neither bold nor underlined, corrected as a family of their own."
        )
    if {HERE, PUBLISHED} <= {line.cell.origin for line in lines}:
        items.append(f"{published}: by the suite's authors; the others were trained in this checkout.")
    keys = {(line.protocol, line.dataset.dataset, line.row.method) for line in lines}
    earlier = {repeated.cell_key for repeated in frame.both if repeated.earlier_code} & keys
    if earlier:
        items.append(
            f"Of the cells trained in this checkout, {len(earlier)} are published by earlier code: a "
            "difference from the published number is no failure there."
        )
    return items


def unequal_budgets(lines: Sequence[Line]) -> list[str]:
    """A sentence about the rows that another sweeper than a plan's chose, if there are any."""
    chosen = [line for line in lines if line.sweeper]
    if not chosen:
        return []
    points: dict[str, set[int]] = {}
    for line in chosen:
        points.setdefault(f"{line.row.title} on {line.dataset.title}", set()).add(line.cell.points)
    tried = ", ".join(f"{cell} {'/'.join(map(str, sorted(numbers)))}" for cell, numbers in points.items())
    sweepers = " and ".join(sorted({line.sweeper for line in chosen}))
    return [
        f"{UNEQUAL}: chosen among the trials of {sweepers} (points: {tried}), not by the plan of the other "
        "rows: a budget of its own, so that the comparison is not an equal one."
    ]


def in_tolerance(lines: Sequence[Line]) -> str:
    """How many of the paper's numbers came out (`bench.table.claims.Reproduced`)."""
    own = [line for line in lines if line.within is not None and not line.dataset.repeats]
    compared, again = Reproduced(own), once_more(lines)
    if not compared.n:
        return again or "No number here is comparable with the paper's."
    said = f"{compared.inside} of {compared.n} comparable numbers lie within ±{TOLERANCE:g} of the paper's."
    return f"{said} {again}".rstrip()


def heading(metric: str, k: int) -> str:
    """A column's short title: "N@5", "AUC"."""
    known = METRICS[metric]
    return f"{known.title[0]}@{k}" if known.at_k else known.title


def unbiased(row: Row) -> str:
    """What a row knows of A."""
    return {"True": "yes", "False": "no", "None": ""}.get(str(row.uses_unbiased), str(row.uses_unbiased))


def signed(delta: float, digits: int = 3) -> str:
    """A difference to so many decimals, with its sign unless they are all zero."""
    zero = f"{0:.{digits}f}"
    text = f"{delta:+.{digits}f}"
    return zero if text[1:] == zero else text


def spread(line: Line) -> str:
    """What stands behind a mean: "0.004", with the spread over re-tunings "0.004/0.002", or nothing."""
    if line.std is None:
        return ""
    return f"{line.std:.3f}" + ("" if line.tuning_std is None else f"/{line.tuning_std:.3f}")


# What the templates use.
FILTERS = {"signed": signed, "heading": heading, "unbiased": unbiased, "spread": spread}


# --- Of a row ------------------------------------------------------------------------------------------


def points(group: Group, row: Row) -> str:
    """How many points of a sweep a row's cell was chosen from."""
    cell = _cell(group, row)
    return "" if cell.missing else str(cell.points)


def origin(group: Group, row: Row) -> str:
    """Where a row's cell was trained."""
    return _cell(group, row).origin


def _cell(group: Group, row: Row) -> CellResult:
    return group.lines[row.method, group.metrics[0]].cell
