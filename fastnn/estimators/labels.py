"""Labels of any kind, and what the engine reads in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
    unique_labels,
)

from fastnn.arguments import explained
from fastnn.errors import InvalidInput
from fastnn.estimators.files import opened
from fastnn.inputs.frames import without_dictionaries

_TEXT = {str, np.str_}
_COUNTED = 1 << 10  # so many numbers, beside one for each row, are counted in a table


class UnorderedLabels(InvalidInput, TypeError):
    """Labels that cannot be sorted: fastnn's error, and the TypeError that scikit-learn raises."""


class ScoredLabels(ClassifierMixin):
    """A classifier of scikit-learn's, for which labels may be text of NumPy's `StringDType`."""

    @explained
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of rows of X whose label, or labels, are those of y, weighted."""
        y, sample_weight = opened(y, "y"), opened(sample_weight, "sample_weight")
        try:
            return float(super().score(X, known_text(y), sample_weight))
        except (TypeError, ValueError):
            refuse_unordered(y)
            raise


def known_text(y: Any) -> Any:
    """Return labels; those of NumPy's `StringDType`, which scikit-learn does not know, as text.

    >>> known_text(np.array(["yes", "no"], np.dtypes.StringDType()))
    array(['yes', 'no'], dtype='<U3')
    """
    if not isinstance(y, np.ndarray) or y.dtype.kind != "T":
        return y
    found = y.astype(object)
    return found.astype(str) if all(isinstance(each, str) for each in found.flat) else found


def refuse_unordered(y: Any, what: str = "y") -> None:
    """Raise `UnorderedLabels` where a label of some (n,) is missing, or they have no order.

    Of objects alone: for those whose sorting fails, or that scikit-learn refuses.

    >>> refuse_unordered(np.array(["yes", None, "no"], object))
    Traceback (most recent call last):
        ...
    fastnn.estimators.labels.UnorderedLabels: Input y contains None: there is no value in row 1; \
