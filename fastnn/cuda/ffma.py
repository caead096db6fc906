"""The core of the matrix product on the ordinary units: fused multiply-adds, 8 x 8 sums a thread.

Both operands lie in shared memory depth by depth, the rows (or columns) of the tile side by side,
so that a thread reads its rows at one depth as vectors:

- A warp is 8 x 4 lanes, numbered so that each eight neighbours (which the hardware serves at once)
  want 4 different vectors of A and 2 of B: neighbours share what they read.
- A depth is `size` + 4 numbers long. An operand that is contiguous along the depth is turned over
  on its way: sixteen lanes write sixteen rows at depth i, the other sixteen at depth i + 4, and
  4 (128 + 4) numbers are half the 32 banks away; likewise in float64, by half warps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.cuda.core import Core, Panel, Tile
from fastnn.cuda.device import inner
from fastnn.cuda.intrinsics import (
    Outer,
    Vectors,
    make_dump,
    make_outer_products,
    make_vectors,
    vector_length,
)

PADDING = 4


def make_core(dtype: np.dtype[Any], tile: Tile, along: tuple[bool, bool]) -> Core:
    """Return the core of a tile; `along` says which operand is contiguous along the depth."""
    length = vector_length(dtype)
    rows, columns, depth, row_values, column_values = tile
    thread_rows, thread_columns = rows // row_values, columns // column_values
    threads = thread_rows * thread_columns
    lane_rows, lane_columns = (8, 4) if threads >= 32 else (thread_rows, thread_columns)
    warp_columns = thread_columns // lane_columns
    a_depth, b_depth = rows + PADDING, columns + PADDING
    vectors = make_vectors(dtype)

    @inner
    def thread_row(thread):
        lane, warp = thread % (lane_rows * lane_columns), thread // (lane_rows * lane_columns)
        lane_row = (lane >> 1) % lane_rows if lane_columns > 1 else lane
        return warp // warp_columns * lane_rows + lane_row

    @inner
    def thread_column(thread):
        lane, warp = thread % (lane_rows * lane_columns), thread // (lane_rows * lane_columns)
        lane_column = (lane & 1) + 2 * (lane // (2 * lane_rows)) if lane_columns > 1 else 0
        return warp % warp_columns * lane_columns + lane_column

    @inner
    def first_row(at):
        return at // lane_rows * (lane_rows * row_values) + at % lane_rows * length

    @inner
    def first_column(at):
        return at // lane_columns * (lane_columns * column_values) + at % lane_columns * length

    @inner
    def a_at(thread):
        return first_row(thread_row(thread))

    @inner
    def b_at(thread):
        return depth * a_depth + first_column(thread_column(thread))

    shape = Outer(
        depth,
        length,
        row_values,
        column_values,
        lane_rows * length,
        lane_columns * length,
        a_depth,
        b_depth,
    )

    # The sums leave in parts, a few rows of each thread at a time, through the memory of the tiles.
    shared = 2 * depth * (a_depth + b_depth)
    stride = columns + PADDING
    part = next(
        n for n in (8, 4, 2, 1) if row_values % n == 0 and thread_rows * n * stride <= shared
    )
    parts = [
        [
            (i * stride + j // length * lane_columns * length, (first + i) * column_values + j)
            for i in range(part)
            for j in range(0, column_values, length)
        ]
        for first in range(0, row_values, part)
    ]

    @inner
    def dump_at(thread):
        return thread_row(thread) * (part * stride) + first_column(thread_column(thread))

    @inner
    def tile_row(which, slot):
        value = which * part + slot % part
        within = value // length * (lane_rows * length) + value % length
        return first_row(slot // part) + within

    return Core(
        threads=threads,
        shared=shared,
        sums=row_values * column_values,
        a=_panel(vectors, length, rows, depth, threads, along[0], 0),
        b=_panel(vectors, length, columns, depth, threads, along[1], depth * a_depth),
        a_at=a_at,
        b_at=b_at,
        half=depth * (a_depth + b_depth),
        multiply=make_outer_products(shape),
        dump=make_dump(parts, length),
        dump_at=dump_at,
        parts=len(parts),
        slots=thread_rows * part,
        stride=stride,
        tile_row=tile_row,
    )


def _panel(
    vectors: Vectors, length: int, size: int, depth: int, threads: int, along: bool, start: int
) -> Panel:
    """Return how one operand's part of a tile, `size` x `depth` numbers, comes to shared memory."""
    count = size * depth // (length * threads)
    assert count * length * threads == size * depth, "a tile is no whole number of vectors a thread"
    stride = size + PADDING
    pair = min(2, depth // length)
    across = size // length
    put, spread = vectors.put, vectors.spread
    if along:

        @inner
        def row(thread, i):
            return (thread + i * threads) // pair % size

        @inner
        def level(thread, i):
            unit = thread + i * threads
            return (unit % pair + unit // (pair * size) * pair) * length

        @inner
        def store(shared, at, thread, registers):
            for i in range(count):
                place = at + start + level(thread, i) * stride + row(thread, i)
                spread(shared, place, stride, registers, i * length)

    else:

        @inner
        def row(thread, i):
            return (thread + i * threads) % across * length

        @inner
        def level(thread, i):
            return (thread + i * threads) // across

        @inner
        def store(shared, at, thread, registers):
            for i in range(count):
                place = at + start + level(thread, i) * stride + row(thread, i)
                put(shared, place, registers, i * length)

    return Panel(count, row, level, store)
