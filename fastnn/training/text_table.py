"""Tables of text, for what is printed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import ClassVar

from fastnn.tables import html_table


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


def aligned(columns: Iterable[Sequence[str]], left: Collection[int] = ()) -> list[str]:
    """Return the lines of a table of columns, each a heading and its cells.

    They are set flush right, but for those whose numbers `left` has.

    >>> for line in aligned([["n", "1", "10"], ["loss", "0.5", "-"]]):
    ...     print(line)
     n  loss
     1   0.5
    10     -
    """
    padded = []
    for number, column in enumerate(columns):
        width = max(map(len, column))
        padded.append(
            [cell.ljust(width) if number in left else cell.rjust(width) for cell in column]
        )
    return ["  ".join(row) for row in zip(*padded, strict=True)]


def cell(value: object) -> str:
    """Return a number in four digits, anything else as it prints, and a dash for None."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
