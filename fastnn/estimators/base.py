"""What all estimators have in common: a Trainer inside, fitted by scikit-learn's conventions."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastnn.arguments import explained
from fastnn.errors import Diverged, InvalidInput, TrainingWarning
from fastnn.estimators.files import opened, refuse_sparse
from fastnn.estimators.labels import known_text, places_in, refuse_unordered
from fastnn.estimators.nested import WithWholeParameters
from fastnn.estimators.scoring import check_name, check_spread
from fastnn.graph import Expression
from fastnn.inputs.arrays import refuse_apparent_numbers, refuse_masked
from fastnn.inputs.data import IN_VALIDATION, check_targets
from fastnn.inputs.frames import frame_of
from fastnn.inputs.problem import check_dtype
from fastnn.inputs.scaling import Scaling
from fastnn.inputs.sparse_rows import (
    ChosenRows,
    ReadRows,
    check_compressed,
    chosen_rows,
    is_sparse,
)
from fastnn.optimizers import refusal
from fastnn.threads.processors import available_threads
from fastnn.training.callbacks import check_callbacks
from fastnn.training.learning_check import ANEW, kind_of, warn
from fastnn.training.metrics import Metrics
from fastnn.training.saved_trainer import MOST_THREADS
from fastnn.training.trainer import Trainer

if TYPE_CHECKING:
    from fastnn.estimators.monitor import Monitor

Method = TypeVar("Method", bound=Callable[..., Any])
FLOATS = (np.float64, np.float32)
# Converted row by row as a batch takes them, so that there is no floating copy of X; of sparse X,
# all numbers that are stored, in float32 where that holds them.
_SMALL = (np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32)
KEPT = [*FLOATS, *_SMALL]  # dtypes of which X stays, the first for all others
# Numbers that are checked while scikit-learn's validation begins, and while it goes through them.
_FEW, _MANY = 1 << 14, 1 << 17
_KINDS = "biuU", "biu"  # of labels beside floats, and of numbers

_PLAIN = {int, float, str, bool, type(None)}  # of which equal ones of one type are the same
_FINE: set[tuple[Any, ...]] = set()  # classes with parameters of these that have been validated
_SETTINGS = 1000  # how many are remembered


def keep(estimator: Any, parameters: dict[str, Any]) -> None:
    """Store constructor parameters as they are, which `clone` needs."""
    vars(estimator).update({k: v for k, v in parameters.items() if k not in ("self", "__class__")})


def threads_of(n_jobs: int) -> int:
    """Return how many threads `n_jobs` means, -1 being all there are; `InvalidInput` for 0."""
    if n_jobs == 0:
        raise InvalidInput("n_jobs must be a number of threads, -1 for all, or None, not 0")
    return int(n_jobs) if n_jobs > 0 else max(1, available_threads() + 1 + n_jobs)


def fitting(method: Method) -> Method:
    """Have a method that fits explain its arguments, after scikit-learn has checked parameters."""
    found: Method = _fit_context(prefer_skip_nested_validation=True)(explained(method))
    return found


class NonFiniteParameters(Diverged, ValueError):
    """A fit that diverged: fastnn's error, and the ValueError that scikit-learn raises."""


class LearningWarning(TrainingWarning, ConvergenceWarning):
    """A fit that learnt nothing: fastnn's warning, and the one that scikit-learn's users know."""


