"""What gradient descent found, and a picture of the way there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.graph.axes import axes_or_new
from fastnn.graph.expression import Expression
from fastnn.graph.table import short
from fastnn.tables import html_table, html_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_MARKED = 200  # points of a path that get a marker each; more run together


@dataclass(frozen=True)
class Restart:
    """One descent: its start and its end, each (n,), and the function's value at the end."""

    start: np.ndarray
    x: np.ndarray
    value: float


@dataclass(frozen=True, repr=False)
class Descent:
    """The descent that ended lowest.

    Attributes
    ----------
    function
        What was minimised; its variables are in the order of x.
    x
        (n,) float64, where the best restart ended.
    value, gradient
        Of the function at x; the gradient is (n,).
    path
        (points, n): the start and x after every step, up to 10,000 steps. Of more steps, evenly
        spaced ones and the last, at most 10,001 points.
    path_steps
        (points,) how many steps had been taken at each point of the path.
    restarts
        All restarts, in order.
    best
        Which of them this is.
    low, high
        (n,) the bounds; infinite where there are none.
    """

    function: Expression
    x: np.ndarray
    value: float
    gradient: np.ndarray
    path: np.ndarray
    path_steps: np.ndarray
    restarts: tuple[Restart, ...]
    best: int
    low: np.ndarray
    high: np.ndarray

    def __repr__(self) -> str:
        """Show function and value, and a line for each variable."""
        steps = self.path_steps[-1]
        head = f"Descent on {self.function!r}: value {short(self.value)} after {steps} steps"
        if len(self.restarts) > 1:
            worst = max(each.value for each in self.restarts)
            head += f", best of {len(self.restarts)} restarts (values up to {worst:.6g})"
        rows = [("variable", "start", "end", "gradient")]
        columns = (self.path[0], self.x, self.gradient)
        for name, *numbers in zip(self.function.names, *columns, strict=True):
            start, end, gradient = map(short, numbers)
            rows.append((name, start, end, gradient))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = (
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows
        )
        return "\n".join((head, *lines))

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        columns = [["variable", *self.function.names]]
        for heading, numbers in (
            ("start", self.path[0]), ("end", self.x), ("gradient", self.gradient)
        ):  # fmt: skip
            columns.append([heading, *map(short, numbers)])
        return html_text(repr(self).partition("\n")[0]) + html_table(columns)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the path, over the function's curve or, of two variables, over its contours.

        Of several restarts, the path is the best one's, and crosses are where the others ended.

        Parameters
        ----------
        ax
            Where to draw; None makes a new figure.

        Raises
        ------
        InvalidInput
            More than two variables.
        MissingExtra
            Matplotlib is not installed.
        """
        names = self.function.names
        if len(names) > 2:
            raise InvalidInput(
                f"plot shows one or two variables, and this function has {len(names)}; "
                "draw columns of path instead"
            )
        ax = axes_or_new(ax, 6, 4.5)
        others = [each for index, each in enumerate(self.restarts) if index != self.best]
        ends = np.array([each.x for each in others]).reshape(-1, len(names))
        if len(names) == 1:
            across = self._around(0, 400)
            ax.plot(across, self._at(across), color="#0072B2", linewidth=1.5)
            heights = self._at(self.path[:, 0])
            path = np.stack((self.path[:, 0], heights))
            last = np.append(self.x, self.value)
            crosses = np.stack((ends[:, 0], [each.value for each in others]))
            ax.set_ylabel("value")
        else:
            self._draw_contours(ax)
            path, last, crosses = self.path.T, self.x, ends.T
            ax.set_ylabel(names[1])
        mark = "." if len(self.path) <= _MOST_MARKED else ""
        ax.plot(*path, color="#D55E00", marker=mark, markersize=5, label="path", zorder=3)
        ax.plot(*last, "o", color="black", label="end", zorder=5)
        if others:
            ax.plot(*crosses, "x", color="black", label="ends of other restarts", zorder=4)
        ax.set_xlabel(names[0])
        ax.legend(framealpha=0.9)
        return ax

    def _draw_contours(self, ax: Axes) -> None:
        across, up = self._around(0, 240), self._around(1, 240)
        heights = np.ma.masked_invalid(self._at(across[None, :], up[:, None]))
        # Closer together near the lowest value, where descent slows down.
        levels = heights.min() + np.ptp(heights) * np.linspace(0, 1, 25) ** 3
        if np.all(np.diff(levels) > 0):
            ax.contour(across, up, heights, levels, cmap="viridis", linewidths=0.7)

    def _at(self, *points: np.ndarray) -> np.ndarray:
        return self.function.evaluate(**dict(zip(self.function.names, points, strict=True)))

    def _around(self, variable: int, count: int) -> np.ndarray:
        """Return numbers across all that is drawn and some way beyond, within the bounds."""
        drawn = [*self.path[:, variable], *(each.x[variable] for each in self.restarts)]
        least, most = np.min(drawn), np.max(drawn)
        margin = 0.25 * (most - least) or 1.0
        low, high = self.low[variable], self.high[variable]
        return np.linspace(max(least - margin, low), min(most + margin, high), count)
