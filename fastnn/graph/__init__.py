"""Formulas as graphs: values, gradients, derivatives, pictures, and gradient descent on them.

>>> from fastnn.graph import variables
>>> a, b, c = variables("a b c")
>>> J = (2*a + b)*c
>>> J.evaluate(a=3, b=4, c=5)
50.0
>>> J.gradient(a=3, b=4, c=5)
{'a': 10.0, 'b': 5.0, 'c': 10.0}
>>> J.derivative("a")
2*c

Losses of whole rows are formulas of vectors, see `fastnn.graph.vectors`.

Names in this package: `variables` make formulas, `trace` makes one of a Python function, and
`minimize` goes down one by gradient descent. An `Expression` has the methods `evaluate`,
`gradient`, `derivative`, `table`, `draw` and `named`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.graph.expression import Condition, Expression, Vector
from fastnn.graph.functions import (
    abs,
    cos,
    erf,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    sigmoid,
    sign,
    sin,
    softplus,
    sqrt,
    step,
    tanh,
    where,
)
from fastnn.graph.symbols import variables
from fastnn.graph.table import Row, Table
from fastnn.graph.tracing import trace
from fastnn.graph.vectors import log_softmax, logsumexp, max, mean, min, one_hot, softmax, sum

if TYPE_CHECKING:
    from fastnn.graph.descent import minimize
    from fastnn.graph.descent_result import Descent, Restart

__all__ = [
    "Condition",
    "Descent",
    "Expression",
    "Restart",
    "Row",
    "Table",
    "Vector",
    "abs",
    "cos",
    "erf",
    "exp",
    "expm1",
    "log",
    "log1p",
    "log_softmax",
    "logsumexp",
    "max",
    "maximum",
    "mean",
    "min",
    "minimize",
    "minimum",
    "one_hot",
    "sigmoid",
    "sign",
    "sin",
    "softmax",
    "softplus",
    "sqrt",
    "step",
    "sum",
    "tanh",
    "trace",
    "variables",
    "where",
]

# What belongs to gradient descent; nobody needs it to make formulas.
_HOMES = {"Descent": "descent_result", "Restart": "descent_result", "minimize": "descent"}


def __getattr__(name: str) -> object:
    """Import the public name `name` from its module, at its first use."""
    from importlib import import_module

    if name in _HOMES:
        value = getattr(import_module(f"fastnn.graph.{_HOMES[name]}"), name)
        globals()[name] = value  # the next use does not come here
        return value
    raise AttributeError(f"module 'fastnn.graph' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, those not imported yet included."""
    return sorted({*globals(), *__all__})
