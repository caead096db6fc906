"""Gradients of the parameters, their limits, and the update rule, by a team of threads.

As in `fastnn.targets.cuda.device.layers`, every thread of the team calls every function. An update
reads what the whole batch left behind, so `rows` are all of its rows.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from fastnn.rules.updates import CLIP_EPSILON, NORM_EPSILON
from fastnn.targets.cuda.device.layers import make_dots
from fastnn.targets.cuda.device.rules import Recipe
from fastnn.targets.cuda.device.vec4 import make_vec4
from fastnn.targets.cuda.device.work import Layer, layer_of
from fastnn.targets.cuda.host.formulas import (
    BETA1,
    BETA2,
    BIAS_FACTOR,
    CLIP_NORM,
    CLIP_VALUE,
    EPSILON,
    L1,
    L2,
    MAX_NORM,
    RATE_FACTOR,
    REST1,
    REST2,
)
from fastnn.targets.cuda.host.numba_cuda import U, inner, named, quotient
from fastnn.targets.cuda.host.plan import HELD
from fastnn.targets.cuda.host.scalars import C1, C2, C3, DECAY, RATE
from fastnn.targets.fields import CLIPS, MEAN_SLOT, SIZE


class Learning(NamedTuple):
    """What the gradients of a layer meet in a step, read once for all of them.

    Attributes
    ----------
    of
        The layer.
    size
        How far the optimizer's state is from the parameters.
    kept
        Where gradients wait for their norm, or -1.
    clips, limit
        Whether each is limited, and to what.
    threshold, l2, shrink
        Penalties of W, that of l1 times the rate, and what decay leaves of W.
    rate, bias_rate
        Learning rates of W and of biases.
    constants
        What the rule takes besides.
    """

    of: Layer
    size: Any
    kept: Any
    clips: Any
    limit: Any
    threshold: Any
    l2: Any
    shrink: Any
    rate: Any
    bias_rate: Any
    constants: Any


def make_update(recipe: Recipe, rules: SimpleNamespace) -> SimpleNamespace:
    """Return what follows the backward pass, for the rules of a recipe; `work` is a `Work`.

    learning(work, layer) -> Learning.
    limited4(own, g, w): the gradients of four weights with l2 and limit by value; `own` is a
    `Learning`.
    take_in4(own, memory, at, far, w, g, count): the rule for `count` of the four weights w, which
    lie from `at` on, and their state `far` and twice that behind; zeros are written behind.
    finish(own, work, i, j, g): take in the gradient g of row i (k: the bias; k + 1: the slope) and
    column j of a layer that is trained: penalty, limit by value, and the rule, or where the norm
    comes first only keep it.
    finish4(own, work, i, j, g, count): likewise of W alone, `count` of four numbers from column j,
    a multiple of 4, on; zeros are written behind.
    update(work, layer): the gradient of a layer, and all that `finish` does.
    squares(work, unit), largest(work): of the kept gradient, a thread's part.
    hold(work, layer, factor): penalty and limit by value of the kept gradients of a layer, which
    came without; no factor.
    apply(work, layer, factor): the rule with the kept gradients of a layer.
    scale_of(numbers, total, unit): what clipping by norm multiplies a gradient by.
    clip_columns(work, layer): keep W within max_norm.
    """
    dtype = np.dtype(recipe.dtype)
    real, slots, rule = dtype.type, recipe.slots, rules.update
    across, vec4 = make_dots(dtype).across, make_vec4(dtype)
    load, store, only = vec4.load, vec4.store, vec4.first
    zero, one, places = real(0), real(1), recipe.places
    limited_l2 = recipe.rule in ("sgd", "averaged_sgd")  # see `Problem.l2_of_step`

    @inner
    def learning(work, layer):
        words, numbers, step = work.words, work.numbers, work.step
        own = places.layers + layer * places.each
        factor = numbers[U(own + RATE_FACTOR)]
        rate = step[RATE] * factor
        l2 = numbers[U(own + L2)]
        if limited_l2 and rate * l2 > 1.0:
            l2 = 1.0 / rate
        constants = (
            real(numbers[BETA1]), real(numbers[REST1]),
            real(numbers[BETA2]), real(numbers[REST2]), real(numbers[EPSILON]),
            real(step[C1]), real(step[C2]), real(step[C3]),
        )  # fmt: skip
        return Learning(
            layer_of(words, layer), words[0, SIZE], words[0, HELD], words[0, CLIPS] == 1,
            real(numbers[CLIP_VALUE]), real(rate * numbers[U(own + L1)]), real(l2),
            real(1.0 - step[DECAY] * factor), real(rate),
            real(rate * numbers[U(own + BIAS_FACTOR)]), constants,
        )  # fmt: skip

    @inner
    def stepped(own, rate, w, g, s, t, shrink, threshold):
        beta1, rest1, beta2, rest2, epsilon, c1, c2, c3 = own.constants
        return rule(
            w, g, s, t, rate, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3, threshold
        )

    @inner
    def take_in(own, par, i, at, g, shrink, threshold):
        w, rate = par[U(at)], own.bias_rate if i == own.of.k else own.rate
        s = par[U(at + own.size)] if slots > 0 else zero
        t = par[U(at + 2 * own.size)] if slots > 1 else zero
        w, s, t = stepped(own, rate, w, g, s, t, shrink, threshold)
        par[U(at)] = w
        if slots > 0:
            par[U(at + own.size)] = s
        if slots > 1:
            par[U(at + 2 * own.size)] = t

    @inner
    def clipped(g, limit):
        g = limit if g > limit else g
        return -limit if g < -limit else g

    @inner
    def limited(own, g, w):
        g += own.l2 * w
        return clipped(g, own.limit) if own.clips else g

    @inner
    def held(own, par, i, at, g):
        """Return the gradient of a number in row i, limited, and what shrinks that number."""
        shrink, threshold = one, zero
        if i < own.of.k:
            g, shrink, threshold = g + own.l2 * par[U(at)], own.shrink, own.threshold
        return clipped(g, own.limit) if own.clips else g, shrink, threshold

    @inner
    def finish(own, work, i, j, g):
        if i == own.of.k and own.of.bias == 0:
            return
        at = own.of.weights + i * own.of.ldw + j
        g, shrink, threshold = held(own, work.par, i, at, g)
        if own.kept >= 0:
            work.act[U(own.kept + at)] = g
        else:
            take_in(own, work.par, i, at, g, shrink, threshold)

    @inner
    def limited4(own, g, w):
        g0, g1 = limited(own, g[0], w[0]), limited(own, g[1], w[1])
        return g0, g1, limited(own, g[2], w[2]), limited(own, g[3], w[3])

    @inner
    def ruled(own, w, g, s, t):
        return stepped(own, own.rate, w, g, s, t, own.shrink, own.threshold)

    @inner
    def take_in4(own, memory, at, far, w, g, count):
        s = load(memory, at + far) if slots > 0 else w
        t = load(memory, at + 2 * far) if slots > 1 else w
        w0, s0, t0 = ruled(own, w[0], g[0], s[0], t[0])
        w1, s1, t1 = ruled(own, w[1], g[1], s[1], t[1])
        w2, s2, t2 = ruled(own, w[2], g[2], s[2], t[2])
        w3, s3, t3 = ruled(own, w[3], g[3], s[3], t[3])
        store(memory, at, only((w0, w1, w2, w3), count))
        if slots > 0:
            store(memory, at + far, only((s0, s1, s2, s3), count))
        if slots > 1:
            store(memory, at + 2 * far, only((t0, t1, t2, t3), count))

    @inner
    def finish4(own, work, i, j, g, count):
        at = own.of.weights + i * own.of.ldw + j
        w = load(work.par, at)
        g = limited4(own, g, w)
        if own.kept >= 0:
            store(work.act, own.kept + at, only(g, count))
        else:
            take_in4(own, work.par, at, own.size, w, g, count)

    @inner
    def update(work, layer):
        own, act = learning(work, layer), work.act
        k, n, ldn = own.of.k, own.of.n, own.of.ldn
        if own.of.trained == 0:
            return
        e = work.me
        while e < (k + 4) // 4 * n:
            q = quotient(e, n)
            j, i = e - q * n, 4 * q
            s0, s1, s2, s3 = across(
                act, own.of.input + i, own.of.ldx, act, own.of.delta + j, ldn, work.rows
            )
            finish(own, work, i, j, s0)
            if i + 1 <= k:
                finish(own, work, i + 1, j, s1)
            if i + 2 <= k:
                finish(own, work, i + 2, j, s2)
            if i + 3 <= k:
                finish(own, work, i + 3, j, s3)
            e += work.team
        if own.of.learns_slopes == 1:
            j = work.me
            while j < n:
                g = zero
                for r in range(work.rows):
                    g += act[U(own.of.z + r * ldn + j)]
                finish(own, work, k + 1, j, g)
                j += work.team

    @inner
    def largest(work):
        """Return the largest size among the kept gradients of this thread, at least 1."""
        found, kept = 1.0, work.words[0, HELD]
        e, size = work.me, work.words[0, SIZE]
        while e < size:
            found = max(found, abs(np.float64(work.act[U(kept + e)])))
            e += work.team
        return found

    @inner
    def squares(work, unit):
        """Return the sum of the squares of the kept gradients of this thread, each over `unit`."""
        total, kept = 0.0, work.words[0, HELD]
        e, size = work.me, work.words[0, SIZE]
        while e < size:
            g = np.float64(work.act[U(kept + e)]) / unit
            total += g * g
            e += work.team
        return total

    @inner
    def scale_of(numbers, total, unit):
        limit = numbers[CLIP_NORM]
        if limit == math.inf:
            return one
        if not math.isfinite(total):
            return real(math.nan)
        return real(min(1.0, limit / unit / (math.sqrt(total) + CLIP_EPSILON / unit)))

    def over_kept(does):
        """Return what does something for each kept gradient, of row i at `at`, of a layer."""

        @inner
        def over(work, layer, factor):
            own = learning(work, layer)
            n = own.of.n
            if own.of.trained == 0:
                return
            e, count = work.me, (own.of.k + 1 + own.of.learns_slopes) * n
            while e < count:
                i = quotient(e, n)
                does(own, work, i, own.of.weights + i * own.of.ldw + e - i * n, factor)
                e += work.team

        return over

    @inner
    def hold_one(own, work, i, at, factor):
        kept = U(own.kept + at)
        work.act[kept], _, _ = held(own, work.par, i, at, work.act[kept])

    @inner
    def apply_one(own, work, i, at, factor):
        if i != own.of.k or own.of.bias == 1:
            shrink, threshold = one, zero
            if i < own.of.k:
                shrink, threshold = own.shrink, own.threshold
            take_in(own, work.par, i, at, work.act[U(own.kept + at)] * factor, shrink, threshold)

    @inner
    def clip_columns(work, layer):
        of, par, words = layer_of(work.words, layer), work.par, work.words
        limit = work.numbers[U(places.layers + layer * places.each + MAX_NORM)]
        if limit == math.inf:
            return
        share, mean = real(work.step[C1]), words[0, MEAN_SLOT]
        j = work.me
        while j < of.n:
            first = of.weights + j
            unit, total = 1.0, 0.0
            for i in range(of.k):
                unit = max(unit, abs(np.float64(par[U(first + i * of.ldw)])))
            for i in range(of.k):
                w = np.float64(par[U(first + i * of.ldw)]) / unit
                total += w * w
            norm = math.sqrt(total)
            if not norm <= limit / unit:
                factor = real(limit / unit / (norm + NORM_EPSILON / unit))
                for i in range(of.k):
                    at = first + i * of.ldw
                    w = par[U(at)]
                    par[U(at)] = w * factor
                    if mean > 0:
                        # The mean has taken in what the rule made of w, not what the limit does.
                        s = par[U(at + mean)] + share * (w * factor - w)
                        par[U(at + mean)] = w * factor if share == one else s
            j += work.team

    return named(
        learning, limited4, take_in4, finish, finish4, update, largest, squares, scale_of,
        clip_columns, hold=over_kept(hold_one), apply=over_kept(apply_one),
    )  # fmt: skip
