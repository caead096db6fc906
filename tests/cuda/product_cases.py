"""Run the block-level matrix product on operands that lie between NaN, for the tests."""

from __future__ import annotations

from functools import cache
from typing import Any

import cubin
import numpy as np
import pytest

SPECIFICATION = {
    "nn": lambda a, b: a @ b,
    "nt": lambda a, b: a @ b.T,
    "tn": lambda a, b: a.T @ b,
}
# Of products whose groups of threads share the depth: every kind, and every form of either core.
IN_GROUPS = [
    ("float32", "nn"),
    ("float32", "tn"),
    ("float64", "nt"),
    ("tf32", "nt"),
    ("bfloat16", "nn"),
    ("bfloat16", "tn"),
]


def operands(form: str, dtype: np.dtype[Any], shape: tuple[int, int, int]) -> Any:
    """Return random matrices of the shapes that a form takes for m, n and k."""
    m, n, k = shape
    random = np.random.default_rng([m, n, k])
    a = random.standard_normal((k, m) if form == "tn" else (m, k))
    b = random.standard_normal((n, k) if form == "nt" else (k, n))
    return a.astype(dtype), b.astype(dtype)


def product(form: str, a: Any, b: Any) -> Any:
    """Return what a form stands for."""
    with np.errstate(all="ignore"):
        return SPECIFICATION[form](a, b)


def place(memory: list[Any], matrix: Any) -> tuple[int, int]:
    """Lay a matrix behind what `memory` has: rows padded by zeros, NaN around it."""
    length = 16 // matrix.dtype.itemsize
    rows, columns = matrix.shape
    padded = np.zeros((rows, -(-columns // length) * length), matrix.dtype)
    padded[:, :columns] = matrix
    guard = np.full(4 * length, np.nan, matrix.dtype)
    start = sum(map(len, memory)) + len(guard)
    memory += [guard, padded.ravel(), guard]
    return start, padded.shape[1]


def make_kernel(form: str, dtype: np.dtype[Any], precision: str, tile: Any) -> Any:
    """Return the Python function of a kernel that stores a product where `words` says."""
    from fastnn.targets.cuda.host.numba_cuda import U, inner
    from fastnn.targets.cuda.tiled.gemm import make_gemm

    @inner
    def begin(context, layer):
        memory, words, numbers = context
        return memory, words[U(layer), U(0)], words[U(layer), U(1)], dtype.type(numbers[U(0)])

    @inner
    def store(begun, row, column, value):
        memory, start, leading, added = begun
        memory[U(start + row * leading + column)] += value + added

    @inner
    def store4(begun, row, column, values, count):
        store(begun, row, column, values[0])
        if count > 1:
            store(begun, row, column + 1, values[1])
        if count > 2:
            store(begun, row, column + 2, values[2])
        if count > 3:
            store(begun, row, column + 3, values[3])

    four = None if precision == "float32" else store4
    gemm = make_gemm(form, dtype, precision, tile, begin, store, four)

    def kernel(memory, words, numbers, layer):
        a, lda = words[U(layer), U(2)], words[U(layer), U(3)]
        b, ldb = words[U(layer), U(4)], words[U(layer), U(5)]
        m, n, k = words[U(layer), U(6)], words[U(layer), U(7)], words[U(layer), U(8)]
        gemm(memory, memory, (memory, words, numbers), layer, a, lda, b, ldb, m, n, k)

    return kernel


def kind_of(kind: str, which: int = 0) -> tuple[np.dtype[Any], str, Any]:
    """Return dtype, precision and a device's tile of "float32", "float64", "tf32", "bfloat16"."""
    from fastnn.targets.cuda.tiled.tiling import tiles_for

    dtype = np.dtype("float64" if kind == "float64" else "float32")
    precision = kind if kind in ("tf32", "bfloat16") else "float32"
    return dtype, precision, tiles_for(dtype, precision)[which]


@cache
def compiled(kind: str, form: str, cc: tuple[int, int], which: int = 0) -> cubin.Cubin:
    """Return the code of a kernel with a device's tile, or skip where it cannot be made."""
    if reason := cubin.missing():
        pytest.skip(reason)
    return cubin.assemble(_library(kind, form, which).get_asm_str(cc=cc), cc)


def ptx_of(kind: str, form: str, which: int = 0) -> str:
    """Return the PTX of such a kernel, for the oldest of the devices that are looked at."""
    if reason := cubin.missing():
        pytest.skip(reason)
    return str(_library(kind, form, which).get_asm_str(cc=min(cubin.CAPABILITIES)))


@cache
def _library(kind: str, form: str, which: int) -> Any:
    from numba import float64, from_dtype, int64

    from fastnn.targets.cuda.tiled.tiling import bounds_of

    dtype, precision, tile = kind_of(kind, which)
    return cubin.library_of(
        make_kernel(form, dtype, precision, tile),
        (from_dtype(dtype)[::1], int64[:, ::1], float64[::1], int64),
        launch_bounds=bounds_of(dtype, tile),
    )


def lay_out(form: str, a: Any, b: Any) -> tuple[Any, Any, Any]:
    """Return `memory` and `words` of a product, and where in memory its numbers will be."""
    c = product(form, np.zeros_like(a), np.zeros_like(b))
    m, n = c.shape
    parts: list[Any] = []
    places = [place(parts, matrix) for matrix in (c, a, b)]
    words = np.zeros((2, 9), np.int64)
    words[1] = [*places[0], *places[1], *places[2], m, n, a.shape[0 if form == "tn" else 1]]
    memory = np.concatenate(parts)
    inside = np.zeros(len(memory), bool)
    start, leading = places[0]
    inside[start : start + m * leading].reshape(m, leading)[:, :n] = True
    return memory, words, inside


def taken(before: Any, memory: Any, inside: Any, n: int) -> np.ndarray[Any, Any]:
    """Return the product in `memory`; fails where anything beside it has changed."""
    np.testing.assert_array_equal(memory[~inside], before[~inside])
    # Each number was added to once: a second visit would show as another 3.
    return memory[inside].reshape(-1, n) - memory.dtype.type(3)


def run(
    form: str, dtype: np.dtype[Any], precision: str, a: Any, b: Any, tile: Any = None
) -> np.ndarray[Any, Any]:
    """Return the product of one kernel; fails where a block writes beside its matrix."""
    from fastnn.targets.cuda.host.numba_cuda import cuda, kernel
    from fastnn.targets.cuda.tiled.gemm import shared_bytes
    from fastnn.targets.cuda.tiled.tiling import small_tile, tiles

    tile = small_tile(precision) if tile is None else tile
    before, words, inside = lay_out(form, a, b)
    m, n = words[1, 6:8]
    on_device = cuda.to_device(before)
    launch = kernel(make_kernel(form, dtype, precision, tile))
    grid = tiles(int(m), int(n), tile)
    asked = shared_bytes(dtype, precision, tile)
    launch[grid, tile.threads, 0, asked](on_device, words, np.array([3.0]), 1)
    return taken(before, on_device.copy_to_host(), inside, int(n))
