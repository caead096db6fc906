"""Tasks side by side: their results in order, their errors, and an end to all of them."""

import threading
import time

import pytest

from fastnn.threads.processors import available_threads
from fastnn.threads.tasks import run_tasks


@pytest.mark.parametrize("workers", [1, 2, 3, 50])
def test_results_come_in_the_order_of_the_tasks(workers):
    def task(index, check):
        time.sleep(0.001 * (index % 3))
        return index**2

    assert run_tasks(task, 10, workers, lambda: None) == [index**2 for index in range(10)]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_ends_the_others_and_comes_out(workers):
    ended = []

    def task(index, check):
        if index == 1:
            raise ValueError("mine")
        for _ in range(100_000 if workers > 1 else 1):
            check()
            time.sleep(0.001)
        ended.append(index)

    with pytest.raises(ValueError, match="mine"):
        run_tasks(task, 5, workers, lambda: None)
    assert ended == ([0] if workers == 1 else [])


def test_tasks_run_side_by_side_in_threads_that_end():
    meeting = threading.Barrier(2)
    run_tasks(lambda index, check: meeting.wait(10), 2, 2, lambda: None)
    assert not [each for each in threading.enumerate() if each.name.startswith("fastnn-worker")]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_tick_raises_ends_all(workers):
    def tick():
        raise KeyboardInterrupt

    def task(index, check):
        while True:
            check()
            time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt):
        run_tasks(task, 2, workers, tick)


def test_there_is_at_least_one_processor():
    assert available_threads() >= 1
