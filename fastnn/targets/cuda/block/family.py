"""One block of threads trains a whole network: for tiny ones, and for many at once.

A launch does some steps of some epochs of as many networks as it has blocks. A network that fits
lives in the block's shared memory meanwhile; one that does not is worked on where it lies. Either
way a block waits for nobody else, so a thousand networks train as well as one.
"""

from __future__ import annotations

import math
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import float64, from_dtype, int64

from fastnn.inputs.problem import Problem
from fastnn.targets.cuda.block.predict import PredictsByBlocks
from fastnn.targets.cuda.device.intrinsics import make_prefetch
from fastnn.targets.cuda.device.layers import make_rowwise
from fastnn.targets.cuda.device.operations import make_operations
from fastnn.targets.cuda.device.rules import Recipe, no_precision, recipe_of
from fastnn.targets.cuda.device.teams import add_up, copy, fill, largest_of
from fastnn.targets.cuda.device.work import Work
from fastnn.targets.cuda.host.arguments import LOSS_SUM, WEIGHT_SUM, Job, job_type
from fastnn.targets.cuda.host.costs import block_seconds
from fastnn.targets.cuda.host.launching import launch
from fastnn.targets.cuda.host.numba_cuda import (
    SIMULATED,
    Limits,
    U,
    cuda,
    inner,
    kernel,
    make_shared_array,
    one_by_one,
    quotient,
)
from fastnn.targets.cuda.host.plan import HELD, OUTPUTS, STATE, TRAINED, Plan, layout_of, make_plan
from fastnn.targets.cuda.host.scalars import WEIGHT
from fastnn.targets.fields import BATCH, ROWWISE, SAMPLES, WEIGHTED, K

THREADS = 2 if SIMULATED else 256
STATIC_BYTES = 8 * THREADS  # of shared memory, beside the network


def make_step(o: SimpleNamespace, plan: np.ndarray) -> Any:
    """Return ``train_step(work, job, weighted, sums) -> total``: one minibatch, by one block.

    The total is the sum of weight times loss; where that is not finite, parameters are as before.
    Nothing is compiled that the layers of a plan with these words have no use for.
    """
    layers, first_trained = len(plan) - 1, int(plan[1:, TRAINED].argmax())
    by_norm, rowwise = bool(plan[0, HELD] >= 0), bool(plan[1:, ROWWISE].any())
    forward_rows, backward_rows = make_rowwise(o, rowwise)
    gather, forward, loss = o.gather, o.forward, o.loss
    last_derivative, backward, apply = o.last_derivative, o.backward, o.apply
    largest, squares, scale_of = o.largest, o.squares, o.scale_of

    @inner
    def forward_layer(work, layer):
        forward(work, layer)
        cuda.syncthreads()
        forward_rows(work, layer)

    @inner
    def backward_layer(work, layer):
        backward_rows(work, layer)
        if layer > first_trained:
            backward(work, layer)
            cuda.syncthreads()

    @inner
    def apply_layer(given, layer):
        work, factor = given
        apply(work, layer, factor)

    up = range(layers)
    all_forward = one_by_one(forward_layer, up)
    all_backward = one_by_one(backward_layer, up[first_trained:][::-1])
    all_update, all_clip = one_by_one(o.update, up), one_by_one(o.clip_columns, up)
    all_apply = one_by_one(apply_layer, up)

    @inner
    def learn(work, sums):
        """Update all parameters; the barrier after the next rows comes before they are read."""
        me, team = work.me, work.team
        all_update(work)
        cuda.syncthreads()
        if by_norm:
            unit = largest_of(sums, largest(work), me, team)
            cuda.syncthreads()
            total = add_up(sums, squares(work, unit), team, me)
            all_apply((work, scale_of(work.numbers, total, unit)))
            cuda.syncthreads()
        all_clip(work)

    @inner
    def train_step(work, job, weighted, sums):
        gather(work, job.X)
        cuda.syncthreads()
        all_forward(work)
        own = loss(work, job, weighted)
        total = add_up(sums, own, min(work.rows, work.team), work.me)
        if math.isfinite(total):
            last_derivative(work)
            cuda.syncthreads()
            all_backward(work)
            learn(work, sums)
        return total

    return train_step


