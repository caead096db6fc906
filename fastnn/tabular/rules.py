"""How one column becomes features: numbers, true and false, dates, durations, and categories.

Each rule is learnt from the rows to train on, is plain values in a file, and gives for any column
of its name an array (rows, features), float32; a category gives the index of its feature instead,
since all its others are zero.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from statistics import NormalDist
from typing import Any, ClassVar, Self

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, shown
from fastnn.tabular.categories import Kept, codes_of, kept_words
from fastnn.tabular.curve import interpolated
from fastnn.tabular.dates import CLOCK, DATE_FORMATS, days_of, moment, universal
from fastnn.tabular.deviations import mean_and_deviation
from fastnn.tabular.durations import DURATION_FORMATS, duration
from fastnn.tabular.spelling import word_of
from fastnn.tabular.table import WrongCell, cell, counted
from fastnn.tabular.words import number, read_cells, truth
from fastnn.tabular.zones import WITH, WITHOUT, Zones, difference

KNOTS = 64  # of the curve from a number to its normal score
CLIP = 10.0  # deviations from the mean, beyond which a number counts as this
MISSING_NAME, OTHER_NAME = "(missing)", "(other)"
_SECOND = np.timedelta64(1, "s")
_DAY_MICRO = 86_400_000_000
_YEAR_DAYS = 365.2425


@dataclass(frozen=True)
class Found:
    """What a rule met in a table that it has to report."""

    missing: int = 0
    unknown: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class NumberRule:
    """A number: its standard score, and its normal score where the two differ; a missing one is 0.

    standard score  (x - mean) / scale, at most `CLIP` deviations
    normal score    Phi^-1(share of the rows below x), by straight lines between knots

    The second is what a column of long tails is learnt from (the quantile transformation of
    Bogner et al. 2012 and scikit-learn), the first keeps distances.

    Attributes
    ----------
    name
        The column.
    mean, scale
        Of the rows that it was learnt from.
    fill
        Their median, which stands for a missing number.
    flag
        Whether a feature of its own tells that a number is missing.
    x, score
        The knots; none where there is no normal score.
    truth
        Whether the numbers are 0 and 1, for false and true.
    binary
        Whether they are 0 and 1 alone, for which words may stand in other files.
    """

    kind: ClassVar[str] = "number"
    name: str
    mean: float
    scale: float
    fill: float
    flag: bool
    x: tuple[float, ...] = ()
    score: tuple[float, ...] = ()
    truth: bool = False
    binary: bool = False

    @classmethod
    def learn(cls, name: str, values: np.ndarray, truth: bool = False) -> Self | None:
        """Return the rule for some numbers, NaN where one is missing; None: they are all alike."""
        values = values.astype(np.float64)
        present = values[~np.isnan(values)]
        flag = len(present) < len(values)
        if not len(present):
            return None
        mean, deviation = mean_and_deviation(present)
        least = 1e-14 * float(np.abs(present).max())  # what rounding alone may amount to
        if not (present != present[0]).any() or not deviation > least:
            if not flag:
                return None
            mean, deviation = float(present[0]), 1.0
        fill = float(np.median(present))
        x, score = ((), ()) if truth else _knots(present)
        binary = bool(((present == 0) | (present == 1)).all())
        return cls(name, mean, deviation, fill, flag, x, score, truth, binary)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features."""
        return (
            self.name,
            *([f"{self.name} (rank)"] if self.x else []),
            *([f"{self.name} {MISSING_NAME}"] if self.flag else []),
        )

    def read(self, values: np.ndarray, decimal: str = ".") -> np.ndarray:
        """Return the numbers of a column, float64, NaN where one is missing.

        Raises
        ------
        InvalidInput
            A text that is none, with its row.
        """
        if values.dtype.kind in "mM":
            what = "dates" if values.dtype.kind == "M" else "durations"
            raise InvalidInput(
                f"column {self.name!r} has {what}, but the model was trained on numbers in it"
            )
        if values.dtype != object:
            numbers = values.astype(np.float64)
            wrong = np.isinf(numbers)
            if self.truth:
                wrong = ~((numbers == 0) | (numbers == 1) | np.isnan(numbers))
        else:
            numbers, row = read_cells(
                values, lambda text: self._read_text(text, decimal), np.nan, np.float64
            )
            wrong = np.zeros(len(values), bool)
            if row is not None:
                wrong[row] = True
        if wrong.any():
            row = int(wrong.argmax())
            due = "true or false" if self.truth else "a number"
            raise WrongCell(
                row,
                f"column {self.name!r}: {cell(values[row])} where {due} is due; "
                "correct it, or leave the cell empty if it is unknown",
            )
        return numbers

    def _read_text(self, text: str, decimal: str) -> float:
        if self.truth or not self.binary:
            return number_or_truth(text, self.truth, decimal)
        try:
            return number(text, decimal)
        except ValueError:
            return truth(text)

    def apply(self, values: np.ndarray, decimal: str = ".") -> tuple[np.ndarray, Found]:
        """Return the features (rows, features), float32, of a column."""
        numbers = self.read(values, decimal)
        missing = np.isnan(numbers)
        filled = np.where(missing, self.fill, numbers)
        with np.errstate(over="ignore"):  # clipped right after
            features = [np.clip((filled - self.mean) / self.scale, -CLIP, CLIP)]
        if self.x:
            features.append(interpolated(filled, self.x, self.score))
        if self.flag:
            features.append(missing)
        return np.stack(features, axis=1).astype(np.float32), Found(int(missing.sum()))

    def describe(self) -> str:
        """Return what is known of the column, in a few words."""
        if self.truth:
            return f"true in {self.mean:.0%}"
        return f"mean {self.mean:.4g}, deviation {self.scale:.4g}"


