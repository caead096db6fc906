"""A picture of a graph: values go from left to right, gradients back from right to left.

Nodes stand in columns, each right of all its arguments. An arrow that passes a column has a place
of its own there, as if it were a node (Sugiyama, Tagawa & Toda 1981), and changes its height
between columns alone: so it never runs through a box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.graph.axes import axes_or_new
from fastnn.graph.table import Row, Table, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_NODES = 80
_FONT, _SMALL = 10.0, 8.5  # points
_GAP, _MARGIN, _HEIGHT = 0.8, 0.15, 0.85  # inches: between columns, beside boxes, of a row
_HEAD = 0.45  # inches above the rows, for the legend
_LEAST = 4.0, 1.6  # inches of a new figure, in which the legend has room
_BELOW = 16.0, 27.0  # points from a box to the numbers under it
_APART = 3.0  # points from the middle to the arrow forward, and to the one back
_SWEEPS = 8
_VALUE_COLOUR, _GRADIENT_COLOUR = "tab:blue", "tab:red"

# A place in a column: the node that stands there, or whose arrow passes.
Place = tuple[str, int]


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
    column = _columns_of(table)
    places = _ordered(table, column)
    highest = max(map(len, places))
    new = ax is None
    ax = axes_or_new(ax, *_LEAST)  # before anything is measured, which needs Matplotlib
    zones = _zones(table, column, len(places))
    size = zones[-1][1], highest * _HEIGHT + _HEAD
    scale = _fit(ax, size, new)

    heights = {
        place: ((highest - len(rows)) / 2 + len(rows) - 0.4 - index) * _HEIGHT
        for rows in places
        for index, place in enumerate(rows)
    }
    boxes = {}
    for row in table:
        x, y = sum(zones[column[row.name]]) / 2, heights[row.name, column[row.name]]
        boxes[row.name] = ax.text(
            x, y, _label(row), ha="center", va="center", zorder=3, fontsize=_FONT * scale,
            bbox={
                "boxstyle": "round", "facecolor": "white", "edgecolor": "black",
                "linewidth": 0.9 * scale,
            },
        )  # fmt: skip
        for text, colour, points in zip(
            _numbers(row), (_VALUE_COLOUR, _GRADIENT_COLOUR), _BELOW, strict=True
        ):
            ax.annotate(
                text, (x, y), (0, -points * scale), textcoords="offset points", ha="center",
                va="center", color=colour, fontsize=_SMALL * scale, zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
            )  # fmt: skip
    for row in table:
        for name in row.arguments:
            route = _turns(name, row.name, column, zones, heights)
            _arrow(ax, boxes[name], boxes[row.name], route, scale)
            _arrow(ax, boxes[row.name], boxes[name], route[::-1], scale)
    _legend(ax, scale)
    ax.set_axis_off()
    return ax


def _label(row: Row) -> str:
    return row.name if row.operation == "variable" else f"{row.name} = {row.operation}"


def _numbers(row: Row) -> tuple[str, str]:
    return f"value {short(row.value)}", f"gradient {short(row.gradient)}"


def _columns_of(table: Table) -> dict[str, int]:
    """Return the column of each row: right of all its arguments.

    A variable stands one column left of what uses it first.
    """
    column: dict[str, int] = {}
    for row in table:
        column[row.name] = 1 + max((column[name] for name in row.arguments), default=-1)
    users = _users(table)
    for row in table:
        if not row.arguments and users[row.name]:
            column[row.name] = min(column[name] for name in users[row.name]) - 1
    return column


def _users(table: Table) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {row.name: [] for row in table}
    for row in table:
        for name in row.arguments:
            users[name].append(row.name)
    return users


def _ordered(table: Table, column: dict[str, int]) -> list[list[Place]]:
    """Return the places of each column, from the top.

    They stand by the mean height of their neighbours, which keeps arrows short and crossings few.
    """
    users = _users(table)
    columns: list[list[Place]] = [[] for _ in range(1 + max(column.values()))]
    near: dict[Place, list[Place]] = {}
    for row in table:
        first = column[row.name]
        last = max((column[user] - 1 for user in users[row.name]), default=first)
        for at in range(first, last + 1):
            columns[at].append((row.name, at))
            near.setdefault((row.name, at), [])
            if at > first:
                _join(near, (row.name, at - 1), (row.name, at))
    for row in table:
        for name in row.arguments:
            _join(near, (name, column[row.name] - 1), (row.name, column[row.name]))
    for _ in range(_SWEEPS):
        height = {
            place: index - (len(places) - 1) / 2
            for places in columns
            for index, place in enumerate(places)
        }
        for places in columns:
            mean = {
                place: float(np.mean([height[each] for each in near[place]]))
                for place in places
                if near[place]
            }
            places.sort(key=lambda place: mean.get(place, height[place]))
    return columns


def _join(near: dict[Place, list[Place]], place: Place, other: Place) -> None:
    near.setdefault(place, []).append(other)
    near.setdefault(other, []).append(place)


def _zones(table: Table, column: dict[str, int], count: int) -> list[tuple[float, float]]:
    """Return where each column begins and ends, in inches; the boxes of all its rows are within."""
    widths = np.zeros(count)
    for row in table:
        needed = [_width(_label(row), _FONT) + 0.6 * _FONT / 72]
        needed += [_width(text, _SMALL) for text in _numbers(row)]
        widths[column[row.name]] = max(widths[column[row.name]], *needed)
    widths += 2 * _MARGIN
    ends = np.cumsum(widths + _GAP) - _GAP
    return [(float(end - width), float(end)) for end, width in zip(ends, widths, strict=True)]


def _width(text: str, points: float) -> float:
    """Return how wide a text is, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=points)
    width: float = text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
    return width / 72


