"""Inverse propensity scoring.

    loss = mean_O  w(u, i) · ℓ(σ(f(u, i)), r),    w = 1 / p̂ normalised to mean 1 over O        (G,)

Source: Schnabel, Swaminathan, Singh, Chandak and Joachims, "Recommendations as Treatments: Debiasing
Learning and Evaluation", ICML 2016; E_IPS(θ) of the ULTD paper's "Problem Setup".

Differences from the paper:
1. Weights are divided by their mean over O, clipped at `clip`, and divided again, so that a learning rate
   means the same with every propensity. Nothing is clipped at a fixed propensity: .05, as public code has
   it, lies above Yahoo! R3's density and would make IPS there the same as MF.
2. Naive Bayes works on the binary label, so it has two weights only: it re-weights the classes. P(r) comes
   from the mean label of A, not from the test set.
3. `propensity: logistic` is a user and an item term without features, fitted to all of D. The paper's own
   estimates for Coat, from features, come with its release: `propensity: released`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from bench.engine.part import minimise
from bench.engine.sampling import Draw
from methods import register
from methods.base import Method, MethodConfig, at_least, choices
from methods.parts import Factorisation
from methods.weights import PROPENSITIES, observed_sample, weight_diagnostics


@register
class IPS(Method):
    """MF whose observed pairs count by their inverse propensity."""

    title = "IPS"
    paper = "Schnabel et al., Recommendations as Treatments: Debiasing Learning and Evaluation, ICML 2016"
    year = 2016
    uses_unbiased = "mean label"
    raw_scores = True

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of IPS."""

        # naive_bayes (of the label) | logistic (user + item) | released (the data set's own, on Coat)
        propensity: str = field(default="naive_bayes", metadata=choices(*PROPENSITIES))
        # Largest normalised weight.
        clip: float = field(default=10.0, metadata=at_least(1, "the weights' mean"))

    def build(self) -> None:
        """The prediction model and the weights."""
        self.prediction = self.part(Factorisation, "prediction")
        self.weights = PROPENSITIES[self.config.propensity](self.data, self.config.clip)

    def step(self, draw: Draw) -> None:
        """Minimises the weighted mean pointwise loss of a batch of O."""
        observed = draw.observed()
        error = self.pointwise(self.prediction(observed), observed.labels)  # (G, B)
        minimise(self.prediction, (self.weights(observed) * error).mean(-1))

    def diagnostics(self) -> dict[str, Tensor]:
        """See `weight_diagnostics`."""
        weights = self.weights(observed_sample(self.data, self.n_members))
        return weight_diagnostics(weights, self.data.density)
