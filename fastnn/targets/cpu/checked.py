"""Calls of the CPU target's compiled code under ``FASTNN_CHECK=1``; see `fastnn.sanitizer`."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.errors import StrayAccess
from fastnn.sanitizer import CHECKED
from fastnn.sanitizer.table import WORD_BYTES, Range, allowing, run_lengths, take_stray, whole
from fastnn.storage.kernels.machine import DISABLE_JIT
from fastnn.targets.cpu import plan as fields
from fastnn.targets.cpu.arguments import (
    ADDRESS,
    ARRAYS,
    COLUMN_STRIDE,
    COLUMNS,
    COLUMNS_ARE_WIDE,
    COLUMNS_AT,
    DTYPE,
    POSITIONS,
    ROW_STRIDE,
    ROWS_STORED,
    SPARSE_FIELDS,
    STARTS,
    STARTS_ARE_WIDE,
    STEP,
    STORED,
    STRIDED_FIELDS,
    VALUES,
    VALUES_ARE_DOUBLE,
)
from fastnn.targets.cpu.dtypes import SOURCES
from fastnn.targets.cpu.plan import Plan
from fastnn.targets.fields import BATCH, SIZE
from fastnn.targets.layout import aligned_zeros

# Offsets in the plan, by which a place in memory is called.
_LAYER = (
    "WEIGHTS", "NARROW", "TRAINABLE", "TRANSPOSED", "INPUT", "UNDROPPED", "MASK", "Z", "OUTPUT",
    "DELTA", "SLOPES", "GAMMA", "BETA", "MEAN", "VARIANCE", "X_HAT", "STATISTICS",
)  # fmt: skip
_HEAD = (
    "TARGETS", "ROW_SCALE", "ROW_SCRATCH", "ONES", "PADDING", "PRIVATE", "KEPT", "OWN_SCRATCH",
    "ENTRIES", "GRADIENT", "PACKED", "IN_LANES",
)  # fmt: skip
NO_TABLE = np.zeros(0, np.int64)
_CANARY = -7.34567e30  # finite, since the state must be


class Memory:
    """The one array of an engine, and what lies where in it.

    Parameters
    ----------
    array
        float32 or float64, of `plan.memory_size` numbers; what lies between buffers is overwritten.
    plan
        Says where the buffers are.
    """

    def __init__(self, array: np.ndarray, plan: Plan) -> None:
        valid = np.zeros(len(array), bool)
        for at, count in plan.buffers:
            valid[at : at + count] = True
        self.start, self.itemsize, self.plan = array.ctypes.data, array.itemsize, plan
        self.gaps = np.flatnonzero(~valid)
        self.runs = run_lengths(np.repeat(valid, array.itemsize // WORD_BYTES))
        self._array = weakref.ref(array)
        self.mark_gaps()

    def mark_gaps(self) -> None:
        """Write between the buffers what nobody else may."""
        array = self._array()
        if array is not None:
            array[self.gaps] = _CANARY

    def broken_canary(self) -> int | None:
        """Return the offset of the first gap that was written, or None."""
        array = self._array()
        if array is None:
            return None
        broken = np.flatnonzero(array[self.gaps] != array.dtype.type(_CANARY))
        return int(self.gaps[broken[0]]) if len(broken) else None

    def where(self, offset: int) -> str:
        """Return the buffer before an offset in words: layer, name, and how far behind its end."""
        names = {int(self.plan.head[getattr(fields, name)]): name for name in _HEAD}
        size = int(self.plan.head[SIZE])
        for layer, row in enumerate(self.plan.layers):
            for name in _LAYER:
                at = int(row[getattr(fields, name)])
                if at >= 0 and name not in ("UNDROPPED",):
                    names.setdefault(at, f"{name} of layer {layer}")
        for own, layers in enumerate(self.plan.inference):
            for layer, row in enumerate(layers):
                for name in ("INPUT", "Z", "OUTPUT"):
                    at = int(row[getattr(fields, name)])
                    names.setdefault(at, f"{name} of layer {layer}, prediction {own}")
        before = [each for each in self.plan.buffers if each[0] <= offset]
        if not before:
            return "before the first buffer"
        at, count = before[-1]
        copy, first = (at // size, at % size) if at not in names and size else (0, at)
        name = names.get(first, f"the buffer at {at}")
        slot = f", state slot {copy - 1}," if copy and first in names else ""
        return f"number {offset - at} of {name}{slot} which has {count}"


_memories: dict[int, Memory] = {}


def zeros_for(plan: Plan, dtype: np.dtype) -> np.ndarray:
    """Return the memory of a plan, zeros, accesses to which are checked against the plan."""
    memory = aligned_zeros(plan.memory_size, dtype)
    if CHECKED:
        start = memory.ctypes.data
        _memories[start] = Memory(memory, plan)
        weakref.finalize(memory, _forget, start, _memories[start])
    return memory


def wrote(memory: np.ndarray) -> None:
    """Say that something else than compiled code has written to a memory, gaps and all."""
    if CHECKED:
        _memories[memory.ctypes.data].mark_gaps()


def _forget(start: int, memory: Memory) -> None:
    if _memories.get(start) is memory:
        del _memories[start]


def checked(function: Callable[..., Any], rows: int | None = None) -> Callable[..., Any]:
    """Return `function`, a compiled entry point, but for an error after a stray access in it.

    Its arrays may be touched, and those that the jobs list which the first of them holds. The
    caller's matrices have so many `rows`; None: as many as the last array, a prediction's outputs.
    The plan does not tell: of a batch that processes share, it counts places.
    """
    if not CHECKED or DISABLE_JIT:
        return function

    def call(*arguments: Any) -> Any:
        arrays = [each for each in arguments if isinstance(each, np.ndarray)]
        ranges = [whole(each) for each in arrays if each.size]
        samples = len(arrays[-1]) if rows is None else rows
        memories: dict[int, Memory] = {}
        for job in np.atleast_2d(arrays[0]):
            ranges += _ranges(job, samples, memories)
        with allowing(ranges):
            result = function(*arguments)
        _report(memories)
        return result

    return call


def _ranges(job: np.ndarray, rows: int, memories: dict[int, Memory]) -> list[Range]:
    """Return what one job lists; the memories among it are entered in `memories`."""
    found, starts = [], {}
    rules: list[np.ndarray] = []  # what calls of user-defined rules read
    for index, (name, (dtype, columns)) in enumerate(ARRAYS.items()):
        start, length = job[2 * index : 2 * index + 2].tolist()
        if not length:
            continue
        memory = _memories.get(start) if name == "memory" else None
        itemsize = dtype.itemsize if dtype is not None else 0
        if memory is not None:
            memories[start] = memory
            itemsize = memory.itemsize
            rules = [memory.plan.records, *memory.plan.constants.values()]
        starts[name] = start
        if name == "order":  # of a part of an epoch: what is before it is not there
            done = _done(job)
            start, length = start + done * itemsize, length - done
        found.append((name, start, length * (columns or 1), itemsize))
    # "alphas" has the dtype of the memory.
    itemsize = next((m.itemsize for m in memories.values()), 8)
    ranges = [
        Range(start, start + count * (size or itemsize), getattr(memories.get(start), "runs", None))
        for _, start, count, size in found
    ]
    strided = int(job[2 * list(ARRAYS).index("strided") + 1])
    table = _numbers(starts.get("strided", 0), strided * STRIDED_FIELDS) if strided else NO_TABLE
    ranges += map(whole, rules)
    if "sparse" in starts:
        ranges += _sparse_ranges(_numbers(starts["sparse"], SPARSE_FIELDS))
    return ranges + [_span(source, rows) for source in table.reshape(strided, STRIDED_FIELDS)]


def _done(job: np.ndarray) -> int:
    """Return how many rows of its epoch a job has done."""
    head, control = (int(job[POSITIONS[name]]) for name in ("head", "control"))
    return int(_numbers(control, STEP + 1)[STEP] * _numbers(head, BATCH + 1)[BATCH])


def _sparse_ranges(table: np.ndarray) -> list[Range]:
    """Return the bytes of sparse features."""
    ranges = []
    for at, wide, count in (
        (VALUES, VALUES_ARE_DOUBLE, table[STORED]),
        (COLUMNS_AT, COLUMNS_ARE_WIDE, table[STORED]),
        (STARTS, STARTS_ARE_WIDE, table[ROWS_STORED] + 1),
    ):
        start = int(table[at])
        ranges.append(Range(start, start + int(count) * (8 if table[wide] else 4)))
    return ranges


def _span(source: np.ndarray, rows: int) -> Range:
    """Return the bytes that a caller's matrix spans, whatever its strides."""
    if source[COLUMNS] == 0:  # of features that are sparse
        return Range(0, 0)
    item = SOURCES[source[DTYPE]].itemsize
    strides = (
        int(source[ROW_STRIDE]) * (rows - 1),
        int(source[COLUMN_STRIDE]) * (int(source[COLUMNS]) - 1),
    )
    start = int(source[ADDRESS])
    low, high = sum(min(0, each) for each in strides), sum(max(0, each) for each in strides)
    return Range(start + low, start + high + item) if rows else Range(start, start)


def _numbers(address: int, count: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_int64 * count).from_address(address))


def _report(memories: dict[int, Memory]) -> None:
    """Raise `StrayAccess` where there was one."""
    stray = take_stray()
    if stray is not None:
        place = "which is in none of the arrays of the call"
        for start, memory in memories.items():
            offset = (stray.address - start) // memory.itemsize
            if abs(offset) < 2 * len(memory.runs):
                place = f"offset {offset} of memory: {memory.where(offset)}"
        raise StrayAccess(f"{stray}, {place}")
    for memory in memories.values():
        broken = memory.broken_canary()
        if broken is not None:
            raise StrayAccess(
                f"something wrote to offset {broken} of memory, between two buffers: "
                f"{memory.where(broken)}"
            )
