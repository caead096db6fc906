"""What changes from step to step, worked out before training begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.inputs.problem import Problem
from fastnn.rules.updates import make_factors

if TYPE_CHECKING:
    from fastnn.ranks.shares import Shares

FACTORS = make_factors(np.sqrt, np.maximum)

# Columns of the table of steps, float64.
(
    RATE,
    DECAY,  # rate * decay: weights are multiplied by 1 less this
    C1,  # Adam's 1 - beta1^t; Nadam's factor of the gradient; the part of w in the mean of weights
    C2,  # sqrt(1 - beta2^t)
    C3,  # Nadam's factor of the mean gradient
    WEIGHT,  # sum of the weights of the rows of the batch, or what it is on average
    INVERSE,  # 1 / (rows of the batch * mean weight of all rows), or 0
    LOSS_ALPHA,  # the parameter of the loss, in every step the same
    STEP_FIELDS,
) = range(9)
# Two more columns where several processes share each batch.
FIRST, ROWS, SHARED_FIELDS = range(STEP_FIELDS, STEP_FIELDS + 3)


def step_table(
    problem: Problem,
    rule: str,
    rates: np.ndarray,
    first_step: int,
    n: int,
    mean: float = 1.0,
) -> np.ndarray:
    """Return what kernels need for each step of an epoch, float64 (steps, STEP_FIELDS).

    Parameters
    ----------
    problem, rule
        The optimizer's constants, and the rule in use.
    rates
        Learning rate of each step (steps,).
    first_step
        Updates done before the epoch.
    n, mean
        Rows of the epoch, and what one of them weighs on average.
    """
    steps = len(rates)
    table = np.zeros((steps, STEP_FIELDS))
    beta1, beta2, _, decay, hat = problem.optimizer.constants
    t = first_step + 1.0 + np.arange(steps)
    table[:, LOSS_ALPHA] = problem.loss_alpha
    table[:, RATE], table[:, DECAY] = rates, rates * decay
    factors = {each.rate_factor for each in problem.network.parametric}
    if problem.dtype.itemsize < 8 and factors == {1.0}:  # which kernels multiply them by
        table[:, DECAY] = FACTORS.lost(table[:, DECAY], t)
    if rule in ("adam", "adamw"):
        table[:, C1], table[:, C2] = FACTORS.adam(beta1, beta2, t, hat)
    elif rule == "nadam":
        done = FACTORS.product(beta1, first_step)
        product = done * np.cumprod(FACTORS.momentum(beta1, t))
        table[:, [C1, C2, C3]] = np.column_stack(FACTORS.nadam(beta1, beta2, t, product))
    elif rule == "averaged_sgd":
        table[:, C1] = FACTORS.share(problem.optimizer.ema, beta1, t)
    rows = np.minimum(n - np.arange(steps) * problem.batch_size, problem.batch_size)
    usual = table[:, WEIGHT] = rows * mean
    np.divide(1.0, usual, out=table[:, INVERSE], where=usual > 0)
    return table


def step_tables(
    problem: Problem, rule: str, rates: np.ndarray, first_step: int, n: int, mean: float
) -> list[np.ndarray]:
    """Return `step_table` of some epochs, whose rates are (epochs, steps)."""
    each = rates.shape[1]
    return [
        step_table(problem, rule, own, first_step + epoch * each, n, mean)
        for epoch, own in enumerate(rates)
    ]


def weigh_steps(
    table: np.ndarray, batch_size: int, order: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the table of an epoch with what the rows of each batch weigh, in their order."""
    starts = np.arange(len(table)) * batch_size
    table[:, WEIGHT] = np.add.reduceat(weights[order], starts)
    return table


def share_steps(
    table: np.ndarray, shares: Shares, order: np.ndarray, weights: np.ndarray | None, mean: float
) -> np.ndarray:
    """Return the table of steps whose batches several processes share.

    Parameters
    ----------
    table
        What `step_table` has for these steps, of which the weights are not those of a share.
    shares, order
        What this process takes of each step, and its rows of the epoch.
    weights, mean
        Weight of each of its rows, or None; and that of a row of all processes on average.
    """
    found = np.zeros((len(table), SHARED_FIELDS))
    found[:, :STEP_FIELDS] = table
    found[:, FIRST], found[:, ROWS] = shares.places, shares.counts
    found[:, WEIGHT] = shares.counts
    if weights is not None:
        sums = np.append(0.0, np.cumsum(weights[order]))
        found[:, WEIGHT] = sums[shares.starts + shares.counts] - sums[shares.starts]
    usual = shares.in_all * mean
    found[:, INVERSE] = np.divide(1.0, usual, out=np.zeros(len(table)), where=usual > 0)
    return found
