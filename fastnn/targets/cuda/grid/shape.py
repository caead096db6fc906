"""How a persistent grid deals out a problem: slices of the first layer's weights, rows of a batch.

The weights W (k, n) of the first layer lie in `kg` x `ng` slices of `kb` x `nb` numbers, one a
block: block b has slice (b // ng, b % ng). `kb` is a multiple of 4, `nb` is 4 << `quad_shift`. Each
of the first `row_blocks` blocks also has `rows` rows of the batch, for which it works out all
between the products of the first layer and its update.

Shared memory of a block, in this order: `sums` float64, from number `given` on 2 for each of the
block's rows; then numbers of the dtype: W and optimizer state of the slice; `buffers` slices of X,
a row every `ldx`; `left` sums that threads leave for each other; `later` parameters, all but the
first W, or 0 where there is no room for them; and in one place either what the rows of the block
leave behind (`private`) or the derivatives by the outputs of the slice (m x nb).

Scratch in global memory: the products of each group of inputs (kg, m, ng nb); their derivatives
(m, ng nb); and inputs, z and derivatives of all other layers, where array A of the plan of a
block's rows starts at A row_blocks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastnn.inputs.problem import Problem
from fastnn.targets.cuda.host.costs import grid_clocks
from fastnn.targets.cuda.host.plan import LDW, LDX, Plan, make_plan
from fastnn.targets.fields import BATCH, DELTA, INPUT, OUTPUT, Z

LAST_SUMS = 16  # sums of losses that a block adds up last


class Shape(NamedTuple):
    """The split of a problem; see above. All lengths are in numbers, but `shared` is in bytes."""

    blocks: int
    kb: int
    nb: int
    quad_shift: int
    kg: int
    ng: int
    rows: int
    row_blocks: int
    ldx: int
    buffers: int
    private: int
    later: int
    given: int
    sums: int
    left: int
    scratch: int
    shared: int


def row_plan(problem: Problem, rule: str, rows: int) -> Plan:
    """Return the plan for some rows, whose scratch has no place for inputs of the first layer."""
    plan = make_plan(problem, rows, rule=rule, ones=True)
    words = plan.words
    words[0, BATCH] = rows
    unused = rows * int(words[1, LDX])
    words[1:, [Z, OUTPUT, DELTA]] -= unused
    words[2:, INPUT] -= unused
    return replace(plan, scratch_size=plan.scratch_size - unused)


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
    for nb in (4 << shift for shift in range(max(n - 1, 1).bit_length())):
        ng = parts_of(n, nb)
        if ng <= blocks:
            kb = round4(parts_of(k, min(blocks // ng, parts_of(k, 4))))
            found += [
                make_shape(plan, first, batch, dtype, blocks, team, outputs, kb, nb, *extras)
                for extras in ((1, False), (1, True), (2, False), (2, True))
            ]
    fitting = [shape for shape in found if shape.shared <= shared_bytes]
    return min(fitting, key=lambda shape: clocks(shape, batch, dtype), default=None)


def make_shape(
    plan: Plan, first: tuple[int, int], batch: int, dtype: np.dtype, blocks: int, team: int,
    outputs: int, kb: int, nb: int, buffers: int, cached: bool,
) -> Shape:  # fmt: skip
    """Return the split into slices of `kb` x `nb`; the rest as for `choose_shape`."""
    k, n = first
    kg, ng = parts_of(k, kb), parts_of(n, nb)
    rows = parts_of(batch, blocks)
    row_blocks = parts_of(batch, rows)
    # Rows of a slice of X begin in different banks if they are an odd number of vectors apart.
    ldx = kb if kb // 4 % 2 else kb + 4
    private = round4(int(plan.scratch_size))
    given = round4(max(row_blocks, rows))
    sums = given + 2 * round4(rows) + LAST_SUMS
    rest = plan.size - k * int(plan.words[1, LDW])
    later = round4(rest) if cached else 0
    left = round4(team + max(16 * team, rows * outputs))
    state = plan.state_size // plan.size * kb * nb
    numbers = (
        state + buffers * round4(batch) * ldx + left + later + max(private, round4(batch) * nb)
    )
    return Shape(
        blocks=max(kg * ng, row_blocks),
        kb=kb,
        nb=nb,
        quad_shift=(nb // 4).bit_length() - 1,
        kg=kg,
        ng=ng,
        rows=rows,
        row_blocks=row_blocks,
        ldx=ldx,
        buffers=buffers,
        private=private,
        later=later,
        given=given,
        sums=sums,
        left=left,
        scratch=(kg + 1) * batch * ng * nb + private * row_blocks,
        shared=8 * sums + dtype.itemsize * numbers,
    )


def clocks(shape: Shape, batch: int, dtype: np.dtype) -> float:
    """Return about how many clocks a step takes, but for what all shapes have in common."""
    exchanged = 2 * batch * shape.nb + shape.kg * shape.rows * shape.ng * shape.nb
    return grid_clocks(
        products=2 * batch * shape.kb * shape.nb,
        moved=exchanged + shape.later,
        fetched=batch * shape.kb,
        ahead=shape.buffers == 2,
        distant=shape.later == 0,
        itemsize=dtype.itemsize,
    )


def parts_of(count: int, each: int) -> int:
    """Return how many parts of `each` there are, the last of which may be smaller."""
    return -(-count // each)


def round4(count: int) -> int:
    """Return `count` filled up to a multiple of 4."""
    return parts_of(count, 4) * 4
