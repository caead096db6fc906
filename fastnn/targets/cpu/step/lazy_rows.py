"""The update of a first layer that reads sparse rows, of those rows of W that its batch uses.

`fastnn.targets.cpu.laziness` says what is made good later, and when. `touched` has, of each input,
the number of counted steps that its row of W is good for; then of each tile, from the place
of its first input on, the inputs that the batch uses, and likewise what these rows were good for
before; and how many those are of each tile.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.rules.updates import soft_threshold
from fastnn.targets.cpu.arguments import CUT, A, B, C, D, E
from fastnn.targets.cpu.laziness import COUNTED_STEPS, SCALED, STAMPED, STEPWISE
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import address_of, prefetch
from fastnn.targets.cpu.llvm.rule_loops import EXACT, INLINE, MERGED, U
from fastnn.targets.cpu.plan import EPOCH_STEPS, GRADIENT, LAZY, UPDATE
from fastnn.targets.cpu.products.gemm import ONE, ZERO
from fastnn.targets.cpu.scalars import ALL_NOW, GOOD_NOW, NEXT_SCALE, THROUGH
from fastnn.targets.cpu.step.jumps import SGD, first_rate, place_of_run
from fastnn.targets.cpu.step.per_unit import OF_WEIGHTS
from fastnn.targets.cpu.step.settling import make_settling
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
from fastnn.targets.fields import BATCH, MEAN_SLOT, SIZE, WEIGHTS, K, N

AHEAD = 6  # rows of W asked for ahead of time


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
    memory_of, itemsize = make_view("memory", dtype), dtype.itemsize
    settling = make_settling(dtype, panel, width_of)
    settle, change_all, end_all = settling.settle, settling.change_all, settling.end_all
    add_entries, seek, row_of = sparse_rows.add_entries, sparse_rows.seek, sparse_rows.row_of

    @njit(**EXACT)
    def jump(job, at, count, a, b, c, d, e, cut):
        """Do what a run of steps does, to `count` weights at `at`; return whether w may move on.

        One that is 0 does not, where that l1 holds it there: the state only becomes smaller.
        """
        memory, head = memory_of(job), head_of(job)
        if head[UPDATE] == SGD:  # which has no state
            for i in range(at, at + count):
                memory[U(i)] = shrunk(a * memory[U(i)], cut)
            return True
        size, most, push = head[SIZE], zero, zero
        for i in range(at, at + count):
            w, s = memory[U(i)], memory[U(i + size)]
            after = shrunk(a * w + b * s, cut)
            s = c * w + d * s + e * after
            memory[U(i)], memory[U(i + size)] = after, s
            most, push = max(most, abs(after)), max(push, abs(b * s))
        return not (most == zero and push <= cut and cut > zero)

    @njit(**EXACT)
    def follow_stepwise(job, i, since, steps):
        """Do what `follow` does, step by step, as long as a weight moves."""
        memory, head, layers, jumps = memory_of(job), head_of(job), layers_of(job), jumps_of(job)
        k, n, size = layers[0, K], layers[0, N], head[SIZE]
        for p in range((n + panel - 1) // panel):
            width = width_of(p, n)
            at, step, moves = layers[0, WEIGHTS] + p * panel * (k + 1) + i * width, since, True
            while step < steps and moves:
                j = place_of_run(step, 1)
                moves = jump(
                    job, at, width, real(jumps[U(j + A)]), real(jumps[U(j + B)]),
                    real(jumps[U(j + C)]), real(jumps[U(j + D)]), real(jumps[U(j + E)]),
                    real(jumps[U(j + CUT)]),
                )  # fmt: skip
                step += 1
            if step < steps:
                decay = 1.0
                while step < steps:
                    decay *= jumps[U(place_of_run(step, 1) + D)]
                    step += 1
                for c in range(at + size, at + size + width):
                    memory[U(c)] *= real(decay)

    @njit(**EXACT)
    def follow(job, i, since, steps):
        """Bring the row of W of input i, good for `since` of the counted steps, up to `steps`."""
        head, layers, jumps = head_of(job), layers_of(job), jumps_of(job)
        if since >= steps:
            return
        if head[LAZY] == STEPWISE:
            follow_stepwise(job, i, since, steps)
            return
        a, b, c, d, cut, done = 1.0, 0.0, 0.0, 1.0, 0.0, since
        while done < steps:
            size = ONE
            while done % (2 * size) == 0 and done + 2 * size <= steps:
                size *= 2
            j = place_of_run(done, size)
            a2, b2, c2, d2 = (
                jumps[U(j + A)], jumps[U(j + B)], jumps[U(j + C)], jumps[U(j + D)],
            )  # fmt: skip
            cut = abs(a2) * cut + jumps[U(j + CUT)]
            a, b, c, d = a2 * a + b2 * c, a2 * b + b2 * d, c2 * a + d2 * c, c2 * b + d2 * d
            done += size
        k, n, w = layers[0, K], layers[0, N], layers[0, WEIGHTS]
        for p in range((n + panel - 1) // panel):
            width = width_of(p, n)
            jump(
                job, w + p * panel * (k + 1) + i * width, width, real(a), real(b), real(c), real(d),
                zero, real(cut),
            )  # fmt: skip

    @njit(**EXACT)
    def ask_for(job, i):
        """Prefetch a row of W, of its gradient and of its state."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, line = layers[0, K], layers[0, N], 64 // itemsize
        for p in range((n + panel - 1) // panel):
            width = width_of(p, n)
            place = p * panel * (k + 1) + i * width
            for c in range(0, width, line):
                w = layers[0, WEIGHTS] + place + c
                prefetch(address_of(memory, w))
                prefetch(address_of(memory, head[GRADIENT] + place + c))
                if head[UPDATE] != SGD:
                    prefetch(address_of(memory, w + head[SIZE]))

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
        i0, i1, step = tiles[tile, 1], tiles[tile, 2], first // head[BATCH] % COUNTED_STEPS
        if tiles[tile, 0] != 0 or i0 == i1:
            return
        if head[LAZY] < STAMPED:
            now = numbers_of(job)[U(GOOD_NOW)]
            for r in range(samples):
                row = row_of(job, first, r)
                for entry in range(first_entry(sparse, row, i0), entry_start(sparse, row + 1)):
                    i = entry_input(sparse, entry)
                    if i >= i1:
                        break
                    settle(job, i, now)
            return
        count, used, since = ZERO, k + i0, 2 * k + i0
        for r in range(samples):
            row = row_of(job, first, r)
            end = entry_start(sparse, row + 1)
            for entry in range(first_entry(sparse, row, i0), end):
                i = entry_input(sparse, entry)
                if i >= i1:
                    break
                if touched[U(i)] != step + 1:
                    touched[U(used + count)], touched[U(since + count)] = i, touched[U(i)]
                    touched[U(i)] = step + 1
                    count += 1
        touched[U(3 * k + tile)] = count
        for position in range(count):
            if position + AHEAD < count:
                ask_for(job, touched[U(used + position + AHEAD)])
            i = touched[U(used + position)]
            follow(job, i, touched[U(since + position)], step)
            for p in range((n + panel - 1) // panel):
                width = width_of(p, n)
                at = gradient + p * panel * (k + 1) + i * width
                for c in range(at, at + width):
                    memory[U(c)] = zero

    @njit(**EXACT)
    def make_tile_good(job, i0, i1, steps):
        head, touched = head_of(job), touched_of(job)
        if head[LAZY] < STAMPED:
            end_all(job, i0, i1, real(numbers_of(job)[NEXT_SCALE]))
            return
        for i in range(i0, i1):
            follow(job, i, touched[U(i)], steps)
            touched[U(i)] = 0

    @njit(**EXACT)
    def update_scaled(job, tile, first, samples, me):
        """Make the step of plain SGD, to W and what is stored of its mean."""
        head, layers, tiles, numbers = head_of(job), layers_of(job), tiles_of(job), numbers_of(job)
        w, apart, mean = layers[0, WEIGHTS], panel * (layers[0, K] + 1), head[MEAN_SLOT]
        i0, i1, p0, p1 = tiles[tile, 1], tiles[tile, 2], tiles[tile, 3], tiles[tile, 4]
        if numbers[U(ALL_NOW)] != 0.0:
            change_all(job, i0, i1)
        alpha = real(-first_rate(job) / numbers[U(NEXT_SCALE)])
        through = real(numbers[U(THROUGH)]) if mean > 0 else real(0)
        seek(job, i0, first, samples, me)
        add_entries(job, i1, p0, p1, first, samples, w, apart, ZERO, alpha, me)
        if through != real(0):
            seek(job, i0, first, samples, me)
            change = -through * alpha
            add_entries(job, i1, p0, p1, first, samples, w + mean, apart, ZERO, change, me)
        if first // head[BATCH] + 1 == head[EPOCH_STEPS] and (head[LAZY] > SCALED or mean > 0):
            end_all(job, i0, i1, real(1))

    @njit(**EXACT)
    def make_all_good(job, steps):
        tiles = tiles_of(job)
        for tile in range(len(tiles)):
            if tiles[tile, 0] == 0 and tiles[tile, 1] < tiles[tile, 2]:
                make_tile_good(job, tiles[tile, 1], tiles[tile, 2], steps % COUNTED_STEPS)

    @njit(**MERGED)
    def update_lazily(job, tile, first, samples, me):
        head, layers, tiles, touched = (
            head_of(job),
            layers_of(job),
            tiles_of(job),
            touched_of(job),
        )
        if head[LAZY] < STAMPED:
            update_scaled(job, tile, first, samples, me)
            return
        k, n, w, gradient = layers[0, K], layers[0, N], layers[0, WEIGHTS], head[GRADIENT]
        i0, i1, p0, p1 = tiles[tile, 1], tiles[tile, 2], tiles[tile, 3], tiles[tile, 4]
        step, apart = first // head[BATCH], panel * (k + 1)
        seek(job, i0, first, samples, me)
        add_entries(job, i1, p0, p1, first, samples, gradient, apart, ZERO, real(1), me)
        for position in range(touched[U(3 * k + tile)]):
            i = touched[U(k + i0 + position)]
            for p in range(p0, p1):
                width = width_of(p, n)
                at = p * apart + i * width
                apply(job, ZERO, w + at, gradient + at, width, OF_WEIGHTS)
        counted = step % COUNTED_STEPS + 1
        if step + 1 == head[EPOCH_STEPS] or counted == COUNTED_STEPS:
            make_tile_good(job, i0, i1, counted)

    return SimpleNamespace(
        make_good=make_good, update_lazily=update_lazily, make_all_good=make_all_good
    )
