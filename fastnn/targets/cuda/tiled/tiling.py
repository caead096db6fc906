"""Into which tiles a matrix product is cut: the tiles to choose from, and what each would take."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastnn.targets.cuda.host.costs import product_clocks
from fastnn.targets.cuda.host.numba_cuda import Limits
from fastnn.targets.cuda.tiled import tensor_cores
from fastnn.targets.cuda.tiled.core import Tile
from fastnn.targets.cuda.tiled.gemm import shared_bytes


def large_tile(precision: str = "float32") -> Tile:
    """Return the tile that keeps a device busiest, where a product has enough of them."""
    if precision == "float32":
        return Tile(128, 128, 8, 8, 8)
    # Sixteen words deep, which takes 60 KB: half the barriers of eight words, and what is read at
    # the second half of them is read while the first half is multiplied. On an H200 a tenth sooner
    # than two blocks of half as many rows, which read more.
    return Tile(256, 128, 16 * tensor_cores.NUMBERS[precision], 8, 16)


def tiles_for(dtype: np.dtype[Any], precision: str = "float32") -> list[Tile]:
    """Return the tiles to choose from, the large one first; small ones busy more SMs.

    The last one is for long sums: eight warps share the depth, in float64 four.
    """
    large = large_tile(precision)
    if precision == "float32":
        groups = 32 // dtype.itemsize
        long = Tile(32, 16, 16 * groups, 4, 4, groups)
        return [large, Tile(64, 64, 16, 4, 4), Tile(32, 32, 32, 4, 4), long]
    return [large, Tile(64, 32, large.depth, 4, 4), Tile(32, 16, 8 * large.depth, 4, 4, 8)]


def small_tile(precision: str = "float32", groups: int = 1) -> Tile:
    """Return a tile of few threads, for the simulator: four a group, or a warp on tensor cores."""
    if precision == "float32":
        return Tile(8, 8, 4 * groups, 4, 4, groups)
    return Tile(32, 16, 8 * tensor_cores.NUMBERS[precision] * groups, 4, 4, groups)


def tiles(m: int, n: int, tile: Tile) -> int:
    """Return how many blocks a product with m rows and n columns takes."""
    return -(-m // tile.rows) * -(-n // tile.columns)


def bounds_of(dtype: np.dtype[Any], tile: Tile) -> tuple[int, int]:
    """Return the `launch_bounds` of a kernel: its threads, and how many blocks an SM should hold.

    Two, so that one multiplies while the other waits at its barrier, where a thread's sums leave
    registers enough: 65536 of them are there, 128 for each of 512 threads.
    """
    sums = tile.row_values * tile.column_values * dtype.itemsize // 4
    return tile.threads, 2 if sums * tile.threads <= 64 * 256 else 1


def clocks(
    tile: Tile, m: int, n: int, k: int, dtype: np.dtype[Any], precision: str, sms: int
) -> float:
    """Return about what the product of (m, k) by (k, n) takes in such tiles."""
    return product_clocks(
        blocks=-(-tiles(m, n, tile) // sms),
        turns=-(-k // tile.depth),
        products=tile.rows * tile.columns * tile.depth,
        sums=tile.row_values * tile.column_values,
        kind=dtype.name if precision == "float32" else precision,
    )


@cache
def best_tile(
    m: int, n: int, k: int, dtype: np.dtype[Any], precision: str, limits: Limits
) -> tuple[Tile, float]:
    """Return the tile with which the product of (m, k) by (k, n) takes least, and how many clocks.

    Only tiles that fit into a device's shared memory count.
    """
    able = [
        tile
        for tile in tiles_for(dtype, precision)
        if shared_bytes(dtype, precision, tile) <= limits.shared_bytes
    ]
    found = {tile: clocks(tile, m, n, k, dtype, precision, limits.sms) for tile in able}
    best = min(able, key=found.__getitem__)
    return best, found[best]
