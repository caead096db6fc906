"""One trainer, or several, from several threads of the caller at once."""

from __future__ import annotations

import copy
import pickle
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fault_table import Count, in_child, one_child, part
from small import LABELS, X, bits, labels_of, trainer_of

from fastnn import FastnnError, Trainer


def side_by_side(calls: list[Callable[[], None]]) -> None:
    """Make calls, each in a thread of its own, and wait for all."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def own_trainers(fits: int) -> Any:
    """Eight threads train trainers of their own."""
    expected = {}
    for kind in ("deep", "linear"):
        for threads in (1, 2):
            trainer = trainer_of(kind, threads)
            trainer.fit(X, labels_of(kind), epochs=2)
            expected[kind, threads] = bits(trainer)
    broken: list[str] = []

    def work(number: int) -> None:
        kind, threads = ("deep", "linear")[number % 2], 1 + number // 2 % 2
        for _ in range(fits):
            trainer = trainer_of(kind, threads)
            trainer.fit(X, labels_of(kind), epochs=2)
            if bits(trainer) != expected[kind, threads]:
                broken.append(f"{kind}, {threads} threads: other bits beside other trainers")

    side_by_side([lambda number=number: work(number) for number in range(8)])
    return 8 * fits, broken


def one_trainer(tries: int) -> Any:
    """Four threads fit one trainer: each trains, or gets an error, and no epoch is lost."""
    whole, broken = trainer_of("deep", 2), []
    expected = []
    for _ in range(4 * 3 + 1):
        expected.append(bits(whole))
        whole.fit(X, LABELS, epochs=1)
    for _ in range(tries):
        trainer, done = trainer_of("deep", 2), []
        trainer.fit(X, LABELS, epochs=0)

        def fit(trainer: Trainer = trainer, done: list[int] = done) -> None:
            try:
                trainer.fit(X, LABELS, epochs=3)
                done.append(3)
            except FastnnError:
                pass

        side_by_side([fit] * 4)
        if not done or trainer.epoch != sum(done) or bits(trainer) != expected[trainer.epoch]:
            broken.append(f"{len(done)} fits of 3 epochs came to {trainer.epoch} epochs")

        def again(own: Trainer, history: Any) -> None:
            own.fit(X, LABELS, epochs=1)

        try:
            trainer.fit(X, LABELS, epochs=1, callbacks=again)
            broken.append("a fit inside of a fit")
        except FastnnError:
            pass
        trainer.fit(X, LABELS, epochs=0)
    return tries, broken


def copies(tries: int, threads: int) -> Any:
    """Copy, pickle, save and predict while another thread trains: always some whole epoch."""
    few = X[:400], LABELS[:400]
    trainer, broken = trainer_of("deep", threads), []
    shadow, states, outputs = copy.copy(trainer), [], []
    for _ in range(600):
        states.append(bits(shadow))
        outputs.append(shadow.forward(X[:50]).tobytes())
        shadow.fit(*few, epochs=1)
    thread = threading.Thread(target=trainer.fit, args=(*few, 599))
    thread.start()
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        while thread.is_alive() or not done:
            trainer.save(path)
            found = [copy.copy(trainer), pickle.loads(pickle.dumps(trainer)), Trainer.load(path)]
            for own in found:
                done += 1
                if bits(own) != states[own.epoch]:
                    broken.append(f"a copy in epoch {own.epoch} is torn")
            if trainer.forward(X[:50]).tobytes() not in outputs:
                broken.append("a prediction is of no whole epoch")
    thread.join()
    if bits(trainer) != states[trainer.epoch]:
        broken.append("copying changed what was trained")
    return done, broken


def labels(tries: int) -> Any:
    """Change labels in place while they are trained on."""
    broken = []
    for number in range(tries):
        trainer, y = trainer_of("deep", 1 + number % 2), np.tile(LABELS, 20)
        ended = threading.Event()

        def spoil(y: np.ndarray = y, ended: threading.Event = ended) -> None:
            while not ended.wait(1e-4):
                y[:] = 10**9 if y[0] != 10**9 else -(10**15)

        thread = threading.Thread(target=spoil)

        def begin(own: Trainer, history: Any, thread: threading.Thread = thread) -> None:
            if not thread.is_alive():
                thread.start()

        try:
            trainer.fit(np.tile(X, (20, 1)), y, epochs=6, callbacks=begin)
        except FastnnError:
            pass
        ended.set()
        thread.join()
        if not np.isfinite(trainer.forward(X)).all():
            broken.append("labels changed in place made the network useless")
    return tries, broken


@part("eight threads with trainers of their own", 16, 160)
def _own_trainers(tries: int) -> Count:
    return one_child(own_trainers, tries // 8)


@part("four fits of one trainer at once", 4, 50)
def _one_trainer(tries: int) -> Count:
    return one_child(one_trainer, tries)


@part("copies while it trains", 1, 10)
def _copies(tries: int) -> Count:
    count = Count()
    for number in range(tries):
        in_child(count, copies, tries, 1 + number % 2)
    return count


@part("labels changed in place in fit", 2, 20)
def _labels(tries: int) -> Count:
    return one_child(labels, tries)
