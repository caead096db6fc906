"""What happens once a step, and the numbers that change from step to step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.rules.table import UPDATE_CODES
from fastnn.rules.updates import make_factors
from fastnn.targets.cpu.arguments import ADDRESS, COLUMN_STRIDE, COLUMNS, ROW_STRIDE
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import prefetch
from fastnn.targets.cpu.llvm.rule_loops import EXACT, INLINE, U
from fastnn.targets.cpu.plan import IN_PLACE, LAZY, OWN_INPUTS, PREFETCH, THREADS, UPDATE
from fastnn.targets.cpu.products.gemm import ZERO
from fastnn.targets.cpu.scalars import (
    BETA1,
    BETA2,
    BIAS_FACTOR,
    C1,
    C2,
    C3,
    EMA,
    EPSILON_HAT,
    INVERSE_WEIGHT,
    L2,
    LAYER_NUMBERS,
    LOSS_SUM,
    MEAN_WEIGHT,
    NUMBERS,
    PRODUCT,
    RATE,
    RATE_FACTOR,
    SHARE,
    STEP_L2,
    STEP_WEIGHT,
    UPDATES_DONE,
    WEIGHT_SUM,
)
from fastnn.targets.cpu.shares import rows_in_all
from fastnn.targets.cpu.step.jumps import AVERAGED, SGD, begin_lazy
from fastnn.targets.cpu.views import (
    head_of,
    numbers_of,
    order_of,
    owners_of,
    rates_of,
    row_loss_of,
    strided_of,
    weights_of,
)
from fastnn.targets.fields import BATCH, LAYERS, MEAN_SLOT, SAMPLES, WEIGHTED

ADAM, ADAMW, NADAM = (UPDATE_CODES[name] for name in ("adam", "adamw", "nadam"))
FACTORS = make_factors(math.sqrt, max, njit(**EXACT))
adam, nadam, share_of = FACTORS.adam, FACTORS.nadam, FACTORS.share
nadam_momentum, nadam_product = FACTORS.momentum, FACTORS.product


def make_kept(dtype: np.dtype) -> Any:
    """Return ``kept(part, t)``: what a weight is multiplied by in update t, to lose `part`."""
    real, lost, rounded = dtype.type, FACTORS.lost, dtype.itemsize < 8

    @njit(**INLINE)
    def kept(part, t):
        return real(1.0 - (lost(part, t) if rounded else part))

    return kept


@njit(**EXACT)
def layer_number(job, layer, field):
    """Return a number that belongs to one layer."""
    return numbers_of(job)[U(NUMBERS + LAYER_NUMBERS * layer + field)]


@njit(**EXACT)
def layer_rate(job, layer):
    """Return the learning rate of this step for one layer."""
    return numbers_of(job)[RATE] * layer_number(job, layer, RATE_FACTOR)


@njit(**EXACT)
def bias_rate(job, layer):
    """Return the learning rate of this step for the bias of one layer."""
    return layer_rate(job, layer) * layer_number(job, layer, BIAS_FACTOR)


@njit(**EXACT)
def limit_l2(job):
    """Have a step of plain SGD take no more than all of a weight away."""
    numbers = numbers_of(job)
    for layer in range(head_of(job)[LAYERS]):
        rate, l2 = layer_rate(job, layer), layer_number(job, layer, L2)
        if l2 > 0.0:
            limited = 1.0 / rate if rate * l2 > 1.0 else l2
            numbers[U(NUMBERS + LAYER_NUMBERS * layer + STEP_L2)] = limited


@njit(**EXACT)
def rows_ahead(job, end):
    """Return how many rows ahead of time a layer that reads rows in place asks for its rows.

    `end` is where the rows that it works on end; beyond the last row of the epoch there are none,
    nor are there any of copies.
    """
    head = head_of(job)
    distance = head[PREFETCH] if head[IN_PLACE] == 1 else ZERO
    return distance if end + distance <= head[SAMPLES] else ZERO


@njit(**EXACT)
def prefetch_rows(job, first, samples, tile, me):
    """Ask for a share of the next batch's rows, so that reading them does not wait for memory.

    A thread that reads the whole batch asks for all of it, spread over the tiles that it owns. Of
    several parts of the gradient, the last one's tiles do so.
    """
    head, owners = head_of(job), owners_of(job)
    last = len(owners) - 1
    first_owner = last - head[THREADS]
    start, end = owners[first_owner], owners[last]
    if head[OWN_INPUTS] > 0:
        start, end = owners[first_owner + me], owners[first_owner + me + 1]
    if tile < start or tile >= end:
        return
    strided, order = strided_of(job), order_of(job)
    row_bytes = strided[0, COLUMNS] * strided[0, COLUMN_STRIDE]
    share = end - start
    for r in range((tile - start) * samples // share, (tile - start + 1) * samples // share):
        address = strided[0, ADDRESS] + order[U(first + r)] * strided[0, ROW_STRIDE]
        for at in range(0, row_bytes, 64):
            prefetch(address + at)


@njit(**EXACT)
def begin_step(job, first_step, step, samples):
    """Set what the tiles of a step share."""
    head, order, weights, rates, numbers = (
        head_of(job),
        order_of(job),
        weights_of(job),
        rates_of(job),
        numbers_of(job),
    )
    numbers[RATE] = rates[step]
    beta1, beta2, t = numbers[BETA1], numbers[BETA2], float(first_step + step + 1)
    numbers[UPDATES_DONE] = t
    if head[UPDATE] == ADAM or head[UPDATE] == ADAMW:
        numbers[C1], numbers[C2] = adam(beta1, beta2, t, numbers[EPSILON_HAT] > 0.0)
    if head[UPDATE] == NADAM:
        if step == 0:
            numbers[PRODUCT] = nadam_product(beta1, first_step)
        numbers[PRODUCT] *= nadam_momentum(beta1, t)
        numbers[C1], numbers[C2], numbers[C3] = nadam(beta1, beta2, t, numbers[PRODUCT])
    if head[UPDATE] == SGD or head[UPDATE] == AVERAGED:
        limit_l2(job)
    if head[MEAN_SLOT] > 0:
        numbers[SHARE] = share_of(numbers[EMA], beta1, t)
    total = float(samples)
    if head[WEIGHTED] > 0:
        total = 0.0
        for s in range(step * head[BATCH], step * head[BATCH] + samples):
            total += weights[U(order[U(s)])]
    in_all = rows_in_all(job, step, samples)
    numbers[STEP_WEIGHT] = total if in_all > 0 else 0.0
    usual = float(in_all) * numbers[MEAN_WEIGHT]
    numbers[INVERSE_WEIGHT] = 1.0 / usual if usual > 0.0 else 0.0
    if head[LAZY] > 0:
        begin_lazy(job, step)


@njit(**EXACT)
def end_loss(job, step, samples):
    """Add the losses of the batch in the order of its rows; return whether all are finite.

    Those of rows of weight 0 do not count. Where targets have weights, losses are with them.
    """
    head, order, weights, numbers, row_loss = (
        head_of(job),
        order_of(job),
        weights_of(job),
        numbers_of(job),
        row_loss_of(job),
    )
    total = 0.0
    if rows_in_all(job, step, samples) == 0:
        return True
    if head[WEIGHTED] == 1:
        for r in range(samples):
            weight = weights[U(order[U(step * head[BATCH] + r)])]
            if weight > 0.0:
                total += weight * row_loss[U(r)]
    else:
        for r in range(samples):
            total += row_loss[U(r)]
    numbers[LOSS_SUM] += total
    numbers[WEIGHT_SUM] += numbers[STEP_WEIGHT]
    return math.isfinite(total)
