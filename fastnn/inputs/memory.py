"""What would not fit into this machine's memory is refused before any of it is taken."""

from __future__ import annotations

import contextlib
import os
from functools import cache

from fastnn.errors import InvalidInput

_UNKNOWN = 1 << 46  # where the system does not say: 64 TiB, which no machine has
# Limits of a container, of both generations of control groups.
_LIMITS = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"


def check_memory(needed: int, what: str, advice: str) -> None:
    """Raise `InvalidInput` where so many bytes can never be had.

    Parameters
    ----------
    needed
        Bytes.
    what, advice
        What needs them, and what to do instead, as the message has them.
    """
    if needed > machine_bytes():
        raise InvalidInput(
            f"{what} would take {_readable(needed)} of memory, but this machine has "
            f"{_readable(machine_bytes())}; {advice}"
        )


@cache
def machine_bytes() -> int:
    """Return how much memory this process could have at most: the machine's, or its container's."""
    most = _UNKNOWN
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        most = min(most, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in _LIMITS:
        with contextlib.suppress(OSError, ValueError), open(file) as stream:  # "max" is no number
            most = min(most, int(stream.read()))
    return most


def _readable(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} PiB"
