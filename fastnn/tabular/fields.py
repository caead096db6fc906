"""What the columns of any table in memory are, and their numbers and codes of categories.

`Fields` learns from `Cells` what each column is - numbers, dates, durations, times or categories -
and gives a `Coded` table of any others like them.
"""

from __future__ import annotations

import datetime
import warnings
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from numbers import Real
from typing import Any, Self

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, shown
from fastnn.tabular.categories import (
    MOST_CATEGORIES,
    MOSTLY,
    Kept,
    codes_of,
    is_named,
    kept_words,
    least_rows,
)
from fastnn.tabular.cells import Cells, WrongValue, in_table
from fastnn.tabular.columns import (
    ABSENT,
    check_zone,
    dates_of,
    durations_of,
    is_absent,
    is_period,
    named_gaps,
    not_a_number,
    numbers_of,
    origin_of,
    times_of,
    words_of,
)
from fastnn.tabular.dates import CLOCK, date_format, days_of, moment_beside_dates, readings
from fastnn.tabular.durations import duration_format
from fastnn.tabular.encodings import Coded
from fastnn.tabular.hints import compact_date, text_hint
from fastnn.tabular.words import code_among, is_missing, number, truth

RARE = 4  # rows of a category, fewer of which do not count by themselves in large tables
_DAY_SECONDS = 86_400
_CYCLES = {"year": 365.2425, "week": 7.0, "day": 1.0}  # in days
_NUMBERS = (Real, Decimal, np.bool_)
_DATES = (datetime.date, np.datetime64)
_DURATIONS = (datetime.timedelta, np.timedelta64)
_TYPES = {"date": _DATES, "duration": _DURATIONS, "time": (datetime.time,)}
# How many numbers each kind of column gives; dates have one more for each cycle.
_WIDTHS = {"number": 1, "date": 1, "duration": 1, "time": 3, "category": 0, "unused": 0}


@dataclass(frozen=True)
class Field:
    """What a column is.

    Attributes
    ----------
    name
        What messages call it.
    kind
        "number"; "date", in days since 1970; "duration", in seconds; "time" of day, in seconds
        since midnight, and the cosine and the sine of its place in the day; "category"; or "unused"
        where there is nothing to learn from.
    origin
        What is subtracted from whole numbers that doubles would round.
    form
        Of dates, times and durations that are text; "" of others.
    cycles
        Which of year, week and day a date has a number for its place in.
    words
        The categories, the most frequent first.
    gaps
        Whether missing ones are a category.
    other
        Whether rare ones are, which new ones belong to, too.
    truth
        Whether numbers are 0 and 1 alone, for which words such as true and no may stand.
    zone
        Whether dates and times have a time zone, "with" or "without"; "" where nobody knows.
    """

    name: str
    kind: str
    origin: int = 0
    form: str = ""
    cycles: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    gaps: bool = False
    other: bool = False
    zone: str = ""
    truth: bool = False

    @property
    def width(self) -> int:
        """How many numbers it gives."""
        return _WIDTHS[self.kind] + len(self.cycles)

    @property
    def codes(self) -> int:
        """How many different codes it gives."""
        return self._kept.codes

    @property
    def _kept(self) -> Kept:
        return Kept(self.words, self.gaps, self.other)

    def numbers(self, values: np.ndarray, zone: str = "") -> np.ndarray:
        """Return the numbers (rows, width) of a column, float64, NaN where one is missing.

        Parameters
        ----------
        zone
            Of dates that are datetime64; as of `Cells`.

        Raises
        ------
        InvalidInput
            Another kind of values than in training, or dates with a zone and without.
        """
        if self.kind == "number":
            return numbers_of(values, self.name, self.origin, self.truth)[:, None]
        if self.kind == "duration":
            return self.expanded(durations_of(values, self.name, self.form))
        if self.kind == "time":
            return self.expanded(times_of(values, self.name, self.zone)[0])
        if values.dtype.kind == "M":
            check_zone(values, self.name, self.zone, zone)
        return self.expanded(days_of(dates_of(values, self.name, self.form, self.zone)[0]))

    def expanded(self, measured: np.ndarray) -> np.ndarray:
        """Return the numbers (rows, width) of days since 1970, or seconds, (rows,)."""
        if self.kind == "time":
            angle = measured * (2 * np.pi / _DAY_SECONDS)
            return np.stack([measured, np.cos(angle), np.sin(angle)], axis=1)
        cycles = [np.mod(measured, _CYCLES[name]) for name in self.cycles]
        return np.stack([measured, *cycles], axis=1)

    def code(self, values: np.ndarray) -> np.ndarray:
        """Return the code of each category (rows,), int64; -1 for one that was not there."""
        named = frozenset(filter(is_missing, self.words))
        return codes_of(words_of(values, self.name, named), self._kept, ABSENT)[0]


