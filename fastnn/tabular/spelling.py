"""How a category is written: in one way, whatever file or frame it comes from."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from fastnn.tabular.words import MINUS, is_missing, number, truth

_MINUS_ZERO = re.compile(rf"[-{MINUS}](0+(\.0*)?|\.0+)")
_LONGEST = 1e22  # up to which whole numbers are written by their digits


def shortest(value: Any) -> str:
    """Return a number in the shortest way that is read as the same one.

    A fraction that float32 holds is written as that is, since columns of float32 become float64 in
    many a frame and file: it is read as the same float32.

    >>> shortest(3.0), shortest(-0.0), shortest(0.1), shortest(float("inf"))
    ('3', '0', '0.1', 'inf')
    >>> shortest(np.float32(0.1)), shortest(float(np.float32(0.1))), shortest(np.float16(0.1))
    ('0.1', '0.1', '0.1')
    """
    if isinstance(value, np.float16):
        value = str(value)
    value = float(value)
    if not math.isfinite(value):
        return repr(value)
    if value == int(value):
        return str(int(value)) if abs(value) < _LONGEST else repr(value)
    with np.errstate(under="ignore"):
        single = np.float32(value)
    return repr(float(str(single)) if float(single) == value else value)


def word_of(cell: Any) -> str:
    """Return the category that a cell is, "" for one of the words that stand for a missing value.

    Text without blanks around it. A whole number is the same category whatever type it has; what
    merely equals one, as 007 or 3.50 do, is another, though, since it may be a code.

    >>> [word_of(cell) for cell in (3, 3.0, "3.0", Decimal("3.00"), " 3 ", "007", "3.50")]
    ['3', '3', '3', '3', '3', '007', '3.50']
    >>> [word_of(cell) for cell in (-0.0, "-0.0", "-0", "-0.00")]
    ['0', '0', '0', '0.00']
    >>> word_of(True), word_of(np.bool_(False)), word_of("True"), word_of("n/a")
    ('True', 'False', 'True', '')
    >>> word_of(np.datetime64("2024-12-31", "ns")), word_of(datetime.datetime(2024, 12, 31, 8))
    ('2024-12-31', '2024-12-31T08:00:00')
    """
    if isinstance(cell, str):
        return _word_of_text(cell)
    if isinstance(cell, (bool, np.bool_)):
        return str(bool(cell))
    if isinstance(cell, (np.datetime64, np.timedelta64)):
        unit = "datetime64[us]" if isinstance(cell, np.datetime64) else "timedelta64[us]"
        cell = cell.astype(unit).item()
    if isinstance(cell, datetime.timedelta):  # of pandas', which writes itself otherwise, too
        return str(datetime.timedelta(cell.days, cell.seconds, cell.microseconds))
    if isinstance(cell, datetime.date):
        return cell.isoformat().removesuffix("T00:00:00")
    if isinstance(cell, (int, np.integer)):
        return str(int(cell))
    if isinstance(cell, Decimal) and cell.is_finite() and -_LONGEST < cell < _LONGEST:
        if cell == int(cell):
            return str(int(cell))  # which float may round
    if isinstance(cell, (Real, Decimal)):
        try:
            return shortest(cell)
        except (OverflowError, ValueError):
            return str(cell)
    return str(cell)


def _word_of_text(text: str) -> str:
    return "" if is_missing(text) else word_of_text(text)


def word_of_text(text: str) -> str:
    """Return the category that a text is, as `word_of`, though it may stand for a missing value.

    >>> [word_of_text(text) for text in (" NA ", "0.10000000149011612", "0.10000000000000001")]
    ['NA', '0.1', '0.10000000000000001']
    """
    word = text.strip()
    if _MINUS_ZERO.fullmatch(word):
        word = word[1:]
    try:
        value = number(word)
        short = shortest(value)
    except ValueError:
        return word
    # As others write the same float64, which may have been a float32.
    widened = short if short.lstrip("-").isdigit() else repr(value)
    return short if word in (short, f"{short}.0", widened) else word


def meant(others: Iterable[str], words: Sequence[str]) -> dict[str, str]:
    """Return which of some categories other words are, that are written otherwise.

    That is the one with the same number, or where they are two, one for true and one for false, the
    one with the same truth value. A word that may be several is none.

    >>> meant(["7.00", "08", "9", "seven"], ["7", "008", "9.0", "09"])
    {'7.00': '7', '08': '008'}
    >>> meant(["0.1", "1"], ["0.10000000000000001", "0.10000000149011612", "+1"])
    {'1': '+1'}
    >>> meant(["0.1"], ["0.10000000149011612"])  # which float32 makes of it
    {'0.1': '0.10000000149011612'}
    >>> meant(["9007199254740993"], ["9007199254740992"])  # which are equal as floats alone
    {}
    >>> meant(["True", "0", "maybe"], ["yes", "no"]), meant(["true"], ["yes", "no", "maybe"])
    ({'True': 'yes', '0': 'no'}, {})
    """
    others = [*others]
    if not others:
        return {}
    alike: dict[tuple[str, float], list[str]] = {}
    for word in words:
        for value in _values(word):
            alike.setdefault(value, []).append(word)
    if len(words) != 2 or any(len(alike.get(("truth", side), ())) != 1 for side in (0.0, 1.0)):
        alike = {value: same for value, same in alike.items() if value[0] != "truth"}
    found = {}
    for word in others:
        same = {each for value in _values(word) for each in alike.get(value, ())}
        if _is_beyond_floats(word):
            same = {each for each in same if not _is_whole(each) or int(each) == int(word)}
        if len(same) == 1:
            found[word] = same.pop()
    return found


def _is_beyond_floats(word: str) -> bool:
    """Return whether a category is a whole number that no float is."""
    return _is_whole(word) and 15 < len(word) < 300 and int(float(word)) != int(word)


def _is_whole(word: str) -> bool:
    return word.removeprefix("-").isdecimal()


def _values(word: str) -> list[tuple[str, float]]:
    """Return the number and the truth value that a word is, if any; of float32, the shortest."""
    try:
        value = float(shortest(number(word)))
        return [("number", value), *([("truth", value)] if value in (0.0, 1.0) else [])]
    except ValueError:
        pass
    try:
        return [("truth", truth(word))]
    except ValueError:
        return []
