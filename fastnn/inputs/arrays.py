"""Any array-like as real numbers, and searches through it that need almost no memory.

An array on a CUDA device stays there: the target's kernels search it, by the same rules.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.errors import InvalidInput, shown
from fastnn.inputs.device_arrays import DeviceArray, on_device, open_device_array, refusal
from fastnn.inputs.frames import REMEDIES, TIMES, Column, Frame, frame_of
from fastnn.inputs.memory import check_memory
from fastnn.inputs.npy_files import open_npy
from fastnn.inputs.pages import in_pieces
from fastnn.threads.processors import available_threads
from fastnn.threads.tasks import run_tasks

if TYPE_CHECKING:
    from fastnn.inputs.device_arrays import Reader

# Elements looked at together: small enough for the cache, large enough to hide a NumPy call.
BLOCK = 1 << 16
# So many are looked at by more than one thread, in larger blocks: threads wait for Python's lock
# between two of them.
MANY, LARGE_BLOCK = 1 << 21, 1 << 18
# Columns of a frame that are copied side by side, and of how many rows at a time: whole cache lines
# are written, and stay in the cache until they are full.
COLUMNS, ROWS = 64, 1024

# What values can be found wrong for, given a limit; the CUDA target has the same rules.
WRONG: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "beyond": lambda block, limit: ~(np.abs(block) <= limit),  # NaN too
    "fractional": lambda block, _: block != np.floor(block),
    "outside": lambda block, limit: (block < 0) | (block >= limit),
    "binary": lambda block, _: (block != 0) & (block != 1),
    "negative": lambda block, _: block < 0,
}

_AXES = ("row", "column")
_MAY_HAVE_MASKED = (list, tuple, np.ma.MaskedArray)


class Labels(NamedTuple):
    """What the user knows the columns of an array by.

    Attributes
    ----------
    names
        One for each column.
    fill
        How missing values are filled there, for messages.
    rows
        What the rows are known by, where these are some of many; None: by their places.
    """

    names: tuple[Any, ...]
    fill: str
    rows: np.ndarray | None = None

    def of_rows(self, numbers: np.ndarray) -> Labels:
        """Return these for rows that are known by such numbers."""
        return self._replace(rows=numbers)


class Numbered(np.ndarray):
    """Some rows of an array, which messages are to call by their numbers in that one."""

    rows: np.ndarray | None = None


def numbered(array: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
    """Return an array whose rows have such numbers in messages; None: those that they have."""
    if rows is None:
        return array
    found = array.view(Numbered)
    found.rows = rows
    return found


def unnamed(shape: tuple[int, ...]) -> Labels:
    """Return the labels of an array of this shape, whose columns have no names."""
    return Labels((None,) * (shape[1] if len(shape) > 1 else 1), "numpy.nan_to_num")


def as_table(value: Any, what: str) -> Any:
    """Return a frame or a series as a `Frame`, and everything else as it is.

    That is done once, before anything else, for there are streams that can be read only once.
    """
    frame = None if on_device(value) else frame_of(value, what)
    return value if frame is None else frame


def labels_of(value: Any, what: str) -> Labels | None:
    """Return what messages call the columns of a frame or a series; None of other arrays."""
    if isinstance(value, Numbered) and value.rows is not None:
        return unnamed(value.shape).of_rows(value.rows)
    frame = None if on_device(value) else frame_of(value, what)
    if frame is None:
        return None
    return Labels(frame.labels or (None,), frame.fill.format(what))


def numbers_anywhere(
    value: Any,
    what: str,
    reader: Reader | None,
    dtype: np.dtype | None = None,
    missing: bool = False,
) -> Any:
    """Return `value` as `real_numbers` does, or where it is on a device, as a `DeviceArray`.

    A path is that of a .npy file, and stands for the array in it. `reader` is of a target that
    reads arrays on a device; None refuses them.
    """
    if isinstance(value, (str, bytes, os.PathLike)):
        value = open_npy(value, what)
    if not on_device(value):
        return real_numbers(value, what, dtype, missing)
    array = open_device_array(value, what, reader)
    _check_real(array, what)
    return array


def real_numbers(
    value: Any, what: str, dtype: np.dtype | None = None, missing: bool = False
) -> np.ndarray:
    """Return `value` as a real array of any dtype and rank, not copied if it is one already.

    Parameters
    ----------
    value
        An array, whatever NumPy makes one of, or a frame or a series; objects have to be numbers.
    what
        What messages call it.
    dtype
        What a frame whose columns have to be copied becomes at once, where they are not all smaller
        integers; its numbers are then finite. None: the dtype that has room for all columns.
    missing
        Whether None and NA among objects become NaN, as missing values of other dtypes do.

    Raises
    ------
    InvalidInput
        Values that are no numbers, masked or sparse, or that are on a device.
    """
    if on_device(value):
        raise refusal(value, what)
    refuse_masked(value, what)
    if not isinstance(value, np.ndarray) and hasattr(value, "toarray"):
        raise InvalidInput(
            f"{what} is sparse ({type(value).__name__}), which only scipy.sparse features may be; "
            f"pass {what}.toarray()"
        )
    frame = frame_of(value, what)
    if frame is not None:
        return _from_frame(frame, what, dtype, missing)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInput(
            f"{what} ({type(value).__name__}) cannot be read as an array: {error}; "
            "pass a NumPy array"
        ) from error
    if array.dtype.kind == "O":
        return _from_objects(array, what, missing and array.ndim > 0)
    _check_real(array, what)
    return array


def refuse_apparent_numbers(value: Any, what: str) -> None:
    """Raise for what NumPy converts to numbers that nobody meant.

    Raises
    ------
    InvalidInput
        Masked values, of which it takes what is under the mask; dates and durations, of which it
        takes counts of their unit.
    """
    refuse_masked(value, what)
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "mM":
            _check_real(value, what)
        return
    if not hasattr(value, "__array__"):  # such as a stream, which can be read once
        return
    try:
        frame = frame_of(value, what)
    except InvalidInput:  # of which NumPy makes no numbers
        return
    for column in () if frame is None else frame.columns:
        if column.remedy in TIMES:
            _check_column(column, what)


def refuse_masked(value: Any, what: str) -> None:
    """Raise `InvalidInput` for an array, or a list of arrays, of which some values are masked."""
    if has_masked(value):
        array = what if isinstance(value, np.ma.MaskedArray) else f"numpy.ma.array({what})"
        raise InvalidInput(f"{what} has masked values; fill them first with {array}.filled(...)")


def has_masked(value: Any) -> bool:
    """Return whether some values are masked of an array, or in a list, also one of lists."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype == object and type(np.ma.masked) in set(map(type, value.flat))
    if not isinstance(value, (list, tuple)):
        return _frame_has_masked(value)
    return any(has_masked(each) for each in value if isinstance(each, _MAY_HAVE_MASKED))


