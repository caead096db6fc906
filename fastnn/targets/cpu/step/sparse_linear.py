"""One epoch on sparse rows of a model with one output and no hidden layer.

    z_r = x_r . w + b;   d_r = dL/dz_r;   w -= rate sum_r d_r x_r

By plain SGD, or by that whose mean of the weights predicts.

A step has products and an update of each range of inputs (see `step.sparse_ranges`), and between
them what the loss needs, of a few dozen rows. Each thread has ranges of its own, in which it goes
on from an update to the next products without waiting: so a step has one exchange, where a team
that claims tiles has four. A thread that never comes is done without.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from fastnn.targets.cpu.arguments import (
    BAD_STEP,
    DONE,
    FINISHED,
    FIRST_STEP,
    LINE,
    NOT_OPEN,
    STEP,
    STOP,
    TICKETS,
)
from fastnn.targets.cpu.llvm.elementary import make_elementary
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import (
    atomic_add,
    atomic_load,
    atomic_store,
)
from fastnn.targets.cpu.llvm.rule_loops import (
    EXACT,
    MERGED,
    U,
    make_rules,
)
from fastnn.targets.cpu.plan import (
    ACTIVATION,
    CAPACITY,
    IDENTITY,
    LOSS,
    LOSS_BLOCK,
    OWN_GRADIENT,
    OWN_VALUE,
    RANGE_BITS,
    RANGE_SUMS,
    ROW_SCRATCH,
    STEPS,
)
from fastnn.targets.cpu.products.gemm import ONE, ZERO
from fastnn.targets.cpu.scalars import INVERSE_WEIGHT, L1, L2, PENALTY, SCALE
from fastnn.targets.cpu.step.batch_of_one import make_gradient
from fastnn.targets.cpu.step.between_steps import begin_step, layer_number
from fastnn.targets.cpu.step.calls import make_team_calls
from fastnn.targets.cpu.step.norms import make_norms
from fastnn.targets.cpu.step.output_losses import make_output_losses
from fastnn.targets.cpu.step.single_rows import (
    LOSS_ALPHA,
    make_add_losses,
    make_move_bias,
    make_target_of,
)
from fastnn.targets.cpu.step.sparse_ranges import NOTHING, make_ranges
from fastnn.targets.cpu.step.sparse_rows import entry_start
from fastnn.targets.cpu.team import ended_early, rest
from fastnn.targets.cpu.views import (
    control_of,
    head_of,
    layers_of,
    make_view,
    numbers_of,
    order_of,
    sparse_of,
    weights_of,
)
from fastnn.targets.fields import BATCH, DELTA, OUTPUT, SAMPLES, WEIGHTED, WEIGHTS, K

JOINED = NOT_OPEN - 1  # the word of a thread that waits for work to be shared


def make_sparse_linear(dtype: np.dtype) -> SimpleNamespace:
    """Return train_epoch, end_epoch and forward for one dtype (not yet compiled)."""
    real = dtype.type
    zero = real(0)
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)
    elementary = make_elementary(dtype)
    rules = make_rules(dtype, elementary)
    squares = make_norms(dtype, 1, None, None, None).squares
    activate, output_losses = rules.activate, make_output_losses(dtype, rules)
    gradient, add_losses = make_gradient(real, elementary), make_add_losses(dtype, rules.losses)
    move_bias = make_move_bias(dtype)
    target_of = make_target_of(dtype)
    ranges = make_ranges(dtype)
    row_product, range_products = ranges.row_product, ranges.range_products
    update_range, make_good = ranges.update_range, ranges.make_good

    @njit(**EXACT)
    def one_by_one(job):
        """Train on single rows: the losses of a block of them are added up together."""
        memory, head, layers, control, numbers, order, weights = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            control_of(job),
            numbers_of(job),
            order_of(job),
            weights_of(job),
        )
        bias, d, sums = layers[0, WEIGHTS] + layers[0, K], layers[0, DELTA], head[RANGE_SUMS]
        z_at, y_at, end = head[ROW_SCRATCH], head[ROW_SCRATCH] + LOSS_BLOCK, head[STEPS]
        code, own_gradient, alpha = head[LOSS], head[OWN_GRADIENT], alphas_of(job)[LOSS_ALPHA]
        for first in range(control[STEP], end, LOSS_BLOCK):
            count = min(LOSS_BLOCK, end - first)
            for i in range(count):
                step = first + i
                row = order[U(step)]
                range_products(job, step, ONE, ZERO, sums)
                begin_step(job, control[FIRST_STEP], step, ONE)
                z = real(numbers[U(SCALE)]) * memory[U(sums)] + memory[U(bias)]
                y = target_of(job, row)
                memory[U(z_at + i)], memory[U(y_at + i)] = z, y
                derivative = gradient(code, own_gradient, z, y, alpha)
                if head[WEIGHTED] == 1:
                    scale = real(weights[U(row)] * numbers[U(INVERSE_WEIGHT)])
                    derivative = derivative * scale if scale != zero else zero
                memory[U(d)] = derivative
                move_bias(job, layers[0, WEIGHTS] + layers[0, K], derivative)
                update_range(job, step, ONE, ZERO, step)
            if not add_losses(job, z_at, y_at, first, count):
                return
            atomic_store(control, STEP, first + count)
            if atomic_load(control, STOP) != 0:
                return

    @njit(**EXACT)
    def between(job, step, samples):
        """Go from the sums over ranges to derivatives, and update the bias; whether to go on."""
        memory, head, layers, control = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            control_of(job),
        )
        bias, out, sums = layers[0, WEIGHTS] + layers[0, K], layers[0, OUTPUT], head[RANGE_SUMS]
        begin_step(job, control[FIRST_STEP], step, samples)
        scale = real(numbers_of(job)[U(SCALE)])
        for r in range(samples):
            z = memory[U(sums + r)]
            for each in range(1, ONE << head[RANGE_BITS]):
                z += memory[U(sums + each * head[CAPACITY] + r)]
            memory[U(out + r)] = scale * z + memory[U(bias)]
        if not output_losses(job, step, step * head[BATCH], samples):
            control[BAD_STEP] = step
            return False
        total = 0.0
        for r in range(samples):
            total += float(memory[U(layers[0, DELTA] + r)])
        move_bias(job, bias, real(total))
        return True

    @njit(**EXACT)
    def first_range(job, thread, threads):
        """Return the first of the ranges that a thread has."""
        return (thread << head_of(job)[RANGE_BITS]) // threads

    @njit(**EXACT)
    def wait_for(control, word, number):
        """Wait until a word of `control` has come to a number; False where all is to stop."""
        looks = 0
        while atomic_load(control, word) < number:
            if atomic_load(control, STOP) != 0:
                return False
            looks += 1
            rest(looks)
        return True

    @njit(**EXACT)
    def hand_over(job, step, samples, me, threads):
        """Have thread 0 do what is between products and update, and the others wait for it."""
        control, number = control_of(job), NOT_OPEN + step + 1
        if me > 0:
            atomic_store(control, TICKETS + LINE * me, number)
            return (
                wait_for(control, TICKETS, number)
                and atomic_load(control, TICKETS) < NOT_OPEN + FINISHED
            )
        for other in range(1, threads):
            if not wait_for(control, TICKETS + LINE * other, number):
                return False
        going = atomic_load(control, STOP) == 0 and between(job, step, samples)
        if threads > 1:
            atomic_store(control, TICKETS, number if going else NOT_OPEN + FINISHED)
        return going

    @njit(**EXACT)
    def join(job, me):
        """Wait until thread 0 shares its work; return the first step of that, or FINISHED."""
        control = control_of(job)
        atomic_store(control, TICKETS + LINE * me, JOINED)
        if not wait_for(control, TICKETS, NOT_OPEN + 1):
            return FINISHED
        return atomic_load(control, TICKETS) - NOT_OPEN

    @njit(**EXACT)
    def have_joined(job, threads):
        control = control_of(job)
        for other in range(1, threads):
            if atomic_load(control, TICKETS + LINE * other) == NOT_OPEN:
                return False
        return True

    @njit(**MERGED)
    def train_epoch(job, me, threads):
        head, control = head_of(job), control_of(job)
        if control[STEP] == head[STEPS]:
            if me == 0:
                make_good(job)
            return
        textbook = head[BATCH] == 1 and layers_of(job)[0, ACTIVATION] == IDENTITY
        if textbook and head[RANGE_BITS] == 0 and head[WEIGHTED] < 2:
            if me == 0:
                one_by_one(job)
            return
        # Thread 0 begins alone: there may be no other, or later. It shares when all are there.
        start = control[STEP] if me == 0 else join(job, me)
        mates, begin, end = 1, 0, 1 << head[RANGE_BITS]
        if me > 0:
            mates, begin, end = (
                threads,
                first_range(job, me, threads),
                first_range(job, me + 1, threads),
            )
        for step in range(start, head[STEPS]):
            first = step * head[BATCH]
            samples = min(head[BATCH], head[SAMPLES] - first)
            for each in range(begin, end):
                range_products(job, first, samples, each, head[RANGE_SUMS] + each * head[CAPACITY])
            if not hand_over(job, step, samples, me, mates):
                break
            for each in range(begin, end):
                update_range(job, first, samples, each, step)
            if me == 0:
                atomic_store(control, STEP, step + 1)
                if mates < threads and have_joined(job, threads):
                    mates, end = threads, first_range(job, 1, threads)
                    atomic_store(control, TICKETS, NOT_OPEN + step + 1)
        if me == 0 and mates < threads:  # whoever comes now is too late
            atomic_store(control, TICKETS, NOT_OPEN + FINISHED)
        if ended_early(job) or start == FINISHED or threads == 1:
            return
        # Weights are there when all threads have updated theirs.
        if me > 0:
            atomic_add(control, DONE, 1)
        elif mates > 1 and wait_for(control, DONE, threads - 1):
            atomic_store(control, DONE, 0)

    @njit(**EXACT)
    def forward(job, start, end, outputs):
        memory, alphas, sparse, layers = (
            memory_of(job),
            alphas_of(job),
            sparse_of(job),
            layers_of(job),
        )
        w, at = layers[0, WEIGHTS], layers[0, OUTPUT]
        for row in range(start, end):
            first, last = entry_start(sparse, row), entry_start(sparse, row + 1)
            z = row_product(memory, w, sparse, first, last, NOTHING)
            memory[U(at)] = z + memory[U(w + layers[0, K])]
            activate(layers[0, ACTIVATION], layers[0, OWN_VALUE], memory, at, 1, alphas[0])
            outputs[U(row)] = memory[U(at)]

    @njit(**MERGED)
    def end_epoch(job):
        """Set the penalty, which is known when no thread has a tile left."""
        memory, layers, total = memory_of(job), layers_of(job), 0.0
        l1, l2 = layer_number(job, ZERO, L1), layer_number(job, ZERO, L2)
        w, k = layers[0, WEIGHTS], layers[0, K]
        if l1 != 0.0:
            for i in range(w, w + k):
                total += abs(float(memory[U(i)]))
            total *= l1
        if l2 != 0.0:
            total += 0.5 * l2 * squares(memory, w, k, 1.0)
        numbers_of(job)[PENALTY] = total

    return SimpleNamespace(train_epoch=train_epoch, end_epoch=end_epoch, forward=forward)


train_epoch_float32, forward_float32 = make_team_calls(make_sparse_linear(np.dtype(np.float32)))
train_epoch_float64, forward_float64 = make_team_calls(make_sparse_linear(np.dtype(np.float64)))
