"""One contender in a process of its own, started by peers.py; prints one line of JSON.

MODE says how many threads: one, all or a number.

python contender.py time CONTENDER WORKLOAD MODE SECONDS
    One epoch to warm up, one more, the loss over all rows, then epochs for about SECONDS.
python contender.py accuracy CONTENDER MODE TARGET START
    Epochs from the first parameters number START until the accuracy on MNIST's test data is TARGET;
    only training is on the clock.
python contender.py memory CONTENDER MODE
    Resident memory before two epochs of training, and at its peak.
python contender.py scale CONTENDER AXIS MODE SECONDS
    The median epoch of each shape along an axis.
"""

from __future__ import annotations

import gc
import importlib
import json
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import resident
from axes import AXES, multiply_adds
from processes import thread_count
from workloads import (
    MEMORY,
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


def make(name: str, workload: Workload, data: Data, mode: str, start: int = 0) -> Contender:
    """Return a contender at a common start; its name is MODULE or MODULE.CLASS."""
    parameters = initial_parameters(workload, start)
    return maker(name)(replace(workload, seed=start), data, parameters, thread_count(mode))


def maker(name: str) -> Callable[..., Contender]:
    """Import the library of a contender; return the contender's class."""
    module, _, kind = name.partition(".")
    return getattr(importlib.import_module(f"contenders.{module}_"), kind or "Contender")


def seconds_of_epochs(name: str, workload: Workload, mode: str, seconds: float) -> dict[str, Any]:
    """Return the seconds of each epoch, their median, and the loss after the first two epochs."""
    data = load(workload)
    contender = make(name, workload, data, mode)
    contender.train(1)
    estimate = contender.train(1)
    parameters = contender.parameters()
    loss = math.nan  # of a contender that minimizes another one
    if getattr(contender, "same_loss", True):
        loss = mean_loss(parameters, data.X, data.y, workload.activation)
    epochs = train_for(contender, seconds, estimate[0])
    return {
        "contender": name,
        "workload": workload.name,
        "threads": mode,
        "median_seconds": statistics.median(epochs),
        "epochs": epochs,
        "loss": loss,
        "note": data.note,
    }


def train_for(contender: Contender, seconds: float, estimate: float) -> list[float]:
    """Train for about so many seconds, where an epoch takes about `estimate`."""
    return contender.train(min(max(round(seconds / estimate), 1), EPOCHS_AT_MOST["time"]))


def seconds_to_accuracy(name: str, mode: str, target: float, start: int) -> dict[str, Any]:
    """Return the seconds of each epoch until the test accuracy is `target`, and the accuracies.

    The clock is that of a network already compiled: a first one is trained for an epoch and left.
    """
    data = load(TO_ACCURACY)
    make(name, TO_ACCURACY, data, mode).train(1)
    contender = make(name, TO_ACCURACY, data, mode, start)
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


def memory(name: str, mode: str) -> dict[str, Any]:
    """Return the resident bytes after imports and data, and at the peak of two epochs."""
    maker(name)
    data = load(MEMORY)
    gc.collect()
    before = resident.now()
    resident.forget_peak()
    make(name, MEMORY, data, mode).train(2)
    return {"contender": name, "before": before, "peak": resident.peak(), "note": data.note}


def scale(name: str, along: str, mode: str, seconds: float) -> dict[str, Any]:
    """Return for each shape along an axis its value, multiply-adds and seconds of an epoch."""
    points = []
    for value, workload in AXES[along].workloads.items():
        contender = make(name, workload, load(workload), mode)
        contender.train(1)
        (estimate,) = contender.train(1)
        epochs = train_for(contender, seconds, estimate)
        point = {along: value, "work": multiply_adds(workload)}
        points.append({**point, "seconds": statistics.median(epochs)})
    return {"contender": name, "points": points}


def main() -> None:
    """Do what the command line says."""
    task, name, *rest = sys.argv[1:]
    if task == "time":
        workload, mode, seconds = rest
        result = seconds_of_epochs(name, WORKLOADS[workload], mode, float(seconds))
    elif task == "memory":
        result = memory(name, *rest)
    elif task == "scale":
        along, mode, seconds = rest
        result = scale(name, along, mode, float(seconds))
    else:
        mode, target, start = rest
        result = seconds_to_accuracy(name, mode, float(target), int(start))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
