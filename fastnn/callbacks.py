"""Functions that a caller has called after each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.history import History

if TYPE_CHECKING:
    from fastnn.trainer import Trainer

# (trainer, history) -> True to stop training; anything else means nothing.
Callback = Callable[["Trainer", History], object]


def check_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """Return `callbacks`, any iterable of functions, as a tuple, or raise `InvalidInput`."""
    if not isinstance(callbacks, Iterable):
        raise InvalidInput(
            "callbacks must be a list of functions (trainer, history), such as [print], "
            f"not {callbacks!r:.80}"
        )
    found = tuple(callbacks)
    for position, callback in enumerate(found):
        if not callable(callback):
            raise InvalidInput(
                f"callbacks[{position}] must be a function (trainer, history), not {callback!r:.80}"
            )
    return found


def call_all(callbacks: tuple[Callback, ...], trainer: Trainer, history: History) -> bool:
    """Call each callback, and say whether one of them answered True."""
    answers = [callback(trainer, history) for callback in callbacks]
    return any(isinstance(answer, (bool, np.bool_)) and bool(answer) for answer in answers)
