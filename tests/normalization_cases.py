"""Networks with LayerNorm and BatchNorm in every place, and data for them."""

import numpy as np

from fastnn import SGD, Dense, LayerNorm, Network
from fastnn.inputs.data import Data
from fastnn.inputs.parameters import initial_parameters, start_slots
from fastnn.inputs.problem import Problem
from fastnn.targets.selection import engine_class

ROWS, BATCH = 20, 6  # the last batch has 2 rows
FLOAT64 = np.dtype(np.float64)
# What stands where in a network; width 1, two in a row, first, beside dropout and prelu.
NETWORKS = {
    "linear-norm-relu": [Dense(6, bias=False), "norm relu", Dense(3)],
    "after an activation": [Dense(6, "tanh"), "norm", Dense(3)],
    "first": ["norm", Dense(5, "silu"), Dense(3)],
    "two in a row": [Dense(5), "norm", "norm tanh", Dense(3)],
    "both kinds": [
        LayerNorm(),
        Dense(5),
        "norm",
        LayerNorm(epsilon=0.1),
        Dense(3),
        "norm",
        Dense(3),
    ],
    "prelu": [Dense(5, "prelu"), "norm prelu", Dense(3)],
    "narrow": [Dense(1), "norm", Dense(7, "tanh"), "norm gelu", Dense(1)],
    "softmax": [Dense(5, "softmax"), "norm softmax", Dense(3)],
    "deep": [Dense(9), "norm relu", Dense(8), "norm relu", Dense(7), "norm relu", Dense(3)],
}

REAL = np.random.default_rng(8)
X, Y = REAL.normal(1, 2, (ROWS, 4)), REAL.normal(size=(ROWS, 3))


def layers_of(name, norm):
    """Return the layers of a network with `norm` where normalization stands."""
    found = []
    for layer in NETWORKS[name]:
        if isinstance(layer, str):
            activation = (layer.split() + ["identity"])[1]
            layer = type(norm)(**{**vars(norm), "activation": activation, "alpha": None})
        found.append(layer)
    return found


def problem_of(layers, optimizer=SGD(0.05), dtype=FLOAT64, **changes):  # noqa: B008
    settings = {"batch_size": BATCH, "l1": 0.0, "l2": 0.0, "seed": 1} | changes
    return Problem(Network(4, layers), "mse", optimizer, dtype=dtype, **settings)


def data_of(problem, weighted=False):
    weights = np.random.default_rng(9).uniform(0.1, 2, ROWS) if weighted else None
    outputs = problem.network.outputs
    return Data(X.astype(problem.dtype), Y[:, :outputs].astype(problem.dtype), weights)


def started(problem, target="numpy", threads=1):
    engine = engine_class(target)(problem, threads)
    parameters = initial_parameters(problem.network, problem.seed, problem.dtype)
    # Away from where gamma, beta and b start, so that a factor that is left out shows.
    random = np.random.default_rng(2)
    parameters = [
        tuple(
            array
            if name == "variance" or (name == "bias" and not layer.bias)
            else array + random.normal(0, 0.2, array.shape).astype(array.dtype)
            for name, array in zip(shapes, arrays, strict=True)
        )
        for layer, shapes, arrays in zip(
            problem.network.parametric, problem.network.parameter_shapes, parameters, strict=True
        )
    ]
    engine.load(parameters, start_slots(problem, parameters))
    return engine, parameters
