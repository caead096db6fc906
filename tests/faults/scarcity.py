"""Threads that cannot be started, memory that is not there, and neither growing."""

from __future__ import annotations

import gc
import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from fault_table import Count, in_child, one_child, part
from small import LABELS, X, bits, trainer_of

from fastnn.threads.pool import IDLE_SECONDS

NOBODY = 54321  # a user that has no other process
WIDE = np.tile(X, (50, 1))


def _status(name: str) -> int:
    """Return a number of /proc/self/status: kilobytes, or a count."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)


def _pids_root() -> Path | None:
    """Return the folder where a control group that counts threads can be made, or None."""
    for root in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")):
        named = (root / "cgroup.subtree_control").exists()
        counts = root.name == "pids" or (
            named and "pids" in (root / "cgroup.subtree_control").read_text().split()
        )
        if (root / "cgroup.procs").exists() and counts and os.access(root, os.W_OK):
            return root
    return None


PIDS_ROOT = _pids_root()


@contextmanager
def _group_of(tasks: int | None) -> Iterator[None]:
    """Be in a control group of one's own that may start so many threads more; None: in none."""
    if tasks is None:
        yield
        return
    assert PIDS_ROOT is not None
    group = PIDS_ROOT / f"fastnn-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text("0")
        present = int((group / "pids.current").read_text())
        (group / "pids.max").write_text(str(present + tasks))
        yield
    finally:
        (PIDS_ROOT / "cgroup.procs").write_text("0")
        group.rmdir()


def _limited(threads: int, limit: int, room: int, tasks: int | None = None) -> Any:
    """Train under a limit that is set when a trainer has been used, or before; compare."""
    with _group_of(tasks):
        return _train_limited(threads, limit, room)


def _train_limited(threads: int, limit: int, room: int) -> Any:
    y, broken = LABELS, []
    expected = []
    used, calm = trainer_of("deep", threads), trainer_of("deep", threads)
    for _ in range(4):
        expected.append(bits(calm))
        calm.fit(X, y, epochs=1)
    outputs = calm.forward(WIDE)
    used.fit(X, y, epochs=1)
    if limit:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        # Threads of the processes that are there already count too.
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    if room:
        size = _status("VmSize") * 1024 + (room << 20)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    tries = 0
    for trainer in (used, trainer_of("deep", threads), trainer_of("deep", None)):
        tries += 1
        while trainer.epoch < 3:
            before = trainer.epoch
            try:
                trainer.fit(X, y, epochs=1)
            except (MemoryError, RuntimeError):
                break
            finally:
                if bits(trainer) != expected[trainer.epoch]:
                    broken.append(f"epoch {before}: not the bits of training without a limit")
        else:
            trainer.fit(X, y, epochs=1)
            try:
                if not np.array_equal(trainer.forward(WIDE), outputs):
                    broken.append("wrong outputs under a limit")
            except MemoryError:
                pass
    return tries, broken


def few_threads(threads: int, limit: int) -> Any:
    """Train where the user may have so many threads and processes."""
    return _limited(threads, limit, 0)


def few_tasks(threads: int, tasks: int) -> Any:
    """Train where the control group may have so many threads more."""
    return _limited(threads, 0, 0, tasks)


def little_memory(threads: int, room: int) -> Any:
    """Train where the process may grow by so many megabytes."""
    return _limited(threads, 0, room)


@part("too few threads may be started", 2, 20)
def _few_threads(tries: int) -> Count:
    count = Count()
    for limit in range(1, tries + 1):
        in_child(count, few_threads, 2 + limit % 7, limit, seconds=60)
    return count


if PIDS_ROOT is not None:  # who may make no control group has no such limit to try

    @part("a control group with too few threads", 2, 100)
    def _few_tasks(tries: int) -> Count:
        count = Count()
        for tasks in range(tries):
            in_child(count, few_tasks, 2 + tasks % 7, tasks // 2 % 20, seconds=60)
        return count


@part("too little memory", 2, 40)
def _little_memory(tries: int) -> Count:
    count = Count()
    for room in np.geomspace(5, 200, tries).astype(int).tolist():
        in_child(count, little_memory, 2 + room % 3, room, seconds=60)
    return count


def growth(epochs: int, trainers: int) -> Any:
    """Do many epochs and make many trainers; neither memory nor threads grow."""
    broken, kept = [], []
    trainer = trainer_of("deep", 2)
    few = X[:64], LABELS[:64]

    def use(count: int) -> None:
        for _ in range(count):
            own = trainer_of("deep", 2)
            own.fit(*few, epochs=1)
            own.predict(X)
            kept.append(own.parameters[0][0][:1, :1].copy())

    trainer.fit(*few, epochs=epochs // 4)
    use(trainers // 4)
    gc.collect()
    before = _status("VmRSS")
    trainer.fit(*few, epochs=epochs)
    use(trainers)
    gc.collect()
    grown = _status("VmRSS") - before
    # The history and what is kept above is all: a few hundred bytes each.
    if grown > 4096 + (epochs + trainers) // 2:
        broken.append(f"memory grew by {grown} kB")
    held = [trainer_of("deep", 2) for _ in range(50)]
    for own in held:
        own.fit(*few, epochs=1)
    time.sleep(1.5 * IDLE_SECONDS)  # when those that found no more work have ended
    found = len(os.listdir("/proc/self/task"))
    most = 8 + (os.cpu_count() or 1)  # those of other libraries too
    if found > most:
        broken.append(f"{found} threads for 50 trainers that are kept")
    gone = threading.Event()
    gone.wait(3.0)
    left = len(os.listdir("/proc/self/task"))
    if left > most - 4:
        broken.append(f"{left} threads are left after a while")
    return epochs + trainers, broken


@part("growth over epochs and trainers", 300, 6000)
def _growth(tries: int) -> Count:
    return one_child(growth, 2 * tries // 3, tries // 3, seconds=600)
