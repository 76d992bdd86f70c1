"""Learning to debias (LTD): propensities are learned so that training with them does well on A.

    upper:  min_φ  Σ_A ℓ(σ(f_θ'), r)          θ' = θ − η ∇_θ E(θ, φ)        (G,)
    lower:  E_IPS = mean_O w · e              E_DR = mean_D ê + mean_O w · (e − ê)

    w = 1 / p_φ of mean 1 over the batch, p_φ = σ(s_φ) but at least `propensity_floor` (a quarter) of the
    density; e = ℓ(σ(f), r);
    ê = ℓ(σ(f), sg(clip(σ(f) + g, 0, 1))), g a model of the residual r − σ(f), trained on A.
    Each step: g on A; φ by one virtual step of θ; θ by Adam on E with the new φ.

Source: Wang, Zhang, Sun and Qi, "Combating Selection Biases in Recommender Systems with a Few Unbiased
Ratings", WSDM 2021. Its code is not public; this is the form in which public code has it.

Differences from the paper:
1. Its algorithm that keeps the propensities' variance low is not public. Here φ starts at a nominal model
   (`learned_propensity.py`), is drawn back to it by a decoupled decay, and weights are self-normalised.
2. The virtual step is plain gradient descent with a rate of its own; the true step is Adam.
3. E of the virtual step is the E of the true step; public code has E_IPS there even for DR.
4. With ê = g², as published, E_DR would have E_IPS's gradient in θ.
5. The paper fixes none of the rates and decays of φ and g. The nominal propensity's decay is swept, since its
   own held-out fit depends on it; so are the pull back to it (`meta_weight_decay`) and g's rate and decay.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.engine.bilevel import virtual_step
from bench.engine.part import minimise
from bench.engine.phase import Phase
from bench.engine.sampling import Batch, Draw
from methods import register
from methods.base import above, at_least, choices, total
from methods.learned_propensity import PropensityConfig, PropensityMethod, self_normalised
from methods.parts import Factorisation
from methods.weights import coverage, observed_sample, weight_diagnostics


@register
class LTD(PropensityMethod):
    """MF with meta-learned propensities; the doubly robust variant by default."""

    title = "LTD"
    paper = "Wang et al., Combating Selection Biases in Recommender Systems, WSDM 2021"
    year = 2021
    uses_unbiased = "yes"

    @dataclass(kw_only=True)
    class Config(PropensityConfig):
        """Fields of LTD."""

        base: str = field(default="dr", metadata=choices("dr", "ips"))
        inner_rate: float = field(default=0.01, metadata=above(0))  # η, on losses summed over the batch
        meta_learning_rate: float = field(default=1e-3, metadata=at_least(0))  # of φ in the main phase
        meta_weight_decay: float = 1.0  # draws φ back to the nominal propensity
        imputation_learning_rate: float = field(default=1e-3, metadata=above(0))
        imputation_weight_decay: float = 1e-3

    def build(self) -> None:
        """Prediction, propensity and, for DR, the residual model."""
        config = self.config
        self.prediction = self.part(Factorisation, "prediction")
        self.build_propensity()
        if config.base == "dr":
            self.imputation = self.part(
                Factorisation,
                "imputation",
                learning_rate=config.imputation_learning_rate,
                weight_decay=config.imputation_weight_decay,
            )

    def phases(self) -> list[Phase]:
        """The nominal propensity, then both levels at once."""
        first, _ = super().phases()
        main = Phase(name="training", step=self.step, score=self.score, begin=self.anchor)
        return [first, main]

    def anchor(self) -> None:
        """From here on the propensity is an outer parameter, drawn back to where it is now."""
        self.propensity.retune(self.config.meta_learning_rate, self.config.meta_weight_decay)

    def step(self, draw: Draw) -> None:
        """One step of each part."""
        observed, everywhere, unbiased = draw.observed(), draw.everywhere(), draw.unbiased()
        if self.config.base == "dr":
            residual = unbiased.labels - torch.sigmoid(self.prediction.fixed(unbiased))
            minimise(self.imputation, (self.imputation(unbiased) - residual).square().mean(-1))

        per_pair, direct = self.errors(observed, everywhere)
        size = observed.labels.shape[-1]
        lower = size * total(self.losses(self.weights(observed), per_pair, direct))
        virtual_step(
            self.propensity,
            self.prediction,
            lower,
            self.config.inner_rate,
            lambda ahead: self.pointwise(ahead(unbiased), unbiased.labels).sum(-1),
        )
        with torch.no_grad():
            weights = self.weights(observed)
        minimise(self.prediction, total(self.losses(weights, per_pair, direct)))

    def losses(self, weights: Tensor, per_pair: Tensor, direct: Tensor) -> dict[str, Tensor]:
        """The terms of E by name, (G,) each, given w and what `errors` returns."""
        return {"direct": direct, "weighted": (weights * per_pair).mean(-1)}

    def weights(self, observed: Batch) -> Tensor:
        """w, (G, B)."""
        return self_normalised(self.inverse(self.propensity(observed)))

    def errors(self, observed: Batch, everywhere: Batch) -> tuple[Tensor, Tensor]:
        """What is weighted on O, (G, B), and the direct term, (G,)."""
        logits = self.prediction(observed)
        error = self.pointwise(logits, observed.labels)
        if self.config.base == "ips":
            return error, torch.zeros_like(error[:, 0])
        direct = self.imputed_error(self.prediction(everywhere), everywhere).mean(-1)
        return error - self.imputed_error(logits, observed), direct

    def imputed_error(self, logits: Tensor, batch: Batch) -> Tensor:
        """ê, (G, B)."""
        label = (torch.sigmoid(logits.detach()) + self.imputation.fixed(batch)).clamp(0, 1)
        return self.pointwise(logits, label)

    def diagnostics(self) -> dict[str, Tensor]:
        """See `weight_diagnostics` and `coverage`."""
        weights = self.weights(observed_sample(self.data, self.n_members))
        return {**weight_diagnostics(weights, self.data.density), **coverage(self.data)}
