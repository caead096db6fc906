"""The core of the matrix product on the ordinary units: fused multiply-adds, 8 x 8 sums a thread.

Both operands lie in shared memory depth by depth, the rows (or columns) of the tile side by side,
so that a thread reads its rows at one depth as vectors:

- A warp is 8 x 4 lanes, numbered so that each eight neighbours (which the hardware serves at once)
  want 4 different vectors of A and 2 of B: neighbours share what they read.
- A depth is `size` + 4 numbers long. An operand that is contiguous along the depth is turned over
  on its way: sixteen lanes write sixteen rows at depth i, the other sixteen at depth i + 4, and
  4 (128 + 4) numbers are half the 32 banks away; likewise in float64, by half warps.
- But where eight lanes write more than one depth of an operand that is not, depths adjoin.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastnn.targets.cuda.device.intrinsics import (
    Outer,
    make_dump,
    make_outer_products,
    make_vectors,
    vector_length,
)
from fastnn.targets.cuda.host.numba_cuda import inner
from fastnn.targets.cuda.tiled.core import Core, Panel, Tile, make_place

PADDING = 4


@cache
def make_core(dtype: np.dtype[Any], tile: Tile, along: tuple[bool, bool]) -> Core:
    """Return the core of a tile; `along` says which operand is contiguous along the depth."""
    length = vector_length(dtype)
    rows, columns, depth, row_values, column_values, groups = tile
    thread_rows, thread_columns = rows // row_values, columns // column_values
    threads, team, own_depth = tile.threads, tile.team, depth // groups
    assert own_depth * groups == depth, "the groups' parts of the depth differ"
    lane_rows, lane_columns = (8, 4) if team >= 32 else (thread_rows, thread_columns)
    warp_columns = thread_columns // lane_columns
    a_depth, b_depth = (
        _stride(dtype, size, own) for size, own in zip((rows, columns), along, strict=True)
    )

    @inner
    def group(thread):
        return thread // team if groups > 1 else 0

    @inner
    def lane_and_warp(thread):
        if groups > 1:
            thread = thread % team
        return thread % (lane_rows * lane_columns), thread // (lane_rows * lane_columns)

    @inner
    def thread_row(thread):
        lane, warp = lane_and_warp(thread)
        lane_row = (lane >> 1) % lane_rows if lane_columns > 1 else lane
        return warp // warp_columns * lane_rows + lane_row

    @inner
    def thread_column(thread):
        lane, warp = lane_and_warp(thread)
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
        return first_row(thread_row(thread)) + group(thread) * (own_depth * a_depth)

    @inner
    def b_at(thread):
        start = depth * a_depth + group(thread) * (own_depth * b_depth)
        return start + first_column(thread_column(thread))

    shape = Outer(
        own_depth,
        length,
        row_values,
        column_values,
        lane_rows * length,
        lane_columns * length,
        a_depth,
        b_depth,
    )

    # The sums leave in parts, two rows of each thread at a time, through the memory of the tiles.
    # A row longer by one vector puts every second one 8 banks further: where neighbours store.
    part, where = 2, make_place(columns, dtype.itemsize, length)
    place = inner(where)
    shared = 2 * depth * (rows + columns + 2 * PADDING)  # the most that any form takes
    slots = thread_rows * part
    assert row_values % part == 0 and where(groups * slots) <= shared
    parts = [
        [
            (where(i) + j // length * lane_columns * length, (first + i) * column_values + j)
            for i in range(part)
            for j in range(0, column_values, length)
        ]
        for first in range(0, row_values, part)
    ]

    @inner
    def dump_at(thread):
        slot = group(thread) * slots + thread_row(thread) * part
        return place(slot) + first_column(thread_column(thread))

    @inner
    def tile_row(which, slot):
        value = which * part + slot % part
        within = value // length * (lane_rows * length) + value % length
        return first_row(slot // part) + within

    return Core(
        shared=shared,
        sums=row_values * column_values,
        a=_panel(dtype, rows, depth, threads, along[0], 0),
        b=_panel(dtype, columns, depth, threads, along[1], depth * a_depth),
        a_at=a_at,
        b_at=b_at,
        half=depth * (a_depth + b_depth),
        multiply=make_outer_products(shape),
        dump=make_dump(parts, length),
        dump_at=dump_at,
        parts=len(parts),
        slots=slots,
        place=place,
        tile_row=tile_row,
    )


def _stride(dtype: np.dtype[Any], size: int, along: bool) -> int:
    """Return how far apart the depths of an operand with `size` rows (or columns) lie."""
    # Eight lanes store 128 bytes at once: of one depth, or of several that fill the banks.
    return size if not along and size * dtype.itemsize < 128 else size + PADDING


@cache
def _panel(
    dtype: np.dtype[Any], size: int, depth: int, threads: int, along: bool, start: int
) -> Panel:
    """Return how one operand's part of a tile, `size` x `depth` numbers, comes to shared memory."""
    vectors, length = make_vectors(dtype), vector_length(dtype)
    count = size * depth // (length * threads)
    assert count * length * threads == size * depth, "a tile is no whole number of vectors a thread"
    stride = _stride(dtype, size, along)
    pair = min(2, depth // length)
    assert not along or depth % (pair * length) == 0, "a depth of an odd number of vectors"
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
