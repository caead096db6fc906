"""An epoch of plain SGD on one row at a time, without hidden layers: the textbook's loop.

Its step is the shortest there is. Of one output without an l1 penalty it waits for nothing that it
can know before. Of a few outputs each is a model of its own, and while one waits others go on, or
they have a softmax together; of more see `in_lanes`. There, and with an l1 penalty or the mean of
the weights, a row is read once for the update with it and once for the products before: weights are
written and read in the same pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.rules import ends
from fastnn.rules import losses as rules
from fastnn.rules.table import LOSS_CODES, LOSSES
from fastnn.targets.cpu.arguments import (
    ADDRESS,
    BAD_STEP,
    COLUMN_STRIDE,
    FIRST_STEP,
    ROW_STRIDE,
    STEP,
    STOP,
)
from fastnn.targets.cpu.llvm.function_pointers import call_gradient
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import (
    atomic_load,
    atomic_store,
    load_float32,
    load_float64,
)
from fastnn.targets.cpu.llvm.rule_loops import EXACT, INLINE, MERGED, U, loss_gradient
from fastnn.targets.cpu.plan import (
    CLASSES,
    IN_LANES,
    LOSS,
    LOSS_BLOCK,
    OWN_GRADIENT,
    PREFETCH,
    ROW_SCRATCH,
    STEPS,
    UPDATE,
)
from fastnn.targets.cpu.products.gemm import ZERO
from fastnn.targets.cpu.scalars import (
    BIAS_FACTOR,
    L1,
    L2,
    MEAN_WEIGHT,
    RATE_FACTOR,
)
from fastnn.targets.cpu.step.between_steps import layer_number, make_kept
from fastnn.targets.cpu.step.in_lanes import make_in_lanes
from fastnn.targets.cpu.step.jumps import AVERAGED, SGD
from fastnn.targets.cpu.step.single_rows import (
    AHEAD,
    LOSS_ALPHA,
    add_loss,
    ask,
    begin_ends,
    make_add_losses,
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
    rates_of,
    strided_of,
    target_weights_of,
    weights_of,
)
from fastnn.targets.fields import BIAS, DELTA, OUTPUT, SAMPLES, SIZE, WEIGHTED, WEIGHTS, K, N

SOFTMAX = LOSS_CODES["softmax_cross_entropy"]
# Losses whose derivative is compiled into a loop of its own; the others share one.
OWN_LOOPS = ("binary_cross_entropy", "mse", "huber", "margin")


def make_gradient(real: Any, elementary: Any) -> Any:
    """Return ``gradient(code, own, p, y, alpha)``: the derivative of the loss of that code.

    Of a user-defined one, whose code is CUSTOM, `own` says where it is.
    """
    codes: dict[Any, list[int]] = {}
    for name, row in LOSSES.items():
        if not row.rowwise:
            codes.setdefault(getattr(rules, name), []).append(LOSS_CODES[name])
    lines = ["def gradient(code, own, p, y, alpha):"]
    namespace: dict[str, Any] = {"call": call_gradient}
    for number, (rule, own_codes) in enumerate(codes.items()):
        namespace[f"of{number}"] = loss_gradient(rule, real, elementary)
        test = " or ".join(f"code == {code}" for code in own_codes)
        lines.append(f"    if {test}: return of{number}(p, y, alpha)")
    lines.append("    return call(own, p, y, alpha)")
    exec("\n".join(lines), namespace)
    return njit(**INLINE)(namespace["gradient"])


def _gradient_of(name: str, real: Any, elementary: Any) -> Any:
    """Return the gradient of one loss, as `make_gradient` has it of all."""
    derivative = loss_gradient(getattr(rules, name), real, elementary)

    @njit(**INLINE)
    def gradient(code, own, p, y, alpha):
        return derivative(p, y, alpha)

    return gradient


def _one_output(
    gradient: Any, dtype: np.dtype, products: Any, step_row: Any, add_losses: Any
) -> Any:
    """Return ``epoch(job)`` of a model of one output, without an l1 penalty.

    The textbook's order, z = w . x + b, then w += c x, makes every step wait for the update before.
    With w' = keep w + c x the next row's z = w' . x' + b' is keep (w . x') + c (x . x') + b', whose
    two products are known before c is: only the derivative of the loss is left to wait for.
    """
    real = dtype.type
    zero, one, kept = real(0), real(1), make_kept(dtype)
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)
    dot, axpy, advance = products.dot, products.axpy, products.advance
    own = load_float64 if dtype.itemsize == 8 else load_float32

    @njit(**EXACT)
    def epoch(job):
        memory, head, layers, strided, order, control, rates = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            strided_of(job),
            order_of(job),
            control_of(job),
            rates_of(job),
        )
        k, w = layers[0, K], layers[0, WEIGHTS]
        bias = memory[U(w + k)]
        trained = real(float(layers[0, BIAS]) * layer_number(job, ZERO, BIAS_FACTOR))
        samples, l2 = min(head[SAMPLES], head[STEPS]), layer_number(job, ZERO, L2)
        rate_factor, first_step = layer_number(job, ZERO, RATE_FACTOR), control[FIRST_STEP]
        rows, row_stride = strided[0, ADDRESS], strided[0, ROW_STRIDE]
        row_bytes = k * strided[0, COLUMN_STRIDE]
        targets, target_stride = strided[1, ADDRESS], strided[1, ROW_STRIDE]
        z_at, y_at = head[ROW_SCRATCH], head[ROW_SCRATCH] + LOSS_BLOCK
        weights, weighted, mean = weights_of(job), head[WEIGHTED] == 1, numbers_of(job)[MEAN_WEIGHT]
        inverse = 1.0 / mean if mean > 0.0 else 0.0
        code, own_gradient = head[LOSS], head[OWN_GRADIENT]
        alpha = alphas_of(job)[LOSS_ALPHA]
        row = order[U(0)]
        before = here = step_row(job, row, ZERO)
        z, keep, change = dot(memory, w, here, k) + bias, one, zero
        for first in range(0, samples, LOSS_BLOCK):
            count = min(LOSS_BLOCK, samples - first)
            for i in range(count):
                step = first + i
                following = order[U(min(step + 1, samples - 1))]
                after = step_row(job, following, step + 1)
                if head[PREFETCH] > 0 and step + AHEAD < head[SAMPLES]:
                    ask(rows + order[U(step + AHEAD)] * row_stride, row_bytes)
                y = own(targets + row * target_stride)
                memory[U(z_at + i)], memory[U(y_at + i)] = z, y
                direct, through = advance(memory, w, before, here, after, k, keep, change)
                exact_rate = rates[U(step)] * rate_factor
                rate = real(exact_rate)
                if l2 != 0.0:
                    keep = max(zero, kept(exact_rate * l2, float(first_step + step + 1)))
                change = -rate * gradient(code, own_gradient, z, y, alpha)
                if weighted:
                    scale = real(weights[U(row)] * inverse)
                    change = change * scale if scale != zero else zero
                z = keep * direct + bias
                if change != zero:  # a row of weight 0 may be so large that `through` is infinite
                    z += change * (through + trained)
                bias += trained * change
                before, here, row = here, after, following
            if not add_losses(job, z_at, y_at, first, count):
                break
            atomic_store(control, STEP, first + count)
            if atomic_load(control, STOP) != 0:
                break
        if keep != one:
            for i in range(w, w + k):
                memory[U(i)] *= keep
        axpy(memory, w, before, k, change)
        memory[U(w + k)] = bias

    return epoch


def _make_softmax(dtype: np.dtype, elementary: Any) -> Any:
    """Return ``softmax(job, z_at, to, row, target, factor)``, the cross-entropy of the z of a row.

    It writes factor (whole softmax(z)_j - t_j) to j numbers, `whole` being the sum of the targets t
    of the row, which are the label of `row`, or at the address `target`.
    """
    real = dtype.type
    zero, one = real(0), real(1)
    exp, log = elementary.exp, elementary.log
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)
    own, itemsize = load_float64 if dtype.itemsize == 8 else load_float32, dtype.itemsize

    @njit(**EXACT)
    def softmax(job, z_at, to, row, target, factor):
        memory, labelled, n = memory_of(job), head_of(job)[CLASSES] == 1, layers_of(job)[0, N]
        smoothing = alphas_of(job)[LOSS_ALPHA]
        largest, total = memory[U(z_at)], zero
        for j in range(1, n):
            largest = max(largest, memory[U(z_at + j)])
        for j in range(n):
            power = exp(memory[U(z_at + j)] - largest)
            memory[U(to + j)] = power
            total += power
        share, log_sum = factor / total, largest + log(total)
        label = classes_of(job)[U(row)] if labelled else -1
        if labelled and smoothing == zero:
            for j in range(n):
                memory[U(to + j)] *= share
            memory[U(to + label)] -= factor
            return np.float64(log_sum - memory[U(z_at + label)])
        keep, base = one - smoothing, smoothing / real(n)
        loss, whole = 0.0, zero
        for j in range(n):
            t = keep * (own(target + j * itemsize) if not labelled else zero) + base
            if j == label:
                t = keep + base
            whole += t
            if t != zero:
                loss += np.float64(t * (log_sum - memory[U(z_at + j)]))
        share *= whole
        for j in range(n):
            t = keep * (own(target + j * itemsize) if not labelled else zero) + base
            if j == label:
                t = keep + base
            memory[U(to + j)] = memory[U(to + j)] * share - factor * t
        return loss

    return softmax


def _several_outputs(
    gradient: Any,
    dtype: np.dtype,
    products: Any,
    step_row: Any,
    add_losses: Any,
    softmax: Any = None,
) -> Any:
    """Return ``epoch(job)`` for any number of outputs, an l1 penalty and the mean of the weights.

    It goes on from the step where it is to the last that it is asked for. The loss is that of each
    output alone, or, where `softmax` is given, that of `_make_softmax`.
    """
    together = softmax is not None
    real = dtype.type
    zero, one = real(0), real(1)
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)
    dot, follow = products.dot, products.follow
    plain, meaning = follow[False, False], follow[False, True]
    shrinking, shrinking_meaning = follow[True, False], follow[True, True]
    own, itemsize = load_float64 if dtype.itemsize == 8 else load_float32, dtype.itemsize
    step_numbers = make_step_numbers(dtype)

    @njit(**EXACT)
    def epoch(job):
        memory, head, layers, strided, order, control, numbers = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            strided_of(job),
            order_of(job),
            control_of(job),
            numbers_of(job),
        )
        start, end, k, n = control[STEP], head[STEPS], layers[0, K], layers[0, N]
        if start >= end:
            return
        w, apart, size, z_at = layers[0, WEIGHTS], k + 1, head[SIZE], layers[0, OUTPUT]
        changes_at = layers[0, DELTA]
        rows, row_stride = strided[0, ADDRESS], strided[0, ROW_STRIDE]
        row_bytes, losses_at = k * strided[0, COLUMN_STRIDE], head[ROW_SCRATCH]
        targets_at, block = losses_at + max(LOSS_BLOCK, n), max(1, LOSS_BLOCK // n)
        trained = real(float(layers[0, BIAS]) * layer_number(job, ZERO, BIAS_FACTOR))
        averages = head[UPDATE] == AVERAGED
        l1 = layer_number(job, ZERO, L1)
        code, own_gradient, alpha = head[LOSS], head[OWN_GRADIENT], alphas_of(job)[LOSS_ALPHA]
        of_targets, weighted = target_weights_of(job), head[WEIGHTED]
        mean, output_share = numbers[MEAN_WEIGHT], one if together else one / real(n)
        ended = ends_of(job)
        last = len(ended) // 2 + ends.HEAD
        resting = not together and len(ended) > 0
        resting = resting and ended[U(last - ends.HEAD + ends.GOING)] < n
        inverse = 1.0 / mean if mean > 0.0 else 0.0
        row = order[U(start)]
        here = step_row(job, row, start)
        for j in range(n):
            at = w + j * apart
            memory[U(z_at + j)] = dot(memory, at, here, k) + memory[U(at + k)]
        for first in range(start, end, block):
            count = min(block, end - first)
            for i in range(count):
                step, following, after = first + i, row, here
                if step + 1 < end:
                    following = order[U(step + 1)]
                    after = step_row(job, following, step + 1)
                if head[PREFETCH] > 0 and step + AHEAD < head[SAMPLES]:
                    ask(rows + order[U(step + AHEAD)] * row_stride, row_bytes)
                rate, keep, threshold, share, scale = step_numbers(job, step, row)
                scale *= output_share
                target = strided[1, ADDRESS] + row * strided[1, ROW_STRIDE]
                if together:
                    loss = softmax(job, z_at, changes_at, row, target, -rate * scale)
                    add_loss(job, step, row, loss)
                for j in range(n):
                    if resting and ended[U(last + j * ends.OF_OUTPUT + ends.RESTS)] != 0.0:
                        continue
                    at, kept = w + j * apart, i * n + j
                    if together:
                        change = memory[U(changes_at + j)]
                    else:
                        z, y = memory[U(z_at + j)], own(target + j * itemsize)
                        memory[U(losses_at + kept)], memory[U(targets_at + kept)] = z, y
                        if weighted == 2:
                            scale = real(of_targets[U(row * n + j)] * inverse) * output_share
                        change = -rate * (gradient(code, own_gradient, z, y, alpha) * scale)
                    if scale == zero:
                        change = zero
                    bias = memory[U(at + k)] + trained * change
                    memory[U(at + k)] = bias
                    if averages:
                        old = memory[U(at + k + size)]
                        old = bias if share == one else old + share * (bias - old)
                        memory[U(at + k + size)] = old
                        if l1 > 0.0:
                            z = shrinking_meaning(
                                memory, at, at + size, here, after, k, keep, change, threshold,
                                share,
                            )  # fmt: skip
                        else:
                            z = meaning(
                                memory, at, at + size, here, after, k, keep, change, zero, share
                            )
                    elif l1 > 0.0:
                        z = shrinking(memory, at, at, here, after, k, keep, change, threshold, zero)
                    else:
                        z = plain(memory, at, at, here, after, k, keep, change, zero, zero)
                    memory[U(z_at + j)] = z + bias
                row, here = following, after
            if together:
                if control[BAD_STEP] >= 0:
                    return
            elif not add_losses(job, losses_at, targets_at, first, count):
                return
            atomic_store(control, STEP, first + count)
            if atomic_load(control, STOP) != 0:
                return

    return epoch


def make_one_by_one(
    dtype: np.dtype, elementary: Any, products: Any, rules: Any, step_row: Any
) -> Any:
    """Return ``one_by_one(job)``: an epoch of SGD, or of averaged SGD, on one row at a time.

    Parameters
    ----------
    dtype, elementary, products
        As `make_elementary` and `make_dot` have them.
    rules
        Has the switches of `make_rules`.
    step_row
        (job, row, step) -> the address of the row of a step; those of three steps are there at a
        time.
    """
    real = dtype.type
    add_losses = make_add_losses(dtype, rules.losses)
    every = make_gradient(real, elementary)
    parts = dtype, products, step_row, add_losses
    several = _several_outputs(every, *parts)
    softmax = _make_softmax(dtype, elementary)
    together = _several_outputs(every, *parts, softmax)
    in_lanes = make_in_lanes(dtype, elementary, rules, step_row, add_losses, softmax)
    any_loss = _one_output(every, *parts)
    lines = [f"    if code == {SOFTMAX}: together(job)", "    elif not pipelined: several(job)"]
    namespace = {"several": several, "together": together, "any_loss": any_loss}
    for name in OWN_LOOPS:
        namespace[name] = _one_output(_gradient_of(name, real, elementary), *parts)
        lines.append(f"    elif code == {LOSS_CODES[name]}: {name}(job)")
    source = ["def pick(code, pipelined, job):", *lines, "    else: any_loss(job)"]
    exec("\n".join(source), namespace)
    pick = njit(**MERGED)(namespace["pick"])

    @njit(**MERGED)
    def one_by_one(job):
        head, control, ended = head_of(job), control_of(job), ends_of(job)
        if len(ended) > 0:
            if control[STEP] == 0:
                begin_ends(ended, layers_of(job)[0, N])
            if ended[U(len(ended) // 2 + ends.GOING)] == 0.0:
                atomic_store(control, STEP, head[STEPS])
                return
        if head[IN_LANES] >= 0:
            in_lanes(job)
            return
        alone = layers_of(job)[0, N] == 1 and head[WEIGHTED] < 2 and head[UPDATE] == SGD
        pick(head[LOSS], alone and layer_number(job, ZERO, L1) == 0.0, job)

    return one_by_one
