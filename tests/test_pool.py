"""The threads of the process: they share work, are done without, and are given back."""

import gc
import os
import threading
import time
import weakref

import pytest

from fastnn.threads import pool
from fastnn.threads.pool import Task, uninterrupted


@pytest.fixture
def no_threads(monkeypatch):
    """Have no thread, and no way to start one."""

    def refuse(function, arguments):
        raise RuntimeError("can't start new thread")

    # A pool of its own: in that of the process, a thread of an earlier test may yet become idle.
    monkeypatch.setattr(pool, "_pool", pool._Pool())
    monkeypatch.setattr(pool, "start_new_thread", refuse)


def test_every_seat_has_a_thread_of_its_own():
    meeting, threads = threading.Barrier(3), []

    def work(seat):
        threads.append((seat, threading.get_ident()))
        meeting.wait(10)

    Task(work, 3).run()
    assert sorted(seat for seat, _ in threads) == [0, 1, 2]
    assert len({thread for _, thread in threads}) == 3


def test_what_a_seat_raises_stops_the_others_and_comes_out():
    stop = threading.Event()

    def work(seat):
        if seat == 0:
            raise ValueError("mine")
        stop.wait(10)

    with pytest.raises(ValueError, match="mine"):
        Task(work, 2, stop.set).run()
    assert stop.is_set()


def test_without_threads_the_work_is_done_in_that_of_the_caller(no_threads):
    done = []
    Task(lambda seat: done.append((seat, threading.get_ident())), 4).run()
    assert done == [(0, threading.get_ident())]


def test_threads_are_used_again_and_leave_after_a_while(monkeypatch):
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.05)
    seen = set()
    for _ in range(20):
        Task(lambda seat: seen.add(threading.get_ident()), 1).run()
    assert len(seen) <= 3
    end = time.monotonic() + 10
    while pool._pool._alive and time.monotonic() < end:
        time.sleep(0.01)
    assert not pool._pool._alive and not pool._pool._idle


@pytest.fixture
def new_pool(monkeypatch):
    """Return a pool without threads, which takes the place of that of the process."""
    monkeypatch.setattr(pool, "_pool", pool._Pool())
    return pool._pool


def test_idle_threads_beyond_the_processors_leave_soon(new_pool, monkeypatch):
    monkeypatch.setattr(pool, "IDLE_SECONDS", 60.0)
    monkeypatch.setattr(pool, "MOST_IDLE", 1)
    meeting = threading.Barrier(4)
    Task(lambda seat: meeting.wait(10) and None, 4).run()
    end = time.monotonic() + 10
    while len(new_pool._alive) > 1 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(new_pool._alive) == len(new_pool._idle) == 1
    new_pool.end()
    assert not new_pool._alive


@pytest.mark.parametrize("seconds", [0.0, 1e-4])
def test_a_task_is_never_sent_to_a_thread_that_leaves(seconds, new_pool, monkeypatch):
    """All threads leave as soon as they are free, which is when the next task takes them."""
    monkeypatch.setattr(pool, "MOST_IDLE", 0)
    monkeypatch.setattr(pool, "CROWDED_SECONDS", seconds)
    monkeypatch.setattr(pool, "IDLE_SECONDS", 60.0)  # what waits for a thread in vain would show
    done = []

    def run():
        for _ in range(300):
            Task(done.append, 2).run()

    threads = [threading.Thread(target=run) for _ in range(6)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) >= 6 * 300 and time.monotonic() - start < 30


def test_a_thread_that_waits_keeps_nothing_of_its_last_task():
    class Memory:
        pass

    memory = Memory()
    gone = weakref.ref(memory)
    Task(lambda seat, memory=memory: None, 2).run()
    del memory
    end = time.monotonic() + 10
    while gone() is not None and time.monotonic() < end:
        time.sleep(0.001)
        gc.collect()
    assert gone() is None


def test_a_task_that_was_left_behind_keeps_its_memory_until_it_is_settled():
    class Memory:
        pass

    memory, stop, started = Memory(), threading.Event(), threading.Event()
    alive = weakref.ref(memory)

    def work(seat, memory=memory):
        started.set()
        stop.wait(10)

    def interrupt():
        raise KeyboardInterrupt

    task = Task(work, 1, stop.set)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pool, "TICK_SECONDS", 0.01)
        task.run(interrupt)
    del memory, work
    assert started.wait(10) and alive() is not None and not stop.is_set()
    task.settle()
    assert stop.is_set() and task._is_over()


def test_a_task_is_begun_by_nobody_after_it_was_settled():
    done = []
    task = Task(done.append, 2)
    task.settle()
    task.run()
    time.sleep(0.05)
    assert done == []


@pytest.mark.parametrize("kind", ["in the pool", "where no thread can be started"])
def test_what_must_not_be_interrupted_returns_and_raises(kind, request):
    if kind != "in the pool":
        request.getfixturevalue("no_threads")
    assert uninterrupted(lambda: 7) == 7
    with pytest.raises(KeyError):
        uninterrupted(dict().popitem)


def test_a_thread_that_comes_too_late_leaves_the_work_to_the_caller(monkeypatch):
    late, done = [], []
    monkeypatch.setattr(pool._pool, "start", lambda task, seats: bool(late.append(task)))
    task = Task(done.append, 2)
    task._at_work = 1  # it has not looked yet whether the task is closed

    def leave():
        time.sleep(0.05)
        task._at_work = 0

    thread = threading.Thread(target=leave)
    thread.start()
    task.run()
    thread.join()
    task.take_seat()
    assert late == [task] and done == [0]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system places threads alone")
def test_a_team_that_fills_the_machine_begins_on_a_processor_each_and_is_free_then(monkeypatch):
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        pytest.skip("there is one processor")
    monkeypatch.setattr(pool, "_pool", pool._Pool())
    places, free, meeting = [], [], threading.Barrier(len(mine))
    system = os.sched_setaffinity

    def watched(thread, processors):
        places.append((thread, *processors))
        system(thread, processors)

    monkeypatch.setattr(os, "sched_setaffinity", watched)

    def work(seat):
        free.append((threading.get_native_id(), sorted(os.sched_getaffinity(0))))
        meeting.wait(10)

    for number in range(3):  # threads that are started, and those that are woken again
        Task(work, len(mine)).run()
        threads = {thread for thread, _ in free}
        assert [processors for _, processors in free] == [mine] * len(mine)
        single = [place for place in places if len(place) == 2]
        assert sorted(processor for _, processor in single) == mine
        if number:
            assert {thread for thread, _ in single} == threads
        free.clear(), places.clear()
    Task(lambda seat: None, 1).run()
    assert [processors for _, *processors in places] == [mine]  # none is woken on one


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system places threads alone")
def test_a_thread_that_comes_late_is_free_too_and_so_is_one_of_a_caller_with_fewer_processors():
    mine = os.sched_getaffinity(0)
    seen = []
    for _ in range(20):  # one seat leaves nothing to begin, perhaps before the other is taken
        Task(lambda seat: seen.append(os.sched_getaffinity(0)), len(mine)).run()
    Task(lambda seat: seen.append(os.sched_getaffinity(0)), 1).run()
    assert seen and all(each == mine for each in seen)
    try:
        os.sched_setaffinity(0, {min(mine)})
        Task(lambda seat: None, 2).run()
    finally:
        os.sched_setaffinity(0, mine)
