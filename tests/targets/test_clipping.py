"""A gradient clipped by value, by its norm or by both, on every target."""

import math
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from pairs import all_pairs
from target_cases import (
    DTYPES,
    OPTIMIZERS,
    assert_follows_numpy,
    assert_near,
    assert_same_but_for_rounding,
    data_of,
    few,
    needs_jit,
    problem_of,
    run,
    started,
    train,
)

from fastnn.inputs.data import Data
from fastnn.network import SGD, Dense, Dropout
from fastnn.targets import numpy as reference

LIMITS = {
    "value": {"clip_value": 0.02},
    "norm": {"clip_norm": 0.3},
    "both": {"clip_value": 0.05, "clip_norm": 0.3},
}
HIDDEN = [Dense(9, "tanh"), Dense(3)]
# inputs, layers, loss: the paths of an update, and sizes around those of panels
NETWORKS = {
    "one output": (19, [Dense(1)], "mse"),
    "one input, one output": (1, [Dense(1, bias=False)], "mse"),
    "few outputs": (71, [Dense(3)], "softmax_cross_entropy"),
    "few outputs, then more": (67, [Dense(5, "tanh", bias=False), Dense(9)], "mse"),
    "hidden layer": (5, HIDDEN, "mse"),
    "one output with a slope": (19, [Dense(1, "prelu")], "mse"),
    "few outputs with slopes": (71, [Dense(3, "prelu", bias=False), Dense(33, "prelu")], "mse"),
    "sizes of panels": (
        few(32, 16),
        [Dense(few(33, 17), "tanh"), Dense(few(31, 15), "tanh"), Dense(16)],
        "mse",
    ),
    "primes": (
        few(37, 13),
        [Dropout(0.2), Dense(few(53, 23), "silu"), Dense(few(17, 11), bias=False), Dense(2)],
        "huber",
    ),
}
# inputs, layers, batch: what threads share
LARGE = {
    "small ones": (97, [Dense(131, "relu"), Dense(67, "relu"), Dense(5)], 33),
    "few outputs, cut into tiles": (611, [Dense(7, "tanh"), Dense(40)], 16),
    "layers by themselves": (300, [Dense(301, "relu"), Dense(302, "relu"), Dense(3)], 64),
}


@pytest.mark.parametrize(
    ("limits", "network", "rule", "dtype"),
    all_pairs(LIMITS, NETWORKS, ["sgd", "nesterov", "adamw"], DTYPES),
)
def test_clipped_training_follows_the_numpy_target(fast_class, network, limits, rule, dtype):
    inputs, layers, loss = NETWORKS[network]
    problem = problem_of(
        inputs, layers, loss, OPTIMIZERS[rule], dtype=dtype, l1=0.01, l2=0.1, **LIMITS[limits]
    )
    assert_follows_numpy(fast_class, problem, data_of(problem, 27, weighted=True), epochs=3)


def size_of(step):
    return math.sqrt(sum(float((change.astype(float) ** 2).sum()) for change in step))


def flat(parameters):
    return [array for pair in parameters for array in pair]


