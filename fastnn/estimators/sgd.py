"""Linear classifiers and regressors by stochastic gradient descent, on the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.linear_model import SGDClassifier as TheirClassifier
from sklearn.linear_model import SGDRegressor as TheirRegressor
from sklearn.model_selection import ShuffleSplit
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fastnn.arguments import explained
from fastnn.estimators.base import Rows, fitting, float_of, keep, refuse_negative_counts
from fastnn.estimators.conversion import from_theirs, to_theirs
from fastnn.estimators.files import ScoredNumbers
from fastnn.estimators.forward import rates_of, shares_of
from fastnn.estimators.linear import LinearModel, LinearRate, Penalty
from fastnn.estimators.linear_classifier import LinearClassifier
from fastnn.estimators.linear_losses import LOSSES, WITH_EPSILON, LinearLoss, losses_of
from fastnn.estimators.linear_outputs import refuse_overflow
from fastnn.estimators.linear_start import checked_start
from fastnn.estimators.scoring import r2
from fastnn.inputs.problem import Dtype
from fastnn.inputs.scaling import Scaling
from fastnn.optimizers import Optimizer
from fastnn.rules.table import loss_row
from fastnn.targets.selection import Target
from fastnn.training.callbacks import Callback

_PROBABILITIES = ("log_loss", "modified_huber", "binary_cross_entropy", "softmax_cross_entropy")


@explained
class SGDClassifier(LinearClassifier):
    """Linear classifiers by stochastic gradient descent: scikit-learn's class, and more.

    minimise  mean_r w_r l(x_r . coef + intercept, y_r) + alpha R(coef),
    R = l1_ratio sum|coef| + (1 - l1_ratio)/2 sum coef^2

    by steps on one row after another: coef *= 1 - eta alpha (1 - l1_ratio); coef -= eta w_r dl x_r;
    then a soft threshold by eta alpha l1_ratio. No step takes more than all of a weight away, and
    on sparse rows the intercept moves 100 times less. These are scikit-learn's steps but for l1,
    whose truncated gradient has the same optimum. Of more than two classes there is a model for
    each against the rest, which ends for itself, where its own objective makes no progress. They
    are trained side by side, on the same order of rows (where classes times the numbers that a row
    stores are fewer than 250,000). With `early_stopping` all end by the score of all.
    Passive-aggressive rates are refused.

    >>> import numpy as np
    >>> from fastnn import SGDClassifier
    >>> X = np.array([[-1.0, -1.0], [-2.0, -1.0], [1.0, 1.0], [2.0, 1.0]])
    >>> fitted = SGDClassifier("log_loss", random_state=0, target="numpy")
    >>> fitted.fit(X, ["left", "left", "right", "right"]).predict([[-0.8, -1.0]])
    array(['left'], dtype='<U5')

    Parameters
    ----------
    loss
        "hinge", a linear support vector machine; "log_loss", logistic regression; "modified_huber";
        "squared_hinge"; "perceptron"; "squared_error", "huber", "epsilon_insensitive",
        "squared_epsilon_insensitive" of labels -1 and 1, or a `Huber` or its like; or any loss of a
        `Trainer` but "poisson", such as "softmax_cross_entropy", which is one model of all classes.
        A function or formula has targets 0 and 1, so that a margin is (2 y - 1) z. Of two classes
        the second is there above 1/2 where the loss is least near the targets, else above 0 where
        it falls from there to smaller outputs for 0 and to larger ones for 1; other ones are
        refused.
    penalty, alpha, l1_ratio
        "l2", "l1", "elasticnet" or None, with its strength, and the share of l1 for "elasticnet".
    fit_intercept
        Whether there is an intercept; it has no penalty.
    max_iter, tol, n_iter_no_change
        The most epochs; and how many in a row whose objective > best - tol end a fit, None none.
        The objective has the mean of the penalty in the epoch.
    shuffle, random_state
        Whether each epoch has an order of its own, or a window as of `Trainer`; and its seed.
    verbose
        Whether to print scikit-learn's line after each epoch; 2: with a progress bar.
    epsilon
        Of "huber" and the insensitive losses, in the units of y.
    n_jobs
        The most threads, -1 for all; None chooses. Results are the same for any number.
    learning_rate, eta0, power_t
        eta of update t, from 1: "constant", eta0; "invscaling", eta0 / t^power_t; "optimal",
        1 / (alpha (t0 + t - 1)) with t0 = alpha^(-3/4) (Bottou 2012, section 5.2); "adaptive",
        eta0, divided by 5 where a fit would end, down to 1e-6.
    early_stopping, validation_fraction, scoring
        Whether a fit ends by the score of rows set aside (so large a share, stratified), or of
        X_val: score < best + tol, n_iter_no_change times. A scorer's name or a callable
        (estimator, X, y); None: accuracy, for a regressor R^2. Rows are scored with
        `early_stopping` or X_val alone.
    class_weight
        By class, or "balanced": n / (classes n_c). Of one class against the rest it weighs its own.
    warm_start
        Whether `fit` goes on from the weights there are.
    average
        Whether the mean of the weights after all updates predicts, and is scored; a number: of
        those from that update on.
    batch_size
        Rows in a step, whose gradients are averaged. 1 is scikit-learn's.
    optimizer, schedule
        A fastnn optimizer instead of plain SGD; a schedule, or a function of the update from 0,
        instead of `learning_rate` and `eta0`.
    standardize
        Whether to train on columns brought to mean 0 and variance 1, and a regression's y, too.
        Sparse X is only divided. `coef_` and `intercept_` are in the caller's units, in float64; a
        number in the loss, as in Huber(1.35), is in deviations of y.
    n_restarts
        Fits, each on another order of rows, of which those that diverge are left out; the best
        objective, or score, is kept.
    callbacks
        One or several, called as ``callback(trainer, history)`` after each epoch, as those of
        `Trainer.fit`.
    target, dtype
        As for `Trainer`; dtype None: float32 for a float32 X, unless `average`, else float64.

    Attributes
    ----------
    coef_
        (1, features) for two classes, else (classes, features).
    intercept_
        (1,) or (classes,).
    classes_
        Sorted labels.
    n_iter_
        Epochs of the last call.
    t_
        1 + updates, those of rows set aside counted in, as in scikit-learn.
    loss_curve_, validation_scores_
        Objective and validation score of each epoch of the last `fit`; scores None without.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Raises
    ------
    ValueError
        What scikit-learn refuses, in its words; `NonFiniteParameters`, which is a `Diverged`, too,
        where a fit diverges; `InvalidInput` for what fastnn refuses, outputs that overflow in a
        prediction among it. The estimator is unchanged.

    References
    ----------
    Bottou 2012, Stochastic Gradient Descent Tricks; Zhang 2004, Solving large scale linear
    prediction problems using stochastic gradient descent algorithms.
    """

    def __init__(
        self,
        loss: LinearLoss = "hinge",
        *,
        penalty: Penalty | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float | None = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool | int = True,
        verbose: int = 0,
        epsilon: float = 0.1,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        learning_rate: LinearRate = "optimal",
        eta0: float = 0.01,
        power_t: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Literal["balanced"] | dict[Any, float] | None = None,
        warm_start: bool = False,
        average: bool | int = False,
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

    def _check_proba(self) -> bool:
        if self.loss not in _PROBABILITIES:
            raise AttributeError(f"probability estimates are not available for loss={self.loss!r}")
        return True

    @available_if(_check_proba)
    @explained
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, (m, classes).

        Of log_loss 1 / (1 + exp(-f)) for each output f of `decision_function`, divided by their sum
        where there are several (Zadrozny & Elkan 2002). Of modified_huber (clip(f, -1, 1) + 1) / 2
        (Zhang 2004, appendix B). Of softmax_cross_entropy the softmax.
        """
        check_is_fitted(self)
        if self.loss == "softmax_cross_entropy" and self._outputs() > 1:
            return shares_of(self.decision_function(X))
        if self.loss != "modified_huber":
            return np.asarray(self._predict_proba_lr(X))
        found = (np.clip(self.decision_function(X), -1, 1) + 1) / 2
        if found.ndim == 1:
            return np.column_stack([1 - found, found])
        nowhere = ~found.any(axis=1)
        found[nowhere] = 1.0
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    @available_if(_check_proba)
    @explained
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of `predict_proba`; -infinity where that is 0."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    @classmethod
    def from_sklearn(cls, fitted: Any) -> SGDClassifier:
        """Return the estimator with the parameters and the weights of a fitted scikit-learn one."""
        return from_theirs(cls, fitted, TheirClassifier)

    def to_sklearn(self) -> TheirClassifier:
        """Return scikit-learn's estimator with the same weights, which predicts the same.

        Its `partial_fit` takes rows of the dtype of `coef_`, which is float64 with `standardize`.
        With `average` it goes on from the last weights, not from their mean, as this one's does.
        """
        return to_theirs(self, TheirClassifier)


