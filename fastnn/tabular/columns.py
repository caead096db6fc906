"""What the cells of a column are as numbers, dates, durations, times of day and words."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Collection, Iterator
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput, shown
from fastnn.tabular.cells import WrongValue, wrong_cell
from fastnn.tabular.dates import CLOCK, moment, moment_beside_dates, unzoned
from fastnn.tabular.durations import HOURS, duration
from fastnn.tabular.spelling import word_of
from fastnn.tabular.words import is_missing, is_number, number, plain, truth
from fastnn.tabular.zones import Zones, difference

ABSENT = object()  # a missing cell
_LOWER = 2**32 - 1
_NAMED = {"m": "durations", "M": "dates", "b": "truth values"}  # dtypes, in messages
_EXACT = 2**53  # up to which doubles hold every whole number
_FAR = 2**128  # more than any column of whole numbers holds
_LONG = Context(prec=60)  # in which differences of decimals are taken
_SECOND = np.timedelta64(1, "s")


def numbers_of(values: np.ndarray, name: str, origin: int = 0, truths: bool = False) -> np.ndarray:
    """Return the numbers of a column less `origin` (rows,), float64, NaN where one is missing.

    Parameters
    ----------
    truths
        Whether words that mean true and false are 1 and 0.

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
    if kind in "mM":
        raise InvalidInput(f"column {name} has {_NAMED[kind]} where there were numbers in fit")
    if kind == "O":
        found = _cells_as_numbers(values, name, truths, origin)
    else:
        with np.errstate(over="ignore"):  # a longdouble that is too large is found right after
            found = values.astype(np.float64)
        found = found - origin if origin else found
    infinite = np.isinf(found)
    if infinite.any():
        raise WrongValue(
            "Input X contains infinity or a value too large for dtype('float64').\n"
            f"The first is in column {name}, ",
            int(infinite.argmax()),
            ".",
        )
    return found


def origin_of(values: np.ndarray) -> int:
    """Return what whole numbers are less, so that doubles hold them: their least, mostly 0."""
    kind = values.dtype.kind
    if kind not in "iuO" or not len(values):
        return 0
    if kind == "O":
        cells = values.tolist()
        if not any(map(_may_be_long, cells)):
            return 0
        numbers = list(_unrounded(cells))
        exact = (each for each in numbers if not isinstance(each, float))
        if all(-_EXACT <= each <= _EXACT for each in exact):
            return 0  # also of large fractions, which are rounded already
        low, high = min(numbers), max(numbers)
    else:
        low, high = int(values.min()), int(values.max())
    if not -_FAR <= low <= high <= _FAR or -_EXACT <= low <= high <= _EXACT:
        return 0
    low, high = math.floor(low), math.ceil(high)
    return low if high - low <= _EXACT else 0


def _may_be_long(cell: Any) -> bool:
    """Return whether a cell may be a whole number that float64 does not hold, at little cost."""
    if type(cell) is float or cell is None:
        return False
    if isinstance(cell, str):  # of 2^53 there are 16 digits
        return len(cell.partition(".")[0]) > 15 or "e" in cell or "E" in cell
    if isinstance(cell, (int, np.integer)):
        return not -_EXACT <= cell <= _EXACT
    return isinstance(cell, Decimal)


def _exactly(text: str) -> Decimal | float:
    """Return the number that a text is, rounded only where its exponent is beyond all bounds."""
    try:
        return Decimal(plain(text))
    except InvalidOperation:
        return float(plain(text))


def _unrounded(cells: list[Any]) -> Iterator[int | float | Decimal]:
    """Yield the finite numbers of cells, as they are; none of other cells."""
    texts = {cell for cell in cells if isinstance(cell, str)}
    for text in texts:
        if is_number(text, "."):
            value = _exactly(text)
            if math.isfinite(value):
                yield value
    for cell in cells:
        if isinstance(cell, (int, np.integer)):
            yield int(cell)
        elif isinstance(cell, Decimal):
            if cell.is_finite():
                yield cell
        elif isinstance(cell, (float, np.floating)) and math.isfinite(cell):
            yield float(cell)


def _less(cell: Any, origin: int) -> float:
    """Return a number less another, rounded once."""
    if isinstance(cell, (int, np.integer)):
        return float(int(cell) - origin)
    value = float(cell)
    if origin and isinstance(cell, Decimal) and math.isfinite(value):
        return float(_LONG.subtract(cell, Decimal(origin)))
    return value - origin


