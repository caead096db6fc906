"""An epoch of plain SGD on one row at a time, of a model with one output: the textbook's loop.

Its step is the shortest there is, so it waits for nothing that it can know before.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.rules import losses as rules
from fastnn.rules.table import CUSTOM, LOSS_CODES, LOSSES
from fastnn.targets.cpu.arguments import (
    ADDRESS,
    BAD_STEP,
    COLUMN_STRIDE,
    DTYPE,
    ROW_STRIDE,
    STEP,
    STOP,
)
from fastnn.targets.cpu.llvm.conversion import make_convert
from fastnn.targets.cpu.llvm.function_pointers import call_gradient, call_loss
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import (
    address_of,
    atomic_load,
    atomic_store,
    load_float32,
    load_float64,
    prefetch,
)
from fastnn.targets.cpu.llvm.rule_loops import EXACT, INLINE, U, loss_gradient, losses_loop, switch
from fastnn.targets.cpu.plan import (
    BIAS,
    IN_PLACE,
    LOSS_BLOCK,
    OWN_GRADIENT,
    OWN_LOSSES,
    PREFETCH,
    PRIVATE,
    ROW_SCRATCH,
    SAMPLES,
    STEPS,
    WEIGHTED,
    WEIGHTS,
    K,
)
from fastnn.targets.cpu.products.gemm import ZERO
from fastnn.targets.cpu.scalars import L2, LOSS_SUM, MEAN_WEIGHT, RATE_FACTOR, WEIGHT_SUM
from fastnn.targets.cpu.step.between_steps import layer_number
from fastnn.targets.cpu.views import (
    control_of,
    head_of,
    layers_of,
    make_view,
    numbers_of,
    order_of,
    rates_of,
    strided_of,
    weights_of,
)

AHEAD = 16  # rows asked for ahead of time
LOSS_ALPHA = 4  # where the parameter of the loss is among `alphas`, behind the four of one layer


def _gradient_of(rule: Any, real: Any, elementary: Any) -> Any:
    """Return the gradient of a built-in loss as `call_gradient` has it for one of the caller's."""
    derivative = loss_gradient(rule, real, elementary)

    @njit(**INLINE)
    def gradient(own, p, y, alpha):
        return derivative(p, y, alpha)

    return gradient


def _losses_of(rule: Any, real: Any, elementary: Any) -> Any:
    """Return the losses of a built-in loss as `call_loss` has them for one of the caller's."""
    loop = losses_loop(rule, real, elementary)

    @njit(**INLINE)
    def losses(own, memory, p_at, y_at, to, count, alpha):
        loop(memory, p_at, y_at, to, count, alpha)

    return losses


