"""Functions that a caller has called after each epoch, and the two that fastnn brings along."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.checks import number, shown, whole
from fastnn.errors import InvalidInput
from fastnn.history import History

if TYPE_CHECKING:
    from fastnn.trainer import Trainer

# (trainer, history) -> True to stop training; anything else means nothing.
Callback = Callable[["Trainer", History], object]

MONITORS = ("validation_loss", "loss")


@dataclass(frozen=True)
class ReduceOnPlateau:
    """Multiply the learning rate by `factor` whenever a loss has stopped falling.

    An epoch is better where its loss < (1 - threshold) best; the best starts at infinity. When
    more than `patience` epochs in a row were not better, `Trainer.rate_factor`, by which every
    further rate is multiplied, is itself multiplied by `factor`, and the epochs are counted from 0
    again. This is the rule of PyTorch's ReduceLROnPlateau.

    The losses are read from the whole history, epochs of earlier calls included, so a trainer goes
    on exactly where it stopped, also after a save and a load. What is kept here only spares reading
    the same epochs again.

    Parameters
    ----------
    factor
        Between 0 and 1, without the two.
    patience
        Epochs in a row that may pass without a better one.
    threshold
        By what part of the best loss a better one must be smaller, at least 0 and below 1.
    minimum
        No reduction takes the rate below this, as counted at the last step of the epoch.
    monitor
        "validation_loss" or "loss".

    Raises
    ------
    InvalidInput
        A setting out of range.
    """

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    minimum: float = 0.0
    monitor: str = "validation_loss"
    # How many epochs have been read, which the last of them was, and the best loss and the epochs
    # without a better one that were found in them.
    _read: tuple[int, object, float, int] = field(
        default=(0, None, math.inf, 0), init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Check the settings."""
        number(self.factor, "factor", 0.0, 1.0, open_low=True, open_high=True)
        whole(self.patience, "patience", 0)
        number(self.threshold, "threshold", 0.0, 1.0, open_high=True)
        number(self.minimum, "minimum", 0.0)
        _check_monitor(self.monitor)

    def __call__(self, trainer: Trainer, history: History) -> None:
        """Reduce the rates that follow, if it is time to."""
        rate = history.learning_rate[-1]
        if self._due(history) and rate > self.minimum:
            trainer.rate_factor *= max(self.factor, self.minimum / rate)

    def _due(self, history: History) -> bool:
        """Say whether the last loss is one too many without a better one."""
        losses, due = getattr(history, self.monitor), False
        done, last, best, worse = self._read
        if done >= len(history) or last != _mark(history, done):  # another history, or done anew
            done, best, worse = 0, math.inf, 0
        for loss in losses[done:]:
            due = False
            if loss is None:  # an epoch without validation data
                continue
            better = loss < (1.0 - self.threshold) * best
            best, worse = (loss, 0) if better else (best, worse + 1)
            due = worse > self.patience
            worse = 0 if due else worse
        done = len(history)
        object.__setattr__(self, "_read", (done, _mark(history, done), best, worse))
        return due


@dataclass
class EarlyStopping:
    """Stop training when a loss has stopped falling, and go back to the best epoch.

    An epoch is better where its loss < loss of the best epoch - minimum_change. When more than
    `patience` epochs in a row were not better, training stops, and with `restore_best` the trainer
    becomes exactly what it was after the best epoch: parameters, optimizer state, epoch, step and
    rate. `History.best` says which epoch that is. Where the epochs run out first, the trainer stays
    as the last one left it, so that another call of `fit` can go on; `best` is there all the same.
    Prechelt 1998, "Early stopping - but when?".

    It is called after all other callbacks, so that what they do belongs to the epoch. The same
    object goes on counting in the next call of `fit`, and starts anew with another trainer.

    Parameters
    ----------
    patience
        Epochs in a row that may pass without a better one.
    monitor
        "validation_loss" or "loss".
    minimum_change
        How much smaller a better loss must be, at least 0.
    restore_best
        Whether to go back.

    Attributes
    ----------
    best
        A copy of the trainer, made after the best epoch so far, or None before the first.

    Raises
    ------
    InvalidInput
        A setting out of range.
    """

    patience: int = 10
    monitor: str = "validation_loss"
    minimum_change: float = 0.0
    restore_best: bool = True
    best: Trainer | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        whole(self.patience, "patience", 0)
        _check_monitor(self.monitor)
        number(self.minimum_change, "minimum_change", 0.0)
        if not isinstance(self.restore_best, (bool, np.bool_)):
            raise InvalidInput(
                f"restore_best must be True or False, not {shown(self.restore_best)}"
            )

    def __call__(self, trainer: Trainer, history: History) -> bool:
        """Say whether to stop, with the trainer taken back if so."""
        best = self.best
        if best is not None and not history.agrees(best.history, best.epoch):
            best = None
        if best is None or self._better(history, best):
            history.best = len(history) - 1
            self.best = copy.copy(trainer)
            return False
        stop = trainer.epoch - best.epoch > self.patience
        if stop and self.restore_best:
            trainer.restore(best)
        return stop

    def _better(self, history: History, best: Trainer) -> bool:
        """Say whether the last epoch is better than the best one."""
        loss, least = (getattr(each, self.monitor)[-1] for each in (history, best.history))
        # NaN, as of outputs that overflow, is worse than any number.
        return loss < least - self.minimum_change or (math.isnan(least) and not math.isnan(loss))


