"""Rows that lie in a file which is mapped into memory, as `numpy.memmap` does it.

Such rows are read from the disk when they are used, a page at a time, and stay in the memory of the
process, as far as the system sees, until they are let go. So whoever goes through more of them than
there is memory does it in pieces: reads those of the next one ahead, and lets go of those that are
done with. A page is let go only of a map through which nobody can write, so that no change is ever
lost; what is let go is read again from the file when it is used again.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# Rows of so many bytes are a piece; files below have none, and are as good as memory.
PIECE_BYTES = 16 << 20
# The system is asked for so many bytes at a time, since it takes no notice of much more, and so
# many times before the first of them is waited for.
ASKED_BYTES, ASKED_AHEAD = 1 << 20, 8
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

    def __init__(self, source: mmap.mmap, array: np.ndarray) -> None:
        """Take an array that lies in `source`."""
        self._source = source
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

    def read(self, runs: np.ndarray, stopped: Callable[[], bool]) -> None:
        """Have the rows of some runs in memory, int64 (runs, 2); end early where `stopped()`."""
        with contextlib.suppress(OSError, ValueError, BufferError):  # it has been closed
            asked = [
                (at, min(at + ASKED_BYTES, end))
                for first, last in runs.tolist()
                for start, end in (self._bytes(first, last),)
                for at in range(start, end, ASKED_BYTES)
            ]
            whole = np.frombuffer(self._source, np.uint8)
            for number, (start, end) in enumerate(asked):
                if stopped():
                    return
                if _WANTED is not None:
                    ahead = asked[number + ASKED_AHEAD : number + ASKED_AHEAD + 1]
                    for at, until in ahead if number else asked[: ASKED_AHEAD + 1]:
                        self._source.madvise(_WANTED, at, until - at)
                # A byte of each page, without Python's lock, waits for the page and maps it.
                whole[start:end:_PAGE].max(initial=0)

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
    while isinstance(source, np.ndarray):
        source = source.base
    if isinstance(source, memoryview):
        source = source.obj
    if not isinstance(source, mmap.mmap):
        return None
    try:
        if len(source) < PIECE_BYTES:
            return None
        found = Pages(source, array)
    except ValueError:  # it has been closed
        return None
    return found if found.dense else None


def in_pieces(array: Any) -> Iterator[Any]:
    """Yield rows of `array` that together are all of it: at once, or a piece of a file at a time.

    The pages of a piece are let go when the next one is asked for.
    """
    pages = pages_of(array)
    if pages is None:
        yield array
        return
    rows = max(1, PIECE_BYTES // pages.row_bytes)
    for first in range(0, len(array), rows):
        last = min(len(array), first + rows)
        yield array[first:last]
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