def _fit(ax: Axes, size: tuple[float, float], new: bool) -> float:
    """Have the axes measure inches, times the scale that is returned: at most 1, so that all fits.

    A new figure becomes as large as is needed.
    """
    figure: Any = ax.figure
    if new:
        width, height = max(size[0], _LEAST[0]), max(size[1], _LEAST[1])
        figure.set_size_inches(width + 0.2, height + 0.2)
    else:
        width, height = figure.get_size_inches() * ax.get_position().size
    scale = min(1.0, width / size[0], height / size[1])
    for middle, extent, limits in (
        (size[0] / 2, width, ax.set_xlim),
        (size[1] / 2, height, ax.set_ylim),
    ):
        limits(middle - extent / scale / 2, middle + extent / scale / 2)
    return scale


def _turns(
    name: str,
    user: str,
    column: dict[str, int],
    zones: list[tuple[float, float]],
    heights: dict[Place, float],
) -> list[tuple[float, float]]:
    """Return where an arrow enters and leaves the zones of columns, from an argument to its user.

    Between the two points of a gap it changes its height, elsewhere it is level.
    """
    points = []
    for left in range(column[name], column[user]):
        place = name if left + 1 < column[user] else user
        points.append((zones[left][1], heights[name, left]))
        points.append((zones[left + 1][0], heights[place, left + 1]))
    return points


class _Route:
    """The way of an arrow from the side of one box to that of another, for `FancyArrowPatch`."""

    def __init__(self, ax: Axes, points: list[tuple[float, float]], up: float) -> None:
        self.ax, self.points, self.up = ax, points, up

    def __call__(
        self, posA: Any, posB: Any, patchA: Any = None, patchB: Any = None, **_: Any
    ) -> Any:
        """Return the path in pixels, between the boxes as they are drawn."""
        from matplotlib.path import Path

        pixels = self.ax.figure.dpi / 72
        points = self.ax.transData.transform(self.points) + [0, self.up * pixels]
        first, last = patchA.get_window_extent(), patchB.get_window_extent()
        right = points[0, 0] < points[-1, 0]
        begin = first.x1 + pixels if right else first.x0 - pixels
        end = last.x0 - pixels if right else last.x1 + pixels
        vertices, codes = [(begin, points[0, 1])], [Path.MOVETO]
        for (x, y), (u, v) in zip(points[::2], points[1::2], strict=True):
            middle = (x + u) / 2
            vertices += [(x, y), (middle, y), (middle, v), (u, v)]
            codes += [Path.LINETO, *[Path.CURVE4] * 3]
        return Path([*vertices, (end, points[-1, 1])], [*codes, Path.LINETO])


def _arrow(ax: Axes, source: Any, to: Any, turns: list[tuple[float, float]], scale: float) -> None:
    """Draw one arrow: of values where it goes to the right, of gradients where it goes back."""
    from matplotlib.patches import FancyArrowPatch

    forward = turns[0][0] < turns[-1][0]
    route: Any = _Route(ax, turns, (_APART if forward else -_APART) * scale)
    arrow = FancyArrowPatch(
        source.get_position(),
        to.get_position(),
        patchA=source.get_bbox_patch(),
        patchB=to.get_bbox_patch(),
        connectionstyle=route,
        arrowstyle="-|>",
        mutation_scale=9 * scale,
        linewidth=0.9 * scale,
        linestyle="-" if forward else "--",
        color=_VALUE_COLOUR if forward else _GRADIENT_COLOUR,
        alpha=0.7,
        zorder=3.5,
    )
    arrow.set_gid("forward" if forward else "backward")
    arrow.set_in_layout(False)
    ax.add_patch(arrow)


def _legend(ax: Axes, scale: float) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=_VALUE_COLOUR, label="forward: values"),
        Line2D([], [], color=_GRADIENT_COLOUR, linestyle="--", label="backward: gradients"),
    ]
    ax.legend(handles=handles, loc="upper center", ncols=2, frameon=False, fontsize=_SMALL * scale)
