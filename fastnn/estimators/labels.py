"""Labels of any kind, and what the engine reads in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import type_of_target, unique_labels


class ScoredLabels(ClassifierMixin):
    """A classifier of scikit-learn's, for which labels may be text of NumPy's `StringDType`."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of rows of X whose label, or labels, are those of y, weighted."""
        return float(super().score(X, known_text(y), sample_weight))


def known_text(y: Any) -> Any:
    """Return labels; those of NumPy's `StringDType`, which scikit-learn does not know, as text.

    >>> known_text(np.array(["yes", "no"], np.dtypes.StringDType()))
    array(['yes', 'no'], dtype='<U3')
    """
    if not isinstance(y, np.ndarray) or y.dtype.kind != "T":
        return y
    found = y.astype(object)
    return found.astype(str) if all(isinstance(each, str) for each in found.flat) else found


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
        kind = type_of_target(y, input_name="y")
        if "multioutput" in kind:
            raise ValueError("Multioutput target data is not supported with label binarization")
        if y.shape[0] == 0:
            raise ValueError(f"y has 0 samples: {y!r}")
        # Of numbers and strings of one type that is the same, and says so sooner.
        plain = kind in ("binary", "multiclass") and y.dtype != object
        classes = np.unique(y) if plain else unique_labels(y)
        if kind.startswith("multilabel"):
            return cls(classes, "multilabel", scipy.sparse.issparse(y))
        return cls(classes, "multiclass" if len(classes) > 2 else "binary")

    @property
    def outputs(self) -> int:
        """How many columns an indicator of these labels has."""
        return 1 if self.kind == "binary" else len(self.classes)

    def places(self, y: Any) -> np.ndarray:
        """Return the place in `classes` of each label of `y` (n,), int64 (n,)."""
        return np.searchsorted(self.classes, y).astype(np.int64, copy=False)

    def indicator(self, y: Any) -> np.ndarray:
        """Return for each row and output whether that is a label of the row's, bool (n, outputs).

        The one output of two classes is for the second of them.
        """
        if self.kind == "multilabel":
            dense = y.toarray() if scipy.sparse.issparse(y) else np.asarray(y)
            return dense.astype(bool)
        places = self.places(y).reshape(-1, 1)
        return places == (1 if self.kind == "binary" else np.arange(len(self.classes)))

    def found(self, scores: np.ndarray, threshold: float = 0.0) -> np.ndarray:
        """Return what scores (n, outputs) mean: places in `classes` (n,), or labels, bool.

        The largest of several classes; of two, and of each of several labels, whether the score is
        above `threshold`.
        """
        if self.kind == "multilabel":
            return scores > threshold
        if scores.shape[1] > 1:
            return scores.argmax(axis=1)
        if len(self.classes) == 1:
            return np.zeros(len(scores), np.int64)
        return (scores[:, 0] > threshold).astype(np.int64)

    def decode(self, scores: np.ndarray, threshold: float = 0.0) -> Any:
        """Return the labels that scores (n, outputs) mean, as they came; see `found`."""
        found = self.found(scores, threshold)
        if self.kind != "multilabel":
            return self.classes[found]
        numbers = found.astype(np.int64)
        return scipy.sparse.csr_matrix(numbers) if self.sparse else numbers

    def check_again(self, y: Any, warm_start: bool) -> None:
        """Raise scikit-learn's error where `y` has other classes than a fit before this one."""
        classes = unique_labels(y)
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
