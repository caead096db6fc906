"""Counter-based random numbers on a device: the same as `fastnn.targets.numpy.layers` defines."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from fastnn.rules.activations import RRELU_HIGH, RRELU_LOW
from fastnn.targets.cuda.host.numba_cuda import inner, named


def make_random(dtype: np.dtype) -> SimpleNamespace:
    """Return the draws for one dtype.

    keeps(key, position, threshold) -> whether an input is kept;  slope(key, position) -> a slope of
    rrelu. `position` is row width + column, rows counted over the epoch.
    """
    real, u64 = dtype.type, np.uint64
    shift = u64(32)
    low, range_ = RRELU_LOW, RRELU_HIGH - RRELU_LOW
    scale = 2.0**-32

    @inner
    def squares32(key, position):
        """Return 32 random bits (Widynski 2020, "Squares", four rounds)."""
        y = u64(position) * u64(key)
        z = y + u64(key)
        x = y * y + y
        x = (x >> shift) | (x << shift)
        x = x * x + z
        x = (x >> shift) | (x << shift)
        x = x * x + y
        x = (x >> shift) | (x << shift)
        return (x * x + z) >> shift

    @inner
    def keeps(key, position, threshold):
        return squares32(key, position) >= u64(threshold)

    @inner
    def slope(key, position):
        return real(low + range_ * (np.float64(squares32(key, position)) * scale))

    return named(keeps, slope)
