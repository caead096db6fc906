"""NumPy's files: one array, or several by name."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput
from fastnn.inputs.sparse_rows import as_compressed
from fastnn.tabular.table import Matrix, Table, counted, listed
from fastnn.tabular.words import exact

# What features and labels are called in .npz files, the first that are there being taken.
_PARTS = {"train": ("x_train", "train_x"), "test": ("x_test", "test_x")}
_FEATURES = ("x", "data", "features", "images", "inputs", "arr_0")
_LABELS = ("y", "target", "targets", "label", "labels", "arr_1")
_MARK = re.compile(r"(?:(?P<before>train|test)_)?(?P<stem>.*?)(?:_(?P<after>train|test))?", re.S)
LABEL = "y"  # what the labels of a .npz are called as a column
# A matrix of more columns is scaled as a whole, since there is no looking at each.
MOST_COLUMNS = 256


def read_npy(name: str, content: bytes) -> tuple[Table, list[str]]:
    """Return the columns of one array: of its fields, or numbered from 1."""
    return _table_of(name, _loaded(name, content)), []


def _table_of(name: str, array: Any) -> Table:
    """Return the columns of an array."""
    if array.dtype.names:
        if array.ndim != 1:
            raise InvalidInput(f"{name}: records must be (rows,), not {array.shape}")
        columns = {each: _column(name, each, array[each]) for each in array.dtype.names}
        return Table(columns, len(array))
    if array.ndim != 2:
        raise InvalidInput(
            f"{name}: the array must be (rows, columns), the label being one of the columns, but "
            f"its shape is {array.shape}; save features and labels as X and y in a .npz"
        )
    return _numbered(name, array)


def blocks_of_npy(name: str, cells: int, most: int) -> Iterator[Table]:
    """Yield the rows of a .npy file, as `read_npy`: so many at a time as have so many cells.

    Or `most` bytes, about.

    Each block is mapped anew, so that the pages of those before are no memory of this process.
    """
    first, stamp = 0, _stamp(name)
    while True:
        if _stamp(name) != stamp:
            raise InvalidInput(
                f"{name} has been changed while it was read; call again, and write other rows to "
                "another file meanwhile"
            )
        try:
            array = np.load(name, mmap_mode="r", allow_pickle=False)
        except (OSError, EOFError, ValueError):
            array = None
        if not isinstance(array, np.ndarray):  # which reading it tells, or it is an empty one
            yield read_npy(name, Path(name).read_bytes())[0]
            return
        if array.ndim != (1 if array.dtype.names else 2) or not array.size:
            read_npy(name, Path(name).read_bytes())  # which raises
        width = len(array.dtype.names) if array.dtype.names else array.shape[1]
        rows = min(cells // width, most * len(array) // array.nbytes)
        last = min(len(array), first + max(1, rows))
        table = _table_of(name, array[first:last])
        yield replace(table, places=np.arange(first, last))
        if last == len(array):
            return
        first = last


def _stamp(name: str) -> tuple[int, int]:
    """Return what is another one when a file has been written."""
    stat = os.stat(name)
    return stat.st_size, stat.st_mtime_ns


def _numbered(name: str, X: np.ndarray, y: np.ndarray | None = None, label: str = LABEL) -> Table:
    """Return the columns of one array, numbered from 1, and after them labels."""
    columns = {
        str(place + 1): _column(name, f"column {place + 1}", values)
        for place, values in enumerate(X.T)
    }
    columns = _with_rows(name, columns, len(X))
    if y is not None and label.isdigit():
        raise InvalidInput(
            f"{name}: the labels are the array {label!r}, which is the number of a column, too; "
            "save them under a name such as y"
        )
    return Table(columns if y is None else {**columns, label: y}, len(X), numbered=True)


def read_npz(
    name: str, content: bytes, part: str, label: str, asked: bool = True
) -> tuple[Table | Matrix, list[str]]:
    """Return features and labels of a .npz, or its columns where each array is one.

    A matrix is the same as in a .npy, unless it has more than `MOST_COLUMNS` or is one of SciPy.

    Parameters
    ----------
    part
        "train" or "test": what to take where there are both.
    label
        The array of the labels, where there is one of this name beside the features.
    asked
        Whether someone has asked for these labels. If not, it is what those of a model are called,
        and labels that belong to the features come first: y_test to X_test, whatever y is.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            kept = list(stored.files)
            arrays = _Arrays(stored)
            if _is_sparse(kept):
                return _sparse(name, content, arrays["y"] if "y" in kept else None), []
            pair = _pair(name, kept, arrays, part, label, asked)
            wanted = {each: arrays[each] for each in (pair or kept) if each is not None}
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise _damaged(name, error) from error
    except ValueError as error:
        if isinstance(error, InvalidInput):
            raise
        raise _damaged(name, error) from error
    if pair is None:
        if len(kept) == 1 and (only := wanted[kept[0]]).ndim == 2:
            return _numbered(name, only), [f"the array is {kept[0]}"]
        return _named(name, wanted), []
    labels = "" if pair[1] is None else f", labels {pair[1]}"
    rest = [each for each in kept if each not in pair]
    more = f"; not used: {listed(rest)}" if rest else ""
    y = None if pair[1] is None else wanted[pair[1]]
    called = LABEL if pair[1] is None or pair[1] != label else label
    return _matrix(name, wanted[pair[0]], y, called), [f"features are {pair[0]}{labels}{more}"]


