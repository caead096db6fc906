"""Sparse rows of a model with one output and no hidden layer, trained by plain SGD.

Its step is little more than reading the batch's numbers twice: x . w, and w += c x. So an l2
penalty costs it nothing (w is kept divided by `scale`), and an l1 penalty a look at the input: see
`fastnn.targets.cpu.laziness`. What an input has been cut by so far is in `jumps`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.rules.updates import soft_threshold
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
from fastnn.targets.cpu.scalars import CUT_NOW, NEXT_CUT, NEXT_SCALE, RESCALE, SCALE
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

AHEAD = 4  # rows asked for ahead of time


def _make_loops(real: Any, load_value: Any, load_index: Any) -> tuple[Any, Any]:
    """Return dot and axpy for one kind of number and one kind of index."""
    zero = real(0)
    double = 8 if load_value is load_float64 else 4
    wide = 8 if load_index is load_int64 else 4

    @njit(**INLINE)
    def term(memory, w, values, columns, e):
        x = real(load_value(values + double * e))
        return x * memory[U(w + load_index(columns + wide * e))]

    @njit(**EXACT)
    def dot(memory, w, values, columns, count):
        # Four sums, none of which waits for another.
        a, b, c, d, whole = zero, zero, zero, zero, count // 4 * 4
        for e in range(0, whole, 4):
            a += term(memory, w, values, columns, e)
            b += term(memory, w, values, columns, e + 1)
            c += term(memory, w, values, columns, e + 2)
            d += term(memory, w, values, columns, e + 3)
        for e in range(whole, count):
            a += term(memory, w, values, columns, e)
        return (a + b) + (c + d)

    @njit(**EXACT)
    def axpy(memory, w, values, columns, count, factor):
        for e in range(count):
            at = w + load_index(columns + wide * e)
            memory[U(at)] += factor * real(load_value(values + double * e))

    return dot, axpy


def make_sparse_linear(dtype: np.dtype) -> SimpleNamespace:
    """Return what reads sparse rows, for one dtype.

    sparse_dot(job, row): x . w of a row, as w is stored.
    use(job, row): have the inputs of a row cut as they should be by now.
    ask_for(job, step): prefetch the row of a place in the order, if there is one.
    update_sparse(job, first, samples, step): the update of w and bias.
    make_good(job): bring all of w up to date.
    """
    real = dtype.type
    zero, shrunk = real(0), njit(**INLINE)(soft_threshold(real))
    memory_of = make_view("memory", dtype)
    double_wide, axpy_double_wide = _make_loops(real, load_float64, load_int64)
    double, axpy_double = _make_loops(real, load_float64, load_int32)
    single_wide, axpy_single_wide = _make_loops(real, load_float32, load_int64)
    single, axpy_single = _make_loops(real, load_float32, load_int32)

    @njit(**INLINE)
    def place(sparse, row):
        """Return the addresses of the numbers of a row, and of their inputs, and how many."""
        start, end = entry_start(sparse, row), entry_start(sparse, row + 1)
        values = sparse[VALUES] + start * (8 if sparse[VALUES_ARE_DOUBLE] == 1 else 4)
        columns = sparse[COLUMNS_AT] + start * (8 if sparse[COLUMNS_ARE_WIDE] == 1 else 4)
        return values, columns, end - start

    @njit(**EXACT)
    def sparse_dot(job, row):
        memory, sparse, w = memory_of(job), sparse_of(job), layers_of(job)[0, WEIGHTS]
        values, columns, count = place(sparse, row)
        if sparse[VALUES_ARE_DOUBLE] == 1:
            if sparse[COLUMNS_ARE_WIDE] == 1:
                return double_wide(memory, w, values, columns, count)
            return double(memory, w, values, columns, count)
        if sparse[COLUMNS_ARE_WIDE] == 1:
            return single_wide(memory, w, values, columns, count)
        return single(memory, w, values, columns, count)

    @njit(**EXACT)
    def add_row(job, row, factor):
        memory, sparse, w = memory_of(job), sparse_of(job), layers_of(job)[0, WEIGHTS]
        values, columns, count = place(sparse, row)
        if sparse[VALUES_ARE_DOUBLE] == 1:
            if sparse[COLUMNS_ARE_WIDE] == 1:
                axpy_double_wide(memory, w, values, columns, count, factor)
            else:
                axpy_double(memory, w, values, columns, count, factor)
        elif sparse[COLUMNS_ARE_WIDE] == 1:
            axpy_single_wide(memory, w, values, columns, count, factor)
        else:
            axpy_single(memory, w, values, columns, count, factor)

    @njit(**EXACT)
    def ask_for(job, at):
        head, sparse = head_of(job), sparse_of(job)
        if head[PREFETCH] > 0 and at + AHEAD < head[SAMPLES]:
            values, columns, count = place(sparse, order_of(job)[U(at + AHEAD)])
            value_bytes = count * (8 if sparse[VALUES_ARE_DOUBLE] == 1 else 4)
            column_bytes = count * (8 if sparse[COLUMNS_ARE_WIDE] == 1 else 4)
            for byte in range(0, value_bytes, 64):
                prefetch(values + byte)
            for byte in range(0, column_bytes, 64):
                prefetch(columns + byte)

    @njit(**EXACT)
    def cut(job, i, now):
        memory, seen, w = memory_of(job), jumps_of(job), layers_of(job)[0, WEIGHTS]
        if seen[U(i)] != now:
            memory[U(w + i)] = shrunk(memory[U(w + i)], real(now - seen[U(i)]))
            seen[U(i)] = now

    @njit(**EXACT)
    def use(job, row):
        if head_of(job)[LAZY] == CUT:
            sparse, now = sparse_of(job), numbers_of(job)[U(CUT_NOW)]
            for entry in range(entry_start(sparse, row), entry_start(sparse, row + 1)):
                cut(job, entry_input(sparse, entry), now)

    @njit(**EXACT)
    def change_all(job, now, factor):
        """Cut all weights up to `now`, multiply them by a factor, and count cuts from 0 again."""
        memory, head, layers, seen = memory_of(job), head_of(job), layers_of(job), jumps_of(job)
        w, k = layers[0, WEIGHTS], layers[0, K]
        if head[LAZY] == CUT:
            for i in range(k):
                cut(job, i, now)
                seen[U(i)] = 0.0
        for i in range(w, w + k):
            memory[U(i)] *= factor

    @njit(**MERGED)
    def update_sparse(job, first, samples, step):
        memory, head, layers, order, numbers = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            order_of(job),
            numbers_of(job),
        )
        rate, total, d = first_rate(job), zero, layers[0, DELTA]
        if numbers[RESCALE] != 1.0:
            change_all(job, numbers[CUT_NOW], real(numbers[RESCALE]))
        factor = real(-rate / numbers[NEXT_SCALE])
        for r in range(samples):
            delta = memory[U(d + r)]
            add_row(job, order[U(first + r)], factor * delta)
            total += delta
        if step + 1 == head[EPOCH_STEPS] and head[LAZY] == CUT:
            change_all(job, numbers[NEXT_CUT], real(1))
        return real(-rate) * total

    @njit(**EXACT)
    def make_good(job):
        numbers = numbers_of(job)
        change_all(job, numbers[U(NEXT_CUT)], real(numbers[U(NEXT_SCALE)]))

    return SimpleNamespace(
        sparse_dot=sparse_dot,
        use=use,
        ask_for=ask_for,
        update_sparse=update_sparse,
        make_good=make_good,
    )
