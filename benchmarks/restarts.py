"""Restarts of small networks: what the report and the asv suites time."""

from __future__ import annotations

from time import perf_counter, process_time
from typing import Any

import numpy as np

from fastnn import SGD, Dense, Network, Trainer

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
