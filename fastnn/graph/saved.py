"""Formulas as plain values that `json` can write, and back.

A formula is ``{"variables": names, "nodes": rows}``, and ``"lengths"`` beside them where the
variables are vectors. A row is the number of a constant, the name of a variable, or ``[operation,
place, ...]`` with the places of its arguments among the rows before; the last row is the formula
itself. Names of intermediate results are left out.
"""

from __future__ import annotations

import sys
from typing import Any

from fastnn.errors import InvalidInput, shown
from fastnn.graph.expression import Expression
from fastnn.graph.formula import READABLE
from fastnn.graph.nodes import (
    Node,
    apply,
    check_compiled,
    check_name,
    constant,
    topological,
    variable,
    vector,
)
from fastnn.graph.operations import OPERATIONS, VECTOR_OPERATIONS

_LONGEST = 2**20  # a range of numbers


def to_plain(expression: Expression) -> dict[str, Any]:
    """Return `expression` as plain values.

    >>> from fastnn.graph import trace
    >>> to_plain(trace(lambda z: 2 * z))
    {'variables': ['z'], 'nodes': [2.0, 'z', ['mul', 0, 1]]}
    """
    order = topological([expression.node])
    vectors = {each.name: each.length for each in order if each.operation == "vector"}
    place = {node: index for index, node in enumerate(order)}
    rows: list[Any] = []
    for node in order:
        if node.operation == "constant":
            rows.append(node.value)
        elif not node.arguments:
            rows.append(node.name)
        else:
            rows.append([node.operation, *(place[each] for each in node.arguments)])
    plain = {"variables": list(expression.names), "nodes": rows}
    lengths = {"lengths": [vectors.get(name) for name in expression.names]} if vectors else {}
    return plain | lengths


def from_plain(values: Any) -> Expression:
    """Return the formula that `to_plain` gave.

    Raises
    ------
    InvalidInput
        Values that are no formula, or more of them than are compiled.
    """
    keys = {"variables", "nodes"}
    if not isinstance(values, dict) or values.keys() not in (keys, keys | {"lengths"}):
        raise InvalidInput(f"a formula has variables and nodes, unlike {shown(values):.60}")
    names, rows, lengths = values["variables"], values["nodes"], values.get("lengths")
    if not isinstance(names, list) or not isinstance(rows, list) or not rows:
        raise InvalidInput("a formula has a list of variables and one of nodes, which is not empty")
    check_compiled(len(names) + len(rows))  # before anything is made of them
    names = [check_name(name) for name in names]
    if len(set(names)) < len(names):
        raise InvalidInput(f"two variables of a formula have one name: {', '.join(names)}")
    leaves = {name: variable(name) for name in names}
    if lengths is not None:
        fitting = isinstance(lengths, list) and len(lengths) == len(names)
        if not fitting or not all(type(each) is int and 0 < each < 2**31 for each in lengths):
            raise InvalidInput(f"the lengths of a formula's vectors cannot be {shown(lengths):.60}")
        leaves = dict(zip(names, map(vector, names, lengths), strict=True))
    found: list[Node] = []
    for row in rows:
        found.append(_node(row, leaves, found))
    if found[-1].is_condition or found[-1].length is not None:
        raise InvalidInput("a formula is a number, not a condition or a vector")
    return Expression(found[-1], tuple(names))


def _node(row: Any, leaves: dict[str, Node], before: list[Node]) -> Node:
    """Return the node of one row, or raise `InvalidInput`."""
    if type(row) in (int, float) and abs(row) <= sys.float_info.max:
        return constant(row)
    if isinstance(row, str) and row in leaves:
        return leaves[row]
    if isinstance(row, list) and row and isinstance(row[0], str) and row[0] in OPERATIONS:
        name, *places = row
        known = all(type(place) is int and 0 <= place < len(before) for place in places)
        if known and (name == "array" and places or len(places) == len(READABLE[name].needed)):
            arguments = [before[place] for place in places]
            if name in VECTOR_OPERATIONS or len({each.length for each in arguments} - {None}) > 1:
                _check_vectors(name, arguments)
            conditions = OPERATIONS[name].takes_conditions
            kinds = [each.is_condition for each in arguments]
            if kinds == [position < conditions for position in range(len(arguments))]:
                return apply(name, *arguments)
    raise InvalidInput(f"a formula cannot have the node {shown(row):.60}")


def _check_vectors(name: str, arguments: list[Node]) -> None:
    """Raise `InvalidInput` where an operation cannot have these arguments."""
    first, *rest = arguments
    fits = False
    places: list[float] = [each.value for each in rest]
    if any(each.operation != "constant" or each.value < 0 for each in rest):
        places = []
    whole = all(each.is_integer() for each in places)
    if name in ("sum", "mean", "max", "logsumexp"):
        fits = first.length is not None
    elif name == "take":
        fits = first.length is not None and rest[0].length is None
    elif name == "array":
        fits = all(each.length is None for each in arguments)
        check_compiled(len(arguments))
    elif name == "range":
        length = first.value if first.operation == "constant" else 0.0
        fits = length.is_integer() and 1 <= length <= _LONGEST
    elif name == "item" and places and whole:
        fits = first.length is not None and places[0] < first.length
    elif name == "slice" and places and whole and places[2] > 0:
        found = range(*map(int, places))
        fits = first.length is not None and bool(found) and found[-1] < first.length
    if not fits:
        raise InvalidInput(f"a formula cannot have {name} of such arguments")
