"""Gradient descent on any function of a few variables."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.arguments import explained
from fastnn.errors import Diverged, InvalidInput, number, true_or_false, whole
from fastnn.graph.descent_code import compiled, descent_source
from fastnn.graph.descent_result import Descent, Restart
from fastnn.graph.evaluate import real_array
from fastnn.graph.expression import Expression
from fastnn.graph.nodes import variable
from fastnn.graph.rounding import explanation
from fastnn.graph.tracing import trace

MOST_RESTARTS = 1_000_000
MOST_POINTS = 10_000  # of a path, beside its start
MOST_KEPT = 100_000_000  # numbers in the paths of all restarts: 0.8 GB
_STEPS_A_CALL = 1 << 24  # compiled code cannot be interrupted: some tenths of a second


@explained
def minimize(
    f: Callable[..., Any] | Expression,
    start: Any = None,
    bounds: Any = None,
    learning_rate: float = 0.01,
    steps: int = 1000,
    restarts: int = 1,
    momentum: float = 0.0,
    seed: int = 0,
    normalized: bool = False,
    keep_paths: bool = False,
) -> Descent:
    """Go down a function by gradient descent, from one point or from several.

    From v = 0, each step is::

        v = momentum v + g
        x = x - learning_rate v, clipped to the bounds

    where g is the gradient, or, of normalized steps, gradient / |gradient|.

    All steps are taken; there is no other rule to stop. The function is traced once and the steps
    are compiled, which takes some tenths of a second; the same function later, in this process or
    another, is loaded from the cache.

    >>> from fastnn.graph import minimize
    >>> result = minimize(lambda x: x**4 - 3*x**3 + 2, start=6, learning_rate=0.001)
    >>> result.x.round(6), round(result.value, 6)
    (array([2.25]), -6.542969)

    Parameters
    ----------
    f
        A function with one argument for each variable, written as `trace` needs it, or an
        `Expression`.
    start
        Where to start: a number, or one for each variable. None draws it from the bounds.
    bounds
        (low, high) for every variable, or a list of one such pair for each. A step that would leave
        them ends on them (projected gradient descent; Bertsekas 1999, Nonlinear Programming, 2.3).
        None, or an infinite number, is no bound: ``(0, None)`` is 0 and more.
    learning_rate
        At least 0.
    steps
        How many steps from each start.
    restarts
        How many starts; the first is `start` if it is given, all others are drawn uniformly from
        the bounds, which must be finite then.
    momentum
        From 0 up to 1, without 1.
    seed
        Of the starts drawn.
    normalized
        Whether g is the gradient divided by its 2-norm (and 0 where that is 0): each step then has
        length learning_rate, however steep or flat the function is (normalized gradient descent;
        Nesterov 2004, Introductory Lectures on Convex Optimization, 3.2.3). Near a minimum it
        goes to and fro in steps of that length.
    keep_paths
        Whether each of `Descent.restarts` has its path, too.

    Returns
    -------
    Descent
        The restart that ended lowest, and where all of them ended.

    Raises
    ------
    InvalidInput
        A setting that cannot be used, or a function that cannot be traced or is too long.
    Diverged
        The function or its gradient became NaN or infinite. `step` says after how many steps,
        `epoch` in which restart, counted from 0.
    """
    expression = f if isinstance(f, Expression) else trace(f)
    if not expression.names:
        raise InvalidInput(f"{expression!r} has no variable to vary")
    steps, restarts = whole(steps, "steps", 0), whole(restarts, "restarts", 1, MOST_RESTARTS)
    rate = number(learning_rate, "learning_rate", 0.0)
    mass = number(momentum, "momentum", 0.0, 1.0, open_high=True)
    low, high = _limits(bounds, expression.names)
    generator = np.random.default_rng(whole(seed, "seed", 0, 2**128))
    starts = _starts(start, low, high, restarts, generator, expression.names)
    normalized = true_or_false(normalized, "normalized")
    keep_paths = true_or_false(keep_paths, "keep_paths")
    run = _Run(expression, rate, mass, steps, low, high, normalized)
    if keep_paths and (kept := restarts * starts.shape[1] * len(run.marks)) > MOST_KEPT:
        raise InvalidInput(
            f"keep_paths=True would keep {kept} numbers of {restarts} paths, above {MOST_KEPT}; "
            "take fewer restarts or steps"
        )
    ends: list[Restart] = []
    best = 0
    for index, begin in enumerate(starts):
        path, value, gradient = run.descend(begin, index)
        ends.append(Restart(begin, path[-1].copy(), value, path if keep_paths else None))
        # Of many paths, only the best so far is kept.
        if index == 0 or value < ends[best].value:
            best, best_path, best_gradient = index, path, gradient
    return Descent(
        function=expression,
        x=ends[best].x,
        value=ends[best].value,
        gradient=best_gradient,
        path=best_path,
        path_steps=run.marks,
        restarts=tuple(ends),
        best=best,
        low=low,
        high=high,
    )


class _Run:
    """The settings that all restarts share, and the compiled steps."""

    def __init__(
        self,
        expression: Expression,
        rate: float,
        momentum: float,
        steps: int,
        low: np.ndarray,
        high: np.ndarray,
        normalized: bool,
    ) -> None:
        self.expression, self.rate, self.momentum, self.steps = expression, rate, momentum, steps
        self.low, self.high = low, high
        self.every = max(1, math.ceil(steps / MOST_POINTS))
        self.marks = np.unique(np.append(np.arange(0, steps + 1, self.every), steps))
        self.function = compiled(descent_source(expression, normalized))

    def descend(self, start: np.ndarray, index: int) -> tuple[np.ndarray, float, np.ndarray]:
        """Return the path from a start, and value and gradient at its end."""
        n, every = len(start), self.every
        path = np.empty((len(self.marks), n))
        path[0] = start
        state = np.concatenate([start, np.zeros(n)])
        done = 0
        while done < self.steps:
            # Whole runs of `every`, so that each call begins where a point has been recorded.
            count = min(max(every, _STEPS_A_CALL // every * every), self.steps - done)
            rows = path[1 + done // every : 1 + (done + count) // every]
            with np.errstate(all="ignore"):  # which matters where Numba is switched off
                taken = self.function(
                    state, self.low, self.high, self.rate, self.momentum, count, every, rows
                )
            done += taken
            if taken < count:
                raise self._diverged(state[:n], done, index)
        path[-1] = state[:n]
        value, gradient = self._at(state[:n])
        if not (math.isfinite(value) and np.isfinite(gradient).all()):
            raise self._diverged(state[:n], done, index)
        return path, value, gradient

    def _at(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return value and gradient at a point, without a warning."""
        expression, values = self.expression, dict(zip(self.expression.names, x, strict=True))
        slopes = [expression._adjoint(variable(name)) for name in expression.names]
        value, *gradient = expression._values([expression.node, *slopes], values)
        return value, np.array(gradient)

    def _diverged(self, x: np.ndarray, step: int, index: int) -> Diverged:
        values = dict(zip(self.expression.names, map(np.asarray, x), strict=True))
        where = ", ".join(f"{name} = {each:.6g}" for name, each in values.items())
        value, derivatives = self._at(x)
        gradient = ", ".join(f"{each:.6g}" for each in derivatives)
        found = [value, *derivatives]
        reason = explanation(self.expression.node, values, np.dtype(np.float64), found)
        remedy = (
            f"use a learning_rate below {self.rate:g}, or bounds"
            if step
            else "start where the function and its gradient are finite, or use bounds"
        )
        remedy = f"{reason}; or {remedy}" if reason else remedy
        return Diverged(
            f"restart {index} diverged after {step} steps: at {where} the function is {value:.6g} "
            f"and its gradient ({gradient}); {remedy}",
            index,
            step,
        )