def _cells_as_numbers(values: np.ndarray, name: str, truths: bool, origin: int) -> np.ndarray:
    known: dict[Any, float] = {}
    found = np.empty(len(values))
    for row, cell in enumerate(values.tolist()):
        if type(cell) is float:
            found[row] = cell - origin
            continue
        if isinstance(cell, str):
            if cell not in known:
                try:
                    known[cell] = math.nan if is_missing(cell) else _number(cell, truths, origin)
                except ValueError:
                    raise not_a_number(values, row, name) from None
            found[row] = known[cell]
            continue
        if is_absent(cell):
            found[row] = math.nan
            continue
        if isinstance(cell, (np.timedelta64, np.datetime64)):  # numbers, too, to NumPy
            raise not_a_number(values, row, name)
        try:
            found[row] = _less(cell, origin)
        except OverflowError:
            found[row] = math.inf
        except (TypeError, ValueError):
            raise not_a_number(values, row, name) from None
    return found


def _number(text: str, truths: bool, origin: int) -> float:
    try:
        value = number(text)
    except ValueError:
        if not truths:
            raise
        return truth(text)
    return _less(_exactly(text), origin) if origin else value


def not_a_number(values: np.ndarray, row: int, name: str) -> WrongValue:
    """Return the error of a cell that is none."""
    return wrong_cell(
        name,
        row,
        f"{shown(values[row]):.60} where a number is due; correct it, or leave it missing (None) "
        "if it is unknown, or name the column in categorical_features if it is one of categories",
    )


def _several(cells: list[Any], name: str) -> WrongValue:
    row = next(row for row, cell in enumerate(cells) if not _has_hash(cell))
    return wrong_cell(
        name,
        row,
        f"{shown(cells[row]):.60} is a {type(cells[row]).__name__}, where one value is due; make "
        "columns of what it holds, or leave the column out",
    )


def _has_hash(cell: Any) -> bool:
    try:
        hash(cell)
    except TypeError:
        return False
    return True


