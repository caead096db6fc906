"""Weights of rows and of single targets, and targets that are missing.

A missing target is one of weight 0: it counts in no sum, whatever stands in its place.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.inputs.arrays import (
    as_table,
    check_finite,
    first_place,
    labels_of,
    name_value,
    numbers_anywhere,
)
from fastnn.inputs.device_arrays import to_host
from fastnn.rules.table import loss_row

if TYPE_CHECKING:
    from fastnn.inputs.device_arrays import Reader

# Beyond these the products with losses would be rounded to few bits, or overflow.
_SMALLEST, _LARGEST = 1e-200, 1e200


def check_weights(
    sample_weight: Any, n: int, reader: Reader | None = None, outputs: int = 1, loss: Any = "mse"
) -> np.ndarray:
    """Return `sample_weight` as float64, C-contiguous, of a size that sums and products allow.

    Weights on a device are copied to the host, where the sums of the weights of batches are made.

    Parameters
    ----------
    sample_weight
        (n,) or (n, 1), a weight for each row; or (n, outputs), one for each target, where the loss
        of a row is a mean over its outputs.
    n, outputs
        Rows, and outputs of the network.
    reader
        What the target reads arrays on a CUDA device with; None: it does not.
    loss
        A name, or a user-defined loss.

    Returns
    -------
    ndarray
        (n,) or (n, outputs). Very large and very small weights are multiplied by a power of 2: only
        ratios matter.

    Raises
    ------
    InvalidInput
        Wrong shape, a weight that is negative, NaN or infinite, or no weight above 0.
    """
    what = "sample_weight"
    sample_weight = as_table(sample_weight, what)
    array = numbers_anywhere(sample_weight, what, reader)
    _check_shape(array.shape, n, outputs, loss, what)
    array = to_host(array)
    columns = array.reshape(n, -1)
    labels = labels_of(sample_weight, what)
    check_finite(columns, np.dtype(np.float64), what, labels=labels)
    place = first_place(columns, "negative")
    if place is not None:
        raise InvalidInput(
            f"{what} {name_value(columns, place, labels)} is negative; weights are at least 0"
        )
    given = array.reshape(n) if columns.shape[1] == 1 else array
    weights = np.require(given, np.float64, ["C", "A"])
    if not weights.any():
        one = "row" if weights.ndim == 1 else "target"
        raise InvalidInput(f"{what} is 0 in every row; give at least one {one} a positive weight")
    return _scaled(weights)


def _check_shape(shape: tuple[int, ...], n: int, outputs: int, loss: Any, what: str) -> None:
    """Raise `InvalidInput` for a shape that weights cannot have."""
    if shape in ((n,), (n, 1)):
        return
    row = loss_row(loss)
    if shape == (n, outputs) and not row.rowwise:
        return
    if shape == (n, outputs):
        raise InvalidInput(
            f"{what} has shape {shape} but must be ({n},): {row.name} is a loss of the whole row, "
            "whose outputs have no weights of their own; pass one weight a row, such as that of "
            "its class, class_weights[y]"
        )
    more = outputs > 1 and not row.rowwise
    raise InvalidInput(
        f"{what} has shape {shape} but must be ({n},), one weight a row"
        + (f", or ({n}, {outputs}), one a target" if more else "")
    )


def _scaled(weights: np.ndarray) -> np.ndarray:
    """Return the weights, multiplied by a power of 2 where their size asks for it."""
    largest = float(weights.max())
    if _SMALLEST < largest < _LARGEST:
        return weights
    return np.ldexp(weights, -math.frexp(largest)[1])


def row_means(weights: np.ndarray) -> np.ndarray:
    """Return the weight of each row, (n,): the mean of those of its targets."""
    return weights if weights.ndim == 1 else weights.mean(axis=1)


def fill_missing(y: Any, what: str, reader: Reader | None) -> tuple[Any, np.ndarray | None]:
    """Return targets of any shape without NaN, and where there was one; None: nowhere.

    A missing target becomes 0, which is right for every kind. Targets on a device are copied to the
    host where some are missing.

    Raises
    ------
    InvalidInput
        Not real numbers, or all of them missing.
    """
    array = numbers_anywhere(y, what, reader, missing=True)
    if array.dtype.kind != "f":
        return y, None
    there = to_host(array)
    missing = np.isnan(there)
    if not missing.any():
        return y, None
    if missing.all():
        raise InvalidInput(
            f"{what} is NaN everywhere, so that there is nothing to compare outputs with; pass at "
            "least one target that is a number"
        )
    return np.where(missing, there.dtype.type(0), there), missing


def without_missing(weights: np.ndarray | None, missing: np.ndarray, what: str) -> np.ndarray:
    """Return weights that are 0 where a target is missing.

    Parameters
    ----------
    weights
        As `check_weights` returns them; None: every row counts 1.
    missing
        bool (n,) or (n, outputs).
    what
        What messages call the targets.

    Raises
    ------
    InvalidInput
        No target that is there has a weight above 0.
    """
    missing = missing.reshape(len(missing), -1)
    rows = np.ones(1) if weights is None else weights
    each = np.where(missing, 0.0, rows if rows.ndim == 2 else rows[:, None])
    each = np.ascontiguousarray(each)
    if not each.any():
        raise InvalidInput(
            f"{what} is NaN wherever sample_weight is above 0; give at least one target that is a "
            "number a positive weight"
        )
    return _scaled(each[:, 0] if each.shape[1] == 1 else each)