@explained
class SGDRegressor(ScoredNumbers, LinearModel):
    """Linear regression by stochastic gradient descent: scikit-learn's class, and more.

    Parameters, attributes and errors are those of `SGDClassifier`, without what is about classes.
    Losses are "squared_error", (p - y)^2 / 2, whose derivative is limited to 1e12 as scikit-learn
    does it, so that unscaled data end in numbers of no use; "huber", "epsilon_insensitive",
    "squared_epsilon_insensitive", and any loss of a `Trainer` for numbers or counts, a `Huber` or
    its like among them, in units of y or, with `standardize`, of standardized y. `coef_` is
    (features,). On rows to validate on that have no R^2, one row or all of one number, scores are
    NaN, by which `early_stopping` ends no fit, and of which it warns.

    >>> from fastnn import SGDRegressor
    >>> X = [[100.0], [200.0], [300.0], [400.0]]
    >>> fitted = SGDRegressor(standardize=True, random_state=0, target="numpy")
    >>> fitted.fit(X, [1.0, 2.0, 3.0, 4.0]).predict([[250.0]]).round(1)
    array([2.5])
    """

    def __init__(
        self,
        loss: LinearLoss = "squared_error",
        *,
        penalty: Penalty | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float | None = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool | int = True,
        verbose: int = 0,
        epsilon: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        learning_rate: LinearRate = "invscaling",
        eta0: float = 0.01,
        power_t: float = 0.25,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        average: bool | int = False,
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

    n_jobs = None
    loss_functions: ClassVar[dict[str, tuple[Any, ...]]] = {
        name: LOSSES[name] for name in ("squared_error", *WITH_EPSILON)
    }
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        name: value
        for name, value in LinearModel._parameter_constraints.items()
        if name != "n_jobs"
    } | {"loss": losses_of("real", "counts")}

    @fitting
    def fit(
        self,
        X: Any,
        y: Any,
        coef_init: Any = None,
        intercept_init: Any = None,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Fit the model, from zeros or from what is given.

        Parameters
        ----------
        X
            Features (n, features); arrays, frames, sparse.
        y
            Numbers (n,).
        coef_init, intercept_init
            To start from, as `coef_` and `intercept_`.
        sample_weight
            Weights of the rows (n,), by which each step is multiplied.
        X_val, y_val, sample_weight_val
            Rows to score after each epoch: for `validation_scores_`, and for `early_stopping`,
            which then takes none of the rows to train on.

        Returns
        -------
        self
        """
        with self._draft() as fitted:
            fitted._fit(
                X, y, coef_init, intercept_init, sample_weight, (X_val, y_val, sample_weight_val)
            )
        return self

    def _fit(
        self,
        X: Any,
        y: Any,
        coef_init: Any,
        intercept_init: Any,
        sample_weight: Any,
        validation: tuple[Any, Any, Any],
    ) -> None:
        self._more_validate_params()
        going_on = self.warm_start and getattr(self, "coef_", None) is not None
        X, y = self._check_rows(X, y, reset=not going_on)
        weights = self._checked_weights(sample_weight, X)
        if going_on:
            if coef_init is None or intercept_init is None:
                self._columns()  # which refuses weights that are not finite
            coef_init = self.coef_ if coef_init is None else coef_init
            intercept_init = self.intercept_ if intercept_init is None else intercept_init
        start = checked_start(coef_init, intercept_init, X.shape[1], 1, float_of(X))
        self._fit_model(X, y, weights, start, validation)

    @fitting
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train one epoch on some rows; called again, go on from there.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self
        """
        with self._draft(going_on=True) as fitted:
            fitted._fit_more(X, y, sample_weight)
        return self

    def _fit_more(self, X: Any, y: Any, sample_weight: Any) -> None:
        first = getattr(self, "coef_", None) is None
        self._more_validate_params(first_partial=first)
        X, y = self._check_rows(X, y, reset=first)
        weights = self._checked_weights(sample_weight, X)
        self._fit_model(X, y, weights, None if first else self._columns(), incremental=True)

    @explained
    def predict(self, X: Any) -> np.ndarray:
        """Return the numbers (m,) that the model gives for X (m, features): rates of "poisson"."""
        found = self._numbers(self._outputs_for(X))
        what = "exp(x . coef_ + intercept_)"
        return refuse_overflow(found, what) if self.loss == "poisson" else found

    def _numbers(self, outputs: np.ndarray) -> np.ndarray:
        return rates_of(outputs) if self.loss == "poisson" else outputs

    def _check_rows(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        read = self._rows_read()
        X, y = self._check_X_y(X, y, reset=reset, read=read, order="C", y_numeric=True)
        refuse_negative_counts(self.loss, y)
        return X, y

    def _outputs(self) -> int:
        return 1

    def _coded(self, y: Any) -> np.ndarray:
        return np.asarray(y, np.float64) if y.dtype.kind != "f" else np.asarray(y)

    def _encode(self, coded: np.ndarray) -> np.ndarray:
        return coded if self._y_scaling is None else np.asarray(self._y_scaling.apply(coded))

    def _weights(self, coded: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        return sample_weight

    def _outside(self, parameters: Any) -> tuple[np.ndarray, np.ndarray]:
        coef, intercept = super()._outside(parameters)
        return coef[0], intercept

    def _scalings(self, rows: Rows) -> tuple[Scaling | None, Scaling | None]:
        scaling, _ = super()._scalings(rows)
        loss = "mse" if callable(self.loss) else self._engine_loss(0.0)
        if scaling is None or loss_row(loss).targets != "real":
            return scaling, None
        return scaling, Scaling.fit(rows.y, rows.sample_weight)

    def _score_of(
        self, outputs: np.ndarray, coded: np.ndarray, weights: np.ndarray | None
    ) -> float:
        return r2(coded[:, None], self._numbers(outputs)[:, None], weights)

    def _splitter(self, test_size: float, random_state: Any) -> Any:
        return ShuffleSplit(test_size=test_size, random_state=random_state)

    @classmethod
    def from_sklearn(cls, fitted: Any) -> SGDRegressor:
        """Return the estimator with the parameters and the weights of a fitted scikit-learn one."""
        return from_theirs(cls, fitted, TheirRegressor)

    def to_sklearn(self) -> TheirRegressor:
        """Return scikit-learn's estimator with the same weights, which predicts the same.

        Its `partial_fit` takes rows of the dtype of `coef_`, which is float64 with `standardize`.
        With `average` it goes on from the last weights, not from their mean, as this one's does.
        """
        return to_theirs(self, TheirRegressor)
