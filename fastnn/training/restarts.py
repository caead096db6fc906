"""Several networks trained side by side, of which the best is kept."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import Diverged, InvalidInput, true_or_false, whole
from fastnn.inputs.data import Data
from fastnn.inputs.parameters import check_drawn
from fastnn.targets.selection import choose
from fastnn.threads.processors import available_threads
from fastnn.training.callbacks import Callback, EarlyStopping, take_over
from fastnn.training.executors import check_executor
from fastnn.training.history import History
from fastnn.training.loop import Training
from fastnn.training.many import train_many
from fastnn.training.members import Failure, Failures, Member, at_rest, check_any_left
from fastnn.training.metrics import Metric
from fastnn.training.restart_results import Restart, Restarts

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from fastnn.network import Network
    from fastnn.training.trainer_state import Stateful

STREAM = 0x72657374  # ASCII "rest": keeps these seeds apart from those of other draws


def check_restarts(
    restarts: Any,
    epoch: int,
    epochs: int,
    keep_trainers: Any,
    executor: Any = None,
    network: Network | None = None,
) -> int:
    """Return how many networks `fit` is to train, or raise `InvalidInput`."""
    count = whole(restarts, "restarts", 1)
    if true_or_false(keep_trainers, "keep_trainers") and count == 1:
        raise InvalidInput(
            "keep_trainers=True keeps every network of several restarts, but restarts=1 trains "
            "only this trainer; pass restarts=8, say, or leave keep_trainers=False"
        )
    check_executor(executor)
    if executor is not None and count == 1:
        raise InvalidInput(
            "executor trains several restarts on its workers, but restarts=1 trains only this "
            "trainer; pass restarts=8, say, or leave executor=None"
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
    if count > 1 and network is not None:
        check_drawn(network)
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
    executor: Executor | None = None,
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
    executor
        What trains them, checked, or None.

    Raises
    ------
    Diverged
        All of them diverged.
    WorkerFailed
        The workers of an executor died in all that did not diverge.
    """
    first = trainer.__getstate__()
    together = restarts if executor is None else 1
    chosen, reason = choose(first.target, first.problem, together)
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
    members[0].compile(type(trainer))
    comparing = threading.Lock()
    kept: list[tuple[tuple[bool, float, int], _Ended]] = []
    errors: dict[int, Diverged] = {}

    def take(index: int, ended: _Ended) -> Restart:
        found = ended.restart
        if ended.error is not None:
            errors[index] = ended.error
        if keep_trainers and ended.trainer is not None:
            found = replace(found, trainer=ended.trainer)
        if ended.trainer is None:
            return found
        rank = (found.diverged, found.score, index)
        with comparing:
            if not kept or rank < kept[0][0]:
                kept[:] = [(rank, ended)]  # which lets go of the one before
        return found

    def seed_of(index: int) -> int:
        return members[index].model.problem.seed

    failures = Failures("raise", lambda index: f"restart {index}, with seed={seed_of(index)}")

    def failed(index: int, failure: Failure) -> _Ended:
        failures.add(index, failure)
        return _Ended(
            Restart(seed_of(index), 0, None, None, None, 0.0, False, {}, None, failure.why)
        )

    found = train_many(
        members, epochs, callbacks, workers, _done, take, type(trainer),
        f"{restarts} restarts", failed, progress_bar, executor,
    )  # fmt: skip
    after = ". The trainer is as it was before"
    check_any_left(found, errors, failures, "restarts", after)
    best = kept[0][1]
    take_over(callbacks, best.calls, trainer.threads)
    assert best.trainer is not None, "it came of a training"
    return best.trainer, Restarts(found)


@dataclass(frozen=True)
class _Ended:
    """A training that is over: its row, and its trainer unless its worker died.

    `calls` are its own `EarlyStopping`, in the places that they have among the callbacks.
    """

    restart: Restart
    trainer: Stateful | None = None
    error: Diverged | None = None
    calls: tuple[Callback | None, ...] = ()


def _done(index: int, training: Training, member: Member) -> _Ended:
    """Return what became of a training."""
    restart = _ending(training.trainer, training.error is not None)
    calls = tuple(each if isinstance(each, EarlyStopping) else None for each in training.calls)
    trainer = at_rest(training.trainer, member.run)
    return _Ended(restart, trainer, training.error, calls)


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
