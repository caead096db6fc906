"""Functions that only compiled code calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

# What Numba would put around them for Python and for C.
_ALONE: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def njit(**options: Any) -> Callable[[Any], Any]:
    """Compile as `numba.njit` does, without what calls from outside need."""
    return numba.njit(**{**_ALONE, **options})
