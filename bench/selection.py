"""Named rules that choose a cell's hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, nearest

Floats = NDArray[np.float64]


def validation_auc(validation: Floats, test: Floats) -> Floats:
    """The mean validation AUC over seeds: the rule of the table."""
    return validation.mean(-1)


def oracle_test(validation: Floats, test: Floats) -> Floats:
    """The mean *test* AUC over seeds: what looking at the test set would give; never in the table."""
    return test.mean(-1)


RULES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "validation_auc": validation_auc,
    "oracle_test": oracle_test,
}
SEES_TEST = frozenset({"oracle_test"})


def check(rule: str) -> None:
    """Raises a BenchError unless the rule is known."""
    if rule not in RULES:
        raise BenchError(f"selection={rule} is not known: {nearest(rule, RULES)}")


def order(rule: str, validation: Floats, test: Floats) -> list[int]:
    """Points from best to worst; equal ones in the grid's order.

    Args:
        validation, test: (P, S) AUC of P points and S seeds, NaN where a member diverged; `test` is all
            NaN unless the rule is one of `SEES_TEST`.

    Returns:
        Points of which every seed has a number.
    """
    merit = RULES[rule](validation, test)
    best_first = np.argsort(-merit, kind="stable")
    return [int(point) for point in best_first if np.isfinite(merit[point])]
