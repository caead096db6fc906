"""What a layer is held to, on every target: its own penalties, and a norm of its columns."""

from contextlib import closing

import numpy as np
import pytest
from pairs import all_pairs
from target_cases import (
    DTYPES,
    OPTIMIZERS,
    assert_follows_numpy,
    data_of,
    few,
    needs_jit,
    parameters_of,
    problem_of,
    run,
    started,
    train,
)

from fastnn.network import SGD, Dense, Dropout

# inputs, layers, loss: the paths of an update, and sizes around those of panels
NETWORKS = {
    "one output": (19, [Dense(1, max_norm=0.4)], "mse"),
    "one input, one output": (1, [Dense(1, bias=False, max_norm=0.01)], "mse"),
    "one output with a slope": (19, [Dense(1, "tanh", max_norm=0.4)], "mse"),
    "few outputs": (71, [Dense(3, max_norm=0.9)], "softmax_cross_entropy"),
    "few outputs, then more": (67, [Dense(5, "tanh", max_norm=0.9), Dense(9)], "mse"),
    "above": (5, [Dense(9, "tanh"), Dense(3, max_norm=0.6)], "mse"),
    "both": (5, [Dense(9, "tanh", max_norm=1.1), Dense(3, bias=False, max_norm=0.6)], "mse"),
    "sizes of panels": (
        few(32, 16),
        [
            Dense(few(33, 17), "tanh", max_norm=0.9),
            Dense(few(31, 15), "tanh", max_norm=0.8),
            Dense(16),
        ],
        "mse",
    ),
    "primes": (
        few(37, 13),
        [
            Dropout(0.2),
            Dense(few(53, 23), "silu"),
            Dense(few(17, 11), max_norm=0.7),
            Dense(2, max_norm=0.5),
        ],
        "huber",
    ),
    "slopes": (37, [Dense(33, "prelu", max_norm=0.9), Dense(3, "prelu", max_norm=0.6)], "mse"),
    "few outputs with slopes": (71, [Dense(3, "prelu", max_norm=0.6)], "mse"),
    "softmax inside": (5, [Dense(40, "softmax", max_norm=0.8), Dense(3)], "mse"),
}


@pytest.mark.parametrize(
    ("network", "rule", "limits", "dtype"),
    all_pairs(NETWORKS, ["sgd", "nesterov", "adamw", "averaged"], [{}, {"clip_norm": 0.3}], DTYPES),
)
def test_limited_columns_follow_the_numpy_target(fast_class, network, rule, limits, dtype):
    inputs, layers, loss = NETWORKS[network]
    problem = problem_of(inputs, layers, loss, OPTIMIZERS[rule], dtype=dtype, **limits)
    assert_follows_numpy(fast_class, problem, data_of(problem, 27, weighted=True), epochs=3)