def number_or_truth(text: str, truths: bool, decimal: str = ".") -> float:
    """Return the number that a text is, or 0 or 1 where it is to be true or false."""
    if not truths:
        return number(text, decimal)
    try:
        return truth(text)
    except ValueError:
        value = number(text)
        if value not in (0.0, 1.0):
            raise
        return value


def _knots(values: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return a curve from numbers to standardised normal scores; none where it would be a line."""
    ordered = np.sort(values)
    # Of halves, between which no difference overflows.
    x = np.unique(2.0 * np.quantile(ordered / 2.0, np.linspace(0, 1, KNOTS)))
    if len(x) < 3 or not np.isfinite(x).all():
        return (), ()
    below, up_to = np.searchsorted(ordered, x, "left"), np.searchsorted(ordered, x, "right")
    share = np.clip((below + up_to) / (2 * len(ordered)), 1e-3, 1 - 1e-3)
    normal = NormalDist()
    score = np.array([normal.inv_cdf(float(each)) for each in share])
    found = interpolated(values, x, score)
    score = (score - found.mean()) / (found.std() or 1.0)
    return tuple(x.tolist()), tuple(score.tolist())


@dataclass(frozen=True)
class DateRule:
    """A date: days as a number, and where it comes round in the data, day of year, week and time.

    Attributes
    ----------
    name, form
        The column, and the format of its text.
    days
        The rule of the days since 1970.
    year, week, clock
        Whether the place in the year, the day of the week and the time of day are features, each
        cycle as a sine and a cosine: where the dates span a year or two weeks, and where not all
        have the same time.
    zone
        Whether the dates have a time zone, `WITH` or `WITHOUT`; "" where nobody knows.
    """

    kind: ClassVar[str] = "date"
    name: str
    form: str
    days: NumberRule
    year: bool
    week: bool
    clock: bool
    zone: str = ""

    @classmethod
    def learn(cls, name: str, values: np.ndarray, form: str, zone: str = "") -> Self | None:
        """Return the rule for some dates; None: they are all alike."""
        days = days_of(values)
        rule = NumberRule.learn(name, days)
        if rule is None:
            return None
        present = days[~np.isnan(days)]
        span = float(present.max() - present.min())
        times = values[~np.isnat(values)].astype("datetime64[us]").astype(np.int64) % _DAY_MICRO
        clock = bool((times != times[0]).any())
        return cls(name, form, rule, span >= _YEAR_DAYS, span >= 14, clock, zone)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features."""
        cycles = [
            f"{self.name} ({what} {wave})" for what in self._cycles() for wave in ("sin", "cos")
        ]
        return (*self.days.features, *cycles)

    def _cycles(self) -> dict[str, float]:
        lengths = {"year": _YEAR_DAYS, "week": 7.0, "day": 1.0}
        wanted = {"year": self.year, "week": self.week, "day": self.clock}
        return {name: days for name, days in lengths.items() if wanted[name]}

    def read(self, values: np.ndarray, decimal: str = ".") -> np.ndarray:
        """Return the dates of a column, datetime64, NaT where one is missing.

        Raises
        ------
        InvalidInput
            A text that is none, or has a zone where others, or those of the training, have none,
            with its row.
        """
        if values.dtype == object:
            dates, row, zones = dates_of(values, self.form)
            if row is not None:
                due = "a time of day" if self.form == CLOCK else "a date"
                raise WrongCell(
                    row,
                    f"column {self.name!r}: {shown(values[row]):.60} where {due} is due, such as "
                    f"{DATE_FORMATS[self.form]}; correct it, or leave the cell empty if it is "
                    "unknown",
                )
            check_zones(self.name, values, zones, self.zone)
        elif values.dtype.kind == "M":
            return values
        else:
            raise InvalidInput(
                f"column {self.name!r} has numbers, but the model was trained on dates in it"
            )
        return dates

    def check_zone(self, values: np.ndarray, zoned: bool) -> None:
        """Raise where datetime64 had a time zone in its file, and those of the training had none.

        Or the other way round.
        """
        zone = WITH if zoned else WITHOUT
        there = ~np.isnat(values) if values.dtype.kind == "M" else np.zeros(0, bool)
        if self.zone and self.zone != zone and there.any():
            row = int(there.argmax())
            raise WrongCell(row, f"column {self.name!r}: {difference(str(values[row]), zone)}")

    def apply(self, values: np.ndarray, decimal: str = ".") -> tuple[np.ndarray, Found]:
        """Return the features (rows, features), float32, of a column."""
        dates = self.read(values, decimal)
        days = days_of(dates)
        features, found = self.days.apply(days)
        filled = np.where(np.isnan(days), self.days.fill, days)
        waves = [features]
        for length in self._cycles().values():
            angle = 2 * np.pi * (filled / length)
            waves += [np.sin(angle)[:, None], np.cos(angle)[:, None]]
        return np.concatenate(waves, axis=1).astype(np.float32), found

    def describe(self) -> str:
        """Return what is known of the column, in a few words."""
        cycles = ", ".join(self._cycles())
        if self.form == CLOCK:
            return "time of day"
        return f"days since 1970{' and place in the ' if cycles else ''}{cycles}"


def dates_of(values: np.ndarray, form: str) -> tuple[np.ndarray, int | None, Zones]:
    """Return a column of text as datetime64[us], and the first row that is none, or None.

    Beside them, which have a time zone.
    """
    zones = Zones()

    def read(text: str) -> np.datetime64:
        found = moment(text, form)
        zones.note(text, found)
        return universal(found)

    return *read_cells(values, read, np.datetime64("NaT"), "datetime64[us]"), zones


def check_zones(name: str, values: np.ndarray, zones: Zones, trained: str = "") -> None:
    """Raise where some dates of text have a time zone and others, or those before, have none."""
    if wrong := zones.wrong(values, trained):
        row, what = wrong
        raise WrongCell(row, f"column {name!r}: {what}")


@dataclass(frozen=True)
class DurationRule:
    """A duration: its seconds as a number.

    Attributes
    ----------
    name, form
        The column, and the format of its text.
    seconds
        The rule of the seconds.
    """

    kind: ClassVar[str] = "duration"
    name: str
    form: str
    seconds: NumberRule

    @classmethod
    def learn(cls, name: str, values: np.ndarray, form: str) -> Self | None:
        """Return the rule for some durations, timedelta64; None: they are all alike."""
        rule = NumberRule.learn(name, values / _SECOND)
        return None if rule is None else cls(name, form, rule)

    @property
    def fill(self) -> float:
        """The seconds that stand for a missing duration."""
        return self.seconds.fill

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features."""
        return self.seconds.features

    def read(self, values: np.ndarray, decimal: str = ".") -> np.ndarray:
        """Return the durations of a column, timedelta64, NaT where one is missing.

        Raises
        ------
        InvalidInput
            A text that is none, with its row.
        """
        if values.dtype.kind == "m":
            return values
        if values.dtype != object:
            raise InvalidInput(
                f"column {self.name!r} has {'dates' if values.dtype.kind == 'M' else 'numbers'}, "
                "but the model was trained on durations in it"
            )
        found, row = durations_of(values, self.form)
        if row is not None:
            raise WrongCell(
                row,
                f"column {self.name!r}: {shown(values[row]):.60} where a duration is due, such as "
                f"{DURATION_FORMATS[self.form]}; correct it, or leave the cell empty if it is "
                "unknown",
            )
        return found

    def apply(self, values: np.ndarray, decimal: str = ".") -> tuple[np.ndarray, Found]:
        """Return the features (rows, features), float32, of a column."""
        return self.seconds.apply(self.read(values) / _SECOND)

    def describe(self) -> str:
        """Return what is known of the column, in a few words."""
        return f"duration in seconds, {self.seconds.describe()}"


def durations_of(values: np.ndarray, form: str) -> tuple[np.ndarray, int | None]:
    """Return a column of text as timedelta64[us], and the first row that is none, or None."""
    seconds, row = read_cells(values, lambda text: duration(text, form), np.nan, np.float64)
    missing = np.isnan(seconds)
    found = np.rint(np.where(missing, 0.0, seconds) * 1e6).astype("timedelta64[us]")
    found[missing] = np.timedelta64("NaT")
    return found, row


@dataclass(frozen=True)
class CategoryRule:
    """A category: one feature for each, of which one is 1 and all others are 0.

    Attributes
    ----------
    name
        The column.
    categories
        Their words, the most frequent first.
    flag
        Whether there is one for missing ones.
    other
        Whether there is one for those that are rare, which new ones belong to, too.
    """

    kind: ClassVar[str] = "category"
    name: str
    categories: tuple[str, ...]
    flag: bool
    other: bool

    @classmethod
    def learn(cls, name: str, values: np.ndarray, least: int) -> Self | None:
        """Return the rule for a column; None: it is one word in all rows.

        Parameters
        ----------
        least
            How often a category must be there to have a feature of its own.
        """
        counts = Counter(_words(values))
        missing = counts.pop("", 0)
        kept = kept_words(counts, missing, least)
        if len(counts) + kept.gaps < 2 or kept.codes < 2:
            return None
        return cls(name, kept.words, kept.gaps, kept.other)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features."""
        names = [f"{self.name}={word}" for word in self.categories]
        names += [f"{self.name} {MISSING_NAME}"] * self.flag
        return (*names, *[f"{self.name} {OTHER_NAME}"] * self.other)

    def read(self, values: np.ndarray, decimal: str = ".") -> np.ndarray:
        """Return the words of a column, objects, None where one is missing."""
        words = np.empty(len(values), object)
        words[:] = [word or None for word in _words(values)]
        return words

    def codes(self, values: np.ndarray) -> tuple[np.ndarray, Found]:
        """Return the feature that is 1 in each row, -1 for none, and which words are new."""
        words = _words(values)
        counts = Counter(words)
        missing = counts.pop("", 0)
        found, new = codes_of(words, Kept(self.categories, self.flag, self.other), "")
        # In the order of the rows, in which messages list those that are as frequent.
        unknown = Counter({word: count for word, count in counts.items() if word in new})
        # A rare word was there in training, but nobody knows any more which ones.
        return found, Found(missing, Counter() if self.other else unknown)

    def describe(self) -> str:
        """Return what is known of the column, in a few words."""
        text = counted(len(self.categories), "category", "categories")
        return text + " and rare ones" * self.other


def _words(values: np.ndarray) -> list[str]:
    """Return the categories of a column as text, "" where one is missing.

    Numbers are written in the shortest way, so that 1, 1.0 and "1" from another kind of file are
    the same category.
    """
    if values.dtype == object:
        known = {text: "" if text is None else word_of(text) for text in set(values.tolist())}
        return [known[text] for text in values.tolist()]
    if values.dtype.kind in "mM":
        return ["" if np.isnat(value) else word_of(value) for value in values]
    cells = list(values) if values.dtype == np.float16 else values.tolist()
    return ["" if value != value else word_of(value) for value in cells]


Rule = NumberRule | DateRule | DurationRule | CategoryRule
_RULES: dict[str, Any] = {
    rule.kind: rule for rule in (NumberRule, DateRule, DurationRule, CategoryRule)
}


def to_plain(rule: Rule) -> dict[str, Any]:
    """Return a rule as `json` can write it."""
    values: dict[str, Any] = {"kind": rule.kind}
    for each in fields(rule):
        value = getattr(rule, each.name)
        if isinstance(value, NumberRule):
            value = to_plain(value)
        values[each.name] = list(value) if isinstance(value, tuple) else value
    return values


def from_plain(values: Any) -> Rule:
    """Return the rule that `to_plain` gave, or raise `CorruptFile`."""
    kind = values.get("kind") if isinstance(values, dict) else None
    rule = _RULES.get(kind) if isinstance(kind, str) else None
    names = {"kind", *(each.name for each in fields(rule))} if rule is not None else set()
    # Files of before there were these have none.
    if rule is None or {*values, *(names & {"zone", "binary"})} != names:
        raise CorruptFile(f"the preparation of a column cannot be {shown(values):.80}")
    given: dict[str, Any] = {}
    for each in fields(rule):
        if each.name not in values:
            continue
        value = values[each.name]
        if each.type == "NumberRule":
            value = from_plain(value)
        elif str(each.type).startswith("tuple"):
            of = float if "float" in str(each.type) else str
            good = isinstance(value, list) and all(type(item) is of for item in value)
            value = tuple(value) if good else None
        elif str(each.type) == "float" and not (type(value) is float and np.isfinite(value)):
            value = None
        elif str(each.type) in ("bool", "str") and type(value).__name__ != each.type:
            value = None
        if value is None:
            raise CorruptFile(
                f"the preparation of a column has no {each.name}: {shown(values[each.name]):.80}"
            )
        given[each.name] = value
    made: Rule = rule(**given)
    forms: dict[str, Any] = {DateRule.kind: DATE_FORMATS, DurationRule.kind: DURATION_FORMATS}
    if isinstance(made, (DateRule, DurationRule)) and made.form not in forms[made.kind]:
        raise CorruptFile(
            f"column {made.name!r} has {made.kind}s in the format {made.form!r:.40}, which this "
            "fastnn does not know; upgrade it if the file is of a later one"
        )
    if isinstance(made, NumberRule):
        steps = np.diff(made.x)
        if len(made.x) != len(made.score) or not made.scale > 0 or not (steps > 0).all():
            raise CorruptFile(f"the preparation of column {made.name!r} is damaged")
    return made
