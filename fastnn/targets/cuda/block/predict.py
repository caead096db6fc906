"""The forward pass alone: blocks of threads that each take some rows at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numba import float64, from_dtype, int32, int64, uint64

from fastnn.inputs.problem import Problem
from fastnn.targets.cuda.device.layers import make_rowwise
from fastnn.targets.cuda.device.operations import make_operations
from fastnn.targets.cuda.device.rules import Recipe, recipe_of
from fastnn.targets.cuda.device.work import Work, layer_of
from fastnn.targets.cuda.host.costs import predicted_rows
from fastnn.targets.cuda.host.data import REMEDY, predict_in_pieces
from fastnn.targets.cuda.host.launching import launch
from fastnn.targets.cuda.host.memory import new_array
from fastnn.targets.cuda.host.numba_cuda import SIMULATED, Limits, U, cuda, kernel
from fastnn.targets.cuda.host.plan import LDW, STATE, Plan, make_plan
from fastnn.targets.fields import BATCH, LAYERS, MEAN_SLOT, ROWWISE, SIZE, WEIGHTS

THREADS = 2 if SIMULATED else 256
ROWS = 32  # that a block takes at a time
MOST_ROWS = 1 << 16  # that are on the device at a time


@cache
def make_kernel(recipe: Recipe, rowwise: bool) -> Any:
    """Return the kernel ``predict`` for a recipe; without `rowwise`, of no softmax and no hardmax.

    It takes states of networks (b, state size), and where in each the parameters begin; scratch
    (blocks, scratch size), words and numbers of a plan whose batch is what a block takes at a time,
    keys and order of any content, X (m, inputs), and outputs (b, m, outputs), which it fills. As
    many blocks work on each network: the first on rows 0 to batch, batch blocks, and so on.
    """
    o = make_operations(recipe)
    gather, forward, fill_ones = o.gather, o.forward, o.fill_ones
    forward_rows, _ = make_rowwise(o, rowwise)

    def predict(states, start, scratch, words, numbers, keys, order, X, outputs):
        me, team, act = cuda.threadIdx.x, cuda.blockDim.x, scratch[U(cuda.blockIdx.x)]
        layers, batch, blocks = words[0, LAYERS], words[0, BATCH], cuda.gridDim.x // len(states)
        network, last = cuda.blockIdx.x // blocks, layer_of(words, layers - 1)
        par, found = states[U(network)][start:], outputs[U(network)]
        first = (cuda.blockIdx.x - network * blocks) * batch
        work = Work(par, act, words, numbers, keys, order, numbers, first, batch, False, me, team)
        for layer in range(layers):
            fill_ones(work, layer)
        while first < len(X):
            rows = min(batch, len(X) - first)
            work = Work(
                par, act, words, numbers, keys, order, numbers, first, rows, False, me, team
            )
            cuda.syncthreads()
            gather(work, X)
            cuda.syncthreads()
            for layer in range(layers):
                forward(work, layer)
                cuda.syncthreads()
                forward_rows(work, layer)
            e = me
            while e < rows * last.n:
                r = e // last.n
                j = e - r * last.n
                found[U(first + r), U(j)] = act[U(last.output + r * last.ldn + j)]
                e += team
            first += blocks * batch

    return kernel(predict, recipe, rowwise)


class PredictsByBlocks(ABC):
    """What families have in common of which each block predicts some rows."""

    problem: Problem
    rule: str
    _limits: Limits

    @abstractmethod
    def plan(self, samples: int) -> Plan:
        """Lay out the problem; see `fastnn.targets.cuda.host.arguments.Family`."""

    def predictor(self, plan: Plan) -> Predictor:
        """Return what predicts; see `fastnn.targets.cuda.host.arguments.Family`."""
        return Predictor(self.problem, self.rule, plan, self._limits)

    def predicting(self) -> list[tuple[Any, tuple[Any, ...]]]:
        """Return what predicts; see `fastnn.targets.cuda.host.arguments.Family`."""
        return self.predictor(self.plan(1)).kernels()


class Predictor:
    """Runs the forward pass of one problem; its buffers are made for each call."""

    def __init__(self, problem: Problem, rule: str, plan: Plan, limits: Limits) -> None:
        """Lay out the problem for `ROWS` rows a block; `plan` says where parameters lie."""
        self._problem, self._sms = problem, limits.sms
        self._recipe = recipe_of(problem, rule)
        self._plan = make_plan(replace(problem, batch_size=ROWS), ROWS, rule=rule, ones=True)
        self._plan.words[1:, [WEIGHTS, LDW]] = plan.words[1:, [WEIGHTS, LDW]]
        self._plan.words[0, [SIZE, STATE, MEAN_SLOT]] = plan.words[0, [SIZE, STATE, MEAN_SLOT]]

    def kernels(self) -> list[tuple[Any, tuple[Any, ...]]]:
        """Return the kernel, with the types of its arguments."""
        real = from_dtype(self._problem.dtype)
        types = (
            real[:, ::1], int64, real[:, ::1], int64[:, ::1], float64[::1], uint64[::1],
            int32[::1], real[:, ::1], real[:, :, ::1],
        )  # fmt: skip
        return [(make_kernel(self._recipe, bool(self._plan.words[1:, ROWWISE].any())), types)]

    def __call__(self, state: Any, X: Any, stream: Any) -> np.ndarray:
        """Return the outputs (m, outputs) for X (m, inputs); `state` is (1, state size).

        X may be on the device; the outputs are on the host.
        """
        found: np.ndarray = self.predict_all(state, X, stream)[0]
        return found

    def predict_all(self, states: Any, X: Any, stream: Any) -> np.ndarray:
        """Return the outputs (b, m, outputs) of networks with these states (b, state size)."""
        dtype = self._problem.dtype
        ((predict, _),) = self.kernels()
        networks, n = len(states), self._problem.network.outputs
        found = np.empty((networks, len(X), n), dtype)
        products = networks * sum(k * n for k, n in self._problem.network.shapes)
        most = min(len(X), MOST_ROWS, max(ROWS, predicted_rows(products, self._sms)))
        blocks = min(-(-most // ROWS), -(-4 * self._sms // networks)) * networks
        words = cuda.to_device(self._plan.words, stream=stream)
        numbers = cuda.to_device(self._plan.numbers, stream=stream)
        keys = cuda.to_device(np.zeros(1, np.uint64), stream=stream)
        order = cuda.to_device(np.arange(most, dtype=np.int32), stream=stream)
        room = "predictions need", REMEDY
        scratch = new_array((blocks, self._plan.scratch_size), dtype, *room)

        def outputs_of(rows: Any) -> Any:
            outputs = new_array((networks, len(rows), n), dtype, *room)
            launch(
                predict, blocks, THREADS, stream, 0, states, self._plan.predicting, scratch, words,
                numbers, keys, order, rows, outputs,
            )  # fmt: skip
            return outputs

        predict_in_pieces(outputs_of, X, most, found, stream)
        return found
