"""A used trainer in a forked child, and in processes that are started in other ways."""

from __future__ import annotations

import copy
import multiprocessing
import os
import signal
import threading
import warnings
from typing import Any

import numpy as np
from fault_table import Count, in_child, part
from small import LABELS, X, bits, trainer_of

from fastnn import Trainer

SECONDS = 20  # that a child may take

trainer: Trainer | None = None  # which the processes of a pool find where they are forked
WIDE = np.tile(X, (20, 1))


def use(own: Trainer) -> list[Any]:
    """Train and predict, and return what came of it."""
    own.fit(X, LABELS, epochs=2)
    return [bits(own), own.forward(WIDE).tobytes().hex()]


def _use_global(number: int) -> list[Any]:
    assert trainer is not None
    return use(trainer)


def in_fork(own: Trainer, expected: list[Any]) -> str:
    """Use a trainer in a forked child; return what went wrong there, or nothing."""
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)  # ends it, and says so
        code = 1
        try:
            code = 0 if use(own) == expected else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        return "hangs in the child"
    return f"code {code} in the child" if code else ""


def forks(threads: int, count: int, busy: bool) -> Any:
    """Fork a used trainer, with or without another one in training meanwhile."""
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, from 3.12 on
    own = trainer_of("deep", threads)
    own.fit(X, LABELS, epochs=1)
    own.forward(WIDE)
    expected, broken = use(copy.copy(own)), []
    ended = False

    def train() -> None:
        other = trainer_of("deep", threads)
        while not ended:
            other.fit(WIDE, np.tile(LABELS, 20), epochs=1)

    thread = threading.Thread(target=train)
    if busy:
        thread.start()
    try:
        for _ in range(count):
            broken += filter(None, [in_fork(own, expected)])
    finally:
        ended = True
        if busy:
            thread.join()
    return count, broken


def forks_of_a_trainer_at_work(threads: int, count: int) -> Any:
    """Fork while another thread trains the very trainer: the child has a whole epoch of it."""
    warnings.simplefilter("ignore", DeprecationWarning)
    own = trainer_of("deep", threads)
    states, broken = [bits(own)], []
    shadow = copy.copy(own)
    for _ in range(400):
        shadow.fit(X, LABELS, epochs=1)
        states.append(bits(shadow))
    thread = threading.Thread(target=own.fit, args=(X, LABELS, 390))
    thread.start()
    for _ in range(count):
        child = os.fork()
        if child == 0:
            signal.alarm(SECONDS)
            code = 1
            try:
                epoch = own.epoch
                if bits(own) != states[epoch]:
                    os._exit(3)
                own.fit(X, LABELS, epochs=2)
                code = 0 if bits(own) == states[epoch + 2] else 2
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            broken.append(f"exit code {code} in a child forked in training")
    thread.join()
    return count, broken


def pools(method: str, processes: int) -> Any:
    """Use a used trainer in the processes of a pool."""
    global trainer
    warnings.simplefilter("ignore", DeprecationWarning)
    trainer = trainer_of("deep", 2)
    trainer.fit(X, LABELS, epochs=1)
    expected = use(copy.copy(trainer))
    broken = []
    context = multiprocessing.get_context(method)
    with context.Pool(processes, maxtasksperchild=1) as pool:
        if method == "fork":
            call = pool.map_async(_use_global, range(processes), 1)
        else:
            call = pool.map_async(use, [trainer] * processes, 1)
        try:
            results = call.get(60)
        except multiprocessing.TimeoutError:
            return processes, [f"a pool by {method} hangs"]
    for found in results:
        if found != expected:
            broken.append(f"other bits in a pool by {method}")
    return processes, broken


@part("a used trainer in a forked child", 8, 60)
def _forks(tries: int) -> Count:
    count = Count()
    for threads, busy in ((2, False), (1, True), (2, True))[: 2 if tries < 20 else 3]:
        in_child(count, forks, threads, -(-tries // 3), busy)
    return count


@part("a fork of a trainer in training", 6, 40)
def _forks_at_work(tries: int) -> Count:
    count = Count()
    for threads in (2,) if tries < 20 else (1, 2):
        in_child(count, forks_of_a_trainer_at_work, threads, tries // 2)
    return count


@part("a used trainer in pools of processes", 2, 10)
def _pools(tries: int) -> Count:
    count = Count()
    for method in ("fork", "forkserver", "spawn"):
        in_child(count, pools, method, tries, seconds=120)
    return count
