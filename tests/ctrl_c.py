"""Ctrl-C, or another signal, in a process of its own, for the tests of what it leaves behind."""

import signal
import subprocess
import sys
import threading
import time

import pytest

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

# A shell may have it ignored.
HEED = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"


# A trainer of two short epochs, whose next epoch takes minutes, and says when it begins.
LONG_EPOCH = """
import sys
import numpy as np
from fastnn import SGD, Checkpoint, Dense, Network, Trainer

row = np.linspace(-1, 1, 512, dtype=np.float32)
X = np.broadcast_to(row, (4_000_000, 512))
y = np.zeros(len(X), np.int64)
layers = [Dense(512, "relu"), Dense(512, "relu"), Dense(512, "relu"), Dense(10)]
trainer = Trainer(Network(512, layers), optimizer=SGD(1e-3), target=sys.argv[1], shuffle=False)
trainer.fit(X[:640], y[:640], epochs=2)
before = trainer.parameters
engine = trainer._open()
train_epochs = engine.train_epochs

def announced(*arguments):
    print("ready", flush=True)
    return train_epochs(*arguments)

def unchanged():
    return all((a == b).all() for p, q in zip(before, trainer.parameters) for a, b in zip(p, q))

engine.train_epochs = announced
"""


def interrupted(code: str, *arguments: str, env: dict[str, str] | None = None) -> str:
    """Return what `code` prints after Ctrl-C has come, and check that it ends a long epoch soon.

    The code prints "ready" before the epoch, and "stopped" where it catches KeyboardInterrupt.
    """
    return ended_by(signal.SIGINT, HEED + code, *arguments, env=env)


def ended_by(
    number: signal.Signals,
    code: str,
    *arguments: str,
    seconds: float = 2.0,
    env: dict[str, str] | None = None,
) -> str:
    """Return what `code` prints after "stopped", which it does so soon after a signal at most.

    Before, it prints "ready"; the signal comes half a second later.
    """
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        watch = threading.Timer(120, process.kill)  # a compilation fits in, a hang does not stay
        watch.start()
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.5)
            process.send_signal(number)
            start = time.monotonic()
            assert process.stdout.readline() == "stopped\n"
            assert time.monotonic() - start < seconds
            rest = process.stdout.read()
            assert process.wait() == 0
            return rest
        finally:
            watch.cancel()
            process.kill()
