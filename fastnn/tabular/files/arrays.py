"""NumPy's files: one array, or several by name."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput
from fastnn.tabular.table import Matrix, Table, counted, listed

# What features and labels are called in .npz files, the first pair that is there being taken.
_PAIRS = {
    "train": (("x_train", "y_train"), ("train_x", "train_y")),
    "test": (("x_test", "y_test"), ("test_x", "test_y")),
}
_PLAIN_PAIRS = (("x", "y"), ("data", "target"), ("features", "labels"), ("images", "labels"))


def read_npy(name: str, content: bytes) -> tuple[Table, list[str]]:
    """Return the columns of one array: of its fields, or numbered from 1."""
    array = _loaded(name, content)
    if array.dtype.names:
        if array.ndim != 1:
            raise InvalidInput(f"{name}: records must be (rows,), not {array.shape}")
        columns = {each: _column(name, each, array[each]) for each in array.dtype.names}
        return Table(columns, len(array)), []
    if array.ndim != 2:
        raise InvalidInput(
            f"{name}: the array must be (rows, columns), the label being one of the columns, but "
            f"its shape is {array.shape}; save features and labels as X and y in a .npz"
        )
    columns = {
        str(place + 1): _column(name, str(place + 1), values)
        for place, values in enumerate(array.T)
    }
    return Table(_with_rows(name, columns, len(array)), len(array), numbered=True), []


def read_npz(name: str, content: bytes, part: str) -> tuple[Table | Matrix, list[str]]:
    """Return features and labels of a .npz, or its columns where each array is one."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            names = {each.lower(): each for each in stored.files}
            for pair in (*_PAIRS[part], *_PLAIN_PAIRS, *_PAIRS["train"]):
                if pair[0] in names:
                    labels = names.get(pair[1])
                    X = stored[names[pair[0]]]
                    y = None if labels is None else stored[labels]
                    said = f"features are {names[pair[0]]}" + f", labels {labels}" * (y is not None)
                    return _matrix(name, X, y), [said]
            arrays = {each: stored[each] for each in stored.files}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise _damaged(name, error) from error
    lengths = {array.shape for array in arrays.values()}
    if arrays and len(lengths) == 1 and len(next(iter(lengths))) == 1:
        columns = {each: _column(name, each, array) for each, array in arrays.items()}
        rows = len(next(iter(columns.values())))
        return Table(_with_rows(name, columns, rows), rows), []
    shapes = ", ".join(f"{each} {array.shape}" for each, array in list(arrays.items())[:8])
    raise InvalidInput(
        f"{name} has neither X and y, x_train and y_train, data and target, nor columns of equal "
        f"length, but {shapes or 'no array'}; name its arrays X and y"
    )


def _matrix(name: str, X: np.ndarray, y: np.ndarray | None) -> Matrix:
    if X.ndim < 2 or X.dtype.kind not in "fiub":
        raise InvalidInput(
            f"{name}: features must be numbers (rows, columns), not {X.dtype} {X.shape}"
        )
    if not X.size:
        raise InvalidInput(f"{name}: there are no rows or no columns: features are {X.shape}")
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        place = np.argwhere(~np.isfinite(X))[0].tolist()
        raise InvalidInput(
            f"{name}: the features have {X[tuple(place)]} at {place}; replace what is not finite"
        )
    if y is not None:
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        if y.ndim != 1 or len(y) != len(X):
            raise InvalidInput(
                f"{name}: labels must be one for each of {counted(len(X), 'row')}, not {y.shape}"
            )
        y = _column(name, "y", y)
    return Matrix(X.reshape(len(X), -1), y)


def _column(name: str, column: str, values: np.ndarray) -> np.ndarray:
    """Return a column as a `Table` has it."""
    kind = values.dtype.kind
    if kind == "b":
        return values
    if kind in "fiu":
        return values.astype(np.float64)
    if kind == "M":
        return values.astype("datetime64[us]")
    if kind in "US":
        texts = values.tolist()
        found = np.empty(len(texts), object)
        found[:] = [each.decode() if isinstance(each, bytes) else each for each in texts]
        return found
    raise InvalidInput(f"{name}, {column}: {values.dtype} is neither numbers, text nor dates")


def _with_rows(name: str, columns: dict[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
    if not rows or not columns:
        raise InvalidInput(f"{name} has columns {listed(list(columns))} but no rows")
    return columns


def _loaded(name: str, content: bytes) -> Any:
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> CorruptFile | InvalidInput:
    if "allow_pickle" in str(error):
        return InvalidInput(
            f"{name} has an array of objects, which only pickle reads, and pickle could run "
            "anything; save it as numbers or as text, such as with .astype(str)"
        )
    return CorruptFile(f"{name} is damaged or no NumPy file ({error}); make it again")
