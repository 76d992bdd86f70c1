"""Adam with a learning rate and a weight decay of its own for every member."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor
from torch.optim.adam import adam

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # torch.optim.Adam's defaults, which the paper names

# Rows of a table that a loss was computed from: positions among the rows of all members, floats in a row.
Rows = tuple[Tensor, int]

# On a CPU a member's state larger than this no longer shares the cache with its neighbours': torch's fused
# kernel, member by member, then beats stacked operations (measured by `make speed`).
_FUSED_FROM = 1 << 15  # floats of one member


def flat_index(index: Tensor, n_rows: int) -> Tensor:
    """Index (G, B) into each member's own n_rows as an index (G * B,) into all members' rows."""
    if len(index) == 1:
        return index.flatten()
    offsets = torch.arange(len(index), device=index.device).unsqueeze(-1) * n_rows
    return (index + offsets).flatten()


class Adam:
    """Equals `torch.optim.Adam` (coupled weight decay) member by member.

    With `by_rows`, a step moves the rows that the loss was computed from and no others: neither their
    moments nor their decay. That is `torch.optim.SparseAdam` with a decay, and what a step costs does not
    depend on the tables' sizes. Tables that are handed out whole are moved whole.

    Args:
        tables: named parameters, each (G, ...) and contiguous; changed in place by `step`.
        learning_rate, weight_decay: (G,).
        decoupled: the decay shrinks the tables beside Adam's step, as in `torch.optim.AdamW`, instead of
            being added to the gradient. For parts whose gradients are so small that a coupled decay
            would drown them.
        anchor: tables that a decoupled decay draws towards, instead of towards 0.
        by_rows: moves touched rows only (see `touch`).

    Attributes:
        steps: done so far; a tensor () where the device counts them.
    """

    def __init__(
        self,
        tables: dict[str, Tensor],
        learning_rate: Tensor,
        weight_decay: Tensor,
        decoupled: bool = False,
        anchor: dict[str, Tensor] | None = None,
        by_rows: bool = False,
    ) -> None:
        self.tables = tables
        self.decoupled = decoupled
        self.anchor = anchor or {}
        self.by_rows = by_rows
        self._touched: dict[str, list[Rows] | None] = {}  # since the last step; None: the whole table
        self._gradients: dict[str, Tensor] = {}
        self.first: dict[str, Tensor] = {}
        self.second: dict[str, Tensor] = {}
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        # On the device, where a step that is captured and replayed without Python goes on counting.
        self.steps: Tensor | int = torch.zeros((), dtype=torch.float64, device=learning_rate.device)
        self._betas = torch.tensor([BETA1, BETA2], dtype=torch.float64).to(learning_rate.device)
        self._describe()

    def _describe(self) -> None:
        some = next(iter(self.tables.values()))
        floats = sum(table[0].numel() for table in self.tables.values()) if len(some) else 0
        self._fused = some.device.type == "cpu" and floats >= _FUSED_FROM
        # Python numbers, because the fused kernel takes no tensor; read here, not in the step.
        self._rates = self.learning_rate.tolist() if self._fused else []
        coupled = self.weight_decay if not self.decoupled else torch.zeros_like(self.weight_decay)
        self._coupled = coupled
        self._decays = coupled.tolist() if self._fused else []

    @property
    def gradients(self) -> dict[str, Tensor]:
        """Gradients collected since the last step, shaped as `tables`; made when first asked for."""
        if not self._gradients:
            self._gradients = {name: torch.zeros_like(table) for name, table in self.tables.items()}
        return self._gradients

    @property
    def follows_rows(self) -> bool:
        """Whether it must be told what is touched."""
        return self.by_rows

    def touch(self, table: str, rows: Rows | None) -> None:
        """Notes that a gradient of these rows of a table, or of all of it, is among the gradients."""
        noted = self._touched.setdefault(table, [])
        if rows is None:
            self._touched[table] = None
        elif noted is not None:
            noted.append(rows)

    def step(self) -> None:
        """Moves every table by its gradient and clears the gradients."""
        self.steps += 1
        if not self.first:
            self.first = {name: torch.zeros_like(table) for name, table in self.tables.items()}
            self.second = {name: torch.zeros_like(table) for name, table in self.tables.items()}
        if self.by_rows:
            self._step_by_rows()
            return
        if self.decoupled:
            shrink = 1 - self.learning_rate * self.weight_decay
            for name, table in self.tables.items():
                factor = shrink.view(-1, *[1] * (table.ndim - 1))
                if name in self.anchor:
                    table.copy_(self.anchor[name] + factor * (table - self.anchor[name]))
                else:
                    table.mul_(factor)
        if self._fused:
            self._step_fused()
        else:
            self._step_stacked()
        for gradient in self.gradients.values():
            gradient.zero_()

    def _corrections(self) -> tuple[Tensor, Tensor]:
        """Of the first moments, and the square root of that of the second, () each."""
        first, second = (1 - self._betas**self.steps).unbind()
        return first, second.sqrt()

    def _step_by_rows(self) -> None:
        correction1, correction2 = self._corrections()
        # By the tensors of indices: a user's embedding and bias are touched together, as an item's are.
        known: dict[tuple[int, ...], tuple[Tensor, Tensor, Tensor]] = {}
        for name, touched in self._touched.items():
            whole = self.tables[name]
            width = whole[0].numel() if touched is None else touched[0][1]
            views = [
                table.view(-1, width)
                for table in (whole, self._gradients[name], self.first[name], self.second[name])
            ]
            key = (whole[0].numel() // width, *(id(index) for index, _ in touched or ()))
            if key not in known:
                known[key] = self._rows_of(touched, key[0])
            rows, learning_rate, decay = known[key]
            table, gradient, first, second = (view.index_select(0, rows) for view in views)
            if self.decoupled:
                factor = 1 - learning_rate * decay
                if name in self.anchor:
                    anchor = self.anchor[name].view(-1, width).index_select(0, rows)
                    table = anchor + factor * (table - anchor)
                else:
                    table.mul_(factor)
            else:
                gradient.addcmul_(table, decay)
            first.lerp_(gradient, 1 - BETA1)
            second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            denominator = second.sqrt().div_(correction2).add_(EPSILON)
            table.addcdiv_(first * (learning_rate / correction1), denominator, value=-1)
            for view, moved in zip(views, (table, None, first, second), strict=True):
                if moved is None:
                    view.index_fill_(0, rows, 0)
                else:
                    view.index_copy_(0, rows, moved)
        self._touched = {}

    def _rows_of(self, touched: list[Rows] | None, per_member: int) -> tuple[Tensor, Tensor, Tensor]:
        """Touched rows (R,) of a table of `per_member` rows a member, their rate and decay, (R, 1)."""
        if touched is None:
            return (
                torch.arange(len(self.learning_rate), device=self.learning_rate.device),
                self.learning_rate.unsqueeze(-1),
                self.weight_decay.unsqueeze(-1),
            )
        rows = torch.cat([index for index, _ in touched])
        # Doing a row twice is harmless; finding that out would make a GPU wait.
        if rows.device.type == "cpu":
            rows = rows.unique()
        member = rows.div(per_member, rounding_mode="floor")
        return rows, self.learning_rate[member].unsqueeze(-1), self.weight_decay[member].unsqueeze(-1)

    def _step_stacked(self) -> None:
        correction1, correction2 = self._corrections()
        for name, table in self.tables.items():
            shape = (-1,) + (1,) * (table.ndim - 1)
            gradient = self.gradients[name].addcmul_(table, self._coupled.view(shape))
            first = self.first[name].lerp_(gradient, 1 - BETA1)
            second = self.second[name].mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            denominator = second.sqrt().div_(correction2).add_(EPSILON)
            rate = (self.learning_rate / correction1).view(shape)
            table.addcdiv_(first * rate, denominator, value=-1)

    def _step_fused(self) -> None:
        before = float(self.steps) - 1  # the fused kernel counts for itself
        for member, (rate, decay) in enumerate(zip(self._rates, self._decays, strict=True)):
            state = [torch.tensor(before) for _ in self.tables]
            adam(
                [table[member] for table in self.tables.values()],
                [gradient[member] for gradient in self.gradients.values()],
                [first[member] for first in self.first.values()],
                [second[member] for second in self.second.values()],
                [],
                state,
                fused=True,
                amsgrad=False,
                beta1=BETA1,
                beta2=BETA2,
                lr=rate,
                weight_decay=decay,
                eps=EPSILON,
                maximize=False,
            )

    def take(self, members: Tensor) -> Self:
        """The members of the index (G',), in its order, with their moments."""
        twin = self._twin()
        for name in ("tables", "anchor", "_gradients", "first", "second"):
            group: dict[str, Tensor] = getattr(self, name)
            setattr(twin, name, {key: table[members].contiguous() for key, table in group.items()})
        twin._touched = {}
        twin.steps = self.steps + 0  # its own count
        twin.learning_rate = self.learning_rate[members]
        twin.weight_decay = self.weight_decay[members]
        twin._describe()
        return twin

    def with_tables(self, tables: dict[str, Tensor]) -> Self:
        """A holder of other parameters and of gradients of theirs; not to be stepped."""
        twin = self._twin()
        twin.tables = tables
        twin._gradients, twin._touched = {}, {}
        return twin

    def forget_gradients(self) -> None:
        """Frees the gradients, which are 0 between two steps, until they are asked for again."""
        self._gradients = {}

    def release(self) -> None:
        """Frees all but the parameters, of a stack that is not stepped any more."""
        self._gradients, self.first, self.second = {}, {}, {}

    def _twin(self) -> Self:
        twin: Self = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin
