"""Checks that settings share: whole numbers and numbers, in their ranges."""

from __future__ import annotations

import contextlib
import math
from numbers import Integral, Real
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput


def whole(value: Any, what: str, minimum: int) -> int:
    """Return `value` as an int of at least `minimum`, or raise `InvalidInput`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise InvalidInput(f"{what} must be a whole number of at least {minimum}, not {value!r}")
    return int(value)


def number(
    value: Any,
    what: str,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return `value` as a finite float in the range, or raise `InvalidInput` naming the range."""
    found = math.nan  # which lies in no range
    if isinstance(value, Real) and not isinstance(value, (bool, np.bool_)):
        with contextlib.suppress(OverflowError):  # a whole number or a fraction beyond any float
            found = float(value)
    inside = (
        math.isfinite(found)
        and (low < found if open_low else low <= found)
        and (found < high if open_high else found <= high)
    )
    if inside:
        return found
    left = "(" if open_low or low == -math.inf else "["
    right = ")" if open_high or high == math.inf else "]"
    raise InvalidInput(
        f"{what} must be a finite number in {left}{low:g}, {high:g}{right}, not {value!r}"
    )
