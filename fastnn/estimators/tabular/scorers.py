"""What a scorer of scikit-learn's asks, and whether it is one for a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, top_k_accuracy_score

from fastnn.errors import InvalidInput

# Scorers that are offered in the place of another.
_USUAL = (
    "accuracy", "balanced_accuracy", "f1", "f1_macro", "roc_auc", "roc_auc_ovr", "neg_log_loss",
    "r2", "neg_root_mean_squared_error", "neg_mean_absolute_error",
)  # fmt: skip
_WRONG = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, Warning)


class AnsweringClassifier(ClassifierMixin, BaseEstimator):
    """Predicts what it was made with: what a scorer asks."""

    def __init__(self, classes: np.ndarray, mean: np.ndarray) -> None:
        self.classes_, self.mean = classes, mean

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable labels."""
        return self.classes_[most_of(self.mean)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities."""
        return shares_of(self.mean)


class AnsweringRegressor(RegressorMixin, BaseEstimator):
    """Predicts what it was made with: what a scorer asks."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = numbers

    def predict(self, X: Any) -> np.ndarray:
        """Return the numbers."""
        return self.numbers


def shares_of(mean: np.ndarray) -> np.ndarray:
    """Return probabilities of all classes, float64 of sum 1, where a mean may have one of two."""
    mean = mean.astype(np.float64)
    if mean.shape[1] == 1:
        return np.hstack([1.0 - mean, mean])
    return mean / mean.sum(axis=1, keepdims=True)


def most_of(mean: np.ndarray) -> np.ndarray:
    """Return the place of the most probable class of each row."""
    return shares_of(mean).argmax(axis=1)


def check_task(name: str, tasks: Sequence[np.ndarray | None], option: str) -> None:
    """Raise `InvalidInput` where a scorer is for none of some tasks, with those that are.

    Parameters
    ----------
    name
        Of a scorer of scikit-learn's.
    tasks
        The labels, sorted, that there may be; None for a regression.
    option
        What the name was given as.
    """
    if any(_suits(name, classes) for classes in tasks):
        return
    counts = [f"{len(classes)}" for classes in tasks if classes is not None]
    task = f"a label of {' or '.join(counts)} classes" if counts else "a regression"
    others = [each for each in _USUAL if any(_suits(each, classes) for classes in tasks)]
    raise InvalidInput(f"{option} {name} is not for {task}; choose one such as {', '.join(others)}")


def _suits(name: str, classes: np.ndarray | None) -> bool:
    """Return whether a scorer gives a number for a task; those of numbers do not suit classes."""
    try:
        function = get_scorer(name)._score_func
    except _WRONG:
        return False
    if function is top_k_accuracy_score and len(classes if classes is not None else ()) < 3:
        return False  # of the two most probable classes: of two any answer is right
    y = np.array([0.25, 1.5, 2.75, 4.0, 5.5, 7.0])
    # Those of clusters take numbers, with a warning that these are none.
    clusters = function.__module__.startswith("sklearn.metrics.cluster")
    numbers = not clusters and _scores(name, AnsweringRegressor(y + 0.125), y)
    if classes is None:
        return numbers
    # A third of the rows of each class is answered wrongly: ratios of right ones have no number.
    places = np.tile(np.arange(len(classes)), 3)
    answers = np.concatenate([places[: -len(classes)], np.roll(np.arange(len(classes)), 1)])
    mean = np.full((len(places), len(classes)), 0.5 / len(classes))
    mean[np.arange(len(places)), answers] += 0.5
    return not numbers and _scores(name, AnsweringClassifier(classes, mean), classes[places])


def _scores(name: str, answering: Any, y: np.ndarray) -> bool:
    """Return whether a scorer gives a number for some answers."""
    try:
        return bool(np.isfinite(get_scorer(name)(answering, np.zeros((len(y), 1)), y)))
    except _WRONG:
        return False
