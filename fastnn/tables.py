"""What results are shown as, and handed on as: tables, frames of pandas, sequences."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, Generic, TypeVar, overload

from fastnn.errors import importing

Item = TypeVar("Item")
Some = TypeVar("Some", bound=Sequence[Any])


class Items(Sequence[Item], Generic[Item, Some]):
    """A sequence of what `_items` holds; a slice is of the type of that, a list or a tuple."""

    @property
    @abstractmethod
    def _items(self) -> Some:
        """All of them."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> Some: ...

    def __getitem__(self, index: int | slice) -> Any:
        """Return one, or some of them."""
        return self._items[index]

    def __iter__(self) -> Iterator[Item]:
        """Go through them."""
        return iter(self._items)


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


def html_table(columns: Iterable[Sequence[str]], caption: str = "") -> str:
    """Return a table of columns, each a heading and its cells, for `_repr_html_`.

    Names come from whoever uses fastnn, so every text is escaped. The first column is set flush
    left, the others flush right, as numbers are.

    >>> html_table([["x", "a<b"]])
    '<table><thead><tr><th>x</th></tr></thead><tbody><tr><th>a&lt;b</th></tr></tbody></table>'
    """
    heading, *rows = zip(*columns, strict=True)
    top = "".join(f"<th>{escape(text)}</th>" for text in heading)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{above}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: Sequence[str]) -> str:
    first, *others = (escape(text) for text in row)
    right = (f'<td style="text-align: right">{text}</td>' for text in others)
    return "".join((f"<th>{first}</th>", *right))


def html_text(*paragraphs: str) -> str:
    """Return paragraphs of plain text for `_repr_html_`, lines as they are; empty ones left out.

    >>> html_text("R&D", "")
    '<p style="white-space: pre-wrap">R&amp;D</p>'
    """
    style = "white-space: pre-wrap"
    return "".join(f'<p style="{style}">{escape(text)}</p>' for text in paragraphs if text)


def data_frame(columns: Mapping[str, Any], index: Any = None) -> Any:
    """Return a `pandas.DataFrame`, for methods that are called ``to_frame``.

    Raises
    ------
    MissingExtra
        pandas is not installed.
    """
    with importing("to_frame needs pandas, which", 'pip install "fastnn[tables]"'):
        import pandas
    # Built from a list, so that two columns of one name stay two.
    frame = pandas.DataFrame(dict(enumerate(columns.values())), index=index)
    frame.columns = pandas.Index(list(columns))
    return frame
