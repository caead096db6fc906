"""Activations of PyTorch and those of fastnn: what each is in the other, a row a module.

Where fastnn has the activation by name, that is taken, and else its formula, so that predictions
and derivatives are PyTorch's. Where a formula or a name has no module, PyTorch gets the formula as
a graph of its own operations (`torch.fx`), which needs no fastnn.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput, number
from fastnn.graph import Expression, abs, expm1, maximum, minimum, softplus, tanh, variables, where
from fastnn.graph.custom import AnyActivation, CustomActivation
from fastnn.graph.nodes import topological
from fastnn.interchange.formulas import formula_of, translated
from fastnn.layers import Layer
from fastnn.rules.activations import RRELU_HIGH, RRELU_LOW
from fastnn.rules.table import ActivationName

Named = tuple[ActivationName, float | None]  # an activation of fastnn and its alpha


def _gelu_by_tanh(z: Any) -> Any:
    return 0.5 * z * (1 + tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def _relu6(z: Any) -> Any:
    return minimum(maximum(z, 0), 6)


@dataclass(frozen=True)
class Row:
    """A class of `torch.nn` as a formula of z and of the module's numbers."""

    kind: str
    formula: Callable[..., Any]
    numbers: tuple[str, ...] = ()  # attributes of a module, and arguments that make one
    valid: Callable[..., bool] = lambda *numbers: True
    must: str = ""  # what is wrong with numbers that are not valid
    others: dict[str, Any] = field(default_factory=dict)  # further ones, which it must have


def _not_zero(value: float, *_: float) -> bool:
    return value != 0


def _not_negative(value: float) -> bool:
    return value >= 0


ROWS = (
    Row("GELU", _gelu_by_tanh, others={"approximate": "tanh"}),
    Row("Softsign", lambda z: z / (1 + abs(z))),
    Row("ReLU6", _relu6),
    Row("Hardsigmoid", lambda z: _relu6(z + 3) / 6),
    Row("Hardswish", lambda z: z * _relu6(z + 3) / 6),
    Row("LogSigmoid", lambda z: -softplus(-z)),
    Row("Tanhshrink", lambda z: z - tanh(z)),
    Row("LeakyReLU", lambda z, s: where(z > 0, z, s * z), ("negative_slope",)),
    Row("ELU", lambda z, a: where(z > 0, z, a * expm1(z)), ("alpha",)),
    Row(
        "CELU",
        lambda z, a: where(z > 0, z, a * expm1(z / a)),
        ("alpha",),
        _not_zero,
        "alpha must not be 0",
    ),
    Row(
        "Hardtanh",
        lambda z, a, b: minimum(maximum(z, a), b),
        ("min_val", "max_val"),
        operator.lt,
        "min_val must be below max_val",
    ),
    Row(
        "Hardshrink",
        lambda z, c: where((z > c) | (z < -c), z, 0),
        ("lambd",),
        _not_negative,
        "lambd must be at least 0",
    ),
    Row(
        "Softshrink",
        lambda z, c: where(z > c, z - c, where(z < -c, z + c, 0)),
        ("lambd",),
        _not_negative,
        "lambd must be at least 0",
    ),
    Row("Threshold", lambda z, t, v: where(z > t, z, v), ("threshold", "value")),
    Row(
        "Softplus",
        lambda z, b, t: (
            where(z > t, z, softplus(z)) if b == 1 else where(b * z > t, z, softplus(b * z) / b)
        ),
        ("beta", "threshold"),
        _not_zero,
        "beta must not be 0",
    ),
)


def _softplus(module: Any, dtype: np.dtype) -> Named | None:
    """Return softplus where the threshold, beyond which PyTorch has z, makes no difference."""
    beta, threshold = module.beta, module.threshold
    if beta == 1 and threshold > 0:
        if math.exp(-threshold) < np.finfo(dtype).eps / 4 * threshold:
            return "softplus", None
    return None


# (module, dtype) -> an activation that fastnn has by name, or None where `ROWS` has to do.
NAMES: dict[str, Callable[[Any, np.dtype], Named | None]] = {
    "Sigmoid": lambda module, dtype: ("sigmoid", None),
    "Tanh": lambda module, dtype: ("tanh", None),
    "ReLU": lambda module, dtype: ("relu", None),
    "SELU": lambda module, dtype: ("selu", None),
    "SiLU": lambda module, dtype: ("silu", None),
    "Mish": lambda module, dtype: ("mish", None),
    "GELU": lambda module, dtype: ("gelu", None) if module.approximate == "none" else None,
    "LeakyReLU": lambda module, dtype: (
        ("leaky_relu", module.negative_slope) if module.negative_slope >= 0 else None
    ),
    "ELU": lambda module, dtype: ("elu", module.alpha) if module.alpha >= 0 else None,
    "RReLU": lambda module, dtype: (
        ("rrelu", None) if (module.lower, module.upper) == (RRELU_LOW, RRELU_HIGH) else None
    ),
    "Hardtanh": lambda module, dtype: (
        ("hardtanh", None) if (module.min_val, module.max_val) == (-1, 1) else None
    ),
    "Softplus": _softplus,
    "Softmax": lambda module, dtype: ("softmax", None) if module.dim in (1, -1, None) else None,
}

