"""Training of members that differ in everything, side by side, each kept at its best epochs."""

from __future__ import annotations

import math
import time
from bisect import insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, update_wrapper
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.arguments import explained
from fastnn.elsewhere import meant
from fastnn.errors import Diverged, InvalidInput, check_takes, number, shown, whole
from fastnn.inputs.parameters import check_size
from fastnn.schedules import check_ahead
from fastnn.threads.processors import available_threads
from fastnn.training.callbacks import Callback, check_callbacks
from fastnn.training.callbacks.bundled import Monitor, series_of, sign_of
from fastnn.training.executors import check_executor
from fastnn.training.history import History
from fastnn.training.learning_check import tell_reason, warn
from fastnn.training.loop import Training
from fastnn.training.many import compiled_for, on_targets, train_many
from fastnn.training.members import (
    Failure,
    Failures,
    Keeper,
    Member,
    OnError,
    at_rest,
    check_any_left,
    check_on_error,
)
from fastnn.training.metrics import LARGER_IS_BETTER, PREFIX, Metrics
from fastnn.training.population_result import Ending, Population, PopulationMember
from fastnn.training.progress import check_progress
from fastnn.training.shared_inputs import SharedInputs, Watched
from fastnn.training.snapshot import Snapshot
from fastnn.training.together import check_alone
from fastnn.training.trainer import Trainer
from fastnn.training.trainer_state import State, Stateful
from fastnn.training.views import View, check_seen, check_view, names_of, parts_of

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from fastnn.inputs.problem import EpochResult
    from fastnn.targets.selection import Target

Scoring = str | Callable[..., Any] | None
Patience = int | Callable[[int], int] | None


