"""The threads of this process that compiled code runs on, shared by all that asks for some.

Who owns what a thread works on: a `Task` holds all of it, and every thread at work holds the task.
So memory that compiled code may still touch is alive whatever is raised wherever in the thread that
waits, and whoever needs the memory for something else asks the task, before, to come to an end.

Threads are started when there is work for them, wait for more of it for a while, and end. A thread
that cannot be started is done without: one that waits for work that nobody does, does it. Python
does not know these threads, so its end does not wait for them; what they are at is stopped then.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from _thread import allocate_lock, start_new_thread
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

from fastnn.threads.placing import own_processors, place

TICK_SECONDS = 0.2
IDLE_SECONDS = 2.0  # how long a thread waits for more work
# A thread that finds more of them idle than there are processors waits for this long only: not for
# nothing, since the next epoch of a short training comes soon and should not have to start threads.
MOST_IDLE, CROWDED_SECONDS = os.cpu_count() or 1, 0.1
END_SECONDS = 2.0  # how long the end of the program waits for threads to stop

Result = TypeVar("Result")


class Task:
    """Work that threads share: each takes a seat, and leaves it when nothing is left to begin.

    Parameters
    ----------
    work
        Called with the number of a seat, from 0, in a thread of its own; holds all that it works
        on. It has to do all of the work whether other seats are taken or not, and returns when no
        more of it is to be begun.
    seats
        How many threads may take part, at least 1.
    stop
        Makes `work` return soon, in all seats. May be called more than once, from any thread.

    Attributes
    ----------
    error
        What `work` raised first, or None.
    stopped
        Whether it was told to stop.
    processors
        Where its threads may run once they do: those of who has it begun.
    """

    def __init__(
        self, work: Callable[[int], None], seats: int, stop: Callable[[], None] = lambda: None
    ) -> None:
        self._work, self._seats, self._stop = work, seats, stop
        self.error: BaseException | None = None
        self.stopped = False
        self.processors: Collection[int] = ()
        # The lock is for the threads at work alone: nobody raises an interruption in those.
        self._lock, self._over = allocate_lock(), allocate_lock()
        self._over.acquire()
        self._taken = self._at_work = 0
        self._closed = False
        self._forks = _pool.forks

    def run(self, tick: Callable[[], None] = lambda: None) -> None:
        """Do the work, and return when it is done; `tick` is called a few times a second.

        What interrupts this may leave threads at work: call `settle` before touching what they
        work on.

        Raises
        ------
        BaseException
            What `work` or `tick` raised. SystemExit where the program ended meanwhile.
        """
        if not _pool.start(self, self._seats):
            self._run_here()
        while not self._wait(TICK_SECONDS):
            if self._taken:
                tick()
            elif not _pool.start(self, 1):  # who was to begin it may have been interrupted
                self._run_here()
        if self.error is not None:
            raise self.error
        if self.stopped and _pool.ending:
            raise SystemExit  # which ends the thread that asked, and says nothing

    def begin(self) -> None:
        """Have threads do the work meanwhile, to be waited for by `join` or ended by `settle`.

        Where there are none, all of it is done here.
        """
        if not _pool.start(self, self._seats):
            self._run_here()

    def join(self, tick: Callable[[], None] = lambda: None) -> None:
        """Wait until what `begin` has begun is done; `tick` is called a few times a second."""
        while not self._wait(TICK_SECONDS):
            tick()

    def settle(self) -> None:
        """Stop, and wait until no thread is at work any more; none will be from then on."""
        self.stop()
        self._closed = True
        while not self._wait(TICK_SECONDS):
            pass

    def stop(self) -> None:
        """Tell all that are at work to stop; may be called from any thread."""
        self.stopped = True
        self._stop()

    def take_seat(self, free: Callable[[], None] = lambda: None) -> None:
        """Take part, if there is a seat left; for the threads of the pool.

        `free` is called before anyone can know that the work is done, so that what follows at once
        finds this thread free.
        """
        place(0, self.processors)
        with self._lock:
            # First of all, so that who closes the task either sees this thread or is seen by it.
            self._at_work += 1
            seat, closed = self._taken, self._closed or self._taken == self._seats
            self._taken += not closed
        try:
            if not closed:
                self._work(seat)
        except BaseException as error:
            self.error = self.error or error
            self.stop()
        finally:
            with self._lock:
                free()
                self._closed = self._closed or not closed  # this thread left nothing to begin
                self._at_work -= 1
                if self._closed and not self._at_work and self._over.locked():
                    self._over.release()

    def _wait(self, seconds: float) -> bool:
        """Return whether nobody is at work and nobody will be, after so long at the most."""
        if not self._is_over():
            self._over.acquire(timeout=seconds)
        return self._is_over()

    def _is_over(self) -> bool:
        return (self._closed and not self._at_work) or self._forks != _pool.forks

    def _run_here(self) -> None:
        """Do all of the work in this thread, unless one of the pool has begun it."""
        self._closed = True
        while self._at_work and not self._taken:  # it finds the task closed, or has not looked yet
            time.sleep(0.0005)
        if not self._taken:
            self._work(0)


class _Pool:
    """Threads that wait for tasks, each at a queue of its own."""

    def __init__(self) -> None:
        self.ending, self.forks = False, 0
        self.forget()

    def forget(self) -> None:
        """Know of no threads: a forked child has none."""
        # All of these change in single calls of C.
        self._idle: deque[SimpleQueue[Task | None]] = deque()
        self._busy: dict[int, Task] = {}
        self._numbers: dict[int, int] = {}  # the system's, of the threads
        self._alive: set[int] = set()

    def start(self, task: Task, seats: int) -> int:
        """Have up to so many threads take seats of a task; return how many there are."""
        processors = task.processors = own_processors()
        fills = 1 < len(processors) <= seats
        for seat in range(seats):
            own = [processors[seat % len(processors)]] if fills else []
            try:
                inbox = self._idle.pop()
            except IndexError:
                if not self._start_thread(task, own):
                    return seat
            else:
                if own and (number := self._numbers.get(id(inbox))):
                    place(number, own)
                inbox.put(task)
        return seats

    def _start_thread(self, task: Task, processors: Collection[int]) -> bool:
        if self.ending:
            return False
        inbox: SimpleQueue[Task | None] = SimpleQueue()
        inbox.put(task)
        try:
            start_new_thread(self._serve, (inbox, processors))
        except (RuntimeError, MemoryError):
            return False
        return True

    def _serve(self, inbox: SimpleQueue[Task | None], processors: Collection[int]) -> None:
        """Do one task after another, in a thread that ends when there is none for a while."""
        place(0, processors)
        me, task = id(inbox), inbox.get()
        self._numbers[me] = threading.get_native_id()
        self._alive.add(me)
        try:
            while task is not None and not self.ending:
                self._busy[me] = task
                task.take_seat(partial(self._idle.append, inbox))
                del self._busy[me]
                task = None  # what it worked on is not kept while this thread waits
                task = self._next(inbox)
        finally:
            self._busy.pop(me, None)
            self._numbers.pop(me, None)
            self._alive.discard(me)

    def _next(self, inbox: SimpleQueue[Task | None]) -> Task | None:
        seconds = IDLE_SECONDS if len(self._idle) <= MOST_IDLE else CROWDED_SECONDS
        try:
            return inbox.get(timeout=seconds)
        except Empty:
            pass
        try:
            self._idle.remove(inbox)
        except ValueError:  # someone has taken this thread, and its task is on the way
            try:
                return inbox.get(timeout=IDLE_SECONDS)
            except Empty:
                pass  # or was interrupted before it had sent one
        return None

    def end(self) -> None:
        """Stop all work, and wait until the threads are gone."""
        self.ending = True
        for task in list(self._busy.values()):
            task.stop()
        end = time.monotonic() + END_SECONDS
        while self._alive and time.monotonic() < end:
            while self._idle:
                self._idle.pop().put(None)
            time.sleep(0.0005)


_pool = _Pool()
atexit.register(_pool.end)


def _forget_in_child() -> None:
    _pool.forks += 1
    _pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def uninterrupted(function: Callable[[], Result]) -> Result:
    """Return ``function()``, which Ctrl-C leaves to go on to its end: it comes out of this alone.

    For what may not be broken off half-way, such as the import of a library: KeyboardInterrupt is
    raised in the main thread, so the function runs in another.
    """
    if threading.get_ident() != threading.main_thread().ident:
        return function()
    results: list[Result] = []
    Task(lambda seat: results.append(function()), 1).run()
    return results[0]
