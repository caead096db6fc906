"""Epoch after epoch of one network: what `fit`, restarts and sweeps have in common."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import Diverged, InvalidInput
from fastnn.inputs.data import Data
from fastnn.inputs.magnitudes import large_numbers
from fastnn.inputs.pages import pages_of
from fastnn.inputs.problem import EpochResult, Problem, check_converging, penalty_of
from fastnn.schedules import rates_of
from fastnn.training.callbacks import Bundled, Callback, Looks, call_all, running
from fastnn.training.callbacks.signals import StopTraining
from fastnn.training.divergence import go_back, remember
from fastnn.training.metrics import PREFIX, Metric, measured, measured_each
from fastnn.training.progress import Progress, Watch
from fastnn.training.reading import begin_reading, file_pages, scattered_reads
from fastnn.training.together import rows_in_all, share_changes, told_to_all
from fastnn.training.trainer_state import State, works

if TYPE_CHECKING:
    from fastnn.targets.engine import Engine, Predicted
    from fastnn.training.trainer_state import Stateful

    Keep = Callable[[Stateful, list[tuple[np.ndarray, State]]], None]

# How much is done in one compiled call: enough that what Python does between two calls, one
# restart at a time, is little, and no more than some megabytes of orders.
BLOCK_ROWS, BLOCK_EPOCHS = 1 << 17, 256
FIRST_EPOCHS = 16  # of these in the first call, where a fit may end after any of them
SEEN_BYTES = 16 << 20  # of the outputs and the states after each of them
# What Ctrl-C, and whoever predicts in another thread, waits for where `fit` does several epochs in
# a call: less than what engines do in the thread that asks, as a call of one short epoch is done.
BLOCK_SECONDS = 0.04


@dataclass
class Training:
    """The epochs of a call of `fit`, or of one of several networks: one each, or many short ones.

    Without callbacks after each of them, many are done in one call of the engine, to the same bits.

    Attributes
    ----------
    trainer
        Trains; what it comes to is its own.
    data, validation, metrics
        As `Trainer.fit` takes them, checked.
    epochs
        How many more.
    calls
        Callbacks, checked.
    progress
        Is told of every epoch, and of what goes on in it.
    longest
        How many seconds a call of more than one epoch may take, as far as is known before. Where
        that is finite, epochs of which nothing is known are done one by one.
    calling
        A lock; callbacks may be shared with others that are trained meanwhile.
    keep
        Given the epochs that are done, before callbacks: what the network gives for the validation
        data after each, (n, outputs), and the state.
    error
        For whoever catches it: where the training diverged.
    failure
        For whoever catches it: any other error that ended it.
    over
        Whether all epochs are done, or a callback wants no more.
    """

    trainer: Stateful
    data: Data
    validation: Data | None
    epochs: int
    calls: tuple[Callback, ...]
    progress: Progress | Watch
    metrics: tuple[Metric, ...] = ()
    longest: float = math.inf
    calling: Any = field(default_factory=Lock)
    keep: Keep | None = None
    error: Diverged | None = None
    failure: Exception | None = None
    over: bool = False

    def run(self) -> None:
        """Do all epochs; raises what `go_on` does."""
        group = self.trainer._group
        try:
            with self.begun():
                while not self.over:
                    with told_to_all(self.trainer):
                        self.go_on()
        except StopTraining:
            if group is None or group.rank == 0:
                raise

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Have callbacks ready meanwhile, and let them clear up."""
        trainer, data = self.trainer, self.data
        with (
            running(trainer, self.calls, self.progress) as self.progress,
            scattered_reads(data, trainer.shuffle),
        ):
            trainer._aim_at(trainer.epoch + self.epochs)
            self.over, self._left = not self.epochs, self.epochs
            self._looks, self._following = Looks(self.calls), followers(self.calls)
            self._one_by_one = 0  # as many as a call has failed to do, to find which of them fails
            self._most, self._without_repetition = 1, 0
            engine = trainer._open()
            if (
                trainer._group is None  # whose processes talk to each other after each epoch
                and go_in_blocks(self.calls)
                and all(metric.built_in for metric in self.metrics)  # no other is called in vain
                and not data.streams
                and not file_pages(data, trainer.shuffle, engine)
            ):
                self._most = max(1, min(BLOCK_EPOCHS, BLOCK_ROWS // len(data)))
                if self.validation is not None:
                    self._most = min(self._most, _most_validated(trainer, self.validation))
            if self._following:  # which may want some of them once more
                self.longest = min(self.longest, BLOCK_SECONDS)
            try:
                yield
            finally:
                if trainer._state.engine is not None:  # which whoever follows may use next
                    trainer._state.engine.ends = None
            trainer._finish()

    def go_on(self) -> None:
        """Do one epoch, or some short ones in one call, and call what is to be called then.

        Raises
        ------
        InvalidInput
            A metric failed; the epoch is done, without it.
        Diverged
            A loss or a parameter is not finite, and `on_divergence` says to raise, or has restored
            the trainer often enough; it is as after the last good epoch.
        """
        trainer, data = self.trainer, self.data
        count = self._count() if self._most > 1 else 1
        before = trainer._state.epoch
        try:
            done = _train_block(
                trainer, data, self.validation, count, self.progress, self.metrics,
                self._looks, self._following, self.keep,
            )  # fmt: skip
        except Exception as error:  # one epoch at a time will raise the same, where it belongs
            if count > 1 and trainer._state.epoch == before:
                self._one_by_one = count
                return
            if not isinstance(error, Diverged):
                raise
            rates = block_rates(trainer._state, rows_in_all(trainer, data), 1)[0]
            done = -go_back(trainer, error, float(rates[error.step]))
        self._left -= done
        self._without_repetition = self._without_repetition + done if done == count else 0
        self._one_by_one = max(0, self._one_by_one - done)
        before_calls = trainer._state
        if done > 0 and self.calls:
            with self.calling:
                self.over = call_all(self.calls, trainer, trainer._state.history)
        if trainer._group is not None:
            self.over = share_changes(trainer, before_calls, self.over)
        self.over = self.over or not self._left

    @property
    def all_done(self) -> bool:
        """Whether all epochs are done."""
        return not self._left

    def forecast(self) -> tuple[Any, np.ndarray, int, int] | None:
        """Return what the engine will be asked for next: snapshot, rates, epoch and step.

        None where nothing is, or it is not known.
        """
        state = self.trainer._state
        if self.over or state.arrays is not None:
            return None
        count = self._count() if self._most > 1 else 1
        try:
            rates = block_rates(state, rows_in_all(self.trainer, self.data), count)
        except Exception:  # `go_on` asks again, and raises it
            return None
        return state.snapshot, rates, state.epoch, state.step

    def _count(self) -> int:
        """Return how many epochs to do in the next call, by what it took for the last ones."""
        engine, most = self.trainer._state.engine, min(self._most, self._left)
        if self._one_by_one or engine is None:
            return 1
        if self._following and (
            self.trainer.on_divergence == "restore"
            or any(each.needs_penalty and not engine.tells_penalty for each in self._following)
        ):
            return 1
        # Where one is called before the end of a call, all of that call is done again: of one that
        # says when it may be called, at most a quarter of the epochs since the last time, but for
        # calls that are as short as that needs.
        follows = self._following
        before = min((each.calls_not_before(self.trainer) for each in follows), default=math.inf)
        most = int(min(most, max(1, before, self._without_repetition // 4)))
        if follows:  # which may end it: what is prepared for later epochs is in vain then
            most = min(most, max(FIRST_EPOCHS, self.epochs - self._left))
        if math.isinf(self.longest):
            return most
        row = engine.seconds_per_row if math.isfinite(engine.seconds_per_row) else engine.slow_row
        if math.isinf(row):
            return 1
        rows = len(self.data) + len(self.validation or ()) / 3  # forwards alone
        pace = rows * row
        return min(most, max(1, int(self.longest / max(pace, self.longest / BLOCK_EPOCHS))))


def _most_validated(trainer: Stateful, validation: Data) -> int:
    """Return how many epochs to validate in one call, all of whose outputs and states are kept."""
    with trainer._using:
        state = trainer._ready()
        if not state.engine.predicts_between or pages_of(validation.X) is not None:
            return 1
        size = len(validation) * state.problem.network.outputs * state.problem.dtype.itemsize
        return max(1, int(SEEN_BYTES // (size + state.engine.snapshot().nbytes)))


def followers(calls: tuple[Callback, ...]) -> tuple[Bundled, ...]:
    """Return those of some callbacks that are told the results of epochs."""
    return tuple(each for each in calls if isinstance(each, Bundled) and each.follows)


def go_in_blocks(calls: tuple[Callback, ...]) -> bool:
    """Return whether the results of epochs are all that these callbacks need."""
    return all(
        isinstance(each, Bundled) and each.follows and each.by_results and each.foresees_calls()
        for each in calls
    )


@works
def _train_block(
    trainer: Stateful,
    data: Data,
    validation: Data | None,
    count: int,
    progress: Progress | Watch,
    metrics: tuple[Metric, ...] = (),
    looks: Looks | None = None,
    following: tuple[Bundled, ...] = (),
    keep: Keep | None = None,
) -> int:
    """Do `count` epochs and make what they come to the state, or change nothing and raise.

    Return how many have been done: fewer where one of those `following` wants to be called. It then
    is as if only these had been asked for.

    Their seconds are without the validation. Looking on between steps is for one epoch alone, and
    so are metrics that may fail: that epoch is done, and the error is raised then.
    """
    start = time.perf_counter()
    with trainer._using:
        state = trainer._ready()
        engine, problem, epoch = state.engine, state.problem, state.epoch
        engine.seconds_before = 0.0
        engine.ends = ends = next((each.ends for each in following if each.ends is not None), None)
        group, reading = trainer._group, None
        if count == 1 and group is None:
            reading = begin_reading(data, trainer.shuffle, engine, epoch)
        rates = block_rates(state, rows_in_all(trainer, data), count)
        orders: Any = None if reading else _orders(trainer.shuffle, state, data, count)
        progress.start_epoch(epoch)
        report = progress.update if progress.shown else None
        before, results = state, []
        seen: list[Predicted] = []
        look = looks.begin(trainer, engine, state.step, rates.size) if looks else None
        # The last one may have to be taken back by itself.
        restores = count > 1 and trainer.on_divergence == "restore"
        if reading is not None:
            results.append(reading.train(engine, data, rates[0], epoch, state.step, look, report))
        elif look is not None:
            result = engine.train_epoch_in_parts(
                data, orders[0], rates[0], epoch, state.step, look.stops, look, report
            )
            results.append(result)
        elif count > 1 and validation is not None:
            seen = engine.train_and_predict(
                data, orders, rates, epoch, state.step, validation.X, report
            )
            results = [each.result for each in seen]
            if restores and len(seen) == count:
                before = _after(state, count - 1, rates, seen[-2].snapshot)
        elif restores:
            results = engine.train_epochs(data, orders[:-1], rates[:-1], epoch, state.step, report)
            before = _after(state, count - 1, rates, engine.snapshot())
        done = len(results)
        if done < count and not (done and results[-1].is_last):
            results += engine.train_epochs(
                data, orders[done:], rates[done:], epoch + done, before.step, report
            )
        last = len(results) - 1
        large = partial(large_numbers, problem, data)
        check_converging(results[last], engine.finite, rates[last], epoch + last, large)
        seconds = _shares(start, engine, len(results))
        error = None
        if validation is not None:
            if seen:
                seconds = [each.seconds for each in seen]
            outputs = [each.outputs for each in seen if each.outputs is not None]
            take = outputs.append if keep is not None else None
            results, error = _measured(problem, engine, results, outputs, validation, metrics, take)
        wanted = count
        if following:
            if results[0].penalty is None and any(each.needs_penalty for each in following):
                penalty = penalty_of(problem, engine.parameters())
                results = [result._replace(penalty=penalty) for result in results]
            wanted = min(each.calls_after(trainer, results) for each in following)
        if wanted < count:
            count, orders, rates = wanted, orders[:wanted], rates[:wanted]
            if seen:
                results = results[:wanted]
                engine.restore(seen[wanted - 1].snapshot)
            elif results[wanted - 1].all_rest:  # later epochs have changed nothing
                results = results[:wanted]
            else:
                engine.restore(state.snapshot)
                engine.ends = ends
                results = engine.train_epochs(data, orders, rates, epoch, state.step, report)
                assert len(results) == count, "what was done once can be done again"
                seconds = _shares(start, engine, count)
        after = _after(state, count, rates, engine.snapshot())
        rows = [
            (
                result.loss, result.measured.get("validation_loss"),
                result.measured.get("validation_accuracy"), own[-1], of_one,
            )
            for result, own, of_one in zip(results, rates, seconds, strict=False)
        ]  # fmt: skip
        series = {
            each.series: [result.measured.get(each.series) for result in results]
            for each in metrics
        }
        if group is not None:
            measured_there = rows, series
            rows, series = group.of_first(lambda: measured_there)
        trainer._advance(after._replace(earlier=remember(trainer, before)), rows, series)
        if keep is not None:
            states = [_after(state, n, rates, each.snapshot) for n, each in enumerate(seen, 1)]
            keep(trainer, list(zip(outputs, (states or [after])[:count], strict=False)))
        anew = partial(_anew, trainer, state, data, [each.snapshot for each in seen], ends)
        for follower in following:
            follower.take(trainer, results, anew)
    if look is not None:
        look.end()
    shown = {each.series: each.name for each in metrics}
    for number, result in enumerate(results):
        if number:
            progress.start_epoch(epoch + number)
        found = result.measured
        own = {shown[name]: value for name, value in found.items() if name in shown} or None
        progress.end_epoch(result.loss, found.get("validation_loss"), own)
    if error is not None:
        raise error
    return count


def _shares(start: float, engine: Engine, epochs: int) -> list[float]:
    """Return the seconds of each epoch of a call that began at `start`: all the same."""
    return [(time.perf_counter() - start + engine.seconds_before) / epochs] * epochs


def _after(state: State, epochs: int, rates: np.ndarray, snapshot: Any) -> State:
    """Return the state so many epochs later, of steps with these rates."""
    steps = rates[:epochs].size
    return state._replace(epoch=state.epoch + epochs, step=state.step + steps, snapshot=snapshot)


def _measured(
    problem: Problem,
    engine: Engine,
    results: list[EpochResult],
    outputs: list[np.ndarray],
    validation: Data,
    metrics: tuple[Metric, ...],
    take: Callable[[np.ndarray], None] | None,
) -> tuple[list[EpochResult], InvalidInput | None]:
    """Return results with what was measured after each epoch, and the error of a metric.

    Without `outputs` there is one epoch, that the engine has just done, and `take` is given its
    own; others have no error.
    """
    error = None
    if outputs:
        values = measured_each(problem, outputs, validation, metrics)
    else:
        own, error = measured(problem, engine.outputs, validation, metrics, take)
        values = [own]
    return [
        result._replace(measured={PREFIX + name: value for name, value in own.items()})
        for result, own in zip(results, values, strict=True)
    ], error


@works
def _anew(
    trainer: Stateful,
    before: State,
    data: Data,
    snapshots: Sequence[Any],
    ends: np.ndarray | None,
    epochs: int,
) -> Stateful:
    """Return a copy of a trainer as it was so many epochs after a state.

    Of these epochs there are snapshots, or they are done once more, `ends` being what `Engine.ends`
    was before.
    """
    n, engine = len(data), before.engine
    rates = block_rates(before, n, epochs)
    with trainer._using:
        if snapshots:
            snapshot = snapshots[epochs - 1]
        else:
            engine.restore(before.snapshot)
            engine.ends = ends
            orders = _orders(trainer.shuffle, before, data, epochs)
            engine.train_epochs(data, orders, rates, before.epoch, before.step)
            snapshot, engine.ends = engine.snapshot(), None
        arrays = engine.unpack(snapshot)
    then = copy.copy(trainer)
    then._state = then._state._replace(
        epoch=before.epoch + epochs, step=before.step + rates.size, arrays=arrays,
        rate_factor=before.rate_factor, goal=before.goal,
    )  # fmt: skip
    then.history.truncate(then.epoch - then.history.first_epoch)
    return then


def _orders(shuffle: bool | int, state: State, data: Data, epochs: int) -> np.ndarray:
    """Return the orders of the next epochs, (epochs, n)."""
    n = len(data)
    if shuffle is False:
        return data.in_order(np.tile(np.arange(n), (epochs, 1)))
    window = None if shuffle is True else shuffle
    numbered = range(state.epoch, state.epoch + epochs)
    return data.in_order(state.engine.orders(numbered, n, window))


def block_rates(state: State, n: int, epochs: int) -> np.ndarray:
    """Return the learning rate of each step of the next epochs over n rows, (epochs, steps)."""
    problem = state.problem
    steps = -(-n // problem.batch_size)
    rates = rates_of(problem.optimizer.learning_rate, state.epoch, state.step, steps, epochs)
    rates *= state.rate_factor
    return rates.reshape(epochs, steps)
