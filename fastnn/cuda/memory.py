"""Room on the device, and what to say where there is too little or where it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastnn.cuda.device import SIMULATED, clear, cuda, failures, limits, memory_info
from fastnn.errors import DeviceFailure


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
