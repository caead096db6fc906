"""Whether other programs leave two processors to a team of two threads.

Where as many others want to run as there are processors, each thread of a team is away half of the
time, and nearly always holds a tile then, which the other one waits for: only a quarter of the time
goes by with both. One thread is never waited for, and gets two thirds of a processor beside two
others. So a team that has not got the processor's time it asked for leaves its epochs to one
thread for a while, longer each time. Which threads do what never changes a bit of the results.
"""

from __future__ import annotations

import time
from collections.abc import Callable

ENOUGH = 0.75  # of the time of two processors
SHORT_SECONDS = 5e-3  # after which nothing is known
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 3.2


class Crowding:
    """Decides for one process; races between threads cost a decision, and nothing else.

    >>> crowding = Crowding()
    >>> crowding.wants_one(0.0)
    False
    >>> crowding.saw(2, wall=1.0, processors=1.0, now=1.0)
    >>> crowding.wants_one(1.1), crowding.wants_one(1.3)
    (True, False)
    """

    def __init__(self) -> None:
        self._until, self._pause = 0.0, FIRST_PAUSE

    def wants_one(self, now: float) -> bool:
        """Return whether one thread is to do what begins now."""
        return now < self._until

    def saw(self, threads: int, wall: float, processors: float, now: float) -> None:
        """Learn that so many threads took `wall` seconds, and so many of the processors."""
        if wall < SHORT_SECONDS:
            return
        if threads == 1:
            if processors >= 0.97 * wall:  # perhaps the others are gone
                self._until = min(self._until, now)
        elif processors < ENOUGH * 2 * wall:
            self._until = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        else:
            self._until, self._pause = 0.0, FIRST_PAUSE


CROWDING = Crowding()


def run_two(both: Callable[[], None], one: Callable[[], None]) -> None:
    """Run what two threads do, or one where it gets further, and learn from it."""
    begun, before = time.perf_counter(), time.process_time()
    alone = CROWDING.wants_one(begun)
    (one if alone else both)()
    now = time.perf_counter()
    CROWDING.saw(2 - alone, now - begun, time.process_time() - before, now)
