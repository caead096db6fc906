"""Products of a step whose factors are rounded to bfloat16, and summed in float32.

Blocks are as those of `fastnn.targets.cpu.products.gemm`, but both factors of a block are packed
into words first, as `fastnn.targets.cpu.llvm.bfloat16` has them. What packing costs is shared: of
A by all panels that its block is multiplied by, and of B by all rows.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.storage.kernels.machine import vector_bytes
from fastnn.targets.cpu.llvm import bfloat16 as words
from fastnn.targets.cpu.llvm.bfloat16 import CHUNK, LANES, WORDS
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, U
from fastnn.targets.cpu.plan import PACKED_BLOCK, PACKED_PANEL, PACKED_TERMS, TILES
from fastnn.targets.cpu.products.gemm import ZERO
from fastnn.targets.cpu.tiling import PACKED_ROWS

_PANEL = 2 * LANES  # columns of a whole panel
_BYTES, _WORD = 4, 8  # of a number of A, and of one of a row


@njit(**EXACT)
def never(*arguments):
    """Stand where no code is made."""


def make_rounded(dtype: np.dtype, width_of: Any) -> SimpleNamespace:
    """Return the products, on offsets into `memory`.

    For other dtypes than float32, and for vectors of other than 64 bytes, nothing calls them.

    `how` is PAIRS or TILES; `scratch` has room for PACKED_NUMBERS. See
    `fastnn.targets.cpu.products.gemm.make_gemm` for the other arguments.
    multiply: C = A B + the row of B at `init`. Where `order` is not 0, A is no panels but the rows
    of the caller's whose numbers lie at that address, `stride` bytes apart from `start` on.
    multiply_transposed: C = A W^T, with W (k, n) and a row below it, in panels of its n columns.
    accumulate: C = beta C + alpha A^T B of inputs i0..i1 of A, (samples, k), and panels p0..p1 of
    B, (samples, n). A and B have `rows` rows. Panel p0 of C has its row of input `origin` at `c`,
    the next is `apart` numbers on.
    """
    if dtype.itemsize != 4 or vector_bytes() < 64:
        return SimpleNamespace(multiply=never, multiply_transposed=never, accumulate=never)
    pack_rows, pack_transposed = words.pack_rows(), words.pack_transposed()
    caller_rows, caller_transposed = words.pack_caller_rows(), words.pack_caller_transposed()
    pack_wide, pack_narrow = words.pack_panel(2), words.pack_panel(1)
    turn_wide, turn_narrow = words.pack_panel_transposed(2), words.pack_panel_transposed(1)
    wide_tiles, narrow_tiles = (words.multiply_tiles(True, v) for v in (2, 1))
    wide_tile, narrow_tile = (words.multiply_tiles(False, v) for v in (2, 1))
    wide_8, wide_4, wide_1 = (words.multiply_pairs(rows, 2) for rows in (8, 4, 1))
    narrow_8, narrow_4, narrow_1 = (words.multiply_pairs(rows, 1) for rows in (8, 4, 1))
    shape_tiles, release_tiles = words.shape_tiles(), words.release_tiles()
    one = np.float32(1)

    @njit(**EXACT)
    def by_tiles(memory, shaped, a, apart, chunks, b, init, init_stride, c, width, rows):
        for r in range(0, rows, CHUNK):
            left = min(CHUNK, rows - r)
            if left != shaped:
                shape_tiles(memory, left)
                shaped = left
            at, start, out = a + r * WORDS, init + r * init_stride, c + r * width
            if width == _PANEL:
                if left > LANES:
                    wide_tiles(memory, at, apart, chunks, b, start, init_stride, out)
                else:
                    wide_tile(memory, at, apart, chunks, b, start, init_stride, out)
            elif left > LANES:
                narrow_tiles(memory, at, apart, chunks, b, start, init_stride, out)
            else:
                narrow_tile(memory, at, apart, chunks, b, start, init_stride, out)
        return shaped

    @njit(**EXACT)
    def by_pairs(memory, a, apart, chunks, b, init, init_stride, c, width, rows):
        r = ZERO
        while r < rows:
            at, start, out, left = a + r * WORDS, init + r * init_stride, c + r * width, rows - r
            if width == _PANEL:
                if left >= 8:
                    wide_8(memory, at, apart, chunks, b, start, init_stride, out)
                elif left >= 4:
                    wide_4(memory, at, apart, chunks, b, start, init_stride, out)
                else:
                    wide_1(memory, at, apart, chunks, b, start, init_stride, out)
            elif left >= 8:
                narrow_8(memory, at, apart, chunks, b, start, init_stride, out)
            elif left >= 4:
                narrow_4(memory, at, apart, chunks, b, start, init_stride, out)
            else:
                narrow_1(memory, at, apart, chunks, b, start, init_stride, out)
            r += 8 if left >= 8 else (4 if left >= 4 else 1)

    @njit(**EXACT)
    def product(memory, how, shaped, a, apart, chunks, b, init, init_stride, c, width, rows):
        """C = start + A B for packed factors, all rows and one panel.

        The start has rows at `init`, or one for all where `init_stride` is 0. `shaped` is for how
        many rows tiles are shaped; that is returned.
        """
        if how == TILES:
            return by_tiles(memory, shaped, a, apart, chunks, b, init, init_stride, c, width, rows)
        by_pairs(memory, a, apart, chunks, b, init, init_stride, c, width, rows)
        return shaped

    @njit(**EXACT)
    def release(memory, how):
        if how == TILES:
            release_tiles(memory)

    @njit(**EXACT)
    def pack_block(memory, order, start, stride, a, a_rows, k, k0, k1, r0, r1, to):
        """Pack rows r0..r1 and columns k0..k1 of A."""
        for q in range(k0 // _PANEL, (k1 + _PANEL - 1) // _PANEL):
            columns = min(_PANEL, k1 - q * _PANEL)
            if order != 0:
                at = start + q * _PANEL * _BYTES
                caller_rows(memory, order + r0 * _WORD, at, stride, columns, r1 - r0, to)
            else:
                width = width_of(q, k)
                at = a + q * _PANEL * a_rows + r0 * width
                pack_rows(memory, at, width, columns, r1 - r0, to)
            to += (r1 - r0) * WORDS

    @njit(**EXACT)
    def pack_panel(memory, b, width, rows, to):
        """Pack rows of a panel of B."""
        for r in range(0, rows, CHUNK):
            if width == _PANEL:
                pack_wide(memory, b + r * width, min(CHUNK, rows - r), to)
            else:
                pack_narrow(memory, b + r * width, min(CHUNK, rows - r), to)
            to += WORDS * width

    @njit(**EXACT)
    def multiply(
        memory, how, scratch, order, start, stride, a, a_rows, k, r0, r1, b, b_rows, init, p0, p1,
        n, c,
    ):  # fmt: skip
        packed, shaped = scratch + PACKED_BLOCK, ZERO
        for s0 in range(r0, r1, PACKED_ROWS):
            s1 = min(r1, s0 + PACKED_ROWS)
            for k0 in range(0, k, PACKED_TERMS):
                k1 = min(k, k0 + PACKED_TERMS)
                pack_block(
                    memory, order, start, stride, a, a_rows, k, k0, k1, s0, s1, scratch
                )  # fmt: skip
                chunks = (k1 - k0 + CHUNK - 1) // CHUNK
                for p in range(p0, p1):
                    width = width_of(p, n)
                    right, out = b + p * _PANEL * b_rows, c + p * _PANEL * a_rows + s0 * width
                    sums, apart = (right + init * width, ZERO) if k0 == 0 else (out, width)
                    pack_panel(memory, right + k0 * width, width, k1 - k0, packed)
                    shaped = product(
                        memory, how, shaped, scratch, (s1 - s0) * WORDS, chunks, packed, sums,
                        apart, out, width, s1 - s0,
                    )  # fmt: skip
        release(memory, how)

    @njit(**EXACT)
    def turn_panel(memory, w, k, n, n0, n1, p, to):
        """Pack columns n0..n1 of W, inputs of panel p, as rows of a panel of W^T."""
        width = width_of(p, k)
        for q in range(n0 // _PANEL, (n1 + _PANEL - 1) // _PANEL):
            columns = width_of(q, n)
            for i in range(0, width, LANES):
                row = p * _PANEL + i
                start = w + q * _PANEL * (k + 1) + row * columns
                if columns == _PANEL:
                    turn_wide(memory, start, min(LANES, k - row), to + i, width)
                else:
                    turn_narrow(memory, start, min(LANES, k - row), to + i, width)
            to += WORDS * width

    @njit(**EXACT)
    def multiply_transposed(memory, how, scratch, a, a_rows, n, r0, r1, w, p0, p1, k, c):
        packed, shaped = scratch + PACKED_BLOCK, ZERO
        zeros = packed + PACKED_PANEL
        for s0 in range(r0, r1, PACKED_ROWS):
            s1 = min(r1, s0 + PACKED_ROWS)
            for n0 in range(0, n, PACKED_TERMS):
                n1 = min(n, n0 + PACKED_TERMS)
                pack_block(memory, ZERO, ZERO, ZERO, a, a_rows, n, n0, n1, s0, s1, scratch)
                chunks = (n1 - n0 + CHUNK - 1) // CHUNK
                for p in range(p0, p1):
                    width = width_of(p, k)
                    out = c + p * _PANEL * a_rows + s0 * width
                    start, stride = (zeros, ZERO) if n0 == 0 else (out, width)
                    turn_panel(memory, w, k, n, n0, n1, p, packed)
                    shaped = product(
                        memory, how, shaped, scratch, (s1 - s0) * WORDS, chunks, packed, start,
                        stride, out, width, s1 - s0,
                    )  # fmt: skip
        release(memory, how)

    @njit(**EXACT)
    def accumulate(
        memory, how, scratch, order, start, stride, a, k, i0, i1, b, n, p0, p1, rows, samples, c,
        apart, origin, alpha, beta,
    ):  # fmt: skip
        packed, shaped = scratch + PACKED_BLOCK, ZERO
        zeros = packed + PACKED_PANEL
        sums = zeros + _PANEL
        for s in range(0, samples, PACKED_TERMS):
            count, keep = min(PACKED_TERMS, samples - s), beta if s == 0 else one
            chunks = (count + CHUNK - 1) // CHUNK
            for p in range(p0, p1):
                width = width_of(p, n)
                at = b + p * _PANEL * rows + s * width
                pack_panel(memory, at, width, count, scratch + (p - p0) * PACKED_PANEL)
            for i in range(i0, i1, _PANEL):
                a_width, inputs = width_of(i // _PANEL, k), min(_PANEL, i1 - i)
                at = a + i * rows + s * a_width
                for q in range(chunks):
                    samples_left = min(CHUNK, count - q * CHUNK)
                    for half in range(0, inputs, LANES):
                        to = packed + (q * _PANEL + half) * WORDS
                        if order != 0:
                            caller_transposed(
                                memory, order + (s + q * CHUNK) * _WORD,
                                start + (i + half) * _BYTES, stride, inputs - half, samples_left,
                                to,
                            )  # fmt: skip
                        else:
                            pack_transposed(
                                memory, at + q * CHUNK * a_width + half, a_width, samples_left, to
                            )
                for p in range(p0, p1):
                    width = width_of(p, n)
                    right, out = scratch + (p - p0) * PACKED_PANEL, c + (p - p0) * apart
                    out += (i - origin) * width
                    shaped = product(
                        memory, how, shaped, packed, _PANEL * WORDS, chunks, right, zeros, ZERO,
                        sums, width, inputs,
                    )  # fmt: skip
                    for j in range(inputs * width):
                        memory[U(out + j)] = keep * memory[U(out + j)] + alpha * memory[U(sums + j)]
        release(memory, how)

    return SimpleNamespace(
        multiply=multiply, multiply_transposed=multiply_transposed, accumulate=accumulate
    )
