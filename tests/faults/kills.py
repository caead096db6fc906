"""A process killed in training: what it saved last trains on to the right bits."""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from fault_table import Count, command, environment, part
from small import LABELS, X, bits, trainer_of

from fastnn import Trainer

EPOCHS = 400


def train(path: str) -> Any:
    """Train, and save after every epoch."""
    trainer = trainer_of("deep", 2)
    trainer.save(path)
    print("saved", flush=True)
    trainer.fit(X, LABELS, epochs=EPOCHS, callbacks=lambda own, _: own.save(path))
    return 1, []


@part("killed in training", 2, 30)
def _kills(tries: int) -> Count:
    count = Count()
    calm, states = trainer_of("deep", 2), []
    for _ in range(EPOCHS + 2):
        states.append(bits(calm))
        calm.fit(X, LABELS, epochs=1)
    for _ in range(tries):
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "model")
            with subprocess.Popen(
                command(train, path), env=environment(), stdout=subprocess.PIPE
            ) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(random.uniform(0.5, 1.5))
                process.kill()
            trainer = Trainer.load(path)
            epoch = trainer.epoch
            whole = bits(trainer) == states[epoch]
            trainer.fit(X, LABELS, epochs=1)
            whole = whole and bits(trainer) == states[epoch + 1]
            count.add(1, [] if whole else [f"the file of epoch {epoch} differs"])
    return count
