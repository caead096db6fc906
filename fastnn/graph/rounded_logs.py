"""Logarithms that are infinite for rounding alone, and what computes them exactly.

``log(sigmoid(z))`` is about z for z far below 0, and yet -inf in floating point as soon as
``sigmoid(z)`` is rounded to 0; so is ``log(1 - sigmoid(z))`` from z = 37 on (17 in float32), where
``sigmoid(z)`` is rounded to 1. Of a log loss, 0 times that is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastnn.graph.evaluate import evaluate
from fastnn.graph.formula import formula
from fastnn.graph.nodes import Node, topological

# Functions that come so near to a limit that they are rounded to it, or overflow.
_SATURATING = {"sigmoid", "tanh", "exp", "expm1", "erf"}

# What a logarithm is -inf at.
_ZERO = {"log": 0.0, "log1p": -1.0}

_OF_NUMBERS = (
    "write the loss with softplus of fastnn.graph, which is exact there: log(sigmoid(z)) is "
    "-softplus(-z), log(1 - sigmoid(z)) is -softplus(z), and the log loss softplus(z) - y*z"
)
_OF_VECTORS = (
    "write the loss with log_softmax of fastnn.graph, which is exact there: log(softmax(z)) is "
    "log_softmax(z)"
)


def rounded_logs(root: Node) -> list[Node]:
    """Return the logarithms in a formula of what may be rounded to 0 or overflow.

    Those of a probability p and of 1 - p belong together, whatever p is computed from.
    """
    logs = [node for node in topological([root]) if node.operation in _ZERO]
    arguments = {node.arguments[0] for node in logs}
    found = []
    for node in logs:
        (inside,) = node.arguments
        pair = any(
            _is_complement(inside, each) or _is_complement(each, inside) for each in arguments
        )
        below = topological([inside])
        if pair or any(each.operation in _SATURATING for each in below):
            found.append(node)
    return found


def advice(root: Node) -> str:
    """Return what may be infinite in a formula and what to use instead; "" where nothing is."""
    logs = rounded_logs(root)
    if not logs:
        return ""
    inside = formula(logs[0].arguments[0])
    return (
        f"the formula has {logs[0].operation}({inside:.60}), which is infinite where {inside:.60} "
        f"is rounded to {_ZERO[logs[0].operation]:g} or overflows; {_remedy(logs[0])}"
    )


def explanation(root: Node, values: Mapping[str, np.ndarray], dtype: np.dtype) -> str:
    """Return which logarithm of a formula is infinite for such a reason, and where; or ""."""
    logs = rounded_logs(root)
    arguments = [node.arguments[0] for node in logs]
    for node, found in zip(logs, evaluate(arguments, values, dtype), strict=True):
        zero = _ZERO[node.operation]
        limit = np.asarray((found == zero) | np.isinf(found))
        if not limit.any():
            continue
        inside = formula(node.arguments[0])
        place = tuple(int(each) for each in np.argwhere(limit)[0])
        below = np.asarray(found)[place] == zero
        shape = limit.shape
        at = ", ".join(
            f"{name} = {np.broadcast_to(value, shape)[place]:.6g}"
            for name, value in values.items()
            if np.ndim(value) <= len(shape)
        )
        return (
            f"{node.operation}({inside:.60}) is {'-inf' if below else 'inf'} at {at}, because "
            f"{inside:.60} is {f'rounded to {zero:g}' if below else 'too large for a float'} "
            f"there; {_remedy(node)}"
        )
    return ""


def _is_complement(node: Node, other: Node) -> bool:
    """Return whether `node` is 1 - `other`."""
    if node.operation != "sub":
        return False
    first, second = node.arguments
    return second is other and first.operation == "constant" and first.value == 1


def _remedy(log: Node) -> str:
    vectors = any(each.length is not None for each in topological([log.arguments[0]]))
    return _OF_VECTORS if vectors else _OF_NUMBERS
