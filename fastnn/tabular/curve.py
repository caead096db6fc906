"""A curve of straight lines between knots, whatever the sizes of the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

_LEAST_GAP = 1e-300  # between knots, with which no slope of a curve of scores overflows


def interpolated(values: np.ndarray, x: Any, y: Any) -> np.ndarray:
    """Return ``np.interp(values, x, y)``, also where its slopes or differences would overflow.

    >>> largest = np.finfo(np.float64).max
    >>> interpolated(np.array([1.5, largest]), [1.0, 2.0, largest], [0.0, 1.0, 2.0])
    array([0.5, 2. ])
    >>> interpolated(np.array([5e-324, 0.0, 1.0]), [-largest, 0.0, 1e-323, 1.0], [0, 1, 2, 3])
    array([1.5, 1. , 3. ])

    Parameters
    ----------
    values
        (n,), finite or infinite.
    x
        The knots, at least one, increasing and finite.
    y
        What the curve is there, and beyond the ends at the end.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) < 2:
        return np.interp(values, x, y)
    with np.errstate(over="ignore"):
        gaps = np.diff(x)
        if gaps.min() > _LEAST_GAP and np.isfinite(x[-1] - x[0]):
            return np.interp(values, x, y)
    values = np.clip(values, x[0], x[-1])
    place = np.searchsorted(x[1:-1], values, "right")
    low, high = x[place], x[place + 1]
    unit = np.where(np.isfinite(gaps), 1.0, 0.5)[place]
    share = (unit * values - unit * low) / (unit * high - unit * low)
    found: np.ndarray = y[place] + share * (y[place + 1] - y[place])
    return found
