"""Res-DR: residuals on propensity and imputation repair hidden confounding, taught by unbiased ratings.

    θ:     loss = E(θ) + β · mean_A e,    E = mean_D ẽ + mean_O w · (e − ẽ)        (G,)
    ψ, ξ:  loss = L_prop + γ · L_con + 1e-4 · mean δ²
    ω, ζ:  loss = mean_O w · (e − ê)² + γ · (L_con + mean_A (e − ẽ)²) + 1e-4 · mean ρ²

    ê = ℓ(σ(f), σ(g_ω)), ẽ = ℓ(σ(f), σ(g_ω + ρ_ζ)): nominal imputation and its residual, a small network on
    the imputation model's embeddings. p̃, w, δ, L_prop and L_con as in `res_ips.py`, with this E.

Source: as `res_ips.py`; our reading.

The nominal imputation, learned from O, finds ē1 = E[e | x, o = 1]; A identifies ē = E[e | x]. For each x, E
is ẽ + (p / p̃)(ē1 − ẽ) in expectation, so what repairs it depends on ẽ: p̃ = p (ē1 − ẽ) / (ē − ẽ), which is the
p̃* of `res_ips.py` for ẽ = 0 only. With ẽ = ē no p̃ makes the second term vanish pair by pair; L_con asks for
its weighted sum to.

Differences from the paper:
1. Those of `res_ips.py`.
2. The residual stands on the imputed label's logit, so ẽ is never negative; as published, ẽ = ê + ρ.
3. θ's step sees the imputation as it is, and the other steps see θ as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from bench.engine.part import minimise
from bench.engine.sampling import Batch, Draw, Pairs
from bench.errors import BenchError
from methods import register
from methods.base import above, total
from methods.parts import MLP, Factorisation, joined
from methods.res_ips import RESIDUAL_PENALTY, ResIPS, residual


class Batches(NamedTuple):
    """The batches of one step, of O, D and A."""

    observed: Batch
    everywhere: Batch
    unbiased: Batch


class Predicted(NamedTuple):
    """What f says of the pairs of `Batches`, and e of those that have a label, (G, B) each."""

    logits: Tensor
    logits_everywhere: Tensor
    logits_unbiased: Tensor
    error: Tensor
    error_unbiased: Tensor

    def fixed(self) -> Predicted:
        """The same without the way back to θ."""
        return Predicted(*(each.detach() for each in self))


@register
class ResDR(ResIPS):
    """Res-IPS with an imputation model and its residual."""

    title = "Res-DR"

    @dataclass(kw_only=True)
    class Config(ResIPS.Config):
        """Fields of Res-DR."""

        imputation_learning_rate: float = field(default=0.01, metadata=above(0))
        imputation_weight_decay: float = 1e-4

        def check(self) -> None:
            """See `MethodConfig.check`."""
            super().check()
            if self.loss != "bce":  # see `dr_jl.py`: this form of the imputed error has a wrong root there
                raise BenchError(
                    "method.loss must be bce for Res-DR, whose imputed error is a pseudo-label's."
                )

    def build(self) -> None:
        """The parts of Res-IPS, the imputation model and its residual."""
        super().build()
        self.imputation = self.part(
            Factorisation,
            "imputation",
            learning_rate=self.config.imputation_learning_rate,
            weight_decay=self.config.imputation_weight_decay,
        )
        self.correction = self.part(MLP, "correction", sizes=self.residual_sizes())

    def step(self, draw: Draw) -> None:
        """Propensity and its residual; imputation and its residual; the prediction model."""
        batches = Batches(draw.observed(), draw.everywhere(), draw.unbiased())
        f = self.predicted(batches)
        fixed = f.fixed()

        labels = self.fixed_labels(batches)
        self.step_propensity(
            batches.observed,
            batches.everywhere,
            lambda weights: self.estimate(fixed, weights, *labels),
            fixed.error_unbiased.mean(-1),
        )
        weights = self.fixed_weights(batches.observed)
        self.step_imputation(batches, fixed, weights)
        labels = self.fixed_labels(batches)
        self.step_prediction(self.estimate(f, weights, *labels), f.error_unbiased.mean(-1))

    def step_imputation(self, batches: Batches, fixed: Predicted, weights: Tensor) -> None:
        """One step of ω and ζ, with θ and w, (G, B), fixed."""
        terms = self.imputation_losses(batches, fixed, weights)
        minimise((self.imputation, self.correction), total(terms))

    def imputation_losses(self, batches: Batches, fixed: Predicted, weights: Tensor) -> dict[str, Tensor]:
        """The terms of the loss of ω and ζ by name, (G,) each."""
        pairs = joined(*batches)
        labels, residuals = self.imputed_labels(pairs)
        label, label_everywhere, label_unbiased = pairs.split(labels)
        rho, _, _ = pairs.split(residuals)
        nominal_error = self.pointwise(fixed.logits, torch.sigmoid(self.imputation(batches.observed)))  # ê
        estimate = self.estimate(fixed, weights, label, label_everywhere)
        missed = fixed.error_unbiased - self.pointwise(fixed.logits_unbiased, label_unbiased)
        # L_con by the gap that the propensity's step left, with the gradient that E has through ẽ.
        shared = 2 * self.gap * estimate + missed.square().mean(-1)
        return {
            "nominal": (weights * (fixed.error - nominal_error).square()).mean(-1),
            "shared": self.config.gamma * shared,
            "penalty": RESIDUAL_PENALTY * rho.square().mean(-1),
        }

    def predicted(self, batches: Batches) -> Predicted:
        """f's logits and errors."""
        pairs = joined(*batches)
        logits, logits_everywhere, logits_unbiased = pairs.split(self.prediction(pairs))
        error = self.pointwise(logits, batches.observed.labels)
        error_unbiased = self.pointwise(logits_unbiased, batches.unbiased.labels)
        return Predicted(logits, logits_everywhere, logits_unbiased, error, error_unbiased)

    def estimate(self, f: Predicted, weights: Tensor, label: Tensor, label_everywhere: Tensor) -> Tensor:
        """E, (G,), given w and the labels of ẽ on O and on D, (G, B) each."""
        direct = self.pointwise(f.logits_everywhere, label_everywhere)
        missed = f.error - self.pointwise(f.logits, label)
        return direct.mean(-1) + (weights * missed).mean(-1)

    def fixed_labels(self, batches: Batches) -> tuple[Tensor, Tensor]:
        """The labels of ẽ on O and on D, (G, B) each, as they are; no gradient flows through them."""
        pairs = joined(batches.observed, batches.everywhere)
        with torch.no_grad():
            label, label_everywhere = pairs.split(self.imputed_labels(pairs)[0])
        return label, label_everywhere

    def imputed_labels(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """σ(g + ρ) and ρ, (G, B)."""
        rho = residual(self.correction, self.imputation, pairs)
        return torch.sigmoid(self.imputation(pairs) + rho), rho
