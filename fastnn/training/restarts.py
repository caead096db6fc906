"""Several networks trained side by side, of which the best is kept."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import Diverged, InvalidInput, whole
from fastnn.inputs.data import Data
from fastnn.targets.selection import choose, describe
from fastnn.threads.processors import available_threads
from fastnn.threads.tasks import run_tasks
from fastnn.training import saved_trainer as models
from fastnn.training.callbacks import Callback, call_all, own_callbacks, take_over
from fastnn.training.history import History
from fastnn.training.loop import train_epochs, train_in_blocks
from fastnn.training.metrics import Metric
from fastnn.training.progress import Progress, Watch
from fastnn.training.restart_results import Restart, Restarts

if TYPE_CHECKING:
    from fastnn.inputs.problem import Problem
    from fastnn.training.saved_trainer import Model
    from fastnn.training.trainer_state import Stateful

STREAM = 0x72657374  # ASCII "rest": keeps these seeds apart from those of other draws


def check_restarts(restarts: Any, epoch: int, epochs: int) -> int:
    """Return how many networks `fit` is to train, or raise `InvalidInput`."""
    count = whole(restarts, "restarts", 1)
    if count > 1 and epoch:
        raise InvalidInput(
            f"restarts={count} trains from the start, but this trainer has done {epoch} "
            f"epoch{'s' * (epoch != 1)} already; make a new Trainer, or go on with restarts=1"
        )
    if count > 1 and not epochs:
        raise InvalidInput(
            f"restarts={count} needs at least one epoch to find the best, not epochs=0"
        )
    return count


def restart_seed(seed: int, restart: int) -> int:
    """Return the seed of a restart, below 2**63: that of the trainer itself for restart 0."""
    if restart == 0:
        return seed
    words = np.random.SeedSequence([seed, STREAM, restart]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def best_of(
    trainer: Stateful,
    restarts: int,
    data: Data,
    validation: Data | None,
    epochs: int,
    callbacks: tuple[Callback, ...],
    metrics: tuple[Metric, ...] = (),
    progress_bar: bool = True,
) -> Stateful:
    """Train so many networks, and return the best, with the ends of all in its history.

    Parameters
    ----------
    trainer
        The first of them, as it is before any epoch, with all its settings; not changed.
    restarts, epochs
        At least 1.
    data, validation, callbacks, metrics
        Checked; all networks share the data.
    progress_bar
        As `progress` of `Trainer.fit`.

    Raises
    ------
    Diverged
        All of them diverged.
    """
    first = trainer.__getstate__()
    chosen, reason = choose(first.target, first.problem, restarts)
    # Those of one launch share their rates, which halving the rates of one would end.
    plain = not callbacks and data.unequal_weights is None and first.on_divergence == "raise"
    if chosen == "cuda" and plain and _together(first.problem, restarts):
        return _best_together(
            trainer, restarts, data, validation, epochs, reason, metrics, progress_bar
        )
    if validation is not None:
        trainer._outputs()(validation.X[:1])  # compiled before several threads want it
    workers = first.threads or available_threads() if chosen == "cpu" else 1
    watches: list[Watch] = []
    calling, comparing = threading.Lock(), threading.Lock()
    kept: list[tuple[tuple[bool, float, int], Stateful, tuple[Callback, ...]]] = []
    errors: dict[int, Diverged] = {}
    pace = math.inf

    def train(index: int, check: Callable[[], None]) -> Restart:
        nonlocal pace
        if index == 0:
            model = replace(first, threads=1)
        else:
            problem = replace(first.problem, seed=restart_seed(first.problem.seed, index))
            model = replace(
                models.begin(problem, chosen, 1, first.shuffle),
                rate_factor=first.rate_factor,
                on_divergence=first.on_divergence,
                max_restores=first.max_restores,
                feature_names=first.feature_names,
            )
        # Together they may be worth a target that one alone is not.
        model = replace(model, target=chosen, history=History(chosen, 1, reason))
        own = trainer.__new__(type(trainer))
        own.__setstate__(model)
        this_call = object()
        own._fitting.take(this_call)  # whose callbacks may no more than those of fit
        # An engine that knows its epochs to be short does them in this thread; a thread more than
        # there are processors is put anywhere, and takes a twentieth of the time of all.
        own._open().seconds_per_row = pace
        own.history.reason = describe(reason, own._open())
        calls, watch = own_callbacks(callbacks), Watch(check)
        watches.append(watch)

        def call(trainer: Stateful, history: History) -> bool:
            with calling:
                return call_all(calls, trainer, history)

        try:
            if validation is None and not calls:
                train_in_blocks(own, data, epochs, watch)
            else:
                train_epochs(own, data, validation, epochs, (call,), watch, metrics)
        except Diverged as error:
            errors[index] = error
        pace = min(pace, own._open().seconds_per_row)
        found = _ending(own, index in errors)
        rank = (found.diverged, found.score, index)
        with comparing:
            if not kept or rank < kept[0][0]:
                kept[:] = [(rank, own, calls)]  # which lets go of the one before
        return found

    size = first.problem.batch_size
    steps = -(-len(data) // size)
    progress = Progress(restarts * epochs, steps, size, len(data), wanted=progress_bar)

    def tick() -> None:
        progress.show(f"{restarts} restarts", sum(watch.epochs for watch in watches))

    try:
        found = Restarts(run_tasks(train, restarts, workers, tick))
    finally:
        progress.close()
    _, best, calls = kept[0]
    _check_any_left(errors, restarts)
    best.history.restarts = found
    take_over(callbacks, calls, first.threads)
    return best


def _together(problem: Problem, restarts: int) -> bool:
    """Return whether a device trains so many networks side by side, or one after another."""
    from fastnn.targets.cuda.batched_models import worth_it

    return worth_it(problem, restarts)


def _best_together(
    trainer: Stateful,
    restarts: int,
    data: Data,
    validation: Data | None,
    epochs: int,
    reason: str,
    metrics: tuple[Metric, ...],
    progress_bar: bool,
) -> Stateful:
    """Train all networks in one launch of a device, and return the best; as `best_of`."""
    from fastnn.training.batched_models import begin_together

    first = trainer.__getstate__()
    seeds = [restart_seed(first.problem.seed, index) for index in range(restarts)]
    together = begin_together(first, seeds, "cuda", reason)
    size = first.problem.batch_size
    steps = -(-len(data) // size)
    progress = Progress(restarts * epochs, steps, size, len(data), wanted=progress_bar)
    try:
        together.train(data, validation, epochs, progress, metrics)
        found = Restarts(
            _ending(model, index in together.errors) for index, model in enumerate(together.models)
        )
        _check_any_left(together.errors, restarts)
        best = trainer.__new__(type(trainer))
        best.__setstate__(together.finish(found.best))
    finally:
        progress.close()
        together.engine.close()
    best.history.restarts = found
    return best


def _check_any_left(errors: dict[int, Diverged], restarts: int) -> None:
    """Raise `Diverged` where all networks did."""
    if len(errors) == restarts:
        error = errors[0]
        raise Diverged(
            f"all {restarts} restarts diverged, the first in epoch {error.epoch}, step "
            f"{error.step} (both counted from 0); {f'{error.cause}; or ' if error.cause else ''}"
            "lower the learning rate. The trainer is as it was before",
            error.epoch,
            error.step,
            error.cause,
        ) from error


def _ending(trainer: Stateful | Model, diverged: bool) -> Restart:
    """Return how a training ended: its last epoch, unless `EarlyStopping` has gone back."""
    history, epochs = trainer.history, trainer.epoch
    last = epochs - 1
    return Restart(
        trainer.problem.seed,
        epochs,
        history.loss[last] if epochs else None,
        history.validation_loss[last] if epochs else None,
        history.validation_accuracy[last] if epochs else None,
        sum(history.seconds),
        diverged,
        {name: values[last] for name, values in history.metrics.items()} if epochs else {},
    )
