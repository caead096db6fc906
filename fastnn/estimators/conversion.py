"""Fitted models from scikit-learn, and to it: the networks, then the linear models."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from fastnn.errors import InvalidInput
from fastnn.estimators.base import seeds_of
from fastnn.estimators.labels import Labels

if TYPE_CHECKING:
    from fastnn.estimators.mlp_base import MultilayerPerceptron
    from fastnn.inputs.parameters import Parameters
    from fastnn.training.trainer import Trainer

# What a fit by minibatches leaves in both, and one by L-BFGS leaves out.
_NOTED = (
    "loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_", "n_iter_",
    "t_", "n_features_in_", "feature_names_in_", "_no_improvement_count",
)  # fmt: skip
_ACTIVATIONS = {"identity", "logistic", "tanh", "relu"}


def take_over(estimator: Any, fitted: Any) -> None:
    """Have `estimator`, of the same parameters, predict as scikit-learn's `fitted` does.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        It has not been fitted.
    """
    check_is_fitted(fitted)
    coefs = [np.array(W) for W in fitted.coefs_]
    binarizer = getattr(fitted, "_label_binarizer", None)
    if binarizer is not None:
        kind = binarizer.y_type_ if fitted.out_activation_ == "softmax" else "binary"
        if binarizer.y_type_.startswith("multilabel"):
            kind = "multilabel"
        estimator._labels = Labels(fitted.classes_, kind, bool(binarizer.sparse_input_))
        estimator.classes_ = fitted.classes_
    for name in _NOTED:
        if hasattr(fitted, name):
            setattr(estimator, name, copy.copy(getattr(fitted, name)))  # lists, which fits extend
    defaults = {"t_": 0, "loss_curve_": [], "_no_improvement_count": 0}
    for name, value in {**defaults, **dict.fromkeys(_NOTED[2:5])}.items():
        if not hasattr(estimator, name):
            setattr(estimator, name, value)
    arrays: Parameters = [(W, np.array(b)) for W, b in zip(coefs, fitted.intercepts_, strict=True)]
    estimator._begin_with(arrays)


def fitted_sklearn(estimator: MultilayerPerceptron, kind: type[Any]) -> Any:
    """Return scikit-learn's estimator of class `kind` that predicts as this fitted one does.

    Raises
    ------
    InvalidInput
        Something that scikit-learn's has not: another activation, one of its own for each layer, or
        another loss.
    """
    check_is_fitted(estimator)
    problem = estimator._trainer.problem
    hidden = {
        "logistic" if a == "sigmoid" else a
        for a in (dense.activation for dense in problem.network.dense[:-1])
    }
    if len(hidden) > 1 or not hidden <= _ACTIVATIONS:
        raise InvalidInput(
            f"scikit-learn's {kind.__name__} has one activation for all hidden layers, of "
            f"{', '.join(sorted(_ACTIVATIONS))}, but this one has {estimator.activation!r:.80}"
        )
    regression = {"mse": "squared_error", "poisson": "poisson"}
    losses = ("softmax_cross_entropy", "binary_cross_entropy", *regression)
    if problem.loss not in losses:
        raise InvalidInput(
            f"scikit-learn's {kind.__name__} has no loss {problem.loss!r:.80}, by which it would "
            "predict; known to both: log_loss, squared_error and poisson"
        )
    parameters = estimator._folded()
    labels = getattr(estimator, "_labels", None)
    several = labels is not None and labels.kind == "multiclass"
    if several and problem.loss == "binary_cross_entropy":
        raise InvalidInput(
            "scikit-learn's MLPClassifier tells several classes apart by a softmax, not one by one "
            "as this one, of loss 'binary_cross_entropy'"
        )
    out = estimator.out_activation_
    if out == "softmax" and len(estimator.classes_) == 2:
        # A softmax of two outputs is the sigmoid of their difference.
        W, b = parameters[-1]
        parameters = [*parameters[:-1], (W[:, 1:] - W[:, :1], b[1:] - b[:1])]
        out = "logistic"
    names = kind._get_param_names()
    settings = {n: v for n, v in estimator.get_params(deep=False).items() if n in names}
    if "shuffle" in settings:
        settings["shuffle"] = bool(settings["shuffle"])  # it has no windows
    settings["activation"] = next(iter(hidden), "relu")
    if "loss" in names:
        settings["loss"] = regression[str(problem.loss)]
    found = kind(**settings)
    found.coefs_ = [W.copy() for W, _ in parameters]
    found.intercepts_ = [b.copy() for _, b in parameters]
    if estimator.early_stopping:  # what it goes on from where nothing gets better
        found._best_coefs = [W.copy() for W, _ in parameters]
        found._best_intercepts = [b.copy() for _, b in parameters]
    found.n_layers_, found.n_outputs_ = estimator.n_layers_, parameters[-1][1].size
    found.out_activation_ = out
    for name in _NOTED:
        if hasattr(estimator, name):
            value = getattr(estimator, name)
            setattr(found, name, list(value) if isinstance(value, list) else value)
    if labels is not None:
        found.classes_ = labels.classes
        found._label_binarizer = _binarizer(labels)
    return found


def _binarizer(labels: Labels) -> LabelBinarizer:
    """Return what scikit-learn's classifier decodes its outputs with."""
    found = LabelBinarizer()
    if labels.kind == "multilabel":
        found.fit(np.eye(len(labels.classes), dtype=int))
        found.sparse_input_ = labels.sparse
        return found
    return found.fit(labels.classes)


