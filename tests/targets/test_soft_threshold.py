"""The l1 penalty on every target: a soft threshold after the optimizer's step."""

from contextlib import closing
from dataclasses import replace

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

from fastnn.network import Dense, Dropout
from fastnn.rules.table import UPDATES

# inputs, layers, loss: the ways of an update, and sizes around those of panels
NETWORKS = {
    "one output": (19, [Dense(1)], "mse"),
    "one input, one output": (1, [Dense(1, bias=False)], "mse"),
    "one output with a slope": (40, [Dense(1, "tanh")], "hinge"),
    "few outputs": (71, [Dense(3)], "softmax_cross_entropy"),
    "few outputs, then more": (67, [Dense(5, "tanh"), Dense(9)], "mse"),
    "many inputs": (few(257, 65), [Dense(few(40, 9), "relu"), Dense(3)], "mse"),
    "above": (5, [Dense(9, "tanh", l1=0), Dense(3)], "mse"),
    "below": (5, [Dense(9, "tanh", max_norm=1.1), Dense(3, bias=False, l1=0)], "mse"),
    "sizes of panels": (
        few(32, 16),
        [Dense(few(33, 17), "tanh"), Dense(few(31, 15), "tanh", max_norm=0.8), Dense(16)],
        "mse",
    ),
    "primes": (
        few(37, 13),
        [Dropout(0.2), Dense(few(53, 23), "silu"), Dense(few(17, 11)), Dense(2)],
        "huber",
    ),
    "slopes": (37, [Dense(33, "prelu", max_norm=0.9), Dense(3, "prelu")], "mse"),
}


def zeros_in(found):
    """Return where weights of a run are 0, and the means of weights are, as one list."""
    return [W == 0 for layers in (found.parameters, *found.slots) for W, *_ in layers]


@pytest.mark.parametrize(
    ("network", "rule", "limits", "batch_size", "dtype"),
    all_pairs(NETWORKS, OPTIMIZERS, [{}, {"clip_norm": 0.3}, {"clip_value": 0.05}], [1, 8], DTYPES),
)
def test_training_with_l1_follows_the_numpy_target(
    fast_class, network, rule, limits, batch_size, dtype
):
    inputs, layers, loss = NETWORKS[network]
    if rule == "lion" and network == "many inputs":
        dtype = "float64"  # a sign makes a step of what processors round differently
    problem = problem_of(
        inputs, layers, loss, OPTIMIZERS[rule], dtype=dtype, batch_size=batch_size, l1=0.3, l2=0.01,
        **limits,
    )  # fmt: skip
    # In float32 momentum and root mean squares magnify what 54 steps round.
    rate = 0.05 if batch_size > 1 else 0.01
    data = data_of(problem, few(27, 9), weighted=True)
    assert_follows_numpy(fast_class, problem, data, rate=rate, epochs=1 + (dtype == "float64"))


@pytest.mark.parametrize(
    ("units", "rule", "batch_size", "dtype"),
    all_pairs([1, 3, 40], ["sgd", "momentum", "averaged"], [1, 8], DTYPES),
)
def test_inputs_that_are_mostly_zero_are_shrunk_like_all_others(
    fast_class, units, rule, batch_size, dtype
):
    # A first layer that reads rows in place leaves out the columns that are zero in all of them.
    problem = problem_of(
        few(300, 70), [Dense(units)], "mse", OPTIMIZERS[rule], dtype=dtype, batch_size=batch_size,
        l1=0.2,
    )  # fmt: skip
    data = data_of(problem, few(30, 9))
    data.X[:, few(150, 35) :] = 0
    data.X[np.random.default_rng(3).random(data.X.shape) < 0.8] = 0
    assert_follows_numpy(fast_class, problem, data, epochs=4)


