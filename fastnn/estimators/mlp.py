"""Multilayer perceptrons with the parameters and attributes of scikit-learn's, and more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target
from sklearn.utils.validation import check_is_fitted

from fastnn.errors import InvalidInput
from fastnn.estimators.base import Rows
from fastnn.estimators.labels import Labels
from fastnn.estimators.mlp_base import MultilayerPerceptron, Scalings, shown
from fastnn.estimators.scoring import accuracy, r2, scorer_of
from fastnn.estimators.weights import weights_of
from fastnn.layers import rule_of
from fastnn.losses import Quantile
from fastnn.rules.table import LOSSES, loss_row
from fastnn.training.trainer import Trainer

REGRESSIONS = {name for name, row in LOSSES.items() if row.targets in ("real", "counts")}
PROBABILISTIC = ("log_loss", "softmax_cross_entropy", "binary_cross_entropy")


def _keep(estimator: Any, parameters: dict[str, Any]) -> None:
    """Store constructor parameters as they are, which `clone` needs."""
    vars(estimator).update({k: v for k, v in parameters.items() if k not in ("self", "__class__")})


class MLPClassifier(ClassifierMixin, MultilayerPerceptron):
    """Classifier."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **MultilayerPerceptron._parameter_constraints,
        "loss": [StrOptions({"log_loss", *LOSSES}), Quantile, callable],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: Any = "log_loss",
        class_weight: Any = None,
        dropout: Any = 0.0,
        optimizer: Any = None,
        schedule: Any = None,
        scoring: Any = None,
        standardize: bool = False,
        n_restarts: int = 1,
        callbacks: Any = None,
        target: str = "cpu",
        dtype: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        _keep(self, locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Fit."""
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    @available_if(lambda each: each._check_goes_on())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Go on for one epoch over these rows."""
        if _check_partial_fit_first_call(self, classes):
            several = type_of_target(y).startswith("multilabel")
            self._labels = Labels.of(y if several else np.asarray(classes))
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Any:
        """Return labels."""
        check_is_fitted(self)
        return self._labels.decode(self._raw(self._check_X(X)), _threshold(self._trainer))

    def _check_probabilistic(self) -> bool:
        if self.loss not in PROBABILISTIC:
            raise AttributeError(
                f"predict_proba is not available with loss={self.loss!r}, whose outputs are no "
                "probabilities"
            )
        return True

    @available_if(lambda each: each._check_probabilistic())
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities."""
        check_is_fitted(self)
        raw = self._raw(self._check_X(X))
        if self.out_activation_ == "softmax":
            raw = np.exp(raw - raw.max(axis=1, keepdims=True))
            return raw / raw.sum(axis=1, keepdims=True)
        found = 1.0 / (1.0 + np.exp(-raw))
        if self.n_outputs_ == 1:
            return np.hstack([1 - found, found])
        if self._labels.kind == "multiclass":
            return found / found.sum(axis=1, keepdims=True)
        return found

    @available_if(lambda each: each._check_probabilistic())
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return logs of probabilities."""
        found = self.predict_proba(X)
        return np.log(found, out=found)

    def __sklearn_tags__(self) -> Any:
        """Say that there may be several labels a row."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _check_rows(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = self._check_X_y(X, y, reset=reset)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _take_classes(self, y: Any, incremental: bool) -> None:
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._labels = Labels.of(y)
            self.classes_ = self._labels.classes
        else:
            self._labels.check_again(y, self.warm_start)

    def _loss_and_outputs(self, y: Any) -> tuple[Any, int]:
        labels, loss = self._labels, self.loss
        if isinstance(loss, str) and loss == "log_loss":
            several = labels.kind == "multiclass"
            loss = "softmax_cross_entropy" if several else "binary_cross_entropy"
        classes = loss == "softmax_cross_entropy"
        if classes and labels.kind == "multilabel":
            raise InvalidInput(
                "loss 'softmax_cross_entropy' tells classes apart of which a row has one, but y "
                "has several labels a row; use loss='log_loss'"
            )
        outputs = max(2, len(labels.classes)) if classes else labels.outputs
        return rule_of("loss", loss, LOSSES, outputs), outputs

    def _encode(self, y: Any, loss: Any) -> np.ndarray:
        labels = self._labels
        if loss_row(loss).targets == "classes":
            return labels.places(y)
        return labels.indicator(y)

    def _weights(self, rows: Rows) -> np.ndarray | None:
        return weights_of(self.class_weight, self._labels, rows.y, rows.sample_weight)

    def _score_on(self, rows: Rows, scalings: Scalings) -> Callable[[Any], float]:
        if self.scoring is not None:
            return scorer_of(self, self.scoring, rows, lambda each: shown(each, scalings))
        X = rows.X if scalings[0] is None else scalings[0].apply(rows.X)
        labels = self._labels
        several = labels.kind == "multilabel"
        right = labels.indicator(rows.y) if several else labels.places(rows.y)
        return lambda trainer: accuracy(
            labels.found(trainer.forward(X), _threshold(trainer)) == right,
            rows.sample_weight,
        )

    def _stratifies(self) -> bool:
        return self._labels.kind != "multilabel"


def _threshold(trainer: Trainer) -> float:
    """Return above which output a label is there: half way between the targets, 0 in log odds."""
    return 0.5 if loss_row(trainer.loss).targets == "real" else 0.0


class MLPRegressor(RegressorMixin, MultilayerPerceptron):
    """Regressor."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **MultilayerPerceptron._parameter_constraints,
        "loss": [StrOptions({"squared_error", *REGRESSIONS}), Quantile, callable],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        optimizer: Any = None,
        schedule: Any = None,
        scoring: Any = None,
        standardize: bool = False,
        n_restarts: int = 1,
        callbacks: Any = None,
        target: str = "cpu",
        dtype: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        _keep(self, locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Fit."""
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    @available_if(lambda each: each._check_goes_on())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Go on for one epoch over these rows."""
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return predictions."""
        check_is_fitted(self)
        return self._numbers(self._raw(self._check_X(X)))

    _scales_targets = True

    def _numbers(self, raw: np.ndarray) -> np.ndarray:
        found = np.exp(raw) if self.out_activation_ == "exp" else raw
        return found[:, 0] if found.shape[1] == 1 else found

    def _check_rows(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = self._check_X_y(X, y, reset=reset, y_numeric=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _take_classes(self, y: Any, incremental: bool) -> None:
        pass

    def _loss_and_outputs(self, y: Any) -> tuple[Any, int]:
        outputs = 1 if y.ndim == 1 else y.shape[1]
        loss = "mse" if isinstance(self.loss, str) and self.loss == "squared_error" else self.loss
        return rule_of("loss", loss, LOSSES, outputs), outputs

    def _encode(self, y: Any, loss: Any) -> np.ndarray:
        found: np.ndarray = y.reshape(len(y), -1)
        return found

    def _weights(self, rows: Rows) -> np.ndarray | None:
        return rows.sample_weight

    def _score_on(self, rows: Rows, scalings: Scalings) -> Callable[[Any], float]:
        if self.scoring is not None:
            return scorer_of(self, self.scoring, rows, lambda each: shown(each, scalings))
        X = rows.X if scalings[0] is None else scalings[0].apply(rows.X)
        y = rows.y.reshape(len(rows), -1)

        def score(trainer: Any) -> float:
            raw = trainer.forward(X)
            raw = raw if scalings[1] is None else scalings[1].undo(raw)
            counts = loss_row(trainer.loss).targets == "counts"
            return r2(y, np.exp(raw) if counts else raw, rows.sample_weight)

        return score

    def _stratifies(self) -> bool:
        return False
