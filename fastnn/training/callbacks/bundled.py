"""What a callback is, and what those that fastnn brings along have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from fastnn.elsewhere import meant
from fastnn.errors import InvalidInput, shown
from fastnn.rules.table import unknown_name
from fastnn.training.history import History
from fastnn.training.metrics import LARGER_IS_BETTER, PREFIX

if TYPE_CHECKING:
    import numpy as np

    from fastnn.inputs.problem import EpochResult
    from fastnn.training.trainer_state import Stateful

# (the Trainer, its history) -> True to stop training; anything else means nothing.
Callback = Callable[[Any, History], object]

# The name of a series of the history, or (y, outputs) -> a number that is to be one.
Monitor = str | Callable[..., Any]
Mode = Literal["auto", "min", "max"]
MODES: tuple[Mode, ...] = get_args(Mode)


class Bundled:
    """A callback of fastnn: it knows when a call of `fit` begins and ends, and may have state.

    Attributes
    ----------
    turn
        Of the callbacks of one epoch, those of a smaller turn are called first.
    one_training
        Whether it follows one training only, so that restarts and sweeps refuse it.
    follows
        Whether it is told the results of epochs, by `take`.
    by_results
        Whether those that follow need no call after each epoch, but where `calls_after` says: then
        many short epochs are done in one call, and done again up to where one wants to be called.
        Where a class derived from theirs has a `__call__` of its own, that has the last word: see
        `foresees_calls`.
    needs_penalty
        Whether those that follow need the penalty of each result.
    ends
        By what each output ends for itself, for those that follow; see `Engine.ends`. `take` puts
        there what it has become.
    """

    turn: ClassVar[int] = 0
    one_training: ClassVar[bool] = False
    follows: bool = False
    by_results: bool = False
    ends: np.ndarray | None = None
    needs_penalty: ClassVar[bool] = True

    def __call__(self, trainer: Stateful, history: History) -> object:
        """Do what there is to do after an epoch."""
        raise NotImplementedError

    def _watched(self) -> Monitor | None:
        """Return what it watches, if anything."""
        return None

    def series(self) -> str:
        """Return the name of the series of the history that it cannot do without, or ""."""
        monitor = self._watched()
        return "" if monitor is None else series_of(monitor)

    def metric(self) -> Any:
        """Return what `fit` has to measure for that series, as `metrics` takes it, or None."""
        monitor = self._watched()
        return None if monitor is None else metric_of(monitor)

    def check(self, trainer: Stateful) -> None:
        """Refuse a call of `fit` that this cannot follow, before anything is compiled for it."""

    def begin(self, trainer: Stateful, callbacks: tuple[Callback, ...]) -> None:
        """Get ready for a call of `fit`, which has these callbacks."""

    def end(self, trainer: Stateful) -> None:
        """Clear up after a call of `fit`, however it ended."""

    def calls_after(self, trainer: Stateful, results: Sequence[EpochResult]) -> int:
        """Return after how many of the next epochs this has to be called, at most all of them.

        It takes note of nothing: `take` tells it what has been done, and the call comes after that.
        For those of `by_results`; the trainer is as before these epochs.
        """
        return len(results)

    def foresees_calls(self) -> bool:
        """Return whether `calls_after` is of the class that says what a call does, or a later one.

        A user-defined class that is derived from one of fastnn's may have a `__call__` of its own,
        of which the `calls_after` that it inherits knows nothing.
        """
        kinds = type(self).__mro__
        looks, calls = (
            next(place for place, kind in enumerate(kinds) if name in vars(kind))
            for name in ("calls_after", "__call__")
        )
        return looks <= calls

    def calls_not_before(self, trainer: Stateful) -> float:
        """Return how many of the next epochs there are at least before it has to be called.

        For those of `by_results`; the fewest that it can say at once, or infinity where nothing is
        known, or nothing has to be done again: then calls may be long.
        """
        return math.inf

    def take(
        self,
        trainer: Stateful,
        results: Sequence[EpochResult],
        anew: Callable[[int], Stateful],
    ) -> None:
        """Take note of epochs that the trainer has done; after the last one this is called.

        ``anew(number)`` gives a copy of the trainer as it was after the first so many of them, now
        or later; it does them once more for that.
        """

    def state(self, trainer: Stateful) -> dict[str, Any]:
        """Return what a resumed training needs: plain values and arrays, or nothing."""
        return {}

    def take_state(self, state: dict[str, Any], trainer: Stateful) -> None:
        """Go on from what `state` returned."""


def check_monitor(monitor: Any, mode: Any, what: str = "monitor") -> None:
    """Raise `InvalidInput` where `monitor` cannot be watched, or `mode` does not say how.

    Parameters
    ----------
    monitor
        "loss", or the name of a series that is measured on the validation data, or a function.
    mode
        "min" or "max", whether the smallest or the largest value is best; "auto" for what fastnn
        knows by name.
    what
        What messages call the monitor.
    """
    if not isinstance(mode, str) or mode not in MODES:
        raise unknown_name("mode", mode, MODES)
    known = ["loss", *(PREFIX + name for name in LARGER_IS_BETTER)]
    named = isinstance(monitor, str)
    if named and monitor in known:
        return
    if not callable(monitor) and not (
        named and mode != "auto" and monitor.startswith(PREFIX) and monitor != PREFIX
    ):
        near = meant(monitor, known)
        raise InvalidInput(
            f"{what} must be one of {', '.join(known)}; or, with mode='min' or mode='max', a "
            f"function (y, outputs) or validation_ and the name of a metric of yours, "
            f"not {shown(monitor)}" + (f"; did you mean {near!r}?" if near else "")
        )
    if mode == "auto":
        raise InvalidInput(
            f"{what} is the function {shown(monitor):.80}, of which fastnn does not know whether "
            "larger is better; give mode='max' if it is, else mode='min'"
        )


def series_of(monitor: Monitor) -> str:
    """Return the name of the series that has what is watched."""
    if isinstance(monitor, str):
        return monitor
    return PREFIX + getattr(monitor, "__name__", type(monitor).__name__)


def metric_of(monitor: Monitor) -> Any:
    """Return what `fit` has to measure for a monitor, as its `metrics` takes it, or None."""
    if not isinstance(monitor, str):
        return (series_of(monitor).removeprefix(PREFIX), monitor)
    name = monitor.removeprefix(PREFIX)
    return name if monitor != name and name in LARGER_IS_BETTER else None


def sign_of(monitor: Monitor, mode: str) -> int:
    """Return 1 where the smallest value is best, else -1: sign times value is smallest then."""
    if mode == "auto":
        assert isinstance(monitor, str)
        return -1 if LARGER_IS_BETTER[monitor.removeprefix(PREFIX)] else 1
    return 1 if mode == "min" else -1
