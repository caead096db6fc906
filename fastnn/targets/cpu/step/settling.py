"""Weights of a first layer on sparse rows, brought up to date after steps that did not use them.

Plain SGD keeps w = scale v. A step without a gradient takes its share of l2 from the scale, and of
l1 it takes  threshold / scale  from |v|: so after any number of steps

    v' = sign(v) max(|v| - (C' - C), 0),

C being the sum of these cuts so far. Where there is a mean of the weights as well (CUT_MEAN), what
predicts is b u, with b the product of 1 - share over the steps and

    u' = u + sum over the steps of  share / b scale (|v| - (C_step - C)) sign(v)

up to the step in which v becomes 0. With A and B the sums of share / b scale, and of that times
C_step, this is  sign(v) ((|v| + C) (A' - A) - (B' - B)).  C, A and B after each step are in `jumps`
behind a number for each input: how far that is good. See `step.jumps.begin_lazy`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.targets.cpu.arguments import RUN_A, RUN_B, RUN_C
from fastnn.targets.cpu.laziness import CUT, CUT_MEAN
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, INLINE, U
from fastnn.targets.cpu.plan import LAZY
from fastnn.targets.cpu.scalars import (
    GOOD_NOW,
    NEXT_GOOD,
    NEXT_OF_MEAN,
    NEXT_OF_WEIGHTS,
    OF_MEAN,
    OF_WEIGHTS,
    RESCALE,
)
from fastnn.targets.cpu.step.jumps import place_of_sums
from fastnn.targets.cpu.views import head_of, jumps_of, layers_of, make_view, numbers_of
from fastnn.targets.fields import MEAN_SLOT, WEIGHTS, K, N


def make_settling(dtype: np.dtype, panel: int, width_of: Any) -> SimpleNamespace:
    """Return what brings rows of W up to date, for one dtype and layout.

    cut(memory, at, count, threshold): the soft threshold of `count` weights at `at`.
    follow(job, at, count, since, now): the steps between two places of CUT_MEAN.
    settle(job, i, now): have the row of input i good up to `now`: of CUT a sum of cuts, of CUT_MEAN
    a place.
    change_all(job, i0, i1): what comes before a step that brings all of W up to date, for a range.
    end_all(job, i0, i1, factor): have rows good after the step, and W be `factor` v.
    """
    real = dtype.type
    memory_of = make_view("memory", dtype)

    @njit(**INLINE)
    def cut(memory, at, count, threshold):
        # Without a branch, for which way it goes nobody can foresee.
        for c in range(at, at + count):
            value = memory[U(c)]
            memory[U(c)] = value - min(max(value, -threshold), threshold)

    @njit(**EXACT)
    def follow(job, at, count, since, now):
        memory, mean, jumps = memory_of(job), head_of(job)[MEAN_SLOT], jumps_of(job)
        k = layers_of(job)[0, K]
        first, last = place_of_sums(k, since), place_of_sums(k, now)
        start, taken = jumps[U(first + RUN_C)], jumps[U(last + RUN_C)] - jumps[U(first + RUN_C)]
        for c in range(at, at + count):
            v = float(memory[U(c)])
            size, left, end = abs(v), abs(v) - taken, last
            if v == 0.0:
                continue
            if left <= 0.0:
                left, low, high = 0.0, since, now
                while high - low > 1:  # what of the steps between has left some of it
                    middle = (low + high) >> 1
                    if jumps[U(place_of_sums(k, middle) + RUN_C)] - start < size:
                        low = middle
                    else:
                        high = middle
                end = place_of_sums(k, low)
            gained = (size + start) * (jumps[U(end + RUN_A)] - jumps[U(first + RUN_A)])
            gained -= jumps[U(end + RUN_B)] - jumps[U(first + RUN_B)]
            memory[U(c + mean)] += real(gained if v > 0.0 else -gained)
            memory[U(c)] = real(left if v > 0.0 else -left)

    @njit(**EXACT)
    def settle(job, i, now):
        memory, layers, seen, lazy = (
            memory_of(job),
            layers_of(job),
            jumps_of(job),
            head_of(job)[LAZY],
        )
        k, n, w, since = layers[0, K], layers[0, N], layers[0, WEIGHTS], seen[U(i)]
        if since == now:
            return
        for p in range((n + panel - 1) // panel):
            width = width_of(p, n)
            at = w + p * panel * (k + 1) + i * width
            if lazy == CUT:
                cut(memory, at, width, real(now - since))
            else:
                follow(job, at, width, np.int64(since), np.int64(now))
        seen[U(i)] = now

    @njit(**EXACT)
    def change(job, i0, i1, now, anew, factor, of_weights, of_mean):
        memory, head, layers, seen = memory_of(job), head_of(job), layers_of(job), jumps_of(job)
        k, n, mean = layers[0, K], layers[0, N], head[MEAN_SLOT]
        if head[LAZY] == CUT or head[LAZY] == CUT_MEAN:
            for i in range(i0, i1):
                settle(job, i, now)
                seen[U(i)] = anew
        for p in range((n + panel - 1) // panel):
            width, start = width_of(p, n), layers[0, WEIGHTS] + p * panel * (k + 1)
            first, last = start + i0 * width, start + i1 * width
            if mean > 0:
                for c in range(first, last):
                    old = memory[U(c + mean)]
                    memory[U(c + mean)] = of_weights * memory[U(c)] + of_mean * old
            for c in range(first, last):
                memory[U(c)] *= factor

    @njit(**EXACT)
    def change_all(job, i0, i1):
        numbers = numbers_of(job)
        anew = numbers[U(NEXT_GOOD)] - 1.0 if head_of(job)[LAZY] == CUT_MEAN else 0.0
        change(
            job, i0, i1, numbers[U(GOOD_NOW)], anew, real(numbers[U(RESCALE)]),
            real(numbers[U(OF_WEIGHTS)]), real(numbers[U(OF_MEAN)]),
        )  # fmt: skip

    @njit(**EXACT)
    def end_all(job, i0, i1, factor):
        numbers = numbers_of(job)
        change(
            job, i0, i1, numbers[U(NEXT_GOOD)], 0.0, factor,
            real(numbers[U(NEXT_OF_WEIGHTS)]), real(numbers[U(NEXT_OF_MEAN)]),
        )  # fmt: skip

    return SimpleNamespace(
        cut=cut, follow=follow, settle=settle, change_all=change_all, end_all=end_all
    )
