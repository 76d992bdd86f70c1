"""StableDR: errors weighted by propensities that are trained to balance the imputed errors.

    prediction:  loss(θ) = Σ_O e / p / Σ_O 1 / p                                          (G,)
    propensity:  loss(ψ) = mean_D BCE(o, p) + η · (mean_D (1 − o / p) · (ê − mean_D ê))²
    imputation:  loss(φ) = mean_O w · (sg(e) − ê)²,    w = 1 / p of mean 1 over the batch

e = ℓ(σ(f), r), ê = ℓ(σ(f), σ(g)); p = σ(s_ψ), but at least `propensity_floor` (a quarter) of the density.
Each step trains φ, ψ and θ in turn. The imputed errors enter through p alone: a balanced p gives Σ_O ê / p /
Σ_O 1 / p = mean_D ê, so that θ's loss is doubly robust, and it stays within the errors' range however small p
is.

Source: Li, Zheng and Wu, "StableDR: Stabilized Doubly Robust Learning for Recommendation on Data Missing Not
at Random", ICLR 2023; the authors' code in haoxuanli-pku/ICDE24-MNAR.

Differences from the paper:
1. p is a matrix factorisation, trained first until its held-out fit stops rising (`learned_propensity.py`)
   and then along with the rest, at `propensity_main_rate`. The authors' code has naive Bayes with a learned
   smoothing, which needs the unbiased ratings' mean; here nothing of A is read.
2. mean_D (1 − o / p) · (ê − mean_D ê) is − density · mean_O (ê − mean_D ê) / p, and is estimated so: of pairs
   drawn from D few are observed. Its square's gradient is 2 · sg(running mean) · ∂, with a momentum of .9:
   the square of a batch's value is mostly its noise, which a larger p makes smaller.
3. Means in place of sums, so that η is the same for every batch size: the authors' η times n, the number of
   their batch's pairs, is ours, 38,400 for their setting on Coat.
4. The order of labels and predictions in ê is that of e; the authors' code has them the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from bench.engine.part import minimise
from bench.engine.phase import Phase
from bench.engine.sampling import Batch, Draw, Pairs
from methods import register
from methods.base import above, at_least, total
from methods.learned_propensity import PropensityConfig, PropensityMethod, self_normalised
from methods.parts import Factorisation
from methods.res_ips import follow
from methods.weights import observed_sample, weight_diagnostics


@register
class StableDR(PropensityMethod):
    """Self-normalised weights of a balanced propensity; knows nothing of A.

    Attributes:
        gap: (G,) running mean of the imbalance.
    """

    title = "StableDR"
    paper = "Li, Zheng and Wu, StableDR: Stabilized Doubly Robust Learning for Recommendation, ICLR 2023"
    year = 2023
    group: ClassVar[str] = "further"

    @dataclass(kw_only=True)
    class Config(PropensityConfig):
        """Fields of StableDR."""

        balance_weight: float = field(default=100.0, metadata=at_least(0))  # η
        # Learning rate of the propensity from the second phase on.
        propensity_main_rate: float = field(default=0.01, metadata=at_least(0))
        imputation_learning_rate: float = field(default=0.01, metadata=above(0))
        imputation_weight_decay: float = 1e-4

    def build(self) -> None:
        """Prediction, propensity and imputation."""
        self.prediction = self.part(Factorisation, "prediction")
        self.build_propensity()
        self.imputation = self.part(
            Factorisation,
            "imputation",
            learning_rate=self.config.imputation_learning_rate,
            weight_decay=self.config.imputation_weight_decay,
        )
        self.gap = self.data.labels.new_zeros(self.n_members)

    def phases(self) -> list[Phase]:
        """The propensity, then all parts in turn."""
        first, main = super().phases()
        rate = self.config.propensity_main_rate
        return [first, replace(main, begin=lambda: self.go_on(rate))]

    def step(self, draw: Draw) -> None:
        """One step of the imputation, one of the propensity, one of the prediction."""
        observed, everywhere = draw.observed(), draw.everywhere()
        logits = self.prediction(observed)
        error = self.pointwise(logits, observed.labels)

        missed = error.detach() - self.pointwise(logits.detach(), torch.sigmoid(self.imputation(observed)))
        minimise(self.imputation, (self.fixed_weights(observed) * missed.square()).mean(-1))

        minimise(self.propensity, total(self.propensity_losses(observed, everywhere, logits.detach())))

        minimise(self.prediction, (self.fixed_weights(observed) * error).mean(-1))

    def propensity_losses(self, observed: Batch, everywhere: Batch, logits: Tensor) -> dict[str, Tensor]:
        """The terms of ψ's loss by name, (G,) each, given f on O, (G, B), fixed; the running gap moves on."""
        mean = self.imputed_error(self.prediction.fixed(everywhere), everywhere).mean(-1, keepdim=True)
        apart = self.imputed_error(logits, observed) - mean
        imbalance = self.imbalance(self.inverse(self.propensity(observed)), apart)
        follow(self.gap, imbalance)
        return {
            "nominal": self.propensity_loss(self.propensity(everywhere), everywhere),
            "balance": self.config.balance_weight * 2 * self.gap * imbalance,
        }

    def imbalance(self, inverse: Tensor, apart: Tensor) -> Tensor:
        """mean_D (1 − o / p) · (ê − mean_D ê), (G,), from 1 / p and ê − mean_D ê on O, (G, B) each."""
        return -self.data.density * (inverse * apart).mean(-1)

    def imputed_error(self, logits: Tensor, pairs: Pairs) -> Tensor:
        """ê, (G, B), given f's logits; no gradient flows through g."""
        return self.pointwise(logits, torch.sigmoid(self.imputation.fixed(pairs)))

    def fixed_weights(self, observed: Batch) -> Tensor:
        """w, (G, B), of the propensity as it is; no gradient flows through it."""
        return self_normalised(self.inverse(self.propensity.fixed(observed)))

    def diagnostics(self) -> dict[str, Tensor]:
        """See `weight_diagnostics`."""
        weights = self.fixed_weights(observed_sample(self.data, self.n_members))
        return weight_diagnostics(weights, self.data.density)