@explained
def train_population(
    trainers: Trainer | Iterable[Trainer],
    X: Any,
    y: Any,
    epochs: int = 10,
    *,
    validation_data: tuple[Any, ...],
    sample_weight: Any = None,
    views: Iterable[Any] | None = None,
    snapshots: int = 1,
    patience: Patience = None,
    scoring: Scoring = None,
    metrics: Metrics = (),
    callbacks: Callback | Iterable[Callback] = (),
    workers: int | None = None,
    time_limit: float | None = None,
    progress: bool = True,
    executor: Executor | None = None,
    on_error: OnError = "continue",
) -> Population:
    """Train networks that differ in everything, and keep the best epochs of each.

    Members may have other layers, losses of the same targets, optimizers, rates, penalties, batch
    sizes and seeds, and read other features of the same rows. Each goes through minibatches in its
    own order on one thread, as many at a time as there are processors, and an epoch of it is one
    compiled call, as in `fastnn.Trainer.fit`. A member that is done makes room for the next.

    >>> from fastnn import Adam, Dense, Ensemble, Network, Trainer, datasets, train_population
    >>> X, y = datasets.xor(600)
    >>> trainers = [
    ...     Trainer(Network(2, [Dense(units, "tanh"), Dense(2)]), optimizer=Adam(rate),
    ...             batch_size=16, seed=seed, target="numpy")
    ...     for seed, (units, rate) in enumerate([(4, 0.01), (8, 0.03)])
    ... ]
    >>> validation = X[400:], y[400:]
    >>> population = train_population(
    ...     trainers, X[:400], y[:400], 20, validation_data=validation, snapshots=3, patience=5
    ... )
    >>> len(population), len(population[1].snapshots)
    (2, 3)
    >>> ensemble = Ensemble.select(population, size=8)
    >>> ensemble.evaluate(*validation)["accuracy"] > 0.95
    True

    Parameters
    ----------
    trainers
        One for each member; they are not changed. One that has done epochs goes on from there.
    X
        Features as `fastnn.Trainer.fit` takes them, or a mapping of names to such features, all of
        the same rows.
    y, sample_weight
        As for `fastnn.Trainer.fit`; all members share them.
    epochs
        The most that a member does, at least 1.
    validation_data
        (X, y) or (X, y, sample_weight); its X is of the same form as `X`. Epochs are compared, and
        an ensemble is chosen, by these rows.
    views
        What of X each member reads, one for each trainer: the name of one of the features where X
        is a mapping, or columns of X, as ``slice(0, 4)``, ``range(4)`` or their numbers. None: all
        members read all of X; of a mapping, which then has a single entry, that. Columns of a frame
        keep their names, as `fastnn.Trainer.feature_names` of the member; those of a Parquet file
        are counted without the ones that `y` and `sample_weight` name.
    snapshots
        How many epochs of each member to keep, at least 1: its best ones.
    patience
        A member ends when more than so many epochs in a row were not its best, as with
        `fastnn.EarlyStopping`; or a function of how many epochs it had done at its best one, which
        gives that number. None: it does all epochs.
    scoring
        What an epoch is better by. None: the validation loss, the smaller the better. A name as
        those of `metrics`, such as "auc" or "accuracy". Or a function (y, outputs), called as those
        of `metrics`, of which larger is better. Of equal epochs the first is the better one, and
        NaN is worse than anything.
    metrics, callbacks
        As for `fastnn.Trainer.fit` with restarts: each member has fastnn's own callbacks for
        itself, all others are called from several threads, but one at a time.
    workers
        How many members at a time; None: one on each processor. The results are the same bits for
        any number. On the NumPy target there is always one.
    time_limit
        Seconds after which no member begins, other than the first, and those under way end with
        the epoch that they are in; what is best so far is kept. How far that is depends on the
        machine and on what else it does, so the results of a call that the limit ends cannot be
        reproduced; those of one that it does not end are the same as without. None: no limit.
        Workers of an executor on other machines go by the time of day, which is to be the same.
    progress
        Whether there is a progress bar, as in `fastnn.Trainer.fit`.
    executor
        A `concurrent.futures.Executor` whose workers train the members, each on one thread, in the
        place of threads of this process, as for `fastnn.sweep`: the same bits on processors of one
        kind. A worker gets what all members read once. A member whose worker dies is trained anew;
        if that happens again, nothing comes of it and it says so in `failed`.
    on_error
        What becomes of the other members where a callback, a metric or anything else raises an
        error in one, as for `fastnn.sweep`: "continue", and that one has no snapshots and says why
        in `failed`; or "raise".

    Returns
    -------
    Population
        A sequence with a `PopulationMember` for each trainer, in their order. A member that
        diverged is in it, with the epochs before that.

    Raises
    ------
    InvalidInput
        Something that a member cannot be trained on, which the message names. All are looked at
        before the first begins. With an executor, what its workers cannot be sent.
    Diverged
        All members diverged.
    WorkerFailed
        The executor ran no training at all, or workers died in every member that did not diverge.
    Exception
        What a callback or a metric raised, in every member that did not diverge; or in one, with
        ``on_error="raise"``. Its note names the first of them.

    Warns
    -----
    TrainingWarning
        Where errors ended members: the number and the error of the first of them. And where the
        best member does no better than a constant and the reason is known.
    """
    return trained_population(
        trainers, X, y, epochs, validation_data, sample_weight, views, snapshots, patience, scoring,
        metrics, callbacks, workers, time_limit, progress, executor, on_error, warn,
    )  # fmt: skip


