"""The perceptron: scikit-learn's class, on the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.linear_model import Perceptron as Theirs

from fastnn.arguments import explained
from fastnn.estimators.base import keep
from fastnn.estimators.conversion import from_theirs, to_theirs
from fastnn.estimators.linear import Penalty
from fastnn.estimators.linear_classifier import LinearClassifier
from fastnn.inputs.problem import Dtype
from fastnn.optimizers import Optimizer
from fastnn.targets.selection import Target
from fastnn.training.callbacks import Callback


@explained
class Perceptron(LinearClassifier):
    """A linear classifier that learns from its mistakes: scikit-learn's class, and more.

    coef += eta0 y_r x_r  wherever y_r (x_r . coef + intercept) <= 0, for y of -1 and 1. It is
    `SGDClassifier` with loss="perceptron" and learning_rate="constant", and with other defaults;
    all else is said there.

    >>> from fastnn import Perceptron
    >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [False, False, False, True]
    >>> Perceptron(target="numpy", tol=None, max_iter=20).fit(X, y).predict(X)
    array([False, False, False,  True])

    References
    ----------
    Rosenblatt 1958, The Perceptron: A Probabilistic Model for Information Storage and Organization
    in the Brain.
    """

    # What there is no parameter for.
    loss = "perceptron"
    learning_rate = "constant"
    epsilon = 0.1
    power_t = 0.5
    average = False

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        name: value
        for name, value in LinearClassifier._parameter_constraints.items()
        if name not in ("loss", "learning_rate", "epsilon", "power_t", "average")
    }

    def __init__(
        self,
        *,
        penalty: Penalty | None = None,
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool | int = True,
        verbose: int = 0,
        eta0: float = 1.0,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Literal["balanced"] | dict[Any, float] | None = None,
        warm_start: bool = False,
        batch_size: int = 1,
        optimizer: Optimizer | None = None,
        schedule: Callable[[int], float] | None = None,
        scoring: str | Callable[..., Any] | None = None,
        standardize: bool = False,
        n_restarts: int = 1,
        callbacks: Callback | Sequence[Callback] | None = None,
        target: Target = "cpu",
        dtype: Dtype | None = None,
    ) -> None:
        keep(self, locals())

    @classmethod
    def from_sklearn(cls, fitted: Any) -> Perceptron:
        """Return the estimator with the parameters and the weights of a fitted scikit-learn one."""
        return from_theirs(cls, fitted, Theirs)

    def to_sklearn(self) -> Theirs:
        """Return scikit-learn's estimator with the same weights, which predicts the same."""
        return to_theirs(self, Theirs)
