"""How a team of threads shares the tiles of an epoch.

A step is a few phases, each a list of tiles that may be done in any order. Tiles are claimed, not
dealt: every thread has a word that holds phase << 32 | its next tile, claims from it by an atomic
add, and goes on with the words of the others when its own tiles are gone. Whoever finishes the last
tile of a phase opens the next, so nobody waits long for a thread that holds no tile. A thread's own
tiles are the same columns of W in every phase and step, so weights stay in the cache of one core.

One of two threads that has updated its columns of the first layer need not wait for the other: it
begins its tiles of the next step early, and counts them in its second word. Whoever opens that step
closes the word, and has the thread's tiles begin behind those.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from fastnn.targets.cpu.arguments import (
    BAD_STEP,
    FINISHED,
    LINE,
    NOT_OPEN,
    STOP,
    TICKETS,
    TILE_MASK,
)
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
from fastnn.targets.cpu.plan import LEFT_OVER, MIDDLE, PHASES, STEPS, THREADS
from fastnn.targets.cpu.shares import rows_of
from fastnn.targets.cpu.tiling import (
    BACKWARD,
    COLUMN_BLOCK,
    END_PANEL,
    FIRST_PANEL,
    FORWARD,
    GROUP,
    KIND,
    LAYER,
    MAX_NORM,
    ROW_BLOCK,
    UPDATE_TILES,
)
from fastnn.targets.cpu.views import control_of, head_of, layers_of, owners_of, phases_of, tiles_of
from fastnn.targets.fields import ROWWISE, N

# A thread without work looks again for a few microseconds, then gives way to whatever wants its
# core, perhaps the thread that it waits for, and after a millisecond or so it naps. Threads that
# nap sooner look idle to the system, which then leaves two of them on one core.
SPINS, YIELDS = 300, 3000
# Where two threads have as many columns of a large first layer, each waits so many looks before it
# takes some of the other's, for these weights would go from core to core and back.
PATIENCE = 30
NONE_LEFT, WAIT = -1, -2  # no ticket


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
    """Return how tiles are claimed; ``panels_of(n)`` counts the panels of n columns.

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
        if head[MIDDLE] > 0 and p == 0 and who == 0:
            blocks = (samples + phases[p, ROW_BLOCK] - 1) // phases[p, ROW_BLOCK]
            return blocks * phases[p, GROUP]
        return (who + 1) * tiles_in(job, p, samples) // threads

    @njit(**EXACT)
    def claim(job, me, threads, nearest, end_of_reach, patient):
        """Return the ticket of a tile to do, of one of threads me + `nearest` and on, or NONE_LEFT.

        A patient thread leaves another's columns of the first layer to it, and WAITs.
        """
        head = head_of(job)
        control = control_of(job)
        # Where this thread notes a phase, counted from 1, and where its own tiles of that end.
        noted = TICKETS + LINE * (2 * threads + me)
        for distance in range(nearest, end_of_reach):
            who = (me + distance) % threads
            ticket = atomic_load(control, TICKETS + LINE * who)
            number = ticket >> 32
            if number == FINISHED:
                return NONE_LEFT
            if distance == 0 and control[noted] == number + 1:
                end = control[noted + 1]
            else:
                end = end_of_own(job, number, who, threads)
                if distance == 0:
                    control[noted], control[noted + 1] = number + 1, end
            if (ticket & TILE_MASK) < end:
                even = head[MIDDLE] > 0 and head[LEFT_OVER] == 0
                if patient and even and (number + 1) % head[PHASES] < 2:
                    return WAIT
                # The phase may have changed since the ticket was read: what was claimed counts.
                ticket = atomic_add(control, TICKETS + LINE * who, 1)
                if ticket >> 32 != number:
                    number = ticket >> 32
                    if number == FINISHED:
                        return NONE_LEFT
                    end = end_of_own(job, number, who, threads)
                if (ticket & TILE_MASK) < end:
                    return ticket
        return NONE_LEFT

    @njit(**EXACT)
    def close_early(control, who, threads):
        """Return how many tiles a thread has begun early, and let it begin no more of them."""
        begun = atomic_add(control, TICKETS + LINE * (threads + who), NOT_OPEN)
        return begun if begun < NOT_OPEN else 0

    @njit(**EXACT)
    def open_phase(job, number, threads):
        """Let every thread's word start at its first own tile of phase `number`.

        The last word to be stored owns a tile. Else the phase could be finished, and the next one
        opened, before that store, which would then bring the old phase back.
        """
        control, head = control_of(job), head_of(job)
        early = head[MIDDLE] > 0 and number > 0 and number % head[PHASES] == 0
        begin, last, last_begin = 0, 0, 0
        for who in range(threads):
            end = end_of_own(job, number, who, threads) if number != FINISHED else 0
            if end > begin:
                last, last_begin = who, begin
            begin = end
        begin = 0
        for who in range(threads):
            if who != last:
                done = close_early(control, who, threads) if early else 0
                atomic_store(control, TICKETS + LINE * who, number << 32 | begin + done)
            begin = end_of_own(job, number, who, threads) if number != FINISHED else 0
        last_begin += close_early(control, last, threads) if early else 0
        atomic_store(control, TICKETS + LINE * last, number << 32 | last_begin)

    @njit(**EXACT)
    def may_begin_early(job, number, finished, first, last, me):
        """Return whether one of two threads may begin its part of the next step.

        It has done `finished` tiles of phase `number`, from `first` to `last`: all its own, and no
        other; and its columns of W are updated, and the other layers, for the other thread is at
        its own columns, and has no more than LEFT_OVER tiles of them to begin.
        """
        head, control = head_of(job), control_of(job)
        step, p = number // head[PHASES], number % head[PHASES]
        if head[MIDDLE] == 0 or p < head[PHASES] - 1 or step + 1 == head[STEPS]:
            return False
        owners, other = owners_of(job), 1 - me
        # A thread that was stopped within a claim may have begun with a tile of the other, which
        # took one of its own meanwhile: as many, and yet not all.
        all_own = first == owners[me] and last + 1 == owners[me + 1]
        if not all_own or finished != owners[me + 1] - owners[me]:
            return False
        ticket = atomic_load(control, TICKETS + LINE * other)
        claimed = min(ticket & TILE_MASK, owners[other + 1])
        # A word of the phase before is of a thread whose tiles are about to be opened.
        if ticket >> 32 != number or claimed == owners[other]:
            return False
        layer, _, _, panel, _ = tiles_of(job)[claimed - 1]
        at_own_columns = layer == 0 and (panel >= head[MIDDLE]) == (other == 1)
        if not at_own_columns or owners[other + 1] - claimed > head[LEFT_OVER]:
            return False
        atomic_store(control, TICKETS + LINE * (2 + me), 0)
        return True

    @njit(**EXACT)
    def claim_early(job, number, done, me, threads):
        """Return this thread's own tile number `done` of a phase that is not open yet, or -1."""
        begin = end_of_own(job, number, me - 1, threads) if me > 0 else 0
        if begin + done == end_of_own(job, number, me, threads):
            return -1
        if atomic_add(control_of(job), TICKETS + LINE * (threads + me), 1) >= NOT_OPEN:
            return -1
        return begin + done

    return SimpleNamespace(
        tiles_in=tiles_in,
        claim=claim,
        open_phase=open_phase,
        may_begin_early=may_begin_early,
        claim_early=claim_early,
    )
