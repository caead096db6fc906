"""Products of panel matrices: blocks of rows, panels and k around the micro-kernels.

A block of `k_block` rows of one panel of B stays in the first-level cache while every row of A in
the block passes over it (Goto & van de Geijn 2008). B needs no packing, being in panels already.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.storage.kernels.machine import Shape, vector_bytes
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import address_of
from fastnn.targets.cpu.llvm.rule_loops import EXACT, MERGED, U
from fastnn.targets.cpu.plan import K_BLOCK_BYTES, LIST_SLACK
from fastnn.targets.cpu.products.kernels import (
    make_accumulate,
    make_accumulate_scattered,
    make_multiply,
    make_multiply_rows,
    make_multiply_scattered,
)

CONTINUE = np.int64(-(1 << 62))
# A literal would have Numba compile its callees again for the literal's own type.
ZERO, ONE = np.int64(0), np.int64(1)
# Below tiles of 6 rows come 4, 2 and 1, of which 2 and 1 wait for their own sums: 8 = 4 + 4 and
# 9 = 4 + 4 + 1 are faster than 6 + 2 and 6 + 2 + 1.
SPLIT_ROWS = 6
SHORTER = 4, 2, 1  # rows of the tiles for what full ones leave
ROW_BLOCK = 96  # rows whose parts of A and C stay in the second-level cache while B passes
# Rows of B that pass over the few rows that are read in place at a time, from the second-level
# cache, in which these lie as well: to go on with a tile costs more than to read B from there.
IN_PLACE_K_BLOCK = 832


def _lanes(dtype: np.dtype) -> int:
    return vector_bytes() // dtype.itemsize


def _multiply_chain(dtype: np.dtype, rows: int, vectors: int) -> Any:
    """Return a function that multiplies rows by one block of a panel, tallest tiles first.

    With three vectors a narrow last panel is done with the one before.
    """
    tall, four, two, one = (make_multiply(dtype, each, vectors) for each in (rows, *SHORTER))
    split, lanes, width = rows == SPLIT_ROWS, _lanes(dtype), min(vectors, 2) * _lanes(dtype)

    @njit(**EXACT)
    def chain(
        memory, a, chunks, inner, chunk_stride, a_width, ahead, step, b, init, init_stride, c,
        b_odd, init_odd, c_odd, r, r1,
    ):  # fmt: skip
        asked, odd_stride = step * inner * chunks, init_stride // 2
        while r + rows <= r1 and not (split and 7 < r1 - r < 10):
            tall(
                memory, a + r * a_width, chunks, inner, chunk_stride, a_width, ahead, step,
                b, init + r * init_stride, init_stride, c + r * width,
                b_odd, init_odd + r * odd_stride, c_odd + r * lanes,
            )  # fmt: skip
            r += rows
            ahead += asked
        while r + 4 <= r1:
            four(
                memory, a + r * a_width, chunks, inner, chunk_stride, a_width, ahead, step,
                b, init + r * init_stride, init_stride, c + r * width,
                b_odd, init_odd + r * odd_stride, c_odd + r * lanes,
            )  # fmt: skip
            r += 4
            ahead += asked
        if r + 2 <= r1:
            two(
                memory, a + r * a_width, chunks, inner, chunk_stride, a_width, ahead, step,
                b, init + r * init_stride, init_stride, c + r * width,
                b_odd, init_odd + r * odd_stride, c_odd + r * lanes,
            )  # fmt: skip
            r += 2
        if r < r1:
            one(
                memory, a + r * a_width, chunks, inner, chunk_stride, a_width, ahead, step,
                b, init + r * init_stride, init_stride, c + r * width,
                b_odd, init_odd + r * odd_stride, c_odd + r * lanes,
            )  # fmt: skip

    return chain


def _multiply_rows_chain(dtype: np.dtype, rows: int, vectors: int) -> Any:
    """Return the same function for an A that is the caller's array, of which rows are adjacent.

    `later` is the address of what the tiles ask for.
    """
    heights = rows, *SHORTER
    tall, four, two, one = (make_multiply_rows(dtype, each, vectors) for each in heights)
    lanes, width = _lanes(dtype), min(vectors, 2) * _lanes(dtype)
    tile_rows, itemsize = make_tile_rows(rows), dtype.itemsize

    @njit(**EXACT)
    def chain(
        memory, address, stride, inner, later, step, b, init, init_stride, c, b_odd, init_odd,
        c_odd, r1,
    ):  # fmt: skip
        ahead, r = later - address_of(memory, b), 0
        while r < r1:
            high, left, out = tile_rows(r1 - r), address + r * stride * itemsize, c + r * width
            start, start_odd = init + r * init_stride, init_odd + r * init_stride // 2
            if high == rows:
                tall(left, stride, inner, ahead, step, memory, b, start, init_stride, out,
                     b_odd, start_odd, c_odd + r * lanes)  # fmt: skip
            elif high == 4:
                four(left, stride, inner, ahead, step, memory, b, start, init_stride, out,
                     b_odd, start_odd, c_odd + r * lanes)  # fmt: skip
            elif high == 2:
                two(left, stride, inner, ahead, step, memory, b, start, init_stride, out,
                    b_odd, start_odd, c_odd + r * lanes)  # fmt: skip
            else:
                one(left, stride, inner, ahead, step, memory, b, start, init_stride, out,
                    b_odd, start_odd, c_odd + r * lanes)  # fmt: skip
            r += high
            ahead += step * inner

    return chain


def _accumulate_chain(dtype: np.dtype, rows: int, vectors: int) -> Any:
    """Return a function that adds A^T B for inputs of one panel of A, tallest tiles first.

    The next panel of A, `apart` numbers on, is asked for meanwhile.
    """
    tall, four, two, one = (make_accumulate(dtype, each, vectors) for each in (rows, *SHORTER))
    split, lanes, width = rows == SPLIT_ROWS, _lanes(dtype), min(vectors, 2) * _lanes(dtype)

    @njit(**EXACT)
    def chain(memory, a, a_width, apart, b, samples, c, b_odd, c_odd, i, i1, alpha, beta):
        while i + rows <= i1 and not (split and 7 < i1 - i < 10):
            tall(memory, a + i, a_width, apart, b, samples, c + i * width, b_odd,
                 c_odd + i * lanes, alpha, beta)  # fmt: skip
            i += rows
        while i + 4 <= i1:
            four(memory, a + i, a_width, apart, b, samples, c + i * width, b_odd,
                 c_odd + i * lanes, alpha, beta)  # fmt: skip
            i += 4
        if i + 2 <= i1:
            two(memory, a + i, a_width, apart, b, samples, c + i * width, b_odd,
                c_odd + i * lanes, alpha, beta)  # fmt: skip
            i += 2
        if i < i1:
            one(memory, a + i, a_width, apart, b, samples, c + i * width, b_odd,
                c_odd + i * lanes, alpha, beta)  # fmt: skip

    return chain


def make_tile_rows(rows: int) -> Any:
    """Return ``tile_rows(left)``: the rows of the next tile where `left` rows are to be done."""
    split = rows == SPLIT_ROWS

    @njit(**EXACT)
    def tile_rows(left):
        if left >= rows and not (split and 7 < left < 10):
            return rows
        if left >= 4:
            return 4
        return min(left, 2)

    return tile_rows


def _multiply_scattered_chain(dtype: np.dtype, rows: int, vectors: int) -> Any:
    """Return the first function again for an A that is the caller's array.

    Each tile has a list of the columns it uses, `apart` numbers behind that of the tile before; of
    it the part between the entries begin and end of the table that follows it is gone over.
    """
    heights = rows, *SHORTER
    tall, four, two, one = (make_multiply_scattered(dtype, each, vectors) for each in heights)
    lanes, width = _lanes(dtype), min(vectors, 2) * _lanes(dtype)
    tile_rows = make_tile_rows(rows)

    @njit(**EXACT)
    def chain(
        memory, order, first, ahead, asked, ask_end, address, stride, nonzero, lists, apart, begin,
        end, b, init, init_stride, c, b_odd, init_odd, c_odd, r, r1,
    ):  # fmt: skip
        while r < r1:
            high = tile_rows(r1 - r)
            at = lists + nonzero[U(lists + begin)]
            inner = lists + nonzero[U(lists + end)] - at
            start, out = init + r * init_stride, c + r * width
            start_odd, out_odd = init_odd + r * init_stride // 2, c_odd + r * lanes
            if high == rows:
                tall(
                    order, first + r, ahead, asked, ask_end, address, stride, nonzero, at, inner,
                    memory, b, start, init_stride, out, b_odd, start_odd, out_odd,
                )  # fmt: skip
            elif high == 4:
                four(
                    order, first + r, ahead, asked, ask_end, address, stride, nonzero, at, inner,
                    memory, b, start, init_stride, out, b_odd, start_odd, out_odd,
                )  # fmt: skip
            elif high == 2:
                two(
                    order, first + r, ahead, asked, ask_end, address, stride, nonzero, at, inner,
                    memory, b, start, init_stride, out, b_odd, start_odd, out_odd,
                )  # fmt: skip
            else:
                one(
                    order, first + r, ahead, asked, ask_end, address, stride, nonzero, at, inner,
                    memory, b, start, init_stride, out, b_odd, start_odd, out_odd,
                )  # fmt: skip
            r += high
            lists += apart

    return chain


def _accumulate_scattered_chain(dtype: np.dtype, rows: int, vectors: int) -> Any:
    """Return the second function again for an A that is the caller's array."""
    heights = rows, *SHORTER
    tall, four, two, one = (make_accumulate_scattered(dtype, each, vectors) for each in heights)
    split = rows == SPLIT_ROWS

    @njit(**EXACT)
    def chain(
        memory, addresses, first, nonzero, b, samples, c, b_odd, c_odd, i, i1, alpha, beta,
    ):  # fmt: skip
        while i + rows <= i1 and not (split and 7 < i1 - i < 10):
            tall(addresses, first, nonzero, i, memory, b, samples, c, b_odd, c_odd,
                 alpha, beta)  # fmt: skip
            i += rows
        while i + 4 <= i1:
            four(addresses, first, nonzero, i, memory, b, samples, c, b_odd, c_odd,
                 alpha, beta)  # fmt: skip
            i += 4
        if i + 2 <= i1:
            two(addresses, first, nonzero, i, memory, b, samples, c, b_odd, c_odd,
                alpha, beta)  # fmt: skip
            i += 2
        if i < i1:
            one(addresses, first, nonzero, i, memory, b, samples, c, b_odd, c_odd,
                alpha, beta)  # fmt: skip

    return chain


