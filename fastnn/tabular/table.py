"""Data as they come from a file: named columns, or one matrix with its labels."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fastnn.errors import InvalidInput, shown

SHOWN = 8  # names in a message


class WrongCell(InvalidInput):
    """A cell that cannot be what is due; `row` counts from 0 in what was being read."""

    def __init__(self, row: int, rest: str) -> None:
        super().__init__(f"row {row + 1}, {rest}")
        self.row, self.rest = row, rest

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the place, too."""
        return type(self), (self.row, self.rest)


def cell(value: Any) -> str:
    """Return a cell as messages show it: text in quotes, and others as they are in a file.

    >>> cell(np.str_("1.0")), cell(np.float64(-1)), cell(np.datetime64("2026-01-31"))
    ("'1.0'", '-1', '2026-01-31')
    """
    if isinstance(value, str):
        text = shown(str(value))  # of NumPy, too
    else:
        text = str(value).removesuffix(".0") if isinstance(value, np.generic) else shown(value)
    return f"{text:.60}"


@contextmanager
def in_file(places: np.ndarray | None) -> Iterator[None]:
    """Have errors name the rows of the file, of which only some are being read."""
    try:
        yield
    except WrongCell as error:
        if places is None:
            raise
        raise InvalidInput(f"row {places[error.row] + 1}, {error.rest}") from None


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length.

    Attributes
    ----------
    columns
        Arrays (rows,) by name, in the file's order: objects that are strings or None, where a
        file has text; float64, NaN where a number is missing; bool; or datetime64[us] and
        timedelta64[us], NaT where a date or a duration is missing.
    rows
        How many.
    numbered
        Whether the file has no names of its own, so that these are "1", "2", ..., but for labels
        that it keeps apart, whose column is the last and has a name.
    places
        The numbers of the rows in the file, from 0; None: they are all there.
    zoned
        Columns of datetime64 whose dates had a time zone in the file, and are in UTC.
    """

    columns: dict[str, np.ndarray]
    rows: int
    numbered: bool = False
    places: np.ndarray | None = None
    zoned: frozenset[str] = frozenset()

    def take(self, rows: np.ndarray) -> Self:
        """Return the table of some rows, by their numbers or where a mask is True."""
        found = {name: values[rows] for name, values in self.columns.items()}
        places = (np.arange(self.rows) if self.places is None else self.places)[rows]
        return type(self)(found, len(places), self.numbered, places, self.zoned)

    def without(self, names: Iterable[str]) -> Self:
        """Return the table without some columns."""
        dropped = set(names)
        kept = {name: values for name, values in self.columns.items() if name not in dropped}
        return type(self)(kept, self.rows, self.numbered, self.places, self.zoned)

    @property
    def label(self) -> str | None:
        """The column of labels that a file without names keeps apart, None for none."""
        last = next(reversed(self.columns), "1")
        return last if self.numbered and not last.isdigit() else None

    def name_of(self, asked: str, option: str) -> str:
        """Return the column that was asked for: by name, or by number, -1 being the last.

        >>> Table({"age": np.zeros(1), "pay": np.ones(1)}, 1).name_of("-1", "--label")
        'pay'

        Raises
        ------
        InvalidInput
            There is none; names that are near are offered.
        """
        names = list(self.columns)
        if asked in self.columns:
            return asked
        try:
            number = int(asked)
        except ValueError:
            number = 0
        if 1 <= number <= len(names) or -len(names) <= number <= -1:
            return names[number - (number > 0)]
        more = " alone; is another --delimiter needed?" if len(names) == 1 else ""
        if self.numbered and not more:
            more = "; if the first line has names, though numbers are among them, pass --header"
        raise InvalidInput(
            f"{option}: there is no column {shown(asked)}{offered(asked, names)}{more}"
        )


@dataclass(frozen=True, eq=False)
class Matrix:
    """Features that are numbers without names, such as those of a .npz or an svmlight file.

    Attributes
    ----------
    X
        (rows, columns), an array or a CSR of SciPy.
    y
        (rows,), or None where the file has no labels.
    first
        The index of the first column in the file: 1 for most svmlight files, else 0.
    places
        As of `Table`.
    label
        What the labels are called.
    """

    X: Any
    y: np.ndarray | None
    first: int = 0
    places: np.ndarray | None = None
    label: str = "y"

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.X.shape[0])

    def take(self, rows: np.ndarray) -> Self:
        """Return some rows, by their numbers or where a mask is True."""
        places = (np.arange(self.rows) if self.places is None else self.places)[rows]
        y = None if self.y is None else self.y[rows]
        return type(self)(self.X[rows], y, self.first, places, self.label)

    def as_table(self) -> Table:
        """Return the same as a table without names, the labels after the features."""
        X = self.X if isinstance(self.X, np.ndarray) else self.X.toarray()
        columns = {str(place + 1): each.astype(np.float64) for place, each in enumerate(X.T)}
        if self.y is not None:
            columns[self.label] = self.y
        return Table(columns, self.rows, True, self.places)

    def in_order(self, columns: int, first: int) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
        """Return the CSR of a sparse matrix with the columns of a model.

        A file whose columns count from another number than the model's has its names for them, as
        a file has that lacks column 0, or has counted otherwise, as the file has that is as wide.

        Parameters
        ----------
        columns, first
            How many the model has, and the number of its first one.

        Returns
        -------
        matrix, ignored, remarks
            Which columns of the file the model does not know, and what there is to say.
        """
        from scipy.sparse import csr_array

        X, shift = self.X, 0
        remarks: tuple[str, ...] = ()
        if self.first != first:
            counts = f"columns are counted from {self.first}, and those of the model from {first}"
            width = X.shape[1]
            if width == columns:
                remarks = (f"{counts}: they are taken in their order, since they are as many",)
            else:
                shift = self.first - first
            if width < columns:
                remarks = (
                    f"warning: {counts}, and there are {width} of {columns}: they are taken by "
                    "their numbers; if that is wrong, give one row its last column, though it be 0",
                )
        indices = X.indices + shift
        known = (indices >= 0) & (indices < columns)
        ignored = tuple(str(each + first) for each in np.unique(indices[~known]))
        starts = np.concatenate([[0], np.cumsum(known)])[X.indptr]
        places = indices[known].astype(np.int32), starts.astype(np.int32)
        return csr_array((X.data[known], *places), shape=(X.shape[0], columns)), ignored, remarks


def offered(asked: str, names: Sequence[str]) -> str:
    """Return the end of a message on a name that is not there: near ones, or those there are."""
    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(asked.lower(), lower, n=3)
    if near:
        return f"; did you mean {' or '.join(repr(lower[each]) for each in near)}?"
    return f"; there are {listed(names)}" if names else "; there is none at all"


def naming(option: str, name: str) -> str:
    r"""Return an option that names a column, as a shell takes it.

    >>> naming("--number", "age"), naming("--number", "my age"), naming("--number", "-1,5")
    ('--number age', "--number 'my age'", '--number=\'"-1,5"\'')
    """
    if not name:
        return f"{option} COLUMN"
    text = name
    if "," in name or '"' in name or name != name.strip():
        text = '"' + name.replace('"', '""') + '"'
    return f"{option}{'=' if name.startswith('-') else ' '}{shlex.quote(text)}"


def listed(names: Sequence[str], most: int = SHOWN) -> str:
    """Return names as messages have them, no more than some.

    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    text = ", ".join(repr(name) for name in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


def counted(count: int, what: str, plural: str = "") -> str:
    """Return a number with its noun.

    >>> counted(1, "row"), counted(2, "category", "categories")
    ('1 row', '2 categories')
    """
    return f"{count} {what if count == 1 else plural or what + 's'}"
