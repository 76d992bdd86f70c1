"""Matrix factorisation that trusts the loudest users least.

    loss = mean_O  ℓ(σ(f(u, i)), r) / n_u^power        (G,)

    n_u: number of u's ratings in O.

Source: an example, of this suite's CONTRIBUTING.

Differences from the paper:
1. There is no paper.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from bench.engine.part import minimise
from bench.engine.sampling import Draw
from methods import register
from methods.base import Method, MethodConfig, Shared, between
from methods.parts import Factorisation


@register
class ToyMethod(Method):
    """An example."""

    title = "Toy"
    paper = "none"
    year = 2026

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of the example."""

        power: float = field(default=0.5, metadata=between(0, 1))  # 0: plain MF

    def build(self) -> None:
        """The prediction model and the users' numbers of ratings, (U,)."""
        self.prediction = self.part(Factorisation, "prediction")
        counts = torch.bincount(self.data.users, minlength=self.data.n_users)
        self.counts = Shared(counts.clamp_min(1).to(self.data.labels))

    def step(self, draw: Draw) -> None:
        """Minimises the weighted loss of a batch of O."""
        observed = draw.observed()
        error = self.pointwise(self.prediction(observed), observed.labels)  # (G, B)
        weight = self.counts.value[observed.users] ** -self.config.column("power")
        minimise(self.prediction, (weight * error).mean(-1))
