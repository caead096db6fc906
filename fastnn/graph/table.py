"""The table of a graph: each node with its value and the gradient of the result by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.graph.formula import formula
from fastnn.graph.nodes import Node, topological
from fastnn.rules.table import unknown_name
from fastnn.tables import aligned, html_table

if TYPE_CHECKING:
    from fastnn.graph.expression import Expression


@dataclass(frozen=True)
class Row:
    """One node.

    Attributes
    ----------
    name
        The variable's name, the name it was given by `named`, or v1, v2, ...
    operation
        "variable", or the operation with the names of its arguments.
    value
        What it computes: a float or an array.
    gradient
        The derivative of the result by this node, of the same form.
    arguments
        Names of the rows that it is computed from.
    """

    name: str
    operation: str
    value: Any
    gradient: Any
    arguments: tuple[str, ...]


class Table:
    """The rows of a graph, variables first and then each node after those that it needs.

    Numbers, and conditions of `where`, stand in the formulas of the rows that use them. A row is
    found by its number or by its name: ``table[0]``, ``table["u"]``.
    """

    def __init__(self, rows: tuple[Row, ...]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        """Go through the rows."""
        return iter(self.rows)

    def __getitem__(self, key: int | str) -> Row:
        """Return a row by its number or its name."""
        if isinstance(key, int):
            return self.rows[key]
        for row in self.rows:
            if row.name == key:
                return row
        raise unknown_name("node", key, (row.name for row in self.rows))

    def __repr__(self) -> str:
        """Show one line for each row."""
        return "\n".join(aligned(self._columns(), left=(0, 1)))

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        return html_table(self._columns())

    def _columns(self) -> list[list[str]]:
        columns = [["node"], ["operation"], ["value"], ["gradient"]]
        for row in self.rows:
            cells = (row.name, row.operation, short(row.value), short(row.gradient))
            for column, cell in zip(columns, cells, strict=True):
                column.append(cell)
        return columns


def short(value: Any) -> str:
    """Return a number in six digits, without the sign of -0; of an array, its shape."""
    return f"array {value.shape}" if isinstance(value, np.ndarray) else f"{value + 0.0:.6g}"


def make_table(expression: Expression, values: dict[str, Any]) -> Table:
    """Return the table of an expression; `values` and errors are those of its `evaluate`."""
    root = expression.node
    order = topological([root])
    shown = [node for node in order if node.operation == "variable"]
    shown += [node for node in order if node.arguments and not (node.fixed or node.is_condition)]
    if root not in shown:
        shown.append(root)
    names = _names(shown)
    found = expression._told([*shown, *map(expression._adjoint, shown)], values, 3)
    rows = []
    for node, value, gradient in zip(shown, found, found[len(shown) :], strict=False):
        name = names.pop(node)  # its own row shows what it is computed from
        below = tuple(names[each] for each in topological(node.arguments, names) if each in names)
        text = "variable" if node.operation == "variable" else formula(node, names)
        rows.append(Row(name, text, value, gradient, below))
        names[node] = name
    return Table(tuple(rows))


def _names(shown: list[Node]) -> dict[Node, str]:
    """Return the name of each row: its own, or the next of v1, v2, ... that no node has."""
    taken = Counter(node.name for node in shown if node.name)
    for name, times in taken.items():
        if times > 1:
            raise InvalidInput(f"two nodes have the name {name!r}; give each its own with named")
    free = (name for number in count(1) if (name := f"v{number}") not in taken)
    return {node: node.name or next(free) for node in shown}
