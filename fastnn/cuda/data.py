"""Data on the device."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.cuda.device import cuda
from fastnn.data import Data
from fastnn.problem import Problem
from fastnn.rules.table import loss_row


class Placed(NamedTuple):
    """The rows of some data on the device, as `fastnn.cuda.job.Job` has them."""

    X: Any
    classes: Any
    targets: Any
    weights: Any


def place(data: Data, problem: Problem, stream: Any) -> Placed:
    """Copy data to the device."""
    dtype = problem.dtype
    classes = loss_row(problem.loss).targets == "classes"
    return Placed(
        cuda.to_device(np.ascontiguousarray(data.X, dtype), stream=stream),
        cuda.to_device(data.targets if classes else np.zeros(1, np.int64), stream=stream),
        cuda.to_device(np.zeros((1, 1), dtype) if classes else data.targets, stream=stream),
        cuda.to_device(np.zeros(1) if data.weights is None else data.weights, stream=stream),
    )
