"""Tables of text, for what is printed."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from fastnn.tables import aligned, html_table


class Tabled:
    """What is printed as a table, and in a notebook shown as one.

    `_left` has the numbers of the columns that are set flush left.
    """

    __slots__ = ()
    _left: ClassVar[Collection[int]] = ()

    def _table(self) -> tuple[str, list[list[str]]]:
        """Return a line to stand above, "" for none, and the columns of the table."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Show the table as text."""
        head, columns = self._table()
        lines = [line.rstrip() for line in aligned(columns, self._left)]
        return "\n".join([head, *lines] if head else lines)

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        head, columns = self._table()
        return html_table(columns, head)


def cell(value: object) -> str:
    """Return a number in four digits, anything else as it prints, and a dash for None."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