def _frame_has_masked(value: Any) -> bool:
    """Return whether some values are masked of a frame, or a series, of objects."""
    if hasattr(value, "dtypes") and hasattr(value, "iloc") and hasattr(value, "columns"):
        # Pandas' own `select_dtypes` warns that object is to mean other columns.
        places = [place for place, dtype in enumerate(value.dtypes) if str(dtype) == "object"]
        value = value.iloc[:, places]
    elif str(getattr(value, "dtype", "")) != "object":
        return False
    return hasattr(value, "to_numpy") and has_masked(value.to_numpy())


def _check_real(array: Any, what: str) -> None:
    """Raise unless the dtype is one of real numbers."""
    if array.dtype.kind in "biuf":
        return
    remedy = REMEDIES.get(array.dtype.kind, "pass an array of numbers")
    if getattr(array.dtype, "names", None):
        remedy = (
            f"pass a plain array, such as numpy.lib.recfunctions.structured_to_unstructured({what})"
        )
    raise InvalidInput(f"{what} has dtype {array.dtype}, not real numbers; {remedy}")


def _from_objects(array: np.ndarray, what: str, missing: bool, kind: str = "object") -> np.ndarray:
    """Return an array of objects as float64, or raise at the first one that is no number.

    `kind` is what messages call their dtype.
    """
    known = {each: _meaning(each) for each in set(map(type, array.flat))}
    numbers = array.ravel()
    if missing and "missing" in known.values():
        gap = np.array([known[type(each)] == "missing" for each in numbers])
        numbers = np.where(gap, np.nan, numbers)
        known = {each: meaning for each, meaning in known.items() if meaning != "missing"}
    if set(known.values()) <= {"number"}:
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            return numbers.astype(np.float64).reshape(array.shape)
    for index, value in enumerate(array.flat):
        meaning, why = known.get(type(value), "number"), "is no number"
        if meaning == "number":
            try:
                float(value)
                continue
            except OverflowError:
                why, remedy = "is too large for float64", "scale it"
            except (TypeError, ValueError):
                remedy = "fill or drop such values first"
        else:
            remedy = REMEDIES.get(meaning, "fill or drop such values first")
            if not array.ndim and meaning not in REMEDIES:
                called = "None" if value is None else f"of type {type(value).__name__}"
                raise InvalidInput(
                    f"{what} is {called} and no array of numbers; pass a NumPy array, a list, or a "
                    "frame of pandas, polars or pyarrow"
                )
        place = np.unravel_index(index, array.shape)
        where = ", ".join(f"{axis} {at}" for axis, at in zip(_AXES, place, strict=False))
        raise InvalidInput(
            f"{what} has dtype {kind}, not real numbers; "
            f"the value {shown(value):.40}{where and f' at {where}'} {why}; {remedy}"
        )
    return array.astype(np.float64)


