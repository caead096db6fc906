"""The matrix product of one block, its result handed number by number to an epilogue.

    "nn"    C[r, c] = sum_i A[r, i] B[i, c]    forward:            Z = X W
    "nt"    C[r, c] = sum_i A[r, i] B[c, i]    backward by inputs: dX = dZ W^T
    "tn"    C[r, c] = sum_i A[i, r] B[i, c]    update:             dW = X^T dZ

A block loads the next tile of both operands into registers, multiplies the tile that lies in shared
memory, and stores the loaded one into the other buffer: one barrier a tile, and the way from memory
is hidden behind arithmetic. Nothing in that loop asks where the matrix ends but one comparison a
load: rows behind the last are the last row again, whose sums nobody takes, and terms behind the
last are zeros.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np

from fastnn.targets.cuda.device.intrinsics import (
    make_clear,
    make_thread_index,
    make_vectors,
    vector_length,
)
from fastnn.targets.cuda.device.vec4 import make_vec4
from fastnn.targets.cuda.host.numba_cuda import (
    I32,
    SHARED_BYTES_BY_RIGHT,
    U,
    cuda,
    inlined,
    inner,
    make_shared_array,
)
from fastnn.targets.cuda.tiled import simt, tensor_cores
from fastnn.targets.cuda.tiled.core import Core, Panel, Tile

# Says of a number that it is not negative and fits 31 bits, which makes divisions short.
LARGEST = 2**31 - 1
FORMS = {"nn": (True, False), "nt": (True, True), "tn": (False, False)}
# 32-bit numbers that wait in shared memory for the end of the product.
KEPT = 4
# Rows of tiles that go together: about as many as run at once lie in a square, so that they share
# what they read in the L2 cache.
GROUP = 8


@cache
def shared_bytes(dtype: np.dtype[Any], precision: str, tile: Tile) -> int:
    """Return the bytes of shared memory that a launch has to ask for: 0 where 48 KB will do."""
    needed = _core(dtype, precision, tile, "nn").shared * dtype.itemsize
    return needed if needed + 4 * KEPT > SHARED_BYTES_BY_RIGHT else 0


def _core(dtype: np.dtype[Any], precision: str, tile: Tile, form: str) -> Core:
    if precision == "float32":
        return simt.make_core(dtype, tile, FORMS[form])
    assert dtype == np.float32, f"tensor cores take float32, not {dtype}"
    return tensor_cores.make_core(precision, tile, FORMS[form])


def make_gemm(
    form: str, dtype: np.dtype[Any], precision: str, tile: Tile, begin: Any, end: Any, end4: Any
) -> Any:
    """Return ``gemm(left, right, context, layer, a, lda, b, ldb, m, n, k)`` for one block.

    It computes the tile of C (m, n) that is this block's, of ``tiles(m, n, tile)`` blocks, and
    calls ``end(begun, row, column, value)`` for each of its numbers, `value` in `dtype`, where
    `begun` is what ``begin(context, layer)`` gave after the sums; context, anything that is needed
    there, and layer are only passed on. If there is an `end4`, it is ``end4(begun, row, column,
    values, count)`` instead, for `count` of four values from a column on that is a multiple of 4;
    not in float64. `a` and `b` are
    the places of the operands' first numbers in the arrays `left` and `right`, `lda` and `ldb`
    their leading dimensions, all multiples of 16 bytes. k is the length of the sums; m, n and k
    are any numbers from 1. Where a row is no multiple of 16 bytes long, the rest of its last 16
    bytes is read and must hold zeros. The threads of a warp take neighbours in a row. The operands
    must not overlap what the epilogue writes: other blocks still read them.

    NaN and infinity go the way they go in NumPy.
    """
    core = _core(dtype, precision, tile, form)
    along_a, along_b = FORMS[form]
    a_start, a_fetch = _make_reader(dtype, core.a, along_a)
    b_start, b_fetch = _make_reader(dtype, core.b, along_b)
    a_store, b_store = core.a.store, core.b.store
    a_step = 1 if along_a else 0
    b_step = 1 if along_b else 0
    length = vector_length(dtype)
    a_count, b_count = core.a.vectors, core.b.vectors
    a_numbers, b_numbers = a_count * length, b_count * length
    rows, columns, depth = tile.rows, tile.columns, tile.depth
    multiply, dump, tile_row = core.multiply, core.dump, core.tile_row
    a_at, b_at, dump_at = core.a_at, core.b_at, core.dump_at
    half = core.half
    parts, slots, place = core.parts, core.slots, core.place
    threads, groups = tile.threads, tile.groups
    number = getattr(numba, dtype.name)
    clear = make_clear(core.sums)
    thread_index = make_thread_index()
    scale = make_vectors(dtype).step
    sums_count = core.sums
    asked_for = shared_bytes(dtype, precision, tile) > 0
    shared_array = make_shared_array(0 if asked_for else core.shared, number)

    vec4 = make_vec4(dtype)
    load, add4 = vec4.load, vec4.add4

    @inner
    def take_one(shared, begun, slot, column, row, j, n):
        value = shared[U(place(slot) + column)]
        for group in range(1, groups):
            value += shared[U(place(group * slots + slot) + column)]
        end(begun, row, j, value)

    @inner
    def take_four(shared, begun, slot, column, row, j, n):
        values = load(shared, place(slot) + column)
        for group in range(1, groups):
            values = add4(values, load(shared, place(group * slots + slot) + column))
        end4(begun, row, j, values, n - j)

    take, together = (take_one, 1) if end4 is None else (take_four, 4)
    across = columns // together
    kept_array = inlined(lambda: cuda.shared.array(KEPT, numba.int32))

    @inner
    def gemm(left, right, context, layer, a, lda, b, ldb, m, n, k):
        thread = thread_index()
        m, n, k = m & LARGEST, n & LARGEST, k & LARGEST
        tile_rows, tile_columns = (m + rows - 1) // rows, (n + columns - 1) // columns
        block, wide = cuda.blockIdx.x & LARGEST, GROUP * tile_columns & LARGEST
        group, within = block // wide * GROUP, block % wide
        height = min(tile_rows - group, GROUP) & LARGEST
        first_row = (group + within % height) * rows
        first_column = within // height * columns

        shared = shared_array()
        kept = kept_array()
        if thread == 0:
            kept[0], kept[1], kept[2], kept[3] = first_row, first_column, m, n
        sums = cuda.local.array(sums_count, number)
        a_loaded = cuda.local.array(a_numbers, number)
        b_loaded = cuda.local.array(b_numbers, number)
        a_places = cuda.local.array(a_count, numba.int64)
        b_places = cuda.local.array(b_count, numba.int64)
        a_far = I32(scale * (depth if a_step else depth * lda))
        b_far = I32(scale * (depth if b_step else depth * ldb))
        clear(sums)
        a_start(a_places, thread, left, a, lda, first_row, m)
        b_start(b_places, thread, right, b, ldb, first_column, n)
        a_fetch(a_loaded, thread, left, a_places, I32(k), a_far)
        b_fetch(b_loaded, thread, right, b_places, I32(k), b_far)
        a_store(shared, 0, thread, a_loaded)
        b_store(shared, 0, thread, b_loaded)
        cuda.syncthreads()
        a_from, b_from = a_at(thread), b_at(thread)
        here = 0
        rest = I32(k)
        while rest > 0:
            rest = I32(rest - depth)
            a_fetch(a_loaded, thread, left, a_places, rest, a_far)
            b_fetch(b_loaded, thread, right, b_places, rest, b_far)
            multiply(sums, shared, a_from + here, b_from + here)
            here = half - here
            a_store(shared, here, thread, a_loaded)
            b_store(shared, here, thread, b_loaded)
            cuda.syncthreads()

        # Neither these nor the thread's number are held in registers through the loop.
        first_row, first_column, m, n = kept[0], kept[1], kept[2], kept[3]
        thread = thread_index()
        begun = begin(context, layer)
        # Through shared memory, so that neighbours in a warp get neighbours in a row. The loop is
        # one for all parts: the epilogue, which may be long, is in the code once.
        for part in range(parts):
            dump(shared, dump_at(thread), sums, part)
            cuda.syncthreads()
            at = I32(thread)
            while at < slots * across:
                i = at & LARGEST
                slot, column = i // across, i % across * together
                row = first_row + tile_row(part & LARGEST, slot)
                if row < m and first_column + column < n:
                    take(shared, begun, slot, column, row, first_column + column, n)
                at = I32(at + threads)
            cuda.syncthreads()

    return gemm


@cache
def _make_reader(dtype: np.dtype[Any], panel: Panel, along: bool) -> tuple[Any, Any]:
    """Return ``start`` and ``fetch``: where a thread's vectors lie first, and their next values."""
    count, row, level = panel.vectors, panel.row, panel.level
    length = vector_length(dtype)
    vectors = make_vectors(dtype)
    locate, load = vectors.locate, vectors.load

    @inner
    def start(places, thread, memory, first, leading, tile_start, size):
        for i in range(count):
            if along:
                at = min(tile_start + row(thread, i), size - 1) * leading + level(thread, i)
            else:
                last = (size - 1) // length * length
                at = level(thread, i) * leading + min(tile_start + row(thread, i), last)
            places[i] = locate(memory, first + at)

    @inner
    def fetch(loaded, thread, memory, places, left, far):
        for i in range(count):
            load(loaded, i * length, memory, places[i], I32(level(thread, i)) < left)
            places[i] += far

    return start, fetch
