"""Whether dates have a time zone: all of a column do or none, in training and afterwards.

A time without a zone is anywhere's, and one with a zone is the same moment everywhere. How far
apart the two are nobody can say, so that pandas and polars compare neither with the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastnn.errors import shown

WITH, WITHOUT = "with", "without"
_HAVE = {WITH: "a time zone", WITHOUT: "no time zone"}
_ADVICE = {
    WITH: "convert it to their place and leave the zone out, as with "
    "column.dt.tz_convert(...).dt.tz_localize(None) of pandas",
    WITHOUT: "give it the zone that it is of, as with column.dt.tz_localize(...) of pandas",
}


class Zones:
    """Which cells of a column have a zone, as they are read in any order."""

    def __init__(self) -> None:
        self._cells: dict[str, set[Any]] = {WITH: set(), WITHOUT: set()}

    def note(self, cell: Any, moment: Any) -> None:
        """Take note of a cell that has been read as a `datetime` or a `time`."""
        self._cells[WITHOUT if moment.tzinfo is None else WITH].add(cell)

    @property
    def zone(self) -> str:
        """`WITH` or `WITHOUT`; "" where no cell has been noted."""
        return WITH if self._cells[WITH] else WITHOUT if self._cells[WITHOUT] else ""

    def wrong(self, cells: Iterable[Any], trained: str = "") -> tuple[int, str] | None:
        """Return the first row that has a zone where others have none, or none where others do.

        Parameters
        ----------
        cells
            Of the column, all of those that have been noted.
        trained
            Whether the dates had one in training, `WITH` or `WITHOUT`; "": nobody knows.

        Returns
        -------
        row, message
            None where all are alike.
        """
        other = WITHOUT if trained == WITH else WITH
        if not self._cells[other] or not (trained or self._cells[WITHOUT]):
            return None
        if trained:
            row, cell = self._first(cells, other)
            return row, difference(shown(cell), other)
        every = list(cells)
        (_, first), (row, cell) = sorted(self._first(every, zone) for zone in (WITH, WITHOUT))
        zone = WITH if cell in self._cells[WITH] else WITHOUT
        return row, (
            f"{shown(cell):.60} has {_HAVE[zone]}, and {shown(first):.60} before it has "
            f"{'none' if zone == WITH else 'one'}; give all dates of the column a zone, or none"
        )

    def _first(self, cells: Iterable[Any], zone: str) -> tuple[int, Any]:
        noted = self._cells[zone]
        return next((row, cell) for row, cell in enumerate(cells) if cell in noted)


def difference(what: str, zone: str) -> str:
    """Return what is wrong with a date that has the other zone than those of the training."""
    return (
        f"{what:.60} has {_HAVE[zone]}, and in training the dates had "
        f"{'none' if zone == WITH else 'one'}; {_ADVICE[zone]}"
    )
