"""A part: parameters that are trained together (prediction model, propensity model, teacher, ...)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from bench.engine import kernels
from bench.engine.adam import Adam, Rows
from bench.engine.adam import flat_index as flat_index  # methods of others take it from here
from bench.engine.features import Links

Tables = dict[str, Tensor]


@dataclass(frozen=True)
class Leaf:
    """What a part handed out to a loss, and how it hangs on the part's tables.

    value: (G, ...), a leaf of autograd's graph.
    pull: adds the tables' gradient, given a gradient of `value`, to the tables of its second argument.
    push: the change of `value` along a direction of the tables (shaped as they are); it is linear
        in the direction, and sum(pull(v) * d) = sum(v * push(d)).
    rows: table → the rows that `pull` adds to, None where it adds to all of them; empty where `pull`
        notes them itself.
    """

    value: Tensor
    pull: Callable[[Tensor, Tables], None]
    push: Callable[[Tables], Tensor]
    rows: Mapping[str, Rows | None]


class Part:
    """Parameters of G members, their gradients and their Adam.

    Autograd never sees a whole table. What a part hands out (scores, rows of a table, a small table
    whole) is a *leaf* of autograd's graph, and the part remembers how a gradient of that leaf
    becomes a gradient of its tables. `minimise` differentiates a loss down to the leaves only.

    Args:
        tables: named initial values, each (G, ...).
        learning_rate, weight_decay: (G,).
        decoupled: see `Adam`.
        features: tables that are read with side features (see `Links`).

    Attributes:
        fixed_tables: tables that no loss moves; a coupled decay leaves zeros as they are.
        entries: tables of three axes whose rows, for an Adam by rows, are single numbers.
        kernels: what the part computes with, those that were current when it was made.
    """

    entries: tuple[str, ...] = ()

    def __init__(
        self,
        tables: Tables,
        learning_rate: Tensor,
        weight_decay: Tensor,
        decoupled: bool = False,
        features: Links | None = None,
    ) -> None:
        own = {name: table.contiguous() for name, table in tables.items()}
        self.features: Links = features or {}
        self.fixed_tables: tuple[str, ...] = ()
        self.kernels = kernels.current()
        self.adam: Adam = self.kernels.adam(own, learning_rate, weight_decay, decoupled, entries=self.entries)
        self.leaves: list[Leaf] = []
        self._loss = torch.zeros_like(learning_rate)
        self._asked: Tensor | int = 0  # Adam's steps when `mean_loss` was last asked

    @property
    def tables(self) -> Tables:
        """The parameters, each (G, ...)."""
        return self.adam.tables

    @property
    def n_members(self) -> int:
        """G."""
        return len(self.adam.learning_rate)

    def leaf(
        self,
        value: Tensor,
        pull: Callable[[Tensor, Tables], None],
        push: Callable[[Tables], Tensor],
        rows: Mapping[str, Rows | None] | None = None,
    ) -> Tensor:
        """Hands `value` to autograd and remembers how it hangs on the tables (see `Leaf`).

        Without `rows` it hangs on every table as a whole.
        """
        if torch.is_grad_enabled():
            value.requires_grad_()
            if self.fixed_tables:
                pull = self._without_fixed(pull)
            self.leaves.append(Leaf(value, pull, push, dict.fromkeys(self.tables) if rows is None else rows))
        return value

    def _without_fixed(self, pull: Callable[[Tensor, Tables], None]) -> Callable[[Tensor, Tables], None]:
        def pulled(gradient: Tensor, gradients: Tables) -> None:
            pull(gradient, gradients)
            for table in self.fixed_tables:
                gradients[table].zero_()

        return pulled

    def rows(self, table: str, index: Tensor) -> Tensor:
        """Rows (G, B, D) of a table (G, n, D) at index (G, B); entries (G, B) of a table (G, n).

        With what side features add to them, where the table is read with features.
        """
        return self.kernels.rows(self, table, index)

    def whole(self, table: str) -> Tensor:
        """A small table (G, ...) as it is."""

        def pull(gradient: Tensor, gradients: Tables) -> None:
            gradients[table].add_(gradient)

        return self.leaf(self.tables[table].clone(), pull, lambda tables: tables[table], {table: None})

    def note_loss(self, loss: Tensor) -> None:
        """Adds a loss (G,) of this part's next step to the running mean that `mean_loss` reads."""
        self._loss.add_(loss)

    def mean_loss(self) -> Tensor:
        """(G,) mean loss of the steps since this was last asked; NaN where there was none."""
        steps = torch.as_tensor(self.adam.steps - self._asked, device=self._loss.device)
        mean = self._loss / steps.to(self._loss.dtype)
        self._forget_losses()
        return mean

    def _forget_losses(self) -> None:
        self._loss.zero_()  # in its place, where a captured step goes on adding
        self._asked = self.adam.steps + 0

    def restart(self, tables: Tables | None = None, by_rows: bool | None = None) -> None:
        """Starts Adam afresh, from other tables (G, ...) if they are given, and forgets all leaves.

        Args:
            by_rows: see `Adam`; as it was where it is left out.
        """
        adam = self.adam
        self.adam = self.kernels.adam(
            tables or adam.tables,
            adam.learning_rate,
            adam.weight_decay,
            adam.decoupled,
            adam.anchor,
            adam.by_rows if by_rows is None else by_rows,
            self.entries,
        )
        self.leaves = []
        self._forget_losses()

    def retune(self, learning_rate: Tensor, weight_decay: Tensor, anchored: bool = True) -> None:
        """Other rates (G,) from here on.

        Args:
            anchored: the decay is decoupled and draws back to the present parameters; else it is as it was.
        """
        anchor, decoupled = self.adam.anchor, self.adam.decoupled
        if anchored:
            anchor, decoupled = {name: table.clone() for name, table in self.tables.items()}, True
        self.adam = self.kernels.adam(
            self.tables, learning_rate, weight_decay, decoupled, anchor, self.adam.by_rows, self.entries
        )
        self._forget_losses()

    def moved(self, tables: Tables) -> Self:
        """This part with other parameters, for a look ahead; its Adam is not to be stepped."""
        return self.with_adam(self.adam.with_tables(tables))

    def with_adam(self, adam: Adam) -> Self:
        """This part with another holder of its tables, and no leaves."""
        twin: Self = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.adam = adam
        twin.leaves = []
        return twin

    def take(self, members: Tensor) -> Self:
        """The members of the index (G',), with Adam's state."""
        twin: Self = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.adam = self.adam.take(members)
        twin.leaves = []
        twin._loss = self._loss[members]
        return twin


