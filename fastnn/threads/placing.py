"""A processor of its own for each thread of a team that fills the machine, at its begin.

Linux wakes a thread on the processor it slept on, and looks for an idle one less the busier those
are that share a cache: where there are two, as on many virtual machines, hardly ever while a team
of two is at work. So both its threads may be woken on one processor, to take turns on it beside an
idle one until the next balance, 10 to 30 ms later, which is all of a short fit. A thread is
therefore woken on a processor that is given, and freed once it runs: it moves from there as the
system likes.
"""

from __future__ import annotations

import os
from collections.abc import Collection


def processors_of_team(threads: int) -> list[int]:
    """Return the processors of this thread where a team fills them all, else none."""
    if threads < 2 or not hasattr(os, "sched_getaffinity"):
        return []
    processors = sorted(os.sched_getaffinity(0))
    return processors if 1 < len(processors) <= threads else []


def place(thread: int, processors: Collection[int]) -> None:
    """Let a thread, by its system's number or 0 for this one, run on some processors alone."""
    if processors:
        try:
            os.sched_setaffinity(thread, processors)
        except OSError:  # it has ended, or the processors are gone: it is where it was
            pass
