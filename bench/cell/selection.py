"""Named rules that choose a cell's hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, nearest

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Merits:
    """AUC of P points and S seeds, (P, S) each, NaN where a member diverged.

    validation: the best of a member's validation curve. held_out: see `Outcome.held_out` in
    `bench/engine/training.py`. test: all NaN unless the rule is one of `SEES_TEST`.
    """

    validation: Floats
    held_out: Floats
    test: Floats


def validation_auc(merits: Merits) -> Floats:
    """The mean over seeds of the best validation AUC, as the literature selects."""
    return merits.validation.mean(-1)


def validation_held_out(merits: Merits) -> Floats:
    """The mean over seeds of the validation AUC, the stopping point being chosen on other ratings.

    The best of a curve is the higher the more the curve jumps about, so on a small validation set
    `validation_auc` prefers restless points (large rates and embeddings).
    """
    return merits.held_out.mean(-1)


def oracle_test(merits: Merits) -> Floats:
    """The mean *test* AUC over seeds: what looking at the test set would give; never in the table."""
    return merits.test.mean(-1)


RULES: dict[str, Callable[[Merits], Floats]] = {
    "validation_auc": validation_auc,
    "validation_held_out": validation_held_out,
    "oracle_test": oracle_test,
}
SEES_TEST = frozenset({"oracle_test"})


def check(rule: str) -> None:
    """Raises a BenchError unless the rule is known."""
    if rule not in RULES:
        raise BenchError(f"selection={rule} is not known: {nearest(rule, RULES)}")


def order(rule: str, merits: Merits) -> list[int]:
    """Points from best to worst; equal ones in the given order.

    Returns:
        Points of which every seed has a number.
    """
    merit = RULES[rule](merits)
    best_first = np.argsort(-merit, kind="stable")
    return [int(point) for point in best_first if np.isfinite(merit[point])]
