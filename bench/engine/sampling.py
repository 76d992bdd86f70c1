"""Mini-batches: of the observed ratings O, of the unbiased ratings A, of all pairs D.

A batch of O or D is a random set, and its pairs stand in the order of their users: neighbours then share
what a processor has fetched of the tables. No part of a batch is random by its place.

A member's draws depend on (seed, stream, epoch) alone, never on its neighbours in the stack or on its
method: members with one seed share them, whatever they train. Index arrays are made on the CPU, once
an epoch, so that the same numbers come out on every device and no step waits for one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.engine.features import Features
from bench.engine.kernels import Kernels
from bench.errors import BenchError
from bench.seeds import stream_seed

_TOGETHER = 2**15  # pairs of all members that are made at once, of as many steps as that is
_KEY_BITS = 16  # by which pairs are put in order


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator whose state depends on the named parts alone."""
    return torch.Generator().manual_seed(stream_seed(*parts))


@dataclass(frozen=True)
class Pairs:
    """User-item pairs of G members: users, items (G, B) int64."""

    users: Tensor
    items: Tensor

    @cached_property
    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Users and items as contiguous arrays, on a CPU."""
        return self.users.contiguous().numpy(), self.items.contiguous().numpy()


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
    released_propensity: Tensor | None = None  # (U, I), the release's own estimates, where it has any
    # Of members that read them (`backbone: features`), as far as the data set has them.
    user_features: Features | None = None
    item_features: Features | None = None

    @property
    def density(self) -> float:
        """|O| / |D|."""
        return len(self.users) / (self.n_users * self.n_items)

    @cached_property
    def own_seeds(self) -> bool:
        """Whether member g has row g, and no other member has it."""
        n = len(self.seeds)
        return n == len(self.seed_row) and torch.equal(self.seed_row.cpu(), torch.arange(n))

    @property
    def unbiased_mean(self) -> Tensor:
        """(G,) mean label of A, with one positive and one negative added (A may be all of one class)."""
        labels = self.unbiased_labels
        return ((labels.sum(-1) + 1) / (labels.shape[-1] + 2))[self.seed_row]

    @cached_property
    def unbiased(self) -> Batch:
        """All of A, (G, |A|); made once, since no step changes it."""
        users, items, labels = (
            each.index_select(0, self.seed_row)
            for each in (self.unbiased_users, self.unbiased_items, self.unbiased_labels)
        )
        return Batch(users, items, labels, torch.zeros_like(labels))

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
    """The batches of one step. Asking twice for the same kind gives the same batch.

    number: the step's, from 0, in its phase.
    """

    def __init__(self, epoch: Epoch, data: TrainingData, step: int) -> None:
        self._epoch, self._data, self._step = epoch, data, step
        self.number = epoch.first + step

    def observed(self) -> Batch:
        """The step's batch of O, (G, B)."""
        return self._epoch.observed(self._data, self._step)

    def unbiased(self, at_most: int | None = None) -> Batch:
        """All of A, (G, |A|), or where that is more than `at_most` ratings, a stretch of them, (G, at_most).

        The stretch moves on with each step of the phase and goes round A.
        """
        whole = self._data.unbiased
        n = whole.labels.shape[-1]
        if at_most is None or n <= at_most:
            return whole
        columns = torch.arange(at_most, device=whole.labels.device) + self.number * at_most
        columns = columns % n
        return Batch(*(each[:, columns] for each in (whole.users, whole.items, whole.labels, whole.observed)))

    def everywhere(self) -> Batch:
        """Pairs drawn uniformly from all of D, O included, with the observed flag; (G, ratio * B).

        Raises:
            BenchError: `everywhere_ratio` is 0, so that none are drawn.
        """
        return self._epoch.from_everywhere(self._data, self._step)