class _Written:
    """Something that shows as a text does without its quotes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class TrainedEstimator(WithWholeParameters):
    """An estimator that trains a `Trainer`, which it keeps as `_trainer`."""

    _weights_name = "coefs_"  # the attribute that a fit leaves
    _reasons: list[tuple[Trainer, str]]  # why trainers of the fit under way have learnt nothing
    _goes_back = False  # whether early stopping keeps the epoch of the best score
    _one_epoch = False  # whether that fit is one without rows to validate on, of `partial_fit`

    def __sklearn_tags__(self) -> Any:
        """Say that X may be sparse."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def to_trainer(self) -> Trainer:
        """Return a Trainer that predicts and trains as this fitted estimator does; a copy.

        Its labels are the places in `classes_`, 0 and 1 where there are two.
        """
        raise NotImplementedError

    @contextmanager
    def _draft(self, going_on: bool = False) -> Iterator[Self]:
        """Give what is to be fitted, and become it: all of it, or nothing where that fails.

        Where nothing was learnt it warns; where it is `going_on`, as with one part of the data
        after another, not of what it has warned of before, but for the numbers.
        """
        draft = type(self).__new__(type(self))
        draft.__dict__.update(vars(self))
        reasons: list[tuple[Trainer, str]] = []
        draft._reasons, draft._one_epoch = reasons, going_on
        trainer, losses = vars(self).get("_trainer"), vars(self).get("loss_curve_", [])
        noted = len(losses)
        try:
            with nullcontext() if trainer is None else trainer.unless_it_fails():
                yield draft
                del draft._reasons, draft._one_epoch
                draft._warn_of(reasons, going_on)
        except BaseException:
            del losses[noted:]  # which `partial_fit` goes on with
            raise
        self.__dict__ = draft.__dict__  # attributes that are gone, such as names of columns, too

    def _fit_trainer(
        self,
        trainer: Trainer,
        X: Any,
        y: Any,
        epochs: int,
        validation: tuple[Any, ...] | None,
        weights: np.ndarray | None,
        callbacks: list[Any],
        **more: Any,
    ) -> None:
        """Have a trainer fit as `Trainer.fit` does, but keep what it would warn of.

        What it would refuse in words of its own arguments is refused in those of an estimator.
        """
        remedy = "" if self._one_epoch else "give fit X_val and y_val, or set early_stopping=True"
        check_callbacks(callbacks, validation is not None, remedy=remedy)
        try:
            trainer._fit_in_turn(
                lambda text: self._reasons.append((trainer, text)),
                X, y, epochs, validation, weights, callbacks, **more,
            )  # fmt: skip
        except InvalidInput as error:
            text = str(error)
            if text.startswith(IN_VALIDATION):
                text = text.removeprefix(IN_VALIDATION)
                error.args = (f"in the rows to validate on, {text}",)
            raise

    def _warn_of(self, reasons: list[tuple[Trainer, str]], going_on: bool) -> None:
        """Warn where nothing was learnt: of several networks, of the one that is left."""
        own = self.__dict__
        told: frozenset[str] = own.pop("_told", frozenset())
        if getattr(self, "n_restarts", 1) > 1:
            reasons = [each for each in reasons if each[0] is own.get("_trainer")]
        if not going_on:
            told = frozenset()
        for _, text in reasons[:1]:
            kind = kind_of(text)
            if kind not in told:
                told |= {kind}
                warn(text.replace(ANEW, "Then fit anew, not from these weights"), LearningWarning)
        if going_on and told:
            self._told = told

    def __copy__(self) -> Self:
        """Return an estimator that is fitted further without this one, and shares its weights."""
        found = type(self).__new__(type(self))
        found.__dict__.update(vars(self))
        for name, value in vars(self).items():
            if isinstance(value, Trainer) or (name.endswith("_") and isinstance(value, list)):
                found.__dict__[name] = copy.copy(value)
        return found

    def _get_params_html(self, *args: Any, **options: Any) -> Any:
        """Return parameters for notebooks, where scikit-learn compares them as arrays.

        A formula, which is none, is shown as it is written. Older versions do not call this.
        """
        formulas = {k: v for k, v in vars(self).items() if isinstance(v, Expression)}
        if not formulas:
            return super()._get_params_html(*args, **options)
        other = copy.copy(self)
        other.__dict__.update({name: _Written(repr(value)) for name, value in formulas.items()})
        return other._get_params_html(*args, **options)

    def _validate_params(self) -> None:
        """Raise for parameters that cannot be, as scikit-learn does; such that were fine are so.

        That takes scikit-learn as long as some epochs of a small fit.
        """
        kind: Any = type(self)
        names = _names_of(kind)
        values = [getattr(self, name) for name in names]
        seed = getattr(self, "random_state", None)
        known = "random_state" in names  # not to a subclass that sets it by itself
        if known and type(seed) is int and 0 <= seed < 1 << 32:  # fine, and a fit has its own
            values[names.index("random_state")] = 0
        scoring = getattr(self, "scoring", None)
        if type(scoring) is str:
            check_name(scoring)
        optimizer = getattr(self, "optimizer", None)
        if isinstance(optimizer, (str, type)):
            same = getattr(self, "solver", None) is not None and optimizer in ("adam", "sgd")
            hint = f"; solver={optimizer!r} has scikit-learn's settings of it" if same else ""
            raise InvalidInput(f"{refusal(optimizer)}{hint}")
        parts = [each for value in values for each in (value if type(value) is tuple else [value])]
        if not _PLAIN.issuperset(map(type, parts)):
            super()._validate_params()
            return
        setting = (kind, *map(type, values), *map(type, parts), *values)
        if setting not in _FINE:
            super()._validate_params()
            if len(_FINE) >= _SETTINGS:
                _FINE.clear()
            _FINE.add(setting)

    def _new_trainer(self, parameters: Any, seed: int = 0, **settings: Any) -> Trainer:
        """Return a Trainer that starts from parameters and knows the columns' names, if any."""
        names = vars(self).get("feature_names_in_")
        trainer = Trainer._starting_from(parameters, seed=seed, **settings)
        if names is not None:
            trainer._begin(None, tuple(map(str, names)))
        return trainer

    def _dtype_for(self, X: Any, trainer: Trainer | None = None) -> np.dtype[Any]:
        """Return the dtype of parameters and arithmetic: `dtype`, or a trainer's, or that of X.

        A mean over all updates is kept in float64: in float32 it hardly moves after some 100,000,
        for what one of them adds is less than its last place.
        """
        settings: Any = self
        if settings.dtype is not None:
            return check_dtype(settings.dtype)
        if trainer is not None:
            return trainer.dtype
        return np.dtype(np.float64) if getattr(self, "average", False) else float_of(X)

    def _check_going_on(self, trainer: Trainer, scaled: bool, incremental: bool) -> None:
        """Raise where weights cannot be gone on with as `dtype` and `standardize` say."""
        settings: Any = self
        remedy = "set it back, or fit anew, with warm_start=False"
        if bool(settings.standardize) != scaled:
            raise InvalidInput(
                f"standardize={settings.standardize!r}, but the weights to go on with are of a fit "
                f"with standardize={scaled}; {remedy}"
            )
        if incremental and settings.dtype not in (None, trainer.dtype):
            raise InvalidInput(
                f"dtype={settings.dtype!r:.40}, but partial_fit goes on with weights and an "
                f"optimizer of {trainer.dtype}; {remedy}"
            )

    def _check_X_y(
        self, X: Any, y: Any, *, reset: bool, read: list[ReadRows] | None = None, **checks: Any
    ) -> tuple[Any, Any]:
        """Return X and y as scikit-learn validates them; sparse X stays sparse.

        Arrays that pass all of its checks as they are, are seen to do so in some microseconds.
        Sparse numbers are looked through once, for `read`, which is given them; where one is not
        finite, scikit-learn says so.
        """
        own = self.__dict__
        X, y = opened(X, "X"), opened(y, "y")
        numeric = checks.get("y_numeric", False)
        if _pass_unchanged(X, y, numeric) and (reset or X.shape[1] == own.get("n_features_in_")):
            if reset:
                self.n_features_in_ = X.shape[1]
                own.pop("feature_names_in_", None)
            if "feature_names_in_" not in own:
                return X, y
        if numeric:  # of several columns scikit-learn would let it pass
            refuse_sparse(y)
        refuse_apparent_numbers(X, "X")
        (refuse_apparent_numbers if numeric else refuse_masked)(y, "y")
        known = None if read is None else _read(X)
        if known is None:
            check_compressed(X, "X")
        check_compressed(y, "y")
        # Sums tell what is finite, and may be infinite themselves.
        with named_columns(X), missing_labels(y, numeric), np.errstate(invalid="ignore"):
            X, y = validate_data(
                self, X, known_text(y), accept_sparse=["csr", "csc"], dtype=KEPT, reset=reset,
                ensure_all_finite=known is None, **checks,
            )  # fmt: skip
            if numeric:
                assert_all_finite(y, input_name="y")  # of objects this has not been seen
        if read is not None and known is not None and known.matrix is X:
            read.append(known)
        return X, y

    def _check_X(self, X: Any) -> Any:
        """Return X as scikit-learn validates it at a prediction.

        A few rows that pass all of its checks are seen to do so in some microseconds.
        """
        own = vars(self)
        if (
            type(X) is np.ndarray
            and X.dtype in FLOATS
            and X.ndim == 2
            and 0 < X.size <= _FEW
            and X.shape[1] == own.get("n_features_in_")
            and self._weights_name in own
            and np.isfinite(X).all()
        ):
            if "feature_names_in_" in own:
                warnings.warn(  # in scikit-learn's words
                    f"X does not have valid feature names, but {type(self).__name__} was fitted "
                    "with feature names",
                    UserWarning,
                    stacklevel=2,
                )
            return X
        check_is_fitted(self)
        X = opened(X, "X")
        refuse_apparent_numbers(X, "X")
        check_compressed(X, "X")
        with named_columns(X):
            return validate_data(self, X, accept_sparse=["csr", "csc"], dtype=KEPT, reset=False)

    def _check_held_out(self, X: Any, y: Any, sample_weight: Any) -> Rows | None:
        """Return the rows to validate on that `fit` was given, checked; None without.

        Raises
        ------
        ValueError, TypeError
            As for the rows to train on, with the names of these arguments before it.
        """
        given = {"X_val": X, "y_val": y, "sample_weight_val": sample_weight}
        missing = [name for name in ("X_val", "y_val") if given[name] is None]
        if len(missing) == 2 and sample_weight is None:
            return None
        if missing:
            there = [name for name, value in given.items() if value is not None]
            raise InvalidInput(
                f"{' and '.join(there)} given without {' and '.join(missing)}; to validate takes "
                "both X_val and y_val"
            )
        try:
            X, y = self._check_rows(X, y, reset=False)
            self._check_known(y)
            rows = Rows(X, y, check_weights(sample_weight, X))
            self._check_scored(rows, drawn=False)
            return rows
        except (ValueError, TypeError) as error:
            error.args = (f"X_val and y_val: {error}",)
            raise

    @abstractmethod
    def _check_rows(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        """Return X and y as scikit-learn validates them; sparse X stays sparse."""

    def _threads_wanted(self, n_jobs: int) -> int:
        """Return how many threads `n_jobs` means, -1 being all there are.

        Raises
        ------
        InvalidInput
            It is 0, or more than an engine takes.
        """
        if n_jobs > MOST_THREADS:
            raise InvalidInput(
                f"n_jobs must be at most {MOST_THREADS}, not {n_jobs}; leave n_jobs=None to have "
                "the number chosen from the work"
            )
        return threads_of(n_jobs)

    def _callbacks(self) -> list[Any]:
        """Return what the caller wants to be called after each epoch."""
        settings: Any = self
        callbacks = settings.callbacks
        if callbacks is None:
            return []
        return [callbacks] if callable(callbacks) else [*callbacks]

    def _check_scored(self, rows: Rows, drawn: bool = True) -> None:
        """Raise where a fit would go back to the best of scores that have no value on some rows."""
        regression = isinstance(self, RegressorMixin) and self._goes_back
        if regression and getattr(self, "early_stopping", False):
            check_spread(getattr(self, "scoring", None), rows.y, rows.sample_weight, drawn)

    def _check_known(self, y: Any) -> None:
        """Raise where labels to validate on are none of `classes_`."""
        classes = getattr(self, "classes_", None)
        if classes is not None and getattr(y, "ndim", 1) == 2 and y.shape[1] != len(classes):
            raise ValueError(f"y_val has {y.shape[1]} columns, but y has {len(classes)}")
        if classes is None or not isinstance(y, np.ndarray) or y.ndim != 1:
            return
        if not len(y) or places_in(classes, y) is not None:
            return
        known = set(classes.tolist())
        unknown = [label for label in dict.fromkeys(y.tolist()) if label not in known]
        if unknown:
            raise ValueError(
                f"y_val has labels that y does not have: {unknown[:5]}; the classes are "
                f"{classes.tolist()[:10]}"
            )


def _read(X: Any) -> ReadRows | None:
    """Look through a sparse X; None for what scikit-learn is to convert, or to refuse."""
    if not issparse(X) or X.format not in ("csr", "csc") or X.dtype not in FLOATS:
        return None
    try:
        return ReadRows.of(X, X.dtype)
    except InvalidInput:
        return None


def _pass_unchanged(X: Any, y: Any, numeric: bool) -> bool:
    """Return whether scikit-learn's checks would give back these arrays, and say nothing."""
    if not (type(X) is type(y) is np.ndarray and X.ndim == 2 and y.ndim == 1):
        return False
    if len(X) != len(y) or not X.size or X.size > _MANY or not X.flags.c_contiguous:
        return False
    if X.dtype not in FLOATS or not (y.dtype in FLOATS or y.dtype.kind in _KINDS[numeric]):
        return False
    return bool(np.isfinite(X).all() and (y.dtype.kind != "f" or np.isfinite(y).all()))


@contextmanager
def drawing(random_state: Any) -> Iterator[np.random.RandomState]:
    """Give what scikit-learn's `check_random_state` returns, to draw from meanwhile.

    For a whole number that is an object which is seeded anew, since NumPy takes fifty times as long
    to make one.
    """
    if type(random_state) is not int:
        yield check_random_state(random_state)
        return
    try:
        random = _SEEDED.pop()
    except IndexError:
        random = np.random.RandomState()
    try:
        random.seed(random_state)
        yield random
    finally:
        _SEEDED.append(random)


_SEEDED: list[np.random.RandomState] = []  # that nobody draws from


@lru_cache
def _names_of(kind: Any) -> tuple[str, ...]:
    """Return the names of the parameters of a class of estimators."""
    return tuple(kind._get_param_names())


def float_of(X: Any) -> np.dtype[Any]:
    """Return in which numbers checked X is computed with."""
    return X.dtype if X.dtype in FLOATS else np.dtype(np.float64)


@contextmanager
def named_columns(X: Any) -> Iterator[None]:
    """Have scikit-learn's error on a NaN or an infinity in a frame say which column it is in."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        if not text.startswith(("Input X contains", "Input contains")):
            raise
        frame = frame_of(X, "X")
        for column in () if frame is None else frame.columns:
            try:
                values = np.asarray(column.read(), np.float64)
            except (TypeError, ValueError):
                continue
            wrong = ~np.isfinite(values)
            if wrong.any():
                where = f"column {column.label!r}, row {int(wrong.argmax())}"
                raise ValueError(f"{text}\nThe first is in {where}.") from error
        raise


@contextmanager
def missing_labels(y: Any, numeric: bool) -> Iterator[None]:
    """Have scikit-learn's error on labels one of which is missing say in which row that is."""
    try:
        yield
    except (ValueError, TypeError):
        if not numeric and len(getattr(y, "shape", (0,))) == 1:
            refuse_unordered(y)
        raise


def check_weights(sample_weight: Any, X: Any) -> np.ndarray | None:
    """Return `sample_weight` (n,) as scikit-learn checks it, or None.

    Raises
    ------
    ValueError
        Another shape, NaN or infinity, or a negative weight.
    """
    if sample_weight is None:
        return None
    sample_weight = opened(sample_weight, "sample_weight")
    refuse_apparent_numbers(sample_weight, "sample_weight")
    return np.asarray(_check_sample_weight(sample_weight, X, ensure_non_negative=True))


def refuse_no_weight(weights: np.ndarray | None, why: str) -> None:
    """Raise `InvalidInput` where nothing that is to be trained on weighs anything; `why` says more.

    A mean of weights that are too small for it to be above 0 is one of nothing, too.
    """
    with np.errstate(over="ignore"):
        none = weights is not None and not weights.mean(dtype=np.float64) > 0.0
    if none:
        raise InvalidInput(f"no row to train on has a weight above 0: {why}")


SET_ASIDE = (
    "those that have one are among the rows that early_stopping sets aside; give fit rows to "
    "validate on as X_val and y_val, or take another random_state"
)
OF_CLASSES = "class_weight times sample_weight is 0 for all of them; give a class of y some weight"


def refuse_negative_counts(loss: Any, y: np.ndarray) -> None:
    """Raise `InvalidInput` for numbers that are no counts where the loss is one of counts.

    Before rows are set aside, so that they are said by the caller's row, and none is left out.
    """
    if loss == "poisson":
        outputs = 1 if y.ndim == 1 else y.shape[1]
        check_targets(y, loss, outputs, len(y), np.dtype(np.float64))


@dataclass(frozen=True)
class Rows:
    """Checked rows: X (n, features), maybe sparse, y as it was given, weights (n,) or None.

    Those that are set aside have `numbers`, (n,), among those that were given.
    """

    X: Any
    y: Any
    sample_weight: np.ndarray | None = None
    numbers: np.ndarray | None = None

    def __len__(self) -> int:
        """Return how many there are."""
        return int(self.X.shape[0])


def split(
    rows: Rows, random_state: Any, fraction: float, stratify: bool, in_order: bool = False
) -> tuple[Rows, Rows]:
    """Return the rows to train on and those to validate on, drawn as scikit-learn draws them.

    Both stay `in_order` if they are to, as rows of files should.

    Raises
    ------
    ValueError
        In scikit-learn's words: fewer than two rows to validate on, or too few of a class; none to
        train on that has a weight.
    """
    numbers = train_test_split(
        np.arange(len(rows)),
        random_state=random_state,
        test_size=fraction,
        stratify=rows.y if stratify else None,
    )
    train, test = map(np.sort, numbers) if in_order else numbers
    weights = rows.sample_weight
    of = [(rows.y[each], None if weights is None else weights[each]) for each in (train, test)]
    of_train, of_test = parted(rows.X, train, test)
    refuse_no_weight(of[0][1], SET_ASIDE)
    training, validation = Rows(of_train, *of[0]), Rows(of_test, *of[1], test)
    if len(validation) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your "
            "dataset."
        )
    return training, validation


