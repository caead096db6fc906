"""The rows of one block of a persistent grid: from the first layer's products to its derivatives.

A block has few rows, often one, so threads share sums: thread `p items + e` has every n-th
term of sum e from term p on, and what it comes to is added up in that order, whatever the timing.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.targets.cuda.device.elementary import top_of
from fastnn.targets.cuda.device.layers import make_rowwise
from fastnn.targets.cuda.device.rules import Recipe
from fastnn.targets.cuda.device.teams import copy
from fastnn.targets.cuda.device.work import layer_of
from fastnn.targets.cuda.grid.shape import Shape
from fastnn.targets.cuda.host.numba_cuda import U, cuda, inner, named, one_by_one
from fastnn.targets.cuda.host.plan import OUTPUTS
from fastnn.targets.cuda.host.scalars import INVERSE, LOSS_ALPHA
from fastnn.targets.fields import BATCH, ROWWISE

LANES = 32  # that share a row whose loss is a formula of so many outputs, or more
SHARED_FROM = 32


def make_joined(zero: Any) -> SimpleNamespace:
    """Return how threads that share a row come together, see `fastnn.graph.row_function`.

    Their team is (left, me, first, lanes): where they leave numbers, a thread's own place, the
    first one's place, and how many they are. All threads of the block come at once.
    """

    @inner
    def exchange(team, x):
        left, me, _, _ = team
        cuda.syncthreads()
        left[U(me)] = x
        cuda.syncthreads()

    @inner
    def total(team, x):
        exchange(team, x)
        left, _, first, lanes = team
        found = zero
        for lane in range(lanes):
            found += left[U(first + lane)]
        return found

    @inner
    def largest(team, x):
        exchange(team, x)
        left, _, first, lanes = team
        return top_of(left, first, lanes)

    @inner
    def wait(team):
        cuda.syncthreads()

    return named(total, largest, wait)


def make_rows(
    recipe: Recipe, words: np.ndarray, shape: Shape, team: int, o: SimpleNamespace,
    t: SimpleNamespace,
) -> SimpleNamespace:  # fmt: skip
    """Return ``prepare`` and ``work_rows``, which every thread of a block calls.

    `words` are the plan's, `shape` is the split of the problem, `team` is how many threads a block
    has, `o` are the functions of `fastnn.targets.cuda.device.operations`, `t` those of a grid's
    tiles. Both take the `Work` of the block's rows, whose `act` has zeros at first, but what an
    earlier call left.
    ``prepare(work, job, weighted, given)`` looks up what the loss needs into `given`, float64
    (2 rows,). ``work_rows(work, job, weighted, left, sums, given, losses, scratch, block, row)``
    reads the products of the groups of inputs from `scratch`; it uses `left` and `sums` of the
    block; and it writes derivatives, inputs and z of these rows, `row` of the batch being the first
    of them, to the scratch, and to ``losses[block]`` the sum of weight times loss.
    """
    dtype = np.dtype(recipe.dtype)
    real = dtype.type
    zero, one, layers, outputs = real(0), real(1), len(words) - 1, int(words[0, OUTPUTS])
    kg, ldz, batch = shape.kg, shape.ng * shape.nb, int(words[0, BATCH])
    # In the scratch, where the derivatives by the first layer's outputs are, and all that follows.
    derivatives, rest = kg * batch * ldz, (kg + 1) * batch * ldz
    forward_rows, backward_rows = make_rowwise(o, bool(words[1:, ROWWISE].any()))
    rules, by_class = o.rules, recipe.by_class
    exp, log = rules.exp, rules.log
    ahead, finish_forward = o.ahead, o.finish_forward
    back, finish_backward = o.back, o.finish_backward
    loss, last_derivative = o.loss, o.last_derivative
    load, store, add4 = t.load, t.store, t.add4
    divide, deal = t.divide, t.deal

    @inner
    def products_of(scratch, g, at):
        """Return products of a group of inputs; zeros if there is no such group."""
        s = load(scratch, min(g, kg - 1) * batch * ldz + at)
        return s if g < kg else (zero, zero, zero, zero)

    @inner
    def first_layer(work, left, scratch, row):
        """Add up the products of all groups of inputs, and the bias; then the activation."""
        at, par, me, team = layer_of(work.words, 0), work.par, work.me, work.team
        items = work.rows * (ldz // 4)
        parts, p, slot, width = deal(items, kg, me, team)
        bias = at.weights + at.k * at.ldw
        own = ahead(work, 0)
        start = 0
        while start < items:
            e = start + slot
            if p < parts and e < items:
                place, s = row * ldz + 4 * e, (zero, zero, zero, zero)
                g = p
                while g < kg:  # four at a time, for each load is a long wait
                    s0 = load(scratch, g * batch * ldz + place)
                    s1 = products_of(scratch, g + parts, place)
                    s2 = products_of(scratch, g + 2 * parts, place)
                    s3 = products_of(scratch, g + 3 * parts, place)
                    s = add4(s, add4(add4(s0, s1), add4(s2, s3)))
                    g += 4 * parts
                store(left, 4 * me, s)
            cuda.syncthreads()
            x = me
            while x < 4 * min(width, items - start):
                r = divide(4 * start + x, ldz) if work.rows > 1 else 0
                j = 4 * start + x - r * ldz
                if j < at.n:
                    z = par[U(bias + j)]
                    for q in range(parts):
                        z += left[U(4 * q * width + x)]
                    finish_forward(own, work, r, j, z)
                x += team
            cuda.syncthreads()
            start += width

    @inner
    def part_of_sum(act, a, par, b, step, p, parts, count):
        """Add up every n-th product of a row and of what lies `step` apart, from term p on."""
        a, b, s, term = a + p, b + p * step, zero, p
        while term < count:
            s += act[U(a)] * par[U(b)]
            a += parts
            b += parts * step
            term += parts
        return s

    def by_parts(finish, biased):
        """Return what forms sums of rows, which lie `lda` apart, each by threads that share it.

        Sum (r, j) is that of act[a + r lda + i] par[b + j across + i step] over i below `count`;
        where `biased`, term `count` is par alone.
        """
        begin = 0 if biased else 1

        @inner
        def sums(own, work, left, a, lda, n, b, across, step, count):
            act, par, me = work.act, work.par, work.me
            items = work.rows * n
            parts, p, slot, width = deal(items, count, me, work.team)
            start = 0
            while start < items:
                e = start + slot
                r = divide(e, n) if work.rows > 1 else 0
                j = e - r * n
                if p < parts and e < items:
                    left[U(me)] = part_of_sum(
                        act, a + r * lda, par, b + j * across, step, p, parts, count
                    )
                cuda.syncthreads()
                if p == 0 and e < items:
                    s = par[U(b + j * across + count * step)] if biased else left[U(slot)]
                    for q in range(begin, parts):
                        s += left[U(q * width + slot)]
                    finish(own, work, r, j, s)
                cuda.syncthreads()
                start += width

        return sums

    outputs_of, derivatives_of = by_parts(finish_forward, True), by_parts(finish_backward, False)

    @inner
    def cross_entropy(work, left, sums, given):
        """Do what `device.loss` does, an output a thread; return how many sums are left."""
        at, act, count, team = layer_of(work.words, layers - 1), work.act, work.rows, work.team
        n, ldn = at.n, at.ldn
        e = work.me
        while e < count * n:
            r = divide(e, n) if count > 1 else 0
            p = at.output + r * ldn
            left[U(e)] = exp(act[U(p + e - r * n)] - top_of(act, p, n))
            e += team
        cuda.syncthreads()
        e = work.me
        while e < count * n:
            r = divide(e, n) if count > 1 else 0
            j, total = e - r * n, zero
            label, weight = given[U(2 * r)], given[U(2 * r + 1)]
            for i in range(n):
                total += left[U(r * n + i)]
            hit = one if j == label else zero
            share = real(weight * work.step[INVERSE])
            slope = (left[U(e)] / total - hit) * share
            act[U(at.delta + r * ldn + j)] = zero if share == zero else slope
            if j == label:
                p = at.output + r * ldn
                own = log(total) - (act[U(p + j)] - top_of(act, p, n))
                sums[U(r)] = 0.0 if weight == 0.0 else weight * np.float64(own)
            e += team
        return count

    joined = make_joined(zero)
    shared, at_loss = rules.make_row_loss and outputs >= SHARED_FROM, recipe.places.loss
    formula: Any = rules.make_row_loss(joined) if shared else None
    # Threads that share a row, all of one warp if there are so many.
    lanes = min(LANES, 1 << (team.bit_length() - 1))
    groups = team // lanes

    @inner
    def losses_by_formula(work, job, weighted, left, sums, given):
        """Do what `device.loss` does for a wide row's formula, `lanes` threads a row."""
        at, act, me = layer_of(work.words, layers - 1), work.act, work.me
        n, inverse = at.n, work.step[INVERSE]
        group = min(me // lanes, groups - 1)
        lane, start = me - group * lanes, 0
        while start < work.rows:  # for all threads equally often: they meet in it
            r = min(start + group, work.rows - 1)
            s = work.order[U(work.first + r)]
            weight = job.weights[U(s)] if weighted == 1 else 1.0
            here, p = lane < lanes and start + group < work.rows, at.output + r * at.ldn
            d = at.delta + r * at.ldn
            own = lane if here and weight > 0.0 else n
            found = formula(
                act, p, d, job.targets, s, real(weight * inverse), work.numbers, at_loss,
                (left, me, group * lanes, lanes), own, lanes,
            )  # fmt: skip
            if here and weight == 0.0:
                for j in range(lane, n, lanes):
                    act[U(d + j)] = zero
            if here and lane == 0:
                sums[U(r)] = weight * np.float64(found) if weight > 0.0 else 0.0
            start += groups
        return work.rows

    @inner
    def losses_by_number(work, job, weighted, left, sums, given):
        own = loss(work, job, weighted)
        if work.me < work.rows:
            sums[U(work.me)] = own
        return min(work.rows, work.team)

    @inner
    def losses_by_class(work, job, weighted, left, sums, given):
        if work.step[LOSS_ALPHA] != 0.0 or job.targets.shape[1] == outputs:
            return losses_by_number(work, job, weighted, left, sums, given)
        return cross_entropy(work, left, sums, given)

    row_losses = losses_by_class if by_class else losses_by_number
    if shared:
        row_losses = losses_by_formula

    @inner
    def prepare(work, job, weighted, given):
        """Look up class and weight of each row, as float64, long before they are needed."""
        if by_class:
            r = work.team - 1 - work.me
            while r < work.rows:
                s = work.order[U(work.first + r)]
                # Of soft labels there is one element, which says nothing.
                given[U(2 * r)] = job.classes[U(min(np.int64(s), len(job.classes) - 1))]
                given[U(2 * r + 1)] = job.weights[U(s)] if weighted == 1 else 1.0
                r += work.team

    @inner
    def hand_on_layer(given, layer):
        work, scratch, row = given
        at, act, rows, me, team = (
            layer_of(work.words, layer),
            work.act,
            work.rows,
            work.me,
            work.team,
        )
        blocks = shape.row_blocks
        if layer > 0:
            to = rest + at.input * blocks + row * at.ldx
            copy(scratch, to, act, at.input, rows * at.ldx, me, team)
            to = rest + at.delta * blocks + row * at.ldn
            copy(scratch, to, act, at.delta, rows * at.ldn, me, team)
        if at.learns_slopes == 1:
            to = rest + at.z * blocks + row * at.ldn
            copy(scratch, to, act, at.z, rows * at.ldn, me, team)

    all_handed = one_by_one(hand_on_layer, range(layers))

    @inner
    def hand_on(work, scratch, row):
        """Write what the update needs of these rows to the scratch."""
        at, base = layer_of(work.words, 0), derivatives + row * ldz
        for r in range(work.rows):
            j = work.me
            while j < ldz:
                d = work.act[U(at.delta + r * at.ldn + j)] if j < at.n else zero
                scratch[U(base + r * ldz + j)] = d
                j += work.team
        all_handed((work, scratch, row))

    @inner
    def forward_layer(given, layer):
        work, left = given
        at, own = layer_of(work.words, layer), ahead(work, layer)
        outputs_of(own, work, left, at.input, at.ldx, at.n, at.weights, 1, at.ldw, at.k)
        forward_rows(work, layer)

    @inner
    def backward_layer(given, layer):
        work, left = given
        backward_rows(work, layer)
        if layer > 0:
            at, own = layer_of(work.words, layer), back(work, layer - 1)
            derivatives_of(own, work, left, at.delta, at.ldn, at.k, at.weights, at.ldw, 1, at.n)

    further = one_by_one(forward_layer, range(1, layers))
    back_through = one_by_one(backward_layer, range(layers - 1, -1, -1))

    @inner
    def work_rows(work, job, weighted, left, sums, given, losses, scratch, block, row):
        first_layer(work, left, scratch, row)
        forward_rows(work, 0)
        further((work, left))
        entries = row_losses(work, job, weighted, left, sums, given)
        cuda.syncthreads()
        if work.me == 0:
            total = 0.0
            for r in range(entries):
                total += sums[U(r)]
            losses[U(block)] = total
        last_derivative(work)
        cuda.syncthreads()
        back_through((work, left))
        hand_on(work, scratch, row)

    return named(prepare, work_rows)