KINDS = tuple(dict.fromkeys([*NAMES, *(row.kind for row in ROWS)]))


def read_activation(kind: str, module: Any, dtype: np.dtype) -> tuple[AnyActivation, float | None]:
    """Return the activation and the alpha of a layer that is what a module of PyTorch is.

    Parameters
    ----------
    kind
        The class of the module, one of `KINDS`.
    module
        As it is set.
    dtype
        Of the layer.

    Raises
    ------
    InvalidInput
        Settings that fastnn does not have; the message is the end of one.
    """
    named = NAMES[kind](module, dtype) if kind in NAMES else None
    if named is not None:
        return named
    for row in ROWS:
        if row.kind == kind and all(getattr(module, k) == v for k, v in row.others.items()):
            values = [number(getattr(module, name), name) for name in row.numbers]
            if not row.valid(*values):
                raise InvalidInput(row.must)
            return CustomActivation(row.formula(*variables("z"), *values)), None
    raise InvalidInput(_REFUSED.get(kind, "fastnn has none with these settings; use others"))


_REFUSED = {
    "RReLU": "fastnn's rrelu draws slopes from U[1/8, 1/3], PyTorch's usual ones, and from no "
    "others; leave lower and upper as they are, or use LeakyReLU",
    "Softmax": "fastnn's softmax is over the units of a row; use dim=1",
}


# (torch.nn, the layer) -> the module of an activation that fastnn has by name; prelu has slopes.
MODULES: dict[str, Callable[[Any, Layer], Any]] = {
    "sigmoid": lambda nn, layer: nn.Sigmoid(),
    "tanh": lambda nn, layer: nn.Tanh(),
    "relu": lambda nn, layer: nn.ReLU(),
    "leaky_relu": lambda nn, layer: nn.LeakyReLU(layer.alpha),
    "rrelu": lambda nn, layer: nn.RReLU(),
    "elu": lambda nn, layer: nn.ELU(layer.alpha),
    "selu": lambda nn, layer: nn.SELU(),
    "gelu": lambda nn, layer: nn.GELU(),
    "silu": lambda nn, layer: nn.SiLU(),
    "mish": lambda nn, layer: nn.Mish(),
    "hardtanh": lambda nn, layer: nn.Hardtanh(),
    # Beyond its threshold PyTorch has z, which from 40 on is softplus in float64, too.
    "softplus": lambda nn, layer: nn.Softplus(threshold=40.0),
    "softmax": lambda nn, layer: nn.Softmax(dim=1),
}


def make_activation(torch: Any, layer: Layer) -> Any:
    """Return the module of a layer's activation, for all but identity and prelu.

    Parameters
    ----------
    torch
        The library.
    layer
        The layer.

    Raises
    ------
    InvalidInput
        PyTorch has no such thing; the message is the end of one.
    """
    if isinstance(layer.activation, str):
        if layer.activation in MODULES:
            return MODULES[layer.activation](torch.nn, layer)
        if layer.activation == "hardmax":
            raise InvalidInput(
                "PyTorch has no module for activation 'hardmax'; make a trainer without it, which "
                "has the same parameters, and take argmax(dim=1) of what the module gives"
            )
    expression = formula_of(layer.activation)
    module = _known(torch.nn, expression)
    return _graph(torch, expression) if module is None else module


def _known(nn: Any, expression: Expression) -> Any:
    """Return the module that has this very formula, if there is one."""
    nodes = topological([expression.node])
    constants = {node.value for node in nodes if node.operation == "constant"}
    if len(constants) > _MOST_CONSTANTS:
        return None
    (z,) = variables(*expression.names)
    candidates = sorted({1.0} | constants)
    for row in ROWS:
        for values in product(candidates, repeat=len(row.numbers)):
            # Equal formulas are the same node.
            if row.valid(*values) and row.formula(z, *values).node is expression.node:
                settings = dict(zip(row.numbers, values, strict=True))
                return getattr(nn, row.kind)(**settings, **row.others)
    return None


_MOST_CONSTANTS = 5  # in the formula of any row


# What PyTorch calls an operation of a formula where it has another name for it; softplus and step
# are written below. All arguments are tensors.
_OTHER_NAMES = {"and": "logical_and", "or": "logical_or", "not": "logical_not"}


def _graph(torch: Any, expression: Expression) -> Any:
    """Return a module that computes a formula: a graph of PyTorch's operations on tensors."""
    from torch import fx

    graph = fx.Graph()
    z = graph.placeholder("z")

    def constant(value: float) -> Any:
        return graph.call_method("new_full", (z, (), value))  # of the dtype and the device of z

    def operation(name: str, arguments: list[Any]) -> Any:
        if name == "softplus":  # PyTorch's takes its threshold as a number
            return graph.call_function(torch.nn.functional.softplus, (*arguments, 1.0, 40.0))
        if name == "step":
            negative = graph.call_function(torch.lt, (*arguments, constant(0.0)))
            return graph.call_function(torch.where, (negative, constant(0.0), constant(1.0)))
        return graph.call_function(getattr(torch, _OTHER_NAMES.get(name, name)), tuple(arguments))

    graph.output(translated(expression, {expression.names[0]: z}, constant, operation))
    return fx.GraphModule(torch.nn.Module(), graph, "Formula")