def parted(X: Any, train: np.ndarray, test: np.ndarray) -> tuple[Any, Any]:
    """Return some rows of X to train on, without a copy, and others."""
    X = X.tocsr() if is_sparse(X) else X
    return chosen_rows(X, train), X[test]


def scaling_of(rows: Rows) -> Scaling:
    """Return what standardizes the columns of X of some rows."""
    if not isinstance(rows.X, ChosenRows):
        return Scaling.fit(rows.X, rows.sample_weight)
    return Scaling.fit(rows.X.matrix, rows.X.spread(rows.sample_weight))


def scaled(X: Any, scaling: Scaling | None) -> Any:
    """Return X standardized, a copy; X itself where there is no scaling.

    Of some rows of an array all are, so that they keep their numbers.
    """
    if scaling is None:
        return X
    if isinstance(X, ChosenRows):
        return chosen_rows(scaling.apply(X.matrix), X.rows)
    return scaling.apply(X)


def train(
    estimator: TrainedEstimator,
    trainer: Trainer,
    X: Any,
    y: Any,
    weights: np.ndarray | None,
    epochs: int,
    monitor: Monitor,
    callbacks: Iterable[Callable[..., Any]],
    progress: bool = False,
    validation: tuple[Any, ...] | None = None,
    metrics: Metrics = (),
) -> bool:
    """Train for an estimator at most `epochs` epochs; return whether Ctrl-C has ended it.

    Raises
    ------
    NonFiniteParameters
        A loss or a parameter became NaN or infinite; the trainer is as the last good epoch left it.
        Where there are parameters of a best validation score, it is a ConvergenceWarning instead.
    """
    try:
        estimator._fit_trainer(
            trainer, X, y, epochs, validation, weights, [*callbacks, monitor], metrics=metrics,
            progress=progress,
        )  # fmt: skip
    except KeyboardInterrupt:
        warn("Training interrupted by user.", UserWarning)
        return True
    except Diverged as error:
        if monitor.by_score and monitor.best is not None:
            monitor.diverge()
            warnings.warn(
                f"{error}. The parameters of the best validation score so far are kept",
                ConvergenceWarning,
                stacklevel=6,
            )
            return False
        raise NonFiniteParameters(
            "Solver produced non-finite parameter weights. The input data may contain large values "
            f"and need to be preprocessed. {error}",
            error.epoch,
            error.step,
        ) from error
    return False


def seeds_of(random_state: Any) -> Iterator[int]:
    """Yield the seeds of fits: a whole number itself, and others that are drawn from it."""
    if type(random_state) is int:
        yield random_state
    random = check_random_state(random_state)
    while True:
        yield int(random.randint(np.iinfo(np.int32).max))
