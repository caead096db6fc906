"""How good a model is: the scores of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastnn.cli.model import Described

NAMES = {
    "accuracy": "accuracy",
    "auc": "AUC",
    "log_loss": "log loss",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R2",
}


def scores(
    model: Described, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, float]:
    """Return the scores of a model by its outputs and the targets.

    Weights (rows,), of which one is above 0, count as `sample_weight` of scikit-learn's metrics;
    None: rows count alike.

    Classes: "accuracy", of which rows of a class that the model does not know (target -1) are
    wrong; and of all others "auc", where each class is there, and "log_loss", where the network
    gives probabilities. Numbers: "rmse", "mae", and "r2" where the targets differ, in the units of
    the data.
    """
    if weights is not None:
        weights = weights / weights.max()
        there = weights >= np.finfo(np.float32).tiny  # others are nothing beside the largest
        outputs, targets, weights = outputs[there], targets[there], weights[there]
    if not model.label.classes:
        # Divided by a power of 2, which rounds nothing, so that no square over- or underflows.
        unit = int(np.frexp(np.abs(targets).max())[1])
        y = np.ldexp(targets, -unit)
        error = np.ldexp(model.numbers(outputs), -unit) - y
        squares = float(np.average(error**2, weights=weights))
        found = {
            "rmse": float(np.ldexp(np.sqrt(squares), unit)),
            "mae": float(np.ldexp(np.average(np.abs(error), weights=weights), unit)),
        }
        mean = np.average(y, weights=weights)
        spread = float(np.average((y - mean) ** 2, weights=weights))
        return found | ({"r2": 1 - squares / spread} if spread > 0 else {})
    right = model.places(outputs) == targets
    found = {"accuracy": float(np.average(right, weights=weights))}
    known = targets >= 0
    if not known.any():
        return found
    metrics: list[Any] = []
    if len(np.unique(targets[known])) == len(model.label.classes):
        metrics.append("auc")
    if not model.unlikely:
        metrics.append("log_loss")
    if metrics:
        some = None if weights is None else weights[known]
        values = model.measured(outputs[known], targets[known], metrics, some)
        found |= {name: values[name] for name in metrics}
    return found


def short(found: dict[str, float]) -> str:
    """Return scores in a line.

    >>> short({"accuracy": 0.85812, "log_loss": 0.25})
    'accuracy 0.8581, log loss 0.2500'
    """
    return ", ".join(f"{NAMES[name]} {value_text(name, value)}" for name, value in found.items())


def value_text(name: str, value: float) -> str:
    """Return a score as text: in four digits, or those that matter where it has a unit."""
    return f"{value:.5g}" if name in ("rmse", "mae") else f"{value:.4f}"


def confusion(model: Described, predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return how many rows of each class were predicted as each, (classes, classes), int64.

    Rows of a class that the model does not know are left out.
    """
    classes = len(model.label.classes)
    known = targets >= 0
    pairs = targets[known] * classes + predicted[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
