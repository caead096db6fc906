"""float32 beside precision="bfloat16" on the CPU: how fast, and how well it learns.

    python benchmarks/precision.py [--seeds N] [--rounds N]

prints two Markdown tables. Epochs of the two precisions alternate, and each has its fastest; a
share is of the fastest epoch of float32. Accuracy is on the test data after the last epoch, mean
and standard deviation over seeds of weights and order. The data are MNIST and California housing,
from the folder that FASTNN_DATA names.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from markdown_tables import heading, row
from workloads import WORKLOADS, Workload, load

from fastnn import SGD, Adam, Dense, Network, Trainer
from fastnn.datasets import mnist
from fastnn.examples.tables import california_housing
from fastnn.optimizers import Optimizer
from fastnn.threads.processors import available_threads

ADAM = Workload("adam", (784, 256, 256, 10), 512, 60_000, 1e-3, dense=True)
SPEED = [
    WORKLOADS["dense-64"], WORKLOADS["dense-512"], WORKLOADS["mnist-64"], WORKLOADS["mnist-deep"],
    WORKLOADS["dense-deep"], ADAM, WORKLOADS["wide"],
]  # fmt: skip
PRECISIONS = "float32", "bfloat16"


def trainer_of(workload: Workload, precision: str, threads: int) -> Trainer:
    """Return a trainer of a workload; Adam where it is the one for that."""
    *hidden, outputs = workload.widths[1:]
    layers = [*(Dense(units, "relu") for units in hidden), Dense(outputs)]
    optimizer: Optimizer = SGD(workload.learning_rate, momentum=workload.momentum)
    if workload is ADAM:
        optimizer = Adam(workload.learning_rate)
    return Trainer(
        Network(workload.widths[0], layers), optimizer=optimizer, batch_size=workload.batch,
        precision=precision, threads=threads,
    )  # fmt: skip


def fastest(workload: Workload, threads: int, rounds: int) -> list[float]:
    """Return the seconds of the fastest epoch of each precision."""
    data = load(workload)
    trainers = [trainer_of(workload, precision, threads) for precision in PRECISIONS]
    for _ in range(rounds):
        for trainer in trainers:
            trainer.fit(data.X, data.y, epochs=2)
    return [min(trainer.history.seconds[1:]) for trainer in trainers]


def print_speed(rounds: int) -> None:
    """Print what an epoch takes."""
    titles = [f"{p}, {t}, ms" for t in ("1 thread", "all threads") for p in PRECISIONS]
    print(*heading("epoch", *titles[:2], "times", *titles[2:], "times"), sep="\n")
    for workload in SPEED:
        cells = []
        for threads in (1, available_threads()):
            plain, rounded = fastest(workload, threads, rounds)
            cells += [f"{1e3 * plain:.3g}", f"{1e3 * rounded:.3g}", f"{plain / rounded:.2f}"]
        name = workload.title + (", Adam" if workload is ADAM else "")
        print(row(name, *cells), flush=True)


@dataclass(frozen=True)
class Task:
    """Something to learn; `score` of a fitted trainer."""

    name: str
    unit: str
    learn: Callable[[str, int], float]


def learn_mnist(precision: str, seed: int) -> float:
    """Return the accuracy in percent after ten epochs of 784-256-256-10."""
    (X, y), (X_test, y_test) = mnist()
    network = Network(784, [Dense(256, "relu"), Dense(256, "relu"), Dense(10)])
    trainer = Trainer(
        network, optimizer=SGD(0.02, momentum=0.9), batch_size=128, seed=seed, precision=precision
    )
    trainer.fit(X, y, epochs=10)
    return 100 * float((trainer.predict(X_test) == y_test).mean())


def learn_california(precision: str, seed: int) -> float:
    """Return the test error (RMSE, dollars) after 60 epochs of 8-256-256-1 on scaled columns."""
    X, y, _ = california_housing()
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order], y[order]
    train, test = slice(0, 16_000), slice(16_000, None)
    X = (X - X[train].mean(axis=0)) / X[train].std(axis=0)
    scale = y[train].std()
    network = Network(8, [Dense(256, "relu"), Dense(256, "relu"), Dense(1)])
    trainer = Trainer(
        network, loss="mse", optimizer=Adam(1e-3), batch_size=128, seed=seed, precision=precision
    )
    trainer.fit(X[train], (y[train] - y[train].mean()) / scale, epochs=60)
    error = trainer.predict(X[test]).ravel() * scale + y[train].mean() - y[test]
    return 1e5 * float(np.sqrt((error**2).mean()))


TASKS = [
    Task("MNIST 784-256-256-10, 10 epochs, accuracy", "%", learn_mnist),
    Task("California housing 8-256-256-1, 60 epochs, RMSE", "$", learn_california),
]


def print_learning(seeds: int) -> None:
    """Print what is learnt, and how far the means are from each other."""
    print(*heading(f"mean and sd of {seeds} seeds", *PRECISIONS, "difference, sd of it"), sep="\n")
    for task in TASKS:
        found = np.array([[task.learn(p, seed) for seed in range(seeds)] for p in PRECISIONS])
        mean, spread = found.mean(axis=1), found.std(axis=1, ddof=1)
        error = np.sqrt((spread**2).sum() / seeds)
        digits = 2 if task.unit == "%" else 0
        cells = [f"{m:.{digits}f} ± {s:.{digits}f}" for m, s in zip(mean, spread, strict=True)]
        gap = f"{mean[1] - mean[0]:.{digits}f} ± {error:.{digits}f}"
        print(row(f"{task.name}, {task.unit}", *cells, gap), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print_speed(given.rounds)
    print_learning(given.seeds)


if __name__ == "__main__":
    main()
