"""What gradient descent found, and a picture of the way there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.graph.axes import axes_or_new, colour
from fastnn.graph.expression import Expression
from fastnn.graph.table import short
from fastnn.tables import aligned, data_frame, html_table, html_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONGEST_LABEL = 60  # characters of a formula beside an axis
_MOST_MARKED = 200  # points of a path that get a marker each; more run together


@dataclass(frozen=True)
class Restart:
    """One descent: its start and its end, each (n,), and the function's value at the end.

    With ``keep_paths=True`` it has its path too, (points, n), at the steps of
    `Descent.path_steps`; else that is None.
    """

    start: np.ndarray
    x: np.ndarray
    value: float
    path: np.ndarray | None = None


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
        return "\n".join((self._head(), *aligned(self._columns(), left=(0,))))

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        return html_text(self._head()) + html_table(self._columns())

    def _head(self) -> str:
        steps = self.path_steps[-1]
        head = f"Descent on {self.function!r}: value {short(self.value)} after {steps} steps"
        if len(self.restarts) > 1:
            worst = max(each.value for each in self.restarts)
            head += f", best of {len(self.restarts)} restarts (values up to {worst:.6g})"
        return head

    def _columns(self) -> list[list[str]]:
        columns = [["variable", *self.function.names]]
        for heading, numbers in (
            ("start", self.path[0]), ("end", self.x), ("gradient", self.gradient)
        ):  # fmt: skip
            columns.append([heading, *map(short, numbers)])
        return columns

    def to_frame(self) -> Any:
        """Return the path as a `pandas.DataFrame`, one row a point.

        Columns are "restart" and "step", each variable under its name, "value", the function's, and
        the derivative by each variable, such as "d/dx". There are the paths of all restarts where
        `minimize` kept them, else the best one's.

        Raises
        ------
        InvalidInput
            A variable that is called as one of the other columns.
        MissingExtra
            pandas is not installed.
        """
        names = self.function.names
        if taken := {"restart", "step", "value"} & {*names}:
            raise InvalidInput(
                f"the frame has columns restart, step and value, and a variable is called "
                f"{taken.pop()!r}; give it another name"
            )
        kept = [(index, each.path) for index, each in enumerate(self.restarts)]
        paths = [(index, path) for index, path in kept if path is not None]
        paths = paths or [(self.best, self.path)]
        points = np.concatenate([path for _, path in paths])
        count = len(self.path_steps)
        columns = {
            "restart": np.repeat([index for index, _ in paths], count),
            "step": np.tile(self.path_steps, len(paths)),
            **dict(zip(names, points.T, strict=True)),
            "value": self._at(*points.T),
        }
        slopes = self.function.gradient(**dict(zip(names, points.T, strict=True)))
        columns |= {f"d/d{name}": slope for name, slope in slopes.items()}
        return data_frame(columns)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the path, over the function's curve or, of two variables, over its contours.

        The curve or the contours cover the bounds where these are finite, and some way around the
        paths elsewhere. A ring is where a restart started and a cross where it ended; the best one
        has its path, and the others have theirs, too, where `minimize` kept them.

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
        formula = repr(self.function)
        if len(names) == 1:
            across = self._around(0, 400)
            ax.plot(across, self._at(across), color=colour(0), linewidth=1.5)
            ax.set_ylabel(formula if len(formula) <= _LONGEST_LABEL else "value")
        else:
            self._draw_contours(ax)
            ax.set_ylabel(names[1])
            if len(formula) <= _LONGEST_LABEL:
                ax.set_title(formula)
        ax.set_xlabel(names[0])
        others = [each for index, each in enumerate(self.restarts) if index != self.best]
        for number, path in enumerate(each.path for each in others if each.path is not None):
            label = "" if number else "paths of other restarts"
            ax.plot(*self.places(path), color="0.45", linewidth=0.8, label=label, zorder=2)
        mark = "." if len(self.path) <= _MOST_MARKED else ""
        ax.plot(*self.places(self.path), color=colour(3), marker=mark, ms=5, label="path", zorder=3)
        ring: dict[str, Any] = {
            "marker": "o",
            "linestyle": "",
            "markerfacecolor": "white",
            "color": "black",
        }
        ax.plot(*self.places(self.path[:1]), **ring, label="start", zorder=4)
        ax.plot(*self.places(self.x[None]), "o", color="black", label="end", zorder=5)
        if others:
            starts = np.array([each.start for each in others])
            ends = np.array([each.x for each in others])
            ring |= {"markersize": 4, "color": "0.45"}
            ax.plot(*self.places(starts), **ring, label="starts of other restarts", zorder=2)
            ax.plot(
                *self.places(ends), "x", color="black", label="ends of other restarts", zorder=4
            )
        avoided = mark and all(each.path is None for each in others)
        ax.legend(loc="best" if avoided else "upper right", framealpha=0.9)
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

    def places(self, points: np.ndarray | None = None) -> np.ndarray:
        """Return where points (points, n) are in `plot`, (2, points); None: those of the path.

        Those of one variable have their values as heights.
        """
        columns = (self.path if points is None else points).T
        return columns if len(columns) == 2 else np.stack((columns[0], self._at(columns[0])))

    def _around(self, variable: int, count: int) -> np.ndarray:
        """Return numbers from bound to bound; where there is none, beyond all that is drawn."""
        drawn = [*self.path[:, variable]]
        for each in self.restarts:
            drawn += [each.start[variable], each.x[variable]]
            drawn += [] if each.path is None else [*each.path[:, variable]]
        least, most = np.min(drawn), np.max(drawn)
        margin = 0.25 * (most - least) or 1.0
        low, high = self.low[variable], self.high[variable]
        return np.linspace(
            low if np.isfinite(low) else least - margin,
            high if np.isfinite(high) else most + margin,
            count,
        )
