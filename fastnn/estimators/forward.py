"""Predictions by NumPy alone, for a few rows: neither an engine nor a thread is woken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.inputs.problem import Problem
from fastnn.targets.numpy.activations import activation_of

if TYPE_CHECKING:
    from fastnn.inputs.parameters import Parameters

ROWS = 4096  # at a time: what is between two layers stays in the cache


def forward(problem: Problem, parameters: Parameters, X: Any) -> np.ndarray:
    """Return the outputs (m, outputs) of the last Dense for features (m, inputs), maybe sparse."""
    if X.shape[0] <= ROWS:
        return _forward(problem, parameters, X)
    starts = range(0, X.shape[0], ROWS)
    return np.concatenate(
        [_forward(problem, parameters, X[start : start + ROWS]) for start in starts]
    )


def _forward(problem: Problem, parameters: Parameters, X: Any) -> np.ndarray:
    if X.dtype.kind != "f":
        X = X.astype(np.float64)
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
