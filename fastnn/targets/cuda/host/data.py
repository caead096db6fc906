"""Data on the device: moved there once, through pinned memory, or used where they are already."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.inputs.data import Data
from fastnn.inputs.device_arrays import DeviceArray, wrong_device
from fastnn.inputs.problem import Problem
from fastnn.rules.table import loss_row
from fastnn.targets.cuda.host.memory import new_array, new_event
from fastnn.targets.cuda.host.numba_cuda import cuda, current_device

# Pinned memory is dear, and two buffers of this size keep a bus busy as well as larger ones.
STAGING_BYTES = 8 << 20
REMEDY = "pass fewer rows at a time, or use target='cpu'"


class Placed(NamedTuple):
    """The rows of some data on the device, as `fastnn.targets.cuda.host.arguments.Job` has them.

    Attributes
    ----------
    X
        (n, inputs) of the problem's dtype. The caller's own memory where that could be; it then
        begins at a multiple of the size of a number, and no more than that.
    classes, targets, weights
        int64 (n,), (n, outputs) of the dtype, float64 (n,) or (n outputs,); what is not used has
        one element.
    """

    X: Any
    classes: Any
    targets: Any
    weights: Any


def parts(data: Data, problem: Problem) -> list[tuple[Any, np.dtype]]:
    """Return what of the data kernels need, with its dtype there, in the order of `Placed`.

    What they do not need is None.
    """
    classes = loss_row(problem.loss).targets == "classes" and data.targets.ndim == 1
    return [
        (data.X, problem.dtype),
        (data.targets if classes else None, np.dtype(np.int64)),
        (None if classes else data.targets, problem.dtype),
        (data.unequal_weights, np.dtype(np.float64)),
    ]


def row_bytes(data: Data, problem: Problem) -> int:
    """Return the bytes of one row of data on the device."""
    used = [(array, dtype) for array, dtype in parts(data, problem) if array is not None]
    return sum(math.prod(array.shape[1:]) * dtype.itemsize for array, dtype in used)


def fits(data: Data, problem: Problem, free_bytes: float) -> tuple[bool, int]:
    """Return whether there is room for all rows on the device, and how many bytes they need.

    What is there already, in the form that kernels read, needs none.
    """
    needed = 0
    for array, dtype in parts(data, problem):
        if array is None or (
            isinstance(array, DeviceArray) and array.dtype == dtype and array.contiguous
        ):
            continue
        needed += math.prod(array.shape) * dtype.itemsize
    return needed <= free_bytes, needed


def place(data: Data, problem: Problem, stream: Any) -> Placed:
    """Return the rows on the device: copied there, or in place where they are there already.

    The copies are in the stream, and done when this returns.

    Raises
    ------
    DeviceFailure
        The device has too little memory.
    """
    staging = Staging(stream)
    found = [
        dummy(dtype, use) if array is None else _placed(array, dtype, staging)
        for use, (array, dtype) in enumerate(parts(data, problem))
    ]
    staging.finish()
    return placed_of(found)


def placed_of(arrays: list[Any]) -> Placed:
    """Return arrays on the device as kernels have them: weights of targets one after another."""
    X, classes, targets, weights = arrays
    return Placed(X, classes, targets, weights.reshape(-1) if weights.ndim == 2 else weights)


def place_features(X: Any, dtype: np.dtype, stream: Any) -> Any:
    """Return some features (m, inputs) on the device, C-contiguous and of a dtype.

    They are in place if they are that already. Rows of the host are for once, so that they are not
    worth pinned memory.
    """
    if isinstance(X, DeviceArray):
        _check_device(X)
        return X.converted(dtype).memory
    rows = np.ascontiguousarray(X, dtype)
    found = new_array(rows.shape, dtype, "the rows need", REMEDY)
    found.copy_to_device(rows, stream=stream)
    return found


def predict_in_pieces(
    predict: Callable[[Any], Any], X: Any, most: int, found: np.ndarray, stream: Any
) -> None:
    """Fill `found` with the outputs of networks, at most so many rows of X at a time.

    Parameters
    ----------
    predict
        Given rows on the device, puts what computes their outputs into the stream and returns these
        on the device, (b, rows, outputs or more).
    X
        (m, inputs), on the host or the device.
    found
        (b, m, outputs), overwritten.
    """
    for first in range(0, len(X), most):
        rows = place_features(X[first : first + most], found.dtype, stream)
        outputs = predict(rows).copy_to_host(stream=stream)
        stream.synchronize()
        found[:, first : first + len(rows)] = outputs[..., : found.shape[2]]


def dummy(dtype: np.dtype, use: int) -> Any:
    """Return what stands for an array that is not used, by its place in `Placed`."""
    return cuda.to_device(np.zeros((1, 1) if use == 2 else 1, dtype))


def _placed(array: Any, dtype: np.dtype, staging: Staging) -> Any:
    if isinstance(array, DeviceArray):
        _check_device(array)
        there = array if array.ndim == 2 else array.column()
        there = there.converted(dtype)
        return there.memory if array.ndim == 2 else there.flat().memory
    found = new_array(array.shape, dtype, "the data need", REMEDY)
    staging.copy(array, found)
    return found


def _check_device(array: DeviceArray) -> None:
    """Raise `InvalidInput` for an array on another device than the current one."""
    if array.device != current_device():
        raise InvalidInput(f"an array: {wrong_device(array.device, current_device())}")


class Staging:
    """Two pinned buffers through which rows go to the device, in one stream."""

    def __init__(self, stream: Any) -> None:
        """Make no buffer before there is something to copy."""
        self._stream = stream
        self._buffers: list[np.ndarray] = []
        self._events = [new_event(), new_event()]
        self._next = 0

    def copy(self, source: np.ndarray, target: Any) -> None:
        """Put copies of the rows of `source`, any strides, into `target`, of its dtype."""
        row = math.prod(target.shape[1:]) * target.dtype.itemsize
        rows = max(1, min(len(source), STAGING_BYTES // row))
        for start in range(0, len(source), rows):
            count = min(rows, len(source) - start)
            buffer = self._buffer(rows * row)[: count * row]
            some = buffer.view(target.dtype).reshape((count, *target.shape[1:]))
            np.copyto(some, source[start : start + count], casting="same_kind")
            target[start : start + count].copy_to_device(some, stream=self._stream)
            self._events[self._next].record(self._stream)
            self._next = 1 - self._next

    def finish(self) -> None:
        """Wait until all copies are done, and let the buffers go."""
        self._stream.synchronize()
        self._buffers.clear()

    def _buffer(self, size: int) -> np.ndarray:
        """Return the next buffer, when the copy that was made from it is done."""
        if self._buffers and len(self._buffers[0]) < size:
            self.finish()
        while len(self._buffers) <= self._next:
            self._buffers.append(cuda.pinned_array(size, np.uint8))
        self._events[self._next].synchronize()
        return self._buffers[self._next]
