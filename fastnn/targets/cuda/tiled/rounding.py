"""Numbers as tensor cores take them, in NumPy: for the simulator, and to test against.

They are rounded as `fastnn.rules.rounding` says, and lie in 32-bit words as
`fastnn.targets.cuda.tiled.tensor_cores` has them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.rules.rounding import rounded

Array = np.ndarray[Any, Any]


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
