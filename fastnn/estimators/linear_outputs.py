"""Outputs of a linear model, x . coef + intercept, and what is said where they overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.extmath import safe_sparse_dot

from fastnn.errors import InvalidInput
from fastnn.estimators.base import float_of
from fastnn.estimators.forward import SCALE_X, parts_of
from fastnn.inputs.sparse_rows import ChosenRows, ReadRows

_STORED = 1 << 18  # numbers of X that become those of the weights at a time


def outputs_of(X: Any, coef: Any, intercept: np.ndarray) -> np.ndarray:
    """Return x . coef + intercept for each row of X: (m, outputs) or, of one output, (m,).

    X (m, features) may be sparse, and so may coef (outputs, features) or (features,); what
    overflows is infinite or NaN, without a warning.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if X.dtype == coef.dtype:
            return _products(X, coef, intercept)
        dtype = np.result_type(float_of(X), coef.dtype)
        parts = parts_of(X, _STORED)  # there is to be no copy of all in other numbers
        return np.concatenate([_products(part.astype(dtype), coef, intercept) for part in parts])


def largest(outputs: np.ndarray) -> np.ndarray:
    """Return the place of the class that outputs mean, (m,) or (m, classes), for each row."""
    return (outputs > 0).astype(np.intp) if outputs.ndim == 1 else outputs.argmax(axis=1)


def _products(X: Any, coef: Any, intercept: np.ndarray) -> np.ndarray:
    if type(X) is np.ndarray and type(coef) is np.ndarray:
        found = X @ coef.T
    else:
        found = safe_sparse_dot(X, coef.T, dense_output=True)
    found = found + intercept
    return np.ravel(found) if found.ndim == 1 or found.shape[1] == 1 else found


def overflow_in(outputs: np.ndarray, what: str = "x . coef_ + intercept_") -> str:
    """Return which output of which row is not finite, in words, or ""."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(outputs.sum()) or np.isfinite(outputs).all():
            return ""
    place = np.argwhere(~np.isfinite(outputs))[0].tolist()
    of_class = f" of output {place[1]}" if len(place) > 1 else ""
    return f"{what}{of_class} for row {place[0]} of X is {outputs[tuple(place)]}"


def refuse_overflow(outputs: np.ndarray, what: str = "x . coef_ + intercept_") -> np.ndarray:
    """Return outputs, or what is made of them, that are all finite.

    Raises
    ------
    InvalidInput
        One that is not.
    """
    found = overflow_in(outputs, what)
    if found:
        raise InvalidInput(
            f"{found}: no {outputs.dtype} holds it, so nothing can be predicted; {SCALE_X}"
        )
    return outputs


def overflow_of_fit(X: Any, W: np.ndarray, b: np.ndarray) -> str:
    """Return what `overflow_in` does of the rows that a model was fitted on, or "".

    W is (features, outputs) and b (outputs,). Weights are sums of multiples of rows: where x . w
    overflows, of which x . x has to be a part, some are larger than the cube root of all numbers,
    unless steps are shorter than its inverse. So X is read where there are such ones only.
    """
    with np.errstate(over="ignore"):
        size = float(np.abs(W).sum(axis=0).max(initial=0.0) + np.abs(b).max(initial=0.0))
    if size <= np.cbrt(np.finfo(np.result_type(W, "f4")).max):
        return ""
    if isinstance(X, ChosenRows):
        X = X.taken()
    return overflow_in(outputs_of(X.matrix if isinstance(X, ReadRows) else X, W.T, b))
