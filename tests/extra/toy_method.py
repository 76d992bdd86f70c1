"""Matrix factorisation that trusts the loudest users least.

    loss = mean_O  ℓ(σ(f(u, i)), r) / n_u^power        (G,)

    n_u: number of u's ratings in O.

Source: an example, of this suite's CONTRIBUTING.

Differences from the paper:
1. There is no paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.engine.part import minimise
from bench.engine.sampling import Draw
from methods import register
from methods.base import Method, MethodConfig, Shared, require
from methods.parts import MF


@register
class ToyMethod(Method):
    """An example."""

    title = "Toy"
    paper = "none"
    year = 2026

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of the example."""

        power: float = 0.5  # 0: plain MF

        def check(self) -> None:
            """See `MethodConfig.check`."""
            super().check()
            require(self, "power", 0 <= self.power <= 1, "must lie in 0 to 1")

    def build(self) -> None:
        """The prediction model and the users' numbers of ratings, (U,)."""
        self.prediction = self.part(MF, "prediction")
        counts = torch.bincount(self.data.users, minlength=self.data.n_users)
        self.counts = Shared(counts.clamp_min(1).to(self.data.labels))

    def step(self, draw: Draw) -> None:
        """Minimises the weighted loss of a batch of O."""
        observed = draw.observed()
        error = self.pointwise(self.prediction(observed), observed.labels)  # (G, B)
        weight = self.counts.value[observed.users] ** -self.config.power.unsqueeze(-1)
        minimise(self.prediction, (weight * error).mean(-1))
