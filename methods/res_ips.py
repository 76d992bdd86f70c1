"""Res-IPS: a residual on the propensity repairs hidden confounding, taught by a few unbiased ratings.

    θ:     loss = E(θ) + β · mean_A e,    E = mean_O w · e,    w = 1 / p̃ of mean 1 over the batch        (G,)
    ψ, ξ:  loss = L_prop + γ · L_con + 1e-4 · mean δ²
           L_con = (E − mean_A e)², E and e with θ fixed

    p̃ = σ(s_ψ + δ_ξ), at least `propensity_floor` (a quarter) of the density: the nominal propensity and its
    residual, a small network on the propensity model's embeddings. L_prop = mean_D BCE(o, σ(s_ψ)).
    e = ℓ(σ(f), r).

Source: Li et al., "Removing Hidden Confounding in Recommendation: A Unified Multi-Task Learning Approach",
NeurIPS 2023. Neither code nor pseudocode of it is public: this is our reading.

With a hidden confounder, P(o = 1 | x) does not make IPS unbiased, but p̃*(x) = E[o e | x] / E[e | x] does, and
A identifies E[e | x]: hence a residual on p that is learned from the gap to A, along with θ. That holds for
E = Σ_O e / (|D| p̃); at p̃*, the self-normalised E is that divided by the mean of p / p̃* over D (difference 1).

Differences from the paper:
1. As far as it is known: E is self-normalised, so that it lives on the scale of mean_A e. Without that, a
   constant shift of p̃ would close the gap. With it, the gap at p̃* is not 0 but E_A (1 / mean_D(p / p̃*) − 1).
2. ψ and ξ do not see E itself: minimising E in p̃ just raises p̃.
3. L_con's gap is a running mean (momentum .9), with gradient 2 · sg(gap) · ∂E of the batch.
4. The residual's last layer starts at 0, so training starts as IPS with the nominal propensity.
5. ψ is trained alone first, until its held-out fit stops rising, and then along with the rest, as in the
   paper. Nothing watches its fit then, so its rate, `propensity_main_rate`, may be another: at 0 it stays as
   the first phase found it. The default is one rate throughout, and a decay under which ψ holds its fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bench.engine.part import Part, minimise
from bench.engine.phase import Phase
from bench.engine.sampling import Batch, Draw, Pairs
from methods import register
from methods.base import at_least, total
from methods.learned_propensity import PropensityConfig, PropensityMethod, self_normalised
from methods.parts import MLP, Factorisation, joined
from methods.weights import coverage, observed_sample, weight_diagnostics

MOMENTUM = 0.9  # of the gap's running mean
RESIDUAL_PENALTY = 1e-4  # on the mean squared residual


@register
class ResIPS(PropensityMethod):
    """Multi-task learning of prediction, propensity and the propensity's residual."""

    title = "Res-IPS"
    paper = "Li et al., Removing Hidden Confounding in Recommendation, NeurIPS 2023"
    year = 2023
    uses_unbiased = "yes"

    @dataclass(kw_only=True)
    class Config(PropensityConfig):
        """Fields of Res-IPS."""

        beta: float = field(default=0.01, metadata=at_least(0))  # β, of the unbiased ratings' own loss
        gamma: float = field(default=1e-3, metadata=at_least(0))  # γ, of the consistency with them
        # Learning rate of the nominal propensity from the second phase on.
        propensity_main_rate: float = field(default=0.01, metadata=at_least(0))

    def build(self) -> None:
        """Prediction, nominal propensity and its residual."""
        self.prediction = self.part(Factorisation, "prediction")
        self.build_propensity()
        self.residual = self.part(MLP, "residual", sizes=self.residual_sizes())
        self.gap = self.data.labels.new_zeros(self.n_members)

    def residual_sizes(self) -> tuple[int, ...]:
        """Layers of a residual network on [p_u, q_i]."""
        return (2 * self.config.embedding_size, self.config.embedding_size, 1)

    def phases(self) -> list[Phase]:
        """The nominal propensity, then all parts at once."""
        first, main = super().phases()
        rate = self.config.propensity_main_rate
        return [first, replace(main, begin=lambda: self.go_on(rate))]

    def step(self, draw: Draw) -> None:
        """Propensity and its residual; the prediction model."""
        observed, everywhere, unbiased = draw.observed(), draw.everywhere(), draw.unbiased()
        pairs = joined(observed, unbiased)
        logits, logits_unbiased = pairs.split(self.prediction(pairs))
        error = self.pointwise(logits, observed.labels)
        on_unbiased = self.pointwise(logits_unbiased, unbiased.labels).mean(-1)

        fixed = error.detach()
        self.step_propensity(
            observed, everywhere, lambda weights: (weights * fixed).mean(-1), on_unbiased.detach()
        )
        weights = self.fixed_weights(observed)
        self.step_prediction((weights * error).mean(-1), on_unbiased)

    def step_propensity(
        self, observed: Batch, everywhere: Batch, estimate: Callable[[Tensor], Tensor], on_unbiased: Tensor
    ) -> None:
        """One step of ψ and ξ.

        Args:
            estimate: E, (G,), as a function of w, (G, B), alone: all else in it is fixed.
            on_unbiased: mean_A e, (G,), fixed.
        """
        terms = self.propensity_losses(observed, everywhere, estimate, on_unbiased)
        minimise((self.propensity, self.residual), total(terms))

    def propensity_losses(
        self, observed: Batch, everywhere: Batch, estimate: Callable[[Tensor], Tensor], on_unbiased: Tensor
    ) -> dict[str, Tensor]:
        """The terms of the loss of ψ and ξ by name, (G,) each; the running gap moves on."""
        nominal = self.propensity_loss(self.propensity(everywhere), everywhere)
        delta = residual(self.residual, self.propensity, observed)
        consistency = self.consistency(estimate(self.weights(observed, delta)), on_unbiased)
        return {
            "nominal": nominal,
            "consistency": self.config.gamma * consistency,
            "penalty": RESIDUAL_PENALTY * delta.square().mean(-1),
        }

    def step_prediction(self, estimate: Tensor, on_unbiased: Tensor) -> None:
        """One step of θ, given E and mean_A e, (G,) each, in which all else is fixed."""
        minimise(self.prediction, total(self.losses(estimate, on_unbiased)))

    def losses(self, estimate: Tensor, on_unbiased: Tensor) -> dict[str, Tensor]:
        """The terms of the loss of θ by name, (G,) each."""
        return {"estimate": estimate, "unbiased": self.config.beta * on_unbiased}

    def fixed_weights(self, observed: Batch) -> Tensor:
        """w, (G, B), of the propensity as it is; no gradient flows through it."""
        with torch.no_grad():
            return self.weights(observed, residual(self.residual, self.propensity, observed))

    def weights(self, observed: Batch, delta: Tensor) -> Tensor:
        """w, (G, B)."""
        return self_normalised(self.inverse(self.propensity(observed) + delta))

    def consistency(self, estimate: Tensor, on_unbiased: Tensor) -> Tensor:
        """L_con (G,), up to a constant: its gradient is 2 · sg(running gap) · ∂estimate."""
        follow(self.gap, estimate - on_unbiased)
        return 2 * self.gap * estimate

    def diagnostics(self) -> dict[str, Tensor]:
        """See `weight_diagnostics` and `coverage`."""
        weights = self.fixed_weights(observed_sample(self.data, self.n_members))
        return {**weight_diagnostics(weights, self.data.density), **coverage(self.data)}


def residual(network: MLP, model: Part, pairs: Pairs) -> Tensor:
    """A residual network's output (G, B) on the embeddings of the model that it corrects."""
    return network.on_rows(model, pairs).squeeze(-1)


def follow(mean: Tensor, value: Tensor) -> None:
    """Moves a running mean, (G,), on by a value, in its place; no gradient flows through it."""
    mean.copy_(MOMENTUM * mean + (1 - MOMENTUM) * value.detach())