def trained_population(
    trainers: Trainer | Iterable[Trainer],
    X: Any,
    y: Any,
    epochs: int,
    validation_data: tuple[Any, ...],
    sample_weight: Any,
    views: Iterable[Any] | None,
    snapshots: int,
    patience: Patience,
    scoring: Scoring,
    metrics: Metrics,
    callbacks: Callback | Iterable[Callback],
    workers: int | None,
    time_limit: float | None,
    progress: bool,
    executor: Executor | None,
    on_error: OnError,
    tell: Callable[[str], None],
) -> Population:
    """Do what `train_population` does, and `tell` why the best member does no better, if known."""
    given = _check_trainers(trainers)
    count = whole(epochs, "epochs of a population", 1)
    most = whole(snapshots, "snapshots", 1)
    if callable(patience):
        check_takes(patience, "epochs", "patience")
    elif patience is not None:
        patience = whole(patience, "patience", 0)
    if time_limit is not None:
        time_limit = number(time_limit, "time_limit", 0.0)
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise InvalidInput(
            "validation_data must be (X, y) or (X, y, sample_weight), by which epochs are "
            f"compared, not {shown(validation_data):.80}"
        )
    calls = check_callbacks(callbacks, True, "a population has several members")
    check_executor(executor, workers)
    check_on_error(on_error)
    progress = check_progress(progress)
    workers = available_threads() if workers is None else whole(workers, "workers", 1)
    clock = _Clock(time_limit)
    seen_by = _check_views(views, len(given), X)
    inputs = _Views(X, y, sample_weight, validation_data, seen_by)
    keepers = [
        _BestEpochs(scoring, most, patience, clock, number, view)
        for number, view in enumerate(seen_by)
    ]
    watched = Watched(metrics, (*calls, keepers[0]))
    members = []
    for index, (trainer, keeper) in enumerate(zip(given, keepers, strict=True)):
        try:
            members.append(_member(trainer, inputs, watched, count, keeper))
        except InvalidInput as error:
            raise InvalidInput(f"member {index}: {error}") from error
    members = on_targets(members, executor)
    workers = compiled_for(members, workers, Trainer)
    errors: dict[int, Diverged] = {}

    def take(index: int, ended: _Ended) -> PopulationMember:
        if ended.error is not None:
            errors[index] = ended.error
        return ended.member

    failures = Failures(on_error, lambda index: f"member {index}")

    def failed(index: int, failure: Failure) -> _Ended:
        failures.add(index, failure)
        trainer = at_rest(members[index].trainer(type(given[0])), members[index].run)
        return _Ended(PopulationMember(trainer, seen_by[index], (), "failed", failure.why))

    clock.start()
    found = train_many(
        members, count, calls, workers, _done, take, type(given[0]), f"{len(members)} members",
        failed, progress, executor,
    )  # fmt: skip
    check_any_left(found, errors, failures, "members")
    if text := failures.text(len(found), "members"):
        warn(text)
    y_val, weight_val = inputs.outcomes
    population = Population(found, y_val, weight_val, keepers[0].larger_is_better)
    best = members[population.members.index(population.best)]
    tell_reason(population.best.trainer, best.data, tell)
    return population


class _Ended(NamedTuple):
    """A training that is over."""

    member: PopulationMember
    error: Diverged | None = None


def _done(index: int, training: Training, member: Member) -> _Ended:
    """Return what became of a training, with the epochs that were kept."""
    keeper, trainer = member.keeper, training.trainer
    assert isinstance(keeper, _BestEpochs), "each member of a population has one"
    found = keeper.snapshots(trainer, member.run.target)
    keeper.go_back(trainer)
    keeper.let_go()
    trainer = at_rest(trainer, member.run)
    ended = PopulationMember(trainer, keeper.view, found, keeper.ending(training))
    return _Ended(ended, training.error)


class _Clock:
    """Tells when the time for a population is over, in other processes, too."""

    def __init__(self, limit: float | None) -> None:
        self._limit, self._end, self._end_of_day = limit, math.inf, math.inf

    def start(self) -> None:
        if self._limit is not None:
            self._end = time.monotonic() + self._limit
            self._end_of_day = time.time() + self._limit

    def __getstate__(self) -> tuple[float]:
        """Return the time of day when it is over."""
        return (self._end_of_day,)

    def __setstate__(self, state: tuple[float]) -> None:
        """Be over then."""
        self._limit, self._end_of_day, self._end = None, *state, _monotonic(*state)

    def over(self) -> bool:
        return self._end < math.inf and time.monotonic() >= self._end


@lru_cache(64)
def _monotonic(time_of_day: float) -> float:
    """Return when a time of day is on the clock that nobody sets; once for all of a process."""
    return time_of_day - time.time() + time.monotonic()


class _Epoch(NamedTuple):
    """An epoch that is kept."""

    score: float
    outputs: np.ndarray
    state: State


