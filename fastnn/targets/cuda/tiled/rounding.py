"""What tensor cores do to a float32 number, in NumPy: for the simulator, and to test against.

A number becomes tf32 (10 bits behind the point, ties away from zero) or bfloat16 (7, ties to even);
either keeps float32's exponents, infinity and NaN. They lie in 32-bit words as
`fastnn.targets.cuda.tiled.tensor_cores` has them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def rounded(precision: str, numbers: Array) -> Array:
    """Return float32 numbers rounded to "tf32" or "bfloat16", as float32."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    if precision == "tf32":
        found = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    else:
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        found = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)
    # A carry would run from the bits of a NaN into its exponent.
    return np.where(np.isnan(numbers), np.float32(np.nan), found.view(np.float32))


def words_of(precision: str, numbers: Array) -> Array:
    """Return words, as float32 of the same bits, for rows of the numbers that one word holds."""
    bits = rounded(precision, numbers).view(np.uint32)
    if precision == "tf32":
        return bits[:, 0].view(np.float32)
    return (bits[:, 0] >> np.uint32(16) | bits[:, 1]).view(np.float32)


def numbers_of(precision: str, words: Array, places: Array, count: int) -> Array:
    """Return the numbers in the `count` words from each of `places` on, along a last axis."""
    bits = words.view(np.uint32)[places[..., None] + np.arange(count)]
    if precision == "bfloat16":
        halves = np.stack([bits << np.uint32(16), bits & np.uint32(0xFFFF0000)], axis=-1)
        bits = halves.reshape(*places.shape, 2 * count)
    return bits.view(np.float32)
