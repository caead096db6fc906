"""What becomes of an epoch that diverged, where training is to go on with a smaller rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.errors import Diverged
from fastnn.history import Restore

if TYPE_CHECKING:
    from fastnn.trainer import Trainer

FACTOR = 0.5


def go_back(trainer: Trainer, error: Diverged, rates: np.ndarray) -> None:
    """Halve the rates of a trainer that is as its last good epoch left it, or raise `error`.

    Parameters
    ----------
    trainer
        Its `on_divergence` and `max_restores` decide; its history is told.
    error
        Where the epoch that follows diverged.
    rates
        The learning rate of each step of that epoch, float64 (steps,).

    Raises
    ------
    Diverged
        Training is not to go on, or has gone back often enough.
    """
    restores = trainer.history.restores
    if trainer.on_divergence != "restore":
        raise error
    if len(restores) >= trainer.max_restores:
        raise Diverged(
            f"{error}, which was restored {len(restores)} times already, each time with half the "
            "rate: as often as max_restores allows",
            error.epoch,
            error.step,
        ) from error
    rate = float(rates[error.step])
    restores.append(Restore(error.epoch, error.step, rate, FACTOR * rate))
    trainer.rate_factor *= FACTOR
