"""TDR-JL: DR-JL whose imputed errors are corrected along the inverse propensity.

    imputation:  loss(φ) = mean_O w · (sg(e) − ê)²
    prediction:  loss(θ) = mean_D ẽ + mean_O w · (e − ẽ),    ẽ = ê + κ · ε · (1/p − 1)      (G,)

e, ê and w are those of `dr_jl.py`, ε and κ those of `tdr.py`. With κ = 0 it is DR-JL.

Source: Li, Lyu, Zheng and Wu, "TDR-CL: Targeted Doubly Robust Collaborative Learning for Debiased
Recommendations", ICLR 2023; the authors' code in haoxuanli-pku/ICDE24-MNAR.

Differences from the paper:
1. Those of `dr_jl.py`, and the second to the fourth of `tdr.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from bench.engine.sampling import Batch
from methods import register
from methods.base import at_least, choices
from methods.dr_jl import DRJL
from methods.targeting import targeting
from methods.tdr import TDR


@register
class TDRJL(DRJL):
    """DR-JL with a control variate; knows nothing of A."""

    title = "TDR-JL"
    paper, year = TDR.paper, TDR.year
    uses_unbiased = "no"
    group: ClassVar[str] = "further"

    @dataclass(kw_only=True)
    class Config(DRJL.Config):
        """Fields of TDR-JL."""

        propensity: str = field(default="logistic", metadata=choices("logistic", "released"))
        targeting: float = field(default=1.0, metadata=at_least(0))  # κ

    def losses(
        self, observed: Batch, everywhere: Batch, logits: Tensor, weights: Tensor
    ) -> dict[str, Tensor]:
        """The terms of the loss of θ by name, (G,) each, given f's logits on O and w, (G, B) each."""
        error = self.pointwise(logits, observed.labels)
        missed = error - self.imputed_error(logits, self.imputation.fixed(observed))
        direct = self.imputed_error(self.prediction(everywhere), self.imputation.fixed(everywhere))
        correction = targeting(missed, weights, self.weights(everywhere), self.data.density)
        return {
            "direct": direct.mean(-1),
            "correction": (weights * missed).mean(-1),
            "targeting": self.config.targeting * correction,
        }
