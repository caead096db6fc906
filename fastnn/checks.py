"""Checks that settings share: whole numbers and numbers, in their ranges."""

from __future__ import annotations

import contextlib
import math
from numbers import Integral, Real
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput

MOST = 2**53  # of a count: float64 has every whole number up to there


def whole(value: Any, what: str, minimum: int, maximum: float = MOST) -> int:
    """Return `value` as an int from `minimum` to `maximum`, or raise `InvalidInput`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise InvalidInput(
            f"{what} must be a whole number of at least {minimum}, not {shown(value)}"
        )
    if int(value) > maximum:
        raise InvalidInput(f"{what} must be at most {maximum}, not {shown(value)}")
    return int(value)


def shown(value: Any) -> str:
    """Return how messages show what was given: its `repr`, if it has one that is not too long."""
    try:
        text = repr(value)
    except Exception:  # Python writes no whole numbers of thousands of digits
        kind = "whole number" if isinstance(value, Integral) else type(value).__name__
        return f"a {kind} too long to be shown"
    return text if len(text) <= 200 else f"{text[:200]}..."


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
        f"{what} must be a finite number in {left}{low:g}, {high:g}{right}, not {shown(value)}"
    )
