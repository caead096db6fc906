"""The order of rows of epochs, by compiled code; see `fastnn.random.row_orders` for what it is."""

from __future__ import annotations

import numpy as np

from fastnn.random.row_orders import order_key
from fastnn.sanitizer import CHECKED
from fastnn.sanitizer.table import checked_arrays
from fastnn.storage.kernels.loading import entry


def make_orders(seed: int, epochs: range, n: int) -> np.ndarray:
    """Return the orders of some epochs, int64 (len(epochs), n), without Python's lock meanwhile."""
    keys = np.array([order_key(seed, epoch) for epoch in epochs], np.uint64).view(np.int64)
    orders = np.empty((len(keys), n), np.int64)
    shuffle = checked_arrays(entry("shuffle")) if CHECKED else entry("shuffle")
    shuffle(keys, len(keys), orders, n)
    return orders
