"""The update of a first layer that reads sparse rows, of those rows of W that its batch uses.

`fastnn.targets.cpu.laziness` says what is made good later, and when. `touched` has, of each input,
the number of steps of this epoch that its row of W is good for; then of each tile, from the place
of its first input on, the inputs that the batch uses; and how many those are of each tile.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.rules.table import UPDATE_CODES
from fastnn.rules.updates import soft_threshold
from fastnn.targets.cpu.arguments import CUT, A, B, C, D, E
from fastnn.targets.cpu.laziness import SCALED, STEPWISE
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, INLINE, MERGED, U
from fastnn.targets.cpu.plan import (
    BATCH,
    EPOCH_STEPS,
    GRADIENT,
    LAZY,
    SIZE,
    UPDATE,
    WEIGHTS,
    K,
    N,
)
from fastnn.targets.cpu.products.gemm import ONE, ZERO
from fastnn.targets.cpu.scalars import NEXT_SCALE, RESCALE
from fastnn.targets.cpu.step.jumps import first_rate, place_of_run
from fastnn.targets.cpu.step.sparse_rows import entry_input, entry_start, first_entry
from fastnn.targets.cpu.views import (
    head_of,
    jumps_of,
    layers_of,
    make_view,
    numbers_of,
    sparse_of,
    tiles_of,
    touched_of,
)

SGD = UPDATE_CODES["sgd"]


def make_lazy(
    dtype: np.dtype, panel: int, width_of: Any, sparse_rows: Any, apply: Any
) -> SimpleNamespace:
    """Return what updates the rows of W that batches use, for one dtype.

    make_good(job, tile, first, samples): bring the rows of W that the batch uses up to date.
    update_lazily(job, tile, first, samples, me): the step itself, of these rows; in the last step
    of an epoch the others are brought up to date as well.
    make_all_good(job, steps): bring all of W up to date after so many steps of the epoch.
    """
    real = dtype.type
    zero, shrunk = real(0), njit(**INLINE)(soft_threshold(real))
    memory_of = make_view("memory", dtype)
    add_entries, seek, row_of = sparse_rows.add_entries, sparse_rows.seek, sparse_rows.row_of

    @njit(**EXACT)
    def jump(job, at, count, jumps, j):
        """Do what a run of steps does, to `count` weights at `at`."""
        memory, head = memory_of(job), head_of(job)
        a, b, c, d, e, cut = (
            real(jumps[U(j + A)]), real(jumps[U(j + B)]), real(jumps[U(j + C)]),
            real(jumps[U(j + D)]), real(jumps[U(j + E)]), real(jumps[U(j + CUT)]),
        )  # fmt: skip
        if head[UPDATE] == SGD:  # which has no state
            for i in range(at, at + count):
                memory[U(i)] = shrunk(a * memory[U(i)], cut)
            return
        size = head[SIZE]
        for i in range(at, at + count):
            w, s = memory[U(i)], memory[U(i + size)]
            after = shrunk(a * w + b * s, cut)
            memory[U(i)], memory[U(i + size)] = after, c * w + d * s + e * after

    @njit(**EXACT)
    def follow(job, i, since, steps):
        """Bring the row of W of input i, good for `since` steps of the epoch, up to `steps`."""
        head, layers, jumps = head_of(job), layers_of(job), jumps_of(job)
        k, n, w = layers[0, K], layers[0, N], layers[0, WEIGHTS]
        done = since
        while done < steps:
            size = ONE
            if head[LAZY] != STEPWISE:
                while done % (2 * size) == 0 and done + 2 * size <= steps:
                    size *= 2
            j = place_of_run(done, size)
            for p in range((n + panel - 1) // panel):
                width = width_of(p, n)
                jump(job, w + p * panel * (k + 1) + i * width, width, jumps, j)
            done += size

    @njit(**EXACT)
    def make_good(job, tile, first, samples):
        memory, head, layers, tiles, sparse, touched = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            tiles_of(job),
            sparse_of(job),
            touched_of(job),
        )
        k, n, gradient = layers[0, K], layers[0, N], head[GRADIENT]
        i0, i1, step = tiles[tile, 1], tiles[tile, 2], first // head[BATCH]
        if tiles[tile, 0] != 0 or i0 == i1:
            return
        count = ZERO
        for r in range(samples):
            row = row_of(job, first, r)
            end = entry_start(sparse, row + 1)
            for entry in range(first_entry(sparse, row, i0), end):
                i = entry_input(sparse, entry)
                if i >= i1:
                    break
                if touched[U(i)] == step + 1:
                    continue
                follow(job, i, touched[U(i)], step)
                touched[U(i)] = step + 1
                touched[U(k + i0 + count)] = i
                count += 1
                for p in range((n + panel - 1) // panel):
                    width = width_of(p, n)
                    at = gradient + p * panel * (k + 1) + i * width
                    for c in range(at, at + width):
                        memory[U(c)] = zero
        touched[U(2 * k + tile)] = count

    @njit(**EXACT)
    def make_tile_good(job, i0, i1, steps):
        memory, head, layers, touched = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            touched_of(job),
        )
        if head[LAZY] == SCALED:
            rescale(job, i0, i1, real(numbers_of(job)[NEXT_SCALE]))
            return
        for i in range(i0, i1):
            follow(job, i, touched[U(i)], steps)
            touched[U(i)] = 0

    @njit(**EXACT)
    def rescale(job, i0, i1, factor):
        memory, layers = memory_of(job), layers_of(job)
        k, n, w = layers[0, K], layers[0, N], layers[0, WEIGHTS]
        for p in range((n + panel - 1) // panel):
            width, start = width_of(p, n), w + p * panel * (k + 1)
            for c in range(start + i0 * width, start + i1 * width):
                memory[U(c)] *= factor

    @njit(**EXACT)
    def make_all_good(job, steps):
        tiles = tiles_of(job)
        for tile in range(len(tiles)):
            if tiles[tile, 0] == 0 and tiles[tile, 1] < tiles[tile, 2]:
                make_tile_good(job, tiles[tile, 1], tiles[tile, 2], steps)

    @njit(**MERGED)
    def update_lazily(job, tile, first, samples, me):
        head, layers, tiles, numbers, touched = (
            head_of(job),
            layers_of(job),
            tiles_of(job),
            numbers_of(job),
            touched_of(job),
        )
        k, n, w, gradient = layers[0, K], layers[0, N], layers[0, WEIGHTS], head[GRADIENT]
        i0, i1, p0, p1 = tiles[tile, 1], tiles[tile, 2], tiles[tile, 3], tiles[tile, 4]
        step, apart, alpha, out = first // head[BATCH], panel * (k + 1), real(1), gradient
        if head[LAZY] == SCALED:
            if numbers[RESCALE] != 1.0:
                rescale(job, i0, i1, real(numbers[RESCALE]))
            alpha, out = real(-first_rate(job) / numbers[NEXT_SCALE]), w
        seek(job, i0, first, samples, me)
        add_entries(job, i1, p0, p1, first, samples, out, apart, ZERO, alpha, me)
        if head[LAZY] == SCALED:
            return
        for c in range(touched[U(2 * k + tile)]):
            i = touched[U(k + i0 + c)]
            for p in range(p0, p1):
                width = width_of(p, n)
                at = p * apart + i * width
                apply(job, ZERO, w + at, gradient + at, width, False)
        if step + 1 == head[EPOCH_STEPS]:
            make_tile_good(job, i0, i1, step + 1)

    return SimpleNamespace(
        make_good=make_good, update_lazily=update_lazily, make_all_good=make_all_good
    )