class _BestEpochs(Keeper):
    """Keeps the best epochs of a member, and ends it when no more of them come, or at a time."""

    follows = by_results = True
    needs_penalty = False

    def __init__(
        self, scoring: Scoring, most: int, patience: Patience, clock: _Clock, number: int,
        view: View,
    ) -> None:  # fmt: skip
        monitor, mode = _monitor(scoring)
        self._scoring, self._monitor, self._series = scoring, monitor, series_of(monitor)
        self._sign = sign_of(monitor, mode)
        self._most, self._patience, self._clock, self._number = most, patience, clock, number
        self.view = view
        self._kept: list[_Epoch] = []  # the best first
        self._ending: Ending | None = None
        self._begun = 0

    def __repr__(self) -> str:
        """Name what the members are compared by."""
        return f"scoring={shown(self._scoring)}"

    @property
    def larger_is_better(self) -> bool:
        """Whether scores are negated."""
        return self._sign < 0

    def _watched(self) -> Monitor:
        return self._monitor

    def may_begin(self) -> bool:
        """Return whether there is time left; the first member always begins."""
        return not (self._number and self._clock.over())

    def begin(self, trainer: Stateful, callbacks: tuple[Callback, ...]) -> None:
        """Take note of the epochs done before."""
        self._begun = trainer.epoch

    def calls_after(self, trainer: Stateful, results: Sequence[EpochResult]) -> int:
        """Return after how many of the next epochs the patience is at its end."""
        done, epoch = trainer.epoch, self._last_best
        least = self._kept[0].score if self._kept else None
        for nth, result in enumerate(results, 1):
            score = self._sign * result.of(self._series)
            if not math.isnan(score) and (least is None or score < least):
                least, epoch = score, done + nth
            elif self._is_late(done + nth, epoch):
                return nth
        return len(results)

    def keep(self, trainer: Stateful, epochs: list[tuple[np.ndarray, State]]) -> None:
        """Keep those that are among the best."""
        history = trainer.history
        values = history[self._series][-len(epochs) :]
        for place, ((outputs, state), value) in enumerate(zip(epochs, values, strict=True)):
            # Divergence may have taken epochs back, which are then done anew.
            self._kept = [each for each in self._kept if each.state.epoch < state.epoch]
            if value is None or math.isnan(value):
                continue
            found = _Epoch(self._sign * value, outputs.astype(np.float32, copy=False), state)
            insort(self._kept, found, key=lambda each: each.score)  # behind its equals
            del self._kept[self._most :]
            if self._kept[0] is found:
                history.best = len(history) - len(epochs) + place

    def __call__(self, trainer: Stateful, history: History) -> bool:
        """Return whether the training is to end."""
        if self._is_late(trainer.epoch, self._last_best):
            self._ending = "patience"
        elif self._clock.over():
            self._ending = "time"
        return self._ending is not None

    def _is_late(self, epoch: int, best: int) -> bool:
        """Return whether the patience is at its end after an epoch, since the best one."""
        patience = self._patience
        if callable(patience):
            patience = whole(patience(best - self._begun), "patience", 0)
        return patience is not None and epoch - best > patience

    @property
    def _last_best(self) -> int:
        """The best epoch so far; without one the first."""
        return self._kept[0].state.epoch if self._kept else self._begun + 1

    def snapshots(self, trainer: Stateful, target: Target) -> tuple[Snapshot, ...]:
        """Return the epochs kept, to predict on a target, with their parameters; best first."""
        return tuple(
            Snapshot(
                each.state.problem,
                target,
                _as_then(trainer, each.state).parameters,
                self.view,
                trainer.feature_names,
                each.state.epoch,
                each.score,
                each.outputs,
            )
            for each in self._kept
        )

    def go_back(self, trainer: Stateful) -> None:
        """Have the trainer as it was after the best epoch; it keeps the history of all."""
        if self._kept and self._kept[0].state.epoch != trainer.epoch:
            trainer.restore(_as_then(trainer, self._kept[0].state))

    def let_go(self) -> None:
        """Forget the epochs, whose states keep an engine each alive while others are trained."""
        self._kept = []

    def ending(self, training: Training) -> Ending:
        """Return why the training is over."""
        if training.error is not None:
            return "diverged"
        if not training.epochs:
            return "not begun"
        if self._ending is not None:
            return self._ending
        return "epochs" if training.all_done else "callback"


def _as_then(trainer: Stateful, state: State) -> Any:
    """Return what a trainer was in a state, to be read."""
    then = object.__new__(type(trainer))
    object.__setattr__(then, "_state", state)
    return then


