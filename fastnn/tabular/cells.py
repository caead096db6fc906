"""The columns of any table in memory, each an array: of frames, arrays and lists of rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.inputs.arrays import has_masked
from fastnn.inputs.frames import Frame, frame_of, rounds_whole_numbers
from fastnn.tabular.zones import WITH, WITHOUT

_CATEGORICAL = ("category", "categorical", "enum", "dictionary")


class WrongValue(InvalidInput):
    """A value that cannot be what is due; `row` counts from 0 in what was being read.

    The message has the row between `before` and `after`.
    """

    def __init__(self, before: str, row: int, after: str) -> None:
        super().__init__(f"{before}row {row}{after}")
        self.before, self.row, self.after = before, row, after

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the place, too."""
        return type(self), (self.before, self.row, self.after)


def wrong_cell(name: str, row: int, what: str) -> WrongValue:
    """Return the error of a cell of a column."""
    return WrongValue(f"column {name}, ", row, f": {what}")


@contextmanager
def in_table(places: np.ndarray | None) -> Iterator[None]:
    """Have errors name the rows of the user's table, of which only some may be being read."""
    try:
        yield
    except WrongValue as error:
        row = error.row if places is None else int(places[error.row])
        raise InvalidInput(f"{error.before}row {row}{error.after}") from None


