"""Text with a delimiter between values: CSV, TSV and their kin."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from fastnn.errors import InvalidInput, shown
from fastnn.tabular.files.header import compared, has_header, is_value
from fastnn.tabular.files.reading import Reading, Source
from fastnn.tabular.table import Table, counted, listed

_DELIMITERS = (",", "\t", ";", "|")
_NAMED = {"\t": "a tab", ",": "a comma", ";": "a semicolon", "|": "a bar", " ": "a blank"}
_SAMPLED_ROWS, _SAMPLED_TEXT = 50, 1 << 20
_FIRST_ROWS = 3  # as many as tell whether the first one is a title
_MOST_COMMENTS = 50
_SEPARATOR = re.compile(r'sep=([^\r\n"\w])\s*\r?\n')  # the first line of some spreadsheets
_READ = 1 << 20  # bytes at a time
_MARKED = 4096  # that tell the encoding
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_delimited(source: Source, reading: Reading) -> tuple[Table, list[str]]:
    """Return the table of some text, and what is to be said of how it was read.

    Cells stay text, stripped; what they are is found out later.

    Raises
    ------
    InvalidInput
        Another encoding, a line that is longer or shorter than others, names that are there twice,
        no rows; each with its line.
    """
    said: list[str] = []
    (table,) = blocks_of_text(source, reading, said)
    return replace(table, places=None), said


def blocks_of_text(
    source: Source,
    reading: Reading,
    said: list[str],
    cells: int | None = None,
    most: int = sys.maxsize,
) -> Iterator[Table]:
    """Yield the table of some text, as `read_delimited`, at once or some rows after another.

    So many as have so many cells, or `most` letters, about; `said` has what is to be said before
    the first block, and of empty lines after the last.
    """
    name, chunks = source.name, _decoded(source, reading.encoding)
    sample = ""
    for chunk in chunks:
        sample += chunk
        if len(sample) > _SAMPLED_TEXT:
            break
    separator = _SEPARATOR.match(sample)
    delimiter = reading.delimiter or (separator[1] if separator else _delimiter(name, sample))
    if reading.delimiter is None and delimiter != ",":
        said.append(f"values are separated by {_NAMED.get(delimiter, repr(delimiter))}")
    lines = _Rows(name, itertools.chain([sample], chunks), delimiter, most)
    rows = lines.take(None if cells is None else _FIRST_ROWS)
    if separator:
        rows = [*rows[1:], *lines.take(1)]
    if lines.wide:
        rows = [(line, row) for line, row in rows if not _is_empty(row)]
    unnamed = reading.header is False or reading.names is not None or reading.fits is not None
    if reading.header or not unnamed:  # a name is somewhere below
        while rows and _is_empty(rows[0][1]):
            rows = [*rows[1:], *lines.take(1)]
    if comments := _take_comments(rows, lines):
        said.append(f"{counted(comments, 'line')} of comment before the table left out")
    if not rows:
        raise InvalidInput(f"{name} is empty; pass a table with a header and at least one row")
    first_line, first = rows[0]
    spare = 0  # cells after those with a name, which rows that have not been read may have
    header = reading.header
    if header is None and _is_empty(first):
        header = False
    if header is None:
        many = compared(len(first))

        def others() -> list[list[str]]:
            if cells is not None:
                rows.extend(lines.take(max(0, many - len(rows))))
            return [row for _, row in rows[1:many]]

        header = has_header(first, others, reading, said)
    if header:
        rows = rows[1:]
        names = [cell.strip() for cell in first]
        if reading.names is None:
            # Spreadsheets end lines with delimiters, after which there is nothing.
            used = max((_width(row) for _, row in rows), default=0)
            known = cells is not None and "" in (reading.expected or ())
            while len(names) > max(used, 1) and not names[-1] and not known:
                names.pop()
                spare += cells is not None
        twice = [each for each, count in Counter(names).items() if count > 1]
        if twice and reading.names is None:
            places = [str(place + 1) for place, each in enumerate(names) if each == twice[0]]
            raise InvalidInput(
                f"{name}, line {first_line}: columns {' and '.join(places)} are both called "
                f"{twice[0]!r}; rename one, or pass --names, or --no-header if these are values"
            )
    else:
        names = [str(place + 1) for place in range(len(first))]
    if reading.names is not None:
        if len(reading.names) != len(names):
            raise InvalidInput(
                f"--names has {counted(len(reading.names), 'name')}, but {name} has "
                f"{counted(len(names), 'column')}"
            )
        names = list(reading.names)
    if not rows:
        own = listed([cell.strip() for cell in first])
        more = "" if reading.header else "; pass --no-header if that is a row"
        raise InvalidInput(f"{name} has a header ({own}) but no rows{more}")
    begin, size = 0, sys.maxsize if cells is None else max(1, cells // len(names))
    while rows:
        if cells is not None:
            rows += lines.take(max(0, size - len(rows)))
        rows, ahead = rows[:size], rows[size:]
        widths = [_width(row) for _, row in rows]
        kept = [len(names) if each <= len(names) + spare else each for each in widths]
        rows = [(line, row[:end]) for (line, row), end in zip(rows, kept, strict=True)]
        for line, row in rows:
            if len(row) != len(names):
                whose = f"the header has {len(names)}" if header else f"the first has {len(names)}"
                near = ""
                if delimiter != ",":
                    near = f" (separated by {_NAMED.get(delimiter, delimiter)})"
                raise InvalidInput(
                    f"{name}, line {line}: {counted(len(row), 'value')} where {whose}{near}; "
                    "correct the line, quote values that have the delimiter in them, or pass "
                    "--delimiter"
                )
        numbered = not header and reading.names is None
        yield Table(_columns(names, rows), len(rows), numbered, begin + np.arange(len(rows)))
        begin += len(rows)
        rows = ahead or ([] if cells is None else lines.take(1))
    if lines.empty and not lines.wide:
        said.append(
            f"{counted(lines.empty, 'empty line')} left out, which are no rows; in a table of one "
            'column, a missing value is "" or NA'
        )


def _take_comments(rows: list[tuple[int, list[str]]], lines: _Rows) -> int:
    """Take comments before a table out of its first rows, and return how many these were.

    They begin with "#" or "|", as the title in UCI's adult.test. The last of them is the header if
    it is as wide as most rows; more rows are read where all so far are comments.
    """

    def is_marked(row: tuple[int, list[str]]) -> bool:
        return row[1][0].lstrip().startswith(("|", "#"))

    while rows and is_marked(rows[-1]) and len(rows) < _MOST_COMMENTS and (more := lines.take(1)):
        rows += more
    if not rows:
        return 0
    if is_marked(rows[0]):
        rows += lines.take(2)
    widths = Counter(_width(row[1]) for row in rows[: 2 * _MOST_COMMENTS] if not is_marked(row))
    width = max(widths, key=widths.__getitem__, default=0)
    count = 0
    while is_marked(rows[0]) and (len(rows) > 1 if width > 1 else len(rows) > 2 and not count):
        if _width(rows[0][1]) == width > 1 and not is_marked(rows[1]):
            break
        del rows[0]
        count += 1
    return count


def _columns(names: list[str], rows: list[tuple[int, list[str]]]) -> dict[str, np.ndarray]:
    """Return the columns of some rows."""
    known: dict[str, str] = {}  # a text that is there often is kept once
    found = {}
    for column, cells in zip(names, zip(*(row for _, row in rows), strict=True), strict=True):
        values = np.empty(len(rows), object)
        values[:] = [known.setdefault(cell, cell) for cell in map(str.strip, cells)]
        found[column] = values
    return found


def _width(row: list[str]) -> int:
    """Return how many cells a row has up to the last that is not blank."""
    return next((at for at in range(len(row), 0, -1) if row[at - 1].strip()), 0)


def _decoded(source: Source, encoding: str) -> Iterator[str]:
    """Yield all text of a source, some of it at a time."""
    name, start = source.name, source.peek(_MARKED)
    for mark, other in _MARKS.items():
        if start.startswith(mark):
            encoding = other
            break
    else:
        if encoding.lower().replace("_", "-") in ("utf-8", "utf-16"):
            encoding = _unmarked(start) or encoding
    try:
        io.TextIOWrapper(io.BytesIO(), encoding)  # which knows what is an encoding of text
        decoder = codecs.getincrementaldecoder(encoding)()
    except (LookupError, UnicodeError):  # the second of names that are none
        raise InvalidInput(
            f"--encoding: there is no encoding {shown(encoding)}; try utf-8, latin-1 or cp1252"
        ) from None
    try:
        before = lines = 0  # line ends in bytes, and in text
        content = b" "
        while content:
            content = source.read(_READ)
            try:
                text = decoder.decode(content, final=not content)
            except UnicodeDecodeError as error:
                held = len(error.object) - len(content)  # of the bytes before
                line = before + content[: max(0, error.start - held)].count(b"\n") + 1
                raise InvalidInput(
                    f"{name}, line {line}: byte 0x{error.object[error.start]:02x} is not "
                    f"{encoding}; pass the encoding of the file, such as --encoding latin-1"
                ) from None
            before += content.count(b"\n")
            if "\0" in text:
                line = lines + text.count("\n", 0, text.index("\0")) + 1
                raise InvalidInput(f"{name}, line {line}: a NUL byte; this is no text, or damaged")
            lines += text.count("\n")
            yield text
    except UnicodeError as error:  # of no byte alone, such as a mark that is not there
        raise InvalidInput(
            f"{name} is not {encoding} ({error}); leave --encoding out, or pass that of the file"
        ) from None


def _unmarked(content: bytes) -> str:
    """Return which UTF-16 some content without a mark is, "" for none.

    Of text mostly in ASCII, every other byte is 0.
    """
    start = content[: 2 * (min(len(content), 4096) // 2)]
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) < 0.35 * len(start) or min(even, odd) > 0.01 * len(start):
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"


def _lines(chunks: Iterable[str]) -> Iterator[str]:
    """Yield the lines of some text with their ends: CR, LF, or both."""
    rest = ""
    for chunk in chunks:
        text = rest + chunk
        # What may go on in the next chunk: an LF after the last CR, too.
        end = max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1
        yield from io.StringIO(text[:end], newline="")
        rest = text[end:]
    yield from io.StringIO(rest, newline="")


class _Rows:
    """The lines of some text that are not blank, each with its number.

    A line of quotation marks alone is the missing value of a table of one column, as pandas and
    Python's csv write it; where a line has more cells, it is blank, too.

    Attributes
    ----------
    wide
        Whether a line of the table had more cells than one.
    empty
        How many lines between others were blank.
    """

    def __init__(self, name: str, chunks: Iterable[str], delimiter: str, letters: int) -> None:
        self._name, self._begun, self._most, self._letters = name, 1, letters, 0
        self.wide, self.empty = False, 0
        self._begins, self._waiting, self._line = True, 0, ""
        self._lines = csv.reader(
            self._last(_lines(self._counted(chunks))),
            delimiter=delimiter,
            skipinitialspace=True,
            strict=True,
        )

    def _last(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield the lines, and keep the last one, whose quotation marks its cells do not have."""
        for self._line in lines:
            yield self._line

    def _counted(self, chunks: Iterable[str]) -> Iterator[str]:
        for chunk in chunks:
            self._letters += len(chunk)
            yield chunk

    def take(self, most: int | None) -> list[tuple[int, list[str]]]:
        """Return the next ones, so many at most, and not many more letters; None: all."""
        until = self._letters + self._most
        limit = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        found: list[tuple[int, list[str]]] = []
        try:
            while most is None or (len(found) < most and self._letters <= until):
                row = next(self._lines, None)
                if row is None:
                    break
                self.wide = self.wide or (len(row) > 1 and not _is_above(row))
                if self._is_blank(row):
                    self._waiting += not self._begins
                else:
                    self.empty += self._waiting
                    self._begins, self._waiting = False, 0
                    found.append((self._begun, row))
                self._begun = self._lines.line_num + 1
        except csv.Error as error:
            raise InvalidInput(
                f"{self._name}, line {self._begun}: {error}; a quotation mark is open or in the "
                "wrong place"
            ) from None
        finally:
            csv.field_size_limit(limit)
        return found

    def _is_blank(self, row: list[str]) -> bool:
        return not row or (_is_empty(row) and (self.wide or '"' not in self._line))


