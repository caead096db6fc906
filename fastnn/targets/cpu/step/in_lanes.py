"""Single rows for a model of some outputs, which lie side by side in the lanes of vectors.

Weights are brought there as a call begins, and back as it ends, which takes as long as a few steps.
Where steps overlap, a call that ends within an epoch leaves two updates to the next one, and copies
of their rows, which may be gone by then: all sums are the same as without such an end.
`fastnn.targets.cpu.products.outputs` has a step, and `fit_lanes` says for which models this is
quicker than one output after another. Derivatives are those of a loop over outputs, or of a softmax
that takes all lanes at once, of which those beyond the outputs have the lowest z.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.rules import ends
from fastnn.rules.table import LOSS_CODES
from fastnn.targets.cpu.arguments import ADDRESS, BAD_STEP, COLUMN_STRIDE, ROW_STRIDE, STEP, STOP
from fastnn.targets.cpu.lanes import (
    BIASES,
    CHANGE,
    FACTOR,
    FIELDS,
    LAST_CHANGE,
    LAST_KEEP,
    MEANS,
    TRAINED,
    Z,
)
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import (
    address_of,
    atomic_load,
    atomic_store,
    load_float32,
    load_float64,
)
from fastnn.targets.cpu.llvm.rule_loops import EXACT, INLINE, MERGED, U
from fastnn.targets.cpu.plan import (
    CLASSES,
    IN_LANES,
    LOSS,
    LOSS_BLOCK,
    OWN_LOSS_GRADIENTS,
    PREFETCH,
    ROW_SCRATCH,
    STEPS,
    UPDATE,
)
from fastnn.targets.cpu.products.dot import make_dot
from fastnn.targets.cpu.products.gemm import ZERO
from fastnn.targets.cpu.products.outputs import make_outputs
from fastnn.targets.cpu.scalars import BIAS_FACTOR, L1, MEAN_WEIGHT
from fastnn.targets.cpu.step.between_steps import layer_number
from fastnn.targets.cpu.step.jumps import AVERAGED
from fastnn.targets.cpu.step.single_rows import (
    AHEAD,
    LOSS_ALPHA,
    add_loss,
    ask,
    make_step_numbers,
)
from fastnn.targets.cpu.views import (
    classes_of,
    control_of,
    ends_of,
    head_of,
    layers_of,
    make_view,
    numbers_of,
    order_of,
    strided_of,
    target_weights_of,
)
from fastnn.targets.fields import BIAS, SAMPLES, SIZE, WEIGHTED, WEIGHTS, K, N

SOFTMAX = LOSS_CODES["softmax_cross_entropy"]


def make_in_lanes(
    dtype: np.dtype, elementary: Any, rules: Any, step_row: Any, add_losses: Any, softmax: Any
) -> Any:
    """Return ``in_lanes(job)``: what `batch_of_one` does with several outputs, to rounding.

    Parameters
    ----------
    rules
        Has the switches of `make_rules`.
    elementary, step_row, add_losses
        As there.
    softmax
        The cross-entropy of a row whose targets are no labels, or are smoothed.
    """
    real, itemsize = dtype.type, dtype.itemsize
    zero, one, lowest = real(0), real(1), real(np.finfo(dtype).min)
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)
    outputs = make_outputs(dtype)
    lanes, label_changes = outputs.lanes, outputs.softmax
    plain, meaning = outputs.follow[False, False], outputs.follow[False, True]
    shrinking, shrinking_meaning = outputs.follow[True, False], outputs.follow[True, True]
    own = load_float64 if itemsize == 8 else load_float32
    log, loss_gradients = elementary.log, rules.loss_gradients
    step_numbers = make_step_numbers(dtype)
    advance, arrive, rows_of = outputs.advance, outputs.arrive, make_dot(dtype)
    axpy, between = rows_of.axpy, rows_of.between

    @njit(**INLINE)
    def bias_factor(job):
        return real(float(layers_of(job)[0, BIAS]) * layer_number(job, ZERO, BIAS_FACTOR))

    @njit(**EXACT)
    def bring(job):
        """Bring weights, biases and their means into lanes."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, w = layers[0, K], layers[0, N], layers[0, WEIGHTS]
        wide = (n + lanes - 1) // lanes * lanes
        for copy in range(1 + (head[UPDATE] == AVERAGED)):
            panels = head[IN_LANES] + copy * k * wide
            biases = head[IN_LANES] + 2 * k * wide + (MEANS if copy == 1 else BIASES) * wide
            for i in range(panels, panels + k * wide):
                memory[U(i)] = zero
            for j in range(wide):
                memory[U(biases + j)] = lowest if head[LOSS] == SOFTMAX else zero
            for j in range(n):
                at = w + copy * head[SIZE] + j * (k + 1)
                lane = panels + j // lanes * lanes * k + j % lanes
                for i in range(k):
                    memory[U(lane + i * lanes)] = memory[U(at + i)]
                memory[U(biases + j)] = memory[U(at + k)]

    @njit(**EXACT)
    def bring_back(job):
        """Bring them back, but for updates that are still to be done in the lanes."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, w = layers[0, K], layers[0, N], layers[0, WEIGHTS]
        wide = (n + lanes - 1) // lanes * lanes
        block = head[IN_LANES] + 2 * k * wide
        for copy in range(1 + (head[UPDATE] == AVERAGED)):
            panels, field = head[IN_LANES] + copy * k * wide, MEANS if copy == 1 else BIASES
            for j in range(n):
                at = w + copy * head[SIZE] + j * (k + 1)
                lane = panels + j // lanes * lanes * k + j % lanes
                for i in range(k):
                    memory[U(at + i)] = memory[U(lane + i * lanes)]
                memory[U(at + k)] = memory[U(block + field * wide + j)]

    @njit(**EXACT)
    def update(job, change, factor, row, trained):
        """Do an update with a row to the weights that were brought back."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, w = layers[0, K], layers[0, N], layers[0, WEIGHTS]
        wide = (n + lanes - 1) // lanes * lanes
        block = head[IN_LANES] + 2 * k * wide
        for j in range(n):
            at = w + j * (k + 1)
            keep, own = memory[U(block + factor * wide + j)], memory[U(block + change * wide + j)]
            for i in range(at, at + k):
                memory[U(i)] *= keep
            axpy(memory, at, row, k, own)
            memory[U(at + k)] += trained * own

    @njit(**EXACT)
    def leave(job, before, here, keep):
        """Keep both rows and the factor of updates for the next call, and do them to W."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, trained = layers[0, K], layers[0, N], bias_factor(job)
        wide = (n + lanes - 1) // lanes * lanes
        block = head[IN_LANES] + 2 * k * wide
        rows = block + FIELDS * wide
        for i in range(k):  # the first may be the copy itself
            first, second = own(before + i * itemsize), own(here + i * itemsize)
            memory[U(rows + i)], memory[U(rows + k + i)] = first, second
        for j in range(wide):
            moves = memory[U(block + TRAINED * wide + j)] != zero
            memory[U(block + FACTOR * wide + j)] = keep if moves else one
            if not moves:
                memory[U(block + CHANGE * wide + j)] = zero
        bring_back(job)
        update(job, LAST_CHANGE, LAST_KEEP, address_of(memory, rows), zero)
        update(job, CHANGE, FACTOR, address_of(memory, rows + k), trained)

    @njit(**EXACT)
    def follow(job, here, after, keep, threshold, share):
        """Do the update that the block describes, with one row, and write z of the next."""
        memory, head, layers = memory_of(job), head_of(job), layers_of(job)
        k, n, trained = layers[0, K], layers[0, N], bias_factor(job)
        wide = (n + lanes - 1) // lanes * lanes
        averages, shrinks = head[UPDATE] == AVERAGED, layer_number(job, ZERO, L1) > 0.0
        for first in range(0, wide, lanes):
            w = head[IN_LANES] + first * k
            mean, block = w + k * wide, head[IN_LANES] + 2 * k * wide + first
            if averages and shrinks:
                shrinking_meaning(
                    memory, w, mean, block, wide, here, after, k, trained, keep, threshold, share
                )
            elif averages:
                meaning(
                    memory, w, mean, block, wide, here, after, k, trained, keep, threshold, share
                )
            elif shrinks:
                shrinking(
                    memory, w, mean, block, wide, here, after, k, trained, keep, threshold, share
                )
            else:
                plain(memory, w, mean, block, wide, here, after, k, trained, keep, threshold, share)

    @njit(**EXACT)
    def say_who_is_trained(job):
        """Mark the lanes of outputs, but of those at rest."""
        memory, head, layers, ended = memory_of(job), head_of(job), layers_of(job), ends_of(job)
        k, n, last = layers[0, K], layers[0, N], len(ended) // 2 + ends.HEAD
        wide = (n + lanes - 1) // lanes * lanes
        at = head[IN_LANES] + 2 * k * wide + TRAINED * wide
        for j in range(wide):
            memory[U(at + j)] = one if j < n else zero
        for j in range(0 if head[LOSS] == SOFTMAX or len(ended) == 0 else n):
            if ended[U(last + j * ends.OF_OUTPUT + ends.RESTS)] != 0.0:
                memory[U(at + j)] = zero

    @njit(**EXACT)
    def steps(job, together):
        memory, head, layers, strided, order, control = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            strided_of(job),
            order_of(job),
            control_of(job),
        )
        start, end, k, n = control[STEP], head[STEPS], layers[0, K], layers[0, N]
        samples, trained = head[SAMPLES], bias_factor(job)
        wide = (n + lanes - 1) // lanes * lanes
        block = head[IN_LANES] + 2 * k * wide
        z_at, change_at = block + Z * wide, block + CHANGE * wide
        rows, row_stride = strided[0, ADDRESS], strided[0, ROW_STRIDE]
        row_bytes, losses_at = k * strided[0, COLUMN_STRIDE], head[ROW_SCRATCH]
        targets_at = losses_at + max(LOSS_BLOCK, n)
        code, own_gradients, alpha = (
            head[LOSS],
            head[OWN_LOSS_GRADIENTS],
            alphas_of(job)[LOSS_ALPHA],
        )
        of_targets, weighted = target_weights_of(job), head[WEIGHTED]
        mean, output_share = numbers_of(job)[MEAN_WEIGHT], one if together else one / real(n)
        inverse = 1.0 / mean if mean > 0.0 else 0.0
        labelled, classes = together and head[CLASSES] == 1 and alpha == zero, classes_of(job)
        run = LOSS_BLOCK if together else max(1, LOSS_BLOCK // n)
        varying = head[UPDATE] == AVERAGED or layer_number(job, ZERO, L1) > 0.0
        row = order[U(start)]
        here = step_row(job, row, start)
        before, kept_rows = here, block + FIELDS * wide
        say_who_is_trained(job)
        if varying or start == 0:  # an update that changes nothing, for z of the first row
            for j in range(wide):
                memory[U(change_at + j)] = zero
            follow(job, here, here, one, zero, zero)
            if not varying:  # nor does the first that is done later
                for j in range(wide):
                    memory[U(block + LAST_CHANGE * wide + j)] = zero
                    memory[U(block + LAST_KEEP * wide + j)] = one
        else:  # what the last call has left
            before = address_of(memory, kept_rows)
            last = address_of(memory, kept_rows + k)
            for panel in range(0, wide, lanes):
                w = head[IN_LANES] + panel * k
                advance(memory, w, block + panel, wide, before, here, k)
            factor = memory[U(block + FACTOR * wide)]
            for j in range(n):  # that of an output that is trained
                if memory[U(block + TRAINED * wide + j)] != zero:
                    factor = memory[U(block + FACTOR * wide + j)]
            product = between(last, here, k)
            arrive(memory, block, wide, wide // lanes, trained, factor, product)
            before = last
        for first in range(start, end, run):
            count = min(run, end - first)
            for i in range(count):
                step, following, after = first + i, row, here
                if step + 1 < end:
                    following = order[U(step + 1)]
                    after = step_row(job, following, step + 1)
                if head[PREFETCH] > 0 and step + AHEAD < samples:
                    ask(rows + order[U(step + AHEAD)] * row_stride, row_bytes)
                rate, keep, threshold, share, scale = step_numbers(job, step, row)
                scale *= output_share
                target = strided[1, ADDRESS] + row * strided[1, ROW_STRIDE]
                if labelled:
                    label = classes[U(row)]
                    most, whole = label_changes(
                        memory, block, wide, wide // lanes, label, -rate * scale
                    )
                    memory[U(losses_at + i)] = whole
                    memory[U(targets_at + i)] = most - memory[U(z_at + label)]
                elif together:
                    loss = softmax(job, z_at, change_at, row, target, -rate * scale)
                    add_loss(job, step, row, loss)
                else:
                    p, y = losses_at + i * n, targets_at + i * n
                    for j in range(n):
                        memory[U(p + j)] = memory[U(z_at + j)]
                        memory[U(y + j)] = own(target + j * itemsize)
                    loss_gradients(code, own_gradients, memory, p, y, change_at, n, alpha)
                    for j in range(n):
                        memory[U(change_at + j)] *= -rate * scale
                    if weighted == 2:
                        for j in range(n):
                            own_scale = real(of_targets[U(row * n + j)] * inverse)
                            change = memory[U(change_at + j)] * own_scale
                            memory[U(change_at + j)] = change if own_scale != zero else zero
                if scale == zero:
                    for j in range(n):
                        memory[U(change_at + j)] = zero
                if varying:
                    follow(job, here, after, keep, threshold, share)
                elif step + 1 == end:
                    leave(job, before, here, keep)
                else:  # all but the last of this is done while derivatives are waited for
                    for panel in range(0, wide, lanes):
                        w = head[IN_LANES] + panel * k
                        advance(memory, w, block + panel, wide, before, after, k)
                    product = between(here, after, k)
                    arrive(memory, block, wide, wide // lanes, trained, keep, product)
                before, row, here = here, following, after
            if labelled:
                for i in range(count):
                    memory[U(losses_at + i)] = log(memory[U(losses_at + i)])
                for i in range(count):
                    loss = np.float64(memory[U(losses_at + i)] + memory[U(targets_at + i)])
                    add_loss(job, first + i, order[U(first + i)], loss)
            if together:
                if control[BAD_STEP] >= 0:
                    return
            elif not add_losses(job, losses_at, targets_at, first, count):
                return
            atomic_store(control, STEP, first + count)
            if atomic_load(control, STOP) != 0 and first + count < end:
                bring_back(job)
                if not varying:
                    update(job, LAST_CHANGE, LAST_KEEP, before, zero)
                return
        if varying:
            bring_back(job)

    @njit(**MERGED)
    def in_lanes(job):
        if control_of(job)[STEP] >= head_of(job)[STEPS]:
            return
        overlaps = head_of(job)[UPDATE] != AVERAGED and layer_number(job, ZERO, L1) == 0.0
        if control_of(job)[STEP] == 0 or not overlaps:
            bring(job)
        steps(job, head_of(job)[LOSS] == SOFTMAX)

    return in_lanes
