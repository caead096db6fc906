"""The keys of dropout's random numbers."""

from __future__ import annotations

import numpy as np


def _splitmix64(x: int) -> int:
    mask = (1 << 64) - 1
    z = (x + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def dropout_keys(seed: int, epochs: range, layers: int) -> np.ndarray:
    """Return a key for each epoch and layer, (epochs, layers): bits of a uint64 in an int64."""
    mask, start = (1 << 64) - 1, _splitmix64(seed)
    bases = [_splitmix64((start + epoch) & mask) for epoch in epochs]
    keys = [[_splitmix64((base + layer) & mask) | 1 for layer in range(layers)] for base in bases]
    return np.array(keys, np.uint64).view(np.int64)
