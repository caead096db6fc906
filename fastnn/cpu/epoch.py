"""One epoch in one compiled call, for one thread or a team.

A step is a few phases, each a list of tiles that may be done in any order. Tiles are claimed, not
dealt: every thread has a word that holds phase << 32 | its next tile, claims from it by an atomic add,
and goes on with the words of the others when its own tiles are gone. Whoever finishes the last tile of
a phase does the little that is serial and opens the next. A thread without work spins briefly and then
naps, and nobody ever waits for a thread that holds no tile. A thread's own tiles are the same columns
of W in every phase and step, so weights stay in the cache of one core. What is summed in which order
does not depend on who does it, so neither do the results.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from numba import njit

from fastnn.cpu.cache import cached
from fastnn.cpu.elementary import make_elementary
from fastnn.cpu.gemm import ZERO, make_gemm
from fastnn.cpu.intrinsics import atomic_add, atomic_load, atomic_store, nap, pause
from fastnn.cpu.job import (
    control_of,
    gathered_of,
    head_of,
    layers_of,
    make_view,
    numbers_of,
    owners_of,
    phases_of,
    sources_of,
    tiles_of,
)
from fastnn.cpu.layers import make_layers
from fastnn.cpu.rules import EXACT, U, make_rules
from fastnn.cpu.steps import INVERSE_WEIGHT, begin_step, end_loss, prefetch_rows
from fastnn.cpu.update import make_update
from fastnn.cpu.vector import register_shape
from fastnn.plan import (
    BACKWARD,
    BATCH,
    CAPACITY,
    COLUMN_BLOCK,
    FORWARD,
    GATHER,
    INPUT,
    KIND,
    LAYER,
    LAYERS,
    MASK,
    OUTPUT,
    OWN_INPUTS,
    PHASES,
    PREFETCH,
    ROW_BLOCK,
    ROWS,
    ROWWISE,
    SAMPLES,
    STEPS,
    UPDATE_TILES,
    K,
    N,
)
from fastnn.rules.table import UPDATE_CODES

# Words of `control`, each on a cache line of its own; TICKETS is the first of one for each thread.
DONE, STOP, STEP, BAD_STEP, FIRST_STEP, TICKETS = range(0, 48, 8)
LINE = 8
FINISHED = 1 << 30  # the phase after the last; phases of an epoch are fewer
TILE_MASK = (1 << 32) - 1
SPINS = 4000  # before the first nap: about 40 us
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
    layers_ = make_layers(dtype, shape, gemm, rules, elementary)
    update_tile = make_update(dtype, panel, gemm, rules, layers_)
    memory_of = make_view("memory", dtype)
    gather_matrix = layers_.gather_matrix
    gather_inputs, gather_targets = layers_.gather_inputs, layers_.gather_targets
    drop, loss_rows, width_of = layers_.drop, layers_.loss_rows, gemm.width_of
    linear_forward, linear_backward = layers_.linear_forward, layers_.linear_backward

    @njit(**EXACT)
    def panels_of(n):
        return (n + panel - 1) // panel

    @njit(**EXACT)
    def tiles_in(job, p, samples):
        """Return the number of tiles of phase p for a batch of `samples` rows."""
        layers, tiles, phases = layers_of(job), tiles_of(job), phases_of(job)
        kind, l = phases[p, KIND], phases[p, LAYER]
        if kind == UPDATE_TILES:
            return len(tiles)
        blocks = (samples + phases[p, ROW_BLOCK] - 1) // phases[p, ROW_BLOCK]
        if kind == FORWARD and layers[l, ROWWISE] == 0:
            width = panels_of(layers[l, N])
        elif kind == BACKWARD and layers[l - 1, ROWWISE] == 0:
            width = panels_of(layers[l, K])
        else:
            return blocks
        return blocks * ((width + phases[p, COLUMN_BLOCK] - 1) // phases[p, COLUMN_BLOCK])

    @njit(**EXACT)
    def own_inputs(job, step, samples, me):
        """Gather the whole batch for this thread, once a step."""
        head, gathered = head_of(job), gathered_of(job)
        if head[OWN_INPUTS] > 0 and gathered[LINE * me] != step:
            gathered[LINE * me] = step
            first = step * head[BATCH]
            own = me * head[OWN_INPUTS]
            gather_inputs(job, first, ZERO, samples, own)

    @njit(**EXACT)
    def drop_outputs(job, l, first, r0, r1, p0, p1):
        """Apply the dropout between layer l and the next, if there is any."""
        head, layers = head_of(job), layers_of(job)
        if l + 1 < head[LAYERS] and layers[l + 1, MASK] >= 0:
            drop(job, l + 1, first, r0, r1, p0, p1, ZERO)

    @njit(**EXACT)
    def rows_tile(job, start, first, r0, r1, me):
        """From layer `start` forward to the loss and back, for rows r0..r1 of the batch."""
        head, layers, numbers = head_of(job), layers_of(job), numbers_of(job)
        if start == 0:
            gather_inputs(job, first, r0, r1, ZERO)
        gather_targets(job, first, r0, r1, numbers[INVERSE_WEIGHT])
        for l in range(start, head[LAYERS]):
            panels = panels_of(layers[l, N])
            linear_forward(job, l, first, r0, r1, ZERO, panels, ZERO)
            drop_outputs(job, l, first, r0, r1, ZERO, panels)
        loss_rows(job, first, r0, r1)
        for l in range(head[LAYERS] - 1, max(start, 1) - 1, -1):
            linear_backward(job, l, r0, r1, ZERO, panels_of(layers[l, K]), me)

    @njit(**EXACT)
    def do_tile(job, step, p, samples, tile, me):
        head, layers, tiles, phases = head_of(job), layers_of(job), tiles_of(job), phases_of(job)
        kind, l = phases[p, KIND], phases[p, LAYER]
        first = step * head[BATCH]
        if kind == UPDATE_TILES:
            following = min(head[BATCH], head[SAMPLES] - first - samples)
            if head[PREFETCH] == 1 and following > 0:
                prefetch_rows(job, first + samples, following, tile, me)
            own_inputs(job, step, samples, me)
            update_tile(job, tile, first, samples, me)
            return
        blocks = (samples + phases[p, ROW_BLOCK] - 1) // phases[p, ROW_BLOCK]
        r0 = tile % blocks * phases[p, ROW_BLOCK]
        r1 = min(samples, r0 + phases[p, ROW_BLOCK])
        p0 = tile // blocks * phases[p, COLUMN_BLOCK]
        if kind == ROWS:
            rows_tile(job, l, first, r0, r1, me)
        elif kind == FORWARD:
            own = ZERO
            if l == 0:
                own_inputs(job, step, samples, me)
                own = me * head[OWN_INPUTS]
            end = panels_of(layers[l, N])
            p1 = end if layers[l, ROWWISE] == 1 else min(end, p0 + phases[p, COLUMN_BLOCK])
            linear_forward(job, l, first, r0, r1, p0, p1, own)
            drop_outputs(job, l, first, r0, r1, p0, p1)
        elif kind == BACKWARD:
            end = panels_of(layers[l, K])
            p1 = end if layers[l - 1, ROWWISE] == 1 else min(end, p0 + phases[p, COLUMN_BLOCK])
            linear_backward(job, l, r0, r1, p0, p1, me)
        elif kind == GATHER:
            gather_inputs(job, first, r0, r1, ZERO)

    @njit(**EXACT)
    def alone(job, me):
        head, phases, control = head_of(job), phases_of(job), control_of(job)
        for step in range(head[STEPS]):
            samples = min(head[BATCH], head[SAMPLES] - step * head[BATCH])
            begin_step(job, control[FIRST_STEP], step, samples)
            for p in range(head[PHASES]):
                for tile in range(tiles_in(job, p, samples)):
                    do_tile(job, step, p, samples, tile, me)
                if phases[p, KIND] == ROWS and not end_loss(job, step, samples):
                    control[BAD_STEP] = step
                    return
            atomic_store(control, STEP, step + 1)
            if atomic_load(control, STOP) != 0:
                return

    @njit(**EXACT)
    def end_of_own(job, number, who, threads):
        """Return the end of the tiles that thread `who` owns in phase `number` of the epoch."""
        head, owners, phases = head_of(job), owners_of(job), phases_of(job)
        step, p = number // head[PHASES], number % head[PHASES]
        if phases[p, KIND] == UPDATE_TILES:
            return owners[who + 1]
        samples = min(head[BATCH], head[SAMPLES] - step * head[BATCH])
        return (who + 1) * tiles_in(job, p, samples) // threads

    @njit(**EXACT)
    def claim(job, me, threads):
        """Return the ticket of a tile to do, this thread's own before those of others, or -1."""
        control = control_of(job)
        for distance in range(threads):
            who = (me + distance) % threads
            ticket = atomic_load(control, TICKETS + LINE * who)
            number = ticket >> 32
            if number == FINISHED:
                return -1
            end = end_of_own(job, number, who, threads)
            if (ticket & TILE_MASK) < end:
                # The phase may have changed since the ticket was read; what counts is what was claimed.
                ticket = atomic_add(control, TICKETS + LINE * who, 1)
                number = ticket >> 32
                if number == FINISHED:
                    return -1
                end = end_of_own(job, number, who, threads)
                if (ticket & TILE_MASK) < end:
                    return ticket
        return -1

    @njit(**EXACT)
    def open_phase(job, number, threads):
        """Let every thread's word start at its first own tile of phase `number`.

        The last word to be stored owns a tile. Else the phase could be finished, and the next one
        opened, before that store, which would then bring the old phase back.
        """
        control = control_of(job)
        begin, last, last_begin = 0, 0, 0
        for who in range(threads):
            end = end_of_own(job, number, who, threads) if number != FINISHED else 0
            if end > begin:
                last, last_begin = who, begin
            begin = end
        begin = 0
        for who in range(threads):
            if who != last:
                atomic_store(control, TICKETS + LINE * who, number << 32 | begin)
            begin = end_of_own(job, number, who, threads) if number != FINISHED else 0
        atomic_store(control, TICKETS + LINE * last, number << 32 | last_begin)

    @njit(**EXACT)
    def together(job, me, threads):
        head, phases, control = head_of(job), phases_of(job), control_of(job)
        count = head[PHASES]
        if me == 0:
            samples = min(head[BATCH], head[SAMPLES])
            begin_step(job, control[FIRST_STEP], ZERO, samples)
            open_phase(job, ZERO, threads)
        idle = 0
        while True:
            seen = atomic_load(control, TICKETS + LINE * me)
            ticket = claim(job, me, threads)
            if ticket < 0:
                if seen >> 32 == FINISHED:
                    return
                # All tiles of this phase are taken: nothing to do until this thread's word changes.
                while atomic_load(control, TICKETS + LINE * me) == seen and idle < SPINS:
                    idle += 1
                    pause()
                if idle == SPINS:
                    nap()
                continue
            idle = 0
            number = ticket >> 32
            step, p = number // count, number % count
            samples = min(head[BATCH], head[SAMPLES] - step * head[BATCH])
            do_tile(job, step, p, samples, ticket & TILE_MASK, me)
            if atomic_add(control, DONE, 1) + 1 < tiles_in(job, p, samples):
                continue
            # The last tile of the phase: until the next is opened, what follows is this thread's alone.
            atomic_store(control, DONE, 0)
            following = number + 1
            if phases[p, KIND] == ROWS and not end_loss(job, step, samples):
                control[BAD_STEP] = step
                following = FINISHED
            elif p == count - 1:
                atomic_store(control, STEP, step + 1)
                step += 1
                if step == head[STEPS] or atomic_load(control, STOP) != 0:
                    following = FINISHED
                else:
                    samples = min(head[BATCH], head[SAMPLES] - step * head[BATCH])
                    begin_step(job, control[FIRST_STEP], step, samples)
            open_phase(job, following, threads)

    @njit(**EXACT)
    def train_epoch(job, me, threads):
        if threads == 1:
            alone(job, me)
        else:
            together(job, me, threads)

    @njit(**EXACT)
    def forward(job, start, end, outputs):
        """Write the outputs of the caller's rows start..end into outputs[start:end]."""
        memory, head, layers, sources = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            sources_of(job),
        )
        last = head[LAYERS] - 1
        n, rows = layers[last, N], head[CAPACITY]
        for first in range(start, end, rows):
            count = min(rows, end - first)
            gather_matrix(
                memory, sources, ZERO, NO_ORDER, first, ZERO, count, rows, layers[0, INPUT]
            )
            for l in range(head[LAYERS]):
                linear_forward(job, l, ZERO, ZERO, count, ZERO, panels_of(layers[l, N]), ZERO)
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
def train_epoch_float32(job, me, threads):
    """Train one epoch as thread `me` of `threads`."""
    _train_single(job, me, threads)


@cached
def train_epoch_float64(job, me, threads):
    """Train one epoch as thread `me` of `threads`."""
    _train_double(job, me, threads)


@cached
def forward_float32(job, start, end, outputs):
    """Write the outputs of rows start..end."""
    _forward_single(job, start, end, outputs)


@cached
def forward_float64(job, start, end, outputs):
    """Write the outputs of rows start..end."""
    _forward_double(job, start, end, outputs)
