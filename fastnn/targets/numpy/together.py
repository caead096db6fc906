"""Steps and epochs that several processes make together: the definition of what is added up.

Of m rows of a batch a process has m_r. The gradient of the mean over all m, penalty included, is

    sum over processes of (m_r / m) g_r,

with g_r the gradient of the mean over its own. Limits are for that sum, and so is the update, which
every process makes by itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastnn.inputs.problem import EpochResult
from fastnn.ranks.group import GO_ON
from fastnn.ranks.local_steps import mean_loss, train_apart
from fastnn.targets.numpy.passes import (
    Parameters,
    backward,
    drawn_slopes,
    dropout_masks,
    forward,
)

if TYPE_CHECKING:
    from fastnn.inputs.data import Data
    from fastnn.targets.engine import Progress
    from fastnn.targets.numpy.epoch import Engine
    from fastnn.targets.numpy.passes import Batch


def part_gradients(
    engine: Engine, batch: Batch, epoch: int, index: int, rate: float
) -> tuple[float, Parameters]:
    """Return the loss and the gradients of this process's rows of a step; of none, the penalty's.

    Dropout and drawn slopes are those of the rows' places in the whole batch; `rate` is that of the
    step.
    """
    problem, shares, parameters = engine.problem, engine.shares, engine.snapshot()[0]
    assert shares is not None
    here, in_all = int(shares.counts[index]), int(shares.in_all[index])
    if not here:
        penalties = [problem.l2_of_step(layer, rate) for layer in range(len(parameters))]
        layers = zip(problem.network.parameters, parameters, penalties, strict=True)
        return 0.0, [
            tuple(
                w * w.dtype.type(l2 * known.penalised) for known, w in zip(each, own, strict=True)
            )
            for each, own, l2 in layers
        ]
    first = int(shares.places[index]) - index * problem.batch_size
    masks, slopes = (
        [None if each is None else each[first : first + here] for each in draw]
        for draw in (
            dropout_masks(problem, in_all, epoch, index),
            drawn_slopes(problem, in_all, epoch, index),
        )
    )
    found = forward(problem, parameters, batch.X, masks, slopes, training=True)
    return backward(problem, parameters, found, batch, masks, rate)


def summed(
    engine: Engine, loss: float, gradients: Parameters, index: int
) -> tuple[float, Parameters]:
    """Return the loss, NaN where that of another process is not finite, and gradients of all."""
    group, shares = engine.group, engine.shares
    assert group is not None and shares is not None
    arrays = [array for layer in gradients for array in layer]
    share = float(shares.counts[index] / shares.in_all[index])
    flat = np.concatenate([*(each.ravel() for each in arrays), np.zeros(2)], dtype=arrays[0].dtype)
    flat *= flat.dtype.type(share)
    flat[-2] = not math.isfinite(loss)
    if group.add_up(flat) != GO_ON:
        return (math.nan if math.isfinite(loss) else loss), gradients
    ends = np.cumsum([each.size for each in arrays])
    parts = iter(np.split(flat[:-2], ends[:-1]))
    return loss, [tuple(next(parts).reshape(g.shape) for g in layer) for layer in gradients]


def train_together(
    engine: Engine,
    data: Data,
    order: np.ndarray,
    rates: np.ndarray,
    epoch: int,
    step: int,
    progress: Progress | None,
) -> EpochResult:
    """Train one epoch, as all processes of the group do; what it comes to is that of all rows."""
    group, shares = engine.group, engine.shares
    assert group is not None and shares is not None
    order = shares.spread(order)
    if group.every:
        return train_apart(engine, data, order, rates, epoch, step, progress)
    sums = [0.0, 0.0]

    def look(done: int, loss: float, weight: float) -> None:
        sums[:] = loss, weight

    flat = engine.flat((engine.snapshot()[0], []))
    group.exchange(sums=len(rates), like=[np.zeros(len(flat) + 2, flat.dtype)])
    result = engine.train_epoch_in_parts(
        data, order, rates, epoch, step, [len(rates)], look, progress
    )
    if result.bad_step is not None:
        sums[:] = result.loss, 1.0
    return EpochResult(mean_loss(group, *sums), result.bad_step)
