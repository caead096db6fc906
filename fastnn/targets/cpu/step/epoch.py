"""One epoch in one compiled call, for one thread or a team.

A step is a few phases of tiles, which a team shares as `fastnn.targets.cpu.team` says. Whoever
finishes the last tile of a phase does the little that is serial. A thread without work spins
briefly and then naps. What is summed in which order does not depend on who does it, so neither do
the results (`fastnn.targets.cpu.step.nonzero_columns` leaves out zeros: its docstring has what that
means for infinite weights).
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from fastnn.storage.kernels.machine import register_shape
from fastnn.targets.cpu.arguments import (
    ADDRESS,
    BAD_STEP,
    COLUMN_STRIDE,
    DONE,
    DTYPE,
    FINISHED,
    FIRST_STEP,
    LINE,
    ROW_STRIDE,
    STEP,
    STOP,
    TICKETS,
    TILE_MASK,
)
from fastnn.targets.cpu.dtypes import CODES
from fastnn.targets.cpu.kinds import LINEAR
from fastnn.targets.cpu.llvm.columns import make_columns
from fastnn.targets.cpu.llvm.elementary import make_elementary
from fastnn.targets.cpu.llvm.function_pointers import call_sum
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import (
    address_of,
    atomic_add,
    atomic_load,
    atomic_store,
    prefetch,
)
from fastnn.targets.cpu.llvm.rule_loops import EXACT, MERGED, U, make_rules
from fastnn.targets.cpu.plan import (
    CAPACITY,
    FIRST_TRAINED,
    IN_PLACE,
    INFERENCE_ROWS,
    KEPT,
    LAYER_KIND,
    LAZY,
    MASK,
    MIDDLE,
    NARROW,
    OWN_INPUTS,
    PHASES,
    PREFETCH,
    ROUNDED,
    ROW_BY_ROW,
    STATUS,
    STEPS,
    SUM,
    THREADS,
)
from fastnn.targets.cpu.products.gemm import ONE, ZERO, make_gemm
from fastnn.targets.cpu.products.narrow import make_narrow
from fastnn.targets.cpu.products.rounded import make_rounded
from fastnn.targets.cpu.scalars import INVERSE_WEIGHT, L2, PENALTY
from fastnn.targets.cpu.shares import rows_of
from fastnn.targets.cpu.step.between_steps import begin_step, end_loss, layer_number, prefetch_rows
from fastnn.targets.cpu.step.calls import make_team_calls
from fastnn.targets.cpu.step.first_rows import make_first_rows
from fastnn.targets.cpu.step.gather import make_gather
from fastnn.targets.cpu.step.layers import make_layers
from fastnn.targets.cpu.step.lazy_rows import make_lazy
from fastnn.targets.cpu.step.nonzero_columns import make_nonzero
from fastnn.targets.cpu.step.normalization import make_normalization
from fastnn.targets.cpu.step.norms import make_norms
from fastnn.targets.cpu.step.per_unit import make_per_unit
from fastnn.targets.cpu.step.periodic import make_periodic
from fastnn.targets.cpu.step.softmax import make_lanes, make_softmax
from fastnn.targets.cpu.step.sparse_outputs import make_sparse_outputs
from fastnn.targets.cpu.step.sparse_rows import make_sparse
from fastnn.targets.cpu.step.update import make_apply, make_update
from fastnn.targets.cpu.team import PATIENCE, WAIT, make_team, rest
from fastnn.targets.cpu.tiling import (
    APPLY_TILES,
    BACKWARD,
    BEGINS,
    COLUMN_BLOCK,
    END_PANEL,
    FIRST_PANEL,
    FORWARD,
    GATHER,
    GROUP,
    KIND,
    LAYER,
    LIMIT_TILES,
    MAKE_GOOD,
    MAX_NORM,
    NEEDS,
    ROW_BLOCK,
    ROWS,
    UPDATE_TILES,
)
from fastnn.targets.cpu.views import (
    control_of,
    gathered_of,
    head_of,
    layers_of,
    make_view,
    numbers_of,
    owners_of,
    phases_of,
    strided_of,
)
from fastnn.targets.fields import (
    BATCH,
    DELTA,
    INPUT,
    LAYERS,
    OUTPUT,
    ROWWISE,
    SAMPLES,
    WEIGHTS,
    K,
    N,
)

NO_ORDER = np.zeros(0, np.int64)  # rows as they come
LINE_BYTES = 64  # of a cache line
ASKED_BYTES = 32 << 10  # of another thread's that are asked for together, at most


def make_epoch(dtype: np.dtype) -> SimpleNamespace:
    """Return train_epoch and forward for one dtype (not yet compiled)."""
    shape = register_shape(dtype)
    panel = shape.panel
    elementary = make_elementary(dtype)
    gemm = make_gemm(dtype, shape)
    rounded = make_rounded(dtype, gemm.width_of)
    rules = make_rules(dtype, elementary)
    gather = make_gather(dtype, shape, gemm)
    lanes = make_lanes(dtype, panel)
    softmax = make_softmax(dtype, panel, gemm, lanes, elementary)
    narrow = make_narrow(dtype)
    first_rows, list_rows = make_first_rows(dtype, gemm)
    find_nonzero, find_tiles = make_nonzero(dtype, shape, first_rows)
    normalization = make_normalization(dtype, panel, gemm, lanes)
    periodic = make_periodic(dtype, panel, gemm.width_of, elementary)
    apply, sparse_rows = make_apply(dtype, rules), make_sparse(dtype, panel, gemm.width_of)
    lazy_rows = make_lazy(dtype, panel, gemm.width_of, sparse_rows, apply)
    layers_ = make_layers(
        dtype,
        panel,
        gemm,
        rounded,
        narrow,
        first_rows,
        find_tiles,
        rules,
        lanes,
        softmax,
        normalization,
        periodic,
        sparse_rows.sparse_forward,
    )
    per_unit, keep_transposed = make_per_unit(dtype, panel, gemm), layers_.keep_transposed
    norms = make_norms(dtype, panel, gemm.width_of, per_unit.place_of, keep_transposed)
    update_tile, apply_tile, limit_tile = make_update(
        dtype,
        panel,
        gemm,
        rounded,
        narrow,
        list_rows,
        find_nonzero,
        per_unit,
        keep_transposed,
        norms.add_squares,
        normalization,
        periodic,
        apply,
        sparse_rows,
        lazy_rows.update_lazily,
    )
    sparse_outputs = make_sparse_outputs(
        dtype, panel, gemm.width_of, elementary, rules, sparse_rows
    )
    row_by_row, end_outputs = sparse_outputs.row_by_row, sparse_outputs.end_outputs
    make_good, make_all_good = lazy_rows.make_good, lazy_rows.make_all_good
    end_gradient, clip_columns, squares = norms.end_gradient, norms.clip_columns, norms.squares
    memory_of, copy_columns = make_view("memory", dtype), make_columns(dtype).copy
    gather_first, drop = gather.gather_first, gather.drop
    gather_inputs, gather_targets = gather.gather_inputs, gather.gather_targets
    loss_rows, width_of = layers_.loss_rows, gemm.width_of
    linear_forward, linear_backward = layers_.linear_forward, layers_.linear_backward
    activate_outputs, multiply_rows = layers_.activate_outputs, gemm.multiply_rows
    itemsize, own_code = dtype.itemsize, CODES[dtype.str]

    @njit(**EXACT)
    def panels_of(n):
        return (n + panel - 1) // panel

    team = make_team(panels_of)
    tiles_in, claim, open_phase = team.tiles_in, team.claim, team.open_phase
    may_begin_early, claim_early = team.may_begin_early, team.claim_early

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
    def drop_outputs(job, layer, first, r0, r1, p0, p1):
        """Apply the dropout between a layer and the next, if there is any."""
        head, layers = head_of(job), layers_of(job)
        if layer + 1 < head[LAYERS] and layers[layer + 1, MASK] >= 0:
            drop(job, layer + 1, first, r0, r1, p0, p1, ZERO)

    @njit(**EXACT)
    def ask(job, at, who, r0, r1):
        """Ask for rows r0..r1 of the first layer's columns of thread `who`, of two.

        The thread that does not ask has written them: outputs of its columns, or derivatives by
        those of the other, in its rows. Together they come sooner than one after another as they
        are needed, unless they are many.
        """
        memory, head, n = memory_of(job), head_of(job), layers_of(job)[0, N]
        p0, p1 = (ZERO, head[MIDDLE]) if who == 0 else (head[MIDDLE], panels_of(n))
        if (p1 - p0) * (r1 - r0) * panel * itemsize > ASKED_BYTES:
            return
        for p in range(p0, p1):
            start, width = at + p * panel * head[CAPACITY], width_of(p, n)
            for i in range(start + r0 * width, start + r1 * width, LINE_BYTES // itemsize):
                prefetch(address_of(memory, i))

    @njit(**MERGED)
    def rows_tile(job, start, first, r0, r1, me):
        """Go from layer `start` forward to the loss and back, for rows r0..r1 of the batch."""
        head, layers, numbers = head_of(job), layers_of(job), numbers_of(job)
        if start == 0:
            gather_inputs(job, first, r0, r1, ZERO)
        elif head[MIDDLE] > 0 and start == 1:
            ask(job, layers[0, OUTPUT], 1 - me, r0, r1)
        gather_targets(job, first, r0, r1, numbers[INVERSE_WEIGHT])
        for layer in range(start, head[LAYERS]):
            panels = panels_of(layers[layer, N])
            linear_forward(job, layer, first, r0, r1, ZERO, panels, ZERO, me)
            drop_outputs(job, layer, first, r0, r1, ZERO, panels)
        loss_rows(job, first, r0, r1, me)
        for layer in range(head[LAYERS] - 1, max(start - 1, head[FIRST_TRAINED]), -1):
            linear_backward(job, layer, r0, r1, ZERO, panels_of(layers[layer, K]), me)

    @njit(**EXACT)
    def do_tile(job, step, p, samples, tile, me):
        head, layers, phases = head_of(job), layers_of(job), phases_of(job)
        kind, layer = phases[p, KIND], phases[p, LAYER]
        first = step * head[BATCH]
        if kind >= UPDATE_TILES:
            tile += owners_of(job)[layer * head[THREADS]]
        if kind == UPDATE_TILES:
            following = min(head[BATCH], head[SAMPLES] - first - samples)
            # Products that read the caller's rows unrounded have asked for them.
            unasked = head[IN_PLACE] != 1 or head[ROUNDED] > 0
            if head[PREFETCH] > 0 and unasked and following > 0:
                prefetch_rows(job, first + samples, following, tile, me)
            own_inputs(job, step, samples, me)
            by_rows = phases[1, KIND] == ROWS and phases[1, LAYER] == 1
            if head[MIDDLE] > 0 and by_rows and tile == owners_of(job)[me]:
                half = samples // 2  # about: rows of the loss are in tiles
                r0, r1 = (half, samples) if me == 0 else (ZERO, half)
                ask(job, layers[0, DELTA], me, r0, r1)
            update_tile(job, tile, first, samples, me)
            return
        if kind == APPLY_TILES:
            apply_tile(job, tile)
            return
        if kind == LIMIT_TILES:
            limit_tile(job, tile)
            return
        if kind == MAKE_GOOD:
            make_good(job, tile, first, samples)
            return
        blocks = (samples + phases[p, ROW_BLOCK] - 1) // phases[p, ROW_BLOCK]
        start = tile // (blocks * phases[p, GROUP]) * phases[p, GROUP]
        width = min(phases[p, GROUP], tiles_in(job, p, samples) // blocks - start)
        rest = tile - start * blocks
        r0 = rest // width * phases[p, ROW_BLOCK]
        r1 = min(samples, r0 + phases[p, ROW_BLOCK])
        p0 = (start + rest % width) * phases[p, COLUMN_BLOCK]
        if kind == ROWS:
            rows_tile(job, layer, first, r0, r1, me)
        elif kind == FORWARD:
            own = ZERO
            if layer == 0:
                own_inputs(job, step, samples, me)
                own = me * head[OWN_INPUTS]
            p1 = p0 + phases[p, COLUMN_BLOCK]
            if layers[layer, ROWWISE] > 0 or p1 >= phases[p, END_PANEL]:
                p1 = panels_of(layers[layer, N])
            linear_forward(job, layer, first, r0, r1, p0, p1, own, me)
            drop_outputs(job, layer, first, r0, r1, p0, p1)
        elif kind == BACKWARD:
            end, p0 = phases[p, END_PANEL], p0 + phases[p, FIRST_PANEL]
            p1 = end if layers[layer - 1, ROWWISE] > 0 else min(end, p0 + phases[p, COLUMN_BLOCK])
            linear_backward(job, layer, r0, r1, p0, p1, me)
        elif kind == MAX_NORM:
            clip_columns(job, layer, p0, me)
        elif kind == GATHER:
            gather_inputs(job, first, r0, r1, ZERO)

    @njit(**EXACT)
    def end_phase(job, step, p, samples):
        """Do the little after a phase that is serial; return whether the epoch is to go on."""
        head, phases = head_of(job), phases_of(job)
        kind, status = phases[p, KIND], head[STATUS]
        if kind == ROWS:
            finite = end_loss(job, step, samples)
            if status == 0:
                return finite
            memory_of(job)[U(status)] = 0.0 if finite else 1.0
        elif phases[p, BEGINS] >= 0 or phases[p, NEEDS] >= 0:
            return call_sum(head[SUM], phases[p, BEGINS], phases[p, NEEDS]) == 0
        elif kind == LIMIT_TILES or (kind == UPDATE_TILES and status == 0 and head[KEPT] > 0):
            end_gradient(job)
        return True

    @njit(**MERGED)
    def alone(job, me):
        head, control = head_of(job), control_of(job)
        if control[STEP] == head[STEPS] and head[LAZY] > 0:
            make_all_good(job, control[STEP])
        elif head[ROW_BY_ROW] == 1:
            row_by_row(job)
            return
        for step in range(control[STEP], head[STEPS]):
            samples = rows_of(job, step)
            begin_step(job, control[FIRST_STEP], step, samples)
            for p in range(head[PHASES]):
                for tile in range(tiles_in(job, p, samples)):
                    if atomic_load(control, STOP) != 0:
                        return
                    do_tile(job, step, p, samples, tile, me)
                if not end_phase(job, step, p, samples):
                    control[BAD_STEP] = step
                    return
            atomic_store(control, STEP, step + 1)

    @njit(**EXACT)
    def begin_early(job, number, me, threads):
        """Do this thread's tiles of phase `number` until all may; return how many are done."""
        head, control = head_of(job), control_of(job)
        done, step, idle = 0, number // head[PHASES], 0
        samples = rows_of(job, step)
        tile = claim_early(job, number, done, me, threads)
        while tile >= 0:
            do_tile(job, step, 0, samples, tile, me)
            done += 1
            tile = claim_early(job, number, done, me, threads)
        # Tiles count as done in the phase that is open. Others may be beyond it if there are none.
        while atomic_load(control, TICKETS + LINE * me) >> 32 < number:
            if atomic_load(control, STOP) != 0:
                break
            idle += 1
            rest(idle)
        return done

    @njit(**MERGED)
    def together(job, me, threads):
        head, control = head_of(job), control_of(job)
        count = head[PHASES]
        if me == 0:
            step = control[STEP]
            samples = rows_of(job, step)
            begin_step(job, control[FIRST_STEP], step, samples)
            open_phase(job, step * count, threads)
        # Tiles are counted as done once a phase and thread: the count travels between the cores.
        idle = finished = number = tile = first = 0
        while atomic_load(control, STOP) == 0:
            seen = atomic_load(control, TICKETS + LINE * me)
            ticket, early = claim(job, me, threads, 0, 1, False), False
            if ticket < 0:
                early = finished > 0 and may_begin_early(job, number, finished, first, tile, me)
                if not early:
                    ticket = claim(job, me, threads, 1, threads, idle < PATIENCE)
            if ticket == WAIT:
                idle += 1
                rest(idle)
                continue
            if ticket >= 0:
                idle, finished, number = 0, finished + 1, ticket >> 32
                step, p = number // count, number % count
                samples = rows_of(job, step)
                tile = ticket & TILE_MASK
                first = tile if finished == 1 else first
                do_tile(job, step, p, samples, tile, me)
                continue
            if finished == 0:
                if seen >> 32 == FINISHED:
                    return
                # All tiles of this phase are taken: nothing to do until this thread's word changes.
                while (
                    atomic_load(control, TICKETS + LINE * me) == seen
                    and atomic_load(control, STOP) == 0
                ):
                    idle += 1
                    rest(idle)
                continue
            step, p = number // count, number % count
            samples = rows_of(job, step)
            done, finished = atomic_add(control, DONE, finished) + finished, 0
            if done < tiles_in(job, p, samples):
                if early:
                    finished, number = begin_early(job, number + 1, me, threads), number + 1
                continue
            # The last tile of the phase: all until the next is opened is this thread's alone.
            atomic_store(control, DONE, 0)
            following = number + 1
            if not end_phase(job, step, p, samples):
                control[BAD_STEP] = step
                following = FINISHED
            elif p == count - 1:
                atomic_store(control, STEP, step + 1)
                step += 1
                if step == head[STEPS]:
                    following = FINISHED
                else:
                    samples = rows_of(job, step)
                    begin_step(job, control[FIRST_STEP], step, samples)
            open_phase(job, following, threads)

    @njit(**MERGED)
    def train_epoch(job, me, threads):
        if threads == 1:
            alone(job, me)
        else:
            together(job, me, threads)

    @njit(**EXACT)
    def reads_in_place(job):
        """Whether the first layer of a prediction can read the caller's rows where they lie."""
        head, layers, strided = head_of(job), layers_of(job), strided_of(job)
        if head[IN_PLACE] != 0 or head[ROUNDED] > 0:
            return False
        if layers[0, LAYER_KIND] != LINEAR or layers[0, NARROW] >= 0:
            return False
        whole = strided[0, ROW_STRIDE] % itemsize == 0 and strided[0, COLUMN_STRIDE] == itemsize
        return whole and strided[0, DTYPE] == own_code

    @njit(**EXACT)
    def first_layer(job, first, count):
        """Write the first layer's outputs for the caller's rows first, first + 1, ...

        Rows whose first sum is finite are counted as done, where that is wanted.
        """
        memory, layers, strided, control = (
            memory_of(job),
            layers_of(job),
            strided_of(job),
            control_of(job),
        )
        n, stride, out = layers[0, N], strided[0, ROW_STRIDE], layers[0, OUTPUT]
        multiply_rows(
            memory, strided[0, ADDRESS] + first * stride, stride // itemsize, count, layers[0, K],
            layers[0, WEIGHTS], n, out, head_of(job)[CAPACITY],
        )  # fmt: skip
        if control.size > 0:
            for r in range(count):
                z = memory[U(out + r * width_of(ZERO, n))]
                control[DONE] += z - z == 0
        activate_outputs(job, ZERO, first, ZERO, count, ZERO, panels_of(n))

    @njit(**EXACT)
    def forward(job, start, end, outputs):
        """Write the outputs of the caller's rows start..end into those rows of `outputs`."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        last, adjacent = head[LAYERS] - 1, reads_in_place(job)
        n, rows = layers[last, N], head[CAPACITY]
        for first in range(start, end, INFERENCE_ROWS):
            count = min(INFERENCE_ROWS, end - first)
            begin = ZERO
            if adjacent:
                first_layer(job, first, count)
                begin = ONE
            elif head[IN_PLACE] == 0:
                gather_first(job, NO_ORDER, first, ZERO, count, layers[0, INPUT])
            for layer in range(begin, head[LAYERS]):
                panels = panels_of(layers[layer, N])
                linear_forward(job, layer, first, ZERO, count, ZERO, panels, ZERO, ZERO)
            for p in range(panels_of(n)):
                start = p * panel
                copy_columns(
                    memory, layers[last, OUTPUT] + start * rows, width_of(p, n),
                    outputs, first * n + start, n, min(panel, n - start), count,
                )  # fmt: skip

    @njit(**EXACT)
    def end_epoch(job):
        """Set the l2 penalty, which is known when no thread has a tile left."""
        memory, layers, total = memory_of(job), layers_of(job), 0.0
        if head_of(job)[ROW_BY_ROW] == 1:
            end_outputs(job)
            return
        for layer in range(head_of(job)[LAYERS]):
            l2 = layer_number(job, layer, L2)
            if layers[layer, LAYER_KIND] != LINEAR or l2 == 0.0:
                continue
            k, n, at, found = layers[layer, K], layers[layer, N], layers[layer, WEIGHTS], 0.0
            if layers[layer, NARROW] >= 0:
                found = squares(memory, at, k * n, 1.0)
            else:
                for p in range(panels_of(n)):
                    found += squares(memory, at + p * panel * (k + 1), k * width_of(p, n), 1.0)
            total += 0.5 * l2 * found
        numbers_of(job)[PENALTY] = total

    return SimpleNamespace(train_epoch=train_epoch, end_epoch=end_epoch, forward=forward)


train_epoch_float32, forward_float32 = make_team_calls(make_epoch(np.dtype(np.float32)))
train_epoch_float64, forward_float64 = make_team_calls(make_epoch(np.dtype(np.float64)))
