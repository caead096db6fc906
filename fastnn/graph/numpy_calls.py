"""NumPy's functions on expressions: ``np.exp(z)`` means the same as ``exp(z)`` here."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.graph import functions, origin
from fastnn.graph import vectors as vector_functions
from fastnn.graph.expression import as_vector, is_vector
from fastnn.graph.operands import array_constant


def _clip(x: Any, low: Any, high: Any) -> Any:
    """Return x held within bounds, of which None is none."""
    x = x if low is None else functions.maximum(x, low)
    return x if high is None else functions.minimum(x, high)


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
    "clip": _clip,
    **{
        name: getattr(functions, name)
        for name in origin.FUNCTIONS
        if name not in ("abs", "sigmoid", "softplus", "step")
    },
}


_OF_VECTORS: dict[str, Callable[..., Any]] = {
    "sum": vector_functions.sum,
    "mean": vector_functions.mean,
    "max": vector_functions.max,
    "amax": vector_functions.max,
    "min": vector_functions.min,
    "amin": vector_functions.min,
    "dot": operator.matmul,
    "matmul": operator.matmul,
    "vecdot": operator.matmul,
}


def call(name: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return what NumPy's function of this name is on expressions.

    Raises
    ------
    InvalidInput
        A function or an option that a graph does not have.
    """
    place = origin.calling_place()
    if options.get("out", place) is None:
        options = {key: value for key, value in options.items() if key != "out"}
    if not inputs and "a" in options:  # as NumPy calls the first one
        inputs = (options["a"],)
        options = {key: value for key, value in options.items() if key != "a"}
    vectors = any(map(is_vector, inputs))
    if vectors and name in _OF_VECTORS:
        if options.get("axis", -1) in (None, 0, -1):
            options = {key: value for key, value in options.items() if key != "axis"}
    elif name not in _CALLS:
        raise origin.cannot_trace(f"NumPy's {name} is unknown here", origin.substitute(name), place)
    elif name == "clip":
        inputs, options = _bounds(inputs, options, place)
    if options:
        given = ", ".join(options)
        remedy = "leave it out"
        if "where" in options:
            remedy = "use where(condition, a, b) of fastnn.graph for what depends on a condition"
        raise origin.cannot_trace(f"NumPy's {name} cannot take {given} here", remedy, place)
    known = _OF_VECTORS if vectors and name in _OF_VECTORS else _CALLS
    return known[name](*(_plain(each, vectors) for each in inputs))


def _bounds(
    inputs: tuple[Any, ...], options: dict[str, Any], place: origin.Place | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what `_clip` takes of the arguments of NumPy's clip, and the options that are left.

    Raises
    ------
    InvalidInput
        A bound that is given twice, by place or by either of its names.
    """
    if len(inputs) > 3:
        options = {"out": inputs[3], **options}
    more, (x, *given) = dict(options), inputs[:3]
    found: list[Any] = []
    for place_of, names in enumerate((("a_min", "min"), ("a_max", "max"))):
        bounds = given[place_of : place_of + 1] + [more.pop(name) for name in names if name in more]
        if len(bounds) > 1:
            problem = f"NumPy's clip has two values of {names[0]} here"
            raise origin.cannot_trace(problem, "leave one of them out", place)
        found += bounds or [None]
    return (x, *found), more


def _plain(value: Any, vectors: bool) -> Any:
    """Return NumPy's number as Python's: left of an operator it would come back here for ever.

    Beside vectors an array is one too.
    """
    if isinstance(value, np.ndarray) and value.ndim:
        if vectors:
            return as_vector(value)
        raise array_constant(value)
    return value.item() if isinstance(value, (np.generic, np.ndarray)) else value
