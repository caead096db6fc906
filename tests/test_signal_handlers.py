"""What a handler of a signal may ask of a trainer: Python calls it in the middle of an epoch."""

import copy
import os
import signal
import sys
import threading

import numpy as np
import pytest
from numba import config
from simulator import SIMULATED
from trainer_cases import state_of, trainer_of

from fastnn import Dense, TrainerBusy

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals"),
    pytest.mark.skipif(bool(config.DISABLE_JIT or SIMULATED), reason="an epoch takes minutes"),
]
LAYERS = [Dense(256, "relu"), Dense(10)]
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(60_000, 64)).astype(np.float32)
LABELS = RANDOM.integers(0, 10, 60_000)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_engine_at_work_is_refused_to_a_handler_and_copies_are_not(threads):
    calm, used = (
        trainer_of(LAYERS, 64, target="cpu", threads=threads, batch_size=64) for _ in range(2)
    )
    earlier = copy.copy(used)
    uses = {
        "predict": lambda: used.predict(ROWS[:1]),
        "evaluate": lambda: used.evaluate(ROWS[:9], LABELS[:9]),
        "set_parameters": lambda: used.set_parameters(earlier.parameters),
        "restore": lambda: used.restore(earlier),
        "rate_factor": lambda: setattr(used, "rate_factor", 0.5),
    }
    refused, copied = [], []

    def handle(number, frame):
        if not used._using._is_owned():  # between two epochs, where all of it would be done
            return
        copied.append(copy.copy(used).epoch)
        for name, use in uses.items():
            with pytest.raises(TrainerBusy, match="signal's handler; save, copy or pickle"):
                use()
            refused.append(name)

    before = signal.signal(signal.SIGUSR2, handle)
    try:
        used.fit(ROWS, LABELS, epochs=1)
        for delay in (0.02, 0.05, 0.09):
            timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGUSR2))
            timer.start()
            used.fit(ROWS, LABELS, epochs=2)
            timer.join()
    finally:
        signal.signal(signal.SIGUSR2, before)
    calm.fit(ROWS, LABELS, epochs=7)
    assert state_of(used) == state_of(calm)
    assert copied and refused == list(uses) * len(copied)