def make_gemm(dtype: np.dtype, shape: Shape) -> SimpleNamespace:
    """Return the products for one dtype, all on offsets into `memory`.

    width_of(p, n): columns stored of panel p of a matrix of n columns; padded(n): of all panels.
    odd_last(p, p1, n): whether panels p and p + 1 are the last before p1, of which the second is a
    narrow one: products go over both at once.
    multiply(memory, a, a_rows, k, r0, r1, b, b_rows, init, p0, p1, n, c): rows r0..r1 and panels
    p0..p1 of C = A B + a start. A is (a_rows, k), C is (a_rows, n), B is (b_rows >= k, n), all in
    panels. The start is the row of B at `init` (the bias) where that is >= 0, C itself where it is
    CONTINUE, else the zeros at offset -1 - init.
    multiply_rows(memory, address, stride, count, k, b, n, c, rows): `count` rows of x W + b for
    rows of the caller's that follow one another, `stride` numbers apart, from `address` on.
    accumulate(memory, a, a_width, apart, b, samples, c, inputs, width, alpha, beta): within one
    panel each of A and C: C = beta C + alpha A^T B over rows 0..samples and columns 0..inputs of A,
    while the panel that lies `apart` numbers on is asked for. accumulate_odd takes b_odd and c_odd
    in the place of the width.
    """
    panel, lanes = shape.panel, shape.lanes
    # Rows and vectors of the full tile.
    wide, narrow, odd = (shape.rows, 2), (shape.rows_narrow, 1), (shape.rows_odd, 3)
    multiply_wide, multiply_narrow, multiply_odd = (
        _multiply_chain(dtype, *each) for each in (wide, narrow, odd)
    )
    rows_wide, rows_narrow, rows_odd = (
        _multiply_rows_chain(dtype, *each) for each in (wide, narrow, odd)
    )
    add_wide, add_narrow, add_odd = (
        _accumulate_chain(dtype, *each) for each in (wide, narrow, odd)
    )
    multiply_wide_scattered, multiply_narrow_scattered, multiply_odd_scattered = (
        _multiply_scattered_chain(dtype, *each) for each in (wide, narrow, odd)
    )
    add_wide_scattered, add_narrow_scattered, add_odd_scattered = (
        _accumulate_scattered_chain(dtype, *each) for each in (wide, narrow, odd)
    )
    itemsize, tile, panel_bytes = dtype.itemsize, shape.rows, panel * dtype.itemsize
    block_panels = max(1, K_BLOCK_BYTES // itemsize // panel // panel)
    in_place_panels = IN_PLACE_K_BLOCK // panel
    lists_of_odd = shape.rows_odd == shape.rows  # tiles of as many rows have lists of their own

    @njit(**EXACT)
    def width_of(p, n):
        left = n - p * panel
        return lanes if left <= lanes else panel

    @njit(**EXACT)
    def padded(n):
        return (n + lanes - 1) // lanes * lanes

    @njit(**EXACT)
    def odd_last(p, p1, n):
        left = n - (p + 1) * panel
        return p + 2 == p1 and 0 < left <= lanes

    @njit(**EXACT)
    def multiply(memory, a, a_rows, k, r0, r1, b, b_rows, init, p0, p1, n, c):
        full = k // panel
        blocks = (full + block_panels - 1) // block_panels
        for s0 in range(r0, r1, ROW_BLOCK):
            s1 = min(r1, s0 + ROW_BLOCK)
            # All tiles of these rows together ask for as much of the next panel of B.
            ahead, step = b_rows * panel_bytes, panel_bytes * tile // (s1 - s0) + 1
            for block in range(blocks + (1 if k > full * panel else 0)):
                if block < blocks:
                    start = block * block_panels
                    chunks, inner, a_width = min(block_panels, full - start), panel, panel
                else:
                    start, chunks, inner, a_width = full, 1, k - full * panel, width_of(full, k)
                left, fresh = a + start * panel * a_rows, block == 0 and init != CONTINUE
                p = p0
                while p < p1:
                    width = width_of(p, n)
                    right = b + p * panel * b_rows
                    out = c + p * panel * a_rows
                    begin, begin_stride = out, width
                    right_odd, out_odd = right + panel * b_rows, out + panel * a_rows
                    begin_odd = out_odd
                    if fresh:
                        begin, begin_stride = (right + init * width if init >= 0 else -1 - init), 0
                        begin_odd = right_odd + init * lanes if init >= 0 else begin
                    right += start * panel * width
                    right_odd += start * panel * lanes
                    if odd_last(p, p1, n):
                        multiply_odd(
                            memory, left, chunks, inner, panel * a_rows, a_width, ahead, step,
                            right, begin, begin_stride, out, right_odd, begin_odd, out_odd, s0, s1,
                        )  # fmt: skip
                        p += 1
                    elif width == panel:
                        multiply_wide(
                            memory, left, chunks, inner, panel * a_rows, a_width, ahead, step,
                            right, begin, begin_stride, out, ZERO, ZERO, ZERO, s0, s1,
                        )  # fmt: skip
                    else:
                        multiply_narrow(
                            memory, left, chunks, inner, panel * a_rows, a_width, ahead, step,
                            right, begin, begin_stride, out, ZERO, ZERO, ZERO, s0, s1,
                        )  # fmt: skip
                    p += 1

    @njit(**EXACT)
    def multiply_rows(memory, address, stride, count, k, b, n, c, rows):
        panels = (n + panel - 1) // panel
        most, tiles = in_place_panels * panel, (count + tile - 1) // tile
        # All tiles together ask for the rows that follow.
        later, step = address + count * stride * itemsize, count * itemsize // (tiles * panels)
        for start in range(0, k, most):
            inner, p = min(most, k - start), ZERO
            left = address + start * itemsize
            while p < panels:
                width = width_of(p, n)
                right, out = b + p * panel * (k + 1), c + p * panel * rows
                right_odd, out_odd = right + panel * (k + 1), out + panel * rows
                begin, begin_stride, begin_odd = out, width, out_odd
                if start == 0:
                    begin, begin_stride = right + k * width, ZERO
                    begin_odd = right_odd + k * lanes
                right += start * width
                right_odd += start * lanes
                if odd_last(p, panels, n):
                    rows_odd(memory, left, stride, inner, later, step, right, begin, begin_stride,
                             out, right_odd, begin_odd, out_odd, count)  # fmt: skip
                    p += 1
                elif width == panel:
                    rows_wide(memory, left, stride, inner, later, step, right, begin, begin_stride,
                              out, ZERO, ZERO, ZERO, count)  # fmt: skip
                else:
                    rows_narrow(memory, left, stride, inner, later, step, right, begin,
                                begin_stride, out, ZERO, ZERO, ZERO, count)  # fmt: skip
                p += 1
                later += tiles * inner * step

    @njit(**EXACT)
    def accumulate(memory, a, a_width, apart, b, samples, c, inputs, width, alpha, beta):
        if width == panel:
            add_wide(memory, a, a_width, apart, b, samples, c, ZERO, ZERO, ZERO, inputs, alpha,
                     beta)  # fmt: skip
        else:
            add_narrow(memory, a, a_width, apart, b, samples, c, ZERO, ZERO, ZERO, inputs, alpha,
                       beta)  # fmt: skip

    @njit(**EXACT)
    def accumulate_odd(memory, a, a_width, apart, b, samples, c, inputs, b_odd, c_odd, alpha, beta):
        add_odd(memory, a, a_width, apart, b, samples, c, b_odd, c_odd, ZERO, inputs, alpha, beta)

    @njit(**MERGED)
    def multiply_caller(
        memory, order, first, ahead, group, address, stride, k, nonzero, lists, apart, whole, r0,
        r1, b, p0, p1, n, c, rows,
    ):  # fmt: skip
        """Rows r0..r1 and panels p0..p1 of x W + b for a block of rows that has its lists.

        `lists` is where the first of them is, `apart` numbers before that of the next tile; `whole`
        is the list of all rows together, which tiles of other rows take.
        """
        row_bytes, table, panels = k * itemsize, k + LIST_SLACK, (k + panel - 1) // panel
        count = nonzero[U(whole + table + panels)]
        parts = max(1, (count + in_place_panels * panel - 1) // (in_place_panels * panel))
        high = (panels + parts - 1) // parts
        for i0 in range(0, panels, high):
            i1 = min(panels, i0 + high)
            # The panels of a group ask for a part each, so that the requests come evenly.
            bytes_ = row_bytes * (i1 - i0) // (panels * group)
            p = p0
            while p < p1:
                width = width_of(p, n)
                right, out = b + p * panel * (k + 1), c + p * panel * rows
                right_odd, out_odd = right + panel * (k + 1), out + panel * rows
                begin, begin_stride, begin_odd = out, width, out_odd
                if i0 == 0:
                    begin, begin_stride = right + k * width, ZERO
                    begin_odd = right_odd + k * lanes
                asked = row_bytes * i0 // panels + p % group * bytes_
                if odd_last(p, p1, n):
                    own, own_apart = (lists, apart) if lists_of_odd else (whole, ZERO)
                    multiply_odd_scattered(
                        memory, order, first, ahead, asked, asked + 2 * bytes_, address, stride,
                        nonzero, own, own_apart, table + i0, table + i1, right, begin,
                        begin_stride, out, right_odd, begin_odd, out_odd, r0, r1,
                    )  # fmt: skip
                    p += 1
                elif width == panel:
                    multiply_wide_scattered(
                        memory, order, first, ahead, asked, asked + bytes_, address, stride,
                        nonzero, lists, apart, table + i0, table + i1, right, begin, begin_stride,
                        out, ZERO, ZERO, ZERO, r0, r1,
                    )  # fmt: skip
                else:
                    multiply_narrow_scattered(
                        memory, order, first, ahead, asked, asked + bytes_, address, stride,
                        nonzero, whole, ZERO, table + i0, table + i1, right, begin, begin_stride,
                        out, ZERO, ZERO, ZERO, r0, r1,
                    )  # fmt: skip
                p += 1

    @njit(**MERGED)
    def accumulate_caller(
        memory, addresses, first, nonzero, i, i1, b, samples, c, width, alpha, beta
    ):
        if width == panel:
            add_wide_scattered(memory, addresses, first, nonzero, b, samples, c, ZERO, ZERO, i, i1,
                               alpha, beta)  # fmt: skip
        else:
            add_narrow_scattered(memory, addresses, first, nonzero, b, samples, c, ZERO, ZERO, i,
                                 i1, alpha, beta)  # fmt: skip

    @njit(**MERGED)
    def accumulate_caller_odd(
        memory, addresses, first, nonzero, i, i1, b, samples, c, b_odd, c_odd, alpha, beta
    ):  # fmt: skip
        add_odd_scattered(memory, addresses, first, nonzero, b, samples, c, b_odd, c_odd, i, i1,
                          alpha, beta)  # fmt: skip

    return SimpleNamespace(
        width_of=width_of,
        padded=padded,
        odd_last=odd_last,
        multiply=multiply,
        multiply_rows=multiply_rows,
        accumulate=accumulate,
        accumulate_odd=accumulate_odd,
        multiply_caller=multiply_caller,
        accumulate_caller=accumulate_caller,
        accumulate_caller_odd=accumulate_caller_odd,
        block=block_panels * panel,
    )
