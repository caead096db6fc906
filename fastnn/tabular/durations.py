"""What a text stands for as a duration, as spreadsheets, pandas, polars and Python write one."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fastnn.tabular.dates import CLOCK, readings

# What two numbers with a colon are, by the name that model files have for it, with an example.
HOURS, MINUTES = "%H:%M", "%M:%S"
DURATION_FORMATS = {HOURS: "36:05:59", MINUTES: "05:59"}
_NUMBER = r"([-+]?\d+(?:[.,]\d+)?)"
_ISO = re.compile(
    rf"([-+]?)p(?=.*\d)(?:{_NUMBER}w)?(?:{_NUMBER}d)?"
    rf"(?:t(?=.*\d)(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?)?"
)
_ISO_SECONDS = (604_800.0, 86_400.0, 3600.0, 60.0, 1.0)
_CLOCK = re.compile(
    r"([-+]?)(?:(?P<days>\d{1,7})[. ](?=\d\d:\d\d:))?(?P<one>\d{1,9}):(?P<two>[0-5]\d)"
    r"(?::(?P<three>[0-5]\d))?(?P<part>[.,]\d{1,9})?"
)
_UNITS = {
    "week": 604_800.0, "day": 86_400.0, "hour": 3600.0, "hr": 3600.0, "minute": 60.0, "min": 60.0,
    "second": 1.0, "sec": 1.0, "millisecond": 1e-3, "microsecond": 1e-6, "nanosecond": 1e-9,
    "w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0,
    "ms": 1e-3, "us": 1e-6, "\xb5s": 1e-6, "\u03bcs": 1e-6, "ns": 1e-9,
}  # fmt: skip
_COUNT = re.compile(rf"{_NUMBER}\s*([a-z\xb5\u03bc]+)\.?(?:\s*,\s*|\s+and\s+|\s*)")
# One number with a shorter unit than these is often something else: 3D, 5m, 40s, 60W.
_CLEAR = frozenset(("h", "hr", "ms", "\xb5s", "\u03bcs"))
_LONGEST = 80
_MOST = 1e12  # seconds, so that microseconds are whole numbers


def duration(text: str, form: str = HOURS) -> float:
    """Return how many seconds a text is, or raise `ValueError`.

    Parameters
    ----------
    form
        Whether 5:59 is hours and minutes, or minutes and seconds.

    >>> duration("40:07:00"), duration("2 days, 3:27:03"), duration("PT1H33M47S")
    (144420.0, 185223.0, 5627.0)
    >>> duration("-1 days +23:30:00"), duration("1h 30m"), duration("5:59", MINUTES)
    (-1800.0, 5400.0, 359.0)
    """
    found = _read(text, form)
    if found is None or abs(found[0]) > _MOST:
        raise ValueError(text)
    return found[0]


def _read(text: str, form: str) -> tuple[float, bool] | None:
    """Return how many seconds a text is, and whether nothing else than a duration looks so."""
    text = text.strip().lower()
    if not 1 < len(text) <= _LONGEST:
        return None
    if found := _ISO.fullmatch(text):
        parts = zip(found.groups()[1:], _ISO_SECONDS, strict=True)
        total = sum(_value(part) * seconds for part, seconds in parts if part)
        return -total if found[1] == "-" else total, True
    total, counts, clear, place = 0.0, 0, False, 0
    least = float("inf")
    while found := _COUNT.match(text, place):
        unit = found[2] if found[2] in _UNITS else found[2].removesuffix("s")
        seconds = _UNITS.get(unit, 0.0)
        if not 0.0 < seconds < least:  # no unit, or not the next smaller one
            return None
        least, place = seconds, found.end()
        total += _value(found[1]) * seconds
        counts += 1
        clear = counts > 1 or len(unit) > 2 or unit in _CLEAR
    if place == len(text):
        return (total, clear) if counts else None
    clock = _CLOCK.fullmatch(text, place)
    if not clock or (counts and least < 86_400):
        return None
    one, two, three = int(clock["one"]), int(clock["two"]), int(clock["three"] or 0)
    if clock["three"]:
        rest = 3600.0 * one + 60 * two + three
    elif clock["part"] or (form == MINUTES and not counts):
        rest = 60.0 * one + two
    else:
        rest = 3600.0 * one + 60 * two
    rest += float(f"0.{clock['part'][1:]}") if clock["part"] else 0.0
    rest += 86_400.0 * int(clock["days"] or 0)
    return total - rest if clock[1] == "-" else total + rest, True


def _value(text: str) -> float:
    return float(text.replace(",", "."))


def duration_format(
    texts: Mapping[str, int], share: float = 1.0, asked: bool = False
) -> tuple[str, bool]:
    """Return the format of texts, with their counts, as durations, and whether another fits.

    The format is "" where fewer than a share of them are durations, or where all that are could be
    times of day as well. Beside texts of hours, minutes and seconds, two numbers are minutes and
    seconds. Numbers with one letter, such as 5m, are durations beside other ones alone.

    Parameters
    ----------
    asked
        Whether they are to be durations, though they could be times of day.

    >>> duration_format({"8:36:39": 1}), duration_format({"8:36:39": 9, "40:07:00": 1})
    (('', False), ('%H:%M', False))
    >>> duration_format({"59:12": 1, "1:02:03": 1}), duration_format({"8:36": 1}, asked=True)
    (('%M:%S', True), ('%H:%M', False))
    >>> duration_format({"5m": 1}), duration_format({"5m": 9, "1h": 1})
    (('', False), ('%H:%M', False))
    """
    total = sum(texts.values())
    spare = total - share * total + 1e-9
    lengths, durations, read = set(), asked, False
    for text, count in texts.items():
        found = _read(text, HOURS)
        if found is None:
            spare -= count
            if spare < 0:
                return "", False
            continue
        read = True
        durations = durations or (found[1] and CLOCK not in readings(text))
        if clock := _CLOCK.fullmatch(text.strip()):
            lengths.add(3 if clock["three"] else 1 if clock["part"] else 2)
    if not (read and durations):
        return "", False
    minutes = 2 in lengths and len(lengths) > 1
    return (MINUTES if minutes else HOURS), minutes and 3 in lengths
