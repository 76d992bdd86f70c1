"""A learned nominal propensity: P(o = 1 | u, i) by matrix factorisation, trained before the main phase.

    loss = mean_D BCE(o, σ(s)),    s(u, i) an MF logit whose global bias starts at logit(density)        (G,)

It stops on held-out cells of D: a tenth of all cells, chosen by a shuffle of the seed's, never trains it.
Stopped on its training loss it fits noise, and rows that build on it lose. It depends on O alone.

Shapes: G members, B pairs, H held-out cells that are looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from bench.engine.part import minimise
from bench.engine.phase import Phase
from bench.engine.sampling import Batch, Draw, Pairs, generator
from methods.base import Method, MethodConfig, above, at_least
from methods.parts import Factorisation

HELD_OUT = 10  # one cell of so many
_SAMPLE = 20_000  # held-out cells that the stop rule looks at


@dataclass(frozen=True)
class HeldOut:
    """The cells of D that never train the propensity: those whose shuffled number is small.

    A cell's shuffled number is (factor * cell + shift) mod |D|, a permutation of all cells that needs no
    storage. factor, shift: (G,); pairs and observed: (G, H) of held-out cells.
    """

    factor: Tensor
    shift: Tensor
    pairs: Pairs
    observed: Tensor
    n_users: int
    n_items: int

    def holds(self, pairs: Pairs) -> Tensor:
        """(G, B) whether pairs are held out."""
        n_pairs = self.n_users * self.n_items
        cell = pairs.users * self.n_items + pairs.items
        shuffled = (cell * self.factor.unsqueeze(-1) + self.shift.unsqueeze(-1)) % n_pairs
        return shuffled < n_pairs // HELD_OUT

    def take(self, members: Tensor) -> HeldOut:
        """The members of the index (G',)."""
        return replace(
            self,
            factor=self.factor[members],
            shift=self.shift[members],
            pairs=Pairs(self.pairs.users[members], self.pairs.items[members]),
            observed=self.observed[members],
        )


def held_out(method: Method) -> HeldOut:
    """The held-out cells of a method's members, the same for members of one seed."""
    data, device = method.data, method.device
    n_pairs = data.n_users * data.n_items
    observed = torch.zeros(n_pairs, dtype=torch.bool, device=device)
    observed[data.users * data.n_items + data.items] = True
    factors, shifts, cells = [], [], []
    for seed in method.seeds.tolist():
        source = generator("held out", seed)
        factor, shift = (int(torch.randint(n_pairs, (1,), generator=source)) for _ in range(2))
        while math.gcd(factor, n_pairs) != 1:
            factor += 1
        number = torch.arange(n_pairs // HELD_OUT)
        if len(number) > _SAMPLE:
            number = number[torch.randint(len(number), (_SAMPLE,), generator=source)]
        cells.append((number - shift) * pow(factor, -1, n_pairs) % n_pairs)
        factors.append(factor)
        shifts.append(shift)
    cell = torch.stack(cells).to(device)
    users = cell.div(data.n_items, rounding_mode="floor")
    return HeldOut(
        factor=torch.tensor(factors, device=device),
        shift=torch.tensor(shifts, device=device),
        pairs=Pairs(users, cell - users * data.n_items),
        observed=observed[cell].to(data.labels.dtype),
        n_users=data.n_users,
        n_items=data.n_items,
    )


class Propensity(Factorisation):
    """An MF logit of the observation indicator, that starts at the density and has all biases."""

    def __init__(self, method: Method, name: str, learning_rate: Tensor, weight_decay: Tensor) -> None:
        super().__init__(method, name, learning_rate, weight_decay)
        density = torch.tensor(method.data.density, dtype=torch.float64)
        self.tables["bias"].fill_(float(torch.logit(density)))
        self.fixed_tables = ()


@dataclass(kw_only=True)
class PropensityConfig(MethodConfig):
    """Fields of a method with a learned propensity."""

    everywhere_ratio: int = field(default=1, metadata=at_least(1))
    propensity_learning_rate: float = field(default=0.01, metadata=above(0))
    propensity_weight_decay: float = 1e-4
    # Least propensity, as a share of the density.
    propensity_floor: float = field(default=0.25, metadata=above(0))


class PropensityMethod(Method):
    """A method whose first phase trains a nominal propensity."""

    def build_propensity(self) -> None:
        """The propensity model and its held-out cells."""
        self.propensity = self.part(
            Propensity,
            "propensity",
            learning_rate=self.config.propensity_learning_rate,
            weight_decay=self.config.propensity_weight_decay,
        )
        self.held_out = held_out(self)

    def phases(self) -> list[Phase]:
        """The propensity, then the method."""
        first = Phase(
            name="propensity",
            step=self.step_nominal,
            score=self.score,
            criterion=self.propensity_fit,
            stream="propensity",
        )
        return [first, *super().phases()]

    def go_on(self, rate: Tensor) -> None:
        """From here on the propensity learns at another rate (G,), with the decay that it had."""
        self.propensity.retune(rate, self.config.propensity_weight_decay, anchored=False)

    def step_nominal(self, draw: Draw) -> None:
        """One step of the nominal propensity on a batch of D."""
        everywhere = draw.everywhere()
        minimise(self.propensity, self.propensity_loss(self.propensity(everywhere), everywhere))

    def propensity_loss(self, logits: Tensor, everywhere: Batch) -> Tensor:
        """L_prop, (G,): mean BCE of o over the pairs of a batch of D that are not held out."""
        trains = (~self.held_out.holds(everywhere)).to(logits.dtype)
        error = functional.binary_cross_entropy_with_logits(logits, everywhere.observed, reduction="none")
        return (trains * error).sum(-1) / trains.sum(-1).clamp_min(1)

    def propensity_fit(self) -> Tensor:
        """Minus the mean BCE over held-out cells, (G,)."""
        logits = self.propensity.fixed(self.held_out.pairs)
        return -functional.binary_cross_entropy_with_logits(
            logits, self.held_out.observed, reduction="none"
        ).mean(-1)

    def inverse(self, logits: Tensor) -> Tensor:
        """1 / p̃, (G, B), p̃ = σ(logits) but at least `propensity_floor` times the density."""
        return 1 / torch.sigmoid(logits).clamp_min(self.config.column("propensity_floor") * self.data.density)


def self_normalised(inverse: Tensor) -> Tensor:
    """Weights (G, B) of mean 1 over the batch."""
    return inverse / inverse.mean(-1, keepdim=True)
