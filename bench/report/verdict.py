"""The page at a glance: what holds, what does not, how sure that is, and the differences as a heat map."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from bench.records.metric import METRICS
from bench.report.choices import PAPERS, column_title, protocol_titles, scopes
from bench.table import layout
from bench.table.claims import (
    Claim,
    Reproduced,
    Verdict,
    claims,
    controls_above,
    in_words,
    row_verdict,
    verdict,
)
from bench.table.frame import Frame
from bench.table.layout import Group
from bench.table.lines import TOLERANCE, Line
from bench.table.manifest import Row
from bench.table.statistics import smallest_p

SIGNS = {
    Verdict.REPRODUCED: "=",
    Verdict.WITHIN: "≈",
    Verdict.UNDECIDED: "?",
    Verdict.DIFFERS: "≠",
}
_STEP = 0.02  # the heat map's colours end at a multiple of it


@dataclass(frozen=True, kw_only=True)
class Card:
    """One answer: a question, its number, a sentence. conditions: of which comparisons, and how tested."""

    title: str
    number: str
    text: str
    conditions: str = ""


@dataclass(frozen=True, kw_only=True)
class HeatCell:
    """One difference from the paper. kind: "low" or "high". share: of the darkest colour."""

    line: Line
    verdict: Verdict
    kind: str
    share: float


@dataclass(frozen=True, kw_only=True)
class HeatRow:
    """A row of the heat map. cells: None where the paper has no comparable number.

    verdicts: of the numbers on the data sets that a reader sees first.
    """

    row: Row
    verdicts: list[Verdict]
    cells: list[HeatCell | None]

    @property
    def verdict(self) -> Verdict:
        """Whether the paper's row holds."""
        return row_verdict(self.verdicts)

    @property
    def count(self) -> int:
        """How many of its numbers have the row's verdict."""
        return self.verdicts.count(self.verdict)


@dataclass(frozen=True, kw_only=True)
class Heat:
    """The heat map of one protocol. columns: (group, metric). darkest: difference where the colours end."""

    protocol: str
    columns: list[tuple[Group, str]]
    rows: list[HeatRow]
    darkest: float

    @property
    def groups(self) -> list[tuple[Group, int]]:
        """Every data set and its number of columns."""
        found: dict[str, tuple[Group, int]] = {}
        for group, _ in self.columns:
            name = group.dataset.dataset
            found[name] = group, found.get(name, (group, 0))[1] + 1
        return list(found.values())


def cards(frame: Frame) -> list[Card]:
    """What holds, what does not and how sure that is."""
    found = claims(frame)
    answers = [
        _agreement(found.reproduced),
        _tested("Does the paper's own method win?", found.proposed),
        _tested("Do the baselines beat the naive method?", found.baselines),
        _controls(frame),
        _certainty(frame, found.reproduced.lines),
    ]
    titles = protocol_titles(frame)
    return [
        Card(
            title=card.title,
            number=card.number,
            text=card.text,
            conditions=_without_names(card.conditions, titles),
        )
        for card in answers
    ]


def _without_names(text: str, titles: dict[str, str]) -> str:
    for name, title in titles.items():
        text = text.replace(f"`{name}`", f"“{title}”")
    return text


def _agreement(found: Reproduced) -> Card:
    title = "Do the paper's numbers come out?"
    if not found.n:
        return Card(title=title, number="—", text=found.sentence)
    return Card(
        title=title,
        number=f"{found.inside} of {found.n}",
        text=f"lie within ±{TOLERANCE:g} of the printed ones; {found.lower} are lower here, "
        f"{found.higher} are higher. {found.certainty}",
        conditions=_conditions(found.lines),
    )


def _conditions(lines: Sequence[Line]) -> str:
    """The data sets and protocols of lines."""
    datasets = in_words(line.dataset.title for line in lines)
    protocols = in_words(f"`{line.protocol}`" for line in lines)
    return f"{datasets}, protocol {protocols}"


def _tested(title: str, claim: Claim) -> Card:
    """A claim on the data sets that the paper has, as README and REPORT count it; else on those there are."""
    claim = claim.comparable if claim.comparable.n else claim
    if not claim.n:
        return Card(title=title, number="—", text=claim.sentence)
    return Card(
        title=title,
        number=f"in {claim.above} of {claim.n}",
        text=f"comparisons with {claim.base} it is significantly better, in {claim.below} significantly "
        f"worse, in {claim.undecided} undecided{', which is not equal' * bool(claim.undecided)}."
        f"{claim.beyond_tuning}",
        conditions=claim.conditions,
    )


