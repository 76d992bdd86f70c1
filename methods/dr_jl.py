"""Doubly robust joint learning: imputation and prediction alternate.

    imputation:  loss(φ) = mean_O w · (sg(e) − ê)²        prediction:  loss(θ) = mean_D ê + mean_O w · (e − ê)

    e = ℓ(σ(f), r). What ê is depends on ℓ, because an imputed error must have the right gradient in f too:
    bce, pseudo-label form:  ê = ℓ(σ(f), r̃), r̃ = σ(g);
    mse, residual form:      g predicts r − σ(f), ê = (σ(f) − sg(σ(f)) − g)²: value g², gradient −2g.

Source: Wang, Zhang, Sun and Qi, "Doubly Robust Joint Learning for Recommendation on Data Missing Not at
Random", ICML 2019; E_DR(θ) of the ULTD paper's "Problem Setup".

Differences from the paper:
1. The residual form is trained by w · (g − sg(r − σ(f)))², which is the paper's loss up to the sign of g:
   with (sg(e) − g²)² both signs of g would fit, and one of them pushes f the wrong way.
2. The pseudo-label form with `loss: mse` is refused: (r̃ − r)(r̃ + r − 2f) has a second root, r̃ = 2f − r.
3. One imputation step and one prediction step per batch; the sum over D is estimated as in `dr.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.engine.part import minimise
from bench.engine.sampling import Batch, Draw
from bench.errors import BenchError
from methods import register
from methods.base import Method, MethodConfig, above, at_least, choices, total
from methods.parts import Factorisation
from methods.weights import PROPENSITIES, observed_sample, weight_diagnostics

FORMS = {"bce": "pseudo_label", "mse": "residual"}  # of the imputed error, by pointwise loss


@register
class DRJL(Method):
    """MF on the doubly robust loss, with an imputation model that learns along."""

    title = "DR-JL"
    paper = "Wang et al., Doubly Robust Joint Learning for Recommendation, ICML 2019"
    year = 2019
    uses_unbiased = "mean label"

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of DR-JL."""

        everywhere_ratio: int = field(default=1, metadata=at_least(1))
        propensity: str = field(default="naive_bayes", metadata=choices(*PROPENSITIES))
        # Largest normalised weight.
        clip: float = field(default=10.0, metadata=at_least(1, "the weights' mean"))
        # auto | pseudo_label (with bce) | residual (with mse)
        imputation_form: str = field(default="auto", metadata=choices("auto", *FORMS.values()))
        imputation_learning_rate: float = field(default=0.01, metadata=above(0))
        imputation_weight_decay: float = 1e-5

        def check(self) -> None:
            """See `MethodConfig.check`."""
            super().check()
            if self.imputation_form not in ("auto", FORMS[self.loss]):
                raise BenchError(
                    f"method.imputation_form={self.imputation_form} does not fit method.loss={self.loss}: "
                    f"its imputed error must be of the form {FORMS[self.loss]}."
                )

    def build(self) -> None:
        """The prediction model, the weights, and the imputation model."""
        config = self.config
        self.prediction = self.part(Factorisation, "prediction")
        self.weights = PROPENSITIES[config.propensity](self.data, config.clip)
        self.imputation = self.part(
            Factorisation,
            "imputation",
            learning_rate=config.imputation_learning_rate,
            weight_decay=config.imputation_weight_decay,
        )

    def step(self, draw: Draw) -> None:
        """One step of the imputation model, then one of the prediction model."""
        observed, everywhere = draw.observed(), draw.everywhere()
        weights = self.weights(observed)
        logits = self.prediction(observed)

        g = self.imputation(observed)
        missed = self.imputation_gap(logits.detach(), g, observed.labels)  # sg(e) − ê, or its root
        minimise(self.imputation, (weights * missed.square()).mean(-1))

        minimise(self.prediction, total(self.losses(observed, everywhere, logits, weights)))

    def losses(
        self, observed: Batch, everywhere: Batch, logits: Tensor, weights: Tensor
    ) -> dict[str, Tensor]:
        """The terms of the loss of θ by name, (G,) each, given f's logits on O and w, (G, B) each."""
        error = self.pointwise(logits, observed.labels)
        imputed_error = self.imputed_error(logits, self.imputation.fixed(observed))
        direct = self.imputed_error(self.prediction(everywhere), self.imputation.fixed(everywhere))
        return {
            "direct": direct.mean(-1),
            "correction": (weights * (error - imputed_error)).mean(-1),
        }

    def imputation_gap(self, logits: Tensor, g: Tensor, labels: Tensor) -> Tensor:
        """What the imputation model makes small, (G, B): e − ê, or r − σ(f) − g in the residual form."""
        if self.config.loss == "mse":
            return labels - torch.sigmoid(logits) - g
        return self.pointwise(logits, labels) - self.pointwise(logits, torch.sigmoid(g))

    def imputed_error(self, logits: Tensor, g: Tensor) -> Tensor:
        """ê as the prediction model sees it, (G, B)."""
        if self.config.loss == "mse":
            predicted = torch.sigmoid(logits)
            return (predicted - predicted.detach() - g).square()
        return self.pointwise(logits, torch.sigmoid(g))

    def diagnostics(self) -> dict[str, Tensor]:
        """See `weight_diagnostics`."""
        return weight_diagnostics(self.weights(observed_sample(self.data, self.n_members)), self.data.density)
