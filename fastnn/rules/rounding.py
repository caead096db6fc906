"""What factors of products become where products are of less than float32, in NumPy.

A number becomes tf32 (10 bits behind the point, ties away from zero) or bfloat16 (7, ties to even);
either keeps float32's exponents, infinity and NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def rounded(precision: str, numbers: Array) -> Array:
    """Return float32 numbers rounded to "tf32" or "bfloat16", as float32.

    >>> rounded("bfloat16", np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8], np.float32)).tolist()
    [1.0, 1.0, 1.015625]
    """
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    if precision == "tf32":
        found = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    else:
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        found = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)
    # A carry would run from the bits of a NaN into its exponent.
    return np.where(np.isnan(numbers), np.float32(np.nan), found.view(np.float32))
