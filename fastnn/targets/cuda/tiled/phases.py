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
from fastnn.targets.cuda.device.work import Work, layer_of
from fastnn.targets.cuda.host.arguments import LOSS_SUM, WEIGHT_SUM
from fastnn.targets.cuda.host.numba_cuda import I64, SIMULATED, U, cuda, inner, kernel
from fastnn.targets.cuda.host.scalars import FIRST, ROWS, WEIGHT
from fastnn.targets.fields import BATCH, LAYERS, SAMPLES, SHARED, WEIGHTED

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
    gather_inputs = o.gather_by(LANES)
    forward_numbers, backward_numbers, clip = o.forward_rows, o.backward_rows, o.clip_columns
    loss_of, derivatives_of, place = o.loss, o.last_derivative, make_place()
    learning, finish, hold_kept, apply_kept = o.learning, o.finish, o.hold, o.apply
    largest_kept, squares_of, scale_of = o.largest, o.squares, o.scale_of
    real = np.dtype(recipe.dtype).type

    @inner
    def block_sum(own):
        sums = cuda.shared.array(THREADS, float64)
        return add_up(sums, own, cuda.blockDim.x, cuda.threadIdx.x)

    @inner
    def block_largest(own):
        sums = cuda.shared.array(THREADS, float64)
        return largest_of(sums, own, cuda.threadIdx.x, cuda.blockDim.x)

    def gather(work, job, clock, parts, layer):
        gather_inputs(work, job.X)

    def forward_rows(work, job, clock, parts, layer):
        forward_numbers(work, layer)

    def loss(work, job, clock, parts, layer):
        total = block_sum(loss_of(work, job, job.words[0, WEIGHTED]))
        if cuda.threadIdx.x == 0:
            parts[0, U(cuda.blockIdx.x)] = total
            parts[1, U(cuda.blockIdx.x)] = cuda.gridDim.x

    def end_loss(work, job, clock, parts, layer):
        if work.me == 0:
            total, (run, _, _) = 0.0, place(job.words, job.steps, clock)
            for i in range(int(parts[1, 0])):
                total += parts[0, U(i)]
            job.results[U(run), LOSS_SUM] += total
            job.results[U(run), WEIGHT_SUM] += work.step[WEIGHT]
            if not math.isfinite(total):
                job.bad[0] = clock[0]

    def last_derivative(work, job, clock, parts, layer):
        derivatives_of(work)

    def backward_rows(work, job, clock, parts, layer):
        backward_numbers(work, layer)

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

    def columns(work, job, clock, parts, layer):
        """Add up the derivatives of each column: the gradient of the bias, and of slopes."""
        sums = cuda.shared.array((2, COLUMN_THREADS), float64)
        at, act, me = layer_of(work.words, layer), work.act, cuda.threadIdx.x
        group = me // COLUMNS
        j = cuda.blockIdx.x * COLUMNS + me - group * COLUMNS
        bias, slope, trainable = 0.0, 0.0, at.learns_slopes == 1
        if j < at.n:
            bias = column_sum(act, at.delta + j, at.ldn, group, work.rows)
            if trainable:
                slope = column_sum(act, at.z + j, at.ldn, group, work.rows)
        sums[0, U(me)], sums[1, U(me)] = bias, slope
        cuda.syncthreads()
        if me < COLUMNS and j < at.n:
            for i in range(1, GROUPS):
                bias += sums[0, U(i * COLUMNS + me)]
                slope += sums[1, U(i * COLUMNS + me)]
            own = learning(work, layer)
            finish(own, work, at.k, j, real(bias))
            if trainable:
                finish(own, work, at.k + 1, j, real(slope))

    def hold(work, job, clock, parts, layer):
        for each in range(work.words[0, LAYERS]):
            hold_kept(work, each, real(1))

    def largest(work, job, clock, parts, layer):
        found = block_largest(largest_kept(work))
        if cuda.threadIdx.x == 0:
            parts[0, U(cuda.blockIdx.x)] = found

    @inner
    def largest_part(parts):
        unit = 1.0
        for i in range(cuda.gridDim.x):
            unit = max(unit, parts[0, U(i)])
        return unit

    def squares(work, job, clock, parts, layer):
        total = block_sum(squares_of(work, largest_part(parts)))
        if cuda.threadIdx.x == 0:
            parts[1, U(cuda.blockIdx.x)] = total

    def apply(work, job, clock, parts, layer):
        unit, total = largest_part(parts), 0.0
        for i in range(cuda.gridDim.x):
            total += parts[1, U(i)]
        factor = scale_of(work.numbers, total, unit)
        for each in range(work.words[0, LAYERS]):
            apply_kept(work, each, factor)

    def clip_columns(work, job, clock, parts, layer):
        clip(work, layer)

    def advance(work, job, clock, parts, layer):
        if work.me == 0:
            clock[0] += 1

    every = (
        gather, forward_rows, loss, end_loss, last_derivative, backward_rows, hold, largest,
        squares, apply, clip_columns, advance,
    )  # fmt: skip
    made = {each.__name__: _phase(each, recipe, training) for each in every}
    bounds = COLUMN_THREADS, 1
    made["columns"] = _phase(columns, recipe, training, launch_bounds=bounds)
    return SimpleNamespace(**made)


def _phase(work: Any, recipe: Recipe, training: bool, **options: Any) -> Any:
    """Return the kernel of a phase, which does nothing once a step had no finite loss."""
    does, work_of = inner(work), make_work(training)

    def phase(job, clock, parts, layer):
        if job.bad[0] < 0:
            me = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
            team = cuda.gridDim.x * cuda.blockDim.x
            does(work_of(job, clock, me, team), job, clock, parts, layer)

    phase.__name__, phase.__qualname__ = work.__name__, work.__qualname__
    return kernel(phase, recipe, training, **options)


@cache
def make_work(training: bool) -> Any:
    """Return ``work_of(job, clock, me, team)``: the `Work` of a step, all rows of its batch."""
    place = make_place()

    @inner
    def work_of(job, clock, me, team):
        run, first, rows = place(job.words, job.steps, clock)
        return Work(
            job.state[0], job.scratch[0], job.words, job.numbers, job.keys[U(run)],
            job.orders[U(run)], job.steps[U(clock[0])], first, rows, training, me, team,
        )  # fmt: skip

    return work_of


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
