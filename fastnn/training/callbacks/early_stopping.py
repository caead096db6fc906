"""An end to training where what is watched gets no better."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from fastnn.arguments import explained
from fastnn.errors import CorruptFile, number, true_or_false, whole
from fastnn.inputs.parameters import from_tensors, to_tensors
from fastnn.storage.old_settings import renamed
from fastnn.training import saved_trainer as models
from fastnn.training.callbacks.bundled import (
    Bundled,
    Mode,
    Monitor,
    check_monitor,
    sign_of,
)
from fastnn.training.history import History

if TYPE_CHECKING:
    from fastnn.inputs.problem import EpochResult
    from fastnn.training.trainer_state import Stateful

_NUMBERS = ("epoch", "step", "rate_factor")  # what tells the best epoch beside its arrays


class _Epoch(NamedTuple):
    """An epoch among many that were done in one call: its number, and that of its history entry."""

    epoch: int
    entry: int
    copy: Callable[[], Stateful]  # of the trainer as it was then


@renamed(min_delta="minimum_change")
@explained
@dataclass
class EarlyStopping(Bundled):
    """Stop training when what is watched gets no better, and go back to the best epoch.

    An epoch is better where its value < value of the best epoch - min_delta, or with mode "max"
    where its value > value of the best epoch + min_delta; NaN is worse than any number. When more
    than `patience` epochs in a row were not better, training stops, and with `restore_best` the
    trainer becomes exactly what it was after the best epoch: parameters, optimizer state, epoch,
    step and rate. `History.best` says which epoch that is. Where the epochs run out first, the
    trainer stays as the last one left it, so that another call of `fit` can go on; `best` is there
    all the same. Prechelt 1998, "Early stopping - but when?".

    It is called after all other callbacks, so that what they do belongs to the epoch; only a
    `Checkpoint` comes later, and keeps what this one has found. The same object goes on counting in
    the next call of `fit`, and starts anew with another trainer, and where `Trainer.set` or
    `Trainer.widen` has changed loss, dtype or outputs, which no loss compares across. Going back
    behind a change of other settings takes that back, too, as `Trainer.restore` does.

    Parameters
    ----------
    patience
        Epochs in a row that may pass without a better one.
    monitor
        What is watched: "validation_loss", "loss", or "validation_" and the name of a metric as
        `Trainer.fit` takes them, such as "validation_accuracy" or "validation_auc"; or a function
        (y, outputs). A metric that `fit` was not asked for is measured, and is in the history, all
        the same.
    min_delta
        How much better a better value must be, at least 0.
    restore_best
        Whether to go back.
    mode
        "min" or "max": whether a smaller or a larger value is better. "auto" knows that of whatever
        has a name of fastnn's; for a user-defined function it must be given.

    Attributes
    ----------
    best
        A copy of the trainer, made after the best epoch so far, or None before the first.

    Raises
    ------
    InvalidInput
        A setting out of range. In `fit`: a monitor that is not measured there; the message lists
        those that are.
    """

    patience: int = 10
    monitor: Monitor = "validation_loss"
    min_delta: float = 0.0
    restore_best: bool = True
    mode: Mode = "auto"
    turn = 1
    needs_penalty: ClassVar[bool] = False
    best: Stateful | None = field(default=None, init=False, repr=False, compare=False)
    _later: _Epoch | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        whole(self.patience, "patience", 0)
        check_monitor(self.monitor, self.mode)
        number(self.min_delta, "min_delta", 0.0)
        self.restore_best = true_or_false(self.restore_best, "restore_best")

    def __call__(self, trainer: Stateful, history: History) -> bool:
        """Return whether to stop, with the trainer taken back if so."""
        best, series = self._place(trainer), self.series()
        if best is None or self._better(history[series][-1], _entry(history, series, best[1])):
            history.best = len(history) - 1
            self.best, self._later = copy.copy(trainer), None
            return False
        stop = trainer.epoch - best[0] > self.patience
        if stop and self.restore_best and (then := self._best_of(trainer)) is not None:
            trainer.restore(then)
        return stop

    def begin(self, trainer: Stateful, callbacks: tuple[Any, ...]) -> None:
        """Follow the results of epochs."""
        self.follows = self.by_results = True

    def end(self, trainer: Stateful) -> None:
        """Have the best epoch in `best`."""
        self._best_of(trainer)

    def calls_after(self, trainer: Stateful, results: Sequence[EpochResult]) -> int:
        """Return after how many of the next epochs training is to stop."""
        return self._look_ahead(trainer, trainer.epoch, results)[1]

    def calls_not_before(self, trainer: Stateful) -> float:
        """Return after how many of the next epochs the patience can be at its end."""
        best = self._place(trainer)
        return self.patience + 1 - (0 if best is None else trainer.epoch - best[0])

    def take(
        self,
        trainer: Stateful,
        results: Sequence[EpochResult],
        anew: Callable[[int], Stateful],
    ) -> None:
        """Remember which of these epochs but the last was the best so far, if one was."""
        best, _ = self._look_ahead(trainer, trainer.epoch - len(results), results[:-1])
        if best > 0:
            entry = len(trainer.history) - len(results) + best - 1
            epoch = trainer.epoch - len(results) + best
            self._later = _Epoch(epoch, entry, partial(anew, best))
            trainer.history.best = max(trainer.history.best or 0, entry)  # another may have a later

    def _watched(self) -> Monitor:
        return self.monitor

    def state(self, trainer: Stateful) -> dict[str, Any]:
        """Return the best epoch so far, if it is one of this trainer's."""
        best = self._best_of(trainer)
        if best is None:
            return {}
        model = best.__getstate__()
        arrays = to_tensors(model.problem, model.parameters, model.slots)
        numbers = {name: getattr(model, name) for name in _NUMBERS}
        sign = sign_of(self.monitor, self.mode)
        problem = models.problem_to_plain(model.problem)
        return {"monitor": self.series(), "sign": sign, "problem": problem} | numbers | arrays

    def take_state(self, state: dict[str, Any], trainer: Stateful) -> None:
        """Go on from a best epoch, unless it was best by something else."""
        state = dict(state)
        was = state.pop("monitor", None), state.pop("sign", 1)  # older files watch losses
        if was != (self.series(), sign_of(self.monitor, self.mode)):
            return
        numbers = {name: state.pop(name, None) for name in _NUMBERS}
        problem, where = trainer.problem, "the state of EarlyStopping in the file"
        settings = state.pop("problem", None)  # which files of earlier versions do not have
        if settings is not None:
            saved = models.problem_from_plain(settings, where)
            problem = saved.changed(precision=problem.precision)
        parameters, slots = from_tensors(problem, state, where)
        model = trainer.__getstate__()
        history = model.history
        if not isinstance(numbers["epoch"], int) or numbers["epoch"] > len(history):
            raise CorruptFile(f"{where} is damaged: epoch cannot be {numbers['epoch']!r}")
        history.truncate(numbers["epoch"])
        history.best = len(history) - 1
        state = numbers | {"problem": problem, "parameters": parameters, "slots": slots}
        with_best = replace(model, callbacks=[], earlier=None, **state)
        self.best = trainer.__new__(type(trainer))
        self.best.__setstate__(with_best)

    def _look_ahead(
        self, trainer: Stateful, done: int, results: Sequence[EpochResult]
    ) -> tuple[int, int]:
        """Return which of the epochs after the first `done` is the best so far, and the last.

        Both are counted from 1, and the best is 0 where it was before them.
        """
        place, best = self._place(trainer), 0
        series = self.series()
        then = None if place is None else _entry(trainer.history, series, place[1])
        epoch = done if place is None else place[0]
        for nth, result in enumerate(results, 1):
            if self._better(value := result.of(series), then):
                best, epoch, then = nth, done + nth, value
            elif done + nth - epoch > self.patience:
                return best, nth
        return best, len(results)

    def _place(self, trainer: Stateful) -> tuple[int, int] | None:
        """Return the number of the best epoch so far and that of its entry in the history."""
        if self._later is not None:
            return self._later[:2]
        best = self._best_of(trainer)
        return None if best is None else (best.epoch, len(best.history) - 1)

    def _best_of(self, trainer: Stateful) -> Stateful | None:
        """Return the best so far, if it is of this trainer and of losses like those of today."""
        if (later := self._later) is not None:
            self.best, self._later = later.copy(), None
            self.best.history.best = later.entry
        best = self.best
        if (
            best is None
            or not best.problem.takes_data_of(trainer.problem)
            or (
                self.series() in ("loss", "validation_loss")
                and best.problem.label_smoothing != trainer.problem.label_smoothing
            )
            or not trainer.history.agrees(best.history, best.epoch)
        ):
            return None
        return best

    def _better(self, value: float, then: float | None) -> bool:
        """Return whether an epoch is better than the best one was; None: that was not measured."""
        if then is None:
            return True
        sign = sign_of(self.monitor, self.mode)
        value, least = sign * value, sign * then
        # NaN, as of outputs that overflow, is worse than any number.
        return value < least - self.min_delta or (math.isnan(least) and not math.isnan(value))


def _entry(history: History, series: str, entry: int) -> float | None:
    """Return an entry of a history; None where something else was watched then."""
    values = history[series] if series in history else []
    return values[entry] if len(values) > entry else None
