"""Problems, data and training runs that the tests of every target share."""

import hashlib
import itertools
import math
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import pytest
from last_layer_cases import suits
from simulator import SIMULATED

import fastnn
from fastnn.inputs.data import Data
from fastnn.inputs.problem import Problem
from fastnn.network import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    AveragedSGD,
    Dense,
    Lion,
    Nadam,
    Network,
    RMSProp,
)
from fastnn.rules.table import ACTIVATIONS, LOSSES, loss_row, update_row
from fastnn.targets import numpy as reference

DTYPES = ["float32", "float64"]
OPTIMIZERS = {
    "sgd": SGD(0.1),
    "momentum": SGD(0.1, 0.9),
    "nesterov": SGD(0.1, 0.9, nesterov=True),
    # An epsilon well above a gradient's rounding: else Adam's first step is that rounding's sign.
    "adam": Adam(0.1, epsilon=1e-3),
    "adam, epsilon hat": Adam(0.1, epsilon=1e-3, epsilon_hat=True),
    "adamw": AdamW(0.1, epsilon=1e-3, weight_decay=0.1),
    "nadam": Nadam(0.1, epsilon=1e-3),
    "rmsprop": RMSProp(0.1, epsilon=1e-3),
    "adagrad": Adagrad(0.1, epsilon=1e-3),
    "lion": Lion(0.1, weight_decay=0.1),
    "averaged": AveragedSGD(0.1, start=2),
}
# Every activation with every loss that takes it, as (hidden activation, last activation, loss).
COMBINATIONS = [
    (activation, last, loss)
    for loss in LOSSES
    for activation in ACTIVATIONS
    for last in dict.fromkeys(["identity", activation])
    if suits(loss, last)
]
# Relative to the largest number beside it. Sums of this suite have up to 2,000 terms in an order of
# each target's own, a step passes through a few of them, and steps add up: about 100 roundings.
TOLERANCE = {"float32": 3e-5, "float64": 1e-12}

# Without Numba a large network takes minutes, and threads are not atomic.
needs_jit = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT or SIMULATED), reason="needs compiled kernels"
)
FOLDER = Path(__file__).resolve().parent


def few(usual, simulated):
    """Return the usual sizes of a test, or in Numba's simulator those it can do in a second."""
    return simulated if SIMULATED else usual


class Run(NamedTuple):
    """What a few epochs of training came to."""

    losses: list[float]
    parameters: list  # of (W, b), with prelu (W, b, slopes)
    slots: list  # of such lists
    outputs: np.ndarray

    def groups(self):
        """Yield the arrays that are compared on one scale, each by its name."""
        yield {"losses": np.array(self.losses)}
        yield {"outputs": self.outputs}
        for place, layers in enumerate((self.parameters, *self.slots)):
            for layer, arrays in enumerate(layers):
                names = names_of(layer, f"slot {place - 1} of " if place else "")
                yield dict(zip(names, arrays, strict=False))

    def bits(self):
        """Return a digest of every array's bytes, beside its name."""
        return [
            (name, hashlib.sha256(array.tobytes()).hexdigest()[:16])
            for group in self.groups()
            for name, array in group.items()
        ]


def names_of(layer, before=""):
    """Return what the arrays of a layer are called where they differ; of a Dense W, b, slopes."""
    return [f"{before}{name} of layer {layer}" for name in ("W", "b", "slopes", "4th", "5th")]


def problem_of(inputs, layers, loss="mse", optimizer=OPTIMIZERS["sgd"], **changes):
    settings = {"batch_size": 8, "l1": 0.0, "l2": 0.0, "dtype": "float64", "seed": 7}
    return Problem(Network(inputs, layers), loss, optimizer, **(settings | changes))


def data_of(problem, n, *, weighted=False, seed=0):
    """Return random rows; `weighted`: whether they have weights, or with "targets" each target."""
    random = np.random.default_rng(seed)
    outputs, kind = problem.network.outputs, loss_row(problem.loss).targets
    X = random.normal(size=(n, problem.network.inputs)).astype(problem.dtype)
    if kind == "classes":
        targets = random.integers(0, outputs, n)
    elif kind == "binary":
        targets = random.integers(0, 2, (n, outputs)).astype(problem.dtype)
    elif kind == "counts":
        targets = random.poisson(2.0, (n, outputs)).astype(problem.dtype)
    else:
        targets = random.normal(0, 2, (n, outputs)).astype(problem.dtype)
    shape = (n, outputs) if weighted == "targets" else n
    return Data(X, targets, random.uniform(0.1, 3, shape) if weighted else None)


