"""Matrix factorisation on O ∪ A: the free use of the unbiased ratings.

    loss = ( |O| · mean_O ℓ(σ(f), r) + |A| · mean_A ℓ(σ(f), r) ) / (|O| + |A|)        (G,)

`missing_weight` adds the whole-space term of `eib.py`; by default there is none.

Source: the row "MF(combine)" of Chen et al., "AutoDebias: Learning to Debias for Recommendation",
SIGIR 2021. Without it, what A gives to any model would be credited to a method.

Differences from the paper:
1. All of A is in every step, with its share of the loss, instead of being mixed into the batches; the
   expected gradient is that of the union.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from bench.engine.part import minimise
from bench.engine.sampling import Draw
from methods import register
from methods.base import Method, MethodConfig, at_least, between, require
from methods.parts import Factorisation
from methods.weights import coverage


@register
class CombinedMF(Method):
    """A control."""

    title = "MF on O ∪ A"
    paper = "Chen et al., AutoDebias: Learning to Debias for Recommendation, SIGIR 2021"
    year = 2021
    uses_unbiased = "yes"
    raw_scores = True

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of MF on O ∪ A."""

        missing_weight: float = field(default=0.0, metadata=at_least(0))  # of the whole-space term
        imputed_label: float = field(default=0.1, metadata=between(0, 1))  # of that term

        def check(self) -> None:
            """See `MethodConfig.check`."""
            super().check()
            drawn = self.everywhere_ratio > 0 or self.missing_weight == 0
            require(self, "everywhere_ratio", drawn, "must be at least 1 for a whole-space term")

    def build(self) -> None:
        """One part, and A's share of the ratings."""
        self.whole_space = bool((self.config.missing_weight > 0).any())  # asked once, not in each step
        self.prediction = self.part(Factorisation, "prediction")
        n_unbiased = self.data.unbiased_labels.shape[-1]
        self.share = n_unbiased / (n_unbiased + len(self.data.labels))

    def step(self, draw: Draw) -> None:
        """Minimises the mean pointwise loss of a batch of O and of all of A."""
        observed, unbiased = draw.observed(), draw.unbiased()
        on_observed = self.pointwise(self.prediction(observed), observed.labels).mean(-1)
        on_unbiased = self.pointwise(self.prediction(unbiased), unbiased.labels).mean(-1)
        loss = (1 - self.share) * on_observed + self.share * on_unbiased
        if self.whole_space:
            everywhere = draw.everywhere()
            imputed = self.config.column("imputed_label").expand_as(everywhere.labels)
            missing = self.pointwise(self.prediction(everywhere), imputed).mean(-1)
            loss = loss + self.config.missing_weight / self.data.density * missing
        minimise(self.prediction, loss)

    def diagnostics(self) -> dict[str, Tensor]:
        """See `coverage`."""
        return coverage(self.data)
