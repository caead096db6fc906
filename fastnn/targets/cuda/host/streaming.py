"""Data larger than the device's memory: some steps' rows at a time, copied behind the arithmetic.

There are two sets of buffers. While the device works on the rows of one, the host gathers the rows
of the next steps into pinned memory, and a stream of its own copies them into the other. Events
keep each of the three from overtaking the others; the host waits for copies, never for kernels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from fastnn.inputs.data import Data
from fastnn.inputs.device_arrays import to_host
from fastnn.inputs.problem import Problem
from fastnn.targets.cuda.host import memory
from fastnn.targets.cuda.host.data import REMEDY, Placed, dummy, parts, placed_of, row_bytes
from fastnn.targets.cuda.host.memory import check_room, new_array, new_event
from fastnn.targets.cuda.host.numba_cuda import cuda
from fastnn.threads.processors import available_threads

# Rows copied together: enough that starting kernels anew costs nothing beside them.
CHUNK_BYTES = 128 << 20
# The share of the free memory that buffers may take, since kernels need some as well.
SHARE = 0.8
# More threads than this gather no faster, for memory is what they wait for.
MOST_THREADS = 4
# What a thread gathers at a time, through the cache where it has to convert.
GATHERED_BYTES = 1 << 20


class Chunk(NamedTuple):
    """The rows of some steps on the device.

    Attributes
    ----------
    begin, end
        Steps, counted from the first of the first epoch.
    placed
        Arrays with the rows of these steps in the order of their use; one of two that alternate
        for as long as the `Streamed` lives. It may be overwritten once the next chunk is asked for
        and all that was put into the stream until then is done.
    """

    begin: int
    end: int
    placed: Placed


class Streamed:
    """Rows on the host, brought to the device chunk by chunk.

    Attributes
    ----------
    chunk_rows
        Rows in a chunk, a multiple of the batch size.
    placed
        The two sets of buffers.
    """

    def __init__(
        self,
        data: Data,
        problem: Problem,
        stream: Any,
        chunk_rows: int | None = None,
        free_bytes: float | None = None,
    ) -> None:
        """Make buffers for chunks of about so many rows, or of `CHUNK_BYTES`.

        Parameters
        ----------
        data
            Features on the host; those on a device are for `place`. Targets may be on either.
        problem
            Gives the batch size, the loss and the dtype.
        stream
            The stream of the kernels.
        chunk_rows
            At least one batch is taken.
        free_bytes
            Of the device's memory; None: as the device says.

        Raises
        ------
        DeviceFailure
            No room for two batches.
        """
        self._rows, self._batch, self._stream = len(data), problem.batch_size, stream
        free = memory.free_bytes() if free_bytes is None else free_bytes
        each = row_bytes(data, problem)
        check_room(
            math.ceil(2 * each * self._batch / SHARE),
            f"two batches of {self._batch} rows, and some room beside them, need",
            "make the batch or the network smaller, or use target='cpu'",
            free,
        )
        most = int(min(free * SHARE // (2 * each), self._rows + self._batch))
        wanted = CHUNK_BYTES // each if chunk_rows is None else chunk_rows
        whole = -(-self._rows // self._batch) * self._batch
        self.chunk_rows = min(whole, max(1, min(wanted, most) // self._batch) * self._batch)
        self._sources = [
            None if array is None else np.asarray(to_host(array))
            for array, _ in parts(data, problem)
        ]
        self._sets = [_Buffers(parts(data, problem), self.chunk_rows) for _ in range(2)]
        self._copies = cuda.stream()
        self.placed = tuple(each.placed for each in self._sets)
        self._pool = ThreadPoolExecutor(max(1, min(MOST_THREADS, available_threads())))
        self._turn = 0

    def positions(self, epochs: int) -> np.ndarray:
        """Return the row within its chunk of each position of an epoch, int32 (epochs, n).

        These are what kernels have for an order; they are the same in each epoch.
        """
        rows = np.arange(self._rows, dtype=np.int32) % np.int32(self.chunk_rows)
        return np.tile(rows, (epochs, 1))

    def chunks(self, orders: np.ndarray) -> Iterator[Chunk]:
        """Yield chunk after chunk of some epochs, each ready for what is next in the stream.

        Parameters
        ----------
        orders
            Rows in the order of each epoch, integers (epochs, n).
        """
        steps = -(-self._rows // self._batch)
        for epoch, order in enumerate(orders):
            for first in range(0, self._rows, self.chunk_rows):
                rows = order[first : first + self.chunk_rows]
                begin = epoch * steps + first // self._batch
                buffers = self._fill(rows)
                try:
                    yield Chunk(begin, begin - (-len(rows) // self._batch), buffers.placed)
                finally:
                    # Also when the caller stops here: its kernels may still read the rows.
                    buffers.used.record(self._stream)

    def close(self) -> None:
        """Let threads and buffers go, when the device is done with them."""
        self._pool.shutdown()
        self._copies.synchronize()
        self._stream.synchronize()
        self._sets, self.placed = [], ()

    def _fill(self, rows: np.ndarray) -> _Buffers:
        """Return the set whose turn it is, with these rows on their way into it."""
        buffers = self._sets[self._turn]
        self._turn = 1 - self._turn
        buffers.copied.synchronize()  # the pinned memory is free again
        for source, pinned in zip(self._sources, buffers.pinned, strict=True):
            if source is not None and pinned is not None:
                self._gather(source, rows, pinned[: len(rows)])
        buffers.used.wait(self._copies)
        for target, pinned in zip(buffers.arrays, buffers.pinned, strict=True):
            if pinned is not None:
                some = pinned[: len(rows)]
                target[: len(rows)].copy_to_device(some, stream=self._copies)
        buffers.copied.record(self._copies)
        buffers.copied.wait(self._stream)
        return buffers

    def _gather(self, source: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
        """Fill `out` with these rows, each thread some blocks of them."""
        block = max(1, GATHERED_BYTES * len(out) // max(1, out.nbytes))
        starts = range(0, len(rows), block)
        tasks = [
            self._pool.submit(
                gather, source, rows[start : start + block], out[start : start + block]
            )
            for start in starts
        ]
        for task in tasks:
            task.result()


def gather(source: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    """Do ``out[:] = source[rows]``, for rows that exist, without a copy where that can be."""
    if not (source.flags.c_contiguous and source.flags.aligned):
        out[...] = source[rows]  # `take` would first make a copy of the whole
    elif source.dtype == out.dtype:
        np.take(source, rows, axis=0, out=out, mode="clip")  # other modes go through a buffer
    else:
        out[...] = np.take(source, rows, axis=0, mode="clip")


class _Buffers:
    """One set: memory on the device, pinned memory, and how far they are."""

    def __init__(self, used: list[tuple[Any, np.dtype]], rows: int) -> None:
        self.arrays = [
            dummy(dtype, use)
            if array is None
            else new_array((rows, *array.shape[1:]), dtype, "chunks of data need", REMEDY)
            for use, (array, dtype) in enumerate(used)
        ]
        self.placed = placed_of(self.arrays)
        self.pinned = [
            None if array is None else cuda.pinned_array((rows, *array.shape[1:]), dtype)
            for array, dtype in used
        ]
        self.copied, self.used = new_event(), new_event()