def _limits(bounds: Any, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return low and high, one of each for every variable; infinite where there are no bounds."""
    shape = (len(names), 2)
    array = real_array(_closed(bounds), "bounds").astype(np.float64)
    if array.shape not in ((2,), shape):
        raise InvalidInput(
            f"bounds must be one pair (low, high), or {len(names)} of them for "
            f"{', '.join(names)}, not of shape {array.shape}"
        )
    array = np.broadcast_to(array, shape)
    for name, (low, high) in zip(names, array, strict=True):
        if not low <= high:  # NaN included
            raise InvalidInput(f"bounds of {name} must be (low, high), not ({low:g}, {high:g})")
    return array[:, 0].copy(), array[:, 1].copy()


def _closed(bounds: Any) -> Any:
    """Return bounds with infinite numbers for None: for both, for a pair, or within a pair."""
    if bounds is None:
        return -math.inf, math.inf
    if not isinstance(bounds, (tuple, list)):
        return bounds
    if len(bounds) == 2 and not any(isinstance(each, (tuple, list)) for each in bounds):
        if all(each is None or np.ndim(each) == 0 for each in bounds):
            infinite = -math.inf, math.inf
            return tuple(i if b is None else b for b, i in zip(bounds, infinite, strict=True))
    return [_closed(each) for each in bounds]


def _starts(
    start: Any,
    low: np.ndarray,
    high: np.ndarray,
    restarts: int,
    generator: np.random.Generator,
    names: tuple[str, ...],
) -> np.ndarray:
    """Return the points to start from, (restarts, n)."""
    drawn = restarts if start is None else restarts - 1
    if drawn and not (np.isfinite(low).all() and np.isfinite(high).all()):
        need = "start=None" if start is None else f"restarts={restarts}"
        raise InvalidInput(
            f"{need} draws starting points, so bounds must be finite: give bounds=(low, high)"
            + (", or a start" if start is None else ", or restarts=1")
        )
    points = np.empty((restarts, len(names)))
    if start is not None:
        first = np.atleast_1d(real_array(start, "start")).astype(np.float64)
        if first.shape != (len(names),):
            raise InvalidInput(
                f"start must be {len(names)} numbers, one for each of {', '.join(names)}, "
                f"not of shape {first.shape}"
            )
        for name, each, least, most in zip(names, first, low, high, strict=True):
            if not (math.isfinite(each) and least <= each <= most):
                raise InvalidInput(
                    f"start has {name} = {each:g}, which must be a finite number within the bounds "
                    f"({least:g}, {most:g})"
                )
        points[0] = first
    points[restarts - drawn :] = generator.uniform(low, high, (drawn, len(names))) if drawn else 0
    return points
