"""Which reader a file needs, which its content tells and not its name."""

from __future__ import annotations

import errno
import gzip
import io
import itertools
import os
import re
import sys
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastnn.errors import CorruptFile, InvalidInput, MissingFile, UnusableFile, shown
from fastnn.inputs.npy_files import ARROW_STREAM
from fastnn.inputs.table_files import TableFiles, check_source, table_files
from fastnn.tabular.table import Matrix, Table, offered

FORMATS = ("csv", "parquet", "arrow", "npz", "npy", "svmlight")
STANDARD_INPUT = "-"
CELLS, BYTES = 1 << 17, 1 << 23  # of a block, about
_FORM_OF = {"parquet": "parquet", "ipc": "arrow"}
_START = 1 << 16  # bytes that tell what a file is
_GZIP = b"\x1f\x8b"
_SVMLIGHT = re.compile(rb"\s*[-+.\deE,]+(\s+qid:\d+)?(\s+\d+:[-+.\deE]+)+\s*(#.*)?")
_TIME = re.compile(rb"\d{1,4}:[0-5]\d")
_ZERO_FIRST = re.compile(rb"\b0\d")
_FOREIGN = {
    b"PK\x03\x04": "a zip archive, such as an Excel workbook; save it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as CSV",
    b"\xfd7zXZ": "packed with xz; unpack it, or pack it with gzip",
    b"(\xb5/\xfd": "packed with zstd; unpack it, or pack it with gzip",
    b"\x89HDF": "an HDF5 file; save it as CSV, Parquet or .npz",
    b"\x80\x04": "a pickle, which could run anything; save it as CSV, Parquet or .npz",
    b"\x80\x05": "a pickle, which could run anything; save it as CSV, Parquet or .npz",
}
# What begins with letters alone, as the header of a CSV file may, and what comes after these.
_PARQUET = re.compile(rb"PAR1(\x15|.{0,3}\0)", re.DOTALL)  # a field of Thrift, or a length
_ARROW = re.compile(rb"ARROW1\0\0")
_FOREIGN_LETTERS = {
    _ARROW: "an Arrow file that is piped or in gzip; pass the file itself, unpacked",
    re.compile(rb"FEA1.{0,60}\0", re.DOTALL): (
        "a Feather file of version 1; write it again, or save it as Parquet"
    ),
    re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"): (
        "packed with bzip2; unpack it, or pack it with gzip"
    ),
    re.compile(rb"%PDF-\d"): "a PDF",
}
_MARKED = 4096  # bytes
_FOREIGN_TEXT = {
    re.compile(rb"[\[{]\s*[\[{\"\]}]"): (
        "JSON; save it as CSV, as with pandas.read_json(...).to_csv(...)"
    ),
    re.compile(rb"<(!doctype|html|head|body|table|div|\?xml)", re.IGNORECASE): (
        "a page of HTML or XML; download the table itself, or save it as CSV"
    ),
}


@dataclass(frozen=True)
class Reading:
    """How to read a file; what is None is found out.

    Attributes
    ----------
    form
        One of `FORMATS`.
    delimiter, encoding
        Of text.
    header
        Whether the first line of text has names.
    names
        Names in the place of those in the file.
    expected
        Names of columns that a model knows: a first line that has one of them is a header.
    part
        "train" or "test": which arrays of a .npz to take where it has both.
    label
        Which array of a .npz has the labels, where one has this name.
    asked
        Whether someone has asked for these; if not, they are called so in a model, and labels that
        belong to the features come first.
    fits
        Of a model that knows no names, whether the cells of a first line, none of which is a
        number, are a row that it can read; None: there is no such model.
    """

    form: str | None = None
    delimiter: str | None = None
    encoding: str = "utf-8"
    header: bool | None = None
    names: tuple[str, ...] | None = None
    expected: Collection[str] | None = None
    part: str = "train"
    label: str = ""
    asked: bool = True
    fits: Callable[[list[str]], bool] | None = None


def read(path: str, reading: Reading) -> tuple[Table | Matrix, list[str]]:
    """Return what a file has, and what is to be said of how it was read.

    Parameters
    ----------
    path
        A file, a folder of Parquet and Arrow files, or "-" for the standard input.

    Raises
    ------
    MissingFile
        There is none; files of like names are offered.
    UnusableFile
        A folder of other files, or a file that cannot be opened.
    CorruptFile
        Damaged, or of another kind than it says.
    InvalidInput
        Nothing to read, or a table that is none; the message says where.
    MissingExtra
        A library that this kind of file needs.
    """
    files = files_of(path) if reading.form in (None, "arrow") else None
    if files is not None and (os.path.isdir(path) or files[0][1] == "ipc"):
        from fastnn.tabular.files.parquet import read_files

        return read_files(path, opened(path, files))
    with Source(path) as source:
        return _whole(source, _form(source, reading), reading)


