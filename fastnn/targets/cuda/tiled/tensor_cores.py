"""The core of the matrix product on tensor cores: float32 numbers, rounded on their way there.

Numbers are rounded on their way into shared memory, once each, and lie there as 32-bit words, row
by row (a column of B is a row too), neighbours along the depth side by side:

    "tf32"      a word is one number, rounded to 10 bits, ties away from zero (cvt.rna)
    "bfloat16"  a word is two numbers, rounded to 7 bits, ties to even; the lower half comes first

Seen as words both are multiplied alike, eight words of 16 rows and 8 columns at a time, by
mma.sync.m16n8k8 or m16n8k16, and summed in float32. A lane is 4 g + t:

    A   words t and t + 4 of rows g and g + 8, which ldmatrix brings
    B   words t and t + 4 of column g
    C   columns 2 t and 2 t + 1 of rows g and g + 8

A row is 4 words longer than what it holds, that is an odd multiple of 16 bytes: the eight rows that
ldmatrix reads at once, and the eight that eight lanes write at once, fall into different banks. An
operand that is not contiguous along the depth is written word by word, eight words of four rows
4 q + j at once. With rows of 8 + 4 words the rows of q and of q + 2 meet in a bank, so for these
the lanes go through j in the order 2, 3, 0, 1.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir

from fastnn.targets.cuda.device.intrinsics import (
    INT32,
    INT64,
    Array,
    assembly,
    in_shared,
    llvm,
    load_numbers,
    make_dump,
    store_numbers,
    store_vector,
)
from fastnn.targets.cuda.host.numba_cuda import SIMULATED, cuda, inner
from fastnn.targets.cuda.tiled.core import Core, Panel, Tile, make_place
from fastnn.targets.cuda.tiled.rounding import numbers_of, words_of

PADDING = 4
# Numbers in a word; what mma.sync calls the product of eight words.
NUMBERS = {"tf32": 1, "bfloat16": 2}
PRODUCT = {
    "tf32": "m16n8k8.row.col.f32.tf32.tf32.f32",
    "bfloat16": "m16n8k16.row.col.f32.bf16.bf16.f32",
}


def a_pointer(lane, length):
    """Return where a lane of ldmatrix points: rows 0 to 15, their words 0 and then 4."""
    return lane % 16 * length + lane // 16 * 4


def b_pointer(lane, length):
    """Return where a lane of ldmatrix points: words 0 and 4 of columns 0 to 7, then of 8 to 15."""
    return (lane % 8 + lane // 16 * 8) * length + lane // 8 % 2 * 4


def own_row(lane, length):
    """Return where the first row of a lane's sums lies, which a simulated lane reads itself."""
    return lane // 4 * length


def own_column(lane, length):
    """Return where the first column of a lane's sums lies."""
    return lane % 4 * 2 * length


