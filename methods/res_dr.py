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

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.engine.part import minimise
from bench.engine.sampling import Draw, Pairs
from bench.errors import BenchError
from methods import register
from methods.base import require
from methods.parts import MF, MLP
from methods.res_ips import RESIDUAL_PENALTY, ResIPS, residual


@register
class ResDR(ResIPS):
    """Res-IPS with an imputation model and its residual."""

    title = "Res-DR"

    @dataclass(kw_only=True)
    class Config(ResIPS.Config):
        """Fields of Res-DR."""

        imputation_learning_rate: float = 0.01
        imputation_weight_decay: float = 1e-4

        def check(self) -> None:
            """See `MethodConfig.check`."""
            super().check()
            require(self, "imputation_learning_rate", self.imputation_learning_rate > 0, "must be above 0")
            if self.loss != "bce":  # see `dr_jl.py`: this form of the imputed error has a wrong root there
                raise BenchError(
                    "method.loss must be bce for Res-DR, whose imputed error is a pseudo-label's."
                )

    def build(self) -> None:
        """The parts of Res-IPS, the imputation model and its residual."""
        super().build()
        self.imputation = self.part(
            MF,
            "imputation",
            learning_rate=self.config.imputation_learning_rate,
            weight_decay=self.config.imputation_weight_decay,
        )
        self.correction = self.part(MLP, "correction", sizes=self.residual_sizes())

    def step(self, draw: Draw) -> None:
        """Propensity and its residual; imputation and its residual; the prediction model."""
        observed, everywhere, unbiased = draw.observed(), draw.everywhere(), draw.unbiased()
        config = self.config
        f, f_d, f_a = (self.prediction(each) for each in (observed, everywhere, unbiased))
        error = self.pointwise(f, observed.labels)
        error_a = self.pointwise(f_a, unbiased.labels)
        fixed, fixed_a = error.detach(), error_a.detach()

        with torch.no_grad():
            imputed, _ = self.imputed_labels(observed)
            imputed_d, _ = self.imputed_labels(everywhere)
            direct = self.pointwise(f_d, imputed_d).mean(-1)
            missed = fixed - self.pointwise(f, imputed)
        nominal = self.propensity_loss(self.propensity(everywhere), everywhere)
        delta = residual(self.residual, self.propensity, observed)
        estimate = direct + (self.weights(observed, delta) * missed).mean(-1)
        consistency = self.consistency(estimate, fixed_a.mean(-1))
        penalty = RESIDUAL_PENALTY * delta.square().mean(-1)
        minimise((self.propensity, self.residual), nominal + config.gamma * consistency + penalty)

        with torch.no_grad():
            delta = residual(self.residual, self.propensity, observed)
            weights = self.weights(observed, delta)
        imputed, rho = self.imputed_labels(observed)
        imputed_d, _ = self.imputed_labels(everywhere)
        imputed_a, _ = self.imputed_labels(unbiased)
        nominal_label = torch.sigmoid(self.imputation(observed))
        on_observed = weights * (fixed - self.pointwise(f.detach(), nominal_label)).square()
        estimate = self.pointwise(f_d.detach(), imputed_d).mean(-1) + (
            weights * (fixed - self.pointwise(f.detach(), imputed))
        ).mean(-1)
        calibration = (fixed_a - self.pointwise(f_a.detach(), imputed_a)).square().mean(-1)
        shared = 2 * self.gap * estimate + calibration  # the gap of this step, with ẽ's gradient
        penalty = RESIDUAL_PENALTY * rho.square().mean(-1)
        minimise((self.imputation, self.correction), on_observed.mean(-1) + config.gamma * shared + penalty)

        with torch.no_grad():
            imputed, _ = self.imputed_labels(observed)
            imputed_d, _ = self.imputed_labels(everywhere)
        direct = self.pointwise(f_d, imputed_d).mean(-1)
        missed = error - self.pointwise(f, imputed)
        loss = direct + (weights * missed).mean(-1) + config.beta * error_a.mean(-1)
        minimise(self.prediction, loss)

    def imputed_labels(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """σ(g + ρ) and ρ, (G, B)."""
        rho = residual(self.correction, self.imputation, pairs)
        return torch.sigmoid(self.imputation(pairs) + rho), rho
