"""Ctrl-C while Numba is imported and kernels are loaded or compiled for the first time."""

from __future__ import annotations

import subprocess
import time
from typing import Any

from fault_table import Count, command, environment, in_child, part

import fastnn


def first_fit(target: str, moment: float) -> Any:
    """Interrupt the first fit of this process; the next ones train."""
    from interrupts import interrupted
    from small import LABELS, X, bits, trainer_of

    assert fastnn.__version__
    broken: list[str] = []
    for seconds in (moment, moment / 2):
        trainer = trainer_of(target=target)
        interrupted(lambda trainer=trainer: trainer.fit(X, LABELS, epochs=1), seconds, False)
    trainers = [trainer_of(target=target) for _ in range(2)]
    for trainer in trainers:
        trainer.fit(X, LABELS, epochs=2)
    if bits(trainers[0]) != bits(trainers[1]):
        broken.append("two trainers came to different bits")
    return 1, broken


@part("Ctrl-C in the first fit of a process", 3, 64)
def _first_fit(tries: int) -> Count:
    count = Count()
    for number in range(tries):
        # Beyond the import, which takes half a second or so, kernels are loaded.
        in_child(count, first_fit, "cpu", 2.0 * (number + 0.5) / tries)
    return count


def first_minimize(moment: float) -> Any:
    """Interrupt the first minimisation of this process; the next one comes to its end."""
    from interrupts import interrupted
    from small import LABELS, X, trainer_of

    from fastnn.graph import exp, minimize

    def go() -> Any:
        return minimize(lambda x, y: (x - 1) ** 2 + exp(y) - y, [0.5, 1.0], steps=2000)

    for seconds in (moment, moment / 2):
        interrupted(go, seconds, False)
    broken = [] if abs(go().x - [1, 0]).max() < 1e-3 else ["it came to another point"]
    trainer_of().fit(X, LABELS, epochs=1)
    return 1, broken


@part("Ctrl-C in the first minimize of a process", 3, 64)
def _first_minimize(tries: int) -> Count:
    count = Count()
    for number in range(tries):
        in_child(count, first_minimize, 1.0 * (number + 0.5) / tries)
    return count


def long_epoch() -> Any:
    """End the program while a daemon thread is in an epoch of a minute."""
    import threading

    import numpy as np
    from small import LABELS, X, trainer_of

    trainer = trainer_of(threads=2)
    trainer.fit(X, LABELS, epochs=1)
    many = 40_000_000
    wide = np.broadcast_to(X[:1], (many, 20))
    thread = threading.Thread(target=trainer.fit, args=(wide, np.zeros(many, np.int64), 1))
    thread.daemon = True
    thread.start()
    time.sleep(3.0)
    return time.time(), trainer.epoch


@part("the end of a program in a long epoch", 1, 10)
def _long_epoch(tries: int) -> Count:
    count = Count()
    for _ in range(tries):
        done = subprocess.run(
            command(long_epoch),
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        ended = time.time()
        if done.returncode or done.stderr:
            count.add(1, [f"exit code {done.returncode}\n{done.stderr}"])
            continue
        begun, epoch = eval(done.stdout)
        late = ended - begun > 2.0 or epoch != 1
        count.add(1, [f"the end took {ended - begun:.1f} s, epoch {epoch}"] * late)
    return count
