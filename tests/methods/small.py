"""A tiny data set in float64 on which formulas are checked."""

from __future__ import annotations

from typing import Any

import torch

import methods
from bench.engine.part import Part
from bench.engine.sampling import Batch, Pairs, TrainingData
from methods.base import Method

N_USERS, N_ITEMS = 6, 5


def data(n_seeds: int = 2, n_observed: int = 14, n_unbiased: int = 8) -> TrainingData:
    """Two members' data: O of 14 pairs, A of 8."""
    generator = torch.Generator().manual_seed(5)
    cells = torch.randperm(N_USERS * N_ITEMS, generator=generator)[:n_observed]
    a = torch.randint(N_USERS * N_ITEMS, (n_seeds, n_unbiased), generator=generator)
    return TrainingData(
        n_users=N_USERS,
        n_items=N_ITEMS,
        seeds=tuple(range(n_seeds)),
        seed_row=torch.arange(n_seeds),
        users=cells // N_ITEMS,
        items=cells % N_ITEMS,
        labels=(torch.rand(n_observed, generator=generator) < 0.6).double(),
        unbiased_users=a // N_ITEMS,
        unbiased_items=a % N_ITEMS,
        unbiased_labels=(torch.rand(n_seeds, n_unbiased, generator=generator) < 0.4).double(),
    )


def built(key: str, of: TrainingData | None = None, spread: float = 0.4, **fields: Any) -> Method:
    """A method of two members whose parts are away from their starting values."""
    of = data() if of is None else of
    kind = methods.get(key)
    config = kind.Config(**{"embedding_size": 3, "everywhere_ratio": 1, **fields})
    config.check()
    n = len(of.seed_row)
    method = kind([config] * n, list(of.seeds), of)
    stir(method, spread)
    return method


def stir(method: Method, spread: float) -> None:
    """Adds noise to all parameters."""
    generator = torch.Generator().manual_seed(9)
    for part in method.parts.values():
        for table in part.tables.values():
            table.add_(spread * torch.randn(table.shape, generator=generator, dtype=table.dtype))


def all_observed(method: Method) -> Batch:
    """All of O as one batch."""
    of, g = method.data, method.n_members
    labels = of.labels.expand(g, -1)
    return Batch(of.users.expand(g, -1), of.items.expand(g, -1), labels, torch.ones_like(labels))


def all_pairs(method: Method) -> Batch:
    """All of D as one batch."""
    of, g = method.data, method.n_members
    cells = torch.arange(of.n_users * of.n_items)
    labels, observed = torch.zeros(2, len(cells), dtype=of.labels.dtype)
    own = of.users * of.n_items + of.items
    labels[own], observed[own] = of.labels, 1
    users, items = cells // of.n_items, cells % of.n_items
    return Batch(*(each.expand(g, -1) for each in (users, items, labels, observed)))


def all_unbiased(method: Method) -> Batch:
    """All of A as one batch."""
    of = method.data
    rows = (of.unbiased_users, of.unbiased_items, of.unbiased_labels)
    users, items, labels = (each[of.seed_row] for each in rows)
    return Batch(users, items, labels, torch.zeros_like(labels))


class Whole:
    """A draw that gives everything, or the batches that it is told to give."""

    def __init__(
        self, method: Method, observed: Batch | None = None, everywhere: Batch | None = None
    ) -> None:
        self._observed = all_observed(method) if observed is None else observed
        self._everywhere = all_pairs(method) if everywhere is None else everywhere
        self._unbiased = all_unbiased(method)

    def observed(self) -> Batch:
        return self._observed

    def everywhere(self) -> Batch:
        return self._everywhere

    def unbiased(self, at_most: int | None = None) -> Batch:
        return self._unbiased


def taken(batch: Batch, columns: list[int]) -> Batch:
    """Some columns of a batch."""
    return Batch(
        batch.users[:, columns], batch.items[:, columns], batch.labels[:, columns], batch.observed[:, columns]
    )


def gradients(part: Part, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """The gradient of a loss (G,) in a part's tables, without a step."""
    leaves = list(part.leaves)
    found = torch.autograd.grad(
        loss.sum(), [leaf.value for leaf in leaves], retain_graph=True, allow_unused=True
    )
    tables = {name: torch.zeros_like(table) for name, table in part.tables.items()}
    for leaf, slope in zip(leaves, found, strict=True):
        if slope is not None:
            leaf.pull(slope, tables)
    return tables


def plain_logits(tables: dict[str, torch.Tensor], pairs: Pairs) -> torch.Tensor:
    """MF's formula in plain autograd."""
    g = torch.arange(len(pairs.users)).unsqueeze(-1)
    product = (tables["users"][g, pairs.users] * tables["items"][g, pairs.items]).sum(-1)
    biases = tables["user_bias"][g, pairs.users] + tables["item_bias"][g, pairs.items]
    return product + biases + tables["bias"]
