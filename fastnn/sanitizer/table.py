"""What compiled code may touch at the moment, and the check that looks it up.

The table is a row a range of addresses: its start, its end, and where its run lengths are. Word w
of a range that has them, four bytes each, may be touched if its run length, an int32, is not 0; it
says how many words from there on may be. The rows before the first range count the ranges in use,
and hold the first stray access that was found.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np

from fastnn.errors import StrayAccess

CHECK = "fastnn_check"
WORD_BYTES = 4
_RANGES = 4096  # of all calls at a time
_IN_USE = 0  # row and column 0: rows that are in use, or were
_STRAY = 1  # row of the first stray access: address, bytes, name of the function, whether written
_FIRST = 2
_table = np.zeros((_FIRST + _RANGES, 4), np.int64)
_STACK_BYTES = 1 << 16  # of the callers of the check: Numba passes their variables by address
_entering = threading.Lock()
_kept: list[Any] = []  # the engine that the check's code lives in

_CODE = """
define void @{name}(i64 %p, i64 %bytes, i64 %site, i64 %write) {{
entry:
  %here = alloca i8
  %sp = ptrtoint ptr %here to i64
  %above = sub i64 %p, %sp
  %on.stack = icmp ult i64 %above, {stack}
  br i1 %on.stack, label %good, label %begin
begin:
  %table = inttoptr i64 {table} to ptr
  %count = load atomic i64, ptr %table acquire, align 8
  %stop = add i64 %p, %bytes
  br label %next
next:
  %i = phi i64 [ 0, %begin ], [ %following, %other ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %look, label %stray
look:
  %words = mul i64 %i, 4
  %at = add i64 %words, {first}
  %row = getelementptr i64, ptr %table, i64 %at
  %row.end = getelementptr i64, ptr %row, i64 1
  %row.runs = getelementptr i64, ptr %row, i64 2
  %end = load atomic i64, ptr %row.end acquire, align 8
  %start = load i64, ptr %row, align 8
  %after = icmp uge i64 %p, %start
  %before = icmp ule i64 %stop, %end
  %inside = and i1 %after, %before
  br i1 %inside, label %found, label %other
other:
  %following = add i64 %i, 1
  br label %next
found:
  %runs = load i64, ptr %row.runs, align 8
  %whole = icmp eq i64 %runs, 0
  br i1 %whole, label %good, label %count.run
count.run:
  %offset = sub i64 %p, %start
  %word = lshr i64 %offset, 2
  %runs.start = inttoptr i64 %runs to ptr
  %run.at = getelementptr i32, ptr %runs.start, i64 %word
  %run = load i32, ptr %run.at, align 4
  %run.words = zext i32 %run to i64
  %rest = and i64 %offset, 3
  %needed = add i64 %bytes, %rest
  %needed.more = add i64 %needed, 3
  %needed.words = lshr i64 %needed.more, 2
  %enough = icmp uge i64 %run.words, %needed.words
  br i1 %enough, label %good, label %stray
stray:
  %stray.at = getelementptr i64, ptr %table, i64 {stray}
  %swap = cmpxchg ptr %stray.at, i64 0, i64 %p seq_cst seq_cst
  %first = extractvalue {{ i64, i1 }} %swap, 1
  br i1 %first, label %tell, label %good
tell:
  %to.bytes = getelementptr i64, ptr %stray.at, i64 1
  store i64 %bytes, ptr %to.bytes
  %to.site = getelementptr i64, ptr %stray.at, i64 2
  store i64 %site, ptr %to.site
  %to.write = getelementptr i64, ptr %stray.at, i64 3
  store i64 %write, ptr %to.write
  br label %good
good:
  ret void
}}
"""


class Range(NamedTuple):
    """Bytes start..end, with the run lengths of their words where not all may be touched."""

    start: int
    end: int
    runs: np.ndarray | None = None


class Stray(NamedTuple):
    """An access to what may not be touched: where, how many bytes, and by which function."""

    address: int
    size: int
    function: str
    write: bool

    def __str__(self) -> str:
        """Say what happened."""
        verb = "wrote" if self.write else "read"
        return f"{self.function} {verb} {self.size} bytes at address {self.address:#x}"


def install_check() -> None:
    """Compile the check, and have compiled code find it by its name; again, do nothing."""
    if _kept:
        return
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = _CODE.format(
        name=CHECK, table=_table.ctypes.data, first=4 * _FIRST, stray=4 * _STRAY, stack=_STACK_BYTES
    )
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2, jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    engine.finalize_object()
    llvm.add_symbol(CHECK, engine.get_function_address(CHECK))
    _kept.append(engine)


def run_lengths(valid: np.ndarray) -> np.ndarray:
    """Return for each word how many from it on are valid, int32 (n,), from booleans (n,)."""
    ends = np.append(np.flatnonzero(~valid), len(valid))
    here = np.arange(len(valid))
    return (ends[np.searchsorted(ends, here)] - here).astype(np.int32)


@contextmanager
def allowing(ranges: list[Range]) -> Iterator[None]:
    """Let compiled code touch these ranges, and those of other calls, meanwhile."""
    distinct = {(start, end): runs for start, end, runs in ranges if end > start}
    rows: list[int] = []
    try:
        with _entering:
            free = iter(np.flatnonzero(_table[_FIRST:, 1] == 0) + _FIRST)
            for (start, end), runs in distinct.items():
                row = int(next(free))
                rows.append(row)
                _table[row, 0] = start
                _table[row, 2] = 0 if runs is None else runs.ctypes.data
                _table[row, 1] = end  # which puts the row in force
            _table[_IN_USE, 0] = max([_table[_IN_USE, 0], *(row - _FIRST + 1 for row in rows)])
        yield
    finally:
        with _entering:
            for row in rows:
                _table[row] = 0
            used = np.flatnonzero(_table[_FIRST:, 1])
            _table[_IN_USE, 0] = used[-1] + 1 if len(used) else 0


def whole(array: np.ndarray) -> Range:
    """Return the bytes of a contiguous array."""
    start = array.ctypes.data
    return Range(start, start + array.nbytes)


def checked_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, of contiguous arrays, but for an error after a stray access in it."""

    def call(*arguments: Any) -> Any:
        arrays = [each for each in arguments if isinstance(each, np.ndarray)]
        with allowing([whole(each) for each in arrays]):
            result = function(*arguments)
        stray = take_stray()
        if stray is not None:
            raise StrayAccess(f"{stray}, which is in none of its arrays")
        return result

    return call


def take_stray() -> Stray | None:
    """Return the first stray access since the last call, and forget it."""
    address, size, site, write = _table[_STRAY].tolist()
    if not address:
        return None
    _table[_STRAY] = 0
    name = ctypes.string_at(site).decode() if site else "?"
    return Stray(address, size, name, bool(write))
