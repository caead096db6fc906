"""Keys of the counter-based random numbers: one for each use, layer and epoch."""

from __future__ import annotations

import numpy as np


def _splitmix64(x: int) -> int:
    mask = (1 << 64) - 1
    z = (x + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def random_keys(seed: int, epochs: range, count: int) -> np.ndarray:
    """Return `count` keys of random numbers for each epoch, (epochs, count): bits of a uint64.

    One a layer for the dropout of its inputs, then one a layer for the slopes of rrelu.
    """
    mask, start = (1 << 64) - 1, _splitmix64(seed)
    bases = [_splitmix64((start + epoch) & mask) for epoch in epochs]
    keys = [[_splitmix64((base + each) & mask) | 1 for each in range(count)] for base in bases]
    return np.array(keys, np.uint64).view(np.int64)
