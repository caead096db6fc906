"""The order of the rows in each epoch: the definition, which the targets compute at their speed."""

from __future__ import annotations

import numpy as np

from fastnn.random.keys import GAMMA, ORDER, random_key
from fastnn.random.many_keys import mixed


def order_key(seed: int, epoch: int) -> int:
    """Return the key that an epoch is shuffled with, below 2**64."""
    return random_key(seed, epoch, ORDER)


def epoch_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """Return the shuffled rows 0..n-1 of epoch `epoch`, int64 (n,); `shuffled` has the formula."""
    return shuffled(np.array([order_key(seed, epoch)], np.uint64), n)[0]


def shuffled(keys: np.ndarray, n: int) -> np.ndarray:
    """Return the numbers 0..n-1 in the order of each key, int64 (keys, n), from uint64 (keys,).

    Fisher and Yates' shuffle (Durstenfeld 1964, Algorithm 235): for i = n - 1, ..., 1 swap the rows
    at i and at j = floor(u_i (i + 1)). u_i is a multiple of 2^-53 in [0, 1): the high bits of
    number i of splitmix64 from the key, so every target draws the same, in any order. (The
    product stays below i + 1 however it is rounded: 1 - 2^-53 is far enough from 1.)
    """
    orders = np.empty((len(keys), n), np.int64)
    i = np.arange(n - 1, 0, -1)
    for key, result in zip(keys, orders, strict=True):
        u = mixed(key + i.astype(np.uint64) * np.uint64(GAMMA)) >> np.uint64(11)
        j = (u * 2.0**-53 * (i + 1)).astype(np.int64)
        order = list(range(n))
        for here, there in zip(i.tolist(), j.tolist(), strict=True):
            order[here], order[there] = order[there], order[here]
        result[:] = order
    return orders