def step_of(engine, problem, data):
    """Return how one step of plain SGD at rate 1 lowers all parameters."""
    before = flat(engine.parameters())
    train(engine, problem, data, rate=1.0)
    return [one - other for one, other in zip(before, flat(engine.parameters()), strict=True)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_is_the_formula_applied_to_the_unclipped_gradient(engine_class, dtype):
    value, norm = 0.05, 0.2
    limits = {"clip_value": value, "clip_norm": norm}
    problem = problem_of(37, HIDDEN, optimizer=SGD(1.0), dtype=dtype, l2=0.3, **limits)
    data = data_of(problem, 8)
    with closing(started(engine_class, problem)) as engine:
        gradients = flat(engine.gradients(data)[1])
        steps = step_of(engine, problem, data)
    assert max(np.abs(g).max() for g in gradients) > 2 * value  # not clipped themselves
    expected = [np.minimum(np.maximum(g, -value), value) for g in gradients]
    length = size_of(expected)
    assert length > norm
    expected = [g * np.asarray(norm / (length + 1e-6), dtype) for g in expected]
    assert_near(steps, expected, 100 * np.finfo(dtype).eps)
    assert size_of(steps) == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize("limits", [{"clip_value": 1e6}, {"clip_norm": 1e6}, {"clip_norm": 1e300}])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_limit_out_of_reach_changes_nothing_but_rounding(engine_class, network, limits):
    inputs, layers, loss = NETWORKS[network]
    free = problem_of(inputs, layers, loss, OPTIMIZERS["momentum"], l2=0.1)
    held = problem_of(inputs, layers, loss, OPTIMIZERS["momentum"], l2=0.1, **limits)
    data = data_of(free, 27)
    expected = run(engine_class, free, data)
    assert_same_but_for_rounding(run(engine_class, held, data), expected, "float64")


@needs_jit
@pytest.mark.parametrize(("network", "limits", "dtype"), all_pairs(LARGE, LIMITS, DTYPES))
def test_clipping_gives_the_same_bits_for_any_number_of_threads(fast_class, network, limits, dtype):
    inputs, layers, batch = LARGE[network]
    problem = problem_of(
        inputs, layers, "mse", OPTIMIZERS["adam"], batch_size=batch, dtype=dtype, **LIMITS[limits]
    )
    data = data_of(problem, 3 * batch + 1)
    expected = run(fast_class, problem, data).bits()
    for threads in (2, 3, 5):
        assert run(fast_class, problem, data, threads=threads).bits() == expected
    # In float32, hundreds of units are beyond the suite's tolerance; Adam magnifies the rounding of
    # gradients near 0.
    if dtype == "float64":
        problem = replace(problem, optimizer=OPTIMIZERS["momentum"])
        assert_follows_numpy(fast_class, problem, data, threads=2)


@pytest.mark.parametrize("layers", [[Dense(1)], [Dense(3)], [Dense(9, "tanh"), Dense(20)]])
def test_squares_beyond_float64_do_not_make_the_norm_infinite(engine_class, layers):
    problem = problem_of(37, layers, "mae", SGD(1.0), clip_norm=0.5)
    data = data_of(problem, 8)
    data.X[:] *= 1e180
    with closing(started(engine_class, problem)) as engine:
        engine.load([(0 * W, 0 * b) for W, b in engine.parameters()], [])
        steps = step_of(engine, problem, data)
    # A hidden layer below weights that are all zero has no gradient, so that only biases move.
    assert size_of(steps) <= 0.5 * (1 + 1e-9)
    if len(layers) == 1:
        assert size_of(steps) == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layers", [[Dense(1)], [Dense(3)], [Dense(40, "relu"), Dense(3)]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gradient_that_is_not_finite_is_not_hidden(engine_class, threads, layers, dtype):
    # Losses are finite, but products of inputs and their derivatives are not.
    problem = problem_of(5, layers, "mse", SGD(0.1), dtype=dtype, clip_norm=1.0)
    data = data_of(problem, 16)
    huge = float(np.finfo(dtype).max) ** 0.75
    X, targets = data.X.copy(), data.targets.copy()
    X[:, 2] = 0
    X[3, 2], targets[3] = huge, 1e4 * huge ** (1 / 3)
    with closing(started(engine_class, problem, threads)) as engine:
        (W, b), *others = engine.parameters()
        engine.load([(0 * W, b), *others], [])
        results = train(engine, problem, Data(X, targets), [0])
        assert results[0].bad_step is not None or not engine.finite()


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("layers", [[Dense(1)], [Dense(9, "tanh"), Dense(3)]])
def test_gradients_for_checks_are_those_without_limits(engine_class, layers, limits):
    free = problem_of(5, layers, l1=0.1, l2=0.3)
    held = problem_of(5, layers, l1=0.1, l2=0.3, **LIMITS[limits])
    data = data_of(free, 8)
    found = []
    for problem in (free, held):
        with closing(started(engine_class, problem)) as engine:
            found.append(flat(engine.gradients(data)[1]))
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))


def test_the_numpy_targets_limits_are_the_formulas():
    pairs = [(np.array([[3.0, -4.0]]), np.array([12.0, 0.0]))]
    [(dW, db)] = reference.updates.clipped(pairs, 5.0, None)
    assert dW.tolist() == [[3.0, -4.0]] and db.tolist() == [5.0, 0.0]
    [(dW, db)] = reference.updates.clipped(pairs, None, 6.5)
    factor = 6.5 / (13.0 + 1e-6)
    np.testing.assert_allclose(dW, [[3 * factor, -4 * factor]], rtol=1e-15)
    np.testing.assert_allclose(db, [12 * factor, 0], rtol=1e-15)
    [(dW, db)] = reference.updates.clipped(pairs, None, 13.1)
    assert dW.tolist() == [[3.0, -4.0]] and db.tolist() == [12.0, 0.0]
    zeros = [(np.zeros((2, 2)), np.zeros(2))]
    assert not reference.updates.clipped(zeros, None, 1e-3)[0][0].any()
