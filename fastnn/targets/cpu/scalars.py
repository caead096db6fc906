"""The numbers that change from step to step, and the optimizer's constants: float64, one array."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fastnn.inputs.problem import Problem

# Fields of `numbers`, float64: what changes from step to step, and the optimizer's constants.
(
    RATE,
    C1,  # 1 - beta1^t; Nadam's factor of the gradient
    C2,  # sqrt(1 - beta2^t); with Adam's epsilon_hat 1, and C1 divided by it
    C3,  # Nadam's factor of the mean gradient
    PRODUCT,  # Nadam's mu_1 ... mu_t
    SHARE,  # the part of w in the mean of the weights
    UPDATES_DONE,  # and with this one
    STEP_WEIGHT,  # sum of the weights of the rows of this batch
    MEAN_WEIGHT,  # of all rows
    INVERSE_WEIGHT,  # 1 / (rows of this batch * MEAN_WEIGHT), or 0
    LOSS_SUM,  # over the epoch so far: sum of weight * loss
    WEIGHT_SUM,  # and of weight
    BETA1,  # beta1, the momentum, or the first update whose weights count in their mean
    BETA2,
    EPSILON,
    DECAY,
    EPSILON_HAT,  # 1: Adam's epsilon is the one with a hat, which c1 and c2 see to; else 0
    EMA,  # decay of the mean of the weights, or 0
    CLIP_VALUE,  # largest size of a number of the gradient, or infinity
    CLIP_NORM,  # largest norm of the whole gradient
    CLIP_SCALE,  # what this step's gradient is multiplied by for that
    PENALTY,  # after the epoch: l1 sum |W|, which only `step.linear` adds, and l2/2 sum W^2
    SCALE,  # what the stored W of a first layer that reads sparse rows is to be multiplied by now,
    NEXT_SCALE,  # and after this step;
    RESCALE,  # what this step multiplies all that is stored by, where
    ALL_NOW,  # is 1: it brings all of W up to date
    OF_WEIGHTS,  # what is stored of W and of its mean, times these, is the mean of W: before
    OF_MEAN,
    NEXT_OF_WEIGHTS,  # and after this step
    NEXT_OF_MEAN,  # 0: what is stored of the mean is 0
    THROUGH,  # a change of W, times this, is taken from what is stored of its mean
    GOOD_NOW,  # sum of the thresholds so far, each divided by the scale after its step,
    NEXT_GOOD,  # and after this step; of CUT_MEAN where in `jumps` that is
    NUMBERS,
) = range(34)

# What each layer has in `numbers`, after those.
(
    L1,
    L2,
    STEP_L2,  # what L2 counts as in this step
    COLUMN_NORM,  # the largest norm of a column
    RATE_FACTOR,  # what the rate is multiplied by there,
    BIAS_FACTOR,  # and besides that of the bias
    LAYER_NUMBERS,
) = range(7)


def start_numbers(problem: Problem) -> np.ndarray:
    """Return `numbers` as an epoch begins: the constants of `problem`, and zeros."""
    numbers = [0.0] * NUMBERS
    numbers[MEAN_WEIGHT] = numbers[NEXT_SCALE] = numbers[NEXT_OF_MEAN] = 1.0
    numbers[BETA1 : EPSILON_HAT + 1] = problem.optimizer.constants
    numbers[EMA] = problem.optimizer.ema
    numbers[CLIP_VALUE] = _limit(problem.clip_value)
    numbers[CLIP_NORM] = _limit(problem.clip_norm)
    for (l1, l2), layer in zip(problem.penalties, problem.network.parametric, strict=True):
        limit = _limit(getattr(layer, "max_norm", None))
        numbers += l1, l2, l2, limit, layer.rate_factor, layer.bias_rate_factor
    return np.array(numbers)


def _limit(value: float | None) -> float:
    """Return a limit, infinite where there is none."""
    return math.inf if value is None else value
