"""Markdown tables, whose columns and rows are known before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


def row(*cells: str) -> str:
    """Return a row of a Markdown table whose columns are about aligned."""
    return f"| {cells[0]:<40} | " + " | ".join(f"{cell:<13}" for cell in cells[1:]) + " |"


def heading(*titles: str) -> list[str]:
    """Return the first two rows of a Markdown table, after an empty line."""
    return ["", row(*titles), "|" + "---|" * len(titles)]


@dataclass(frozen=True)
class Table:
    """The outline of a table: its titles, and the first cell of each row by the row's key."""

    titles: tuple[str, ...]
    rows: Mapping[str, str]

    def head(self) -> list[str]:
        """Return the lines above the rows."""
        return heading(*self.titles)

    def line(self, key: str, *cells: str, note: str = "") -> str:
        """Return a row; cells that are not given are empty.

        Raises
        ------
        ValueError
            There are more cells than columns.
        """
        columns = len(self.titles) - 1
        if len(cells) > columns:
            raise ValueError(f"row {key!r} has {len(cells)} cells for {columns} columns")
        first = "; ".join(filter(None, [self.rows[key], note]))
        return row(first, *cells, *[""] * (columns - len(cells)))


def milliseconds(seconds: float) -> str:
    """Return milliseconds with three digits."""
    value = 1e3 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def megabytes(size: float) -> str:
    """Return a number of bytes in megabytes (10^6 bytes)."""
    return f"{size / 1e6:.0f}"
