"""What a step does to rows of the first W that its batch does not use, set as the step begins.

`fastnn.targets.cpu.laziness` says what is made good later, and when. `jumps` has what steps without
a gradient do, six numbers a run of steps (see `JUMP`). The run of `size` steps from number `start`
on, for `size` a power of two that divides `start`, is number 2 start + size - 1; steps are counted
from 0 again after `COUNTED_STEPS`.
"""

from __future__ import annotations

from fastnn.rules.table import UPDATE_CODES
from fastnn.targets.cpu.arguments import CUT, JUMP, A, B, C, D, E
from fastnn.targets.cpu.laziness import COUNTED_STEPS, STAMPED
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, U
from fastnn.targets.cpu.plan import EPOCH_STEPS, LAZY, UPDATE
from fastnn.targets.cpu.scalars import (
    BETA1,
    BETA2,
    CUT_NOW,
    L1,
    L2,
    NEXT_CUT,
    NEXT_SCALE,
    NUMBERS,
    RATE,
    RATE_FACTOR,
    RESCALE,
    SCALE,
    SHARE,
)
from fastnn.targets.cpu.views import head_of, jumps_of, numbers_of

SMALLEST = 2.0**-40  # scale of W: what is stored is W divided by it, and must not overflow
MOMENTUM, NESTEROV, RMSPROP, AVERAGED = (
    UPDATE_CODES[name] for name in ("momentum", "nesterov", "rmsprop", "averaged_sgd")
)


@njit(**EXACT)
def place_of_run(start, size):
    """Return where in `jumps` a run of steps is."""
    return JUMP * (2 * start + size - 1)


@njit(**EXACT)
def first_rate(job):
    """Return the learning rate of this step for the first layer."""
    numbers = numbers_of(job)
    return numbers[U(RATE)] * numbers[U(NUMBERS + RATE_FACTOR)]


@njit(**EXACT)
def begin_lazy(job, step):
    """Set what a step does to the rows of W that its batch does not use."""
    head, numbers = head_of(job), numbers_of(job)
    rate, l1, l2 = first_rate(job), numbers[U(NUMBERS + L1)], numbers[U(NUMBERS + L2)]
    keep = 1.0 - rate * l2
    if head[LAZY] < STAMPED:
        numbers[SCALE], numbers[CUT_NOW] = numbers[NEXT_SCALE], numbers[NEXT_CUT]
        following, numbers[RESCALE] = numbers[SCALE] * keep, 1.0
        if step + 1 == head[EPOCH_STEPS] or not following > SMALLEST:
            numbers[RESCALE], following, numbers[NEXT_CUT] = following, 1.0, 0.0
        numbers[NEXT_SCALE] = following
        numbers[NEXT_CUT] += rate * l1 / following
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