def _controls(frame: Frame) -> Card:
    title = "Is a control above all of them?"
    found, n = controls_above(frame)
    if not n:
        return Card(title=title, number="—", text="There is no control here to compare with.")
    by: dict[str, list[str]] = {}
    for column, line in found:
        by.setdefault(line.row.title, []).append(column.title)
    who = "; ".join(f"{row}: {in_words(columns)}" for row, columns in by.items())
    return Card(
        title=title,
        number=f"in {len(found)} of {n}",
        text="columns the best control's mean is better than that of every row of the paper"
        + (f" ({who})." if who else "."),
        conditions="Means alone, not tested. Where it is so, the column says little about debiasing.",
    )


def _certainty(frame: Frame, compared: Sequence[Line]) -> Card:
    sizes = layout.seed_numbers(frame.lines)
    title = "How sure is that?"
    if not sizes:
        return Card(title=title, number="—", text="There are no values yet.")
    errors = [
        line.std / np.sqrt(len(line.values)) for line in compared or frame.lines if line.std is not None
    ]
    spread = f"Our means' standard error is {np.median(errors):.3f} in the median. " if errors else ""
    smallest = smallest_p(sizes[0])
    return Card(
        title=title,
        number=f"{' or '.join(map(str, sizes))} seeds each",
        text=f"{spread}All rows share their seeds' splits, so that tests are paired; the smallest p that "
        f"{sizes[0]} seeds can reach is {smallest:.3g}, before Holm's correction multiplies it by up to the "
        "number of rows. The paper prints no spread of its own.",
    )


# --- The heat map ---------------------------------------------------------------------------------------


def heat(frame: Frame, groups: Sequence[Group]) -> Heat | None:
    """Our means minus the paper's numbers under one protocol; None where none is comparable."""
    columns = [
        (group, metric)
        for group in groups
        if group.compared
        for metric in group.metrics
        if METRICS[metric].in_paper
    ]
    if not columns:
        return None
    first = scopes(frame)[PAPERS]
    lines = {
        row.method: [group.lines[row.method, metric] for group, metric in columns] for row in _rows(frame)
    }
    deltas = [abs(line.delta) for some in lines.values() for line in some if line.delta is not None]
    darkest = _STEP * math.ceil(max(deltas) / _STEP - 1e-9) or _STEP
    rows = []
    for row in _rows(frame):
        cells = [_heat_cell(line, darkest) for line in lines[row.method]]
        if any(cells):
            rows.append(HeatRow(row=row, verdicts=_verdicts(cells, first), cells=cells))
    return Heat(protocol=columns[0][0].protocol, columns=columns, rows=rows, darkest=darkest)


def _rows(frame: Frame) -> list[Row]:
    return [row for _, rows in layout.row_blocks(frame) for row in rows]


def _verdicts(cells: Sequence[HeatCell | None], datasets: Collection[str]) -> list[Verdict]:
    """Of the cells on some data sets; of all where these have none."""
    found = [cell for cell in cells if cell is not None]
    shown = [cell for cell in found if cell.line.dataset.dataset in datasets]
    return [cell.verdict for cell in shown or found]


def _heat_cell(line: Line, darkest: float) -> HeatCell | None:
    found = verdict(line)
    if line.delta is None or found is None:
        return None
    return HeatCell(
        line=line,
        verdict=found,
        kind="low" if line.delta < 0 else "high",
        share=min(1.0, abs(line.delta) / darkest),
    )


def cell_name(line: Line) -> str:
    """What a cell's button is called: row, column and numbers, for who hears them one by one."""
    said = f"{line.row.title}, {column_title(line.dataset, line.metric)}: {line.mean:.3f}"
    if line.std is not None:
        said += f" ± {line.std:.3f}"
    if line.delta is not None:
        said += f"; paper {line.paper}, difference {layout.signed(line.delta)}, {verdict(line)}"
    elif line.printed:
        said += f"; paper {line.printed}, not comparable"
    return said
