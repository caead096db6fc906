"""Why text that is no number or date may be meant as one, and what would make it one.

A column of such text is read as categories, of which nearly all are rare: little is learnt from it,
and who trains on it has to be told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np

from fastnn.tabular.dates import CLOCK, DATE_FORMATS, date_format, readings
from fastnn.tabular.words import is_missing, is_number, without_thousands

_CURRENCIES = "$\u20ac\xa3\xa5\u20b9"
_BRACKETS = re.compile(r"\(\s*([^-+()\s][^()]*?)\s*\)")
_MINUS_BEHIND = re.compile(r"(\D{0,3}\d[^-]*)-")
# A number with a unit, a currency or a sign beside it. What comes before is short, so that
# "Room 12" is a name; what comes after may be m2.
_BESIDE = re.compile(
    r"(?P<before>(?:[^\W\d_]{1,4}\.?\s+|[^\W\d_]{0,2}[$\u20ac\xa3\xa5\u20b9]\s*|[~<>=\u2248\u2264\u2265'\"]+\s*)?)"
    r"(?P<number>[-+]?(?:\d[\d.,'\u2019\xa0\u202f]*\d|\d)(?:e[-+]?\d+)?)"
    r"(?P<after>(?:\s*[^\W\d_][^\d\s_,:;-]{0,11}[23]?|\s*[^\w\s.,:;(){}\[\]|-][^\d.,:;]{0,11})?)",
    re.IGNORECASE,
)
_HALVES = ("am", "pm")  # of the day: 4pm is a time
_MOST_UNITS = 4  # of one column: more are codes, such as 12A and 7C
_FEW = 10  # different numbers, among which only what is hardly a code is said
_LEAST = 4  # different numbers; of fewer, categories are as good
_MOST_OTHERS = 2  # texts among few numbers: more are rather codes, as the numbers are
_BOUND = re.compile(r"[<>~=\u2248\u2264\u2265]*\s*\d[\d.,]*\s*\+?")  # 5+, for all from 5 on
_UNKNOWN = frozenset((
    "unknown", "not known", "unspecified", "undefined", "missing", "not available", "not given",
    "no answer", "refused", "don't know", "not applicable", "not stated", "error", "invalid",
))  # fmt: skip
_ORDINALS = ("st", "nd", "rd", "th")
_SAMPLE = 2000  # different texts, before all are looked through
_DATES = (
    re.compile(r"(?P<one>\d\d)(?P<mark>[.-])(?P<two>\d\d)(?P=mark)(?P<three>\d\d)(?:[t\s].*)?"),
    re.compile(r"(?P<day>\d{1,2})\.?\s+[^\W\d_]{3,10}\.?\s+(?P<year>\d{4})(?:\s.*)?"),
    re.compile(r"(?P<year>\d{4})\s*\u5e74\s*\d{1,2}\s*\u6708\s*(?P<day>\d{1,2})\s*\u65e5.*"),
)


class Hint(NamedTuple):
    """What the values of a column are rather than categories, and what makes it so.

    Attributes
    ----------
    what
        With an example.
    advice
        What to do with the file.
    kind
        "numbers", "dates" or "times of day".
    """

    what: str
    advice: str
    kind: str = "numbers"

    def __str__(self) -> str:
        """Return both as one sentence."""
        return f"{self.what}: {self.advice}"


def number_hint(cells: np.ndarray, decimal: str = ".") -> str:
    """Return how cells of text would all be numbers, "" where they would not.

    >>> number_hint(np.array(["1,5", "2", None], object))
    "all values are numbers with the decimal mark ',', such as '1,5': pass --decimal ,"
    >>> number_hint(np.array(["5%", "12.5 %"], object))
    "all values are numbers with a percent sign, such as '12.5 %': leave that out"
    """
    found = _all_numbers(_counts(cells), decimal)
    return str(found) if found else ""


def date_hint(cells: np.ndarray) -> Hint | None:
    """Return that cells of text are dates of another form than those that are read, or None."""
    return _other_dates(_counts(cells))


def text_hint(cells: np.ndarray, decimal: str = ".") -> Hint | None:
    """Return what cells of text seem to be: numbers or dates that are not read, or None.

    That are all of them as numbers or dates of another form, or most of them as what is read.

    >>> cells = np.array([*map(str, range(20)), "-", "-"], object)
    >>> text_hint(cells).what
    "20 of 22 values are numbers and the others are not, such as '-'"
    """
    counts = _counts(cells)
    return _all_numbers(counts, decimal) or _other_dates(counts) or _mostly(counts, decimal)


def compact_date(numbers: np.ndarray) -> str:
    """Return a number of a column (rows,) that is a date without marks, "" where not all are.

    >>> compact_date(np.arange(20240105.0, 20240125)), compact_date(np.arange(20240105.0, 20240140))
    ('20240105', '')
    """
    first = numbers[:_FEW]
    first = first[~np.isnan(first)]
    if ((first != np.floor(first)) | (first < 180_001)).any():  # most columns end here
        return ""
    whole = np.unique(numbers[~np.isnan(numbers)])
    if len(whole) <= _FEW or (whole != np.floor(whole)).any() or whole[0] < 0 or whole[-1] >= 2**53:
        return ""
    digits = len(str(int(whole[-1])))
    days = whole.astype(np.int64)
    if digits == 6:
        days = days * 100 + 1
    elif digits in (12, 14):  # with a time
        time = days % 10 ** (digits - 8)
        days = days // 10 ** (digits - 8)
        parts = [time // 100**place % 100 for place in range((digits - 8) // 2)]
        if any((part > 59).any() for part in parts) or (parts[-1] > 23).any():
            return ""
    elif digits != 8:
        return ""
    year, month, day = days // 10_000, days // 100 % 100, days % 100
    if not (1800 <= year[0] <= year[-1] < 2200 and month.min() > 0 and month.max() < 13):
        return ""
    return str(int(whole[0])) if day.min() > 0 and day.max() < 32 else ""


def _counts(cells: np.ndarray) -> Counter[str]:
    return Counter(
        cell.strip() for cell in cells.tolist() if isinstance(cell, str) and not is_missing(cell)
    )


def _all_numbers(counts: Mapping[str, int], decimal: str) -> Hint | None:
    texts = sorted(counts)
    odd = next((text for text in texts if not is_number(text, decimal)), None)
    if odd is None:
        return None
    other = "," if decimal == "." else "."
    # The first that fits counts: where all have three digits, 1,234 is rather a thousand.
    ways: tuple[tuple[str, str, str, Callable[[str], str]], ...] = (
        ("a mark of thousands", "leave that out", decimal, without_thousands),
        (f"the decimal mark {other!r}", f"pass --decimal {other}", other, str),
        (
            f"the decimal mark {other!r} and a mark of thousands",
            f"pass --decimal {other} and leave the other out",
            other,
            without_thousands,
        ),
        *(
            (what, "leave that out", mark, lambda text, signs=signs: _without_sign(text, signs))
            for what, signs in (("a percent sign", "%"), ("the sign of a currency", _CURRENCIES))
            for mark in (decimal, other)
        ),
        *(
            (
                "a minus behind or brackets around negative ones",
                "write the minus before the number, and nothing else",
                mark,
                lambda text: _without_sign(_minus_before(text), f"%{_CURRENCIES}"),
            )
            for mark in (decimal, other)
        ),
    )
    fitting = [
        (what, advice)
        for what, advice, mark, plain in ways
        if all(is_number(plain(text), mark) for text in texts)
    ]
    if not fitting:
        return _with_units(texts, odd, (decimal, other))
    # Nobody knows what 1,234 is where all have three digits.
    both = len(fitting) > 1 and fitting[1] == ways[1][:2] and fitting[0] == ways[0][:2]
    what, advice = (" or ".join(pair) for pair in zip(*fitting[: 1 + both], strict=True))
    return Hint(f"all values are numbers with {what}, such as {odd!r}", advice)


def _with_units(texts: list[str], odd: str, marks: Iterable[str]) -> Hint | None:
    """Return the hint for numbers with a unit or the like, where there are enough of them."""
    units, numbers, capitals = set(), set(), False
    for text in texts:
        found = _BESIDE.fullmatch(text)
        if not found:
            return None
        after = found["after"].strip().lower()
        if after.replace(".", "") in _HALVES:
            return None
        units.add((found["before"].strip(), after))
        capitals = capitals or found["after"].strip().isupper()
        numbers.add(without_thousands(found["number"]))
        if len(units) > _MOST_UNITS:
            return None
    if not any(all(is_number(n, mark) for n in numbers) for mark in marks):
        return None
    codes = capitals and all(map(str.isdecimal, numbers))
    if len(numbers) < _LEAST or (len(numbers) <= _FEW and not _one_unit(units, codes)):
        return None
    return Hint(
        f"all values are numbers with a unit or a sign beside them, such as {odd!r}",
        "keep the number alone, all in one unit",
    )


def _one_unit(units: Iterable[tuple[str, str]], codes: bool) -> bool:
    """Return whether what is before and after numbers is one unit or sign, and no part of names.

    `codes` is whether they are whole and have capitals behind: with one, as 2G and 4A, they are
    rather codes, and so are those of which only some have letters, as 4 and 5more.
    """
    before, after = ({pair[side] for pair in units} for side in (0, 1))
    if any(map(str.isalpha, "".join(before))):  # Type 1
        return False
    bare = {unit.rstrip(".") for unit in after}
    if bare <= {*_ORDINALS}:
        return True
    bare = {unit if len(unit) < 3 else unit.removesuffix("s") for unit in bare}
    if len(bare) == 1:
        return not (codes and len("".join(bare)) == 1)
    return len(bare) == 2 and "" in bare and not any(map(str.isalpha, "".join(bare)))


def _minus_before(text: str) -> str:
    found = _BRACKETS.fullmatch(text) or _MINUS_BEHIND.fullmatch(text)
    return f"-{found[1].strip()}" if found else text


def _without_sign(text: str, signs: str) -> str:
    minus = text[:1] if text[:1] in "-+" else ""
    return without_thousands(minus + text[len(minus) :].strip(f"{signs} \xa0"))


def _other_dates(counts: Mapping[str, int]) -> Hint | None:
    return _all_dates(counts) or _mixed_dates(counts)


def _all_dates(counts: Mapping[str, int]) -> Hint | None:
    """Return the hint for dates in a form that is not read."""
    if len(counts) < _LEAST:
        return None
    for form in _DATES:
        parts = []
        for text in counts:
            found = form.fullmatch(text.lower())
            if not found:
                break
            parts.append(found.groupdict())
        # 10.04.01 and 11.01.02 are versions and codes: among few, dates have a year.
        year = all(int(part.get("three", "99")) > 12 for part in parts)
        if len(parts) == len(counts) and (year or len(counts) > _FEW) and _days_and_months(parts):
            return Hint(
                f"all values seem to be dates in a form that is not read, such as {min(counts)!r}",
                f"write them as {DATE_FORMATS['iso']}",
                "dates",
            )
    return None


def _mixed_dates(counts: Mapping[str, int]) -> Hint | None:
    """Return the hint for dates of several forms, none of which nearly all have."""
    if len(counts) < _LEAST:
        return None
    first, other = min(counts), ""
    forms = set(readings(first))
    for text in sorted(counts):
        fitting = set(readings(text)) - {CLOCK}
        if not fitting:
            return None
        if not forms.isdisjoint(fitting):
            forms &= fitting
        else:
            other = other or text
    if not other:
        return None
    return Hint(
        f"all values are dates, but in several forms, such as {first!r} and {other!r}",
        f"write all as {DATE_FORMATS['iso']}",
        "dates",
    )


def _days_and_months(parts: list[dict[str, str]]) -> bool:
    """Return whether some parts of texts may be days and months, by one order for all."""
    if "day" in parts[0]:
        return all(1 <= int(part["day"]) <= 31 for part in parts)
    orders = (("one", "two"), ("two", "one"), ("three", "two"))
    return any(
        all(1 <= int(part[day]) <= 31 and 1 <= int(part[month]) <= 12 for part in parts)
        for day, month in orders
    )


def _mostly(counts: Mapping[str, int], decimal: str) -> Hint | None:
    """Return the hint for numbers or dates among which there are other texts."""
    if len(counts) <= _LEAST:
        return None
    sample = dict(islice(counts.items(), _SAMPLE))
    right = {text for text in sample if is_number(text, decimal)}
    what = "numbers"
    if _share(right, sample) < 0.5 or len(right) < _LEAST:
        form, _ = date_format(sample, 0.5)
        if not form:
            return None
        what = "times of day" if form == CLOCK else "dates"
        right = {text for text in counts if date_format({text: 1})[0]}
    else:
        right = {text for text in counts if is_number(text, decimal)}
    if _share(right, counts) < 0.5 or len(right) < _LEAST or len(right) == len(counts):
        return None
    others = {text: count for text, count in counts.items() if text not in right}
    if len(right) <= _FEW and not _are_gaps(others):
        return None
    example = min(others, key=lambda text: (-others[text], text))
    count, total = sum(counts[text] for text in right), sum(counts.values())
    return Hint(
        f"{count} of {total} values are {what} and the others are not, such as {example!r:.60}",
        "leave cells empty that are unknown",
        what,
    )


def _are_gaps(others: Collection[str]) -> bool:
    """Return whether texts among few numbers stand for what is missing, or for the largest.

    Others are rather codes, sizes or places: XL, EXP, more, Basement.
    """
    return len(others) <= _MOST_OTHERS and all(
        _BOUND.fullmatch(text)
        or text.strip().lower() in _UNKNOWN
        or (text.islower() and len(text) > 4 and not any(map(str.isdigit, text)))
        or not any(map(str.isalnum, text))
        for text in others
    )


def _share(texts: Iterable[str], counts: Mapping[str, int]) -> float:
    return sum(counts[text] for text in texts) / sum(counts.values())