leave rows without one out
    """
    from fastnn.estimators.tabular.outcomes import check_order, check_there

    values = y if isinstance(y, np.ndarray) else np.asarray(y, object)
    if values.dtype == object and values.ndim == 1:
        try:
            check_there(values, what)
            check_order(values, what)
        except InvalidInput as error:
            raise UnorderedLabels(str(error)) from None


def sorted_classes(y: Any) -> np.ndarray:
    """Return the sorted labels of `y` (n,), or of an indicator of several labels a row.

    Raises
    ------
    ValueError
        In scikit-learn's words: what are no labels. `UnorderedLabels`: those that have no order.
    """
    classes = classes_of(y) if isinstance(y, np.ndarray) else None
    if classes is None:
        refuse_unordered(y)
        # Objects that are strings become those.
        classes = unique_labels(np.unique(y) if getattr(y, "ndim", 2) == 1 else y)
    return classes


def first_call(estimator: Any, classes: Any) -> bool:
    """Return whether `partial_fit` is called first; an estimator has `classes` as its own then.

    Raises
    ------
    ValueError
        In scikit-learn's words: none in the first call, or other ones than those of the first.
    """
    classes, known = known_text(without_dictionaries(classes)), getattr(estimator, "classes_", None)
    if (
        type(classes) is type(known) is np.ndarray
        and classes.dtype == known.dtype
        and np.array_equal(classes, known)
    ):
        return False  # sorted as they are, which takes scikit-learn as long as a short epoch
    if classes is not None:
        refuse_unordered(classes, "classes")
    return bool(_check_partial_fit_first_call(estimator, classes))


def classes_of(y: np.ndarray) -> np.ndarray | None:
    """Return the sorted labels of `y` (n,), which are scikit-learn's `unique_labels`, but sooner.

    Text in objects is hashed, and whole numbers that lie close together are counted. None: it takes
    scikit-learn to tell whether those are labels.

    >>> classes_of(np.array(["yes", "no", "yes"], object))
    array(['no', 'yes'], dtype='<U3')
    >>> classes_of(np.array([2.0, 1.0, 1.0]))
    array([1., 2.])
    """
    if y.ndim != 1 or not len(y):
        return None
    if y.dtype == object:
        values = y.tolist()
        return np.asarray(sorted(set(values))) if set(map(type, values)) <= _TEXT else None
    whole, native = _whole_numbers(y), y.dtype.newbyteorder("=")
    if whole is not None:
        low, high = int(whole.min()), int(whole.max())
        if high - low < _COUNTED + len(y):
            counts = np.bincount(np.subtract(whole, low, dtype=np.int64))
            return (np.flatnonzero(counts) + low).astype(native)
    elif y.dtype.kind not in "uU":
        return None
    return np.unique(y).astype(native, copy=False)


def places_in(classes: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """Return the place of each label of `y` (n,) in sorted `classes`, int64; None: one has none.

    >>> places_in(np.array(["no", "yes"]), np.array(["yes", "no"], object))
    array([1, 0])
    """
    if y.dtype == object:
        known = {label: place for place, label in enumerate(classes.tolist())}
        try:
            return np.fromiter(map(known.__getitem__, y.tolist()), np.int64, len(y))
        except (KeyError, TypeError):  # of what is none of them, or cannot be hashed
            return None
    of_classes = _whole_numbers(classes) if len(y) and y.dtype == classes.dtype else None
    whole = None if of_classes is None else _whole_numbers(y)
    if whole is not None and of_classes is not None:
        low, high = int(of_classes[0]), int(of_classes[-1])
        if whole.min() < low or whole.max() > high:
            return None
        if high - low < _COUNTED + len(y):
            table = np.full(high - low + 1, -1)
            table[np.subtract(of_classes, low, dtype=np.int64)] = np.arange(len(classes))
            places = table[np.subtract(whole, low, dtype=np.int64)]
            return None if places.min() < 0 else places
    places = np.searchsorted(classes, y).astype(np.int64, copy=False)
    places[places == len(classes)] = 0
    return None if np.any(classes[places] != y) else places


def _whole_numbers(y: np.ndarray) -> np.ndarray | None:
    """Return numbers as integers that int64 holds; None where they are none."""
    if y.dtype.kind == "b":
        return y.view(np.uint8)
    if y.dtype.kind in "iu":
        return None if y.dtype == np.uint64 and y.max() >= 1 << 63 else y
    if y.dtype.kind != "f":
        return None
    with np.errstate(invalid="ignore"):
        whole = y.astype(np.int64)
    return whole if (whole == y).all() else None


@dataclass(frozen=True)
class Labels:
    """The classes of a classifier, and how its outputs tell them.

    Attributes
    ----------
    classes
        Sorted; of several labels a row, the numbers of the columns.
    kind
        "binary" (one class, too), "multiclass" or "multilabel".
    sparse
        Whether several labels came as a sparse matrix, and are given back as one.
    """

    classes: np.ndarray
    kind: str
    sparse: bool = False

    @classmethod
    def of(cls, y: Any) -> Labels:
        """Return the labels that `y` has: (n,), or an indicator matrix (n, labels).

        Raises
        ------
        ValueError
            In scikit-learn's words: targets that are no labels, or none at all.
        """
        classes = classes_of(y) if isinstance(y, np.ndarray) else None
        if classes is not None:
            return cls(classes, "multiclass" if len(classes) > 2 else "binary")
        refuse_unordered(y)
        kind = type_of_target(y, input_name="y")
        if "multioutput" in kind:
            raise ValueError("Multioutput target data is not supported with label binarization")
        if y.shape[0] == 0:
            raise ValueError(f"y has 0 samples: {y!r}")
        classes = unique_labels(y)
        if kind.startswith("multilabel"):
            return cls(classes, "multilabel", scipy.sparse.issparse(y))
        return cls(classes, "multiclass" if len(classes) > 2 else "binary")

    @property
    def outputs(self) -> int:
        """How many columns an indicator of these labels has."""
        return 1 if self.kind == "binary" else len(self.classes)

    def places(self, y: Any) -> np.ndarray:
        """Return the place in `classes` of each label of `y` (n,), int64 (n,).

        Raises
        ------
        ValueError
            A label that is none of them.
        """
        places = places_in(self.classes, y)
        if places is None:
            raise ValueError(
                f"y has labels that are not among the classes {self.classes.tolist()[:10]}"
            )
        return places

    def coded(self, y: Any) -> np.ndarray:
        """Return `places`; or of several labels a row, whether it has each, bool (n, labels)."""
        if self.kind != "multilabel":
            return self.places(y)
        dense = y.toarray() if scipy.sparse.issparse(y) else np.asarray(y)
        return dense.astype(bool)

    def indicator(self, coded: np.ndarray) -> np.ndarray:
        """Return for each row and output whether that is a label of the row's, bool (n, outputs).

        The one output of two classes is for the second of them. `coded` is what that function
        returns.
        """
        if self.kind == "multilabel":
            return coded
        return coded[:, None] == (1 if self.kind == "binary" else np.arange(len(self.classes)))

    def found(self, scores: np.ndarray, threshold: float | np.ndarray = 0.0) -> np.ndarray:
        """Return what scores (n, outputs) mean: places in `classes` (n,), or labels, bool.

        The largest of several classes; of two, and of each of several labels, whether the score is
        above `threshold`, one number or one for each output.
        """
        if self.kind == "multilabel":
            return scores > threshold
        if scores.shape[1] > 1:
            return scores.argmax(axis=1)
        if len(self.classes) == 1:
            return np.zeros(len(scores), np.int64)
        return (scores[:, 0] > threshold).astype(np.int64)

    def decode(self, scores: np.ndarray, threshold: float | np.ndarray = 0.0) -> Any:
        """Return the labels that scores (n, outputs) mean, as they came; see `found`."""
        found = self.found(scores, threshold)
        if self.kind != "multilabel":
            return self.classes[found]
        numbers = found.astype(np.int64)
        return scipy.sparse.csr_matrix(numbers) if self.sparse else numbers

    def check_again(self, y: Any, warm_start: bool) -> None:
        """Raise scikit-learn's error where `y` has other classes than a fit before this one."""
        several = y.ndim == 2 and y.shape[1] > 1
        if several != (self.kind == "multilabel"):
            raise ValueError(
                "The object was not fitted with multilabel input."
                if several
                else f"y has one label a row, but the last fit had {len(self.classes)} columns of "
                "labels; give as many, or fit anew, with warm_start=False"
            )
        classes = sorted_classes(y)
        if warm_start:
            if set(classes) != set(self.classes):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {self.classes}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes}. "
                f"'y' has {classes}."
            )