def _meaning(kind: type) -> str:
    """Return what an object of this type is: "number", "missing", or a key of `REMEDIES`."""
    if issubclass(kind, (Real, Decimal, np.bool_)):
        return "number"
    if issubclass(kind, (str, bytes)):
        return "U"
    if issubclass(kind, (datetime.date, datetime.time, datetime.timedelta, np.datetime64)):
        return "M"
    return "missing" if kind is type(None) or kind.__name__ == "NAType" else ""


def _from_frame(frame: Frame, what: str, dtype: np.dtype | None, missing: bool) -> np.ndarray:
    """Return a frame as an array (rows, columns), and a series as one (rows,).

    It is the frame's own memory where that is one array; else its one copy.
    """
    if frame.flat:
        return _column(frame, 0, what, missing)
    for column in frame.columns:
        _check_column(column, what)
    whole = frame.whole()
    if whole is not None:
        return whole
    known = [column.dtype for column in frame.columns]
    common = None if None in known or not known else np.result_type(*known)
    if dtype is None:
        every = [_column(frame, place, what, missing) for place in range(len(known))]
        return np.stack(every, axis=1) if every else np.empty(frame.shape)
    small = common is not None and common.kind in "biu" and common.itemsize <= dtype.itemsize
    small = small and common is not None and common.itemsize < 8
    kind = common if small and common is not None else np.dtype(dtype)
    check_memory(
        math.prod(frame.shape) * kind.itemsize, f"{what} as an array", "pass fewer rows at a time"
    )
    out = np.empty(frame.shape, kind)
    for start in range(0, len(known), COLUMNS):
        places = range(start, min(start + COLUMNS, len(known)))
        some = [_column(frame, place, what, missing) for place in places]
        for place, values in zip(places, some, strict=True):
            labels = Labels((frame.columns[place].label,), frame.fill.format(what))
            check_finite(values.reshape(-1, 1), dtype, what, labels=labels)
            # NaN is the only thing that a column of smaller integers could not hold.
        for row in range(0, frame.rows, ROWS):
            for place, values in zip(places, some, strict=True):
                out[row : row + ROWS, place] = values[row : row + ROWS]
    return out


def _check_column(column: Column, what: str) -> None:
    """Raise where a column is known to hold no numbers."""
    if column.remedy:
        raise InvalidInput(
            f"{_called(column, what)} has dtype {column.kind}, not real numbers; {column.remedy}"
        )


def _column(frame: Frame, place: int, what: str, missing: bool) -> np.ndarray:
    """Return the numbers of one column, (rows,)."""
    column = frame.columns[place]
    _check_column(column, what)
    array, called = column.read(), _called(column, what)
    if array.dtype.kind == "O":
        return _from_objects(array, called, missing, column.kind)
    _check_real(array, called)
    return array


def _called(column: Column, what: str) -> str:
    return what if column.label is None else f"{what} column {column.label!r}"


