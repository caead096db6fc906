"""Numbers in deviations from a mean and back, also where they are as large as numbers can be."""

from __future__ import annotations

from typing import Any

import numpy as np


def mean_and_deviation(numbers: np.ndarray) -> tuple[float, float]:
    """Return the mean and the standard deviation of some numbers, of which no square overflows.

    >>> mean_and_deviation(np.array([1.5e308, -1.5e308]))
    (0.0, 1.5e+308)
    """
    largest = float(np.abs(numbers).max()) or 1.0
    scaled = numbers / largest
    return float(scaled.mean()) * largest, float(scaled.std()) * largest


def in_deviations(numbers: np.ndarray, mean: Any, scale: float) -> np.ndarray:
    """Return ``(numbers - mean) / scale``, float64, of which no difference overflows.

    >>> in_deviations(np.array([1.5e308, -1.5e308]), -0.5e308, 1e308)
    array([ 2., -1.])
    """
    with np.errstate(over="ignore"):
        found: np.ndarray = (numbers - mean) / scale
        if not np.isfinite(found).all():
            found = (numbers / 2 - mean / 2) / (scale / 2)
    return found


def of_deviations(deviations: np.ndarray, mean: float, scale: float) -> np.ndarray:
    """Return ``deviations * scale + mean``, float64; the largest number for what is beyond it.

    >>> of_deviations(np.array([2.0, -1.0, 9.0]), -0.5e308, 1e308)
    array([ 1.50000000e+308, -1.50000000e+308,  1.79769313e+308])
    """
    with np.errstate(over="ignore"):
        found: np.ndarray = deviations * scale + mean
        if not np.isfinite(found).all():
            most = np.finfo(np.float64).max / 2
            found = 2 * np.clip(deviations * (scale / 2) + mean / 2, -most, most)
    return found
