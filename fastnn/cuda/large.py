"""The family for large networks: a step is a list of launches, put into the stream as one graph.

What a launch works on follows from the step that the device has come to, so the list is the same
for every step: it is captured once as a CUDA graph and launched again and again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float64, int64

from fastnn.cuda.core import Tile
from fastnn.cuda.device import (
    SIMULATED,
    Limits,
    Replay,
    compile_now,
    cuda,
    launch,
)
from fastnn.cuda.gemm import blocks_of, small_tile, threads_of, tile_for, tiles
from fastnn.cuda.job import Job, job_type
from fastnn.cuda.plan import ROWWISE, Plan, make_plan
from fastnn.cuda.rules import recipe_of
from fastnn.cuda.tiled import COLUMNS, MOST_PARTS, THREADS, make_kernels, make_product
from fastnn.problem import Problem
from fastnn.rules.table import activation_row

ALIGN = 4  # numbers: leading dimensions and offsets are whole vectors in either dtype
# Products a second of all processors together relative to one processor's rate, and what a launch
# within a graph takes.
RATE_PER_PROCESSOR, LAUNCH_SECONDS = 1.5e11, 2.5e-6


class Large:
    """The family: any network, over all processors."""

    name = "tiled"

    def __init__(self, problem: Problem, rule: str, limits: Limits) -> None:
        """Choose kernels for `problem`; nothing is compiled yet."""
        self.problem, self.rule, self._processors = problem, rule, limits.processors
        self._recipe = recipe_of(problem, rule)
        self._clock: Any = None
        self._parts: Any = None
        self._replays: dict[tuple[int, ...], Replay] = {}

    @staticmethod
    def suits(problem: Problem, rule: str, limits: Limits) -> str:
        """Return why it cannot train a problem: there is nothing that it cannot."""
        return ""

    @staticmethod
    def seconds(problem: Problem, limits: Limits) -> float:
        """Return about what a step takes: arithmetic of all processors, and launches."""
        weights = sum(k * n for k, n in problem.network.shapes)
        launches = 5 + 4 * len(problem.network.dense)
        rate = RATE_PER_PROCESSOR * limits.processors
        return 3 * weights * problem.batch_size / rate + LAUNCH_SECONDS * launches

    def plan(self, samples: int) -> Plan:
        """Lay out the problem; see `fastnn.cuda.job.Family`."""
        return make_plan(self.problem, samples, rule=self.rule, ones=False, align=ALIGN)

    def prepare(self, samples: int) -> None:
        """Compile all kernels of a step; see `fastnn.cuda.job.Family`."""
        types = job_type(self.problem.dtype), int64[::1], float64[:, ::1], int64
        for kernel in dict.fromkeys(each[0] for each in self._step(self.plan(samples))):
            compile_now(kernel, *types)

    def train(self, job: Job, plan: Plan, begin: int, end: int, stream: Any) -> None:
        """Put steps into the stream; see `fastnn.cuda.job.Family`."""
        if self._clock is None:
            self._clock = cuda.device_array(1, np.int64)
            self._parts = cuda.device_array((2, MOST_PARTS), np.float64)
        self._clock.copy_to_device(np.array([begin], np.int64), stream=stream)
        steps = self._step(plan)

        def put(stream: Any) -> None:
            for kernel, blocks, threads, layer in steps:
                launch(kernel, blocks, threads, stream, 0, job, self._clock, self._parts, layer)

        if SIMULATED:
            for _ in range(begin, end):
                put(stream)
            return
        where = tuple(each.device_ctypes_pointer.value for each in job)
        if where not in self._replays:
            if len(self._replays) >= 4:  # those of arrays that are no more
                self._replays.clear()
            self._replays[where] = Replay(put)
        self._replays[where].launch(end - begin, stream)

    def _step(self, plan: Plan) -> list[tuple[Any, int, int, int]]:
        """Return kernel, blocks, threads and layer of each launch of a step."""
        k = make_kernels(self._recipe)
        network, rows = self.problem.network, int(plan.words[0, 1])
        layers = range(len(network.dense))
        wide = [plan.words[1 + layer, ROWWISE] > 0 for layer in layers]
        fill = min(MOST_PARTS, 4 * self._processors)
        everywhere = (fill, THREADS)

        def over(count: int) -> tuple[int, int]:
            """Return blocks and threads for so many numbers, one a thread at most."""
            return min(fill, -(-count // THREADS)), THREADS

        def product(kind: str, layer: int, m: int, n: int) -> tuple[Any, int, int, int]:
            tile = self._tile(m, n)
            kernel = make_product(self._recipe, kind, tile)
            return kernel, tiles(m, n, tile), threads_of(tile, self._recipe.precision), layer

        steps: list[tuple[Any, int, int, int]] = [(k.gather, *everywhere, 0)]
        for layer, (_, n) in zip(layers, network.shapes, strict=True):
            steps.append(product("forward", layer, rows, n))
            if wide[layer]:
                steps.append((k.forward_rows, *over(rows), layer))
        steps += [(k.loss, *over(rows), 0), (k.end_loss, 1, 1, 0)]
        if activation_row(network.dense[-1].activation).name != "identity":
            steps.append((k.last_slope, *everywhere, 0))
        for layer in reversed(layers):
            if wide[layer]:
                steps.append((k.backward_rows, *over(rows), layer))
            if layer > 0:
                steps.append(product("backward", layer, rows, network.shapes[layer][0]))
        for layer, (inputs, n) in zip(layers, network.shapes, strict=True):
            steps.append(product("update", layer, inputs, n))
            steps.append((k.columns, -(-n // COLUMNS), THREADS, layer))
        own_rule = self.rule == self.problem.optimizer.rule
        if own_rule and self.problem.clip_norm is not None:
            steps += [(each, *everywhere, 0) for each in (k.largest, k.squares, k.apply)]
        for layer, dense in enumerate(network.dense):
            if own_rule and dense.max_norm is not None:
                steps.append((k.hold, *over(dense.units), layer))
        steps.append((k.advance, 1, 1, 0))
        return steps

    def _tile(self, m: int, n: int) -> Tile:
        """Return the tile with which a product of m rows and n columns takes least time."""
        precision = self._recipe.precision
        if SIMULATED:
            return small_tile(precision)
        return tile_for(self.problem.dtype, precision)
