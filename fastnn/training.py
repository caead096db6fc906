"""Epoch after epoch: what `fit`, restarts and sweeps have in common."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from fastnn.callbacks import Callback, call_all
from fastnn.data import Data
from fastnn.errors import Diverged
from fastnn.predictions import scores
from fastnn.problem import check_converging
from fastnn.progress import Progress, Watch
from fastnn.restoring import go_back, remember
from fastnn.schedules import rates_of
from fastnn.target import Engine

if TYPE_CHECKING:
    from fastnn.trainer import Trainer

# How much is done in one compiled call: enough that what Python does between two calls, one
# restart at a time, is little, and no more than some megabytes of orders.
BLOCK_ROWS, BLOCK_EPOCHS = 1 << 17, 64


def train_epochs(
    trainer: Trainer,
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
    engine, learning_rate = trainer._open(), trainer.problem.optimizer.learning_rate
    steps = -(-len(data) // trainer.problem.batch_size)
    left = epochs
    while left:
        start = time.perf_counter()
        rates = rates_of(learning_rate, trainer.epoch, trainer.step, steps)
        rates *= trainer.rate_factor
        order = _orders(trainer, engine, 1, len(data))[0]
        earlier = remember(trainer)
        try:
            _train_epoch(trainer, engine, data, order, rates, validation, progress, start)
        except Diverged as error:
            left += go_back(trainer, error, rates)
            continue
        trainer._earlier = earlier
        left -= 1
        if call_all(calls, trainer, trainer.history):
            break


def _orders(trainer: Trainer, engine: Engine, epochs: int, n: int) -> np.ndarray:
    """Return the order of the rows 0..n-1 in each of the next epochs, int64 (epochs, n)."""
    if trainer.shuffle:
        return engine.orders(range(trainer.epoch, trainer.epoch + epochs), n)
    return np.tile(np.arange(n), (epochs, 1))


def _train_epoch(
    trainer: Trainer,
    engine: Engine,
    data: Data,
    order: np.ndarray,
    rates: np.ndarray,
    validation: Data | None,
    progress: Progress | Watch,
    start: float,
) -> None:
    """Do one epoch and enter it in the history, or change nothing and raise.

    Its seconds are counted from `start`, and without the validation.
    """
    problem, history = trainer.problem, trainer.history
    progress.start_epoch(trainer.epoch)
    # Epochs that `restore` has gone back behind are now done anew.
    history.truncate(trainer.epoch - history.first_epoch)
    epoch, step, done = trainer.epoch, trainer.step, len(history)
    report = progress.update if progress.shown else None
    snapshot = engine.snapshot()
    try:
        result = engine.train_epoch(data, order, rates, epoch, step, report)
        seconds = time.perf_counter() - start
        check_converging(result, engine.finite, rates, epoch)
        found = {} if validation is None else scores(problem, engine.forward, validation)
        loss, accuracy = found.get("loss"), found.get("accuracy")
        history.append(result.loss, seconds, rates[-1], loss, accuracy)
        trainer.epoch, trainer.step = epoch + 1, step + len(rates)
    except BaseException:
        # Ctrl-C can come between any two lines above, so all of them are taken back.
        engine.restore(snapshot)
        history.truncate(done)
        trainer.epoch, trainer.step = epoch, step
        raise
    progress.end_epoch(result.loss, loss)


def train_in_blocks(trainer: Trainer, data: Data, epochs: int, watch: Watch) -> None:
    """Train without validation and callbacks, as many epochs a call as `BLOCK_ROWS` allow.

    Raises
    ------
    Diverged
        As `Trainer.fit` does, in the same epoch and step.
    """
    most = max(1, min(BLOCK_EPOCHS, BLOCK_ROWS // len(data)))
    left = epochs
    while left:
        watch.check()
        count = min(most, left)
        if not _train_block(trainer, data, count, watch):
            train_epochs(trainer, data, None, count, (), watch)  # finds where, and may go on
        left -= count


def _train_block(trainer: Trainer, data: Data, count: int, watch: Watch) -> bool:
    """Do `count` epochs, or none and return False if a number would not be finite after them."""
    start = time.perf_counter()
    engine, problem, epoch = trainer._open(), trainer.problem, trainer.epoch
    steps = -(-len(data) // problem.batch_size)
    rates = rates_of(problem.optimizer.learning_rate, epoch, trainer.step, steps, count)
    rates *= trainer.rate_factor
    rates = rates.reshape(count, steps)
    orders = _orders(trainer, engine, count, len(data))
    snapshot = engine.snapshot()
    results = engine.train_epochs(data, orders, rates, epoch, trainer.step, watch.update)
    if results[-1].bad_step is not None or not engine.finite():
        engine.restore(snapshot)
        return False
    seconds = (time.perf_counter() - start) / count
    for result, own in zip(results, rates, strict=True):
        trainer.history.append(result.loss, seconds, own[-1])
    trainer.epoch, trainer.step = epoch + count, trainer.step + rates.size
    watch.epochs += count
    return True
