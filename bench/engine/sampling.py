"""Mini-batches: of the observed ratings O, of the unbiased ratings A, of all pairs D.

A member's draws depend on (seed, stream, epoch) alone, never on its neighbours in the stack or on its
method: members with one seed share them, whatever they train. Index arrays are made on the CPU, once
an epoch, so that the same numbers come out on every device and no step waits for one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.seeds import stream_seed


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator whose state depends on the named parts alone."""
    return torch.Generator().manual_seed(stream_seed(*parts))


@dataclass(frozen=True)
class Pairs:
    """User-item pairs of G members: users, items (G, B) int64."""

    users: Tensor
    items: Tensor


@dataclass(frozen=True)
class Batch(Pairs):
    """Pairs with labels.

    labels: (G, B) float, 0 where not observed.
    observed: (G, B) float, 1 where the pair is in O and 0 elsewhere; all 1 for a batch of O.
    """

    labels: Tensor
    observed: Tensor


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

    def take(self, members: Tensor) -> TrainingData:
        """The data of the members of the index (G',); seeds that none of them has are left out."""
        rows, seed_row = self.seed_row[members].unique(return_inverse=True)
        return replace(
            self,
            seeds=tuple(self.seeds[row] for row in rows.tolist()),
            seed_row=seed_row,
            unbiased_users=self.unbiased_users[rows],
            unbiased_items=self.unbiased_items[rows],
            unbiased_labels=self.unbiased_labels[rows],
        )


class Draw:
    """The batches of one step. Asking twice for the same kind gives the same batch."""

    def __init__(self, epoch: Epoch, data: TrainingData, step: int) -> None:
        self._epoch, self._data, self._step = epoch, data, step

    def _rows(self, drawn: Tensor) -> Tensor:
        """(S, steps, B) of an epoch as this step's (G, B)."""
        return drawn[:, self._step].index_select(0, self._data.seed_row)

    def observed(self) -> Batch:
        """The step's batch of O, (G, B)."""
        epoch = self._epoch
        labels = self._rows(epoch.labels)
        return Batch(self._rows(epoch.users), self._rows(epoch.items), labels, torch.ones_like(labels))

    def unbiased(self) -> Batch:
        """All of A, (G, |A|)."""
        data = self._data
        users, items, labels = (
            each.index_select(0, data.seed_row)
            for each in (data.unbiased_users, data.unbiased_items, data.unbiased_labels)
        )
        return Batch(users, items, labels, torch.zeros_like(labels))

    def everywhere(self) -> Batch:
        """Pairs drawn uniformly from all of D, O included, with the observed flag; (G, ratio * B)."""
        data = self._data
        cell = self._rows(self._epoch.everywhere)
        code = self._epoch.table.index_select(0, cell.flatten()).view(cell.shape)
        users = cell.div(data.n_items, rounding_mode="floor")
        dtype = data.labels.dtype
        return Batch(users, cell - users * data.n_items, (code == 2).to(dtype), (code > 0).to(dtype))


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

    def epoch(self, data: TrainingData, stream: str, number: int) -> Epoch:
        """The steps of epoch `number`, counted from 0, of the named stream (a phase of training)."""
        steps, size, wide = self.steps_per_epoch, self.batch_size, self._ratio * self.batch_size
        observed = torch.empty(len(data.seeds), steps, size, dtype=torch.int64)
        everywhere = torch.empty(len(data.seeds), steps, wide, dtype=torch.int64)
        for row, seed in enumerate(data.seeds):
            shuffled = torch.randperm(len(data.users), generator=generator("observed", seed, stream, number))
            observed[row] = shuffled[: steps * size].view(steps, size)
            if wide:
                source = generator("everywhere", seed, stream, number)
                everywhere[row].random_(0, data.n_users * data.n_items, generator=source)
        rows = observed.to(self._device).flatten()

        def of(values: Tensor) -> Tensor:
            return values.index_select(0, rows).view(observed.shape)

        everywhere = everywhere.to(self._device)
        return Epoch(of(data.users), of(data.items), of(data.labels), everywhere, self._table)


@dataclass(frozen=True)
class Epoch:
    """One epoch's draws, made at once.

    users, items, labels: (S, steps, B) of O. everywhere: (S, steps, ratio * B) cells of D.
    table: (|D|,) int8, what is known of each cell.
    """

    users: Tensor
    items: Tensor
    labels: Tensor
    everywhere: Tensor
    table: Tensor

    def draw(self, data: TrainingData, step: int) -> Draw:
        """The batches of one step, for the members of `data`, which has the epoch's seeds."""
        return Draw(self, data, step)
