"""What the columns of any table in memory are, and their numbers and codes of categories.

Frames, arrays and lists come as `Cells`, a column each; `Fields` learns from those what each column
is - numbers, dates or categories - and gives a `Coded` table of any others like them.
"""

from __future__ import annotations

import datetime
import math
import warnings
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from numbers import Real
from typing import Any, Self

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, shown
from fastnn.inputs.frames import Frame, frame_of
from fastnn.tabular.dates import ISO, date, date_format
from fastnn.tabular.encodings import Coded
from fastnn.tabular.words import code_among, is_missing, number

MOST_CATEGORIES = 1000
_RARE = 4  # rows of a category, fewer of which do not count by themselves in large tables
MOSTLY = 0.9  # share of cells from which on the others are mistakes
_LEAST_NAMED = 20  # rows, from which on text that differs in nearly all of them is a name
_DAY = np.timedelta64(1, "D")
_CYCLES = {"year": 365.2425, "week": 7.0, "day": 1.0}  # in days
_CATEGORICAL = ("category", "categorical", "enum", "dictionary")
_EXACT = 2**53  # up to which doubles hold every whole number
_LOWER = 2**32 - 1
_ABSENT = object()  # a missing cell
_NUMBERS = (Real, Decimal, np.bool_)
_DATES = (datetime.date, np.datetime64)


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
    """

    columns: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    categorical: tuple[bool, ...]
    rows: int

    def take(self, rows: np.ndarray) -> Self:
        """Return some rows."""
        columns = tuple(column[rows] for column in self.columns)
        return type(self)(columns, self.names, self.categorical, len(rows))


def cells_of(X: Any, what: str = "X") -> Cells:
    """Return the columns of a frame of pandas, polars or pyarrow, an array or a list of rows.

    Raises
    ------
    InvalidInput
        No table, or one of complex numbers.
    """
    frame = frame_of(X, what)
    if frame is not None and not frame.flat:
        return _of_frame(frame)
    array = X if isinstance(X, np.ndarray) else np.asarray(X)
    if array.dtype.kind in "US" and not isinstance(X, np.ndarray):
        array = np.asarray(X, object)  # whose numbers are not text yet
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


def _of_frame(frame: Frame) -> Cells:
    columns = []
    for column in frame.columns:
        values = np.asarray(column.read())
        if values.dtype.kind in "USTV":
            values = values.astype(object)
        _check_kind(values, repr(column.label))
        columns.append(values)
    names = tuple(repr(column.label) for column in frame.columns)
    kinds = (column.kind.lower().startswith(_CATEGORICAL) for column in frame.columns)
    return Cells(tuple(columns), names, tuple(kinds), frame.rows)


def _check_kind(values: np.ndarray, what: str) -> None:
    if values.dtype.kind == "c":
        raise InvalidInput(f"Complex data not supported\n{what} has dtype {values.dtype}")


@dataclass(frozen=True)
class Field:
    """What a column is.

    Attributes
    ----------
    name
        What messages call it.
    kind
        "number", "date", "category", or "unused" where there is nothing to learn from.
    origin
        What is subtracted from whole numbers that doubles would round.
    form
        Of dates that are text; "" of others.
    cycles
        Which of year, week and day a date has a number for its place in.
    words
        The categories, the most frequent first.
    gaps
        Whether missing ones are a category.
    other
        Whether rare ones are, which new ones belong to, too.
    """

    name: str
    kind: str
    origin: int = 0
    form: str = ""
    cycles: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    gaps: bool = False
    other: bool = False

    @property
    def width(self) -> int:
        """How many numbers it gives."""
        return {"number": 1, "date": 1 + len(self.cycles)}.get(self.kind, 0)

    @property
    def codes(self) -> int:
        """How many different codes it gives."""
        return len(self.words) + self.gaps + self.other

    def numbers(self, values: np.ndarray) -> np.ndarray:
        """Return the numbers (rows, width) of a column, float64, NaN where one is missing."""
        if self.kind == "number":
            return numbers_of(values, self.name, self.origin)[:, None]
        days = _days(_dates_of(values, self.name, self.form))
        cycles = [np.mod(days, _CYCLES[name]) for name in self.cycles]
        return np.stack([days, *cycles], axis=1)

    def code(self, values: np.ndarray) -> np.ndarray:
        """Return the code of each category (rows,), int64; -1 for one that was not there."""
        known: dict[Any, int] = {word: code for code, word in enumerate(self.words)}
        fallback = self.codes - 1 if self.other else -1
        known[_ABSENT] = len(self.words) if self.gaps else -1
        return np.array([known.get(word, fallback) for word in words_of(values)], np.int64)


@dataclass(frozen=True)
class Fields:
    """What all columns of a table are."""

    fields: tuple[Field, ...]

    @classmethod
    def learn(
        cls, cells: Cells, rows: np.ndarray | None = None, categorical: Collection[int] = ()
    ) -> Self:
        """Return what the columns are.

        Parameters
        ----------
        cells
            All rows, which say what kind a column is.
        rows
            Those to train on, from which alone all else is learnt; None: all.
        categorical
            Columns of categories, by place, beside those that the table says.

        Raises
        ------
        InvalidInput
            Infinity in a column, or text among its numbers.
        """
        learnt = []
        every = zip(cells.columns, cells.names, cells.categorical, strict=True)
        for place, (values, name, categories) in enumerate(every):
            kind, form = "category", ""
            if not categories and place not in categorical:
                kind, form = _kind(values, name)
            learnt.append(_learn(values if rows is None else values[rows], name, kind, form))
        return cls(tuple(learnt))

    def code(self, cells: Cells) -> Coded:
        """Return the table as numbers and codes.

        Raises
        ------
        InvalidInput
            Infinity, or another kind of values than there was in training.
        """
        pairs = list(zip(self.fields, cells.columns, strict=True))
        numbers = np.empty((cells.rows, sum(each.width for each in self.fields)))
        first = 0
        for each, values in pairs:
            if each.width:
                numbers[:, first : first + each.width] = each.numbers(values)
                first += each.width
        codes = [each.code(values) for each, values in pairs if each.kind == "category"]
        empty = np.empty((cells.rows, 0), np.int64)
        return Coded(numbers, np.stack(codes, axis=1) if codes else empty)

    @property
    def counts(self) -> np.ndarray:
        """How many codes each column of categories has."""
        return np.array([each.codes for each in self.fields if each.kind == "category"], np.int64)

    def to_plain(self) -> list[dict[str, Any]]:
        """Return it as `json` can write it."""
        return [asdict(each) for each in self.fields]

    @classmethod
    def from_plain(cls, plain: Any) -> Self:
        """Return the fields that `to_plain` gave, or raise `CorruptFile`."""
        kinds: dict[str, Any] = {each.name: each.type for each in fields(Field)}
        made = []
        for values in plain if isinstance(plain, list) else [plain]:
            if not isinstance(values, dict) or values.keys() != kinds.keys():
                raise CorruptFile(f"a column cannot be {shown(values):.80}")
            given = {}
            for name, value in values.items():
                if isinstance(value, list) and all(type(each) is str for each in value):
                    value = tuple(value)
                if type(value).__name__ != str(kinds[name]).partition("[")[0]:
                    raise CorruptFile(f"a column cannot have {name}={shown(value):.80}")
                given[name] = value
            made.append(Field(**given))
        return cls(tuple(made))


def numbers_of(values: np.ndarray, name: str, origin: int = 0) -> np.ndarray:
    """Return the numbers of a column less `origin` (rows,), float64, NaN where one is missing.

    Raises
    ------
    InvalidInput
        Infinity, or what is no number.
    """
    kind = values.dtype.kind
    if kind in "iu" and origin:
        # Upper and lower halves apart: neither overflows, and both differences are exact.
        whole = values if values.dtype == np.uint64 else values.astype(np.int64)
        upper = (whole >> np.array(32, whole.dtype)).astype(np.float64)
        lower = (whole & np.array(_LOWER, whole.dtype)).astype(np.float64)
        return (upper - (origin >> 32)) * 2.0**32 + (lower - (origin & _LOWER))
    if kind == "m":
        return values / np.timedelta64(1, "s")
    if kind == "M":
        raise InvalidInput(f"column {name} has dates where there were numbers in fit")
    if kind == "O":
        found = _cells_as_numbers(values, name)
    else:
        with np.errstate(over="ignore"):  # a longdouble that is too large is found right after
            found = values.astype(np.float64)
    infinite = np.isinf(found)
    if infinite.any():
        raise InvalidInput(
            "Input X contains infinity or a value too large for dtype('float64').\n"
            f"The first is in column {name}, row {int(infinite.argmax())}."
        )
    return found - origin if origin else found


def _cells_as_numbers(values: np.ndarray, name: str) -> np.ndarray:
    known: dict[Any, float] = {}
    found = np.empty(len(values))
    for row, cell in enumerate(values.tolist()):
        if type(cell) is float:
            found[row] = cell
            continue
        if isinstance(cell, str):
            if cell not in known:
                try:
                    known[cell] = math.nan if is_missing(cell) else number(cell)
                except ValueError:
                    raise _no_number(values, row, name) from None
            found[row] = known[cell]
            continue
        if _missing(cell):
            found[row] = math.nan
            continue
        try:
            found[row] = float(cell)
        except OverflowError:
            found[row] = math.inf
        except (TypeError, ValueError):
            raise _no_number(values, row, name) from None
    return found


def _no_number(values: np.ndarray, row: int, name: str) -> InvalidInput:
    return InvalidInput(
        f"column {name}, row {row}: {shown(values[row]):.60} where a number is due; correct it, or "
        "leave it missing (None) if it is unknown, or name the column in categorical_features if "
        "it is one of categories"
    )


def _missing(cell: Any) -> bool:
    """Return whether a cell is None, NaN, or what pandas has in their place."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(cell, (float, np.floating, np.datetime64, np.timedelta64)):
        return bool(cell != cell)
    return False


