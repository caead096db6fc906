"""Losses whose parameter has the units of the targets, where it is out of scale beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.inputs.magnitudes import FAR
from fastnn.rules.table import loss_row

if TYPE_CHECKING:
    from fastnn.training.trainer_state import State

# What an estimator says in its own words.
LARGER_DELTA = "take a delta of about one standard deviation of y"
SMALLER_EPSILON = "take a smaller epsilon"
# Where outputs may have moved by so many deviations of the targets, a delta is no obstacle.
MOVED = 0.1
# Rules whose steps are in proportion to the gradient.
_BY_GRADIENT = ("sgd", "momentum", "nesterov", "averaged_sgd")


def parameter_out_of_scale(state: State, targets: np.ndarray, weights: np.ndarray | None) -> str:
    """Return why a training by such a loss cannot have learnt anything, and what to do; or "".

    Parameters
    ----------
    state
        Of a trainer, after one epoch at least.
    targets, weights
        Of some rows, (m, outputs) and (m,), (m, outputs) or None.
    """
    name = loss_row(state.problem.loss).name
    if name not in ("huber", "epsilon_insensitive", "squared_epsilon_insensitive"):
        return ""
    y = targets.astype(np.float64)
    if weights is not None:
        y = y[weights.reshape(len(y), -1).max(axis=1) > 0]
    if not len(y):
        return ""
    parameter = state.problem.loss_alpha
    if name != "huber":
        half = float((y.max(axis=0) - y.min(axis=0)).max()) / 2.0
        if half > parameter:
            return ""
        return (
            f"{name!r} is 0 where an output is within epsilon of y, as one constant is for all "
            f"rows: they are within {half:.3g} of it, and epsilon is {parameter:.3g}; "
            f"{SMALLER_EPSILON}"
        )
    deviation = float(y.std(axis=0).max())
    if parameter * FAR > deviation or _farthest(state) * parameter > MOVED * deviation:
        return ""
    return (
        f"the slope of 'huber' is at most its delta, which is {parameter / deviation:.3g} standard "
        f"deviations of y, so that no step can be long; {LARGER_DELTA}"
    )


def _farthest(state: State) -> float:
    """Return how far steps along a slope of 1 may have led in all; infinity where nobody knows."""
    optimizer = state.problem.optimizer
    rates = [rate for rate in state.history.learning_rate if rate is not None]
    if optimizer.rule not in _BY_GRADIENT or not rates:
        return np.inf
    longer = 1.0 - optimizer.constants[0] if optimizer.rule in ("momentum", "nesterov") else 1.0
    return float(np.mean(rates)) * state.step / longer
