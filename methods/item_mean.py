"""The mean observed label of each item, the same for all users.

    score(u, i) = (Σ_{O, item i} r + c · r̄) / (n_i + c),    r̄ = mean_O r        (G,)

Source: folklore; the popularity control of this suite.

Differences from the paper:
1. There is none; c = `pseudo_count` ratings at the overall mean keep items with few ratings apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.engine.phase import Phase
from bench.engine.sampling import Pairs
from methods import register
from methods.base import Method, MethodConfig, Shared, above


@register
class ItemMean(Method):
    """A control without training."""

    title = "Item mean"
    paper = "none"
    year = 0
    trained = False

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of the item mean."""

        pseudo_count: float = field(default=5.0, metadata=above(0))  # c

    def build(self) -> None:
        """Sums and counts of the items' labels, (I,)."""
        data = self.data
        self.positives = Shared(torch.bincount(data.items, data.labels, minlength=data.n_items))
        self.counts = Shared(torch.bincount(data.items, minlength=data.n_items))
        self.mean = float(data.labels.mean())

    def score(self, pairs: Pairs) -> Tensor:
        """(G, N) the items' smoothed mean labels."""
        c = self.config.column("pseudo_count")
        mean = (self.positives.value + c * self.mean) / (self.counts.value + c)  # (G, I)
        return mean.gather(1, pairs.items)

    def phases(self) -> list[Phase]:
        """Nothing is trained."""
        return []