def check_finite(
    array: Any, dtype: np.dtype, what: str, missing: str = "", labels: Labels | None = None
) -> None:
    """Raise unless each value of the 2-D `array` is finite, also once it is a `dtype`.

    `missing` is what else can be done about NaN than to drop or fill it. Minimum and maximum pass
    NaN on, need no temporary and cannot overflow as a sum can.
    """
    if array.dtype.kind != "f":
        return
    small = type(array) is np.ndarray and array.size <= BLOCK
    if small and array.itemsize <= dtype.itemsize and np.isfinite(array).all():
        return  # which is seen sooner than the limit is looked up
    limit = min(np.finfo(array.dtype).max, np.finfo(dtype).max)
    fine = isinstance(array, np.ndarray) and all(
        _all_within(piece, limit, piece is array) for piece in in_pieces(array)
    )
    if fine:
        return
    with np.errstate(invalid="ignore"):
        place = first_place(array, "beyond", limit)
    if place is None:
        return
    where = name_value(array, place, labels)
    if np.isfinite(array[place]):
        raise InvalidInput(
            f"{what} {where} is too large for {np.dtype(dtype)}; scale {what}, "
            'or choose dtype="float64"'
        )
    other = f", or {missing}" if missing and np.isnan(array[place]) else ""
    raise InvalidInput(
        f"{what} {where} is not a finite number; drop such rows or fill them, "
        f"such as with {labels.fill if labels else 'numpy.nan_to_num'}{other}"
    )


def _all_within(array: np.ndarray, limit: float, in_memory: bool) -> bool:
    """Return whether -limit <= x <= limit for each x of the 2-D `array`, a large one on threads.

    A piece of a file is not: memory may be short then, and threads have stacks.
    """
    if array.size <= BLOCK:  # which is done sooner than threads are asked for
        with np.errstate(invalid="ignore"):
            return bool(not array.size or (-limit <= array.min() and array.max() <= limit))
    large = in_memory and array.size >= MANY
    blocks = list(_blocks(array, LARGE_BLOCK if large else BLOCK))
    workers = min(available_threads(), len(blocks)) if large else 1
    each = -(-len(blocks) // workers)

    wrong: list[int] = []  # parts that have something beyond

    def look(part: int, check: Callable[[], None]) -> bool:
        with np.errstate(invalid="ignore"):
            for block in blocks[part * each : (part + 1) * each]:
                check()
                if wrong or not (-limit <= block.min() and block.max() <= limit):
                    wrong.append(part)
                    return False
        return True

    return all(run_tasks(look, workers, workers, lambda: None))


def _blocks(array: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield views of about `size` values that together hold all of the 2-D `array`, as they lie."""
    view = array
    for axis in (0, 1):
        step: slice | None = None
        if array.strides[axis] == 0:  # one value seen many times
            step = slice(0, 1)
        elif array.strides[axis] < 0:
            step = slice(None, None, -1)
        if step is not None:
            view = view[step] if axis == 0 else view[:, step]
    if view.shape[0] > 1 and view.shape[1] > 1 and view.strides[0] < view.strides[1]:
        view = view.T
    if view.flags.c_contiguous:
        view = view.reshape(-1, 1)
    rows = max(1, size // view.shape[1])
    for start in range(0, len(view), rows):
        yield view[start : start + rows]


def first_place(array: Any, wrong: str, limit: float = 0.0) -> tuple[int, int] | None:
    """Return row and column of the first value, row by row, that `WRONG[wrong]` finds."""
    if isinstance(array, DeviceArray):
        return array.first_place(wrong, limit)
    rows, columns = array.shape
    height, width = max(1, BLOCK // columns), min(columns, BLOCK)
    for row in range(0, rows, height):
        for column in range(0, columns, width):
            mask = WRONG[wrong](array[row : row + height, column : column + width], limit)
            if mask.any():
                down, right = divmod(int(mask.argmax()), mask.shape[1])
                return row + down, column + right
    return None


def name_value(array: Any, place: tuple[int, int], labels: Labels | None = None) -> str:
    """Name a value and its place, as messages do."""
    beside = name_column(place[1], array.shape[1], labels)
    return f"value {array[place].item()!r} at row {row_number(place[0], labels)}{beside}"


def row_number(row: int, labels: Labels | None) -> int:
    """Return what messages call a row."""
    return row if labels is None or labels.rows is None else int(labels.rows[row])


def name_column(column: int, columns: int, labels: Labels | None) -> str:
    """Name the column of a value behind its row; "" where there is one, without a name."""
    name = None if labels is None else labels.names[column]
    if name is not None:
        return f", column {name!r}"
    return f", column {column}" if columns > 1 else ""
