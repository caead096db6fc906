"""Matrices without names in units of their columns, float32, in which each number is finite."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.tabular.table import WrongCell

_BLOCK = 8192  # rows scaled together


def dense_in_units(X: np.ndarray, mean: np.ndarray, scale: np.ndarray, first: int) -> np.ndarray:
    """Return ``(X - mean) / scale``; the first column has the number `first`.

    Raises
    ------
    WrongCell
        A number that is not finite, or too large.
    """
    if not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0].tolist()
        raise WrongCell(row, f"column {first + column}: {X[row, column]}")
    found = np.empty(X.shape, np.float32)
    for start in range(0, len(X), _BLOCK):
        block = found[start : start + _BLOCK]
        with np.errstate(over="ignore"):
            block[:] = (X[start : start + _BLOCK] - mean) / scale
        if not np.isfinite(block).all():
            row, column = np.argwhere(~np.isfinite(block))[0].tolist()
            raise _too_large(start + row, first + column, X[start + row, column], scale[column])
    return found


def sparse_in_units(X: Any, scale: np.ndarray, first: int) -> np.ndarray:
    """Return what a CSR stores, divided by `scale`; its first column has the number `first`.

    Raises
    ------
    WrongCell
        A number that is not finite, or too large.
    """
    with np.errstate(over="ignore"):
        found: np.ndarray = (X.data / scale[X.indices]).astype(np.float32)
    wrong = ~np.isfinite(found)
    if wrong.any():
        place = int(wrong.argmax())
        row, column = int(np.searchsorted(X.indptr, place, "right")) - 1, int(X.indices[place])
        raise _too_large(row, first + column, X.data[place], scale[column])
    return found


def _too_large(row: int, name: int, value: float, scale: float) -> WrongCell:
    return WrongCell(
        row,
        f"column {name}: {value:g} is not finite, or too large for float32 in units of {scale:g}, "
        "those of the training; correct it",
    )
