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
from fastnn.targets.cuda.host.numba_cuda import U, cuda, inner, named, one_by_one
from fastnn.targets.cuda.host.plan import (
    DELTA,
    INPUT,
    LAYERS,
    LDN,
    LDW,
    LDX,
    OUTPUT,
    OUTPUTS,
    TRAINABLE,
    WEIGHTS,
    K,
    N,
    Z,
)
from fastnn.targets.cuda.host.scalars import INVERSE, LOSS_ALPHA

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
    recipe: Recipe, words: np.ndarray, team_size: int, o: SimpleNamespace, t: SimpleNamespace
) -> SimpleNamespace:
    """Return ``prepare`` and ``work_rows``, which every thread of a block calls.

    `words` are the plan's, `team_size` is how many threads a block has, `o` are the functions of
    `fastnn.targets.cuda.device.operations`, `t` those of a grid's tiles.
    ``prepare`` looks up what the loss needs into `given`, float64 (2 rows,). ``work_rows`` reads
    the products of the groups of inputs from `scratch`, and parameters from `par`; it uses
    `act` (zeros at first, but what an earlier call left), `left` and `sums` of the block; and it
    writes derivatives, inputs and z of these rows to the scratch, and to ``losses[block]`` the sum
    of weight times loss.
    """
    dtype = np.dtype(recipe.dtype)
    real = dtype.type
    zero, one, layers, outputs = real(0), real(1), len(words) - 1, int(words[0, OUTPUTS])
    forward_rows, backward_rows = make_rowwise(o, words)
    rules, by_class = o.rules, recipe.by_class
    exp, log = rules.exp, rules.log
    ahead, finish_forward = o.ahead, o.finish_forward
    back, finish_backward = o.back, o.finish_backward
    loss, last_derivative = o.loss, o.last_derivative
    load, store, add4 = t.load, t.store, t.add4
    divide, deal = t.divide, t.deal

    @inner
    def products_of(scratch, g, kg, size, at):
        """Return products of a group of inputs; zeros if there is no such group."""
        s = load(scratch, min(g, kg - 1) * size + at)
        return s if g < kg else (zero, zero, zero, zero)

    @inner
    def first_layer(par, act, left, scratch, words, numbers, keys, shape, batch, row, count, first,
                    me, team):  # fmt: skip
        """Add up the products of all groups of inputs, and the bias; then the activation."""
        kg, ldz, n = shape.kg, shape.ng * shape.nb, words[1, N]
        quads = ldz // 4
        items = count * quads
        parts, p, slot, width = deal(items, kg, me, team)
        bias = words[1, WEIGHTS] + words[1, K] * words[1, LDW]
        own = ahead(words, numbers, keys, 0, True)
        start = 0
        while start < items:
            e = start + slot
            if p < parts and e < items:
                at, s = row * ldz + 4 * e, (zero, zero, zero, zero)
                g = p
                while g < kg:  # four at a time, for each load is a long wait
                    s0 = load(scratch, g * batch * ldz + at)
                    s1 = products_of(scratch, g + parts, kg, batch * ldz, at)
                    s2 = products_of(scratch, g + 2 * parts, kg, batch * ldz, at)
                    s3 = products_of(scratch, g + 3 * parts, kg, batch * ldz, at)
                    s = add4(s, add4(add4(s0, s1), add4(s2, s3)))
                    g += 4 * parts
                store(left, 4 * me, s)
            cuda.syncthreads()
            x = me
            while x < 4 * min(width, items - start):
                r = divide(4 * start + x, ldz) if count > 1 else 0
                j = 4 * start + x - r * ldz
                if j < n:
                    z = par[U(bias + j)]
                    for q in range(parts):
                        z += left[U(4 * q * width + x)]
                    finish_forward(own, act, par, r, j, z, first)
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
        def sums(own, act, par, left, a, lda, n, b, across, step, count, rows, first, me, team):
            items = rows * n
            parts, p, slot, width = deal(items, count, me, team)
            start = 0
            while start < items:
                e = start + slot
                r = divide(e, n) if rows > 1 else 0
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
                    finish(own, act, par, r, j, s, first)
                cuda.syncthreads()
                start += width

        return sums

    outputs_of, derivatives_of = by_parts(finish_forward, True), by_parts(finish_backward, False)

    @inner
    def forward(par, act, left, words, numbers, keys, layer, count, first, me, team):
        word, own = 1 + layer, ahead(words, numbers, keys, layer, True)
        outputs_of(
            own, act, par, left, words[word, INPUT], words[word, LDX], words[word, N],
            words[word, WEIGHTS], 1, words[word, LDW], words[word, K], count, first, me, team,
        )  # fmt: skip

    @inner
    def backward(par, act, left, words, numbers, keys, layer, count, first, me, team):
        word, own = 1 + layer, back(words, numbers, keys, layer - 1)
        derivatives_of(
            own, act, par, left, words[word, DELTA], words[word, LDN], words[word, K],
            words[word, WEIGHTS], words[word, LDW], 1, words[word, N], count, first, me, team,
        )  # fmt: skip

    @inner
    def cross_entropy(act, left, sums, given, words, steps, step, count, me, team):
        """Do what `device.loss` does, an output a thread; return how many sums are left."""
        last, n = words[0, LAYERS], words[0, OUTPUTS]
        ldn, output, delta = words[last, LDN], words[last, OUTPUT], words[last, DELTA]
        e = me
        while e < count * n:
            r = divide(e, n) if count > 1 else 0
            p = output + r * ldn
            left[U(e)] = exp(act[U(p + e - r * n)] - top_of(act, p, n))
            e += team
        cuda.syncthreads()
        e = me
        while e < count * n:
            r = divide(e, n) if count > 1 else 0
            j, total = e - r * n, zero
            label, weight = given[U(2 * r)], given[U(2 * r + 1)]
            for i in range(n):
                total += left[U(r * n + i)]
            hit = one if j == label else zero
            share = real(weight * steps[U(step), INVERSE])
            slope = (left[U(e)] / total - hit) * share
            act[U(delta + r * ldn + j)] = zero if share == zero else slope
            if j == label:
                p = output + r * ldn
                own = log(total) - (act[U(p + j)] - top_of(act, p, n))
                sums[U(r)] = 0.0 if weight == 0.0 else weight * np.float64(own)
            e += team
        return count

    joined = make_joined(zero)
    shared, at_loss = rules.make_row_loss and outputs >= SHARED_FROM, recipe.places.loss
    formula: Any = rules.make_row_loss(joined) if shared else None
    # Threads that share a row, all of one warp if there are so many.
    lanes = min(LANES, 1 << (team_size.bit_length() - 1))
    groups = team_size // lanes

    @inner
    def losses_by_formula(act, left, sums, given, words, numbers, weighted, steps, step, classes,
                          targets, weights, order, first, count, me, team):  # fmt: skip
        """Do what `device.loss` does for a wide row's formula, `lanes` threads a row."""
        last, n, inverse = words[0, LAYERS], words[0, OUTPUTS], steps[U(step), INVERSE]
        ldn, output, delta = words[last, LDN], words[last, OUTPUT], words[last, DELTA]
        group = min(me // lanes, groups - 1)
        lane, start = me - group * lanes, 0
        while start < count:  # for all threads equally often: they meet in it
            r = min(start + group, count - 1)
            s = order[U(first + r)]
            weight = weights[U(s)] if weighted == 1 else 1.0
            here, p, d = lane < lanes and start + group < count, output + r * ldn, delta + r * ldn
            own = lane if here and weight > 0.0 else n
            found = formula(
                act, p, d, targets, s, real(weight * inverse), numbers, at_loss,
                (left, me, group * lanes, lanes), own, lanes,
            )  # fmt: skip
            if here and weight == 0.0:
                for j in range(lane, n, lanes):
                    act[U(d + j)] = zero
            if here and lane == 0:
                sums[U(r)] = weight * np.float64(found) if weight > 0.0 else 0.0
            start += groups
        return count

    @inner
    def losses_by_number(act, left, sums, given, words, numbers, weighted, steps, step, classes,
                         targets, weights, order, first, count, me, team):  # fmt: skip
        own = loss(
            act, words, numbers, weighted, steps, step, classes, targets, weights, order, count,
            first, me, team,
        )  # fmt: skip
        if me < count:
            sums[U(me)] = own
        return min(count, team)

    @inner
    def losses_by_class(act, left, sums, given, words, numbers, weighted, steps, step, classes,
                        targets, weights, order, first, count, me, team):  # fmt: skip
        if steps[U(step), LOSS_ALPHA] != 0.0 or targets.shape[1] == words[0, OUTPUTS]:
            return losses_by_number(
                act, left, sums, given, words, numbers, weighted, steps, step, classes, targets,
                weights, order, first, count, me, team,
            )  # fmt: skip
        return cross_entropy(act, left, sums, given, words, steps, step, count, me, team)

    row_losses = losses_by_class if by_class else losses_by_number
    if shared:
        row_losses = losses_by_formula

    @inner
    def prepare(given, weighted, classes, weights, order, first, count, me, team):
        """Look up class and weight of each row, as float64, long before they are needed."""
        if by_class:
            r = team - 1 - me
            while r < count:
                s = order[U(first + r)]
                # Of soft labels there is one element, which says nothing.
                given[U(2 * r)] = classes[U(min(np.int64(s), len(classes) - 1))]
                given[U(2 * r + 1)] = weights[U(s)] if weighted == 1 else 1.0
                r += team

    @inner
    def hand_on_layer(layer, given):
        act, scratch, words, shape, batch, row, count, me, team = given
        word = 1 + layer
        ldn, ldx, blocks = words[word, LDN], words[word, LDX], shape.row_blocks
        rest = (shape.kg + 1) * batch * shape.ng * shape.nb
        if layer > 0:
            at = words[word, INPUT]
            copy(scratch, rest + at * blocks + row * ldx, act, at, count * ldx, me, team)
            at = words[word, DELTA]
            copy(scratch, rest + at * blocks + row * ldn, act, at, count * ldn, me, team)
        if words[word, TRAINABLE] == 1:
            at = words[word, Z]
            copy(scratch, rest + at * blocks + row * ldn, act, at, count * ldn, me, team)

    all_handed = one_by_one(hand_on_layer, range(layers))

    @inner
    def hand_on(act, scratch, words, shape, batch, row, count, me, team):
        """Write what the update needs of these rows to the scratch."""
        kg, ldz, n = shape.kg, shape.ng * shape.nb, words[1, N]
        base, delta, ldn = kg * batch * ldz + row * ldz, words[1, DELTA], words[1, LDN]
        for r in range(count):
            j = me
            while j < ldz:
                scratch[U(base + r * ldz + j)] = act[U(delta + r * ldn + j)] if j < n else zero
                j += team
        all_handed((act, scratch, words, shape, batch, row, count, me, team))

    @inner
    def forward_layer(layer, given):
        par, act, left, words, numbers, keys, count, first, me, team = given
        forward(par, act, left, words, numbers, keys, layer, count, first, me, team)
        forward_rows(act, words, numbers, keys, layer, count, first, me, team)

    @inner
    def backward_layer(layer, given):
        par, act, left, words, numbers, keys, count, first, me, team = given
        backward_rows(act, words, layer, count, me, team)
        if layer > 0:
            backward(par, act, left, words, numbers, keys, layer, count, first, me, team)

    further = one_by_one(forward_layer, range(1, layers))
    back_through = one_by_one(backward_layer, range(layers - 1, -1, -1))

    @inner
    def work_rows(
        par, act, left, sums, given, losses, scratch, words, weighted, numbers, keys, steps, step,
        classes, targets, weights, order, shape, batch, block, row, count, first, me, team,
    ):  # fmt: skip
        """Take `count` rows from `row` of the batch on, `first` being the first one's position."""
        first_layer(par, act, left, scratch, words, numbers, keys, shape, batch, row, count, first,
                    me, team)  # fmt: skip
        forward_rows(act, words, numbers, keys, 0, count, first, me, team)
        layer_given = par, act, left, words, numbers, keys, count, first, me, team
        further(layer_given)
        entries = row_losses(act, left, sums, given, words, numbers, weighted, steps, step, classes,
                             targets, weights, order, first, count, me, team)  # fmt: skip
        cuda.syncthreads()
        if me == 0:
            total = 0.0
            for r in range(entries):
                total += sums[U(r)]
            losses[U(block)] = total
        last_derivative(act, par, words, numbers, keys, count, first, me, team)
        cuda.syncthreads()
        back_through(layer_given)
        hand_on(act, scratch, words, shape, batch, row, count, me, team)

    return named(prepare, work_rows)
