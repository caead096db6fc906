"""The norm of the whole gradient, for clipping by it: the same bits however tiles are cut.

The gradients of all tiles are kept first, and the squares of each piece of a tile added up in a
place of its own; when all are there, the pieces are added in their order.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.cpu.job import head_of, layers_of, make_view, numbers_of, parts_of
from fastnn.cpu.naming import njit
from fastnn.cpu.rules import EXACT, FAST, U
from fastnn.cpu.steps import CLIP_NORM, CLIP_SCALE
from fastnn.plan import FEW, KEPT, PARTS, SIZE, WEIGHTS, K, N
from fastnn.rules.updates import CLIP_EPSILON

# Squares of numbers that are this much smaller do not overflow. A power of two rounds nothing.
UNIT = 2.0**-540


def make_norms(dtype: np.dtype, panel: int, width_of: Any) -> SimpleNamespace:
    """Return the steps of clipping by norm for one dtype.

    add_squares(job, layer, i0, i1, p): the sums of squares of the pieces of a tile.
    end_gradient(job): add all of them up, and set the scale of this step's gradient.
    set_scale(job, total): the second half of that, for one thread without tiles.
    squares(memory, at, count, unit): sum of the squares of `unit` times each number, in float64.
    """
    memory_of = make_view("memory", dtype)

    @njit(**FAST)
    def squares(memory, at, count, unit):
        total = 0.0
        for i in range(at, at + count):
            x = unit * np.float64(memory[U(i)])
            total += x * x
        return total

    @njit(**EXACT)
    def add_squares(job, layer, i0, i1, p):
        memory, head, layers, parts = memory_of(job), head_of(job), layers_of(job), parts_of(job)
        k, n = layers[layer, K], layers[layer, N]
        width, chunks = width_of(p, n), (k + panel - 1) // panel
        part = layers[layer, PARTS] + p * (chunks + 1)
        few = layers[layer, FEW] >= 0
        weights = head[KEPT] + layers[layer, WEIGHTS] + p * panel * (k + 1)
        bias = head[KEPT] + layers[layer, FEW] if few else weights + k * width
        for i in range(i0, i1, panel):
            inputs, total = min(panel, i1 - i), 0.0
            if few:
                for j in range(n):
                    total += squares(memory, weights + j * k + i, inputs, 1.0)
            else:
                total = squares(memory, weights + i * width, inputs * width, 1.0)
            parts[U(part + i // panel)] = total
        if i1 == k:
            parts[U(part + chunks)] = squares(memory, bias, width, 1.0)

    @njit(**EXACT)
    def set_scale(job, total):
        """Set c / (norm + epsilon), or 1 where that is more; `total` is the sum of all squares.

        A gradient that is not finite gets NaN, and so do all parameters.
        """
        memory, head, numbers = memory_of(job), head_of(job), numbers_of(job)
        unit = 1.0
        if not math.isfinite(total):
            # In float64 the squares of finite numbers can overflow; rarely, so one thread sees to
            # it alone.
            unit = UNIT
            total = squares(memory, head[KEPT], head[SIZE], unit)
        scale = numbers[CLIP_NORM] * unit / (math.sqrt(total) + CLIP_EPSILON * unit)
        numbers[CLIP_SCALE] = min(1.0, scale) if math.isfinite(total) else math.nan

    @njit(**EXACT)
    def end_gradient(job):
        parts, total = parts_of(job), 0.0
        for i in range(len(parts)):
            total += parts[U(i)]
        set_scale(job, total)

    return SimpleNamespace(
        add_squares=add_squares, end_gradient=end_gradient, set_scale=set_scale, squares=squares
    )
