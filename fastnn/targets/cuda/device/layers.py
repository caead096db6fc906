"""One layer at a time, forward and backward, by a team of threads that share a batch.

Each function is called by every thread of a team with its `Work`, and leaves synchronising to the
caller. A thread sums four rows at a time, so that what it reads of the other factor serves four
products.
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
from fastnn.targets.cuda.device.work import layer_of
from fastnn.targets.cuda.host.numba_cuda import I32, U, cuda, inner, named, quotient
from fastnn.targets.fields import BATCH, LAYERS, ROWWISE

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

    gather(work, X): the inputs of the batch.  gather_by(lanes): likewise, so many neighbours a row.
    forward(work, layer).  forward_rows(work, layer): softmax and hardmax, after `forward`.
    last_derivative(work): that for all of the last layer, whose DELTA the loss wrote.
    backward(work, layer): from DELTA of `layer` to that of the layer before it.
    backward_rows(work, layer): the derivative of softmax, after `backward`.
    """
    dtype = np.dtype(recipe.dtype)
    real = dtype.type
    zero, one = real(0), real(1)
    along, exp, epilogue = make_dots(dtype).along, rules.exp, make_epilogue(recipe, rules)
    drops_behind, dropped = epilogue.drops_behind, epilogue.dropped
    ahead, back, pass_on = epilogue.ahead, epilogue.back, epilogue.pass_on
    finish_forward, finish_backward = epilogue.finish_forward, epilogue.finish_backward

    @inner
    def gather(work, X):
        at, first, e = layer_of(work.words, 0), work.first, work.me
        drops = drops_behind(work, -1)
        while e < work.rows * at.k:
            r = quotient(e, at.k)
            i = e - r * at.k
            x = X[U(work.order[U(first + r)]), U(i)]
            work.act[U(at.input + r * at.ldx + i)] = dropped(drops, x, (first + r) * at.k + i)
            e += work.team

    def gather_by(lanes):
        """Return what gathers rows by so many neighbours each."""

        @inner
        def gather_rows(work, X):
            at, act, first = layer_of(work.words, 0), work.act, work.first
            k, drops = at.k, drops_behind(work, -1)
            lane = work.me % lanes
            r = work.me // lanes
            while r < work.rows:
                source, to, drawn = work.order[U(first + r)], at.input + r * at.ldx, (first + r) * k
                i = lane
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
                r += work.team // lanes

        return gather_rows

    def by_four_rows(finish):
        """Return what forms sums of rows, which lie `lda` apart, four of them at a time.

        Sum (r, j) is that of act[a + r lda + i] par[b + j across + i step] over i below `count`.
        """

        @inner
        def sums(own, work, a, lda, n, b, across, step, count):
            rows, e = work.rows, work.me
            last = rows - 1
            while e < (rows + 3) // 4 * n:
                q = quotient(e, n)
                j, r = e - q * n, 4 * q
                s0, s1, s2, s3 = along(
                    work.act, a + r * lda, a + min(r + 1, last) * lda, a + min(r + 2, last) * lda,
                    a + min(r + 3, last) * lda, work.par, b + j * across, step, count,
                )  # fmt: skip
                finish(own, work, r, j, s0)
                if r + 1 < rows:
                    finish(own, work, r + 1, j, s1)
                if r + 2 < rows:
                    finish(own, work, r + 2, j, s2)
                if r + 3 < rows:
                    finish(own, work, r + 3, j, s3)
                e += work.team

        return sums

    outputs_of, derivatives_of = by_four_rows(finish_forward), by_four_rows(finish_backward)

    @inner
    def forward(work, layer):
        at, own = layer_of(work.words, layer), ahead(work, layer)
        outputs_of(own, work, at.input, at.ldx, at.n, at.weights, 1, at.ldw, at.k + 1)

    @inner
    def backward(work, layer):
        at, own = layer_of(work.words, layer), back(work, layer - 1)
        derivatives_of(own, work, at.delta, at.ldn, at.k, at.weights, at.ldw, 1, at.n)

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
    def forward_rows(work, layer):
        own, r = ahead(work, layer), work.me
        n, ldn = own.of.n, own.of.ldn
        while r < work.rows:
            at = own.of.output + r * ldn
            if own.of.rowwise == SOFTMAX:
                softmax_row(work.act, at, n)
            else:
                hardmax_row(work.act, at, n)
            for j in range(n):
                pass_on(own, work, r, j, work.act[U(at + j)])
            r += work.team

    @inner
    def last_derivative(work):
        """Turn the derivatives of the loss by the outputs into those by z of the last layer."""
        own = back(work, work.words[0, LAYERS] - 1)
        n = own.of.n
        if own.of.code >= 0:
            e = work.me
            while e < work.rows * n:
                r = quotient(e, n)
                j = e - r * n
                finish_backward(own, work, r, j, work.act[U(own.of.delta + r * own.of.ldn + j)])
                e += work.team

    @inner
    def backward_rows(work, layer):
        at, act, r = layer_of(work.words, layer), work.act, work.me
        n, hard = at.n, at.rowwise == HARDMAX
        while r < work.rows:
            a, d = at.output + r * at.ldn, at.delta + r * at.ldn
            total = zero
            for j in range(n):
                total += act[U(a + j)] * act[U(d + j)]
            for j in range(n):
                da = act[U(d + j)]
                act[U(d + j)] = zero if hard else act[U(a + j)] * (da - total)
            r += work.team

    @inner
    def fill_ones(work, layer):
        """Write the ones that biases go with, at the end of each row of a layer's inputs."""
        at, r = layer_of(work.words, layer), work.me
        while r < work.words[0, BATCH]:
            work.act[U(at.input + at.k + r * at.ldx)] = one
            r += work.team

    return named(
        gather, gather_by, forward, forward_rows, last_derivative, backward, backward_rows,
        fill_ones, **vars(epilogue),
    )  # fmt: skip


def make_rowwise(o: SimpleNamespace, some: bool) -> tuple[Any, Any]:
    """Return ``forward(work, layer)`` and ``backward(...)``: softmax and hardmax for a block.

    They do what `o.forward_rows` and `o.backward_rows` do, where a layer is one of those, and then
    wait for the block. Without `some` such layers nothing is compiled.
    """

    def where_rowwise(does):
        @inner
        def call(work, layer):
            if some:  # a condition of its own: else Numba compiles what is behind it
                if work.words[1 + layer, ROWWISE] > 0:
                    does(work, layer)
                    cuda.syncthreads()

        return call

    return where_rowwise(o.forward_rows), where_rowwise(o.backward_rows)
