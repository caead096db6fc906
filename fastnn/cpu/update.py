"""The update of a tile of weights: gradient X^T delta and rule, while the tile is in cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.cpu.gemm import ZERO
from fastnn.cpu.job import head_of, layers_of, make_view, numbers_of, order_of, sources_of, tiles_of
from fastnn.cpu.naming import njit
from fastnn.cpu.rules import EXACT, U
from fastnn.cpu.sources import ADDRESS, ROW_STRIDE
from fastnn.cpu.steps import BETA1, BETA2, C1, C2, EPSILON, L1, L2, RATE, SHRINK
from fastnn.plan import (
    BIAS,
    CAPACITY,
    DELTA,
    DIRECT,
    IN_PLACE,
    INPUT,
    ONES,
    OWN_INPUTS,
    PRIVATE,
    PRIVATE_SIZE,
    SIZE,
    TRANSPOSED,
    UPDATE,
    WEIGHTS,
    K,
    N,
)  # fmt: skip

ONE = np.int64(1)


def make_apply(dtype: np.dtype, rules: Any) -> Any:
    """Return ``apply(job, at, gradient, count, is_bias)``.

    It applies the plan's update rule to `count` parameters at `at` with their gradient.
    """
    real = dtype.type
    zero, one, rule = real(0), real(1), rules.update
    memory_of = make_view("memory", dtype)

    @njit(**EXACT)
    def apply(job, at, gradient, count, is_bias):
        memory, head, numbers = memory_of(job), head_of(job), numbers_of(job)
        size = head[SIZE]
        l1, l2 = (zero, zero) if is_bias else (real(numbers[L1]), real(numbers[L2]))
        shrink = one if is_bias else real(numbers[SHRINK])
        rule(
            head[UPDATE], memory, at, gradient, at + size, at + 2 * size, count, l1, l2,
            real(numbers[RATE]), real(numbers[BETA1]), real(1.0 - numbers[BETA1]),
            real(numbers[BETA2]), real(1.0 - numbers[BETA2]), real(numbers[EPSILON]), shrink,
            real(numbers[C1]), real(numbers[C2]),
        )  # fmt: skip

    return apply


def make_update(dtype: np.dtype, panel: int, gemm: Any, rules: Any, layers_: Any) -> Any:
    """Return ``update_tile(job, tile, first, samples, me)`` for one dtype."""
    real = dtype.type
    zero, one = real(0), real(1)
    width_of, accumulate, s_block = gemm.width_of, gemm.accumulate, gemm.block
    memory_of = make_view("memory", dtype)
    accumulate_caller, itemsize = gemm.accumulate_caller, dtype.itemsize
    apply, transpose = make_apply(dtype, rules), layers_.transpose

    @njit(**EXACT)
    def add(job, layer, i, first, s, count, own, delta, out, inputs, width, alpha, beta):
        """Add alpha X^T delta to beta out: samples s..s + count, `inputs` inputs from i on."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        if layer == 0 and head[IN_PLACE] == 1:
            sources = sources_of(job)
            address = sources[0, ADDRESS] + i * itemsize
            accumulate_caller(
                memory, order_of(job), first + s, address, sources[0, ROW_STRIDE], delta, count,
                out, inputs, width, alpha, beta,
            )  # fmt: skip
        else:
            a_width = width_of(i // panel, layers[layer, K])
            start = layers[layer, INPUT] + own + i * head[CAPACITY] + s * a_width
            accumulate(memory, start, a_width, delta, count, out, inputs, width, alpha, beta)

    @njit(**EXACT)
    def direct(job, layer, i0, i1, p, first, samples, own):
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
        keep = one - rate * real(numbers[L2])
        for s in range(0, samples, s_block):
            count = min(s_block, samples - s)
            for i in range(i0, i1, panel):
                add(
                    job, layer, i, first, s, count, own, delta + s * width, weights + i * width,
                    min(panel, i1 - i), width, -rate, keep if s == 0 else one,
                )  # fmt: skip
            if i1 == k and layers[layer, BIAS] == 1:
                bias = weights + k * width
                accumulate(
                    memory, head[ONES], ZERO, delta + s * width, count, bias, ONE, width, -rate, one
                )

    @njit(**EXACT)
    def by_rule(job, layer, i0, i1, p, first, samples, own, gradient):
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
            add(job, layer, i, first, ZERO, samples, own, delta, gradient, inputs, width, one, one)
            apply(job, weights + i * width, gradient, inputs * width, i == k)
        if i1 == k and layers[layer, BIAS] == 1:
            for c in range(width):
                memory[U(gradient + c)] = zero
            accumulate(memory, head[ONES], ZERO, delta, samples, gradient, ONE, width, one, one)
            apply(job, weights + k * width, gradient, width, i1 == k)

    @njit(**EXACT)
    def update_tile(job, tile, first, samples, me):
        head, layers, tiles = head_of(job), layers_of(job), tiles_of(job)
        layer, i0, i1 = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]
        p0, p1 = tiles[tile, 3], tiles[tile, 4]
        own = me * head[OWN_INPUTS] if layer == 0 else ZERO
        for p in range(p0, p1):
            if head[DIRECT] == 1:
                direct(job, layer, i0, i1, p, first, samples, own)
            else:
                gradient = head[PRIVATE] + me * head[PRIVATE_SIZE]
                by_rule(job, layer, i0, i1, p, first, samples, own, gradient)
        if layers[layer, TRANSPOSED] >= 0:
            k, n = layers[layer, K], layers[layer, N]
            for i in range(i0, i1, panel):
                for p in range(p0, p1):
                    to = layers[layer, TRANSPOSED] + i * n + p * panel * width_of(i // panel, k)
                    transpose(job, layer, p * panel, min(n, (p + 1) * panel), i // panel, to)

    return update_tile
