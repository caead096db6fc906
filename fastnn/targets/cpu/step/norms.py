"""Norms that updates are held to: that of the whole gradient, and that of each column of W.

For the first, tiles keep their gradients, and the squares of each piece of a tile are added up in a
place of its own; when all are there, the pieces are added in their order. A column is added up by
one thread from its first number to its last. So both are the same bits however tiles are cut.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.rules.updates import CLIP_EPSILON, NORM_EPSILON
from fastnn.targets.cpu.kinds import LINEAR
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, U
from fastnn.targets.cpu.plan import KEPT, LAYER_KIND, NARROW, PARTS
from fastnn.targets.cpu.products.dot import make_squares
from fastnn.targets.cpu.products.gemm import ONE, ZERO
from fastnn.targets.cpu.scalars import CLIP_NORM, CLIP_SCALE, COLUMN_NORM, SHARE
from fastnn.targets.cpu.step.between_steps import layer_number
from fastnn.targets.cpu.step.per_unit import KINDS
from fastnn.targets.cpu.views import head_of, layers_of, make_view, numbers_of, parts_of, tiles_of
from fastnn.targets.fields import MEAN_SLOT, WEIGHTS, K, N

# Squares of numbers that are this much smaller do not overflow. A power of two rounds nothing.
UNIT = 2.0**-540


def make_norms(
    dtype: np.dtype, panel: int, width_of: Any, place_of: Any, keep_transposed: Any
) -> SimpleNamespace:
    """Return the steps of clipping by norm, and of limiting columns, for one dtype.

    add_squares(job, layer, i0, i1, p, unit): the sums of squares of the pieces of a tile.
    end_gradient(job): add all of them up, and set the scale of this step's gradient.
    set_scale(job, total, unit): the second half of that, for one thread without tiles.
    squares(memory, at, count, unit): sum of the squares of `unit` times each number, in float64.
    clip_column(job, at, count, stride, limit, total): scale a column of W if its norm is above
    the limit, and return whether it was; `total` is the sum of its squares.
    clip_columns(job, layer, p, me): that for the columns in panel p of a layer.
    """
    real = dtype.type
    one = real(1)
    memory_of, squares = make_view("memory", dtype), make_squares(dtype)

    @njit(**EXACT)
    def add_squares(job, layer, i0, i1, p, unit):
        memory, head, layers, parts = memory_of(job), head_of(job), layers_of(job), parts_of(job)
        k, n = layers[layer, K], layers[layer, N]
        width, chunks = width_of(p, n), (k + panel - 1) // panel
        if layers[layer, LAYER_KIND] != LINEAR:
            chunks = ZERO
        part = layers[layer, PARTS] + p * (chunks + 1)
        narrow = layers[layer, NARROW] >= 0
        weights = head[KEPT] + layers[layer, WEIGHTS] + p * panel * (k + 1)
        for i in range(i0, i1, panel):
            inputs, total = min(panel, i1 - i), 0.0
            if narrow:
                for j in range(n):
                    total += squares(memory, weights + j * k + i, inputs, unit)
            else:
                total = squares(memory, weights + i * width, inputs * width, unit)
            parts[U(part + i // panel)] = total
        if i1 == k:
            total = 0.0
            for kind in range(KINDS):
                at = place_of(job, layer, p, kind)
                if at >= 0:
                    total += squares(memory, head[KEPT] + at, width, unit)
            parts[U(part + chunks)] = total

    @njit(**EXACT)
    def set_scale(job, total, unit):
        """Set c / (norm + epsilon), or 1 where that is more.

        `total` is the sum of the squares of `unit` times each number of the gradient. Where that is
        not finite, the scale is NaN, and so become all parameters.
        """
        numbers = numbers_of(job)
        scale = numbers[CLIP_NORM] * unit / (math.sqrt(total) + CLIP_EPSILON * unit)
        numbers[CLIP_SCALE] = min(1.0, scale) if math.isfinite(total) else math.nan

    @njit(**EXACT)
    def sum_of_parts(job):
        parts, total = parts_of(job), 0.0
        for i in range(layers_of(job)[0, PARTS], len(parts)):
            total += parts[U(i)]
        return total

    @njit(**EXACT)
    def end_gradient(job):
        total, unit = sum_of_parts(job), 1.0
        if not math.isfinite(total):
            # In float64 the squares of finite numbers can overflow; rarely, so one thread sees to
            # it alone.
            tiles, unit = tiles_of(job), UNIT
            for t in range(len(tiles)):
                layer, i0, i1 = tiles[t, 0], tiles[t, 1], tiles[t, 2]
                for p in range(tiles[t, 3], tiles[t, 4]):
                    add_squares(job, layer, i0, i1, p, unit)
            total = sum_of_parts(job)
        set_scale(job, total, unit)

    @njit(**EXACT)
    def clip_column(job, at, count, stride, limit, total):
        memory, head, numbers = memory_of(job), head_of(job), numbers_of(job)
        unit = 1.0
        if not math.isfinite(total):
            unit, total = UNIT, 0.0
            for i in range(count):
                x = unit * np.float64(memory[U(at + i * stride)])
                total += x * x
        norm = math.sqrt(total)
        if norm <= limit * unit:
            return False
        factor = real(limit * unit / (norm + NORM_EPSILON * unit))
        if head[MEAN_SLOT] > 0:
            # The mean has taken in what the rule made of w; it is of what the limit makes of it.
            share, mean = real(numbers[SHARE]), at + head[MEAN_SLOT]
            for i in range(count):
                w, s = memory[U(at + i * stride)], memory[U(mean + i * stride)]
                s = w * factor if share == one else s + share * (w * factor - w)
                memory[U(mean + i * stride)] = s
        for i in range(count):
            memory[U(at + i * stride)] *= factor
        return True

    @njit(**EXACT)
    def clip_columns(job, layer, p, me):
        memory, layers, parts = memory_of(job), layers_of(job), parts_of(job)
        k, n, at = layers[layer, K], layers[layer, N], layers[layer, WEIGHTS]
        limit = layer_number(job, layer, COLUMN_NORM)
        if layers[layer, NARROW] >= 0:
            for column in range(at, at + n * k, k):
                clip_column(job, column, k, ONE, limit, squares(memory, column, k, 1.0))
            return
        width, sums, scaled = width_of(p, n), me * panel, False
        at += p * panel * (k + 1)
        for c in range(width):
            parts[U(sums + c)] = 0.0
        for i in range(at, at + k * width, width):
            for c in range(width):
                x = np.float64(memory[U(i + c)])
                parts[U(sums + c)] += x * x
        for c in range(width):
            if clip_column(job, at + c, k, width, limit, parts[U(sums + c)]):
                scaled = True
        if scaled:
            keep_transposed(job, layer, ZERO, k, p, p + 1)

    return SimpleNamespace(
        add_squares=add_squares,
        end_gradient=end_gradient,
        set_scale=set_scale,
        squares=squares,
        clip_column=clip_column,
        clip_columns=clip_columns,
    )
