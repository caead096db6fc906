"""Weights of rows and of targets: every batch's gradient is an unbiased estimate of the whole."""

import math
from contextlib import closing

import numpy as np
import pytest
from target_cases import (
    DTYPES,
    OPTIMIZERS,
    TOLERANCE,
    assert_follows_numpy,
    assert_near,
    assert_runs_near,
    data_of,
    few,
    needs_jit,
    parameters_of,
    problem_of,
    run,
    started,
)

from fastnn.graph import log, where
from fastnn.inputs.data import Data
from fastnn.network import Dense, Dropout
from fastnn.targets import numpy as reference

HIDDEN = [Dense(6, "tanh")]


def weights_of(data, shape, seed=5):
    """Return weights from 0 to 3, some of them 0."""
    random = np.random.default_rng(seed)
    weights = random.uniform(0, 3, shape)
    weights[random.random(shape) < 0.2] = 0
    weights.flat[0] = 1
    return weights


def weighted(problem, n, kind, seed=5):
    """Return data whose rows, or whose targets, have weights."""
    data = data_of(problem, n)
    shape = n if kind == "rows" else (n, problem.network.outputs)
    return Data(data.X, data.targets, weights_of(data, shape, seed))


def objective(problem, data, parameters):
    """Return sum w l / sum w of all rows, from outputs alone."""
    with closing(reference.Engine(problem)) as engine:
        engine.load(parameters, [])
        p, y = engine.forward(data.X), data.targets
    if problem.loss == "softmax_cross_entropy":
        top = p.max(axis=1, keepdims=True)
        logs = np.log(np.exp(p - top).sum(axis=1)) + top[:, 0]
        losses = logs - p[np.arange(len(p)), y]
    else:
        losses = np.log1p(np.exp(p)) - y * p if "binary" in problem.loss else (p - y) ** 2 / 2
        losses = losses if data.weights.ndim == 2 else losses.mean(axis=1)
    return (data.weights * losses).sum() / data.weights.sum()


def differences(problem, data):
    """Return the central differences of `objective` by each parameter."""
    found = []
    for layer, arrays in enumerate(parameters_of(problem)):
        for place, array in enumerate(arrays):
            slopes = np.zeros_like(array)
            for index in np.ndindex(array.shape):
                ends = []
                for step in (1e-6, -1e-6):
                    moved = [[each.copy() for each in own] for own in parameters_of(problem)]
                    moved[layer][place][index] += step
                    ends.append(objective(problem, data, [tuple(own) for own in moved]))
                slopes[index] = (ends[0] - ends[1]) / 2e-6
            found.append(slopes)
    return found


