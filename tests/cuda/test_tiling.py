"""Into which tiles products are cut: for devices that need not be there."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="no numba_cuda here: pip install numba-cuda[cu13]"
)
KINDS = ["float32", "float64", "tf32", "bfloat16"]


def chosen(kind: str, shape: tuple[int, int, int], shared_bytes: int = 227 << 10) -> Any:
    """Return the tile that a product of this shape gets."""
    from fastnn.targets.cuda.host.numba_cuda import Limits
    from fastnn.targets.cuda.tiled.tiling import best_tile

    dtype = np.dtype("float64" if kind == "float64" else "float32")
    precision = kind if kind in ("tf32", "bfloat16") else "float32"
    limits = Limits("a device", 132, shared_bytes, (9, 0))
    return best_tile(*shape, dtype, precision, limits)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_large_products_get_the_large_tile(kind: str) -> None:
    from fastnn.targets.cuda.tiled.tiling import large_tile

    tile = chosen(kind, (4096, 2048, 2048))
    precision = kind if kind in ("tf32", "bfloat16") else "float32"
    assert tile == large_tile(precision)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(4096, 10, 2048), (2048, 10, 4096), (64, 128, 784)])
def test_a_long_way_through_few_sums_is_shared(kind: str, shape: tuple[int, int, int]) -> None:
    assert chosen(kind, shape).groups > 1


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_tile_fits_into_shared_memory(kind: str) -> None:
    assert chosen(kind, (4096, 10, 2048), 48 << 10).groups == 1


def test_square_layers_cost_what_their_neighbours_cost() -> None:
    from fastnn.inputs.problem import Problem
    from fastnn.network import SGD, Dense, Network
    from fastnn.targets.cuda.host.numba_cuda import Limits
    from fastnn.targets.cuda.tiled.family import Tiled

    def seconds(units: int) -> float:
        network = Network(784, [Dense(units, "relu"), Dense(units)])
        problem = Problem(network, "mse", SGD(0.1), 4096, 0.0, 0.0, "float32", 0)
        return Tiled.seconds(problem, Limits("a device", 132, 227 << 10, (9, 0)))

    assert 0.97 < seconds(784) / seconds(788) <= 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_are_whole_warps_and_few_enough_threads(kind: str) -> None:
    from fastnn.targets.cuda.tiled.tiling import bounds_of, tiles_for

    dtype = np.dtype("float64" if kind == "float64" else "float32")
    precision = kind if kind in ("tf32", "bfloat16") else "float32"
    for tile in tiles_for(dtype, precision):
        assert tile.team % 32 == 0 and tile.threads <= 1024
        assert tile.threads * bounds_of(dtype, tile)[1] <= 2048
