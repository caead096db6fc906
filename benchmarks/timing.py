"""How long a call takes: the shortest of several batches of calls, and rates made of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SECONDS = 0.15  # of one batch
BATCHES = 5


def repeats_for(timed: Callable[[int], float], seconds: float) -> int:
    """Return how many repeats take about so many seconds; ``timed(repeats)`` says what some do."""
    repeats = 1
    while (found := timed(repeats)) < seconds / 4:
        repeats *= 2
    return max(1, int(repeats * seconds / found))


def best_seconds(timed: Callable[[int], float], seconds: float = SECONDS) -> float:
    """Return the seconds of one repeat in the fastest of BATCHES batches of `seconds` each."""
    repeats = repeats_for(timed, seconds)
    return min(timed(repeats) for _ in range(BATCHES)) / repeats


def of_calls(call: Callable[[], object]) -> Callable[[int], float]:
    """Return ``timed(repeats)`` of a function that is called so many times."""

    def timed(repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        return time.perf_counter() - start

    return timed


def of_team(run: Callable[[int, int], None], threads: int) -> Callable[[int], float]:
    """Return ``timed(repeats)`` of run(thread, repeats) on a team of threads."""

    def timed(repeats: int) -> float:
        team = [threading.Thread(target=run, args=(me, repeats)) for me in range(threads)]
        start = time.perf_counter()
        for member in team:
            member.start()
        for member in team:
            member.join()
        return time.perf_counter() - start

    return timed