def _is_above(row: list[str]) -> bool:
    """Return whether a line may be none of the table, but a comment or a separator above it."""
    return row[0].lstrip().lower().startswith(("#", "|", "sep="))


def _is_empty(row: list[str]) -> bool:
    """Return whether a row has one cell, and nothing in it."""
    return len(row) == 1 and not row[0].strip()


def _delimiter(name: str, text: str) -> str:
    """Return the delimiter that gives as many columns in each of the first lines, and the most.

    Where several do, it is the one after which fewest cells have another in them, but for numbers:
    1,5;2,5 is one and a half and two and a half.
    """
    if name.removesuffix(".gz").lower().endswith((".tsv", ".tab")):
        return "\t"
    sample = text[:_SAMPLED_TEXT]
    best, most = ",", (0.0, 0.0, 0)
    for delimiter in _DELIMITERS:
        try:
            stream = io.StringIO(sample, newline="")
            lines = csv.reader(stream, delimiter=delimiter, skipinitialspace=True)
            rows = list(itertools.islice(lines, _SAMPLED_ROWS))
            if len(sample) < len(text) and len(rows) < _SAMPLED_ROWS:
                rows = rows[:-1] or rows  # the last one may be cut off
        except csv.Error:  # such as a cell that is too long, since it is no delimiter
            continue
        widths = Counter(len(row) for row in rows if row)
        if not widths:
            continue
        width, count = widths.most_common(1)[0]
        if width == 1:
            continue
        cells = [cell for row in rows for cell in row]
        others = [cell for cell in cells if any(other in cell for other in _DELIMITERS)]
        odd = sum(not is_value(cell) for cell in others) / len(cells)
        rank = count / sum(widths.values()), -odd, width
        if rank > most:
            best, most = delimiter, rank
    return best