class Sampler:
    """Epochs of draws: shuffled O in batches of B; the incomplete last batch waits for another epoch.

    Args:
        data: what is drawn from.
        batch_size: B; all of O where O is smaller.
        everywhere_ratio: pairs of D per pair of O in a step; 0 where a method never asks for D.
        kernel: what they are made with; the draws are the same.
    """

    def __init__(self, data: TrainingData, batch_size: int, everywhere_ratio: int, kernel: Kernels) -> None:
        self.batch_size = min(batch_size, len(data.users))
        self.steps_per_epoch = len(data.users) // self.batch_size
        self._ratio = everywhere_ratio
        self._kernels = kernel
        device = data.users.device
        order = torch.from_numpy(np.argsort(_key(data.users.cpu().numpy(), data.n_users), kind="stable"))
        self._place = torch.empty_like(order, dtype=torch.int32)  # of a rating when they stand by user
        self._place[order] = torch.arange(len(order), dtype=torch.int32)
        by_user = order.to(device)
        self._by_user = (
            data.users.index_select(0, by_user),
            data.items.index_select(0, by_user),
            data.labels.index_select(0, by_user),
        )
        # 0 not observed, 1 observed negative, 2 observed positive: one byte a pair (15 MB for Yahoo! R3).
        pairs = data.n_users * data.n_items if everywhere_ratio else 0
        self._table = torch.zeros(pairs, dtype=torch.int8, device=device)
        if pairs:
            self._table[data.users * data.n_items + data.items] = 1 + data.labels.to(torch.int8)

    def epoch(self, data: TrainingData, stream: str, number: int) -> Epoch:
        """The steps of epoch `number`, counted from 0, of the named stream (a phase of training)."""
        steps, size, wide = self.steps_per_epoch, self.batch_size, self._ratio * self.batch_size
        n, n_cells = len(data.users), data.n_users * data.n_items
        shape = (steps, len(data.seeds), size)
        users, items, labels = (each.new_empty(shape) for each in self._by_user)
        everywhere = torch.empty(steps, len(data.seeds), wide, dtype=torch.int64)
        for row, seed in enumerate(data.seeds):
            shuffled = torch.randperm(n, generator=generator("observed", seed, stream, number))
            self._kernels.deal(shuffled, self._place, self._by_user, (users, items, labels), row)
            if wide:
                source = generator("everywhere", seed, stream, number)
                cells = torch.empty(steps, wide, dtype=torch.int64).random_(0, n_cells, generator=source)
                order = torch.from_numpy(np.argsort(_key(cells.numpy(), n_cells), axis=-1, kind="stable"))
                everywhere[:, row] = cells.gather(-1, order)
        return Epoch(
            users, items, labels, everywhere.to(users.device), self._table, self._kernels, number * steps
        )


def _key(numbers: NDArray[np.int64], bound: int) -> NDArray[np.uint16]:
    """The highest bits of numbers below a bound: nearly their order, and two bytes are sorted by counting."""
    key: NDArray[np.uint16] = (numbers >> max((bound - 1).bit_length() - _KEY_BITS, 0)).astype(np.uint16)
    return key


@dataclass
class Epoch:
    """One epoch's draws, made at once.

    users, items, labels: (steps, S, B) of O. everywhere: (steps, S, ratio * B) cells of D.
    table: (|D|,) int8, what is known of each cell. kernels: what batches are made with.
    first: number of its first step in the phase.
    """

    users: Tensor
    items: Tensor
    labels: Tensor
    everywhere: Tensor
    table: Tensor
    kernels: Kernels
    first: int = 0
    _observed: _Stretch | None = None
    _from_everywhere: _Stretch | None = None

    def draw(self, data: TrainingData, step: int) -> Draw:
        """The batches of one step, for the members of `data`, which has the epoch's seeds."""
        return Draw(self, data, step)

    def observed(self, data: TrainingData, step: int) -> Batch:
        """See `Draw.observed`."""
        if self._observed is None or not self._observed.holds(data, step):
            some = _together(self.users, data, step)
            users, items, labels = (
                _of_members(each[some], data) for each in (self.users, self.items, self.labels)
            )
            ones = torch.ones_like(labels[0]).expand_as(labels)
            self._observed = _Stretch.of(data, step, users, items, labels, ones)
        return self._observed.batches[step - self._observed.start]

    def from_everywhere(self, data: TrainingData, step: int) -> Batch:
        """See `Draw.everywhere`."""
        if not self.everywhere.shape[-1]:
            # A mean over no pair is not a number, and a sum is a loss without a gradient.
            raise BenchError(
                "A method that draws pairs from all of D needs method.everywhere_ratio of at least 1, but it "
                "is 0: give it, or let the method's Config have `everywhere_ratio: int = 1`."
            )
        if self._from_everywhere is None or not self._from_everywhere.holds(data, step):
            cells = self.everywhere[_together(self.everywhere, data, step)]
            of_seeds = self.kernels.look_up(cells, self.table, data.n_items, data.labels.dtype)
            self._from_everywhere = _Stretch.of(data, step, *(_of_members(each, data) for each in of_seeds))
        return self._from_everywhere.batches[step - self._from_everywhere.start]


@dataclass(frozen=True)
class _Stretch:
    """Batches of successive steps, made together: small operations cost more than their numbers."""

    data: TrainingData
    start: int
    batches: list[Batch]

    @classmethod
    def of(cls, data: TrainingData, start: int, *parts: Tensor) -> _Stretch:
        """From users, items, labels and flags, (steps, G, B) each."""
        return cls(
            data, start, [Batch(*each) for each in zip(*(part.unbind(0) for part in parts), strict=True)]
        )

    def holds(self, data: TrainingData, step: int) -> bool:
        """Whether the batch of a step is here, for these members."""
        return data is self.data and 0 <= step - self.start < len(self.batches)


def _together(drawn: Tensor, data: TrainingData, step: int) -> slice:
    """The steps from `step` on whose batches are made at once."""
    size = len(data.seed_row) * drawn.shape[-1]
    return slice(step, step + max(1, _TOGETHER // max(size, 1)))


def _of_members(drawn: Tensor, data: TrainingData) -> Tensor:
    """(steps, S, B) of seeds as (steps, G, B) of members."""
    return drawn if data.own_seeds else drawn.index_select(1, data.seed_row)
