"""The data of the page's charts, which its script draws: curves, sensitivity, unlearning rates.

What a chart says in words stands in the page's text as well, for readers without the script.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.records.points import Points
from bench.report.details import CRITERION_TITLES, CellDetails
from bench.report.traces import STATISTICS, Curve
from bench.table.frame import Frame

LOWEST = 0.02  # share of a data set's validation AUC that may lie below the charts' axis


@dataclass(frozen=True, kw_only=True)
class Block:
    """The charts of one data set under one protocol."""

    protocol: str
    dataset: str
    title: str
    cells: list[CellDetails]


def chart_blocks(cells: Iterable[CellDetails]) -> list[Block]:
    """Cells by protocol and data set, in the table's order."""
    found: dict[tuple[str, str], Block] = {}
    for cell in cells:
        line = cell.line
        block = Block(
            protocol=line.protocol, dataset=line.dataset.dataset, title=line.dataset.title, cells=[]
        )
        found.setdefault((line.protocol, line.dataset.dataset), block).cells.append(cell)
    return list(found.values())


# --- Curves ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class CurveBlock:
    """The curves of one data set. low, high: of their common axis. reference: the mean AUC it kept, or None.

    kept: digest → mean AUC over seeds of the kept parameters.
    """

    block: Block
    low: float
    high: float
    reference: float | None
    kept: dict[str, float]


def curve_blocks(frame: Frame, cells: Sequence[CellDetails]) -> list[CurveBlock]:
    """The data sets that have curves."""
    found = []
    for block in chart_blocks(cell for cell in cells if cell.traces.curves):
        low, high = curve_limits([curve for cell in block.cells for curve in cell.traces.curves])
        kept = {cell.digest: kept_auc(cell.traces.curves) for cell in block.cells}
        reference = next(
            (kept[cell.digest] for cell in block.cells if cell.line.row.method == frame.manifest.reference),
            None,
        )
        found.append(CurveBlock(block=block, low=low, high=high, reference=reference, kept=kept))
    return found


def curve_limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """The axis of a data set's curves: up to the best value, but for the lowest few after the start.

    All start near .5; the axis begins where they differ.
    """
    values = [auc for curve in curves for auc in curve.auc[1:]] or [
        auc for curve in curves for auc in curve.auc
    ]
    return math.floor(np.quantile(values, LOWEST) * 100) / 100, math.ceil(max(values) * 100) / 100


def kept_auc(curves: Sequence[Curve]) -> float:
    """Mean over seeds of the validation AUC where the parameters were kept."""
    return float(np.mean([curve.kept_auc for curve in curves]))


def curve_data(curves: Sequence[Curve]) -> dict[str, Any]:
    """The curves as the script reads them: common steps, and of each seed its values up to its end.

    auc: of each seed as `successive_differences`.
    """
    steps = max((curve.steps for curve in curves), key=len)
    return {
        "steps": steps,
        "seeds": [curve.seed for curve in curves],
        "kept": [[curve.kept_step, curve.kept_auc] for curve in curves],
        "auc": [successive_differences(curve.auc) for curve in curves],
    }


def successive_differences(values: Iterable[float]) -> list[int]:
    """Values of four decimals as ten-thousandths, each less the one before: half as long in the page."""
    whole = [round(value * 10_000) for value in values]
    return [after - before for before, after in itertools.pairwise([0, *whole])]


# --- Sensitivity ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What one hyper-parameter of one cell does to the AUC that points are ranked by.

    best: value → AUC of the best point that has it. gain: of the best value over the worst.
    """

    name: str
    best: dict[Any, float]

    @property
    def title(self) -> str:
        """In words."""
        return self.name.replace("_", " ")

    @property
    def gain(self) -> float:
        """What choosing the best value gains over the worst."""
        return max(self.best.values()) - min(self.best.values())


def sensitivities(cell: CellDetails) -> list[Sensitivity]:
    """Of every hyper-parameter that took more than one value among the points that did not diverge."""
    found = []
    for name in cell.points.names:
        groups = cell.points.by_value(name, cell.criterion)
        if len(groups) > 1:
            best = {value: max(point.auc for point in points) for value, points in groups.items()}
            found.append(Sensitivity(name=name, best=best))
    return found


def points_data(cell: CellDetails) -> dict[str, Any]:
    """The points tried as the script reads them, from best to worst.

    values: of each hyper-parameter, in their order. points: the place of each value among these, the AUC
    and the number of seeds behind it; the AUC as `successive_differences`.
    """
    points, ranked = cell.points, cell.tried
    aucs = successive_differences(point.auc for point in ranked)
    values = [list(points.by_value(name, cell.criterion)) for name in points.names]
    places = [{value: place for place, value in enumerate(column)} for column in values]
    return {
        "count": len(points.points()),
        "trainings": len(points.trainings),
        "names": list(points.names),
        "criterion": CRITERION_TITLES[cell.criterion],
        "values": values,
        "points": [
            [
                *(known[value] for known, value in zip(places, point.values, strict=True)),
                auc,
                point.seeds,
            ]
            for auc, point in zip(aucs, ranked, strict=True)
        ],
    }


def tried_caption(points: Points) -> str:
    """The size of a sweep: "160 points, 400 trainings"."""
    return f"{len(points.points())} points, {len(points.trainings)} trainings"


# --- Rates ----------------------------------------------------------------------------------------------


def rates_data(cell: CellDetails) -> dict[str, Any]:
    """The scatter plots of a cell as the script reads them, by statistic."""
    assert cell.traces.rates is not None
    return {
        name: {
            "title": STATISTICS[name][0],
            "log": STATISTICS[name][1],
            "values": scatter.values,
            "alpha": scatter.alpha,
        }
        for name, scatter in cell.traces.rates.scatters.items()
    }
