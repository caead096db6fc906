"""The order of rows of epochs, by compiled code; see `fastnn.random.row_orders` for what it is."""

from __future__ import annotations

import numpy as np

from fastnn.random.windows import orders_of
from fastnn.sanitizer import CHECKED
from fastnn.sanitizer.table import checked_arrays
from fastnn.storage.kernels.loading import entry


def shuffled(keys: np.ndarray, n: int) -> np.ndarray:
    """Return what `row_orders.shuffled` does, without Python's lock meanwhile."""
    orders = np.empty((len(keys), n), np.int64)
    shuffle = checked_arrays(entry("shuffle")) if CHECKED else entry("shuffle")
    shuffle(keys.view(np.int64), len(keys), orders, n)
    return orders


def make_orders(seed: int, epochs: range, n: int, window: int | None = None) -> np.ndarray:
    """Return the orders of some epochs, int64 (len(epochs), n), as `windows.orders_of` does."""
    return orders_of(seed, epochs, n, window, shuffled)
