"""One contender in a process of its own, started by peers.py; prints one line of JSON.

python contender.py time CONTENDER WORKLOAD one|all SECONDS
    One epoch to warm up, one more, the loss over all rows, then epochs for about SECONDS.
python contender.py accuracy CONTENDER one|all TARGET
    Epochs until the accuracy on MNIST's test data is TARGET; only training is on the clock.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
from typing import Any, Protocol

from workloads import (
    TO_ACCURACY,
    WORKLOADS,
    Data,
    Parameters,
    Workload,
    accuracy,
    initial_parameters,
    load,
    mean_loss,
)

EPOCHS_AT_MOST = {"time": 200, "accuracy": 40}


class Contender(Protocol):
    """What each module of contenders/ has: a network in training."""

    def train(self, epochs: int) -> list[float]:
        """Train on; return the seconds of each epoch."""
        ...

    def parameters(self) -> Parameters:
        """Return the parameters as they are now."""
        ...


def make(name: str, workload: Workload, data: Data, mode: str) -> Contender:
    """Return a contender at the common start; its name is MODULE or MODULE.CLASS."""
    module, _, kind = name.partition(".")
    make_one = getattr(importlib.import_module(f"contenders.{module}_"), kind or "Contender")
    return make_one(workload, data, initial_parameters(workload), 1 if mode == "one" else None)


def time_epochs(name: str, workload: Workload, mode: str, seconds: float) -> dict[str, Any]:
    """Return the seconds of each epoch, their median, and the loss after the first two epochs."""
    data = load(workload)
    contender = make(name, workload, data, mode)
    contender.train(1)
    (estimate,) = contender.train(1)
    loss = mean_loss(contender.parameters(), data.X, data.y)
    epochs = contender.train(min(max(round(seconds / estimate), 1), EPOCHS_AT_MOST["time"]))
    return {
        "contender": name,
        "workload": workload.name,
        "threads": mode,
        "median_seconds": statistics.median(epochs),
        "epochs": epochs,
        "loss": loss,
        "note": data.note,
    }


def time_to_accuracy(name: str, mode: str, target: float) -> dict[str, Any]:
    """Return the seconds of each epoch until the test accuracy is `target`, and the accuracies.

    The clock is that of a network already compiled: a first one is trained for an epoch and left.
    """
    data = load(TO_ACCURACY)
    make(name, TO_ACCURACY, data, mode).train(1)
    contender = make(name, TO_ACCURACY, data, mode)
    epochs: list[float] = []
    reached: list[float] = []
    while len(epochs) < EPOCHS_AT_MOST["accuracy"] and (not reached or reached[-1] < target):
        epochs += contender.train(1)
        reached.append(accuracy(contender.parameters(), data.X_test, data.y_test))
    return {
        "contender": name,
        "threads": mode,
        "epochs": epochs,
        "accuracy": reached,
        "reached": reached[-1] >= target,
        "note": data.note,
    }


def main() -> None:
    """Do what the command line says."""
    task, name, *rest = sys.argv[1:]
    if task == "time":
        workload, mode, seconds = rest
        result = time_epochs(name, WORKLOADS[workload], mode, float(seconds))
    else:
        mode, target = rest
        result = time_to_accuracy(name, mode, float(target))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
