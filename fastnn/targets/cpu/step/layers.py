"""The layers on a block of rows: forward, the loss, and backward.

A block of rows passes through all of them without waiting for another block. All arrays are panels
in `memory` at the offsets of the plan (see `fastnn.targets.cpu.plan` for the names).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.rules.table import ACTIVATION_CODES, CUSTOM, LOSS_CODES
from fastnn.targets.cpu.kinds import LINEAR, PERIODIC
from fastnn.targets.cpu.llvm.function_pointers import call_row_losses
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, MERGED, U
from fastnn.targets.cpu.llvm.transpose import make_transpose
from fastnn.targets.cpu.plan import (
    ACTIVATION,
    CAPACITY,
    CLASSES,
    IDENTITY,
    IN_PLACE,
    LAYER_KIND,
    LOOK_ROWS,
    LOSS,
    MASK,
    NARROW,
    ONES,
    OWN_DERIVATIVE,
    OWN_LOSS_GRADIENTS,
    OWN_LOSSES,
    OWN_ROW_LOSSES,
    OWN_SCRATCH,
    OWN_SCRATCH_SIZE,
    OWN_VALUE,
    PACKED,
    PACKED_SIZE,
    PADDING,
    PRIVATE,
    PRIVATE_SIZE,
    ROUNDED,
    ROW_SCALE,
    ROW_SCRATCH,
    SLOPES,
    SPARSE,
    TARGETS,
    THREADS,
    TRAINABLE,
    TRANSPOSED,
)
from fastnn.targets.cpu.products.gemm import CONTINUE, ZERO
from fastnn.targets.cpu.scalars import INVERSE_WEIGHT
from fastnn.targets.cpu.shares import rows_of
from fastnn.targets.cpu.step.between_steps import rows_ahead
from fastnn.targets.cpu.step.first_rows import caller_rows
from fastnn.targets.cpu.step.slopes import make_draw_slopes, make_prelu
from fastnn.targets.cpu.views import (
    head_of,
    layers_of,
    make_view,
    nonzero_of,
    numbers_of,
    order_of,
    row_loss_of,
    target_weights_of,
)
from fastnn.targets.fields import (
    BATCH,
    DELTA,
    INPUT,
    LAYERS,
    NEEDS_Z,
    OUTPUT,
    WEIGHTED,
    WEIGHTS,
    K,
    N,
    Z,
)

SOFTMAX, HARDMAX = ACTIVATION_CODES["softmax"], ACTIVATION_CODES["hardmax"]
SOFTMAX_CROSS_ENTROPY = LOSS_CODES["softmax_cross_entropy"]


def make_layers(
    dtype: np.dtype,
    panel: int,
    gemm: Any,
    rounded: Any,
    narrow: Any,
    first_rows: Any,
    find_tiles: Any,
    rules: Any,
    lanes: Any,
    softmax: Any,
    normalization: Any,
    periodic: Any,
    sparse_forward: Any,
) -> SimpleNamespace:
    """Return linear_forward, loss_rows, linear_backward and keep_transposed for one dtype."""
    real = dtype.type
    zero, one = real(0), real(1)
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)
    width_of, multiply, multiply_caller = gemm.width_of, gemm.multiply, gemm.multiply_caller
    multiply_rounded, multiply_back = rounded.multiply, rounded.multiply_transposed
    k_block, activate, multiply_derivative = gemm.block, rules.activate, rules.multiply_derivative
    losses, loss_gradients = rules.losses, rules.loss_gradients
    total, scale_rows = lanes.total, lanes.scale_rows
    softmax_forward, softmax_backward = softmax.softmax_forward, softmax.softmax_backward
    hardmax_forward, draw_slopes = softmax.hardmax_forward, make_draw_slopes(dtype, panel, width_of)
    prelu, cross_entropy_rows = make_prelu(dtype, panel, width_of), softmax.cross_entropy_rows
    soft_cross_entropy_rows = softmax.soft_cross_entropy_rows
    prelu_forward, prelu_backward = prelu.prelu_forward, prelu.prelu_backward
    normalize, normalize_back = normalization.normalize, normalization.normalize_back
    periodic_forward, periodic_back = periodic.forward, periodic.back
    add_rows = narrow.forward
    lane_count, transpose_block = np.int64(panel // 2), make_transpose(dtype)

    @njit(**MERGED)
    def narrow_forward(job, first, r0, r1, own):
        """Write x W + b for rows r0..r1 of a first layer whose weights are kept transposed."""
        memory, layers = memory_of(job), layers_of(job)
        k, n, w, bias, out = (
            layers[0, K], layers[0, N], layers[0, WEIGHTS], layers[0, NARROW], layers[0, OUTPUT],
        )  # fmt: skip
        width = width_of(ZERO, n)
        for r in range(r0, r1):
            for c in range(width):
                memory[U(out + r * width + c)] = memory[U(bias + c)]
        order, base, address, stride = first_rows(job, first, own)
        add_rows(
            memory, order, base, rows_ahead(job, first + r1), address, stride, k, w, k, n, out,
            width, r0, r1,
        )  # fmt: skip

    @njit(**EXACT)
    def clear_padding(memory, at, n, p, count):
        """Write zeros to what is no unit in `count` rows of panel p at `at`.

        What a user-defined function makes of them may be no number, which sums over the batch would
        carry into W and the numbers of the units, and those into products.
        """
        width, columns = width_of(p, n), min(panel, n - p * panel)
        for r in range(count):
            for c in range(columns, width):
                memory[U(at + r * width + c)] = zero

    @njit(**EXACT)
    def activate_outputs(job, layer, first, r0, r1, p0, p1):
        """Put activation(z) in the place of z for rows r0..r1 and panels p0..p1 of the outputs."""
        memory, alphas, head, layers = memory_of(job), alphas_of(job), head_of(job), layers_of(job)
        n, rows, out = layers[layer, N], head[CAPACITY], layers[layer, OUTPUT]
        if layers[layer, ACTIVATION] == SOFTMAX:
            softmax_forward(job, out, n, r0, r1)
        elif layers[layer, ACTIVATION] == HARDMAX:
            hardmax_forward(job, out, n, r0, r1)
        elif layers[layer, SLOPES] >= 0:
            draw_slopes(job, layer, first, r0, r1, p0, p1)
        elif layers[layer, TRAINABLE] >= 0:
            prelu_forward(job, layer, r0, r1, p0, p1)
        elif layers[layer, ACTIVATION] != IDENTITY:
            for p in range(p0, p1):
                width = width_of(p, n)
                at = p * panel * rows + r0 * width
                count = (r1 - r0) * width
                if layers[layer, NEEDS_Z] == 1:
                    for i in range(at, at + count):
                        memory[U(layers[layer, Z] + i)] = memory[U(out + i)]
                activate(
                    layers[layer, ACTIVATION], layers[layer, OWN_VALUE], memory, out + at, count,
                    alphas[layer],
                )  # fmt: skip
                if layers[layer, ACTIVATION] == CUSTOM:
                    clear_padding(memory, out + at, n, p, r1 - r0)

    @njit(**EXACT)
    def linear_forward(job, layer, first, r0, r1, p0, p1, own, me):
        """Write activation(x W + b) for rows r0..r1 and panels p0..p1 of a layer's outputs.

        Where the layer is a normalization, that of x takes the place of x W + b, and likewise x and
        its cosines. x is `own` numbers beyond the layer's inputs: a thread's own copy of them; or,
        for the first layer, the caller's rows order[first + r], where they can be read in place or
        are sparse. Copies of these that lie as they would are read in the same way.
        """
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, rows = layers[layer, K], layers[layer, N], head[CAPACITY]
        out = layers[layer, OUTPUT]
        if layers[layer, LAYER_KIND] == PERIODIC:
            periodic_forward(job, layer, r0, r1, own)
        elif layers[layer, LAYER_KIND] != LINEAR:
            normalize(job, layer, r0, r1, p0, p1, own, me)
        elif layer == 0 and head[IN_PLACE] == SPARSE:
            sparse_forward(job, first, r0, r1, p0, p1, me)
        elif layers[layer, NARROW] >= 0:
            narrow_forward(job, first, r0, r1, own)
        elif head[ROUNDED] > 0:
            order, address, stride = caller_rows(job, layer, first)
            multiply_rounded(
                memory, head[ROUNDED], head[PACKED] + me * head[PACKED_SIZE], order, address,
                stride, layers[layer, INPUT] + own, rows, k, r0, r1,
                layers[layer, WEIGHTS], k + 1, k, p0, p1, n, out,
            )  # fmt: skip
        elif layer == 0 and head[IN_PLACE] > 0:
            order, base, address, stride = first_rows(job, first, own)
            samples = rows_of(job, first // head[BATCH])
            size = head[LOOK_ROWS]
            # As many panels as a thread has: together they ask for all rows once.
            group = max(1, ((n + panel - 1) // panel) // head[THREADS])
            for block in range(r0 // size, (r1 + size - 1) // size):
                s0, s1 = max(r0, block * size), min(r1, (block + 1) * size)
                lists, apart, whole = find_tiles(job, first, block, s0, s1, samples, me)
                multiply_caller(
                    memory, order, base, rows_ahead(job, first + s1), group,
                    address, stride, k, nonzero_of(job), lists, apart,
                    whole, s0, s1, layers[layer, WEIGHTS], p0, p1, n, out, rows,
                )  # fmt: skip
        else:
            multiply(
                memory, layers[layer, INPUT] + own, rows, k, r0, r1,
                layers[layer, WEIGHTS], k + 1, k, p0, p1, n, out,
            )  # fmt: skip
        activate_outputs(job, layer, first, r0, r1, p0, p1)

    @njit(**EXACT)
    def to_delta(job, layer, r0, r1, p0, p1):
        """Turn the derivative by the output of a layer into that by its z, in place."""
        memory, alphas, head, layers = memory_of(job), alphas_of(job), head_of(job), layers_of(job)
        n, rows = layers[layer, N], head[CAPACITY]
        if layers[layer, ACTIVATION] == SOFTMAX:
            softmax_backward(job, layers[layer, OUTPUT], layers[layer, DELTA], n, r0, r1)
        elif layers[layer, TRAINABLE] >= 0:
            prelu_backward(job, layer, r0, r1, p0, p1)
        elif layers[layer, ACTIVATION] != IDENTITY:
            drawn = layers[layer, SLOPES]
            for p in range(p0, p1):
                width = width_of(p, n)
                at = p * panel * rows + r0 * width
                if drawn >= 0:
                    for i in range(at, at + (r1 - r0) * width):
                        memory[U(layers[layer, DELTA] + i)] *= memory[U(drawn + i)]
                    continue
                multiply_derivative(
                    layers[layer, ACTIVATION], layers[layer, OWN_DERIVATIVE], memory,
                    layers[layer, Z] + at, layers[layer, OUTPUT] + at, layers[layer, DELTA] + at,
                    (r1 - r0) * width, alphas[layer],
                )  # fmt: skip
                if layers[layer, ACTIVATION] == CUSTOM:
                    clear_padding(memory, layers[layer, DELTA] + at, n, p, r1 - r0)

    @njit(**EXACT)
    def add_weighted(job, first, r0, r1, p):
        """Add w l of the targets of panel p, whose losses l lie in DELTA, to the losses of rows."""
        memory, head, layers, order, weights, row_loss = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            order_of(job),
            target_weights_of(job),
            row_loss_of(job),
        )
        last = head[LAYERS] - 1
        n, rows = layers[last, N], head[CAPACITY]
        width, columns, start = width_of(p, n), min(panel, n - p * panel), p * panel * rows
        for r in range(r0, r1):
            at = order[U(first + r)] * n + p * panel
            for c in range(columns):
                weight = weights[U(at + c)]
                if weight > 0.0:
                    loss = memory[U(layers[last, DELTA] + start + r * width + c)]
                    row_loss[U(r)] += weight * loss

    @njit(**EXACT)
    def scale_targets(job, first, r0, r1, p, inverse, share):
        """Multiply the derivatives in panel p of DELTA by the weights of the targets."""
        memory, head, layers, order, weights = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            order_of(job),
            target_weights_of(job),
        )
        last = head[LAYERS] - 1
        n, rows = layers[last, N], head[CAPACITY]
        width, columns, start = width_of(p, n), min(panel, n - p * panel), p * panel * rows
        for r in range(r0, r1):
            at, d = order[U(first + r)] * n + p * panel, layers[last, DELTA] + start + r * width
            for c in range(width):
                scale = zero
                if c < columns:
                    scale = real(weights[U(at + c)] * inverse) * share
                memory[U(d + c)] = memory[U(d + c)] * scale if scale != zero else zero

    @njit(**EXACT)
    def leave_out(job, r0, r1, p):
        """Give rows of weight 0 no derivative, whatever that of their loss is."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        last = head[LAYERS] - 1
        width = width_of(p, layers[last, N])
        at = layers[last, DELTA] + p * panel * head[CAPACITY]
        for r in range(r0, r1):
            if memory[U(head[ROW_SCALE] + r)] == zero:
                for c in range(width):
                    memory[U(at + r * width + c)] = zero

    @njit(**EXACT)
    def user_loss_rows(job, r0, r1, me):
        """Do what `loss_rows` does where the loss is a user-defined one of the whole row."""
        memory, head, layers, row_loss = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            row_loss_of(job),
        )
        last, rows, sums = head[LAYERS] - 1, head[CAPACITY], head[ROW_SCRATCH]
        d, n = layers[last, DELTA], layers[last, N]
        call_row_losses(
            head[OWN_ROW_LOSSES], memory, layers[last, OUTPUT], head[TARGETS], d, sums,
            head[OWN_SCRATCH] + me * head[OWN_SCRATCH_SIZE], rows, r0, r1, one,
        )  # fmt: skip
        for r in range(r0, r1):
            row_loss[U(r)] = memory[U(sums + r)]
        scale_rows(memory, d, rows, n, r0, r1, head[PADDING], head[ROW_SCALE])
        if head[WEIGHTED] == 1:
            for p in range((n + panel - 1) // panel):
                leave_out(job, r0, r1, p)
        to_delta(job, last, r0, r1, ZERO, (n + panel - 1) // panel)

    @njit(**MERGED)
    def loss_rows(job, first, r0, r1, me):
        """Write the loss of rows r0..r1 and the derivative of the batch's loss by the last z."""
        memory, head, layers, row_loss = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            row_loss_of(job),
        )
        last = head[LAYERS] - 1
        n, rows, alpha = layers[last, N], head[CAPACITY], alphas_of(job)[4 * head[LAYERS]]
        panels = (n + panel - 1) // panel
        if head[LOSS] == SOFTMAX_CROSS_ENTROPY:
            if head[CLASSES] == 1 and alpha == zero:
                cross_entropy_rows(job, first, r0, r1)
            else:
                soft_cross_entropy_rows(job, first, r0, r1, alpha)
            if head[WEIGHTED] == 1:
                for p in range(panels):
                    leave_out(job, r0, r1, p)
            return
        if head[OWN_ROW_LOSSES] != 0:
            user_loss_rows(job, r0, r1, me)
            return
        share, sums, padding, scales = (
            one / real(n),
            head[ROW_SCRATCH],
            head[PADDING],
            head[ROW_SCALE],
        )
        for r in range(r0, r1):
            row_loss[U(r)] = 0.0
            memory[U(scales + r)] *= share
        for p in range(panels):
            width, columns, start = width_of(p, n), min(panel, n - p * panel), p * panel * rows
            at, count, d = start + r0 * width, (r1 - r0) * width, layers[last, DELTA] + start
            p_at, y_at, d_at = (
                layers[last, OUTPUT] + at,
                head[TARGETS] + at,
                layers[last, DELTA] + at,
            )
            # The losses of a panel lie where their derivatives will.
            losses(head[LOSS], head[OWN_LOSSES], memory, p_at, y_at, d_at, count, alpha)
            if head[WEIGHTED] == 2:
                add_weighted(job, first, r0, r1, p)
            else:
                total(memory, d, rows, columns, r0, r1, padding, sums)
                for r in range(r0, r1):
                    row_loss[U(r)] += memory[U(sums + r)]
            own = head[OWN_LOSS_GRADIENTS]
            loss_gradients(head[LOSS], own, memory, p_at, y_at, d_at, count, alpha)
            if head[WEIGHTED] == 2:
                inverse = numbers_of(job)[U(INVERSE_WEIGHT)]
                scale_targets(job, first, r0, r1, p, inverse, share)
            else:
                scale_rows(memory, d, rows, columns, r0, r1, padding, scales)
                if head[WEIGHTED] == 1:
                    leave_out(job, r0, r1, p)
        for r in range(r0, r1):
            row_loss[U(r)] /= n
        to_delta(job, last, r0, r1, ZERO, panels)

    @njit(**EXACT)
    def transpose(job, layer, j0, j1, p, to):
        """Write columns j0..j1 of the W of a layer, inputs of panel p, as rows of that panel."""
        memory, layers = memory_of(job), layers_of(job)
        k, n = layers[layer, K], layers[layer, N]
        width = width_of(p, k)
        inputs = min(width, k - p * panel)
        for j in range(j0, j1, lane_count):
            q = j // panel
            columns = width_of(q, n)
            w = layers[layer, WEIGHTS] + q * panel * (k + 1) + p * panel * columns + j - q * panel
            for i in range(0, width, lane_count):
                block = w + i * columns
                to_block = to + (j - j0) * width + i
                transpose_block(
                    memory, block, columns, min(lane_count, inputs - i), to_block, width,
                    min(lane_count, j1 - j),
                )  # fmt: skip

    @njit(**EXACT)
    def keep_transposed(job, layer, i0, i1, p0, p1):
        """Bring the transposed copy of a tile of W up to date, if there is one."""
        layers = layers_of(job)
        if layers[layer, TRANSPOSED] >= 0:
            k, n = layers[layer, K], layers[layer, N]
            for i in range(i0, i1, panel):
                for p in range(p0, p1):
                    to = layers[layer, TRANSPOSED] + i * n + p * panel * width_of(i // panel, k)
                    transpose(job, layer, p * panel, min(n, (p + 1) * panel), i // panel, to)

    @njit(**EXACT)
    def linear_backward(job, layer, r0, r1, p0, p1, me):
        """Write (delta W^T) mask da/dz: the derivative by z of the layer before, panels p0..p1.

        Where the layer is no linear one, its derivative takes the place of delta W^T.
        """
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, rows = layers[layer, K], layers[layer, N], head[CAPACITY]
        delta, out = layers[layer, DELTA], layers[layer - 1, DELTA]
        zeros = -1 - (head[ONES] + panel)
        if layers[layer, LAYER_KIND] == PERIODIC:
            periodic_back(job, layer, r0, r1)
        elif layers[layer, LAYER_KIND] != LINEAR:
            normalize_back(job, layer, r0, r1, p0, p1, me)
        elif head[ROUNDED] > 0:
            multiply_back(
                memory, head[ROUNDED], head[PACKED] + me * head[PACKED_SIZE], delta, rows, n,
                r0, r1, layers[layer, WEIGHTS], p0, p1, k, out,
            )  # fmt: skip
        elif layers[layer, TRANSPOSED] >= 0:
            multiply(
                memory, delta, rows, n, r0, r1, layers[layer, TRANSPOSED], n, zeros, p0, p1, k, out
            )
        else:
            buffer = head[PRIVATE] + me * head[PRIVATE_SIZE]
            for j0 in range(0, n, k_block):
                count = min(n - j0, k_block)
                for p in range(p0, p1):
                    transpose(job, layer, j0, j0 + count, p, buffer)
                    multiply(
                        memory, delta + j0 * rows, rows, count, r0, r1, buffer - p * panel * count,
                        count, zeros if j0 == 0 else CONTINUE, p, p + 1, k, out,
                    )  # fmt: skip
        if layers[layer, MASK] >= 0:
            for p in range(p0, p1):
                width = width_of(p, k)
                at = p * panel * rows + r0 * width
                for i in range((r1 - r0) * width):
                    memory[U(out + at + i)] *= memory[U(layers[layer, MASK] + at + i)]
        to_delta(job, layer - 1, r0, r1, p0, p1)

    return SimpleNamespace(
        linear_forward=linear_forward,
        activate_outputs=activate_outputs,
        loss_rows=loss_rows,
        linear_backward=linear_backward,
        keep_transposed=keep_transposed,
    )
