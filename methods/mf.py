"""Matrix factorisation on the observed ratings: the naive reference.

    loss = mean_O ℓ(σ(f(u, i)), r),    f(u, i) = p_u · q_i + b_u + b_i + b        (G,)

Source: Koren, Bell and Volinsky, "Matrix Factorization Techniques for Recommender Systems", Computer
42(8), 2009; E_N(θ) of the ULTD paper's "Problem Setup".

Differences from the paper:
1. Binary labels, a sigmoid output and cross-entropy (`loss: bce`) instead of squared error on ratings.
2. `score: raw` and `biases` give the forms of public code: f itself under squared error, without a global
   bias or without any.
3. L2 is Adam's coupled weight decay on every parameter, biases included.
"""

from __future__ import annotations

from bench.engine.part import minimise
from bench.engine.sampling import Draw
from methods import register
from methods.base import Method
from methods.parts import Factorisation


@register
class MF(Method):
    """The biased baseline; knows nothing of A."""

    title = "MF"
    paper = "Koren, Bell and Volinsky, Matrix Factorization Techniques for Recommender Systems, Computer 2009"
    year = 2009
    raw_scores = True

    def build(self) -> None:
        """One part, the prediction model."""
        self.prediction = self.part(Factorisation, "prediction")

    def step(self, draw: Draw) -> None:
        """Minimises the mean pointwise loss of a batch of O."""
        observed = draw.observed()
        error = self.pointwise(self.prediction(observed), observed.labels)  # (G, B)
        minimise(self.prediction, error.mean(-1))
