"""`TabularClassifier` and `TabularRegressor`: tables as they are, at the accuracy of trees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite

from fastnn.arguments import explained
from fastnn.errors import CorruptFile, InvalidInput, shown
from fastnn.estimators.base import keep
from fastnn.estimators.files import ScoredNumbers
from fastnn.estimators.labels import Labels, ScoredLabels
from fastnn.estimators.tabular.base import TabularEstimator
from fastnn.estimators.tabular.files import plain_value
from fastnn.estimators.tabular.outcomes import values_of
from fastnn.estimators.tabular.scorers import (
    AnsweringClassifier,
    AnsweringRegressor,
    most_of,
    shares_of,
)
from fastnn.estimators.weights import weights_of
from fastnn.tabular.cells import WrongValue
from fastnn.tabular.deviations import in_deviations, mean_and_deviation, of_deviations
from fastnn.targets.selection import Target

Scoring = str | Callable[..., Any] | None
Categorical = Literal["from_dtype"] | Sequence[Any] | np.ndarray | None
_LABELS = (str, int, float, bool)  # that a file can keep
_LEAST = float(np.finfo(np.float32).tiny)  # probability, for its logarithm


@explained
class TabularClassifier(ScoredLabels, TabularEstimator):
    """Tell the rows of a table apart by a population of small networks.

    `fit` takes a frame of pandas, polars or pyarrow, or an array, as it is: numbers of any scale,
    text, categories, dates, truth values, and gaps in any of them. Some rows are left out to
    validate on. Each of `n_members` networks has settings of its own, drawn from ranges: what it
    reads of numbers (normal scores of their ranks, or bins, at which a decision tree of the column
    cuts), widths, learning rate, weight decay and dropout. It is trained with AdamW until the log
    loss of the rows to validate on falls no more, as it is where outputs are divided by the best
    temperature: how well classes are told apart, not how sure of them the network is. By these
    temperatures outputs are divided. Predictions are a weighted mean of the epochs that greedy
    selection chooses among the best ones of all members.

    >>> import fastnn
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> kinds = y.map({0: "malignant", 1: "benign"})
    >>> X_train, X_test, y_train, y_test = train_test_split(X, kinds, random_state=0)
    >>> model = fastnn.TabularClassifier(n_members=4, max_iter=30, random_state=0)
    >>> model.fit(X_train, y_train).score(X_test, y_test) > 0.9
    True
    >>> model.classes_.tolist(), model.predict_proba(X_test).shape
    (['benign', 'malignant'], (143, 2))

    Parameters
    ----------
    n_members
        The most networks. More of them take more time, and are seldom worse.
    time_limit
        Seconds that `fit` may take: no member begins after them, those under way end with the epoch
        that they are in, and the best so far is kept. What comes of it depends on the machine's
        speed. None: no limit.
    max_iter
        The most epochs of a member.
    n_iter_no_change
        A member ends after more than so many epochs in a row none of which was its best. Without
        `scoring` it ends sooner: after half as many as it had done at its best one, at least 5.
    validation_fraction
        Share of the rows to validate on, by which epochs and members are chosen, where `fit` is
        given none. They have the same classes in the same shares.
    scoring
        What an epoch, and an ensemble, is better by: the name of a scorer of scikit-learn's, or a
        function (estimator, X, y), larger is better, which is given weights of rows where it takes
        `sample_weight`. None: the log loss, of an epoch at its best temperature.
    categorical_features
        Columns of categories, beside those of text and of a categorical dtype: names, numbers, or a
        mask. "from_dtype" and None: no others. Text all of which is numbers is numbers, unless it
        is named here.
    numeric_features
        Columns of numbers, named so, too: whole numbers that look like dates (20241231), of which a
        warning says so otherwise; text such as 007, which is codes otherwise; numbers of a
        categorical dtype. Text that is no number is then an error.
    class_weight
        "balanced", rows / (classes rows_c) for a class of rows_c; or a dict of weights by class.
        They multiply `sample_weight`.
    random_state
        Decides rows to validate on, settings, initial weights, order and dropout.
    verbose
        1 shows a progress bar, on a terminal, and prints a line for each member.
    target
        "cpu", "auto" or "numpy", as for `fastnn.Trainer`. "cuda" does not have the cosines yet that
        members read numbers by, and is refused where there are any.
    n_jobs
        How many members at a time, each on one thread; -1: as many as there are processors; None:
        that, too, within what joblib and the environment grant. Results are the same for any.

    Attributes
    ----------
    classes_
        The labels, sorted.
    ensemble_
        The `fastnn.Ensemble` that predicts, from columns as members read them.
    members_
        The drawn settings of each member that began.
    weights_
        What each of them counts, of sum 1; 0 for those that were not chosen.
    validation_score_
        That of the ensemble, by `scoring`; without, the log loss, negated. Since the ensemble was
        chosen by it, it is a little too good.
    n_iter_
        The most epochs that a member did.
    feature_importances_
        How much the log loss of at most 1,000 of the rows to validate on rises where a column is
        permuted, of sum 1; computed when it is first asked for.
    n_features_in_, feature_names_in_
        As scikit-learn's.

    Notes
    -----
    All that is learnt of columns comes from the rows to train on. A category that is rare, or new
    in a prediction, counts as other ones; a missing value in a column that had none is its median.
    Columns are dropped that are alike in all rows, or text that differs in nearly all of them.
    Rows of weight 0 are as if they were not there.

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko, "On Embeddings for Numerical Features in Tabular Deep
    Learning", NeurIPS 2022; E. Berta, D. Holzmueller, M. I. Jordan, F. Bach, "Rethinking Early
    Stopping: Refine, Then Calibrate", 2025; D. Holzmueller, L. Grinsztajn, I. Steinwart, "Better by
    Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular Data", NeurIPS 2024; R. Caruana, A.
    Niculescu-Mizil, G. Crew, A. Ksikes, "Ensemble Selection from Libraries of Models", ICML 2004.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **TabularEstimator._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    classes_: np.ndarray

    def __init__(
        self,
        n_members: int = 16,
        *,
        time_limit: float | None = None,
        max_iter: int = 80,
        n_iter_no_change: int = 15,
        validation_fraction: float = 0.1,
        scoring: Scoring = None,
        categorical_features: Categorical = "from_dtype",
        numeric_features: Sequence[Any] | np.ndarray | None = None,
        class_weight: Literal["balanced"] | dict[Any, float] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        target: Target = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        keep(self, locals())

    @explained
    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of each row of X, (m,)."""
        mean = self.mean(X)
        return self.classes_[most_of(mean)]

    @explained
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of `classes_`, (m, classes)."""
        return shares_of(self.mean(X))

    @explained
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of `predict_proba`, (m, classes)."""
        return np.log(np.maximum(self.predict_proba(X), _LEAST))

    @explained
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of rows of X whose label is that of y, weighted."""
        objects = isinstance(getattr(y, "dtype", None), np.dtypes.ObjectDType)
        return super().score(X, values_of(y, "y") if objects else y, sample_weight)

    def _learn_targets(self, y: np.ndarray) -> np.ndarray:
        wrong = [each for each in y if not _is_label(each)] if y.dtype.kind in "mMO" else []
        if wrong:
            raise InvalidInput(
                f"labels cannot be such as {shown(wrong[0]):.60}, but text, numbers and truth "
                "values; make text of them, as with astype(str), or fit a TabularRegressor to "
                "numbers of days or seconds"
            )
        try:
            check_classification_targets(y)
        except ValueError as error:  # continuous numbers
            raise InvalidInput(str(error)) from error
        labels = Labels.of(y)
        if len(labels.classes) < 2:
            raise InvalidInput(
                "The number of classes has to be greater than one; got 1 class "
                f"({shown(labels.classes[:1].tolist()[0]):.60})"
            )
        self.classes_ = labels.classes
        return labels.places(y)

    def _check_known(self, y: Any) -> None:
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise InvalidInput(
                f"y_val has labels that y does not have: {unknown.tolist()[:5]}; the classes are "
                f"{self.classes_.tolist()[:10]}"
            )

    def _encode(self, y: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.classes_, y).astype(np.int64, copy=False)

    def _standard(self, targets: np.ndarray) -> np.ndarray:
        return targets

    def _row_weights(self, y: Any, weights: np.ndarray | None) -> np.ndarray | None:
        kind = "multiclass" if len(self.classes_) > 2 else "binary"
        labels = Labels(self.classes_, kind)
        return weights_of(self.class_weight, labels, labels.places(y), weights)

    def _mean_of(self, outputs: np.ndarray) -> np.ndarray:
        outputs = outputs.astype(np.float64).reshape(len(outputs), -1)
        if outputs.shape[1] == 1:
            return 1.0 / (1.0 + np.exp(np.minimum(np.hstack([outputs, -outputs]), 700.0)))
        found = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return found / found.sum(axis=1, keepdims=True)

    def _answering(self, mean: np.ndarray) -> Any:
        return AnsweringClassifier(self.classes_, mean)

    def _loss(self, mean: np.ndarray, y: Any, weights: Any) -> float:
        true = shares_of(mean)[np.arange(len(y)), self._encode(y)]
        return float(np.average(-np.log(np.maximum(true, _LEAST)), weights=weights))

    def _targets_to_plain(self) -> dict[str, Any]:
        return {"classes": plain_value(self.classes_), "dtype": self.classes_.dtype.str}

    def _targets_from_plain(self, plain: Any) -> None:
        self.classes_ = np.array(plain["classes"], np.dtype(plain["dtype"]))
        if len(self.classes_) < 2:
            raise CorruptFile("a classifier needs at least two classes")


@explained
class TabularRegressor(ScoredNumbers, TabularEstimator):
    """Predict a number for each row of a table by a population of small networks.

    As `TabularClassifier`, for numbers: members learn the squared error of standardised targets.
    Predictions are in the units of y, and stay within the range that it has in `fit`.

    >>> import fastnn
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = fastnn.TabularRegressor(n_members=4, max_iter=30, random_state=0)
    >>> model.fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.4
    True

    Parameters
    ----------
    n_members
        The most networks. More of them take more time, and are seldom worse.
    time_limit
        Seconds that `fit` may take: no member begins after them, those under way end with the epoch
        that they are in, and the best so far is kept. What comes of it depends on the machine's
        speed. None: no limit.
    max_iter
        The most epochs of a member.
    n_iter_no_change
        A member ends after more than so many epochs in a row none of which was its best. Without
        `scoring` it ends sooner: after half as many as it had done at its best one, at least 5.
    validation_fraction
        Share of the rows to validate on, by which epochs and members are chosen, where `fit` is
        given none. They are spread evenly over small and large y.
    scoring
        What an epoch, and an ensemble, is better by: the name of a scorer of scikit-learn's, or a
        function (estimator, X, y), larger is better, which is given weights of rows where it takes
        `sample_weight`. None: the squared error.
    categorical_features
        Columns of categories, beside those of text and of a categorical dtype: names, numbers, or a
        mask. "from_dtype" and None: no others. Text all of which is numbers is numbers, unless it
        is named here.
    numeric_features
        Columns of numbers, named so, too: whole numbers that look like dates (20241231), of which a
        warning says so otherwise; text such as 007, which is codes otherwise; numbers of a
        categorical dtype. Text that is no number is then an error.
    random_state
        Decides rows to validate on, settings, initial weights, order and dropout.
    verbose
        1 shows a progress bar, on a terminal, and prints a line for each member.
    target
        "cpu", "auto" or "numpy", as for `fastnn.Trainer`. "cuda" does not have the cosines yet that
        members read numbers by, and is refused where there are any.
    n_jobs
        How many members at a time, each on one thread; -1: as many as there are processors; None:
        that, too, within what joblib and the environment grant. Results are the same for any.

    Attributes
    ----------
    ensemble_
        The `fastnn.Ensemble` that predicts, from columns as members read them and in deviations of
        y from its mean.
    members_
        The drawn settings of each member that began.
    weights_
        What each of them counts, of sum 1; 0 for those that were not chosen.
    validation_score_
        That of the ensemble, by `scoring`; without, the root mean squared error in units of y,
        negated. Since the ensemble was chosen by it, it is a little too good.
    n_iter_
        The most epochs that a member did.
    feature_importances_
        How much the root mean squared error of at most 1,000 of the rows to validate on rises where
        a column is permuted, of sum 1; computed when it is first asked for.
    n_features_in_, feature_names_in_
        As scikit-learn's.
    """

    def __init__(
        self,
        n_members: int = 16,
        *,
        time_limit: float | None = None,
        max_iter: int = 80,
        n_iter_no_change: int = 15,
        validation_fraction: float = 0.1,
        scoring: Scoring = None,
        categorical_features: Categorical = "from_dtype",
        numeric_features: Sequence[Any] | np.ndarray | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        target: Target = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        keep(self, locals())

    @explained
    def predict(self, X: Any) -> np.ndarray:
        """Return the number (m,) that is predicted for each row of X."""
        return self._numbers(self.forward(X))

    def _numbers(self, mean: np.ndarray) -> np.ndarray:
        """Return numbers in the units of y."""
        outputs = mean.reshape(len(mean)).astype(np.float64)
        return np.clip(of_deviations(outputs, self._center, self._scale), *self._range)

    def _learn_targets(self, y: np.ndarray) -> np.ndarray:
        numbers = self._encode(y)
        self._center, deviation = mean_and_deviation(numbers)
        self._scale = deviation or 1.0
        self._range = float(numbers.min()), float(numbers.max())
        return numbers

    def _encode(self, y: np.ndarray) -> np.ndarray:
        if y.dtype.kind in "mM":
            raise InvalidInput(f"y must be numbers for a regression, not {y.dtype}")
        try:
            numbers = y.astype(np.float64)
        except (TypeError, ValueError):
            row, wrong = next(
                (row, cell) for row, cell in enumerate(y.tolist()) if not _is_number(cell)
            )
            raise WrongValue(
                f"y must be numbers for a regression, and is {shown(wrong):.60} in ", row, ""
            ) from None
        try:
            with np.errstate(invalid="ignore"):  # of a sum that tells what is finite
                assert_all_finite(numbers, input_name="y")
        except ValueError as error:
            row = int(np.isfinite(numbers).argmin())
            raise WrongValue(f"{error}\nThe first is in ", row, ".") from error
        return numbers

    def _standard(self, targets: np.ndarray) -> np.ndarray:
        return in_deviations(targets, self._center, self._scale)

    def _mean_of(self, outputs: np.ndarray) -> np.ndarray:
        return outputs

    def _answering(self, mean: np.ndarray) -> Any:
        return AnsweringRegressor(self._numbers(mean))

    def _loss(self, mean: np.ndarray, y: Any, weights: Any) -> float:
        return self._relative_loss(mean, y, weights) * self._scale

    def _relative_loss(self, mean: np.ndarray, y: Any, weights: Any) -> float:
        errors = in_deviations(self._numbers(mean), self._encode(y), self._scale)
        return float(np.sqrt(np.average(errors**2, weights=weights)))

    def _targets_to_plain(self) -> dict[str, Any]:
        return {"center": self._center, "scale": self._scale, "range": list(self._range)}

    def _targets_from_plain(self, plain: Any) -> None:
        self._center, self._scale = float(plain["center"]), float(plain["scale"])
        low, high = plain["range"]
        self._range = float(low), float(high)


def _is_label(value: Any) -> bool:
    """Return whether a file can keep a label."""
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return False  # which may have whole numbers as items
    return isinstance(value.item() if isinstance(value, np.generic) else value, _LABELS)


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True