def parameters_of(problem, seed=1):
    """Return weights that keep the scale of what passes through, and biases that are not zero.

    Slopes of prelu are of either sign, gamma is around 1, and running variances are positive.
    """
    random = np.random.default_rng(seed)
    network, layers = problem.network, []
    for dense, (k, n), wanted in zip(
        network.parametric, network.widths, network.parameters, strict=True
    ):
        if not isinstance(dense, Dense):
            own = [each.start + random.normal(0, 0.3, n) for each in wanted]
            own = [np.maximum(each.low + 0.1, a) for each, a in zip(wanted, own, strict=True)]
            layers.append(tuple(each.astype(problem.dtype) for each in own))
            continue
        own = [random.normal(0, 1 / math.sqrt(k), (k, n)), random.normal(0, 0.3, n) * dense.bias]
        if dense.activation == "prelu":
            own.append(random.normal(0, 0.5, n))
        layers.append(tuple(each.astype(problem.dtype) for each in own))
    return layers


def zero_slots(problem):
    count = update_row(problem.optimizer).slots
    return [[tuple(map(np.zeros_like, own)) for own in parameters_of(problem)]] * count


def started(engine_class, problem, threads=1):
    engine = engine_class(problem, threads)
    engine.load(parameters_of(problem), zero_slots(problem))
    return engine


def train(engine, problem, data, epochs=(0,), rate=0.05):
    """Return the result of each epoch; rows are shuffled and every step has a rate of its own."""
    n = len(data.X)
    steps = math.ceil(n / problem.batch_size)
    rates = rate * np.linspace(1, 0.5, steps)
    return [
        engine.train_epoch(
            data, np.random.default_rng(epoch).permutation(n), rates, epoch, epoch * steps
        )
        for epoch in epochs
    ]


def run(engine_class, problem, data, *, threads=1, epochs=2, rate=0.05):
    """Return what `epochs` epochs from the problem's parameters come to."""
    with closing(started(engine_class, problem, threads)) as engine:
        results = train(engine, problem, data, range(epochs), rate)
        assert [result.bad_step for result in results] == [None] * epochs
        losses = [result.loss for result in results]
        return Run(losses, engine.parameters(), engine.slots(), engine.forward(data.X))


def assert_near(found, expected, tolerance, names=()):
    """Check arrays that belong together: no error above `tolerance` of their largest number.

    A failure says which array differs, where these have names.
    """
    found, expected = list(found), list(expected)
    assert len(found) == len(expected)
    scale = max((float(np.abs(array).max()) for array in expected), default=0.0)
    assert math.isfinite(scale), names
    names = itertools.chain(names, itertools.repeat(""))
    for one, other, name in zip(found, expected, names, strict=False):
        assert (one.shape, one.dtype) == (other.shape, other.dtype), name
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale, err_msg=name)


def assert_runs_near(found, expected, tolerance):
    """Check that two runs came to the same, array by array."""
    for one, other in zip(found.groups(), expected.groups(), strict=True):
        assert one.keys() == other.keys()
        assert_near(one.values(), other.values(), tolerance, other)


def assert_same_but_for_rounding(found, expected, dtype):
    """Check that two runs came to the same within the suite's tolerance."""
    assert_runs_near(found, expected, TOLERANCE[str(dtype)])


def assert_layers_near(found, expected, tolerance):
    """Check the arrays of all layers, every layer on its own scale."""
    for layer, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert_near(one, other, tolerance, names_of(layer))


def assert_follows_numpy(engine_class, problem, data, **settings):
    """Check that training comes to what the NumPy target's comes to."""
    found = run(engine_class, problem, data, **settings)
    expected = run(reference.Engine, problem, data, **settings)
    assert_same_but_for_rounding(found, expected, problem.dtype)


def environment(**changes):
    """Return the environment of a new interpreter that finds this fastnn and these modules."""
    places = [FOLDER, FOLDER.parent, Path(fastnn.__file__).resolve().parent.parent]
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))} | changes


def run_python(code, *arguments, **changes):
    """Return what a new interpreter prints that runs `code`, with `changes` to its environment."""
    done = subprocess.run(
        [sys.executable, "-P", *arguments, "-c", code],  # this fastnn, not that of the folder
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
