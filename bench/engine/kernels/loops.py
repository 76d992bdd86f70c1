"""The loops of `numba_.py`, compiled to machine code on first use and kept on disk.

Shapes as in `bench.engine`; T tables of a part, n rows of a table, D floats of a row. Everything float32 but
indices (int64) and marks (uint8): a mark says that a row of a gradient is not all 0.

Bits: LLVM may reassociate nothing, a sum over a batch goes from its first pair to its last, and a dot product
has eight lanes whatever the processor's vectors are (`lanes.py`). Members share nothing, so neither threads
nor neighbours in a stack change a bit.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import njit, prange

from bench.engine.adam import BETA1, BETA2, EPSILON
from bench.engine.kernels.lanes import (
    LANES,
    add_scaled,
    copy,
    dot,
    prefetch,
    tile_1x1,
    tile_1x2,
    tile_4x1,
    tile_4x2,
)

COUPLED, DECOUPLED, ANCHORED = range(3)  # kinds of weight decay, see `bench.engine.adam.Adam`
_BLOCK = 512  # floats that share one decision whether their gradient is read
_AHEAD = 16  # pairs whose rows are asked for before their turn
_WORD = 8  # marks that are looked at together
_APART = 32  # numbers between batches that are filled at once, or all would want the same part of the cache

_ZERO, _ONE = np.float32(0), np.float32(1)
_FIRST = np.float32(1 - BETA1)
_SECOND, _SQUARED = np.float32(BETA2), np.float32(1 - BETA2)
_EPSILON = np.float32(EPSILON)

# Arrays of numbers, typed by their first use.
Floats = Any
Indices = Any
RowMarks = Any


def _inlined(function: Any) -> Any:
    """Of a few rows' work: a call would cost as much, since each array is passed as seven numbers."""
    return njit(error_model="numpy", inline="always")(function)


@_inlined
def _any(words: Any, a: int, z: int) -> bool:
    """Whether a mark of the words from a to z is set."""
    found = np.uint64(0)
    for each in range(np.uint64(a), np.uint64(z)):
        found |= words[each]
    return found != 0


# Loops over floats a to z count in unsigned integers: of a signed one, which may be negative, Numba would ask
# at each float whether it counts from the end, and LLVM would not vectorise.


@_inlined
def _move(
    p: Floats, g: Floats, m: Floats, v: Floats, a: int, z: int, step: Any, decay: Any, bias: Any
) -> None:
    """Adam's step of the floats a to z, whose gradients are used up."""
    for j in range(np.uint64(a), np.uint64(z)):
        gradient = g[j] + decay * p[j]
        first = m[j] + _FIRST * (gradient - m[j])
        second = v[j] * _SECOND + _SQUARED * gradient * gradient
        g[j] = _ZERO
        m[j] = first
        v[j] = second
        p[j] -= step * first / (np.sqrt(second) * bias + _EPSILON)


@_inlined
def _drift(p: Floats, m: Floats, v: Floats, a: int, z: int, step: Any, decay: Any, bias: Any) -> None:
    """`_move` of floats whose gradient is known to be 0."""
    for j in range(np.uint64(a), np.uint64(z)):
        gradient = decay * p[j]
        first = m[j] + _FIRST * (gradient - m[j])
        second = v[j] * _SECOND + _SQUARED * gradient * gradient
        m[j] = first
        v[j] = second
        p[j] -= step * first / (np.sqrt(second) * bias + _EPSILON)


@_inlined
def _shrink(p: Floats, anchor: Floats, a: int, z: int, factor: Any, kind: int) -> None:
    """A decay that is not part of the gradient, of the floats a to z."""
    if kind == DECOUPLED:
        for j in range(np.uint64(a), np.uint64(z)):
            p[j] *= factor
    else:
        for j in range(np.uint64(a), np.uint64(z)):
            p[j] = anchor[j] + factor * (p[j] - anchor[j])


