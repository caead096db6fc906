"""What a text stands for as a date, a date with a time, a month, or a time of day."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np

ISO, WORDS, CLOCK = "iso", "%d %b %Y", "%H:%M"
# What a date may look like, by the name that model files have for it, with an example. There may be
# a time after each of a day, and a zone. ISO 8601 has weeks, too, as 2024-W52; a week, a month and
# a quarter stand for their first day.
DATE_FORMATS = {
    ISO: "2024-12-31",
    "%Y/%m/%d": "2024/12/31",
    "%d.%m.%Y": "31.12.2024",
    "%m/%d/%Y": "12/31/2024",
    "%d/%m/%Y": "31/12/2024",
    "%m-%d-%Y": "12-31-2024",
    "%d-%m-%Y": "31-12-2024",
    "%m/%d/%y": "12/31/24",
    "%d/%m/%y": "31/12/24",
    "%Y%m%dT%H%M%S": "20241231T235900",
    WORDS: "31 Dec 2024",
    "%Y-%m": "2024-12",
    "%Y/%m": "2024/12",
    "%m/%Y": "12/2024",
    "%b %Y": "Dec 2024",
    "quarter": "2024-Q4",
    CLOCK: "23:59",
}
MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y")
# English ones whatever the locale is, since a model's file goes from one machine to another.
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_MONTH = rf"(?P<name>{'|'.join(f'{name[:3]}(?:{name[3:]})?' for name in _MONTHS)}|sept)\.?"
_WEEKDAY = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+")
_DAY, _YEAR = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?", r"(?P<year>\d{4})"
_BY_NUMBER = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d\d)(?!\d)")
# The commonest of these, which are read in a third of the time.
_PLAIN = re.compile(
    r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4}|[0-9]{2})"
    r"(?: ([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?)?"
)
_PLAIN_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_BY_YEAR = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?!\d)")
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?=[t\s])")
_BY_WORD = (
    re.compile(rf"{_DAY}[-\s/]\s*{_MONTH}(?:,?\s+|[-/])(?P<year>\d{{4}}|\d\d)(?!\d)"),
    re.compile(rf"{_MONTH}\s+{_DAY},?\s+{_YEAR}(?!\d)"),
    re.compile(rf"{_YEAR}[-\s/]{_MONTH}[-\s/]{_DAY}(?!\d)"),
)
# What else has four digits, two and a mark between them is seldom of these years.
_CENTURIES = r"(?P<year>(?:1[5-9]|20|21)\d\d)"
_BY_MONTH = {
    "%Y-%m": (re.compile(rf"{_CENTURIES}-(?P<month>\d{{1,2}})"),),
    "%Y/%m": (re.compile(rf"{_CENTURIES}/(?P<month>\d{{1,2}})"),),
    "%m/%Y": (re.compile(rf"(?P<month>\d{{1,2}})/{_CENTURIES}"),),
    "%b %Y": (
        re.compile(rf"{_MONTH}(?:,?\s*|[-/]){_CENTURIES}"),
        re.compile(rf"{_CENTURIES}[-\s/]{_MONTH}"),
    ),
    "quarter": (
        re.compile(rf"{_CENTURIES}[-\s/]?q(?P<quarter>[1-4])"),
        re.compile(rf"q(?P<quarter>[1-4])[-\s/]?{_CENTURIES}"),
    ),
}
# The time of `ctime` is before the year, also with a zone.
_CTIME = re.compile(r"([a-z]{3}\s+\d{1,2})\s+(\d\d?:.*)\s(\d{4})")
_TIME = re.compile(
    r"""(?P<hour>\d{1,2})
    (?:: (?P<minute>\d\d) (?::(?P<second>\d\d) (?:[.,](?P<part>\d{1,9}))?)?)?
    (?:\s*(?P<half>[ap])\.?m\.?(?![a-z]))?
    (?P<zone>\s*(?:z|(?:utc|gmt)(?![a-z+-])|(?:utc|gmt)?(?P<sign>[-+])(?P<hours>\d\d)
        (?::?(?P<minutes>\d\d))?|(?P<american>[ecmp][sd]t)))?(?:\s*\([^)]*\))?""",
    re.VERBOSE,
)
_SIX = re.compile(r"(\d\d)(\d\d)(\d\d)(?!\d)")
_BEFORE_TIME = re.compile(r",?\s+(?:at\s+)?|:|t")
_CLOCK = re.compile(r"\d{1,2}:\d\d(:\d\d([.,]\d{1,9})?)?|\d{1,2}(:\d\d){1,2}\s*[ap]\.?m\.?")
_AMERICAN = {"e": -5, "c": -6, "m": -7, "p": -8}  # hours of standard time (RFC 5322, section 4.3)
_LONGEST = 80


def date(text: str, form: str) -> np.datetime64:
    """Return the time that a text is, in UTC where it has a zone, or raise `ValueError`.

    >>> date("14/04/2020 8:31 PM", "%d/%m/%Y")
    np.datetime64('2020-04-14T20:31:00.000000')
    >>> date("Tue, 14 Apr 2020 20:31 +0200", "%d %b %Y")
    np.datetime64('2020-04-14T18:31:00.000000')
    """
    return universal(moment(text, form))


def moment(text: str, form: str) -> datetime:
    """Return the time that a text is, an aware one where it has a zone, or raise `ValueError`."""
    found = readings(text).get(form)
    if found is None:
        raise ValueError(text)
    return found


def moment_beside_dates(text: str) -> datetime:
    """Return the time that a text is in a column of dates that are none, or raise `ValueError`.

    In ISO 8601, or of a month or a quarter, as periods of these are written.

    >>> moment_beside_dates("2024-02"), moment_beside_dates("2024Q2")
    (datetime.datetime(2024, 2, 1, 0, 0), datetime.datetime(2024, 4, 1, 0, 0))
    """
    found = readings(text)
    for form in (ISO, *_BY_MONTH):
        if form in found:
            return found[form]
    raise ValueError(text)


def universal(moment: datetime) -> np.datetime64:
    """Return a time without its zone, of which it is in UTC where it has one."""
    return np.datetime64(unzoned(moment), "us")


def unzoned(moment: datetime) -> datetime:
    """Return as `universal`, of which NumPy makes an array faster than one by one."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def readings(text: str) -> dict[str, datetime]:
    """Return the time that a text is, by all formats that it fits: one of UTC where it has a zone.

    >>> [*readings("01/02/2024")], [*readings("13/02/2024")], readings("soon")
    (['%m/%d/%Y', '%d/%m/%Y'], ['%d/%m/%Y'], {})
    """
    if plain := _PLAIN.fullmatch(text):
        return _by_number(*plain.groups(default="0"))
    if plain := _PLAIN_CLOCK.fullmatch(text):
        clock = _time_of(*plain.groups(default="0"))
        return {} if clock is None else {CLOCK: datetime(1970, 1, 1, *clock)}
    text = text.strip().lower()
    if not 3 < len(text) <= _LONGEST or not any(map(str.isdigit, text)):
        return {}
    week = "w" in text[4:6]
    if text[:4].isdigit() and text[4:5] in ("-", "w") and len(text) >= 8 - week:
        try:
            whole = datetime.fromisoformat(text.upper())
            return {ISO: whole if whole.tzinfo is None else whole.astimezone(UTC)}
        except (ValueError, OverflowError):
            pass
    if _CLOCK.fullmatch(text):
        return _valid({CLOCK: (1970, 1, 1)}, text)
    text = _WEEKDAY.sub("", text, count=1)
    if found := _CTIME.fullmatch(text):
        text = f"{found[1]} {found[3]} {found[2]}"
    days: dict[str, tuple[int, int, int]] = {}
    if found := _BY_NUMBER.match(text):
        one, two, year = int(found[1]), int(found[3]), _year(found[4])
        mark, letter = found[2], "Y" if len(found[4]) == 4 else "y"
        days[f"%m{mark}%d{mark}%{letter}"] = year, one, two
        days[f"%d{mark}%m{mark}%{letter}"] = year, two, one
    elif found := _BY_YEAR.match(text):
        form = ISO if found[2] == "-" else "%Y/%m/%d"
        days[form] = int(found[1]), int(found[3]), int(found[4])
    elif found := _COMPACT.match(text):
        days["%Y%m%dT%H%M%S"] = int(found[1]), int(found[2]), int(found[3])
    elif found := next(filter(None, (form.match(text) for form in _BY_WORD)), None):
        names = [month[:3] for month in _MONTHS]
        month = names.index(found["name"][:3]) + 1
        days[WORDS] = _year(found["year"]), month, int(found["day"])
    if not found:
        return _months(text)
    rest = text[found.end() :]
    if rest:
        before = _BEFORE_TIME.match(rest)
        if not before:
            return {}
        rest = _SIX.sub(r"\1:\2:\3", rest[before.end() :], count=1)
    return _valid({form: days[form] for form in days if form in DATE_FORMATS}, rest)


