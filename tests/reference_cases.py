"""Small problems, data and engines that the tests of the NumPy target's engine share."""

import math

import numpy as np

from fastnn.inputs.parameters import initial_parameters
from fastnn.inputs.problem import Problem
from fastnn.network import SGD, Dense, Dropout, Network
from fastnn.rules.table import UPDATES
from fastnn.targets.numpy import Engine

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(23, 4))
Y = RANDOM.normal(size=(23, 2))
LAYERS = [Dense(5, "tanh"), Dropout(0.3), Dense(2)]
PLAIN = SGD(0.1)


def problem_of(layers=LAYERS, loss="mse", optimizer=PLAIN, **changes) -> Problem:
    settings = {"batch_size": 5, "l1": 0.0, "l2": 0.0, "dtype": np.dtype(np.float64), "seed": 0}
    inputs = changes.pop("inputs", 4)
    return Problem(Network(inputs, layers), loss, optimizer, **(settings | changes))


def zero_slots(problem, parameters):
    count = UPDATES[problem.optimizer.rule].slots
    return [[tuple(map(np.zeros_like, layer)) for layer in parameters] for _ in range(count)]


def started(problem: Problem, parameters=None) -> Engine:
    """Return an engine with `parameters`, or the problem's initial ones."""
    if parameters is None:
        parameters = initial_parameters(problem.network, problem.seed, problem.dtype)
    engine = Engine(problem)
    engine.load(parameters, zero_slots(problem, parameters))
    return engine


def train(engine, data, problem, epochs=(0,), progress=None, rate=0.1):
    """Return the result of each epoch, trained in the order of the rows."""
    steps = math.ceil(len(data.X) / problem.batch_size)
    return [
        engine.train_epoch(
            data, np.arange(len(data.X)), np.full(steps, rate), epoch, epoch * steps, progress
        )
        for epoch in epochs
    ]


def assert_same(one, other):
    """Check that two lists of (W, b) are the same bits."""
    for pair, other_pair in zip(one, other, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(pair, other_pair, strict=True))
