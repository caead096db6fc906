"""What a step does to rows of the first W that its batch does not use, set as the step begins.

`fastnn.targets.cpu.laziness` says what is made good later, and when. `jumps` has what steps without
a gradient do, six numbers a run of steps (see `JUMP`). The run of `size` steps from number `start`
on, for `size` a power of two that divides `start`, is number 2 start + size - 1; steps are counted
from 0 again after `COUNTED_STEPS`.
"""

from __future__ import annotations

import numpy as np

from fastnn.rules.table import UPDATE_CODES
from fastnn.targets.cpu.arguments import CUT, JUMP, RUN_A, RUN_B, RUN_C, SUMS, A, B, C, D, E
from fastnn.targets.cpu.laziness import COUNTED_STEPS, CUT_MEAN, MEAN_STEPS, STAMPED
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, U
from fastnn.targets.cpu.plan import EPOCH_STEPS, LAZY, UPDATE
from fastnn.targets.cpu.scalars import (
    ALL_NOW,
    BETA1,
    BETA2,
    GOOD_NOW,
    L1,
    L2,
    NEXT_GOOD,
    NEXT_OF_MEAN,
    NEXT_OF_WEIGHTS,
    NEXT_SCALE,
    NUMBERS,
    OF_MEAN,
    OF_WEIGHTS,
    RATE,
    RATE_FACTOR,
    RESCALE,
    SCALE,
    SHARE,
    THROUGH,
)
from fastnn.targets.cpu.views import head_of, jumps_of, layers_of, numbers_of
from fastnn.targets.fields import K

SMALLEST = 2.0**-40  # scale of W: what is stored is W divided by it, and must not overflow
# Where its mean is a sum of it, and of what is stored of the mean divided by the other of these,
# few digits are to be lost.
SMALLEST_WITH_MEAN, SMALLEST_OF_MEAN = 2.0**-3, 2.0**-20
SGD, MOMENTUM, NESTEROV, RMSPROP, AVERAGED = (
    UPDATE_CODES[name] for name in ("sgd", "momentum", "nesterov", "rmsprop", "averaged_sgd")
)


@njit(**EXACT)
def place_of_run(start, size):
    """Return where in `jumps` a run of steps is."""
    return JUMP * (2 * start + size - 1)


@njit(**EXACT)
def place_of_sums(inputs, place):
    """Return where in `jumps` the sums of a place are."""
    return inputs + SUMS * place


@njit(**EXACT)
def first_rate(job):
    """Return the learning rate of this step for the first layer."""
    numbers = numbers_of(job)
    return numbers[U(RATE)] * numbers[U(NUMBERS + RATE_FACTOR)]


@njit(**EXACT)
def mean_is_far(numbers):
    """Whether what is stored of the mean is to be set anew before this step.

    With the first one that does not take all of the weights, too. Before, the mean is the weights,
    and has no part in when those are brought up to date: they have the bits they have without it.
    """
    share = numbers[U(SHARE)]
    return share != 1.0 and not (1.0 - share) * numbers[U(NEXT_OF_MEAN)] > SMALLEST_OF_MEAN


@njit(**EXACT)
def move_mean(numbers, scale):
    """Set what the mean of the weights is made of before and after this step.

    With w = s v, a change c x is v' = v + (c / s') x, and the mean m = a v + b u becomes
    m' = (1 - share) m + share w' = a' v' + b' u', for a' = (1 - share) a + share s',
    b' = (1 - share) b and u' = u - (a / b) (c / s') x: nothing of an input that x does not have.
    """
    a, b, share = numbers[U(NEXT_OF_WEIGHTS)], numbers[U(NEXT_OF_MEAN)], numbers[U(SHARE)]
    if share == 1.0:
        numbers[OF_WEIGHTS] = numbers[OF_MEAN] = numbers[THROUGH] = numbers[NEXT_OF_MEAN] = 0.0
        numbers[NEXT_OF_WEIGHTS] = scale
        return
    numbers[OF_WEIGHTS], numbers[OF_MEAN] = a, b
    if numbers[U(ALL_NOW)] != 0.0:
        a, b = 0.0, 1.0
    numbers[THROUGH] = a / b
    numbers[NEXT_OF_WEIGHTS] = (1.0 - share) * a + share * scale
    numbers[NEXT_OF_MEAN] = (1.0 - share) * b


@njit(**EXACT)
def steps_of_sums(job):
    """Return for how many steps there is a place in each half of what CUT_MEAN keeps."""
    return min(head_of(job)[EPOCH_STEPS], MEAN_STEPS)


@njit(**EXACT)
def sums_are_far(job):
    """Whether sums of CUT_MEAN are to begin anew with this step, or the mean begins with it."""
    numbers, size = numbers_of(job), steps_of_sums(job)
    return np.int64(numbers[U(NEXT_GOOD)]) % (size + 1) == size or mean_is_far(numbers)