def is_absent(cell: Any) -> bool:
    """Return whether a cell is None, NaN, or what pandas has in their place."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return True
    if isinstance(cell, (float, np.floating, np.datetime64, np.timedelta64)):
        return bool(cell != cell)
    return isinstance(cell, Decimal) and cell.is_nan()


def is_period(cell: Any) -> bool:
    """Return whether a cell is a period of pandas, such as a month, whose begin is a date."""
    return type(cell).__name__ == "Period" and hasattr(cell, "to_timestamp")


def _is_nameless(kind: type) -> bool:
    """Return whether objects of a class are written with their places in memory alone."""
    plain: Any = object
    return kind.__str__ is plain.__str__ and kind.__repr__ is plain.__repr__


def named_gaps(values: np.ndarray) -> frozenset[str]:
    """Return which texts of a column are words for a missing value, such as NA; empty ones not."""
    texts = {cell.strip() for cell in values.tolist() if isinstance(cell, str)}
    return frozenset(text for text in texts if text and is_missing(text))


def words_of(values: np.ndarray, name: str, named: Collection[str] = ()) -> list[Any]:
    """Return the categories of a column as text, as `word_of`; `ABSENT` where one is missing.

    Parameters
    ----------
    named
        Words for a missing value that are categories here.

    Raises
    ------
    InvalidInput
        A cell of bytes, or that holds several values, such as a list or a dict.
    """
    # Of dates and durations in nanoseconds, Python has whole numbers alone, and no float16.
    kept = values.dtype.kind in "mM" or values.dtype == np.float16
    cells = list(values) if kept else values.tolist()
    cells = [None if cell is np.ma.masked else cell for cell in cells]  # which has no hash
    try:
        typed = [(type(cell), cell) for cell in cells]  # True and 1 are equal, but other words
        every = set(typed)
    except TypeError:  # such as a dict, which has no hash
        raise _several(cells, name) from None
    if any(issubclass(kind, bytes) for kind, _ in every):
        row = next(row for row, cell in enumerate(cells) if isinstance(cell, bytes))
        raise wrong_cell(name, row, f"{shown(cells[row]):.60} is bytes; decode them to text first")
    if any(_is_nameless(kind) for kind, _ in every):
        row = next(row for row, cell in enumerate(cells) if _is_nameless(type(cell)))
        raise wrong_cell(
            name,
            row,
            f"{shown(cells[row]):.60} has no text that tells it from others; pass numbers, text or "
            "dates, or leave the column out",
        )
    known = {pair: ABSENT if is_absent(pair[1]) else word_of(pair[1]) or ABSENT for pair in every}
    for pair in every if named else ():
        if isinstance(pair[1], str) and (word := pair[1].strip()) in named:
            known[pair] = word
    return [known[pair] for pair in typed]


def dates_of(values: np.ndarray, name: str, form: str, trained: str = "") -> tuple[np.ndarray, str]:
    """Return a column as datetime64, NaT where one is missing, and whether they have a zone.

    Raises
    ------
    InvalidInput
        A cell that is no date, or has a zone where others, or those of the training, have none.
    """
    if values.dtype.kind == "M":
        return values, ""
    zones, dtype = Zones(), np.dtype("datetime64[us]")

    def read(cell: Any) -> datetime.datetime:
        date = _moment(cell, form)
        zones.note(cell, date)
        return unzoned(date)

    found = _read_each(values, name, "date", np.datetime64("NaT"), dtype, read)
    _check_zones(values, name, zones, trained)
    return found, zones.zone


def _check_zones(values: np.ndarray, name: str, zones: Zones, trained: str) -> None:
    if wrong := zones.wrong(values, trained):
        row, what = wrong
        raise wrong_cell(name, row, what)


def check_zone(values: np.ndarray, name: str, trained: str, zone: str) -> None:
    """Raise where dates of one type are of the other than those of the training."""
    there = ~np.isnat(values)
    if trained and zone and trained != zone and there.any():
        row = int(there.argmax())
        raise wrong_cell(name, row, difference(str(values[row]), zone))


def durations_of(values: np.ndarray, name: str, form: str) -> np.ndarray:
    """Return a column of durations in seconds, float64, NaN where one is missing."""
    if values.dtype.kind == "m":
        return values / _SECOND
    dtype = np.dtype(np.float64)
    return _read_each(values, name, "duration", np.nan, dtype, lambda cell: _seconds(cell, form))


def times_of(values: np.ndarray, name: str, trained: str = "") -> tuple[np.ndarray, str]:
    """Return times of day in seconds since midnight, float64, NaN where missing; as `dates_of`.

    Those with a zone are of the clock there.
    """
    zones = Zones()

    def read(cell: Any) -> float:
        time = _clock(cell)
        zones.note(cell, time)
        return 3600.0 * time.hour + 60 * time.minute + time.second + 1e-6 * time.microsecond

    found = _read_each(values, name, "time", np.nan, np.dtype(np.float64), read)
    _check_zones(values, name, zones, trained)
    return found, zones.zone


def _read_each(
    values: np.ndarray,
    name: str,
    due: str,
    missing: Any,
    dtype: np.dtype[Any],
    read: Callable[[Any], Any],
) -> np.ndarray:
    """Return what each cell of a column of objects is, each different one read once.

    Raises
    ------
    InvalidInput
        A cell that is nothing of what is due, or a column of numbers.
    """
    if values.dtype.kind == "f" and np.isnan(values).all():
        return np.full(len(values), missing, dtype)
    if values.dtype != object:
        raise InvalidInput(
            f"column {name} has {_NAMED.get(values.dtype.kind, 'numbers')} ({values.dtype}) where "
            f"there were {due}s in fit"
        )
    known: dict[Any, Any] = {}
    found = []
    for row, cell in enumerate(values.tolist()):
        try:
            # Times of several zones may be equal and yet differ by the clock.
            key = (cell, cell.utcoffset()) if isinstance(cell, datetime.time) else cell
            if key not in known:
                absent = is_missing(cell) if isinstance(cell, str) else is_absent(cell)
                known[key] = missing if absent else read(cell)
            found.append(known[key])
        except (TypeError, ValueError, OverflowError):
            raise wrong_cell(
                name,
                row,
                f"{shown(cell):.60} where a {due} is due; correct it, or leave it missing (None) "
                "if it is unknown",
            ) from None
    return np.array(found, dtype)


def _seconds(cell: Any, form: str) -> float:
    """Return how many seconds a duration is."""
    if isinstance(cell, str):
        return duration(cell, form or HOURS)
    if isinstance(cell, np.timedelta64):
        return float(cell / _SECOND)
    if not isinstance(cell, datetime.timedelta):
        raise TypeError(cell)
    return cell.total_seconds()


def _clock(cell: Any) -> datetime.time:
    """Return a time of day."""
    if isinstance(cell, str):
        return moment(cell, CLOCK).time()
    if not isinstance(cell, datetime.time):
        raise TypeError(cell)
    return cell


def _moment(cell: Any, form: str) -> datetime.datetime:
    """Return the time that a date is, with its zone if it has one."""
    if isinstance(cell, str):
        return moment(cell, form) if form else moment_beside_dates(cell)
    if isinstance(cell, np.datetime64):
        cell = cell.astype("datetime64[us]").item()
    if is_period(cell):
        cell = cell.to_timestamp()
    if isinstance(cell, datetime.datetime):
        return cell
    if not isinstance(cell, datetime.date):
        raise TypeError(cell)
    return datetime.datetime(cell.year, cell.month, cell.day)
