"""Gradients of the parameters, their limits, and the update rule, by a team of threads.

As in `fastnn.cuda.layers`, every thread of the team calls every function. An update reads what the
whole batch left behind, so `rows` are all of its rows.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.cuda.device import U, inner
from fastnn.cuda.plan import (
    BETA1,
    BETA2,
    BIAS,
    CLIP_NORM,
    CLIP_VALUE,
    CLIPS,
    CONSTANTS,
    DELTA,
    EPSILON,
    INPUT,
    KEPT,
    L1,
    L2,
    LAYER_NUMBERS,
    LAYERS,
    LDN,
    LDW,
    LDX,
    LEARNED,
    MAX_NORM,
    MEAN,
    REST1,
    REST2,
    SIZE,
    STATE,
    WEIGHTS,
    K,
    N,
    Z,
)
from fastnn.cuda.rules import Recipe
from fastnn.cuda.steps import C1, C2, C3, RATE, SHRINK
from fastnn.rules.updates import CLIP_EPSILON, NORM_EPSILON


def make_update(recipe: Recipe, rules: SimpleNamespace, dot4: Any) -> SimpleNamespace:
    """Return what follows the backward pass, for the rules of a recipe.

    constants(numbers, steps, step): what the rule takes in a step, `shrink` left out;
    penalised(g, w, l1, l2), clipped(g, limit): what comes before the rule.
    finish(par, act, words, numbers, steps, step, layer, i, j, g): take in the gradient g of row i
    (k: the bias; k + 1: the slope) and column j of a layer: penalty, limit by value, and the rule,
    or where the norm comes first only keep it.
    update(par, act, words, numbers, steps, step, layer, rows, me, team): the gradient of a layer.
    squares(act, words, unit, me, team), largest(...): of the kept gradient, a thread's part.
    apply(par, act, words, numbers, steps, step, factor, me, team): the rule with kept gradients.
    scale_of(numbers, total, unit): what clipping by norm multiplies a gradient by.
    hold(par, words, numbers, steps, step, layer, me, team): keep the columns of W within max_norm.
    """
    dtype = np.dtype(recipe.dtype)
    real, slots, rule = dtype.type, recipe.slots, rules.update
    zero, one = real(0), real(1)

    @inner
    def constants(numbers, steps, step):
        """Return what the rule takes besides the parameter's own, `shrink` left out."""
        return (
            real(steps[U(step), RATE]), real(numbers[BETA1]), real(numbers[REST1]),
            real(numbers[BETA2]), real(numbers[REST2]), real(numbers[EPSILON]),
            real(steps[U(step), C1]), real(steps[U(step), C2]), real(steps[U(step), C3]),
        )  # fmt: skip

    @inner
    def apply_rule(par, words, numbers, steps, step, at, g, shrink):
        size = words[0, SIZE]
        s = par[U(at + size)] if slots > 0 else zero
        t = par[U(at + 2 * size)] if slots > 1 else zero
        rate, beta1, rest1, beta2, rest2, epsilon, c1, c2, c3 = constants(numbers, steps, step)
        w, s, t = rule(
            par[U(at)], g, s, t, rate, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3
        )
        par[U(at)] = w
        if slots > 0:
            par[U(at + size)] = s
        if slots > 1:
            par[U(at + 2 * size)] = t

    @inner
    def penalised(g, w, l1, l2):
        sign = (one if w > zero else zero) - (one if w < zero else zero)
        return g + l2 * w + l1 * sign

    @inner
    def clipped(g, limit):
        g = limit if g > limit else g
        return -limit if g < -limit else g

    @inner
    def finish(par, act, words, numbers, steps, step, layer, i, j, g):
        word, own = 1 + layer, CONSTANTS + layer * LAYER_NUMBERS
        k = words[word, K]
        if i == k and words[word, BIAS] == 0:
            return
        at = words[word, WEIGHTS] + i * words[word, LDW] + j
        shrink = one
        if i < k:
            g = penalised(g, par[U(at)], real(numbers[U(own + L1)]), real(numbers[U(own + L2)]))
            shrink = real(steps[U(step), SHRINK])
        if words[0, CLIPS] == 1:
            g = clipped(g, real(numbers[CLIP_VALUE]))
        if words[0, KEPT] >= 0:
            act[U(words[0, KEPT] + at)] = g
        else:
            apply_rule(par, words, numbers, steps, step, at, g, shrink)

    @inner
    def update(par, act, words, numbers, steps, step, layer, rows, me, team):
        word = 1 + layer
        k, n, ldx, ldn = words[word, K], words[word, N], words[word, LDX], words[word, LDN]
        x, d = words[word, INPUT], words[word, DELTA]
        for e in range(me, (k + 4) // 4 * n, team):
            q = e // n
            j, i = e - q * n, 4 * q
            s0, s1, s2, s3 = dot4(
                act, x + i, x + min(i + 1, k), x + min(i + 2, k), x + min(i + 3, k), ldx,
                act, d + j, ldn, rows,
            )  # fmt: skip
            finish(par, act, words, numbers, steps, step, layer, i, j, s0)
            if i + 1 <= k:
                finish(par, act, words, numbers, steps, step, layer, i + 1, j, s1)
            if i + 2 <= k:
                finish(par, act, words, numbers, steps, step, layer, i + 2, j, s2)
            if i + 3 <= k:
                finish(par, act, words, numbers, steps, step, layer, i + 3, j, s3)
        if words[word, LEARNED] == 1:
            for j in range(me, n, team):
                g = zero
                for r in range(rows):
                    g += act[U(words[word, Z] + r * ldn + j)]
                finish(par, act, words, numbers, steps, step, layer, k + 1, j, g)

    @inner
    def largest(act, words, me, team):
        """Return the largest size among the kept gradients of this thread, at least 1."""
        found = 1.0
        for e in range(me, words[0, SIZE], team):
            found = max(found, abs(np.float64(act[U(words[0, KEPT] + e)])))
        return found

    @inner
    def squares(act, words, unit, me, team):
        """Return the sum of the squares of the kept gradients of this thread, each over `unit`."""
        total = 0.0
        for e in range(me, words[0, SIZE], team):
            g = np.float64(act[U(words[0, KEPT] + e)]) / unit
            total += g * g
        return total

    @inner
    def scale_of(numbers, total, unit):
        if not math.isfinite(total):
            return real(math.nan)
        limit = numbers[CLIP_NORM]
        return real(min(1.0, limit / unit / (math.sqrt(total) + CLIP_EPSILON / unit)))

    @inner
    def apply(par, act, words, numbers, steps, step, factor, me, team):
        for layer in range(words[0, LAYERS]):
            word = 1 + layer
            k, n, ldw = words[word, K], words[word, N], words[word, LDW]
            for e in range(me, (k + 1 + words[word, LEARNED]) * n, team):
                i = e // n
                if i != k or words[word, BIAS] == 1:
                    at = words[word, WEIGHTS] + i * ldw + e - i * n
                    g = act[U(words[0, KEPT] + at)] * factor
                    shrink = real(steps[U(step), SHRINK]) if i < k else one
                    apply_rule(par, words, numbers, steps, step, at, g, shrink)

    @inner
    def hold(par, words, numbers, steps, step, layer, me, team):
        word, own = 1 + layer, CONSTANTS + layer * LAYER_NUMBERS
        limit, k, ldw = numbers[U(own + MAX_NORM)], words[word, K], words[word, LDW]
        if limit == math.inf:
            return
        share, mean = real(steps[U(step), C1]), words[0, STATE] - words[0, SIZE]
        for j in range(me, words[word, N], team):
            first = words[word, WEIGHTS] + j
            unit, total = 1.0, 0.0
            for i in range(k):
                unit = max(unit, abs(np.float64(par[U(first + i * ldw)])))
            for i in range(k):
                w = np.float64(par[U(first + i * ldw)]) / unit
                total += w * w
            norm = math.sqrt(total)
            if not norm <= limit / unit:
                factor = real(limit / unit / (norm + NORM_EPSILON / unit))
                for i in range(k):
                    at = first + i * ldw
                    w = par[U(at)]
                    par[U(at)] = w * factor
                    if words[0, MEAN] == 1:
                        # The mean has taken in what the rule made of w, not what the limit does.
                        s = par[U(at + mean)] + share * (w * factor - w)
                        par[U(at + mean)] = w * factor if share == one else s

    return SimpleNamespace(
        constants=constants,
        penalised=penalised,
        clipped=clipped,
        finish=finish,
        update=update,
        largest=largest,
        squares=squares,
        scale_of=scale_of,
        apply=apply,
        hold=hold,
    )