def _monitor(scoring: Any) -> tuple[Any, str]:
    """Return what is watched, and how, as `EarlyStopping` would be told it."""
    if scoring is None:
        return "validation_loss", "auto"
    if isinstance(scoring, str) and scoring in LARGER_IS_BETTER:
        return PREFIX + scoring, "auto"
    if callable(scoring):
        if str(getattr(scoring, "__name__", "")).isidentifier():
            return scoring, "max"
        return _Scoring(scoring), "max"
    near = meant(scoring, LARGER_IS_BETTER)
    raise InvalidInput(
        f"scoring must be None for the validation loss, one of {', '.join(LARGER_IS_BETTER)}, or a "
        f"function (y, outputs) of which larger is better, not {shown(scoring):.80}"
        + (f"; did you mean {near!r}?" if near else "")
    )


class _Scoring:
    """A function under a name that a series can have, as a lambda has none."""

    def __init__(self, function: Callable[..., Any]) -> None:
        update_wrapper(self, function, updated=())
        self._function, self.__name__ = function, "scoring"

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        return self._function(*arguments, **more)


class _Views:
    """The caller's data as each view has them, checked once for each kind of problem."""

    def __init__(
        self, X: Any, y: Any, sample_weight: Any, validation: Any, views: Sequence[View]
    ) -> None:
        parts, y, weight = parts_of(X, y, sample_weight, views)
        X_val, y_val, weight_val = validation if len(validation) == 3 else (*validation, None)
        parts_val, *self.outcomes = parts_of(X_val, y_val, weight_val, views, "validation X")
        self._found = {
            view: SharedInputs(part, y, weight, (parts_val[view], *self.outcomes))
            for view, part in parts.items()
        }
        for view, part in parts.items():
            check_seen(names_of(parts_val[view]), names_of(part), view, "validation X")

    def of(self, view: View) -> SharedInputs:
        """Return what a member reads that has this view."""
        return self._found[view]


def _check_trainers(trainers: Any) -> list[Trainer]:
    found = [trainers] if isinstance(trainers, Trainer) else trainers
    found = list(found) if isinstance(found, Iterable) else [found]
    for index, each in enumerate(found):
        if not isinstance(each, Trainer):
            raise InvalidInput(f"trainers[{index}] must be a Trainer, not {shown(each):.80}")
        if type(each) is not type(found[0]):
            raise InvalidInput(
                f"trainers must be of one class, but trainers[{index}] is a {type(each).__name__} "
                f"and trainers[0] a {type(found[0]).__name__}"
            )
        check_alone(each, "train_population")
    if not found:
        raise InvalidInput("trainers must be at least one Trainer, not none")
    return found


def _check_views(views: Any, count: int, X: Any) -> list[View]:
    """Return the view of each member."""
    if views is None:
        return [next(iter(X)) if isinstance(X, Mapping) and len(X) == 1 else None] * count
    found = list(views) if isinstance(views, Iterable) and not isinstance(views, str) else None
    if found is None or len(found) != count:
        raise InvalidInput(
            f"views must be a list with one for each of {count} trainers, not {shown(views):.80}"
        )
    return [check_view(each, f"views[{index}]") for index, each in enumerate(found)]


def _member(
    trainer: Trainer, shared: _Views, watched: Watched, epochs: int, keeper: _BestEpochs
) -> Member:
    """Return what a member starts from, with one thread, checked with its data."""
    run, view = trainer._state.run, keeper.view
    inputs, model = shared.of(view), trainer.__getstate__()
    if model.problem.network.inputs is None:
        network = model.problem.network.with_inputs(inputs.width())
        model = replace(model, problem=model.problem.changed(network=network))
        check_size(model.problem)
    problem = model.problem
    problem.check_learning()
    data, validation = inputs.checked(problem, model.target)
    check_seen(data.names, model.feature_names, view)
    measured = watched.metrics(problem, validation)
    steps = -(-len(data) // problem.batch_size)
    check_ahead(problem.optimizer.learning_rate, model.epoch, model.step, steps, epochs)
    model.history.threads = 1
    start = replace(model, threads=1, callbacks=[], feature_names=model.feature_names or data.names)
    return Member(start, data, validation, measured, run, keeper)
