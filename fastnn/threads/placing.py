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


def own_processors() -> list[int]:
    """Return those that this thread may run on, or none where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def place(thread: int, processors: Collection[int]) -> None:
    """Let a thread, by its system's number or 0 for this one, run on some processors alone."""
    if processors:
        try:
            os.sched_setaffinity(thread, processors)
        except OSError:  # it has ended, or the processors are gone: it is where it was
            pass
