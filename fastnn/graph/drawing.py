"""A picture of a graph: nodes from left to right, with value and gradient on each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.graph.axes import axes_or_new
from fastnn.graph.table import Row, Table, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_NODES = 80
_WIDTH, _HEIGHT = 2.2, 1.1  # inches between columns and between rows
_SWEEPS = 4
_VALUE_COLOUR, _GRADIENT_COLOUR = "tab:blue", "tab:red"


def draw(table: Table, ax: Axes | None) -> Axes:
    """Draw the rows of a table; see `Expression.draw`."""
    if len(table) > _MOST_NODES:
        raise InvalidInput(
            f"a picture of {len(table)} nodes cannot be read; draw shows up to {_MOST_NODES}, "
            "table any number"
        )
    arrays = [row.name for row in table if isinstance(row.value, np.ndarray)]
    if arrays:
        raise InvalidInput(f"draw shows numbers, but {arrays[0]} is an array; give numbers")
    columns = _columns(table)
    height = max(map(len, columns))
    ax = axes_or_new(ax, 1 + _WIDTH * len(columns), 1 + _HEIGHT * height)
    boxes = {}
    for x, column in enumerate(columns):
        for place, row in enumerate(column):
            y = (height - len(column)) / 2 + len(column) - 1 - place
            label = row.name if row.operation == "variable" else f"{row.name} = {row.operation}"
            boxes[row.name] = ax.text(
                x, y, label, ha="center", va="center", zorder=3,
                bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "black"},
            )  # fmt: skip
            for text, colour, points in (
                (f"value {short(row.value)}", _VALUE_COLOUR, -16),
                (f"gradient {short(row.gradient)}", _GRADIENT_COLOUR, -27),
            ):
                ax.annotate(
                    text, (x, y), (0, points), textcoords="offset points",
                    ha="center", va="center", color=colour, fontsize="small", zorder=4,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
                )  # fmt: skip
    for row in table:
        for name in row.arguments:
            source, target = boxes[name], boxes[row.name]
            arrow = {
                "arrowstyle": "-|>",
                "color": "gray",
                "patchA": source.get_bbox_patch(),
                "patchB": target.get_bbox_patch(),
                "shrinkA": 2,
                "shrinkB": 2,
            }
            ax.annotate(
                "", target.get_position(), source.get_position(), arrowprops=arrow, zorder=3
            )
    ax.set_xlim(-0.6, len(columns) - 0.4)
    ax.set_ylim(-0.7, height - 0.4)
    ax.set_axis_off()
    return ax


def _columns(table: Table) -> list[list[Row]]:
    """Return the rows of each column, from the top: a node stands right of all its arguments.

    A variable stands one column left of what uses it first. Within a column, nodes stand by the
    mean height of their neighbours, which keeps arrows short and crossings few.
    """
    column: dict[str, int] = {}
    users: dict[str, list[str]] = {row.name: [] for row in table}
    for row in table:
        column[row.name] = 1 + max((column[name] for name in row.arguments), default=-1)
        for name in row.arguments:
            users[name].append(row.name)
    for row in table:
        if not row.arguments and users[row.name]:
            column[row.name] = min(column[name] for name in users[row.name]) - 1
    columns: list[list[Row]] = [[] for _ in range(1 + max(column.values()))]
    for row in table:
        columns[column[row.name]].append(row)
    for _ in range(_SWEEPS):
        height = {
            row.name: place - (len(rows) - 1) / 2
            for rows in columns
            for place, row in enumerate(rows)
        }
        for rows in columns:
            mean = {
                row.name: float(np.mean([height[each] for each in near]))
                for row in rows
                if (near := [*row.arguments, *users[row.name]])
            }
            rows.sort(key=lambda row: mean.get(row.name, height[row.name]))
    return columns
