"""The page at a glance: what holds, what does not, how sure that is, and the differences as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.records.metric import METRICS
from bench.table import layout
from bench.table.comparisons import BEST_BASELINE
from bench.table.frame import Frame
from bench.table.layout import Group
from bench.table.lines import ALPHA, TOLERANCE, Line
from bench.table.statistics import smallest_p

_DARKEST = 0.05  # difference from the paper at which the heat map's colours end


@dataclass(frozen=True, kw_only=True)
class Card:
    """One answer: a question, its number, a sentence."""

    title: str
    number: str
    text: str


@dataclass(frozen=True, kw_only=True)
class HeatCell:
    """One difference from the paper. kind: "in" tolerance, "low", "high". share: of the darkest colour."""

    line: Line
    kind: str
    share: float


@dataclass(frozen=True, kw_only=True)
class HeatRow:
    """A row of the heat map. cells: None where the paper has no comparable number."""

    title: str
    within: int
    compared: int
    cells: list[HeatCell | None]

    @property
    def word(self) -> str:
        """Whether the paper's row holds."""
        return "holds" if self.within == self.compared else "partly" if self.within else "does not hold"


@dataclass(frozen=True, kw_only=True)
class Heat:
    """The heat map of one protocol. datasets: title and number of columns. headings: of the columns."""

    protocol: str
    datasets: list[tuple[str, int]]
    headings: list[str]
    rows: list[HeatRow]


def cards(frame: Frame) -> list[Card]:
    """What holds, what does not and how sure that is."""
    compared = [line for line in frame.lines if line.within is not None]
    return [_agreement(compared), _claim(frame), _certainty(frame, compared)]


def _agreement(compared: Sequence[Line]) -> Card:
    title = "Do the paper's numbers come out?"
    if not compared:
        return Card(title=title, number="—", text="No number here can be compared with the paper's.")
    inside = sum(bool(line.within) for line in compared)
    below = sum((line.delta or 0) < -TOLERANCE for line in compared)
    above = len(compared) - inside - below
    return Card(
        title=title,
        number=f"{inside} of {len(compared)}",
        text=f"lie within ±{TOLERANCE:g} of the printed ones; {below} are lower here, {above} are higher.",
    )


def _claim(frame: Frame) -> Card:
    """The paper's claim: its own rows beat the best baseline of every column."""
    title = "Does the paper's own method win?"
    protocol = frame.manifest.protocols[0]
    better: dict[tuple[str, str], bool] = {}
    worse: dict[tuple[str, str], bool] = {}
    names = []
    for each in frame.comparisons:
        line = each.line
        if each.against != BEST_BASELINE or line.protocol != protocol or not line.row.proposed:
            continue
        if not METRICS[line.metric].in_paper:
            continue
        names.append(line.row.title)
        place = (line.dataset.dataset, line.metric)
        sure = each.p_holm < ALPHA
        better[place] = better.get(place, False) or (sure and each.median > 0)
        worse[place] = worse.get(place, True) and sure and each.median < 0
    if not better:
        text = "The paper's own rows have no values here, or no baseline to be tested against."
        return Card(title=title, number="—", text=text)
    won, lost = sum(better.values()), sum(worse.values())
    rows = " or ".join(dict.fromkeys(names))
    every = "both" if len(set(names)) == 2 else "them"
    return Card(
        title=title,
        number=f"in {won} of {len(better)} columns",
        text=f"{rows} beats the best baseline; in {lost} the baseline beats {every}, in "
        f"{len(better) - won - lost} it is undecided (protocol {protocol}, all data sets, p < {ALPHA:g} "
        "after Holm's correction).",
    )


def _certainty(frame: Frame, compared: Sequence[Line]) -> Card:
    sizes = sorted({len(line.values) for line in frame.lines if line.values})
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
        f"{sizes[0]} seeds can reach is {smallest:.3g}. The paper prints no spread of its own.",
    )


# --- The heat map ---------------------------------------------------------------------------------------


def heat(frame: Frame, groups: Sequence[Group]) -> Heat | None:
    """Our means minus the paper's numbers under one protocol; None where none is comparable."""
    found = [group for group in groups if group.compared]
    if not found:
        return None
    columns = [(group, metric) for group in found for metric in group.metrics if METRICS[metric].in_paper]
    rows = []
    for row in frame.manifest.rows:
        lines = [group.lines[row.method, metric] for group, metric in columns]
        compared = [line.within for line in lines if line.within is not None]
        if compared:
            cells = [_heat_cell(line) for line in lines]
            rows.append(HeatRow(title=row.title, within=sum(compared), compared=len(compared), cells=cells))
    return Heat(
        protocol=found[0].protocol,
        datasets=[(group.dataset.title, sum(g is group for g, _ in columns)) for group in found],
        headings=[layout.heading(metric, group.dataset.k) for group, metric in columns],
        rows=rows,
    )


def _heat_cell(line: Line) -> HeatCell | None:
    if line.delta is None:
        return None
    kind = "in" if line.within else "low" if line.delta < 0 else "high"
    return HeatCell(line=line, kind=kind, share=min(1.0, abs(line.delta) / _DARKEST))
