"""The operations of a minibatch: gather, forward, loss, backward, each on a block of its rows.

A block of rows passes through all of them without waiting for another block. All arrays are panels
in `memory` at the offsets of the plan (see `fastnn.plan` for the names).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import njit

from fastnn.cpu.gemm import CONTINUE, ZERO
from fastnn.cpu.intrinsics import load_float32, load_float64
from fastnn.cpu.job import (
    classes_of,
    head_of,
    keys_of,
    layers_of,
    make_view,
    order_of,
    row_loss_of,
    sources_of,
    weights_of,
)
from fastnn.cpu.rules import EXACT, FAST, U
from fastnn.cpu.sources import ADDRESS, COLUMN_STRIDE, COLUMNS, IS_DOUBLE, ROW_STRIDE
from fastnn.cpu.vector import Shape, make_copy
from fastnn.plan import (
    ACTIVATION,
    CAPACITY,
    CLASSES,
    COLUMN_MASK,
    DELTA,
    IN_PLACE,
    INPUT,
    LAYERS,
    LOSS,
    MASK,
    NEEDS_Z,
    ONES,
    OUTPUT,
    PRIVATE,
    PRIVATE_SIZE,
    ROW_SCALE,
    ROW_SCRATCH,
    ROWWISE,
    TARGETS,
    THRESHOLD,
    TRANSPOSED,
    UNDROPPED,
    WEIGHTED,
    WEIGHTS,
    K,
    N,
    Z,
)  # fmt: skip
from fastnn.rules.table import ACTIVATION_CODES, LOSS_CODES

IDENTITY = ACTIVATION_CODES["identity"]
SOFTMAX_CROSS_ENTROPY = LOSS_CODES["softmax_cross_entropy"]
ONE = np.int64(1)


@njit(**EXACT)
def _rotated(x):
    return (x >> np.uint64(32)) | (x << np.uint64(32))


@njit(**EXACT)
def squares32(counter, key):
    """Return 32 random bits: four rounds of middle-square (Widynski 2020, Squares)."""
    x = counter * key
    y = x
    z = y + key
    x = _rotated(x * x + y)
    x = _rotated(x * x + z)
    x = _rotated(x * x + y)
    return (x * x + z) >> np.uint64(32)


def make_layers(
    dtype: np.dtype, shape: Shape, gemm: Any, rules: Any, elementary: Any
) -> SimpleNamespace:
    """Return the operations of a minibatch for one dtype."""
    real = dtype.type
    panel, lanes, copy = shape.panel, shape.lanes, make_copy(dtype)
    zero, one = real(0), real(1)
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)
    width_of, exp, log = gemm.width_of, elementary.exp, elementary.log
    multiply, multiply_caller, k_block = gemm.multiply, gemm.multiply_caller, gemm.block
    activate, multiply_slope = rules.activate, rules.multiply_slope
    loss_wide, loss_narrow = rules.loss_wide, rules.loss_narrow
    own_load, other_load = load_float32, load_float64
    if dtype.itemsize == 8:
        own_load, other_load = load_float64, load_float32
    own_is_double = int(dtype.itemsize == 8)
    itemsize = dtype.itemsize

    @njit(**EXACT)
    def gather_matrix(memory, sources, which, order, first, r0, r1, rows, to):
        """Copy the caller's rows order[U(first + r)] into panels; the only place that reads his arrays."""
        n = sources[which, COLUMNS]
        step = sources[which, COLUMN_STRIDE]
        own = sources[which, IS_DOUBLE] == own_is_double
        for r in range(r0, r1):
            row = order[U(first + r)] if order.size > 0 else first + r
            base = sources[which, ADDRESS] + row * sources[which, ROW_STRIDE]
            if own and step == itemsize:
                for c in range(0, n - lanes + 1, lanes):
                    p = c // panel
                    out = to + p * panel * rows + r * width_of(p, n) + c - p * panel
                    copy(memory, out, base + c * itemsize)
                done = n // lanes * lanes
                p = done // panel
                out = to + p * panel * rows + r * width_of(p, n) - p * panel
                if done > p * panel and done < n:
                    # The last vector overlaps the one before, which lies in the same panel.
                    copy(memory, out + n - lanes, base + (n - lanes) * itemsize)
                else:
                    for c in range(done, n):
                        memory[U(out + c)] = own_load(base + c * itemsize)
                continue
            for p in range((n + panel - 1) // panel):
                out = to + p * panel * rows + r * width_of(p, n) - p * panel
                for c in range(p * panel, min(n, (p + 1) * panel)):
                    if own:
                        memory[U(out + c)] = own_load(base + c * step)
                    else:
                        memory[U(out + c)] = real(other_load(base + c * step))

    @njit(**EXACT)
    def drop(job, l, batch_counter, r0, r1, p0, p1, own):
        """Write inputs * mask for rows r0..r1 and panels p0..p1 of the inputs of layer l.

        mask is 0 with the probability of the rate, 1 / (1 - rate) otherwise; `alphas` has that second.
        """
        memory, alphas, head, layers, keys = (
            memory_of(job),
            alphas_of(job),
            head_of(job),
            layers_of(job),
            keys_of(job),
        )
        k, rows = layers[l, K], head[CAPACITY]
        threshold = np.uint64(layers[l, THRESHOLD])
        key = np.uint64(keys[l])
        factor = alphas[head[LAYERS] + l]
        for p in range(p0, p1):
            width = width_of(p, k)
            for r in range(r0, r1):
                at = p * panel * rows + r * width
                counter = np.uint64(batch_counter * k + r * k + p * panel)
                for c in range(width):
                    bits = squares32(counter + np.uint64(c), key)
                    mask = factor if bits >= threshold else zero
                    memory[U(layers[l, MASK] + at + c)] = mask
                    value = memory[U(layers[l, UNDROPPED] + own + at + c)]
                    memory[U(layers[l, INPUT] + own + at + c)] = value * mask

    @njit(**EXACT)
    def gather_inputs(job, first, r0, r1, own):
        """Bring the inputs of rows r0..r1 of the batch in, `own` numbers beyond the first copy."""
        memory, head, layers, sources, order = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            sources_of(job),
            order_of(job),
        )
        if head[IN_PLACE] == 1:
            return
        gather_matrix(
            memory, sources, ZERO, order, first, r0, r1, head[CAPACITY], layers[0, UNDROPPED] + own
        )
        if layers[0, MASK] >= 0:
            panels = (layers[0, K] + panel - 1) // panel
            drop(job, ZERO, first, r0, r1, ZERO, panels, own)

    @njit(**EXACT)
    def gather_targets(job, first, r0, r1, inverse_weight):
        """Bring the targets of rows r0..r1 in, and their weight in the gradient."""
        memory, head, sources, order, weights = (
            memory_of(job),
            head_of(job),
            sources_of(job),
            order_of(job),
            weights_of(job),
        )
        if head[CLASSES] == 0:
            gather_matrix(memory, sources, ONE, order, first, r0, r1, head[CAPACITY], head[TARGETS])
        for r in range(r0, r1):
            weight = weights[U(order[U(first + r)])] if head[WEIGHTED] == 1 else 1.0
            memory[U(head[ROW_SCALE] + r)] = real(weight * inverse_weight)

    @njit(**FAST)
    def softmax_rows(memory, at, rows, n, r0, r1, scratch):
        """Z -> exp(z - max z) in place; `scratch` gets the largest z of each row, then the sums."""
        panels = (n + panel - 1) // panel
        for r in range(r0, r1):
            largest = memory[U(at + r * width_of(ZERO, n))]
            for p in range(panels):
                row = at + p * panel * rows + r * width_of(p, n)
                for c in range(min(panel, n - p * panel)):
                    z = memory[U(row + c)]
                    largest = z if z > largest else largest
            memory[U(scratch + r)] = largest
        for p in range(panels):
            width = width_of(p, n)
            start = at + p * panel * rows
            for r in range(r0, r1):
                largest = memory[U(scratch + r)]
                for c in range(width):
                    memory[U(start + r * width + c)] -= largest
            for i in range(start + r0 * width, start + r1 * width):
                memory[U(i)] = exp(memory[U(i)])
        for r in range(r0, r1):
            total = zero
            for p in range(panels):
                row = at + p * panel * rows + r * width_of(p, n)
                for c in range(min(panel, n - p * panel)):
                    total += memory[U(row + c)]
            memory[U(scratch + rows + r)] = total

    @njit(**EXACT)
    def softmax_forward(job, at, n, r0, r1):
        memory, head = memory_of(job), head_of(job)
        rows, scratch = head[CAPACITY], head[ROW_SCRATCH]
        softmax_rows(memory, at, rows, n, r0, r1, scratch)
        for p in range((n + panel - 1) // panel):
            width = width_of(p, n)
            for r in range(r0, r1):
                share = one / memory[U(scratch + rows + r)]
                row = at + p * panel * rows + r * width
                for c in range(width):
                    memory[U(row + c)] *= share

    @njit(**FAST)
    def softmax_backward(job, a, d, n, r0, r1):
        """Turn dL/da into dL/dz = a (dL/da - sum_j a_j dL/da_j) in place."""
        memory, head = memory_of(job), head_of(job)
        rows = head[CAPACITY]
        for r in range(r0, r1):
            total = zero
            for p in range((n + panel - 1) // panel):
                at = p * panel * rows + r * width_of(p, n)
                for c in range(min(panel, n - p * panel)):
                    total += memory[U(a + at + c)] * memory[U(d + at + c)]
            for p in range((n + panel - 1) // panel):
                at = p * panel * rows + r * width_of(p, n)
                for c in range(min(panel, n - p * panel)):
                    memory[U(d + at + c)] = memory[U(a + at + c)] * (memory[U(d + at + c)] - total)

    @njit(**EXACT)
    def linear_forward(job, l, first, r0, r1, p0, p1, own):
        """A = activation(x W + b) for rows r0..r1 and panels p0..p1 of layer l.

        x is `own` numbers beyond the layer's inputs: a thread's own copy of them; or, for the first layer,
        the caller's rows order[first + r], where they can be read in place.
        """
        memory, alphas, head, layers = memory_of(job), alphas_of(job), head_of(job), layers_of(job)
        k, n, rows = layers[l, K], layers[l, N], head[CAPACITY]
        out = layers[l, OUTPUT]
        if l == 0 and head[IN_PLACE] == 1:
            sources = sources_of(job)
            multiply_caller(
                memory, order_of(job), first, sources[0, ADDRESS], sources[0, ROW_STRIDE], k, r0, r1,
                layers[l, WEIGHTS], p0, p1, n, out, rows,
            )  # fmt: skip
        else:
            multiply(
                memory, layers[l, INPUT] + own, rows, k, r0, r1, layers[l, WEIGHTS], k + 1, k, p0, p1,
                n, out,
            )  # fmt: skip
        if layers[l, ROWWISE] == 1:
            softmax_forward(job, out, n, r0, r1)
        elif layers[l, ACTIVATION] != IDENTITY:
            for p in range(p0, p1):
                width = width_of(p, n)
                at = p * panel * rows + r0 * width
                count = (r1 - r0) * width
                if layers[l, NEEDS_Z] == 1:
                    for i in range(at, at + count):
                        memory[U(layers[l, Z] + i)] = memory[U(out + i)]
                activate(layers[l, ACTIVATION], memory, out + at, count, alphas[l])

    @njit(**EXACT)
    def to_delta(job, l, r0, r1, p0, p1):
        """Turn the derivative by the output of layer l into that by its z, in place."""
        memory, alphas, head, layers = memory_of(job), alphas_of(job), head_of(job), layers_of(job)
        n, rows = layers[l, N], head[CAPACITY]
        if layers[l, ROWWISE] == 1:
            softmax_backward(job, layers[l, OUTPUT], layers[l, DELTA], n, r0, r1)
        elif layers[l, ACTIVATION] != IDENTITY:
            for p in range(p0, p1):
                width = width_of(p, n)
                at = p * panel * rows + r0 * width
                multiply_slope(
                    layers[l, ACTIVATION], memory, layers[l, Z] + at, layers[l, OUTPUT] + at,
                    layers[l, DELTA] + at, (r1 - r0) * width, alphas[l],
                )  # fmt: skip

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
        for p in range((n + panel - 1) // panel):
            width = width_of(p, n)
            at = p * panel * rows + r0 * width
            for i in range(at, at + (r1 - r0) * width):
                memory[U(d + i)] = memory[U(z + i)]
        softmax_rows(memory, d, rows, n, r0, r1, scratch)
        # scratch: largest z -> log-sum-exp; sum of exponentials -> what turns them into the gradient
        for i in range(scratch + r0, scratch + r1):
            memory[U(i)] += log(memory[U(i + rows)])
        for r in range(r0, r1):
            memory[U(scratch + rows + r)] = (
                memory[U(head[ROW_SCALE] + r)] / memory[U(scratch + rows + r)]
            )
        for p in range((n + panel - 1) // panel):
            width = width_of(p, n)
            real_columns = min(panel, n - p * panel)
            for r in range(r0, r1):
                share = memory[U(scratch + rows + r)]
                at = d + p * panel * rows + r * width
                for c in range(width):
                    memory[U(at + c)] *= share
                for c in range(real_columns, width):
                    memory[U(at + c)] = zero
        for r in range(r0, r1):
            label = classes[U(order[U(first + r)])]
            p = label // panel
            at = p * panel * rows + r * width_of(p, n) + label % panel
            memory[U(d + at)] -= memory[U(head[ROW_SCALE] + r)]
            row_loss[U(r)] = memory[U(scratch + r)] - memory[U(z + at)]

    @njit(**EXACT)
    def loss_rows(job, first, r0, r1):
        """Write the loss of rows r0..r1 and the derivative of the batch's loss by the last z."""
        memory, head, layers, row_loss = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            row_loss_of(job),
        )
        last = head[LAYERS] - 1
        n, rows = layers[last, N], head[CAPACITY]
        panels = (n + panel - 1) // panel
        if head[LOSS] == SOFTMAX_CROSS_ENTROPY:
            cross_entropy_rows(job, first, r0, r1)
            return
        share = one / real(n)
        for r in range(r0, r1):
            row_loss[U(r)] = 0.0
            memory[U(head[ROW_SCALE] + r)] *= share
        for p in range(panels):
            width = width_of(p, n)
            at = p * panel * rows + r0 * width
            p_at, y_at = layers[last, OUTPUT] + at, head[TARGETS] + at
            d_at, mask = layers[last, DELTA] + at, head[COLUMN_MASK] + p * panel
            scale_at = head[ROW_SCALE] + r0
            if width == panel:
                loss_wide(
                    head[LOSS], memory, p_at, y_at, d_at, mask, scale_at, r1 - r0, row_loss, r0
                )
            else:
                loss_narrow(
                    head[LOSS], memory, p_at, y_at, d_at, mask, scale_at, r1 - r0, row_loss, r0
                )
        for r in range(r0, r1):
            row_loss[U(r)] /= n
        to_delta(job, last, r0, r1, ZERO, panels)

    @njit(**EXACT)
    def transpose(job, l, j0, j1, p, to):
        """Write columns j0..j1 of the W of layer l, inputs of panel p, as rows of that panel."""
        memory, layers = memory_of(job), layers_of(job)
        k, n = layers[l, K], layers[l, N]
        width = width_of(p, k)
        inputs = min(width, k - p * panel)
        for q in range(j0 // panel, (j1 + panel - 1) // panel):
            columns = width_of(q, n)
            w = layers[l, WEIGHTS] + q * panel * (k + 1) + p * panel * columns
            for j in range(q * panel, min(j1, (q + 1) * panel)):
                out = to + (j - j0) * width
                for i in range(inputs):
                    memory[U(out + i)] = memory[U(w + i * columns + j - q * panel)]
                for i in range(inputs, width):
                    memory[U(out + i)] = zero

    @njit(**EXACT)
    def linear_backward(job, l, r0, r1, p0, p1, me):
        """Derivative by the z of layer l - 1: (delta W^T) mask slope, panels p0..p1 of its units."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, rows = layers[l, K], layers[l, N], head[CAPACITY]
        delta, out = layers[l, DELTA], layers[l - 1, DELTA]
        zeros = -1 - (head[ONES] + panel)
        if layers[l, TRANSPOSED] >= 0:
            multiply(
                memory, delta, rows, n, r0, r1, layers[l, TRANSPOSED], n, zeros, p0, p1, k, out
            )
        else:
            buffer = head[PRIVATE] + me * head[PRIVATE_SIZE]
            for j0 in range(0, n, k_block):
                count = min(n - j0, k_block)
                for p in range(p0, p1):
                    transpose(job, l, j0, j0 + count, p, buffer)
                    multiply(
                        memory, delta + j0 * rows, rows, count, r0, r1, buffer - p * panel * count,
                        count, zeros if j0 == 0 else CONTINUE, p, p + 1, k, out,
                    )  # fmt: skip
        if layers[l, MASK] >= 0:
            for p in range(p0, p1):
                width = width_of(p, k)
                at = p * panel * rows + r0 * width
                for i in range((r1 - r0) * width):
                    memory[U(out + at + i)] *= memory[U(layers[l, MASK] + at + i)]
        to_delta(job, l - 1, r0, r1, p0, p1)

    return SimpleNamespace(
        gather_matrix=gather_matrix, gather_inputs=gather_inputs, gather_targets=gather_targets, drop=drop, linear_forward=linear_forward, loss_rows=loss_rows,
        linear_backward=linear_backward, transpose=transpose,
    )  # fmt: skip
