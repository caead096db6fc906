"""Which features a network reads: all of an array, some of its columns, or one array of several."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, shown
from fastnn.inputs.arrays import as_table, numbers_anywhere
from fastnn.inputs.frames import Frame, check_names, feature_names
from fastnn.inputs.npy_files import open_npy
from fastnn.inputs.sparse_rows import as_compressed, is_sparse
from fastnn.inputs.table_files import TableRows, of_table

# None: X as it is. A name: X is a mapping, and this is its key. Else columns of X, which is one
# array: a range of them, or their numbers.
View = str | range | tuple[int, ...] | None
_SHOWN = 8  # columns in a message


def check_view(view: Any, what: str) -> View:
    """Return which features a network reads, or raise `InvalidInput` where that is none.

    Parameters
    ----------
    view
        None, a name, a slice or a range of columns that follow one another, or their numbers.
    what
        What the message calls it.
    """
    if view is None or isinstance(view, str):
        return view
    if isinstance(view, slice):
        start, stop = view.start or 0, view.stop
        step = 1 if view.step is None else view.step
        ends = (start, stop, step)
        if all(isinstance(each, (int, np.integer)) for each in ends) and 0 <= start < stop:
            return check_view(range(*map(int, ends)), what)
    elif isinstance(view, range):
        if view and view.start >= 0 and view.step == 1:
            return view
    elif isinstance(view, (list, tuple, np.ndarray)) and len(view):
        try:
            numbers = np.asarray(view)
        except ValueError:  # ragged
            numbers = np.empty(0)
        if numbers.ndim == 1 and numbers.dtype.kind in "iu" and numbers.min() >= 0:
            return tuple(numbers.tolist())
    raise InvalidInput(
        f"{what} must be None, the key of a mapping X, or columns of X, such as slice(0, 4), "
        f"range(4) or [0, 2, 5], counted from 0, not {shown(view):.80}"
    )


def check_width(view: View, inputs: int | None, what: str) -> None:
    """Raise `InvalidInput` where a view has other columns than so many inputs take."""
    if isinstance(view, (range, tuple)) and inputs is not None and len(view) != inputs:
        raise InvalidInput(
            f"{what} has {len(view)} columns, but the network has {inputs} inputs; give as many"
        )


def parts_of(
    X: Any, y: Any, sample_weight: Any, views: Iterable[View], what: str = "X"
) -> tuple[dict[View, Any], Any, Any]:
    """Return what of X networks read, by their views, and y and weights that go with all of it.

    Where these name columns of files, they are the columns, and X is without them. Streams, which
    can be read once, have been.

    Raises
    ------
    InvalidInput
        As `seen`; or there is no such column.
    MissingFile, UnusableFile, CorruptFile, MissingExtra
        Files that cannot be read.
    """
    views = list(dict.fromkeys(views))
    if not isinstance(X, Mapping):
        X, y, sample_weight = of_table(X, y, sample_weight, what)
        X = as_table(X, what)
        parts = {view: seen(X, view, what) for view in views}
        return parts, as_table(y, "y"), as_table(sample_weight, "sample_weight")
    given = as_table(y, "y"), as_table(sample_weight, "sample_weight")
    parts, shared = {}, given
    for view in views:
        part, *outcomes = of_table(seen(X, view, what), *given, what)
        parts[view] = as_table(part, what)
        if shared is given and any(a is not b for a, b in zip(outcomes, given, strict=True)):
            shared = outcomes[0], outcomes[1]  # all files are of the same rows
    return parts, *shared


def seen(X: Any, view: View, what: str = "X") -> Any:
    """Return what of X a network reads that has this view; columns of an array are a view of it.

    Those of a frame are a frame, and those of the files of a table rows of these, with their names.

    Raises
    ------
    InvalidInput
        X is a mapping where it is to be one array, or the reverse; or it lacks a key or a column.
    """
    if isinstance(view, str):
        if not isinstance(X, Mapping):
            raise InvalidInput(
                f"{what} must be a mapping, since a member reads its {view!r}, not "
                f"{type(X).__name__}; pass {{{view!r}: array, ...}}"
            )
        if view not in X:
            raise InvalidInput(
                f"{what} has no {view!r}, which a member reads, but {', '.join(map(repr, X))}"
            )
        return X[view]
    if isinstance(X, Mapping):
        raise InvalidInput(
            f"{what} is a mapping ({', '.join(map(repr, X))}), but a member reads "
            f"{'all of one array' if view is None else 'columns of one array'}; pass that array, "
            "or say with views which of these each member reads"
        )
    if view is None:
        return X
    X, _, _ = of_table(X, None, None, what)
    path = isinstance(X, (str, bytes, os.PathLike))
    table = as_table(open_npy(X, what) if path else X, what)
    if not (isinstance(table, Frame) or (hasattr(table, "shape") and hasattr(table, "dtype"))):
        table = numbers_anywhere(table, what, None)
    if len(table.shape) != 2 or max(view) >= table.shape[1]:
        raise InvalidInput(
            f"{what} has shape {tuple(table.shape)}, but a member reads its column {max(view)}, "
            "counted from 0"
        )
    if isinstance(table, (Frame, TableRows)):
        return table.chosen(view)
    chosen = slice(view.start, view.stop) if isinstance(view, range) else list(view)
    if is_sparse(table):
        return as_compressed(table).tocsr()[:, chosen]
    return table[:, chosen]


def names_of(part: Any, what: str = "X") -> tuple[str, ...] | None:
    """Return the names of the columns of what `parts_of` gave, or None."""
    return part.names if isinstance(part, TableRows) else feature_names(part, what)


def check_seen(
    given: tuple[str, ...] | None, known: tuple[str, ...] | None, view: View, what: str = "X"
) -> None:
    """Raise `InvalidInput` where what a view has of X has other names than in training."""
    index = ""
    if isinstance(view, str):
        index = f"[{view!r}]"
    elif isinstance(view, range):
        index = f"[:, {view.start}:{view.stop}]"
    elif view is not None:
        some = ", ".join(map(str, view[:_SHOWN]))
        index = f"[:, [{some}{', ...' if len(view) > _SHOWN else ''}]]"
    check_names(given, known, what + index, "the member's feature_names")


def view_to_plain(view: View) -> Any:
    """Return a view as `json` can write it."""
    if isinstance(view, range):
        return {"columns": [view.start, view.stop]}
    return list(view) if isinstance(view, tuple) else view


def view_from_plain(value: Any, where: str) -> View:
    """Return the view that `view_to_plain` gave, or raise `CorruptFile`."""
    try:
        if isinstance(value, dict):
            ((name, (first, stop)),) = value.items()
            if name == "columns":
                value = range(first, stop)
        if isinstance(value, (str, range, list, type(None))):
            return check_view(value, "a view")
    except (InvalidInput, TypeError, ValueError):
        pass
    raise CorruptFile(f"{where} is damaged: a view cannot be {shown(value):.80}")