@njit(error_model="numpy")
def _product(
    x: Floats,
    at_x: int,
    row_x: int,
    term_x: int,
    w: Floats,
    at_w: int,
    y: Floats,
    at_y: int,
    rows: int,
    terms: int,
    width: int,
) -> None:
    """y[r] += Σ_i x[r, i] w[i] of rows (width,), each sum from its first term to its last.

    row_x, term_x: from a row of x to the next, from a term to the next.
    """
    flat_x = x.reshape(-1)
    j = 0
    while j < width:
        wide, lanes = j + 2 * LANES <= width, j + LANES <= width
        row = 0
        while row < rows:
            y_here, x_here = at_y + row * width + j, at_x + row * row_x
            four = row + 4 <= rows
            if four and wide:
                tile_4x2(y, y_here, width, x, x_here, row_x, term_x, w, at_w + j, width, terms)
            elif four and lanes:
                tile_4x1(y, y_here, width, x, x_here, row_x, term_x, w, at_w + j, width, terms)
            elif wide:
                tile_1x2(y, y_here, width, x, x_here, row_x, term_x, w, at_w + j, width, terms)
            elif lanes:
                tile_1x1(y, y_here, width, x, x_here, row_x, term_x, w, at_w + j, width, terms)
            else:
                for i in range(terms):
                    add_scaled(flat_x[x_here + i * term_x], w, at_w + j + i * width, y, y_here, width - j)
            row += 4 if four and lanes else 1
        j += 2 * LANES if wide else LANES


@njit(error_model="numpy")
def _turned(weight: Floats, g: int) -> Floats:
    """weight[g]ᵀ."""
    turned = np.empty((weight.shape[2], weight.shape[1]), np.float32)
    for i in range(weight.shape[1]):
        for j in range(weight.shape[2]):
            turned[j, i] = weight[g, i, j]
    return turned


@_inlined
def _area(ranks: int, positives: int, n: int) -> float:
    """From twice the positives' sum of mid-ranks; NaN where all labels are equal."""
    return (ranks - positives * (positives + 1)) / (2.0 * positives * (n - positives))


