"""Ctrl-C at random moments, and again at random moments: nothing crashes, and no bit is wrong."""

from __future__ import annotations

import copy
import os
import random
import signal
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fault_table import Count, in_child, part
from small import LABELS, X, bits, labels_of, trainer_of

from fastnn import Trainer, sweep

EPOCHS = 5
THREADS = (1, 2, None)


def _called(call: Callable[[], Any]) -> None:
    call()


def _raise_inside(number: int, frame: Any) -> None:
    """Raise as Ctrl-C does, but nowhere else than in what `_called` calls."""
    frame = frame.f_back
    while frame is not None:
        if frame.f_code is _called.__code__:
            raise KeyboardInterrupt
        frame = frame.f_back


def interrupted(call: Callable[[], Any], most: float, again: bool) -> bool:
    """Call, and interrupt that within `most` seconds; return whether it came to its end.

    With `again` it is interrupted every now and then from there on, until it gives up; otherwise
    only if it has not after a while, as Python loses what comes in a callback of its own.
    """
    signal.signal(signal.SIGALRM, _raise_inside)
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, most), 3e-4 if again else 1.0)
    try:
        _called(call)
        return True
    except KeyboardInterrupt:
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def fits(seed: int, kind: str, threads: int | None, tries: int, most: float) -> Any:
    """Interrupt training, and train on; what comes out is what comes of training in peace."""
    random.seed(seed)
    y, broken = labels_of(kind), []
    whole = trainer_of(kind, threads)
    expected = []
    for _ in range(EPOCHS + 1):
        expected.append(bits(whole))
        whole.fit(X, y, epochs=1)
    done = 0
    while done < tries:
        trainer = trainer_of(kind, threads)
        while trainer.epoch < EPOCHS and done < tries:
            call = partial(trainer.fit, X, y, epochs=EPOCHS - trainer.epoch)
            done += not interrupted(call, most, done % 4 == 0)
            if bits(trainer) != expected[trainer.epoch]:
                broken.append(f"epoch {trainer.epoch} differs from that without interruption")
    return tries, broken


def predictions(seed: int, kind: str, threads: int | None, tries: int, most: float) -> Any:
    """Interrupt predictions; the next ones are right."""
    random.seed(seed)
    trainer, broken, wide = trainer_of(kind, threads), [], np.tile(X, (100, 1))
    trainer.fit(X, labels_of(kind), epochs=1)
    before, expected = bits(trainer), trainer.forward(wide)
    y = np.tile(labels_of(kind), 100)
    done = 0
    while done < tries:
        call = random.choice(
            [
                lambda: trainer.forward(wide),
                lambda: trainer.predict(wide),
                lambda: trainer.evaluate(wide, y),
            ]
        )
        done += not interrupted(call, most, done % 4 == 0)
        if not np.array_equal(trainer.forward(wide), expected):
            broken.append("outputs after an interruption are wrong")
    if bits(trainer) != before:
        broken.append("predicting changed the trainer")
    return tries, broken


def restarts(seed: int, kind: str, threads: int | None, tries: int, most: float) -> Any:
    """Interrupt several trainings side by side; the trainer is as before, or trained whole."""
    random.seed(seed)
    y, broken = labels_of(kind), []
    trainer = trainer_of(kind, threads)
    before = bits(trainer)
    after = copy.copy(trainer)
    after.fit(X, y, epochs=3, restarts=4)
    allowed = before, bits(after)
    done = 0
    while done < tries:
        own = copy.copy(trainer)
        call = partial(own.fit, X, y, epochs=3, restarts=4)
        done += not interrupted(call, most, done % 4 == 0)
        if bits(own) not in allowed:
            broken.append("neither the trainer before nor the one after")
    return tries, broken


def sweeps(seed: int, kind: str, threads: int | None, tries: int, most: float) -> Any:
    """Interrupt a sweep; the next one gives the same table."""
    random.seed(seed)
    trainer, y, broken = trainer_of(kind), labels_of(kind), []

    def table() -> list[float | None]:
        rows = sweep(trainer, X, y, 2, grid={"batch_size": [16, 64]}, seeds=2, workers=threads)
        return [row.training_loss for row in rows]

    expected, done = table(), 0
    while done < tries:
        done += not interrupted(table, most, done % 4 == 0)
        if done % 10 == 0 and table() != expected:
            broken.append("another table after an interruption")
    return tries, broken


def saves(seed: int, kind: str, threads: int | None, tries: int, most: float) -> Any:
    """Interrupt a save; the file has one state or the other."""
    random.seed(seed)
    y, broken = labels_of(kind), []
    one, two = trainer_of(kind, threads), trainer_of(kind, threads)
    one.fit(X, y, epochs=1)
    two.fit(X, y, epochs=2)
    allowed = bits(one), bits(two)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        one.save(path)
        done = 0
        while done < tries:
            own = random.choice((one, two))
            done += not interrupted(partial(own.save, path), most, done % 4 == 0)
            if bits(Trainer.load(path)) not in allowed:
                broken.append("the file has neither state")
        if not os.path.exists(path):
            broken.append("the file is gone")
    return tries, broken


# What is interrupted -> within how many seconds.
MOMENTS = {fits: 0.02, predictions: 0.03, restarts: 0.06, sweeps: 0.06, saves: 0.003}


def _count(function: Callable[..., Any], tries: int) -> Count:
    count = Count()
    cases = [(kind, threads) for kind in ("deep", "linear") for threads in THREADS]
    if tries < 100:  # a process takes a second to start
        cases = [("deep", 2), ("linear", 1)]
    for seed, (kind, threads) in enumerate(cases):
        own = -(-tries // len(cases))
        in_child(count, function, seed, kind, threads, own, MOMENTS[function])
    return count


@part("Ctrl-C in fit", 40, 500)
def _fits(tries: int) -> Count:
    return _count(fits, tries)


@part("Ctrl-C in predict, evaluate, forward", 20, 500)
def _predictions(tries: int) -> Count:
    return _count(predictions, tries)


@part("Ctrl-C in restarts", 12, 500)
def _restarts(tries: int) -> Count:
    return _count(restarts, tries)


@part("Ctrl-C in sweep", 12, 500)
def _sweeps(tries: int) -> Count:
    return _count(sweeps, tries)


@part("Ctrl-C in save", 20, 500)
def _saves(tries: int) -> Count:
    return _count(saves, tries)


def new_trainers(seed: int, tries: int) -> Any:
    """Interrupt a loop that makes, trains and uses one trainer after another, and goes on."""
    random.seed(seed)
    expected = []
    for threads in (1, 2):
        trainer = trainer_of("deep", threads)
        trainer.fit(X, LABELS, epochs=EPOCHS)
        expected.append(bits(trainer))
    kept, broken, done = [], [], 0

    def loop() -> None:
        while True:
            for threads in (1, 2):
                trainer = trainer_of("deep", threads)
                kept[:] = [trainer]
                trainer.fit(X, LABELS, epochs=EPOCHS)
                trainer.predict(X)
                if bits(trainer) not in expected:
                    broken.append("training after an interruption came to other bits")

    while done < tries:
        done += not interrupted(loop, 0.2, done % 4 == 0)
    return tries, broken


@part("Ctrl-C in a loop of new trainers", 20, 500)
def _new_trainers(tries: int) -> Count:
    count = Count()
    children = 1 if tries < 100 else 5
    for seed in range(children):
        in_child(count, new_trainers, seed, -(-tries // children))
    return count
