"""NumPy's functions on expressions: ``np.exp(z)`` means the same as ``exp(z)`` here."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.graph import functions, origin
from fastnn.graph.operands import array_constant

# By the names that NumPy's and SciPy's functions carry.
_CALLS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "true_divide": operator.truediv,
    "power": operator.pow,
    "float_power": operator.pow,
    "negative": operator.neg,
    "positive": operator.pos,
    "reciprocal": lambda x: 1 / x,
    "square": lambda x: x**2,
    "absolute": functions.abs,
    "fabs": functions.abs,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "logical_and": operator.and_,
    "logical_or": operator.or_,
    "logical_not": operator.invert,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "invert": operator.invert,
    "expit": functions.sigmoid,
    "clip": lambda x, low, high: functions.minimum(functions.maximum(x, low), high),
    **{
        name: getattr(functions, name)
        for name in origin.FUNCTIONS
        if name not in ("abs", "sigmoid", "softplus", "step")
    },
}


def call(name: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return what NumPy's function of this name is on expressions.

    Raises
    ------
    InvalidInput
        A function or an option that a graph does not have.
    """
    place = origin.calling_place()
    if name not in _CALLS:
        raise origin.cannot_trace(f"NumPy's {name} is unknown here", origin.substitute(name), place)
    if options:
        given = ", ".join(options)
        raise origin.cannot_trace(f"NumPy's {name} cannot take {given} here", "leave it out", place)
    return _CALLS[name](*map(_plain, inputs))


def _plain(value: Any) -> Any:
    """Return NumPy's number as Python's: left of an operator it would come back here for ever."""
    if isinstance(value, np.ndarray) and value.ndim:
        raise array_constant(value)
    return value.item() if isinstance(value, (np.generic, np.ndarray)) else value
