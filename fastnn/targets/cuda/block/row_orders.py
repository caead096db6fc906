"""Shuffling on a device: for networks that each go through the rows in an order of their own.

An order is made by one thread, swap by swap, for each swap moves what the next one may find. So it
lies in shared memory meanwhile, where a swap takes tens of clocks and not a thousand, if it fits.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import int32, uint16

from fastnn.random.keys import FIRST_FACTOR, GAMMA, SECOND_FACTOR
from fastnn.targets.cuda.device.teams import copy
from fastnn.targets.cuda.host.launching import launch
from fastnn.targets.cuda.host.numba_cuda import SIMULATED, U, cuda, inner, kernel, limits

WARP = 1 if SIMULATED else 32
THREADS = 2 if SIMULATED else 128
AT_ONCE = 4 if SIMULATED else 512  # swaps between two barriers
ROW_BYTES, MOST_ROWS = 2, 1 << 16  # of an order in shared memory
# Draws in shared memory: those of the swaps under way, and the next ones. Behind each half is one
# that is read and not used; both are a multiple of 16 bytes, to which they would be filled up.
HALF = AT_ONCE + 2
DRAWS = 2 * HALF
# Swaps of a launch where an order lies in global memory: a tenth of a second, since Ctrl-C waits
# for it, and some drivers end what takes two.
FAR_SWAPS = 1 << 17


def _make_draw() -> Any:
    """Return ``draw(key, i)``: with which of the rows 0..i row i changes places."""
    u64 = np.uint64
    gamma, first, second = u64(GAMMA), u64(FIRST_FACTOR), u64(SECOND_FACTOR)
    s30, s27, s31, s11 = u64(30), u64(27), u64(31), u64(11)

    @inner
    def draw(key, i):
        z = u64(key) + u64(i) * gamma
        z = (z ^ (z >> s30)) * first
        z = (z ^ (z >> s27)) * second
        z = (z ^ (z >> s31)) >> s11
        return int(np.float64(z) * 2.0**-53 * (i + 1))

    return draw


@cache
def make_kernel(resident: bool) -> Any:
    """Return the kernel of an order, whole or in parts.

    `resident`: ``shuffle_near(keys, orders)``, with a block for each order, which has 2 bytes of
    shared memory a row. Else ``shuffle_far(keys, orders, row, count)``, with a thread for each,
    where it lies: `count` swaps, from that of `row` down. That of the last row comes first.
    """
    draw = _make_draw()

    @inner
    def draw_some(draws, key, half, last, me, team):
        """Draw for the swaps of row `last` and those before it, into one half of `draws`."""
        d = me
        while d < AT_ONCE and last - d > 0:
            draws[U(half * HALF + d)] = draw(key, last - d)
            d += team

    def shuffle_near(keys, orders):
        me, team, run = cuda.threadIdx.x, cuda.blockDim.x, cuda.blockIdx.x
        rows = cuda.shared.array(0, uint16)
        draws = cuda.shared.array(DRAWS, int32)
        key, order, n = keys[U(run)], orders[U(run)], orders.shape[1]
        i = me
        while i < n:
            rows[U(i)] = i
            i += team
        draw_some(draws, key, 0, n - 1, me, team)
        cuda.syncthreads()
        half, last = 0, n - 1
        while last > 0:
            if me == 0:
                following = draws[U(half * HALF)]
                for d in range(min(AT_ONCE, last)):
                    i, j = last - d, following
                    following = draws[U(half * HALF + d + 1)]  # on its way meanwhile
                    there, here = rows[U(j)], rows[U(i)]
                    rows[U(j)] = here
                    rows[U(i)] = there
            elif me >= WARP:  # the threads beside the first one would make it wait
                draw_some(draws, key, 1 - half, last - AT_ONCE, me - WARP, team - WARP)
            cuda.syncthreads()
            half, last = 1 - half, last - AT_ONCE
        copy(order, 0, rows, 0, n, me, team)

    def shuffle_far(keys, orders, row, count):
        run = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if run < len(keys):
            key, order = keys[U(run)], orders[U(run)]
            if row == len(order) - 1:
                for i in range(len(order)):
                    order[U(i)] = i
            for i in range(row, max(row - count, 0), -1):
                j = draw(key, i)
                there = order[U(j)]
                order[U(j)] = order[U(i)]
                order[U(i)] = there

    return kernel(shuffle_near if resident else shuffle_far)


def shared_bytes(n: int) -> int:
    """Return the bytes of shared memory that an order of `n` rows is made in, 0 where not in it."""
    fits = n <= MOST_ROWS and n * ROW_BYTES + 4 * DRAWS <= limits().shared_bytes
    return n * ROW_BYTES if fits else 0


def make_orders(keys: np.ndarray, n: int, stream: Any) -> Any:
    """Return the order of each key, int32 (keys, n) on the device; see `epoch_order`.

    Parameters
    ----------
    keys
        uint64 (keys,): `fastnn.random.row_orders.order_key` of each.
    n
        Rows.
    stream
        Where to put the work; nothing waits.
    """
    orders = cuda.device_array((len(keys), n), np.int32, stream=stream)
    placed = cuda.to_device(keys, stream=stream)
    shared = shared_bytes(n)
    shuffle = make_kernel(shared > 0)
    if shared:
        launch(shuffle, len(keys), THREADS, stream, shared, placed, orders)
        return orders
    blocks = -(-len(keys) // WARP)
    for row in range(n - 1, -1, -FAR_SWAPS):
        launch(shuffle, blocks, WARP, stream, 0, placed, orders, row, FAR_SWAPS)
    return orders
