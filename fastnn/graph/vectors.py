"""Functions of vectors: what a loss of whole rows is written with.

A loss that is a function of a row takes its outputs and its targets as vectors, and returns one
number, its loss, or a vector whose mean that is. Here are two quantiles from one network, for one
target:

>>> import numpy as np
>>> from fastnn import Dense, Network, Trainer
>>> from fastnn.graph import maximum
>>> q = np.array([0.1, 0.9])
>>> def pinball(outputs, targets):
...     error = targets[0] - outputs
...     return maximum(q * error, (q - 1) * error)
>>> Trainer(Network(3, [Dense(2)]), loss=pinball).problem.loss.columns
1

Outputs are as many as the network has. Targets that are only indexed, or sliced up to a stop, are
as many as that takes, one here; used as a whole, they are as many as the outputs. A class is given
as its index, ``outputs[targets[0]]`` and ``one_hot(targets[0], len(outputs))``, or as a row of
probabilities.

Given arrays, these functions compute along the last axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput, shown, whole
from fastnn.graph import nodes, origin
from fastnn.graph.evaluate import real_array
from fastnn.graph.expression import Expression, Vector, build, is_vector
from fastnn.graph.operands import Formula
from fastnn.graph.operations import OPERATIONS

__all__ = ["log_softmax", "logsumexp", "max", "mean", "min", "one_hot", "softmax", "sum"]


def _reduce(operation: str, x: Any) -> Any:
    if isinstance(x, Vector):
        return Expression(nodes.apply(operation, x.node), x.names)
    array = _array_of(operation, x)
    with np.errstate(all="ignore"):
        result = OPERATIONS[operation].value(array)[..., 0]
    return result if np.ndim(result) else float(result)


def _array_of(operation: str, x: Any) -> np.ndarray:
    if isinstance(x, Formula):
        problem = f"{operation} needs a vector, but {x!r} is one {_kind(x)}"
        remedy = "give it the outputs or the targets of a loss, or a part of them"
        if operation in ("max", "min"):
            remedy = f"use {operation}imum(a, b) of fastnn.graph for two numbers"
        raise origin.cannot_trace(problem, remedy, origin.calling_place())
    array = real_array(x, f"the argument of {operation}")
    if not array.ndim or not array.shape[-1]:
        raise InvalidInput(f"{operation} needs a vector of at least one number, not {shown(x):.60}")
    return array


def _kind(x: Formula) -> str:
    if isinstance(x, Expression):
        return "number"
    return "vector of conditions" if is_vector(x) else "condition"


def sum(v: Any) -> Any:
    """Return the sum of a vector."""
    return _reduce("sum", v)


def mean(v: Any) -> Any:
    """Return the mean of a vector."""
    return _reduce("mean", v)


def max(v: Any) -> Any:
    """Return the largest number of a vector; equal ones share the derivative evenly."""
    return _reduce("max", v)


def min(v: Any) -> Any:
    """Return the smallest number of a vector; equal ones share the derivative evenly."""
    return -_reduce("max", -(v if isinstance(v, Vector) else _array_of("min", v)))


def logsumexp(v: Any) -> Any:
    """Return log sum_j exp(v_j), without overflow."""
    return _reduce("logsumexp", v)


def log_softmax(v: Any) -> Any:
    """Return v - logsumexp(v), a vector: log probabilities of raw outputs."""
    return _beside("log_softmax", v, lambda v, total: v - total)


def softmax(v: Any) -> Any:
    """Return exp(v_i) / sum_j exp(v_j), a vector, without overflow."""
    return _beside("softmax", v, _exp_of_difference)


def _exp_of_difference(v: Any, total: Any) -> Any:
    return build("exp", v - total) if isinstance(v, Vector) else np.exp(v - total)


def _beside(name: str, v: Any, function: Callable[[Any, Any], Any]) -> Any:
    """Return a function of a vector and its logsumexp."""
    if isinstance(v, Vector):
        return function(v, logsumexp(v))
    array = _array_of(name, v)
    with np.errstate(all="ignore"):
        return function(array, OPERATIONS["logsumexp"].value(array))


def one_hot(index: Any, length: int) -> Any:
    """Return a vector of zeros, and a 1 at the index; zeros alone if no number has that index.

    >>> one_hot(2, 4).tolist()
    [0.0, 0.0, 1.0, 0.0]
    """
    count = whole(length, "the length of one_hot", 1)
    if isinstance(index, Expression):
        places = Vector(nodes.apply("range", nodes.constant(count)), ())
        return build("where", build("eq", places, index), 1, 0)
    array = real_array(index, "the index of one_hot")
    return (np.arange(count) == array[..., None]).astype(float)
