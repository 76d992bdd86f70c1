"""How far a cell's means would move if its row were tuned anew: what ± over seeds leaves out.

± over seeds is the spread of trainings at the point that the sweep chose. The choice itself hangs on the
seeds that the finalists were compared on, and another choice has another test mean. Therefore those seeds
are resampled, the sweep's own rule chooses anew among the finalists, and the chosen point's test mean, over
all of its seeds, is read. The standard deviation of what is read is the spread over re-tunings. It belongs to
the mean, not to a single training, so that more final seeds do not make it smaller. The early stages are
taken as they came; and a test mean over few seeds is itself uncertain, which makes the spread rather too
large than too small.

The test metrics of the finalists come from the sweep's points (`bench.records.points`); no selection has
seen them. Needs neither torch nor data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.records.points import CRITERIA, Points, value_text

RESAMPLES = 10_000
SEED = 0  # of the resampling


@dataclass(frozen=True, kw_only=True)
class Retuned:
    """Of one cell. std: metric → standard deviation of the test mean over re-tunings. finalists: points.

    seeds: of each finalist. resamples: draws of those seeds.
    """

    std: dict[str, float] = field(default_factory=dict)
    finalists: int = 0
    seeds: int = 0
    resamples: int = 0


def retuned(points: Points, criterion: str, resamples: int = RESAMPLES, seed: int = SEED) -> Retuned | None:
    """The spread of a sweep's winner over re-tunings; None where the finalists' test metrics are not known.

    Args:
        criterion: what the rule of selection averages (`bench.records.points.CRITERIA`).
    """
    found = points.finalists(criterion)
    if found is None:
        return None
    n = found.criterion.shape[1]
    picks = np.random.default_rng(seed).integers(n, size=(resamples, n))
    # A seed's validation ratings are the same for every point, so that each draw holds for all of them.
    counts = (picks[:, :, None] == np.arange(n)).sum(1)  # (resamples, n): how often each seed was drawn
    chosen = (counts @ found.criterion.T).argmax(1)
    return Retuned(
        std={name: printed(float(values.mean(1)[chosen].std())) for name, values in found.test.items()},
        finalists=len(found.values),
        seeds=n,
        resamples=resamples,
    )


def printed(number: float) -> float:
    """A number as the CSV files print it, so that it is the same when it is read back from there."""
    return float(f"{number:.12g}")


def criterion_of(points: Points, method: Mapping[str, Any]) -> str | None:
    """What the sweep averaged that chose a configuration; None where it chose another one.

    A file of points does not name its rule: it is the one by which these fields win. The file of a newer
    sweep than the cell's has another winner, and tells nothing about the cell.

    Args:
        method: fields of the cell's method.
    """
    for criterion in CRITERIA.values():
        ranked = points.ranked(criterion)
        if ranked and all(
            name in method and value_text(method[name]) == value_text(value)
            for name, value in zip(points.names, ranked[0].values, strict=True)
        ):
            return criterion
    return None
