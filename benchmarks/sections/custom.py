"""User-defined rules beside the built-in rules of the same formula: ratios of epoch times.

Both train the same problem in one process, in turns; a figure is the median of the ratios of
neighbouring epochs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
from libraries import Settings
from markdown_tables import Table

from fastnn import SGD, Dense, Network, Trainer
from fastnn.graph import erf, expm1, maximum, sigmoid, softplus, tanh, where
from fastnn.inputs.data import Data
from fastnn.targets.cpu.engine import Engine

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
ROUNDS, QUICK_ROUNDS = 41, 5  # pairs of epochs; the first finds one of them out of the cache
DTYPES = ("float32", "float64")
ACTIVATION_SHAPES = ((20, 32, 32), (64, 512, 64))  # inputs, units of two hidden layers, batch
LOSS_SHAPES = ((8, 100, 32), (30, 1, 32), (30, 1, 1))  # inputs, outputs, batch

TEXT = """\
The time of an epoch on one thread with a user-defined rule, over that with the built-in rule
of the same formula; 1.3 is the most that it may cost."""


def tables(settings: Settings) -> list[Table]:
    """Return the outlines: a row for each rule, a column for each shape and dtype."""
    activations = (
        f"{dtype} {k}-{units}-{units}-2, batch {m}"
        for dtype in DTYPES
        for k, units, m in ACTIVATION_SHAPES
    )
    losses = (f"{dtype} {k}-{n}, batch {m}" for dtype in DTYPES for k, n, m in LOSS_SHAPES)
    return [
        Table(("own / built-in activation", *activations), {name: name for name in ACTIVATIONS}),
        Table(("own / built-in loss", *losses), {name: name for name in LOSSES}),
    ]


def measure(settings: Settings, activations: Table, losses: Table) -> Iterator[str]:
    """Measure the ratios, a row at a time."""
    rounds = QUICK_ROUNDS if settings.quick else ROUNDS
    record = settings.record["custom"] = {}
    yield from activations.head()
    for name, formula in ACTIVATIONS.items():
        record[name] = [
            ratio(*(
                epochs(two_hidden(k, units, rule), "mse", m, 50 * m, dtype)
                for rule in (formula, name)
            ), rounds)
            for dtype in DTYPES
            for k, units, m in ACTIVATION_SHAPES
        ]  # fmt: skip
        yield activations.line(name, *(f"{each:.2f}" for each in record[name]))
    yield from losses.head()
    for name, formula in LOSSES.items():
        record[name] = [
            ratio(*(
                epochs(Network(k, [Dense(n)]), rule, m, 4000, dtype) for rule in (formula, name)
            ), rounds)
            for dtype in DTYPES
            for k, n, m in LOSS_SHAPES
        ]  # fmt: skip
        yield losses.line(name, *(f"{each:.2f}" for each in record[name]))
    yield from ("", f"The largest is {max(max(found) for found in record.values()):.2f}.")


def two_hidden(inputs: int, units: int, activation: Any) -> Network:
    """Return a network of two hidden layers with an activation."""
    return Network(inputs, [Dense(units, activation), Dense(units, activation), Dense(2)])


def epochs(
    network: Network, loss: Any, batch_size: int, rows: int, dtype: str
) -> Callable[[], float]:
    """Return a function that trains an epoch on one thread and returns its seconds."""
    trainer = Trainer(network, loss, batch_size=batch_size, dtype=dtype)
    random = np.random.default_rng(0)  # all train the same
    X = random.normal(size=(rows, network.inputs)).astype(dtype)
    y = random.integers(0, 2, (rows, network.outputs)).astype(dtype)
    data = Data(X, y)
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
