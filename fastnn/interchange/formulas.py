"""Activations as formulas of `fastnn.graph`, and formulas in the operations of another library."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fastnn.graph import (
    Expression,
    erf,
    expm1,
    maximum,
    minimum,
    sigmoid,
    softplus,
    step,
    tanh,
    variables,
    where,
)
from fastnn.graph.custom import AnyActivation, CustomActivation
from fastnn.graph.nodes import topological
from fastnn.rules.activations import RRELU_MEAN, SELU_ALPHA, SELU_SCALE

Value = TypeVar("Value")

# (z, alpha) -> a of every activation that takes each z alone, as it is in prediction.
FORMULAS: dict[str, Callable[[Any, Any], Any]] = {
    "identity": lambda z, alpha: z,
    "sigmoid": lambda z, alpha: sigmoid(z),
    "tanh": lambda z, alpha: tanh(z),
    "relu": lambda z, alpha: maximum(z, 0),
    "leaky_relu": lambda z, alpha: where(z > 0, z, alpha * z),
    "prelu": lambda z, alpha: where(z > 0, z, alpha * z),
    "rrelu": lambda z, alpha: where(z > 0, z, RRELU_MEAN * z),
    "elu": lambda z, alpha: where(z > 0, z, alpha * expm1(z)),
    "selu": lambda z, alpha: SELU_SCALE * where(z > 0, z, SELU_ALPHA * expm1(z)),
    "gelu": lambda z, alpha: z * (0.5 * (1 + erf(z * math.sqrt(0.5)))),
    "silu": lambda z, alpha: z * sigmoid(z),
    "mish": lambda z, alpha: z * tanh(softplus(z)),
    "hardtanh": lambda z, alpha: minimum(maximum(z, -1), 1),
    "step": lambda z, alpha: step(z),
    "softplus": lambda z, alpha: softplus(z),
}


def formula_of(activation: AnyActivation) -> Expression:
    """Return the formula of an activation; its variables are z and, of some names, alpha.

    Parameters
    ----------
    activation
        As `fastnn.network.Dense.activation` has it: a name in `FORMULAS`, or a user-defined one,
        whose one variable may have any name.
    """
    if isinstance(activation, CustomActivation):
        return activation.expression
    assert isinstance(activation, str)
    formula: Expression = FORMULAS[activation](*variables("z alpha"))
    return formula


def translated(
    expression: Expression,
    inputs: Mapping[str, Value],
    constant: Callable[[float], Value],
    operation: Callable[[str, list[Value]], Value],
) -> Value:
    """Return what another library makes of a formula.

    Parameters
    ----------
    expression
        Depends on some variable.
    inputs
        What each variable is there.
    constant
        Makes a number.
    operation
        Applies an operation, by its name in `fastnn.graph.operations.OPERATIONS`, to what its
        arguments became.
    """
    found: dict[Any, Value] = {}
    for node in topological([expression.node]):
        if node.operation == "constant":
            found[node] = constant(node.value)
        elif node.operation == "variable":
            found[node] = inputs[node.name]
        else:
            found[node] = operation(node.operation, [found[each] for each in node.arguments])
    return found[expression.node]