def read_in_blocks(path: str, reading: Reading, said: list[str]) -> Iterator[Table | Matrix]:
    """Yield what a file has, some thousand rows after another, whose `places` are those of all.

    So are the rows of text, of Parquet and Arrow, and of .npy files; others are one block. Together
    they are what `read` returns, and raise what it raises, where they come to it.

    Parameters
    ----------
    said
        What is to be said of how it was read is added to it, before the first block; of empty lines
        in a table of one column, after the last.
    """
    files = files_of(path)
    if files is not None and reading.form in (None, _FORM_OF[files[0][1]]):
        from fastnn.tabular.files.parquet import blocks_of_files

        yield from blocks_of_files(path, opened(path, files), CELLS, BYTES, said)
        return
    with Source(path) as source:
        form = _form(source, reading)
        if form == "csv":
            from fastnn.tabular.files.delimited import blocks_of_text

            yield from blocks_of_text(source, reading, said, CELLS, BYTES)
            return
        if form == "npy" and os.path.isfile(path) and not source.packed:
            from fastnn.tabular.files.arrays import blocks_of_npy

            yield from blocks_of_npy(path, CELLS, BYTES)
            return
        table, remarks = _whole(source, form, reading)
        said += remarks
        yield table


def _form(source: Source, reading: Reading) -> str:
    """Return which of `FORMATS` the content is, or raise `InvalidInput` where there is none."""
    if not source.peek(_START).strip() and not source.more_than(_START):
        raise InvalidInput(
            f"{source.name} is empty; pass a table with a header and at least one row"
        )
    content = source.peek(_START)
    if reading.form == "arrow" and not content.startswith(ARROW_STREAM):
        raise CorruptFile(
            f"{source.name} is no Arrow file, though --format says so; leave that out"
        )
    return reading.form or _format(source.name, content)


def _whole(source: Source, form: str, reading: Reading) -> tuple[Table | Matrix, list[str]]:
    """Return all of some content."""
    if form == "csv":
        from fastnn.tabular.files.delimited import read_delimited

        return read_delimited(source, reading)
    name, content = source.name, source.read()
    if form in ("parquet", "arrow"):
        from fastnn.tabular.files.parquet import read_content

        return read_content(name, content, form)
    if form == "svmlight":
        from fastnn.tabular.files.svmlight import read_svmlight

        return read_svmlight(name, content)
    from fastnn.tabular.files.arrays import read_npy, read_npz

    if form == "npy":
        return read_npy(name, content)
    return read_npz(name, content, reading.part, reading.label, reading.asked)


def files_of(path: str) -> list[tuple[str, str]] | None:
    """Return the Parquet or Arrow files that are the table at a path, with their kinds, or None.

    A file is one by its content; those of a folder by their names.
    """
    if path == STANDARD_INPUT or not path or "\0" in path:
        return None
    if os.path.isdir(path):
        return table_files(path, path)
    if not os.path.isfile(path):  # a pipe can be read but once
        return None
    try:
        with open(path, "rb") as stream:
            start = stream.read(8)
    except OSError:  # which reading it tells
        return None
    kind = "parquet" if _PARQUET.match(start) else "ipc" if _ARROW.match(start) else None
    return None if kind is None else [(os.path.abspath(path), kind)]


def opened(path: str, files: list[tuple[str, str]]) -> TableFiles:
    """Return these files of a path, which are read later; raises as `read`."""
    found = TableFiles(files, path)
    if os.path.isdir(path):
        check_source(path, found, path)
    return found


