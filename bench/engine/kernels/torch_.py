"""The kernels in PyTorch's operations: the reference, on any device and in any precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bench.engine.adam import Adam, Rows, flat_index
from bench.engine.kernels.base import AnyPart, Kernels
from bench.metrics import auc

if TYPE_CHECKING:
    from bench.engine.part import Leaf, Part, Tables
    from bench.engine.sampling import Pairs


class Torch(Kernels):
    """See `Kernels`."""

    name = "torch"

    def adam(
        self,
        tables: Tables,
        learning_rate: Tensor,
        weight_decay: Tensor,
        decoupled: bool = False,
        anchor: Tables | None = None,
        by_rows: bool = False,
        entries: Sequence[str] = (),
    ) -> Adam:
        """See `Kernels.adam`."""
        return Adam(tables, learning_rate, weight_decay, decoupled, anchor, by_rows)

    def ahead(self, part: AnyPart, pulled: Sequence[tuple[Leaf, Tensor]], rate: Tensor) -> AnyPart:
        """See `Kernels.ahead`."""
        step = {name: torch.zeros_like(table) for name, table in part.tables.items()}
        for leaf, slope in pulled:
            leaf.pull(slope, step)
        for name, table in part.tables.items():  # in place: a copy of the tables is memory
            step[name].mul_(rate.view(-1, *[1] * (table.ndim - 1))).neg_().add_(table)
        return part.moved(step)

    def along(
        self, twin: Part, pulled: Sequence[tuple[Leaf, Tensor]], leaves: Sequence[Leaf]
    ) -> list[Tensor]:
        """See `Kernels.along`."""
        direction = twin.adam.gradients
        for leaf, slope in pulled:
            leaf.pull(slope, direction)
        return [leaf.push(direction) for leaf in leaves]

    def factorise(self, part: Part, pairs: Pairs) -> Tensor:
        """See `Kernels.factorise`."""
        shape = pairs.users.shape
        chosen = {
            name: _Rows(part, name, index)
            for name, index in (
                *(("users", pairs.users), ("items", pairs.items)),
                *(("user_bias", pairs.users), ("item_bias", pairs.items)),
            )
        }
        p, q = (chosen[name].of(part.tables) for name in ("users", "items"))  # (G * B, D)

        def biases(tables: Tables) -> Tensor:
            both = chosen["user_bias"].of(tables)
            both += chosen["item_bias"].of(tables)
            return both.view(shape) + tables["bias"]

        def pull(gradient: Tensor, gradients: Tables) -> None:
            column = gradient.reshape(-1, 1)
            chosen["users"].add(q * column, gradients)
            chosen["items"].add(p * column, gradients)
            chosen["user_bias"].add(column.squeeze(-1), gradients)
            chosen["item_bias"].add(column.squeeze(-1), gradients)
            gradients["bias"] += gradient.sum(-1, keepdim=True)

        def push(direction: Tables) -> Tensor:
            dp, dq = (chosen[name].of(direction) for name in ("users", "items"))
            return (dp * q + p * dq).sum(-1).view(shape) + biases(direction)

        rows: dict[str, Rows | None] = {"bias": None}
        for each in chosen.values():
            rows.update(each.noted)
        return part.leaf((p * q).sum(-1).view(shape) + biases(part.tables), pull, push, rows)

    def heads(self, part: Part, pairs: Pairs) -> Tensor:
        """See `Kernels.heads`."""
        g, b = pairs.users.shape
        heads = part.tables["heads"]
        t = heads.shape[1]
        # Positions in the flattened (G * T, n) tables of biases.
        bias_of = {
            name: flat_index(
                index.unsqueeze(1).expand(g, t, b).reshape(g * t, b), part.tables[name].shape[-1]
            )
            for name, index in (("user_bias", pairs.users), ("item_bias", pairs.items))
        }
        users = flat_index(pairs.users, part.tables["users"].shape[1])
        items = flat_index(pairs.items, part.tables["items"].shape[1])
        p = part.tables["users"].flatten(0, 1).index_select(0, users).view(g, b, -1)
        q = part.tables["items"].flatten(0, 1).index_select(0, items).view(g, b, -1)

        def biases(tables: Tables) -> Tensor:
            user, item = (tables[name].flatten().index_select(0, index) for name, index in bias_of.items())
            return (user + item).view(g, t, b) + tables["bias"].unsqueeze(-1)

        def pull(gradient: Tensor, gradients: Tables) -> None:
            product = gradient.transpose(1, 2) @ heads  # (G, B, D)
            gradients["users"].flatten(0, 1).index_add_(0, users, (product * q).flatten(0, 1))
            gradients["items"].flatten(0, 1).index_add_(0, items, (product * p).flatten(0, 1))
            gradients["heads"] += gradient @ (p * q)
            for name, index in bias_of.items():
                gradients[name].flatten().index_add_(0, index, gradient.flatten())
            gradients["bias"] += gradient.sum(-1)

        def push(direction: Tables) -> Tensor:
            dp = direction["users"].flatten(0, 1).index_select(0, users).view(g, b, -1)
            dq = direction["items"].flatten(0, 1).index_select(0, items).view(g, b, -1)
            along = (dp * q + p * dq) @ heads.transpose(1, 2) + (p * q) @ direction["heads"].transpose(1, 2)
            return along.transpose(1, 2) + biases(direction)

        logits = ((p * q) @ heads.transpose(1, 2)).transpose(1, 2).contiguous() + biases(part.tables)
        rows = {
            "users": (users, p.shape[-1]),
            "items": (items, q.shape[-1]),
            "heads": None,
            "user_bias": (bias_of["user_bias"], 1),
            "item_bias": (bias_of["item_bias"], 1),
            "bias": None,
        }
        return part.leaf(logits, pull, push, rows)

    def rows(self, part: Part, table: str, index: Tensor) -> Tensor:
        """See `Kernels.rows`."""
        chosen = _Rows(part, table, index)

        def push(tables: Tables) -> Tensor:
            rows = chosen.of(tables)
            return rows.view(*index.shape, *rows.shape[1:])

        def pull(gradient: Tensor, gradients: Tables) -> None:
            chosen.add(gradient.flatten(0, 1), gradients)

        return part.leaf(push(part.tables), pull, push, chosen.noted)

    def row_sums(self, part: Part, index: Mapping[str, Tensor]) -> Tensor:
        """See `Kernels.row_sums`."""
        first, second, third = (self.rows(part, table, each) for table, each in index.items())
        return first + second + third

    def network(self, part: Part, inputs: Tensor) -> Tensor:
        """See `Kernels.network`."""
        n_layers = len(part.tables) // 2
        for layer in range(n_layers):
            inputs = inputs @ part.whole(f"weight{layer}") + part.whole(f"bias{layer}")
            if layer < n_layers - 1:
                inputs = torch.relu(inputs)
        return inputs

    def network_on_rows(self, network: Part, model: Part, pairs: Pairs) -> Tensor:
        """See `Kernels.network_on_rows`."""
        rows = (self.rows(model, "users", pairs.users), self.rows(model, "items", pairs.items))
        return self.network(network, torch.cat(rows, -1))

    def deal(
        self,
        shuffled: Tensor,
        place: Tensor,
        ratings: tuple[Tensor, ...],
        out: tuple[Tensor, ...],
        row: int,
    ) -> None:
        """See `Kernels.deal`."""
        steps, _, size = out[0].shape
        numbers = np.minimum(np.arange(len(place)) // size, steps).astype(np.min_scalar_type(steps))
        batch = np.empty_like(numbers)  # of each rating; that of those left over comes last
        batch[place.index_select(0, shuffled).numpy()] = numbers
        chosen = torch.from_numpy(np.argsort(batch, kind="stable")[: steps * size]).to(out[0].device)
        for values, batches in zip(ratings, out, strict=True):
            batches[:, row] = values.index_select(0, chosen).view(steps, size)

    def look_up(
        self, cells: Tensor, table: Tensor, n_items: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Kernels.look_up`."""
        known = table.index_select(0, cells.flatten()).view(cells.shape)
        users = cells.div(n_items, rounding_mode="floor")
        return users, cells - users * n_items, (known == 2).to(dtype), (known > 0).to(dtype)

    def areas(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kernels.areas`."""
        halves = [auc(scores[:, half::2], labels[:, half::2]) for half in (0, 1)]
        return auc(scores, labels), torch.stack(halves, -1)


class _Rows:
    """Rows of a part's table at index (G, B), with what side features add to them.

    noted: what a leaf of them adds to (see `Leaf.rows`).
    """

    def __init__(self, part: Part, table: str, index: Tensor) -> None:
        whole = part.tables[table]
        self.table, self.shape = table, index.shape
        self.flat = flat_index(index, whole.shape[1])
        self.noted: dict[str, Rows | None] = {table: (self.flat, whole[0, 0].numel())}
        self.weights = ""
        if table in part.features:
            self.weights, features = part.features[table]
            self.features = features.matrix[index]  # (G, B, K)
            self.noted[self.weights] = None

    def of(self, tables: Tables) -> Tensor:
        """(G * B, ...), of parameters or of a direction."""
        rows = tables[self.table].flatten(0, 1).index_select(0, self.flat)
        if self.weights:
            added = self.features @ _matrices(tables[self.weights])
            rows = rows + added.view(rows.shape)
        return rows

    def add(self, slope: Tensor, gradients: Tables) -> None:
        """Adds the gradient (G * B, ...) of these rows to the tables'."""
        gradients[self.table].flatten(0, 1).index_add_(0, self.flat, slope)
        if self.weights:
            _matrices(gradients[self.weights]).add_(self.features.mT @ slope.reshape(*self.shape, -1))


def _matrices(table: Tensor) -> Tensor:
    """(G, K) as (G, K, 1); (G, K, D) as it is."""
    return table if table.ndim > 2 else table.unsqueeze(-1)
