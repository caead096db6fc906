"""Formulas as graphs: values, gradients, derivatives and pictures.

>>> from fastnn.graph import variables
>>> a, b, c = variables("a b c")
>>> J = (2*a + b)*c
>>> J.evaluate(a=3, b=4, c=5)
50.0
>>> J.gradient(a=3, b=4, c=5)
{'a': 10.0, 'b': 5.0, 'c': 10.0}
>>> J.derivative("a")
2*c

Names in this package: `variables` make formulas, `trace` makes one of a Python function. An `Expression` has the methods `evaluate`,
`gradient`, `derivative`, `table`, `draw` and `named`.
"""

from __future__ import annotations

from fastnn.graph.expression import Condition, Expression
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

__all__ = [
    "Condition",
    "Expression",
    "Row",
    "Table",
    "abs",
    "cos",
    "erf",
    "exp",
    "expm1",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "sigmoid",
    "sign",
    "sin",
    "softplus",
    "sqrt",
    "step",
    "tanh",
    "trace",
    "variables",
    "where",
]