@cache
def make_core(precision: str, tile: Tile, along: tuple[bool, bool]) -> Core:
    """Return the core of a tile; `along` says which operand is contiguous along the depth."""
    words, groups = tile.depth // NUMBERS[precision], tile.groups
    own_words, team = words // groups, tile.team
    warp_rows, warp_columns = 8 * tile.row_values, 4 * tile.column_values
    assert own_words % 8 == 0 and own_words * groups == words, (
        "tensor cores take eight words at a time"
    )
    assert warp_rows % 16 == 0 and warp_columns % 16 == 0, "a warp takes 16 x 16 sums at a time"
    across = tile.columns // warp_columns
    length = words + PADDING
    b_start = tile.rows * length
    shared = 2 * (tile.rows + tile.columns) * length

    a_lane, b_lane = (own_row, own_column) if SIMULATED else (inner(a_pointer), inner(b_pointer))

    @inner
    def group(thread):
        return thread // team if groups > 1 else 0

    @inner
    def warp_of(thread):
        return thread % team // 32 if groups > 1 else thread // 32

    @inner
    def a_at(thread):
        first = group(thread) * own_words + warp_of(thread) // across * (warp_rows * length)
        return first + a_lane(thread % 32, length)

    @inner
    def b_at(thread):
        first = group(thread) * own_words + warp_of(thread) % across * (warp_columns * length)
        return b_start + first + b_lane(thread % 32, length)

    # The sums leave in parts, sixteen rows of each warp at a time. Rows are 8 numbers longer than
    # what they hold, so that the four rows of half a warp fall into different banks.
    where = make_place(tile.columns, 4, 8)
    place = inner(where)
    blocks = warp_columns // 8
    parts = [
        [
            (where(8 * half) + 8 * block, (first * blocks + block) * 4 + 2 * half)
            for block in range(blocks)
            for half in range(2)
        ]
        for first in range(warp_rows // 16)
    ]
    slots = tile.rows // warp_rows * 16
    assert where(groups * slots) <= shared, (
        "the sums of 16 rows a warp do not fit the tiles' memory"
    )

    @inner
    def dump_at(thread):
        lane, warp = thread % 32, warp_of(thread)
        row, column = warp // across * 16 + lane // 4, warp % across * warp_columns + lane % 4 * 2
        return place(group(thread) * slots + row) + column

    @inner
    def tile_row(part, slot):
        return slot // 16 * warp_rows + part * 16 + slot % 16

    return Core(
        shared=shared,
        sums=tile.row_values * tile.column_values,
        a=_panel(precision, tile.rows, words, tile.threads, along[0], 0),
        b=_panel(precision, tile.columns, words, tile.threads, along[1], b_start),
        a_at=a_at,
        b_at=b_at,
        half=(tile.rows + tile.columns) * length,
        multiply=_make_multiply(precision, own_words, length, warp_rows // 16, blocks),
        dump=make_dump(parts, 2),
        dump_at=dump_at,
        parts=len(parts),
        slots=slots,
        place=place,
        tile_row=tile_row,
    )


@cache
def _panel(precision: str, size: int, words: int, threads: int, along: bool, start: int) -> Panel:
    """Return how one operand's part of a tile, `size` rows of `words`, comes to shared memory.

    A unit is four words: four of one row, or the same one of four rows; it takes one loaded vector
    for each of the numbers in a word.
    """
    units = size * words // (4 * threads)
    assert units * 4 * threads == size * words and size % 8 == 0, (
        "no whole number of units a thread"
    )
    numbers, length, quads = NUMBERS[precision], words + PADDING, words // 4
    put, spread = _make_stores(precision)
    if along:

        @inner
        def row(thread, i):
            unit = thread + i // numbers * threads
            return unit % 8 + unit // (8 * quads) * 8

        @inner
        def level(thread, i):
            unit = thread + i // numbers * threads
            return (unit // 8 % quads * numbers + i % numbers) * 4

        @inner
        def store(shared, at, thread, registers):
            for i in range(units):
                unit = thread + i * threads
                place = at + start + row(thread, i * numbers) * length + unit // 8 % quads * 4
                put(shared, place, registers, i * numbers * 4)

    else:

        @inner
        def row(thread, i):
            return (thread + i // numbers * threads) // words * 4

        @inner
        def level(thread, i):
            return (thread + i // numbers * threads) % words * numbers + i % numbers

        @inner
        def store(shared, at, thread, registers):
            for i in range(units):
                unit = thread + i * threads
                place = at + start + unit // words * (4 * length) + unit % words
                swapped = unit // words % 4 // 2 if words == 8 else 0
                spread(shared, place, length, registers, i * numbers * 4, swapped)

    return Panel(units * numbers, row, level, store)


def _make_stores(precision: str) -> tuple[Any, Any]:
    """Return what rounds four words' numbers and stores them.

    ``put(shared, i, registers, at)``: neighbours along the depth, into one row.
    ``spread(shared, i, stride, registers, at, swapped)``: the same word of four rows, `stride`
    apart; `swapped`, which is 0 or 1, exchanges the order of the first and last two stores.
    """
    numbers = NUMBERS[precision]
    if SIMULATED:

        def put_simulated(shared, index, registers, at):
            found = registers[at : at + 4 * numbers].reshape(4, numbers)
            shared[index : index + 4] = words_of(precision, found)

        def spread_simulated(shared, index, stride, registers, at, swapped):
            found = registers[at : at + 4 * numbers].reshape(numbers, 4).T
            shared[index : index + 4 * stride : stride] = words_of(precision, found)

        return put_simulated, spread_simulated

    int64 = cuda.types.int64

    def rounded(builder: Any, values: list[Any]) -> Any:
        real, letters = ir.FloatType(), ",".join("f" * numbers)
        code = "cvt.rna.tf32.f32 $0, $1;" if numbers == 1 else "cvt.rn.bf16x2.f32 $0, $2, $1;"
        asm = ir.InlineAsm(ir.FunctionType(INT32, [real] * numbers), code, f"=r,{letters}")
        return builder.bitcast(builder.call(asm, values), real)

    @llvm(Array, int64, Array, int64)
    def put(builder, shared, index, registers, at):
        found = load_numbers(builder, registers(at), 4 * numbers)
        words = [rounded(builder, found[i * numbers : (i + 1) * numbers]) for i in range(4)]
        store_vector(builder, shared(index), words)

    @llvm(Array, int64, int64, Array, int64, int64)
    def spread(builder, shared, index, stride, registers, at, swapped):
        target, found = shared(index), load_numbers(builder, registers(at), 4 * numbers)
        words = [rounded(builder, found[i::4]) for i in range(4)]
        turned = builder.trunc(swapped, ir.IntType(1))
        shift = builder.mul(builder.mul(swapped, stride), INT64(2))
        for i in range(4):
            word = builder.select(turned, words[i ^ 2], words[i])
            away = builder.mul(stride, INT64(i))
            away = builder.add(away, shift) if i < 2 else builder.sub(away, shift)
            builder.store(word, builder.gep(target, [away]))

    return put, spread


def _make_multiply(
    precision: str, words: int, length: int, row_blocks: int, column_blocks: int
) -> Any:
    """Return ``multiply(sums, shared, a, b)``: a warp's part of the products of a tile.

    sums[(16-row block, 8-column block, number of C)] as lanes hold it: see the module. The sums go
    over so many words; rows lie `length` words apart.
    """
    if SIMULATED:
        own_rows = np.add.outer(16 * np.arange(row_blocks), [0, 8])
        own_columns = np.add.outer(8 * np.arange(column_blocks), [0, 1])

        def multiply_simulated(sums, shared, a, b):
            left = numbers_of(precision, shared, a + own_rows * length, words)
            right = numbers_of(precision, shared, b + own_columns * length, words)
            with np.errstate(all="ignore"):
                sums += np.einsum("rhk,cik->rchi", left, right).ravel()

        return multiply_simulated

    four, four_sums = (ir.LiteralStructType([kind] * 4) for kind in (INT32, ir.FloatType()))
    code = (
        f"mma.sync.aligned.{PRODUCT[precision]} "
        "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
    )
    constraints = "=f,=f,=f,=f,r,r,r,r,r,r,0,1,2,3"

    def fragments(builder: Any, address: Any, offset: int) -> list[Any]:
        code = f"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{$0, $1, $2, $3}}, [$4 + {4 * offset}];"
        found = assembly(builder, code, "=r,=r,=r,=r,r,~{memory}", four, address)
        return [builder.extract_value(found, i) for i in range(4)]

    @llvm(Array, Array, cuda.types.int64, cuda.types.int64)
    def multiply(builder, sums, shared, a, b):
        start, places = sums(INT32(0)), [in_shared(builder, shared(at)) for at in (a, b)]
        total = load_numbers(builder, start, row_blocks * column_blocks * 4)
        for word in range(0, words, 8):
            left = [
                fragments(builder, places[0], block * 16 * length + word)
                for block in range(row_blocks)
            ]
            right: list[list[Any]] = []
            for pair in range(column_blocks // 2):
                found = fragments(builder, places[1], pair * 16 * length + word)
                right += [found[:2], found[2:]]
            for block, (x, w) in enumerate(itertools.product(left, right)):
                own = slice(4 * block, 4 * block + 4)
                found = assembly(builder, code, constraints, four_sums, *x, *w, *total[own])
                total[own] = [builder.extract_value(found, i) for i in range(4)]
        store_numbers(builder, start, total)

    return multiply