@pytest.mark.parametrize("rule", OPTIMIZERS)
@pytest.mark.parametrize("units", [1, 3, 17])
def test_a_step_with_l1_is_that_without_it_and_then_the_threshold(engine_class, units, rule):
    without = problem_of(23, [Dense(units)], "mse", OPTIMIZERS[rule], l2=0.1)
    data, rate = data_of(without, 8), 0.3
    with closing(started(engine_class, without)) as engine:
        train(engine, without, data, rate=rate)
        [(W, b)], before = engine.parameters(), engine.slots()
    l1 = np.sort(np.abs(W), axis=None)[W.size // 2 :][:2].mean() / rate  # half of them become 0
    shrunk = np.sign(W) * np.maximum(np.abs(W) - rate * l1, 0)
    assert np.count_nonzero(shrunk == 0) == W.size // 2 + 1
    with closing(started(engine_class, replace(without, l1=l1))) as engine:
        train(engine, without, data, rate=rate)
        [(found, bias)], slots = engine.parameters(), engine.slots()
    assert np.array_equal(found == 0, shrunk == 0)
    np.testing.assert_allclose(found, shrunk, rtol=0, atol=1e-14)
    np.testing.assert_allclose(bias, b, rtol=0, atol=1e-14)
    if not UPDATES[OPTIMIZERS[rule].rule].mean:
        for one, other in zip(slots, before, strict=True):
            np.testing.assert_allclose(one[0][0], other[0][0], rtol=0, atol=1e-14)
    else:
        assert np.array_equal(slots[-1][0][0], found)


@pytest.mark.parametrize("rule", OPTIMIZERS)
@pytest.mark.parametrize("layers", [[Dense(1)], [Dense(3)], [Dense(20, l1=0.5), Dense(2, l1=0)]])
def test_weights_of_inputs_of_no_use_become_exactly_zero(engine_class, layers, rule):
    optimizer = OPTIMIZERS[rule]
    if rule == "averaged":
        optimizer = replace(optimizer, start=150)
    problem = problem_of(8, layers, "mse", optimizer, l1=0.5)
    data = data_of(problem, 16)
    data.X[:, 4:] = 0
    data.targets[:] += 5 * data.X[:, :1]
    found = run(engine_class, problem, data, epochs=100)
    for parameters in (found.parameters, *(found.slots if rule == "averaged" else [])):
        W, *_ = parameters[0]
        assert not W[4:].any()
        assert not np.signbit(W[4:]).any()
        # Adagrad's steps become smaller and the threshold does not.
        assert W[0].any() or len(layers) > 1 or rule == "adagrad"


def test_a_penalty_out_of_all_proportion_leaves_zeros_and_biases(engine_class):
    problem = problem_of(5, [Dense(9, "tanh"), Dense(3)], "mse", l1=1e300)
    data = data_of(problem, 16)
    found = run(engine_class, problem, data)
    for W, _ in found.parameters:
        assert not W.any()
    assert found.parameters[-1][1].all()


def test_weights_that_are_not_finite_are_not_hidden(engine_class):
    # The loss is finite, but not the products of inputs and its derivatives.
    problem = problem_of(5, [Dense(3)], "mse", l1=1.0)
    data, huge = data_of(problem, 8), 1e231
    data.X[:, 2], data.targets[3] = 0, 1e81
    data.X[3, 2] = huge
    with closing(started(engine_class, problem)) as engine:
        [(W, b)] = parameters_of(problem)
        engine.load([(0 * W, b)], [])
        [result] = train(engine, problem, data, [0])
        assert result.bad_step is None and not engine.finite()


@needs_jit
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ["sgd", "adam", "averaged"])
def test_l1_gives_the_same_bits_for_any_number_of_threads(fast_class, rule, dtype):
    layers = [Dense(301, "relu"), Dense(302, "relu", l1=0.0), Dense(3)]
    problem = problem_of(
        300, layers, "mse", OPTIMIZERS[rule], dtype=dtype, batch_size=64, l1=0.01, clip_norm=1.0
    )
    data = data_of(problem, 129)
    expected = run(fast_class, problem, data)
    assert any(zeros.any() for zeros in zeros_in(expected))
    for threads in (2, 3):
        assert run(fast_class, problem, data, threads=threads).bits() == expected.bits()


@pytest.mark.parametrize("dtype", DTYPES)
def test_l1_of_zero_is_no_l1(fast_class, dtype):
    none = problem_of(5, [Dense(9, "tanh"), Dense(3)], "mse", OPTIMIZERS["adam"], dtype=dtype)
    zero = problem_of(
        5, [Dense(9, "tanh", l1=0.0), Dense(3, l1=0.0)], "mse", OPTIMIZERS["adam"], dtype=dtype,
        l1=3.0,
    )  # fmt: skip
    data = data_of(none, 20)
    assert run(fast_class, none, data).bits() == run(fast_class, zero, data).bits()
