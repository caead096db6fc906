"""What compiled code calls in the middle of a step: the sums of gradients over all processes.

A sum of several parts is made by a thread of its own, which does nothing else and holds the lock of
Python's interpreter in no call of MPI: so messages travel while others compute. What MPI begins
without waiting, Iallreduce, does not: MPICH and Open MPI move its messages only inside of calls.
Where there is no processor for that thread, each sum is made where it is begun.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from fastnn.ranks.group import GO_ON
from fastnn.storage.kernels.machine import DISABLE_JIT
from fastnn.targets.cpu.checked import wrote
from fastnn.targets.cpu.plan import KEPT, STATUS, SUM
from fastnn.threads.atomic import new_lock

if TYPE_CHECKING:
    from fastnn.ranks.group import Group
    from fastnn.targets.cpu.working_memory import Working

FAILED = 3  # what compiled code gets, beside the answers of `Group.add_up`, and ends the epoch for


class Sums:
    """A function that compiled code has the address of, and the numbers that it adds up.

    These are the parts of the gradient, which the plan keeps. Behind the first part, which is that
    of the last layers, are two more numbers.

    Parameters
    ----------
    group
        The processes.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self._parts: list[np.ndarray] = []
        self._memory = np.zeros(0)
        self._error: BaseException | None = None
        self._lock = new_lock()
        self._begun: SimpleQueue[int | None] | None = None
        self._done: SimpleQueue[tuple[int, int]] = SimpleQueue()
        self._function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(self._sum)

    def over(self, working: Working) -> list[np.ndarray]:
        """Have the function add up what is kept in this memory from now on, and return that."""
        head = working.plan.head
        self._memory, self._error, self._done = working.memory, None, SimpleQueue()
        kept, self._parts = working.memory[head[KEPT] : head[STATUS] + 2], []
        end = len(kept)
        for part in working.plan.parts:
            self._parts.append(kept[part.start : end])
            end = part.start
        head[SUM] = ctypes.cast(self._function, ctypes.c_void_p).value
        if DISABLE_JIT:
            from fastnn.targets.cpu.llvm.function_pointers import registered

            registered[int(head[SUM])] = self._sum
        return self._parts

    @contextmanager
    def overlapping(self, threads: int) -> Iterator[None]:
        """Have a thread of its own make the sums meanwhile, where that pays beside `threads`."""
        if len(self._parts) == 1 or not self.group.has_spare_processor(threads):
            yield
            return
        begun: SimpleQueue[int | None] = SimpleQueue()
        thread = threading.Thread(
            target=self._make, args=(begun, self._done), name="fastnn-sums", daemon=True
        )
        try:
            # Where there are no more threads, sums are made where they are begun.
            with suppress(RuntimeError, MemoryError):
                thread.start()
                self._begun = begun
            yield
        finally:
            # Where Ctrl-C came twice, compiled code may still begin sums: it makes them then.
            with self._lock:
                self._begun = None
                begun.put(None)

    def check(self) -> None:
        """Raise what the function has met, which nothing can be raised in."""
        if self._error is not None:
            raise self._error

    def _sum(self, begins: int, needs: int) -> int:
        """Begin the sum of a part, then wait for that of another; -1: none."""
        code = GO_ON
        try:
            if begins >= 0:
                with self._lock:
                    if self._begun is not None:
                        self._begun.put(begins)
                    else:
                        self._done.put((begins, self._add_up(begins)))
            part = -1
            while part < needs and code == GO_ON:
                part, code = self._done.get()
            if needs >= 0:
                wrote(self._memory)
        except BaseException as error:
            self._error = error
            return FAILED
        return code

    def _add_up(self, part: int) -> int:
        try:
            return self.group.add_up(self._parts[part], part)
        except BaseException as error:
            self._error = error
            return FAILED

    def _make(self, begun: SimpleQueue[int | None], done: SimpleQueue[tuple[int, int]]) -> None:
        """Make sums as they are begun; after a failed one, the error is told in their place."""
        for part in iter(begun.get, None):
            done.put((part, FAILED if self._error is not None else self._add_up(part)))
