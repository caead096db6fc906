"""Products of panel matrices: blocks of rows, panels and k around the micro-kernels.

A block of `k_block` rows of one panel of B stays in the first-level cache while every row of A in
the block passes over it (Goto & van de Geijn 2008). B needs no packing, being in panels already.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.cpu.kernels import (
    make_accumulate,
    make_accumulate_scattered,
    make_multiply,
    make_multiply_scattered,
)
from fastnn.cpu.naming import njit
from fastnn.cpu.rules import EXACT
from fastnn.cpu.vector import Shape
from fastnn.plan import K_BLOCK_BYTES

CONTINUE = np.int64(-(1 << 62))
# A literal would have Numba compile its callees again for the literal's own type.
ZERO, ONE = np.int64(0), np.int64(1)


def tile_rows(rows: int) -> list[int]:
    """Return the heights of the micro-kernels: the full tile, then 4, 2 and 1 for what is left."""
    return [rows] + [less for less in (4, 2, 1) if less < rows]


def _multiply_chain(dtype: np.dtype, heights: list[int], vectors: int) -> Any:
    """Return a function that multiplies rows by one block of a panel, tallest tiles first."""

    @njit(**EXACT)
    def rest(
        memory, a, chunks, inner, chunk_stride, a_width, b, init, init_stride, c, width, r, r1
    ):
        return r

    for rows in reversed(heights):
        rest = _multiply_height(make_multiply(dtype, rows, vectors), rows, rest)
    return rest


def _multiply_height(kernel: Any, rows: int, shorter: Any) -> Any:
    @njit(**EXACT)
    def chain(
        memory, a, chunks, inner, chunk_stride, a_width, b, init, init_stride, c, width, r, r1
    ):
        while r + rows <= r1:
            kernel(
                memory, a + r * a_width, chunks, inner, chunk_stride, a_width, memory, b,
                memory, init + r * init_stride, init_stride, memory, c + r * width, width,
            )  # fmt: skip
            r += rows
        if r < r1:
            r = shorter(
                memory,
                a,
                chunks,
                inner,
                chunk_stride,
                a_width,
                b,
                init,
                init_stride,
                c,
                width,
                r,
                r1,
            )
        return r

    return chain


def _accumulate_chain(dtype: np.dtype, heights: list[int], vectors: int) -> Any:
    """Return a function that adds A^T B for inputs of one panel of A, tallest tiles first."""

    @njit(**EXACT)
    def rest(memory, a, a_width, b, samples, c, width, i, i1, alpha, beta):
        return i

    for rows in reversed(heights):
        rest = _accumulate_height(make_accumulate(dtype, rows, vectors), rows, rest)
    return rest


def _accumulate_height(kernel: Any, rows: int, shorter: Any) -> Any:
    @njit(**EXACT)
    def chain(memory, a, a_width, b, samples, c, width, i, i1, alpha, beta):
        while i + rows <= i1:
            kernel(
                memory,
                a + i,
                a_width,
                memory,
                b,
                samples,
                memory,
                c + i * width,
                width,
                alpha,
                beta,
            )
            i += rows
        if i < i1:
            i = shorter(memory, a, a_width, b, samples, c, width, i, i1, alpha, beta)
        return i

    return chain


def _scattered_chains(dtype: np.dtype, heights: list[int], vectors: int) -> tuple[Any, Any]:
    """Return both functions again for an A that is the caller's array."""

    @njit(**EXACT)
    def multiply(
        memory, order, first, ahead, mask, line, share, address, stride, used, used_at, inner, b,
        init, init_stride, c, width, r, r1,
    ):  # fmt: skip
        return r

    @njit(**EXACT)
    def accumulate(
        memory, order, first, address, stride, used, b, samples, c, width, i, i1, alpha, beta
    ):
        return i

    for rows in reversed(heights):
        kernel = make_multiply_scattered(dtype, rows, vectors)
        multiply = _scattered_multiply_height(kernel, rows, multiply)
        kernel = make_accumulate_scattered(dtype, rows, vectors)
        accumulate = _scattered_accumulate_height(kernel, rows, accumulate)
    return multiply, accumulate


def _scattered_multiply_height(kernel: Any, rows: int, shorter: Any) -> Any:
    @njit(**EXACT)
    def chain(
        memory, order, first, ahead, mask, line, share, address, stride, used, used_at, inner, b,
        init, init_stride, c, width, r, r1,
    ):  # fmt: skip
        while r + rows <= r1:
            kernel(
                order, first + r, ahead, mask, line, share, address, stride, used, used_at, inner,
                memory, b, memory, init + r * init_stride, init_stride,
                memory, c + r * width, width,
            )  # fmt: skip
            r += rows
        if r < r1:
            r = shorter(
                memory, order, first, ahead, mask, line, share, address, stride, used, used_at,
                inner, b, init, init_stride, c, width, r, r1,
            )  # fmt: skip
        return r

    return chain


def _scattered_accumulate_height(kernel: Any, rows: int, shorter: Any) -> Any:
    @njit(**EXACT)
    def chain(
        memory, order, first, address, stride, used, b, samples, c, width, i, i1, alpha, beta
    ):
        while i + rows <= i1:
            kernel(
                order, first, address, stride, used, i, memory, b, samples,
                memory, c, width, alpha, beta,
            )  # fmt: skip
            i += rows
        if i < i1:
            i = shorter(
                memory, order, first, address, stride, used, b, samples, c, width, i, i1, alpha,
                beta,
            )  # fmt: skip
        return i

    return chain