@njit(**EXACT)
def add_sums(job, scale, threshold):
    """Set sums of cuts and of shares after this step, which come to lie in the next place.

    All of W is brought up to date by those of one half while the other begins.
    """
    numbers, jumps, k = numbers_of(job), jumps_of(job), layers_of(job)[0, K]
    place, share = np.int64(numbers[U(NEXT_GOOD)]), numbers[U(SHARE)]
    of_mean = numbers[U(NEXT_OF_MEAN)]
    numbers[OF_WEIGHTS], numbers[OF_MEAN] = numbers[U(NEXT_OF_WEIGHTS)], of_mean
    if numbers[U(ALL_NOW)] != 0.0:
        half = steps_of_sums(job) + 1
        place, of_mean = np.int64(half if place < half else 0), 1.0
        for field in range(SUMS):
            jumps[U(place_of_sums(k, place) + field)] = 0.0
    before, after = place_of_sums(k, place), place_of_sums(k, place + 1)
    cut = jumps[U(before + RUN_C)] + threshold / scale
    part, numbers[NEXT_OF_WEIGHTS] = 0.0, scale
    if share != 1.0:
        of_mean *= 1.0 - share
        part, numbers[NEXT_OF_WEIGHTS] = share / of_mean * scale, 0.0
    jumps[U(after + RUN_C)] = cut
    jumps[U(after + RUN_A)] = jumps[U(before + RUN_A)] + part
    jumps[U(after + RUN_B)] = jumps[U(before + RUN_B)] + part * cut
    numbers[NEXT_OF_MEAN] = of_mean if share != 1.0 else 0.0
    numbers[NEXT_GOOD], numbers[THROUGH] = float(place + 1), 0.0


@njit(**EXACT)
def begin_lazy(job, step):
    """Set what a step does to the rows of W that its batch does not use."""
    head, numbers = head_of(job), numbers_of(job)
    rate, l1, l2 = first_rate(job), numbers[U(NUMBERS + L1)], numbers[U(NUMBERS + L2)]
    keep = 1.0 - rate * l2
    if head[UPDATE] == SGD or head[UPDATE] == AVERAGED:
        keep = max(0.0, keep)
    if head[LAZY] < STAMPED:
        numbers[SCALE], numbers[GOOD_NOW] = numbers[NEXT_SCALE], numbers[NEXT_GOOD]
        following, numbers[RESCALE], numbers[ALL_NOW] = numbers[SCALE] * keep, 1.0, 0.0
        means = head[UPDATE] == AVERAGED
        # A mean that has not begun is the weights themselves.
        least = SMALLEST_WITH_MEAN if means and numbers[U(SHARE)] != 1.0 else SMALLEST
        all_now = step + 1 == head[EPOCH_STEPS] or not following > least
        if head[LAZY] == CUT_MEAN:
            all_now = all_now or sums_are_far(job)
        elif means:
            all_now = all_now or mean_is_far(numbers)
        if all_now:
            numbers[RESCALE], following, numbers[ALL_NOW] = following, 1.0, 1.0
        numbers[NEXT_SCALE] = following
        if head[LAZY] == CUT_MEAN:
            add_sums(job, following, rate * l1)
            return
        if all_now:
            numbers[NEXT_GOOD] = 0.0
        numbers[NEXT_GOOD] += rate * l1 / following
        if means:
            move_mean(numbers, following)
        return
    a, b, c, d, e, mu = keep, 0.0, 0.0, 1.0, 0.0, numbers[BETA1]
    if head[UPDATE] == MOMENTUM:
        b, c, d = -rate * mu, l2, mu
    elif head[UPDATE] == NESTEROV:
        a, b, c, d = 1.0 - rate * (l2 + mu * l2), -rate * mu * mu, l2, mu
    elif head[UPDATE] == AVERAGED:
        d, e = 1.0 - numbers[SHARE], numbers[SHARE]
    elif head[UPDATE] == RMSPROP:
        d = numbers[BETA2]
    if head[LAZY] == STAMPED:
        c, e = c + e * a, 0.0
    step %= COUNTED_STEPS
    jumps, at = jumps_of(job), place_of_run(step, 1)
    jumps[U(at + A)], jumps[U(at + B)], jumps[U(at + C)] = a, b, c
    jumps[U(at + D)], jumps[U(at + E)], jumps[U(at + CUT)] = d, e, rate * l1
    size = 1
    while head[LAZY] == STAMPED and (step + 1) % (2 * size) == 0:
        start = step + 1 - 2 * size
        _join(
            jumps, place_of_run(start, size), place_of_run(start + size, size),
            place_of_run(start, 2 * size),
        )  # fmt: skip
        size *= 2


@njit(**EXACT)
def _join(jumps, first, then, to):
    """Write what two runs of steps are together."""
    a, b, c, d = (
        jumps[U(first + A)], jumps[U(first + B)], jumps[U(first + C)], jumps[U(first + D)],
    )  # fmt: skip
    a2, b2, c2, d2 = (
        jumps[U(then + A)], jumps[U(then + B)], jumps[U(then + C)], jumps[U(then + D)],
    )  # fmt: skip
    cut = abs(a2) * jumps[U(first + CUT)] + jumps[U(then + CUT)]
    jumps[U(to + A)], jumps[U(to + B)] = a2 * a + b2 * c, a2 * b + b2 * d
    jumps[U(to + C)], jumps[U(to + D)] = c2 * a + d2 * c, c2 * b + d2 * d
    jumps[U(to + E)], jumps[U(to + CUT)] = 0.0, cut
