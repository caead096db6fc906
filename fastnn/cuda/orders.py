"""Shuffling on a device, one thread an order: for networks that each have an order of their own."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastnn.cuda.device import SIMULATED, U, cuda, kernel, launch
from fastnn.keys import FIRST_FACTOR, GAMMA, SECOND_FACTOR

THREADS = 1 if SIMULATED else 32


@cache
def _make_kernel() -> Any:
    u64 = np.uint64
    gamma, first, second = u64(GAMMA), u64(FIRST_FACTOR), u64(SECOND_FACTOR)
    s30, s27, s31, s11 = u64(30), u64(27), u64(31), u64(11)

    def shuffle(keys, orders):
        run = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if run < len(keys):
            key, order = keys[U(run)], orders[U(run)]
            for i in range(len(order)):
                order[U(i)] = i
            for i in range(len(order) - 1, 0, -1):
                z = u64(key) + u64(i) * gamma
                z = (z ^ (z >> s30)) * first
                z = (z ^ (z >> s27)) * second
                z = (z ^ (z >> s31)) >> s11
                j = int(np.float64(z) * 2.0**-53 * (i + 1))
                there = order[U(j)]
                order[U(j)] = order[U(i)]
                order[U(i)] = there

    return kernel(shuffle)


def make_orders(keys: np.ndarray, n: int, stream: Any) -> Any:
    """Return the order of each key, int32 (keys, n) on the device, as `fastnn.orders` defines it.

    Parameters
    ----------
    keys
        uint64 (keys,): `fastnn.orders.order_key` of each.
    n
        Rows.
    stream
        Where to put the work; nothing waits.
    """
    orders = cuda.device_array((len(keys), n), np.int32, stream=stream)
    placed = cuda.to_device(keys, stream=stream)
    launch(_make_kernel(), -(-len(keys) // THREADS), THREADS, stream, 0, placed, orders)
    return orders
