"""Shuffling, as `fastnn.orders.epoch_order` defines it: a fifth of the time NumPy takes for it."""

from __future__ import annotations

from functools import partial

import numpy as np

from fastnn.kernel_cache import cached
from fastnn.keys import FIRST_FACTOR, GAMMA, SECOND_FACTOR
from fastnn.orders import order_key
from fastnn.pool import uninterrupted
from fastnn.sanitizer import CHECKED
from fastnn.sanitizer.table import checked_arrays

U = np.uint64
_GAMMA, _FIRST, _SECOND = U(GAMMA), U(FIRST_FACTOR), U(SECOND_FACTOR)
_30, _27, _31, _11 = U(30), U(27), U(31), U(11)


@cached
def _shuffle(keys, orders):
    """Write the order of each key, int64 (epochs,), into a row of `orders`, int64 (epochs, n)."""
    for epoch in range(len(keys)):
        e, key = U(epoch), U(keys[epoch])
        for i in range(orders.shape[1]):
            orders[e, U(i)] = i
        for i in range(orders.shape[1] - 1, 0, -1):
            z = key + U(i) * _GAMMA
            z = (z ^ (z >> _30)) * _FIRST
            z = (z ^ (z >> _27)) * _SECOND
            z = (z ^ (z >> _31)) >> _11
            j = U(np.int64(z) * 2.0**-53 * (i + 1))
            there = orders[e, j]
            orders[e, j] = orders[e, U(i)]
            orders[e, U(i)] = there


_call = checked_arrays(_shuffle) if CHECKED else _shuffle


def make_orders(seed: int, epochs: range, n: int) -> np.ndarray:
    """Return the orders of some epochs, int64 (len(epochs), n), without Python's lock meanwhile."""
    keys = np.array([order_key(seed, epoch) for epoch in epochs], np.uint64).view(np.int64)
    orders = np.empty((len(keys), n), np.int64)
    if not getattr(_shuffle, "overloads", True):  # not compiled yet
        uninterrupted(partial(_shuffle, keys[:0], orders))
    _call(keys, orders)
    return orders
