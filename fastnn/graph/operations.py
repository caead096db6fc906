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
    """

    value: Callable[..., Any]
    condition: bool = False
    takes_conditions: int = 0


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


OPERATIONS: dict[str, Operation] = {
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
