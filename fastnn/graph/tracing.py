"""From a Python function to the formula that it computes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

from fastnn.errors import FastnnError, InvalidInput
from fastnn.graph import origin
from fastnn.graph.expression import Expression, as_expression
from fastnn.graph.symbols import variables


def trace(function: Callable[..., Any], names: str | Iterable[str] | None = None) -> Expression:
    """Return the formula that a function computes, by calling it once with variables.

    >>> trace(lambda z, alpha: z / (1 + abs(alpha * z)))
    z/(1 + abs(alpha*z))

    Parameters
    ----------
    function
        Takes one number for each variable and returns one number, by Python's operators, the
        functions of `fastnn.graph`, and those of NumPy that have the same meaning. It may call
        other functions, and loop a fixed number of times. A branch on a value is `where`.
    names
        Names of the variables, one for each argument, as for `variables`; None takes the names of
        the function's parameters that have no default.

    Raises
    ------
    InvalidInput
        What cannot be traced: a branch that depends on a variable, a function that needs a number.
        The message shows the line and says what to write instead.
    """
    arguments = variables(names if names is not None else parameter_names(function))
    names = tuple(each.names[0] for each in arguments)
    if len(set(names)) < len(names):
        raise InvalidInput(f"two variables have one name: {', '.join(names)}; give each its own")
    try:
        inspect.signature(function).bind(*arguments)
    except ValueError:  # a function without a signature, as some written in C
        pass
    except TypeError as error:
        raise InvalidInput(
            f"{label(function)} cannot be called with {', '.join(names)}: {error}"
        ) from None
    try:
        result = function(*arguments)
    except FastnnError:
        raise
    except (TypeError, AttributeError) as error:
        # Python's own words for an operation that numbers have and formulas have not.
        place = origin.raising_place(error.__traceback__)
        raise origin.cannot_trace(str(error), _remedy(error, place), place) from error
    try:
        found = as_expression(result)
    except InvalidInput as error:
        hint = "; did it forget to return?" if result is None else ""
        raise InvalidInput(f"what {label(function)} returned: {error}{hint}") from None
    return Expression(found.node, names)


def _remedy(error: TypeError | AttributeError, place: origin.Place | None) -> str:
    """Return what to write instead of what Python refused."""
    if isinstance(error, AttributeError):
        return origin.substitute(error.name or "")
    if re.search("subscriptable|iterable|item assignment", str(error)):
        return origin.ONE_NUMBER
    return origin.substitute(place.called() if place else "")


def parameter_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the parameters without a default, which are to be variables.

    Raises
    ------
    InvalidInput
        A function whose parameters cannot be known, are none, or are any number.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise InvalidInput(
            f"the parameters of {label(function)} cannot be known; wrap it in a lambda that names "
            "one argument for each variable"
        ) from None
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        raise InvalidInput(
            f"{label(function)} takes any number of arguments; name the variables, or wrap it in "
            "a lambda with one argument for each"
        )
    names = tuple(
        each.name
        for each in parameters
        if each.default is each.empty and each.kind is not each.VAR_KEYWORD
    )
    if not names:
        raise InvalidInput(f"{label(function)} has no parameter without a default to vary")
    return names


def label(function: Any) -> str:
    """Return how messages call a function."""
    return str(getattr(function, "__name__", None) or f"{function!r:.60}")
