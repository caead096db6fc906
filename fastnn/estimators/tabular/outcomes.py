"""What stands beside the rows of a table: labels, numbers and groups of any library, all there."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d

from fastnn.errors import InvalidInput, shown
from fastnn.estimators.files import refuse_sparse
from fastnn.inputs.arrays import refuse_masked
from fastnn.inputs.frames import as_table, without_dictionaries
from fastnn.tabular.columns import is_absent

_PLAIN = (str, bool, int, float, np.bool_, np.integer, np.floating)
"""Of what a column of objects may be that is one of text, truth values or numbers."""
_NUMBERS = (int, float)  # which may stand side by side


def values_of(values: Any, name: str) -> np.ndarray:
    """Return labels, numbers or groups (n,) as an array that can be sorted, text of fixed width.

    Raises
    ------
    InvalidInput
        Another shape, a missing value, bytes, or values of several types that have no order.
    TypeError
        Values that are sparse, in scikit-learn's words.
    """
    refuse_sparse(values, name)
    refuse_masked(values, name)
    values = without_dictionaries(as_table(values, name))
    given = values
    # Text of NumPy's StringDType, which scikit-learn does not know, and what pandas may have beside
    # values, which it cannot compare.
    dtype: Any = getattr(values, "dtype", None)
    nullable = hasattr(dtype, "kind") and not isinstance(dtype, np.dtype)  # pandas' own
    if nullable or getattr(dtype, "kind", "") not in (*"biufcmMUS",):
        # Of gaps scikit-learn would make NaN, and of truth values and whole numbers then floats.
        given = np.asarray(values, object if nullable and dtype.kind in "biuf" else None)
        if given.dtype.kind in "TO":
            given = given.astype(object)
            check_there(given, name)
            cells = given.tolist() if given.ndim == 1 else []
            alike = len({*map(type, cells)}) == 1 or all(type(cell) in _NUMBERS for cell in cells)
            if cells and isinstance(cells[0], _PLAIN) and alike:
                given = np.array(cells)
        elif given.dtype.kind in "fmM":
            check_there(given, name)
    elif values.dtype.kind in "mM":
        given = np.asarray(values)
        check_there(given, name)
    elif values.dtype.kind == "f" and np.isnan(np.asarray(values)).any():
        check_there(np.asarray(values), name)
    try:
        found: np.ndarray = column_or_1d(given, warn=True)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name}: {error}") from error
    if found.dtype.kind == "S":
        raise InvalidInput(f"{name} has bytes, such as {found[0]!r:.40}; decode them to text first")
    if found.dtype == object:
        check_order(found, name)
    return found


def check_there(values: np.ndarray, name: str) -> None:
    """Raise where a value is missing."""
    cells = values.ravel() if values.dtype.kind in "mM" else values.ravel().tolist()
    row = next((row for row, cell in enumerate(cells) if is_absent(cell)), None)
    if row is not None:
        what = cells[row]
        raise InvalidInput(
            f"Input {name} contains {'NaN' if what is not None else 'None'}: there is no value in "
            f"row {row}; leave rows without one out"
        )


def check_order(values: np.ndarray, name: str) -> None:
    """Raise where values cannot be sorted."""
    try:
        np.unique(values)
    except TypeError:
        kinds = {type(value).__name__: value for value in values.tolist()}
        if len(kinds) == 1:
            ((kind, value),) = kinds.items()
            how = f", such as with [each.name for each in {name}]" * isinstance(value, Enum)
            raise InvalidInput(
                f"{name} has values of the type {kind}, such as {shown(value):.60}, which have no "
                f"order; make text or numbers of them{how}"
            ) from None
        examples = " and ".join(f"{shown(value):.30} ({kind})" for kind, value in kinds.items())
        raise InvalidInput(
            f"{name} has values of several types, {examples:.120}; make them all text, or all "
            "numbers"
        ) from None
