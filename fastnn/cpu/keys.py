"""Keys of the counter-based random numbers: one for each use, layer and epoch."""

from __future__ import annotations

import numpy as np

from fastnn.keys import random_key


def random_keys(seed: int, epochs: range, count: int) -> np.ndarray:
    """Return `count` keys of random numbers for each epoch, (epochs, count): bits of a uint64.

    One a layer for the dropout of its inputs, then one a layer for the slopes of rrelu.
    """
    keys = [[random_key(seed, epoch, use) | 1 for use in range(count)] for epoch in epochs]
    return np.array(keys, np.uint64).view(np.int64)
