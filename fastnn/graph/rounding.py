"""Formulas that are infinite or NaN for rounding alone, and what computes them exactly.

``log(sigmoid(z))`` is about z for z far below 0, and yet -inf in floating point as soon as
``sigmoid(z)`` is rounded to 0; so is ``log(1 - sigmoid(z))`` from z = 37 on (17 in float32), where
``sigmoid(z)`` is rounded to 1. Of a log loss, 0 times that is NaN. And ``exp(z)`` is infinite from
z = 710 on (89 in float32), so that ``exp(z) / (1 + exp(z))``, which is 1 there, is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
_OF_EXPONENTIALS = (
    "write it with what fastnn.graph has for it, which does not overflow: 1/(1 + exp(-z)) and "
    "exp(z)/(1 + exp(z)) are sigmoid(z), (exp(z) - exp(-z))/(exp(z) + exp(-z)) is tanh(z), and "
    "exp(z)/sum(exp(z)) of a row is softmax(z)"
)
_OF_OTHERS = "write the formula so that no part of it becomes so large"
# What is infinite at a pole, not for being too large.
_WITH_POLES = {"div", "log", "log1p"}


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
    if logs:
        inside = formula(logs[0].arguments[0])
        return (
            f"the formula has {logs[0].operation}({inside:.60}), which is infinite where "
            f"{inside:.60} is rounded to {_ZERO[logs[0].operation]:g} or overflows; "
            f"{_remedy(logs[0])}"
        )
    for node in topological([root]):
        parts = [each for each in topological(_divisors(node)) if each.operation == "exp"]
        if parts:
            return (
                f"the formula has {formula(node):.60}, which is NaN, or its derivative, where "
                f"{formula(parts[0]):.60} overflows; {_OF_EXPONENTIALS}"
            )
    return ""


def explanation(
    root: Node, values: Mapping[str, np.ndarray], dtype: np.dtype, found: list[Any]
) -> str:
    """Return which part of a formula is infinite for such a reason, and where; or "".

    Parameters
    ----------
    root, values, dtype
        As for `evaluate`.
    found
        The values of the formula or its derivatives, of which one at least is not finite.
    """
    return _rounded(root, values, dtype) or _overflowed(root, values, dtype, found)


def _rounded(root: Node, values: Mapping[str, np.ndarray], dtype: np.dtype) -> str:
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
        return (
            f"{node.operation}({inside:.60}) is {'-inf' if below else 'inf'} at "
            f"{_at(values, limit.shape, place)}, because {inside:.60} is "
            f"{f'rounded to {zero:g}' if below else 'too large for a float'} there; "
            f"{_remedy(node)}"
        )
    return ""


def _overflowed(
    root: Node, values: Mapping[str, np.ndarray], dtype: np.dtype, found: list[Any]
) -> str:
    """Return which part is too large for a float where a result is NaN."""
    nodes = topological([root])
    if any(node.length is not None for node in nodes):
        return ""
    value_of = dict(zip(nodes, evaluate(nodes, values, dtype), strict=True))
    wrong = np.any([np.isnan(each) for each in np.broadcast_arrays(*found)], axis=0)
    for node in nodes:
        if not node.arguments or node.operation in _WITH_POLES:
            continue
        finite = [np.isfinite(value_of[each]) for each in node.arguments]
        large = wrong & np.isinf(value_of[node]) & np.all(np.broadcast_arrays(*finite), axis=0)
        if not large.any():
            continue
        place = tuple(int(each) for each in np.argwhere(large)[0])
        remedy = _OF_EXPONENTIALS if node.operation == "exp" else _OF_OTHERS
        return (
            f"the formula or its derivative is NaN at {_at(values, large.shape, place)}, because "
            f"{formula(node):.60} is too large for a float there; {remedy}"
        )
    return ""


def _at(values: Mapping[str, np.ndarray], shape: tuple[int, ...], place: tuple[int, ...]) -> str:
    return ", ".join(
        f"{name} = {np.broadcast_to(value, shape)[place]:.6g}"
        for name, value in values.items()
        if np.ndim(value) <= len(shape)
    )


def _divisors(node: Node) -> list[Node]:
    """Return what a node divides by."""
    if node.operation == "div":
        return [node.arguments[1]]
    if node.operation == "pow":
        base, power = node.arguments
        return [base] if power.operation == "constant" and power.value < 0 else []
    return []


def _is_complement(node: Node, other: Node) -> bool:
    """Return whether `node` is 1 - `other`."""
    if node.operation != "sub":
        return False
    first, second = node.arguments
    return second is other and first.operation == "constant" and first.value == 1


def _remedy(log: Node) -> str:
    vectors = any(each.length is not None for each in topological([log.arguments[0]]))
    return _OF_VECTORS if vectors else _OF_NUMBERS
