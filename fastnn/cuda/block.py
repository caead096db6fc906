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

from fastnn.cuda.costs import block_seconds
from fastnn.cuda.device import (
    SIMULATED,
    Limits,
    U,
    cuda,
    inner,
    kernel,
    make_shared_array,
)
from fastnn.cuda.job import LOSS_SUM, WEIGHT_SUM, Job, Predict, job_type
from fastnn.cuda.launching import compile_now, launch
from fastnn.cuda.layers import make_layers
from fastnn.cuda.loss import make_loss
from fastnn.cuda.plan import BATCH, KEPT, LAYERS, ROWWISE, SAMPLES, STATE, Plan, make_plan
from fastnn.cuda.rules import Recipe, make_rules, no_precision, recipe_of
from fastnn.cuda.steps import WEIGHT
from fastnn.cuda.update import make_update
from fastnn.problem import Problem

THREADS = 2 if SIMULATED else 256
STATIC_BYTES = 8 * THREADS  # of shared memory, beside the network


def make_operations(recipe: Recipe) -> SimpleNamespace:
    """Return all device functions for a recipe: rules, layers, loss, update."""
    rules = make_rules(recipe)
    layers = make_layers(recipe, rules)
    update = make_update(recipe, rules)
    return SimpleNamespace(**vars(layers), **vars(update), loss=make_loss(recipe, rules))


def make_step(o: SimpleNamespace) -> Any:
    """Return ``train_step(...) -> bool``: one minibatch, by one block.

    It says whether the loss was finite; if not, parameters are as before.
    """
    gather, forward, forward_rows, loss = o.gather, o.forward, o.forward_rows, o.loss
    last_slope, backward, backward_rows = o.last_slope, o.backward, o.backward_rows
    update, apply, hold = o.update, o.apply, o.hold
    largest, squares, scale_of = o.largest, o.squares, o.scale_of

    @inner
    def add_up(sums, own, count, me):
        """Return the sum of the numbers of the first `count` threads, always in one order."""
        cuda.syncthreads()
        sums[U(me)] = own
        cuda.syncthreads()
        # Four sums at a time: each addition waits for the one before it.
        s0 = s1 = s2 = s3 = 0.0
        i, whole = 0, count - count % 4
        while i < whole:
            s0 += sums[U(i)]
            s1 += sums[U(i + 1)]
            s2 += sums[U(i + 2)]
            s3 += sums[U(i + 3)]
            i += 4
        while i < count:
            s0 += sums[U(i)]
            i += 1
        return (s0 + s1) + (s2 + s3)

    @inner
    def largest_of(sums, own, me, team):
        cuda.syncthreads()
        sums[U(me)] = own
        cuda.syncthreads()
        found = own
        for i in range(team):
            found = max(found, sums[U(i)])
        return found

    @inner
    def learn(par, act, words, numbers, steps, step, rows, sums, me, team):
        """Update all parameters; the barrier after the next rows comes before they are read."""
        count = words[0, LAYERS]
        for layer in range(count):
            update(par, act, words, numbers, steps, step, layer, rows, me, team)
        cuda.syncthreads()
        if words[0, KEPT] >= 0:
            unit = largest_of(sums, largest(act, words, me, team), me, team)
            total = add_up(sums, squares(act, words, unit, me, team), team, me)
            factor = scale_of(numbers, total, unit)
            apply(par, act, words, numbers, steps, step, factor, me, team)
            cuda.syncthreads()
        for layer in range(count):
            hold(par, words, numbers, steps, step, layer, me, team)

    @inner
    def train_step(job, par, act, run, step, first, rows, sums, me, team):
        words, numbers, steps = job.words, job.numbers, job.steps
        keys, order, count = job.keys[U(run)], job.orders[U(run)], words[0, LAYERS]
        gather(act, words, numbers, keys, job.X, order, rows, first, True, me, team)
        cuda.syncthreads()
        for layer in range(count):
            forward(par, act, words, numbers, keys, layer, rows, first, True, me, team)
            cuda.syncthreads()
            if words[1 + layer, ROWWISE] > 0:
                forward_rows(act, words, numbers, keys, layer, rows, first, True, me, team)
                cuda.syncthreads()
        own = loss(
            act, words, steps, step, job.classes, job.targets, job.weights, order, rows, first,
            me, team,
        )  # fmt: skip
        total = add_up(sums, own, min(rows, team), me)
        if me == 0:
            job.results[U(run), LOSS_SUM] += total
            job.results[U(run), WEIGHT_SUM] += steps[U(step), WEIGHT]
        if not math.isfinite(total):
            return False
        last_slope(act, par, words, numbers, keys, rows, first, me, team)
        cuda.syncthreads()
        for layer in range(count - 1, -1, -1):
            if words[1 + layer, ROWWISE] > 0:
                backward_rows(act, words, layer, rows, me, team)
                cuda.syncthreads()
            if layer > 0:
                backward(par, act, words, numbers, keys, layer, rows, first, me, team)
                cuda.syncthreads()
        learn(par, act, words, numbers, steps, step, rows, sums, me, team)
        return True

    return train_step


