"""The update of a tile of weights: gradient X^T delta and rule, while the tile is in cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.cpu.gemm import ONE, ZERO
from fastnn.cpu.intrinsics import address_of
from fastnn.cpu.job import (
    counting_of,
    head_of,
    layers_of,
    make_view,
    numbers_of,
    order_of,
    sources_of,
    tiles_of,
    used_of,
)
from fastnn.cpu.naming import njit
from fastnn.cpu.rules import EXACT, MERGED, U, make_clip
from fastnn.cpu.sources import ADDRESS, ROW_STRIDE
from fastnn.cpu.steps import (
    BETA1,
    BETA2,
    C1,
    C2,
    C3,
    CLIP_SCALE,
    CLIP_VALUE,
    EPSILON,
    L1,
    L2,
    RATE,
    SHRINK,
    layer_number,
    rows_ahead,
)
from fastnn.plan import (
    BATCH,
    BIAS,
    CAPACITY,
    CLIPS,
    DELTA,
    DIRECT,
    FEW,
    IN_PLACE,
    INPUT,
    KEPT,
    LOOK_ROWS,
    ONES,
    OWN_INPUTS,
    PRIVATE,
    PRIVATE_SIZE,
    SAMPLES,
    SIZE,
    UPDATE,
    WEIGHTS,
    K,
    N,
)  # fmt: skip


def make_apply(dtype: np.dtype, rules: Any) -> Any:
    """Return ``apply(job, layer, at, gradient, count, is_bias)``.

    It applies the plan's update rule to `count` parameters of a layer at `at` with their gradient.
    One that is to be clipped by its norm it only keeps; called again with that, it applies it.
    """
    real = dtype.type
    zero, one, rule, clip = real(0), real(1), rules.update, make_clip(dtype)
    memory_of = make_view("memory", dtype)

    @njit(**EXACT)
    def apply(job, layer, at, gradient, count, is_bias):
        memory, head, numbers = memory_of(job), head_of(job), numbers_of(job)
        size = head[SIZE]
        l1 = zero if is_bias else real(layer_number(job, layer, L1))
        l2 = zero if is_bias else real(layer_number(job, layer, L2))
        if head[CLIPS] == 1:
            kept = at + head[KEPT] if head[KEPT] > 0 else gradient
            if head[KEPT] > 0 and gradient == kept:
                scale = real(numbers[CLIP_SCALE])
                for i in range(kept, kept + count):
                    memory[U(i)] *= scale
            else:
                limit = real(numbers[CLIP_VALUE])
                clip(memory, at, gradient, kept, count, l1, l2, limit)
                if head[KEPT] > 0:
                    return
            l1 = l2 = zero
        shrink = one if is_bias else real(numbers[SHRINK])
        rule(
            head[UPDATE], memory, at, gradient, at + size, at + 2 * size, count, l1, l2,
            real(numbers[RATE]), real(numbers[BETA1]), real(1.0 - numbers[BETA1]),
            real(numbers[BETA2]), real(1.0 - numbers[BETA2]), real(numbers[EPSILON]), shrink,
            real(numbers[C1]), real(numbers[C2]), real(numbers[C3]),
        )  # fmt: skip

    return apply


def make_update(
    dtype: np.dtype,
    panel: int,
    gemm: Any,
    few: Any,
    find_used: Any,
    rules: Any,
    layers_: Any,
    norms: Any,
) -> tuple[Any, Any]:
    """Return ``update_tile(job, tile, first, samples, me)`` and ``apply_tile(job, tile)``.

    Where the gradient is clipped by its norm, the first keeps it and the second applies it.
    """
    real = dtype.type
    zero, one = real(0), real(1)
    width_of, padded, accumulate, s_block = (
        gemm.width_of, gemm.padded, gemm.accumulate, gemm.block,
    )  # fmt: skip
    memory_of = make_view("memory", dtype)
    accumulate_caller, itemsize = gemm.accumulate_caller, dtype.itemsize
    apply, add_samples = make_apply(dtype, rules), few.gradient
    keep_transposed, add_squares = layers_.keep_transposed, norms.add_squares

    @njit(**EXACT)
    def add(job, layer, i, first, s, count, own, me, delta, out, inputs, width, alpha, beta):
        """Add alpha X^T delta to beta out: samples s..s + count, `inputs` inputs from i on.

        Of the caller's rows read in place, inputs that the batch does not use are left out.
        """
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        if layer == 0 and head[IN_PLACE] == 1:
            sources, used = sources_of(job), used_of(job)
            samples = min(head[BATCH], head[SAMPLES] - first)
            for block in range(s // LOOK_ROWS, (s + count + LOOK_ROWS - 1) // LOOK_ROWS):
                s0, s1 = max(s, block * LOOK_ROWS), min(s + count, (block + 1) * LOOK_ROWS)
                columns = find_used(job, first, block, samples, me)
                starts = columns + layers[0, K] + i // panel
                accumulate_caller(
                    memory, order_of(job), first + s0, sources[0, ADDRESS], sources[0, ROW_STRIDE],
                    used, columns + used[U(starts)], columns + used[U(starts + 1)],
                    delta + (s0 - s) * width, s1 - s0, out - i * width, width, alpha, beta,
                )  # fmt: skip
        else:
            a_width = width_of(i // panel, layers[layer, K])
            start = layers[layer, INPUT] + own + i * head[CAPACITY] + s * a_width
            accumulate(memory, start, a_width, delta, count, out, inputs, width, alpha, beta)

    @njit(**MERGED)
    def direct(job, layer, i0, i1, p, first, samples, own, me):
        """W = (1 - lr l2) W - lr X^T delta: plain SGD, with no gradient in memory."""
        memory, head, layers, numbers = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            numbers_of(job),
        )
        k, n, rows = layers[layer, K], layers[layer, N], head[CAPACITY]
        width = width_of(p, n)
        weights = layers[layer, WEIGHTS] + p * panel * (k + 1)
        delta = layers[layer, DELTA] + p * panel * rows
        rate = real(numbers[RATE])
        keep = one - rate * real(layer_number(job, layer, L2))
        for s in range(0, samples, s_block):
            count = min(s_block, samples - s)
            for i in range(i0, i1, panel):
                inputs, out = min(panel, i1 - i), weights + i * width
                beta = keep if s == 0 else one
                if beta != one and layer == 0 and head[IN_PLACE] == 1:
                    # Not all of these rows of W are looked at again.
                    for c in range(out, out + inputs * width):
                        memory[U(c)] *= beta
                    beta = one
                add(
                    job, layer, i, first, s, count, own, me, delta + s * width, out, inputs, width,
                    -rate, beta,
                )  # fmt: skip
            if i1 == k and layers[layer, BIAS] == 1:
                bias = weights + k * width
                accumulate(
                    memory, head[ONES], ZERO, delta + s * width, count, bias, ONE, width, -rate, one
                )

    @njit(**MERGED)
    def by_rule(job, layer, i0, i1, p, first, samples, own, me, gradient):
        """Sum the gradient of a panel of inputs in `gradient`, then apply the rule to it."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, rows = layers[layer, K], layers[layer, N], head[CAPACITY]
        width = width_of(p, n)
        weights = layers[layer, WEIGHTS] + p * panel * (k + 1)
        delta = layers[layer, DELTA] + p * panel * rows
        for i in range(i0, i1, panel):
            inputs = min(panel, i1 - i)
            for c in range(inputs * width):
                memory[U(gradient + c)] = zero
            add(
                job,
                layer,
                i,
                first,
                ZERO,
                samples,
                own,
                me,
                delta,
                gradient,
                inputs,
                width,
                one,
                one,
            )
            apply(job, layer, weights + i * width, gradient, inputs * width, False)
        if i1 == k and layers[layer, BIAS] == 1:
            for c in range(width):
                memory[U(gradient + c)] = zero
            accumulate(memory, head[ONES], ZERO, delta, samples, gradient, ONE, width, one, one)
            apply(job, layer, weights + k * width, gradient, width, True)

    @njit(**EXACT)
    def few_add(job, i0, i1, first, samples, own, out, out_stride, alpha, beta):
        """Update `out`, (n, i1 - i0), with samples times delta of a transposed first layer."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        n, k, d = layers[0, N], layers[0, K], layers[0, DELTA]
        width = width_of(ZERO, n)
        if head[IN_PLACE] == 1:
            sources = sources_of(job)
            address = sources[0, ADDRESS] + i0 * itemsize
            add_samples(
                memory, order_of(job), first, rows_ahead(job, first + samples), address,
                sources[0, ROW_STRIDE], samples, i1 - i0, d, width, n, out, out_stride, alpha, beta,
            )  # fmt: skip
        else:
            start, stride = layers[0, INPUT] + own + i0, padded(k) * itemsize
            add_samples(
                memory, counting_of(job), ZERO, ZERO, address_of(memory, start), stride, samples,
                i1 - i0, d, width, n, out, out_stride, alpha, beta,
            )  # fmt: skip

    @njit(**MERGED)
    def few_update(job, i0, i1, first, samples, own, gradient):
        memory, head, layers, numbers = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            numbers_of(job),
        )
        k, n, w, bias, d = (
            layers[0, K], layers[0, N], layers[0, WEIGHTS], layers[0, FEW], layers[0, DELTA],
        )  # fmt: skip
        rate = real(numbers[RATE])
        if head[DIRECT] == 1:
            keep = one - rate * real(layer_number(job, ZERO, L2))
            few_add(job, i0, i1, first, samples, own, w + i0, k, -rate, keep)
        else:
            size = head[PRIVATE_SIZE] // n // panel * panel
            for i in range(i0, i1, size):
                count = min(size, i1 - i)
                for c in range(n * count):
                    memory[U(gradient + c)] = zero
                few_add(job, i, i + count, first, samples, own, gradient, count, one, one)
                for j in range(n):
                    apply(job, ZERO, w + j * k + i, gradient + j * count, count, False)
        if i1 == k and layers[0, BIAS] == 1:
            width = width_of(ZERO, n)
            out, factor = (bias, -rate) if head[DIRECT] == 1 else (gradient, one)
            if head[DIRECT] == 0:
                for c in range(width):
                    memory[U(gradient + c)] = zero
            accumulate(memory, head[ONES], ZERO, d, samples, out, ONE, width, factor, one)
            if head[DIRECT] == 0:
                apply(job, ZERO, bias, gradient, width, True)

    @njit(**MERGED)
    def apply_tile(job, tile):
        head, layers, tiles = head_of(job), layers_of(job), tiles_of(job)
        layer, i0, i1 = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]
        k, n, kept = layers[layer, K], layers[layer, N], head[KEPT]
        for p in range(tiles[tile, 3], tiles[tile, 4]):
            width = width_of(p, n)
            weights = layers[layer, WEIGHTS] + p * panel * (k + 1)
            # Rows of inputs, each of the numbers from i0 to i1: one row of them all, or n of them.
            runs, start, count = ONE, weights + i0 * width, (i1 - i0) * width
            bias = weights + k * width
            if layers[layer, FEW] >= 0:
                runs, start, count, bias = n, weights + i0, i1 - i0, layers[layer, FEW]
            for j in range(runs):
                apply(job, layer, start + j * k, start + j * k + kept, count, False)
            if i1 == k and layers[layer, BIAS] == 1:
                apply(job, layer, bias, bias + kept, width, True)
        keep_transposed(job, layer, i0, i1, tiles[tile, 3], tiles[tile, 4])

    @njit(**MERGED)
    def update_tile(job, tile, first, samples, me):
        head, layers, tiles = head_of(job), layers_of(job), tiles_of(job)
        layer, i0, i1 = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]
        p0, p1 = tiles[tile, 3], tiles[tile, 4]
        own = me * head[OWN_INPUTS] if layer == 0 else ZERO
        if layers[layer, FEW] >= 0:
            gradient = head[PRIVATE] + me * head[PRIVATE_SIZE]
            few_update(job, i0, i1, first, samples, own, gradient)
        else:
            for p in range(p0, p1):
                if head[DIRECT] == 1:
                    direct(job, layer, i0, i1, p, first, samples, own, me)
                else:
                    gradient = head[PRIVATE] + me * head[PRIVATE_SIZE]
                    by_rule(job, layer, i0, i1, p, first, samples, own, me, gradient)
        if head[KEPT] == 0:
            keep_transposed(job, layer, i0, i1, p0, p1)
        else:
            for p in range(p0, p1):
                add_squares(job, layer, i0, i1, p)

    return update_tile, apply_tile
