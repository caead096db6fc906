"""What a text stands for: a missing value, a number, or true or false."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

# As pandas and UCI's files have them; compared without regard to case.
MISSING = frozenset(
    ("", "?", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none", "nil", "nat")
)
_TRUE = frozenset(("true", "yes", "y", "t"))
_FALSE = frozenset(("false", "no", "n", "f"))
MINUS = "\u2212"  # of typeset tables
_INFINITE = re.compile(r"[-+]?inf(inity)?", re.IGNORECASE)
_LONG = re.compile(r"[-+]?\d+")
_CODE = re.compile(r"[-+]?0\d+")
# Three digits each time after a mark of thousands, of which people have many.
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:(?P<mark>[., '\u2019\xa0\u202f])\d{3})(?:(?P=mark)\d{3})*")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def is_missing(text: Any) -> bool:
    """Return whether a cell has no value, but one of the usual words for that."""
    return text is None or text.strip().lower() in MISSING


def number(text: str, decimal: str = ".") -> float:
    """Return the finite number that a text is, or raise `ValueError`.

    >>> number("1e3"), number("2,5", decimal=",")
    (1000.0, 2.5)
    """
    text = plain(text)
    if decimal != ".":
        text = text.replace(".", "x").replace(decimal, ".")
    if not _NUMBER.fullmatch(text):  # float takes 1_000, infinity and NaN as well
        raise ValueError(text)
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def plain(text: str) -> str:
    """Return the text of a number without what only typeset tables have."""
    return text.strip().replace(MINUS, "-")


def is_infinite(text: str) -> bool:
    """Return whether a text is infinity, which is a number that nobody can learn from."""
    return _INFINITE.fullmatch(text.strip()) is not None


def code_among(cells: np.ndarray) -> tuple[str, str]:
    """Return a cell that is no number but a code, and why: ("", "") where there is none.

    >>> code_among(np.array(["10", "007", "0.5"], object))
    ('007', 'begins with a zero')
    """
    if cells.dtype != object:
        return "", ""
    texts = {text.strip() for text in cells.tolist() if text}
    if code := min(filter(_CODE.fullmatch, texts), default=""):
        return code, "begins with a zero"
    long = {text for text in texts if len(text) > 15 and _LONG.fullmatch(text)}
    if long:
        numbers = {float(text) for text in long}
        alike = max(numbers) - min(numbers) < 1e-12 * max(map(abs, numbers))
        if len(numbers) < len({int(text) for text in long}) or (alike and len(long) > 1):
            return min(long), "has more digits than a number keeps"
    return "", ""


def exact(whole: np.ndarray) -> np.ndarray:
    """Return whole numbers as float64, or as text where it would not hold them all.

    >>> exact(np.array([1, 2])), exact(np.array([2**53 + 1, 2]))
    (array([1., 2.]), array(['9007199254740993', '2'], dtype=object))
    """
    numbers = whole.astype(np.float64)
    if numbers.size and np.abs(numbers).max() >= 2.0**53:
        texts = np.empty(len(whole), object)
        texts[:] = [str(each) for each in whole.tolist()]
        return texts
    return numbers


def without_thousands(text: str) -> str:
    """Return a text without the marks of thousands in the number that it begins with."""
    found = _THOUSANDS.match(text)
    after = text[found.end() : found.end() + 1] if found else ""
    if not found or after == found["mark"] or after.isdigit():
        return text
    return found[0].replace(found["mark"], "") + text[found.end() :]


def is_number(text: str, decimal: str) -> bool:
    """Return whether a text is a finite number with this decimal mark."""
    try:
        number(text, decimal)
    except ValueError:
        return False
    return True


def truth(text: str) -> float:
    """Return 1.0 for a word like true and 0.0 for one like false, or raise `ValueError`."""
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(text)
    return float(word in _TRUE)


def read_cells(
    cells: np.ndarray, read: Callable[[str], Any], missing: Any, dtype: Any
) -> tuple[np.ndarray, int | None]:
    """Return what each cell of text is, and the first row whose text is none of it, or None.

    Each different text is read once.

    Parameters
    ----------
    cells
        (rows,) of strings and None.
    read
        Returns the value of a text, or raises `ValueError`.
    missing
        The value of a cell without one.
    """
    known: dict[Any, Any] = {}
    wrong = set()
    for text in set(cells.tolist()):
        if is_missing(text):
            known[text] = missing
            continue
        try:
            known[text] = read(text)
        except (ValueError, OverflowError):
            known[text] = missing
            wrong.add(text)
    values = np.array([known[text] for text in cells.tolist()], dtype)
    if not wrong:
        return values, None
    return values, next(row for row, text in enumerate(cells.tolist()) if text in wrong)
