"""Ranks that are threads of one process, with the calls of mpi4py that fastnn makes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

IN_PLACE = object()
SECONDS = 30.0  # what a test may wait for a rank that never comes


class Together:
    """What the ranks meet at."""

    def __init__(self, size: int) -> None:
        self.barrier, self.given = threading.Barrier(size, timeout=SECONDS), [None] * size


class Ranks:
    """The communicator of one rank."""

    def __init__(self, together: Together, rank: int) -> None:
        self._together, self._rank = together, rank

    def Get_rank(self) -> int:
        """Return the number of this one."""
        return self._rank

    def Get_size(self) -> int:
        """Return how many there are."""
        return len(self._together.given)

    def allgather(self, value: Any) -> list[Any]:
        """Return what each of them gives, in their order."""
        return self._meet("allgather", value)

    def Allreduce(self, send: Any, buffer: np.ndarray) -> None:
        """Replace an array by the sum of those of all, added in the order of ranks."""
        assert send is IN_PLACE
        total = sum(self._meet("Allreduce", buffer.copy()))
        buffer[:] = total

    def _meet(self, call: str, value: Any) -> list[Any]:
        """Return what all have given; all have to make the same call."""
        together = self._together
        together.given[self._rank] = (call, value)
        together.barrier.wait()
        given = list(together.given)
        together.barrier.wait()
        assert {each[0] for each in given} == {call}, "MPI would hang: ranks make other calls"
        return [each[1] for each in given]


def run_ranks(size: int, work: Callable[[Ranks], Any]) -> list[Any]:
    """Return what `work` returns on each rank, or the error that it raises there."""
    together, found = Together(size), [None] * size

    def of_rank(rank: int) -> None:
        try:
            found[rank] = work(Ranks(together, rank))
        except BaseException as error:  # what is raised is what is tested
            found[rank] = error
            if isinstance(error, (AssertionError, threading.BrokenBarrierError)):
                together.barrier.abort()

    threads = [threading.Thread(target=of_rank, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