@dataclass(frozen=True, eq=False)
class Cells:
    """The columns of a table as arrays.

    Attributes
    ----------
    columns
        Arrays (rows,) of any dtype, but neither complex nor of fixed-width text.
    names
        What messages call them.
    categorical
        Whether the library that they come from says that a column is one of categories.
    rows
        How many there are.
    labels
        What the user knows the columns by, where these did not come with a frame; None: nothing.
    zones
        Whether the dates of a column of datetime64 had a zone, `WITH` or `WITHOUT` of
        `fastnn.tabular.zones`; "" of other columns, whose cells tell.
    measured
        Days or seconds (rows,) of columns of objects that have been read, by place, with the kind
        and the form as which they were; reading takes longer than all else.
    places
        The numbers of the rows in the user's table, from 0; None: they are all there.
    """

    columns: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    categorical: tuple[bool, ...]
    rows: int
    labels: tuple[str, ...] | None = None
    zones: tuple[str, ...] = ()
    measured: dict[int, tuple[tuple[str, str], np.ndarray]] = field(default_factory=dict)
    places: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Take dates for what has no zone where nothing else is said."""
        if not self.zones:
            zones = (WITHOUT * (column.dtype.kind == "M") for column in self.columns)
            object.__setattr__(self, "zones", tuple(zones))

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self.rows

    def __getitem__(self, rows: np.ndarray) -> Self:
        """Return some rows, by their numbers or where a mask is True."""
        columns = tuple(column[rows] for column in self.columns)
        places = (np.arange(self.rows) if self.places is None else self.places)[rows]
        return type(self)(
            columns, self.names, self.categorical, len(places), self.labels, self.zones,
            places=places,
        )  # fmt: skip


def cells_of(X: Any, what: str = "X") -> Cells:
    """Return the columns of a frame of pandas, polars or pyarrow, an array or a list of rows.

    What is masked is missing.

    Raises
    ------
    InvalidInput
        No table, or one of complex numbers.
    """
    if isinstance(X, Cells):
        return X
    frame = frame_of(X, what)
    if frame is not None and not frame.flat:
        return _of_frame(frame)
    # Columns of numpy.matrix would have two axes.
    array = np.asarray(_without_mask(X)) if isinstance(X, np.ndarray) else _of_rows(X, what)
    if array.dtype.names:
        raise InvalidInput(f"{what} is an array of records; pass pandas.DataFrame({what})")
    if array.dtype.kind in "US" and not isinstance(X, np.ndarray):
        array = np.asarray(X, object)  # whose numbers are not text yet
    if not hasattr(X, "dtype") and rounds_whole_numbers(array):
        array = np.asarray(X, object)  # whose whole numbers beside fractions are not rounded yet
    if array.ndim != 2:
        raise InvalidInput(
            f"Expected 2D array, got {'scalar' if not array.ndim else f'{array.ndim}D'} array "
            f"instead:\narray={array}.\nReshape your data either using array.reshape(-1, 1) if "
            "your data has a single feature or array.reshape(1, -1) if it contains a single sample."
        )
    if array.dtype.kind in "UST":
        array = array.astype(str).astype(object)
    _check_kind(array, what)
    columns = tuple(array[:, place] for place in range(array.shape[1]))
    names = tuple(str(place) for place in range(len(columns)))
    return Cells(columns, names, (False,) * len(columns), len(array))


def _without_mask(array: np.ndarray) -> np.ndarray:
    """Return an array in which masked values are missing ones, whatever is under the mask."""
    if array.dtype.names or not isinstance(array, np.ma.MaskedArray) or not np.ma.is_masked(array):
        return array
    absent: Any = {"f": np.nan, "M": "NaT", "m": "NaT"}.get(array.dtype.kind)
    filled = np.array(array.data, None if absent else object)
    filled[np.ma.getmaskarray(array)] = absent
    return filled


def _without_masked_cells(row: Any) -> Any:
    """Return a row of a list, in which masked values are missing ones."""
    if isinstance(row, np.ndarray) and row.ndim:
        return _without_mask(row)
    if not isinstance(row, (list, tuple)):
        return row
    return [None if cell is np.ma.masked else cell for cell in row]


def _of_rows(X: Any, what: str) -> np.ndarray:
    """Return a list of rows as an array."""
    rows = X if isinstance(X, (list, tuple)) else []
    if isinstance(X, (str, bytes, os.PathLike)):
        raise InvalidInput(
            f"{what} is a path; read the table first, as with pandas.read_csv({what}), or train by "
            "`fastnn train`"
        )
    if isinstance(X, (Iterator, Set)):
        raise InvalidInput(f"{what} is a {type(X).__name__}; pass list({what})")
    if X is None:
        raise InvalidInput(f"{what} is None; pass a frame, an array (rows, columns), or a list")
    if isinstance(X, dict) or (rows and isinstance(rows[0], dict)):
        kind = "a dict of columns" if isinstance(X, dict) else "a list of dicts"
        raise InvalidInput(f"{what} is {kind}; pass pandas.DataFrame({what})")
    if has_masked(X):
        rows = [_without_masked_cells(row) for row in rows]
        X = rows
    lengths = [len(row) for row in rows if isinstance(row, (list, tuple, np.ndarray))]
    row = next((row for row, length in enumerate(lengths) if length != lengths[0]), None)
    if row is not None and len(lengths) == len(rows):
        raise InvalidInput(
            f"{what}: row {row} has {lengths[row]} values, and row 0 has {lengths[0]}; give all "
            "rows as many, None where there is none"
        )
    return np.asarray(X)


def _of_frame(frame: Frame) -> Cells:
    labels = [column.label for column in frame.columns]
    if len(set(labels)) < len(labels) and all(isinstance(label, str) for label in labels):
        second = next(place for place, label in enumerate(labels) if label in labels[:place])
        raise InvalidInput(
            f"columns {labels.index(labels[second])} and {second} are both called "
            f"{labels[second]!r}; rename one"
        )
    columns, zones = [], []
    for column in frame.columns:
        values = np.asarray((column.exact or column.read)())
        if values.ndim != 1:
            raise InvalidInput(
                f"column {column.label!r} has several values in a cell ({column.kind}); make "
                "columns of them, or leave it out"
            )
        if values.dtype.kind in "USTV":
            values = values.astype(object)
        _check_kind(values, repr(column.label))
        columns.append(values)
        zone = WITH if column.zoned else WITHOUT
        zones.append(zone if values.dtype.kind == "M" else "")
    names = tuple(repr(column.label) for column in frame.columns)
    kinds = (column.kind.lower().startswith(_CATEGORICAL) for column in frame.columns)
    return Cells(tuple(columns), names, tuple(kinds), frame.rows, None, tuple(zones))


def _check_kind(values: np.ndarray, what: str) -> None:
    if values.dtype.kind == "c":
        raise InvalidInput(f"Complex data not supported\n{what} has dtype {values.dtype}")
