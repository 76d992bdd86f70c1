"""Doubly robust learning with an imputation that is trained beforehand and then frozen.

    loss = mean_D ê + mean_O w · (e − ê),    e = ℓ(σ(f), r),    ê = ℓ(σ(f), m̂)        (G,)

    f: logits of the prediction model; m̂ = σ(g): imputed label, g a second MF trained on O alone;
    w = 1 / p̂ normalised to mean 1 over O, so that mean_O w · x estimates (1/|D|) Σ_O x / p̂.

Source: Saito, "Doubly Robust Estimator for Ranking Metrics with Post-Click Conversions", RecSys 2020
(the imputation's recipe); E_DR(θ) of the ULTD paper's "Problem Setup".

Differences from the paper:
1. The cited paper evaluates rankings; as a training baseline its estimator is minimised.
2. mean_D is estimated from pairs drawn uniformly from all of D, observed ones included, and the same ê stands
   in both terms, so the mini-batch loss has the formula as its mean. Public code drops the propensity from
   one of the two, or weighs observed pairs 1 / density too heavily: neither is doubly robust.
3. `imputation: constant` imputes the mean label of A everywhere, as public code does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from bench.engine.part import minimise
from bench.engine.phase import Phase
from bench.engine.sampling import Batch, Draw, Pairs
from methods import register
from methods.base import Method, MethodConfig, above, at_least, choices, total
from methods.parts import Factorisation
from methods.weights import PROPENSITIES, observed_sample, weight_diagnostics


@register
class DR(Method):
    """MF on the doubly robust loss."""

    title = "DR"
    paper = "Saito, Doubly Robust Estimator for Ranking Metrics with Post-Click Conversions, RecSys 2020"
    year = 2020
    uses_unbiased = "mean label"

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of DR."""

        everywhere_ratio: int = field(default=1, metadata=at_least(1))
        propensity: str = field(default="naive_bayes", metadata=choices(*PROPENSITIES))
        # Largest normalised weight.
        clip: float = field(default=10.0, metadata=at_least(1, "the weights' mean"))
        imputation: str = field(default="pretrained", metadata=choices("pretrained", "constant"))
        imputation_learning_rate: float = field(default=0.01, metadata=above(0))
        imputation_weight_decay: float = 1e-5

    def build(self) -> None:
        """The prediction model, the weights, and the imputation model."""
        config = self.config
        self.prediction = self.part(Factorisation, "prediction")
        self.weights = PROPENSITIES[config.propensity](self.data, config.clip)
        if config.imputation == "pretrained":
            self.imputation = self.part(
                Factorisation,
                "imputation",
                learning_rate=config.imputation_learning_rate,
                weight_decay=config.imputation_weight_decay,
            )

    def phases(self) -> list[Phase]:
        """The imputation first, if it is a model."""
        main = super().phases()
        if self.config.imputation == "constant":
            return main
        first = Phase(name="imputation", step=self.step_imputation, score=self.imputed, stream="imputation")
        return [first, *main]

    def imputed(self, pairs: Pairs) -> Tensor:
        """m̂, (G, B); no gradient flows through it."""
        if self.config.imputation == "constant":
            return self.data.unbiased_mean.unsqueeze(-1).expand(pairs.users.shape)
        return torch.sigmoid(self.imputation.fixed(pairs))

    def step_imputation(self, draw: Draw) -> None:
        """Trains g on O by the weighted cross-entropy, whatever the prediction's loss is."""
        observed = draw.observed()
        error = functional.binary_cross_entropy_with_logits(
            self.imputation(observed), observed.labels, reduction="none"
        )
        minimise(self.imputation, (self.weights(observed) * error).mean(-1))

    def step(self, draw: Draw) -> None:
        """Minimises the doubly robust loss of a batch of O and a batch of D."""
        minimise(self.prediction, total(self.losses(draw.observed(), draw.everywhere())))

    def losses(self, observed: Batch, everywhere: Batch) -> dict[str, Tensor]:
        """The terms of the doubly robust loss by name, (G,) each."""
        direct = self.pointwise(self.prediction(everywhere), self.imputed(everywhere))
        logits = self.prediction(observed)
        error = self.pointwise(logits, observed.labels)
        imputed_error = self.pointwise(logits, self.imputed(observed))
        return {
            "direct": direct.mean(-1),
            "correction": (self.weights(observed) * (error - imputed_error)).mean(-1),
        }

    def diagnostics(self) -> dict[str, Tensor]:
        """See `weight_diagnostics`."""
        return weight_diagnostics(self.weights(observed_sample(self.data, self.n_members)), self.data.density)
