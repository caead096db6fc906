"""What a text stands for: a missing value, a number, true or false, or a date."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np

# As pandas and UCI's files have them; compared without regard to case.
MISSING = frozenset(
    ("", "?", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none", "nil", "nat")
)
_TRUE = frozenset(("true", "yes", "y", "t"))
_FALSE = frozenset(("false", "no", "n", "f"))
# What a date may look like, the first that fits all of a column being taken.
ISO = "iso"
DATE_FORMATS = (ISO, "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y%m%dT%H%M%S")
_DIGIT = re.compile(r"\d")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def is_missing(text: Any) -> bool:
    """Return whether a cell has no value, but one of the usual words for that."""
    return text is None or text.strip().lower() in MISSING


def number(text: str, decimal: str = ".") -> float:
    """Return the finite number that a text is, or raise `ValueError`.

    >>> number("1e3"), number("2,5", decimal=",")
    (1000.0, 2.5)
    """
    text = text.strip()
    if decimal != ".":
        text = text.replace(".", "x").replace(decimal, ".")
    if not _NUMBER.fullmatch(text):  # float takes 1_000, infinity and NaN as well
        raise ValueError(text)
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def truth(text: str) -> float:
    """Return 1.0 for a word like true and 0.0 for one like false, or raise `ValueError`."""
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(text)
    return float(word in _TRUE)


def date(text: str, form: str) -> np.datetime64:
    """Return the time that a text is, in UTC where it has a zone, or raise `ValueError`."""
    text = text.strip()
    if form == ISO:
        if len(text) < 8 or text[:4].isdigit() is False or text[4:5] != "-":
            raise ValueError(text)
        moment = datetime.fromisoformat(text)
    else:
        moment = datetime.strptime(text, form)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(moment, "us")


def date_format(texts: Iterable[str]) -> tuple[str, bool]:
    """Return the format that all of some texts have, "" for none, and whether another fits too.

    >>> date_format(["2024-02-01", "2024-02-29T12:00"])
    ('iso', False)
    >>> date_format(["13/02/2024"]), date_format(["01/02/2024"]), date_format(["soon"])
    (('%d/%m/%Y', False), ('%m/%d/%Y', True), ('', False))
    """
    texts = list(texts)
    fitting = []
    for form in DATE_FORMATS:
        try:
            for text in texts:
                date(text, form)
        except (ValueError, OverflowError):
            continue
        fitting.append(form)
    return (fitting[0], len(fitting) > 1) if fitting and texts else ("", False)


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
