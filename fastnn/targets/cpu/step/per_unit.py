"""What a layer trains one number a unit: bias, beta or phase; slope below 0; gamma or frequency.

The derivative by each is the sum of a column: of delta, of what `prelu_backward` leaves at Z, and
of what `weigh` leaves at X_HAT.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import INLINE, MERGED
from fastnn.targets.cpu.plan import BETA, CAPACITY, GAMMA, NARROW, ONES, TRAINABLE, X_HAT
from fastnn.targets.cpu.products.gemm import ONE, ZERO
from fastnn.targets.cpu.views import head_of, layers_of, make_view
from fastnn.targets.fields import BIAS, DELTA, WEIGHTS, K, N, Z
from fastnn.targets.layout import SUMMED_ROWS

KINDS = 3  # 0: bias, beta or phase; 1: the slope; 2: gamma or frequency
OF_WEIGHTS, OF_BIAS = -ONE, ZERO  # and of W, which is none of these


def make_per_unit(dtype: np.dtype, panel: int, gemm: Any) -> SimpleNamespace:
    """Return what finds these numbers, and what sums their derivatives.

    place_of(job, layer, p, kind): offset of panel p of them, or -1 where none is trained.
    sum_columns(job, layer, p, kind, samples, out, alpha, beta): add alpha times the sums over all
    samples to beta out.
    """
    memory_of, one = make_view("memory", dtype), dtype.type(1)
    width_of, accumulate = gemm.width_of, gemm.accumulate

    @njit(**INLINE)
    def place_of(job, layer, p, kind):
        layers, at = layers_of(job), -ONE
        if kind == 1:
            if layers[layer, TRAINABLE] >= 0:
                at = layers[layer, TRAINABLE] + p * panel
        elif kind == 2:
            if layers[layer, GAMMA] >= 0:
                at = layers[layer, GAMMA] + p * panel
        elif layers[layer, BETA] >= 0:
            at = layers[layer, BETA] + p * panel
        elif layers[layer, BIAS] == 1:
            k, n = layers[layer, K], layers[layer, N]
            at = layers[layer, NARROW]
            if at < 0:
                at = layers[layer, WEIGHTS] + p * panel * (k + 1) + k * width_of(p, n)
        return at

    @njit(**MERGED)
    def sum_columns(job, layer, p, kind, samples, out, alpha, beta):
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        of = layers[layer, DELTA]
        if kind > 0:
            of = layers[layer, Z] if kind == 1 else layers[layer, X_HAT]
        of += p * panel * head[CAPACITY]
        width = width_of(p, layers[layer, N])
        for s in range(0, samples, SUMMED_ROWS):
            count, keep = min(SUMMED_ROWS, samples - s), beta if s == 0 else one
            accumulate(
                memory, head[ONES], ZERO, ZERO, of + s * width, count, out, ONE, width, alpha, keep
            )

    return SimpleNamespace(place_of=place_of, sum_columns=sum_columns)
