"""What loops over single rows have in common: biases, sums of losses, ends of outputs, rates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.rules import ends
from fastnn.rules.ends import make_end_output
from fastnn.rules.updates import mean_of_weights
from fastnn.targets.cpu.arguments import ADDRESS, BAD_STEP, FIRST_STEP, ROW_STRIDE
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import load_float32, load_float64, prefetch
from fastnn.targets.cpu.llvm.rule_loops import EXACT, INLINE, U, rounded_product
from fastnn.targets.cpu.plan import LOSS, OWN_LOSSES, UPDATE
from fastnn.targets.cpu.products.gemm import ZERO
from fastnn.targets.cpu.scalars import (
    BETA1,
    BIAS_FACTOR,
    EMA,
    L1,
    L2,
    LOSS_SUM,
    MEAN_WEIGHT,
    RATE_FACTOR,
    SHARE,
    WEIGHT_SUM,
)
from fastnn.targets.cpu.step.between_steps import layer_number, layer_rate, make_kept, share_of
from fastnn.targets.cpu.step.jumps import AVERAGED
from fastnn.targets.cpu.views import (
    control_of,
    ends_of,
    head_of,
    layers_of,
    make_view,
    numbers_of,
    order_of,
    rates_of,
    strided_of,
    target_weights_of,
    weights_of,
)
from fastnn.targets.fields import BIAS, MEAN_SLOT, WEIGHTED, N

AHEAD = 16  # rows asked for ahead of time
LOSS_ALPHA = 4  # where the parameter of the loss is among `alphas`, behind the four of one layer
end_output = make_end_output(njit(**INLINE))


def make_target_of(dtype: np.dtype) -> Any:
    """Return ``target_of(job, row)``: the target of a row of one output, of that dtype."""
    load = load_float64 if dtype.itemsize == 8 else load_float32

    @njit(**INLINE)
    def target_of(job, row):
        strided = strided_of(job)
        return load(strided[1, ADDRESS] + row * strided[1, ROW_STRIDE])

    return target_of


def make_move_bias(dtype: np.dtype) -> Any:
    """Return ``move_bias(job, bias, gradient)``: the update of a bias there, and of its mean."""
    real = dtype.type
    memory_of, averaged = make_view("memory", dtype), njit(**INLINE)(mean_of_weights(real))

    @njit(**INLINE)
    def move_bias(job, bias, gradient):
        memory, mean = memory_of(job), head_of(job)[MEAN_SLOT]
        if layers_of(job)[0, BIAS] == 1:
            change = real(-layer_rate(job, ZERO)) * gradient
            memory[U(bias)] += rounded_product(real(layer_number(job, ZERO, BIAS_FACTOR)), change)
        if mean > 0:
            share, old = real(numbers_of(job)[U(SHARE)]), memory[U(bias + mean)]
            memory[U(bias + mean)] = averaged(old, memory[U(bias)], share)

    return move_bias


def make_add_losses(dtype: np.dtype, losses: Any) -> Any:
    """Return ``add_losses(job, z_at, y_at, first, count)`` for steps first..first + count.

    It adds their losses, and returns whether all are finite; where one is not, `control` has which.
    Those of rows of weight 0 do not count. Outputs and targets lie row by row.
    """
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)

    @njit(**EXACT)
    def add_each(job, z_at, y_at, first, count):
        """Add the losses of outputs that end each for itself, but of those at rest."""
        memory, head, numbers, ended = memory_of(job), head_of(job), numbers_of(job), ends_of(job)
        order, weights, of_targets = order_of(job), weights_of(job), target_weights_of(job)
        n, alpha, half = layers_of(job)[0, N], alphas_of(job)[LOSS_ALPHA], len(ended) // 2
        last, weighted, total, weight = half + ends.HEAD, head[WEIGHTED], numbers[LOSS_SUM], 1.0
        going = ended[U(half + ends.GOING)]
        losses(head[LOSS], head[OWN_LOSSES], memory, z_at, y_at, z_at, count * n, alpha)
        for i in range(count):
            row = order[U(first + i)]
            if weighted == 1:
                weight = weights[U(row)]
            for j in range(n):
                own = last + j * ends.OF_OUTPUT
                if ended[U(own + ends.RESTS)] != 0.0:
                    continue
                if weighted == 2:
                    weight = of_targets[U(row * n + j)]
                if weight > 0.0:
                    loss = weight * memory[U(z_at + i * n + j)]
                    ended[U(own + ends.LOSSES)] += loss
                    total += loss / going  # for who looks on
                ended[U(own + ends.WEIGHT)] += weight
            numbers[WEIGHT_SUM] += weights[U(row)] if weighted > 0 else 1.0
            if not math.isfinite(total):
                control_of(job)[BAD_STEP] = first + i
                break
        numbers[LOSS_SUM] = total
        return math.isfinite(total)

    @njit(**EXACT)
    def add_losses(job, z_at, y_at, first, count):
        memory, head, control, numbers = (
            memory_of(job),
            head_of(job),
            control_of(job),
            numbers_of(job),
        )
        order, weights, of_targets = order_of(job), weights_of(job), target_weights_of(job)
        n, alpha = layers_of(job)[0, N], alphas_of(job)[LOSS_ALPHA]
        if len(ends_of(job)) > 0:
            return add_each(job, z_at, y_at, first, count)
        losses(head[LOSS], head[OWN_LOSSES], memory, z_at, y_at, z_at, count * n, alpha)
        total, weighted = numbers[LOSS_SUM], head[WEIGHTED]
        # Of one output nothing is added up or divided: a step is as short as that would be.
        several = n > 1 or weighted == 2
        for i in range(0 if several else count):
            if weighted == 1:
                weight = weights[U(order[U(first + i)])]
                if weight > 0.0:
                    total += weight * memory[U(z_at + i)]
                numbers[WEIGHT_SUM] += weight
            else:
                total += memory[U(z_at + i)]
            if not math.isfinite(total):
                control[BAD_STEP] = first + i
                break
        for i in range(count if several else 0):
            at, loss, row = z_at + i * n, 0.0, order[U(first + i)]
            if weighted == 2:
                for j in range(n):
                    weight = of_targets[U(row * n + j)]
                    if weight > 0.0:
                        loss += weight * memory[U(at + j)]
            else:
                for j in range(at, at + n):
                    loss += memory[U(j)]
            loss /= n
            if weighted == 1:
                weight = weights[U(row)]
                if weight > 0.0:
                    total += weight * loss
            else:
                total += loss
            if weighted > 0:
                numbers[WEIGHT_SUM] += weights[U(row)]
            if not math.isfinite(total):
                control[BAD_STEP] = first + i
                break
        numbers[LOSS_SUM] = total
        if weighted == 0:
            numbers[WEIGHT_SUM] = float(first + count)
        return math.isfinite(total)

    return add_losses


@njit(**INLINE)
def ask(start, row_bytes):
    """Ask for a row."""
    for at in range(0, row_bytes, 64):
        prefetch(start + at)
    prefetch(start + row_bytes - 1)


@njit(**INLINE)
def begin_ends(ended, n):
    """Have sums of an epoch behind what was before it, for outputs that are not at rest."""
    half = len(ended) // 2
    for i in range(half):
        ended[U(half + i)] = ended[U(i)]
    for j in range(n):
        at = half + ends.HEAD + j * ends.OF_OUTPUT
        if ended[U(at + ends.RESTS)] == 0.0:
            ended[U(at + ends.LOSSES)] = 0.0
            ended[U(at + ends.WEIGHT)] = 0.0


@njit(**INLINE)
def end_all(ended, n):
    """Say how many outputs are not at rest, and the means of losses and objectives."""
    last = len(ended) // 2 + ends.HEAD
    going, objectives, losses, weights = 0.0, 0.0, 0.0, 0.0
    for j in range(n):
        at = last + j * ends.OF_OUTPUT
        going += 1.0 - ended[U(at + ends.RESTS)]
        objectives += ended[U(at + ends.OWN_OBJECTIVE)]
        losses += ended[U(at + ends.LOSSES)]
        weights += ended[U(at + ends.WEIGHT)]
    ended[U(last - ends.HEAD + ends.GOING)] = going
    ended[U(last - ends.HEAD + ends.OBJECTIVE)] = objectives / n
    ended[U(last - ends.HEAD + ends.LOSS)] = losses / weights if weights > 0.0 else 0.0


@njit(**INLINE)
def add_loss(job, step, row, loss):
    """Add the loss of one row; the first step whose loss is not finite is a bad one."""
    numbers, control, weighted = numbers_of(job), control_of(job), head_of(job)[WEIGHTED] == 1
    weight = weights_of(job)[U(row)] if weighted else 1.0
    numbers[WEIGHT_SUM] += weight
    if weight > 0.0:
        total = numbers[LOSS_SUM] + weight * loss
        numbers[LOSS_SUM] = total
        if not math.isfinite(total) and control[BAD_STEP] < 0:
            control[BAD_STEP] = step


def make_step_numbers(dtype: np.dtype) -> Any:
    """Return ``step_numbers(job, step, row)``: rate, keep, soft threshold, share, and scale.

    An update is  w = keep w - rate scale dl x,  then the soft threshold, then a share in the mean.
    Where targets have weights, `scale` is without them.
    """
    real = dtype.type
    zero, one, kept = real(0), real(1), make_kept(dtype)

    @njit(**INLINE)
    def step_numbers(job, step, row):
        head, numbers = head_of(job), numbers_of(job)
        exact_rate = rates_of(job)[U(step)] * layer_number(job, ZERO, RATE_FACTOR)
        rate, keep, share, scale = real(exact_rate), one, zero, one
        update, l2 = float(control_of(job)[FIRST_STEP] + step + 1), layer_number(job, ZERO, L2)
        if l2 != 0.0:
            keep = max(zero, kept(exact_rate * l2, update))
        threshold = real(exact_rate * layer_number(job, ZERO, L1))
        if head[UPDATE] == AVERAGED:
            share = real(share_of(numbers[EMA], numbers[BETA1], update))
        if head[WEIGHTED] == 1:
            mean = numbers[MEAN_WEIGHT]
            scale = real(weights_of(job)[U(row)] * (1.0 / mean if mean > 0.0 else 0.0))
        return rate, keep, threshold, share, scale

    return step_numbers
