"""Keys of many epochs at once: the numbers of `fastnn.random.keys`, by arrays."""

from __future__ import annotations

import numpy as np

from fastnn.random.keys import FIRST_FACTOR, GAMMA, SECOND_FACTOR, WORD, splitmix64

_FEW = 32  # epochs whose keys take less time in Python's numbers


def random_keys(seed: int, epochs: range, use: int) -> np.ndarray:
    """Return what `random_key` does for each of some epochs that follow one another, uint64."""
    of_seed = splitmix64(seed)
    if len(epochs) < _FEW:
        mixes = [splitmix64((of_seed + epoch) % WORD) for epoch in epochs]
        return np.array([splitmix64((mix + use) % WORD) for mix in mixes], np.uint64)
    # uint64 arrays wrap around, as splitmix64 does.
    first = np.uint64((of_seed + epochs.start + GAMMA) % WORD)
    of_epochs = mixed(first + np.arange(len(epochs), dtype=np.uint64))
    return mixed(of_epochs + np.uint64((use + GAMMA) % WORD))


def layer_keys(seed: int, epochs: range, count: int) -> np.ndarray:
    """Return `count` keys of random numbers for each epoch, odd, uint64 (epochs, count).

    One a layer for the dropout of its inputs, then one a layer for the slopes of rrelu.
    """
    keys = np.zeros((len(epochs), count), np.uint64)
    for use in range(count):
        keys[:, use] = random_keys(seed, epochs, use) | np.uint64(1)
    return keys


def mixed(z: np.ndarray) -> np.ndarray:
    """Return the mix that ends splitmix64 of each number, uint64."""
    z = (z ^ z >> np.uint64(30)) * np.uint64(FIRST_FACTOR)
    z = (z ^ z >> np.uint64(27)) * np.uint64(SECOND_FACTOR)
    return z ^ z >> np.uint64(31)
