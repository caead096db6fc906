"""The family for large networks: a step is a list of launches, put into the stream as one graph.

What a launch works on follows from the step that the device has come to, so the list is the same
for every step: it is captured once as a CUDA graph and launched again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numba import float64, int64

from fastnn.inputs.problem import Problem
from fastnn.ranks.group import GO_ON, NOT_FINITE
from fastnn.targets.cuda.device.rules import recipe_of
from fastnn.targets.cuda.host.arguments import Job, Predict, job_type
from fastnn.targets.cuda.host.costs import tiled_seconds
from fastnn.targets.cuda.host.data import REMEDY, predict_in_pieces
from fastnn.targets.cuda.host.launching import Replay, launch
from fastnn.targets.cuda.host.memory import new_zeros
from fastnn.targets.cuda.host.numba_cuda import SIMULATED, Limits, cuda
from fastnn.targets.cuda.host.plan import HELD, LDN, Plan, make_plan
from fastnn.targets.cuda.tiled.gemm import shared_bytes
from fastnn.targets.cuda.tiled.layer_products import by_four, make_product
from fastnn.targets.cuda.tiled.phases import (
    COLUMN_THREADS,
    COLUMNS,
    MOST_PARTS,
    THREADS,
    make_kernels,
)
from fastnn.targets.cuda.tiled.tiling import best_tile, small_tile, tiles
from fastnn.targets.fields import BATCH, OUTPUT, ROWWISE, SAMPLES

Launch = tuple[Any, int, int, int]  # kernel, blocks, threads, layer
PREDICT_ROWS = 4096  # at a time


class Tiled:
    """The family: any network, over all SMs."""

    name = "tiled"

    def __init__(self, problem: Problem, rule: str, limits: Limits, shared: bool = False) -> None:
        """Choose kernels for `problem`; nothing is compiled yet.

        `shared` says whether it trains by `train_shared`, or by `train`.
        """
        self.problem, self.rule, self._limits, self._shared = problem, rule, limits, shared
        self._recipe = recipe_of(problem, rule)
        self._clock: Any = None
        self._parts: Any = None
        self._replays: dict[tuple[Any, ...], Replay] = {}
        self._asked: dict[Any, int] = {}  # bytes of shared memory, of the kernels that need a lot

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it was made from."""
        return Tiled, (self.problem, self.rule, self._limits, self._shared)

    @staticmethod
    def reason_against(problem: Problem, rule: str, limits: Limits) -> str:
        """Return why it cannot train a problem: there is nothing that it cannot."""
        return ""

    @staticmethod
    def seconds(problem: Problem, limits: Limits) -> float:
        """Return about what a step takes."""
        how, batch = (problem.dtype, problem.precision, limits), problem.batch_size
        clocks = 0.0
        for layer, (k, n) in enumerate(problem.network.shapes):
            products = [(batch, n, k), (k, n, batch)] + [(batch, k, n)] * (layer > 0)
            clocks += sum(best_tile(*product, *how)[1] for product in products)
        return tiled_seconds(clocks, len(problem.network.dense))

    def plan(self, samples: int) -> Plan:
        """Lay out the problem; see `fastnn.targets.cuda.host.arguments.Family`."""
        return make_plan(self.problem, samples, rule=self.rule, ones=False)

    def shared_plan(self, samples: int, batch: int) -> Plan:
        """Lay out the problem where `batch` rows of each step are here, at most."""
        problem = replace(self.problem, batch_size=batch)
        return make_plan(problem, samples, rule=self.rule, ones=False, summed=True)

    def kernels(self, samples: int) -> list[tuple[Any, tuple[Any, ...]]]:
        """Return all kernels of a step; see `fastnn.targets.cuda.host.arguments.Family`."""
        plan = self.shared_plan(samples, samples) if self._shared else self.plan(samples)
        return self._each_once(self._gradient(plan) + self._applied())

    def predicting(self) -> list[tuple[Any, tuple[Any, ...]]]:
        """Return what predicts; see `fastnn.targets.cuda.host.arguments.Family`."""
        return self._each_once(self._forward(self.plan(1), training=False))

    def _each_once(self, steps: list[Launch]) -> list[tuple[Any, tuple[Any, ...]]]:
        """Return the kernels of some launches, with their arguments' types."""
        types = job_type(self.problem.dtype), int64[::1], float64[:, ::1], int64
        return [(kernel, types) for kernel in dict.fromkeys(each[0] for each in steps)]

    def train(self, job: Job, plan: Plan, begin: int, end: int, stream: Any) -> None:
        """Put steps into the stream; see `fastnn.targets.cuda.host.arguments.Family`."""
        self._set_clock(begin, stream)
        steps = self._gradient(plan) + self._applied()

        def put(stream: Any) -> None:
            self._put(steps, stream, job, self._clock, self._parts)

        if SIMULATED:
            for _ in range(begin, end):
                put(stream)
            return
        # A graph keeps addresses and shapes.
        where = tuple((each.device_ctypes_pointer.value, each.shape) for each in job)
        if where not in self._replays:
            if len(self._replays) >= 4:  # those of arrays that are no more
                self._replays.clear()
            self._replays[where] = Replay()
        self._replays[where].launch(put, end - begin, stream)

    def train_shared(
        self,
        job: Job,
        bare: Job,
        plan: Plan,
        steps: int,
        stream: Any,
        add_up: Callable[[bool], int],
        done: Callable[[int], None],
    ) -> int:
        """Do the steps of an epoch, each as soon as its gradient has been added up.

        Parameters
        ----------
        job, plan
            As `train` takes them, of a `shared_plan`.
        bare
            The same job with words and numbers that know no penalty and no limit: those are for the
            sum of all gradients.
        steps
            How many there are.
        stream
            Where the kernels go.
        add_up
            Replaces the gradient, which is `kept`, by its sum over all processes; takes whether the
            loss is not finite here, and returns what `fastnn.ranks.group.Group.add_up` does.
        done
            Called after each step, with how many are done.

        Returns
        -------
        int
            What `add_up` returned last.
        """
        self._set_clock(0, stream)
        gradient, update = self._gradient(plan), self._applied()
        for step in range(steps):
            self._put(gradient, stream, bare, self._clock, self._parts)
            bad = job.bad.copy_to_host(stream=stream)
            stream.synchronize()
            code = add_up(bool(bad[0] >= 0))
            if code == NOT_FINITE and bad[0] < 0:
                job.bad.copy_to_device(np.array([step], np.int64), stream=stream)
            if code != GO_ON:
                stream.synchronize()
                return code
            self._put(update, stream, job, self._clock, self._parts)
            done(step + 1)
        return GO_ON

    def kept(self, job: Job, plan: Plan) -> Any:
        """Return the gradient of a job of a `shared_plan` on the device, and two more numbers."""
        start = int(plan.words[0, HELD])
        return job.scratch[0, start : start + plan.size + 2]

    def _set_clock(self, step: int, stream: Any) -> None:
        """Have the device come to a step."""
        if self._clock is None:
            self._clock = cuda.device_array(1, np.int64)
            self._parts = cuda.device_array((2, MOST_PARTS), np.float64)
        self._clock.copy_to_device(np.array([step], np.int64), stream=stream)

    def _put(self, steps: list[Launch], stream: Any, *given: Any) -> None:
        """Put launches into a stream, with what all kernels are given: job, clock and parts."""
        for kernel, blocks, threads, layer in steps:
            launch(kernel, blocks, threads, stream, self._asked.get(kernel, 0), *given, layer)

    def predictor(self, plan: Plan) -> Predict:
        """Return what predicts; see `fastnn.targets.cuda.host.arguments.Family`."""
        return self._predict

    def _predict(self, state: Any, X: Any, stream: Any) -> np.ndarray:
        """Return the outputs (m, outputs) for X (m, inputs), some thousand rows at a time."""
        dtype, network = self.problem.dtype, self.problem.network
        found = np.empty((1, len(X), network.outputs), dtype)
        most = min(len(X), PREDICT_ROWS)
        problem = replace(self.problem, batch_size=most)
        plan = make_plan(problem, most, rule=self.rule, ones=False)

        def put(array: np.ndarray) -> Any:
            return cuda.to_device(array, stream=stream)

        zeros, clock = put(np.zeros((1, 1))), put(np.zeros(1, np.int64))
        # Products read what is behind the end of a row, and take it for zeros.
        size = 1, plan.scratch_size
        job = Job(
            state=state[0, plan.predicting :].reshape(1, -1),
            scratch=new_zeros(size, dtype, "predictions need", REMEDY, stream),
            words=put(plan.words),
            numbers=put(plan.numbers),
            steps=zeros,
            keys=put(np.zeros((1, 2 * len(network.dense)), np.uint64)),
            X=None,
            classes=clock,
            targets=put(np.zeros((1, 1), dtype)),
            weights=put(np.zeros(1)),
            orders=put(np.arange(most, dtype=np.int32).reshape(1, -1)),  # [None] has a stride of 0
            results=zeros,
            bad=put(np.full(1, -1, np.int64)),
        )
        last = plan.words[-1]
        start, width = int(last[OUTPUT]), int(last[LDN])

        def outputs_of(rows: Any) -> Any:
            own = job._replace(X=rows)
            if len(rows) < most:
                plan.words[0, [BATCH, SAMPLES]] = len(rows)
                own = own._replace(words=put(plan.words))
            self._put(self._forward(plan, training=False), stream, own, clock, zeros)
            end = start + len(rows) * width
            return own.scratch[0, start:end].reshape(1, len(rows), width)

        predict_in_pieces(outputs_of, X, most, found, stream)
        return found[0]

    def _forward(self, plan: Plan, training: bool) -> list[Launch]:
        """Return the launches from the rows of a batch to the outputs."""
        k, rows = make_kernels(self._recipe, training), int(plan.words[0, BATCH])
        steps: list[Launch] = [(k.gather, *self._everywhere, 0)]
        for layer, (inputs, n) in enumerate(self.problem.network.shapes):
            # Predictions are of any number of rows, for which nothing is to be compiled anew.
            tiled = rows if training else PREDICT_ROWS
            steps.append(self._product("forward", layer, (rows, n, inputs), training, tiled))
            if plan.words[1 + layer, ROWWISE] > 0:
                steps.append((k.forward_rows, *self._over(rows), layer))
        return steps

    def _gradient(self, plan: Plan) -> list[Launch]:
        """Return the launches up to the gradient, or where nothing waits for it, to the rule."""
        k = make_kernels(self._recipe)
        network, rows = self.problem.network, int(plan.words[0, BATCH])
        steps = self._forward(plan, training=True)
        steps += [(k.loss, *self._over(rows), 0), (k.end_loss, 1, 1, 0)]
        if network.dense[-1].activation != "identity":
            steps.append((k.last_derivative, *self._everywhere, 0))
        first = network.first_trained
        for layer, (inputs, n) in reversed(list(enumerate(network.shapes))[first:]):
            if plan.words[1 + layer, ROWWISE] > 0:
                steps.append((k.backward_rows, *self._over(rows), layer))
            if layer > first:
                steps.append(self._product("backward", layer, (rows, inputs, n)))
        for layer, (inputs, n) in enumerate(network.shapes):
            if not network.dense[layer].trainable:
                continue
            steps.append(self._product("update", layer, (inputs, n, rows)))
            steps.append((k.columns, -(-n // COLUMNS), COLUMN_THREADS, layer))
        return steps

    def _applied(self) -> list[Launch]:
        """Return the launches that come after the gradient, which may be a sum over processes."""
        k, network = make_kernels(self._recipe), self.problem.network
        own_rule = self.rule == self.problem.optimizer.rule
        kernels = [k.hold] * self._shared
        if own_rule and self.problem.clip_norm is not None:
            kernels += [k.largest, k.squares]
        if kernels:
            kernels.append(k.apply)
        steps: list[Launch] = [(each, *self._everywhere, 0) for each in kernels]
        for layer, dense in enumerate(network.dense):
            limited = dense.trainable and dense.max_norm is not None
            if limited and own_rule:
                steps.append((k.clip_columns, *self._over(dense.units), layer))
        steps.append((k.advance, 1, 1, 0))
        return steps

    @property
    def _everywhere(self) -> tuple[int, int]:
        """Blocks and threads that fill the device."""
        return min(MOST_PARTS, 4 * self._limits.sms), THREADS

    def _over(self, count: int) -> tuple[int, int]:
        """Return blocks and threads for so many numbers, one a thread at most."""
        return min(self._everywhere[0], -(-count // THREADS)), THREADS

    def _product(
        self,
        kind: str,
        layer: int,
        shape: tuple[int, int, int],
        training: bool = True,
        tiled: int | None = None,
    ) -> Launch:
        """Return the launch of a product of (m, k) by (k, n); `shape` is (m, n, k).

        Its tile is the one for `tiled` rows, if given, in place of m.
        """
        dtype, precision = self.problem.dtype, self.problem.precision
        if SIMULATED:
            tile = small_tile(precision)
        else:
            rows = shape[0] if tiled is None else tiled
            tile, _ = best_tile(rows, *shape[1:], dtype, precision, self._limits)
        kernel = make_product(self._recipe, precision, kind, tile, training, by_four(precision))
        self._asked[kernel] = shared_bytes(dtype, precision, tile)
        return kernel, tiles(*shape[:2], tile), tile.threads, layer
