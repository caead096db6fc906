"""Losses: of a row, of a batch, and their gradients.

Outputs are (m, outputs), float32 or float64. Targets are (m, outputs) of the outputs' dtype; for
softmax_cross_entropy they may be int64 (m,) class indices.
Sources are named in `fastnn.rules.table.LOSSES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.rules.losses import STEEPEST
from fastnn.rules.table import loss_row
from fastnn.targets.numpy import special

if TYPE_CHECKING:
    from fastnn.inputs.problem import Problem

FEW = 32  # columns that are compared one after another in less time than along rows

Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Loss:
    """One loss l_r of a row r.

    Attributes
    ----------
    row_loss
        (outputs, targets) -> l (m,) float64.
    output_gradient
        (outputs, targets) -> dl_r / d outputs (m, outputs), dtype of the outputs.
    value, gradient
        (p, y) -> the loss of each output alone and its derivative by p; None where a loss depends
        on the whole row.
    """

    row_loss: Rule
    output_gradient: Rule
    value: Rule | None = None
    gradient: Rule | None = None


def _elementwise(value: Rule, gradient: Rule) -> Loss:
    """Return the loss that is the mean over a row's outputs of value(p, y)."""
    return Loss(
        lambda outputs, targets: value(outputs, targets).mean(axis=1, dtype=np.float64),
        lambda outputs, targets: gradient(outputs, targets) / outputs.shape[1],
        value,
        gradient,
    )


