"""How a persistent grid deals out a problem: slices of the first layer's weights, rows of a batch.

The weights W (k, n) of the first layer lie in `kg` x `ng` slices of `kb` x `nb` numbers, one a
block: block b has slice (b // ng, b % ng). Each of the first `row_blocks` blocks also has `rows`
rows of the batch, for which it works out everything between the products of the first layer and
its update.

Shared memory of a block, in this order: `sums` float64; then numbers of the dtype: W and optimizer
state of the slice; `buffers` slices of X, a row every `ldx`; `left` sums that threads leave for
each other; and in one place either what the rows of the block leave behind (`private`) or the
derivatives by the outputs of the slice (m x nb).

Scratch in global memory: the products of each group of inputs (kg, m, ng nb); their derivatives
(m, ng nb); and inputs, z and derivatives of all other layers, where array A of the plan of a
block's rows starts at A row_blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnn.cuda.plan import Plan

LAST_SUMS = 16  # sums of losses that a block adds up last
# What a processor does in a clock: half of the products that float32 allows for, and its share of
# what the second-level cache gives. From NVIDIA's data sheets of A100 and H100, not measured.
CLOCK_PRODUCTS, CLOCK_BYTES = 64, 28
HIDDEN = 0.3  # part of the time that fetching X takes which the rest of a step does not hide


class Shape(NamedTuple):
    """The split of a problem; see above. All lengths are in numbers, but `shared` is in bytes."""

    blocks: int
    kb: int
    nb: int
    kg: int
    ng: int
    rows: int
    row_blocks: int
    ldx: int
    buffers: int
    private: int
    sums: int
    left: int
    scratch: int
    shared: int


def choose_shape(
    plan: Plan, first: tuple[int, int], batch: int, dtype: np.dtype, blocks: int, team: int,
    shared_bytes: int, outputs: int,
) -> Shape | None:  # fmt: skip
    """Return the split that should be fastest, or None where none fits into shared memory.

    Parameters
    ----------
    plan, outputs
        For the rows of one block, without inputs of the first layer; outputs of the network.
    first, batch, dtype
        Inputs and outputs of the first layer; rows of a batch; of all numbers.
    blocks, team, shared_bytes
        How many blocks can be resident at once, threads of each, bytes of shared memory of each.
    """
    k, n = first
    found = []
    for nb in range(4, round4(n) + 4, 4):
        ng = parts_of(n, nb)
        if ng <= blocks:
            kb = round4(parts_of(k, min(blocks // ng, parts_of(k, 4))))
            found += [
                make_shape(plan, first, batch, dtype, blocks, team, outputs, kb, nb, buffers)
                for buffers in (1, 2)
            ]
    fitting = [shape for shape in found if shape.shared <= shared_bytes]
    return min(fitting, key=lambda shape: clocks(shape, batch, dtype), default=None)


def make_shape(
    plan: Plan, first: tuple[int, int], batch: int, dtype: np.dtype, blocks: int, team: int,
    outputs: int, kb: int, nb: int, buffers: int,
) -> Shape:  # fmt: skip
    """Return the split into slices of `kb` x `nb`; the rest as for `choose_shape`."""
    k, n = first
    kg, ng = parts_of(k, kb), parts_of(n, nb)
    rows = parts_of(batch, blocks)
    row_blocks = parts_of(batch, rows)
    # Rows of a slice of X begin in different banks if they are an odd number of vectors apart.
    ldx = kb if kb // 4 % 2 else kb + 4
    private = round4(int(plan.scratch_size))
    sums = round4(max(row_blocks, rows) + LAST_SUMS)
    left = round4(team + max(16 * team, rows * outputs))
    state = plan.state_size // plan.size * kb * nb
    numbers = state + buffers * round4(batch) * ldx + left + max(private, round4(batch) * nb)
    return Shape(
        blocks=max(kg * ng, row_blocks),
        kb=kb,
        nb=nb,
        kg=kg,
        ng=ng,
        rows=rows,
        row_blocks=row_blocks,
        ldx=ldx,
        buffers=buffers,
        private=private,
        sums=sums,
        left=left,
        scratch=(kg + 1) * batch * ng * nb + private * row_blocks,
        shared=8 * sums + dtype.itemsize * numbers,
    )


def clocks(shape: Shape, batch: int, dtype: np.dtype) -> float:
    """Return about how many clocks a step takes, but for what all shapes have in common."""
    products = 2 * batch * shape.kb * shape.nb / CLOCK_PRODUCTS * (dtype.itemsize / 4)
    moved = 2 * batch * shape.nb + shape.kg * shape.rows * shape.ng * shape.nb
    fetched = batch * shape.kb * (HIDDEN if shape.buffers == 2 else 1.0)
    return products + (moved + fetched) * dtype.itemsize / CLOCK_BYTES


def parts_of(count: int, each: int) -> int:
    """Return how many parts of `each` there are, the last of which may be smaller."""
    return -(-count // each)


def round4(count: int) -> int:
    """Return `count` filled up to a multiple of 4."""
    return parts_of(count, 4) * 4
