"""Sparse rows of a model with one output and no hidden layer, trained by plain SGD.

Its step is little more than reading the batch's numbers twice: x . w, and w += c x. So an l2
penalty costs it nothing (w is kept divided by `scale`), and an l1 penalty a look at the input: see
`fastnn.targets.cpu.laziness`. What an input has been cut by so far is in `jumps`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.targets.cpu.arguments import (
    COLUMNS_ARE_WIDE,
    COLUMNS_AT,
    VALUES,
    VALUES_ARE_DOUBLE,
)
from fastnn.targets.cpu.laziness import CUT
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import (
    load_float32,
    load_float64,
    load_int32,
    load_int64,
    prefetch,
)
from fastnn.targets.cpu.llvm.rule_loops import EXACT, INLINE, MERGED, U
from fastnn.targets.cpu.plan import DELTA, EPOCH_STEPS, LAZY, PREFETCH, SAMPLES, WEIGHTS, K
from fastnn.targets.cpu.scalars import CUT_NOW, NEXT_CUT, NEXT_SCALE, RESCALE
from fastnn.targets.cpu.step.jumps import first_rate
from fastnn.targets.cpu.step.sparse_rows import entry_input, entry_start
from fastnn.targets.cpu.views import (
    head_of,
    jumps_of,
    layers_of,
    make_view,
    numbers_of,
    order_of,
    sparse_of,
)

AHEAD = 3  # rows asked for ahead of time, little by little: 16 numbers as 16 of another are read
TOGETHER = 16


def _make_loops(dtype: np.dtype, load_value: Any, load_index: Any) -> tuple[Any, Any]:
    """Return products and add_rows for one kind of number and one kind of index.

    products(job, order, first, r0, r1, out): out[r] = x_r . w, as w is stored.
    add_rows(job, first, samples, factor): w += factor d_r x_r, for each row of the batch.
    """
    real = dtype.type
    zero, memory_of = real(0), make_view("memory", dtype)
    double = 8 if load_value is load_float64 else 4
    wide = 8 if load_index is load_int64 else 4

    @njit(**INLINE)
    def term(memory, w, values, columns, e):
        x = real(load_value(values + double * e))
        return x * memory[U(w + load_index(columns + wide * e))]

    @njit(**EXACT)
    def products(job, order, first, r0, r1, out):
        memory, head, sparse, w = (
            memory_of(job),
            head_of(job),
            sparse_of(job),
            layers_of(job)[0, WEIGHTS],
        )
        asks = head[PREFETCH] > 0 and order.size > 0
        for r in range(r0, r1):
            row = order[U(first + r)] if order.size > 0 else first + r
            start, end = entry_start(sparse, row), entry_start(sparse, row + 1)
            values, columns = sparse[VALUES] + double * start, sparse[COLUMNS_AT] + wide * start
            count = end - start
            ask = start
            if asks and first + r + AHEAD < head[SAMPLES]:
                ask = entry_start(sparse, order[U(first + r + AHEAD)])
            ask_values, ask_columns = sparse[VALUES] + double * ask, sparse[COLUMNS_AT] + wide * ask
            # Four sums, none of which waits for another.
            a, b, c, d, whole = zero, zero, zero, zero, count // TOGETHER * TOGETHER
            for block in range(0, whole, TOGETHER):
                if ask != start:
                    for byte in range(0, TOGETHER * double, 64):
                        prefetch(ask_values + double * block + byte)
                    for byte in range(0, TOGETHER * wide, 64):
                        prefetch(ask_columns + wide * block + byte)
                for e in range(block, block + TOGETHER, 4):
                    a += term(memory, w, values, columns, e)
                    b += term(memory, w, values, columns, e + 1)
                    c += term(memory, w, values, columns, e + 2)
                    d += term(memory, w, values, columns, e + 3)
            for e in range(whole, count):
                a += term(memory, w, values, columns, e)
            memory[U(out + r)] = (a + b) + (c + d)

    @njit(**EXACT)
    def add_rows(job, first, samples, factor):
        memory, layers, sparse, order = (
            memory_of(job),
            layers_of(job),
            sparse_of(job),
            order_of(job),
        )
        w, delta = layers[0, WEIGHTS], layers[0, DELTA]
        for r in range(samples):
            row, change = order[U(first + r)], factor * memory[U(delta + r)]
            start, end = entry_start(sparse, row), entry_start(sparse, row + 1)
            values, columns = sparse[VALUES] + double * start, sparse[COLUMNS_AT] + wide * start
            for e in range(end - start):
                at = w + load_index(columns + wide * e)
                memory[U(at)] += change * real(load_value(values + double * e))

    return products, add_rows


def make_sparse_linear(dtype: np.dtype) -> SimpleNamespace:
    """Return what reads sparse rows, for one dtype.

    sparse_products(job, order, first, r0, r1, out): memory[out + r] = x . w, as w is stored, of
    rows order[first + r], or of rows first + r where there is no order.
    use(job, first, samples): have the inputs of a batch cut as they should be by now.
    update_sparse(job, first, samples, step): update w, and return the change of the bias.
    make_good(job): bring all of w up to date.
    """
    real = dtype.type
    zero = real(0)
    memory_of = make_view("memory", dtype)
    products_double_wide, add_double_wide = _make_loops(dtype, load_float64, load_int64)
    products_double, add_double = _make_loops(dtype, load_float64, load_int32)
    products_single_wide, add_single_wide = _make_loops(dtype, load_float32, load_int64)
    products_single, add_single = _make_loops(dtype, load_float32, load_int32)

    @njit(**EXACT)
    def sparse_products(job, order, first, r0, r1, out):
        sparse = sparse_of(job)
        if sparse[VALUES_ARE_DOUBLE] == 1:
            if sparse[COLUMNS_ARE_WIDE] == 1:
                products_double_wide(job, order, first, r0, r1, out)
            else:
                products_double(job, order, first, r0, r1, out)
        elif sparse[COLUMNS_ARE_WIDE] == 1:
            products_single_wide(job, order, first, r0, r1, out)
        else:
            products_single(job, order, first, r0, r1, out)

    @njit(**EXACT)
    def add_rows(job, first, samples, factor):
        sparse = sparse_of(job)
        if sparse[VALUES_ARE_DOUBLE] == 1:
            if sparse[COLUMNS_ARE_WIDE] == 1:
                add_double_wide(job, first, samples, factor)
            else:
                add_double(job, first, samples, factor)
        elif sparse[COLUMNS_ARE_WIDE] == 1:
            add_single_wide(job, first, samples, factor)
        else:
            add_single(job, first, samples, factor)

    @njit(**INLINE)
    def cut(memory, seen, w, i, now):
        # The soft threshold without a branch, for which way it goes nobody can foresee.
        threshold, value = real(now - seen[U(i)]), memory[U(w + i)]
        memory[U(w + i)] = value - min(max(value, -threshold), threshold)
        seen[U(i)] = now

    @njit(**EXACT)
    def use(job, first, samples):
        if head_of(job)[LAZY] != CUT:
            return
        memory, order, sparse, seen = (
            memory_of(job),
            order_of(job),
            sparse_of(job),
            jumps_of(job),
        )
        w, now = layers_of(job)[0, WEIGHTS], numbers_of(job)[U(CUT_NOW)]
        for r in range(samples):
            row = order[U(first + r)]
            for entry in range(entry_start(sparse, row), entry_start(sparse, row + 1)):
                cut(memory, seen, w, entry_input(sparse, entry), now)

    @njit(**EXACT)
    def change_all(job, now, factor):
        """Cut all weights up to `now`, multiply them by a factor, and count cuts from 0 again."""
        memory, head, layers, seen = memory_of(job), head_of(job), layers_of(job), jumps_of(job)
        w, k = layers[0, WEIGHTS], layers[0, K]
        if head[LAZY] == CUT:
            for i in range(k):
                cut(memory, seen, w, i, now)
                seen[U(i)] = 0.0
        for i in range(w, w + k):
            memory[U(i)] *= factor

    @njit(**MERGED)
    def update_sparse(job, first, samples, step):
        memory, head, layers, numbers = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            numbers_of(job),
        )
        rate, total, d = first_rate(job), zero, layers[0, DELTA]
        last = step + 1 == head[EPOCH_STEPS]
        if last or numbers[RESCALE] != 1.0:
            change_all(job, numbers[CUT_NOW], real(numbers[RESCALE]))
        add_rows(job, first, samples, real(-rate / numbers[NEXT_SCALE]))
        for r in range(samples):
            total += memory[U(d + r)]
        if last and head[LAZY] == CUT:
            change_all(job, numbers[NEXT_CUT], real(1))
        return real(-rate) * total

    @njit(**EXACT)
    def make_good(job):
        numbers = numbers_of(job)
        change_all(job, numbers[U(NEXT_CUT)], real(numbers[U(NEXT_SCALE)]))

    return SimpleNamespace(
        sparse_products=sparse_products,
        use=use,
        update_sparse=update_sparse,
        make_good=make_good,
    )
