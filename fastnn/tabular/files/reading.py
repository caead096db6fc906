"""Which reader a file needs, which its content tells and not its name."""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fastnn.errors import CorruptFile, InvalidInput, MissingFile, UnusableFile, shown
from fastnn.inputs.table_files import TableFiles, check_source, table_files
from fastnn.tabular.table import Matrix, Table, offered

FORMATS = ("csv", "parquet", "arrow", "npz", "npy", "svmlight")
STANDARD_INPUT = "-"
_SVMLIGHT = re.compile(rb"\s*[-+.\deE,]+(\s+qid:\d+)?(\s+\d+:[-+.\deE]+)+\s*(#.*)?")
_FOREIGN = {
    b"PK\x03\x04": "a zip archive, such as an Excel workbook; save it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as CSV",
    b"BZh": "packed with bzip2; unpack it, or pack it with gzip",
    b"\xfd7zXZ": "packed with xz; unpack it, or pack it with gzip",
    b"(\xb5/\xfd": "packed with zstd; unpack it, or pack it with gzip",
    b"ARROW1": "an Arrow file in gzip; unpack it",
    b"FEA1": "a Feather file of version 1; write it again, or save it as Parquet",
    b"\x89HDF": "an HDF5 file; save it as CSV, Parquet or .npz",
    b"%PDF": "a PDF",
    b"\x80\x04": "a pickle, which could run anything; save it as CSV, Parquet or .npz",
    b"\x80\x05": "a pickle, which could run anything; save it as CSV, Parquet or .npz",
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
    """

    form: str | None = None
    delimiter: str | None = None
    encoding: str = "utf-8"
    header: bool | None = None
    names: tuple[str, ...] | None = None
    expected: Collection[str] | None = None
    part: str = "train"
    label: str = ""


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
    if reading.form == "arrow":
        raise CorruptFile(f"{path} is no Arrow file, though --format says so; leave that out")
    name, content = _content(path)
    if not content.strip():
        raise InvalidInput(f"{name} is empty; pass a table with a header and at least one row")
    form = reading.form or _format(name, content)
    if form == "csv":
        from fastnn.tabular.files.delimited import read_delimited

        return read_delimited(name, content, reading)
    if form == "parquet":
        from fastnn.tabular.files.parquet import read_parquet

        return read_parquet(name, content)
    if form == "svmlight":
        from fastnn.tabular.files.svmlight import read_svmlight

        return read_svmlight(name, content)
    from fastnn.tabular.files.arrays import read_npy, read_npz

    if form == "npy":
        return read_npy(name, content)
    return read_npz(name, content, reading.part, reading.label)


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
            start = stream.read(6)
    except OSError:  # which reading it tells
        return None
    kind = {b"PAR1": "parquet", b"ARRO": "ipc"}.get(start[:4])
    return None if kind is None else [(os.path.abspath(path), kind)]


def opened(path: str, files: list[tuple[str, str]]) -> TableFiles:
    """Return these files of a path, which are read later; raises as `read`."""
    found = TableFiles(files, path)
    if os.path.isdir(path):
        check_source(path, found, path)
    return found


def _content(path: str) -> tuple[str, bytes]:
    """Return the name of a file in messages, and all that is in it, unpacked."""
    if path == STANDARD_INPUT:
        stream = sys.stdin
        if stream is None:
            raise UnusableFile(errno.EBADF, "there is no standard input", path)
        if hasattr(stream, "buffer"):
            return "standard input", _unpacked("standard input", stream.buffer.read())
        return "standard input", stream.read().encode()
    if not path or "\0" in path:
        raise InvalidInput(f"DATA must be the path of a file, not {shown(path)}")
    try:
        content = Path(path).read_bytes()
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
    return path, _unpacked(path, content)


def _unpacked(name: str, content: bytes) -> bytes:
    """Return content without gzip, which may be around it whatever its name."""
    if not content.startswith(b"\x1f\x8b"):
        if name.endswith(".gz") and content:
            raise CorruptFile(
                f"{name} is no gzip file, though its name says so; rename it, or download it again"
            )
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptFile(
            f"{name} is damaged or cut off: gzip cannot unpack it ({error}); download it again"
        ) from error


def _format(name: str, content: bytes) -> str:
    """Return which of `FORMATS` some content is."""
    if content.startswith(b"PAR1"):
        return "parquet"
    if content.startswith(b"\x93NUMPY"):
        return "npy"
    plain = name.removesuffix(".gz").lower()
    archive = content.startswith((b"PK\x03\x04", b"PK\x05\x06"))
    if archive and (plain.endswith(".npz") or b".npy" in content[:200]):
        return "npz"
    for start, what in _FOREIGN.items():
        if content.startswith(start):
            raise InvalidInput(f"{name} is no table but {what}")
    for form in ("parquet", "npz", "npy"):
        if plain.endswith(f".{form}"):
            raise CorruptFile(f"{name} is damaged or no .{form} file; make it again")
    if b'{"__metadata__"' in content[:64] or plain.endswith(".safetensors"):
        raise InvalidInput(f"{name} is no table but a model; pass the data in its place")
    first = next((line for line in io.BytesIO(content[:65536]) if line.strip()), b"")
    if _SVMLIGHT.fullmatch(first.strip()) or plain.endswith((".svm", ".svmlight", ".libsvm")):
        return "svmlight"
    return "csv"
