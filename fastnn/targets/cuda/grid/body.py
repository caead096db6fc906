"""One launch of a persistent grid trains a small network: the first layer's weights stay in place.

A step has three phases, and a barrier of all blocks after the first and the second:

1. Each block multiplies its slice of the batch's X by its slice of W, both in shared memory.
2. Each block takes some rows: adds up the products, works out the activation, all further layers,
   the loss, and the way back to the derivatives by the outputs of the first layer.
3. Each block updates its slice of W, and its share of all other parameters, which stay in global
   memory: that is, in the second-level cache.

The next batch is fetched meanwhile. Every sum is added up in an order that the shapes decide, so
what comes out does not depend on timing. Products are of the network's dtype: tensor cores are for
tiled kernels.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import float64, from_dtype, int64

from fastnn.targets.cuda.device.operations import make_operations
from fastnn.targets.cuda.device.rules import Recipe
from fastnn.targets.cuda.device.teams import copy, fill
from fastnn.targets.cuda.device.work import Work
from fastnn.targets.cuda.grid.products import make_products
from fastnn.targets.cuda.grid.rows import make_rows
from fastnn.targets.cuda.grid.shape import Shape
from fastnn.targets.cuda.grid.tiles import make_tiles
from fastnn.targets.cuda.grid.update import make_learn
from fastnn.targets.cuda.host.arguments import LOSS_SUM, WEIGHT_SUM
from fastnn.targets.cuda.host.numba_cuda import SIMULATED, U, cuda, inner, kernel, make_shared_array
from fastnn.targets.cuda.host.plan import FIELDS, LDW, LEARNS_SLOPES, TRAINED, Plan
from fastnn.targets.cuda.host.scalars import STEP_FIELDS, WEIGHT
from fastnn.targets.fields import BATCH, SAMPLES, SIZE, WEIGHTED, WEIGHTS, K, N

THREADS = 2 if SIMULATED else 256


def _even(count: int) -> int:
    """Return a number, or one more where it is odd."""
    return count + count % 2


def static_bytes(plan: Plan) -> int:
    """Return the bytes of shared memory beside those of a `Shape`."""
    return 8 * (len(plan.words) * _even(FIELDS) + _even(len(plan.numbers)) + 2 * (STEP_FIELDS + 1))


def make_body(recipe: Recipe, layout: tuple[tuple[int, ...], ...], shape: Shape, team: int) -> Any:
    """Return the Python function of the kernel ``train`` for a recipe and the shape of a network.

    The kernel takes a `Job`; ``losses`` float64 (blocks,), overwritten; ``counter`` int32 (1,),
    zero at first and kept; how many numbers of X to fetch at a time, 1 or 4; and which steps to do,
    `begin` to `end`. The `layout`, from `layout_of`, the `shape`, and the threads of a block
    are constant in the code, which is half as long for that.
    """
    layers, cached = len(layout) - 1, shape.later > 0
    laid_out = np.array(layout, np.int64)
    bias = int(laid_out[1, WEIGHTS] + laid_out[1, K] * laid_out[1, LDW])
    words = laid_out.copy()
    words[1:, WEIGHTS] -= bias  # all parameters but the first W are counted from there
    rows = words[1:, K] + 1 + words[1:, LEARNS_SLOPES]
    others = int(rows @ words[1:, N] - words[1, K] * words[1, N])
    share = -(-others // shape.blocks)  # how many of them a block updates
    o = make_operations(recipe)
    t = make_tiles(np.dtype(recipe.dtype))
    batch = int(words[0, BATCH])
    products = make_products(recipe, shape, batch, o, t)
    fetch, drop, multiply = products.fetch, products.drop, products.multiply
    all_trained = bool(words[1:, TRAINED].all())
    by_rows = make_rows(recipe, words, shape, team, o, t)
    update = make_learn(recipe, shape, batch, all_trained, o, t)
    prepare, work_rows = by_rows.prepare, by_rows.work_rows
    learn, first_place = update.learn, update.first_place
    arrived, arrive, wait, divide = t.arrived, t.arrive, t.wait, t.divide
    shared_memory = make_shared_array(0, from_dtype(np.dtype(recipe.dtype)))
    zero, per_sum = np.dtype(recipe.dtype).type(0), 8 // np.dtype(recipe.dtype).itemsize
    slots = recipe.slots
    turns = 2, STEP_FIELDS + 1
    fields, own_count = (1 + layers, _even(FIELDS)), recipe.places.total(layers)
    constants = _even(own_count)

    @inner
    def take_step(own, row, steps, step, me, team):
        """Copy what changes from step to step to shared memory."""
        field = team - 1 - me
        while field < STEP_FIELDS:
            own[U(row), U(field)] = steps[U(step), U(field)]
            field += team

    @inner
    def move_slice(state, copies, low, wide, high, out, me, team):
        """Copy W and optimizer state of the slice in, or out."""
        row, column = low
        start = laid_out[1, WEIGHTS] + row * words[1, LDW] + column
        e = me
        while e < wide * high:
            i = divide(e, wide)
            j = e - i * wide
            for slot in range(slots + 1):
                here = slot * shape.kb * shape.nb + i * shape.nb + j
                there = slot * words[0, SIZE] + start + i * words[1, LDW] + j
                if out:
                    state[U(there)] = copies[U(here)]
                else:
                    copies[U(here)] = state[U(there)]
            e += team

    def train(job, losses, counter, each, begin, end):
        if job.bad[0] >= 0:
            return
        steps, X, orders, results = job.steps, job.X, job.orders, job.results
        me, block = cuda.threadIdx.x, cuda.blockIdx.x
        # Where a thread asks about a layer of its own. A barrier of the grid empties the
        # first-level cache, in which these would be otherwise.
        own_words = cuda.shared.array(fields, int64)
        own_numbers = cuda.shared.array(constants, float64)
        own_steps = cuda.shared.array(turns, float64)
        sums, memory = cuda.shared.array(0, float64), shared_memory()
        for row in range(1 + layers):
            field = me
            while field < FIELDS:
                offset = bias if row > 0 and field == WEIGHTS else 0
                own_words[U(row), U(field)] = job.words[U(row), U(field)] - offset
                field += team
        copy(own_numbers, 0, job.numbers, 0, own_count, me, team)
        take_step(own_steps, 0, steps, begin, me, team)
        samples, weighted = job.words[0, SAMPLES], job.words[0, WEIGHTED]
        state, scratch = job.state[0], job.scratch[0]
        rest = state[bias:]
        size_x = (batch + 3) // 4 * 4 * shape.ldx
        at_copies = shape.sums * per_sum
        at_x = at_copies + (1 + slots) * shape.kb * shape.nb
        at_left = at_x + shape.buffers * size_x
        at_later = at_left + shape.left
        at_rest = at_later + shape.later
        copies, left, act = memory[at_copies:], memory[at_left:], memory[at_rest:]
        later, given = memory[at_later:], sums[shape.given :]
        fill(copies, at_rest - at_copies + shape.private, zero, me, team)
        group = divide(block, shape.ng)
        column, sliced = block - group * shape.ng, group < shape.kg
        low, first_column = group * shape.kb, column * shape.nb
        high, edge = min(shape.kb, words[1, K] - low), min(shape.nb, words[1, N] - first_column)
        share_begin = min(block * share, others)
        share_end = min(share_begin + share, others)
        place = first_place(job.words, share_begin, share_end, me, team)
        per_epoch = (samples + batch - 1) // batch
        epoch = begin // per_epoch
        first = (begin - epoch * per_epoch) * batch
        loss_sum, weight_sum = results[U(epoch), LOSS_SUM], results[U(epoch), WEIGHT_SUM]
        cuda.syncthreads()
        if sliced:
            move_slice(state, copies, (low, first_column), edge, high, False, me, team)
            fetch(memory, at_x, X, each, orders[U(epoch)], first, low, low + high,
                  min(batch, samples - first), me, team)  # fmt: skip
        for step in range(begin, end):
            keys, order, rows = job.keys[U(epoch)], orders[U(epoch)], min(batch, samples - first)
            following, next_epoch = first + batch, epoch
            if following >= samples:
                following, next_epoch = 0, epoch + 1
            turn = (step - begin) & 1
            now = following_x = at_x
            if shape.buffers == 2:
                now, following_x = at_x + turn * size_x, at_x + (1 - turn) * size_x
            more = sliced and step + 1 < end
            next_rows = min(batch, samples - following)
            row = block * shape.rows
            count = min(shape.rows, rows - row)
            now_step = own_steps[U(turn)]
            whole = Work(
                rest,
                scratch,
                words,
                own_numbers,
                keys,
                order,
                now_step,
                first,
                rows,
                True,
                me,
                team,
            )
            mine = Work(
                later if cached else rest, act, words, own_numbers, keys, order, now_step,
                first + row, count, True, me, team,
            )  # fmt: skip
            if sliced:
                drop(whole, memory, now, each, low, low + high)
            cuda.syncthreads()
            if sliced:
                multiply(memory, now, copies, left, scratch, group, column, rows, me, team)
            ticket = arrive(counter)
            if more and shape.buffers == 2:
                fetch(memory, following_x, X, each, orders[U(next_epoch)], following, low,
                      low + high, next_rows, me, team)  # fmt: skip
            if step + 1 < end:
                take_step(own_steps, 1 - turn, steps, step + 1, me, team)
            prepare(mine, job, weighted, given)
            wait(counter, ticket)
            if count > 0:
                if cached:
                    copy(later, 0, rest, 0, words[0, SIZE] - bias, me, team)
                work_rows(mine, job, weighted, left, sums, given, losses, scratch, block, row)
            ticket = arrive(counter)
            wait(counter, ticket)
            looked_up = Work(
                rest, scratch, own_words, own_numbers, keys, order, now_step, first, rows, True, me,
                team,
            )  # fmt: skip
            total = learn(
                looked_up, memory, now, at_rest, copies, left, sums, losses, sliced, column, edge,
                high, share_begin, share_end, place,
            )  # fmt: skip
            loss_sum += total
            weight_sum += own_steps[turn, WEIGHT]
            finite = math.isfinite(total)
            if block == 0 and me == 0 and (
                not finite or next_epoch != epoch or step + 1 == end
            ):  # fmt: skip
                results[U(epoch), LOSS_SUM], results[U(epoch), WEIGHT_SUM] = loss_sum, weight_sum
                if not finite:
                    job.bad[0] = step
            if not finite:
                break
            if next_epoch != epoch and step + 1 < end:
                loss_sum = results[U(next_epoch), LOSS_SUM]
                weight_sum = results[U(next_epoch), WEIGHT_SUM]
            if more and shape.buffers == 1:
                cuda.syncthreads()
                fetch(memory, following_x, X, each, orders[U(next_epoch)], following, low,
                      low + high, next_rows, me, team)  # fmt: skip
            first, epoch = following, next_epoch
        arrived()
        cuda.syncthreads()
        if sliced:
            move_slice(state, copies, (low, first_column), edge, high, True, me, team)

    return train


@cache
def make_kernel(
    recipe: Recipe, layout: tuple[tuple[int, ...], ...], shape: Shape, team: int
) -> Any:
    """Return the kernel ``train``; see `make_body`."""
    body = make_body(recipe, layout, shape, team)
    bounds = team, 1
    return kernel(body, recipe, layout, shape, team, cooperative=True, launch_bounds=bounds)
