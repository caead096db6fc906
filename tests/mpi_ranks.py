"""What a test starts several processes of, with mpiexec: the argument says which case."""

import os
import signal
import sys
import threading
import time
import zlib

import numpy as np
from mpi4py import MPI

from fastnn import Dense, Network, Trainer, datasets
from fastnn.ranks.group import Group
from fastnn.targets.cpu import known_plans, parts

WORLD = MPI.COMM_WORLD
X, Y = datasets.digits()
FOR_EVER = 10**7


def trainer(**settings):
    network = Network(64, [Dense(32, "relu"), Dense(10)])
    settings = {"batch_size": 64, "threads": 1, "communicator": WORLD} | settings
    return Trainer(network, **settings)


def cut():
    """Have the gradient summed in parts, while others are computed."""
    parts.PART_BYTES = 1000
    known_plans._KNOWN.clear()  # which are not cut so
    Group.has_spare_processor = lambda group, threads: True


def bits(model):
    return zlib.crc32(b"".join(array.tobytes() for layer in model.parameters for array in layer))


def say(*values):
    sys.stdout.write(" ".join(map(str, (WORLD.rank, *values))) + "\n")
    sys.stdout.flush()


def same():
    """Train twice, with all rows and with own ones; say what it came to."""
    alone = trainer(communicator=None)
    alone.fit(X, Y, 2, progress=False)
    for _ in range(2):
        together = trainer()
        history = together.fit(X, Y, 2, (X[:500], Y[:500]), progress=False)
        near = all(
            np.allclose(a, b, atol=1e-4)
            for ours, theirs in zip(together.parameters, alone.parameters, strict=True)
            for a, b in zip(ours, theirs, strict=True)
        )
        say("all", bits(together), history.validation_loss[-1], near)
    cut()
    model = trainer()
    model.fit(X, Y, 2, progress=False)
    say("cut", bits(model))
    part = slice(WORLD.rank, None, WORLD.size)
    own = trainer(target="numpy", synchronise=3)
    own.fit(X[part], Y[part], 1, rows="own", progress=False)
    say("own", bits(own))


def refused():
    """Differ in a setting, then in the data, then fail in a callback."""
    for settings, rows in (({"batch_size": 32 + WORLD.rank}, X), ({}, X + WORLD.rank)):
        try:
            trainer(**settings).fit(rows, Y, 1, progress=False)
        except Exception as error:
            say(type(error).__name__, error)

    def callback(model, history):
        raise ValueError("of the callback")

    try:
        trainer().fit(X, Y, 5, callbacks=callback, progress=False)
    except Exception as error:
        say(type(error).__name__, error)


def signalled(number):
    """Send the second process a signal in the middle of training."""

    def later():
        time.sleep(0.5)
        os.kill(os.getpid(), number)

    cut()
    model = trainer()
    model.fit(X, Y, 1, progress=False)
    if WORLD.rank == 1:
        threading.Thread(target=later, daemon=True).start()
    say("begins")
    try:
        model.fit(X, Y, FOR_EVER, progress=False)
    except KeyboardInterrupt:
        say("interrupted", model.epoch > 1, bits(model))


if __name__ == "__main__":
    case = sys.argv[1]
    if case == "same":
        same()
    elif case == "refused":
        refused()
    else:
        signalled(getattr(signal, case))
