"""Softmax of whole rows, as an activation and inside of the cross-entropy; and hardmax.

All arrays are panels in `memory` at the offsets of the plan (see `fastnn.plan` for the names).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.cpu.inner import njit
from fastnn.cpu.rules import EXACT, MERGED, U
from fastnn.cpu.views import classes_of, head_of, layers_of, make_view, order_of, row_loss_of
from fastnn.plan import CAPACITY, DELTA, LAYERS, OUTPUT, PADDING, ROW_SCALE, ROW_SCRATCH, N


def make_softmax(
    dtype: np.dtype, panel: int, gemm: Any, lanes: Any, elementary: Any
) -> SimpleNamespace:
    """Return softmax_forward and _backward, hardmax_forward and cross_entropy_rows of a dtype."""
    real = dtype.type
    zero, one, lowest = real(0), real(1), real(-np.inf)
    width_of, exp, log = gemm.width_of, elementary.exp, elementary.log
    largest, total = lanes.largest, lanes.total
    shift_rows, scale_rows = lanes.shift_rows, lanes.scale_rows
    memory_of = make_view("memory", dtype)

    @njit(**EXACT)
    def exponentials(memory, to, at, rows, n, r0, r1, padding, scratch):
        """Write exp(z - max z), 1 in padding; `scratch` gets max z of each row, then the sums."""
        largest(memory, at, rows, n, r0, r1, padding, scratch)
        shift_rows(memory, to, at, rows, n, r0, r1, padding, scratch)
        for p in range((n + panel - 1) // panel):
            width = width_of(p, n)
            start = to + p * panel * rows
            for i in range(start + r0 * width, start + r1 * width):
                memory[U(i)] = exp(memory[U(i)])
        total(memory, to, rows, n, r0, r1, padding, scratch + rows)

    @njit(**EXACT)
    def softmax_forward(job, at, n, r0, r1):
        memory, head = memory_of(job), head_of(job)
        rows, scratch = head[CAPACITY], head[ROW_SCRATCH]
        exponentials(memory, at, at, rows, n, r0, r1, head[PADDING], scratch)
        for i in range(scratch + rows + r0, scratch + rows + r1):
            memory[U(i)] = one / memory[U(i)]
        scale_rows(memory, at, rows, n, r0, r1, head[PADDING], scratch + rows)

    @njit(**EXACT)
    def softmax_backward(job, a, d, n, r0, r1):
        """Turn dL/da into dL/dz = a dL/da - a sum_j a_j dL/da_j in place."""
        memory, head = memory_of(job), head_of(job)
        rows, sums = head[CAPACITY], head[ROW_SCRATCH]
        for p in range((n + panel - 1) // panel):
            width = width_of(p, n)
            start = p * panel * rows
            for i in range(start + r0 * width, start + r1 * width):
                memory[U(d + i)] *= memory[U(a + i)]
        total(memory, d, rows, n, r0, r1, head[PADDING], sums)
        for p in range((n + panel - 1) // panel):
            width = width_of(p, n)
            for r in range(r0, r1):
                at, share = p * panel * rows + r * width, memory[U(sums + r)]
                for c in range(width):
                    memory[U(d + at + c)] -= memory[U(a + at + c)] * share

    @njit(**MERGED)
    def hardmax_forward(job, at, n, r0, r1):
        """Write 1 for the first of the largest z of each row, 0 for the others; NaN stays NaN."""
        memory, rows = memory_of(job), head_of(job)[CAPACITY]
        for r in range(r0, r1):
            largest_z, place = lowest, 0
            for c in range(n):
                p = c // panel
                z = memory[U(at + p * panel * rows + r * width_of(p, n) + c - p * panel)]
                if z > largest_z:
                    largest_z, place = z, c
            for c in range(n):
                p = c // panel
                cell = at + p * panel * rows + r * width_of(p, n) + c - p * panel
                if memory[U(cell)] == memory[U(cell)]:
                    memory[U(cell)] = one if c == place else zero

    @njit(**EXACT)
    def cross_entropy_rows(job, first, r0, r1):
        memory, head, layers, order, classes, row_loss = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            order_of(job),
            classes_of(job),
            row_loss_of(job),
        )
        last = head[LAYERS] - 1
        n, rows = layers[last, N], head[CAPACITY]
        z, d = layers[last, OUTPUT], layers[last, DELTA]
        scratch = head[ROW_SCRATCH]
        exponentials(memory, d, z, rows, n, r0, r1, head[PADDING], scratch)
        # scratch: largest z -> log-sum-exp;
        # sum of exponentials -> what turns exponentials into the gradient
        for i in range(scratch + r0, scratch + r1):
            memory[U(i)] += log(memory[U(i + rows)])
        for r in range(r0, r1):
            memory[U(scratch + rows + r)] = (
                memory[U(head[ROW_SCALE] + r)] / memory[U(scratch + rows + r)]
            )
        scale_rows(memory, d, rows, n, r0, r1, head[PADDING], scratch + rows)
        for r in range(r0, r1):
            label = classes[U(order[U(first + r)])]
            p = label // panel
            at = p * panel * rows + r * width_of(p, n) + label % panel
            memory[U(d + at)] -= memory[U(head[ROW_SCALE] + r)]
            row_loss[U(r)] = memory[U(scratch + r)] - memory[U(z + at)]

    return SimpleNamespace(
        softmax_forward=softmax_forward,
        softmax_backward=softmax_backward,
        hardmax_forward=hardmax_forward,
        cross_entropy_rows=cross_entropy_rows,
    )
