"""What `TabularClassifier` and `TabularRegressor` have in common: from tables to an ensemble."""

from __future__ import annotations

import copy
import os
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse
from sklearn import config_context, get_config
from sklearn.metrics import check_scoring
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, shown
from fastnn.estimators.base import OF_CLASSES, check_weights, refuse_no_weight, threads_of
from fastnn.estimators.nested import WithWholeParameters
from fastnn.estimators.scoring import check_name, weights_for
from fastnn.estimators.tabular import files
from fastnn.estimators.tabular.fitting import RESERVED, Fit, Part, Settings
from fastnn.estimators.tabular.importances import importances
from fastnn.estimators.tabular.outcomes import values_of
from fastnn.estimators.tabular.splitting import one_of_each_first, split
from fastnn.inputs.arrays import refuse_masked
from fastnn.inputs.frames import arrow_rows, as_table
from fastnn.tabular.cells import Cells, cells_of, in_table
from fastnn.tabular.encodings import Coded, Encoding
from fastnn.tabular.fields import Fields
from fastnn.targets.selection import Target
from fastnn.training.ensemble import Ensemble
from fastnn.training.learning_check import warn
from fastnn.training.metrics import Metrics

_IMPORTANCE_ROWS = 1000  # kept to permute columns of
_OF_FILES = (
    "This model is one of fastnn train --tabular: `fastnn predict MODEL FILE` reads files as they "
    "are. In Python, pass the columns of feature_names_in_ alone, in their order, with numbers, "
    "timestamps, timedeltas and text in them, and 0 and 1 for words such as no and yes."
)
# What a fit leaves beside attributes whose names end with "_".
_PRIVATE = {
    "_fields", "_encodings", "_kept", "_importances", "_center", "_scale", "_range", "table",
}  # fmt: skip


