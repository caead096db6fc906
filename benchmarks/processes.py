"""Processes of their own for what peers.py measures: on one core or all, one after another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TypeVar

HERE = Path(__file__).resolve().parent
MODES = ("one", "all")
SECONDS_AT_MOST = 900
LIBRARY_VARIABLES = ("OMP", "MKL", "OPENBLAS", "VECLIB_MAXIMUM")

Entrant = TypeVar("Entrant")
Result = TypeVar("Result")


class ChildFailed(Exception):
    """A child process ended with an error; the message is the last line that it wrote of it."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_count(mode: str) -> int | None:
    """Return the threads that a mode allows: "one", "all" (None) or a number.

    >>> thread_count("one"), thread_count("all"), thread_count("4")
    (1, None, 4)
    """
    return None if mode == "all" else 1 if mode == "one" else int(mode)


@contextmanager
def threads(mode: str) -> Iterator[dict[str, str]]:
    """Give the environment in which a child, started within, has so many threads.

    One thread is one core too, where the system can say so, and two are two: what a library starts
    beside them counts.
    """
    environment = dict(os.environ)
    count = thread_count(mode)
    if count is None:
        yield environment
        return
    for library in LIBRARY_VARIABLES:
        environment[f"{library}_NUM_THREADS"] = str(count)
    for kind in ("INTRAOP", "INTEROP"):
        environment[f"TF_NUM_{kind}_THREADS"] = str(count)
    if count == 1:
        flags = environment.get("XLA_FLAGS", "")
        environment["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    if not hasattr(os, "sched_setaffinity"):
        yield environment
        return
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(mine)[-count:]))
    try:
        yield environment
    finally:
        os.sched_setaffinity(0, mine)


def run_python(
    arguments: Sequence[str], mode: str = "all", at_most: float | None = SECONDS_AT_MOST
) -> tuple[str, float]:
    """Run this Python with the arguments; return what it prints and the seconds of the process.

    Parameters
    ----------
    at_most
        Seconds by the clock of the wall after which it is ended; None: it takes as long as it does.

    Raises
    ------
    ChildFailed
        It ended with an error, or did not end in time.
    """
    with threads(mode) as environment:
        start = perf_counter()
        try:
            child = subprocess.run(
                [sys.executable, *arguments],
                env=environment,
                capture_output=True,
                text=True,
                timeout=at_most,
            )
        except subprocess.TimeoutExpired as error:
            raise ChildFailed(f"not done after {at_most:g} s") from error
        seconds = perf_counter() - start
    if child.returncode:
        lines = child.stderr.strip().splitlines() or [f"exit status {child.returncode}"]
        raise ChildFailed(lines[-1])
    return child.stdout, seconds


def in_turns(
    entrants: Sequence[Entrant],
    rounds: int,
    run: Callable[[Entrant], Result],
    hopeless: Callable[[dict[Entrant, list[Result]], Entrant], bool] | None = None,
) -> tuple[dict[Entrant, list[Result]], dict[Entrant, str]]:
    """Run the entrants in turns, `rounds` times; return the results of each, and who failed, how.

    Whatever else the machine does then meets all of them alike. The order turns around from round
    to round. Who failed, or is `hopeless` after a round, does not run again.
    """
    results: dict[Entrant, list[Result]] = {entrant: [] for entrant in entrants}
    failures: dict[Entrant, str] = {}
    running = list(entrants)
    for _ in range(rounds):
        for entrant in running:
            try:
                results[entrant].append(run(entrant))
            except ChildFailed as failure:
                failures[entrant] = str(failure)
        running = [entrant for entrant in reversed(running) if entrant not in failures]
        if hopeless is not None:
            running = [entrant for entrant in running if not hopeless(results, entrant)]
    return results, failures
