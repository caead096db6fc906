"""A smaller learning rate where a loss has stopped falling."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastnn.errors import number, whole
from fastnn.storage.old_settings import renamed
from fastnn.training.callbacks.bundled import Bundled, check_monitor
from fastnn.training.history import History

if TYPE_CHECKING:
    from fastnn.training.trainer_state import Stateful


@renamed(min_lr="minimum")
@dataclass(frozen=True)
class ReduceOnPlateau(Bundled):
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
    min_lr
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
    min_lr: float = 0.0
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
        number(self.min_lr, "min_lr", 0.0)
        check_monitor(self.monitor)

    def __call__(self, trainer: Stateful, history: History) -> None:
        """Reduce the rates that follow, if it is time to."""
        rate = history.learning_rate[-1]
        if self._due(history) and rate > self.min_lr:
            trainer.rate_factor *= max(self.factor, self.min_lr / rate)

    def series(self) -> str:
        """Return the loss that is watched."""
        return self.monitor

    def _due(self, history: History) -> bool:
        """Return whether the last loss is one too many without a better one."""
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


def _mark(history: History, epochs: int) -> object:
    """Return what tells the last of the first `epochs` from another run of it, as `agrees` does."""
    return (history.loss[epochs - 1], history.seconds[epochs - 1]) if epochs else None