@cache
def make_kernel(
    recipe: Recipe, layout: tuple[tuple[int, ...], ...], resident: bool, blocks: int = 1
) -> Any:
    """Return the kernel ``train`` for a recipe and the layout of a network and its batches.

    It takes a `Job`, and which steps to do, `begin` to `end`. Where networks are `resident` in
    shared memory, the scratch is a dummy. The `layout`, from `layout_of`, is constant in the code,
    which is half as long for that: so are all distances, loops over few terms are written out, and
    nothing that a plan says is loaded again behind every store. Of `blocks` that an SM is to
    hold at once each has its share of the registers.
    """
    o, words = make_operations(recipe), np.array(layout, np.int64)
    all_ones, prefetch = one_by_one(o.fill_ones, range(len(layout) - 1)), make_prefetch()
    train_step, by_class = make_step(o, words), recipe.by_class
    shared_memory = make_shared_array(0, from_dtype(np.dtype(recipe.dtype)))
    zero = np.dtype(recipe.dtype).type(0)

    @inner
    def prefetch_step(job, order, step, first, rows, me, team):
        """Ask for what the next step reads, and for the numbers of the rows after those."""
        k, ahead = words[1, K], first + words[0, BATCH] + me
        e = me
        while e < rows * k:
            r = quotient(e, k)
            prefetch(job.X, (np.int64(order[U(first + r)]), np.int64(e - r * k)))
            e += team
        if me < words[0, BATCH] and ahead < len(order):
            prefetch(order, (np.int64(ahead),))
        if me < rows:
            s = np.int64(order[U(first + me)])
            if by_class and job.targets.shape[1] < words[0, OUTPUTS]:
                prefetch(job.classes, (s,))
            else:
                prefetch(job.targets, (s, np.int64(0)))
        if me == 0:
            prefetch(job.steps, (np.int64(step), np.int64(0)))

    @inner
    def train_steps(job, par, act, begin, end):
        me, team, model = cuda.threadIdx.x, THREADS, cuda.blockIdx.x
        sums = cuda.shared.array(THREADS, float64)
        samples, batch = job.words[0, SAMPLES], words[0, BATCH]
        weighted = job.words[0, WEIGHTED]
        each = (samples + batch - 1) // batch
        epochs = len(job.results) // len(job.bad)
        own = len(job.numbers) // len(job.bad)
        numbers = job.numbers[model * own : (model + 1) * own]
        table = np.int64(numbers[U(own - 1)])
        fill(act, len(act), zero, me, team)
        epoch = begin // each
        run, first = model * epochs + epoch, (begin - epoch * each) * batch
        work = Work(
            par, act, words, numbers, job.keys[U(run)], job.orders[U(run)], job.steps[U(table)],
            first, batch, True, me, team,
        )  # fmt: skip
        cuda.syncthreads()
        all_ones(work)
        loss_sum, weight_sum = job.results[U(run), LOSS_SUM], job.results[U(run), WEIGHT_SUM]
        for step in range(begin, end):
            keys, order = job.keys[U(run)], job.orders[U(run)]
            rows, following = min(batch, samples - first), first + batch
            if following < samples and step + 1 < end:
                next_rows = min(batch, samples - following)
                prefetch_step(job, order, table + step + 1, following, next_rows, me, team)
            work = Work(
                par, act, words, numbers, keys, order, job.steps[U(table + step)], first, rows,
                True, me, team,
            )  # fmt: skip
            total = train_step(work, job, weighted, sums)
            loss_sum += total
            weight_sum += job.steps[U(table + step), WEIGHT]
            finite, first = math.isfinite(total), following
            if me == 0 and (not finite or first >= samples or step + 1 == end):
                job.results[U(run), LOSS_SUM] = loss_sum
                job.results[U(run), WEIGHT_SUM] = weight_sum
            if not finite:
                if me == 0:
                    job.bad[U(model)] = step
                break
            if first >= samples:
                run, first, loss_sum, weight_sum = run + 1, 0, 0.0, 0.0

    def train(job, begin, end):
        model = cuda.blockIdx.x
        if job.bad[U(model)] < 0:
            train_steps(job, job.state[U(model)], job.scratch[U(model)], begin, end)

    def train_resident(job, begin, end):
        me, team, model = cuda.threadIdx.x, THREADS, cuda.blockIdx.x
        if job.bad[U(model)] < 0:
            memory = shared_memory()
            size = words[0, STATE]
            par, act, state = memory[:size], memory[size:], job.state[U(model)]
            copy(par, 0, state, 0, size, me, team)
            train_steps(job, par, act, begin, end)
            cuda.syncthreads()
            copy(state, 0, par, 0, size, me, team)

    body = train_resident if resident else train
    return kernel(body, recipe, layout, blocks, launch_bounds=(THREADS, blocks))


