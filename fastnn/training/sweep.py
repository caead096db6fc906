"""Training over a grid of settings and seeds, side by side on all processors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import accumulate
from statistics import median
from typing import TYPE_CHECKING, Any

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, WorkerFailed, number, true_or_false, whole
from fastnn.rules.table import loss_row
from fastnn.schedules import check_ahead
from fastnn.threads.processors import available_threads
from fastnn.training.callbacks import Callback, check_callbacks
from fastnn.training.executors import check_executor
from fastnn.training.history import History
from fastnn.training.learning_check import reason_against, warn
from fastnn.training.loop import Training
from fastnn.training.many import compiled_for, on_targets, train_many
from fastnn.training.members import Failure, Failures, Member, OnError, at_rest, check_on_error
from fastnn.training.metrics import Metrics
from fastnn.training.shared_inputs import SharedInputs, Watched
from fastnn.training.sweep_result import Run, SweepResult, short
from fastnn.training.sweep_settings import Maker, combinations, seeds_of
from fastnn.training.trainer import Trainer
from fastnn.training.trainer_state import Stateful

if TYPE_CHECKING:
    from concurrent.futures import Executor


@explained
def sweep(
    make: Trainer | Callable[..., Trainer],
    X: Any,
    y: Any,
    epochs: int = 10,
    *,
    grid: Mapping[str, Iterable[Any]],
    seeds: int | Iterable[int] = 1,
    validation_data: tuple[Any, ...] | None = None,
    sample_weight: Any = None,
    accuracy: float | None = None,
    stop: bool = False,
    callbacks: Callback | Iterable[Callback] = (),
    workers: int | None = None,
    metrics: Metrics = (),
    keep_trainers: bool = False,
    executor: Executor | None = None,
    on_error: OnError = "continue",
) -> SweepResult:
    """Train once for every combination of settings and every seed, and return a table of all.

    >>> from fastnn import SGD, Dense, Network, Trainer, datasets, sweep
    >>> X, y = datasets.xor(400)
    >>> trainer = Trainer(Network(2, [Dense(8, "tanh"), Dense(2)]), target="numpy")
    >>> result = sweep(trainer, X, y, 5, grid={"batch_size": [8, 64], "units": [4, 8]}, seeds=2)
    >>> len(result), result[-1].settings
    (8, {'batch_size': 64, 'units': 8})

    Parameters
    ----------
    make
        A `Trainer`, of which every run changes some settings; or a function that takes settings by
        name, such as ``make(units, seed)``, and returns a new `Trainer`. Of the grid, and of the
        seed, the function is given what it has an argument for; the rest is changed in the trainer
        that it returned. Where anything is changed, training starts from new initial parameters.
    X, y, sample_weight, validation_data
        As for `Trainer.fit`; all runs share them.
    epochs
        How many each run does, at least 1.
    grid
        Lists of values by name: an argument of `make` or of `Trainer` (``batch_size``, ``l2``,
        ``optimizer``, ...), a setting of the optimizer (``learning_rate``, ``momentum``, ...), or
        of all hidden Dense layers (``units``, ``activation``, ...; ``dropout``: the rate of every
        `Dropout`).
    seeds
        How many seeds, counted from that of the trainer, or from 0 for a function; or a list.
    accuracy
        A validation accuracy, above 0 and at most 1: the table then says after how many epochs and
        seconds each run reached it.
    stop
        Whether a run ends when it has reached `accuracy`.
    callbacks
        As for `Trainer.fit` with restarts: every run has fastnn's own callbacks for itself, all
        others are shared and called from several threads, but once at a time. What writes files of
        one training (`Checkpoint`, `CSVLogger`, `TensorBoard`) is refused.
    workers
        How many runs at a time, each on one thread; None for one on each processor. Apart from the
        seconds, the results are the same bits for any number. Seconds are those of one thread
        beside the others, which share memory and caches with it: for undisturbed times take
        ``workers=1``. On the NumPy target there is always one.
    metrics
        As for `Trainer.fit`; those of each run's last epoch are columns of the table. Every run's
        loss must have them.
    keep_trainers
        Whether each `Run` has the trained `Trainer` as its `trainer`.
    executor
        A `concurrent.futures.Executor` whose workers train the runs, each on one thread, in the
        place of threads of this process: a ProcessPoolExecutor, ``client.get_executor()`` of
        dask.distributed, loky's, mpi4py's MPIPoolExecutor, or any other. Results are the same bits
        on processors of one kind. A worker gets the data once: what lies in a file is mapped there,
        other arrays are written to a temporary file that the workers of this machine map, and sent
        to those of other ones. Callbacks and metrics are called where the run is trained, on copies
        of their own: what they gather stays there, and processes need functions that can be
        pickled. A run whose worker dies is trained anew; if that happens again, its row has no
        results and says so in `failed`.
    on_error
        What becomes of the other runs where a callback, a metric or anything else raises an error
        in one. "continue": they go on; the row of that one has no results, and says why in
        `failed`. "raise": all end, and the error comes out, with a note that names the run. Ctrl-C
        ends all.

    Returns
    -------
    SweepResult
        A sequence with a `Run` for each training, in the order of the grid, all seeds of the same
        settings together. A run that diverged is in it, and says so.

    Raises
    ------
    InvalidInput
        A name or a value that cannot be used, or data that no run, or not every run, can train on.
        All settings are looked at before the first run begins. With an executor, callbacks or
        metrics that its workers cannot be sent.
    WorkerFailed
        The executor ran no training at all, or workers died in every run.
    Exception
        What a callback or a metric raised, in every run; or in one, with ``on_error="raise"``. Its
        note names the first of them.

    Warns
    -----
    TrainingWarning
        Once, at the end, where errors ended runs: the settings, seed and error of the first of
        them. And once where runs do no better than a constant and the reason is known, as in
        `Trainer.fit`; it names the settings of the first of them.
    """
    count = whole(epochs, "epochs of a sweep", 1)
    maker, settings = Maker(make), combinations(grid)
    maker.check(grid)
    chosen = seeds_of(seeds, maker.first_seed())
    stop = true_or_false(stop, "stop")
    aim = _accuracy(accuracy, stop, validation_data)
    keep_trainers = true_or_false(keep_trainers, "keep_trainers")
    several = "a sweep trains several networks"
    calls = check_callbacks(callbacks, validation_data is not None, several)
    check_executor(executor, workers)
    workers = available_threads() if workers is None else whole(workers, "workers", 1)
    check_on_error(on_error)
    inputs = SharedInputs(X, y, sample_weight, validation_data)
    watched = Watched(metrics, calls)
    members = [
        _member(maker, each, seed, inputs, count, aim, watched)
        for each in settings
        for seed in chosen
    ]
    members = on_targets(members, executor)
    workers = compiled_for(members, workers, Trainer)
    if stop and aim is not None:
        calls = (*calls, partial(_reached, aim))
    reasons: dict[int, str] = {}

    def take(index: int, found: tuple[Run, str]) -> Run:
        run, reason = found
        if reason:
            reasons[index] = reason
        return replace(run, settings=settings[index // len(chosen)])  # one dict for all seeds

    def name(index: int) -> str:
        seed = members[index].model.problem.seed
        each = settings[index // len(chosen)]
        return f"the run with {_named(each)}, seed={seed}" if each else f"the run with seed={seed}"

    failures = Failures(on_error, name)

    def failed(index: int, failure: Failure) -> tuple[Run, str]:
        failures.add(index, failure)
        seed = members[index].model.problem.seed
        nothing = (None,) * 3
        return Run({}, seed, 0, *nothing, 0.0, *nothing, False, failed=failure.why), ""

    total = len(members)
    done = partial(_done, aim, keep_trainers)
    rows = train_many(
        members, count, calls, workers, done, take, Trainer, f"{total} runs", failed,
        executor=executor,
    )  # fmt: skip
    if all(row.failed is not None for row in rows):
        failures.raise_first()
        raise WorkerFailed(f"the workers of all {total} runs died: {rows[0].failed}")
    if text := failures.text(total, "runs"):
        warn(text)
    if reasons:
        first = min(reasons)
        others = f", and {len(reasons) - 1} more of {total} runs" * (len(reasons) > 1)
        warn(f"with {_named(rows[first].settings)}{others}: {reasons[first]}")
    return SweepResult(rows, list(grid), aim)


def _done(
    aim: float | None, keep: bool, index: int, training: Training, member: Member
) -> tuple[Run, str]:
    """Return the row of a training that is over, but for its settings, and what to warn of."""
    trainer, diverged = training.trainer, training.error is not None
    reason = "" if diverged else reason_against(trainer, training.data)
    run = _run(trainer, {}, aim, diverged)
    return replace(run, trainer=at_rest(trainer, member.run)) if keep else run, reason


def _accuracy(accuracy: Any, stop: bool, validation: Any) -> float | None:
    """Return the accuracy to reach, or None; raise `InvalidInput` where it cannot be."""
    if accuracy is None:
        if stop:
            raise InvalidInput("stop=True ends a run at an accuracy; give accuracy, such as 0.97")
        return None
    if validation is None:
        raise InvalidInput(
            f"accuracy={accuracy!r} is looked for in the validation data, of which there are none; "
            "pass validation_data=(X, y)"
        )
    return number(accuracy, "accuracy", 0.0, 1.0, open_low=True)


def _reached(aim: float, trainer: Trainer, history: History) -> bool:
    """Return whether the last epoch has come to the accuracy to reach."""
    return (history.validation_accuracy[-1] or 0.0) >= aim


def _named(settings: dict[str, Any]) -> str:
    named = ", ".join(f"{name}={short(value)}" for name, value in settings.items())
    return named or "these settings"


def _member(
    maker: Maker,
    settings: dict[str, Any],
    seed: int,
    inputs: SharedInputs,
    epochs: int,
    aim: Any,
    watched: Watched,
) -> Member:
    """Return what a run starts from, with one thread, checked with its data.

    Of all runs there are many, so it has no arrays but those that only the caller knows.
    """
    try:
        trainer = maker.trainer(settings, seed)
        if trainer.network.inputs is None:
            trainer._begin(inputs.width(), None)
        model = trainer.__getstate__()
        model.problem.check_learning()
        data, validation = inputs.checked(model.problem, model.target)
        metrics = watched.metrics(model.problem, validation)
        steps = -(-len(data) // model.problem.batch_size)
        check_ahead(model.problem.optimizer.learning_rate, 0, 0, steps, epochs)
        if aim is not None and loss_row(model.problem.loss).targets in ("real", "counts"):
            raise InvalidInput(
                f"a network with loss {model.problem.loss!r} has no accuracy to reach; leave "
                "accuracy=None"
            )
    except InvalidInput as error:
        raise InvalidInput(f"with {_named(settings)}: {error}") from error
    known = [] if maker.changes(settings) else model.parameters
    start = replace(
        model, threads=1, history=History(model.target, 1), parameters=known, slots=[],
        feature_names=data.names,
    )  # fmt: skip
    return Member(start, data, validation, metrics, trainer._state.run)


def _run(trainer: Stateful, settings: dict[str, Any], aim: float | None, diverged: bool) -> Run:
    """Return the row of a training that is over."""
    history, epochs = trainer.history, trainer.epoch
    last = epochs - 1
    times = list(accumulate(history.seconds))
    reached = None
    if aim is not None:
        found = (accuracy or 0.0 for accuracy in history.validation_accuracy)
        reached = next((epoch for epoch, value in enumerate(found) if value >= aim), None)
    return Run(
        settings,
        trainer.problem.seed,
        epochs,
        history.loss[last] if epochs else None,
        history.validation_loss[last] if epochs else None,
        history.validation_accuracy[last] if epochs else None,
        times[-1] if times else 0.0,
        median(history.seconds) if times else None,
        None if reached is None else reached + 1,
        None if reached is None else times[reached],
        diverged,
        {name: values[last] for name, values in history.metrics.items()} if epochs else {},
    )
