"""Predictions by NumPy alone, for a few rows: neither an engine nor a thread is woken."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import issparse

from fastnn.inputs.arrays import check_finite, unnamed
from fastnn.inputs.problem import Problem
from fastnn.targets.numpy.activations import activation_of

if TYPE_CHECKING:
    from fastnn.inputs.parameters import Parameters

ROWS = 4096  # at a time: what is between two layers stays in the cache
# Of so many products of a layer at a time OpenBLAS wakes no threads of its own, which would keep
# processors busy for another 25 ms: from the fit that comes next, say, in a cross-validation. Where
# that are a few rows only, and of sparse ones, all go together; see `wakes_threads`.
ALONE, FEWEST_ROWS = 1 << 18, 16
SHORT = 1 << 26  # products in all that one thread does sooner than that
# What to do where outputs overflow.
SCALE_X = "scale X, for fit as well (StandardScaler, or standardize=True)"


def parts_of(X: Any, numbers: int) -> Iterator[Any]:
    """Yield X in parts of some rows, which hold about so many numbers; of sparse X stored ones."""
    n, size = X.shape[0], X.nnz if issparse(X) else X.size
    if size <= numbers:
        yield X
        return
    X, rows = X.tocsr() if issparse(X) else X, max(1, numbers * n // size)
    rows -= rows % 64 if rows > 64 else 0  # so that BLAS sums rows as it would those of all
    for start in range(0, n, rows):
        yield X[start : start + rows]


def wakes_threads(X: Any, shapes: Iterable[tuple[int, int]]) -> bool:
    """Return whether OpenBLAS would wake threads for this X, however its rows are cut."""
    largest = max(k * n for k, n in shapes)
    return ALONE // largest < FEWEST_ROWS and X.shape[0] * largest > ALONE and not issparse(X)


def forward(problem: Problem, parameters: Parameters, X: Any) -> np.ndarray:
    """Return the outputs (m, outputs) of the last Dense for features (m, inputs), maybe sparse.

    They are computed in the problem's dtype, which parameters have, whatever that of X is.
    """
    rows, products = ROWS, [k * n for k, n in problem.network.shapes]
    alone = ALONE // max(products)
    if alone >= FEWEST_ROWS and X.shape[0] * sum(products) <= SHORT and not issparse(X):
        rows = min(rows, alone)
    if X.shape[0] <= rows:
        return _forward(problem, parameters, X)
    starts = range(0, X.shape[0], rows)
    return np.concatenate(
        [_forward(problem, parameters, X[start : start + rows], start) for start in starts]
    )


def in_dtype(X: Any, dtype: np.dtype[Any], first: int = 0) -> Any:
    """Return rows in the dtype of the arithmetic, as an engine reads them; X itself if it has that.

    Raises
    ------
    InvalidInput
        A number that `dtype` does not hold; `first` is what messages call the first row.
    """
    if X.dtype == dtype:
        return X
    with np.errstate(over="ignore"):
        found = X.astype(dtype)
    if X.dtype.kind == "f" and X.dtype.itemsize > dtype.itemsize:
        values = found.data if issparse(found) else found
        # A sum of squares takes a third of the time that the largest number does, and is infinite
        # where that is large. What rounds to the largest of all may be above it: X itself tells.
        if not math.isfinite(np.vdot(values, values)):
            largest = np.finfo(dtype).max
            if not -largest < values.min() <= values.max() < largest:
                _refuse_too_large(X, dtype, first)
    return found


def _refuse_too_large(X: Any, dtype: np.dtype[Any], first: int) -> None:
    """Raise for the first number that is too large for `dtype`, in an engine's words."""
    row = 0
    if issparse(X):
        X = X.tocsr()
        entry = int((np.abs(X.data) > np.finfo(dtype).max).argmax())
        row = int(np.searchsorted(X.indptr, entry, side="right")) - 1
        X = X[row : row + 1].toarray()
    numbers = first + row + np.arange(len(X))
    check_finite(X, dtype, "X", labels=unnamed(X.shape).of_rows(numbers))


def _forward(problem: Problem, parameters: Parameters, X: Any, first: int = 0) -> np.ndarray:
    X = in_dtype(X, problem.dtype, first)
    for dense, (W, b, *slopes) in zip(problem.network.dense, parameters, strict=True):
        X = X @ W
        X += b
        if dense.activation == "relu":
            np.maximum(X, 0, out=X)
        elif dense.activation != "identity":
            alpha = slopes[0] if slopes else dense.alpha
            X = activation_of(dense.activation).value(X, alpha)
    found: np.ndarray = X
    return found


def rates_of(outputs: np.ndarray) -> np.ndarray:
    """Return exp of outputs; infinity, beyond what there is a number for."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(outputs))


def shares_of(outputs: np.ndarray) -> np.ndarray:
    """Return the softmax of each row of finite outputs; 0 where no number holds a difference."""
    with np.errstate(over="ignore"):
        found = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return np.asarray(found / found.sum(axis=1, keepdims=True))
