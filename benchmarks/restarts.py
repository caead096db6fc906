"""What sixteen restarts of a small network take beside one: at most 8.5 times as long on 2 cores.

``python benchmarks/restarts.py [--rounds 7]`` trains one network and sixteen in turns, so that
whatever else the machine does meets both alike, and prints the medians and their ratio. A machine
that is shared may not give two processors at a time, so it also prints how many it gave: what two
processes count together beside what one counts alone; and the ratio by processor time, which is
what the restarts would take if all processors were theirs and no thread ever waited for another.
"""

from __future__ import annotations

import argparse
from multiprocessing import get_context
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np

from fastnn import SGD, Dense, Network, Trainer
from fastnn.text_table import aligned
from fastnn.workers import available_threads

RESTARTS = 16
# rows, inputs, layers, batch size, epochs, validated
Workload = tuple[int, int, list[Dense], int, int, bool]
WORKLOADS: dict[str, Workload] = {
    "20-32-16-2, batch 32, 20000 rows": (
        20000, 20, [Dense(32, "relu"), Dense(16, "relu"), Dense(2)], 32, 20, False,
    ),
    "the same, validated on 5000 rows": (
        20000, 20, [Dense(32, "relu"), Dense(16, "relu"), Dense(2)], 32, 20, True,
    ),
    "XOR 2-8-2, batch 16, 400 rows": (400, 2, [Dense(8, "tanh"), Dense(2)], 16, 200, False),
    "XOR 2-8-2, batch 4, 4 rows": (4, 2, [Dense(8, "tanh"), Dense(2)], 4, 2000, False),
}  # fmt: skip


def make_data(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Return X (rows, inputs) float32 and classes y (rows,): 1 where x0 x1 > 0."""
    rows, inputs, *_ = workload
    X = np.random.default_rng(0).normal(size=(rows, inputs)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] > 0).astype(np.int64)


def train(workload: Workload, X: np.ndarray, y: np.ndarray, restarts: int) -> None:
    """Make a trainer and train it from so many seeds."""
    _, inputs, layers, batch_size, epochs, validated = workload
    more: dict[str, Any] = {"validation_data": (X[:5000], y[:5000])} if validated else {}
    trainer = Trainer(Network(inputs, layers), optimizer=SGD(0.1), batch_size=batch_size)
    trainer.fit(X, y, epochs, restarts=restarts, **more)


def seconds_of(workload: Workload, restarts: int) -> tuple[float, float]:
    """Return the seconds from a new trainer to the end of `fit`, and those of all processors."""
    X, y = make_data(workload)
    start, spent = perf_counter(), process_time()
    train(workload, X, y, restarts)
    return perf_counter() - start, process_time() - spent


def count(seconds: float) -> int:
    """Return how far this process counts in so many seconds."""
    end, reached = perf_counter() + seconds, 0
    while perf_counter() < end:
        reached += sum(range(20_000)) > 0  # seldom asks for the time, which may be slow
    return reached


def processors_given(processes: int, seconds: float = 1.0) -> float:
    """Return what so many processes get done together beside one alone."""
    with get_context("spawn").Pool(processes) as pool:
        pool.map(count, [0.1] * processes, chunksize=1)
        alone = pool.apply(count, [seconds])
        return sum(pool.map(count, [seconds] * processes, chunksize=1)) / alone


def main() -> None:
    """Print a row for each workload."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    processors = available_threads()
    print(f"{processors} processors; medians of {rounds} rounds, one and all in turns")
    given = [processors_given(processors)]
    columns = [
        [name] for name in ("workload", "one, ms", f"{RESTARTS}, ms", "ratio", "by CPU time")
    ]
    for name, workload in WORKLOADS.items():
        seconds_of(workload, 2)  # compiles, where nothing is in the cache
        runs = [(seconds_of(workload, 1), seconds_of(workload, RESTARTS)) for _ in range(rounds)]
        ratio = median(many / one for (one, _), (many, _) in runs)
        ideal = median(many / one for (_, one), (_, many) in runs) / processors
        milliseconds = (f"{1000 * median(run[i][0] for run in runs):.1f}" for i in (0, 1))
        cells = (name, *milliseconds, f"{ratio:.2f}", f"{ideal:.2f}")
        for column, text in zip(columns, cells, strict=True):
            column.append(text)
        given.append(processors_given(processors))
    print("\n".join(aligned(columns)))
    print(f"processors given at a time, before, between and after: {np.round(given, 2)}")


if __name__ == "__main__":
    main()
