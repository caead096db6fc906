"""From a Python function to the formula that it computes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

from fastnn.errors import FastnnError, InvalidInput
from fastnn.graph import nodes, origin
from fastnn.graph.expression import Expression, Taken, Vector, as_expression
from fastnn.graph.nodes import Node
from fastnn.graph.operations import VECTOR_OPERATIONS
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
    result = _call(function, arguments, names)
    try:
        found = as_expression(result)
    except InvalidInput as error:
        raise InvalidInput(f"what {label(function)} returned: {error}{_hint(result)}") from None
    return Expression(found.node, names)


def _hint(result: Any) -> str:
    return "; did it forget to return?" if result is None else ""


def trace_row(function: Callable[..., Any], outputs: int) -> Expression:
    """Return the formula that a function of two vectors computes, the outputs and the targets.

    Parameters
    ----------
    function
        Returns a number, or a vector, of which the mean is meant. What it computes number by
        number, of outputs and as many targets, comes back as the formula of one of each.
    outputs
        How many there are.

    Returns
    -------
    Expression
        Of two variables: two numbers, or two vectors. Targets that are only indexed, or sliced up
        to a stop, are as many as that takes; else as many as the outputs.

    Raises
    ------
    InvalidInput
        What cannot be traced, as for `trace`.
    """
    first, second = parameter_names(function)
    given = Vector(nodes.vector(first, outputs), (first,))
    targets, taken = Vector(nodes.vector(second, outputs), (second,)), Taken()
    targets.taken = taken
    result = _call(function, (given, targets), (first, second))
    if not isinstance(result, Vector):
        try:
            found = as_expression(result).node
        except InvalidInput as error:
            said = str(error).replace("an expression or a number", "a number or a vector")
            raise InvalidInput(f"what {label(function)} returned: {said}{_hint(result)}") from None
    else:
        found = nodes.apply("mean", result.node)
        if (number := _by_number(result.node, given.node, targets.node)) is not None:
            return Expression(number, (first, second))
    return Expression(_fitted(found, targets.node, taken, outputs), (first, second))


def _by_number(root: Node, outputs: Node, targets: Node) -> Node | None:
    """Return the formula of one output and target that a vector is of all of them, or None."""
    if root.length != outputs.length:
        return None
    found: dict[Node, Node] = {each: nodes.variable(each.name) for each in (outputs, targets)}
    for node in nodes.topological([root]):
        if node in found:
            continue
        if node.operation in VECTOR_OPERATIONS:
            return None
        arguments = (found[each] for each in node.arguments)
        found[node] = nodes.apply(node.operation, *arguments) if node.arguments else node
    return found[root]


def _fitted(root: Node, leaf: Node, taken: Taken, outputs: int) -> Node:
    """Return the formula with as many targets as it takes."""
    order = nodes.topological([root])
    users = {each.operation for each in order if leaf in each.arguments}
    whole = taken.whole or not taken.needed or not users <= {"item", "slice"}
    length = outputs if whole else taken.needed
    if taken.needed > length:
        raise InvalidInput(
            f"{leaf.name} is used as a whole, so it has as many numbers as there are outputs, "
            f"{outputs}, but the loss takes one of index {taken.needed - 1}; index or slice it"
        )
    found: dict[Node, Node] = {leaf: nodes.vector(leaf.name, length)}
    alone = outputs == length == 1  # vectors of one number are that number
    for node in order:
        if not node.arguments:
            if alone and node.operation == "vector":
                found[node] = nodes.variable(node.name)
            continue
        arguments = tuple(found.get(each, each) for each in node.arguments)
        if alone and node.operation in VECTOR_OPERATIONS and node.length in (None, 1):
            found[node] = nodes.constant(0) if node.operation == "range" else arguments[0]
        else:
            found[node] = nodes.apply(node.operation, *arguments)
    return found.get(root, root)


def _call(function: Callable[..., Any], arguments: Any, names: tuple[str, ...]) -> Any:
    """Return what a function returns for variables of these names."""
    try:
        inspect.signature(function).bind(*arguments)
    except ValueError:  # a function without a signature, as some written in C
        pass
    except TypeError as error:
        raise InvalidInput(
            f"{label(function)} cannot be called with {', '.join(names)}: {error}"
        ) from None
    try:
        return function(*arguments)
    except FastnnError:
        raise
    except (TypeError, AttributeError) as error:
        # Python's own words for an operation that numbers have and formulas have not.
        place = origin.raising_place(error.__traceback__)
        vectors = any(isinstance(each, Vector) for each in arguments)
        remedy = _remedy(error, place, vectors)
        raise origin.cannot_trace(str(error), remedy, place) from error


def _remedy(error: TypeError | AttributeError, place: origin.Place | None, vectors: bool) -> str:
    """Return what to write instead of what Python refused."""
    if vectors and not (place and place.called() in origin.FUNCTIONS):
        return origin.VECTORS
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