def _time_of(hour: str, minute: str, second: str) -> tuple[int, int, int] | None:
    """Return hour, minute and second as numbers; None where there is no such time."""
    clock = int(hour), int(minute), int(second)
    return clock if clock[0] < 24 and clock[1] < 60 and clock[2] < 60 else None


def _by_number(
    one: str, mark: str, two: str, digits: str, hour: str, minute: str, second: str
) -> dict[str, datetime]:
    """Return the time of a day by numbers whose year is the last, by all formats that it fits."""
    clock = _time_of(hour, minute, second)
    if clock is None:
        return {}
    year, first, other = _year(digits), int(one), int(two)
    letter = "Y" if len(digits) == 4 else "y"
    moments = {}
    for form, month, day in (
        (f"%m{mark}%d{mark}%{letter}", first, other),
        (f"%d{mark}%m{mark}%{letter}", other, first),
    ):
        if form in DATE_FORMATS and 0 < month < 13:
            try:
                moments[form] = datetime(year, month, day, *clock)
            except ValueError:  # no such day
                continue
    return moments


def _months(text: str) -> dict[str, datetime]:
    """Return the first day of the month, or of the quarter, that a text is."""
    names = [month[:3] for month in _MONTHS]
    for form, patterns in _BY_MONTH.items():
        for pattern in patterns:
            if found := pattern.fullmatch(text):
                parts = found.groupdict()
                if "quarter" in parts:
                    month = 3 * int(parts["quarter"]) - 2
                elif "name" in parts:
                    month = names.index(parts["name"][:3]) + 1
                else:
                    month = int(parts["month"])
                return _valid({form: (int(parts["year"]), month, 1)}, "")
    return {}


