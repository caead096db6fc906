"""One layer at a time, forward and backward, by a team of threads that share a batch.

Each function is called by every thread of a team, with its number `me` and their count `team`, and
leaves synchronising to the caller. `par` is the array of the parameters, `act` the scratch, `rows`
how many rows of the batch the team has, and `first` the position of the first of them in the
epoch, which random numbers depend on. A thread sums four rows at a time, so that what it reads of
the other factor serves four products.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.targets.cuda.device.elementary import top_of
from fastnn.targets.cuda.device.epilogue import make_epilogue
from fastnn.targets.cuda.device.rules import Recipe
from fastnn.targets.cuda.device.vec4 import make_vec4
from fastnn.targets.cuda.host.numba_cuda import I32, U, cuda, inner, named, quotient
from fastnn.targets.cuda.host.plan import (
    BATCH,
    DELTA,
    INPUT,
    LAYERS,
    LDN,
    LDW,
    LDX,
    OUTPUT,
    ROWWISE,
    WEIGHTS,
    K,
    N,
)

SOFTMAX, HARDMAX = 1, 2


@cache
def make_dots(dtype: np.dtype) -> SimpleNamespace:
    """Return ways to four sums of products with one factor in common.

    along(a, a0, a1, a2, a3, b, at, step, count): sum q is that of a[aq + i] b[at + i step] over i
    below `count`.  across(a, at_a, step_a, b, at, step, count): that of a[at_a + q + i step_a]
    b[at + i step]. Places in `a` and `step_a` are multiples of 4.
    """
    zero, vec4 = dtype.type(0), make_vec4(dtype)
    load, fma4 = vec4.load, vec4.fma4

    @inner
    def dot(s, x, b0, b1, b2, b3):
        return s + x[0] * b0 + x[1] * b1 + x[2] * b2 + x[3] * b3

    @inner
    def along(a, a0, a1, a2, a3, b, at, step, count):
        s0 = s1 = s2 = s3 = zero
        rest = I32(count)
        while rest > 3:
            b0, b1, b2, b3 = b[U(at)], b[U(at + step)], b[U(at + 2 * step)], b[U(at + 3 * step)]
            x0, x1, x2, x3 = load(a, a0), load(a, a1), load(a, a2), load(a, a3)
            s0, s1 = dot(s0, x0, b0, b1, b2, b3), dot(s1, x1, b0, b1, b2, b3)
            s2, s3 = dot(s2, x2, b0, b1, b2, b3), dot(s3, x3, b0, b1, b2, b3)
            at += 4 * step
            a0 += 4
            a1 += 4
            a2 += 4
            a3 += 4
            rest = I32(rest - 4)
        rest = I32(rest & 3)  # as it is: so that the compiler knows
        while rest > 0:
            x = b[U(at)]
            s0, s1 = s0 + a[U(a0)] * x, s1 + a[U(a1)] * x
            s2, s3 = s2 + a[U(a2)] * x, s3 + a[U(a3)] * x
            at += step
            a0 += 1
            a1 += 1
            a2 += 1
            a3 += 1
            rest = I32(rest - 1)
        return s0, s1, s2, s3

    @inner
    def across(a, at_a, step_a, b, at, step, count):
        s, rest = (zero, zero, zero, zero), I32(count)
        # Four terms at a time: their loads are under way together.
        while rest > 3:
            b0, b1, b2, b3 = b[U(at)], b[U(at + step)], b[U(at + 2 * step)], b[U(at + 3 * step)]
            x0, x1 = load(a, at_a), load(a, at_a + step_a)
            x2, x3 = load(a, at_a + 2 * step_a), load(a, at_a + 3 * step_a)
            s = fma4(fma4(fma4(fma4(s, b0, x0), b1, x1), b2, x2), b3, x3)
            at += 4 * step
            at_a += 4 * step_a
            rest = I32(rest - 4)
        rest = I32(rest & 3)  # as it is: so that the compiler knows
        while rest > 0:
            s = fma4(s, b[U(at)], load(a, at_a))
            at += step
            at_a += step_a
            rest = I32(rest - 1)
        return s

    return named(along, across)


def make_layers(recipe: Recipe, rules: SimpleNamespace) -> SimpleNamespace:
    """Return the passes through a layer, for the rules of a recipe, with those of `epilogue`.

    gather(act, words, numbers, keys, X, order, rows, first, training, me, team): the inputs of
    the batch.  gather_by(lanes): likewise, so many neighbours a row.
    forward(par, act, words, numbers, keys, layer, rows, first, training, me, team).
    forward_rows(act, words, ..., layer, rows, ...): softmax and hardmax, after `forward`.
    last_derivative(act, par, ...): that for all of the last layer, whose DELTA the loss wrote.
    backward(par, act, ..., layer, ...): from DELTA of `layer` to that of the layer before it.
    backward_rows(act, words, layer, rows, me, team): the derivative of softmax, after `backward`.
    """
    dtype = np.dtype(recipe.dtype)
    real = dtype.type
    zero, one = real(0), real(1)
    along, exp, epilogue = make_dots(dtype).along, rules.exp, make_epilogue(recipe, rules)
    drops_behind, dropped = epilogue.drops_behind, epilogue.dropped
    ahead, back, pass_on = epilogue.ahead, epilogue.back, epilogue.pass_on
    finish_forward, finish_backward = epilogue.finish_forward, epilogue.finish_backward

    @inner
    def gather(act, words, numbers, keys, X, order, rows, first, training, me, team):
        k, ldx, at = words[1, K], words[1, LDX], words[1, INPUT]
        drops = drops_behind(words, numbers, keys, -1, training)
        e = me
        while e < rows * k:
            r = quotient(e, k)
            i = e - r * k
            x = X[U(order[U(first + r)]), U(i)]
            act[U(at + r * ldx + i)] = dropped(drops, x, (first + r) * k + i)
            e += team

    def gather_by(lanes):
        """Return what gathers rows by so many neighbours each."""

        @inner
        def gather_rows(act, words, numbers, keys, X, order, rows, first, training, me, team):
            k, ldx, at = words[1, K], words[1, LDX], words[1, INPUT]
            drops = drops_behind(words, numbers, keys, -1, training)
            lane = me % lanes
            r = me // lanes
            while r < rows:
                source, i, to, drawn = order[U(first + r)], lane, at + r * ldx, (first + r) * k
                while i < k:
                    # Four loads are under way together.
                    i1, i2, i3 = i + lanes, i + 2 * lanes, i + 3 * lanes
                    x0, x1 = X[U(source), U(i)], X[U(source), U(min(i1, k - 1))]
                    x2, x3 = X[U(source), U(min(i2, k - 1))], X[U(source), U(min(i3, k - 1))]
                    act[U(to + i)] = dropped(drops, x0, drawn + i)
                    if i1 < k:
                        act[U(to + i1)] = dropped(drops, x1, drawn + i1)
                    if i2 < k:
                        act[U(to + i2)] = dropped(drops, x2, drawn + i2)
                    if i3 < k:
                        act[U(to + i3)] = dropped(drops, x3, drawn + i3)
                    i += 4 * lanes
                r += team // lanes

        return gather_rows

    def by_four_rows(finish):
        """Return what forms sums of rows, which lie `lda` apart, four of them at a time.

        Sum (r, j) is that of act[a + r lda + i] par[b + j across + i step] over i below `count`.
        """

        @inner
        def sums(own, act, par, a, lda, n, b, across, step, count, rows, first, me, team):
            last, e = rows - 1, me
            while e < (rows + 3) // 4 * n:
                q = quotient(e, n)
                j, r = e - q * n, 4 * q
                s0, s1, s2, s3 = along(
                    act, a + r * lda, a + min(r + 1, last) * lda, a + min(r + 2, last) * lda,
                    a + min(r + 3, last) * lda, par, b + j * across, step, count,
                )  # fmt: skip
                finish(own, act, par, r, j, s0, first)
                if r + 1 < rows:
                    finish(own, act, par, r + 1, j, s1, first)
                if r + 2 < rows:
                    finish(own, act, par, r + 2, j, s2, first)
                if r + 3 < rows:
                    finish(own, act, par, r + 3, j, s3, first)
                e += team

        return sums

    outputs_of, derivatives_of = by_four_rows(finish_forward), by_four_rows(finish_backward)

    @inner
    def forward(par, act, words, numbers, keys, layer, rows, first, training, me, team):
        word, own = 1 + layer, ahead(words, numbers, keys, layer, training)
        outputs_of(
            own, act, par, words[word, INPUT], words[word, LDX], words[word, N],
            words[word, WEIGHTS], 1, words[word, LDW], words[word, K] + 1, rows, first, me, team,
        )  # fmt: skip

    @inner
    def softmax_row(act, at, n):
        top, total = top_of(act, at, n), zero
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
        own, kind = ahead(words, numbers, keys, layer, training), words[1 + layer, ROWWISE]
        r = me
        while r < rows:
            at = own.output + r * own.ldn
            if kind == SOFTMAX:
                softmax_row(act, at, own.n)
            else:
                hardmax_row(act, at, own.n)
            for j in range(own.n):
                pass_on(own, act, r, j, act[U(at + j)], first)
            r += team

    @inner
    def last_derivative(act, par, words, numbers, keys, rows, first, me, team):
        """Turn the derivatives of the loss by the outputs into those by z of the last layer."""
        own = back(words, numbers, keys, words[0, LAYERS] - 1)
        if own.code >= 0:
            e = me
            while e < rows * own.n:
                r = quotient(e, own.n)
                j = e - r * own.n
                da = act[U(own.delta + r * own.ldn + j)]
                finish_backward(own, act, par, r, j, da, first)
                e += team

    @inner
    def backward(par, act, words, numbers, keys, layer, rows, first, me, team):
        word, own = 1 + layer, back(words, numbers, keys, layer - 1)
        derivatives_of(
            own, act, par, words[word, DELTA], words[word, LDN], words[word, K],
            words[word, WEIGHTS], words[word, LDW], 1, words[word, N], rows, first, me, team,
        )  # fmt: skip

    @inner
    def backward_rows(act, words, layer, rows, me, team):
        word = 1 + layer
        n, ldn, hard = words[word, N], words[word, LDN], words[word, ROWWISE] == HARDMAX
        output, delta = words[word, OUTPUT], words[word, DELTA]
        r = me
        while r < rows:
            a, d = output + r * ldn, delta + r * ldn
            total = zero
            for j in range(n):
                total += act[U(a + j)] * act[U(d + j)]
            for j in range(n):
                da = act[U(d + j)]
                act[U(d + j)] = zero if hard else act[U(a + j)] * (da - total)
            r += team

    @inner
    def fill_ones(act, words, layer, me, team):
        """Write the ones that biases go with, at the end of each row of a layer's inputs."""
        word, batch = 1 + layer, words[0, BATCH]
        at, ldx = words[word, INPUT] + words[word, K], words[word, LDX]
        r = me
        while r < batch:
            act[U(at + r * ldx)] = one
            r += team

    return named(
        gather, gather_by, forward, forward_rows, last_derivative, backward, backward_rows,
        fill_ones, **vars(epilogue),
    )  # fmt: skip


def make_rowwise(o: SimpleNamespace, plan: np.ndarray) -> tuple[Any, Any]:
    """Return ``forward(...)`` and ``backward(...)``: those of softmax and hardmax, for a block.

    They do what `o.forward_rows`, in training, and `o.backward_rows` do, where a layer is one of
    those, and then wait for the block. Of a plan with these words that has no such layer, nothing
    is compiled.
    """
    some = bool((plan[1:, ROWWISE] > 0).any())
    forward_rows, backward_rows = o.forward_rows, o.backward_rows

    @inner
    def forward(act, words, numbers, keys, layer, rows, first, me, team):
        if some:
            if words[1 + layer, ROWWISE] > 0:
                forward_rows(act, words, numbers, keys, layer, rows, first, True, me, team)
                cuda.syncthreads()

    @inner
    def backward(act, words, layer, rows, me, team):
        if some:
            if words[1 + layer, ROWWISE] > 0:
                backward_rows(act, words, layer, rows, me, team)
                cuda.syncthreads()

    return forward, backward
