"""What is printed, and where: answers to the standard output, all else to the error stream."""

from __future__ import annotations

import codecs
import errno
import io
import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastnn.errors import InvalidInput

WIDEST = 80
_QUOTED = re.compile(r"--[a-z-]+[ =]'.*?'(?=[\s,;.)]|$)")  # an option with a name in quotes
_BLANK = "\0"  # stands for a blank in one


class OutputFailed(Exception):
    """The standard output cannot be written; `error` is what the system says."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def answer(text: str = "") -> None:
    """Print a part of the answer."""
    write(f"{text}\n")


def write(text: str) -> None:
    """Write to the standard output, or raise `OutputFailed`."""
    if sys.stdout is None:
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    raw = getattr(sys.stdout, "buffer", None)
    # Letters that a terminal has not are escaped.
    content = text.encode(encoding, "backslashreplace")
    try:
        if isinstance(raw, io.RawIOBase):
            _write_all(raw, content)
        else:
            sys.stdout.write(content.decode(encoding))
    except OSError as error:
        raise OutputFailed(error) from error


def file_writer() -> Callable[[str], None]:
    """Return what writes the next text of a file to the standard output.

    In UTF-8, as to a file, but to a terminal: what the system's own encoding lacks, such as
    Windows's of a pipe, would be lost.

    Raises
    ------
    InvalidInput
        PYTHONIOENCODING asks for an encoding that lacks a letter.
    OutputFailed
        As of `write`, or there is no standard output.
    """
    if sys.stdout is None:
        raise OutputFailed(OSError(errno.EBADF, os.strerror(errno.EBADF)))
    raw = getattr(sys.stdout, "buffer", None)
    if raw is None or sys.stdout.isatty():
        return write
    encoding = "utf-8"
    if asked := os.environ.get("PYTHONIOENCODING", "").partition(":")[0]:
        encoding = asked
    encoder = codecs.getincrementalencoder(encoding)()  # whose mark comes once

    def write_more(text: str) -> None:
        try:
            content = encoder.encode(text)
        except UnicodeEncodeError as error:
            letter = error.object[error.start]
            raise InvalidInput(
                f"PYTHONIOENCODING={encoding} has no {letter!r}, which is in the answer; leave it "
                "out, or pass --out FILE"
            ) from error
        try:
            sys.stdout.flush()
            _write_all(raw, content)
        except OSError as error:
            raise OutputFailed(error) from error

    return write_more


def _write_all(raw: Any, content: bytes) -> None:
    """Write all of it: with -u, Python would lose what a pipe is full for."""
    rest = memoryview(content)
    while rest:
        rest = rest[raw.write(rest) or 0 :]


def flush() -> None:
    """Have all that was answered written, or raise `OutputFailed`."""
    try:
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except OSError as error:
        raise OutputFailed(error) from error


def drop_output() -> None:
    """Let the standard output lead nowhere, so that the interpreter's last flush does not fail."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        pass


def is_closed_pipe(error: OSError) -> bool:
    """Return whether whoever read the output has gone, as ``| head`` does."""
    return isinstance(error, BrokenPipeError) or error.errno in (errno.EPIPE, errno.EINVAL)


def say(text: str) -> None:
    """Print a remark, of one or several lines, to the standard error stream."""
    if sys.stderr is None:
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except UnicodeEncodeError:
        print(text.encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)
    except OSError:  # nobody listens
        pass


def one_line(text: Any) -> str:
    """Return a text without the breaks and blanks between its lines."""
    return " ".join(_whole(str(text)).split()).replace(_BLANK, " ")


def width() -> int:
    """Return how many columns an answer may take: those of the terminal, but no more than 80."""
    return max(20, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def wrapped(text: str) -> str:
    """Return a remark in lines of a terminal's width, and as it is where nobody watches it."""
    if sys.stderr is None or not sys.stderr.isatty():
        return text
    found = textwrap.fill(
        _whole(text),
        width(),
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return found.replace(_BLANK, " ")


def _whole(text: str) -> str:
    """Return a text in which no line can end within what an option is given in quotes."""
    return _QUOTED.sub(lambda found: found[0].replace(" ", _BLANK), text)


def rows_of(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return lines of names and values, wrapped to the width under their values.

    >>> rows_of([("rows", "12"), ("label", "price")])
    ['rows   12', 'label  price']
    """
    pairs = [(name, value) for name, value in pairs]
    indent = max(len(name) for name, _ in pairs) + 2
    lines = []
    for name, value in pairs:
        lines += textwrap.wrap(
            value or "-",
            max(width(), indent + 20),
            initial_indent=name.ljust(indent),
            subsequent_indent=" " * indent,
            break_long_words=os.sep not in value,  # a path is to be copied
            break_on_hyphens=False,
        )
    return lines


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for a wide letter, as of Chinese.

    >>> cells("price"), cells("\u4ef7\u683c")
    (5, 4)
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, its first column flush left and all others flush right."""
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        line = first + " " * (widths[0] - cells(first))
        for cell, space in zip(rest, widths[1:], strict=True):
            line += "  " + " " * (space - cells(cell)) + cell
        lines.append(line.rstrip())
    return lines


def size(count: float) -> str:
    """Return a number of bytes in a unit that fits.

    >>> size(812), size(15_300_000)
    ('812 bytes', '14.6 MiB')
    """
    if count < 1024:
        return f"{count:.0f} bytes"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024 or unit == "GiB":
            break
    return f"{count:.1f} {unit}"