def words_of(values: np.ndarray) -> list[Any]:
    """Return the categories of a column as text; `_ABSENT` where one is missing.

    A whole number is the same category whatever type it has: 1, 1.0 and "1".
    """
    kind = values.dtype.kind
    if kind == "b":
        return ["true" if value else "false" for value in values.tolist()]
    if kind in "mM":
        pairs = zip(values, np.isnat(values), strict=True)
        return [_ABSENT if missing else str(value) for value, missing in pairs]
    cells = values.tolist()
    try:
        typed = [(type(cell), cell) for cell in cells]  # True and 1 are equal, but other words
        known = {pair: _word(pair[1]) for pair in set(typed)}
        return [known[pair] for pair in typed]
    except TypeError:  # such as a dict, which has no hash
        return [_word(cell) for cell in cells]


def _word(cell: Any) -> Any:
    if isinstance(cell, str):
        return cell
    if _missing(cell):
        return _ABSENT
    if isinstance(cell, (bool, np.bool_)):
        return "true" if cell else "false"
    if isinstance(cell, (float, np.floating)):
        return str(int(cell)) if math.isfinite(cell) and cell == int(cell) else repr(float(cell))
    return str(cell)


def _kind(values: np.ndarray, name: str) -> tuple[str, str]:
    """Return what kind a column is, by all of its rows, and the form of dates that are text."""
    if values.dtype.kind in "biufm":
        return "number", ""
    if values.dtype.kind == "M":
        return "date", ""
    present = [cell for cell in values.tolist() if not _missing(cell)]
    texts = {cell for cell in present if isinstance(cell, str)}
    others = [cell for cell in present if not isinstance(cell, str)]
    if others and not texts and all(isinstance(cell, _DATES) for cell in others):
        return "date", ""
    if all(isinstance(cell, _NUMBERS) for cell in others):
        real = {text for text in texts if not is_missing(text)}
        wrong = {text for text in real if not _reads(text)}
        right = len(others) + sum(cell in real and cell not in wrong for cell in present)
        if right and not wrong and not code_among(np.array([*texts], object))[0]:
            return "number", ""
        if wrong and right >= MOSTLY * len(present):
            row = next(row for row, cell in enumerate(values.tolist()) if cell in wrong)
            raise _no_number(values, row, name)
        form, ambiguous = (
            date_format(dict.fromkeys(real, 1)) if real and not others else ("", False)
        )
        if ambiguous:
            warnings.warn(
                f"column {name}: dates are read as {form}, month first, though day first fits, "
                "too; if they are day first, convert the column, as with "
                "pandas.to_datetime(column, dayfirst=True)",
                UserWarning,
                stacklevel=6,  # whoever calls fit
            )
        if form:
            return "date", form
    return "category", ""


