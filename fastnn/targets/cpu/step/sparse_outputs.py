"""One epoch on sparse rows of a model with several outputs and no hidden layer, row by row.

By plain SGD, or by that whose mean of the weights predicts, each output by a loss of its own:

    z_j = x . w_j + b_j;   d_j = dL_j/dz_j;   w_j -= rate d_j x.

W lies in panels, so that an input's weights of all outputs are next to one another, and a number of
X is read once for all of them. What steps do to the weights of inputs that a row does not have
comes later (see `fastnn.targets.cpu.laziness`). A step is too small for several threads.

Outputs may end each for itself: one at rest has no derivative and no part in sums of losses. But
its weights go on being multiplied and cut with those of the others: the engine keeps what they
were, and puts that back.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.rules import ends
from fastnn.targets.cpu.arguments import (
    ADDRESS,
    FIRST_STEP,
    ROW_STRIDE,
    STEP,
    STOP,
)
from fastnn.targets.cpu.laziness import SCALED
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import (
    atomic_load,
    atomic_store,
    load_float32,
    load_float64,
)
from fastnn.targets.cpu.llvm.rule_loops import EXACT, MERGED, U
from fastnn.targets.cpu.plan import (
    ENTRIES,
    ENTRY_BLOCK,
    EPOCH_STEPS,
    LAZY,
    LOSS,
    LOSS_BLOCK,
    OWN_GRADIENT,
    ROW_SCRATCH,
    STEPS,
)
from fastnn.targets.cpu.products.gemm import ONE, ZERO
from fastnn.targets.cpu.products.scattered import make_scattered
from fastnn.targets.cpu.scalars import (
    ALL_NOW,
    GOOD_NOW,
    INVERSE_WEIGHT,
    L1,
    L2,
    NEXT_SCALE,
    PENALTY,
    THROUGH,
)
from fastnn.targets.cpu.step.batch_of_one import make_gradient
from fastnn.targets.cpu.step.between_steps import begin_step, layer_number, layer_rate
from fastnn.targets.cpu.step.settling import make_settling
from fastnn.targets.cpu.step.single_rows import (
    LOSS_ALPHA,
    begin_ends,
    end_all,
    end_output,
    make_add_losses,
    make_move_bias,
)
from fastnn.targets.cpu.step.sparse_rows import entry_input, entry_start
from fastnn.targets.cpu.views import (
    control_of,
    ends_of,
    head_of,
    layers_of,
    make_view,
    nonzero_of,
    numbers_of,
    order_of,
    parts_of,
    sparse_of,
    strided_of,
    target_weights_of,
    weights_of,
)
from fastnn.targets.fields import DELTA, MEAN_SLOT, OUTPUT, WEIGHTED, WEIGHTS, K, N


def make_sparse_outputs(
    dtype: np.dtype, panel: int, width_of: Any, elementary: Any, rules: Any, sparse_rows: Any
) -> SimpleNamespace:
    """Return row_by_row(job), an epoch, and end_outputs(job), what ends one, for one dtype."""
    real = dtype.type
    zero, one = real(0), real(1)
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)
    settling = make_settling(dtype, panel, width_of)
    settle, change_all, make_all_good = settling.settle, settling.change_all, settling.end_all
    gradient, add_losses = make_gradient(real, elementary), make_add_losses(dtype, rules.losses)
    move_bias = make_move_bias(dtype)
    sparse_forward, seek = sparse_rows.sparse_forward, sparse_rows.seek
    add_entries = sparse_rows.add_entries
    _, scatter_wide = make_scattered(dtype, 2)
    _, scatter_slim = make_scattered(dtype, 1)
    own, itemsize = load_float64 if dtype.itemsize == 8 else load_float32, dtype.itemsize

    @njit(**EXACT)
    def derive(job, row, z_at, y_at):
        """Note outputs and targets of a row, write the derivatives, and move the biases."""
        memory, head, layers, ended, strided = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            ends_of(job),
            strided_of(job),
        )
        k, n, out, d = layers[0, K], layers[0, N], layers[0, OUTPUT], layers[0, DELTA]
        last = len(ended) // 2
        code, own_gradient, alpha = head[LOSS], head[OWN_GRADIENT], alphas_of(job)[LOSS_ALPHA]
        weighted, of_targets = head[WEIGHTED], target_weights_of(job)
        target = strided[1, ADDRESS] + row * strided[1, ROW_STRIDE]
        inverse, share = numbers_of(job)[U(INVERSE_WEIGHT)], one / real(n)
        weight = weights_of(job)[U(row)] if weighted == 1 else 1.0
        scale = real(weight * inverse) * share
        for j in range(n):
            z, y = memory[U(out + j)], own(target + j * itemsize)
            memory[U(z_at + j)], memory[U(y_at + j)] = z, y
            resting = ends.HEAD + ends.OF_OUTPUT * j + ends.RESTS
            if last > 0 and ended[U(last + resting)] != 0.0:
                memory[U(d + j)] = zero
                continue
            if weighted == 2:
                scale = real(of_targets[U(row * n + j)] * inverse) * share
            derivative = gradient(code, own_gradient, z, y, alpha)
            derivative = derivative * scale if scale != zero else zero
            memory[U(d + j)] = derivative
            p = j // panel
            bias = layers[0, WEIGHTS] + p * panel * (k + 1) + k * width_of(p, n) + j - p * panel
            move_bias(job, bias, derivative)

    @njit(**EXACT)
    def add_row(job, step, row, to, alpha):
        """Add alpha x d to W, or to what is stored of its mean, at `to`."""
        memory, head, layers, sparse = memory_of(job), head_of(job), layers_of(job), sparse_of(job)
        k, n, d = layers[0, K], layers[0, N], layers[0, DELTA]
        count, apart = entry_start(sparse, row + 1) - entry_start(sparse, row), panel * (k + 1)
        nonzero, x = nonzero_of(job), head[ENTRIES]
        for p in range((n + panel - 1) // panel):
            width, delta, at = width_of(p, n), d + p * panel, to + p * apart
            still = True
            for c in range(delta, delta + width):
                still &= memory[U(c)] == zero
            if still:  # as many are of a hinge loss
                continue
            if count > ENTRY_BLOCK:
                seek(job, ZERO, step, ONE, ZERO)
                add_entries(job, k, p, p + 1, step, ONE, at, apart, ZERO, alpha, ZERO)
            # Otherwise its numbers are where the products have unpacked them.
            elif width == panel:
                scatter_wide(memory, delta, at, nonzero, ZERO, x, count, alpha)
            else:
                scatter_slim(memory, delta, at, nonzero, ZERO, x, count, alpha)

    @njit(**EXACT)
    def update(job, step, row):
        head, layers, numbers = head_of(job), layers_of(job), numbers_of(job)
        w, mean = layers[0, WEIGHTS], head[MEAN_SLOT]
        if numbers[U(ALL_NOW)] != 0.0:
            change_all(job, ZERO, layers[0, K])
        alpha = real(-layer_rate(job, ZERO) / numbers[U(NEXT_SCALE)])
        through = real(numbers[U(THROUGH)]) if mean > 0 else zero
        add_row(job, step, row, w, alpha)
        if through != zero:
            add_row(job, step, row, w + mean, -through * alpha)
        if step + 1 == head[EPOCH_STEPS] and (head[LAZY] > SCALED or mean > 0):
            make_all_good(job, ZERO, layers[0, K], one)

    @njit(**MERGED)
    def row_by_row(job):
        head, layers, control, ended = head_of(job), layers_of(job), control_of(job), ends_of(job)
        n, order, sparse, numbers = layers[0, N], order_of(job), sparse_of(job), numbers_of(job)
        start, end, panels = control[STEP], head[STEPS], (n + panel - 1) // panel
        if len(ended) > 0:
            if start == 0:
                begin_ends(ended, n)
            if ended[U(len(ended) // 2 + ends.GOING)] == 0.0:
                atomic_store(control, STEP, end)
                return
        z_at, block = head[ROW_SCRATCH], max(1, LOSS_BLOCK // n)
        y_at = z_at + max(LOSS_BLOCK, n)
        for first in range(start, end, block):
            count = min(block, end - first)
            for i in range(count):
                step, row = first + i, order[U(first + i)]
                begin_step(job, control[FIRST_STEP], step, ONE)
                if head[LAZY] > SCALED:
                    now = numbers[U(GOOD_NOW)]
                    for entry in range(entry_start(sparse, row), entry_start(sparse, row + 1)):
                        settle(job, entry_input(sparse, entry), now)
                sparse_forward(job, step, ZERO, ONE, ZERO, panels, ZERO)
                derive(job, row, z_at + i * n, y_at + i * n)
                update(job, step, row)
            if not add_losses(job, z_at, y_at, first, count):
                return
            atomic_store(control, STEP, first + count)
            if atomic_load(control, STOP) != 0:
                return

    @njit(**MERGED)
    def end_outputs(job):
        """Set the penalty, and say which outputs end that end each for itself."""
        memory, head, layers, ended, parts = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            ends_of(job),
            parts_of(job),
        )
        l1, l2 = layer_number(job, ZERO, L1), layer_number(job, ZERO, L2)
        k, n, total, last = layers[0, K], layers[0, N], 0.0, len(ended) // 2 + ends.HEAD
        ending = len(ended) > 0 and control_of(job)[STEP] == head[EPOCH_STEPS]
        for p in range((n + panel - 1) // panel):
            width, start = width_of(p, n), layers[0, WEIGHTS] + p * panel * (k + 1)
            for c in range(width):
                parts[U(c)] = 0.0
            for at in range(start, start + k * width if l1 + l2 > 0.0 else start, width):
                for c in range(width):
                    size = abs(float(memory[U(at + c)]))
                    parts[U(c)] += size * (l1 + 0.5 * l2 * size)
            for c in range(min(panel, n - p * panel)):
                total += parts[U(c)]
                at = last + (p * panel + c) * ends.OF_OUTPUT
                if ending and ended[U(at + ends.RESTS)] == 0.0:
                    end_output(ended, at, parts[U(c)])
        numbers_of(job)[PENALTY] = total
        if ending:
            end_all(ended, n)

    return SimpleNamespace(row_by_row=row_by_row, end_outputs=end_outputs)
