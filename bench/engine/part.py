"""A part: parameters that are trained together (prediction model, propensity model, teacher, ...)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.engine.adam import Adam

Accumulate = Callable[[Tensor], None]


class Part:
    """Parameters of G members, their gradients and their Adam.

    Autograd never sees a whole table. What a part hands out (scores, rows of a table, a small table
    whole) is a *leaf* of autograd's graph, and the part remembers how a gradient of that leaf is
    added to the gradients of its tables. `minimise` differentiates a loss down to the leaves only.

    Args:
        tables: named initial values, each (G, ...).
        learning_rate, weight_decay: (G,).
    """

    def __init__(self, tables: dict[str, Tensor], learning_rate: Tensor, weight_decay: Tensor) -> None:
        self.adam = Adam({name: t.contiguous() for name, t in tables.items()}, learning_rate, weight_decay)
        self._leaves: list[tuple[Tensor, Accumulate]] = []

    @property
    def tables(self) -> dict[str, Tensor]:
        """The parameters, each (G, ...)."""
        return self.adam.tables

    @property
    def gradients(self) -> dict[str, Tensor]:
        """Gradients collected since the last step, shaped as `tables`."""
        return self.adam.gradients

    @property
    def n_members(self) -> int:
        return len(self.adam.learning_rate)

    def leaf(self, value: Tensor, accumulate: Accumulate) -> Tensor:
        """Hands `value` to autograd; `accumulate(gradient of value)` adds to `gradients`."""
        if torch.is_grad_enabled():
            value.requires_grad_()
            self._leaves.append((value, accumulate))
        return value

    def rows(self, table: str, index: Tensor) -> Tensor:
        """Rows (G, B, D) of a table (G, n, D) at index (G, B); entries (G, B) of a table (G, n)."""
        flat = flat_index(index, self.tables[table].shape[1])
        value = self.tables[table].flatten(0, 1).index_select(0, flat)
        value = value.view(*index.shape, *value.shape[1:])

        def accumulate(gradient: Tensor) -> None:
            self.gradients[table].flatten(0, 1).index_add_(0, flat, gradient.flatten(0, 1))

        return self.leaf(value, accumulate)

    def whole(self, table: str) -> Tensor:
        """A small table (G, ...) as it is."""

        def accumulate(gradient: Tensor) -> None:
            self.gradients[table].add_(gradient)

        return self.leaf(self.tables[table].clone(), accumulate)

    def keep(self, members: Tensor) -> None:
        """Drops all members but those of the index (G',)."""
        self._leaves.clear()
        self.adam.keep(members)


def flat_index(index: Tensor, n_rows: int) -> Tensor:
    """Index (G, B) into each member's own n_rows as an index (G * B,) into all members' rows."""
    offsets = torch.arange(len(index), device=index.device).unsqueeze(-1) * n_rows
    return (index + offsets).flatten()


def minimise(parts: Part | tuple[Part, ...], loss: Tensor) -> None:
    """One Adam step of the given parts, and of nothing else, on a loss (G,).

    Members do not mix: member g's parameters appear in loss[g] alone.

    Raises:
        RuntimeError: the loss was not computed from the parts since their last step.
    """
    parts = parts if isinstance(parts, tuple) else (parts,)
    recorded = [entry for part in parts for entry in part._leaves]
    if not recorded:
        raise RuntimeError(
            "This loss does not depend on the part it is to train since that part's last step."
        )
    leaves = [leaf for leaf, _ in recorded]
    gradients = torch.autograd.grad(loss.sum(), leaves, retain_graph=True, allow_unused=True)
    with torch.no_grad():
        for (_, accumulate), gradient in zip(recorded, gradients, strict=True):
            if gradient is not None:
                accumulate(gradient)
        for part in parts:
            part._leaves.clear()
            part.adam.step()