def _reads(text: str) -> bool:
    try:
        number(text)
    except ValueError:
        return False
    return True


def _learn(values: np.ndarray, name: str, kind: str, form: str) -> Field:
    """Return the field of a column of a kind, from the rows to train on."""
    if kind == "number":
        return Field(name, kind, _origin(values))
    if kind == "date":
        days = _days(_dates_of(values, name, form))
        days = days[~np.isnan(days)]
        if not len(days):
            return Field(name, "unused")
        span = days.max() - days.min()
        cycles = ["year"] * bool(span >= _CYCLES["year"]) + ["week"] * bool(span >= 14)
        cycles += ["day"] * bool((days % 1 != 0).any())
        return Field(name, kind, form=form, cycles=tuple(cycles))
    counts = Counter(words_of(values))
    missing = counts.pop(_ABSENT, 0)
    if len(values) >= _LEAST_NAMED and len(counts) > MOSTLY * len(values):
        return Field(name, "unused")
    least = max(1, min(_RARE, len(values) // 500))
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    kept = [word for word in ordered if counts[word] >= least][:MOST_CATEGORIES]
    if len(ordered) - len(kept) == 1 and len(kept) < MOST_CATEGORIES:
        kept = ordered
    other = len(kept) < len(ordered)
    merged = sum(counts.values()) - sum(counts[word] for word in kept)
    if merged > 0.5 * len(values):
        warnings.warn(
            f"column {name}: {len(ordered) - len(kept)} categories of fewer than {least} rows, or "
            f"beyond the commonest {MOST_CATEGORIES}, count as one, in {merged} of {len(values)} "
            "rows, so little is left to learn from; merge categories that are alike, or leave the "
            "column out",
            UserWarning,
            stacklevel=6,  # whoever calls fit
        )
    if len(kept) + other + (missing > 0) < 2:
        return Field(name, "unused")
    return Field(name, kind, words=tuple(kept), gaps=missing > 0, other=other)


def _origin(values: np.ndarray) -> int:
    """Return what whole numbers are less, so that doubles hold them: their least, mostly 0."""
    if values.dtype.kind not in "iu" or not len(values):
        return 0
    low, high = int(values.min()), int(values.max())
    rounded = max(abs(low), abs(high)) > _EXACT
    return low if rounded and high - low <= _EXACT else 0


def _dates_of(values: np.ndarray, name: str, form: str) -> np.ndarray:
    """Return a column as datetime64, NaT where one is missing."""
    if values.dtype.kind == "M":
        return values
    if values.dtype.kind == "f" and np.isnan(values).all():
        return np.full(len(values), "NaT", "datetime64[us]")
    if values.dtype != object:
        raise InvalidInput(
            f"column {name} has numbers ({values.dtype}) where there were dates in fit"
        )
    known: dict[Any, np.datetime64] = {}
    found = np.empty(len(values), "datetime64[us]")
    for row, cell in enumerate(values.tolist()):
        if _missing(cell):
            found[row] = np.datetime64("NaT")
            continue
        try:
            if cell not in known:
                known[cell] = _date(cell, form)
            found[row] = known[cell]
        except (TypeError, ValueError, OverflowError):
            raise InvalidInput(
                f"column {name}, row {row}: {shown(cell):.60} where a date is due; correct it, or "
                "leave it missing (None) if it is unknown"
            ) from None
    return found


def _date(cell: Any, form: str) -> np.datetime64:
    if isinstance(cell, str):
        return np.datetime64("NaT") if is_missing(cell) else date(cell, form or ISO)
    if isinstance(cell, np.datetime64):
        return cell.astype("datetime64[us]")
    if not isinstance(cell, datetime.date):
        raise TypeError(cell)
    if isinstance(cell, datetime.datetime) and cell.tzinfo is not None:
        cell = cell.astimezone(datetime.UTC).replace(tzinfo=None)
    return np.datetime64(cell.isoformat(), "us")


def _days(dates: np.ndarray) -> np.ndarray:
    """Return days since 1970, float64, NaN for NaT."""
    found: np.ndarray = (dates.astype("datetime64[us]") - np.datetime64(0, "us")) / _DAY
    return found
