"""The update of a tile of weights: gradient X^T delta and rule, while the tile is in cache."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.targets.cpu.kinds import LINEAR, PERIODIC
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import (
    EXACT,
    MERGED,
    U,
    make_average,
    make_clip,
    rounded_product,
)
from fastnn.targets.cpu.plan import (
    ADDRESS_TABLES,
    ADDRESSES_SIZE,
    CAPACITY,
    DIRECT,
    IN_PLACE,
    KEPT,
    LAYER_KIND,
    LAZY,
    LIST_SLACK,
    LOOK_ROWS,
    NARROW,
    OWN_INPUTS,
    PACKED,
    PACKED_SIZE,
    PRIVATE,
    PRIVATE_SIZE,
    ROUNDED,
    SPARSE,
    STATUS,
    TRAINABLE,
    UPDATE,
)
from fastnn.targets.cpu.products.gemm import ONE, ZERO
from fastnn.targets.cpu.scalars import (
    BETA1,
    BETA2,
    BIAS_FACTOR,
    C1,
    C2,
    C3,
    CLIP_NORM,
    CLIP_SCALE,
    CLIP_VALUE,
    DECAY,
    EPSILON,
    L1,
    L2,
    SHARE,
    STEP_L2,
    UPDATES_DONE,
)
from fastnn.targets.cpu.step.between_steps import (
    bias_rate,
    layer_number,
    layer_rate,
    make_kept,
    rows_ahead,
)
from fastnn.targets.cpu.step.first_rows import caller_rows
from fastnn.targets.cpu.step.jumps import AVERAGED, SGD
from fastnn.targets.cpu.step.per_unit import KINDS, OF_BIAS, OF_WEIGHTS
from fastnn.targets.cpu.tiling import IN_PLACE_UNITS
from fastnn.targets.cpu.views import (
    addresses_of,
    head_of,
    layers_of,
    make_view,
    nonzero_of,
    numbers_of,
    tiles_of,
)
from fastnn.targets.fields import CLIPS, DELTA, INPUT, MEAN_SLOT, SIZE, WEIGHTS, K, N
from fastnn.targets.layout import SUMMED_ROWS


def make_apply(dtype: np.dtype, rules: Any) -> Any:
    """Return ``apply(job, layer, at, gradient, count, kind)``.

    It applies the plan's update rule to `count` parameters of a layer at `at` with their gradient;
    `kind` is OF_WEIGHTS, or that of `per_unit`, which has no penalty.
    One that is to be clipped by its norm it only keeps; called again with that, it applies it.
    """
    real = dtype.type
    zero, one, rule, clip = real(0), real(1), rules.update, make_clip(dtype)
    memory_of, average = make_view("memory", dtype), make_average(dtype)
    kept = make_kept(dtype)

    @njit(**EXACT)
    def apply(job, layer, at, gradient, count, kind):
        memory, head, numbers = memory_of(job), head_of(job), numbers_of(job)
        size, is_bias = head[SIZE], kind != OF_WEIGHTS
        rate = bias_rate(job, layer) if kind == OF_BIAS else layer_rate(job, layer)
        threshold = zero if is_bias else real(rate * layer_number(job, layer, L1))
        l2 = zero if is_bias else real(layer_number(job, layer, STEP_L2))
        if head[CLIPS] == 1 or head[STATUS] > 0:
            to = at + head[KEPT] if head[KEPT] > 0 else gradient
            if head[STATUS] > 0 and gradient != to:
                # The penalty and limits are for the sum over all processes.
                for i in range(count):
                    memory[U(to + i)] = memory[U(gradient + i)]
                return
            if numbers[CLIP_NORM] < math.inf and gradient == to:
                scale = real(numbers[CLIP_SCALE])
                for i in range(to, to + count):
                    memory[U(i)] *= scale
                l2 = zero
            elif head[CLIPS] == 1:
                limit = real(numbers[CLIP_VALUE])
                clip(memory, at, gradient, to, count, l2, limit)
                if gradient != to:
                    return
                l2 = zero
        shrink = one if is_bias else kept(rate * numbers[DECAY], numbers[UPDATES_DONE])
        if (head[UPDATE] == SGD or head[UPDATE] == AVERAGED) and l2 != zero:
            # Added to a gradient, what a slight penalty takes would be rounded away.
            part = rate * layer_number(job, layer, STEP_L2)
            shrink, l2 = max(zero, kept(part, numbers[UPDATES_DONE])), zero
        rule(
            head[UPDATE], memory, at, gradient, at + size, at + 2 * size, count, threshold, l2,
            real(rate), real(numbers[BETA1]), real(1.0 - numbers[BETA1]),
            real(numbers[BETA2]), real(1.0 - numbers[BETA2]), real(numbers[EPSILON]), shrink,
            real(numbers[C1]), real(numbers[C2]), real(numbers[C3]),
        )  # fmt: skip
        if head[MEAN_SLOT] > 0:
            average(memory, at, at + head[MEAN_SLOT], count, real(numbers[SHARE]))

    return apply


def make_update(
    dtype: np.dtype,
    panel: int,
    gemm: Any,
    rounded: Any,
    narrow: Any,
    list_rows: Any,
    find_nonzero: Any,
    per_unit: Any,
    keep_transposed: Any,
    add_squares: Any,
    normalization: Any,
    periodic: Any,
    apply: Any,
    sparse_rows: Any,
    update_lazily: Any,
) -> tuple[Any, Any, Any]:
    """Return ``update_tile(job, tile, first, samples, me)``, ``apply_tile`` and ``limit_tile``.

    Where the gradient is clipped by its norm, or summed over processes, the first keeps it and
    ``apply_tile(job, tile)`` applies it. Where both, ``limit_tile(job, tile)`` comes between: it
    adds penalties, holds single numbers in their limits, and adds up squares.
    """
    real = dtype.type
    zero, one, clip, kept = real(0), real(1), make_clip(dtype), make_kept(dtype)
    width_of, accumulate, s_block = gemm.width_of, gemm.accumulate, gemm.block
    odd_last, lanes = gemm.odd_last, panel // 2
    accumulate_odd, accumulate_caller_odd = gemm.accumulate_odd, gemm.accumulate_caller_odd
    memory_of = make_view("memory", dtype)
    accumulate_caller = gemm.accumulate_caller
    add_samples, accumulate_rounded = narrow.gradient, rounded.accumulate
    add_entries, seek = sparse_rows.add_entries, sparse_rows.seek
    place_of, sum_columns = per_unit.place_of, per_unit.sum_columns
    weigh, move, weigh_periods = normalization.weigh, normalization.move, periodic.weigh

    @njit(**EXACT)
    def add(job, layer, i0, i1, p0, p1, first, samples, own, me, out, apart, origin, alpha, beta):
        """Add alpha X^T delta to beta out: inputs i0..i1, panels p0..p1.

        Panel p0 has its row of input `origin` at `out`, the next is `apart` numbers on. X stays in
        the cache while all panels pass over a block of its rows. Of the caller's rows read in
        place, inputs that the block does not use are left out. Of sparse rows, beta is 1, and i0 is
        where `seek` or the last call has come to.
        """
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, rows = layers[layer, K], layers[layer, N], head[CAPACITY]
        if layer == 0 and head[IN_PLACE] == SPARSE:
            add_entries(job, i1, p0, p1, first, samples, out, apart, origin, alpha, me)
            return
        if head[ROUNDED] > 0:
            order, address, stride = caller_rows(job, layer, first)
            accumulate_rounded(
                memory, head[ROUNDED], head[PACKED] + me * head[PACKED_SIZE], order, address,
                stride, layers[layer, INPUT] + own, k, i0, i1, layers[layer, DELTA], n, p0, p1,
                rows, samples, out, apart, origin, alpha, beta,
            )  # fmt: skip
            return
        as_rows = layer == 0 and head[IN_PLACE] > 0
        # The same sums wherever the rows of X are read: in place or as a copy.
        size = head[LOOK_ROWS] if layer == 0 and n <= IN_PLACE_UNITS else s_block
        nonzero, addresses, columns = nonzero_of(job), addresses_of(job), ZERO
        listed = me * ADDRESS_TABLES * head[ADDRESSES_SIZE]
        for s in range(0, samples, size):
            count, keep = min(size, samples - s), beta if s == 0 else one
            if as_rows:
                columns = find_nonzero(job, first, s // size, samples, me)
                list_rows(job, first, own, s, count, ZERO, listed)
            p = p0
            while p < p1:
                width, odd = width_of(p, n), odd_last(p, p1, n)
                delta = layers[layer, DELTA] + p * panel * rows + s * width
                to = out + (p - p0) * apart - origin * width
                # Of the narrow panel that goes with this one.
                delta_odd = layers[layer, DELTA] + (p + 1) * panel * rows + s * lanes
                to_odd = out + (p + 1 - p0) * apart - origin * lanes
                if as_rows:
                    starts = columns + k + LIST_SLACK
                    begin, end = starts + i0 // panel, starts + (i1 + panel - 1) // panel
                    begin, end = columns + nonzero[U(begin)], columns + nonzero[U(end)]
                    if odd:
                        accumulate_caller_odd(
                            memory, addresses, listed, nonzero, begin, end, delta, count, to,
                            delta_odd, to_odd, alpha, keep,
                        )  # fmt: skip
                    else:
                        accumulate_caller(
                            memory, addresses, listed, nonzero, begin, end, delta, count, to,
                            width, alpha, keep,
                        )  # fmt: skip
                else:
                    for i in range(i0, i1, panel):
                        a_width, inputs = width_of(i // panel, k), min(panel, i1 - i)
                        start = layers[layer, INPUT] + own + i * rows + s * a_width
                        if odd:
                            accumulate_odd(
                                memory, start, a_width, panel * rows, delta, count, to + i * width,
                                inputs, delta_odd, to_odd + i * lanes, alpha, keep,
                            )  # fmt: skip
                        else:
                            accumulate(
                                memory, start, a_width, panel * rows, delta, count, to + i * width,
                                inputs, width, alpha, keep,
                            )  # fmt: skip
                p += 2 if odd else 1

    @njit(**MERGED)
    def update_columns(job, layer, p0, p1, samples, own, gradient):
        """Update what a layer has one number of a unit: panels p0..p1, from all samples."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        direct = head[DIRECT] == 1
        layer_kind = layers[layer, LAYER_KIND]
        kinds = KINDS if layer_kind != LINEAR or layers[layer, TRAINABLE] >= 0 else 1
        for p in range(p0, p1):
            width = width_of(p, layers[layer, N])
            if layer_kind == PERIODIC:
                weigh_periods(job, layer, p, samples, own)
            elif layer_kind != LINEAR:
                weigh(job, layer, p, samples)
                move(job, layer, p, samples)
            for kind in range(kinds):
                at = place_of(job, layer, p, kind)
                if at < 0:
                    continue
                for c in range(gradient, gradient + width):
                    memory[U(c)] = zero
                alpha = -real(layer_rate(job, layer)) if direct else one
                sum_columns(job, layer, p, kind, samples, gradient, alpha, one)
                if not direct:
                    apply(job, layer, at, gradient, width, kind)
                    continue
                # Changes are rounded before they are added: one that another takes back leaves
                # nothing, where a perceptron is to have a z of 0.
                factor = real(layer_number(job, layer, BIAS_FACTOR)) if kind == OF_BIAS else one
                for c in range(width):
                    memory[U(at + c)] += rounded_product(factor, memory[U(gradient + c)])

    @njit(**MERGED)
    def direct(job, layer, i0, i1, p0, p1, first, samples, own, me):
        """W = (1 - lr l2) W - lr X^T delta: plain SGD, with no gradient in memory."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n = layers[layer, K], layers[layer, N]
        rate, apart = real(layer_rate(job, layer)), panel * (k + 1)
        part = layer_rate(job, layer) * layer_number(job, layer, L2)
        keep = max(zero, kept(part, numbers_of(job)[UPDATES_DONE]))
        weights = layers[layer, WEIGHTS] + p0 * apart
        if keep != one and layer == 0 and head[IN_PLACE] > 0 and head[ROUNDED] == 0:
            # Not all of these rows of W are looked at again.
            for p in range(p0, p1):
                width, start = width_of(p, n), weights + (p - p0) * apart
                for c in range(start + i0 * width, start + i1 * width):
                    memory[U(c)] *= keep
            keep = one
        add(job, layer, i0, i1, p0, p1, first, samples, own, me, weights, apart, ZERO, -rate, keep)

    @njit(**MERGED)
    def by_rule(job, layer, i0, i1, p0, p1, first, samples, own, me, gradient):
        """Sum the gradient of a block of inputs in `gradient`, then apply the rule to it."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n = layers[layer, K], layers[layer, N]
        block = head[PRIVATE_SIZE] // (panel * (p1 - p0)) // panel * panel
        for b0 in range(i0, i1, block):
            b1 = min(i1, b0 + block)
            apart = (b1 - b0) * panel
            for c in range(apart * (p1 - p0)):
                memory[U(gradient + c)] = zero
            add(job, layer, b0, b1, p0, p1, first, samples, own, me, gradient, apart, b0, one, one)
            for p in range(p0, p1):
                width = width_of(p, n)
                weights = layers[layer, WEIGHTS] + p * panel * (k + 1) + b0 * width
                apply(
                    job, layer, weights, gradient + (p - p0) * apart, (b1 - b0) * width, OF_WEIGHTS
                )

    @njit(**EXACT)
    def narrow_add(job, i0, i1, first, samples, own, me, out, out_stride, alpha, beta):
        """Update `out`, (n, i1 - i0), with samples times delta of a transposed first layer."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        n, d = layers[0, N], layers[0, DELTA]
        width = width_of(ZERO, n)
        size = head[ADDRESSES_SIZE]
        at = me * ADDRESS_TABLES * size
        for s in range(0, samples, SUMMED_ROWS):
            count, keep = min(SUMMED_ROWS, samples - s), beta if s == 0 else one
            list_rows(job, first, own, s, count, i0, at)
            later, ahead = at, rows_ahead(job, first + s + count)
            if ahead > 0:
                later += size
                list_rows(job, first, own, s + ahead, count, i0, later)
            add_samples(
                memory, addresses_of(job), at, later, at + 2 * size, count, i1 - i0,
                d + s * width, width, n, out, out_stride, alpha, keep,
            )  # fmt: skip

    @njit(**MERGED)
    def narrow_update(job, i0, i1, first, samples, own, me, gradient):
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, w = layers[0, K], layers[0, N], layers[0, WEIGHTS]
        if head[DIRECT] == 1:
            rate = real(layer_rate(job, ZERO))
            part = layer_rate(job, ZERO) * layer_number(job, ZERO, L2)
            keep = max(zero, kept(part, numbers_of(job)[UPDATES_DONE]))
            narrow_add(job, i0, i1, first, samples, own, me, w + i0, k, -rate, keep)
        else:
            size = head[PRIVATE_SIZE] // n // panel * panel
            for i in range(i0, i1, size):
                count = min(size, i1 - i)
                for c in range(n * count):
                    memory[U(gradient + c)] = zero
                narrow_add(job, i, i + count, first, samples, own, me, gradient, count, one, one)
                for j in range(n):
                    apply(job, ZERO, w + j * k + i, gradient + j * count, count, OF_WEIGHTS)

    @njit(**EXACT)
    def hold(job, layer, at, kept, count, is_bias):
        """Add the penalty to gradients that are kept, and hold each number in its limits."""
        l2 = zero if is_bias else real(layer_number(job, layer, STEP_L2))
        clip(memory_of(job), at, kept, kept, count, l2, real(numbers_of(job)[CLIP_VALUE]))

    @njit(**EXACT)
    def each_run(job, tile, only_hold):
        """Apply the rule, with gradients that are kept, to a tile; or do what comes before."""
        head, layers, tiles = head_of(job), layers_of(job), tiles_of(job)
        layer, i0, i1 = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]
        k, n, kept = layers[layer, K], layers[layer, N], head[KEPT]
        for p in range(tiles[tile, 3], tiles[tile, 4]):
            width = width_of(p, n)
            weights = layers[layer, WEIGHTS] + p * panel * (k + 1)
            # Rows of inputs, each of the numbers from i0 to i1: one row of them all, or n of them.
            runs, start, count = ONE, weights + i0 * width, (i1 - i0) * width
            if layers[layer, NARROW] >= 0:
                runs, start, count = n, weights + i0, i1 - i0
            for j in range(runs if i0 < i1 else 0):
                at = start + j * k
                if only_hold:
                    hold(job, layer, at, at + kept, count, False)
                else:
                    apply(job, layer, at, at + kept, count, OF_WEIGHTS)
            for kind in range(KINDS if i1 == k else 0):
                at = place_of(job, layer, p, kind)
                if at >= 0 and only_hold:
                    hold(job, layer, at, at + kept, width, True)
                elif at >= 0:
                    apply(job, layer, at, at + kept, width, kind)
            if only_hold:
                add_squares(job, layer, i0, i1, p, 1.0)
        if not only_hold:
            keep_transposed(job, layer, i0, i1, tiles[tile, 3], tiles[tile, 4])

    @njit(**EXACT)
    def apply_tile(job, tile):
        each_run(job, tile, False)

    @njit(**EXACT)
    def limit_tile(job, tile):
        each_run(job, tile, True)

    @njit(**MERGED)
    def update_tile(job, tile, first, samples, me):
        head, layers, tiles = head_of(job), layers_of(job), tiles_of(job)
        layer, i0, i1 = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]
        p0, p1 = tiles[tile, 3], tiles[tile, 4]
        own = me * head[OWN_INPUTS] if layer == 0 else ZERO
        gradient = head[PRIVATE] + me * head[PRIVATE_SIZE]
        if layer == 0 and head[IN_PLACE] == SPARSE and head[LAZY] == 0:
            seek(job, i0, first, samples, me)
        if i0 == i1:
            pass  # nothing but one number a unit
        elif layer == 0 and head[LAZY] > 0:
            update_lazily(job, tile, first, samples, me)
        elif layers[layer, NARROW] >= 0:
            narrow_update(job, i0, i1, first, samples, own, me, gradient)
        elif head[DIRECT] == 1:
            direct(job, layer, i0, i1, p0, p1, first, samples, own, me)
        else:
            by_rule(job, layer, i0, i1, p0, p1, first, samples, own, me, gradient)
        if i1 == layers[layer, K]:
            update_columns(job, layer, p0, p1, samples, own, gradient)
        if head[KEPT] == 0:
            keep_transposed(job, layer, i0, i1, p0, p1)
        elif head[STATUS] == 0:
            for p in range(p0, p1):
                add_squares(job, layer, i0, i1, p, 1.0)

    return update_tile, apply_tile, limit_tile
