"""How a team of threads shares the tiles of an epoch.

A step is a few phases, each a list of tiles that may be done in any order. Tiles are claimed, not
dealt: every thread has a word that holds phase << 32 | its next tile, claims from it by an atomic
add, and goes on with the words of the others when its own tiles are gone. Whoever finishes the last
tile of a phase opens the next, so nobody ever waits for a thread that holds no tile. A thread's own
tiles are the same columns of W in every phase and step, so weights stay in the cache of one core.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from fastnn.targets.cpu.arguments import BAD_STEP, FINISHED, LINE, STOP, TICKETS, TILE_MASK
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import (
    atomic_add,
    atomic_load,
    atomic_store,
    give_way,
    nap,
    pause,
)
from fastnn.targets.cpu.llvm.rule_loops import EXACT, INLINE
from fastnn.targets.cpu.plan import PHASES, ROWWISE, THREADS, N
from fastnn.targets.cpu.shares import rows_of
from fastnn.targets.cpu.tiling import (
    BACKWARD,
    COLUMN_BLOCK,
    END_PANEL,
    FIRST_PANEL,
    FORWARD,
    KIND,
    LAYER,
    MAX_NORM,
    ROW_BLOCK,
    UPDATE_TILES,
)
from fastnn.targets.cpu.views import control_of, head_of, layers_of, owners_of, phases_of

# A thread without work looks again for a few microseconds, then gives way to whatever wants its
# core, perhaps the thread that it waits for, and after a millisecond or so it naps. Threads that
# nap sooner look idle to the system, which then leaves two of them on one core.
SPINS, YIELDS = 300, 3000


@njit(**INLINE)
def rest(looks):
    """Let some time pass, after so many looks for work."""
    if looks < SPINS:
        pause()
    elif looks < YIELDS:
        give_way()
    else:
        nap()


@njit(**EXACT)
def ended_early(job):
    """Return whether an epoch was stopped, or ended in a loss that is not finite."""
    control = control_of(job)
    return control[BAD_STEP] >= 0 or atomic_load(control, STOP) != 0


def make_team(panels_of: Any) -> SimpleNamespace:
    """Return tiles_in, claim and open_phase; ``panels_of(n)`` counts the panels of n columns.

    Tiles of the update are counted from the first of the phase's part of the gradient.
    """

    @njit(**EXACT)
    def tiles_in(job, p, samples):
        """Return the number of tiles of phase p for a batch of `samples` rows."""
        layers, phases = layers_of(job), phases_of(job)
        kind, layer = phases[p, KIND], phases[p, LAYER]
        if kind >= UPDATE_TILES:
            owners, threads = owners_of(job), head_of(job)[THREADS]
            return owners[(layer + 1) * threads] - owners[layer * threads]
        blocks = (samples + phases[p, ROW_BLOCK] - 1) // phases[p, ROW_BLOCK]
        if kind == FORWARD and layers[layer, ROWWISE] == 0:
            width = phases[p, END_PANEL]
        elif kind == MAX_NORM:
            width = panels_of(layers[layer, N])
        elif kind == BACKWARD and layers[layer - 1, ROWWISE] == 0:
            width = phases[p, END_PANEL] - phases[p, FIRST_PANEL]
        else:
            return blocks
        return blocks * ((width + phases[p, COLUMN_BLOCK] - 1) // phases[p, COLUMN_BLOCK])

    @njit(**EXACT)
    def end_of_own(job, number, who, threads):
        """Return the end of the tiles that thread `who` owns in phase `number` of the epoch."""
        head, owners, phases = head_of(job), owners_of(job), phases_of(job)
        step, p = number // head[PHASES], number % head[PHASES]
        if phases[p, KIND] >= UPDATE_TILES:
            start = phases[p, LAYER] * head[THREADS]
            return owners[start + who + 1] - owners[start]
        samples = rows_of(job, step)
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
                # The phase may have changed since the ticket was read: what was claimed counts.
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

    return SimpleNamespace(tiles_in=tiles_in, claim=claim, open_phase=open_phase)
