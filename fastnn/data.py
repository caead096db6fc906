"""What the caller hands in, checked and brought to the form that every target reads.

Features pass as they lie in memory; only what no target can read (integers, half precision, foreign
byte order) is converted. Every error names the array, the place, the value and the remedy, and is
raised before anything has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.arrays import check_finite, first_place, name_value, real_numbers
from fastnn.errors import InvalidInput
from fastnn.rules.table import LOSSES, loss_row, unknown_name

if TYPE_CHECKING:
    from fastnn.problem import Problem


@dataclass(frozen=True, eq=False)
class Data:
    """Rows that an engine can train on or evaluate.

    Attributes
    ----------
    X
        Features (n, k), float32 or float64, any strides, maybe read-only, maybe the caller's own
        memory; never written to.
    targets
        int64 (n,) for a loss over classes, else (n, outputs) of the problem's dtype; C-contiguous.
    weights
        Weight of each row, float64 (n,), C-contiguous; None: every row counts 1.
    """

    X: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.X)


def check_data(
    problem: Problem,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    what: tuple[str, str] = ("X", "y"),
) -> Data:
    """Return features, targets and weights as `problem` needs them.

    Parameters
    ----------
    problem
        Gives the number of inputs and outputs, the loss and the dtype.
    X, y, sample_weight
        As for `check_features`, `check_targets` and `check_weights`.
    what
        What messages call X and y.

    Raises
    ------
    InvalidInput
        Anything that cannot be trained on.
    """
    network = problem.network
    features = check_features(X, network.inputs, problem.dtype, what[0])
    n = len(features)
    targets = check_targets(y, problem.loss, network.outputs, n, problem.dtype, what[1])
    weights = None if sample_weight is None else check_weights(sample_weight, n)
    return Data(features, targets, weights)


def check_validation(problem: Problem, data: Any) -> Data | None:
    """Return what `fit` takes as `validation_data`, checked; None for None.

    Raises
    ------
    InvalidInput
        Neither (X, y) nor (X, y, sample_weight), or something that `check_data` refuses.
    """
    if data is None:
        return None
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise InvalidInput(
            "validation_data must be (X, y) or (X, y, sample_weight), not "
            f"a {type(data).__name__}"
            + (f" of {len(data)}" if isinstance(data, (tuple, list)) else "")
        )
    try:
        return check_data(problem, *data)
    except InvalidInput as error:
        raise InvalidInput(f"in validation_data, {error}") from error


def check_features(X: Any, inputs: int, dtype: np.dtype, what: str = "X") -> np.ndarray:
    """Return `X` as a floating array (m, inputs) without NaN or infinity.

    float32 and float64 arrays in native byte order come back as they are, whatever their strides
    and whatever `dtype` says; everything else becomes a new array of `dtype`.

    Raises
    ------
    InvalidInput
        Wrong rank or width, no rows, not numbers, masked or sparse, NaN, infinity, or a number too
        large for `dtype`.
    """
    array = real_numbers(X, what)
    if array.ndim == 1 and len(array):
        raise InvalidInput(
            f"{what} has shape {array.shape} but must be two-dimensional, one row a sample: "
            f"{what}.reshape(-1, 1) for one feature, {what}.reshape(1, -1) for one sample"
        )
    if array.ndim == 0 or array.ndim > 2:
        raise InvalidInput(
            f"{what} has shape {array.shape} but must be two-dimensional, one row a sample; "
            f"flatten samples with {what}.reshape(len({what}), -1)"
        )
    if len(array) == 0:
        raise InvalidInput(f"{what} has no rows (shape {array.shape}); pass at least one")
    if array.shape[1] != inputs:
        raise InvalidInput(
            f"{what} has {array.shape[1]} columns but the network has {inputs} inputs; "
            f"pass an array of shape ({len(array)}, {inputs})"
        )
    check_finite(array, dtype, what)
    # A dtype in foreign byte order equals neither of the two.
    if array.dtype in (np.float32, np.float64) and array.flags.aligned:
        return array
    return array.astype(dtype, order="C")


def check_targets(
    y: Any, loss: Any, outputs: int, n: int, dtype: np.dtype, what: str = "y"
) -> np.ndarray:
    """Return `y` as the loss reads it, C-contiguous; not copied where it is so already.

    Labels of classes become int64 (n,); they may come as (n,) or (n, 1), integers or integral
    floats, 0..outputs-1. Other targets become (n, outputs) of `dtype`; for one output they may
    come as (n,). Binary targets are 0 and 1.

    Raises
    ------
    InvalidInput
        An unknown loss, a wrong shape or length, not numbers, or a value that the loss cannot take.
    """
    if isinstance(loss, str) and loss not in LOSSES:
        raise unknown_name("loss", loss, LOSSES)
    row = loss_row(loss)
    kind, loss_name = row.targets, row.name
    array = real_numbers(y, what)
    columns = 1 if kind == "classes" else outputs
    if columns == 1 and array.ndim == 1:
        array = array.reshape(-1, 1)
    if array.ndim != 2 or array.shape[1] != columns:
        hint = ""
        if kind == "classes" and array.ndim == 2:
            hint = f"; of one-hot rows pass {what}.argmax(axis=1)"
        expected = f"({n},) or ({n}, 1)" if columns == 1 else f"({n}, {columns})"
        raise InvalidInput(
            f"{what} has shape {array.shape} but {loss_name} with {outputs} "
            f"output{'s' * (outputs != 1)} takes {expected}{hint}"
        )
    if len(array) != n:
        raise InvalidInput(f"{what} has {len(array)} rows but there are {n} samples; pass one each")
    if kind == "classes":
        return _class_indices(array, outputs, what)
    check_finite(array, dtype, what)
    if kind == "binary":
        _check_binary(array, loss_name, what)
    return np.require(array, dtype, ["C", "A"])


def check_weights(sample_weight: Any, n: int) -> np.ndarray:
    """Return `sample_weight` as float64 (n,), C-contiguous.

    Raises
    ------
    InvalidInput
        Wrong shape, a weight that is negative, NaN or infinite, or a sum that is not positive.
    """
    what = "sample_weight"
    array = real_numbers(sample_weight, what)
    if array.shape != (n,):
        raise InvalidInput(f"{what} has shape {array.shape} but must be ({n},), one weight a row")
    column = array.reshape(-1, 1)
    check_finite(column, np.dtype(np.float64), what)
    place = first_place(column, lambda block: block < 0)
    if place is not None:
        raise InvalidInput(
            f"{what} {name_value(column, place)} is negative; weights are at least 0"
        )
    weights = np.require(array, np.float64, ["C", "A"])
    with np.errstate(over="ignore"):
        total = float(weights.sum())
    if not 0.0 < total < np.inf:
        raise InvalidInput(
            f"{what} sums to {total:g} but needs a positive, finite sum; scale the weights"
            if total
            else f"{what} is 0 in every row; give at least one row a positive weight"
        )
    return weights


def _class_indices(array: np.ndarray, outputs: int, what: str) -> np.ndarray:
    """Return the labels (n, 1) as int64 (n,) or raise at the first that is not 0..outputs-1."""
    if array.dtype.kind == "f":
        check_finite(array, array.dtype, what)
        place = first_place(array, lambda block: block != np.floor(block))
        if place is not None:
            raise InvalidInput(
                f"{what} {name_value(array, place)} is fractional; labels are whole numbers "
                f'0..{outputs - 1} (for a regression choose loss="mse")'
            )
    if array.dtype.kind != "b":
        place = first_place(array, lambda block: (block < 0) | (block >= outputs))
        if place is not None:
            label = int(array[place])
            remedy = (
                "number the classes from 0, such as with numpy.unique(y, return_inverse=True)[1]"
                if label < 0 or label == outputs
                else "give the last layer one unit a class"
            )
            raise InvalidInput(
                f"{what} has label {label} at row {place[0]}, but the network has {outputs} "
                f"output{'s' * (outputs != 1)}: labels are 0..{outputs - 1}; {remedy}"
            )
    return np.require(array.reshape(-1), np.int64, ["C", "A"])


def _check_binary(array: np.ndarray, loss_name: str, what: str) -> None:
    """Raise at the first value of `array` that is neither 0 nor 1."""
    if array.dtype.kind == "b":
        return
    place = first_place(array, lambda block: (block != 0) & (block != 1))
    if place is None:
        return
    if array[place] == -1:
        remedy = f"turn labels -1 and +1 into 0 and 1 with ({what} + 1) / 2"
    else:
        remedy = 'for more than two classes choose loss="softmax_cross_entropy"'
    raise InvalidInput(
        f"{what} {name_value(array, place)}, but {loss_name} takes 0 and 1; {remedy}"
    )
