"""Matrix factorisation on O ∪ A: the free use of the unbiased ratings.

    loss = ( |O| · mean_O ℓ(σ(f), r) + |A| · mean_A ℓ(σ(f), r) ) / (|O| + |A|)        (G,)

Source: the row "MF(combine)" of Chen et al., "AutoDebias: Learning to Debias for Recommendation",
SIGIR 2021. Without it, what A gives to any model would be credited to a method.

Differences from the paper:
1. All of A is in every step, with its share of the loss, instead of being mixed into the batches; the
   expected gradient is that of the union.
"""

from __future__ import annotations

from torch import Tensor

from bench.engine.part import minimise
from bench.engine.sampling import Draw
from methods import register
from methods.base import Method
from methods.parts import Factorisation
from methods.weights import coverage


@register
class CombinedMF(Method):
    """A control."""

    title = "MF on O ∪ A"
    paper = "Chen et al., AutoDebias: Learning to Debias for Recommendation, SIGIR 2021"
    year = 2021
    uses_unbiased = "yes"

    def build(self) -> None:
        """One part, and A's share of the ratings."""
        self.prediction = self.part(Factorisation, "prediction")
        n_unbiased = self.data.unbiased_labels.shape[-1]
        self.share = n_unbiased / (n_unbiased + len(self.data.labels))

    def step(self, draw: Draw) -> None:
        """Minimises the mean pointwise loss of a batch of O and of all of A."""
        observed, unbiased = draw.observed(), draw.unbiased()
        on_observed = self.pointwise(self.prediction(observed), observed.labels).mean(-1)
        on_unbiased = self.pointwise(self.prediction(unbiased), unbiased.labels).mean(-1)
        minimise(self.prediction, (1 - self.share) * on_observed + self.share * on_unbiased)

    def diagnostics(self) -> dict[str, Tensor]:
        """See `coverage`."""
        return coverage(self.data)
