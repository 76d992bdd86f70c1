"""DR-MSE: DR-JL whose imputation model makes a sum of the estimator's squared bias and variance small.

    imputation:  loss(φ) = mean_O v · (sg(e) − ê)²,    v = λ (1 − p)² / p³ + (1 − λ) (1 − p) / p²        (G,)

λ = 0 is MRDR, λ = 1 is DR-BIAS. The prediction's loss, p and the division of v by its mean over O are those
of `mrdr.py`.

Source: Dai et al., "A Generalized Doubly Robust Learning Framework for Debiasing Post-Click Conversion Rate
Prediction", KDD 2022; public code: haoxuanli-pku/ICDE24-MNAR, `DR-MSE.py`.

Differences from the paper:
1. Those of `mrdr.py`. The sum is divided as a whole, so that λ is the paper's.
2. λ is one number; the paper's second form has one for each pair.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from methods import register
from methods.base import between
from methods.mrdr import MRDR


@register
class DRMSE(MRDR):
    """Between MRDR and DR-BIAS."""

    title = "DR-MSE"
    paper = "Dai et al., A Generalized Doubly Robust Learning Framework for Debiasing, KDD 2022"
    year = 2022

    @dataclass(kw_only=True)
    class Config(MRDR.Config):
        """Fields of DR-MSE."""

        bias_share: float = field(default=0.5, metadata=between(0, 1))  # λ

    def imputation_weights(self, propensity: Tensor) -> Tensor:
        """v before its division, (G, B)."""
        share = self.config.column("bias_share")
        rest = 1 - propensity
        return share * (rest.square() / propensity**3) + (1 - share) * (rest / propensity.square())
