"""Room on the device, and what to say where there is too little or where it fails."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastnn.errors import DeviceFailure
from fastnn.targets.cuda.host.numba_cuda import (
    SIMULATED,
    clear,
    cuda,
    failures,
    limits,
    memory_info,
)

MOST_PINNED = 256 << 20  # bytes of a host copy; the system misses pinned memory


def free_bytes() -> int:
    """Return how much of the device's memory is free, once arrays that are no more are let go.

    Numba keeps the memory of such arrays for a while, up to a fifth of all there is.
    """
    if not SIMULATED:
        # Those of the context itself are streams, events and code.
        cuda.current_context().memory_manager.deallocations.clear()
    return memory_info()[0]


def check_room(needed: int, what: str, remedy: str, free: float | None = None) -> None:
    """Raise unless so many bytes are free on the device.

    Parameters
    ----------
    needed
        Bytes.
    what, remedy
        What needs them, verb included, and what to do where they are not there.
    free
        Bytes that are free, where it is known already.

    Raises
    ------
    DeviceFailure
        Fewer bytes are free.
    """
    now, total = memory_info()
    if free is None:
        free = now if needed <= now else free_bytes()
    if needed > free:
        raise DeviceFailure(
            f"{limits().name} has too little memory: {what} {needed:,} bytes, {free:,} of "
            f"{total:,} are free; {remedy}"
        )


def new_array(shape: tuple[int, ...], dtype: Any, what: str, remedy: str) -> Any:
    """Return an array on the device whose content is anything; raises as `check_room` does."""
    needed = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    check_room(needed, what, remedy)
    with guarded(f"making room: {what} {needed:,} bytes"):
        return cuda.device_array(shape, dtype)


def new_zeros(shape: tuple[int, ...], dtype: Any, what: str, remedy: str, stream: Any) -> Any:
    """Return an array on the device of zeros; raises as `check_room` does, and does not wait."""
    found = new_array(shape, dtype, what, remedy)
    if found.size:
        clear(found, stream)
    return found


class HostCopies:
    """Host memory for one copy of an array of the device after another.

    It is pinned, into which a device copies several times as fast, and is used again once nobody
    has a copy in it any more.
    """

    def __init__(self) -> None:
        """Make no buffer before there is something to copy."""
        self._free: list[Any] = []

    def copy(self, source: Any, stream: Any) -> np.ndarray:
        """Return a copy of a C-contiguous array, flat and read only; waits for the stream."""
        if source.nbytes > MOST_PINNED:
            found = source.copy_to_host(stream=stream).reshape(-1)
        else:
            try:
                buffer = self._free.pop()
            except IndexError:
                buffer = memoryview(cuda.pinned_array(source.nbytes, np.uint8))
            # Not a view of the pinned array: views of views would not keep such a one alive.
            found = np.frombuffer(buffer, source.dtype)
            weakref.finalize(found, self._free.append, buffer).atexit = False
            source.copy_to_host(found.reshape(source.shape), stream=stream)
        stream.synchronize()
        found.flags.writeable = False
        return found


def new_event() -> Any:
    """Return an event for streams to wait for each other; it takes no times."""
    return cuda.event() if SIMULATED else cuda.event(timing=False)


@contextmanager
def guarded(doing: str) -> Iterator[None]:
    """Turn an error of the device into a `DeviceFailure` that says what went on."""
    try:
        yield
    except failures() as error:
        raise DeviceFailure(f"{limits().name} failed while {doing}: {error}") from error