def check_callbacks(callbacks: Any, validated: bool) -> tuple[Callback, ...]:
    """Return `callbacks`, one function or any iterable of them, in the order in which to call them.

    Raises
    ------
    InvalidInput
        Something that is no function, or that needs validation data where `validated` is False.
    """
    if isinstance(callbacks, Iterable):
        found = tuple(callbacks)
    elif callable(callbacks):
        found = (callbacks,)
    else:
        raise InvalidInput(
            "callbacks must be a function (trainer, history), or a list of such, "
            f"not {shown(callbacks):.80}"
        )
    for position, callback in enumerate(found):
        if isinstance(callback, type) and issubclass(callback, (ReduceOnPlateau, EarlyStopping)):
            raise InvalidInput(
                f"callbacks[{position}] is the class {callback.__name__}; pass an object of it, "
                f"such as {callback.__name__}()"
            )
        if not callable(callback):
            raise InvalidInput(
                f"callbacks[{position}] must be a function (trainer, history), "
                f"not {shown(callback):.80}"
            )
        watches = isinstance(callback, (ReduceOnPlateau, EarlyStopping)) and callback.monitor
        if watches == "validation_loss" and not validated:
            raise InvalidInput(
                f"callbacks[{position}], {shown(callback)}, watches the validation_loss, but there "
                'is no validation_data; pass validation_data=(X, y), or use monitor="loss"'
            )
    return tuple(sorted(found, key=_is_last))


def own_callbacks(callbacks: tuple[Callback, ...]) -> tuple[Callback, ...]:
    """Return the callbacks for one of several trainings: those of fastnn keep state, so new ones.

    All others, of which nobody knows what a copy would do, are shared.
    """
    own = (EarlyStopping, ReduceOnPlateau)
    return tuple(replace(each) if isinstance(each, own) else each for each in callbacks)


def take_over(
    callbacks: tuple[Callback, ...], own: tuple[Callback, ...], threads: int | None
) -> None:
    """Let every `EarlyStopping` go on from what `own_callbacks` made of it, on so many threads."""
    for callback, other in zip(callbacks, own, strict=True):
        if isinstance(callback, EarlyStopping) and isinstance(other, EarlyStopping):
            callback.best = other.best
            if callback.best is not None:
                callback.best.threads = threads


def call_all(callbacks: tuple[Callback, ...], trainer: Trainer, history: History) -> bool:
    """Call each callback, and say whether one of them answered True."""
    stop = False
    for callback in callbacks:
        answer = callback(trainer, history)
        if isinstance(answer, (bool, np.bool_)) and answer:
            stop = True
            if _is_last(callback):
                break  # the trainer may be in an earlier epoch now, which others have seen
    return stop


def _is_last(callback: Callback) -> bool:
    """Say whether `callback` has its turn after all others."""
    return isinstance(callback, EarlyStopping)


def _mark(history: History, epochs: int) -> object:
    """Return what tells the last of the first `epochs` from another run of it, as `agrees` does."""
    return (history.loss[epochs - 1], history.seconds[epochs - 1]) if epochs else None


def _check_monitor(monitor: Any) -> None:
    """Raise `InvalidInput` where `monitor` is not the name of a loss in the history."""
    if monitor not in MONITORS:
        raise InvalidInput(f"monitor must be 'validation_loss' or 'loss', not {monitor!r}")
