"""Multilayer perceptrons with the parameters and attributes of scikit-learn's, and more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.sparse import issparse
from scipy.special import expit, log_expit, softmax
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target

from fastnn.arguments import explained
from fastnn.errors import InvalidInput
from fastnn.estimators import description
from fastnn.estimators.attributes import shown
from fastnn.estimators.base import Rows, fitting, keep, refuse_negative_counts
from fastnn.estimators.description import ClassificationLoss, HiddenActivation, RegressionLoss
from fastnn.estimators.files import ScoredNumbers, opened
from fastnn.estimators.forward import SCALE_X, rates_of, shares_of
from fastnn.estimators.label_losses import threshold_before, threshold_of
from fastnn.estimators.labels import Labels, ScoredLabels, first_call, known_text
from fastnn.estimators.mlp_base import MultilayerPerceptron, Solver, SolverRate
from fastnn.estimators.restarts import Scalings
from fastnn.estimators.scoring import accuracy, r2, scorer_of
from fastnn.estimators.weights import refuse_balanced, weights_of
from fastnn.inputs.problem import Dtype, Precision
from fastnn.optimizers import Optimizer
from fastnn.rules.table import loss_row
from fastnn.targets.selection import Target
from fastnn.training.callbacks import Callback
from fastnn.training.metrics import MetricName
from fastnn.training.scores import refuse_overflow
from fastnn.training.trainer import Trainer

PROBABILISTIC = ("log_loss", "softmax_cross_entropy", "binary_cross_entropy")


@explained
class MLPClassifier(ScoredLabels, MultilayerPerceptron):
    """Tell classes apart by a network of hidden layers: scikit-learn's class, several times faster.

    Parameters, defaults, attributes, warnings and errors are those of
    `sklearn.neural_network.MLPClassifier`, and there is more: losses, optimizers and activations of
    fastnn, dropout, class weights, explicit validation data, targets. One output and a
    sigmoid tell two classes apart, and one for each label several labels a row; a softmax tells
    apart more than two classes.

    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> flowers = load_iris().target_names[y]
    >>> model = fastnn.MLPClassifier(
    ...     (16,), learning_rate_init=0.02, standardize=True, random_state=0, target="numpy"
    ... )
    >>> model.fit(X, flowers).predict(X[[0, 50, 100]])
    array(['setosa', 'versicolor', 'virginica'], dtype='<U10')
    >>> model.score(X, flowers) > 0.9
    True

    Parameters
    ----------
    hidden_layer_sizes
        Units of each hidden layer, such as (100,) or (64, 32); () for none.
    activation
        Of the hidden layers: "relu", "tanh", "logistic", "identity", any other name from
        `fastnn.rules.table.ACTIVATIONS`, or a function as for `fastnn.Dense`. A list has one for
        each layer.
    solver
        "adam" or "sgd". "lbfgs" is refused: that is no training by minibatches.
    alpha
        Strength of the penalty  alpha / (2 m) sum W^2,  m being the rows of a batch times the mean
        weight.
    batch_size
        Rows of a minibatch; "auto" is min(200, rows).
    learning_rate
        Of "sgd": "constant"; "invscaling", learning_rate_init / (t + 1)^power_t with t the rows
        seen before the epoch; or "adaptive", which divides by 5 where the fit would else stop.
    learning_rate_init, power_t
        As written.
    max_iter
        The most epochs.
    shuffle
        Whether each epoch goes through the rows in an order of its own.
        A number: so many are shuffled together, for files.
    random_state
        Decides initial weights and the rows that early stopping leaves out, both as
        scikit-learn's, and order and dropout, which are fastnn's own.
    tol, n_iter_no_change
        The fit stops after more than `n_iter_no_change` epochs in a row of which none made the loss
        smaller than the best minus `tol`; with `early_stopping`, the score larger than the best
        plus `tol`.
    verbose
        1 or True prints a line an epoch; 2 shows a progress bar, too, on a terminal.
    warm_start
        Whether `fit` goes on from the weights of the last one, with an optimizer at its start.
    momentum, nesterovs_momentum
        Of "sgd".
    early_stopping, validation_fraction
        Whether to leave out a share of the rows, or to take `X_val` of `fit`, to score on after
        each epoch; the weights are then those of the best score.
    beta_1, beta_2, epsilon
        Of "adam".
    max_fun
        Of "lbfgs": not used.
    loss
        "log_loss": "softmax_cross_entropy" for more than two classes, otherwise
        "binary_cross_entropy". Or another from `fastnn.rules.table.LOSSES`, a `fastnn.Huber` or its
        like, or a function or formula as for `fastnn.Trainer`: those of binary labels tell each
        class from the rest, and losses of numbers have 0 and 1 as targets. By a user-defined loss a
        label is there above 1/2 where it is least near the targets, else above 0 where it falls
        from there to smaller outputs for 0 and to larger ones for 1; other ones are refused.
    class_weight
        "balanced", rows / (classes rows_c) for a class of rows_c; or a dict of weights by class. Of
        several labels a row, "balanced" or a list with one dict {0: ..., 1: ...} a label. They
        multiply `sample_weight`, in `partial_fit` too, which refuses "balanced": a part of the rows
        does not tell how frequent classes are.
    dropout
        Rate for the outputs of the hidden layers; a list has one for each.
    optimizer
        Any of `fastnn.optimizers.OPTIMIZERS`, such as ``fastnn.AdamW(1e-3)``, instead of `solver`
        and all of its settings.
    schedule
        A schedule from `fastnn.schedules`, or a function of the step, in the place of the learning
        rate.
    scoring
        What early stopping goes by: the name of a scorer of scikit-learn's, or a function
        (estimator, X, y); larger is better. None: accuracy.
    standardize
        Whether columns of X are brought to mean 0 and variance 1 inside (sparse X only to
        variance 1). What `predict` takes and gives is in the caller's units; `coefs_` are those of
        the network inside, and `x_scaling_` what goes before it. A `partial_fit` or a
        `warm_start` goes on with those there are, and has to keep this setting.
    n_restarts
        How many networks to fit, each from other weights; those that diverge are left out. The best
        is kept: that of the least last loss, or with `early_stopping` of the best score.
    callbacks
        One or several for `fastnn.Trainer.fit`, called as ``callback(trainer, history)`` after each
        epoch; True ends the fit. `set_callbacks` takes scikit-learn's own, since 1.9.
    target
        "cpu", "cuda", "auto" or "numpy", as for `fastnn.Trainer`.
    dtype
        Of weights and arithmetic, float32 or float64; None: that of X, as scikit-learn.
    precision
        How products of matrices are computed, as for `fastnn.Trainer`: "bfloat16" from rounded
        factors, where the processor can, with dtype float32.
    n_jobs
        The most threads of a fit, -1 for all; None chooses, within what joblib and the environment
        grant.

    Attributes
    ----------
    classes_
        The labels, sorted.
    coefs_, intercepts_
        Weights (inputs, outputs) and biases of each layer. What is written there predicts, and
        `partial_fit` goes on from it; an optimizer that keeps a mean of weights starts anew then.
    loss_curve_, loss_, best_loss_
        Loss of each epoch, with the penalty; the last; the least, None with `early_stopping`.
    validation_scores_, best_validation_score_
        On the rows left out, after each epoch; None without.
    n_iter_, t_
        Epochs of this fit; rows seen in all.
    n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As scikit-learn's.
    x_scaling_
        The `fastnn.inputs.scaling.Scaling` of `standardize`, or None.

    Notes
    -----
    With the same settings the epochs are those of scikit-learn, to rounding, where ``shuffle`` is
    False: gradients, Adam's epsilon, the velocity when a rate changes, and the penalty are its own.
    A last short batch has the penalty of a whole one, and weights are divided by their mean over
    all rows, not over the batch.

    A fit that diverges raises ValueError, `fastnn.Diverged` too. skops keeps what pickle does:
    ``skops.io.load(file, trusted=skops.io.get_untrusted_types(file=file))``.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **MultilayerPerceptron._parameter_constraints,
        "loss": description.CLASSIFICATION_LOSSES,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }
    _threshold: float | np.ndarray | None = None  # above which a label is there; None: before 0.2

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] | np.ndarray = (100,),
        activation: HiddenActivation | Sequence[HiddenActivation] = "relu",
        *,
        solver: Solver = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: SolverRate = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool | int = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
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
        loss: ClassificationLoss = "log_loss",
        class_weight: Literal["balanced"] | dict[Any, float] | list[Any] | None = None,
        dropout: float | Sequence[float] = 0.0,
        optimizer: Optimizer | None = None,
        schedule: Callable[[int], float] | None = None,
        scoring: str | Callable[..., Any] | None = None,
        standardize: bool = False,
        n_restarts: int = 1,
        callbacks: Callback | Sequence[Callback] | None = None,
        target: Target = "cpu",
        dtype: Dtype | None = None,
        precision: Precision = "float32",
        n_jobs: int | None = None,
    ) -> None:
        keep(self, locals())

    @available_if(lambda each: each._check_goes_on())
    @fitting
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Go on for one epoch over these rows, wherever the optimizer is.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes
            All labels that there will be; needed by the first call, and by it alone.

        Returns
        -------
        estimator
            Itself.
        """
        refuse_balanced(self.class_weight)
        with self._draft(going_on=True) as fitted:
            y = known_text(opened(y, "y"))
            if first_call(fitted, classes):
                fitted._labels = Labels.of(fitted.classes_)
                if type_of_target(y).startswith("multilabel"):
                    fitted._labels = Labels(fitted.classes_, "multilabel", issparse(y))
            fitted._fit(X, y, sample_weight, incremental=True)
        return self

    @explained
    def predict(self, X: Any) -> Any:
        """Return the label of each row of X, as `fit` was given it: (m,), or (m, labels)."""
        raw = self._outputs_of(X)
        threshold = self._threshold
        if threshold is None:
            threshold = threshold_before(self._trainer.loss)
        return self._labels.decode(raw, threshold)

    def _check_probabilistic(self) -> bool:
        if self.loss not in PROBABILISTIC:
            raise AttributeError(
                f"predict_proba is not available with loss={self.loss!r}, whose outputs are no "
                "probabilities"
            )
        return True

    @available_if(lambda each: each._check_probabilistic())
    @explained
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities of `classes_`, (m, classes), or of each label, (m, labels).

        Where each class is told from the rest, they are brought to the sum 1. For losses of
        probabilities alone: "log_loss", "softmax_cross_entropy" and "binary_cross_entropy".
        """
        raw = self._outputs_of(X)
        if self.out_activation_ == "softmax":
            return shares_of(raw)
        if self.n_outputs_ > 1 and self._labels.kind == "multiclass":
            return np.asarray(softmax(log_expit(raw), axis=1))  # not 0 / 0 where all are small
        found = np.asarray(expit(raw))
        return np.hstack([1 - found, found]) if self.n_outputs_ == 1 else found

    @available_if(lambda each: each._check_probabilistic())
    @explained
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of `predict_proba`, -infinity where that is 0."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def __sklearn_tags__(self) -> Any:
        """Say that there may be several labels a row."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _check_rows(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = self._check_X_y(X, y, reset=reset, multi_output=True)
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
        loss = description.loss_of(loss, outputs)
        self._threshold = threshold_of(loss, labels.kind)
        return loss, outputs

    def _coded(self, y: Any) -> np.ndarray:
        return self._labels.coded(y)

    def _encode(self, coded: np.ndarray, loss: Any) -> np.ndarray:
        return coded if loss_row(loss).targets == "classes" else self._labels.indicator(coded)

    def _weights(self, coded: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        return weights_of(self.class_weight, self._labels, coded, sample_weight)

    def _metric(
        self, trainer: Trainer, y: np.ndarray, weights: np.ndarray | None
    ) -> tuple[MetricName, ...]:
        one = self._labels.kind != "multilabel" and len(self._labels.classes) > 1
        plain = one and loss_row(trainer.loss).name in PROBABILISTIC
        return ("accuracy",) if plain and self.scoring is None else ()

    def _score_on(self, rows: Rows, scalings: Scalings) -> Callable[[Any], float]:
        if self.scoring is not None:
            return scorer_of(self, self.scoring, rows, lambda each: shown(each, scalings))
        X = rows.X if scalings[0] is None else scalings[0].apply(rows.X)
        labels, threshold = self._labels, self._threshold
        assert threshold is not None  # which `_loss_and_outputs` has set
        right = labels.coded(rows.y)
        return lambda trainer: accuracy(
            labels.found(trainer.forward(X), threshold) == right, rows.sample_weight
        )

    def _stratifies(self) -> bool:
        return self._labels.kind == "binary"  # as scikit-learn, which means to for several classes


@explained
class MLPRegressor(ScoredNumbers, MultilayerPerceptron):
    """Predict numbers by a network of hidden layers: scikit-learn's class, several times faster.

    Parameters, defaults, attributes, warnings and errors are those of
    `sklearn.neural_network.MLPRegressor`, and there is more: losses, optimizers and activations of
    fastnn, dropout, validation data of the caller's, targets.

    >>> import fastnn
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = fastnn.MLPRegressor(
    ...     hidden_layer_sizes=(16,), standardize=True, max_iter=500, random_state=0, target="numpy"
    ... )
    >>> model.fit(X, y).score(X, y) > 0.5
    True
    >>> model.predict(X[:2]).shape
    (2,)

    Parameters
    ----------
    loss
        "squared_error", sum (y - p)^2 / 2; "poisson", of rates exp(z), for counts y of at least 0;
        another loss of numbers: "mae", "huber", "quantile", a `fastnn.Quantile` or its like, in
        units of y or, with `standardize`, of standardized y; or a function or formula as for
        `fastnn.Trainer`.
    hidden_layer_sizes
        Units of each hidden layer, such as (100,) or (64, 32); () for none.
    activation
        Of the hidden layers: "relu", "tanh", "logistic", "identity", any other name from
        `fastnn.rules.table.ACTIVATIONS`, or a function as for `fastnn.Dense`. A list has one for
        each layer.
    solver
        "adam" or "sgd". "lbfgs" is refused: that is no training by minibatches.
    alpha
        Strength of the penalty  alpha / (2 m) sum W^2,  m being the rows of a batch times the mean
        weight.
    batch_size
        Rows of a minibatch; "auto" is min(200, rows).
    learning_rate
        Of "sgd": "constant"; "invscaling", learning_rate_init / (t + 1)^power_t with t the rows
        seen before the epoch; or "adaptive", which divides by 5 where the fit would else stop.
    learning_rate_init, power_t
        As written.
    max_iter
        The most epochs.
    shuffle
        Whether each epoch goes through the rows in an order of its own.
        A number: so many are shuffled together, for files.
    random_state
        Decides initial weights and the rows that early stopping leaves out, both as
        scikit-learn's, and order and dropout, which are fastnn's own.
    tol, n_iter_no_change
        The fit stops after more than `n_iter_no_change` epochs in a row of which none made the loss
        smaller than the best minus `tol`; with `early_stopping`, the score larger than the best
        plus `tol`.
    verbose
        1 or True prints a line an epoch; 2 shows a progress bar, too, on a terminal.
    warm_start
        Whether `fit` goes on from the weights of the last one, with an optimizer at its start.
    momentum, nesterovs_momentum
        Of "sgd".
    early_stopping, validation_fraction
        Whether to leave out a share of the rows, or to take `X_val` of `fit`, to score on after
        each epoch; the weights are then those of the best score.
    beta_1, beta_2, epsilon
        Of "adam".
    max_fun
        Of "lbfgs": not used.
    dropout
        Rate for the outputs of the hidden layers; a list has one for each.
    optimizer
        Any of `fastnn.optimizers.OPTIMIZERS`, such as ``fastnn.AdamW(1e-3)``, instead of `solver`
        and all of its settings.
    schedule
        A schedule from `fastnn.schedules`, or a function of the step, in the place of the learning
        rate.
    scoring
        What early stopping goes by: the name of a scorer of scikit-learn's, or a function
        (estimator, X, y); larger is better. None: R^2.
    standardize
        Whether columns of X, and targets that are numbers, are brought to mean 0 and variance 1
        inside (sparse X only to variance 1). What `predict` takes and gives is in the caller's
        units, in float64 where targets are scaled; `coefs_` are those of the network inside,
        `x_scaling_` what goes before it, and `y_scaling_` what comes after it. The loss is of
        targets inside: delta of "huber", say, is in deviations of y.
        A `partial_fit` or a `warm_start` goes on with those there are, and has to keep this
        setting.
    n_restarts
        How many networks to fit, each from other weights; those that diverge are left out. The best
        is kept: that of the least last loss, or with `early_stopping` of the best score.
    callbacks
        One or several for `fastnn.Trainer.fit`, called as ``callback(trainer, history)`` after each
        epoch; True ends the fit. `set_callbacks` takes scikit-learn's own, since 1.9.
    target
        "cpu", "cuda", "auto" or "numpy", as for `fastnn.Trainer`.
    dtype
        Of weights and arithmetic, float32 or float64; None: that of X, as scikit-learn.
    precision
        How products of matrices are computed, as for `fastnn.Trainer`: "bfloat16" from rounded
        factors, where the processor can, with dtype float32.
    n_jobs
        The most threads of a fit, -1 for all; None chooses, within what joblib and the environment
        grant.

    Attributes
    ----------
    coefs_, intercepts_
        Weights (inputs, outputs) and biases of each layer. What is written there predicts, and
        `partial_fit` goes on from it; an optimizer that keeps a mean of weights starts anew then.
    loss_curve_, loss_, best_loss_
        Loss of each epoch, with the penalty; the last; the least, None with `early_stopping`.
    validation_scores_, best_validation_score_
        On the rows left out, after each epoch; None without.
    n_iter_, t_
        Epochs of this fit; rows seen in all.
    n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As scikit-learn's.
    x_scaling_, y_scaling_
        The `fastnn.inputs.scaling.Scaling` of `standardize`, or None.

    Notes
    -----
    With the same settings the epochs are those of scikit-learn, to rounding, where ``shuffle`` is
    False: gradients, Adam's epsilon, the velocity when a rate changes, and the penalty are its own.
    A last short batch has the penalty of a whole one, and weights are divided by their mean over
    all rows, not over the batch.

    A fit that diverges raises ValueError, `fastnn.Diverged` too. skops keeps what pickle does:
    ``skops.io.load(file, trusted=skops.io.get_untrusted_types(file=file))``.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **MultilayerPerceptron._parameter_constraints,
        "loss": description.REGRESSION_LOSSES,
    }

    def __init__(
        self,
        loss: RegressionLoss = "squared_error",
        hidden_layer_sizes: int | Sequence[int] | np.ndarray = (100,),
        activation: HiddenActivation | Sequence[HiddenActivation] = "relu",
        *,
        solver: Solver = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: SolverRate = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool | int = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
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
        dropout: float | Sequence[float] = 0.0,
        optimizer: Optimizer | None = None,
        schedule: Callable[[int], float] | None = None,
        scoring: str | Callable[..., Any] | None = None,
        standardize: bool = False,
        n_restarts: int = 1,
        callbacks: Callback | Sequence[Callback] | None = None,
        target: Target = "cpu",
        dtype: Dtype | None = None,
        precision: Precision = "float32",
        n_jobs: int | None = None,
    ) -> None:
        keep(self, locals())

    @available_if(lambda each: each._check_goes_on())
    @fitting
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Go on for one epoch over these rows, wherever the optimizer is.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        estimator
            Itself.
        """
        with self._draft(going_on=True) as fitted:
            fitted._fit(X, y, sample_weight, incremental=True)
        return self

    @explained
    def predict(self, X: Any) -> np.ndarray:
        """Return the prediction for each row of X, (m,) or (m, outputs)."""
        return self._numbers(self._outputs_of(X))

    _scales_targets = True

    def _numbers(self, raw: np.ndarray) -> np.ndarray:
        if self.out_activation_ == "exp":
            raw = refuse_overflow(rates_of(raw), remedy=SCALE_X)
        return raw[:, 0] if raw.shape[1] == 1 else raw

    def _check_rows(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = self._check_X_y(X, y, reset=reset, multi_output=True, y_numeric=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        refuse_negative_counts(self.loss, y)
        return X, y

    def _take_classes(self, y: Any, incremental: bool) -> None:
        pass

    def _loss_and_outputs(self, y: Any) -> tuple[Any, int]:
        outputs = 1 if y.ndim == 1 else y.shape[1]
        loss = "mse" if isinstance(self.loss, str) and self.loss == "squared_error" else self.loss
        return description.loss_of(loss, outputs), outputs

    def _coded(self, y: Any) -> np.ndarray:
        found: np.ndarray = y.reshape(len(y), -1)
        return found

    def _encode(self, coded: np.ndarray, loss: Any) -> np.ndarray:
        return coded

    def _weights(self, coded: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        return sample_weight

    def _metric(
        self, trainer: Trainer, y: np.ndarray, weights: np.ndarray | None
    ) -> tuple[MetricName, ...]:
        numbers = loss_row(trainer.loss).targets == "real"
        paired = trainer.problem.target_columns == trainer.network.outputs
        with np.errstate(over="ignore"):  # what does is refused as rows to score on
            y = y.astype(trainer.dtype)[slice(None) if weights is None else weights > 0]
        varied = len(y) > 0 and bool((y.min(axis=0) < y.max(axis=0)).all())
        return ("r2",) if self.scoring is None and numbers and paired and varied else ()

    def _score_on(self, rows: Rows, scalings: Scalings) -> Callable[[Any], float]:
        if self.scoring is not None:
            return scorer_of(self, self.scoring, rows, lambda each: shown(each, scalings))
        X = rows.X if scalings[0] is None else scalings[0].apply(rows.X)
        y = rows.y.reshape(len(rows), -1)

        def score(trainer: Any) -> float:
            raw = trainer.forward(X)
            raw = raw if scalings[1] is None else scalings[1].undo(raw, np.float64)
            counts = loss_row(trainer.loss).targets == "counts"
            return r2(y, rates_of(raw) if counts else raw, rows.sample_weight)

        return score

    def _stratifies(self) -> bool:
        return False