def make_gemm(dtype: np.dtype, shape: Shape) -> SimpleNamespace:
    """Return the products for one dtype, all on offsets into `memory`.

    width_of(p, n): columns stored of panel p of a matrix of n columns; padded(n): of all panels.
    multiply(memory, a, a_rows, k, r0, r1, b, b_rows, init, p0, p1, n, c): rows r0..r1 and panels
    p0..p1 of C = A B + a start. A is (a_rows, k), C is (a_rows, n), B is (b_rows >= k, n), all in
    panels. The start is the row of B at `init` (the bias) where that is >= 0, C itself where it is
    CONTINUE, else the zeros at offset -1 - init.
    accumulate(memory, a, a_width, b, samples, c, inputs, width, alpha, beta): within one panel each
    of A and C: C = beta C + alpha A^T B over rows 0..samples and columns 0..inputs of A.
    """
    panel, lanes = shape.panel, shape.lanes
    heights, low = tile_rows(shape.rows), tile_rows(shape.rows_narrow)
    wide, narrow = _multiply_chain(dtype, heights, 2), _multiply_chain(dtype, low, 1)
    add_wide, add_narrow = _accumulate_chain(dtype, heights, 2), _accumulate_chain(dtype, low, 1)
    wide_scattered, add_wide_scattered = _scattered_chains(dtype, heights, 2)
    narrow_scattered, add_narrow_scattered = _scattered_chains(dtype, low, 1)
    line, tallest = 64 // dtype.itemsize, low[0]
    block_panels = max(1, K_BLOCK_BYTES // dtype.itemsize // panel // panel)

    @njit(**EXACT)
    def width_of(p, n):
        left = n - p * panel
        return lanes if left <= lanes else panel

    @njit(**EXACT)
    def padded(n):
        return (n + lanes - 1) // lanes * lanes

    @njit(**EXACT)
    def multiply(memory, a, a_rows, k, r0, r1, b, b_rows, init, p0, p1, n, c):
        full = k // panel
        blocks = (full + block_panels - 1) // block_panels
        for block in range(blocks + (1 if k > full * panel else 0)):
            if block < blocks:
                start = block * block_panels
                chunks, inner, a_width = min(block_panels, full - start), panel, panel
            else:
                start, chunks, inner, a_width = full, 1, k - full * panel, width_of(full, k)
            left = a + start * panel * a_rows
            for p in range(p0, p1):
                width = width_of(p, n)
                right = b + p * panel * b_rows
                out = c + p * panel * a_rows
                if block > 0 or init == CONTINUE:
                    begin, begin_stride = out, width
                else:
                    begin, begin_stride = (right + init * width if init >= 0 else -1 - init), 0
                right += start * panel * width
                if width == panel:
                    wide(memory, left, chunks, inner, panel * a_rows, a_width, right,
                         begin, begin_stride, out, width, r0, r1)  # fmt: skip
                else:
                    narrow(memory, left, chunks, inner, panel * a_rows, a_width, right,
                           begin, begin_stride, out, width, r0, r1)  # fmt: skip

    @njit(**EXACT)
    def accumulate(memory, a, a_width, b, samples, c, inputs, width, alpha, beta):
        if width == panel:
            add_wide(memory, a, a_width, b, samples, c, width, ZERO, inputs, alpha, beta)
        else:
            add_narrow(memory, a, a_width, b, samples, c, width, ZERO, inputs, alpha, beta)

    @njit(**EXACT)
    def multiply_caller(
        memory, order, first, ahead, address, stride, k, used, used_at, count, r0, r1, b, p0, p1,
        n, c, rows,
    ):  # fmt: skip
        panels = p1 - p0
        lines, blocks = (k + line - 1) // line, max(1, (count + line - 1) // line)
        share = (lines + blocks - 1) // blocks
        for start in range(0, max(1, count), block_panels * panel):
            inner = min(block_panels * panel, count - start)
            for p in range(p0, p1):
                width = width_of(p, n)
                right = b + p * panel * (k + 1)
                out = c + p * panel * rows
                begin, begin_stride = (right + k * width, ZERO) if start == 0 else (out, width)
                # Every panel asks for other rows, so that the requests come evenly.
                mask = 0
                for r in range(p - p0, tallest, panels):
                    mask |= 1 << r
                if width == panel:
                    wide_scattered(memory, order, first, ahead, mask, start // line * share, share,
                                   address, stride, used, used_at + start, inner, right, begin,
                                   begin_stride, out, width, r0, r1)  # fmt: skip
                else:
                    narrow_scattered(memory, order, first, ahead, mask, start // line * share,
                                     share, address, stride, used, used_at + start, inner, right,
                                     begin, begin_stride, out, width, r0, r1)  # fmt: skip

    @njit(**EXACT)
    def accumulate_caller(
        memory, order, first, address, stride, used, i, i1, b, samples, c, width, alpha, beta
    ):
        if width == panel:
            add_wide_scattered(memory, order, first, address, stride, used, b, samples, c, width, i,
                               i1, alpha, beta)  # fmt: skip
        else:
            add_narrow_scattered(memory, order, first, address, stride, used, b, samples, c, width,
                                 i, i1, alpha, beta)  # fmt: skip

    return SimpleNamespace(
        width_of=width_of,
        padded=padded,
        multiply=multiply,
        accumulate=accumulate,
        multiply_caller=multiply_caller,
        accumulate_caller=accumulate_caller,
        block=block_panels * panel,
    )
