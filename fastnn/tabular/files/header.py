"""Whether the first line of some text has the names of the columns, or is a row as others."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from fastnn.tabular.files.reading import Reading
from fastnn.tabular.table import listed
from fastnn.tabular.words import is_missing, is_number, without_thousands

_ROWS, _CELLS = 1000, 1 << 17  # that the first line is compared with, at most
_SHOWN = 3  # cells in a message
_DIGITS = re.compile(r"\d+")


def compared(width: int) -> int:
    """Return how many lines of so many cells tell whether the first is a row, itself included."""
    return min(_ROWS, max(2, _CELLS // max(1, width)))


def has_header(
    first: list[str], others: Callable[[], Sequence[list[str]]], reading: Reading, said: list[str]
) -> bool:
    """Return whether a first line has names, of which nobody has said whether it does.

    It is a row where values of it are in other lines of their columns as well, or where it is one
    for a model that knows no names; it has names where some of those that are known are in it, or
    none is a number, whatever its decimal mark is.

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
    again = [] if numbers else _recurring(cells, words, others())
    some = listed([cells[place] for place in again], _SHOWN)
    columns = "" if reading.names is not None else f", so no names: columns are 1 to {len(cells)}"
    if len(again) > 1 and 2 * len(again) >= len(words):
        said.append(
            f"the first line is read as a row, since {some} are values of their columns in other "
            f"lines, too{columns}; pass --header if it has names"
        )
        return False
    if known:
        return True
    if numbers:
        if columns:
            said.append(f"the first line has numbers{columns}")
        return False
    if reading.fits is not None and reading.fits(cells):
        said.append(
            "the first line is read as a row, since the model was trained on a table without "
            "names; pass --header if it has names"
        )
        return False
    if again:
        said.append(
            f"warning: the first line is taken for names, though {some} "
            f"{'is a value of its column' if len(again) == 1 else 'are values of their columns'} "
            "in other lines, too; pass --no-header if it is a row, or --header if it has names"
        )
    elif reading.names is not None:
        said.append(
            f"the first line ({listed(cells, _SHOWN)}) is taken for names, which --names replaces; "
            "pass --no-header if it is a row"
        )
    return True


def is_value(cell: str) -> bool:
    """Return whether a cell is a number, whatever its decimal mark and that of thousands are."""
    return any(is_number(text, mark) for text in (cell, without_thousands(cell)) for mark in ".,")


def _recurring(cells: list[str], places: list[int], others: Sequence[list[str]]) -> list[int]:
    """Return which cells are values of their columns in lines that are not the same altogether.

    Files that were joined have their header again. Where there are digits in a cell, such as in
    dates, it is enough that most others differ in these alone.
    """
    rows = [[cell.strip() for cell in row] for row in others]
    rows = [row for row in rows if row != cells]
    found = []
    for place in places:
        column = [row[place] for row in rows if len(row) > place]
        form, alike = _DIGITS.sub("0", cells[place]), 0
        if _DIGITS.search(cells[place]):
            alike = sum(_DIGITS.sub("0", cell) == form for cell in column)
        if cells[place] in column or 2 * alike > len(column):
            found.append(place)
    return found
