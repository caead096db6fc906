"""One task of gpu.py in a process of its own; tells of each figure by a line in a file.

python gpu_part.py PART CONTENDER DEVICE SECONDS FILE

The part "cases" are some of the checks; its contender is a `gpu_check_jobs.Job` in words.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contender import EPOCHS_AT_MOST, Contender, maker, train_for
from gpu_check_jobs import check_side_by_side, check_some
from gpu_workloads import AIM, Row, rows_of, steps
from workloads import Data, accuracy, initial_parameters, load, mean_loss

SECONDS = 0.7  # of timed epochs of a figure
ROWS_OF_LOSS = 4_096
RESTART_EPOCHS = (2, 22)
TORCH = {
    "torch": {
        "eager": "torch_gpu.Eager",
        "graphs": "torch_gpu.Graphs",
        "long graphs": "torch_gpu.LongGraphs",
    },
    "compile": {
        "compiled": "torch_gpu.Compiled",
        "compiled graphs": "torch_gpu.CompiledGraphs",
    },
}
Tell = Callable[..., None]


def makers(contender: str, device: str) -> dict[str, Callable[[Row, Data, int], Contender]]:
    """Return what makes each way of a contender to train, by its name in the table."""
    if contender == "fastnn":
        target = "cuda" if device == "cuda" else "cpu"

        def fastnn(row: Row, data: Data, start: int) -> Contender:
            parameters = initial_parameters(row.workload, start)
            precision = row.precision if device == "cuda" else "float32"
            more = {"target": target, "precision": precision}
            return maker("fastnn")(row.workload, data, parameters, None, **more)

        return {"fastnn": fastnn}

    def torch(name: str) -> Callable[[Row, Data, int], Contender]:
        def make(row: Row, data: Data, start: int) -> Contender:
            parameters = initial_parameters(row.workload, start)
            more = {"models": row.models} if row.models > 1 else {}
            return maker(name)(row.workload, data, parameters, device, row.precision, **more)

        return make

    return {way: torch(name) for way, name in TORCH[contender].items()}


def guarded(tell: Tell, names: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> None:
    """Tell of a figure, or of the error in its place."""
    try:
        found = measure()
    except Exception as error:  # the next figure may well be had
        text = " ".join(f"{type(error).__name__}: {error}".split())
        found = {"failure": text[:300]}
    tell(**names, **found)


def steps_of(contender: Contender, row: Row, data: Data) -> dict[str, Any]:
    """Return the seconds of a step of one model, and the loss after two epochs."""
    start = time.perf_counter()
    contender.train(1)
    first = time.perf_counter() - start
    contender.train(1)
    loss = mean_loss(contender.parameters(), data.X[:ROWS_OF_LOSS], data.y[:ROWS_OF_LOSS])
    (estimate,) = contender.train(1)
    start = time.perf_counter()
    epochs = train_for(contender, SECONDS, estimate)
    whole = (time.perf_counter() - start) / len(epochs)
    count = steps(row.workload) * row.models
    return {
        "seconds": statistics.median(epochs) / count,
        "seconds_by_the_clock": whole / count,
        "first_epoch": first,
        "epochs": epochs,
        "loss": loss,
    }


def restarts_of(row: Row, data: Data, device: str) -> dict[str, Any]:
    """Return the seconds of a step of one of many models that `fit(restarts=...)` trains.

    By the clock around two calls, the second with more epochs, so that what is done once cancels;
    `seconds_by_the_clock` has it in.
    """
    from contenders.fastnn_ import trainer_of

    target = "cuda" if device == "cuda" else "cpu"

    def seconds(epochs: int) -> float:
        trainer = trainer_of(row.workload, target=target)
        start = time.perf_counter()
        trainer.fit(data.X, data.y, epochs=epochs, restarts=row.models)
        return time.perf_counter() - start

    few, many = RESTART_EPOCHS if device == "cuda" else (1, 3)
    seconds(few)
    found = {count: min(seconds(count) for _ in range(2)) for count in (few, many)}
    count = steps(row.workload) * row.models
    return {
        "seconds": (found[many] - found[few]) / ((many - few) * count),
        "seconds_by_the_clock": found[many] / (many * count),
        "fits": found,
    }


def until(make: Callable[[Row, Data, int], Contender], row: Row, data: Data) -> dict[str, Any]:
    """Return the seconds of training, a median of three starts, up to an accuracy on test data."""
    make(row, data, 0).train(1)
    runs = []
    for start in range(3):
        contender = make(row, data, start)
        seconds, reached = reached_by(contender, data)
        runs.append(seconds if reached else math.inf)
    shown = [None if math.isinf(run) else run for run in runs]
    if math.isinf(statistics.median(runs)):
        return {"failure": f"did not come to {AIM:.0%}", "runs": shown}
    return {"seconds": statistics.median(runs), "runs": shown}


def reached_by(contender: Any, data: Data) -> tuple[float, bool]:
    """Train up to the accuracy; return the seconds of the epochs, and whether it was reached."""

    def ended() -> bool:
        return accuracy(contender.parameters(), data.X_test, data.y_test) >= AIM

    most = EPOCHS_AT_MOST["accuracy"]
    if hasattr(contender, "train_until"):
        seconds = sum(contender.train_until(ended, most))
        return seconds, ended()
    seconds = 0.0
    for _ in range(most):
        seconds += sum(contender.train(1))
        if ended():
            return seconds, True
    return seconds, False


def train_part(part: str, contender: str, device: str, tell: Tell) -> None:
    """Time every row of a part in every way of a contender."""
    if part == "D" and not os.environ.get("FASTNN_DATA"):
        tell(kind="note", row="D", note="FASTNN_DATA names no folder with MNIST: left out")
        return
    rows = rows_of(part, device)
    loaded: dict[str, Data] = {}
    for key, row in rows.items():
        if row.workload.name not in loaded:
            loaded = {row.workload.name: load(row.workload)}
        data = loaded[row.workload.name]
        for way, make in makers(contender, device).items():
            names = {"kind": "figure", "row": key, "way": way}
            if part == "D":
                guarded(tell, names, lambda make=make, row=row, data=data: until(make, row, data))
            elif contender == "fastnn" and row.models > 1:
                guarded(tell, names, lambda row=row, data=data: restarts_of(row, data, device))
            elif row.models == 1 or "graphs" in way:
                guarded(
                    tell,
                    names,
                    lambda make=make, row=row, data=data: steps_of(make(row, data, 0), row, data),
                )


def main() -> None:
    """Do what the command line says."""
    part, contender, device, seconds, file = sys.argv[1:]

    def tell(**record: Any) -> None:
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record, default=float) + "\n")

    np.seterr(all="ignore")
    if part == "check":
        check_side_by_side(device, float(seconds), tell)
    elif part == "cases":
        check_some(contender, device, tell)
    elif part == "limits":
        from gpu_limits import limits

        for name, measure in limits(device):
            names = {"kind": "limit", "name": name}
            guarded(tell, names, lambda measure=measure: {"value": measure()})
    else:
        train_part(part, contender, device, tell)


if __name__ == "__main__":
    main()