def _valid(days: Mapping[str, tuple[int, int, int]], time: str) -> dict[str, datetime]:
    """Return which of some days (year, month, day) there are, each at a time of day."""
    after, zone = timedelta(0), None
    if time:
        found = _TIME.fullmatch(time)
        half = found["half"] if found else None
        if not found or not (found["minute"] or half):
            return {}
        hour, minute = int(found["hour"]), int(found["minute"] or 0)
        second = int(found["second"] or 0)
        if hour > 23 or minute > 59 or second > 59 or (half and not 1 <= hour <= 12):
            return {}
        if half:
            hour = hour % 12 + 12 * (half == "p")
        micro = int((found["part"] or "0").ljust(6, "0")[:6])
        after = timedelta(0, second, micro, 0, minute, hour)
        if found["zone"]:
            zone = UTC
        if found["sign"]:
            ahead = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"] or 0))
            if ahead >= timedelta(days=1):
                return {}
            after -= ahead if found["sign"] == "+" else -ahead
        elif found["american"]:
            summer = found["american"][1] == "d"
            after -= timedelta(hours=_AMERICAN[found["american"][0]] + summer)
    moments = {}
    for form, day in days.items():
        try:
            moments[form] = datetime(*day, tzinfo=zone) + after
        except (ValueError, OverflowError):  # no such day
            continue
    return moments


def _year(digits: str) -> int:
    """Return a year, that of two digits as POSIX has it: 69 is 1969 and 68 is 2068."""
    year = int(digits)
    return year if len(digits) == 4 else year + (1900 if year >= 69 else 2000)


def date_format(
    texts: Mapping[str, int], share: float = 1.0, day_first: bool = False
) -> tuple[str, bool]:
    """Return the format that most of some texts, with their counts, have, and whether another fits.

    The format is "" where it fits less than a share of them. Only where two fit all does another
    one count.

    Parameters
    ----------
    day_first
        Which of two that fit as many is taken.

    >>> date_format({"2024-02-01": 9, "2024-02-29T12:00": 1})
    ('iso', False)
    >>> date_format({"13/02/2024": 1}), date_format({"01/02/2024 20:31": 1}), date_format({"no": 1})
    (('%d/%m/%Y', False), ('%m/%d/%Y', True), ('', False))
    >>> date_format({"2024-02-29": 9, "2024-02-30": 1}, 0.9)
    ('iso', False)

    Years like 2009-10 are a season each, unless others show that they are months:

    >>> date_format({"2009-10": 1, "2010-11": 1}), date_format({"2009-10": 1, "2009-11": 1})
    (('', False), ('%Y-%m', False))
    """
    total = sum(texts.values())
    spare = total - share * total + 1e-9
    fitting: dict[str, int] = {}
    seasons = True
    for text, count in texts.items():
        forms = readings(text)
        if not forms:
            spare -= count
            if spare < 0:
                return "", False
        for form, moment in forms.items():
            year = form in ("%Y-%m", "%Y/%m") and moment.month == (moment.year + 1) % 100
            seasons = seasons and year
            fitting[form] = fitting.get(form, 0) + count
    if not fitting or seasons:
        return "", False
    most = max(fitting.values())
    best = [form for form, count in fitting.items() if count == most]
    if most < share * total:
        return "", False
    best.sort(key=lambda form: (form in MONTH_FIRST) == day_first)
    return best[0], len(best) > 1 and most == total


def days_of(dates: np.ndarray) -> np.ndarray:
    """Return days since 1970, float64, NaN for NaT."""
    since = dates.astype("datetime64[us]") - np.datetime64(0, "us")
    days: np.ndarray = since / np.timedelta64(1, "D")
    return days
