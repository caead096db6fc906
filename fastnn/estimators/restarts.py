"""Several fits of an estimator, of which the best is kept, and those that diverge are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sklearn.exceptions import ConvergenceWarning

from fastnn.estimators.base import NonFiniteParameters
from fastnn.estimators.monitor import Monitor
from fastnn.inputs.scaling import Scaling
from fastnn.training.learning_check import warn
from fastnn.training.trainer import Trainer

Scalings = tuple[Scaling | None, Scaling | None]  # of X, and of the targets of a regression


@dataclass(frozen=True)
class Fit:
    """A fit that has ended: what was trained on how many rows, what was noted, how it ended."""

    trainer: Trainer
    monitor: Monitor
    rows: int
    scalings: Scalings
    interrupted: bool = False


def best_fit(times: int, fit_once: Callable[[], Fit]) -> Fit:
    """Return the best of so many fits, of which none is begun after one that was interrupted.

    Those that diverge are left out, and warned of.

    Raises
    ------
    NonFiniteParameters
        All of them diverged.
    """
    fits: list[Fit] = []
    diverged, first = 0, None
    while len(fits) + diverged < times and not (fits and fits[-1].interrupted):
        try:
            fits.append(fit_once())
        except NonFiniteParameters as error:
            if times == 1:
                raise
            diverged += 1
            first = first or error  # alone, since an error keeps what its fit had in memory
    if first is None:
        return min(fits, key=lambda each: each.monitor.rank)
    if not fits:
        raise NonFiniteParameters(
            f"all {times} fits (n_restarts) diverged, the first so: {first}",
            first.epoch,
            first.step,
            first.cause,
        ) from first
    warn(
        f"{diverged} of {len(fits) + diverged} fits (n_restarts) diverged, the first in epoch "
        f"{first.epoch}, step {first.step} (both counted from 0), and are left out; a lower "
        "learning rate, or standardize=True, may keep them from it",
        ConvergenceWarning,
    )
    return min(fits, key=lambda each: each.monitor.rank)