def slopes(loss: Tensor, values: Sequence[Tensor], create_graph: bool = False) -> tuple[Tensor | None, ...]:
    """Gradients of the sum of a loss (G,) in values that it was computed from; None where it was not.

    The graph stays. `torch.autograd.grad` finds the same numbers; its checks take 30 to 40 µs a call, a
    quarter of a step of a small stack, so its engine is asked directly where this torch has it.
    """
    wanted, ones = tuple(values), torch.ones_like(loss)
    found: tuple[Tensor | None, ...]
    try:
        engine = torch.autograd.Variable._execution_engine  # type: ignore[attr-defined]
        found = engine.run_backward(
            (loss,), (ones,), True, create_graph, wanted, allow_unreachable=True, accumulate_grad=False
        )
    except (AttributeError, TypeError):  # not torch's promise: another version may have no such call
        found = torch.autograd.grad(
            loss, wanted, ones, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
    return found


def minimise(parts: Part | tuple[Part, ...], loss: Tensor, noted: Tensor | None = None) -> None:
    """One Adam step of the given parts, and of nothing else, on a loss (G,).

    Members do not mix: member g's parameters appear in loss[g] alone. Other parts that the loss was
    computed from are as good as detached.

    Args:
        noted: (G,) what the loss curve shows instead of the loss.

    Raises:
        RuntimeError: the loss was not computed from the parts since their last step.
    """
    parts = parts if isinstance(parts, tuple) else (parts,)
    leaves = [(part, leaf) for part in parts for leaf in part.leaves]
    if not leaves:
        raise RuntimeError(
            "This loss does not depend on the part it is to train since that part's last step."
        )
    gradients = slopes(loss, [leaf.value for _, leaf in leaves])
    with torch.no_grad():
        for (part, leaf), gradient in zip(leaves, gradients, strict=True):
            if gradient is not None:
                leaf.pull(gradient, part.adam.gradients)
                if part.adam.follows_rows:
                    for table, rows in leaf.rows.items():
                        part.adam.touch(table, rows)
        for part in parts:
            part.note_loss((loss if noted is None else noted).detach())
            part.leaves = []
            part.adam.step()
