"""Cosines with learned frequencies on a block of rows, forward and backward.

Of n units, the first k are the inputs as they are, unit for unit, and `COSINES` of each of the
first columns follow. Frequency and phase lie where their unit does; those of the first k units are
zero and not read. All arrays are panels in `memory` at the offsets of the plan (see
`fastnn.targets.cpu.plan` for the names).
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.targets.cpu.llvm.columns import make_columns
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, U
from fastnn.targets.cpu.plan import BETA, CAPACITY, COSINES, GAMMA, X_HAT
from fastnn.targets.cpu.views import head_of, layers_of, make_view
from fastnn.targets.fields import DELTA, INPUT, LAYERS, OUTPUT, K, N


def make_periodic(dtype: np.dtype, panel: int, width_of: Any, elementary: Any) -> SimpleNamespace:
    """Return the steps of such a layer for one dtype.

    forward(job, layer, r0, r1, own): write rows r0..r1 of its outputs, and in training at X_HAT
    -2 pi A sin(2 pi (c x + b)), and 0 where there is no cosine. The inputs are `own` numbers
    further on.
    back(job, layer, r0, r1): turn delta into the derivative by the layer's input, for those rows.
    weigh(job, layer, p, samples, own): multiply delta by X_HAT, so that its sums are the derivative
    by the phases, and have delta x at X_HAT, whose sums are that by the frequencies, in panel p.
    """
    real = dtype.type
    zero, slope = real(0), real(-2 * math.pi)
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)
    turn, columns = elementary.turn, make_columns(dtype)
    spread, copy = columns.spread, columns.copy

    @njit(**EXACT)
    def column_at(layers, layer, rows, unit):
        """Return of a cosine's column where it begins, how far apart its rows are, and its end."""
        k, count = layers[layer, K], layers[layer, COSINES]
        column = (unit - k) // count
        p = column // panel
        at = p * panel * rows + column - p * panel
        return at, width_of(p, k), k + (column + 1) * count

    @njit(**EXACT)
    def cosines(memory, at, count, amplitude):
        for i in range(at, at + count):
            memory[U(i)] = amplitude * turn(memory[U(i)])[0]

    @njit(**EXACT)
    def cosines_and_slopes(memory, at, slopes, count, amplitude):
        factor = slope * amplitude
        for i in range(count):
            cosine, sine = turn(memory[U(at + i)])
            memory[U(at + i)], memory[U(slopes + i)] = amplitude * cosine, factor * sine

    @njit(**EXACT)
    def forward(job, layer, r0, r1, own):
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, rows = layers[layer, K], layers[layer, N], head[CAPACITY]
        amplitude = alphas_of(job)[2 * head[LAYERS] + layer]
        x, out, x_hat = layers[layer, INPUT] + own, layers[layer, OUTPUT], layers[layer, X_HAT]
        for p in range((n + panel - 1) // panel):
            width, first, start = width_of(p, n), p * panel, p * panel * rows
            end, at, count = min(n, first + panel), start + r0 * width, (r1 - r0) * width
            # Where there is no cosine, its slope is 0; and padding is never what a call left there.
            if x_hat >= 0 or end < first + width:
                for i in range(out + at, out + at + count):
                    memory[U(i)] = zero
            unit = max(first, k)
            while unit < end:
                column, apart, stop = column_at(layers, layer, rows, unit)
                c, b = layers[layer, GAMMA] + unit, layers[layer, BETA] + unit
                to = out + start + unit - first
                spread(
                    memory, x + column + r0 * apart, apart, c, b, to + r0 * width, width,
                    min(stop, end) - unit, r1 - r0,
                )  # fmt: skip
                unit = stop
            if x_hat >= 0:
                cosines_and_slopes(memory, out + at, x_hat + at, count, amplitude)
            elif end > k:
                cosines(memory, out + at, count, amplitude)
            apart, passing = width_of(p, k), min(panel, k - first)
            if passing > 0:
                copy(
                    memory, x + start + r0 * apart, apart, memory, out + at, width, passing,
                    r1 - r0,
                )  # fmt: skip

    @njit(**EXACT)
    def back(job, layer, r0, r1):
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, rows = layers[layer, K], layers[layer, N], head[CAPACITY]
        delta, x_hat, out = layers[layer, DELTA], layers[layer, X_HAT], layers[layer - 1, DELTA]
        for p in range((k + panel - 1) // panel):
            start, width, apart = p * panel * rows, width_of(p, n), width_of(p, k)
            for r in range(r0, r1):
                for c in range(min(panel, k - p * panel)):  # padding stays zero
                    value = memory[U(delta + start + r * width + c)]
                    memory[U(out + start + r * apart + c)] = value
        for p in range(k // panel, (n + panel - 1) // panel):
            width, first, start = width_of(p, n), p * panel, p * panel * rows
            end, unit = min(n, first + panel), max(first, k)
            while unit < end:
                column, apart, stop = column_at(layers, layer, rows, unit)
                c, at = layers[layer, GAMMA] + unit, start + unit - first
                for r in range(r0, r1):
                    total = zero
                    for i in range(min(stop, end) - unit):
                        through = memory[U(delta + at + r * width + i)]
                        through *= memory[U(x_hat + at + r * width + i)]
                        total += through * memory[U(c + i)]
                    memory[U(out + column + r * apart)] += total
                unit = stop

    @njit(**EXACT)
    def weigh(job, layer, p, samples, own):
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, rows = layers[layer, K], layers[layer, N], head[CAPACITY]
        delta, x_hat, x = layers[layer, DELTA], layers[layer, X_HAT], layers[layer, INPUT] + own
        width, first, start = width_of(p, n), p * panel, p * panel * rows
        end, unit = min(n, first + panel), max(first, k)
        for r in range(samples if first < k else 0):  # units without a phase
            at = delta + start + r * width
            for i in range(at, at + min(unit, end) - first):
                memory[U(i)] = zero
        while unit < end:
            column, apart, stop = column_at(layers, layer, rows, unit)
            at = start + unit - first
            for r in range(samples):
                value = memory[U(x + column + r * apart)]
                for i in range(at + r * width, at + r * width + min(stop, end) - unit):
                    through = memory[U(x_hat + i)] * memory[U(delta + i)]
                    memory[U(delta + i)], memory[U(x_hat + i)] = through, through * value
            unit = stop

    return SimpleNamespace(forward=forward, back=back, weigh=weigh)
