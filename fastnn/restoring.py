"""What becomes of an epoch that diverged, where training is to go on with a smaller rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.errors import Diverged
from fastnn.history import Restore
from fastnn.model import Earlier
from fastnn.problem import DivergedAtOnce

if TYPE_CHECKING:
    from fastnn.trainer import Trainer

FACTOR = 0.5


def remember(trainer: Trainer) -> Earlier | None:
    """Return what the trainer is before an epoch, if it may have to go back to it."""
    if trainer.on_divergence != "restore":
        return None
    model = trainer.__getstate__()
    return Earlier(model.epoch, model.step, model.parameters, model.slots)


def go_back(trainer: Trainer, error: Diverged, rates: np.ndarray) -> int:
    """Halve the rates of a trainer that is as its last good epoch left it, or raise `error`.

    Where halving them again or at all would not help, since numbers are too large whatever the rate
    is, that epoch was none of the good ones: then it is taken back, too.

    Parameters
    ----------
    trainer
        Its `on_divergence` and `max_restores` decide; its history is told.
    error
        Where the epoch that follows diverged.
    rates
        The learning rate of each step of that epoch, float64 (steps,).

    Returns
    -------
    int
        How many epochs were taken back.

    Raises
    ------
    Diverged
        Training is not to go on, or has gone back often enough, or it would not help.
    """
    restores, earlier = trainer.history.restores, trainer._earlier
    if trainer.on_divergence != "restore":
        raise error
    if len(restores) >= trainer.max_restores:
        raise Diverged(
            f"{error}, after {len(restores)} restores with half the rate each, as many as "
            "max_restores allows",
            error.epoch,
            error.step,
        ) from error
    again = bool(restores) and restores[-1].back_to == trainer.epoch
    at_once, taken_back = isinstance(error, DivergedAtOnce), 0
    if at_once and earlier is None:
        raise error
    if (again or at_once) and earlier is not None:
        trainer._load(earlier.parameters, earlier.slots)
        taken_back = trainer.epoch - earlier.epoch
        trainer.epoch, trainer.step, trainer._earlier = earlier.epoch, earlier.step, None
    rate = float(rates[error.step])
    restores.append(Restore(error.epoch, error.step, trainer.epoch, rate, FACTOR * rate))
    trainer.rate_factor *= FACTOR
    return taken_back