class TabularEstimator(WithWholeParameters):
    """A population of networks for tables, fitted as scikit-learn's estimators are."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "scoring": [str, callable, None],
        "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
        "numeric_features": ["array-like", None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "target": [str],
        "n_jobs": [Integral, None],
    }

    # What a fit leaves, for the type checker.
    ensemble_: Ensemble
    n_features_in_: int
    _fields: Fields
    _encodings: dict[str, Encoding]
    _kept: tuple[Coded, Any, Any]
    # How the columns of a file become those of X, which the command line keeps with a model.
    table: dict[str, Any] | None = None

    @explained
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Fit anew.

        Parameters
        ----------
        X
            Rows (n, columns): a frame, an array, or a list.
        y
            Labels (n,) of any kind for a classifier, numbers (n,) for a regressor.
        sample_weight
            Weight of each row (n,), at least 0; None: all count 1.
        groups
            (n,) what belongs together, such as rows of one patient: all rows of a group are trained
            on, or all are validated on.
        X_val, y_val, sample_weight_val
            Rows to validate on, in the place of rows of X.

        Returns
        -------
        estimator
            Itself; where the fit fails, as it was.

        Raises
        ------
        ValueError
            Data or settings that cannot be.
        Diverged
            All members did.
        """
        with self._checked():
            fitted = self._unfitted()
            fitted._fit(X, y, sample_weight, groups, (X_val, y_val, sample_weight_val))
            return self._become(fitted)

    @contextmanager
    def _checked(self) -> Iterator[None]:
        """Have scikit-learn check the parameters, and not again in what a fit calls.

        That is its `_fit_context`, without a frame: warnings count those up to the caller of `fit`.
        """
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()
        with config_context(skip_parameter_validation=True):
            yield

    def __sklearn_tags__(self) -> Any:
        """Say that X may have text, categories and missing values."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, groups: Any, validation: tuple[Any, Any, Any]
    ) -> None:
        """Fit; of a copy, which whoever is asked becomes where all has gone well."""
        until, begun = None, time.perf_counter()
        if self.time_limit is not None:
            until = begun + (1.0 - RESERVED) * self.time_limit
        X = as_table(X, "X")
        cells = self._cells(X, reset=True)
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        _refuse_names(y=y, sample_weight=sample_weight, groups=groups)
        y = values_of(y, "y")
        check_consistent_length(y, np.empty(cells.rows))
        refuse_masked(sample_weight, "sample_weight")
        weights = check_weights(sample_weight, np.empty((cells.rows, 1)))
        groups = None if groups is None else values_of(groups, "groups")
        if groups is not None:
            check_consistent_length(groups, np.empty(cells.rows))
        if weights is not None and not weights.all():
            cells, y, weights, groups = _with_weight(cells, y, weights, groups)
        with in_table(cells.places):
            targets = self._learn_targets(y)
        random = check_random_state(self.random_state)
        held_out = self._check_held_out(*validation)
        rows = random.permutation(cells.rows)
        classes = len(getattr(self, "classes_", ()))
        if held_out is None:
            rows, held = split(targets, classes, self.validation_fraction, groups, random)
            X_val, cells_val, y_val, weights_val = X, *_taken(cells, y, weights, held)
        elif groups is not None:
            raise InvalidInput("groups decide which rows to validate on, but X_val is given")
        else:  # in any order: where the time is short, the first of them are all that there is
            X_val, cells_val, y_val, weights_val = held_out
            order = random.permutation(len(y_val))
            cells_val, y_val, weights_val = _taken(cells_val, y_val, weights_val, order)
        if classes:
            rows = one_of_each_first(rows, targets)
        self._fields = Fields.learn(cells, rows, *self._chosen_kinds(cells))
        coded = self._fields.code(cells)
        row_weights = self._row_weights(y, weights)
        refuse_no_weight(row_weights, OF_CLASSES)
        training = Part(
            coded.take(rows),
            self._standard(targets[rows]),
            None if row_weights is None else row_weights[rows],
        )
        with nullcontext() if held_out is None else _of_validation():
            coded_val = self._fields.code(cells_val)
        if self.scoring is not None:  # else nobody asks for them
            X_val = _rows_of(X_val, cells_val)
        kept = Part(
            coded_val,
            self._standard(self._encode(y_val)),
            self._row_weights(y_val, weights_val),
        )
        settings = Settings(
            members=self.n_members,
            epochs=self.max_iter,
            patience=self.n_iter_no_change,
            classes=classes,
            counts=self._fields.counts,
            scoring=self._scoring(X_val, y_val, weights_val),
            until=until,
            seed=int(random.randint(np.iinfo(np.int32).max)),
            target=self.target,
            workers=self._workers(),
            verbose=int(self.verbose),
        )
        read = time.perf_counter() - begun
        fitted = Fit(training, kept, settings).run()
        self.ensemble_, self._encodings = fitted.ensemble, fitted.encodings
        self.members_, self.weights_ = tuple(fitted.recipes), fitted.weights
        self.n_iter_ = fitted.epochs
        few = random.permutation(len(y_val))[:_IMPORTANCE_ROWS]
        own = None if weights_val is None else weights_val[few]
        self._kept = kept.coded.take(few), y_val[few], own
        self.validation_score_ = self._score_of(kept, X_val, y_val, weights_val)
        self._tell_overtime(time.perf_counter() - begun, read, len(cells.columns))

    def _tell_overtime(self, seconds: float, read: float, columns: int) -> None:
        """Warn where a fit took much longer than `time_limit`."""
        limit = self.time_limit
        if limit is None or seconds < max(1.5 * limit, limit + 1.0):
            return
        warn(
            f"fit took {seconds:.1f} s where time_limit={limit:g}, {read:.1f} of them to read X: "
            f"its {columns} columns are read, and two networks see some of the rows, however short "
            "it is; give more time, or fewer columns"
        )

    def _become(self, fitted: Self) -> Self:
        """Become what a fit has made of a copy: all of it, or nothing where it has failed."""
        self._forget()
        self.__dict__.update(vars(fitted))
        return self

    def _forget(self) -> None:
        """Be an estimator that has not been fitted."""
        for name in list(vars(self)):
            if name in _PRIVATE or (name.endswith("_") and not name.startswith("_")):
                del self.__dict__[name]

    def _unfitted(self) -> Self:
        """Return an estimator of the same parameters that has not been fitted."""
        made = copy.copy(self)
        made._forget()
        return made

    def _cells(self, X: Any, reset: bool) -> Cells:
        """Return the columns of X, with the number and the names that a fit has seen."""
        X = as_table(X, "X")
        if scipy.sparse.issparse(X):
            raise TypeError(
                "Sparse data was passed for X, but dense data is required. Use '.toarray()' to "
                "convert to a dense numpy array."
            )
        cells = cells_of(X)
        if cells is not X:
            validate_data(self, X if hasattr(X, "shape") else np.empty((0, len(cells.columns))),
                          reset=reset, skip_check_array=True)  # fmt: skip
        elif reset:
            self.n_features_in_ = len(cells.columns)
            if cells.labels is not None:
                self.feature_names_in_ = np.array(cells.labels, object)
        shape = cells.rows, len(cells.columns)
        for count, what in zip(shape, ("sample", "feature"), strict=True):
            if not count:
                raise ValueError(
                    f"Found array with 0 {what}(s) (shape={shape}) while a minimum of 1 is "
                    f"required by {type(self).__name__}."
                )
        return cells

    def _check_held_out(self, X: Any, y: Any, sample_weight: Any) -> Any:
        """Return the rows to validate on that `fit` was given; None without."""
        if X is None and y is None:
            if sample_weight is not None:
                raise InvalidInput("sample_weight_val needs X_val and y_val, which are None")
            return None
        if X is None or y is None:
            missing = "X_val" if X is None else "y_val"
            raise InvalidInput(f"validation data are X_val and y_val, but {missing} is None")
        with _of_validation():
            X = as_table(X, "X_val")
            cells = self._cells(X, reset=False)
        # What is wrong with these says itself which of them it is.
        _refuse_names(y_val=y, sample_weight_val=sample_weight)
        y = values_of(y, "y_val")
        refuse_masked(sample_weight, "sample_weight_val")
        with _of_validation():
            check_consistent_length(y, np.empty(cells.rows))
            weights = check_weights(sample_weight, np.empty((cells.rows, 1)))
            if weights is not None and not weights.all():
                cells, y, weights, _ = _with_weight(cells, y, weights, None)
            with in_table(cells.places):
                self._check_known(y)
        return X, cells, y, weights

    def _chosen_kinds(self, cells: Cells) -> tuple[Collection[int], Collection[int]]:
        """Return the places of the columns that the user says are categories, and are numbers."""
        categories, numbers = (
            self._places(cells, name) for name in ("categorical_features", "numeric_features")
        )
        if both := sorted(set(categories) & set(numbers)):
            raise ValueError(
                f"categorical_features and numeric_features both name column "
                f"{cells.names[both[0]]}; leave it out of one"
            )
        return categories, numbers

    def _places(self, cells: Cells, parameter: str) -> Collection[int]:
        """Return the places of the columns that a parameter names."""
        given = getattr(self, parameter)
        if given is None or isinstance(given, str):
            return ()
        chosen = np.asarray(given)
        number = len(cells.columns)
        if chosen.size == 0:
            return ()
        if chosen.ndim != 1 or chosen.dtype.kind not in "biuUOT":
            raise ValueError(
                f"{parameter} must be an array-like of bool, int or str, got: {chosen.dtype.name}."
            )
        if chosen.dtype.kind == "b":
            if len(chosen) != number:
                raise ValueError(
                    f"{parameter} set as a boolean mask must have shape (n_features,), "
                    f"got: {chosen.shape}"
                )
            return set(np.flatnonzero(chosen).tolist())
        if chosen.dtype.kind in "iu":
            if chosen.min() < 0 or chosen.max() >= number:
                raise ValueError(
                    f"{parameter} set as integer indices must be in [0, n_features - 1]"
                )
            return set(chosen.tolist())
        names = list(getattr(self, "feature_names_in_", ()))
        unknown = [name for name in chosen.tolist() if name not in names]
        if unknown:
            raise ValueError(
                f"{parameter} has names that are no feature names of the training data: {unknown}"
            )
        return {names.index(name) for name in chosen.tolist()}

    def _workers(self) -> int | None:
        """Return how many members are trained at a time; None: as many as there are processors."""
        return None if self.n_jobs is None else threads_of(self.n_jobs)

    def _scoring(self, X: Any, y: Any, weights: Any) -> Callable[..., float] | None:
        """Return what scores outputs for the rows to validate on; None: the loss does."""
        if self.scoring is None:
            return None
        if isinstance(self.scoring, str):
            check_name(self.scoring)
        scorer = check_scoring(self, scoring=self.scoring)
        given = weights_for(scorer, weights)

        def score(_: Any, outputs: np.ndarray, sample_weight: Any = None) -> float:
            # Where the time is short, these are the first rows; weights of classes are not for it.
            rows = np.arange(len(outputs))
            own = {name: values[rows] for name, values in given.items()}
            answering = self._answering(self._mean_of(outputs))
            found = float(scorer(answering, _some_rows(X, rows), y[rows], **own))
            if np.isnan(found):
                raise InvalidInput(f"scoring={self.scoring!r} gave nan; it must give a number")
            return found

        return score

    def _score_of(self, kept: Part, X: Any, y: Any, weights: Any) -> float:
        """Return the score of the ensemble on the rows to validate on, larger is better."""
        mean = self._mean(kept.coded)
        if self.scoring is None:
            return -self._loss(mean, y, weights)
        scorer = check_scoring(self, scoring=self.scoring)
        given = weights_for(scorer, weights)
        return float(scorer(self._answering(mean), X, y, **given))

    def _mean(self, coded: Coded) -> np.ndarray:
        """Return what the members give on average for coded rows, as `fastnn.Ensemble.mean`."""
        return self.ensemble_.mean(self._features(coded))

    def _features(self, coded: Coded) -> dict[str, Any]:
        """Return what members read of coded rows, by name."""
        return {name: encoding.apply(coded) for name, encoding in self._encodings.items()}

    def measured(
        self,
        mean: np.ndarray,
        places: np.ndarray,
        metrics: Metrics,
        sample_weight: np.ndarray | None = None,
    ) -> dict[str, float]:
        """Return loss, accuracy and metrics of what `mean` gives, and places of classes (m,)."""
        return self.ensemble_.measured(mean, places, sample_weight, metrics=metrics)

    def mean(self, X: Any) -> np.ndarray:
        """Return for X what `measured` takes, as `fastnn.Ensemble.mean` gives it."""
        check_is_fitted(self)
        return self._mean(self._read(X))

    @explained
    def forward(self, X: Any) -> np.ndarray:
        """Return what the members give on average, (m, outputs), for X."""
        check_is_fitted(self)
        return self.ensemble_.forward(self._features(self._read(X)))

    def _read(self, X: Any) -> Coded:
        """Return X as numbers and codes, or say what reads files where this model is one of those.

        Raises
        ------
        ValueError
            Other columns than in `fit`, or what cannot be in them.
        """
        try:
            return self._fields.code(self._cells(X, reset=False))
        except ValueError as error:
            if self.table is None or isinstance(X, Cells):
                raise
            raise InvalidInput(f"{str(error).rstrip()}\n{_OF_FILES}") from error

    @property
    def feature_importances_(self) -> np.ndarray:
        """How much worse predictions become where a column is permuted, (n_features,), of sum 1.

        The rise of the loss on at most 1,000 of the rows to validate on, the mean of three
        permutations, and 0 where it falls; computed when it is first asked for. A model that `load`
        has read has those that were computed before it was saved.
        """
        check_is_fitted(self)
        if "_importances" not in vars(self):
            if self._kept is None:
                raise AttributeError(
                    "feature_importances_ were not asked for before this model was saved, and a "
                    "file keeps no rows; use sklearn.inspection.permutation_importance"
                )
            coded, y, weights = self._kept
            self._importances = importances(
                self._fields, coded, lambda each: self._relative_loss(self._mean(each), y, weights)
            )
        return self._importances.copy()

    def save(self, path: Any) -> None:
        """Write the fitted estimator to one safetensors file, without pickle.

        It has the parameters, with the state of a `random_state` that is a RandomState, what was
        learnt of the columns, and the networks; of the rows it has nothing.

        Raises
        ------
        MissingFile
            There is no such folder.
        UnusableFile
            No file can be written there.
        InvalidInput
            A parameter or labels that a file cannot keep, such as a function, or a RandomState of
            another generator than MT19937.
        """
        check_is_fitted(self)
        files.save(self, path)

    @classmethod
    def load(cls, path: Any, target: Target | None = None) -> Self:
        """Return the estimator that `save` wrote to `path`; it predicts the same bits.

        Parameters
        ----------
        path
            The file; also one of ``fastnn train --tabular``. That has read a file in a way of its
            own, which ``fastnn predict`` does again. Here X needs the columns of
            `feature_names_in_`, in that order and without the label, and in them numbers, 0 and 1
            where there were two words such as yes and no, dates, durations and text.
        target
            What to use instead of the saved one; None keeps that.

        Raises
        ------
        MissingFile
            There is no such file.
        CorruptFile
            A file that is damaged, or not one that `save` of this class wrote.
        """
        return files.load(cls, path, target)

    def _check_known(self, y: Any) -> None:
        """Raise where targets to validate on cannot be."""
        self._encode(y)

    def _row_weights(self, y: Any, weights: np.ndarray | None) -> np.ndarray | None:
        """Return what rows count in the loss."""
        return weights

    @abstractmethod
    def _learn_targets(self, y: np.ndarray) -> np.ndarray:
        """Return `_encode(y)`, and take note of what that needs."""

    @abstractmethod
    def _encode(self, y: np.ndarray) -> np.ndarray:
        """Return places of classes, int64, or numbers, float64."""

    @abstractmethod
    def _standard(self, targets: np.ndarray) -> np.ndarray:
        """Return targets as the networks learn them."""

    @abstractmethod
    def _mean_of(self, outputs: np.ndarray) -> np.ndarray:
        """Return what stands in the place of a mean, of raw outputs that stand for one."""

    @abstractmethod
    def _answering(self, mean: np.ndarray) -> Any:
        """Return an estimator that predicts what a mean says, whatever it is asked."""

    def _relative_loss(self, mean: np.ndarray, y: Any, weights: Any) -> float:
        """Return the loss of a mean in a unit in which it does not overflow."""
        return self._loss(mean, y, weights)

    @abstractmethod
    def _loss(self, mean: np.ndarray, y: Any, weights: Any) -> float:
        """Return the loss of a mean, in the caller's units."""


