"""The operations of a graph, and how NumPy computes each.

This table says what exists and what it means. The derivatives are in `derivative`, how operations
are written in `formula`, and how compiled code computes those that it has no word for in `lower`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Operation:
    """What an operation computes from arrays of its arguments' values.

    Attributes
    ----------
    value
        (array, ...) -> array, elementwise, with broadcasting.
    condition
        Whether the result is true or false, and so no number.
    takes_conditions
        How many arguments, from the first on, are conditions.
    length
        Of operations on vectors: (nodes of the arguments) -> the length of the result, None for a
        number. Operations without it work number by number: the result is as long as the vectors
        among its arguments.
    structural
        From which argument on they are constants that say which numbers are meant, and how many.
    """

    value: Callable[..., Any]
    condition: bool = False
    takes_conditions: int = 0
    length: Callable[..., int | None] | None = None
    structural: int = 99


def _sign(x: Any) -> Any:
    """Return -1, 0 or 1; 0 for NaN, as comparisons have it."""
    return np.where(x > 0, 1.0, 0.0) - np.where(x < 0, 1.0, 0.0)


def _step(x: Any) -> Any:
    return np.where(x < 0, 0.0, 1.0)


def _sigmoid(x: Any) -> Any:
    """Return 1 / (1 + exp(-x)) by the exponential of -|x|, which cannot overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1.0) / (1.0 + small)


def _softplus(x: Any) -> Any:
    """Return log(1 + exp(x)) by the exponential of -|x|, which cannot overflow."""
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def _erf(x: Any) -> Any:
    from scipy.special import erf

    return erf(x)


# Vectors are arrays (..., length) here, and numbers beside them (..., 1).


def _logsumexp(x: Any) -> Any:
    largest = x.max(axis=-1, keepdims=True)
    return largest + np.log(np.exp(x - largest).sum(axis=-1, keepdims=True))


def _put(x: Any, index: Any, length: Any) -> Any:
    return np.where(np.arange(int(length)) == index, x, np.zeros((), x.dtype))


def _spread(x: Any, start: Any, stop: Any, step: Any, length: Any) -> Any:
    places = slice(int(start), int(stop), int(step))
    found = np.zeros((*np.shape(x)[:-1], int(length)), x.dtype)
    found[..., places] = x
    return found


def _take(x: Any, index: Any) -> Any:
    here = np.arange(np.shape(x)[-1]) == index
    found = np.where(here, x, np.zeros((), x.dtype)).sum(axis=-1, keepdims=True)
    return np.where(here.any(axis=-1, keepdims=True), found, np.full((), np.nan, x.dtype))


def _array(*numbers: Any) -> Any:
    return np.concatenate(np.broadcast_arrays(*(np.atleast_1d(each) for each in numbers)), axis=-1)


def _slice_length(x: Any, start: Any, stop: Any, step: Any) -> int:
    return len(range(int(start.value), int(stop.value), int(step.value)))


def _reduced(x: Any) -> None:
    return None


VECTOR_OPERATIONS: dict[str, Operation] = {
    "sum": Operation(lambda x: x.sum(axis=-1, keepdims=True), length=_reduced),
    "mean": Operation(lambda x: x.mean(axis=-1, keepdims=True), length=_reduced),
    "max": Operation(lambda x: x.max(axis=-1, keepdims=True), length=_reduced),
    "logsumexp": Operation(_logsumexp, length=_reduced),
    # x[index], and x[start:stop:step]
    "item": Operation(
        lambda x, index: x[..., int(index) : int(index) + 1],
        length=lambda x, index: None,
        structural=1,
    ),
    "slice": Operation(
        lambda x, start, stop, step: x[..., int(start) : int(stop) : int(step)],
        length=_slice_length,
        structural=1,
    ),
    # x[index] for an index that is computed; NaN if no number has it
    "take": Operation(_take, length=lambda x, index: None),
    # 0, 1, ..., length - 1, and a vector of numbers
    "range": Operation(
        lambda length: np.arange(int(length)).astype(length.dtype),
        length=lambda length: int(length.value),
        structural=0,
    ),
    "array": Operation(_array, length=lambda *numbers: len(numbers)),
    # Derivatives of item and slice: vectors of zeros but for x at these places.
    "put": Operation(_put, length=lambda x, index, length: int(length.value), structural=1),
    "spread": Operation(
        _spread,
        length=lambda x, start, stop, step, length: int(length.value),
        structural=1,
    ),
}

OPERATIONS: dict[str, Operation] = {
    **VECTOR_OPERATIONS,
    "add": Operation(np.add),
    "sub": Operation(np.subtract),
    "mul": Operation(np.multiply),
    "div": Operation(np.divide),
    "pow": Operation(np.power),
    "neg": Operation(np.negative),
    "exp": Operation(np.exp),
    "expm1": Operation(np.expm1),
    "log": Operation(np.log),
    "log1p": Operation(np.log1p),
    "sqrt": Operation(np.sqrt),
    "abs": Operation(np.abs),
    "sign": Operation(_sign),
    "step": Operation(_step),
    "maximum": Operation(np.maximum),
    "minimum": Operation(np.minimum),
    "tanh": Operation(np.tanh),
    "sigmoid": Operation(_sigmoid),
    "softplus": Operation(_softplus),
    "erf": Operation(_erf),
    "sin": Operation(np.sin),
    "cos": Operation(np.cos),
    "where": Operation(np.where, takes_conditions=1),
    "lt": Operation(np.less, condition=True),
    "le": Operation(np.less_equal, condition=True),
    "gt": Operation(np.greater, condition=True),
    "ge": Operation(np.greater_equal, condition=True),
    "eq": Operation(np.equal, condition=True),
    "ne": Operation(np.not_equal, condition=True),
    "and": Operation(np.logical_and, condition=True, takes_conditions=2),
    "or": Operation(np.logical_or, condition=True, takes_conditions=2),
    "not": Operation(np.logical_not, condition=True, takes_conditions=1),
}
