"""Normalization on a block of rows, forward and backward, and the running statistics of columns.

All arrays are panels in `memory` at the offsets of the plan (see `fastnn.targets.cpu.plan` for the
names). Rows are summed as softmax sums them. Columns are summed over all rows of the batch by one
thread, in float64, from the first to the last. So both are the same bits however tiles are cut.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.targets.cpu.kinds import BY_COLUMNS, BY_ROWS
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, U
from fastnn.targets.cpu.plan import (
    BETA,
    CAPACITY,
    GAMMA,
    LAYER_KIND,
    MEAN,
    PADDING,
    ROW_SCRATCH,
    STATISTICS,
    VARIANCE,
    X_HAT,
)
from fastnn.targets.cpu.views import head_of, layers_of, make_view, parts_of
from fastnn.targets.fields import DELTA, INPUT, LAYERS, MEAN_SLOT, OUTPUT, N

# What is kept of each column of a batch at STATISTICS, one vector (n,) after another: mean,
# variance and 1 / sqrt(variance + epsilon) of x; the means of delta and of delta x_hat.
VARIANCES, INVERSES, DELTA_MEANS, SLOPE_MEANS = range(1, 5)


def make_normalization(dtype: np.dtype, panel: int, gemm: Any, lanes: Any) -> SimpleNamespace:
    """Return the steps of normalization for one dtype.

    normalize(job, layer, r0, r1, p0, p1, own, me): write z of rows r0..r1 and panels p0..p1: of
    all panels where rows are normalized, and in training of all rows where columns are.
    normalize_back(job, layer, r0, r1, p0, p1, me): turn delta into the derivative by the layer's
    input, for the same rows and panels.
    weigh(job, layer, p, samples): multiply x_hat by delta, so that its sums are the derivative by
    gamma, in panel p.
    move(job, layer, p, samples): take the batch's statistics into the running ones, in panel p.
    """
    real = dtype.type
    one, width_of, padded = real(1), gemm.width_of, gemm.padded
    total, shift_rows = lanes.total, lanes.shift_rows
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)

    @njit(**EXACT)
    def normalize_rows(job, layer, r0, r1, own):
        memory, alphas, head, layers = memory_of(job), alphas_of(job), head_of(job), layers_of(job)
        n, rows, padding = layers[layer, N], head[CAPACITY], head[PADDING]
        epsilon, share = alphas[2 * head[LAYERS] + layer], one / real(n)
        x_hat, out = layers[layer, X_HAT], layers[layer, OUTPUT]
        means, inverses, panels = (
            head[ROW_SCRATCH],
            layers[layer, STATISTICS],
            (n + panel - 1) // panel,
        )
        total(memory, layers[layer, INPUT] + own, rows, n, r0, r1, padding, means)
        for r in range(r0, r1):
            memory[U(means + r)] *= share
        shift_rows(memory, x_hat, layers[layer, INPUT] + own, rows, n, r0, r1, padding, means)
        for p in range(panels):
            width, start = width_of(p, n), p * panel * rows
            for i in range(start + r0 * width, start + r1 * width):
                memory[U(out + i)] = memory[U(x_hat + i)] * memory[U(x_hat + i)]
        total(memory, out, rows, n, r0, r1, padding, inverses)
        for r in range(r0, r1):
            variance = memory[U(inverses + r)] * share
            memory[U(inverses + r)] = one / real(math.sqrt(variance + epsilon))
        for p in range(panels):
            width, start = width_of(p, n), p * panel * rows
            gamma, beta = layers[layer, GAMMA] + p * panel, layers[layer, BETA] + p * panel
            for r in range(r0, r1):
                at, inverse = start + r * width, memory[U(inverses + r)]
                for c in range(width):  # padding is zero in all of them
                    value = memory[U(x_hat + at + c)] * inverse
                    memory[U(x_hat + at + c)] = value
                    value = memory[U(gamma + c)] * value + memory[U(beta + c)]
                    memory[U(out + at + c)] = value

    @njit(**EXACT)
    def normalize_rows_back(job, layer, r0, r1):
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        n, rows, padding = layers[layer, N], head[CAPACITY], head[PADDING]
        delta, x_hat, out = layers[layer, DELTA], layers[layer, X_HAT], layers[layer - 1, DELTA]
        products, sums = head[ROW_SCRATCH] + rows, head[ROW_SCRATCH]
        share, panels = one / real(n), (n + panel - 1) // panel
        for p in range(panels):
            width, start, gamma = width_of(p, n), p * panel * rows, layers[layer, GAMMA] + p * panel
            for r in range(r0, r1):
                at = start + r * width
                for c in range(width):
                    g = memory[U(gamma + c)] * memory[U(delta + at + c)]
                    memory[U(out + at + c)] = g * memory[U(x_hat + at + c)]
        total(memory, out, rows, n, r0, r1, padding, products)
        for p in range(panels):
            width, start, gamma = width_of(p, n), p * panel * rows, layers[layer, GAMMA] + p * panel
            for r in range(r0, r1):
                at = start + r * width
                for c in range(width):
                    memory[U(out + at + c)] = memory[U(gamma + c)] * memory[U(delta + at + c)]
        total(memory, out, rows, n, r0, r1, padding, sums)
        for p in range(panels):
            width, start, columns = width_of(p, n), p * panel * rows, min(panel, n - p * panel)
            for r in range(r0, r1):
                at, inverse = start + r * width, memory[U(layers[layer, STATISTICS] + r)]
                mean, slope = memory[U(sums + r)] * share, memory[U(products + r)] * share
                for c in range(columns):  # padding stays zero
                    g = memory[U(out + at + c)] - mean - memory[U(x_hat + at + c)] * slope
                    memory[U(out + at + c)] = inverse * g

    @njit(**EXACT)
    def column_mean(job, at, height, width, columns, to, me):
        """Write the mean of each column of a panel, of `height` rows, summed in float64."""
        memory, parts, sums = memory_of(job), parts_of(job), me * panel
        for c in range(columns):
            parts[U(sums + c)] = 0.0
        for i in range(at, at + height * width, width):
            for c in range(columns):
                parts[U(sums + c)] += np.float64(memory[U(i + c)])
        for c in range(columns):
            memory[U(to + c)] = real(parts[U(sums + c)] / float(height))

    @njit(**EXACT)
    def column_product(job, at, other, height, width, columns, to, me):
        """Write the mean of the products of two such columns."""
        memory, parts, sums = memory_of(job), parts_of(job), me * panel
        for c in range(columns):
            parts[U(sums + c)] = 0.0
        for i in range(0, height * width, width):
            for c in range(columns):
                product = memory[U(at + i + c)] * memory[U(other + i + c)]
                parts[U(sums + c)] += np.float64(product)
        for c in range(columns):
            memory[U(to + c)] = real(parts[U(sums + c)] / float(height))

    @njit(**EXACT)
    def normalize_columns(job, layer, r0, r1, p0, p1, own, me):
        memory, alphas, head, layers = memory_of(job), alphas_of(job), head_of(job), layers_of(job)
        n, rows, apart = layers[layer, N], head[CAPACITY], padded(layers[layer, N])
        epsilon = alphas[2 * head[LAYERS] + layer]
        for p in range(p0, p1):
            width, columns = width_of(p, n), min(panel, n - p * panel)
            start, height = p * panel * rows + r0 * width, r1 - r0
            x, x_hat = layers[layer, INPUT] + own + start, layers[layer, X_HAT] + start
            out = layers[layer, OUTPUT] + start
            gamma, beta = layers[layer, GAMMA] + p * panel, layers[layer, BETA] + p * panel
            mean = layers[layer, STATISTICS] + p * panel
            variance, inverse = mean + VARIANCES * apart, mean + INVERSES * apart
            column_mean(job, x, height, width, columns, mean, me)
            for i in range(0, height * width, width):
                for c in range(columns):
                    memory[U(x_hat + i + c)] = memory[U(x + i + c)] - memory[U(mean + c)]
            column_product(job, x_hat, x_hat, height, width, columns, variance, me)
            for c in range(columns):
                memory[U(inverse + c)] = one / real(math.sqrt(memory[U(variance + c)] + epsilon))
            for i in range(0, height * width, width):
                for c in range(columns):
                    value = memory[U(x_hat + i + c)] * memory[U(inverse + c)]
                    memory[U(x_hat + i + c)] = value
                    value = memory[U(gamma + c)] * value + memory[U(beta + c)]
                    memory[U(out + i + c)] = value

    @njit(**EXACT)
    def predict_columns(job, layer, r0, r1, p0, p1):
        """Normalize by the running statistics."""
        memory, alphas, head, layers = memory_of(job), alphas_of(job), head_of(job), layers_of(job)
        n, rows, epsilon = layers[layer, N], head[CAPACITY], alphas[2 * head[LAYERS] + layer]
        for p in range(p0, p1):
            width, start = width_of(p, n), p * panel * rows
            for c in range(min(panel, n - p * panel)):
                unit = p * panel + c
                mean, gamma = (
                    memory[U(layers[layer, MEAN] + unit)],
                    memory[U(layers[layer, GAMMA] + unit)],
                )
                variance, beta = (
                    memory[U(layers[layer, VARIANCE] + unit)],
                    memory[U(layers[layer, BETA] + unit)],
                )
                inverse = one / real(math.sqrt(variance + epsilon))
                for r in range(r0, r1):
                    at = start + r * width + c
                    x_hat = (memory[U(layers[layer, INPUT] + at)] - mean) * inverse
                    memory[U(layers[layer, OUTPUT] + at)] = gamma * x_hat + beta

    @njit(**EXACT)
    def normalize_columns_back(job, layer, r0, r1, p0, p1, me):
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        n, rows, apart = layers[layer, N], head[CAPACITY], padded(layers[layer, N])
        for p in range(p0, p1):
            width, columns = width_of(p, n), min(panel, n - p * panel)
            start, height = p * panel * rows + r0 * width, r1 - r0
            delta, x_hat = layers[layer, DELTA] + start, layers[layer, X_HAT] + start
            out, gamma = layers[layer - 1, DELTA] + start, layers[layer, GAMMA] + p * panel
            statistics = layers[layer, STATISTICS] + p * panel
            inverse, mean = statistics + INVERSES * apart, statistics + DELTA_MEANS * apart
            slope = statistics + SLOPE_MEANS * apart
            column_mean(job, delta, height, width, columns, mean, me)
            column_product(job, delta, x_hat, height, width, columns, slope, me)
            for i in range(0, height * width, width):
                for c in range(columns):
                    share = memory[U(mean + c)] + memory[U(x_hat + i + c)] * memory[U(slope + c)]
                    factor = memory[U(gamma + c)] * memory[U(inverse + c)]
                    memory[U(out + i + c)] = factor * (memory[U(delta + i + c)] - share)

    @njit(**EXACT)
    def normalize(job, layer, r0, r1, p0, p1, own, me):
        layers = layers_of(job)
        if layers[layer, LAYER_KIND] == BY_ROWS:
            normalize_rows(job, layer, r0, r1, own)
        elif layers[layer, STATISTICS] >= 0:
            normalize_columns(job, layer, r0, r1, p0, p1, own, me)
        else:
            predict_columns(job, layer, r0, r1, p0, p1)

    @njit(**EXACT)
    def normalize_back(job, layer, r0, r1, p0, p1, me):
        if layers_of(job)[layer, LAYER_KIND] == BY_ROWS:
            normalize_rows_back(job, layer, r0, r1)
        else:
            normalize_columns_back(job, layer, r0, r1, p0, p1, me)

    @njit(**EXACT)
    def weigh(job, layer, p, samples):
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        width, start = width_of(p, layers[layer, N]), p * panel * head[CAPACITY]
        x_hat, delta = layers[layer, X_HAT] + start, layers[layer, DELTA] + start
        for i in range(samples * width):
            memory[U(x_hat + i)] *= memory[U(delta + i)]

    @njit(**EXACT)
    def move(job, layer, p, samples):
        memory, alphas, head, layers = memory_of(job), alphas_of(job), head_of(job), layers_of(job)
        if layers[layer, LAYER_KIND] != BY_COLUMNS:
            return
        n, momentum = layers[layer, N], alphas[3 * head[LAYERS] + layer]
        unbiased = real(float(samples) / float(samples - 1))
        for unit in range(p * panel, min(n, (p + 1) * panel)):
            batch = layers[layer, STATISTICS] + unit
            mean, variance = layers[layer, MEAN] + unit, layers[layer, VARIANCE] + unit
            change = memory[U(batch)] - memory[U(mean)]
            memory[U(mean)] += momentum * change
            change = memory[U(batch + VARIANCES * padded(n))] * unbiased - memory[U(variance)]
            memory[U(variance)] += momentum * change
            if head[MEAN_SLOT] > 0:  # the mean of the parameters has them as they are
                memory[U(mean + head[MEAN_SLOT])] = memory[U(mean)]
                memory[U(variance + head[MEAN_SLOT])] = memory[U(variance)]

    return SimpleNamespace(
        normalize=normalize, normalize_back=normalize_back, weigh=weigh, move=move
    )
