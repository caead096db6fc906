"""A first layer that reads sparse rows: forward, and X^T delta.

The stored numbers of a row are unpacked a block at a time, so that products see one kind of number
and one of index. Within a row inputs ascend, and a thread works on a range of them: in `nonzero` it
keeps the inputs of a block, and behind these, for each row of the batch, how far it has come.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.targets.cpu.arguments import (
    COLUMNS_ARE_WIDE,
    COLUMNS_AT,
    STARTS,
    STARTS_ARE_WIDE,
    VALUES,
    VALUES_ARE_DOUBLE,
)
from fastnn.targets.cpu.laziness import STAMPED
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import load_float32, load_float64, load_int32, load_int64
from fastnn.targets.cpu.llvm.rule_loops import EXACT, INLINE, U
from fastnn.targets.cpu.plan import CAPACITY, ENTRIES, ENTRY_BLOCK, LAZY, NONZERO_SIZE
from fastnn.targets.cpu.products.gemm import ZERO
from fastnn.targets.cpu.products.scattered import make_scattered
from fastnn.targets.cpu.scalars import SCALE
from fastnn.targets.cpu.shares import place_of_batch
from fastnn.targets.cpu.step.gather import squares32
from fastnn.targets.cpu.views import (
    head_of,
    keys_of,
    layers_of,
    make_view,
    nonzero_of,
    numbers_of,
    order_of,
    sparse_of,
)
from fastnn.targets.fields import DELTA, LAYERS, OUTPUT, THRESHOLD, WEIGHTS, K, N


@njit(**EXACT)
def entry_start(sparse, row):
    """Return where the stored numbers of a row begin; those of the row before end there."""
    if sparse[STARTS_ARE_WIDE] == 1:
        return load_int64(sparse[STARTS] + 8 * row)
    return load_int32(sparse[STARTS] + 4 * row)


@njit(**EXACT)
def entry_input(sparse, entry):
    """Return the input that a stored number belongs to."""
    if sparse[COLUMNS_ARE_WIDE] == 1:
        return load_int64(sparse[COLUMNS_AT] + 8 * entry)
    return load_int32(sparse[COLUMNS_AT] + 4 * entry)


@njit(**EXACT)
def first_entry(sparse, row, i0):
    """Return the first stored number of a row that belongs to input i0 or a later one."""
    low, high = entry_start(sparse, row), entry_start(sparse, row + 1)
    if i0 == 0 or low == high:
        return low
    # Of numbers from `low` on so many are left; which half it is in decides no branch.
    left = high - low
    while left > 1:
        half = left >> 1
        low += half * (entry_input(sparse, low + half - 1) < i0)
        left -= half
    return low + (entry_input(sparse, low) < i0)


def make_sparse(dtype: np.dtype, panel: int, width_of: Any) -> SimpleNamespace:
    """Return what reads sparse rows, for one dtype.

    sparse_forward(job, first, r0, r1, p0, p1, me): the products of x W + b for rows r0..r1 and
    panels p0..p1 of the first layer.
    seek(job, i0, first, samples, me): begin at input i0, in each row of the batch.
    add_entries(job, i1, p0, p1, first, samples, out, apart, origin, alpha, me): go on up to input
    i1 and add alpha X^T delta to `out`, which lies as `update.add` says.
    """
    real = dtype.type
    zero = real(0)
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)
    gather_wide, scatter_wide = make_scattered(dtype, 2)
    gather_slim, scatter_slim = make_scattered(dtype, 1)

    @njit(**EXACT)
    def unpack(job, counter, entry, end, i1, me):
        """Unpack numbers from `entry` on: up to `end`, up to input i1, and ENTRY_BLOCK at most.

        Return how many. With dropout they are multiplied by their mask; `counter` is that of input
        0 of the row in the batch.
        """
        memory, head, layers, sparse, nonzero = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            sparse_of(job),
            nonzero_of(job),
        )
        x, columns = head[ENTRIES] + me * ENTRY_BLOCK, me * head[NONZERO_SIZE]
        most, count = min(end - entry, ENTRY_BLOCK), ZERO
        while count < most:
            column = entry_input(sparse, entry + count)
            if column >= i1:
                break
            nonzero[U(columns + count)] = column
            count += 1
        if sparse[VALUES_ARE_DOUBLE] == 1:
            at = sparse[VALUES] + 8 * entry
            for e in range(count):
                memory[U(x + e)] = real(load_float64(at + 8 * e))
        else:
            at = sparse[VALUES] + 4 * entry
            for e in range(count):
                memory[U(x + e)] = real(load_float32(at + 4 * e))
        if layers[0, THRESHOLD] > 0:
            threshold, key = np.uint64(layers[0, THRESHOLD]), np.uint64(keys_of(job)[0])
            factor = alphas_of(job)[head[LAYERS]]
            for e in range(count):
                bits = squares32(np.uint64(counter + nonzero[U(columns + e)]), key)
                memory[U(x + e)] *= factor if bits >= threshold else zero
        return count

    @njit(**INLINE)
    def row_of(job, first, r):
        order = order_of(job)
        return order[U(first + r)] if order.size > 0 else first + r

    @njit(**EXACT)
    def sparse_forward(job, first, r0, r1, p0, p1, me):
        memory, head, layers, sparse, nonzero = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            sparse_of(job),
            nonzero_of(job),
        )
        k, n, w, rows = layers[0, K], layers[0, N], layers[0, WEIGHTS], head[CAPACITY]
        x, columns = head[ENTRIES] + me * ENTRY_BLOCK, me * head[NONZERO_SIZE]
        place = place_of_batch(job, first)
        for r in range(r0, r1):
            row, counter = row_of(job, first, r), (place + r) * k
            entry, end = entry_start(sparse, row), entry_start(sparse, row + 1)
            for p in range(p0, p1):
                width = width_of(p, n)
                out = layers[0, OUTPUT] + p * panel * rows + r * width
                for c in range(width):
                    memory[U(out + c)] = zero
            while entry < end:
                count = unpack(job, counter, entry, end, k, me)
                entry += count
                for p in range(p0, p1):
                    width = width_of(p, n)
                    out = layers[0, OUTPUT] + p * panel * rows + r * width
                    panel_at = w + p * panel * (k + 1)
                    if width == panel:
                        gather_wide(memory, out, panel_at, nonzero, columns, x, count)
                    else:
                        gather_slim(memory, out, panel_at, nonzero, columns, x, count)
            scale = real(1)
            if ZERO < head[LAZY] < STAMPED:
                scale = real(numbers_of(job)[U(SCALE)])
            for p in range(p0, p1):
                width = width_of(p, n)
                out = layers[0, OUTPUT] + p * panel * rows + r * width
                bias = w + p * panel * (k + 1) + k * width
                for c in range(width):
                    memory[U(out + c)] = scale * memory[U(out + c)] + memory[U(bias + c)]

    @njit(**EXACT)
    def seek(job, i0, first, samples, me):
        sparse, nonzero = sparse_of(job), nonzero_of(job)
        cursors = me * head_of(job)[NONZERO_SIZE] + ENTRY_BLOCK
        for r in range(samples):
            nonzero[U(cursors + r)] = first_entry(sparse, row_of(job, first, r), i0)

    @njit(**EXACT)
    def add_entries(job, i1, p0, p1, first, samples, out, apart, origin, alpha, me):
        memory, head, layers, sparse, nonzero = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            sparse_of(job),
            nonzero_of(job),
        )
        k, n, rows = layers[0, K], layers[0, N], head[CAPACITY]
        x, columns = head[ENTRIES] + me * ENTRY_BLOCK, me * head[NONZERO_SIZE]
        place = place_of_batch(job, first)
        for r in range(samples):
            cursor = columns + ENTRY_BLOCK + r
            end, counter = entry_start(sparse, row_of(job, first, r) + 1), (place + r) * k
            while nonzero[U(cursor)] < end:
                count = unpack(job, counter, nonzero[U(cursor)], end, i1, me)
                if count == 0:
                    break
                nonzero[U(cursor)] += count
                for p in range(p0, p1):
                    width = width_of(p, n)
                    delta = layers[0, DELTA] + p * panel * rows + r * width
                    to = out + (p - p0) * apart - origin * width
                    if width == panel:
                        scatter_wide(memory, delta, to, nonzero, columns, x, count, alpha)
                    else:
                        scatter_slim(memory, delta, to, nonzero, columns, x, count, alpha)

    return SimpleNamespace(
        sparse_forward=sparse_forward, seek=seek, add_entries=add_entries, row_of=row_of
    )
