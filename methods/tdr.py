"""TDR: DR whose imputed errors are corrected along the inverse propensity (targeted doubly robust).

    loss = mean_D ẽ + mean_O w · (e − ẽ),    ẽ = ê + κ · ε · (1/p − 1)                  (G,)
    ε = Σ_O (e − ê)(1/p − 1) / Σ_O (1/p − 1)²

e, ê and w = 1 / p̂, normalised to mean 1 over O, are those of `dr.py`; p = density / w. With κ = 0 it is DR.

Source: Li, Lyu, Zheng and Wu, "TDR-CL: Targeted Doubly Robust Collaborative Learning for Debiased
Recommendations", ICLR 2023; the authors' code in haoxuanli-pku/ICDE24-MNAR.

Differences from the paper:
1. Those of `dr.py` but for its constant imputation, which reads the mean label of A: there is none here.
2. ε is computed anew in every batch, and the gradient flows through it. The authors' code computes it once,
   before the last step, holds it fixed, and squares ẽ in that step: a fixed ε · (1/p − 1) has no gradient.
3. p must be known for pairs without a label, so naive Bayes cannot be had: `propensity` is logistic, or
   released with the data. The authors fit a logistic regression on a model's embeddings.
4. κ, `targeting`, is ours: the share of the correction that is made; the paper has 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from bench.engine.sampling import Batch
from methods import register
from methods.base import at_least, choices
from methods.dr import DR
from methods.targeting import targeting


@register
class TDR(DR):
    """DR with a control variate; knows nothing of A."""

    title = "TDR"
    paper = "Li et al., TDR-CL: Targeted Doubly Robust Collaborative Learning, ICLR 2023"
    year = 2023
    uses_unbiased = "no"
    group: ClassVar[str] = "further"

    @dataclass(kw_only=True)
    class Config(DR.Config):
        """Fields of TDR."""

        propensity: str = field(default="logistic", metadata=choices("logistic", "released"))
        imputation: str = field(default="pretrained", metadata=choices("pretrained"))
        targeting: float = field(default=1.0, metadata=at_least(0))  # κ

    def losses(self, observed: Batch, everywhere: Batch) -> dict[str, Tensor]:
        """The terms of the loss by name, (G,) each."""
        direct = self.pointwise(self.prediction(everywhere), self.imputed(everywhere))
        logits = self.prediction(observed)
        weights = self.weights(observed)
        missed = self.pointwise(logits, observed.labels) - self.pointwise(logits, self.imputed(observed))
        correction = targeting(missed, weights, self.weights(everywhere), self.data.density)
        return {
            "direct": direct.mean(-1),
            "correction": (weights * missed).mean(-1),
            "targeting": self.config.targeting * correction,
        }
