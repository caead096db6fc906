"""The functions of a graph. Given expressions they extend the graph; given numbers they compute.

So a function written with these works on variables, on numbers and on NumPy arrays alike. Numbers
give a float, arrays an array; outside of its domain a function gives NaN or an infinity, without a
warning. What derivatives these have at their kinks is said in `fastnn.graph.derivative`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.graph import origin
from fastnn.graph.evaluate import real_array
from fastnn.graph.expression import Condition, Vector, as_expression, build
from fastnn.graph.operands import Formula
from fastnn.graph.operations import OPERATIONS


def _apply(operation: str, *arguments: Any) -> Any:
    if any(isinstance(each, Formula) for each in arguments):
        return build(operation, *arguments)
    arrays = [real_array(each, f"an argument of {operation}") for each in arguments]
    with np.errstate(all="ignore"):
        result = OPERATIONS[operation].value(*arrays)
    return result if np.ndim(result) else float(result)


def exp(x: Any) -> Any:
    """Return e to the power of x."""
    return _apply("exp", x)


def expm1(x: Any) -> Any:
    """Return exp(x) - 1, exact for small x."""
    return _apply("expm1", x)


def log(x: Any) -> Any:
    """Return the natural logarithm of x."""
    return _apply("log", x)


def log1p(x: Any) -> Any:
    """Return log(1 + x), exact for small x."""
    return _apply("log1p", x)


def sqrt(x: Any) -> Any:
    """Return the square root of x."""
    return _apply("sqrt", x)


def abs(x: Any) -> Any:
    """Return |x|; the derivative at 0 is 0."""
    return _apply("abs", x)


def sign(x: Any) -> Any:
    """Return -1, 0 or 1; the derivative is 0 everywhere."""
    return _apply("sign", x)


def step(x: Any) -> Any:
    """Return 0 below 0 and 1 from 0 on; the derivative is 0 everywhere."""
    return _apply("step", x)


def maximum(a: Any, b: Any) -> Any:
    """Return the larger one; the derivative of a tie goes to a number, or is shared by others."""
    return _apply("maximum", a, b)


def minimum(a: Any, b: Any) -> Any:
    """Return the smaller one; the derivative of a tie goes to a number, or is shared by others."""
    return _apply("minimum", a, b)


def where(condition: Any, a: Any, b: Any) -> Any:
    """Return a where the condition holds, b elsewhere.

    >>> from fastnn.graph import variables
    >>> (z,) = variables("z")
    >>> leaky = where(z > 0, z, 0.1*z)
    >>> leaky.evaluate(z=-2), leaky.derivative("z")
    (-0.2, where(z > 0, 1, 0.1))

    Parameters
    ----------
    condition
        A comparison of expressions, or several joined by & (and), | (or), ~ (not); or truth
        values.
    a, b
        Expressions, numbers or arrays. The one not taken adds nothing to a gradient.

    Raises
    ------
    InvalidInput
        A condition that is a number, or something else that is none of these.
    """
    if isinstance(condition, Condition):
        return build("where", condition, a, b)
    chosen = np.asarray(condition) if not isinstance(condition, Formula) else None
    if chosen is None or chosen.dtype != bool:
        raise origin.no_condition(f"{condition!r:.60}", origin.calling_place())
    if isinstance(a, Formula) or isinstance(b, Formula):
        if chosen.ndim:
            raise InvalidInput(
                f"a condition of shape {chosen.shape} cannot choose between expressions, which are "
                "of single numbers; make it a comparison of variables"
            )
        taken = a if chosen else b
        return taken if isinstance(taken, Vector) else as_expression(taken)
    branches = (real_array(each, "a branch of where") for each in (a, b))
    result = np.where(chosen, *branches)
    return result if result.ndim else float(result)


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent of x."""
    return _apply("tanh", x)


def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return _apply("sigmoid", x)


def softplus(x: Any) -> Any:
    """Return log(1 + exp(x)), without overflow."""
    return _apply("softplus", x)


def erf(x: Any) -> Any:
    """Return the error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return _apply("erf", x)


def sin(x: Any) -> Any:
    """Return the sine of x, in radians."""
    return _apply("sin", x)


def cos(x: Any) -> Any:
    """Return the cosine of x, in radians."""
    return _apply("cos", x)
