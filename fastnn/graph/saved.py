"""Formulas as plain values that `json` can write, and back.

A formula is ``{"variables": names, "nodes": rows}``. A row is the number of a constant, the name of
a variable, or ``[operation, place, ...]`` with the places of its arguments among the rows before;
the last row is the formula itself. Names of intermediate results are left out.
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
)
from fastnn.graph.operations import OPERATIONS


def to_plain(expression: Expression) -> dict[str, Any]:
    """Return `expression` as plain values.

    >>> from fastnn.graph import trace
    >>> to_plain(trace(lambda z: 2 * z))
    {'variables': ['z'], 'nodes': [2.0, 'z', ['mul', 0, 1]]}
    """
    order = topological([expression.node])
    place = {node: index for index, node in enumerate(order)}
    rows: list[Any] = []
    for node in order:
        if node.operation == "constant":
            rows.append(node.value)
        elif node.operation == "variable":
            rows.append(node.name)
        else:
            rows.append([node.operation, *(place[each] for each in node.arguments)])
    return {"variables": list(expression.names), "nodes": rows}


def from_plain(values: Any) -> Expression:
    """Return the formula that `to_plain` gave.

    Raises
    ------
    InvalidInput
        Values that are no formula, or more of them than are compiled.
    """
    if not isinstance(values, dict) or values.keys() != {"variables", "nodes"}:
        raise InvalidInput(f"a formula has variables and nodes, unlike {shown(values):.60}")
    names, rows = values["variables"], values["nodes"]
    if not isinstance(names, list) or not isinstance(rows, list) or not rows:
        raise InvalidInput("a formula has a list of variables and one of nodes, which is not empty")
    check_compiled(len(names) + len(rows))  # before anything is made of them
    names = [check_name(name) for name in names]
    if len(set(names)) < len(names):
        raise InvalidInput(f"two variables of a formula have one name: {', '.join(names)}")
    found: list[Node] = []
    for row in rows:
        found.append(_node(row, names, found))
    if found[-1].is_condition:
        raise InvalidInput("a formula is a number, not a condition")
    return Expression(found[-1], tuple(names))


def _node(row: Any, names: list[str], before: list[Node]) -> Node:
    """Return the node of one row, or raise `InvalidInput`."""
    if type(row) in (int, float) and abs(row) <= sys.float_info.max:
        return constant(row)
    if isinstance(row, str) and row in names:
        return variable(row)
    if isinstance(row, list) and row and isinstance(row[0], str) and row[0] in OPERATIONS:
        name, *places = row
        known = all(type(place) is int and 0 <= place < len(before) for place in places)
        if known and len(places) == len(READABLE[name].needed):
            arguments = [before[place] for place in places]
            conditions = OPERATIONS[name].takes_conditions
            kinds = [each.is_condition for each in arguments]
            if kinds == [position < conditions for position in range(len(arguments))]:
                return apply(name, *arguments)
    raise InvalidInput(f"a formula cannot have the node {shown(row):.60}")
