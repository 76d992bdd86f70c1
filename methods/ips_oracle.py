"""IPS with the true propensities, on generated data: what re-weighting could reach at best.

    loss = mean_O  w(u, i) · ℓ(σ(f(u, i)), r),    w = 1 / p normalised to mean 1 over O        (G,)

Source: as `ips.py`; Saito's and others' semi-synthetic studies use the same reference.

Differences from the paper:
1. Weights are normalised and clipped as in `ips.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from bench.engine.part import minimise
from bench.engine.sampling import Draw
from bench.errors import NotApplicable
from methods import register
from methods.base import Method, MethodConfig, at_least
from methods.parts import Factorisation
from methods.weights import known, observed_sample, weight_diagnostics


@register
class OracleIPS(Method):
    """A control; only data sets with known propensities have it."""

    title = "IPS, true propensities"
    paper = "Schnabel et al., Recommendations as Treatments: Debiasing Learning and Evaluation, ICML 2016"
    year = 2016

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of IPS with the true propensities."""

        # Largest normalised weight.
        clip: float = field(default=10.0, metadata=at_least(1, "the weights' mean"))

    def build(self) -> None:
        """The prediction model and the weights.

        Raises:
            NotApplicable: the data set does not know its propensities.
        """
        if self.data.propensity is None:
            raise NotApplicable("Only generated data have known propensities.")
        self.prediction = self.part(Factorisation, "prediction")
        self.weights = known(self.data, self.config.clip)

    def step(self, draw: Draw) -> None:
        """Minimises the weighted mean pointwise loss of a batch of O."""
        observed = draw.observed()
        error = self.pointwise(self.prediction(observed), observed.labels)  # (G, B)
        minimise(self.prediction, (self.weights(observed) * error).mean(-1))

    def diagnostics(self) -> dict[str, Tensor]:
        """See `weight_diagnostics`."""
        weights = self.weights(observed_sample(self.data, self.n_members))
        return weight_diagnostics(weights, self.data.density)
