"""What would not fit into this machine's memory is refused before any of it is taken."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

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
            f"{what} would take {readable(needed)} of memory, but this machine has "
            f"{readable(machine_bytes())}; {advice}"
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


def available_bytes() -> int:
    """Return how much memory this process could take now, as far as the system says."""
    free = machine_bytes()
    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/meminfo") as lines:
        free = min(free, _kilobytes(lines, "MemAvailable:"))
    for folder, limit, usage in _groups():
        with contextlib.suppress(OSError, ValueError, KeyError):
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            # Pages of files, which the system takes back.
            cached = sum(
                int(stat.get(f"total_{name}", stat.get(name, 0)))
                for name in ("active_file", "inactive_file")
            )
            most, taken = (int((folder / name).read_text()) for name in (limit, usage))
            free = min(free, max(0, most - taken + cached))
    with contextlib.suppress(ImportError, OSError, ValueError, StopIteration):
        import resource

        for kind, name in ((resource.RLIMIT_AS, "VmSize:"), (resource.RLIMIT_DATA, "VmData:")):
            most, _ = resource.getrlimit(kind)
            if most != resource.RLIM_INFINITY:
                with open("/proc/self/status") as lines:
                    free = min(free, max(0, most - _kilobytes(lines, name)))
    return free


def _kilobytes(lines: Iterable[str], name: str) -> int:
    """Return what a line says, in bytes."""
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def _groups() -> Iterator[tuple[Path, str, str]]:
    """Yield the control groups that this process is in: folder, and files of limit and usage."""
    root = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds and "memory" not in kinds.split(","):
                continue
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            base = root / "memory" if kinds else root
            folder = base / path.lstrip("/")
            for each in (folder, *folder.parents):
                if each.is_relative_to(base):
                    yield (each, *(names if kinds else ("memory.max", "memory.current")))


def readable(count: int) -> str:
    """Return a number of bytes as messages have it."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} PiB"
