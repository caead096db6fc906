"""What gradient descent found, and a picture of the way there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.graph.axes import axes_or_new
from fastnn.graph.expression import Expression
from fastnn.graph.table import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the path, over the function's curve or, of two variables, over its contours.

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
        style: dict[str, Any] = {
            "marker": ".",
            "color": "tab:red",
            "linewidth": 1,
            "markersize": 4,
            "zorder": 3,
        }
        end: dict[str, Any] = {"marker": "o", "color": "black", "linestyle": "none", "zorder": 4}
        across = self._around(0, 400 if len(names) == 1 else 120)
        if len(names) == 1:
            ax.plot(across, self._at(across), color="tab:blue")
            ax.plot(self.path[:, 0], self._at(self.path[:, 0]), label="path", **style)
            ax.plot(self.x, [self.value], label="end", **end)
            ax.set_ylabel("value")
        else:
            up = self._around(1, 120)
            heights = np.ma.masked_invalid(self._at(across[None, :], up[:, None]))
            # Closer together near the lowest value, where descent slows down.
            levels = heights.min() + np.ptp(heights) * np.linspace(0, 1, 25) ** 3
            if np.all(np.diff(levels) > 0):
                ax.contour(across, up, heights, levels, cmap="viridis", linewidths=0.7)
            ax.plot(self.path[:, 0], self.path[:, 1], label="path", **style)
            ax.plot(self.x[:1], self.x[1:], label="end", **end)
            ax.set_ylabel(names[1])
        ax.set_xlabel(names[0])
        ax.legend()
        return ax

    def _at(self, *points: np.ndarray) -> np.ndarray:
        return self.function.evaluate(**dict(zip(self.function.names, points, strict=True)))

    def _around(self, variable: int, count: int) -> np.ndarray:
        """Return numbers across the path and some way beyond, within the bounds."""
        least, most = np.min(self.path[:, variable]), np.max(self.path[:, variable])
        margin = 0.25 * (most - least) or 1.0
        low, high = self.low[variable], self.high[variable]
        return np.linspace(max(least - margin, low), min(most + margin, high), count)
