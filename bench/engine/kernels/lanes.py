"""Sums and products of float32 in eight lanes, whatever vectors the processor has.

LLVM may not reorder additions, so it leaves a plain dot product scalar. Written in lanes it is fast, and its
bits are the same on every processor: lane l sums the terms l, l + 8, l + 16, ..., the lanes are added in
pairs, and the terms beyond the last multiple of eight follow one by one. A multiplication is fused with its
addition: rounded once.

Arguments named `at_...` are positions in a C-contiguous array as if it were flat; nothing is checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic

LANES = 8

_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INDEX = ir.IntType(64)


def intrinsic(function: Any) -> Any:
    """Numba's decorator, whose type says nothing of what calls are like."""
    return _intrinsic(function)


class _Code:
    """Writes LLVM's instructions for one intrinsic."""

    def __init__(self, context: Any, builder: Any) -> None:
        self.context, self.builder = context, builder

    def data(self, kind: Any, array: Any) -> Any:
        """The address of an array's first float."""
        return self.context.make_array(kind)(self.context, self.builder, array).data

    def load(self, base: Any, at: Any) -> Any:
        return self.builder.load(self.builder.gep(base, [at]))

    def store(self, value: Any, base: Any, at: Any) -> None:
        self.builder.store(value, self.builder.gep(base, [at]))

    def load_lanes(self, base: Any, at: Any) -> Any:
        where = self.builder.bitcast(self.builder.gep(base, [at]), _VECTOR.as_pointer())
        return self.builder.load(where, align=4)

    def store_lanes(self, value: Any, base: Any, at: Any) -> None:
        where = self.builder.bitcast(self.builder.gep(base, [at]), _VECTOR.as_pointer())
        self.builder.store(value, where, align=4)

    def in_lanes(self, value: Any) -> Any:
        """One float in all lanes."""
        vector = self.builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(vector, ir.Constant(_VECTOR, ir.Undefined), mask)

    def fused(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c in lanes, rounded once."""
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fma.v{LANES}f32")
        return self.builder.call(function, [a, b, c])

    def whole(self, n: Any) -> Any:
        """The largest multiple of the lanes that is not above n."""
        return self.builder.and_(n, _INDEX(-LANES))

    def loop(self, start: Any, stop: Any, step: int) -> Any:
        return cgutils.for_range_slice(self.builder, start, stop, _INDEX(step), _INDEX)


def _floats(*kinds: Any) -> bool:
    return all(isinstance(kind, types.Array) and kind.dtype == types.float32 for kind in kinds)


@intrinsic
def dot(typing: Any, p: Any, at_p: Any, q: Any, at_q: Any, n: Any) -> Any:
    """p[at_p :][:n] · q[at_q :][:n]."""
    if not _floats(p, q):
        return None

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        code = _Code(context, builder)
        left, right = code.data(signature.args[0], given[0]), code.data(signature.args[2], given[2])
        at_left, at_right, length = given[1], given[3], given[4]
        lanes = cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * LANES))
        whole = code.whole(length)
        with code.loop(_INDEX(0), whole, LANES) as (index, _):
            a = code.load_lanes(left, builder.add(at_left, index))
            b = code.load_lanes(right, builder.add(at_right, index))
            builder.store(code.fused(a, b, builder.load(lanes)), lanes)
        parts = [builder.extract_element(builder.load(lanes), ir.IntType(32)(lane)) for lane in range(LANES)]
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [builder.fadd(parts[lane], parts[lane + half]) for lane in range(half)]
        total = cgutils.alloca_once_value(builder, parts[0])
        with code.loop(whole, length, 1) as (index, _):
            a = code.load(left, builder.add(at_left, index))
            b = code.load(right, builder.add(at_right, index))
            builder.store(builder.fma(a, b, builder.load(total)), total)
        return builder.load(total)

    index = types.int64
    return types.float32(p, index, q, index, index), write


@intrinsic
def add_scaled(typing: Any, x: Any, source: Any, at_source: Any, target: Any, at_target: Any, n: Any) -> Any:
    """target[at_target :][:n] += x source[at_source :][:n]."""
    if not _floats(source, target):
        return None

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        code = _Code(context, builder)
        scale, at_from, at_to, length = given[0], given[2], given[4], given[5]
        base, into = code.data(signature.args[1], given[1]), code.data(signature.args[3], given[3])
        scales, whole = code.in_lanes(scale), code.whole(length)
        with code.loop(_INDEX(0), whole, LANES) as (index, _):
            a = code.load_lanes(base, builder.add(at_from, index))
            to = builder.add(at_to, index)
            code.store_lanes(code.fused(scales, a, code.load_lanes(into, to)), into, to)
        with code.loop(whole, length, 1) as (index, _):
            a = code.load(base, builder.add(at_from, index))
            to = builder.add(at_to, index)
            code.store(builder.fma(scale, a, code.load(into, to)), into, to)
        return context.get_dummy_value()

    index = types.int64
    return types.void(types.float32, source, index, target, index, index), write


@intrinsic
def copy(typing: Any, source: Any, at_source: Any, target: Any, at_target: Any, n: Any) -> Any:
    """target[at_target :][:n] = source[at_source :][:n]."""
    if not _floats(source, target):
        return None

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        code = _Code(context, builder)
        at_from, at_to, length = given[1], given[3], given[4]
        base, into = code.data(signature.args[0], given[0]), code.data(signature.args[2], given[2])
        whole = code.whole(length)
        with code.loop(_INDEX(0), whole, LANES) as (index, _):
            code.store_lanes(
                code.load_lanes(base, builder.add(at_from, index)), into, builder.add(at_to, index)
            )
        with code.loop(whole, length, 1) as (index, _):
            code.store(code.load(base, builder.add(at_from, index)), into, builder.add(at_to, index))
        return context.get_dummy_value()

    index = types.int64
    return types.void(source, index, target, index, index), write


@intrinsic
def prefetch(typing: Any, array: Any, at: Any) -> Any:
    """Asks for the cache line of array[at], which will be needed soon."""

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        code = _Code(context, builder)
        where = builder.bitcast(
            builder.gep(code.data(signature.args[0], given[0]), [given[1]]), ir.IntType(8).as_pointer()
        )
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [where, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), write


def _tile(rows: int, vectors: int) -> Any:
    """y[r, c] += Σ_i x[r, i] w[i, c] of `rows` rows r and 8 · `vectors` columns c; i in its order.

    row_y, row_x: from a row of y, of x, to the next. term_x, term_w: from a term of x, of w, to the next.
    """

    @intrinsic
    def tile(
        typing: Any,
        y: Any,
        at_y: Any,
        row_y: Any,
        x: Any,
        at_x: Any,
        row_x: Any,
        term_x: Any,
        w: Any,
        at_w: Any,
        term_w: Any,
        terms: Any,
    ) -> Any:
        if not _floats(y, x, w):
            return None

        def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            code = _Code(context, builder)
            _, first_y, next_y, _, first_x, next_x, step_x, _, first_w, step_w, n = given
            sums, left, right = (code.data(signature.args[k], given[k]) for k in (0, 3, 7))
            places = [
                [
                    builder.add(builder.add(first_y, builder.mul(next_y, _INDEX(row))), _INDEX(LANES * part))
                    for part in range(vectors)
                ]
                for row in range(rows)
            ]
            held = [
                [cgutils.alloca_once_value(builder, code.load_lanes(sums, place)) for place in row]
                for row in places
            ]
            with code.loop(_INDEX(0), n, 1) as (term, _):
                start = builder.add(first_w, builder.mul(step_w, term))
                columns = [
                    code.load_lanes(right, builder.add(start, _INDEX(LANES * part)))
                    for part in range(vectors)
                ]
                own = builder.add(first_x, builder.mul(step_x, term))
                for row in range(rows):
                    factor = code.in_lanes(
                        code.load(left, builder.add(own, builder.mul(next_x, _INDEX(row))))
                    )
                    for part in range(vectors):
                        place = held[row][part]
                        builder.store(code.fused(factor, columns[part], builder.load(place)), place)
            for row in range(rows):
                for part in range(vectors):
                    code.store_lanes(builder.load(held[row][part]), sums, places[row][part])
            return context.get_dummy_value()

        index = types.int64
        return types.void(y, index, index, x, index, index, index, w, index, index, index), write

    return tile


tile_4x2, tile_4x1, tile_1x2, tile_1x1 = _tile(4, 2), _tile(4, 1), _tile(1, 2), _tile(1, 1)
