"""How sure classifiers are: outputs are divided by what makes the log loss of other rows least.

A network that is trained on tells classes apart better and better, though it becomes too sure of
them, for which its log loss rises. Both are parted here: epochs are compared by the log loss that
is left where outputs are divided by the best temperature, and what is kept is divided by it (Guo et
al. 2017, "On calibration of modern neural networks"; Berta, Holzmueller, Jordan & Bach 2025,
"Rethinking early stopping: refine, then calibrate").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from fastnn.training.ensemble import Ensemble
from fastnn.training.snapshot import Snapshot

_SPREAD = 0.3  # deviation of log T beforehand, without which few rows, all right, would have T = 0
_STEPS = 20  # of Newton's method, which takes three to six
_FARTHEST = 1.0  # that a step changes log T
_CLOSE = 0.03  # a step so small that the loss after it is known without another look
_LARGEST = np.float32(1e15)  # output, whose square is a float32, too
_LEAST = float(np.finfo(np.float32).tiny)  # probability, for its logarithm


class Calibrated(NamedTuple):
    """A temperature T, and the log loss of outputs that are divided by it."""

    temperature: float
    loss: float


def calibrated(
    outputs: np.ndarray, places: np.ndarray, weights: np.ndarray | None = None
) -> Calibrated:
    """Return the temperature that outputs should be divided by, and their log loss after that.

    T is most probable of n rows, where log T is normal with the deviation 0.3 beforehand:

    n loss(T) + (log T / 0.3)^2 / 2 is least,
    loss(T) = sum_r w_r (log sum_k exp(z_rk / T) - z_ry / T) / sum_r w_r

    >>> wrong_by_turns = np.array([[6.0, 0.0], [0.0, 6.0]] * 50), np.array([0, 1, 1, 1] * 25)
    >>> made = calibrated(*wrong_by_turns)
    >>> round(made.temperature, 1), round(made.loss, 2)
    (3.6, 0.59)

    Parameters
    ----------
    outputs
        (n, classes) that stand for logarithms of probabilities; of two classes also (n,) or (n, 1),
        the second's against the first's.
    places
        Which class is true, (n,).
    weights
        (n,); None: all the same.
    """
    excess = _excess(outputs, places)
    share = shares(weights, len(excess))
    prior = 1.0 / (_SPREAD**2 * len(excess))
    log = 0.0  # of 1 / T
    for _ in range(_STEPS):
        inverse = np.exp(log)
        loss, slope, bend = _at(inverse, excess, share)
        step = -(inverse * slope + prior * log) / (inverse**2 * bend + prior)
        step = float(np.clip(step, -_FARTHEST, _FARTHEST))
        log += step
        if abs(step) < _CLOSE:
            loss += inverse * step * (slope + inverse * step * bend / 2)
            break
    return Calibrated(float(np.exp(-log)), float(loss))


def shares(weights: np.ndarray | None, rows: int) -> np.ndarray:
    """Return what each of so many rows counts, of sum 1."""
    found = np.ones(rows) if weights is None else np.asarray(weights, np.float64)
    return found / found.sum()


def _excess(outputs: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return by how much each output exceeds that of the true class, float32 (n, classes)."""
    outputs = np.asarray(outputs, np.float32).reshape(len(outputs), -1)
    outputs = np.clip(outputs, -_LARGEST, _LARGEST)
    places = np.asarray(places).reshape(-1).astype(np.int64)
    if outputs.shape[1] == 1:
        outputs = np.hstack([np.zeros_like(outputs), outputs])
    return outputs - outputs[np.arange(len(places)), places][:, None]


def _at(inverse: float, excess: np.ndarray, share: np.ndarray) -> tuple[float, float, float]:
    """Return the loss at 1 / T, and its first two derivatives by that."""
    probable = np.float32(inverse) * excess
    most = probable.max(axis=1)
    probable -= most[:, None]
    np.exp(probable, out=probable)
    total = probable.sum(axis=1)
    mean = np.einsum("rk,rk->r", probable, excess) / total
    probable *= excess
    square = np.einsum("rk,rk->r", probable, excess) / total
    losses = np.log(total) + most
    return float(share @ losses), float(share @ mean), float(share @ (square - mean * mean))


def divided(snapshot: Snapshot, temperature: float) -> Snapshot:
    """Return a snapshot whose outputs are those of another one divided by a temperature."""
    *others, last = snapshot.parameters
    outputs = snapshot.outputs
    return Snapshot(
        snapshot.problem,
        snapshot.target,
        [*others, tuple((array / temperature).astype(array.dtype) for array in last)],
        snapshot.view,
        snapshot.feature_names,
        snapshot.epoch,
        snapshot.score,
        None if outputs is None else (outputs / temperature).astype(outputs.dtype),
    )


def cooled(snapshot: Snapshot, places: np.ndarray, weights: np.ndarray | None = None) -> Snapshot:
    """Return a snapshot divided by the best temperature for the rows that its outputs are of."""
    return divided(snapshot, calibrated(_outputs_of(snapshot), places, weights).temperature)


def _outputs_of(snapshot: Snapshot) -> np.ndarray:
    assert snapshot.outputs is not None, "snapshots of a population have them"
    return snapshot.outputs


def sharpened(
    ensemble: Ensemble,
    candidates: Iterable[Snapshot],
    places: np.ndarray,
    weights: np.ndarray | None = None,
) -> Ensemble:
    """Return an ensemble with its members divided by one more temperature, the best for the mean.

    The mean of members that are each as sure as they should be is not sure enough.

    Parameters
    ----------
    candidates
        Those among which it was chosen, whose outputs are of the rows of the next two.
    places, weights
        As for `calibrated`.
    """
    outputs = {(each.problem.seed, each.epoch): _outputs_of(each) for each in candidates}
    excesses = [
        _excess(outputs[each.problem.seed, each.epoch], places) for each in ensemble.members
    ]
    share = shares(weights, len(places))
    prior = 1.0 / (_SPREAD**2 * len(places))

    def loss(log: float) -> float:
        true = np.zeros(len(places))
        for weight, excess in zip(ensemble.weights, excesses, strict=True):
            with np.errstate(over="ignore"):  # of 1 / infinity, which is 0
                true += weight / np.exp(np.float32(np.exp(-log)) * excess).sum(axis=1)
        return float(share @ -np.log(np.maximum(true, _LEAST)) + prior * log * log / 2)

    found = minimize_scalar(loss, bounds=(-1.0, 1.0), method="bounded", options={"xatol": 1e-2})
    temperature = float(np.exp(found.x))
    return Ensemble([divided(each, temperature) for each in ensemble.members], ensemble.weights)