def batch_gradients(engine_class, problem, data):
    """Return the gradient of each batch of an epoch, all at the same parameters."""
    steps = -(-len(data) // problem.batch_size)
    found = []
    for step in range(steps):
        with closing(started(engine_class, problem)) as engine:
            engine.train_epoch(data, np.arange(len(data)), 1.0 * (np.arange(steps) == step), 0, 0)
            found.append(
                [
                    before - after
                    for own, other in zip(parameters_of(problem), engine.parameters(), strict=True)
                    for before, after in zip(own, other, strict=True)
                ]
            )
    return found


@pytest.mark.parametrize(
    ("loss", "layers", "kind"),
    [
        ("binary_cross_entropy", [Dense(1)], "rows"),
        ("binary_cross_entropy", [*HIDDEN, Dense(1)], "rows"),
        ("softmax_cross_entropy", [*HIDDEN, Dense(3)], "rows"),
        ("mse", [Dense(2)], "rows"),
        ("mse", [Dense(2)], "targets"),
        ("binary_cross_entropy", [*HIDDEN, Dense(3)], "targets"),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 3, 12])
def test_the_mean_of_equal_batches_gradients_is_the_gradient_of_the_whole(
    engine_class, loss, layers, kind, batch_size
):
    problem = problem_of(4, layers, loss, batch_size=batch_size)
    data = weighted(problem, 12, kind)
    every = batch_gradients(engine_class, problem, data)
    means = [sum(own) / len(own) for own in zip(*every, strict=True)]
    for mean, slopes in zip(means, differences(problem, data), strict=True):
        np.testing.assert_allclose(mean, slopes, atol=2e-9)


@pytest.mark.parametrize("kind", ["rows", "targets"])
def test_a_last_batch_divides_by_its_own_rows(engine_class, kind):
    problem = problem_of(4, [Dense(2)], batch_size=4)
    data = weighted(problem, 10, kind)
    W, b = parameters_of(problem)[0]
    share = data.weights.reshape(10, -1)[8:] / data.weights.mean() / (2 * 2)
    d = (data.X[8:] @ W + b - data.targets[8:]) * share
    found = batch_gradients(engine_class, problem, data)[-1]
    np.testing.assert_allclose(found[0], data.X[8:].T @ d, rtol=1e-10)
    np.testing.assert_allclose(found[1], d.sum(axis=0), rtol=1e-10)


SHAPES = [
    # rows, inputs, hidden, outputs, batch
    (1, 1, [], 2, 8),
    (7, 3, [], 2, 1),
    (9, 70, [], 2, 4),
    (13, 33, [Dense(3, "relu")], 7, 5),
    (17, 5, [Dense(9, "gelu")], 8, 16),
    (33, 4, [Dense(17, "tanh")], 9, 8),
    (40, 4, [Dropout(0.2), Dense(5, "prelu")], 15, 40),
    (40, 6, [], 17, 64),
    (70, 18, [Dense(40, "relu")], few(33, 4), 65),
]


@pytest.mark.parametrize("kind", ["rows", "targets"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_weighted_training_follows_the_numpy_target(fast_class, shape, dtype, kind):
    n, inputs, hidden, outputs, batch = shape
    problem = problem_of(inputs, [*hidden, Dense(outputs)], dtype=dtype, batch_size=batch)
    assert_follows_numpy(fast_class, problem, weighted(problem, n, kind))


@pytest.mark.parametrize("rule", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [1, 8])
def test_weights_of_one_output_follow_the_numpy_target(fast_class, rule, batch_size):
    problem = problem_of(5, [Dense(1)], "huber", OPTIMIZERS[rule], batch_size=batch_size)
    assert_follows_numpy(fast_class, problem, weighted(problem, 20, "rows"))


@pytest.mark.parametrize(
    "loss", ["binary_cross_entropy", "mse", "mae", "huber", "hinge", "squared_hinge", "perceptron"]
)
def test_weights_of_targets_follow_the_numpy_target_with_every_loss(fast_class, loss):
    problem = problem_of(4, [*HIDDEN, Dense(3)], loss)
    assert_follows_numpy(fast_class, problem, weighted(problem, 19, "targets"))


@pytest.mark.parametrize("rule", ["adam", "momentum"])
@pytest.mark.parametrize("clip", [{"clip_norm": 0.1}, {"clip_value": 0.02}])
def test_weights_of_targets_follow_the_numpy_target_where_gradients_are_clipped(
    fast_class, rule, clip
):
    problem = problem_of(4, [*HIDDEN, Dense(3)], optimizer=OPTIMIZERS[rule], l2=0.1, **clip)
    assert_follows_numpy(fast_class, problem, weighted(problem, 19, "targets"))


@pytest.mark.parametrize("layers", [[Dense(3)], [*HIDDEN, Dense(3)]], ids=["one", "two"])
def test_targets_with_the_weight_of_their_row_are_a_row_with_it(engine_class, layers):
    problem = problem_of(4, layers)
    data = weighted(problem, 19, "rows")
    each = Data(data.X, data.targets, np.repeat(data.weights[:, None], 3, axis=1))
    one, other = (run(engine_class, problem, given) for given in (data, each))
    assert_runs_near(one, other, 1e-14)


@pytest.mark.parametrize("kind", ["rows", "targets"])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_equal_weights_come_to_the_bits_of_none(engine_class, outputs, batch_size, kind):
    problem = problem_of(4, [Dense(outputs)], dtype="float32", batch_size=batch_size)
    data = data_of(problem, 19)
    shape = 19 if kind == "rows" else (19, outputs)
    expected = run(engine_class, problem, data)
    for weight in (1.0, 0.3, 7e-300):
        found = run(engine_class, problem, Data(data.X, data.targets, np.full(shape, weight)))
        assert found.bits() == expected.bits()


@pytest.mark.parametrize("kind", ["rows", "targets"])
@pytest.mark.parametrize("layers", [[Dense(1)], [*HIDDEN, Dense(2)]], ids=["one", "two"])
def test_weights_times_a_power_of_two_come_to_the_same_bits(engine_class, layers, kind):
    problem = problem_of(4, layers, dtype="float32")
    kind = kind if layers[-1].units > 1 else "rows"
    data = weighted(problem, 19, kind)
    other = Data(data.X, data.targets, data.weights * 2.0**-70)
    bits = [run(engine_class, problem, given).bits() for given in (data, other)]
    assert bits[0][1:] == bits[1][1:]


@pytest.mark.parametrize("kind", ["rows", "targets"])
@pytest.mark.parametrize(
    ("loss", "layers"),
    [
        ("mse", [Dense(1)]),
        ("mse", [Dense(2)]),
        ("softmax_cross_entropy", [Dense(3)]),
        # Infinite at the target 0 that stands there, and so is the derivative.
        (lambda p, y: (p + y) * log(y) * 0.01 + where(p > y, p - y, y - p), [Dense(2)]),
    ],
)
def test_what_has_weight_zero_does_not_count_whatever_it_is(engine_class, loss, layers, kind):
    problem = problem_of(4, layers, loss, dtype="float32", batch_size=6)
    if kind == "targets" and (problem.loss == "softmax_cross_entropy" or layers[0].units == 1):
        pytest.skip("this network has one loss a row, so targets have no weights of their own")
    data = weighted(problem, 20, kind)
    if not isinstance(loss, str):
        data = Data(data.X, np.abs(data.targets) + 0.1, data.weights)
    wild, X = data.targets.copy(), data.X.copy()
    out = data.weights == 0
    assert out.any()
    if loss == "mse":
        wild[out] = 1e30  # whose square is infinite
    elif loss == "softmax_cross_entropy":
        wild[out] = (wild[out] + 1) % 3
    else:
        wild[out] = 0
    expected = run(engine_class, problem, data)
    found = run(engine_class, problem, Data(X, wild, data.weights))
    assert found.bits() == expected.bits()
    assert math.isfinite(found.losses[-1])


@pytest.mark.parametrize("kind", ["rows", "targets"])
def test_gradients_of_weighted_data_are_those_of_the_whole(engine_class, kind):
    problem = problem_of(4, [*HIDDEN, Dense(3)], l2=0.1)
    data = weighted(problem, 19, kind)
    found = []
    for make in (reference.Engine, engine_class):
        with closing(started(make, problem)) as engine:
            loss, gradients = engine.gradients(data)
            found.append([np.array(loss), *sum(map(list, gradients), [])])
    assert_near(*found, TOLERANCE["float64"])


@needs_jit
@pytest.mark.parametrize("kind", ["rows", "targets"])
def test_threads_do_not_change_weighted_bits(fast_class, kind):
    problem = problem_of(70, [Dense(90, "relu"), Dense(33)], dtype="float32", batch_size=64)
    data = weighted(problem, 150, kind)
    bits = [run(fast_class, problem, data, threads=threads).bits() for threads in (1, 2, 3)]
    assert bits[0] == bits[1] == bits[2]
