"""Whether the first line of some text has the names of the columns, or is a row as others."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence

from fastnn.tabular.dates import readings
from fastnn.tabular.files.reading import Reading
from fastnn.tabular.table import listed
from fastnn.tabular.words import is_infinite, is_missing, is_number, without_thousands

_ROWS, _CELLS = 1000, 1 << 17  # that the first line is compared with, at most
_SHOWN = 3  # cells in a message
_DIGITS = re.compile(r"\d+")
_MARKS = (
    string.punctuation + "\u2212\u2013\u2014\u2264\u2265\xb1\u20ac\xa3\xa5 "
)  # minus, dashes, money
_MARKS_THAT_NAME = ("#", "%")  # a column of numbers of rows, or of percents


def compared(width: int) -> int:
    """Return how many lines of so many cells tell whether the first is a row, itself included."""
    return min(_ROWS, max(2, _CELLS // max(1, width)))


def has_header(
    first: list[str], others: Callable[[], Sequence[list[str]]], reading: Reading, said: list[str]
) -> bool:
    """Return whether a first line has names, of which nobody has said whether it does.

    It is a row where values of it are in other lines of their columns as well, or where it is one
    for a model that knows no names, unless a word is above a column of numbers or dates; it has
    names where some of those that are known are in it, or none is a number, whatever its decimal
    mark is.

    Parameters
    ----------
    others
        Returns lines after it, which are read ahead; it is called where they matter.
    said
        What there is to say of a line of words is added to it.
    """
    cells = [cell.strip() for cell in first]
    known = sum(cell in {*(reading.expected or ()), *(reading.names or ())} for cell in cells)
    if 2 * known >= len(cells) and reading.names is None:
        return True
    if reading.names is not None and 2 * known < len(cells):
        known = 0  # a value may be like a name by chance, and --names replaces what is wrong
    numbers = any(map(is_value, cells))
    words = [place for place, cell in enumerate(cells) if not is_missing(cell)]
    columns = {} if numbers else _columns(cells, words, others())
    again = [place for place in words if _recurs(cells[place], columns.get(place, []))]
    some = listed([cells[place] for place in again], _SHOWN)
    since = ""
    for place, column in columns.items():
        if kind := _named_by(cells[place], column):
            since = f", since {cells[place]!r} is above {kind}"
            break
    bare = "" if reading.names is not None else f", so no names: columns are 1 to {len(cells)}"
    # One date above dates is enough.
    alone = any(_is_date(cells[place]) for place in again)
    if not since and (alone or len(again) > 1) and (alone or 2 * len(again) >= len(words)):
        said.append(
            f"the first line is read as a row, since {some} {_are_values(again)}{bare}; "
            "pass --header if it has names"
        )
        return False
    if known:
        return True
    if numbers:
        if bare:
            said.append(f"the first line has numbers{bare}")
        return False
    fits = reading.fits is not None and reading.fits(cells)
    if fits and not since:
        said.append(
            "the first line is read as a row, since the model was trained on a table without "
            "names; pass --header if it has names"
        )
        return False
    if again:
        said.append(
            f"warning: the first line is taken for names{since}, though {some} "
            f"{_are_values(again)}; pass --no-header if it is a row, or --header if it has names"
        )
    elif reading.names is not None:
        said.append(
            f"the first line ({listed(cells, _SHOWN)}) is taken for names, which --names replaces; "
            "pass --no-header if it is a row"
        )
    elif fits:
        said.append(
            f"the first line is taken for names{since}, though the model was trained on a table "
            "without names; pass --no-header if it is a row, or --header if it has names"
        )
    return True


def is_value(cell: str) -> bool:
    """Return whether a cell is a number, whatever its decimal mark and that of thousands are."""
    return any(is_number(text, mark) for text in (cell, without_thousands(cell)) for mark in ".,")


def _columns(
    cells: list[str], places: list[int], others: Sequence[list[str]]
) -> dict[int, list[str]]:
    """Return what lines that are not the same altogether have in some columns, missing values out.

    Files that were joined have their header again.
    """
    rows = [row for row in ([cell.strip() for cell in row] for row in others) if row != cells]
    return {
        place: [row[place] for row in rows if len(row) > place and not is_missing(row[place])]
        for place in places
    }


def _named_by(cell: str, column: list[str]) -> str:
    """Return what all of a column is, numbers or dates, where a cell above it is none: "" else."""
    if not _is_amount(cell) and all(map(_is_amount, column)) and any(map(_has_digit, column)):
        return "numbers"
    return "dates" if column and not _is_date(cell) and all(map(_is_date, column)) else ""


def _are_values(places: list[int]) -> str:
    """Return of cells at such places that they are values, for a message."""
    which = "is a value of its column" if len(places) == 1 else "are values of their columns"
    return f"{which}, as other lines show"


def _recurs(cell: str, column: list[str]) -> bool:
    """Return whether a cell is a value of its column.

    Of dates, and of what begins with a digit, it is enough that most others are such, or differ in
    digits alone. Words that end in digits may be names (team1) above such values (team7).
    """
    if cell in column:
        return True
    if _is_date(cell):
        return 2 * sum(map(_is_date, column)) > len(column)
    if not _is_led_by_digit(cell):
        return False
    form = _DIGITS.sub("0", cell)
    return 2 * sum(_DIGITS.sub("0", other) == form for other in column) > len(column)


def _is_amount(cell: str) -> bool:
    """Return whether a cell is a number, also with marks (<5, $5, 5%), or a mark alone (-)."""
    bare = cell.strip(_MARKS)
    return cell not in _MARKS_THAT_NAME and (not bare or is_value(bare) or is_infinite(bare))


def _is_led_by_digit(cell: str) -> bool:
    return cell.lstrip(_MARKS)[:1].isdigit()


def _has_digit(cell: str) -> bool:
    return any(map(str.isdigit, cell))


def _is_date(cell: str) -> bool:
    return bool(readings(cell))