def _cross_entropy(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return log sum_j exp(z_j) - z_y of each row."""
    # The bits of scipy.special.log_softmax, of which one number a row is wanted, in a third of its
    # time: validation does this after every epoch.
    if outputs.shape[1] > FEW:
        top = outputs.max(axis=1)
    else:
        top = reduce(np.maximum, outputs.T)
    finite = np.isfinite(top)
    if not finite.all():
        top = np.where(finite, top, top.dtype.type(0))
    z = outputs - top[:, None]
    rows = np.arange(len(outputs))
    with np.errstate(divide="ignore"):
        found = z[rows, targets] - np.log(np.exp(z).sum(axis=1))
    return -found.astype(np.float64)


def _cross_entropy_gradient(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return softmax(z) - onehot(y)."""
    gradient = special.softmax(outputs, axis=1)
    gradient[np.arange(len(outputs)), targets] -= 1
    return gradient


def _soft_cross_entropy(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return -sum_k t_k log softmax(z)_k of each row."""
    # What has no probability counts 0, however unlikely the network thinks it.
    logs = np.where(targets > 0, special.log_softmax(outputs, axis=1), 0)
    return -(targets * logs).sum(axis=1, dtype=np.float64)


def _soft_cross_entropy_gradient(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return softmax(z) sum_k t_k - t."""
    return special.softmax(outputs, axis=1) * targets.sum(axis=1, keepdims=True) - targets


def _smoothed(outputs: np.ndarray, targets: np.ndarray, smoothing: float) -> np.ndarray:
    """Return soft labels (m, K) in place of labels or soft labels, smoothed."""
    classes = outputs.shape[1]
    if targets.ndim == 1:
        targets = np.eye(classes, dtype=outputs.dtype)[targets]
    return ((1 - smoothing) * targets + smoothing / classes).astype(outputs.dtype, copy=False)


def _softmax_cross_entropy(smoothing: float) -> Loss:
    """Return the cross-entropy with labels or soft labels, smoothed."""

    def row_loss(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        if targets.ndim == 1 and not smoothing:
            return _cross_entropy(outputs, targets)
        return _soft_cross_entropy(outputs, _smoothed(outputs, targets, smoothing))

    def output_gradient(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        if targets.ndim == 1 and not smoothing:
            return _cross_entropy_gradient(outputs, targets)
        return _soft_cross_entropy_gradient(outputs, _smoothed(outputs, targets, smoothing))

    return Loss(row_loss, output_gradient)


def _quantile(q: float) -> Loss:
    """Return the quantile loss; its gradient at p = y is 0."""
    return _elementwise(
        lambda p, y: np.maximum(q * (y - p), (1 - q) * (p - y)),
        lambda p, y: (1 - q) * (p > y).astype(p.dtype) - q * (p < y).astype(p.dtype),
    )


def _log_loss(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return log(1 + exp(z)) - y z; the first two terms are exact for labels 0 and 1."""
    return np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z)))


def _huber(delta: float) -> Loss:
    """Return e^2 / 2 where |e| <= delta, delta (|e| - delta / 2) beyond; e = p - y."""

    def value(p: np.ndarray, y: np.ndarray) -> np.ndarray:
        error = np.abs(p - y)
        inner = np.minimum(error, delta)
        return inner * (error - inner / 2)

    return _elementwise(value, lambda p, y: np.clip(p - y, -delta, delta))


def _beyond(p: np.ndarray, y: np.ndarray, epsilon: float) -> np.ndarray:
    """Return the part of p - y that is beyond epsilon, with its sign."""
    return np.sign(p - y) * np.maximum(np.abs(p - y) - epsilon, 0)


def _epsilon_insensitive(epsilon: float) -> Loss:
    """Return max(0, |p - y| - epsilon)."""
    return _elementwise(
        lambda p, y: np.abs(_beyond(p, y, epsilon)),
        lambda p, y: np.sign(_beyond(p, y, epsilon)),
    )


def _squared_epsilon_insensitive(epsilon: float) -> Loss:
    """Return max(0, |p - y| - epsilon)^2."""
    return _elementwise(
        lambda p, y: np.square(_beyond(p, y, epsilon)),
        lambda p, y: np.clip(2 * _beyond(p, y, epsilon), -STEEPEST, STEEPEST),
    )


def _at_margin(margin: float) -> Loss:
    """Return max(0, margin - s p) with s = 2 y - 1; its gradient where s p = margin is -s."""
    return _elementwise(
        lambda p, y: np.maximum(0, margin - (2 * y - 1) * p),
        lambda p, y: (1 - 2 * y) * ((2 * y - 1) * p <= margin),
    )


def _margin(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how far p falls short of 1 on the side of its label: max(0, 1 - (2y - 1) p)."""
    return np.maximum(0, 1 - (2 * y - 1) * p)


def _modified_huber(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the square of that, but -4 s p where it is above 2; s = 2y - 1."""
    short = _margin(p, y)
    return np.square(np.minimum(short, 2)) + 4 * np.maximum(short - 2, 0)


def _step(p: np.ndarray) -> np.ndarray:
    """Return 1 where p >= 0, otherwise 0."""
    return (p >= 0).astype(p.dtype)


LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": _softmax_cross_entropy(0.0),
    "binary_cross_entropy": _elementwise(
        _log_loss,
        lambda z, y: special.expit(z) - y,
    ),
    "mse": _elementwise(
        lambda p, y: np.square(p - y) / 2,
        lambda p, y: p - y,
    ),
    "mae": _elementwise(
        lambda p, y: np.abs(p - y),
        lambda p, y: np.sign(p - y),
    ),
    "huber": _huber(1.0),
    "poisson": _elementwise(
        lambda z, y: np.exp(z) - y * z,
        lambda z, y: np.exp(z) - y,
    ),
    "quantile": _quantile(0.5),
    "perceptron": _elementwise(
        lambda p, y: (_step(p) - y) * p,
        lambda p, y: _step(p) - y,
    ),
    "hinge": _elementwise(
        _margin,
        lambda p, y: (1 - 2 * y) * np.sign(_margin(p, y)),
    ),
    "squared_hinge": _elementwise(
        lambda p, y: np.square(_margin(p, y)),
        lambda p, y: (1 - 2 * y) * np.minimum(2 * _margin(p, y), STEEPEST),
    ),
    "margin": _at_margin(1.0),
    "modified_huber": _elementwise(
        _modified_huber,
        lambda p, y: 2 * (1 - 2 * y) * np.minimum(_margin(p, y), 2),
    ),
    "epsilon_insensitive": _epsilon_insensitive(0.1),
    "squared_epsilon_insensitive": _squared_epsilon_insensitive(0.1),
}


# Of those that have a parameter: what makes them of it.
_PARAMETRIC: dict[str, Callable[[float], Loss]] = {
    "softmax_cross_entropy": _softmax_cross_entropy,
    "quantile": _quantile,
    "huber": _huber,
    "margin": _at_margin,
    "epsilon_insensitive": _epsilon_insensitive,
    "squared_epsilon_insensitive": _squared_epsilon_insensitive,
}


def definition_of(problem: Problem) -> Loss:
    """Return the loss of a problem; a user-defined one is what NumPy makes of its formula."""
    loss: Any = problem.loss
    name = loss_row(loss).name
    if name in _PARAMETRIC:
        return _PARAMETRIC[name](problem.loss_alpha)
    if name in LOSSES:
        return LOSSES[name]
    if loss.row.rowwise:
        return Loss(
            lambda outputs, targets: loss.evaluate(outputs, targets).astype(np.float64),
            loss.gradient,
        )
    return _elementwise(loss.evaluate, loss.gradient)


def row_weights(rows: int, weights: np.ndarray | None) -> np.ndarray:
    """Return the share w / sum w of each row or target of a batch, float64; 0 where sum w is 0.

    That is (rows,), or of the shape of the weights.
    """
    if weights is None:
        return np.full(rows, 1 / rows)
    total = weights.sum()
    return weights / total if total else np.zeros(weights.shape)


def output_gradients(
    problem: Problem,
    outputs: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None,
    mean_weight: float | None = None,
) -> np.ndarray:
    """Return the gradient of a batch by its outputs, (m, outputs), of their dtype.

    w_r dl_r / (m w), or of weights of targets w_rj dl_rj / (m outputs w): unbiased, see
    `fastnn.inputs.problem.Problem`. Where a weight is 0 it is 0, whatever the loss is there.

    Parameters
    ----------
    problem, outputs, targets, weights
        As for `loss_of`.
    mean_weight
        w, of all the data; None: that of this batch. Where it is 0, so is the gradient.
    """
    gradient = definition_of(problem).output_gradient(outputs, targets)
    rows, real = len(outputs), outputs.dtype.type
    if weights is None:
        return gradient * real(1 / rows)
    mean = float(weights.mean()) if mean_weight is None else mean_weight
    share = (weights * (1 / (rows * mean) if mean else 0.0)).astype(real).reshape(rows, -1)
    return np.where(share != 0, gradient * share, real(0))


@np.errstate(all="ignore")
def row_losses(problem: Problem, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the loss l_r of each row, float64 (m,); NaN or infinite where an output overflowed."""
    return definition_of(problem).row_loss(outputs, targets)


@np.errstate(all="ignore")
def loss_of(
    problem: Problem, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None
) -> float:
    """Return the data loss of a batch, sum_r w_r l_r / sum_r w_r, without penalty.

    Parameters
    ----------
    problem
        Gives the loss.
    outputs
        (m, outputs): the last layer after its activation.
    targets, weights
        As in `fastnn.inputs.data.Data`. With weights of targets, float64 (m, outputs), the loss is
        sum_rj w_rj l_rj / sum_rj w_rj. What has weight 0 does not count, whatever it is.

    Returns
    -------
    float
        0 where the weights sum to 0; NaN or infinite where an output overflowed.
    """
    definition = definition_of(problem)
    share = row_weights(len(outputs), weights)
    if weights is None:
        return float(share @ definition.row_loss(outputs, targets))
    rule = definition.row_loss
    if weights.ndim == 2:
        assert definition.value is not None, "a loss of the whole row has no weights of targets"
        rule = definition.value
    return float(np.vdot(share, np.where(weights > 0, rule(outputs, targets), 0.0)))
