"""One epoch of a model with no hidden layer: regression, logistic, perceptron, SVM.

Its step is too small for tiles: with 30 inputs and one row it is a few dozen nanoseconds. So the
rows are read where they lie, the weights of an output are one contiguous vector (a plan whose
panels are one column wide), and one thread does everything in order:

    z_r = x_r . w + b;   d_r = dL/dz_r;   w -= rate sum_r d_r x_r, or the update rule with that sum.

Several outputs are for `batch_of_one` and `in_lanes` alone; of all else there is one.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from fastnn.rules import ends
from fastnn.targets.cpu.arguments import (
    ADDRESS,
    BAD_STEP,
    COLUMN_STRIDE,
    COLUMNS,
    DTYPE,
    FIRST_STEP,
    ROW_STRIDE,
    STEP,
    STOP,
)
from fastnn.targets.cpu.dtypes import CODES
from fastnn.targets.cpu.llvm.conversion import make_convert
from fastnn.targets.cpu.llvm.elementary import make_elementary
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import (
    address_of,
    atomic_load,
    atomic_store,
    prefetch,
)
from fastnn.targets.cpu.llvm.rule_loops import EXACT, MERGED, U, make_rules
from fastnn.targets.cpu.plan import (
    ACTIVATION,
    DIRECT,
    EPOCH_STEPS,
    IDENTITY,
    IN_PLACE,
    KEPT,
    OWN_VALUE,
    PREFETCH,
    PRIVATE,
    STEPS,
    UPDATE,
)
from fastnn.targets.cpu.products.dot import make_dot
from fastnn.targets.cpu.products.gemm import ONE, ZERO
from fastnn.targets.cpu.scalars import (
    COLUMN_NORM,
    L1,
    L2,
    PENALTY,
    UPDATES_DONE,
)
from fastnn.targets.cpu.step.batch_of_one import make_one_by_one
from fastnn.targets.cpu.step.between_steps import (
    begin_step,
    bias_rate,
    layer_number,
    layer_rate,
    make_kept,
)
from fastnn.targets.cpu.step.calls import make_calls
from fastnn.targets.cpu.step.jumps import AVERAGED, SGD
from fastnn.targets.cpu.step.norms import UNIT, make_norms
from fastnn.targets.cpu.step.output_losses import make_output_losses
from fastnn.targets.cpu.step.per_unit import OF_BIAS, OF_WEIGHTS
from fastnn.targets.cpu.step.single_rows import AHEAD, end_all, end_output
from fastnn.targets.cpu.step.update import make_apply
from fastnn.targets.cpu.views import (
    control_of,
    ends_of,
    head_of,
    layers_of,
    make_view,
    numbers_of,
    order_of,
    row_loss_of,
    strided_of,
)
from fastnn.targets.fields import BATCH, BIAS, CLIPS, DELTA, INPUT, OUTPUT, SAMPLES, WEIGHTS, K, N
from fastnn.targets.layout import SUMMED_ROWS

FEW_ROWS = 16  # of which the second sum, of k numbers, would take longer than it is worth


def make_linear(dtype: np.dtype) -> SimpleNamespace:
    """Return train_epoch and forward for one dtype (not yet compiled)."""
    real = dtype.type
    zero, one, kept = real(0), real(1), make_kept(dtype)
    products = make_dot(dtype)
    dot, axpy = products.dot, products.axpy
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)
    elementary = make_elementary(dtype)
    rules = make_rules(dtype, elementary)
    activate = rules.activate
    apply, norms = make_apply(dtype, rules), make_norms(dtype, 1, None, None, None)
    squares, set_scale, clip_column = norms.squares, norms.set_scale, norms.clip_column
    itemsize, own_code, convert = dtype.itemsize, CODES[dtype.str], make_convert(dtype)
    output_losses = make_output_losses(dtype, rules)

    @njit(**EXACT)
    def in_place(job):
        """Whether rows of X can be read as they lie: this dtype, its numbers side by side."""
        strided = strided_of(job)
        return strided[0, DTYPE] == own_code and strided[0, COLUMN_STRIDE] == itemsize

    @njit(**EXACT)
    def row_address(job, row, slot):
        """Return where row `row` of X can be read; a copy in `slot` where it cannot as it lies."""
        memory, strided = memory_of(job), strided_of(job)
        if in_place(job):
            return strided[0, ADDRESS] + row * strided[0, ROW_STRIDE]
        start = strided[0, ADDRESS] + row * strided[0, ROW_STRIDE]
        step, count = strided[0, COLUMN_STRIDE], strided[0, COLUMNS]
        convert(memory, slot, start, step, count, strided[0, DTYPE])
        return address_of(memory, slot)

    @njit(**EXACT)
    def step_row(job, row, step):
        head = head_of(job)
        if head[IN_PLACE] == 1:
            strided = strided_of(job)
            return strided[0, ADDRESS] + row * strided[0, ROW_STRIDE]
        return row_address(job, row, head[PRIVATE] + step % 3 * layers_of(job)[0, K])

    one_by_one = make_one_by_one(dtype, elementary, products, rules, step_row)

    @njit(**EXACT)
    def seen_address(job, row, slot):
        """Return the address again that `row_address` gave for this row and slot."""
        strided = strided_of(job)
        if in_place(job):
            return strided[0, ADDRESS] + row * strided[0, ROW_STRIDE]
        return address_of(memory_of(job), slot)

    @njit(**EXACT)
    def to_rows(job, first, samples):
        """Compute z of every row of the batch."""
        memory, head, layers, strided, order = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            strided_of(job),
            order_of(job),
        )
        k = layers[0, K]
        bias = memory[U(layers[0, WEIGHTS] + k)]
        ahead, row_bytes = max(AHEAD, samples), k * strided[0, COLUMN_STRIDE]
        for r in range(samples):
            row = order[U(first + r)]
            address = row_address(job, row, layers[0, INPUT] + r * k)
            if head[PREFETCH] > 0 and first + r + ahead < head[SAMPLES]:
                following = order[U(first + r + ahead)]
                start = strided[0, ADDRESS] + following * strided[0, ROW_STRIDE]
                for at in range(0, row_bytes, 64):
                    prefetch(start + at)
                prefetch(start + row_bytes - 1)
            memory[U(layers[0, OUTPUT] + r)] = dot(memory, layers[0, WEIGHTS], address, k) + bias

    # Numbers that are written in the code are of types of their own, for which `apply` would be
    # compiled again: ZERO and ONE are of one.
    @njit(**EXACT)
    def update(job, first, samples):
        memory, head, layers, order = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            order_of(job),
        )
        k, w, d = layers[0, K], layers[0, WEIGHTS], layers[0, DELTA]
        out, factor = w, -real(layer_rate(job, ZERO))
        of_bias = -real(bias_rate(job, ZERO))
        if head[DIRECT] == 1:
            part = layer_rate(job, ZERO) * layer_number(job, ZERO, L2)
            keep = max(zero, kept(part, numbers_of(job)[UPDATES_DONE]))
            if keep != one:
                for i in range(w, w + k):
                    memory[U(i)] *= keep
        else:
            out, factor = head[PRIVATE], one
            for i in range(out, out + k):
                memory[U(i)] = zero
        # Added to W one by one, most of what many rows add would be rounded away.
        apart = samples > (FEW_ROWS if head[DIRECT] == 1 else SUMMED_ROWS)
        total, to = zero, head[PRIVATE] + k if apart else out
        for s in range(0, samples, SUMMED_ROWS):
            if to != out:
                for i in range(to, to + k):
                    memory[U(i)] = zero
            part = zero
            for r in range(s, min(s + SUMMED_ROWS, samples)):
                address = seen_address(job, order[U(first + r)], layers[0, INPUT] + r * k)
                delta = memory[U(d + r)]
                axpy(memory, to, address, k, factor * delta)
                part += delta
            total += part
            if to != out:
                for i in range(k):
                    memory[U(out + i)] += memory[U(to + i)]
        if head[DIRECT] == 0:
            apply(job, ZERO, w, out, k, OF_WEIGHTS)
        if layers[0, BIAS] == 1:
            if head[DIRECT] == 1:
                memory[U(w + k)] += of_bias * total
            else:
                memory[U(out)] = total
                apply(job, ZERO, w + k, out, ONE, OF_BIAS)
        if head[KEPT] > 0:
            own, unit = head[KEPT], 1.0
            squared = squares(memory, own, k + 1, unit)
            if not math.isfinite(squared):
                unit = UNIT
                squared = squares(memory, own, k + 1, unit)
            set_scale(job, squared, unit)
            apply(job, ZERO, w, w + own, k, OF_WEIGHTS)
            if layers[0, BIAS] == 1:
                apply(job, ZERO, w + k, w + k + own, ONE, OF_BIAS)
        limit = layer_number(job, ZERO, COLUMN_NORM)
        if limit < math.inf:
            clip_column(job, w, k, ONE, limit, squares(memory, w, k, 1.0))

    @njit(**MERGED)
    def train_epoch(job):
        _memory, _alphas, head, layers, control, _numbers, _row_loss = (
            memory_of(job),
            alphas_of(job),
            head_of(job),
            layers_of(job),
            control_of(job),
            numbers_of(job),
            row_loss_of(job),
        )
        textbook = head[BATCH] == 1 and layers[0, ACTIVATION] == IDENTITY and head[CLIPS] == 0
        textbook = textbook and (head[UPDATE] == SGD or head[UPDATE] == AVERAGED)
        textbook = textbook and head[IN_PLACE] > 0
        if textbook and layer_number(job, ZERO, COLUMN_NORM) == math.inf:
            one_by_one(job)
            return
        for step in range(control[STEP], head[STEPS]):
            first = step * head[BATCH]
            samples = min(head[BATCH], head[SAMPLES] - first)
            begin_step(job, control[FIRST_STEP], step, samples)
            to_rows(job, first, samples)
            if not output_losses(job, step, first, samples):
                control[BAD_STEP] = step
                return
            update(job, first, samples)
            atomic_store(control, STEP, step + 1)
            if atomic_load(control, STOP) != 0:
                return

    @njit(**EXACT)
    def forward(job, start, end, outputs):
        memory, alphas, _head, layers = memory_of(job), alphas_of(job), head_of(job), layers_of(job)
        k, n, at = layers[0, K], layers[0, N], layers[0, OUTPUT]
        for row in range(start, end):
            address = row_address(job, row, layers[0, INPUT])
            for j in range(n):
                w = layers[0, WEIGHTS] + j * (k + 1)
                memory[U(at + j)] = dot(memory, w, address, k) + memory[U(w + k)]
            activate(layers[0, ACTIVATION], layers[0, OWN_VALUE], memory, at, n, alphas[0])
            for j in range(n):
                outputs[U(row * n + j)] = memory[U(at + j)]

    @njit(**MERGED)
    def end_epoch(job):
        """Set the penalty, and say which outputs end that end each for itself."""
        memory, layers, head, total = memory_of(job), layers_of(job), head_of(job), 0.0
        l1, l2 = layer_number(job, ZERO, L1), layer_number(job, ZERO, L2)
        ended, n, numbers = ends_of(job), layers[0, N], numbers_of(job)
        last = len(ended) // 2 + ends.HEAD
        ending = len(ended) > 0 and control_of(job)[STEP] == head[EPOCH_STEPS]
        for j in range(n):
            w, before = layers[0, WEIGHTS] + j * (layers[0, K] + 1), total
            if l1 != 0.0:
                size = 0.0
                for i in range(w, w + layers[0, K]):
                    size += abs(float(memory[U(i)]))
                total += l1 * size
            if l2 != 0.0:
                total += 0.5 * l2 * squares(memory, w, layers[0, K], 1.0)
            at = last + j * ends.OF_OUTPUT
            if ending and ended[U(at + ends.RESTS)] == 0.0:
                end_output(ended, at, total - before)
        numbers[PENALTY] = total
        if ending:
            end_all(ended, n)

    return SimpleNamespace(train_epoch=train_epoch, end_epoch=end_epoch, forward=forward)


train_epoch_float32, forward_float32 = make_calls(make_linear(np.dtype(np.float32)))
train_epoch_float64, forward_float64 = make_calls(make_linear(np.dtype(np.float64)))
