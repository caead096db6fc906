"""Trainings that are killed at random moments and resumed, compared with one that never was.

Run by itself, ``python tests/faults/resuming.py [--long]``, it prints one row a kind of run: what
was done, how many kills, how many failures.
"""

from __future__ import annotations

import csv
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

SHORT, LONG = 2, 30  # kills a kind of run
TARGETS = ("numpy", "cpu")
KINDS = ("momentum", "adam", "diverging")
SECONDS = 240  # a compilation fits in, a hang does not stay
LEFT = 3  # what a run that a signal has ended exits with

# Resumes what is in a folder, or begins it, and prints a digest of all that training has changed.
RUN = """
import sys
import numpy as np
from fastnn import (
    SGD, Adam, CSVLogger, Checkpoint, Dense, Dropout, EarlyStopping, MissingFile, Network,
    ReduceOnPlateau, Trainer,
)
from fastnn.schedules import Cosine, Exponential, WarmUp
from faults.resuming import LEFT, digest_of

folder, target, kind = sys.argv[1:]
random = np.random.default_rng(5)
X = random.normal(size=(3000, 12)).astype(np.float32)
y = (X[:, 0] + 2 * random.normal(size=3000) > 0).astype(int)
SETTINGS = {
    "momentum": {"optimizer": SGD(Cosine(0.2, 3000), 0.9), "l2": 1e-4},
    "adam": {"optimizer": Adam(WarmUp(40, Exponential(0.003, 0.9999))), "threads": 2},
    "diverging": {
        "optimizer": SGD(Exponential(2.0, 1.012)), "on_divergence": "restore", "max_restores": 20
    },
}
hidden = "relu" if kind == "diverging" else "tanh"
try:
    trainer = Trainer.resume(folder)
    epochs = trainer.remaining
except MissingFile:
    layers = [Dense(24, hidden), Dropout(0.2), Dense(2)]
    trainer = Trainer(
        Network(12, layers), batch_size=64, target=target, seed=7, **SETTINGS[kind]
    )
    epochs = 60
trainer._open().prepare()
print("ready", flush=True)
trainer.fit(
    X[:2500], y[:2500], epochs, validation_data=(X[2500:], y[2500:]), callbacks=[
        CSVLogger(f"{folder}/log.csv"),
        ReduceOnPlateau(0.7, patience=2),
        EarlyStopping(patience=25),
        Checkpoint(folder, best="validation_accuracy"),
    ],
)
if trainer.remaining:
    sys.exit(LEFT)
print(digest_of(trainer, folder), flush=True)
"""


def digest_of(trainer, folder: str) -> str:
    """Return a digest of parameters, state, history, log and best file, but for the times."""
    from fastnn import Trainer

    digest = hashlib.sha256()
    best = Trainer.load(f"{folder}/model-best.safetensors")
    for each in (trainer, best):
        model = each.__getstate__()
        history = model.history.to_dict() | {"seconds": len(model.history.seconds)}
        counted = model.epoch, model.step, model.rate_factor, model.remaining, history
        digest.update(repr(counted).encode())
        for layers in (model.parameters, *model.slots):
            for array in (array for layer in layers for array in layer):
                digest.update(array.tobytes())
    with open(f"{folder}/log.csv", encoding="utf-8", newline="") as log:
        rows = [row[:-1] for row in csv.reader(log)]
    digest.update(repr(rows).encode())
    return f"{digest.hexdigest()[:16]} {trainer.epoch} {len(trainer.history)} {len(rows) - 1}"


class Run:
    """A run in a process of its own, made when it is about to train.

    Attributes
    ----------
    output, errors, code
        What it printed then, what it complained of, and what it exited with, once `finish` has been
        called.
    """

    def __init__(self, folder: str, target: str, kind: str) -> None:
        code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})\n{RUN}"
        command = [sys.executable, "-W", "error", "-c", code, folder, target, kind]
        self._stderr = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._stderr, text=True
        )
        self._watch = threading.Timer(SECONDS, self.process.kill)
        self._watch.start()
        self.output, self.errors, self.code = "", "", 0
        if self._read(first=True) != "ready\n":
            self.finish()
            raise RuntimeError(f"the run did not begin:\n{self.errors}")

    def finish(self) -> None:
        """Wait for its end."""
        self.output = self._read()
        self.code = self.process.wait()
        self._watch.cancel()
        with self._stderr:
            self._stderr.seek(0)
            self.errors = self._stderr.read()

    def _read(self, first: bool = False) -> str:
        assert self.process.stdout is not None
        if first:
            return self.process.stdout.readline()
        with self.process.stdout as stdout:
            return stdout.read()


def uninterrupted(target: str, kind: str) -> tuple[str, float]:
    """Return the digest of a run that is left alone, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, target, kind)
        begun = time.monotonic()
        run.finish()
        if run.code:
            raise RuntimeError(f"the run that was left alone failed:\n{run.errors}")
        return run.output, time.monotonic() - begun


def failures_of(target: str, kind: str, how: signal.Signals, kills: int, seed: int = 0) -> int:
    """Kill runs so many times at random moments, and return how many did not end as they should."""
    expected, seconds = uninterrupted(target, kind)
    draw, killed, failures = random.Random(f"{target} {kind} {how} {seed}"), 0, 0
    while killed < kills:
        with tempfile.TemporaryDirectory() as folder:
            done = False
            while not done:
                run = Run(folder, target, kind)
                if killed < kills:
                    time.sleep(draw.uniform(0.0, seconds))
                    run.process.send_signal(how)
                    killed += 1
                run.finish()
                done = run.code not in (-how, LEFT)
            if run.code or run.output != expected:
                failures += 1
                print(f"{expected!r} expected, {run.output!r} found, code {run.code}", run.errors)
    return failures


def rows(long: bool = False) -> Iterator[tuple[str, int, int]]:
    """Yield what was done, how many kills, and how many failures, a kind of run each."""
    kills = LONG if long else SHORT
    for target in TARGETS:
        for kind in KINDS:
            for how in (signal.SIGKILL, signal.SIGTERM):
                failures = failures_of(target, kind, how, kills)
                yield f"resumed after {how.name}, {target}, {kind}", kills, failures


if __name__ == "__main__":
    failed = 0
    for what, count, failures in rows("--long" in sys.argv[1:]):
        print(f"{what:44} {count:6} {failures:4}", flush=True)
        failed += failures
    sys.exit(failed > 0)
