"""Tasks side by side on threads, each in compiled code nearly all of its time."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

TICK_SECONDS = 0.1

Result = TypeVar("Result")


def available_threads() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Stopped(Exception):
    """Ends a task because another one failed, or because of Ctrl-C; never leaves this module."""


def run_tasks(
    task: Callable[[int, Callable[[], None]], Result],
    count: int,
    workers: int,
    tick: Callable[[], None],
) -> list[Result]:
    """Return what ``task(index, check)`` returned for each index below `count`, in order.

    Each of `workers` threads takes the next task when it is done with one; a single one is this
    thread itself.

    Parameters
    ----------
    task
        Calls `check` at least a few times a second and lets out what that raises.
    count, workers
        At least 1.
    tick
        Called a few times a second in this thread.

    Raises
    ------
    Exception
        The first one that a task let out, in the order of the tasks. No task is at work any more
        then, nor after Ctrl-C.
    """
    if min(count, workers) == 1:
        return [task(index, tick) for index in range(count)]
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Stopped

    def run(index: int) -> Result:
        check()
        return task(index, check)

    pool = ThreadPoolExecutor(min(count, workers), "fastnn-worker")
    try:
        futures = [pool.submit(run, index) for index in range(count)]
        while True:
            done, others = wait(futures, TICK_SECONDS, FIRST_EXCEPTION)
            if not others or any(future.exception() is not None for future in done):
                break
            tick()
        tick()
    finally:
        stop.set()  # after an error and after Ctrl-C; otherwise nobody asks any more
        while True:
            # A second Ctrl-C must not leave a thread at work.
            with contextlib.suppress(KeyboardInterrupt):
                pool.shutdown(cancel_futures=True)
                break
    for future in futures:
        error = None if future.cancelled() else future.exception()
        if error is not None and not isinstance(error, Stopped):
            raise error
    return [future.result() for future in futures]
