"""What a family of kernels is handed: everything on the device that training needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numba import float64, from_dtype, int32, int64, types, uint64

from fastnn.inputs.problem import EpochResult, Problem
from fastnn.targets.cuda.host.numba_cuda import Limits
from fastnn.targets.cuda.host.plan import Plan


class Job(NamedTuple):
    """Arrays on the device; kernels take all of them as one argument.

    For `b` networks of one plan (families other than `block`: b = 1) and `e` epochs of one number
    of steps. State, scratch, results and bad are overwritten.

    Attributes
    ----------
    state
        (b, state size): parameters and optimizer state, as `Plan.pack` lays them out.
    scratch
        (b, scratch size), zeros at first.
    words, numbers
        Of the plan; the numbers of each network, one after another.
    steps
        float64 (e steps, STEP_FIELDS): `fastnn.targets.cuda.host.scalars.step_table` of all epochs;
        for networks of different rates, several such tables.
    keys
        uint64 (b e, 2 layers): keys of random numbers; row network * e + epoch.
    X, classes, targets, weights
        The data: (n, inputs) of the dtype, int64 (n,), (n, outputs) of the dtype, float64 (n,)
        or, of targets, (n outputs,); those not used have one element.
    orders
        int32 (b e, n): the rows of each epoch.
    results
        float64 (b e, RESULT_FIELDS): sums of weight times loss, and of weights; added to.
    bad
        int64 (b,): the step whose loss was not finite, or -1; after one, nothing changes any more.
    """

    state: Any
    scratch: Any
    words: Any
    numbers: Any
    steps: Any
    keys: Any
    X: Any
    classes: Any
    targets: Any
    weights: Any
    orders: Any
    results: Any
    bad: Any


def job_type(dtype: np.dtype) -> Any:
    """Return Numba's type of a job, for kernels compiled ahead of time."""
    real = from_dtype(dtype)
    arrays = (
        real[:, ::1], real[:, ::1], int64[:, ::1], float64[::1], float64[:, ::1], uint64[:, ::1],
        real[:, ::1], int64[::1], real[:, ::1], float64[::1], int32[:, ::1], float64[:, ::1],
        int64[::1],
    )  # fmt: skip
    return types.NamedTuple(arrays, Job)


# Fields of a row of `Job.results`.
LOSS_SUM, WEIGHT_SUM, RESULT_FIELDS = range(3)


def read_results(
    found: np.ndarray, bad: int, each: int, weight: float | None = None
) -> list[EpochResult]:
    """Return the result of every epoch that was begun, from what kernels left.

    Parameters
    ----------
    found
        `Job.results` of one network, (epochs, RESULT_FIELDS).
    bad
        Its `Job.bad`.
    each
        Steps of an epoch.
    weight
        Of all rows of an epoch, which is the same in every order; None: what kernels added up.
    """
    results = []
    for e, (loss, added) in enumerate(found):
        total = added if weight is None else weight
        here = bad - e * each if bad >= 0 and bad // each == e else None
        results.append(EpochResult(float(loss / total) if total > 0 else 0.0, here))
        if here is not None:
            break
    return results


# (state (1, state size) on the device, X (m, inputs), stream) -> outputs (m, outputs)
Predict = Callable[[Any, np.ndarray, Any], np.ndarray]


class Family(Protocol):
    """One way to train, for one problem; `engine` chooses one and keeps to it.

    Another process gets one as it was when it was made.
    """

    name: str
    problem: Problem
    rule: str

    @staticmethod
    def seconds(problem: Problem, limits: Limits) -> float:
        """Return about what a step takes."""
        ...

    def plan(self, samples: int) -> Plan:
        """Lay out the problem for so many rows; parameters lie the same for any number."""

    def predictor(self, plan: Plan) -> Predict:
        """Return the function that predicts, for parameters as `plan` lays them out."""
        ...

    def kernels(self, samples: int) -> list[tuple[Any, tuple[Any, ...]]]:
        """Return the kernels of `train` on so many rows, each once, with their arguments' types."""
        ...

    def predicting(self) -> list[tuple[Any, tuple[Any, ...]]]:
        """Return the kernels of `predictor` likewise, which are the same for any number of rows."""
        ...

    def train(self, job: Job, plan: Plan, begin: int, end: int, stream: Any) -> None:
        """Put steps `begin` to `end` (of all epochs, from 0) into the stream; do not wait."""
