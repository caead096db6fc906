"""The values of nodes, computed with NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput, shown
from fastnn.graph.nodes import Node, topological
from fastnn.graph.operations import OPERATIONS

_NUMBERS = (Real, Decimal)


def real_array(value: Any, what: str) -> np.ndarray:
    """Return `value` as float64, or as float32 if it is an array of that.

    Raises
    ------
    InvalidInput
        Not a number, nor an array of numbers.
    """
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise InvalidInput(f"{what} has masked values; fill them first, such as with .filled(0)")
    try:
        array = np.asarray(value)
        if array.dtype == object and all(isinstance(each, _NUMBERS) for each in array.flat):
            array = array.astype(np.float64)  # of fractions, and of whole numbers beyond 64 bits
    except (ValueError, OverflowError):  # lists of different lengths; larger than any float
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        given = f"{type(value).__name__} {shown(value):.60}"
        raise InvalidInput(f"{what} must be a number or an array of numbers, not {given}")
    if array.ndim and array.dtype == np.float32:
        return array
    return array.astype(np.float64)


def common_form(arrays: Mapping[str, np.ndarray]) -> tuple[tuple[int, ...], np.dtype]:
    """Return the shape to which the arrays broadcast, and their dtype, that numbers take too.

    Raises
    ------
    InvalidInput
        Shapes that do not broadcast.
    """
    precise = {each.dtype for each in arrays.values() if each.ndim} or {np.dtype(np.float64)}
    dtype = max(precise, key=lambda each: each.itemsize)
    try:
        return np.broadcast_shapes(*(each.shape for each in arrays.values())), dtype
    except ValueError:
        shapes = ", ".join(f"{name} {each.shape}" for name, each in arrays.items())
        raise InvalidInput(
            f"values have shapes that do not broadcast to one: {shapes}; "
            "give numbers, or arrays of one shape"
        ) from None


def evaluate(roots: Iterable[Node], values: Mapping[str, np.ndarray], dtype: np.dtype) -> list[Any]:
    """Return the value of each root, where `values` has one array for each variable below.

    Arithmetic is that of `dtype`. Outside of the domain of a function the value is NaN or infinite,
    without a warning.
    """
    roots = list(roots)
    found: dict[Node, Any] = {}
    with np.errstate(all="ignore"):
        for node in topological(roots):
            if node.operation == "constant":
                found[node] = dtype.type(node.value)
            elif node.operation in ("variable", "vector"):
                found[node] = values[node.name].astype(dtype, copy=False)
            else:
                arguments = [found[each] for each in node.arguments]
                found[node] = OPERATIONS[node.operation].value(*arguments)
    return [found[each] for each in roots]


def spread(value: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """Return a new array of the shape, or a float for the shape ()."""
    if shape == ():
        return float(value)
    return np.array(np.broadcast_to(value, shape), dtype)
