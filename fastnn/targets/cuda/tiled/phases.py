"""Kernels of one phase of a step each, over all SMs: for large networks.

Each reads from the device which step it is. The products are in
`fastnn.targets.cuda.tiled.layer_products`; `fastnn.targets.cuda.tiled.family` launches all of them
in order.
"""

from __future__ import annotations

import math
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import float64

from fastnn.targets.cuda.device.operations import make_operations
from fastnn.targets.cuda.device.rules import Recipe
from fastnn.targets.cuda.device.teams import add_up, largest_of
from fastnn.targets.cuda.host.arguments import LOSS_SUM, WEIGHT_SUM
from fastnn.targets.cuda.host.numba_cuda import I64, SIMULATED, U, cuda, inner, kernel
from fastnn.targets.cuda.host.plan import (
    BATCH,
    DELTA,
    LAYERS,
    LDN,
    SAMPLES,
    SHARED,
    TRAINABLE,
    WEIGHTED,
    K,
    N,
    Z,
)
from fastnn.targets.cuda.host.scalars import FIRST, ROWS, WEIGHT

THREADS = 2 if SIMULATED else 256
LANES = 2 if SIMULATED else 32  # that gather a row
# A block that adds up columns takes so many of them, by so many groups of rows.
COLUMNS = 2 if SIMULATED else 16
COLUMN_THREADS = 4 if SIMULATED else 512
GROUPS = COLUMN_THREADS // COLUMNS
MOST_PARTS = 256  # blocks whose sums are added up by every block after them


