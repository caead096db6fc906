"""The weights that a linear model begins with: `coef_init` and `intercept_init`, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.inputs.arrays import refuse_masked


def checked_start(
    coef_init: Any, intercept_init: Any, features: int, outputs: int, dtype: Any
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return W (features, outputs) and b (outputs,) to start from; None where none are given.

    Raises
    ------
    ValueError
        In scikit-learn's words: a shape that does not fit.
    InvalidInput
        Masked, complex, or not finite numbers.
    """
    if coef_init is None and intercept_init is None:
        return None
    W, b = np.zeros((features, outputs), dtype), np.zeros(outputs, dtype)
    if coef_init is not None:
        coef = _numbers(coef_init, "coef_init", dtype)
        if outputs == 1:
            coef = coef.ravel()[None]
        if coef.shape != (outputs, features):
            what, end = ("``coef_``", " ") if outputs > 1 else ("coef_init", "")
            raise ValueError(f"Provided {what} does not match dataset.{end}")
        W = coef.T
    if intercept_init is not None:
        b = _numbers(intercept_init, "intercept_init", dtype)
        if b.shape != (outputs,) and not (outputs == 1 and b.shape == ()):
            raise ValueError("Provided intercept_init does not match dataset.")
        b = b.reshape(outputs)
    return W, b


def _numbers(given: Any, what: str, dtype: Any) -> np.ndarray:
    """Return numbers in a dtype; float64 stays, as weights in the units of X may need it."""
    refuse_masked(given, what)
    array = given.toarray() if hasattr(given, "toarray") else np.asarray(given)
    if array.dtype.kind in "cmM" or np.iscomplexobj(array):
        raise InvalidInput(f"{what} must be real numbers, not of dtype {array.dtype}")
    array = np.asarray(array, np.float64 if array.dtype == np.float64 else dtype)
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = tuple(wrong[0].tolist())
        at = f" at {place[0] if len(place) == 1 else place}" if place else ""
        raise InvalidInput(
            f"{what} must be finite numbers, but is {array[place]}{at}; begin with others, or "
            f"leave {what} out, to begin with zeros"
        )
    return array
