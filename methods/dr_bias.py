"""DR-BIAS: DR-JL whose imputation model makes the estimator's bias small instead of its own error.

    imputation:  loss(φ) = mean_O v · (sg(e) − ê)²,    v = (1 − p)² / p³        (G,)

The prediction's loss, p and the division of v by its mean over O are those of `mrdr.py`.

Source: Dai et al., "A Generalized Doubly Robust Learning Framework for Debiasing Post-Click Conversion Rate
Prediction", KDD 2022; public code: haoxuanli-pku/ICDE24-MNAR, `DR-BIAS.py`.

Differences from the paper:
1. Those of `mrdr.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from methods import register
from methods.mrdr import MRDR


@register
class DRBias(MRDR):
    """DR-JL with the weight of the squared bias in the imputation's loss."""

    title = "DR-BIAS"
    paper = "Dai et al., A Generalized Doubly Robust Learning Framework for Debiasing, KDD 2022"
    year = 2022

    @dataclass(kw_only=True)
    class Config(MRDR.Config):
        """Fields of DR-BIAS."""

    def imputation_weights(self, propensity: Tensor) -> Tensor:
        """v before its division, (G, B)."""
        return (1 - propensity).square() / propensity**3
