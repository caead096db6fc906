"""Rules of the caller's own beside the built-in rules of the same formula: ratios of epoch times.

Both train the same problem in one process, in turns, and the median of the ratios of neighbouring
epochs is printed; 1.3 is the most that a rule of the caller's own may cost.

    python benchmarks/custom.py
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from fastnn import SGD, Dense, Network, Trainer
from fastnn.cpu.engine import Engine
from fastnn.data import Data
from fastnn.graph import erf, expm1, maximum, sigmoid, softplus, tanh, where

ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "tanh": tanh,
    "relu": lambda z: maximum(z, 0),
    "sigmoid": sigmoid,
    "silu": lambda z: z * sigmoid(z),
    "gelu": lambda z: z * (1 + erf(z / math.sqrt(2))) / 2,
    "elu": lambda z: where(z > 0, z, expm1(z)),
    "softplus": softplus,
}
LOSSES: dict[str, Callable[..., Any]] = {
    "mse": lambda z, y: (z - y) ** 2 / 2,
    "huber": lambda z, y: where(abs(z - y) <= 1, (z - y) ** 2 / 2, abs(z - y) - 0.5),
    "hinge": lambda z, y: maximum(0, 1 - (2 * y - 1) * z),
    "squared_hinge": lambda z, y: maximum(0, 1 - (2 * y - 1) * z) ** 2,
    "binary_cross_entropy": lambda z, y: softplus(z) - y * z,
}
MOST = 1.3


def epochs(trainer: Trainer, data: Data) -> Callable[[], float]:
    """Return a function that trains an epoch on one thread and returns its seconds."""
    problem = replace(trainer.problem, optimizer=SGD(1e-3))
    engine = Engine(problem, 1)
    engine.load(trainer.parameters, [])
    engine.prepare()
    order = np.random.default_rng(0).permutation(len(data))
    rates = np.full(-(-len(data) // problem.batch_size), 1e-3)

    def epoch() -> float:
        start = time.perf_counter()
        engine.train_epoch(data, order, rates, 0, 0)
        return time.perf_counter() - start

    epoch()
    return epoch


def ratio(own: Callable[[], float], known: Callable[[], float], rounds: int) -> float:
    """Return the median of own time / known time, measured in turns."""
    return median(own() / known() for _ in range(rounds))


def compare(
    what: str,
    network: Callable[[Any], Network],
    names: dict[str, Any],
    rounds: int,
    **settings: Any,
) -> float:
    """Print the ratio for each rule; return the largest. `network` takes a rule or None."""
    worst = 0.0
    for name, formula in names.items():
        pair = []
        for rule in (formula, name):
            shape = network(rule)
            loss = rule if "loss" not in settings else settings["loss"]
            trainer = Trainer(
                shape, loss, batch_size=settings["batch_size"], dtype=settings["dtype"]
            )
            random = np.random.default_rng(0)  # both train the same
            X = random.normal(size=(settings["rows"], shape.inputs)).astype(settings["dtype"])
            y = random.integers(0, 2, (len(X), shape.outputs)).astype(settings["dtype"])
            pair.append(epochs(trainer, Data(X, y)))
        found = ratio(*pair, rounds)
        worst = max(worst, found)
        print(f"{what:46} {name:22} {found:5.2f}", flush=True)
    return worst


def two_hidden(inputs: int, units: int, activation: Any) -> Network:
    """Return a network of two hidden layers with an activation."""
    return Network(inputs, [Dense(units, activation), Dense(units, activation), Dense(2)])


def no_hidden(inputs: int, outputs: int, loss: Any) -> Network:
    """Return a network of one layer, whatever its loss."""
    return Network(inputs, [Dense(outputs)])


def main() -> None:
    """Print one ratio a line, and the largest of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=41, help="pairs of epochs, default 41")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    options = parser.parse_args()
    rounds = options.rounds
    worst = []
    for dtype in options.dtypes:
        for inputs, units, batch in ((20, 32, 32), (64, 512, 64)):
            worst.append(
                compare(
                    f"{dtype} {inputs}-{units}-{units}-2, batch {batch}, activation",
                    partial(two_hidden, inputs, units),
                    ACTIVATIONS,
                    rounds,
                    loss="mse",
                    batch_size=batch,
                    rows=50 * batch,
                    dtype=dtype,
                )  # fmt: skip
            )
        for inputs, outputs, batch in ((8, 100, 32), (30, 1, 32), (30, 1, 1)):
            worst.append(
                compare(
                    f"{dtype} {inputs}-{outputs}, batch {batch}, loss",
                    partial(no_hidden, inputs, outputs),
                    LOSSES,
                    rounds,
                    batch_size=batch,
                    rows=4000,
                    dtype=dtype,
                )  # fmt: skip
            )
    print(f"largest ratio {max(worst):.2f}, which may be {MOST}")


if __name__ == "__main__":
    main()
