"""Mini-batches: of the observed ratings O, of the unbiased ratings A, of all pairs D.

A member's draws depend on (seed, stream, epoch) alone, never on its neighbours in the stack or on its
method: members with one seed share them, whatever they train. Index arrays are made on the CPU, once
an epoch, so that the same numbers come out on every device and no step waits for one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.seeds import stream_seed


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator whose state depends on the named parts alone."""
    return torch.Generator().manual_seed(stream_seed(*parts))


@dataclass(frozen=True)
class Batch:
    """Pairs of G members: users, items (G, B) int64; labels (G, B) float, 0 where not observed."""

    users: Tensor
    items: Tensor
    labels: Tensor
    observed: Tensor | None = None  # (G, B) bool, for draws from all pairs


@dataclass(frozen=True)
class TrainingData:
    """What a group of members trains on, on its device.

    users, items, labels: (|O|,) the observed ratings, the same for every member.
    unbiased_*: (S, |A|), one row per distinct seed. seed_row: (G,) each member's row.
    """

    n_users: int
    n_items: int
    seeds: tuple[int, ...]
    seed_row: Tensor
    users: Tensor
    items: Tensor
    labels: Tensor
    unbiased_users: Tensor
    unbiased_items: Tensor
    unbiased_labels: Tensor
    propensity: Tensor | None = None  # (U, I), known for generated data only

    @property
    def density(self) -> float:
        """|O| / |D|."""
        return len(self.users) / (self.n_users * self.n_items)

    @property
    def unbiased_mean(self) -> Tensor:
        """(G,) mean label of A, with one positive and one negative added (A may be all of one class)."""
        labels = self.unbiased_labels
        return ((labels.sum(-1) + 1) / (labels.shape[-1] + 2))[self.seed_row]

    def keep(self, members: Tensor) -> TrainingData:
        """The data of the members of the index (G',)."""
        return TrainingData(**{**self.__dict__, "seed_row": self.seed_row[members]})


class Draw:
    """The batches of one step. Asking twice for the same kind gives the same batch."""

    def __init__(self, data: TrainingData, observed: Tensor, everywhere: Tensor, table: Tensor) -> None:
        self._data = data
        self._observed = observed
        self._everywhere = everywhere
        self._table = table

    def observed(self) -> Batch:
        """The step's batch of O, (G, B)."""
        data = self._data
        index = self._observed[data.seed_row]
        return Batch(data.users[index], data.items[index], data.labels[index])

    def unbiased(self) -> Batch:
        """All of A, (G, |A|)."""
        data, row = self._data, self._data.seed_row
        return Batch(data.unbiased_users[row], data.unbiased_items[row], data.unbiased_labels[row])

    def everywhere(self) -> Batch:
        """Pairs drawn uniformly from all of D, O included, with the observed flag; (G, ratio * B)."""
        data = self._data
        cell = self._everywhere[data.seed_row]
        code = self._table[cell]
        users = cell.div(data.n_items, rounding_mode="floor")
        labels = (code == 2).to(data.labels.dtype)
        return Batch(users, cell - users * data.n_items, labels, code > 0)


class Sampler:
    """Epochs of draws: shuffled O in batches of B; the incomplete last batch waits for another epoch.

    Args:
        data: what is drawn from.
        batch_size: B; all of O where O is smaller.
        everywhere_ratio: pairs of D per pair of O in a step; 0 where a method never asks for D.
    """

    def __init__(self, data: TrainingData, batch_size: int, everywhere_ratio: int) -> None:
        self.batch_size = min(batch_size, len(data.users))
        self.steps_per_epoch = len(data.users) // self.batch_size
        self._ratio = everywhere_ratio
        self._device = data.users.device
        # 0 not observed, 1 observed negative, 2 observed positive: one byte a pair (15 MB for Yahoo! R3).
        pairs = data.n_users * data.n_items if everywhere_ratio else 0
        self._table = torch.zeros(pairs, dtype=torch.int8, device=self._device)
        if pairs:
            self._table[data.users * data.n_items + data.items] = 1 + data.labels.to(torch.int8)

    def epoch(self, data: TrainingData, number: int) -> list[Draw]:
        """The steps of epoch `number`, counted from 0."""
        steps, size = self.steps_per_epoch, self.batch_size
        observed = torch.stack(
            [
                torch.randperm(len(data.users), generator=generator("observed", seed, number))[: steps * size]
                for seed in data.seeds
            ]
        ).view(len(data.seeds), steps, size)
        observed = observed.to(self._device)
        wide = self._ratio * size
        everywhere = torch.empty(len(data.seeds), steps, 0, dtype=torch.int64)
        if wide:
            everywhere = torch.stack(
                [
                    torch.randint(
                        data.n_users * data.n_items,
                        (steps, wide),
                        generator=generator("everywhere", seed, number),
                    )
                    for seed in data.seeds
                ]
            )
        everywhere = everywhere.to(self._device)
        return [Draw(data, observed[:, step], everywhere[:, step], self._table) for step in range(steps)]
