"""A watch over the other processes of a group: where one of them is gone, none waits for ever.

A process that is killed takes part in no collective call any more, and MPI does not tell those that
wait in one. Most launchers end all processes then; where one does not, this does. Processes of one
machine look after each other, once a second; those of other machines are for their network to find.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastnn.ranks.device_sums import adds_on_devices

WATCH_SECONDS = 1.0


def identity() -> tuple[str, str, int, str] | None:
    """Return what tells this process among those of a group; None where nobody could look.

    The system that has started it, the space of its number, that number, and when it began.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        return boot, os.readlink("/proc/self/ns/pid"), os.getpid(), _began(os.getpid())
    except OSError:  # no Linux
        return None


def count_neighbours(every: list[Any], rank: int, size: int) -> int:
    """Return how many processes may run on the processors of one of them, which counts as well.

    `every` has the identity of each and the processors that it may run on.
    """
    mine, processors = every[rank]
    if mine is None:
        return size
    others = {who for who, on in every if who and who[0] == mine[0] and on & processors}
    return len(others)


def number_on_machine(every: list[Any], rank: int) -> int:
    """Return the number of a process among those of its machine, as far as that is known."""
    mine = every[rank][0]
    return sum(mine is None or who is None or who[0] == mine[0] for who, _ in every[:rank])


def processors() -> frozenset[int]:
    """Return the numbers of the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _began(pid: int) -> str:
    """Return when a process began; "" where it is gone, or only waits to be collected."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


@contextmanager
def watching(group: Any) -> Iterator[None]:
    """Watch the other processes of a group meanwhile; where one is gone, end all that are left.

    The group learns which of them share a machine, and its processors; and whether the MPI of all
    adds up arrays on devices.
    """
    mine = identity()
    told = group.exchange((mine, processors(), adds_on_devices(group.communicator)))
    group.on_devices = all(able for *_, able in told)
    every = [each[:2] for each in told]
    group.neighbours = count_neighbours(every, group.rank, group.size)
    group.local_rank = number_on_machine(every, group.rank)
    near = {
        rank: each[2:]
        for rank, (each, _) in enumerate(every)
        if each is not None and mine is not None and each[:2] == mine[:2] and each[2] != mine[2]
    }
    over = threading.Event()

    def watch() -> None:
        gone: set[int] = set()  # when last looked: the end of a program follows that of `fit`
        while not over.wait(WATCH_SECONDS):
            before, gone = gone, {r for r, (pid, began) in near.items() if _began(pid) != began}
            for rank in sorted(before & gone):
                pid = near[rank][0]
                if not over.is_set():
                    print(
                        f"fastnn: rank {rank} (process {pid}) is gone, so that training cannot go "
                        f"on; rank {group.rank} ends",
                        file=sys.stderr,
                        flush=True,
                    )
                    abort = getattr(group.communicator, "Abort", None)
                    if abort is not None:
                        abort(1)
                    os._exit(1)

    thread = threading.Thread(target=watch, name="fastnn-watch", daemon=True)
    if near:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if near:
            thread.join()
