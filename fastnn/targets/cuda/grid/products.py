"""The first layer's products by a persistent grid: a slice of X by a slice of W each block."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from fastnn.targets.cuda.device.rules import Recipe
from fastnn.targets.cuda.device.work import layer_of
from fastnn.targets.cuda.grid.shape import Shape
from fastnn.targets.cuda.host.numba_cuda import U, cuda, inner, named


def make_products(
    recipe: Recipe, shape: Shape, batch: int, o: SimpleNamespace, t: SimpleNamespace
) -> SimpleNamespace:
    """Return the device functions for a recipe and the split of a problem.

    fetch(shared, at, X, each, order, first, low, high, rows, me, team): begin to copy columns `low`
    up to `high` of a batch to rows at `at`; `each`, 1 or 4, numbers at a time.
    drop(work, shared, at, each, low, high): wait for what this thread fetched, and drop inputs.
    multiply(shared, at_x, copies, left, scratch, group, column, rows, me, team): the products of a
    slice, to the scratch of its group of inputs.
    """
    zero, ldx = np.dtype(recipe.dtype).type(0), shape.ldx
    drops_behind, dropped = o.drops_behind, o.dropped
    load, store, fma4, leave, whole = t.load, t.store, t.fma4, t.leave, t.whole
    copy_row, copy_row4, arrived = t.copy_row, t.copy_row4, t.arrived
    divide, deal = t.divide, t.deal

    @inner
    def after(r, i, down, right, width):
        """Return the row and column that a thread comes to next."""
        r, i = r + down, i + right
        return (r + 1, i - width) if i >= width else (r, i)

    @inner
    def copy(shared, at, X, each, row, low, i):
        if each == 1:
            copy_row(shared, at + i, X, np.int64(row), low + i)
        else:
            copy_row4(shared, at + 4 * i, X, np.int64(row), low + 4 * i)

    # Both walk over the same numbers in the same way: a thread may wait for its own copies alone.
    @inner
    def fetch(shared, at, X, each, order, first, low, high, rows, me, team):
        width = high - low if each == 1 else (high - low) >> 2
        r, down = divide(me, width), divide(team, width)
        i, right, last = me - r * width, team - down * width, rows - 1
        while r < rows:
            # Four numbers of rows at a time, for each is a long wait.
            r1, i1 = after(r, i, down, right, width)
            r2, i2 = after(r1, i1, down, right, width)
            r3, i3 = after(r2, i2, down, right, width)
            row, row1 = order[U(first + r)], order[U(first + min(r1, last))]
            row2, row3 = order[U(first + min(r2, last))], order[U(first + min(r3, last))]
            copy(shared, at + r * ldx, X, each, row, low, i)
            if r1 < rows:
                copy(shared, at + r1 * ldx, X, each, row1, low, i1)
            if r2 < rows:
                copy(shared, at + r2 * ldx, X, each, row2, low, i2)
            if r3 < rows:
                copy(shared, at + r3 * ldx, X, each, row3, low, i3)
            r, i = after(r3, i3, down, right, width)

    @inner
    def drop(work, shared, at, each, low, high):
        arrived()
        drops = drops_behind(work, -1)
        if drops.active:
            k, me, team = layer_of(work.words, 0).k, work.me, work.team
            width = high - low if each == 1 else (high - low) >> 2
            r, down = divide(me, width), divide(team, width)
            i, right = me - r * width, team - down * width
            while r < work.rows:
                for q in range(each):
                    place = at + r * ldx + each * i + q
                    drawn = (work.first + r) * k + low + each * i + q
                    shared[U(place)] = dropped(drops, shared[U(place)], drawn)
                r, i = after(r, i, down, right, width)

    @inner
    def multiply(shared, at_x, copies, left, scratch, group, column, rows, me, team):
        nb, ldz = shape.nb, shape.ng * shape.nb
        quads, deep = 1 << shape.quad_shift, shape.kb >> 2
        high = (rows + 3) >> 2  # a tile has rows r, r + high, ..: neighbours in other banks
        tiles = high * quads
        parts, p, slot, width = deal(tiles, deep, me, team)
        start = 0
        while start < tiles:
            tile = start + slot
            r = tile >> shape.quad_shift
            j = 4 * (tile - (r << shape.quad_shift))
            if p < parts and tile < tiles:
                x = at_x + r * ldx + 4 * p
                w = j + 4 * p * nb
                s0 = s1 = s2 = s3 = (zero, zero, zero, zero)
                term = p
                while term < deep:
                    b0, b1 = load(copies, w), load(copies, w + nb)
                    b2, b3 = load(copies, w + 2 * nb), load(copies, w + 3 * nb)
                    a = load(shared, x)
                    s0 = fma4(fma4(fma4(fma4(s0, a[0], b0), a[1], b1), a[2], b2), a[3], b3)
                    a = load(shared, x + high * ldx)
                    s1 = fma4(fma4(fma4(fma4(s1, a[0], b0), a[1], b1), a[2], b2), a[3], b3)
                    a = load(shared, x + 2 * high * ldx)
                    s2 = fma4(fma4(fma4(fma4(s2, a[0], b0), a[1], b1), a[2], b2), a[3], b3)
                    a = load(shared, x + 3 * high * ldx)
                    s3 = fma4(fma4(fma4(fma4(s3, a[0], b0), a[1], b1), a[2], b2), a[3], b3)
                    x += 4 * parts
                    w += 4 * parts * nb
                    term += parts
                leave(left, me, team, s0, s1, s2, s3)
            cuda.syncthreads()
            if p < parts and tile < tiles:
                q = p
                while q < 4:
                    if r + q * high < rows:
                        at = (group * batch + r + q * high) * ldz + column * nb + j
                        store(scratch, at, whole(left, q, slot, width, team, parts))
                    q += parts
            cuda.syncthreads()
            start += width

    return named(fetch, drop, multiply)