def compiled(parallel: bool) -> SimpleNamespace:
    """The loops by name.

    Args:
        parallel: over members, in as many threads as Numba is told to use; else in the caller's.
    """
    # Numba keeps its files by this name's value, too, so the two forms never stand in for each other.
    span = prange if parallel else range
    loops = SimpleNamespace()

    def loop(function: Any) -> Any:
        made = njit(parallel=parallel, cache=True, error_model="numpy", nogil=True)(function)
        setattr(loops, function.__name__, made)
        return made

    # --- Adam ---------------------------------------------------------------------------------------

    @loop
    def adam(
        p: Floats,
        gradient: Floats,
        m: Floats,
        v: Floats,
        anchor: Floats,
        marks: RowMarks,
        layout: Indices,
        kind: int,
        step: Floats,
        decay: Floats,
        shrink: Floats,
        bias: Any,
    ) -> None:
        """One step of all tables of a part; clears gradients and marks.

        p, gradient, m, v, anchor: flat, laid out by `layout` (T, 6); see `Layout`. step, decay, shrink: (G,).
        """
        words = marks.view(np.uint64)
        for g in span(len(step)):
            for t in range(len(layout)):
                offset, rows, width, mark, stride, marked = layout[t]
                size = rows * width
                start = offset + g * size
                if kind != COUPLED:
                    _shrink(p, anchor, start, start + size, shrink[g], kind)
                own, n_words = (mark + g * stride) // _WORD, stride // _WORD
                if not marked:
                    z = start + size
                    _move(p, gradient, m, v, start, z, step[g], decay[g], bias)
                else:
                    together, word = max(1, _BLOCK // (_WORD * width)), 0
                    while word < n_words:
                        end = min(word + together, n_words)
                        read = _any(words, own + word, own + end)
                        while end < n_words:
                            further = min(end + together, n_words)
                            if _any(words, own + end, own + further) != read:
                                break
                            end = further
                        a, z = start + word * _WORD * width, start + min(end * _WORD, rows) * width
                        if read:
                            _move(p, gradient, m, v, a, z, step[g], decay[g], bias)
                        else:
                            _drift(p, m, v, a, z, step[g], decay[g], bias)
                        word = end
                for each in range(np.uint64(own), np.uint64(own + n_words)):
                    words[each] = 0

    @loop
    def adam_by_rows(
        p: Floats,
        gradient: Floats,
        m: Floats,
        v: Floats,
        anchor: Floats,
        marks: RowMarks,
        layout: Indices,
        kind: int,
        step: Floats,
        decay: Floats,
        shrink: Floats,
        bias: Any,
    ) -> None:
        """`adam` of marked rows only."""
        words = marks.view(np.uint64)
        for g in span(len(step)):
            for t in range(len(layout)):
                offset, rows, width, mark, stride, _ = layout[t]
                start, own = offset + g * rows * width, mark + g * stride
                for word in range(own // _WORD, (own + stride) // _WORD):
                    if words[word] == 0:
                        continue
                    for each in range(word * _WORD, word * _WORD + _WORD):
                        if marks[each]:
                            a = start + (each - own) * width
                            z = a + width
                            if kind != COUPLED:
                                _shrink(p, anchor, a, z, shrink[g], kind)
                            _move(p, gradient, m, v, a, z, step[g], decay[g], bias)
                            marks[each] = 0

    @loop
    def clear(values: Floats, marks: RowMarks, layout: Indices, members: int) -> None:
        """Marked rows become 0, and their marks."""
        words = marks.view(np.uint64)
        for g in span(members):
            for t in range(len(layout)):
                offset, rows, width, mark, stride, _ = layout[t]
                start = offset + g * rows * width
                first = (mark + g * stride) // _WORD
                for word in range(stride // _WORD):
                    if words[first + word] != 0:  # the rows beside marked ones are 0 as it is
                        values[
                            start + word * _WORD * width : start + min((word + 1) * _WORD, rows) * width
                        ] = _ZERO
                        words[first + word] = 0

    # --- Matrix factorisation -----------------------------------------------------------------------

    @loop
    def factorise(
        p: Floats, q: Floats, a: Floats, b: Floats, c: Floats, users: Indices, items: Indices, out: Floats
    ) -> None:
        """out[g, k] = p_u · q_i + a_u + b_i + c of pairs (G, B). p, q: (G, n, D); a, b: (G, n); c: (G, 1)."""
        n = p.shape[2]
        for g in span(len(users)):
            at_p, at_q = g * p.shape[1], g * q.shape[1]
            for k in range(users.shape[1]):
                if k + _AHEAD < users.shape[1]:
                    prefetch(p, (at_p + users[g, k + _AHEAD]) * n)
                    prefetch(q, (at_q + items[g, k + _AHEAD]) * n)
                u, i = users[g, k], items[g, k]
                product = dot(p, (at_p + u) * n, q, (at_q + i) * n, n)
                out[g, k] = product + (a[g, u] + b[g, i] + c[g, 0])

    @loop
    def factorise_pull(
        p: Floats,
        q: Floats,
        p_rows: Indices,
        q_rows: Indices,
        users: Indices,
        items: Indices,
        slope: Floats,
        dp: Floats,
        dq: Floats,
        da: Floats,
        db: Floats,
        dc: Floats,
        mp: RowMarks,
        mq: RowMarks,
        ma: RowMarks,
        mb: RowMarks,
        mc: RowMarks,
    ) -> None:
        """Adds the gradient of `factorise`, given that of its result, and marks rows.

        p_rows, q_rows: where a pair's embeddings stand in p and q.
        """
        n = p.shape[2]
        for g in span(len(users)):
            at_p, at_q, at_dp, at_dq = g * p.shape[1], g * q.shape[1], g * dp.shape[1], g * dq.shape[1]
            total = _ZERO
            for k in range(users.shape[1]):
                if k + _AHEAD < users.shape[1]:
                    prefetch(dp, (at_dp + users[g, k + _AHEAD]) * n)
                    prefetch(dq, (at_dq + items[g, k + _AHEAD]) * n)
                    prefetch(p, (at_p + p_rows[g, k + _AHEAD]) * n)
                u, i, x = users[g, k], items[g, k], slope[g, k]
                add_scaled(x, q, (at_q + q_rows[g, k]) * n, dp, (at_dp + u) * n, n)
                add_scaled(x, p, (at_p + p_rows[g, k]) * n, dq, (at_dq + i) * n, n)
                da[g, u] += x
                db[g, i] += x
                total += x
                mp[g, u] = ma[g, u] = 1
                mq[g, i] = mb[g, i] = 1
            dc[g, 0] += total
            mc[g, 0] = 1

    @loop
    def factorise_push(
        p: Floats,
        q: Floats,
        users: Indices,
        items: Indices,
        dp: Floats,
        dq: Floats,
        da: Floats,
        db: Floats,
        dc: Floats,
        mp: RowMarks,
        mq: RowMarks,
        out: Floats,
    ) -> None:
        """The change of `factorise` along a direction; rows without a mark do not change."""
        n = p.shape[2]
        for g in span(len(users)):
            at_p, at_q = g * p.shape[1], g * q.shape[1]
            for k in range(users.shape[1]):
                u, i = users[g, k], items[g, k]
                at_u, at_i = (at_p + u) * n, (at_q + i) * n
                along = da[g, u] + db[g, i] + dc[g, 0]
                if mp[g, u]:
                    along += dot(dp, at_u, q, at_i, n)
                if mq[g, i]:
                    along += dot(p, at_u, dq, at_i, n)
                out[g, k] = along

    @loop
    def squared_norms(
        p: Floats, q: Floats, a: Floats, b: Floats, c: Floats, users: Indices, items: Indices, out: Floats
    ) -> None:
        """out[g, k] = |p_u|² + |q_i|² + a_u² + b_i² + c² of pairs (G, B); see `factorise`."""
        n = p.shape[2]
        for g in span(len(users)):
            at_p, at_q = g * p.shape[1], g * q.shape[1]
            for k in range(users.shape[1]):
                u, i = users[g, k], items[g, k]
                at_u, at_i = (at_p + u) * n, (at_q + i) * n
                biases = a[g, u] * a[g, u] + b[g, i] * b[g, i] + c[g, 0] * c[g, 0]
                out[g, k] = dot(p, at_u, p, at_u, n) + dot(q, at_i, q, at_i, n) + biases

    @loop
    def squared_norms_pull(
        p: Floats,
        q: Floats,
        a: Floats,
        b: Floats,
        c: Floats,
        users: Indices,
        items: Indices,
        slope: Floats,
        dp: Floats,
        dq: Floats,
        da: Floats,
        db: Floats,
        dc: Floats,
        mp: RowMarks,
        mq: RowMarks,
        ma: RowMarks,
        mb: RowMarks,
        mc: RowMarks,
    ) -> None:
        """Adds the gradient of `squared_norms`, given that of its result, and marks rows."""
        n = p.shape[2]
        for g in span(len(users)):
            at_p, at_q = g * p.shape[1], g * q.shape[1]
            total = _ZERO
            for k in range(users.shape[1]):
                u, i, x = users[g, k], items[g, k], slope[g, k] + slope[g, k]
                at_u, at_i = (at_p + u) * n, (at_q + i) * n
                add_scaled(x, p, at_u, dp, at_u, n)
                add_scaled(x, q, at_i, dq, at_i, n)
                da[g, u] += x * a[g, u]
                db[g, i] += x * b[g, i]
                total += x
                mp[g, u] = ma[g, u] = 1
                mq[g, i] = mb[g, i] = 1
            dc[g, 0] += total * c[g, 0]
            mc[g, 0] = 1

    # --- Several heads on one pair of embeddings ----------------------------------------------------

    @loop
    def heads(
        p: Floats,
        q: Floats,
        h: Floats,
        a: Floats,
        b: Floats,
        c: Floats,
        users: Indices,
        items: Indices,
        out: Floats,
    ) -> None:
        """out[g, t, k] = h_t · (p_u ∘ q_i) + a_tu + b_ti + c_t. h: (G, T, D); a, b: (G, T, n); c: (G, T)."""
        for g in span(len(users)):
            product = np.empty(p.shape[2], np.float32)
            for k in range(users.shape[1]):
                u, i = users[g, k], items[g, k]
                for d in range(p.shape[2]):
                    product[d] = p[g, u, d] * q[g, i, d]
                for t in range(h.shape[1]):
                    own = dot(product, 0, h, (g * h.shape[1] + t) * len(product), len(product))
                    out[g, t, k] = own + (a[g, t, u] + b[g, t, i] + c[g, t])

    @loop
    def heads_pull(
        p: Floats,
        q: Floats,
        h: Floats,
        users: Indices,
        items: Indices,
        slope: Floats,
        dp: Floats,
        dq: Floats,
        dh: Floats,
        da: Floats,
        db: Floats,
        dc: Floats,
        mp: RowMarks,
        mq: RowMarks,
        mh: RowMarks,
        ma: RowMarks,
        mb: RowMarks,
        mc: RowMarks,
        a_width: int,
        b_width: int,
    ) -> None:
        """Adds the gradient of `heads`, and marks rows. a_width, b_width: floats of a row of da, of db."""
        n, n_users, n_items = p.shape[2], da.shape[2], db.shape[2]
        for g in span(len(users)):
            for k in range(users.shape[1]):
                u, i = users[g, k], items[g, k]
                for d in range(n):
                    s, pu, qi = _ZERO, p[g, u, d], q[g, i, d]
                    for t in range(h.shape[1]):
                        x = slope[g, t, k]
                        s += x * h[g, t, d]
                        dh[g, t, d] += x * (pu * qi)
                    dp[g, u, d] += s * qi
                    dq[g, i, d] += s * pu
                for t in range(h.shape[1]):
                    x = slope[g, t, k]
                    da[g, t, u] += x
                    db[g, t, i] += x
                    dc[g, t] += x
                    ma[g, (t * n_users + u) // a_width] = 1
                    mb[g, (t * n_items + i) // b_width] = 1
                mp[g, u] = 1
                mq[g, i] = 1
            mh[g, : h.shape[1]] = 1
            mc[g, : h.shape[1]] = 1

    # --- Rows of a table ----------------------------------------------------------------------------

    @loop
    def gather(table: Floats, index: Indices, out: Floats, first: int) -> None:
        """out[g, k, first:] = table[g, index]; table: (G, n, D)."""
        n, m = table.shape[2], out.shape[2]
        for g in span(len(index)):
            for k in range(index.shape[1]):
                row = index[g, k]
                copy(table, (g * table.shape[1] + row) * n, out, (g * index.shape[1] + k) * m + first, n)

    @loop
    def gather_ahead(
        table: Floats, index: Indices, step: Floats, marks: RowMarks, rate: Floats, out: Floats
    ) -> None:
        """out[g, k] = table[g, index] - rate · step[g, index]."""
        for g in span(len(index)):
            for k in range(index.shape[1]):
                row = index[g, k]
                if marks[g, row]:
                    for d in range(table.shape[2]):
                        out[g, k, d] = table[g, row, d] - rate[g] * step[g, row, d]
                else:
                    for d in range(table.shape[2]):
                        out[g, k, d] = table[g, row, d]

    @loop
    def scatter(slope: Floats, first: int, index: Indices, gradient: Floats, marks: RowMarks) -> None:
        """Adds slope[g, k, first:] to gradient[g, index], and marks its rows."""
        n, m = gradient.shape[2], slope.shape[2]
        for g in span(len(index)):
            for k in range(index.shape[1]):
                row = index[g, k]
                at = (g * index.shape[1] + k) * m + first
                add_scaled(_ONE, slope, at, gradient, (g * gradient.shape[1] + row) * n, n)
                marks[g, row] = 1

    # --- Side features of rows ----------------------------------------------------------------------

    # starts, columns, values: the features that are not 0, row after row (`Features.sparse`).

    @loop
    def add_features(
        weights: Floats,
        starts: Indices,
        columns: Indices,
        values: Floats,
        index: Indices,
        out: Floats,
        first: int,
    ) -> None:
        """out[g, k, first:] += Σ_f x[index, f] weights[g, f]; weights: (G, K, D)."""
        n, m = weights.shape[2], out.shape[2]
        for g in span(len(index)):
            for k in range(index.shape[1]):
                at = (g * index.shape[1] + k) * m + first
                for each in range(starts[index[g, k]], starts[index[g, k] + 1]):
                    row = g * weights.shape[1] + columns[each]
                    add_scaled(values[each], weights, row * n, out, at, n)

    @loop
    def scatter_features(
        slope: Floats,
        first: int,
        starts: Indices,
        columns: Indices,
        values: Floats,
        index: Indices,
        gradient: Floats,
        marks: RowMarks,
    ) -> None:
        """Adds the gradient of `add_features` to that of its weights, and marks all their rows."""
        n, m = gradient.shape[2], slope.shape[2]
        for g in span(len(index)):
            for k in range(index.shape[1]):
                at = (g * index.shape[1] + k) * m + first
                for each in range(starts[index[g, k]], starts[index[g, k] + 1]):
                    row = g * gradient.shape[1] + columns[each]
                    add_scaled(values[each], slope, at, gradient, row * n, n)
            marks[g, : gradient.shape[1]] = 1

    @loop
    def scatter_product_features(
        slope: Floats,
        other: Floats,
        starts: Indices,
        columns: Indices,
        values: Floats,
        index: Indices,
        gradient: Floats,
        of_bias: Floats,
        marks: RowMarks,
        marks_of_bias: RowMarks,
    ) -> None:
        """Adds the gradient of logits p · q + a in the weights of p's features and in those of a's.

        slope: (G, B) of the logits; other: (G, B, D), q; gradient: (G, K, D); of_bias: (G, K).
        """
        n = gradient.shape[2]
        for g in span(len(index)):
            for k in range(index.shape[1]):
                at = (g * index.shape[1] + k) * n
                for each in range(starts[index[g, k]], starts[index[g, k] + 1]):
                    x = values[each] * slope[g, k]
                    row = g * gradient.shape[1] + columns[each]
                    add_scaled(x, other, at, gradient, row * n, n)
                    of_bias[g, columns[each]] += x
            marks[g, : gradient.shape[1]] = 1
            marks_of_bias[g, : gradient.shape[1]] = 1

    # --- Sums of entries ----------------------------------------------------------------------------

    @loop
    def sum_rows(a: Floats, b: Floats, c: Floats, i: Indices, j: Indices, k: Indices, out: Floats) -> None:
        """out[g, n] = a_i + b_j + c_k of tables (G, n)."""
        for g in span(len(i)):
            for n in range(i.shape[1]):
                out[g, n] = a[g, i[g, n]] + b[g, j[g, n]] + c[g, k[g, n]]

    @loop
    def sum_rows_pull(
        slope: Floats,
        i: Indices,
        j: Indices,
        k: Indices,
        da: Floats,
        db: Floats,
        dc: Floats,
        ma: RowMarks,
        mb: RowMarks,
        mc: RowMarks,
    ) -> None:
        """Adds the gradient of `sum_rows`, and marks its rows."""
        for g in span(len(i)):
            for n in range(i.shape[1]):
                x = slope[g, n]
                u, v, w = i[g, n], j[g, n], k[g, n]
                da[g, u] += x
                db[g, v] += x
                dc[g, w] += x
                ma[g, u] = mb[g, v] = mc[g, w] = 1

    # --- A layer of a small network -----------------------------------------------------------------

    @loop
    def layer(x: Floats, weight: Floats, bias: Floats, relu: bool, out: Floats) -> None:
        """out = x @ weight + bias, cut at 0 if `relu`. x: (G, B, N); weight: (G, N, M); bias: (G, 1, M)."""
        n, m = weight.shape[1], weight.shape[2]
        rows = x.shape[1]
        for g in span(len(x)):
            if m < LANES:
                turned = _turned(weight, g)
                for k in range(rows):
                    for j in range(m):
                        out[g, k, j] = dot(x, (g * rows + k) * n, turned, j * n, n) + bias[g, 0, j]
            else:
                for k in range(rows):
                    for j in range(m):
                        out[g, k, j] = bias[g, 0, j]
                _product(x, g * rows * n, n, 1, weight, g * n * m, out, g * rows * m, rows, n, m)
            if relu:
                for k in range(rows):
                    for j in range(m):
                        out[g, k, j] = max(out[g, k, j], _ZERO)

    @loop
    def layer_pull(x: Floats, slope: Floats, d_weight: Floats, d_bias: Floats) -> None:
        """Adds the gradient of a layer's weight and bias, given that of its output before `relu`."""
        rows, n, m = x.shape[1], x.shape[2], slope.shape[2]
        for g in span(len(x)):
            for k in range(rows):
                for j in range(m):
                    d_bias[g, 0, j] += slope[g, k, j]
            if m < LANES:
                for j in range(m):
                    column = np.zeros(n, np.float32)
                    for k in range(rows):
                        add_scaled(slope[g, k, j], x, (g * rows + k) * n, column, 0, n)
                    for i in range(n):
                        d_weight[g, i, j] += column[i]
            else:
                _product(x, g * rows * n, 1, n, slope, g * rows * m, d_weight, g * n * m, n, rows, m)

    @loop
    def layer_back(slope: Floats, weight: Floats, out: Floats, relu: bool, below: Floats) -> None:
        """below = slope @ weightᵀ, 0 where the layer below put out 0 (`out`, if it has `relu`)."""
        rows, n, m = slope.shape[1], weight.shape[1], weight.shape[2]
        for g in span(len(slope)):
            turned = _turned(weight, g)
            below[g] = _ZERO
            _product(slope, g * rows * m, m, 1, turned, 0, below, g * rows * n, rows, m, n)
            if relu:
                for k in range(rows):
                    for i in range(n):
                        if not out[g, k, i] > _ZERO:
                            below[g, k, i] = _ZERO

    # --- Draws --------------------------------------------------------------------------------------

    @loop
    def deal(
        shuffled: Indices,
        place: Indices,
        users: Indices,
        items: Indices,
        labels: Floats,
        of_users: Indices,
        of_items: Indices,
        of_labels: Floats,
        row: int,
    ) -> None:
        """See `Kernels.deal`: of_users, of_items, of_labels (steps, S, B) at [:, row]."""
        steps, size = of_users.shape[0], of_users.shape[2]
        batch = np.full(len(place), steps, np.int32)
        for step in range(steps):
            for k in range(step * size, (step + 1) * size):
                batch[place[shuffled[k]]] = step
        numbers = np.empty((steps, 2 * size + _APART), np.int32)
        chosen = np.empty((steps, size + _APART), np.float32)
        filled = np.zeros(steps + 1, np.int64)
        for k in range(len(place)):
            step, at = batch[k], filled[batch[k]]
            filled[step] = at + 1
            if step < steps:
                numbers[step, 2 * at] = users[k]
                numbers[step, 2 * at + 1] = items[k]
                chosen[step, at] = labels[k]
        for step in range(steps):
            for k in range(size):
                of_users[step, row, k] = numbers[step, 2 * k]
                of_items[step, row, k] = numbers[step, 2 * k + 1]
                of_labels[step, row, k] = chosen[step, k]

    @loop
    def look_up(
        cells: Indices,
        table: Any,
        n_items: int,
        users: Indices,
        items: Indices,
        labels: Floats,
        observed: Floats,
    ) -> None:
        """See `Kernels.look_up`, of cells (steps, S, B); table: (|D|,) int8."""
        for step in span(cells.shape[0]):
            for row in range(cells.shape[1]):
                for k in range(cells.shape[2]):
                    cell = cells[step, row, k]
                    user, known = cell // n_items, table[cell]
                    users[step, row, k] = user
                    items[step, row, k] = cell - user * n_items
                    labels[step, row, k] = np.float32(known == 2)
                    observed[step, row, k] = np.float32(known > 0)

    # --- Evaluation -----------------------------------------------------------------------

    @loop
    def areas(scores: Floats, labels: Floats, out: Floats) -> None:
        """AUC (G, 3), float64: of all candidates, of the even and of the odd ones."""
        n = scores.shape[1]
        for g in span(len(scores)):
            order = np.argsort(scores[g])
            # Candidates before and in a group of equal scores, its positives, all positives, their ranks.
            seen, group, hits, positives, ranks = np.zeros((5, 3), np.int64)
            a = 0
            while a < n:
                z = a
                group[:] = 0
                hits[:] = 0
                while z < n and scores[g, order[z]] == scores[g, order[a]]:
                    half, positive = 1 + order[z] % 2, labels[g, order[z]] != 0
                    group[0] += 1
                    group[half] += 1
                    hits[0] += positive
                    hits[half] += positive
                    z += 1
                if z == a:  # a NaN equals nothing
                    break
                for part in range(3):
                    ranks[part] += hits[part] * (2 * seen[part] + group[part] + 1)
                    seen[part] += group[part]
                    positives[part] += hits[part]
                a = z
            for part in range(3):
                out[g, part] = np.nan if a < n else _area(ranks[part], positives[part], seen[part])

    return loops