def _refuse_names(**given: Any) -> None:
    """Raise where the name of a column, or the path of a file, stands for the values of rows."""
    for what, value in given.items():
        if isinstance(value, (str, bytes, os.PathLike)):
            raise InvalidInput(
                f"{what} is {shown(value):.80}, where one value a row is due; pass the values "
                "themselves, such as table['name'] or numpy.load(path)"
            )


@contextmanager
def _of_validation() -> Iterator[None]:
    """Have errors on the rows to validate on name these arguments before what they say."""
    try:
        yield
    except (ValueError, TypeError) as error:
        error.args = (f"X_val and y_val: {error}",)
        raise


def _taken(
    cells: Cells, y: np.ndarray, weights: np.ndarray | None, rows: np.ndarray
) -> tuple[Cells, np.ndarray, np.ndarray | None]:
    """Return some rows of what is to be validated on."""
    return cells[rows], y[rows], None if weights is None else weights[rows]


def _with_weight(
    cells: Cells, y: Any, weights: np.ndarray, groups: Any
) -> tuple[Cells, Any, np.ndarray, Any]:
    """Return the rows that count."""
    rows = np.flatnonzero(weights)
    if not len(rows):
        raise InvalidInput("sample_weight is 0 for all rows; at least one must count")
    groups = None if groups is None else groups[rows]
    return cells[rows], y[rows], weights[rows], groups


def _rows_of(X: Any, cells: Cells) -> Any:
    """Return the rows of a table of any kind that some cells are of, for a scorer."""
    if isinstance(X, Cells):
        return cells
    if not hasattr(X, "__getitem__") or isinstance(X, memoryview):
        X = np.asarray(X)
    return _some_rows(X, cells.places)


def _some_rows(X: Any, rows: Any) -> Any:
    """Return some rows of a table of any kind."""
    if isinstance(X, Cells):
        return X[rows]
    taken = arrow_rows(X, rows)
    return _safe_indexing(X, rows) if taken is None else taken
