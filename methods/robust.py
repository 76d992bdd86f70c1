"""Weights that an adversary chooses: the worst ones that a hidden confounder of bounded strength allows.

    min_θ  max_w  E(θ, w),    w(u, i) ∈ density · [1 + (1/p − 1) / Γ,  1 + (1/p − 1) · Γ]        (G,)

p is the nominal propensity, and Γ bounds how far a confounder can move the odds of being observed. The
adversary has one parameter m for each item and label, w = density · (1 + (1/p − 1) · exp(m)), which starts at
0, the nominal weight. Each step is one of Adam up E, and a projection of m into [−log Γ, log Γ].

Shapes: G members, B pairs, I items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bench.engine.part import Part, minimise
from bench.engine.sampling import Batch
from methods.base import Method, MethodConfig, at_least
from methods.weights import observed_sample, weight_diagnostics


class Adversary(Part):
    """m, (G, 2 I), of items and labels; calling it on observed pairs gives theirs, (G, B)."""

    def __init__(self, method: Method, name: str, learning_rate: Tensor, weight_decay: Tensor) -> None:
        zeros = method.data.labels.new_zeros(method.n_members, 2 * method.data.n_items)
        super().__init__({"shift": zeros}, learning_rate, weight_decay)

    def __call__(self, observed: Batch) -> Tensor:
        """m, (G, B)."""
        return self.rows("shift", 2 * observed.items + observed.labels.to(observed.items.dtype))

    def ascend(self, value: Tensor, bound: Tensor) -> None:
        """One step of Adam up a value (G,), and the projection of m into [−bound, bound], bound (G,)."""
        minimise(self, -value, noted=value)
        limit = bound.unsqueeze(-1)
        self.tables["shift"].copy_(torch.minimum(torch.maximum(self.tables["shift"], -limit), limit))


@dataclass(kw_only=True)
class RobustConfig(MethodConfig):
    """Fields of a method with an adversary."""

    gamma: float = field(default=3.0, metadata=at_least(1, "where nothing is hidden"))  # Γ
    adversary_rate: float = field(
        default=1e-3, metadata=at_least(0)
    )  # learning rate of m; the authors' is slow
    # The worst weights have the nominal ones' mean over the batch; else the adversary wins by larger ones.
    normalise: bool = True


class RobustMethod(Method):
    """A method whose nominal weights `self.weights` an adversary moves."""

    weights: Any  # of pairs, (G, B)

    def build_adversary(self) -> None:
        """The adversary, which is where the nominal weights are."""
        rate = self.config.adversary_rate
        self.adversary = self.part(
            Adversary, "adversary", learning_rate=rate, weight_decay=torch.zeros_like(rate)
        )

    def worst_weights(self, observed: Batch, nominal: Tensor) -> Tensor:
        """w, (G, B), given the nominal weights; just these where m is 0."""
        beyond = (nominal - self.data.density).clamp_min(0)  # density · (1/p − 1)
        weights = nominal + beyond * torch.expm1(self.adversary(observed))
        if self.config.normalise:
            weights = weights * (nominal.mean(-1, keepdim=True) / weights.mean(-1, keepdim=True))
        return weights

    def attack(self, observed: Batch, nominal: Tensor, estimate: Callable[[Tensor], Tensor]) -> Tensor:
        """One step of the adversary; then w, (G, B), without a gradient.

        Args:
            estimate: what it raises, (G,), as a function of w alone: all else in it is fixed.
        """
        value = estimate(self.worst_weights(observed, nominal))
        self.adversary.ascend(value, self.config.gamma.log())
        with torch.no_grad():
            return self.worst_weights(observed, nominal)

    def diagnostics(self) -> dict[str, Tensor]:
        """See `weight_diagnostics`."""
        sample = observed_sample(self.data, self.n_members)
        return weight_diagnostics(self.worst_weights(sample, self.weights(sample)), self.data.density)