@dataclass(frozen=True)
class Fields:
    """What all columns of a table are."""

    fields: tuple[Field, ...]

    @classmethod
    def learn(
        cls,
        cells: Cells,
        rows: np.ndarray | None = None,
        categorical: Collection[int] = (),
        numeric: Collection[int] = (),
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
        numeric
            Columns of numbers, by place, whatever else they could be.

        Raises
        ------
        InvalidInput
            Infinity in a column, or text among its numbers; dates in one of numbers.
        """
        learnt, learning = [], cells.places
        if rows is not None:
            learning = rows if cells.places is None else cells.places[rows]
        every = zip(cells.columns, cells.names, cells.categorical, cells.zones, strict=True)
        with in_table(cells.places):
            for place, (values, name, categories, zone) in enumerate(every):
                kind, form = "category", ""
                measured: np.ndarray | None = None
                if place in numeric:
                    if values.dtype.kind in "mM":
                        what = "dates" if values.dtype.kind == "M" else "durations"
                        raise InvalidInput(
                            f"column {name} has {what}, but numeric_features names it; leave it out"
                        )
                    numbers_of(values, name)
                    kind = "number"
                elif not categories and place not in categorical:
                    kind, form, read, measured = _kind(values, name)
                    zone = zone or read
                    if cells.labels is None:  # else the command has said it
                        _warn_of_other_kind(values, name, kind)
                if measured is not None:
                    cells.measured[place] = (kind, form), measured
                    measured = measured if rows is None else measured[rows]
                given = values if rows is None else values[rows]
                # What has been made a category of is one, also where it is a word for a missing
                # value.
                declared = kind == "category" and (categories or place in categorical)
                named = named_gaps(given) if declared else frozenset[str]()
                with in_table(learning):
                    field = _learn(given, name, kind, form, zone, named, measured)
                if kind == "number":
                    field = replace(field, truth=_is_binary(values, name))
                learnt.append(field)
        numbers = (_numbers(field, cells, place) for place, field in enumerate(learnt))
        seen = (each if rows is None else each[rows] for each in numbers)
        with in_table(cells.places):
            nothing_left = all(map(_tells_nothing, learnt, seen))
        if nothing_left:
            warnings.warn(
                "no column is left to learn from: each has no values, or one in all rows, or is "
                "text that differs in nearly all of them, or rare words alone",
                UserWarning,
                stacklevel=5,  # whoever calls fit
            )
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
        with in_table(cells.places):
            for place, each in enumerate(self.fields):
                if each.width:
                    numbers[:, first : first + each.width] = _numbers(each, cells, place)
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
            # Files of before there were these have none.
            if not isinstance(values, dict) or {"zone", "truth", *values} != kinds.keys():
                raise CorruptFile(f"a column cannot be {shown(values):.80}")
            given = {}
            for name, value in values.items():
                if isinstance(value, list) and all(type(each) is str for each in value):
                    value = tuple(value)
                if type(value).__name__ != str(kinds[name]).partition("[")[0]:
                    raise CorruptFile(f"a column cannot have {name}={shown(value):.80}")
                given[name] = value
            if given["kind"] not in _WIDTHS:
                raise CorruptFile(f"a column cannot be of the kind {given['kind']!r:.40}")
            made.append(Field(**given))
        return cls(tuple(made))


def _numbers(field: Field, cells: Cells, place: int) -> np.ndarray:
    """Return the numbers (rows, width) of the column at a place, which may have been read."""
    read, measured = cells.measured.get(place, (None, None))
    if measured is not None and read == (field.kind, field.form):
        return field.expanded(measured)
    if not field.width:
        return np.empty((cells.rows, 0))
    return field.numbers(cells.columns[place], cells.zones[place])


def _kind(values: np.ndarray, name: str) -> tuple[str, str, str, np.ndarray | None]:
    """Return what kind a column is, by all of its rows.

    And of dates the form of those that are text, and whether all or none of them have a zone; of
    dates, times and durations in objects, which take long to read, days or seconds (rows,).
    """
    if values.dtype.kind in "biuf":
        return "number", "", "", None
    if values.dtype.kind in "mM":
        return ("duration" if values.dtype.kind == "m" else "date"), "", "", None
    present = [cell for cell in values.tolist() if not is_absent(cell)]
    texts = Counter(cell for cell in present if isinstance(cell, str) and not is_missing(cell))
    others = [cell for cell in present if not isinstance(cell, str)]
    if any(isinstance(cell, (complex, np.complexfloating)) for cell in others):
        raise InvalidInput(f"Complex data not supported\ncolumn {name} has complex numbers")
    # A duration of NumPy's is a number, too, to Python.
    if all(isinstance(c, _NUMBERS) and not isinstance(c, _DURATIONS) for c in others):
        wrong, lacking = _not_numbers(texts, int((1 - MOSTLY) * len(present)) + 1)
        right = len(others) + texts.total() - lacking
        if right and not wrong and not code_among(np.array([*texts], object))[0]:
            return "number", "", "", None
        if others and wrong and _are_truths(others, texts):
            return "number", "", "", None
        if wrong and right >= MOSTLY * len(present):
            raise not_a_number(values, _first(values, wrong), name)
    for kind, types in _TYPES.items():
        typed = sum(isinstance(cell, types) for cell in others)
        typed += sum(map(is_period, others)) if kind == "date" else 0
        if typed and typed + _readable(texts, kind) >= MOSTLY * (len(others) + texts.total()):
            return kind, "", *_each(values, kind, "", name)
    if others or not texts:
        return "category", "", "", None
    form, ambiguous = duration_format(texts, MOSTLY)
    kind = "duration"
    advice = (
        "two numbers, such as 5:59, are read as minutes and seconds, since others have hours "
        "before them; if they are hours and minutes, convert the column, as with "
        "pandas.to_timedelta"
    )
    if not form:
        form, ambiguous = date_format(texts, MOSTLY)
        kind = "time" if form == CLOCK else "date"
        advice = (
            f"dates are read as {form}, month first, though day first fits, too; if they are day "
            "first, convert the column, as with pandas.to_datetime(column, dayfirst=True)"
        )
    if not form:
        return "category", "", "", None
    zone, measured = _each(values, kind, form, name)
    if ambiguous:
        # Whoever calls fit.
        warnings.warn(f"column {name}: {advice}", UserWarning, stacklevel=6)
    return kind, form, zone, measured


def _are_truths(cells: list[Any], texts: Collection[str]) -> bool:
    """Return whether cells are true and false, or 1 and 0, and texts words for these."""
    try:
        return all(cell in (0, 1) for cell in cells) and all(
            truth(each) in (0, 1) for each in texts
        )
    except ValueError:
        return False


def _warn_of_other_kind(values: np.ndarray, name: str, kind: str) -> None:
    """Warn where what is read as categories or numbers seems to be something else."""
    advice = "or name the column in categorical_features if it is one of categories"
    text, example = "", ""
    if kind == "number":
        if values.dtype.kind in "iuf":
            with np.errstate(over="ignore"):  # of a longdouble, which is refused later
                example = compact_date(values.astype(np.float64))
        if example:
            text = (
                f"read as numbers: all values seem to be dates, such as {example}; make dates of "
                "them, as with pandas.to_datetime(column, format=...), or name the column in "
                "numeric_features if they are numbers"
            )
    elif kind == "category" and values.dtype == object:
        cells = [cell for cell in values.tolist() if not is_absent(cell)]
        texts = np.empty(len(cells), object)
        texts[:] = [cell if isinstance(cell, str) else str(cell) for cell in cells]
        if hint := text_hint(texts):
            how = 'pandas.to_datetime(column, format=..., errors="coerce")'
            if hint.kind == "numbers":
                how = (
                    "column.str.replace, so that only numbers with a decimal point are left, and "
                    'pandas.to_numeric(column, errors="coerce")'
                )
            make = f"make {hint.kind} of them, as with {how}"
            if duration_format(Counter(texts.tolist()), MOSTLY, asked=True)[0]:
                make += ", or with pandas.to_timedelta(column) if these are durations"
            text = f"read as categories: {hint.what}; {make}, {advice}"
    if text:
        # Whoever calls fit.
        warnings.warn(f"column {name} is {text}", UserWarning, stacklevel=6)


def _tells_nothing(field: Field, numbers: np.ndarray) -> bool:
    """Return whether a column is not used, or the same in all rows: a gap is a feature, too."""
    if not field.width:
        return field.kind == "unused"
    known = numbers[~np.isnan(numbers[:, 0])]
    if 0 < len(known) < len(numbers):
        return False
    return not len(known) or bool((known == known[0]).all())


def _readable(texts: Counter[str], kind: str) -> int:
    """Return how many texts, with their counts, a column of objects of a kind may have."""
    right = 0
    for text, count in texts.items():
        if kind == "duration":
            right += count * bool(duration_format({text: 1}, asked=True)[0])
        elif kind == "time":
            right += count * (CLOCK in readings(text))
        else:
            right += count * _is_date(text)
    return right


def _each(values: np.ndarray, kind: str, form: str, name: str) -> tuple[str, np.ndarray]:
    """Return which zone dates have, and days or seconds; raise where some cells are none."""
    try:
        if kind == "duration":
            return "", durations_of(values, name, form)
        if kind == "time":
            seconds, zone = times_of(values, name)
            return zone, seconds
        dates, zone = dates_of(values, name, form)
        return zone, days_of(dates)
    except WrongValue as error:
        more = ", or name the column in categorical_features if it is one of categories"
        raise WrongValue(error.before, error.row, error.after + more) from None


def _is_date(text: str) -> bool:
    """Return whether a text is a date beside dates that are none."""
    try:
        moment_beside_dates(text)
    except ValueError:
        return False
    return True


def _first(values: np.ndarray, wrong: set[str]) -> int:
    """Return the first row that has one of some texts."""
    cells = enumerate(values.tolist())
    return next(row for row, cell in cells if isinstance(cell, str) and cell in wrong)


def _not_numbers(texts: Counter[str], most: int) -> tuple[set[str], int]:
    """Return which texts are no numbers, and in how many cells: of some, where these are `most`."""
    wrong, lacking = set(), 0
    for text, count in texts.items():
        if not _reads(text):
            wrong.add(text)
            lacking += count
            if lacking > most:
                break
    return wrong, lacking


def _reads(text: str) -> bool:
    try:
        number(text)
    except ValueError:
        return False
    return True


def _learn(
    values: np.ndarray,
    name: str,
    kind: str,
    form: str,
    zone: str,
    named: Collection[str],
    measured: np.ndarray | None,
) -> Field:
    """Return the field of a column of a kind, from the rows to train on.

    Words for a missing value that are `named` are categories; `measured` are days, if known.
    """
    if kind == "number":
        return Field(name, kind, origin_of(values))
    if kind in ("duration", "time"):
        return Field(name, kind, form=form, zone=zone)
    if kind == "date":
        days = days_of(dates_of(values, name, form)[0]) if measured is None else measured
        days = days[~np.isnan(days)]
        if not len(days):
            return Field(name, "unused")
        span = days.max() - days.min()
        cycles = ["year"] * bool(span >= _CYCLES["year"]) + ["week"] * bool(span >= 14)
        cycles += ["day"] * bool((days % 1 != 0).any())
        return Field(name, kind, form=form, cycles=tuple(cycles), zone=zone)
    counts = Counter(words_of(values, name, named))
    missing = counts.pop(ABSENT, 0)
    if is_named(counts, len(values)):
        return Field(name, "unused")
    least = least_rows(len(values), RARE)
    kept = kept_words(counts, missing, least)
    if kept.rows > 0.5 * len(values):
        warnings.warn(
            f"column {name}: {kept.rare} categories of fewer than {least} rows, or beyond the "
            f"commonest {MOST_CATEGORIES}, count as one, in {kept.rows} of {len(values)} rows, so "
            "little is left to learn from; merge categories that are alike, or leave the column "
            "out",
            UserWarning,
            stacklevel=6,  # whoever calls fit
        )
    if kept.codes < 2:
        return Field(name, "unused")
    return Field(name, kind, words=kept.words, gaps=kept.gaps, other=kept.other)


def _is_binary(values: np.ndarray, name: str) -> bool:
    """Return whether the numbers of a column are 0 and 1, true and false, or words for these."""
    if values.dtype.kind != "O":
        head = values[:100]
        if not np.isin(head[head == head], (0, 1)).all():
            return False  # most columns end here
    numbers = numbers_of(values, name, truths=True)
    numbers = numbers[~np.isnan(numbers)]
    return bool(len(numbers)) and bool(((numbers == 0) | (numbers == 1)).all())
