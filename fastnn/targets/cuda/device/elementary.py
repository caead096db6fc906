"""exp, log, tanh and their kin on a device: libdevice's, in single or double precision.

Errors are those of the CUDA Math API (CUDA C++ Programming Guide, Mathematical Functions): at most
2 ulp for what is used here. The simulator takes NumPy's.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.targets.cuda.host.numba_cuda import SIMULATED, U, inner


@inner
def top_of(act, at, n):
    """Return the largest of n numbers, or NaN if there is one."""
    top = act[U(at)]
    for j in range(1, n):
        z = act[U(at + j)]
        top = z if z > top or z != z else top
    return top


def make_elementary(dtype: np.dtype) -> SimpleNamespace:
    """Return the elementary functions for float32 or float64 as device functions.

    normal_cdf(z) = erfc(-z / sqrt(2)) / 2, which keeps its relative accuracy in the lower tail.
    """
    real = dtype.type
    half, root_half = real(0.5), real(math.sqrt(0.5))
    m = _simulated(real) if SIMULATED else _compiled()
    erfc = m.erfc

    @inner
    def normal_cdf(z):
        return half * erfc(-z * root_half)

    m.normal_cdf = normal_cdf
    return m


def _compiled() -> SimpleNamespace:
    # Numba resolves these to the function of the argument's type. Each has a wrapper, because a
    # rule captures what it calls, and Numba captures functions but not those of `math`.
    def wrap(name: str) -> Any:
        function = getattr(math, name)

        def call(x):
            return function(x)

        return inner(call)

    names = ("exp", "expm1", "log", "log1p", "tanh", "sqrt", "erf", "erfc", "sin", "cos")
    return SimpleNamespace(**{name: wrap(name) for name in names})


def _simulated(real: Any) -> SimpleNamespace:
    def python(name: str) -> Any:
        function = getattr(math, name)
        return lambda x: real(function(float(x)))

    names = ("exp", "expm1", "log", "log1p", "tanh", "sqrt", "sin", "cos")
    return SimpleNamespace(
        **{name: getattr(np, name) for name in names}, erf=python("erf"), erfc=python("erfc")
    )
