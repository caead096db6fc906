"""Sparse rows of a model with one output and no hidden layer: their products, and plain SGD.

A step is little more than reading the batch's numbers twice: x . w, and w += c x. So an l2
penalty costs it nothing (w is kept divided by `scale`), an l1 penalty a look at the input (see
`fastnn.targets.cpu.laziness`; what an input has been cut by so far is in `jumps`), and the mean of
the weights a second sum (see `step.jumps.move_mean`).

Where a batch has numbers enough for several threads, inputs are cut into 2^head[RANGE_BITS] ranges.
Of each the sums over a row and the update are apart from the others', whoever does them: no weight
is ever written by one core and read by another. Where ranges begin in a row is kept in `edges`.
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
from fastnn.targets.cpu.laziness import CUT, CUT_MEAN
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import (
    load_float32,
    load_float64,
    load_int32,
    load_int64,
    prefetch,
)
from fastnn.targets.cpu.llvm.rule_loops import EXACT, INLINE, U
from fastnn.targets.cpu.plan import EPOCH_STEPS, LAZY, PREFETCH, PRIVATE, RANGE_BITS, SUMMED
from fastnn.targets.cpu.products.gemm import ONE, ZERO
from fastnn.targets.cpu.scalars import ALL_NOW, NEXT_GOOD, NEXT_SCALE, THROUGH
from fastnn.targets.cpu.step.jumps import first_rate
from fastnn.targets.cpu.step.settling import make_settling
from fastnn.targets.cpu.step.sparse_rows import entry_input, entry_start, first_entry
from fastnn.targets.cpu.views import (
    edges_of,
    head_of,
    jumps_of,
    layers_of,
    make_view,
    numbers_of,
    order_of,
    sparse_of,
)
from fastnn.targets.fields import DELTA, MEAN_SLOT, SAMPLES, WEIGHTS, K
from fastnn.targets.layout import SUMMED_ROWS

AHEAD = 3  # rows asked for ahead of time, at least; else those of the next batch
NOTHING = ZERO - 1  # to ask for
TOGETHER = 16  # numbers that are read while 16 of a row ahead are asked for


@njit(**EXACT)
def first_of(job, group):
    """Return the first input of a range; that behind the last is the number of inputs."""
    return layers_of(job)[0, K] * group >> head_of(job)[RANGE_BITS]


@njit(**INLINE)
def edge(job, sparse, row, group):
    """Return the first entry of a row that is of this range or a later one."""
    ranges = 1 << head_of(job)[RANGE_BITS]
    if group == 0:
        return entry_start(sparse, row)
    if group == ranges:
        return entry_start(sparse, row + 1)
    edges = edges_of(job)
    at = row * (ranges - 1) + group - 1
    found = edges[U(at)]
    if found == 0:
        found = first_entry(sparse, row, first_of(job, group))
        edges[U(at)] = found
    return found


@njit(**INLINE)
def asked_for(job, sparse, order, place, samples, group):
    """Return the first entry to ask for while the row at a place is read, or NOTHING."""
    head = head_of(job)
    following = place + max(AHEAD, samples)
    if head[PREFETCH] == 0 or following >= head[SAMPLES] or following >= order.size:
        return NOTHING
    row, bits = order[U(following)], head[RANGE_BITS]
    start = entry_start(sparse, row)
    if group == 0:
        return start
    found = edges_of(job)[U(row * ((1 << bits) - 1) + group - 1)]
    # To look for what is not known yet would be to wait for the row.
    return found if found > 0 else start + ((entry_start(sparse, row + 1) - start) * group >> bits)


def _make_loops(dtype: np.dtype, load_value: Any, load_index: Any) -> tuple[Any, Any]:
    """Return product and add_row for one kind of number and one kind of index.

    product(memory, w, sparse, start, end, ask): the sum over entries of x w, as w is stored.
    add_row(memory, w, sparse, start, end, ask, change): w += change x.

    Meanwhile the one asks for the numbers of as many entries from `ask` on, and the other for their
    inputs: both passes have to wait for memory, so neither is to ask for all.
    """
    real = dtype.type
    zero = real(0)
    double = 8 if load_value is load_float64 else 4
    wide = 8 if load_index is load_int64 else 4

    @njit(**INLINE)
    def term(memory, w, values, columns, e):
        x = real(load_value(values + double * e))
        return x * memory[U(w + load_index(columns + wide * e))]

    @njit(**EXACT)
    def product(memory, w, sparse, start, end, ask):
        values, columns = sparse[VALUES] + double * start, sparse[COLUMNS_AT] + wide * start
        count, ahead = end - start, sparse[VALUES] + double * ask
        # Four sums, none of which waits for another.
        a, b, c, d, whole = zero, zero, zero, zero, count // TOGETHER * TOGETHER
        for block in range(0, whole, TOGETHER):
            if ask >= 0:
                for byte in range(0, TOGETHER * double, 64):
                    prefetch(ahead + double * block + byte)
            for e in range(block, block + TOGETHER, 4):
                a += term(memory, w, values, columns, e)
                b += term(memory, w, values, columns, e + 1)
                c += term(memory, w, values, columns, e + 2)
                d += term(memory, w, values, columns, e + 3)
        if ask >= 0:
            for byte in range(0, TOGETHER * double, 64):
                prefetch(ahead + double * whole + byte)
        fours = count // 4 * 4
        for e in range(whole, fours, 4):
            a += term(memory, w, values, columns, e)
            b += term(memory, w, values, columns, e + 1)
            c += term(memory, w, values, columns, e + 2)
            d += term(memory, w, values, columns, e + 3)
        for e in range(fours, count):
            a += term(memory, w, values, columns, e)
        return (a + b) + (c + d)

    @njit(**INLINE)
    def add(memory, w, values, columns, e, change):
        at = w + load_index(columns + wide * e)
        memory[U(at)] += change * real(load_value(values + double * e))

    @njit(**EXACT)
    def add_row(memory, w, sparse, start, end, ask, change):
        values, columns = sparse[VALUES] + double * start, sparse[COLUMNS_AT] + wide * start
        count, ahead = end - start, sparse[COLUMNS_AT] + wide * ask
        whole = count // TOGETHER * TOGETHER
        for block in range(0, whole, TOGETHER):
            if ask >= 0:
                for byte in range(0, TOGETHER * wide, 64):
                    prefetch(ahead + wide * block + byte)
            for e in range(block, block + TOGETHER):
                add(memory, w, values, columns, e, change)
        if ask >= 0:
            prefetch(ahead + wide * whole)
        for e in range(whole, count):
            add(memory, w, values, columns, e, change)

    return product, add_row


@njit(**INLINE)
def single_width(p, n):
    """Return how wide a panel is of a layout that has one weight of an input after another."""
    return ONE


def make_ranges(dtype: np.dtype) -> SimpleNamespace:
    """Return what reads sparse rows, for one dtype.

    row_product(memory, w, sparse, start, end, ask): the sum over some entries of x w, as w is
    stored.
    range_products(job, first, samples, group, out): have the inputs of a range, of a batch, cut as
    they should be by now; then memory[out + r] is the sum over that range for row r.
    update_range(job, first, samples, group, step): update the weights of a range.
    make_good(job): bring all of w up to date.
    """
    real = dtype.type
    zero = real(0)
    memory_of = make_view("memory", dtype)
    settling = make_settling(dtype, 1, single_width)
    cut, settle = settling.cut, settling.settle
    change_all, end_all = settling.change_all, settling.end_all
    double_wide = _make_loops(dtype, load_float64, load_int64)
    double = _make_loops(dtype, load_float64, load_int32)
    single_wide = _make_loops(dtype, load_float32, load_int64)
    single = _make_loops(dtype, load_float32, load_int32)
    product_double_wide, product_double = double_wide[0], double[0]
    product_single_wide, product_single = single_wide[0], single[0]
    add_double_wide, add_double, add_single_wide, add_single = (
        double_wide[1],
        double[1],
        single_wide[1],
        single[1],
    )

    @njit(**INLINE)
    def row_product(memory, w, sparse, start, end, ask):
        if sparse[VALUES_ARE_DOUBLE] == 1:
            if sparse[COLUMNS_ARE_WIDE] == 1:
                return product_double_wide(memory, w, sparse, start, end, ask)
            return product_double(memory, w, sparse, start, end, ask)
        if sparse[COLUMNS_ARE_WIDE] == 1:
            return product_single_wide(memory, w, sparse, start, end, ask)
        return product_single(memory, w, sparse, start, end, ask)

    @njit(**INLINE)
    def add_row(memory, w, sparse, start, end, ask, change):
        if sparse[VALUES_ARE_DOUBLE] == 1:
            if sparse[COLUMNS_ARE_WIDE] == 1:
                add_double_wide(memory, w, sparse, start, end, ask, change)
            else:
                add_double(memory, w, sparse, start, end, ask, change)
        elif sparse[COLUMNS_ARE_WIDE] == 1:
            add_single_wide(memory, w, sparse, start, end, ask, change)
        else:
            add_single(memory, w, sparse, start, end, ask, change)

    @njit(**EXACT)
    def range_products(job, first, samples, group, out):
        memory, head, sparse, order, seen = (
            memory_of(job),
            head_of(job),
            sparse_of(job),
            order_of(job),
            jumps_of(job),
        )
        # By now: the step has not begun, for which threads wait for one another.
        w, now = layers_of(job)[0, WEIGHTS], numbers_of(job)[U(NEXT_GOOD)]
        for r in range(samples):
            row = order[U(first + r)]
            start, end = edge(job, sparse, row, group), edge(job, sparse, row, group + 1)
            if head[LAZY] == CUT:
                for entry in range(start, end):
                    i = entry_input(sparse, entry)
                    cut(memory, w + i, ONE, real(now - seen[U(i)]))
                    seen[U(i)] = now
            elif head[LAZY] == CUT_MEAN:
                for entry in range(start, end):
                    settle(job, entry_input(sparse, entry), now)
            ask = asked_for(job, sparse, order, first + r, samples, group)
            memory[U(out + r)] = row_product(memory, w, sparse, start, end, ask)

    @njit(**EXACT)
    def update_range(job, first, samples, group, step):
        memory, head, layers, sparse, order, numbers = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            sparse_of(job),
            order_of(job),
            numbers_of(job),
        )
        w, delta, mean = layers[0, WEIGHTS], layers[0, DELTA], head[MEAN_SLOT]
        i0, i1 = first_of(job, group), first_of(job, group + 1)
        if numbers[U(ALL_NOW)] != 0.0:
            change_all(job, i0, i1)
        factor = real(-first_rate(job) / numbers[U(NEXT_SCALE)])
        through = real(numbers[U(THROUGH)]) if mean > 0 else zero
        summed, rows, entries = head[SUMMED] == 1, 0, 0
        to, whole = w, head[PRIVATE] + layers[0, K]
        if summed:
            to = head[PRIVATE]
            for i in range(i0, i1):
                memory[U(to + i)] = memory[U(whole + i)] = zero
        for r in range(samples):
            row, c = order[U(first + r)], factor * memory[U(delta + r)]
            ask = asked_for(job, sparse, order, first + r, samples, group)
            # Of a row whose derivative is 0, as many are of a hinge loss, nothing is read.
            start, end = edge(job, sparse, row, group), edge(job, sparse, row, group + 1)
            if c == zero:
                end = start
            add_row(memory, to, sparse, start, end, ask, c)
            if summed:
                rows, entries = rows + 1, entries + end - start
                # So many rows, and so many that it takes no longer than to read them.
                if rows >= SUMMED_ROWS and entries >= i1 - i0:
                    rows, entries = 0, 0
                    for i in range(i0, i1):
                        memory[U(whole + i)] += memory[U(to + i)]
                        memory[U(to + i)] = zero
            elif through != zero:
                add_row(memory, w + mean, sparse, start, end, NOTHING, -through * c)
        if summed:
            for i in range(i0, i1):
                change = memory[U(whole + i)] + memory[U(to + i)]
                memory[U(w + i)] += change
                if through != zero:
                    memory[U(w + mean + i)] -= through * change
        last = step + 1 == head[EPOCH_STEPS]
        if last and (head[LAZY] == CUT or mean > 0):
            end_all(job, i0, i1, real(1))

    @njit(**EXACT)
    def make_good(job):
        end_all(job, ZERO, layers_of(job)[0, K], real(numbers_of(job)[U(NEXT_SCALE)]))

    return SimpleNamespace(
        row_product=row_product,
        range_products=range_products,
        update_range=update_range,
        make_good=make_good,
    )
