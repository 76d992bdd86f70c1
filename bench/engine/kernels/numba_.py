"""The kernels compiled by Numba, for float32 on a CPU.

The tables of a part, their gradients and Adam's moments are four flat arrays, each laid out table after table
(`Layout`); what the engine and the methods see are views of them. A gradient has a mark for each row that is
not all 0, so Adam need not read the others and a look ahead costs what its batch touched.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, cast

import numba
import numpy as np
import torch
from numba.core import event
from numpy.typing import NDArray
from torch import Tensor

from bench.engine import heap
from bench.engine.adam import BETA1, BETA2, Adam, Rows
from bench.engine.kernels import loops
from bench.engine.kernels.base import AnyPart, Kernels

if TYPE_CHECKING:
    from bench.engine.part import Leaf, Part, Tables
    from bench.engine.sampling import Pairs

_NONE: NDArray[np.float32] = np.zeros(0, np.float32)


class Layout:
    """Where the tables of G members stand in a flat array: table after table, member after member.

    table: (T, 6) int64 for the loops: offset of the table in floats, rows of a member, floats of a row,
        offset of its marks, marks of a member (padded), whether a dense step looks at them.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], entries: Sequence[str]) -> None:
        self.shapes, self.entries = dict(shapes), tuple(entries)
        self.floats, self.marks = 0, 0
        self.members = next(iter(shapes.values()))[0]
        rows = []
        self.places: dict[str, tuple[int, int]] = {}  # of a table and of its marks
        self.strides: dict[str, int] = {}
        self.widths: dict[str, int] = {}
        for name, shape in shapes.items():
            size = int(np.prod(shape[1:]))
            width = shape[-1] if len(shape) > 2 and name not in entries else 1
            n = size // width
            stride = -(-n // loops._WORD) * loops._WORD
            rows.append((self.floats, n, width, self.marks, stride, int(width > 1 and n > 1)))
            self.places[name], self.strides[name] = (self.floats, self.marks), stride
            self.widths[name] = width
            self.floats += self.members * size
            self.marks += self.members * stride
        self.table = np.array(rows, np.int64)
        self.real = np.zeros(self.marks, np.uint8)  # 1 where a mark is of a row, not padding
        for _, n, _, start, stride, _ in rows:
            stop = start + self.members * stride
            self.real[start:stop].reshape(self.members, stride)[:, :n] = 1

    def taken(self, members: int) -> Layout:
        """The layout of another number of members."""
        shapes = {name: (members, *shape[1:]) for name, shape in self.shapes.items()}
        return Layout(shapes, self.entries)


class Flat(dict[str, Tensor]):
    """Tables (G, ...) as views of one flat array. arrays: the same as NumPy sees them."""

    def __init__(self, layout: Layout, tables: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.layout = layout
        # NumPy asks Linux for large pages, of which random rows need fewer.
        self.array: NDArray[np.float32] = np.zeros(layout.floats, np.float32)
        self.flat = torch.from_numpy(self.array)
        self.arrays: dict[str, NDArray[np.float32]] = {}
        for name, shape in layout.shapes.items():
            start, size = layout.places[name][0], int(np.prod(shape))
            self[name] = self.flat[start : start + size].view(shape)
            self.arrays[name] = self[name].numpy()
            if tables is not None:
                self[name].copy_(tables[name])

    def take(self, members: Tensor) -> Flat:
        """The members of the index (G',)."""
        taken = Flat(self.layout.taken(len(members)))
        for name, table in self.items():
            torch.index_select(table, 0, members, out=taken[name])
        return taken


class Collected(Flat):
    """A gradient, and which of its rows are not all 0. marks: table → (G, rows, padded) uint8."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self.mark_array = np.zeros(layout.marks, np.uint8)
        self.marks: dict[str, NDArray[np.uint8]] = {}
        for name, (_, start) in layout.places.items():
            stride = layout.strides[name]
            stop = start + layout.members * stride
            self.marks[name] = self.mark_array[start:stop].reshape(layout.members, stride)

    def touch_all(self) -> None:
        """Marks all rows of all tables."""
        self.mark_array[:] = self.layout.real

    def touch(self, table: str, rows: Rows | None) -> None:
        """Marks rows that something else than a kernel has added to."""
        marks, shape = self.marks[table], self.layout.shapes[table]
        width = self.layout.widths[table]
        n = int(np.prod(shape[1:])) // width
        if rows is None or rows[1] != width:
            marks[:, :n] = 1
        else:
            member, row = np.divmod(rows[0].numpy(), n)
            marks[member, row] = 1


class FlatAdam(Adam):
    """`Adam` on flat arrays."""

    tables: Flat

    def __init__(
        self,
        loops: SimpleNamespace,
        tables: Tables,
        learning_rate: Tensor,
        weight_decay: Tensor,
        decoupled: bool,
        anchor: Tables | None,
        by_rows: bool,
        entries: Sequence[str],
    ) -> None:
        if not isinstance(tables, Flat):
            tables = Flat(Layout({name: tuple(t.shape) for name, t in tables.items()}, entries), tables)
        if anchor and not isinstance(anchor, Flat):
            anchor = Flat(tables.layout, anchor)
        self._loops = loops
        self._collected: Collected | None = None
        self._direction: Collected | None = None
        self._moments: tuple[Flat, Flat] | None = None
        super().__init__(tables, learning_rate, weight_decay, decoupled, anchor, by_rows)
        self.steps: int = 0

    def _describe(self) -> None:
        self._fused = False
        rate = self.learning_rate.numpy().astype(np.float32)
        decay = self.weight_decay.numpy().astype(np.float32)
        self._rate = rate
        self._decay = np.zeros_like(decay) if self.decoupled else decay
        self._shrink = 1 - rate * decay
        self._kind = loops.COUPLED
        if self.decoupled:
            self._kind = loops.ANCHORED if self.anchor else loops.DECOUPLED

    @property
    def gradients(self) -> Collected:
        """Gradients collected since the last step, shaped as `tables`; made when first asked for."""
        if self._collected is None:
            self._collected = Collected(self.tables.layout)
        return self._collected

    @property
    def direction(self) -> Collected:
        """Another gradient, for a look ahead; 0 between two looks."""
        if self._direction is None:
            self._direction = Collected(self.tables.layout)
        return self._direction

    @property
    def follows_rows(self) -> bool:
        """See `Adam.follows_rows`."""
        return True

    def touch(self, table: str, rows: Rows | None) -> None:
        """See `Adam.touch`."""
        self.gradients.touch(table, rows)

    def step(self) -> None:
        """See `Adam.step`."""
        self.steps += 1
        if self._moments is None:
            self._moments = Flat(self.tables.layout), Flat(self.tables.layout)
        first, second = self._moments
        gradient = self.gradients
        move = self._loops.adam_by_rows if self.by_rows else self._loops.adam
        move(
            self.tables.array,
            gradient.array,
            first.array,
            second.array,
            self.anchor.array if isinstance(self.anchor, Flat) else _NONE,
            gradient.mark_array,
            self.tables.layout.table,
            self._kind,
            self._rate * np.float32(1 / (1 - BETA1**self.steps)),
            self._decay,
            self._shrink,
            np.float32((1 - BETA2**self.steps) ** -0.5),
        )

    def clear(self, collected: Collected) -> None:
        """Makes a gradient 0 again."""
        layout = collected.layout
        self._loops.clear(collected.array, collected.mark_array, layout.table, layout.members)

    def take(self, members: Tensor) -> Self:
        """See `Adam.take`."""
        twin = self._twin()
        twin.tables = self.tables.take(members)
        twin.anchor = self.anchor.take(members) if isinstance(self.anchor, Flat) else self.anchor
        twin._collected = twin._direction = None  # 0 between two steps
        if self._moments is not None:
            twin._moments = self._moments[0].take(members), self._moments[1].take(members)
        twin.learning_rate = self.learning_rate[members]
        twin.weight_decay = self.weight_decay[members]
        twin._describe()
        return twin

    def with_tables(self, tables: Tables) -> Self:
        """See `Adam.with_tables`."""
        twin = self._twin()
        twin.tables = Flat(self.tables.layout, tables)
        twin._collected = twin._direction = None
        return twin

    def forget_gradients(self) -> None:
        """See `Adam.forget_gradients`."""
        self._collected = self._direction = None

    def release(self) -> None:
        """See `Adam.release`."""
        self._collected = self._direction = self._moments = None


class _Moved(Mapping[str, Tensor]):
    """Tables minus rate times a step, each computed when it is asked for."""

    def __init__(self, tables: Flat, step: Collected, rate: Tensor) -> None:
        self.tables, self.step, self.rate = tables, step, rate
        self._made: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._made:
            table = self.tables[name]
            rate = self.rate.view(-1, *[1] * (table.ndim - 1))
            self._made[name] = table - rate * self.step[name]
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tables)

    def __len__(self) -> int:
        return len(self.tables)


class _Ahead(Adam):
    """In the place of a part's Adam, one step of gradient descent ahead of it; not to be stepped.

    moved_by: the gradient of that step. base: the tables before it.
    """

    def __init__(self, adam: FlatAdam, rate: Tensor) -> None:
        self.adam, self.moved_by = adam, adam.gradients
        self.base = adam.tables
        self.rate: NDArray[np.float32] = rate.numpy()
        # A mapping that makes a table when it is asked for, of which nothing but reading is asked.
        self.tables = cast("dict[str, Tensor]", _Moved(adam.tables, self.moved_by, rate))
        self.learning_rate = adam.learning_rate


class _Announcement(event.Listener):
    """One line when the first kernel is compiled that is not on disk."""

    def __init__(self) -> None:
        self.made = False

    def on_start(self, event: Any) -> None:
        if not self.made:
            self.made = True
            print(
                "Compiling the engine's kernels for this processor: some seconds, once; later runs read them "
                "from disk.",
                file=sys.stderr,
                flush=True,
            )

    def on_end(self, event: Any) -> None:
        pass


@cache
def _compiled(parallel: bool) -> SimpleNamespace:
    event.register("numba:compile", _Announcement())
    return loops.compiled(parallel)


class Numba(Kernels):
    """See `Kernels`."""

    name = "numba"

    def __init__(self, threads: int = 1) -> None:
        self.threads = min(threads, numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
        self.loops = _compiled(self.threads > 1)
        heap.keep_freed()
        if self.threads > 1:
            numba.set_num_threads(self.threads)

    @property
    def described(self) -> str:
        """See `Kernels.described`."""
        return f"numba {numba.__version__}"

    def adam(
        self,
        tables: Tables,
        learning_rate: Tensor,
        weight_decay: Tensor,
        decoupled: bool = False,
        anchor: Tables | None = None,
        by_rows: bool = False,
        entries: Sequence[str] = (),
    ) -> FlatAdam:
        """See `Kernels.adam`."""
        return FlatAdam(self.loops, tables, learning_rate, weight_decay, decoupled, anchor, by_rows, entries)

    # --- A look ahead -------------------------------------------------------------------------------

    def ahead(self, part: AnyPart, pulled: Sequence[tuple[Leaf, Tensor]], rate: Tensor) -> AnyPart:
        """See `Kernels.ahead`; the part's gradient, 0 between two steps, holds the step meanwhile."""
        adam = _flat(part)
        _pull(pulled, adam.gradients)
        return part.with_adam(_Ahead(adam, rate))

    def along(
        self, twin: Part, pulled: Sequence[tuple[Leaf, Tensor]], leaves: Sequence[Leaf]
    ) -> list[Tensor]:
        """See `Kernels.along`."""
        ahead = twin.adam
        assert isinstance(ahead, _Ahead)
        adam, step = ahead.adam, ahead.moved_by
        direction = adam.direction
        _pull(pulled, direction)
        pushed = [leaf.push(direction) for leaf in leaves]
        adam.clear(direction)
        adam.clear(step)
        return pushed

    # --- Matrix factorisation -----------------------------------------------------------------------

    def factorise(self, part: Part, pairs: Pairs) -> Tensor:
        """See `Kernels.factorise`."""
        u, i = pairs.arrays
        value, out = _empty(*u.shape)
        if part.features or isinstance(part.adam, _Ahead):
            return self._factorise_gathered(part, u, i, value)
        tables = _flat(part).tables.arrays
        p, q, a, b, c = (tables[name] for name in _FACTORS)
        self.loops.factorise(p, q, a, b, c, u, i, out)
        if not torch.is_grad_enabled():
            return value

        def pull(gradient: Tensor, gradients: Tables) -> None:
            assert isinstance(gradients, Collected)
            into, marks = gradients.arrays, gradients.marks
            self.loops.factorise_pull(
                p,
                q,
                u,
                i,
                u,
                i,
                _array(gradient),
                *(into[name] for name in _FACTORS),
                *(marks[name] for name in _FACTORS),
            )

        def push(direction: Tables) -> Tensor:
            assert isinstance(direction, Collected)
            along, result = _empty(*u.shape)
            marks = direction.marks
            self.loops.factorise_push(
                p,
                q,
                u,
                i,
                *(direction.arrays[name] for name in _FACTORS),
                marks["users"],
                marks["items"],
                result,
            )
            return along

        return part.leaf(value, pull, push, {})

    def _factorise_gathered(
        self, part: Part, u: NDArray[np.int64], i: NDArray[np.int64], value: Tensor
    ) -> Tensor:
        """Of a part that is one step ahead or has features: its rows are gathered, then tables themselves."""
        places = (("users", u), ("items", i), ("user_bias", u), ("item_bias", i))
        p, q, a, b = (self._gathered(part, name, index) for name, index in places)
        c = part.tables["bias"].numpy()
        place = np.ascontiguousarray(np.broadcast_to(np.arange(u.shape[1]), u.shape))
        self.loops.factorise(p, q, a[..., 0], b[..., 0], c, place, place, value.numpy())

        def pull(gradient: Tensor, gradients: Tables) -> None:
            assert isinstance(gradients, Collected)
            into, marks = gradients.arrays, gradients.marks
            slope = _array(gradient)
            self.loops.factorise_pull(
                p,
                q,
                place,
                place,
                u,
                i,
                slope,
                *(into[name] for name in _FACTORS),
                *(marks[name] for name in _FACTORS),
            )
            for table, bias, index, other in (("users", "user_bias", u, q), ("items", "item_bias", i, p)):
                if table in part.features:
                    (weights, features), (slopes, _) = part.features[table], part.features[bias]
                    own = into[weights], into[slopes], marks[weights], marks[slopes]
                    self.loops.scatter_product_features(slope, other, *features.sparse, index, *own)

        def push(direction: Tables) -> Tensor:
            assert isinstance(direction, Collected)
            along, result = _empty(*u.shape)
            dp, dq, da, db = (self._along(part, direction, name, index) for name, index in places)
            moved = np.ones(u.shape, np.uint8)
            self.loops.factorise_push(
                *(p, q, place, place, dp, dq, da[..., 0], db[..., 0]),
                *(direction.arrays["bias"], moved, moved, result),
            )
            return along

        return part.leaf(value, pull, push, {})

    def squared_norms(self, part: Part, pairs: Pairs) -> Tensor:
        """See `Kernels.squared_norms`."""
        if part.features or isinstance(part.adam, _Ahead):
            return super().squared_norms(part, pairs)
        u, i = pairs.arrays
        value, out = _empty(*u.shape)
        tables = [_flat(part).tables.arrays[name] for name in _FACTORS]
        self.loops.squared_norms(*tables, u, i, out)
        if not torch.is_grad_enabled():
            return value

        def pull(gradient: Tensor, gradients: Tables) -> None:
            assert isinstance(gradients, Collected)
            into, marks = gradients.arrays, gradients.marks
            self.loops.squared_norms_pull(
                *tables,
                u,
                i,
                _array(gradient),
                *(into[name] for name in _FACTORS),
                *(marks[name] for name in _FACTORS),
            )

        def push(direction: Tables) -> Tensor:
            along = 2 * part.tables["bias"] * direction["bias"]
            for name, index in zip(_FACTORS[:4], (pairs.users, pairs.items) * 2, strict=True):
                own, change = part.tables[name], direction[name]
                if own.ndim == 3:
                    along = along + 2 * (_chosen(own, index) * _chosen(change, index)).sum(-1)
                else:
                    along = along + 2 * own.gather(1, index) * change.gather(1, index)
            return along

        return part.leaf(value, pull, push, {})

    # --- Rows, with what features add to them -------------------------------------------------------

    def _gathered(self, part: Part, table: str, index: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows (G, B, D) of a table, (G, B, 1) of a table (G, n), of a part that may be one step ahead."""
        ahead = part.adam if isinstance(part.adam, _Ahead) else None
        whole = _three((_flat(part).tables if ahead is None else ahead.base).arrays[table])
        out = np.empty((*index.shape, whole.shape[2]), np.float32)
        if ahead is None:
            self.loops.gather(whole, index, out, 0)
        else:
            step = ahead.moved_by
            own = _three(step.arrays[table]), step.marks[table]
            self.loops.gather_ahead(whole, index, *own, ahead.rate, out)
        self._add_features(part, part.tables, table, index, out)
        return out

    def _along(
        self, part: Part, direction: Tables, table: str, index: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The change of `_gathered` along a direction."""
        source = _three(_array(direction[table]))
        out = np.empty((*index.shape, source.shape[2]), np.float32)
        self.loops.gather(source, index, out, 0)
        self._add_features(part, direction, table, index, out)
        return out

    def _add_features(
        self,
        part: Part,
        tables: Mapping[str, Tensor],
        table: str,
        index: NDArray[np.int64],
        out: NDArray[np.float32],
        first: int = 0,
    ) -> None:
        """Adds to out[..., first:] what features add to a table's rows, given parameters or a direction."""
        if table in part.features:
            weights, features = part.features[table]
            self.loops.add_features(_three(_array(tables[weights])), *features.sparse, index, out, first)

    def _scatter(
        self,
        part: Part,
        slope: NDArray[np.float32],
        first: int,
        table: str,
        index: NDArray[np.int64],
        gradients: Collected,
    ) -> None:
        """Adds a gradient slope[..., first:] of rows of a table to the tables'."""
        into, marks = gradients.arrays, gradients.marks
        self.loops.scatter(slope, first, index, _three(into[table]), marks[table])
        if table in part.features:
            weights, features = part.features[table]
            own = _three(into[weights]), marks[weights]
            self.loops.scatter_features(slope, first, *features.sparse, index, *own)

    # --- Other leaves -------------------------------------------------------------------------------

    def heads(self, part: Part, pairs: Pairs) -> Tensor:
        """See `Kernels.heads`."""
        users, items = pairs.users, pairs.items
        u, i = pairs.arrays
        p, q, h, a, b, c = (_array(part.tables[name]) for name in _HEADS)
        value, out = _empty(len(u), h.shape[1], u.shape[1])
        self.loops.heads(p, q, h, a, b, c, u, i, out)
        if not torch.is_grad_enabled():
            return value

        def pull(gradient: Tensor, gradients: Tables) -> None:
            assert isinstance(gradients, Collected)
            into, marks = gradients.arrays, gradients.marks
            self.loops.heads_pull(
                p,
                q,
                h,
                u,
                i,
                _array(gradient),
                *(into[name] for name in _HEADS),
                *(marks[name] for name in _HEADS),
                *(gradients.layout.widths[name] for name in ("user_bias", "item_bias")),
            )

        def push(direction: Tables) -> Tensor:
            own = part.tables
            pu, qi = (_chosen(own[name], index) for name, index in (("users", users), ("items", items)))
            dp, dq = (_chosen(direction[name], index) for name, index in (("users", users), ("items", items)))
            along = own["heads"] @ (dp * qi + pu * dq).mT + direction["heads"] @ (pu * qi).mT
            biases = _chosen(direction["user_bias"].mT, users) + _chosen(direction["item_bias"].mT, items)
            return along + biases.mT + direction["bias"].unsqueeze(-1)

        return part.leaf(value, pull, push, {})

    def rows(self, part: Part, table: str, index: Tensor) -> Tensor:
        """See `Kernels.rows`."""
        i = _array(index)
        value = torch.from_numpy(self._gathered(part, table, i))
        base = part.adam.base if isinstance(part.adam, _Ahead) else part.adam.tables
        shape = base[table].shape
        value = value.view(*index.shape, *shape[2:])
        if not torch.is_grad_enabled():
            return value

        def pull(gradient: Tensor, gradients: Tables) -> None:
            assert isinstance(gradients, Collected)
            self._scatter(part, _three(_array(gradient)), 0, table, i, gradients)

        def push(direction: Tables) -> Tensor:
            along = torch.from_numpy(self._along(part, direction, table, i))
            return along.view(*index.shape, *shape[2:])

        return part.leaf(value, pull, push, {})

    def row_sums(self, part: Part, index: Mapping[str, Tensor]) -> Tensor:
        """See `Kernels.row_sums`."""
        names = tuple(index)
        places = [_array(each) for each in index.values()]

        def summed(tables: Mapping[str, NDArray[np.float32]]) -> Tensor:
            value, out = _empty(*places[0].shape)
            self.loops.sum_rows(*(tables[name] for name in names), *places, out)
            return value

        value = summed({name: _array(part.tables[name]) for name in names})
        if not torch.is_grad_enabled():
            return value

        def pull(gradient: Tensor, gradients: Tables) -> None:
            assert isinstance(gradients, Collected)
            into, marks = gradients.arrays, gradients.marks
            self.loops.sum_rows_pull(
                _array(gradient), *places, *(into[name] for name in names), *(marks[name] for name in names)
            )

        def push(direction: Tables) -> Tensor:
            assert isinstance(direction, Collected)
            return summed(direction.arrays)

        return part.leaf(value, pull, push, {})

    # --- Networks -----------------------------------------------------------------------------------

    def network(self, part: Part, inputs: Tensor) -> Tensor:
        """See `Kernels.network`."""
        if inputs.requires_grad or isinstance(part.adam, _Ahead):
            return _layers(part, inputs)
        value, run = self._network(part, _array(inputs))
        return self._network_leaf(part, value, run) if torch.is_grad_enabled() else value

    def network_on_rows(self, network: Part, model: Part, pairs: Pairs) -> Tensor:
        """See `Kernels.network_on_rows`: one value that is a leaf of both parts."""
        if isinstance(network.adam, _Ahead) or isinstance(model.adam, _Ahead):
            rows = (self.rows(model, "users", pairs.users), self.rows(model, "items", pairs.items))
            return _layers(network, torch.cat(rows, -1))
        u, i = pairs.arrays
        p, q = (_flat(model).tables.arrays[name] for name in ("users", "items"))
        d = p.shape[2]
        inputs = np.empty((*u.shape, 2 * d), np.float32)
        self.loops.gather(p, u, inputs, 0)
        self.loops.gather(q, i, inputs, d)
        self._add_features(model, model.tables, "users", u, inputs)
        self._add_features(model, model.tables, "items", i, inputs, d)
        value, run = self._network(network, inputs)
        if not torch.is_grad_enabled():
            return value

        def pull(gradient: Tensor, gradients: Tables) -> None:
            assert isinstance(gradients, Collected)
            slope = run.slopes(self.loops, gradient)[0]
            below = np.empty_like(inputs)
            self.loops.layer_back(slope, run.weights[0], inputs, False, below)
            self._scatter(model, below, 0, "users", u, gradients)
            self._scatter(model, below, d, "items", i, gradients)

        def push(direction: Tables) -> Tensor:
            rows = (self._along(model, direction, name, x) for name, x in (("users", u), ("items", i)))
            return run.push(torch.cat([torch.from_numpy(each) for each in rows], -1), None)

        model.leaf(value, pull, push, {})
        return self._network_leaf(network, value, run)

    def _network(self, part: Part, inputs: NDArray[np.float32]) -> tuple[Tensor, _Run]:
        tables = _flat(part).tables.arrays
        n_layers = len(tables) // 2
        run = _Run([inputs], [])
        for layer in range(n_layers):
            weight, bias = tables[f"weight{layer}"], tables[f"bias{layer}"]
            out = np.empty((*inputs.shape[:2], weight.shape[2]), np.float32)
            self.loops.layer(run.activations[-1], weight, bias, layer < n_layers - 1, out)
            run.activations.append(out)
            run.weights.append(weight)
        return torch.from_numpy(run.activations[-1]), run

    def _network_leaf(self, part: Part, value: Tensor, run: _Run) -> Tensor:
        def pull(gradient: Tensor, gradients: Tables) -> None:
            assert isinstance(gradients, Collected)
            for layer, slope in enumerate(run.slopes(self.loops, gradient)):
                self.loops.layer_pull(
                    run.activations[layer],
                    slope,
                    gradients.arrays[f"weight{layer}"],
                    gradients.arrays[f"bias{layer}"],
                )
            gradients.touch_all()

        def push(direction: Tables) -> Tensor:
            return run.push(None, direction)

        return part.leaf(value, pull, push, {})

    # --- Draws --------------------------------------------------------------------------------------

    def deal(
        self,
        shuffled: Tensor,
        place: Tensor,
        ratings: tuple[Tensor, ...],
        out: tuple[Tensor, ...],
        row: int,
    ) -> None:
        """See `Kernels.deal`."""
        given = (*map(_array, ratings), *(each.numpy() for each in out))
        self.loops.deal(_array(shuffled), _array(place), *given, row)

    def look_up(
        self, cells: Tensor, table: Tensor, n_items: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Kernels.look_up`."""
        assert dtype == torch.float32
        users, items = torch.empty_like(cells), torch.empty_like(cells)
        labels, observed = (torch.empty(cells.shape, dtype=dtype) for _ in range(2))
        found = (users, items, labels, observed)
        self.loops.look_up(_array(cells), _array(table), n_items, *(each.numpy() for each in found))
        return found

    # --- Evaluation -----------------------------------------------------------------------

    def areas(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kernels.areas`."""
        found = torch.empty(len(scores), 3, dtype=torch.float64)
        self.loops.areas(_array(scores), _array(labels), found.numpy())
        return found[:, 0], found[:, 1:]


_FACTORS = ("users", "items", "user_bias", "item_bias", "bias")
_HEADS = ("users", "items", "heads", "user_bias", "item_bias", "bias")


class _Run:
    """One use of a network. activations: its inputs and what each layer put out; weights: of each layer."""

    def __init__(self, activations: list[NDArray[np.float32]], weights: list[NDArray[np.float32]]) -> None:
        self.activations, self.weights = activations, weights
        self._slopes: tuple[Tensor, list[NDArray[np.float32]]] | None = None

    def slopes(self, loops: SimpleNamespace, gradient: Tensor) -> list[NDArray[np.float32]]:
        """The gradient of each layer's output before its ReLU, given that of the last one's."""
        if self._slopes is None or self._slopes[0] is not gradient:
            found = [_array(gradient)]
            for layer in range(len(self.weights) - 1, 0, -1):
                out = self.activations[layer]
                below = np.empty_like(out)
                loops.layer_back(found[0], self.weights[layer], out, True, below)
                found.insert(0, below)
            self._slopes = gradient, found
        return self._slopes[1]

    def push(self, inputs: Tensor | None, direction: Tables | None) -> Tensor:
        """The change of the output along a change of the inputs, or along a direction of the tables."""
        along = inputs
        for layer, weight in enumerate(self.weights):
            change = 0 if along is None else along @ torch.from_numpy(weight)
            if direction is not None:
                before = torch.from_numpy(self.activations[layer])
                change = change + before @ direction[f"weight{layer}"] + direction[f"bias{layer}"]
            assert isinstance(change, Tensor)
            if layer < len(self.weights) - 1:
                change = change * (torch.from_numpy(self.activations[layer + 1]) > 0)
            along = change
        assert along is not None
        return along


def _layers(part: Part, inputs: Tensor) -> Tensor:
    """A network in autograd's operations, for inputs that have a gradient of their own."""
    n_layers = len(part.tables) // 2
    for layer in range(n_layers):
        inputs = inputs @ part.whole(f"weight{layer}") + part.whole(f"bias{layer}")
        if layer < n_layers - 1:
            inputs = torch.relu(inputs)
    return inputs


def _flat(part: Part) -> FlatAdam:
    """The Adam of a part that is not one step ahead."""
    adam = part.adam
    assert isinstance(adam, FlatAdam)
    return adam


def _pull(pulled: Sequence[tuple[Leaf, Tensor]], into: Collected) -> None:
    for leaf, slope in pulled:
        leaf.pull(slope, into)
        for table, rows in leaf.rows.items():
            into.touch(table, rows)


def _chosen(table: Tensor, index: Tensor) -> Tensor:
    """Rows (G, B, D) of a table (G, n, D) at index (G, B)."""
    return table.gather(1, index.unsqueeze(-1).expand(-1, -1, table.shape[-1]))


def _empty(*shape: int) -> tuple[Tensor, NDArray[np.float32]]:
    """A tensor and its array."""
    array: NDArray[np.float32] = np.empty(shape, np.float32)
    return torch.from_numpy(array), array


def _array(tensor: Tensor) -> NDArray[Any]:
    """A tensor's array, contiguous; the loops are compiled for nothing else."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    array: NDArray[Any] = tensor.contiguous().numpy()
    return array


def _three(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """(G, n) as (G, n, 1); (G, n, D) as it is, and further axes as one."""
    return array if array.ndim == 3 else array.reshape(*array.shape[:2], -1)