class _Arrays(dict[str, np.ndarray]):
    """Arrays of a .npz by name, each read when it is first asked for."""

    def __init__(self, stored: Any) -> None:
        super().__init__()
        self._stored = stored

    def __missing__(self, name: str) -> np.ndarray:
        self[name] = found = self._stored[name]
        return found

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array, () for what is no features: objects, and other files."""
        try:
            return getattr(self[name], "shape", ())
        except ValueError:
            return ()


def _pair(
    name: str, kept: list[str], arrays: _Arrays, part: str, label: str, asked: bool
) -> tuple[str, str | None] | None:
    """Return which arrays are features and labels, the second None where none is."""
    names: dict[str, str] = {}
    for each in kept:
        names.setdefault(each.lower(), each)
    for features in (*_PARTS[part], *_FEATURES, *_PARTS["train"]):
        if features not in names:
            continue
        X = names[features]
        # A lone array has its labels as a column, as that of a .npy has, unless it says what it is.
        if features == "arr_0" and len(names) == 1:
            continue
        if arrays[X].ndim == 1 and len(names) > 1:  # a column of this name, or the labels
            continue
        if asked and label in kept and label != X:
            _check_part(name, names, label, X)
            return X, label
        return X, _labels_of(X, kept, names, arrays, "" if asked else label)
    if label in kept and len(names) > 1:
        wide = [each for each in kept if each != label and arrays[each].ndim > 1]
        if len(wide) > 1:
            raise InvalidInput(
                f"{name}: which of {listed(wide)} has the features? Call that array X"
            )
        if wide:
            return wide[0], label
    return None


def _marked(name: str) -> tuple[str, str]:
    """Return which part an array is of by its name, "" for none, and the rest of the name.

    >>> _marked("y_test"), _marked("Train_income"), _marked("y")
    (('test', 'y'), ('train', 'income'), ('', 'y'))
    """
    found = _MARK.fullmatch(name.lower())
    assert found is not None
    return found["before"] or found["after"] or "", found["stem"]


def _check_part(name: str, names: dict[str, str], label: str, X: str) -> None:
    """Raise `InvalidInput` where labels are those of other features, by their names."""
    part = _marked(label)[0]
    theirs = [names[each] for each in _PARTS.get(part, ()) if each in names]
    if theirs and part != _marked(X)[0]:
        raise InvalidInput(
            f"{name}: {label} has the labels of {theirs[0]}, and the features are {X}; pass "
            f"--label with the name of those of {X}"
        )


def _labels_of(
    X: str, kept: list[str], names: dict[str, str], arrays: _Arrays, label: str
) -> str | None:
    """Return the labels that belong to features for which nobody has named any, None for none.

    They are of the same part by their name, as y_test is of X_test, and are called as those of the
    model, or else as usual. Those of the model's own name come between, if the features may have
    them.

    Parameters
    ----------
    names
        All arrays, by their names in small letters.
    label
        What the labels of the model are called, "" where there is no model.
    """
    part, stem = _marked(label)
    own = [label] if label in kept and label != X else []
    if own and part == _marked(X)[0]:
        return label
    beside = [each for each in _beside(X, stem) if label and each in names]
    if not beside and own and _may_have(X, label, kept, arrays):
        return label
    beside += [each for usual in _LABELS for each in _beside(X, usual) if each in names]
    return next((names[each] for each in beside if names[each] != X), None)


def _beside(X: str, stem: str) -> list[str]:
    """Return what the labels of features are called, in small letters.

    >>> _beside("X_test", "y"), _beside("train_x", "y"), _beside("X", "y")
    (['y_test', 'test_y'], ['train_y', 'y_train'], ['y'])
    """
    part = _marked(X)[0]
    if not part:
        return [stem]
    found = [f"{stem}_{part}", f"{part}_{stem}"]
    return found[::-1] if X.lower().startswith(part) else found


def _may_have(X: str, label: str, kept: list[str], arrays: _Arrays) -> bool:
    """Return whether labels of another part, or of none, may be those of features.

    There is one for each of their rows then. And no others have them: those of their part, or where
    they have none, others than those to test with, if there is a row for each.
    """
    part, of = _marked(label)[0], _marked(X)[0]
    if not part and of != "test":
        return True
    parts = (part,) if part else ("", "train")
    others = [each for each in kept if _marked(each)[0] in parts and each not in (X, label)]
    wide = [shape for shape in map(arrays.shape, others) if len(shape) > 1]
    rows = arrays.shape(label)[:1]
    return rows == arrays.shape(X)[:1] and not any(part or shape[:1] == rows for shape in wide)


def _named(name: str, arrays: dict[str, np.ndarray]) -> Table:
    """Return arrays of equal length as columns."""
    lengths = {array.shape for array in arrays.values()}
    if arrays and len(lengths) == 1 and len(next(iter(lengths))) == 1:
        columns = {each: _column(name, each, array) for each, array in arrays.items()}
        rows = len(next(iter(columns.values())))
        return Table(_with_rows(name, columns, rows), rows)
    shapes = ", ".join(f"{each} {array.shape}" for each, array in list(arrays.items())[:8])
    raise InvalidInput(
        f"{name} has neither X and y, x_train and y_train, data and target, one array (rows, "
        f"columns), nor columns of equal length, but {shapes or 'no array'}; name its arrays X and "
        "y, or pass --label with the name of that of the labels"
    )


def _is_sparse(names: list[str]) -> bool:
    """Return whether the arrays are those of `scipy.sparse.save_npz`."""
    return {"format", "shape", "data"} <= set(names)


def _sparse(name: str, content: bytes, y: np.ndarray | None) -> Matrix:
    from scipy.sparse import csr_array, load_npz

    try:
        X = csr_array(as_compressed(load_npz(io.BytesIO(content)).tocoo()))
    except (ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise _damaged(name, error) from error
    X.sum_duplicates()
    if not X.shape[0] or not X.shape[1] or not X.nnz:
        raise InvalidInput(f"{name}: there are no rows, columns or numbers: {X.shape}")
    if X.dtype.kind not in "fiub" or not np.isfinite(X.data).all():
        raise InvalidInput(f"{name}: the matrix must have finite numbers, not {X.dtype}")
    return Matrix(X, None if y is None else _labels(name, y, X.shape[0]))


def _matrix(name: str, X: np.ndarray, y: np.ndarray | None, label: str) -> Table | Matrix:
    if X.ndim < 2 or X.dtype.kind not in "fiub":
        raise InvalidInput(
            f"{name}: features must be numbers (rows, columns), not {X.dtype} {X.shape}"
        )
    if not X.size:
        raise InvalidInput(f"{name}: there are no rows or no columns: features are {X.shape}")
    if y is not None:
        y = _labels(name, y, len(X))
    finite = X.dtype.kind != "f" or bool(np.isfinite(X).all())
    if X.ndim == 2 and (X.shape[1] <= MOST_COLUMNS or not finite):
        return _numbered(name, X, y, label)
    if not finite:
        place = np.argwhere(~np.isfinite(X))[0].tolist()
        raise InvalidInput(
            f"{name}: the features have {X[tuple(place)]} at {place}; replace what is not finite"
        )
    return Matrix(X.reshape(len(X), -1), y, label=label)


def _labels(name: str, y: np.ndarray, rows: int) -> np.ndarray:
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1 or len(y) != rows:
        raise InvalidInput(
            f"{name}: labels must be one for each of {counted(rows, 'row')}, not {y.shape}"
        )
    return _column(name, "labels", y)


def _column(name: str, column: str, values: np.ndarray) -> np.ndarray:
    """Return a column as a `Table` has it."""
    kind = values.dtype.kind
    if kind == "b":
        return values
    if kind in "iu":
        return exact(values)
    if kind == "f":
        return values.astype(np.float64)
    if kind == "M":
        return values.astype("datetime64[us]")
    if kind in "US":
        texts = values.tolist()
        found = np.empty(len(texts), object)
        try:
            found[:] = [each.decode() if isinstance(each, bytes) else each for each in texts]
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"{name}, {column}: the bytes {error.object!r:.40} are no UTF-8; save text as "
                "text, such as with numpy.char.decode(array, 'latin-1')"
            ) from error
        return found
    if kind == "m":
        return values.astype("timedelta64[us]")
    raise InvalidInput(
        f"{name}, {column}: {values.dtype} is neither numbers, text, dates nor durations"
    )


def _with_rows(name: str, columns: dict[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
    if not rows or not columns:
        raise InvalidInput(f"{name} has columns {listed(list(columns))} but no rows")
    return columns


def _loaded(name: str, content: bytes) -> Any:
    try:
        found = np.load(io.BytesIO(content), allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise ValueError("it has several arrays")
        return found
    except (OSError, EOFError, ValueError) as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> CorruptFile | InvalidInput:
    if "allow_pickle" in str(error):
        return InvalidInput(
            f"{name} has an array of objects, which only pickle reads, and pickle could run "
            "anything; save it as numbers or as text, such as with .astype(str)"
        )
    return CorruptFile(f"{name} is damaged or no NumPy file ({error}); make it again")