class Block(PredictsByBlocks):
    """The family: networks that fit into shared memory, and any network where others cannot."""

    name = "block"

    def __init__(self, problem: Problem, rule: str, limits: Limits, networks: int = 1) -> None:
        """Take what a device allows a block of shared memory, and how many networks train."""
        self.problem, self.rule, self._limits = problem, rule, limits
        # A network waits for its own sums most of the time: two on an SM fill the waits.
        self._together = 2 if networks > limits.sms else 1
        self._recipe, self._networks = recipe_of(problem, rule), networks

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it was made from."""
        return Block, (self.problem, self.rule, self._limits, self._networks)

    @staticmethod
    def reason_against(problem: Problem, rule: str, limits: Limits) -> str:
        """Return why it cannot train a problem, or ""."""
        return no_precision(problem)

    @staticmethod
    def seconds(problem: Problem, limits: Limits) -> float:
        """Return about what a step takes."""
        weights = sum(k * n for k, n in problem.network.shapes)
        shared = Block(problem, problem.optimizer.rule, limits).resident_bytes(problem.batch_size)
        products = 3 * weights * problem.batch_size
        return block_seconds(products, len(problem.network.dense), shared > 0)

    def plan(self, samples: int) -> Plan:
        """Lay out the problem; see `fastnn.targets.cuda.host.arguments.Family`."""
        return make_plan(self.problem, samples, rule=self.rule, ones=True)

    def resident_bytes(self, samples: int) -> int:
        """Return the bytes of a network in shared memory, or 0 where it does not fit."""
        plan = self.plan(samples)
        needed = (plan.state_size + plan.scratch_size) * self.problem.dtype.itemsize
        return needed if needed + STATIC_BYTES <= self._limits.shared_bytes else 0

    def kernels(self, samples: int) -> list[tuple[Any, tuple[Any, ...]]]:
        """Return the kernel of `train`; see `fastnn.targets.cuda.host.arguments.Family`."""
        train = self._kernel(self.plan(samples), self.resident_bytes(samples))
        return [(train, (job_type(self.problem.dtype), int64, int64))]

    def _kernel(self, plan: Plan, resident_bytes: int) -> Any:
        return make_kernel(self._recipe, layout_of(plan), resident_bytes > 0, self._together)

    def train(self, job: Job, plan: Plan, begin: int, end: int, stream: Any) -> None:
        """Put steps into the stream; see `fastnn.targets.cuda.host.arguments.Family`."""
        shared = self.resident_bytes(int(plan.words[0, SAMPLES]))
        train = self._kernel(plan, shared)
        launch(train, len(job.bad), THREADS, stream, shared, job, begin, end)