@cache
def make_kernels(recipe: Recipe, training: bool = True) -> SimpleNamespace:
    """Return the kernels of a step but for the products, for a recipe.

    Without `training`, nothing is dropped and no slopes are drawn.

    Each takes a `Job`, clock int64 (1,): the step that it is, parts float64
    (2, MOST_PARTS): sums of blocks, and the number of a layer. They are launched in this order:
    gather; for each layer forward (see `make_product`) and where it has softmax or hardmax
    forward_rows; loss, end_loss; last_derivative; for each layer from the last backward_rows and
    backward; for each layer update and columns; hold where gradients were summed over processes;
    largest, squares where the gradient's norm has a limit; apply after either; clip_columns for
    each layer with max_norm; advance.
    """
    o = make_operations(recipe)
    place = make_place()
    gather_inputs = o.gather_by(LANES)
    forward_numbers, backward_numbers = o.forward_rows, o.backward_rows
    loss_of, derivatives_of, clip = o.loss, o.last_derivative, o.clip_columns
    learning, finish = o.learning, o.finish
    largest_kept, squares_of, scale_of, apply_kept = o.largest, o.squares, o.scale_of, o.apply
    hold_kept = o.hold
    real = np.dtype(recipe.dtype).type

    @inner
    def block_sum(own):
        sums = cuda.shared.array(THREADS, float64)
        return add_up(sums, own, cuda.blockDim.x, cuda.threadIdx.x)

    @inner
    def block_largest(own):
        sums = cuda.shared.array(THREADS, float64)
        return largest_of(sums, own, cuda.threadIdx.x, cuda.blockDim.x)

    def gather(job, clock, parts, layer, run, first, rows, me, team):
        gather_inputs(
            job.scratch[0], job.words, job.numbers, job.keys[U(run)], job.X, job.orders[U(run)],
            rows, first, training, me, team,
        )  # fmt: skip

    def forward_rows(job, clock, parts, layer, run, first, rows, me, team):
        forward_numbers(
            job.scratch[0], job.words, job.numbers, job.keys[U(run)], layer, rows, first, training,
            me, team,
        )  # fmt: skip

    def loss(job, clock, parts, layer, run, first, rows, me, team):
        own = loss_of(
            job.scratch[0], job.words, job.numbers, job.words[0, WEIGHTED], job.steps, clock[0],
            job.classes, job.targets, job.weights, job.orders[U(run)], rows, first, me, team,
        )  # fmt: skip
        total = block_sum(own)
        if cuda.threadIdx.x == 0:
            parts[0, U(cuda.blockIdx.x)] = total
            parts[1, U(cuda.blockIdx.x)] = cuda.gridDim.x

    def end_loss(job, clock, parts, layer, run, first, rows, me, team):
        if me == 0:
            total = 0.0
            for i in range(int(parts[1, 0])):
                total += parts[0, U(i)]
            job.results[U(run), LOSS_SUM] += total
            job.results[U(run), WEIGHT_SUM] += job.steps[U(clock[0]), WEIGHT]
            if not math.isfinite(total):
                job.bad[0] = clock[0]

    def last_derivative(job, clock, parts, layer, run, first, rows, me, team):
        derivatives_of(
            job.scratch[0], job.state[0], job.words, job.numbers, job.keys[U(run)], rows, first, me,
            team,
        )  # fmt: skip

    def backward_rows(job, clock, parts, layer, run, first, rows, me, team):
        backward_numbers(job.scratch[0], job.words, layer, rows, me, team)

    @inner
    def column_sum(act, at, step, group, rows):
        """Add up every n-th row of a column, from row `group` on."""
        total, r, far = 0.0, group, GROUPS * step
        while r + 7 * GROUPS < rows:  # eight loads are under way together
            x = at + r * step
            s0, s1 = act[U(x)] + act[U(x + far)], act[U(x + 2 * far)] + act[U(x + 3 * far)]
            x += 4 * far
            s2, s3 = act[U(x)] + act[U(x + far)], act[U(x + 2 * far)] + act[U(x + 3 * far)]
            total += (s0 + s1) + (s2 + s3)
            r += 8 * GROUPS
        while r < rows:
            total += act[U(at + r * step)]
            r += GROUPS
        return total

    def columns(job, clock, parts, layer, run, first, rows, me, team):
        """Add up the derivatives of each column: the gradient of the bias, and of slopes."""
        sums = cuda.shared.array((2, COLUMN_THREADS), float64)
        act, word, me = job.scratch[0], 1 + layer, cuda.threadIdx.x
        k, n, ldn = job.words[word, K], job.words[word, N], job.words[word, LDN]
        group = me // COLUMNS
        j = cuda.blockIdx.x * COLUMNS + me - group * COLUMNS
        bias, slope, trainable = 0.0, 0.0, job.words[word, TRAINABLE] == 1
        delta, z = job.words[word, DELTA], job.words[word, Z]
        if j < n:
            bias = column_sum(act, delta + j, ldn, group, rows)
            if trainable:
                slope = column_sum(act, z + j, ldn, group, rows)
        sums[0, U(me)], sums[1, U(me)] = bias, slope
        cuda.syncthreads()
        if me < COLUMNS and j < n:
            for i in range(1, GROUPS):
                bias += sums[0, U(i * COLUMNS + me)]
                slope += sums[1, U(i * COLUMNS + me)]
            par, words, numbers, steps = job.state[0], job.words, job.numbers, job.steps
            own = learning(words, numbers, steps, clock[0], layer)
            finish(own, par, act, k, j, real(bias))
            if trainable:
                finish(own, par, act, k + 1, j, real(slope))

    def hold(job, clock, parts, layer, run, first, rows, me, team):
        for each in range(job.words[0, LAYERS]):
            hold_kept(
                job.state[0], job.scratch[0], job.words, job.numbers, job.steps, clock[0], real(1),
                each, me, team,
            )  # fmt: skip

    def largest(job, clock, parts, layer, run, first, rows, me, team):
        found = block_largest(largest_kept(job.scratch[0], job.words, me, team))
        if cuda.threadIdx.x == 0:
            parts[0, U(cuda.blockIdx.x)] = found

    @inner
    def largest_part(parts):
        unit = 1.0
        for i in range(cuda.gridDim.x):
            unit = max(unit, parts[0, U(i)])
        return unit

    def squares(job, clock, parts, layer, run, first, rows, me, team):
        unit = largest_part(parts)
        total = block_sum(squares_of(job.scratch[0], job.words, unit, me, team))
        if cuda.threadIdx.x == 0:
            parts[1, U(cuda.blockIdx.x)] = total

    def apply(job, clock, parts, layer, run, first, rows, me, team):
        unit, total = largest_part(parts), 0.0
        for i in range(cuda.gridDim.x):
            total += parts[1, U(i)]
        factor = scale_of(job.numbers, total, unit)
        for each in range(job.words[0, LAYERS]):
            apply_kept(
                job.state[0], job.scratch[0], job.words, job.numbers, job.steps, clock[0], factor,
                each, me, team,
            )  # fmt: skip

    def clip_columns(job, clock, parts, layer, run, first, rows, me, team):
        clip(job.state[0], job.words, job.numbers, job.steps, clock[0], layer, me, team)

    def advance(job, clock, parts, layer, run, first, rows, me, team):
        if me == 0:
            clock[0] += 1

    every = (
        gather, forward_rows, loss, end_loss, last_derivative, backward_rows, hold, largest,
        squares, apply, clip_columns, advance,
    )  # fmt: skip
    made = {each.__name__: _phase(each, place, recipe, training) for each in every}
    bounds = COLUMN_THREADS, 1
    made["columns"] = _phase(columns, place, recipe, training, launch_bounds=bounds)
    return SimpleNamespace(**made)


def _phase(work: Any, place: Any, *made: Any, **options: Any) -> Any:
    """Return the kernel of a phase, which does nothing once a step had no finite loss."""
    does = inner(work)

    def phase(job, clock, parts, layer):
        if job.bad[0] < 0:
            run, first, rows = place(job.words, job.steps, clock)
            me = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
            team = cuda.gridDim.x * cuda.blockDim.x
            does(job, clock, parts, layer, run, first, rows, me, team)

    phase.__name__, phase.__qualname__ = work.__name__, work.__qualname__
    return kernel(phase, *made, **options)


@cache
def make_place() -> Any:
    """Return ``place(words, steps, clock)``: the epoch of a step, its first row there, its rows."""

    @inner
    def place(words, steps, clock):
        if words[0, SHARED] == 1:
            step = U(clock[0])
            return I64(0), I64(steps[step, FIRST]), I64(steps[step, ROWS])
        samples, batch = words[0, SAMPLES], words[0, BATCH]
        each = (samples + batch - 1) // batch
        run = clock[0] // each
        first = (clock[0] - run * each) * batch
        return run, first, min(batch, samples - first)

    return place
