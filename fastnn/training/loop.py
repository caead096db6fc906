"""Epoch after epoch: what `fit`, restarts and sweeps have in common."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from fastnn.errors import Diverged
from fastnn.inputs.data import Data
from fastnn.inputs.problem import check_converging
from fastnn.schedules import rates_of
from fastnn.training.callbacks import Callback, call_all
from fastnn.training.divergence import go_back, remember
from fastnn.training.progress import Progress, Watch
from fastnn.training.saved_trainer import Model
from fastnn.training.scores import scores
from fastnn.training.trainer_state import State, works

if TYPE_CHECKING:
    from fastnn.training.trainer_state import Stateful

# How much is done in one compiled call: enough that what Python does between two calls, one
# restart at a time, is little, and no more than some megabytes of orders.
BLOCK_ROWS, BLOCK_EPOCHS = 1 << 17, 64


def train_epochs(
    trainer: Stateful,
    data: Data,
    validation: Data | None,
    epochs: int,
    calls: tuple[Callback, ...],
    progress: Progress | Watch,
) -> None:
    """Do up to so many epochs, one after another, with the callbacks after each.

    Raises
    ------
    Diverged
        A loss or a parameter is not finite, and `on_divergence` says to raise, or has restored the
        trainer often enough; it is as after the last good epoch.
    """
    left = epochs
    while left:
        try:
            _train_block(trainer, data, validation, 1, progress)
        except Diverged as error:
            rates = block_rates(trainer._state, len(data), 1)[0]
            left += go_back(trainer, error, float(rates[error.step]))
            continue
        left -= 1
        if call_all(calls, trainer, trainer.history):
            break


@works
def _train_block(
    trainer: Stateful,
    data: Data,
    validation: Data | None,
    count: int,
    progress: Progress | Watch,
) -> None:
    """Do `count` epochs and make what they come to the state, or change nothing and raise.

    They share their seconds, which are without the validation: that is for one epoch alone.
    """
    start = time.perf_counter()
    with trainer._using:
        state = trainer._ready()
        engine, problem, epoch = state.engine, state.problem, state.epoch
        orders, rates = _block(trainer, state, data, count)
        progress.start_epoch(epoch)
        report = progress.update if progress.shown else None
        results = engine.train_epochs(data, orders, rates, epoch, state.step, report)
        seconds = (time.perf_counter() - start) / count
        last = len(results) - 1
        check_converging(results[last], engine.finite, rates[last], epoch + last)
        found = {} if validation is None else scores(problem, engine.forward, validation)
        loss, accuracy = found.get("loss"), found.get("accuracy")
        after = state._replace(
            epoch=epoch + count, step=state.step + rates.size, snapshot=engine.snapshot(),
            earlier=remember(trainer, state),
        )  # fmt: skip
        rows = [
            (result.loss, loss, accuracy, own[-1], seconds)
            for result, own in zip(results, rates, strict=True)
        ]
        trainer._advance(after, rows)
    for result in results:
        progress.end_epoch(result.loss, loss)


def _block(
    trainer: Stateful, state: State, data: Data, epochs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return orders (epochs, n) and learning rates (epochs, steps) of the next epochs."""
    n = len(data)
    if trainer.shuffle:
        orders = state.engine.orders(range(state.epoch, state.epoch + epochs), n)
    else:
        orders = np.tile(np.arange(n), (epochs, 1))
    return orders, block_rates(state, n, epochs)


def block_rates(state: State | Model, n: int, epochs: int) -> np.ndarray:
    """Return the learning rate of each step of the next epochs over n rows, (epochs, steps)."""
    problem = state.problem
    steps = -(-n // problem.batch_size)
    rates = rates_of(problem.optimizer.learning_rate, state.epoch, state.step, steps, epochs)
    rates *= state.rate_factor
    return rates.reshape(epochs, steps)


def train_in_blocks(trainer: Stateful, data: Data, epochs: int, watch: Watch) -> None:
    """Train without validation and callbacks, as many epochs a call as `BLOCK_ROWS` allow.

    Raises
    ------
    Diverged
        As `Trainer.fit` does, in the same epoch and step.
    """
    most = max(1, min(BLOCK_EPOCHS, BLOCK_ROWS // len(data)))
    left = epochs
    while left:
        count = min(most, left)
        left -= count
        with suppress(Diverged):
            _train_block(trainer, data, None, count, watch)
            continue
        train_epochs(trainer, data, None, count, (), watch)  # finds where, and may go on
