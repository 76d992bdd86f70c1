"""The kernels in PyTorch's operations: the reference, on any device and in any precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.engine.adam import Adam, flat_index
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
        users = flat_index(pairs.users, part.tables["users"].shape[1])
        items = flat_index(pairs.items, part.tables["items"].shape[1])
        p = part.tables["users"].flatten(0, 1).index_select(0, users)  # (G * B, D)
        q = part.tables["items"].flatten(0, 1).index_select(0, items)

        def biases(tables: Tables) -> Tensor:
            both = tables["user_bias"].flatten().index_select(0, users)
            both += tables["item_bias"].flatten().index_select(0, items)
            return both.view(shape) + tables["bias"]

        def pull(gradient: Tensor, gradients: Tables) -> None:
            column = gradient.reshape(-1, 1)
            gradients["users"].flatten(0, 1).index_add_(0, users, q * column)
            gradients["items"].flatten(0, 1).index_add_(0, items, p * column)
            gradients["user_bias"].flatten().index_add_(0, users, column.squeeze(-1))
            gradients["item_bias"].flatten().index_add_(0, items, column.squeeze(-1))
            gradients["bias"] += gradient.sum(-1, keepdim=True)

        def push(direction: Tables) -> Tensor:
            dp = direction["users"].flatten(0, 1).index_select(0, users)
            dq = direction["items"].flatten(0, 1).index_select(0, items)
            return (dp * q + p * dq).sum(-1).view(shape) + biases(direction)

        rows = {
            "users": (users, p.shape[-1]),
            "items": (items, q.shape[-1]),
            "user_bias": (users, 1),
            "item_bias": (items, 1),
            "bias": None,
        }
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
        flat = flat_index(index, part.tables[table].shape[1])

        def push(tables: Tables) -> Tensor:
            chosen = tables[table].flatten(0, 1).index_select(0, flat)
            return chosen.view(*index.shape, *chosen.shape[1:])

        def pull(gradient: Tensor, gradients: Tables) -> None:
            gradients[table].flatten(0, 1).index_add_(0, flat, gradient.flatten(0, 1))

        width = part.tables[table][0, 0].numel()
        return part.leaf(push(part.tables), pull, push, {table: (flat, width)})

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

    def areas(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kernels.areas`."""
        halves = [auc(scores[:, half::2], labels[:, half::2]) for half in (0, 1)]
        return auc(scores, labels), torch.stack(halves, -1)
