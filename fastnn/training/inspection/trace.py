"""Some updates, one after another, on the engine that trains: what went in, and what came out."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import whole
from fastnn.inputs.arrays import as_table
from fastnn.inputs.data import Data, check_data, width_of
from fastnn.inputs.memory import check_memory
from fastnn.inputs.parameters import Parameters
from fastnn.inputs.problem import Problem
from fastnn.rules.table import update_row
from fastnn.targets.selection import check_reads, choose
from fastnn.training.inspection.passes import host_data, there_and_back
from fastnn.training.inspection.trace_result import Step, Trace
from fastnn.training.inspection.values import named
from fastnn.training.loop import block_rates

if TYPE_CHECKING:
    from fastnn.targets.engine import Engine
    from fastnn.training.trainer_state import Stateful

Pair = tuple[Parameters, list[Parameters]]  # parameters, and the optimizer's state


def trace(trainer: Stateful, X: Any, y: Any, steps: int, sample_weight: Any) -> Trace:
    """Return the next updates of a trainer, done by a copy of it; see `Inspectable.trace`."""
    steps = whole(steps, "steps", 1)
    other = copy.copy(trainer)
    check_reads(other.target, other.problem)
    reader = other._reader(X, y, sample_weight)
    X = as_table(X, "X")
    if other.problem.network.inputs is None:
        other._begin(width_of(X, reader=reader), None)
    problem = other.problem
    problem.check_learning()
    data = check_data(problem, X, y, sample_weight, reader=reader, names=other.feature_names)
    problem.check_batches(len(data))
    _check_room(problem, min(problem.batch_size, len(data)), steps)
    engine = other._open()
    try:
        engine.prepare(data.X, len(data))
        found, diverged = _updates(other, engine, data, steps)
    finally:
        engine.close()
    return Trace(found, problem.network, choose(other.target, problem)[0], diverged)


def _check_room(problem: Problem, rows: int, steps: int) -> None:
    """Raise `InvalidInput` where so many updates cannot be kept."""
    numbers = sum(math.prod(each.shape) for layer in problem.network.parameters for each in layer)
    units = sum(width for _, width in problem.network.widths)
    copies = 2 + update_row(problem.optimizer).slots
    check_memory(
        steps * problem.dtype.itemsize * (copies * numbers + 3 * rows * units),
        f"a trace of {steps:,} updates",
        "trace fewer of them",
    )


def _updates(trainer: Stateful, engine: Engine, data: Data, steps: int) -> tuple[list[Step], bool]:
    """Return the next updates, and whether the last one has a loss that is not finite."""
    problem, there, n = engine.problem, host_data(data), len(data)
    state = trainer._state
    done: list[Step] = []
    before: Pair = state.read()
    epoch, step = state.epoch, state.step
    while len(done) < steps:
        order = _order(trainer.shuffle, engine, epoch, n)
        rates = block_rates(state._replace(epoch=epoch, step=step), n, 1)[0]
        count = min(steps - len(done), len(rates))
        snapshots = _train(engine, data, order, rates, epoch, step, count)
        for index in range(min(len(snapshots) + 1, count)):
            diverged = index == len(snapshots)
            after = before if diverged else engine.unpack(snapshots[index])
            first = index * problem.batch_size
            rows = order[first : first + problem.batch_size].copy()
            place = epoch, step, index, float(rates[index])
            done.append(_step(problem, there, rows, before, after, *place))
            before = after
        if len(snapshots) < count:
            return done, True
        epoch, step = epoch + 1, step + len(rates)
    return done, False


def _order(shuffle: bool | int, engine: Engine, epoch: int, n: int) -> np.ndarray:
    if shuffle is False:
        return np.arange(n)
    window = None if shuffle is True else shuffle
    return engine.orders(range(epoch, epoch + 1), n, window)[0]


class _Enough(Exception):
    """Ends an epoch from within a look at it."""


def _train(
    engine: Engine,
    data: Data,
    order: np.ndarray,
    rates: np.ndarray,
    epoch: int,
    step: int,
    count: int,
) -> list[Any]:
    """Return snapshots after each of the first `count` steps of an epoch.

    They are fewer where the loss of the next step is not finite. After all steps of the epoch, the
    engine is as training leaves it.
    """
    found: list[Any] = []

    def run(stops: Sequence[int]) -> None:
        def look(done: int, loss_sum: float, weight_sum: float) -> None:
            found.append(engine.snapshot())
            if done == stops[-1] < len(rates):
                raise _Enough

        try:
            engine.train_epoch_in_parts(data, order, rates, epoch, step, stops, look)
        except _Enough:
            pass

    if not engine.overlaps_steps(engine.problem):
        run(range(1, count + 1))
        return found
    # Steps that overlap come to other bits where they are parted: each is the last of an epoch.
    start = engine.snapshot()
    for stop in range(1, count + 1):
        engine.restore(start)
        run(range(stop, stop + 1))
        if len(found) < stop:
            break
    return found


def _step(
    problem: Problem,
    data: Data,
    rows: np.ndarray,
    before: Pair,
    after: Pair,
    epoch: int,
    step: int,
    index: int,
    rate: float,
) -> Step:
    """Return update number `index` of an epoch before which `step` were done."""
    from fastnn.targets.numpy.epoch import take
    from fastnn.targets.numpy.passes import drawn_slopes, dropout_masks

    network = problem.network
    masks = dropout_masks(problem, len(rows), epoch, index)
    slopes = drawn_slopes(problem, len(rows), epoch, index)
    found = there_and_back(problem, before[0], take(problem, data, rows), masks, slopes, rate)
    at = named(network, before[0])
    mean = update_row(problem.optimizer).mean
    return Step(
        step + index + 1,
        epoch + 1,
        rows,
        rate,
        found.loss,
        found.values,
        tuple(each.dZ for each in found.back),
        named(network, (each.gradients for each in found.back), "d"),
        named(network, before[1][-1]) if mean else at,
        named(network, after[1][-1] if mean else after[0]),
        at,
    )
