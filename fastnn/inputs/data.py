"""What the caller hands in, checked and brought to the form that every target reads.

Features pass as they lie in memory; only what no target can read (integers of 64 bits, extended
precision, foreign byte order, frames whose columns lie apart) is converted. For a target that reads
arrays on a CUDA device, those stay there, and are checked there by the same rules; any other
refuses them, for a copy to the host is the caller's choice. Every error names the array, the place
(the column as a frame calls it), the value and the remedy, and is raised before anything has
changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import InvalidInput, whole
from fastnn.inputs.arrays import (
    BLOCK,
    Labels,
    as_table,
    check_finite,
    first_place,
    labels_of,
    name_value,
    numbered,
    numbers_anywhere,
    row_number,
)
from fastnn.inputs.device_arrays import DeviceArray, to_host
from fastnn.inputs.frames import Frame, check_names, feature_names
from fastnn.inputs.magnitudes import Magnitudes, of_features, of_targets
from fastnn.inputs.memory import check_memory
from fastnn.inputs.sparse_rows import ChosenRows, check_sparse, is_sparse
from fastnn.inputs.table_files import TableRows, of_table
from fastnn.inputs.weights import check_weights, fill_missing, row_means, without_missing
from fastnn.network import unknown_inputs
from fastnn.rules.table import LOSSES, loss_row, unknown_name

if TYPE_CHECKING:
    from fastnn.inputs.device_arrays import Reader
    from fastnn.inputs.problem import Problem


# What every target reads as it lies, converting a batch at a time. Integers of 64 bits are not
# among them: a copy in float32 is half as large, and processors convert them slowly.
READABLE = tuple(
    np.dtype(name)
    for name in (
        "float32", "float64", "float16", "bool", "int8", "uint8", "int16", "uint16", "int32",
        "uint32",
    )
)  # fmt: skip
IN_VALIDATION = "in validation_data, "  # how messages on those begin
SUM_TOLERANCE = 1e-3  # of the probabilities of a row: that of half precision, and of rounded tables


class UnknownLabel(InvalidInput):
    """Labels of classes that are beyond the outputs of a network; the largest is `label`."""

    label = 0


@dataclass(frozen=True, eq=False)
class Data:
    """Rows that an engine can train on or evaluate.

    Attributes
    ----------
    X
        Features (n, k), of a dtype in `READABLE`, any strides, maybe read-only, maybe the caller's
        own memory; never written to. A `DeviceArray` if they are on a device, `SparseRows` if they
        are sparse, `TableRows` if they are many in the files of a table.
    targets
        Labels of classes, int64 (n,); or soft labels or numbers, (n, outputs) of the problem's
        dtype; C-contiguous.
        A `DeviceArray` if they are on a device.
    weights
        Of each row, (n,), or of each target, (n, outputs); float64, C-contiguous; None: all count
        1. A weight of 0 leaves out what it belongs to, whatever stands there.
    names
        Of the columns of X, where it came as a frame that has any.
    """

    X: Any
    targets: Any
    weights: np.ndarray | None = None
    names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.X)

    def in_order(self, places: np.ndarray) -> np.ndarray:
        """Return which rows are at places of an order: these."""
        return places

    @property
    def form(self) -> Any:
        """What an engine prepares for: X, or of rows in files one of the same form."""
        return np.zeros((1, self.X.shape[1]), self.X.dtype) if self.streams else self.X

    @property
    def streams(self) -> bool:
        """Whether X is decoded while it is trained on."""
        return isinstance(self.X, TableRows)

    @cached_property
    def unequal_weights(self) -> np.ndarray | None:
        """`weights`, or None where all are one number above 0, which is to have none."""
        if self.weights is None:
            return None
        low, high = self.weights.min(), self.weights.max()
        return None if 0.0 < low == high else self.weights

    @cached_property
    def target_weights(self) -> np.ndarray | None:
        """`unequal_weights` where targets have weights of their own, (n, outputs)."""
        weights = self.unequal_weights
        return None if weights is None or weights.ndim == 1 else weights

    @property
    def weighting(self) -> int:
        """0: all count the same, 1: rows have weights, 2: so have their targets."""
        return 0 if self.unequal_weights is None else self.unequal_weights.ndim

    @cached_property
    def row_weights(self) -> np.ndarray | None:
        """Of `unequal_weights`, what each row has: the mean of those of its targets, (n,)."""
        return None if self.unequal_weights is None else row_means(self.unequal_weights)

    @cached_property
    def mean_weight(self) -> float:
        """Of `unequal_weights`, the mean over all rows and targets; 1 without them."""
        return 1.0 if self.unequal_weights is None else float(self.unequal_weights.mean())

    @cached_property
    def magnitudes(self) -> tuple[Magnitudes | None, Magnitudes | None]:
        """How large features and targets are, for messages; all of the data is read."""
        return of_features(self), of_targets(self)


@dataclass(frozen=True, eq=False)
class ChosenData(Data):
    """Rows of which an epoch goes through some; X, targets and weights are of all.

    Attributes
    ----------
    rows
        Which, int64 (m,): place p of an order is row rows[p].
    """

    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        """Return the number of rows that are gone through."""
        return len(self.rows)

    def in_order(self, places: np.ndarray) -> np.ndarray:
        """Return which rows are at these places."""
        found: np.ndarray = self.rows[places]
        return found

    @cached_property
    def unequal_weights(self) -> np.ndarray | None:
        """`weights`, or None where all of those rows are one number above 0."""
        return None if self._alone.unequal_weights is None else self.weights

    @cached_property
    def mean_weight(self) -> float:
        """Over those rows."""
        return self._alone.mean_weight

    @cached_property
    def magnitudes(self) -> tuple[Magnitudes | None, Magnitudes | None]:
        """Of those rows; they are known by their numbers among all."""
        weights = self.weights
        if weights is None:
            weights = ChosenRows(self.X, self.rows).spread()
        return Data(self.X, self.targets, weights).magnitudes

    @cached_property
    def _alone(self) -> Data:
        """Targets and weights of those rows alone."""
        weights = None if self.weights is None else self.weights[self.rows]
        return Data(self.X, self.targets[self.rows], weights)


def check_data(
    problem: Problem,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    what: tuple[str, str] = ("X", "y"),
    reader: Reader | None = None,
    names: tuple[str, ...] | None = None,
    streams: bool = False,
) -> Data:
    """Return features, targets and weights as `problem` needs them.

    Parameters
    ----------
    problem
        Gives the number of inputs and outputs, the loss and the dtype, and whether targets may be
        missing.
    X, y, sample_weight
        As for `check_features`, `check_targets` and `check_weights`.
    what
        What messages call X and y.
    reader
        What the target reads arrays on a CUDA device with; None: it does not.
    names
        The names of the columns, if they are known; those of an `X` that has any are the same.
    streams
        Whether `TableRows` may stay in their files.

    Raises
    ------
    InvalidInput
        Anything that cannot be trained on.
    """
    X, y, sample_weight = of_table(X, y, sample_weight, what[0])
    X, y = as_table(X, what[0]), as_table(y, what[1])
    inputs, dtype = problem.network.inputs, problem.dtype
    if isinstance(X, ChosenRows) and streams:
        features = check_features(X.matrix, inputs, dtype, what[0])
        y = numbered(y, X.rows) if isinstance(y, np.ndarray) else y
        targets, weights = check_outcomes(problem, len(X.rows), y, sample_weight, what[1])
        weights = None if weights is None else X.spread(weights)
        return ChosenData(features, X.spread(targets), weights, None, X.rows)
    features = check_features(X, inputs, dtype, what[0], reader, names, streams)
    rows = check_outcomes(problem, len(features), y, sample_weight, what[1], reader)
    own = X.names if isinstance(X, TableRows) else feature_names(X, what[0])
    return Data(features, *rows, own)


def check_outcomes(
    problem: Problem,
    n: int,
    y: Any,
    sample_weight: Any = None,
    what: str = "y",
    reader: Reader | None = None,
) -> tuple[Any, np.ndarray | None]:
    """Return targets and weights of n rows as `problem` needs them; see `check_data`."""
    loss, outputs, missing = problem.loss, problem.network.outputs, None
    y = as_table(y, what)
    labels = labels_of(y, what)
    if problem.ignore_nan:
        y, missing = fill_missing(y, what, reader)
    targets = check_targets(y, loss, outputs, n, problem.dtype, what, reader, labels)
    weights = None
    if sample_weight is not None:
        weights = check_weights(sample_weight, n, reader, outputs, loss)
    if missing is not None:
        weights = without_missing(weights, missing, what)
    return targets, weights


def check_validation(
    problem: Problem,
    data: Any,
    reader: Reader | None = None,
    names: tuple[str, ...] | None = None,
) -> Data | None:
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
        X, y, *weights = data
        weight = weights[0] if weights else None
        return check_data(problem, X, y, weight, reader=reader, names=names)
    except UnknownLabel as error:
        error.args = (f"{IN_VALIDATION}{error}",)
        raise
    except InvalidInput as error:
        raise InvalidInput(f"{IN_VALIDATION}{error}") from error


def check_features(
    X: Any,
    inputs: int | None,
    dtype: np.dtype,
    what: str = "X",
    reader: Reader | None = None,
    names: tuple[str, ...] | None = None,
    streams: bool = False,
) -> Any:
    """Return `X` as an array (m, inputs) of real numbers without NaN or infinity.

    Arrays of a dtype in `READABLE` and in native byte order come back as they are, whatever their
    strides and whatever `dtype` says; so do frames that are such an array inside. Everything else
    becomes a new array of `dtype`, or of smaller integers. What is on a device is a `DeviceArray`,
    and what is sparse `SparseRows`. Files of a table are read into memory, unless they may stream
    and are large: those are `TableRows`.

    Raises
    ------
    InvalidInput
        Wrong rank or width, no rows, not numbers, masked, NaN, infinity, or a number too large for
        `dtype`; names of columns that are not `names`; or a network that does not know its number
        of inputs yet.
    """
    if inputs is None:
        raise unknown_inputs("predict or evaluate")
    if is_sparse(X):
        return check_sparse(X, inputs, dtype, what)
    X, _, _ = of_table(X, None, None, what)
    if isinstance(X, TableRows):
        check_names(X.names, names, what)
        _check_width(X.shape, inputs, what)
        return X.checked(dtype, streams)
    X = as_table(X, what)
    check_names(feature_names(X, what), names, what)
    labels = labels_of(X, what)
    array = numbers_anywhere(X, what, reader, dtype)
    _check_shape(array.shape, what, isinstance(X, Frame))
    _check_width(array.shape, inputs, what)
    check_finite(array, dtype, what, labels=labels)
    if isinstance(array, DeviceArray):
        return array if array.dtype in (np.float32, np.float64) else array.converted(dtype)
    # A dtype in foreign byte order equals none of these.
    if array.dtype in READABLE and array.flags.aligned:
        return array
    check_memory(
        array.size * np.dtype(dtype).itemsize,
        f"{what}, whose dtype {array.dtype} is converted to {np.dtype(dtype)},",
        f"write it as {np.dtype(dtype)}, which is read in place, or pass fewer rows at a time",
    )
    return array.astype(dtype, order="C")


def _check_width(shape: tuple[int, ...], inputs: int | None, what: str) -> None:
    """Raise `InvalidInput` where there are more or fewer columns than inputs."""
    if shape[1] != inputs:
        raise InvalidInput(
            f"{what} has {shape[1]} columns but the network has {inputs} inputs; "
            f"pass an array of shape ({shape[0]}, {inputs})"
        )


def width_of(X: Any, what: str = "X", reader: Reader | None = None) -> int:
    """Return how many columns features have, or raise `InvalidInput` where they are no table."""
    shape = getattr(X, "shape", None)
    if not (isinstance(shape, tuple) and (len(shape) == 2 or is_sparse(X))):
        shape = numbers_anywhere(X, what, reader).shape
    _check_shape(shape, what, False)
    return whole(int(shape[1]), f"the number of columns of {what}", 1)


def _check_shape(shape: tuple[int, ...], what: str, framed: bool) -> None:
    """Raise `InvalidInput` for features that are no table, or one without rows."""
    if len(shape) == 1 and shape[0]:
        remedy = f"{what}.reshape(-1, 1) for one feature, {what}.reshape(1, -1) for one sample"
        if framed:
            remedy = "a frame of one column for one feature, or of one row for one sample"
        raise InvalidInput(
            f"{what} has shape {shape} but must be two-dimensional, one row a sample: {remedy}"
        )
    if len(shape) == 0 or len(shape) > 2:
        raise InvalidInput(
            f"{what} has shape {shape} but must be two-dimensional, one row a sample; "
            f"flatten samples with {what}.reshape(len({what}), -1)"
        )
    if shape[0] == 0:
        raise InvalidInput(f"{what} has no rows (shape {shape}); pass at least one")


def check_targets(
    y: Any,
    loss: Any,
    outputs: int,
    n: int,
    dtype: np.dtype,
    what: str = "y",
    reader: Reader | None = None,
    labels: Labels | None = None,
) -> Any:
    """Return `y` as the loss reads it, C-contiguous.

    Numbers are not copied where they are so already; labels of classes always are. Those become
    int64 (n,); they may come as (n,) or (n, 1), integers or integral floats, 0..outputs-1. Soft
    labels of classes, rows of probabilities, become (n, outputs) of `dtype`: each is at least 0,
    and those of a row sum to 1 to within 1e-3. They are used as they are: the loss is
    -sum_k t_k log softmax(z)_k also where the sum is not quite 1. Other targets become (n, outputs)
    of `dtype`; for one output they may come as (n,). Binary targets are 0 and 1, counts at least 0.
    `labels` are what messages call the columns; None: what a frame does.

    Raises
    ------
    InvalidInput
        An unknown loss, a wrong shape or length, not numbers, or a value that the loss cannot take.
    """
    if isinstance(loss, str) and loss not in LOSSES:
        raise unknown_name("loss", loss, LOSSES)
    row = loss_row(loss)
    kind, loss_name = row.targets, row.name
    y = as_table(y, what)
    labels = labels_of(y, what) if labels is None else labels
    array = numbers_anywhere(y, what, reader)
    soft = kind == "classes" and array.ndim == 2 and array.shape[1] == outputs
    columns = 1 if kind == "classes" and not soft else row.columns or outputs
    if columns == 1 and array.ndim == 1:
        array = array.column() if isinstance(array, DeviceArray) else array.reshape(-1, 1)
    if array.ndim != 2 or array.shape[1] != columns:
        hint = ""
        if kind == "classes" and array.ndim == 2:
            hint = (
                f"; of one-hot rows pass {what}.argmax(axis=1); rows of probabilities have one "
                "column an output"
            )
        expected = f"({n},) or ({n}, 1)" if columns == 1 else f"({n}, {columns})"
        raise InvalidInput(
            f"{what} has shape {array.shape} but {loss_name} with {outputs} "
            f"output{'s' * (outputs != 1)} takes {expected}{hint}"
        )
    if len(array) != n:
        raise InvalidInput(f"{what} has {len(array)} rows but there are {n} samples; pass one each")
    if kind == "classes" and not soft:
        return _class_indices(array, outputs, what, labels)
    remedy = "" if row.rowwise else "leave them out with Trainer(..., ignore_nan=True)"
    check_finite(array, dtype, what, remedy, labels)
    if kind == "binary":
        _check_binary(array, loss_name, what, labels)
    elif kind == "counts" or soft:
        _check_not_negative(array, loss_name, what, "probabilities" if soft else "counts", labels)
    if soft:
        _check_sums(to_host(array), what, labels)
    if isinstance(array, DeviceArray):
        return array.converted(dtype)
    return np.require(array, dtype, ["C", "A"])


def _class_indices(array: Any, outputs: int, what: str, labels: Labels | None) -> Any:
    """Return the labels (n, 1) as int64 (n,) or raise at the first that is not 0..outputs-1.

    They are copied first: compiled code takes a label for an index, so what is checked here must be
    what is read there, whoever writes to the caller's array meanwhile.
    """
    if not isinstance(array, DeviceArray):
        array = array.copy()
    if array.dtype.kind == "f":
        check_finite(array, array.dtype, what, labels=labels)
        place = first_place(array, "fractional")
        if place is not None:
            raise InvalidInput(
                f"{what} {name_value(array, place, labels)} is fractional; labels are whole "
                f'numbers 0..{outputs - 1} (for a regression choose loss="mse")'
            )
    if array.dtype.kind != "b":
        place = first_place(array, "outside", outputs)
        if place is not None:
            label = int(array[place])
            called = label if abs(label) < 10**20 else f"{float(label):g}"
            remedy = (
                "number the classes from 0, such as with numpy.unique(y, return_inverse=True)[1]"
                if label < 0 or label == outputs
                else "give the last layer one unit a class"
            )
            error = UnknownLabel(
                f"{what} has label {called} at row {row_number(place[0], labels)}, but the network "
                f"has {outputs} output{'s' * (outputs != 1)}: labels are 0..{outputs - 1}; {remedy}"
            )
            error.label = int(to_host(array).max())
            raise error
    if isinstance(array, DeviceArray):
        return array.converted(np.int64).flat()
    return np.require(array.reshape(-1), np.int64, ["C", "A"])


def _check_not_negative(
    array: Any, loss_name: str, what: str, of: str, labels: Labels | None
) -> None:
    """Raise at the first value of `array` below 0."""
    place = first_place(array, "negative")
    if place is not None:
        raise InvalidInput(
            f"{what} {name_value(array, place, labels)} is negative, but {loss_name} takes {of}, "
            "which are at least 0"
        )


def _check_sums(array: np.ndarray, what: str, labels: Labels | None) -> None:
    """Raise at the first row of soft labels whose sum is not 1."""
    for start in range(0, len(array), BLOCK):
        sums = array[start : start + BLOCK].sum(axis=1, dtype=np.float64)
        wrong = np.abs(sums - 1) > SUM_TOLERANCE
        if wrong.any():
            row = int(wrong.argmax())
            raise InvalidInput(
                f"{what} sums to {sums[row]:g} in row {row_number(start + row, labels)}, but rows "
                f"of class probabilities sum to 1 (to within {SUM_TOLERANCE:g}); divide each row "
                f"by its sum: {what} / {what}.sum(axis=1, keepdims=True). Labels have the shape "
                "(n,)"
            )


def _check_binary(array: Any, loss_name: str, what: str, labels: Labels | None) -> None:
    """Raise at the first value of `array` that is neither 0 nor 1."""
    if array.dtype.kind == "b":
        return
    place = first_place(array, "binary")
    if place is None:
        return
    if array[place] == -1:
        remedy = f"turn labels -1 and +1 into 0 and 1 with ({what} + 1) / 2"
    elif isinstance(array, np.ndarray) and np.isin(array, (1, 2)).all():
        remedy = f"turn labels 1 and 2 into 0 and 1 with {what} - 1"
    elif 0 < array[place] < 1:
        remedy = (
            'of probabilities choose loss="softmax_cross_entropy" on two outputs, with the rows of '
            f"numpy.column_stack((1 - {what}, {what}))"
        )
    else:
        remedy = 'for more than two classes choose loss="softmax_cross_entropy"'
    raise InvalidInput(
        f"{what} {name_value(array, place, labels)}, but {loss_name} takes 0 and 1; {remedy}"
    )
