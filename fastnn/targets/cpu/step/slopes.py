"""Slopes below 0 that are no constant: rrelu draws them in training, prelu learns one a unit.

Where rrelu predicts, it takes the mean of its slopes, as any activation's rule.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.rules.activations import RRELU_HIGH, RRELU_LOW
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import MERGED, U
from fastnn.targets.cpu.plan import CAPACITY, SLOPES, TRAINABLE
from fastnn.targets.cpu.shares import place_of_batch
from fastnn.targets.cpu.step.gather import squares32
from fastnn.targets.cpu.views import head_of, keys_of, layers_of, make_view
from fastnn.targets.fields import DELTA, LAYERS, OUTPUT, N, Z

SPAN, PER_WORD = RRELU_HIGH - RRELU_LOW, 2.0**-32


def make_draw_slopes(dtype: np.dtype, panel: int, width_of: Any) -> Any:
    """Return draw_slopes for one dtype."""
    real = dtype.type
    zero, one, memory_of = real(0), real(1), make_view("memory", dtype)

    @njit(**MERGED)
    def draw_slopes(job, layer, first, r0, r1, p0, p1):
        """Multiply z of rows r0..r1 and panels p0..p1 by 1 above 0 and by a drawn slope below.

        Slope (r, c) follows from the number of the row within the epoch alone.
        """
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        n, rows, place = layers[layer, N], head[CAPACITY], place_of_batch(job, first)
        key = np.uint64(keys_of(job)[head[LAYERS] + layer])
        for p in range(p0, p1):
            width = width_of(p, n)
            for r in range(r0, r1):
                at = p * panel * rows + r * width
                counter = np.uint64((place + r) * n + p * panel)
                for c in range(width):
                    bits = squares32(counter + np.uint64(c), key)
                    drawn = real(RRELU_LOW + SPAN * (float(np.int64(bits)) * PER_WORD))
                    z = memory[U(layers[layer, OUTPUT] + at + c)]
                    slope = one if z > zero else drawn
                    memory[U(layers[layer, SLOPES] + at + c)] = slope
                    memory[U(layers[layer, OUTPUT] + at + c)] = z * slope

    return draw_slopes


def make_prelu(dtype: np.dtype, panel: int, width_of: Any) -> SimpleNamespace:
    """Return prelu_forward and prelu_backward for one dtype."""
    real = dtype.type
    zero, one, memory_of = real(0), real(1), make_view("memory", dtype)

    @njit(**MERGED)
    def prelu_forward(job, layer, r0, r1, p0, p1):
        """Keep z of rows r0..r1 and panels p0..p1, and multiply it by the unit's slope below 0."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        n, rows = layers[layer, N], head[CAPACITY]
        for p in range(p0, p1):
            width, slopes = width_of(p, n), layers[layer, TRAINABLE] + p * panel
            for r in range(r0, r1):
                at = p * panel * rows + r * width
                for c in range(width):
                    z, slope = memory[U(layers[layer, OUTPUT] + at + c)], memory[U(slopes + c)]
                    memory[U(layers[layer, Z] + at + c)] = z
                    memory[U(layers[layer, OUTPUT] + at + c)] = z * (one if z > zero else slope)

    @njit(**MERGED)
    def prelu_backward(job, layer, r0, r1, p0, p1):
        """Turn delta, the derivative by the output, into that by z, and z into that by the slope.

        dL/dz = dL/da (1 above 0, the slope below);  dL/dslope = dL/da min(0, z), to be summed.
        """
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        n, rows = layers[layer, N], head[CAPACITY]
        for p in range(p0, p1):
            width, slopes = width_of(p, n), layers[layer, TRAINABLE] + p * panel
            for r in range(r0, r1):
                at = p * panel * rows + r * width
                for c in range(width):
                    z, slope = memory[U(layers[layer, Z] + at + c)], memory[U(slopes + c)]
                    delta = memory[U(layers[layer, DELTA] + at + c)]
                    memory[U(layers[layer, Z] + at + c)] = delta * (z if z < zero else zero)
                    memory[U(layers[layer, DELTA] + at + c)] = delta * (one if z > zero else slope)

    return SimpleNamespace(prelu_forward=prelu_forward, prelu_backward=prelu_backward)
