"""Rows that lie in a file which is mapped into memory, as `numpy.memmap` does it.

Such rows are read from the disk when they are used, a page at a time, and stay in the memory of the
process, as far as the system sees, until they are let go. So whoever goes through more of them than
there is memory does it in pieces: asks for those of the next one ahead, and lets go of those that
are done with. A page is let go only of a map through which nobody can write, so that no change is
ever lost; what is let go is read again from the file when it is used again.

Mapping a page and letting it go takes the system up to a microsecond, as long as a linear model
computes with it. So nothing is let go of what is in memory as a whole, in the system's cache of
files: such rows are mapped once, and then are as good as an array. The system takes their memory
back when it is short, which is seen when they are gone through again.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

# Rows of so many bytes are a piece; files below have none, and are as good as memory.
PIECE_BYTES = 16 << 20
# The system is asked for so many bytes at a time, since it takes no notice of much more.
ASKED_BYTES = 1 << 20
# Of so many bytes at a time it says which pages are in memory.
LOOKED_AT_BYTES = 256 << 20
_PAGE = mmap.PAGESIZE
# What the system may have mapped where one byte was read.
LARGE_PAGE = max(_PAGE, 2 << 20)
_WANTED = getattr(mmap, "MADV_WILLNEED", None)  # Windows has none of these
_SCATTERED, _USUAL = (getattr(mmap, f"MADV_{name}", None) for name in ("RANDOM", "NORMAL"))
_LET_GO = getattr(mmap, "MADV_DONTNEED", None)


class Pages:
    """The pages of an array whose rows follow one another in a map of a file.

    Attributes
    ----------
    row_bytes
        From one row to the next.
    """

    def __init__(self, source: mmap.mmap, array: np.ndarray, path: str | None) -> None:
        """Take an array that lies in `source`, a map of the file at `path` if that is known."""
        self._source, self._path, self._rows = source, path, len(array)
        start = array.__array_interface__["data"][0] - _address(source)
        self.row_bytes: int = array.strides[0]
        others = list(zip(array.strides[1:], array.shape[1:], strict=True))
        self._low = start + sum(min(0, stride * (count - 1)) for stride, count in others)
        span = sum(abs(stride) * (count - 1) for stride, count in others) + array.itemsize
        self._span = span
        with memoryview(source) as view:
            self._unwritten = view.readonly

    @property
    def dense(self) -> bool:
        """Whether the rows are most of what lies between the first and the last of them."""
        return 0 < self._span <= self.row_bytes <= 2 * self._span

    def resident(self) -> bool:
        """Return whether all of the rows are known to be in memory, so that none will be read."""
        look = _mincore()
        if look is None or self._path is None or not _may_look(self._path):
            return False
        with contextlib.suppress(OSError, ValueError):  # it has been closed
            first, end = self._bytes(0, self._rows)
            start = _address(self._source)
            found = np.empty(-(-LOOKED_AT_BYTES // _PAGE), np.uint8)
            for at in range(first, end, LOOKED_AT_BYTES):
                count = -(-(min(at + LOOKED_AT_BYTES, end) - at) // _PAGE)
                if look(start + at, count * _PAGE, found.ctypes.data):
                    return False
                if not (found[:count] & 1).all():
                    return False
            return True
        return False

    def ask(self, runs: np.ndarray) -> None:
        """Have the system read the rows of some runs, int64 (runs, 2), and do not wait for it.

        A system that cannot be asked reads them here and now.
        """
        with contextlib.suppress(OSError, ValueError, BufferError):  # it has been closed
            for first, last in runs.tolist():
                start, end = self._bytes(first, last)
                for at in range(start, end, ASKED_BYTES):
                    until = min(at + ASKED_BYTES, end)
                    if _WANTED is not None:
                        self._source.madvise(_WANTED, at, until - at)
                    else:  # a byte of each page
                        np.frombuffer(self._source, np.uint8)[at:until:_PAGE].max(initial=0)

    def read_scattered(self, scattered: bool) -> None:
        """Have the system read what is used and asked for, and not what lies around it as well."""
        advice = _SCATTERED if scattered else _USUAL
        if advice is not None:
            with contextlib.suppress(OSError, ValueError):
                self._source.madvise(advice)

    def let_go(self, runs: np.ndarray) -> None:
        """Have the rows of some runs no longer in the memory of the process, if that is safe."""
        if not self._unwritten or _LET_GO is None:
            return
        with contextlib.suppress(OSError, ValueError):  # locked into memory, or closed
            for first, last in runs.tolist():
                start, end = self._bytes(first, last, LARGE_PAGE)
                self._source.madvise(_LET_GO, start, end - start)

    def _bytes(self, first: int, last: int, page: int = _PAGE) -> tuple[int, int]:
        """Return which bytes of the map the pages of rows first..last-1 are."""
        start = self._low + first * self.row_bytes
        end = self._low + (last - 1) * self.row_bytes + self._span
        return start // page * page, min(-(-end // page) * page, len(self._source))


def pages_of(array: Any) -> Pages | None:
    """Return the pages of an array, or None where it is in memory, or may as well be.

    That are rows that lie scattered in the file: columns that are stored one after another (Fortran
    order), or a few columns of many.
    """
    if not isinstance(array, np.ndarray) or not array.ndim or not array.size:
        return None
    source: Any = array
    path = None
    while isinstance(source, np.ndarray):
        if isinstance(source, np.memmap):
            path = path or source.filename
        source = source.base
    if isinstance(source, memoryview):
        source = source.obj
    if not isinstance(source, mmap.mmap):
        return None
    try:
        if len(source) < PIECE_BYTES:
            return None
        found = Pages(source, array, None if path is None else str(path))
    except ValueError:  # it has been closed
        return None
    return found if found.dense else None


@dataclass(frozen=True)
class Place:
    """Where an array lies in a file: what another process needs to map it.

    Attributes
    ----------
    path, size, time
        Of the file, its bytes and when it was changed last, in ns.
    dtype, shape, strides
        Of the array.
    first
        The byte of the file at which its first element begins.
    """

    path: str
    size: int
    time: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    first: int

    def map(self) -> np.ndarray:
        """Return the array, a read-only map of the file, or raise `OSError`."""
        whole = np.memmap(self.path, np.uint8, "r")
        return np.ndarray(self.shape, self.dtype, whole, self.first, self.strides)


def place_of(array: np.ndarray) -> Place | None:
    """Return where an array lies in a file that other processes can map; None where it does not."""
    source: Any = array
    found: np.memmap[Any, Any] | None = None
    while isinstance(source, np.ndarray):
        found = source if isinstance(source, np.memmap) else found
        source = source.base
    if found is None or found.filename is None or not isinstance(source, mmap.mmap):
        return None
    if found.mode == "c" or not array.size:  # written to in memory alone
        return None
    path = os.path.abspath(found.filename)
    try:
        stat = os.stat(path)
    except OSError:  # it has been taken away, and lives in this process
        return None
    map_begins = found.offset - found.offset % mmap.ALLOCATIONGRANULARITY
    first = map_begins + array.__array_interface__["data"][0] - _address(source)
    return Place(
        path, stat.st_size, stat.st_mtime_ns, array.dtype, array.shape, array.strides, first
    )


def in_pieces(array: Any) -> Iterator[Any]:
    """Yield rows of `array` that together are all of it: at once, or a piece of a file at a time.

    The pages of a piece are let go when the next one is asked for, unless all are in memory anyway.
    """
    pages = pages_of(array)
    if pages is None:
        yield array
        return
    resident = pages.resident()
    rows = max(1, PIECE_BYTES // pages.row_bytes)
    for first in range(0, len(array), rows):
        last = min(len(array), first + rows)
        yield array[first:last]
        if not resident:
            pages.let_go(np.array([[first, last]]))


def by_pieces(function: Callable[[Any], np.ndarray], array: Any) -> np.ndarray:
    """Return ``function(array)``, a row for each row, from the pieces that `in_pieces` yields."""
    found: np.ndarray | None = None
    first = 0
    for piece in in_pieces(array):
        part = function(piece)
        if len(piece) == len(array):
            found = part
        elif found is None:
            found = np.empty((len(array), *part.shape[1:]), part.dtype)
        if found is not part:
            found[first : first + len(piece)] = part
        first += len(piece)
    assert found is not None, "arrays have rows"
    return found


def _address(source: mmap.mmap) -> int:
    """Return where a map begins."""
    return int(np.frombuffer(source, np.uint8, 1).__array_interface__["data"][0])


@cache
def _mincore() -> Any:
    """Return Linux's function that tells which pages are in memory; None where there is none.

    That of other systems tells of pages that this process has mapped alone, or is not to be had.
    """
    if sys.platform != "linux":
        return None
    try:
        found = ctypes.CDLL(None).mincore
    except (OSError, AttributeError):
        return None
    found.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    return found


def _may_look(path: str) -> bool:
    """Return whether the system tells this process what of a file is in memory.

    Of files that are neither its user's nor may be written by it, Linux says that all of them is.
    """
    try:
        return os.stat(path).st_uid == os.geteuid() or os.access(path, os.W_OK)
    except OSError:  # it has another name by now, or none
        return False
