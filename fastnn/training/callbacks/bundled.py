"""What a callback is, and what those that fastnn brings along have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from fastnn.errors import InvalidInput, shown
from fastnn.training.history import History

if TYPE_CHECKING:
    from fastnn.training.trainer_state import Stateful

# (the Trainer, its history) -> True to stop training; anything else means nothing.
Callback = Callable[[Any, History], object]

MONITORS = ("validation_loss", "loss")


class Bundled:
    """A callback of fastnn: it knows when a call of `fit` begins and ends, and may have state.

    Attributes
    ----------
    turn
        Of the callbacks of one epoch, those of a smaller turn are called first.
    one_training
        Whether it follows one training only, so that restarts and sweeps refuse it.
    """

    turn: ClassVar[int] = 0
    one_training: ClassVar[bool] = False

    def __call__(self, trainer: Stateful, history: History) -> object:
        """Do what there is to do after an epoch."""
        raise NotImplementedError

    def series(self) -> str:
        """Return the name of the series of the history that it cannot do without, or ""."""
        return ""

    def check(self, trainer: Stateful) -> None:
        """Refuse a call of `fit` that this cannot follow, before anything is compiled for it."""

    def begin(self, trainer: Stateful, callbacks: tuple[Callback, ...]) -> None:
        """Get ready for a call of `fit`, which has these callbacks."""

    def end(self, trainer: Stateful) -> None:
        """Clear up after a call of `fit`, however it ended."""

    def state(self, trainer: Stateful) -> dict[str, Any]:
        """Return what a resumed training needs: plain values and arrays, or nothing."""
        return {}

    def take_state(self, state: dict[str, Any], trainer: Stateful) -> None:
        """Go on from what `state` returned."""


def check_monitor(monitor: Any) -> None:
    """Raise `InvalidInput` where `monitor` is not the name of a loss in the history."""
    if monitor not in MONITORS:
        raise InvalidInput(f"monitor must be 'validation_loss' or 'loss', not {shown(monitor)}")
