"""The update of a tile of weights: the gradient X^T delta and the rule, while the tile is in cache."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from fastnn.cpu.gemm import ZERO
from fastnn.cpu.rules import EXACT, U
from fastnn.cpu.steps import BETA1, BETA2, C1, C2, EPSILON, L1, L2, RATE, SHRINK
from fastnn.plan import (
    BIAS, CAPACITY, DELTA, DIRECT, INPUT, K, N, ONES, OWN_INPUTS, PRIVATE, PRIVATE_SIZE, SIZE, TRANSPOSED, UPDATE,
    WEIGHTS,
)  # fmt: skip

ONE = np.int64(1)

def make_apply(dtype: np.dtype, rules: Any) -> Any:
    """Return ``apply(memory, head, numbers, at, gradient, count, is_bias)``.

    It applies the plan's update rule to `count` parameters at `at` with their gradient.
    """
    real = dtype.type
    zero, one, rule = real(0), real(1), rules.update

    @njit(**EXACT)
    def apply(memory, head, numbers, at, gradient, count, is_bias):
        size = head[SIZE]
        l1, l2 = (zero, zero) if is_bias else (real(numbers[L1]), real(numbers[L2]))
        shrink = one if is_bias else real(numbers[SHRINK])
        rule(
            head[UPDATE], memory, at, gradient, at + size, at + 2 * size, count, l1, l2,
            real(numbers[RATE]), real(numbers[BETA1]), real(1.0 - numbers[BETA1]), real(numbers[BETA2]),
            real(1.0 - numbers[BETA2]), real(numbers[EPSILON]), shrink, real(numbers[C1]), real(numbers[C2]),
        )  # fmt: skip

    return apply


def make_update(dtype: np.dtype, panel: int, gemm: Any, rules: Any, layers_: Any) -> Any:
    """Return ``update_tile(memory, head, layers, numbers, tiles, tile, samples, me)`` for one dtype."""
    real = dtype.type
    zero, one = real(0), real(1)
    width_of, accumulate, s_block = gemm.width_of, gemm.accumulate, gemm.block
    apply, transpose = make_apply(dtype, rules), layers_.transpose

    @njit(**EXACT)
    def direct(memory, head, layers, numbers, l, i0, i1, p, samples, own):
        """W = (1 - lr l2) W - lr X^T delta: plain SGD, with no gradient in memory."""
        k, n, rows = layers[l, K], layers[l, N], head[CAPACITY]
        width = width_of(p, n)
        weights = layers[l, WEIGHTS] + p * panel * (k + 1)
        delta = layers[l, DELTA] + p * panel * rows
        rate = real(numbers[RATE])
        keep = one - rate * real(numbers[L2])
        for s in range(0, samples, s_block):
            count = min(s_block, samples - s)
            for i in range(i0, i1, panel):
                a_width = width_of(i // panel, k)
                accumulate(
                    memory, layers[l, INPUT] + own + i * rows + s * a_width, a_width, delta + s * width, count,
                    weights + i * width, min(panel, i1 - i), width, -rate, keep if s == 0 else one,
                )  # fmt: skip
            if i1 == k and layers[l, BIAS] == 1:
                bias = weights + k * width
                accumulate(
                    memory, head[ONES], ZERO, delta + s * width, count, bias, ONE, width, -rate, one
                )

    @njit(**EXACT)
    def by_rule(memory, head, layers, numbers, l, i0, i1, p, samples, own, gradient):
        """Sum the gradient of a panel of inputs in `gradient`, then apply the rule to it."""
        k, n, rows = layers[l, K], layers[l, N], head[CAPACITY]
        width = width_of(p, n)
        weights = layers[l, WEIGHTS] + p * panel * (k + 1)
        delta = layers[l, DELTA] + p * panel * rows
        for i in range(i0, i1, panel):
            a_width = width_of(i // panel, k)
            inputs = min(panel, i1 - i)
            for c in range(inputs * width):
                memory[U(gradient + c)] = zero
            accumulate(
                memory, layers[l, INPUT] + own + i * rows, a_width, delta, samples, gradient, inputs, width,
                one, one,
            )  # fmt: skip
            apply(memory, head, numbers, weights + i * width, gradient, inputs * width, i == k)
        if i1 == k and layers[l, BIAS] == 1:
            for c in range(width):
                memory[U(gradient + c)] = zero
            accumulate(memory, head[ONES], ZERO, delta, samples, gradient, ONE, width, one, one)
            apply(memory, head, numbers, weights + k * width, gradient, width, i1 == k)

    @njit(**EXACT)
    def update_tile(memory, head, layers, numbers, tiles, tile, samples, me):
        l, i0, i1 = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]
        p0, p1 = tiles[tile, 3], tiles[tile, 4]
        own = me * head[OWN_INPUTS] if l == 0 else ZERO
        for p in range(p0, p1):
            if head[DIRECT] == 1:
                direct(memory, head, layers, numbers, l, i0, i1, p, samples, own)
            else:
                gradient = head[PRIVATE] + me * head[PRIVATE_SIZE]
                by_rule(memory, head, layers, numbers, l, i0, i1, p, samples, own, gradient)
        if layers[l, TRANSPOSED] >= 0:
            k, n = layers[l, K], layers[l, N]
            for i in range(i0, i1, panel):
                for p in range(p0, p1):
                    to = layers[l, TRANSPOSED] + i * n + p * panel * width_of(i // panel, k)
                    transpose(memory, layers, l, p * panel, min(n, (p + 1) * panel), i // panel, to)

    return update_tile
