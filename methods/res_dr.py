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
from bench.engine.sampling import Draw, Pairs
from bench.errors import BenchError
from methods import register
from methods.base import above, total
from methods.parts import MLP, Factorisation, Joined, joined
from methods.res_ips import RESIDUAL_PENALTY, ResIPS, residual


class Imputed(NamedTuple):
    """What ω and ζ say, with θ fixed: ẽ on D, on O and on A, ê on O, and ρ on O, (G, B) each."""

    everywhere: Tensor
    observed: Tensor
    unbiased: Tensor
    nominal: Tensor
    residual: Tensor


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
        everywhere, observed, unbiased = draw.everywhere(), draw.observed(), draw.unbiased()
        # One pass over all; in this order D and O, of which E is, are neighbours, and O and A, with labels.
        pairs, of_estimate = joined(everywhere, observed, unbiased), joined(everywhere, observed)
        logits = self.prediction(pairs)
        logits_of_estimate, logits_with_label = logits[:, : -pairs.sizes[2]], logits[:, pairs.sizes[0] :]
        known = self.pointwise(logits_with_label, torch.cat((observed.labels, unbiased.labels), -1))
        error, error_unbiased = known.split(pairs.sizes[1:], -1)
        fixed, fixed_unbiased = error.detach(), error_unbiased.detach()

        # ω and ζ stay until their step, so its ẽ is that of the propensity's step.
        imputed = self.imputed(pairs, logits.detach())
        fixed_direct, missed = imputed.everywhere.detach(), fixed - imputed.observed.detach()
        self.step_propensity(
            observed,
            everywhere,
            lambda weights: doubly_robust(fixed_direct, weights, missed),
            fixed_unbiased.mean(-1),
        )
        weights = self.fixed_weights(observed)
        self.step_imputation(imputed, weights, fixed, fixed_unbiased)

        with torch.no_grad():
            labels, _ = self.imputed_labels(of_estimate)
        direct, imputed_error = of_estimate.split(self.pointwise(logits_of_estimate, labels))
        estimate = doubly_robust(direct, weights, error - imputed_error)
        self.step_prediction(estimate, error_unbiased.mean(-1))

    def step_imputation(
        self, imputed: Imputed, weights: Tensor, error: Tensor, error_unbiased: Tensor
    ) -> None:
        """One step of ω and ζ, given w and e on O and e on A, (G, B) each, in which θ is fixed."""
        terms = self.imputation_losses(imputed, weights, error, error_unbiased)
        minimise((self.imputation, self.correction), total(terms))

    def imputation_losses(
        self, imputed: Imputed, weights: Tensor, error: Tensor, error_unbiased: Tensor
    ) -> dict[str, Tensor]:
        """The terms of the loss of ω and ζ by name, (G,) each."""
        estimate = doubly_robust(imputed.everywhere, weights, error - imputed.observed)
        missed = error_unbiased - imputed.unbiased
        # L_con by the gap that the propensity's step left, with the gradient that E has through ẽ.
        shared = 2 * self.gap * estimate + missed.square().mean(-1)
        return {
            "nominal": (weights * (error - imputed.nominal).square()).mean(-1),
            "shared": self.config.gamma * shared,
            "penalty": RESIDUAL_PENALTY * imputed.residual.square().mean(-1),
        }

    def imputed(self, pairs: Joined, logits: Tensor) -> Imputed:
        """Imputed errors of pairs of D, O and A, given f's logits on them, fixed."""
        rho, g = residual(self.correction, self.imputation, pairs), self.imputation(pairs)
        everywhere, observed, unbiased = pairs.split(self.pointwise(logits, torch.sigmoid(g + rho)))
        nominal = self.pointwise(pairs.split(logits)[1], torch.sigmoid(pairs.split(g)[1]))
        return Imputed(everywhere, observed, unbiased, nominal, pairs.split(rho)[1])

    def imputed_labels(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """σ(g + ρ) and ρ, (G, B)."""
        rho = residual(self.correction, self.imputation, pairs)
        return torch.sigmoid(self.imputation(pairs) + rho), rho


def doubly_robust(direct: Tensor, weights: Tensor, missed: Tensor) -> Tensor:
    """E, (G,), of ẽ on D, and of w and e − ẽ on O, (G, B) each."""
    return direct.mean(-1) + (weights * missed).mean(-1)
