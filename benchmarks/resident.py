"""Resident memory of this process, now and at its peak, in bytes."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def now() -> int:
    """Return the resident memory."""
    return _from_status("VmRSS") if STATUS.exists() else peak()


def peak() -> int:
    """Return the most resident memory so far, since `forget_peak` where the system can do that.

    On Linux it is the kernel's high-water mark: getrusage's ru_maxrss starts at what the parent
    process had when it started this one.
    """
    if STATUS.exists():
        return _from_status("VmHWM")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def forget_peak() -> None:
    """Start the high-water mark anew (Linux); elsewhere a former peak can hide a later one."""
    if os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text("5")


def _from_status(name: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"{STATUS} has no {name}")
