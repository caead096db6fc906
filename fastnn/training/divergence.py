"""What becomes of an epoch that diverged, where training is to go on with a smaller rate."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fastnn.errors import Diverged
from fastnn.inputs.problem import DivergedAtOnce
from fastnn.threads.atomic import at_once
from fastnn.training.history import Restore
from fastnn.training.trainer_state import State

if TYPE_CHECKING:
    from fastnn.training.trainer_state import Stateful

FACTOR = 0.5


def remember(trainer: Stateful, state: State) -> State | None:
    """Return a state as the one that an epoch later may have to go back to, if it may."""
    return state._replace(earlier=None) if trainer.on_divergence == "restore" else None


def go_back(trainer: Stateful, error: Diverged, rate: float) -> int:
    """Halve the rates of a trainer that is as its last good epoch left it, or raise `error`.

    Where halving them again or at all would not help, since numbers are too large whatever the rate
    is, that epoch was none of the good ones: then it is taken back, too.

    Parameters
    ----------
    trainer
        Its `on_divergence` and `max_restores` decide; its history is told.
    error
        Where the epoch that follows diverged.
    rate
        The learning rate of that step.

    Returns
    -------
    int
        How many epochs were taken back.

    Raises
    ------
    Diverged
        Training is not to go on, or has gone back often enough, or it would not help.
    """
    state = trainer._state
    restores, earlier = state.history.restores, state.earlier
    if trainer.on_divergence != "restore":
        raise error
    if len(restores) >= trainer.max_restores:
        raise Diverged(
            f"{error}, after {len(restores)} restores with half the rate each, as many as "
            "max_restores allows",
            error.epoch,
            error.step,
            error.cause,
        ) from error
    again = bool(restores) and restores[-1].back_to == state.epoch
    immediate = isinstance(error, DivergedAtOnce)
    if immediate and earlier is None:
        raise error
    after = state._replace(rate_factor=FACTOR * state.rate_factor)
    if (again or immediate) and earlier is not None:
        after = after._replace(
            epoch=earlier.epoch, step=earlier.step, arrays=earlier.read(), earlier=None
        )
    entry = Restore(error.epoch, error.step, after.epoch, rate, FACTOR * rate, error.cause)
    with trainer._using:
        at_once(
            [
                partial(list.append, restores, entry),
                partial(object.__setattr__, trainer, "_state", after),
            ]
        )
    return state.epoch - after.epoch