@cache
def make_kernel(recipe: Recipe, resident: bool) -> Any:
    """Return the kernel ``train`` for a recipe.

    It takes a `Job`, and which steps to do, `begin` to `end`. Where networks are
    `resident` in shared memory, the scratch is a dummy.
    """
    o = make_operations(recipe)
    train_step, fill_ones = make_step(o), o.fill_ones
    shared_memory = make_shared_array(0, from_dtype(np.dtype(recipe.dtype)))
    zero = np.dtype(recipe.dtype).type(0)

    @inner
    def train_steps(job, par, act, begin, end):
        me, team, model = cuda.threadIdx.x, cuda.blockDim.x, cuda.blockIdx.x
        sums = cuda.shared.array(THREADS, float64)
        samples, batch = job.words[0, SAMPLES], job.words[0, BATCH]
        each = (samples + batch - 1) // batch
        epochs = len(job.steps) // each
        for e in range(me, len(act), team):
            act[U(e)] = zero
        cuda.syncthreads()
        fill_ones(act, job.words, me, team)
        for step in range(begin, end):
            epoch = step // each
            run, first = model * epochs + epoch, (step - epoch * each) * batch
            rows = min(batch, samples - first)
            if not train_step(job, par, act, run, step, first, rows, sums, me, team):
                if me == 0:
                    job.bad[U(model)] = step
                break

    def train(job, begin, end):
        model = cuda.blockIdx.x
        if job.bad[U(model)] < 0:
            train_steps(job, job.state[U(model)], job.scratch[U(model)], begin, end)

    def train_resident(job, begin, end):
        me, team, model = cuda.threadIdx.x, cuda.blockDim.x, cuda.blockIdx.x
        if job.bad[U(model)] < 0:
            memory = shared_memory()
            size = job.words[0, STATE]
            par, act = memory[:size], memory[size:]
            for e in range(me, size, team):
                par[U(e)] = job.state[U(model), U(e)]
            train_steps(job, par, act, begin, end)
            cuda.syncthreads()
            for e in range(me, size, team):
                job.state[U(model), U(e)] = par[U(e)]

    return kernel(train_resident if resident else train, recipe)


class Block:
    """The family: networks that fit into shared memory, and any network where others cannot."""

    name = "block"

    def __init__(self, problem: Problem, rule: str, limits: Limits) -> None:
        """Take what a device allows a block of shared memory."""
        self.problem, self.rule, self._limits = problem, rule, limits
        self._recipe = recipe_of(problem, rule)

    @staticmethod
    def suits(problem: Problem, rule: str, limits: Limits) -> str:
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
        """Lay out the problem; see `fastnn.cuda.job.Family`."""
        return make_plan(self.problem, samples, rule=self.rule, ones=True)

    def predictor(self, plan: Plan) -> Predict:
        """Return what predicts; see `fastnn.cuda.job.Family`."""
        from fastnn.cuda.predict import Predictor

        return Predictor(self.problem, self.rule, plan, self._limits)

    def resident_bytes(self, samples: int) -> int:
        """Return the bytes of a network in shared memory, or 0 where it does not fit."""
        plan = self.plan(samples)
        needed = (plan.state_size + plan.scratch_size) * self.problem.dtype.itemsize
        return needed if needed + STATIC_BYTES <= self._limits.shared_bytes else 0

    def prepare(self, samples: int) -> None:
        """Compile the kernel of `train`; see `fastnn.cuda.job.Family`."""
        train = make_kernel(self._recipe, self.resident_bytes(samples) > 0)
        compile_now(train, job_type(self.problem.dtype), int64, int64)

    def train(self, job: Job, plan: Plan, begin: int, end: int, stream: Any) -> None:
        """Put steps into the stream; see `fastnn.cuda.job.Family`."""
        shared = self.resident_bytes(int(plan.words[0, SAMPLES]))
        train = make_kernel(self._recipe, shared > 0)
        launch(train, len(job.bad), THREADS, stream, shared, job, begin, end)
