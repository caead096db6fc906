"""What the matrix product asks of a core: how a tile is laid out, multiplied and handed over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Tile(NamedTuple):
    """The part of a product that one block computes, and the part of it that one thread holds.

    A block forms `rows` x `columns` sums, `depth` terms at a time between two barriers; a thread
    holds `row_values` x `column_values` of them. On tensor cores a warp of 8 x 4 threads holds its
    `8 row_values` x `4 column_values` sums together. Of several `groups` of threads, each forms all
    sums over its own part of the depth, and they are added up at the end: so a long way through
    few sums is gone by many threads at once.
    """

    rows: int
    columns: int
    depth: int
    row_values: int
    column_values: int
    groups: int = 1

    @property
    def team(self) -> int:
        """The threads of a group."""
        return self.rows * self.columns // (self.row_values * self.column_values)

    @property
    def threads(self) -> int:
        """The threads of a block."""
        return self.team * self.groups


class Panel(NamedTuple):
    """How a tile's part of one operand comes to shared memory, `vectors` loads a thread.

    ``row(thread, i)`` and ``level(thread, i)``: row (or column) and depth, within the tile, of the
    first number of the thread's vector i. ``store(shared, at, thread, registers)``: the loaded
    vectors into the buffer that starts `at` numbers behind the first.
    """

    vectors: int
    row: Any
    level: Any
    store: Any


class Core(NamedTuple):
    """One way to multiply the tiles that lie in shared memory, and to hand over the sums.

    ``multiply(sums, shared, a, b)`` adds a tile's products, `a` and `b` being ``a_at(thread)`` and
    ``b_at(thread)`` plus nothing or `half`, the distance of the two buffers.
    ``dump(shared, dump_at(thread), sums, part)`` lays one of `parts` parts of the sums into shared
    memory, as `slots` rows that begin at ``place(slot)``; ``tile_row(part, slot)`` says which row
    each is. Behind them lie those of the tile's other `groups`, whose sums are to be added.
    """

    shared: int
    sums: int
    a: Panel
    b: Panel
    a_at: Any
    b_at: Any
    half: int
    multiply: Any
    dump: Any
    dump_at: Any
    parts: int
    slots: int
    place: Any
    tile_row: Any


def make_place(columns: int, itemsize: int, padding: int) -> Callable[[int], int]:
    """Return ``place(slot)``: where a row of a tile's sums begins on its way to the epilogue.

    `padding` numbers between two rows put those that are stored at once into different banks. Rows
    that do not fill the banks are read two at once, so these lie side by side.
    """
    pairs, pair = columns * itemsize < 128, 2 * columns + 32 // itemsize

    def place(slot):
        if pairs:
            return slot // 2 * pair + slot % 2 * columns
        return slot * (columns + padding)

    return place
