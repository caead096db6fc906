"""A smaller learning rate where what is watched gets no better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from fastnn.arguments import explained
from fastnn.errors import number, whole
from fastnn.storage.old_settings import renamed
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


@renamed(min_lr="minimum")
@explained
@dataclass(frozen=True)
class ReduceOnPlateau(Bundled):
    """Multiply the learning rate by `factor` whenever what is watched gets no better.

    An epoch is better where its value < (1 - threshold) best, or with mode "max" where its value >
    (1 + threshold) best; the best starts at infinity, or minus infinity. When
    more than `patience` epochs in a row were not better, `Trainer.rate_factor`, by which every
    further rate is multiplied, is itself multiplied by `factor`, and the epochs are counted from 0
    again. This is the rule of PyTorch's ReduceLROnPlateau.

    The values are read from the whole history, epochs of earlier calls included, so a trainer goes
    on exactly where it stopped, also after a save and a load. What is kept here only spares reading
    the same epochs again.

    Parameters
    ----------
    factor
        Between 0 and 1, without the two.
    patience
        Epochs in a row that may pass without a better one.
    threshold
        By what part of the best value a better one must differ, at least 0 and below 1.
    min_lr
        No reduction takes the rate below this, as counted at the last step of the epoch.
    monitor, mode
        What is watched, and whether smaller or larger is better, as for `fastnn.EarlyStopping`.

    Raises
    ------
    InvalidInput
        A setting out of range. In `fit`: a monitor that is not measured there.
    """

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    min_lr: float = 0.0
    monitor: Monitor = "validation_loss"
    mode: Mode = "auto"
    needs_penalty: ClassVar[bool] = False
    # How many epochs have been read, which the last of them was, and in them the best value, times
    # the sign by which smaller is better, and the epochs without a better one.
    _read: tuple[int, object, float, int] = field(
        default=(0, None, math.inf, 0), init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Check the settings."""
        number(self.factor, "factor", 0.0, 1.0, open_low=True, open_high=True)
        whole(self.patience, "patience", 0)
        number(self.threshold, "threshold", 0.0, 1.0, open_high=True)
        number(self.min_lr, "min_lr", 0.0)
        check_monitor(self.monitor, self.mode)

    def __call__(self, trainer: Stateful, history: History) -> None:
        """Reduce the rates that follow, if it is time to."""
        rate = history.learning_rate[-1]
        if self._due(history) and rate > self.min_lr:
            trainer.rate_factor *= max(self.factor, self.min_lr / rate)

    def _watched(self) -> Monitor:
        return self.monitor

    def begin(self, trainer: Stateful, callbacks: tuple[Any, ...]) -> None:
        """Follow the results of epochs."""
        for name in ("follows", "by_results"):
            object.__setattr__(self, name, True)

    def calls_after(self, trainer: Stateful, results: Sequence[EpochResult]) -> int:
        """Return after how many of the next epochs the rate is to fall."""
        if trainer.history:
            self._due(trainer.history)
        _, _, best, worse = self._read if trainer.history else (0, None, math.inf, 0)
        for place, result in enumerate(results, 1):
            due, best, worse = self._after(result.of(self.series()), best, worse)
            if due:
                return place
        return len(results)

    def calls_not_before(self, trainer: Stateful) -> float:
        """Return after how many of the next epochs the rate can be to fall."""
        if trainer.history:
            self._due(trainer.history)
        return self.patience + 1 - (self._read[3] if trainer.history else 0)

    def _due(self, history: History) -> bool:
        """Return whether the last value is one too many without a better one."""
        # What is measured for the first time in this fit was not in the epochs before.
        known = self.series() in history
        values, due = history[self.series()] if known else [None] * len(history), False
        done, last, best, worse = self._read
        if done > len(history) or last != _mark(history, done):  # another history, or done anew
            done, best, worse = 0, math.inf, 0
        for value in values[done:]:
            due, best, worse = self._after(value, best, worse)
        done = len(history)
        object.__setattr__(self, "_read", (done, _mark(history, done), best, worse))
        return due

    def _after(self, value: float | None, best: float, worse: int) -> tuple[bool, float, int]:
        """Return whether a value is one too many, the best so far, and how many were no better."""
        if value is None:  # an epoch without validation data
            return False, best, worse
        sign = sign_of(self.monitor, self.mode)
        better = sign * value < (1.0 - sign * self.threshold) * best
        best, worse = (sign * value, 0) if better else (best, worse + 1)
        due = worse > self.patience
        return due, best, 0 if due else worse


def _mark(history: History, epochs: int) -> object:
    """Return what tells the last of the first `epochs` from another run of it, as `agrees` does."""
    return (history.loss[epochs - 1], history.seconds[epochs - 1]) if epochs else None