def _one_by_one(losses: Any, gradient: Any, dtype: np.dtype, products: Any) -> Any:
    """Return an epoch of plain SGD on one row at a time for one loss: the textbook's loop.

    The textbook's order, z = w . x + b, then w += c x, makes every step wait for the update before.
    With w' = keep w + c x the next row's z = w' . x' + b' is keep (w . x') + c (x . x') + b', whose
    two products are known before c is: only the derivative of the loss is left to wait for.
    """
    real = dtype.type
    zero, one, convert = real(0), real(1), make_convert(dtype)
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)
    dot, axpy, advance = products.dot, products.axpy, products.advance
    own = load_float64 if dtype.itemsize == 8 else load_float32

    @njit(**EXACT)
    def add_losses(job, z_at, y_at, first, count):
        """Add the losses of some steps; return False, and say which, where one is not finite.

        Those of rows of weight 0 do not count.
        """
        memory, head, control, numbers = (
            memory_of(job),
            head_of(job),
            control_of(job),
            numbers_of(job),
        )
        order, weights = order_of(job), weights_of(job)
        alpha = alphas_of(job)[LOSS_ALPHA]
        losses(head[OWN_LOSSES], memory, z_at, y_at, z_at, count, alpha)
        total, weighted = numbers[LOSS_SUM], head[WEIGHTED] == 1
        for i in range(count):
            if weighted:
                weight = weights[U(order[U(first + i)])]
                if weight > 0.0:
                    total += weight * memory[U(z_at + i)]
                numbers[WEIGHT_SUM] += weight
            else:
                total += memory[U(z_at + i)]
            if not math.isfinite(total):
                control[BAD_STEP] = first + i
                break
        numbers[LOSS_SUM] = total
        if not weighted:
            numbers[WEIGHT_SUM] = float(first + count)
        return math.isfinite(total)

    @njit(**EXACT)
    def row_address(job, row, step):
        """Return where the row of a step can be read; copies of three steps are there at a time."""
        head, strided = head_of(job), strided_of(job)
        address = strided[0, ADDRESS] + row * strided[0, ROW_STRIDE]
        if head[IN_PLACE] == 1:
            return address
        memory, k = memory_of(job), layers_of(job)[0, K]
        slot = head[PRIVATE] + step % 3 * k
        convert(memory, slot, address, strided[0, COLUMN_STRIDE], k, strided[0, DTYPE])
        return address_of(memory, slot)

    @njit(**EXACT)
    def epoch(job):
        memory, head, layers, strided, order, control, rates = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            strided_of(job),
            order_of(job),
            control_of(job),
            rates_of(job),
        )
        k, w = layers[0, K], layers[0, WEIGHTS]
        bias, trained = memory[U(w + k)], real(layers[0, BIAS])
        samples, l2 = min(head[SAMPLES], head[STEPS]), real(layer_number(job, ZERO, L2))
        rate_factor = layer_number(job, ZERO, RATE_FACTOR)
        rows, row_stride = strided[0, ADDRESS], strided[0, ROW_STRIDE]
        targets, target_stride = strided[1, ADDRESS], strided[1, ROW_STRIDE]
        z_at, y_at = head[ROW_SCRATCH], head[ROW_SCRATCH] + LOSS_BLOCK
        weights, weighted, mean = weights_of(job), head[WEIGHTED] == 1, numbers_of(job)[MEAN_WEIGHT]
        inverse = 1.0 / mean if mean > 0.0 else 0.0
        own_gradient, alpha = head[OWN_GRADIENT], alphas_of(job)[LOSS_ALPHA]
        row, row_bytes = order[U(0)], k * strided[0, COLUMN_STRIDE]
        before = here = row_address(job, row, ZERO)
        z, keep, change = dot(memory, w, here, k) + bias, one, zero
        for first in range(0, samples, LOSS_BLOCK):
            count = min(LOSS_BLOCK, samples - first)
            for i in range(count):
                step = first + i
                following = order[U(min(step + 1, samples - 1))]
                after = row_address(job, following, step + 1)
                if head[PREFETCH] > 0 and step + AHEAD < samples:
                    start = rows + order[U(step + AHEAD)] * row_stride
                    for at in range(0, row_bytes, 64):
                        prefetch(start + at)
                    prefetch(start + row_bytes - 1)
                y = own(targets + row * target_stride)
                memory[U(z_at + i)], memory[U(y_at + i)] = z, y
                direct, through = advance(memory, w, before, here, after, k, keep, change)
                rate = real(rates[U(step)] * rate_factor)
                keep = one - rate * l2
                change = -rate * gradient(own_gradient, z, y, alpha)
                if weighted:
                    scale = real(weights[U(row)] * inverse)
                    change = change * scale if scale != zero else zero
                z = change * (through + trained) + (keep * direct + bias)
                bias += trained * change
                before, here, row = here, after, following
            if not add_losses(job, z_at, y_at, first, count):
                break
            atomic_store(control, STEP, first + count)
            if atomic_load(control, STOP) != 0:
                break
        if keep != one:
            for i in range(w, w + k):
                memory[U(i)] *= keep
        axpy(memory, w, before, k, change)
        memory[U(w + k)] = bias

    return epoch


def make_one_by_one(dtype: np.dtype, elementary: Any, products: Any) -> Any:
    """Return ``one_by_one(code, job)``: the epoch for the loss of that code."""
    real = dtype.type
    elementwise = {
        LOSS_CODES[name]: getattr(rules, name) for name, row in LOSSES.items() if not row.rowwise
    }
    of_rule = {
        rule: _one_by_one(
            _losses_of(rule, real, elementary),
            _gradient_of(rule, real, elementary),
            dtype,
            products,
        )
        for rule in dict.fromkeys(elementwise.values())
    }
    epochs = [(code, of_rule[rule]) for code, rule in elementwise.items()]
    epochs.append((CUSTOM, _one_by_one(call_loss, call_gradient, dtype, products)))
    return switch(epochs, "job")