class Source:
    """The bytes of a file, unpacked, from the first on, of which the next can be looked at.

    gzip may be around them, whatever the name of the file.

    Attributes
    ----------
    name
        The file, as messages have it.
    packed
        Whether they were in gzip.
    """

    def __init__(self, path: str) -> None:
        self.name, self._file = _opened(path)
        self._stream = self._file
        self._ahead, self.packed = b"", False
        try:
            self._unpack()
        except BaseException:
            self.__exit__()
            raise

    def _unpack(self) -> None:
        if self.peek(2) == _GZIP:
            start, self._ahead = self._ahead, b""
            self._stream = gzip.GzipFile(fileobj=_Joined(start, self._file), mode="rb")
            self.packed = True
        elif self.name.endswith(".gz") and self.peek(1):
            raise CorruptFile(
                f"{self.name} is no gzip file, though its name says so; rename it, or download it "
                "again"
            )

    def __enter__(self) -> Source:
        """Have the file closed in the end; the standard input stays open."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        if self._file is not getattr(sys.stdin, "buffer", None):
            self._file.close()

    def peek(self, count: int) -> bytes:
        """Return the next bytes, as many as asked for if there are as many; they stay the next."""
        while len(self._ahead) < count and (more := self._more(count - len(self._ahead))):
            self._ahead += more
        return self._ahead[:count]

    def more_than(self, count: int) -> bool:
        """Return whether there are more bytes."""
        return len(self.peek(count + 1)) > count

    def read(self, count: int = -1) -> bytes:
        """Return some of the next bytes, as many as asked for at most, or all: none at the end."""
        if count < 0:
            start, self._ahead = self._ahead, b""
            return start + self._more(-1)
        if self._ahead:
            found, self._ahead = self._ahead[:count], self._ahead[count:]
            return found
        return self._more(count)

    def _more(self, count: int) -> bytes:
        try:
            found: bytes = self._stream.read(count)
        except (OSError, EOFError, zlib.error) as error:
            if self.packed:
                raise CorruptFile(
                    f"{self.name} is damaged or cut off: gzip cannot unpack it ({error}); download "
                    "it again"
                ) from error
            code = getattr(error, "errno", None) or errno.EIO
            reason = getattr(error, "strerror", None) or error
            raise UnusableFile(code, f"cannot be read: {reason}", self.name) from error
        return found


class _Joined(io.RawIOBase):
    """Bytes that have been read, and after them those of a stream."""

    def __init__(self, start: bytes, stream: Any) -> None:
        self._start, self._stream = start, stream

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        if size < 0:
            found, self._start = self._start, b""
            return found + self._stream.read()
        if self._start:
            found, self._start = self._start[:size], self._start[size:]
            return found
        more: bytes = self._stream.read(size)
        return more


def _opened(path: str) -> tuple[str, Any]:
    """Return the name of a file in messages, and a stream of what is in it."""
    if path == STANDARD_INPUT:
        stream = sys.stdin
        if stream is None:
            raise UnusableFile(errno.EBADF, "there is no standard input", path)
        buffer = getattr(stream, "buffer", None)
        return "standard input", io.BytesIO(stream.read().encode()) if buffer is None else buffer
    if not path or "\0" in path:
        raise InvalidInput(f"DATA must be the path of a file, not {shown(path)}")
    try:
        return path, open(path, "rb")  # who reads it closes it
    except IsADirectoryError as error:
        there = sorted(each.name for each in Path(path).iterdir() if each.is_file())
        what = "this is a folder without Parquet or Arrow files; pass a file in it" + (
            offered("", there) if there else ""
        )
        raise UnusableFile(errno.EISDIR, what, path) from error
    except FileNotFoundError as error:
        folder = os.path.dirname(path) or "."
        try:
            there = sorted(os.listdir(folder))
        except OSError:
            raise MissingFile(errno.ENOENT, "there is no such folder", folder) from error
        near = offered(os.path.basename(path), there)
        near = near if "did you mean" in near else ""
        raise MissingFile(errno.ENOENT, f"there is no such file{near}", path) from error
    except OSError as error:
        raise UnusableFile(error.errno, f"cannot be read: {error.strerror}", path) from error


def _format(name: str, content: bytes) -> str:
    """Return which of `FORMATS` some content is."""
    if _PARQUET.match(content):
        return "parquet"
    if content.startswith(ARROW_STREAM):
        return "arrow"
    if content.startswith(b"\x93NUMPY"):
        return "npy"
    plain = name.removesuffix(".gz").lower()
    archive = content.startswith((b"PK\x03\x04", b"PK\x05\x06"))
    if archive and (plain.endswith(".npz") or b".npy" in content[:200]):
        return "npz"
    foreign = [what for start, what in _FOREIGN.items() if content.startswith(start)]
    foreign += [what for start, what in _FOREIGN_LETTERS.items() if start.match(content)]
    if foreign:
        raise InvalidInput(f"{name} is no table but {foreign[0]}")
    start = content[:_MARKED].lstrip(b"\xef\xbb\xbf \t\r\n")
    for pattern, what in _FOREIGN_TEXT.items():
        if pattern.match(start):
            raise InvalidInput(f"{name} is no table but {what}")
    for form in ("parquet", "npz", "npy"):
        if plain.endswith(f".{form}"):
            raise CorruptFile(f"{name} is damaged or no .{form} file; make it again")
    if b'{"__metadata__"' in content[:64] or plain.endswith(".safetensors"):
        raise InvalidInput(f"{name} is no table but a model; pass the data in its place")
    if plain.endswith((".svm", ".svmlight", ".libsvm")):
        return "svmlight"
    first = next((line for line in io.BytesIO(content) if line.strip()), b"")
    return "svmlight" if _SVMLIGHT.fullmatch(first.strip()) and not _has_times(content) else "csv"


def _has_times(content: bytes) -> bool:
    """Return whether what looks like entries of svmlight is hours and minutes of a table.

    Each has two digits after the colon, and some begin with a 0 before or after it, which svmlight
    writes nowhere, or are no larger than the one to the left, where indices rise.
    """
    lines = content.splitlines()
    if len(content) >= _START:
        lines = lines[:-1]  # which may be cut off
    rows = [
        [word for word in line.partition(b"#")[0].split()[1:] if b":" in word] for line in lines
    ]
    words = [word for row in rows for word in row]
    if not all(map(_TIME.fullmatch, words)):
        return False
    hours = [[int(word.partition(b":")[0]) for word in row] for row in rows]
    return any(map(_ZERO_FIRST.search, words)) or any(
        one >= other for row in hours for one, other in itertools.pairwise(row)
    )
