"""Several networks trained side by side, of which the best is kept."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import Diverged, InvalidInput, whole
from fastnn.inputs.data import Data
from fastnn.targets.selection import choose
from fastnn.threads.processors import available_threads
from fastnn.training.callbacks import Callback, take_over
from fastnn.training.history import History
from fastnn.training.loop import Training
from fastnn.training.many import Member, at_rest, check_keep, train_many
from fastnn.training.metrics import Metric
from fastnn.training.restart_results import Restart, Restarts

if TYPE_CHECKING:
    from fastnn.training.trainer_state import Stateful

STREAM = 0x72657374  # ASCII "rest": keeps these seeds apart from those of other draws


def check_restarts(restarts: Any, epoch: int, epochs: int, keep_trainers: Any) -> int:
    """Return how many networks `fit` is to train, or raise `InvalidInput`."""
    count = whole(restarts, "restarts", 1)
    check_keep(keep_trainers)
    if keep_trainers and count == 1:
        raise InvalidInput(
            "keep_trainers=True keeps every network of several restarts, but restarts=1 trains "
            "only this trainer; pass restarts=8, say, or leave keep_trainers=False"
        )
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
    keep_trainers: bool = False,
) -> tuple[Stateful, Restarts]:
    """Train so many networks, and return the best and how each of them ended.

    Parameters
    ----------
    trainer
        The first of them, as it is before any epoch, with all its settings; not changed.
    restarts, epochs
        At least 1.
    data, validation, callbacks, metrics
        Checked; all networks share the data.
    progress_bar, keep_trainers
        As `progress` and `keep_trainers` of `Trainer.fit`.

    Raises
    ------
    Diverged
        All of them diverged.
    """
    first = trainer.__getstate__()
    chosen, reason = choose(first.target, first.problem, restarts)
    if validation is not None:
        trainer._outputs()(validation.X[:1])  # compiled before several threads want it
    workers = first.threads or available_threads() if chosen == "cpu" else 1
    # Together they may be worth a target that one alone is not.
    first = replace(first, target=chosen, threads=1, history=History(chosen, 1, reason))
    run = trainer._state.run
    members = [Member(first, data, validation, metrics, run)]
    for index in range(1, restarts):
        problem = replace(first.problem, seed=restart_seed(first.problem.seed, index))
        model = replace(
            first, problem=problem, history=History(chosen, 1, reason), parameters=[], slots=[],
            callbacks=[],
        )  # fmt: skip
        members.append(replace(members[0], model=model))
    comparing = threading.Lock()
    kept: list[tuple[tuple[bool, float, int], Training]] = []
    errors: dict[int, Diverged] = {}

    def done(index: int, training: Training) -> Restart:
        found = _ending(training.trainer, training.error is not None)
        if training.error is not None:
            errors[index] = training.error
        if keep_trainers:
            found = replace(found, trainer=at_rest(training.trainer, run))
        rank = (found.diverged, found.score, index)
        with comparing:
            if not kept or rank < kept[0][0]:
                kept[:] = [(rank, training)]  # which lets go of the one before
        return found

    found = train_many(
        members, epochs, callbacks, workers, done, type(trainer), f"{restarts} restarts",
        progress_bar,
    )  # fmt: skip
    _check_any_left(errors, restarts)
    best = kept[0][1]
    take_over(callbacks, best.calls, trainer.threads)
    return at_rest(best.trainer, run), Restarts(found)


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


def _ending(trainer: Stateful, diverged: bool) -> Restart:
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
