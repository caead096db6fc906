"""One epoch in one compiled call, for one thread or a team.

A step is a few phases, each a list of tiles that may be done in any order. Tiles are claimed, not
dealt: the word TICKET holds phase << 32 | next tile, a thread claims by an atomic add, and whoever
finishes the last tile of a phase does the little that is serial and opens the next. A thread without
work spins briefly and then naps, and nobody ever waits for a thread that holds no tile. What is summed
in which order does not depend on who does it, so neither do the results.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import njit

from fastnn.cpu.cache import cached
from fastnn.cpu.elementary import make_elementary
from fastnn.cpu.gemm import ZERO, make_gemm
from fastnn.cpu.intrinsics import atomic_add, atomic_load, atomic_store, nap, pause, prefetch
from fastnn.cpu.layers import ADDRESS, COLUMNS, IS_DOUBLE, ROW_STRIDE, make_layers
from fastnn.cpu.rules import EXACT, U, make_rules
from fastnn.cpu.update import (
    BETA1, BETA2, C1, C2, DECAY, INVERSE_WEIGHT, LOSS_SUM, RATE, SHRINK, STEP_WEIGHT, WEIGHT_SUM,
    make_update,
)  # fmt: skip
from fastnn.cpu.vector import register_shape
from fastnn.plan import (
    BACKWARD, CAPACITY, COLUMN_BLOCK, FORWARD, GATHER, INPUT, K, LAYERS, LOSS_ROWS, MASK, N, OUTPUT, PHASES,
    PREFETCH, ROW_BLOCK, ROWS, ROWWISE, SAMPLES, STEPS, UPDATE, UPDATE_TILES, WEIGHTED,
)  # fmt: skip
from fastnn.rules.table import UPDATE_CODES

# Words of `control`, each on a cache line of its own.
TICKET, DONE, STOP, STEP, BAD_STEP, FIRST_STEP, BATCH, CONTROL = range(0, 64, 8)
FINISHED = 1 << 30  # the phase after the last; phases of an epoch are fewer
TILE_MASK = (1 << 32) - 1
NOT_OPEN = 1 << 31  # a ticket of the first phase with no tile left, until thread 0 opens it
NO_ORDER = np.zeros(0, np.int64)  # rows as they come
SPINS = 4000  # about 40 us before the first nap

ADAM, ADAMW = UPDATE_CODES["adam"], UPDATE_CODES["adamw"]


def make_epoch(dtype: np.dtype) -> SimpleNamespace:
    """Return train_epoch and forward for one dtype (not yet compiled)."""
    shape = register_shape(dtype)
    panel = shape.panel
    elementary = make_elementary(dtype)
    gemm = make_gemm(dtype, shape)
    rules = make_rules(dtype, panel, shape.lanes, elementary)
    layers_ = make_layers(dtype, panel, gemm, rules, elementary)
    update_tile = make_update(dtype, panel, gemm, rules, layers_)
    gather, drop, loss_rows = layers_.gather, layers_.drop, layers_.loss_rows
    gather_matrix, width_of = layers_.gather_matrix, gemm.width_of
    linear_forward, linear_backward = layers_.linear_forward, layers_.linear_backward

    @njit(**EXACT)
    def panels_of(n):
        return (n + panel - 1) // panel

    @njit(**EXACT)
    def tiles_in(head, layers, tiles, phase, samples):
        """Return the number of tiles of a phase for a batch of `samples` rows."""
        kind, l = phase[0], phase[1]
        if kind == UPDATE_TILES:
            return len(tiles)
        blocks = (samples + head[ROW_BLOCK] - 1) // head[ROW_BLOCK]
        if kind == FORWARD and layers[l, ROWWISE] == 0:
            return blocks * ((panels_of(layers[l, N]) + head[COLUMN_BLOCK] - 1) // head[COLUMN_BLOCK])
        if kind == BACKWARD and layers[l - 1, ROWWISE] == 0:
            return blocks * ((panels_of(layers[l, K]) + head[COLUMN_BLOCK] - 1) // head[COLUMN_BLOCK])
        return blocks

    @njit(**EXACT)
    def open_tiles(head, layers, tiles, phases, number):
        """Return the tiles of phase `number` of the epoch."""
        step, p = number // head[PHASES], number % head[PHASES]
        samples = min(head[CAPACITY], head[SAMPLES] - step * head[CAPACITY])
        return tiles_in(head, layers, tiles, phases[p], samples)

    @njit(**EXACT)
    def prefetch_rows(head, sources, order, first, samples, tile, tiles):
        """Ask for a share of the next batch's rows, so that gathering them does not wait for memory."""
        row_bytes = sources[0, COLUMNS] * (8 if sources[0, IS_DOUBLE] == 1 else 4)
        for r in range(tile * samples // tiles, (tile + 1) * samples // tiles):
            start = sources[0, ADDRESS] + order[U(first + r)] * sources[0, ROW_STRIDE]
            for at in range(0, row_bytes, 64):
                prefetch(start + at)

    @njit(**EXACT)
    def do_tile(
        memory, head, layers, alphas, tiles, phase, sources, order, classes, weights, keys, numbers,
        row_loss, step, samples, tile, me,
    ):  # fmt: skip
        kind, l = phase[0], phase[1]
        first = step * head[CAPACITY]
        if kind == UPDATE_TILES:
            following = min(head[CAPACITY], head[SAMPLES] - first - samples)
            if head[PREFETCH] == 1 and following > 0:
                prefetch_rows(head, sources, order, first + samples, following, tile, len(tiles))
            update_tile(memory, head, layers, numbers, tiles[tile], samples, me)
            return
        blocks = (samples + head[ROW_BLOCK] - 1) // head[ROW_BLOCK]
        r0 = tile % blocks * head[ROW_BLOCK]
        r1 = min(samples, r0 + head[ROW_BLOCK])
        p0 = tile // blocks * head[COLUMN_BLOCK]
        if kind == ROWS or kind == GATHER:
            gather(
                memory, head, layers, sources, order, weights, first, r0, r1, numbers[INVERSE_WEIGHT]
            )
        if kind == ROWS:
            for layer in range(head[LAYERS]):
                if layers[layer, MASK] >= 0:
                    drop(memory, head, layers, keys, layer, first, r0, r1)
                linear_forward(
                    memory, head, layers, alphas, layer, r0, r1, ZERO, panels_of(layers[layer, N])
                )
            loss_rows(memory, head, layers, alphas, order, classes, first, r0, r1, row_loss)
            for layer in range(head[LAYERS] - 1, 0, -1):
                linear_backward(
                    memory, head, layers, alphas, layer, r0, r1, ZERO, panels_of(layers[layer, K]), me
                )
        elif kind == FORWARD:
            end = panels_of(layers[l, N])
            p1 = end if layers[l, ROWWISE] == 1 else min(end, p0 + head[COLUMN_BLOCK])
            linear_forward(memory, head, layers, alphas, l, r0, r1, p0, p1)
        elif kind == LOSS_ROWS:
            loss_rows(memory, head, layers, alphas, order, classes, first, r0, r1, row_loss)
        elif kind == BACKWARD:
            end = panels_of(layers[l, K])
            p1 = end if layers[l - 1, ROWWISE] == 1 else min(end, p0 + head[COLUMN_BLOCK])
            linear_backward(memory, head, layers, alphas, l, r0, r1, p0, p1, me)

    @njit(**EXACT)
    def begin_step(head, order, weights, rates, numbers, first_step, step, samples):
        """Set what the tiles of a step share."""
        rate = rates[step]
        numbers[RATE] = rate
        numbers[SHRINK] = 1.0 - rate * numbers[DECAY]
        if head[UPDATE] == ADAM or head[UPDATE] == ADAMW:
            t = float(first_step + step + 1)
            numbers[C1] = 1.0 - numbers[BETA1] ** t
            numbers[C2] = math.sqrt(1.0 - numbers[BETA2] ** t)
        total = float(samples)
        if head[WEIGHTED] == 1:
            total = 0.0
            for s in range(step * head[CAPACITY], step * head[CAPACITY] + samples):
                total += weights[U(order[U(s)])]
        numbers[STEP_WEIGHT] = total
        numbers[INVERSE_WEIGHT] = 1.0 / total if total > 0.0 else 0.0

    @njit(**EXACT)
    def end_loss(head, order, weights, numbers, row_loss, step, samples):
        """Add the losses of the batch in the order of its rows; return whether all are finite."""
        total = 0.0
        for r in range(samples):
            weight = weights[U(order[U(step * head[CAPACITY] + r)])] if head[WEIGHTED] == 1 else 1.0
            total += weight * row_loss[U(r)]
        numbers[LOSS_SUM] += total
        numbers[WEIGHT_SUM] += numbers[STEP_WEIGHT]
        return math.isfinite(total)

    @njit(**EXACT)
    def loss_phase(phases, p):
        """Whether the losses of the batch are known once phase p is done."""
        return phases[p, 0] == ROWS or phases[p, 0] == LOSS_ROWS

    @njit(**EXACT)
    def alone(
        memory, head, layers, alphas, tiles, phases, sources, order, classes, weights, keys, rates,
        numbers, row_loss, control, me,
    ):  # fmt: skip
        for step in range(head[STEPS]):
            samples = min(head[CAPACITY], head[SAMPLES] - step * head[CAPACITY])
            begin_step(head, order, weights, rates, numbers, control[FIRST_STEP], step, samples)
            for p in range(head[PHASES]):
                for tile in range(tiles_in(head, layers, tiles, phases[p], samples)):
                    do_tile(
                        memory, head, layers, alphas, tiles, phases[p], sources, order, classes,
                        weights, keys, numbers, row_loss, step, samples, tile, me,
                    )  # fmt: skip
                if loss_phase(phases, p) and not end_loss(
                    head, order, weights, numbers, row_loss, step, samples
                ):
                    control[BAD_STEP] = step
                    return
            atomic_store(control, STEP, step + 1)
            if atomic_load(control, STOP) != 0:
                return

    @njit(**EXACT)
    def together(
        memory, head, layers, alphas, tiles, phases, sources, order, classes, weights, keys, rates,
        numbers, row_loss, control, me,
    ):  # fmt: skip
        count = head[PHASES]
        if me == 0:
            samples = min(head[CAPACITY], head[SAMPLES])
            begin_step(head, order, weights, rates, numbers, control[FIRST_STEP], ZERO, samples)
            atomic_store(control, TICKET, 0)
        idle = 0
        while True:
            ticket = atomic_load(control, TICKET)
            if ticket >> 32 == FINISHED:
                return
            if (ticket & TILE_MASK) >= open_tiles(head, layers, tiles, phases, ticket >> 32):
                idle += 1
                if idle > SPINS:
                    nap()
                else:
                    pause()
                continue
            ticket = atomic_add(control, TICKET, 1)
            number = ticket >> 32
            if number == FINISHED:
                return
            available = open_tiles(head, layers, tiles, phases, number)
            if (ticket & TILE_MASK) >= available:
                continue  # another thread was faster
            step, p = number // count, number % count
            samples = min(head[CAPACITY], head[SAMPLES] - step * head[CAPACITY])
            idle = 0
            do_tile(
                memory, head, layers, alphas, tiles, phases[p], sources, order, classes, weights, keys,
                numbers, row_loss, step, samples, ticket & TILE_MASK, me,
            )  # fmt: skip
            if atomic_add(control, DONE, 1) + 1 < available:
                continue
            # The last tile of the phase: what follows until the ticket is opened is for this thread only.
            atomic_store(control, DONE, 0)
            following = number + 1
            if loss_phase(phases, p) and not end_loss(
                head, order, weights, numbers, row_loss, step, samples
            ):
                control[BAD_STEP] = step
                following = FINISHED
            elif p == count - 1:
                atomic_store(control, STEP, step + 1)
                step += 1
                if step == head[STEPS] or atomic_load(control, STOP) != 0:
                    following = FINISHED
                else:
                    samples = min(head[CAPACITY], head[SAMPLES] - step * head[CAPACITY])
                    begin_step(head, order, weights, rates, numbers, control[FIRST_STEP], step, samples)
            atomic_store(control, TICKET, following << 32)

    @njit(**EXACT)
    def train_epoch(
        memory, head, layers, alphas, tiles, phases, sources, order, classes, weights, keys, rates,
        numbers, row_loss, control, me, threads,
    ):  # fmt: skip
        if threads == 1:
            alone(
                memory, head, layers, alphas, tiles, phases, sources, order, classes, weights, keys,
                rates, numbers, row_loss, control, me,
            )  # fmt: skip
        else:
            together(
                memory, head, layers, alphas, tiles, phases, sources, order, classes, weights, keys,
                rates, numbers, row_loss, control, me,
            )  # fmt: skip

    @njit(**EXACT)
    def forward(memory, head, layers, alphas, sources, start, end, outputs):
        """Write the outputs of the caller's rows start..end into outputs[start:end]."""
        last = head[LAYERS] - 1
        n, rows = layers[last, N], head[CAPACITY]
        for first in range(start, end, rows):
            count = min(rows, end - first)
            gather_matrix(memory, sources[0], NO_ORDER, first, ZERO, count, rows, layers[0, INPUT])
            for l in range(head[LAYERS]):
                linear_forward(memory, head, layers, alphas, l, ZERO, count, ZERO, panels_of(layers[l, N]))
            for p in range(panels_of(n)):
                width = width_of(p, n)
                at = layers[last, OUTPUT] + p * panel * rows
                for r in range(count):
                    for c in range(min(width, n - p * panel)):
                        outputs[first + r, p * panel + c] = memory[U(at + r * width + c)]

    return SimpleNamespace(train_epoch=train_epoch, forward=forward)


_single, _double = make_epoch(np.dtype(np.float32)), make_epoch(np.dtype(np.float64))
_train_single, _train_double = _single.train_epoch, _double.train_epoch
_forward_single, _forward_double = _single.forward, _double.forward


@cached
def train_epoch_float32(
    memory, head, layers, alphas, tiles, phases, sources, order, classes, weights, keys, rates,
    numbers, row_loss, control, me, threads,
):  # fmt: skip
    """Train one epoch as thread `me` of `threads`; all arrays as `fastnn.cpu.engine` makes them."""
    _train_single(
        memory, head, layers, alphas, tiles, phases, sources, order, classes, weights, keys, rates,
        numbers, row_loss, control, me, threads,
    )  # fmt: skip


@cached
def train_epoch_float64(
    memory, head, layers, alphas, tiles, phases, sources, order, classes, weights, keys, rates,
    numbers, row_loss, control, me, threads,
):  # fmt: skip
    """Train one epoch as thread `me` of `threads`; all arrays as `fastnn.cpu.engine` makes them."""
    _train_double(
        memory, head, layers, alphas, tiles, phases, sources, order, classes, weights, keys, rates,
        numbers, row_loss, control, me, threads,
    )  # fmt: skip


@cached
def forward_float32(memory, head, layers, alphas, sources, start, end, outputs):
    """Write the outputs of rows start..end; all arrays as `fastnn.cpu.engine` makes them."""
    _forward_single(memory, head, layers, alphas, sources, start, end, outputs)


@cached
def forward_float64(memory, head, layers, alphas, sources, start, end, outputs):
    """Write the outputs of rows start..end; all arrays as `fastnn.cpu.engine` makes them."""
    _forward_double(memory, head, layers, alphas, sources, start, end, outputs)
