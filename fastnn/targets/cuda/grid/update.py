"""The update by a persistent grid: a slice of the first layer's W, and a share of all the rest."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from fastnn.targets.cuda.device.rules import Recipe
from fastnn.targets.cuda.device.teams import copy
from fastnn.targets.cuda.device.work import layer_of
from fastnn.targets.cuda.grid.shape import LAST_SUMS, Shape
from fastnn.targets.cuda.host.numba_cuda import U, cuda, inner, named


def make_learn(
    recipe: Recipe, shape: Shape, batch: int, all_trained: bool, o: SimpleNamespace,
    t: SimpleNamespace,
) -> SimpleNamespace:  # fmt: skip
    """Return ``learn`` and ``first_place``, for a recipe and the split of a problem.

    ``learn(work, shared, at_x, at_dz, copies, left, sums, losses, sliced, column, wide, high,
    begin, end, place)`` is what every thread of a block calls once all rows are worked out; the
    scratch of its `Work` is that of the grid. It returns the sum of weight times loss of the batch,
    the same in every thread of the grid; where that is not finite it has changed nothing. `copies`
    are W and optimizer state of the block's slice, `at_x` where its slice of X begins in `shared`,
    and `at_dz` where there is room for derivatives. Of all other parameters, in the order of
    layers, rows, columns, `begin` to `end` are the block's; ``first_place(words, begin, end, me,
    team)`` is what it takes as `place`.
    """
    zero = np.dtype(recipe.dtype).type(0)
    learning, finish, limited4, take_in4 = o.learning, o.finish, o.limited4, o.take_in4
    load, fma4, copy4 = t.load, t.fma4, t.copy4
    leave, whole, arrived, divide, deal = t.leave, t.whole, t.arrived, t.divide, t.deal
    kb, nb, ldx, ldz = shape.kb, shape.nb, shape.ldx, shape.ng * shape.nb
    # In the scratch, where the derivatives by the first layer's outputs are, and all that follows.
    derivatives, rest = shape.kg * batch * ldz, (shape.kg + 1) * batch * ldz

    @inner
    def fetch_derivatives(work, shared, at_dz, column):
        base, e = derivatives + column * nb, work.me
        while e < work.rows << shape.quad_shift:
            r = e >> shape.quad_shift
            j = 4 * (e - (r << shape.quad_shift))
            copy4(shared, at_dz + 4 * e, work.act, base + r * ldz + j)
            e += work.team

    @inner
    def learn_slice(work, shared, at_x, at_dz, copies, left, wide, high):
        """Update W[:high, :wide] of the slice from its X and the derivatives."""
        rows, me, team = work.rows, work.me, work.team
        size, tiles = kb * nb, (kb >> 2) << shape.quad_shift
        parts, p, slot, width = deal(tiles, rows, me, team)
        learned = learning(work, 0)
        start = 0
        while start < tiles:
            tile = start + slot
            i = tile >> shape.quad_shift
            j = 4 * (tile - (i << shape.quad_shift))
            i *= 4
            if p < parts and tile < tiles:
                x, d = at_x + i + p * ldx, at_dz + j + p * nb
                s0 = s1 = s2 = s3 = (zero, zero, zero, zero)
                row, far_x, far_d = p, parts * ldx, parts * nb
                while row + parts < rows:  # two at a time: their loads are under way together
                    a, b = load(shared, x), load(shared, d)
                    u, v = load(shared, x + far_x), load(shared, d + far_d)
                    s0, s1 = fma4(s0, a[0], b), fma4(s1, a[1], b)
                    s2, s3 = fma4(s2, a[2], b), fma4(s3, a[3], b)
                    s0, s1 = fma4(s0, u[0], v), fma4(s1, u[1], v)
                    s2, s3 = fma4(s2, u[2], v), fma4(s3, u[3], v)
                    x += 2 * far_x
                    d += 2 * far_d
                    row += 2 * parts
                if row < rows:
                    a, b = load(shared, x), load(shared, d)
                    s0, s1 = fma4(s0, a[0], b), fma4(s1, a[1], b)
                    s2, s3 = fma4(s2, a[2], b), fma4(s3, a[3], b)
                leave(left, me, team, s0, s1, s2, s3)
            cuda.syncthreads()
            if p < parts and tile < tiles:
                turn = p
                while turn < 4:
                    # Neighbours take different rows of their tiles: these lie in other banks.
                    q = (turn + (i >> 2)) & 3
                    if i + q < high and j < wide:
                        g = whole(left, q, slot, width, team, parts)
                        at = (i + q) * nb + j
                        w = load(copies, at)
                        g = limited4(learned, g, w)
                        take_in4(learned, copies, at, size, w, g, wide - j)
                    turn += parts
            cuda.syncthreads()
            start += width

    @inner
    def place_of(words, flat):
        """Return layer, row and column of parameter `flat`, those of the first W not counted."""
        layer, at = 0, layer_of(words, 0)
        low, n, rest = at.k, at.n, flat
        while rest >= (at.k + 1 + at.learns_slopes - low) * n:
            rest -= (at.k + 1 + at.learns_slopes - low) * n
            layer, low = layer + 1, 0
            at = layer_of(words, layer)
            n = at.n
        i = divide(rest, n)
        return layer, low + i, rest - i * n

    @inner
    def product(scratch, x, far_x, d, ldn, row, rows, weighs):
        """Return what a row gives to a gradient; nothing if there is no such row."""
        here = min(row, rows - 1)
        factor, delta = scratch[U(x + here * far_x)], scratch[U(d + here * ldn)]
        found = delta * factor if weighs else delta
        return found if row < rows else zero

    @inner
    def part_of_gradient(work, place, p, parts):
        """Add up what every n-th row from row `p` on gives to a parameter's gradient."""
        layer, i, j = place
        at, scratch, rows = layer_of(work.words, layer), work.act, work.rows
        blocks, k, ldn, g = shape.row_blocks, at.k, at.ldn, zero
        d = rest + at.delta * blocks + j
        if i > k:
            d = rest + at.z * blocks + j
        elif layer == 0:
            d, ldn = derivatives + j, ldz
        x, far_x, weighs = d, ldn, i < k
        if weighs:
            x, far_x = rest + at.input * blocks + i, at.ldx
        row = p
        while row < rows:  # eight at a time, for each pair of loads is a long wait
            p0 = product(scratch, x, far_x, d, ldn, row, rows, weighs)
            p1 = product(scratch, x, far_x, d, ldn, row + parts, rows, weighs)
            p2 = product(scratch, x, far_x, d, ldn, row + 2 * parts, rows, weighs)
            p3 = product(scratch, x, far_x, d, ldn, row + 3 * parts, rows, weighs)
            p4 = product(scratch, x, far_x, d, ldn, row + 4 * parts, rows, weighs)
            p5 = product(scratch, x, far_x, d, ldn, row + 5 * parts, rows, weighs)
            p6 = product(scratch, x, far_x, d, ldn, row + 6 * parts, rows, weighs)
            p7 = product(scratch, x, far_x, d, ldn, row + 7 * parts, rows, weighs)
            g += p0 + p1 + p2 + p3 + p4 + p5 + p6 + p7
            row += 8 * parts
        return g

    @inner
    def leave_part(work, left, own, end, place, p, parts):
        """Leave this thread's part of the gradient of parameter `own`, which is at `place`."""
        if p < parts and own < end:
            left[U(16 * work.team + work.me)] = part_of_gradient(work, place, p, parts)

    @inner
    def learn(
        work, shared, at_x, at_dz, copies, left, sums, losses, sliced, column, wide, high, begin,
        end, place,
    ):  # fmt: skip
        words, rows, me, team = work.words, work.rows, work.me, work.team
        if sliced:
            fetch_derivatives(work, shared, at_dz, column)
        used = shape.row_blocks
        if rows < batch:
            used = divide(rows + shape.rows - 1, shape.rows)
        copy(sums, 0, losses, 0, used, me, team)
        parts, p, slot, width = deal(max(end - begin, 1), rows, me, team)
        leave_part(work, left, begin + slot, end, place, p, parts)
        arrived()
        cuda.syncthreads()
        behind = shape.sums - LAST_SUMS
        q = me
        while q < LAST_SUMS:
            total = 0.0
            b = q
            while b < used:
                total += sums[U(b)]
                b += LAST_SUMS
            sums[U(behind + q)] = total
            q += team
        cuda.syncthreads()
        total = 0.0
        for q in range(LAST_SUMS):
            total += sums[U(behind + q)]
        if not math.isfinite(total):
            return total
        if sliced and (all_trained or layer_of(words, 0).trained == 1):
            learn_slice(work, shared, at_x, at_dz, copies, left, wide, high)
        start = begin
        while start < end:
            if start > begin:
                cuda.syncthreads()
                if start + slot < end:
                    place = place_of(words, start + slot)
                leave_part(work, left, start + slot, end, place, p, parts)
                cuda.syncthreads()
            if p == 0 and start + slot < end:
                layer, i, j = place
                g = zero
                for q in range(parts):
                    g += left[U(16 * team + q * width + slot)]
                if all_trained or layer_of(words, layer).trained == 1:
                    finish(learning(work, layer), work, i, j, g)
            start += width
        return total

    @inner
    def first_place(words, begin, end, me, team):
        """Return the place of the parameter that a thread is concerned with first."""
        _, _, slot, _ = deal(max(end - begin, 1), 1, me, team)
        return place_of(words, min(begin + slot, max(end - 1, 0)))

    return named(learn, first_place)
