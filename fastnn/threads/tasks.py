"""Tasks side by side on threads, each in compiled code nearly all of its time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from fastnn.threads.pool import Task

Result = TypeVar("Result")


class Stopped(BaseException):
    """Ends a task because another one failed, or because of Ctrl-C; no error of its own."""


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
        then, nor after Ctrl-C, unless a second one came while the tasks were waited for.
    """
    if min(count, workers) == 1:
        return [task(index, tick) for index in range(count)]
    stop = threading.Event()
    left = iter(range(count))  # each index goes to one thread
    results: dict[int, Result] = {}
    errors: dict[int, BaseException] = {}

    def check() -> None:
        if stop.is_set():
            raise Stopped

    def work(seat: int) -> None:
        for index in left:
            if stop.is_set():
                return
            try:
                results[index] = task(index, check)
            except Stopped:
                return
            except BaseException as error:
                errors[index] = error
                stop.set()
                return

    all_tasks = Task(work, min(count, workers), stop.set)
    try:
        all_tasks.run(tick)
        tick()
    finally:
        all_tasks.settle()
    if errors:
        raise errors[min(errors)]
    return [results[index] for index in range(count)]