@pytest.mark.parametrize(
    ("network", "rule", "batch_size", "dtype"),
    all_pairs(NETWORKS, ["sgd", "adam", "averaged"], [1, 8], DTYPES),
)
def test_no_column_is_longer_than_its_limit_after_training(
    engine_class, network, rule, batch_size, dtype
):
    inputs, layers, loss = NETWORKS[network]
    problem = problem_of(inputs, layers, loss, OPTIMIZERS[rule], batch_size=batch_size, dtype=dtype)
    found = run(engine_class, problem, data_of(problem, 27))
    groups = [found.parameters, *(found.slots if rule == "averaged" else [])]
    for parameters in groups:
        for dense, (W, *_), (start, *_) in zip(
            problem.network.dense, parameters, parameters_of(problem), strict=True
        ):
            if dense.max_norm is not None:
                assert np.linalg.norm(start, axis=0).max() > dense.max_norm
                longest = np.linalg.norm(W.astype(np.float64), axis=0).max()
                assert longest <= dense.max_norm * (1 + 4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("layers", [[Dense(1, max_norm=1.0)], [Dense(40, max_norm=1.0)]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_step_is_the_formula_and_leaves_biases_alone(engine_class, layers, dtype):
    problem = problem_of(37, layers, optimizer=SGD(1.0), dtype=dtype)
    data = data_of(problem, 8)
    with closing(started(engine_class, problem)) as engine:
        [(W, b)] = engine.parameters()
        [(dW, db)] = engine.gradients(data)[1]
        train(engine, problem, data, rate=1.0)
        [(W_after, b_after)] = engine.parameters()
    W = (W - dW).astype(np.float64)
    norms = np.linalg.norm(W, axis=0)
    assert norms.max() > 1
    W[:, norms > 1] *= (1 / (norms + 1e-7))[norms > 1]
    tolerance = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(W_after, W, rtol=0, atol=tolerance)
    np.testing.assert_allclose(b_after, b - db, rtol=0, atol=tolerance)


@pytest.mark.parametrize("layers", [[Dense(1, max_norm=2.0)], [Dense(3, max_norm=2.0)]])
@pytest.mark.parametrize("inputs", [7, 97])
def test_squares_beyond_float64_do_not_make_a_norm_infinite(engine_class, layers, inputs):
    problem = problem_of(inputs, layers, "mae", SGD(0.0))
    data = data_of(problem, 4)
    with closing(started(engine_class, problem)) as engine:
        [(W, b)] = parameters_of(problem)
        engine.load([(W * 1e200, b)], [])
        engine.train_epoch(data, np.arange(4), np.zeros(1), 0, 0)
        [(found, _)] = engine.parameters()
    np.testing.assert_allclose(found, 2 * W / np.linalg.norm(W, axis=0), rtol=1e-12)


@pytest.mark.parametrize("layers", [[Dense(1)], [Dense(3)], [Dense(21), Dense(3)]])
@pytest.mark.parametrize("inputs", [7, 97])
def test_squares_beyond_float64_do_not_make_the_norm_of_a_gradient_infinite(
    engine_class, layers, inputs
):
    problem = problem_of(inputs, layers, "mae", SGD(1.0), batch_size=4, clip_norm=0.5)
    data = data_of(problem, 4)
    data.X[:] *= 1e200
    with closing(started(engine_class, problem)) as engine:
        before, gradients = engine.parameters(), engine.gradients(data)[1]
        engine.train_epoch(data, np.arange(4), np.ones(1), 0, 0)
        after = engine.parameters()
    parts = [part.ravel() / 1e200 for pair in gradients for part in pair]
    norm = np.linalg.norm(np.concatenate(parts))
    for pair, changed, gradient in zip(before, after, gradients, strict=True):
        for was, now, slope in zip(pair, changed, gradient, strict=True):
            np.testing.assert_allclose(now, was - 0.5 * slope / 1e200 / norm, atol=1e-12)


# inputs, layers, batch: what threads share
LARGE = {
    "small ones": (
        97,
        [Dense(131, "relu", max_norm=0.9), Dense(67, "relu", max_norm=0.9), Dense(5)],
        33,
    ),
    "few outputs, cut into tiles": (
        611,
        [Dense(7, "tanh", max_norm=0.9), Dense(40, max_norm=0.9)],
        16,
    ),
    "layers by themselves": (
        300,
        [Dense(301, "relu"), Dense(302, "relu", max_norm=0.9), Dense(3)],
        64,
    ),
}


@needs_jit
@pytest.mark.parametrize(
    ("network", "limits", "dtype"), all_pairs(LARGE, [{}, {"clip_norm": 0.3}], DTYPES)
)
def test_limited_columns_are_the_same_bits_for_any_number_of_threads(
    fast_class, network, limits, dtype
):
    inputs, layers, batch = LARGE[network]
    problem = problem_of(
        inputs, layers, "mse", OPTIMIZERS["averaged"], batch_size=batch, dtype=dtype, **limits
    )
    data = data_of(problem, 3 * batch + 1)
    expected = run(fast_class, problem, data).bits()
    for threads in (2, 3, 5):
        assert run(fast_class, problem, data, threads=threads).bits() == expected
    if dtype == "float64":  # in float32, hundreds of units are beyond the suite's tolerance
        assert_follows_numpy(fast_class, problem, data, threads=2)


PENALTIES = {
    "one output": (19, [Dense(1, l1=0.1, l2=0.3)]),
    "few outputs": (71, [Dense(3, l1=0.1), Dense(9, l2=0.4)]),
    "l2 of one layer": (5, [Dense(9, "tanh", l2=0.4), Dense(7, "tanh"), Dense(3)]),
    "none in one layer": (5, [Dense(9, "tanh"), Dense(7, "tanh", l1=0, l2=0.0), Dense(3)]),
    "each its own": (40, [Dense(33, "tanh", l1=0.2, l2=0.1), Dense(3, l1=0.02, l2=0.3)]),
}


@pytest.mark.parametrize(
    ("network", "rule", "common", "dtype"),
    all_pairs(
        PENALTIES,
        ["sgd", "adam"],
        [{}, {"l2": 0.2}, {"l1": 0.05, "l2": 0.1, "clip_norm": 0.4}],
        DTYPES,
    ),
)
def test_penalties_of_each_layer_follow_the_numpy_target(fast_class, network, rule, common, dtype):
    inputs, layers = PENALTIES[network]
    problem = problem_of(inputs, layers, "mse", OPTIMIZERS[rule], dtype=dtype, **common)
    assert_follows_numpy(fast_class, problem, data_of(problem, 27, weighted=True), epochs=2)


@pytest.mark.parametrize("network", PENALTIES)
def test_the_gradient_of_a_layers_l2_penalty_is_the_formula_and_l1_is_not_in_it(
    engine_class, network
):
    inputs, layers = PENALTIES[network]
    bare = problem_of(inputs, [Dense(each.units, each.activation) for each in layers])
    held = problem_of(inputs, layers, l1=0.7, l2=0.9)
    data = data_of(bare, 8)
    found = []
    for problem in (bare, held):
        with closing(started(engine_class, problem)) as engine:
            found.append(engine.gradients(data)[1])
    penalties = [
        (0.7 if each.l1 is None else each.l1, 0.9 if each.l2 is None else each.l2)
        for each in layers
    ]
    assert held.penalties == tuple(penalties)
    for (_, l2), (W, _), one, other in zip(penalties, parameters_of(bare), *found, strict=True):
        np.testing.assert_allclose(other[0], one[0] + l2 * W, rtol=1e-12, atol=1e-14)
        assert np.array_equal(other[1], one[1])


def test_a_layers_own_penalty_is_that_of_the_trainer(engine_class):
    own = problem_of(5, [Dense(9, "tanh", l1=0.1, l2=0.2), Dense(3, l1=0.1, l2=0.2)])
    common = problem_of(5, [Dense(9, "tanh"), Dense(3)], l1=0.1, l2=0.2)
    data = data_of(own, 20)
    assert run(engine_class, own, data).bits() == run(engine_class, common, data).bits()
