"""Error imputation by a constant: every pair of the whole space is a little negative.

    loss = mean_O ℓ(σ(f), r) + λ · (|D| / |O|) · mean_D ℓ(σ(f), m₀)        (G,)

Source: Steck, "Training and Testing of Recommender Systems on Data Missing Not at Random", KDD 2010
(missing ratings get a low imputed value m₀ and a small weight).

Differences from the paper:
1. Point-wise cross-entropy on a sigmoid output instead of squared error on stars.
2. The sum over D is estimated from pairs drawn uniformly, observed pairs included (the paper imputes the
   missing ones only; on the densest data set here, 8 % of D is observed).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.engine.part import minimise
from bench.engine.sampling import Draw
from methods import register
from methods.base import Method, MethodConfig, at_least, between
from methods.parts import Factorisation


@register
class EIB(Method):
    """A control: without it, what a whole-space term gives would be credited to debiasing or to A."""

    title = "EIB, constant"
    paper = "Steck, Training and Testing of Recommender Systems on Data Missing Not at Random, KDD 2010"
    year = 2010
    raw_scores = True

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of the constant imputation."""

        everywhere_ratio: int = field(default=1, metadata=at_least(1))
        imputed_label: float = field(default=0.1, metadata=between(0, 1))  # m₀
        # λ, the weight of one pair of D beside one of O.
        missing_weight: float = field(default=0.01, metadata=at_least(0))

    def build(self) -> None:
        """One part, the prediction model."""
        self.prediction = self.part(Factorisation, "prediction")

    def step(self, draw: Draw) -> None:
        """Minimises the loss on a batch of O and a batch of D."""
        observed, everywhere = draw.observed(), draw.everywhere()
        on_observed = self.pointwise(self.prediction(observed), observed.labels).mean(-1)
        imputed = self.config.column("imputed_label").expand_as(everywhere.labels)
        on_missing = self.pointwise(self.prediction(everywhere), imputed).mean(-1)
        weight = self.config.missing_weight / self.data.density
        minimise(self.prediction, on_observed + weight * on_missing)
