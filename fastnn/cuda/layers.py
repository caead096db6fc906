"""One layer at a time, forward and backward, by a team of threads that share a batch.

Each function is called by every thread of a team, with its number `me` and their count `team`, and
leaves synchronising to the caller. `par` is the array of the parameters, `act` the scratch, `rows`
how many rows of the batch the team has, and `first` the position of the first of them in the
epoch, which random numbers depend on. A thread sums four rows at a time, so that what it reads of
the other factor serves four products.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.cuda.device import I32, U, inner
from fastnn.cuda.plan import (
    ALPHA,
    BATCH,
    CODE,
    CONSTANTS,
    DELTA,
    DRAWN,
    DROPS,
    INPUT,
    KEPT_FACTOR,
    LAYER_NUMBERS,
    LAYERS,
    LDN,
    LDW,
    LDX,
    LEARNED,
    NEEDS_Z,
    OUTPUT,
    ROWWISE,
    THRESHOLD,
    WEIGHTS,
    K,
    N,
    Z,
)
from fastnn.cuda.random import make_random
from fastnn.cuda.rules import Recipe

SOFTMAX, HARDMAX = 1, 2


def make_dot(dtype: np.dtype) -> Any:
    """Return ``dot4(a, a0, a1, a2, a3, step_a, b, at, step_b, count)``: four sums of products.

    Sum q is that of a[aq + i step_a] b[at + i step_b] over i below `count`.
    """
    zero = dtype.type(0)

    @inner
    def add(s, a, a0, a1, a2, a3, x):
        s0, s1, s2, s3 = s
        return s0 + a[U(a0)] * x, s1 + a[U(a1)] * x, s2 + a[U(a2)] * x, s3 + a[U(a3)] * x

    @inner
    def dot4(a, a0, a1, a2, a3, step_a, b, at, step_b, count):
        s, rest = (zero, zero, zero, zero), I32(count)
        two_a, two_b = 2 * step_a, 2 * step_b
        three_a, three_b = 3 * step_a, 3 * step_b
        # Four terms at a time: their loads are under way together.
        while rest > 3:
            x, y, u, v = b[U(at)], b[U(at + step_b)], b[U(at + two_b)], b[U(at + three_b)]
            s = add(s, a, a0, a1, a2, a3, x)
            s = add(s, a, a0 + step_a, a1 + step_a, a2 + step_a, a3 + step_a, y)
            s = add(s, a, a0 + two_a, a1 + two_a, a2 + two_a, a3 + two_a, u)
            s = add(s, a, a0 + three_a, a1 + three_a, a2 + three_a, a3 + three_a, v)
            at += 4 * step_b
            a0 += 4 * step_a
            a1 += 4 * step_a
            a2 += 4 * step_a
            a3 += 4 * step_a
            rest = I32(rest - 4)
        while rest > 0:
            s = add(s, a, a0, a1, a2, a3, b[U(at)])
            at += step_b
            a0 += step_a
            a1 += step_a
            a2 += step_a
            a3 += step_a
            rest = I32(rest - 1)
        return s

    return dot4


def make_layers(recipe: Recipe, rules: SimpleNamespace) -> SimpleNamespace:
    """Return the passes through a layer, for the rules of a recipe.

    gather(act, words, numbers, keys, X, order, rows, first, training, me, team): the inputs of
    the batch.
    finish_forward(act, par, words, numbers, keys, layer, r, j, z, first, training): what follows
    z = (x W + b)[r, j]: the activation, and the dropout before the next layer.
    forward(par, act, words, numbers, keys, layer, rows, first, training, me, team).
    forward_rows(act, words, ..., layer, rows, ...): softmax and hardmax, after `forward`.
    finish_backward(...): what follows da[r, j]: dropout and slope; into DELTA.
    last_slope(act, par, ...): that for all of the last layer, whose DELTA the loss wrote.
    backward(par, act, ..., layer, ...): from DELTA of `layer` to that of the layer before it.
    backward_rows(act, words, layer, rows, me, team): the slope of softmax, after `backward`.
    """
    dtype = np.dtype(recipe.dtype)
    real = dtype.type
    zero, one = real(0), real(1)
    random, dot4 = make_random(dtype), make_dot(dtype)
    activate, slope_of, exp = rules.activate, rules.slope, rules.exp
    keeps, draw = random.keeps, random.slope

    @inner
    def number_of(numbers, layer, field):
        return real(numbers[U(CONSTANTS + layer * LAYER_NUMBERS + field)])

    @inner
    def gather(act, words, numbers, keys, X, order, rows, first, training, me, team):
        word = 1
        k, ldx, at = words[word, K], words[word, LDX], words[word, INPUT]
        for e in range(me, rows * k, team):
            r = e // k
            i = e - r * k
            x = X[U(order[U(first + r)]), U(i)]
            if training and words[word, DROPS] == 1:
                kept = keeps(keys[0], (first + r) * k + i, words[word, THRESHOLD])
                x = x * number_of(numbers, 0, KEPT_FACTOR) if kept else x * zero
            act[U(at + r * ldx + i)] = x

    @inner
    def finish_forward(act, par, words, numbers, keys, layer, r, j, z, first, training):
        word = 1 + layer
        n, at = words[word, N], r * words[word, LDN] + j
        if words[word, NEEDS_Z] == 1:
            act[U(words[word, Z] + at)] = z
        alpha = number_of(numbers, layer, ALPHA)
        if words[word, LEARNED] == 1:
            alpha = par[U(words[word, WEIGHTS] + (words[word, K] + 1) * words[word, LDW] + j)]
        if training and words[word, DRAWN] == 1:
            alpha = draw(keys[U(words[0, LAYERS] + layer)], (first + r) * n + j)
        a = z
        if words[word, CODE] >= 0:
            a = activate(words[word, CODE], z, alpha)
        act[U(words[word, OUTPUT] + at)] = a
        if words[word, ROWWISE] == 0:
            pass_on(act, words, numbers, keys, layer, r, j, a, first, training)

    @inner
    def pass_on(act, words, numbers, keys, layer, r, j, a, first, training):
        """Hand a number of a layer's outputs to the next layer, through its dropout."""
        if layer + 1 < words[0, LAYERS]:
            word = 2 + layer
            if words[word, DROPS] == 1:
                if training:
                    width = words[word, K]
                    kept = keeps(
                        keys[U(layer + 1)], (first + r) * width + j, words[word, THRESHOLD]
                    )
                    a = a * number_of(numbers, layer + 1, KEPT_FACTOR) if kept else a * zero
                act[U(words[word, INPUT] + r * words[word, LDX] + j)] = a

    @inner
    def forward(par, act, words, numbers, keys, layer, rows, first, training, me, team):
        word = 1 + layer
        k, n, ldx, ldw = words[word, K], words[word, N], words[word, LDX], words[word, LDW]
        x, w, last = words[word, INPUT], words[word, WEIGHTS], rows - 1
        for e in range(me, (rows + 3) // 4 * n, team):
            q = e // n
            j, r = e - q * n, 4 * q
            s0, s1, s2, s3 = dot4(
                act, x + r * ldx, x + min(r + 1, last) * ldx, x + min(r + 2, last) * ldx,
                x + min(r + 3, last) * ldx, 1, par, w + j, ldw, k + 1,
            )  # fmt: skip
            finish_forward(act, par, words, numbers, keys, layer, r, j, s0, first, training)
            if r + 1 < rows:
                finish_forward(act, par, words, numbers, keys, layer, r + 1, j, s1, first, training)
            if r + 2 < rows:
                finish_forward(act, par, words, numbers, keys, layer, r + 2, j, s2, first, training)
            if r + 3 < rows:
                finish_forward(act, par, words, numbers, keys, layer, r + 3, j, s3, first, training)

    @inner
    def softmax_row(act, at, n):
        top = act[U(at)]
        for j in range(1, n):
            z = act[U(at + j)]
            top = z if z > top or z != z else top
        total = zero
        for j in range(n):
            a = exp(act[U(at + j)] - top)
            act[U(at + j)] = a
            total += a
        for j in range(n):
            act[U(at + j)] /= total

    @inner
    def hardmax_row(act, at, n):
        best = -1
        for j in range(n):
            z = act[U(at + j)]
            if z == z and (best < 0 or z > act[U(at + best)]):
                best = j
        for j in range(n):
            z = act[U(at + j)]
            if z == z:  # NaN stays NaN
                act[U(at + j)] = one if j == best else zero

    @inner
    def forward_rows(act, words, numbers, keys, layer, rows, first, training, me, team):
        word = 1 + layer
        n = words[word, N]
        for r in range(me, rows, team):
            at = words[word, OUTPUT] + r * words[word, LDN]
            if words[word, ROWWISE] == SOFTMAX:
                softmax_row(act, at, n)
            else:
                hardmax_row(act, at, n)
            for j in range(n):
                pass_on(act, words, numbers, keys, layer, r, j, act[U(at + j)], first, training)

    @inner
    def finish_backward(act, par, words, numbers, keys, layer, r, j, da, first):
        """Turn da = dL/da[r, j], before the dropout behind the layer, into dL/dz[r, j]."""
        word = 1 + layer
        n, at = words[word, N], r * words[word, LDN] + j
        if layer + 1 < words[0, LAYERS] and words[word + 1, DROPS] == 1:
            kept = keeps(keys[U(layer + 1)], (first + r) * n + j, words[word + 1, THRESHOLD])
            da = da * number_of(numbers, layer + 1, KEPT_FACTOR) if kept else da * zero
        if words[word, CODE] >= 0:
            a, alpha = act[U(words[word, OUTPUT] + at)], number_of(numbers, layer, ALPHA)
            z = act[U(words[word, Z] + at)]
            if words[word, LEARNED] == 1:
                alpha = par[U(words[word, WEIGHTS] + (words[word, K] + 1) * words[word, LDW] + j)]
                # A slope may be negative, so the sign of a says nothing; and z is needed no more.
                a = z
                act[U(words[word, Z] + at)] = da * (z if z < zero else z * zero)
            if words[word, DRAWN] == 1:
                alpha = draw(keys[U(words[0, LAYERS] + layer)], (first + r) * n + j)
            da = da * slope_of(words[word, CODE], z, a, alpha)
        act[U(words[word, DELTA] + at)] = da

    @inner
    def last_slope(act, par, words, numbers, keys, rows, first, me, team):
        """Turn the derivatives of the loss by the outputs into those by z of the last layer."""
        layer = words[0, LAYERS] - 1
        word = 1 + layer
        n = words[word, N]
        if words[word, CODE] >= 0:
            for e in range(me, rows * n, team):
                r = e // n
                j = e - r * n
                da = act[U(words[word, DELTA] + r * words[word, LDN] + j)]
                finish_backward(act, par, words, numbers, keys, layer, r, j, da, first)

    @inner
    def backward(par, act, words, numbers, keys, layer, rows, first, me, team):
        word = 1 + layer
        k, n, ldn, ldw = words[word, K], words[word, N], words[word, LDN], words[word, LDW]
        d, w, last, below = words[word, DELTA], words[word, WEIGHTS], rows - 1, layer - 1
        for e in range(me, (rows + 3) // 4 * k, team):
            q = e // k
            i, r = e - q * k, 4 * q
            s0, s1, s2, s3 = dot4(
                act, d + r * ldn, d + min(r + 1, last) * ldn, d + min(r + 2, last) * ldn,
                d + min(r + 3, last) * ldn, 1, par, w + i * ldw, 1, n,
            )  # fmt: skip
            finish_backward(act, par, words, numbers, keys, below, r, i, s0, first)
            if r + 1 < rows:
                finish_backward(act, par, words, numbers, keys, below, r + 1, i, s1, first)
            if r + 2 < rows:
                finish_backward(act, par, words, numbers, keys, below, r + 2, i, s2, first)
            if r + 3 < rows:
                finish_backward(act, par, words, numbers, keys, below, r + 3, i, s3, first)

    @inner
    def backward_rows(act, words, layer, rows, me, team):
        word = 1 + layer
        n = words[word, N]
        for r in range(me, rows, team):
            at = r * words[word, LDN]
            a, d = words[word, OUTPUT] + at, words[word, DELTA] + at
            total = zero
            for j in range(n):
                total += act[U(a + j)] * act[U(d + j)]
            for j in range(n):
                da = act[U(d + j)]
                hard = words[word, ROWWISE] == HARDMAX
                act[U(d + j)] = zero if hard else act[U(a + j)] * (da - total)

    @inner
    def fill_ones(act, words, me, team):
        """Write the ones that biases go with, at the end of each row of inputs."""
        for layer in range(words[0, LAYERS]):
            word = 1 + layer
            at = words[word, INPUT] + words[word, K]
            for r in range(me, words[0, BATCH], team):
                act[U(at + r * words[word, LDX])] = one

    return SimpleNamespace(
        gather=gather,
        finish_forward=finish_forward,
        forward=forward,
        forward_rows=forward_rows,
        finish_backward=finish_backward,
        last_slope=last_slope,
        backward=backward,
        backward_rows=backward_rows,
        fill_ones=fill_ones,
        dot4=dot4,
        number_of=number_of,
    )
