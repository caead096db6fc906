"""Any array-like as real numbers, and searches through it that need almost no memory.

An array on a CUDA device stays there: the target's kernels search it, by the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import InvalidInput, shown
from fastnn.inputs.device_arrays import DeviceArray, on_device, open_device_array, refusal

if TYPE_CHECKING:
    from fastnn.inputs.device_arrays import Reader

# Elements looked at together: small enough for the cache, large enough to hide a NumPy call.
BLOCK = 1 << 16

# What values can be found wrong for, given a limit; the CUDA target has the same rules.
WRONG: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "beyond": lambda block, limit: ~(np.abs(block) <= limit),  # NaN too
    "fractional": lambda block, _: block != np.floor(block),
    "outside": lambda block, limit: (block < 0) | (block >= limit),
    "binary": lambda block, _: (block != 0) & (block != 1),
    "negative": lambda block, _: block < 0,
}

_LABELS = "labels: numpy.unique(y, return_inverse=True)[1]"
_AXES = ("row", "column")
_REMEDIES = {
    "U": f"turn strings into numbers first ({_LABELS})",
    "c": "pass real and imaginary parts as columns of their own",
    "M": "turn dates into numbers first, such as days since a start",
    "m": "divide by a unit first, such as numpy.timedelta64(1, 's')",
    "V": "pass a plain array, such as one made with .astype('float32')",
}
_REMEDIES["S"] = _REMEDIES["T"] = _REMEDIES["U"]


def numbers_anywhere(value: Any, what: str, reader: Reader | None) -> Any:
    """Return `value` as `real_numbers` does, or where it is on a device, as a `DeviceArray`.

    `reader` is of a target that reads such arrays; None refuses them.
    """
    if not on_device(value):
        return real_numbers(value, what)
    array = open_device_array(value, what, reader)
    _check_real(array, what)
    return array


def real_numbers(value: Any, what: str) -> np.ndarray:
    """Return `value` as a real array of any dtype and rank, not copied if it is one already."""
    if on_device(value):
        raise refusal(value, what)
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise InvalidInput(f"{what} has masked values; fill them first with {what}.filled(...)")
    if not isinstance(value, np.ndarray) and hasattr(value, "toarray"):
        raise InvalidInput(
            f"{what} is sparse ({type(value).__name__}), which only scipy.sparse features may be; "
            f"pass {what}.toarray()"
        )
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInput(
            f"{what} ({type(value).__name__}) cannot be read as an array: {error}; "
            "pass a NumPy array"
        ) from error
    _check_real(array, what)
    return array


def _check_real(array: Any, what: str) -> None:
    """Raise unless the dtype is one of real numbers."""
    if array.dtype.kind not in "biuf":
        remedy = _REMEDIES.get(array.dtype.kind, "pass an array of numbers")
        if array.dtype.kind == "O":
            remedy = _remedy_of_objects(array)
        raise InvalidInput(f"{what} has dtype {array.dtype}, not real numbers; {remedy}")


def _remedy_of_objects(array: np.ndarray) -> str:
    """Return what to do about an array of objects, naming the first one that is no number."""
    for index, value in enumerate(array.flat):
        try:
            float(value)
        except (TypeError, ValueError, OverflowError):
            remedy = _REMEDIES["U"] if isinstance(value, str) else "fill or drop such values first"
            place = np.unravel_index(index, array.shape)
            where = ", ".join(f"{axis} {at}" for axis, at in zip(_AXES, place, strict=False))
            return f"the value {shown(value):.40}{where and f' at {where}'} is no number; {remedy}"
    return f"convert it first, such as with .astype('float32') ({_LABELS})"


def check_finite(array: Any, dtype: np.dtype, what: str, missing: str = "") -> None:
    """Raise unless each value of the 2-D `array` is finite, also once it is a `dtype`.

    `missing` is what else can be done about NaN than to drop or fill it. Minimum and maximum pass
    NaN on, need no temporary and cannot overflow as a sum can.
    """
    if array.dtype.kind != "f":
        return
    limit = min(np.finfo(array.dtype).max, np.finfo(dtype).max)
    with np.errstate(invalid="ignore"):
        fine = isinstance(array, np.ndarray) and all(
            -limit <= block.min() and block.max() <= limit for block in _blocks(array)
        )
        place = None if fine else first_place(array, "beyond", limit)
    if place is None:
        return
    where = name_value(array, place)
    if np.isfinite(array[place]):
        raise InvalidInput(
            f"{what} {where} is too large for {np.dtype(dtype)}; scale {what}, "
            'or make the trainer with dtype="float64"'
        )
    other = f", or {missing}" if missing and np.isnan(array[place]) else ""
    raise InvalidInput(
        f"{what} {where} is not a finite number; drop such rows or fill them, "
        f"such as with numpy.nan_to_num{other}"
    )


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield views that together hold each value of the 2-D `array`, in the order of memory."""
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
    rows = max(1, BLOCK // view.shape[1])
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


def name_value(array: Any, place: tuple[int, int]) -> str:
    """Name a value and its place, as messages do."""
    row, column = place
    beside = f", column {column}" if array.shape[1] > 1 else ""
    return f"value {array[place].item()!r} at row {row}{beside}"
