"""Steps that each process makes by itself, and the mean of what they come to.

Every k steps, and after each epoch, parameters and optimizer state become the mean over all
processes, weighted by their rows (Stich 2019, "Local SGD Converges Fast and Communicates Little";
McMahan et al. 2017, with such weights).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.inputs.problem import EpochResult
from fastnn.ranks.group import STOPPED

if TYPE_CHECKING:
    from fastnn.inputs.data import Data
    from fastnn.targets.engine import Engine


class _Ended(Exception):
    """Another process met a loss that is not finite."""


def train_apart(
    engine: Engine,
    data: Data,
    order: np.ndarray,
    rates: np.ndarray,
    epoch: int,
    step: int,
    progress: Callable[[int, float], None] | None,
) -> EpochResult:
    """Train one epoch as `Engine.train_epoch` does, with means in place of sums of gradients."""
    group, shares = engine.group, engine.shares
    assert group is not None and shares is not None and group.every is not None
    steps, every, sums = len(rates), group.every, [0.0, 0.0]
    first = -step % every or every
    stops = [*range(first, steps, every), steps]
    bad: list[Any] = []

    def average(done: int, loss: float, weight: float) -> None:
        sums[:] = loss, weight
        bad[:] = group.exchange(None, sums=1, like=[flat])
        if any(each is not None for each in bad):
            group.cancel()
            raise _Ended
        mean = np.zeros_like(flat)
        mean[:-2] = engine.flat(engine.snapshot())
        mean *= mean.dtype.type(shares.weight)
        if group.add_up(mean) == STOPPED:
            group.exchange()  # which raises what another process failed with
        engine.restore(engine.of_flat(mean[:-2]))

    state = engine.flat(engine.snapshot())
    flat = np.zeros(len(state) + 2, state.dtype)
    try:
        result = engine.train_epoch_in_parts(
            data, order, rates, epoch, step, stops, average, progress
        )
    except _Ended:
        result = EpochResult(0.0, None)
    if result.bad_step is not None:
        sums[:] = result.loss, 1.0
        bad[:] = group.exchange(result.bad_step, sums=1, like=[flat])
        group.cancel()
    first_bad = min((each for each in bad if each is not None), default=None)
    return result._replace(loss=mean_loss(group, *sums), bad_step=first_bad)


def mean_loss(group: Any, loss_sum: float, weight_sum: float) -> float:
    """Return the mean loss over the rows of all processes; a collective call."""
    every = group.exchange((loss_sum, weight_sum))
    losses, weights = (sum(each) for each in zip(*every, strict=True))
    return float(losses / weights) if weights > 0 else 0.0