def from_theirs(cls: Any, fitted: Any, theirs: Any) -> Any:
    """Return an estimator with the parameters and the weights of a fitted one of scikit-learn.

    Raises
    ------
    InvalidInput
        Another class.
    NotFittedError
        It is not fitted.
    """
    if not isinstance(fitted, theirs):
        raise InvalidInput(
            f"from_sklearn takes a fitted {theirs.__name__} of scikit-learn's, not {fitted!r:.80}"
        )
    check_is_fitted(fitted)
    estimator: Any = cls(**fitted.get_params())
    for name in _FITTED:
        if hasattr(fitted, name):
            setattr(estimator, name, copy.deepcopy(getattr(fitted, name)))
    if estimator.average and getattr(fitted, "_standard_coef", None) is not None:
        layer = np.atleast_2d(fitted._standard_coef).T, np.ravel(fitted._standard_intercept)
        estimator._trainer = _averaging(estimator, layer)
    return estimator


def _averaging(estimator: Any, layer: tuple[np.ndarray, np.ndarray]) -> Trainer:
    """Return what goes on with W and b after the updates of an estimator, whose mean predicts."""
    (W, b), own = layer, estimator._columns()
    settings, factor = estimator._settings(
        len(W), 1.0, intercept_factor=estimator._intercept_factor(W, b)
    )
    seed = next(seeds_of(copy.deepcopy(estimator.random_state)))
    trainer: Trainer = estimator._new_trainer(
        [layer], seed, dtype=estimator._dtype_for(W), **settings
    )
    mean = tuple(each.astype(trainer.dtype, order="C") for each in own)
    step = int(estimator.t_) - 1
    trainer.__setstate__(replace(trainer.__getstate__(), slots=[[mean]], step=step))
    trainer.rate_factor = factor
    return trainer


def to_theirs(estimator: Any, theirs: Any) -> Any:
    """Return scikit-learn's estimator with the weights of a fitted one, and its parameters.

    Raises
    ------
    InvalidInput
        A loss that scikit-learn has not.
    NotFittedError
        It is not fitted.
    """
    check_is_fitted(estimator)
    found: Any = theirs()
    names = found.get_params()
    values = {name: value for name, value in estimator.get_params().items() if name in names}
    if "loss" in values:
        loss = values["loss"] = _THEIR_NAMES.get(values["loss"], values["loss"])
        if not isinstance(loss, str) or loss not in found.loss_functions:
            raise InvalidInput(
                f"loss={loss!r} is not one of scikit-learn's; set another one before, or use "
                "to_trainer()"
            )
    if "shuffle" in values:
        values["shuffle"] = bool(values["shuffle"])  # it has no windows
    found.set_params(**values)
    for name in _FITTED:
        if hasattr(estimator, name):
            setattr(found, name, copy.deepcopy(getattr(estimator, name)))
    if getattr(found, "average", False):
        _keep_means(estimator, found)
    return found


def _keep_means(estimator: Any, found: Any) -> None:
    """Give scikit-learn's estimator what it goes on from: the last weights beside their mean."""
    last = mean = estimator._columns()
    if estimator._trainer is not None:
        trainer = estimator._trainer_now()
        coef, intercept = estimator._outside(trainer.__getstate__().parameters)
        last = np.atleast_2d(coef).T, intercept
    if found.average > found.t_ - 1.0:  # before the first update that the mean is to be of
        mean = np.zeros_like(mean[0]), np.zeros_like(mean[1])
    for kind, (W, b) in (("standard", last), ("average", mean)):
        coef = W.ravel() if W.shape[1] == 1 else W.T
        setattr(found, f"_{kind}_coef", np.array(coef, found.coef_.dtype, order="C"))
        setattr(found, f"_{kind}_intercept", np.array(b, found.coef_.dtype))


_THEIR_NAMES = {"binary_cross_entropy": "log_loss", "mse": "squared_error"}
_FITTED = (
    "coef_", "intercept_", "classes_", "t_", "n_iter_", "n_features_in_", "feature_names_in_",
)  # fmt: skip
