"""The family of a persistent grid: which networks it takes, and how its kernel is launched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import float64, int32, int64

from fastnn.inputs.problem import Problem
from fastnn.targets.cuda.block.predict import PredictsByBlocks
from fastnn.targets.cuda.device.rules import no_precision, recipe_of
from fastnn.targets.cuda.grid.body import THREADS, make_kernel, static_bytes
from fastnn.targets.cuda.grid.shape import Shape, choose_shape, clocks, row_plan
from fastnn.targets.cuda.host.arguments import Job, job_type
from fastnn.targets.cuda.host.costs import grid_seconds
from fastnn.targets.cuda.host.launching import launch
from fastnn.targets.cuda.host.numba_cuda import (
    SHARED_BYTES_BY_RIGHT,
    SIMULATED,
    Limits,
    cuda,
)
from fastnn.targets.cuda.host.plan import Plan, layout_of
from fastnn.targets.fields import BATCH, SAMPLES

OLDEST = (8, 0)  # compute capability: cp.async came with Ampere


@dataclass(frozen=True)
class GridPlan(Plan):
    """A plan whose scratch offsets are those of the rows of one block; see `grid.shape`."""

    shape: Shape


def at_a_time(X: Any) -> int:
    """Return how many numbers of a row of X on the device can be copied at a time: 4 or 1."""
    address = 0 if SIMULATED else int(X.__cuda_array_interface__["data"][0])
    return 4 if X.shape[1] % 4 == 0 and address % 16 == 0 else 1


class Grid(PredictsByBlocks):
    """The family: networks whose first layer fits into the shared memory of all SMs."""

    name = "grid"

    def __init__(self, problem: Problem, rule: str, limits: Limits) -> None:
        """Take what a device has: a block for each SM, which all run at once."""
        self.problem, self.rule, self._limits = problem, rule, limits
        self._recipe = recipe_of(problem, rule)
        self._own: tuple[Any, Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it was made from."""
        return Grid, (self.problem, self.rule, self._limits)

    @staticmethod
    def reason_against(problem: Problem, rule: str, limits: Limits) -> str:
        """Return why it cannot train a problem, or ""."""
        if reason := no_precision(problem):
            return reason
        if limits.capability < OLDEST:
            return "its copies to shared memory (cp.async) take compute capability 8.0 or later"
        if rule == problem.optimizer.rule:
            if problem.clip_norm is not None:
                return "clip_norm needs the whole gradient before any update"
            if any(dense.max_norm is not None for dense in problem.network.dense):
                return "max_norm needs whole columns of weights, which lie in several blocks"
        static = static_bytes(row_plan(problem, rule, 1))
        if static > SHARED_BYTES_BY_RIGHT:
            return (
                f"what its {len(problem.network.dense)} layers and the numbers of their formulas "
                f"need in shared memory, {static} bytes, is more than {SHARED_BYTES_BY_RIGHT}"
            )
        if _shape(problem, rule, limits, problem.batch_size) is None:
            return (
                f"no split of the first layer and a batch of {problem.batch_size} rows over "
                f"{limits.sms} blocks fits into {limits.shared_bytes} bytes of shared memory"
            )
        return ""

    @staticmethod
    def seconds(problem: Problem, limits: Limits) -> float:
        """Return about what a step takes."""
        shape = _shape(problem, problem.optimizer.rule, limits, problem.batch_size)
        if shape is None:
            return math.inf
        later = sum(k * n for k, n in problem.network.shapes[1:])
        # Every row block reads all later weights, twice; their update reads a number a product.
        numbers = 2 * later + 2 * later * problem.batch_size / shape.blocks
        own = clocks(shape, problem.batch_size, problem.dtype)
        return grid_seconds(own, numbers, problem.dtype.itemsize)

    def plan(self, samples: int) -> GridPlan:
        """Lay out the problem; see `fastnn.targets.cuda.host.arguments.Family`."""
        batch = min(self.problem.batch_size, samples)
        shape = _shape(self.problem, self.rule, self._limits, batch)
        assert shape is not None, "reason_against() says where nothing fits"
        rows = row_plan(self.problem, self.rule, shape.rows)
        rows.words[0, [BATCH, SAMPLES]] = batch, samples
        return GridPlan(rows.words, rows.numbers, shape.scratch, rows.dtype, shape)

    def kernels(self, samples: int) -> list[tuple[Any, tuple[Any, ...]]]:
        """Return the kernel of `train`; see `fastnn.targets.cuda.host.arguments.Family`."""
        plan = self.plan(samples)
        own = job_type(self.problem.dtype), float64[::1], int32[::1]
        return [(self._kernel(plan), (*own, int64, int64, int64))]

    def _kernel(self, plan: GridPlan) -> Any:
        return make_kernel(self._recipe, layout_of(plan), plan.shape, THREADS)

    def train(self, job: Job, plan: Plan, begin: int, end: int, stream: Any) -> None:
        """Put steps into the stream; see `fastnn.targets.cuda.host.arguments.Family`."""
        assert isinstance(plan, GridPlan)
        shape = plan.shape
        if self._own is None:
            losses = cuda.to_device(np.zeros(max(self._limits.sms, shape.blocks)))
            self._own = losses, cuda.to_device(np.zeros(1, np.int32))
        launch(
            self._kernel(plan), shape.blocks, THREADS, stream, shape.shared, job, *self._own,
            at_a_time(job.X), begin, end,
        )  # fmt: skip


def _shape(problem: Problem, rule: str, limits: Limits, batch: int) -> Shape | None:
    """Return how to split a problem on a device, or None where no split fits."""
    plan = row_plan(problem, rule, -(-batch // limits.sms))
    return choose_shape(
        plan, problem.network.shapes[0], batch, problem.dtype, limits.sms, THREADS,
        limits.shared_bytes - static_bytes(plan), problem.network.outputs,
    )  # fmt: skip
