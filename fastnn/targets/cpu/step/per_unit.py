"""What a layer has one number of a unit: its bias, and with prelu its slope below 0.

The derivative by either is the sum of a column: of delta, and of what `prelu_backward` leaves at Z.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import INLINE, MERGED
from fastnn.targets.cpu.plan import BIAS, CAPACITY, DELTA, NARROW, ONES, TRAINABLE, WEIGHTS, K, N, Z
from fastnn.targets.cpu.products.gemm import ONE, ZERO
from fastnn.targets.cpu.views import head_of, layers_of, make_view

KINDS = 2  # 0: the bias; 1: the slope


def make_per_unit(dtype: np.dtype, panel: int, gemm: Any) -> SimpleNamespace:
    """Return what finds these numbers, and what sums their derivatives.

    place_of(job, layer, p, kind): offset of panel p of them, or -1 where none is trained.
    sum_columns(job, layer, p, kind, samples, out, alpha, beta): add alpha times the sums over all
    samples to beta out.
    """
    memory_of = make_view("memory", dtype)
    width_of, accumulate = gemm.width_of, gemm.accumulate

    @njit(**INLINE)
    def place_of(job, layer, p, kind):
        layers, at = layers_of(job), -ONE
        if kind == 1:
            if layers[layer, TRAINABLE] >= 0:
                at = layers[layer, TRAINABLE] + p * panel
        elif layers[layer, BIAS] == 1:
            k, n = layers[layer, K], layers[layer, N]
            at = layers[layer, NARROW]
            if at < 0:
                at = layers[layer, WEIGHTS] + p * panel * (k + 1) + k * width_of(p, n)
        return at

    @njit(**MERGED)
    def sum_columns(job, layer, p, kind, samples, out, alpha, beta):
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        of = layers[layer, Z] if kind == 1 else layers[layer, DELTA]
        of += p * panel * head[CAPACITY]
        width = width_of(p, layers[layer, N])
        accumulate(memory, head[ONES], ZERO, ZERO, of, samples, out, ONE, width, alpha, beta)

    return SimpleNamespace(place_of=place_of, sum_columns=sum_columns)
