"""Balancing unobserved confounding (BAL) on the IPS loss of LTD: the other variant of `bal_dr.py`.

    loss of θ:  E(θ) = mean_O v · w · e                                            (G,)
    loss of v:  α · (sg(E) − mean_A sg(e))² + mean_O v log v                       (G,)

A step costs nine to ten of MF's with d = 8 and batches of 128 (`make cost`): LTD-IPS's, which costs nearly
seven, and one more model that is read before and after its own step.

Source: as `bal_dr.py`; public code: `BAL-IPS.py`.

Differences from the paper:
1. Those of `bal_dr.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from methods import register
from methods.bal_dr import BALDR


@register
class BALIPS(BALDR):
    """LTD-IPS with balancing coefficients."""

    title = "BAL-IPS"

    @dataclass(kw_only=True)
    class Config(BALDR.Config):
        """Fields of BAL-IPS."""

        base: str = "ips"
        balance_weight_decay: float = 0.1
