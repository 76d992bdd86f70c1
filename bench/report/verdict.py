"""The page at a glance: what holds, what does not, how sure that is, and the differences as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.records.metric import METRICS
from bench.table import layout
from bench.table.claims import Claim, Reproduced, claims, in_words
from bench.table.frame import Frame
from bench.table.layout import Group
from bench.table.lines import TOLERANCE, Line
from bench.table.statistics import smallest_p

_DARKEST = 0.05  # difference from the paper at which the heat map's colours end


@dataclass(frozen=True, kw_only=True)
class Card:
    """One answer: a question, its number, a sentence. conditions: of which comparisons, and how tested."""

    title: str
    number: str
    text: str
    conditions: str = ""


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
    found = claims(frame)
    return [
        _agreement(found.reproduced),
        _tested("Does the paper's own method win?", found.proposed),
        _tested("Do the baselines beat the naive method?", found.baselines),
        _certainty(frame, found.reproduced.lines),
    ]


def _agreement(found: Reproduced) -> Card:
    title = "Do the paper's numbers come out?"
    if not found.n:
        return Card(title=title, number="—", text=found.sentence)
    return Card(
        title=title,
        number=f"{found.inside} of {found.n}",
        text=f"lie within ±{TOLERANCE:g} of the printed ones; {found.lower} are lower here, "
        f"{found.higher} are higher.",
        conditions=_conditions(found.lines),
    )


def _conditions(lines: Sequence[Line]) -> str:
    """The data sets and protocols of lines."""
    datasets = in_words(line.dataset.title for line in lines)
    return f"{datasets}, protocol {in_words(line.protocol for line in lines)}"


def _tested(title: str, claim: Claim) -> Card:
    """A claim on the data sets that the paper has, as README and REPORT count it; else on those there are."""
    claim = claim.comparable if claim.comparable.n else claim
    if not claim.n:
        return Card(title=title, number="—", text=claim.sentence)
    return Card(
        title=title,
        number=f"in {claim.above} of {claim.n}",
        text=f"comparisons with {claim.base} it is significantly better, in {claim.below} significantly "
        f"worse, in {claim.undecided} undecided.{claim.beyond_tuning}",
        conditions=claim.conditions.replace("`", ""),
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
