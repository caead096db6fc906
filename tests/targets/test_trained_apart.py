"""Layers that are not trained, and layers with a rate of their own, on every target."""

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
    data_of,
    few,
    needs_jit,
    parameters_of,
    problem_of,
    run,
    started,
    train,
)

from fastnn.inputs.parameters import start_slots
from fastnn.network import AdamW, Dense, Dropout

FROZEN = {"trainable": False}
# inputs, layers, loss
NETWORKS = {
    "the first": (5, [Dense(9, "tanh", **FROZEN), Dense(3)], "mse"),
    "a first one of few outputs": (71, [Dense(3, "tanh", **FROZEN), Dense(9)], "mse"),
    "the last": (5, [Dense(9, "tanh"), Dense(3, **FROZEN)], "softmax_cross_entropy"),
    "the last of few outputs": (71, [Dense(3, "tanh"), Dense(2, **FROZEN)], "mse"),
    "one between": (
        few(37, 13),
        [Dense(few(33, 9), "silu"), Dense(few(17, 7), "relu", **FROZEN), Dense(3)],
        "huber",
    ),
    "all before the last": (
        few(40, 12),
        [
            Dropout(0.2),
            Dense(few(33, 9), "prelu", **FROZEN),
            Dense(few(17, 7), "softmax", **FROZEN),
            Dense(3, "prelu", max_norm=0.7),
        ],
        "mse",
    ),
    "all but the first": (
        few(40, 12),
        [
            Dense(few(33, 9), "prelu", max_norm=0.9),
            Dropout(0.3),
            Dense(few(17, 7), "prelu", max_norm=0.1, l1=0.5, **FROZEN),
            Dense(3, max_norm=0.1, **FROZEN),
        ],
        "mse",
    ),
    "rates of their own": (
        few(37, 13),
        [
            Dense(few(33, 9), "prelu", rate_factor=0.3),
            Dense(few(17, 7), "tanh", rate_factor=2.5),
            Dense(3, "prelu"),
        ],
        "mse",
    ),
    "rates of biases": (
        few(37, 13),
        [
            Dense(few(33, 9), "prelu", rate_factor=0.3, bias_rate_factor=3.0),
            Dense(few(17, 7), "tanh"),
            Dense(3, bias_rate_factor=0.01),
        ],
        "mse",
    ),
    "a rate of one output": (19, [Dense(1, rate_factor=0.3)], "mse"),
    "a rate of one bias": (19, [Dense(1, rate_factor=3.0, bias_rate_factor=0.3)], "mse"),
    "a bias that stays": (19, [Dense(1, bias_rate_factor=0.0, bias_init=0.5)], "mse"),
    "biases that stay": (
        23,
        [Dense(9, "tanh", bias_rate_factor=0.0, bias_init=0.5), Dense(3, bias_rate_factor=0.0)],
        "mse",
    ),
    "a rate of few biases": (71, [Dense(3, bias_rate_factor=0.3)], "mse"),
    "a rate of biases in lanes": (23, [Dense(9, bias_rate_factor=0.3)], "mse"),
    "a rate of biases in a softmax": (
        23,
        [Dense(9, bias_rate_factor=0.3)],
        "softmax_cross_entropy",
    ),
    "a rate of few outputs": (71, [Dense(3, rate_factor=0.3)], "mse"),
    "a rate of one output with a slope": (19, [Dense(1, "tanh", rate_factor=3)], "mse"),
    "both": (
        few(67, 21),
        [Dense(5, "tanh", rate_factor=0.5), Dense(9, "tanh", **FROZEN), Dense(4, rate_factor=2)],
        "mse",
    ),
}
SETTINGS = {
    "alone": {},
    "penalties": {"l1": 0.05, "l2": 0.1},
    "norm": {"clip_norm": 0.3, "l1": 0.01},
    "value": {"clip_value": 0.02},
}


@pytest.mark.parametrize(
    ("network", "rule", "settings", "batch_size", "dtype"),
    all_pairs(NETWORKS, OPTIMIZERS, SETTINGS, [1, 8], DTYPES),
)
def test_layers_trained_apart_follow_the_numpy_target(
    fast_class, network, rule, settings, batch_size, dtype
):
    inputs, layers, loss = NETWORKS[network]
    problem = problem_of(
        inputs, layers, loss, OPTIMIZERS[rule], dtype=dtype, batch_size=batch_size,
        **SETTINGS[settings],
    )  # fmt: skip
    # In float32 momentum and root mean squares magnify what 54 steps round.
    rate = 0.05 if batch_size > 1 else 0.005
    data = data_of(problem, few(27, 9), weighted=True)
    assert_follows_numpy(fast_class, problem, data, rate=rate, epochs=1 + (dtype == "float64"))


@pytest.mark.parametrize(
    ("network", "rule", "settings", "batch_size"),
    all_pairs([name for name in NETWORKS if "rate" not in name], OPTIMIZERS, SETTINGS, [1, 8]),
)
def test_a_layer_that_is_not_trained_keeps_its_bits(
    engine_class, network, rule, settings, batch_size
):
    inputs, layers, loss = NETWORKS[network]
    problem = problem_of(
        inputs, layers, loss, OPTIMIZERS[rule], batch_size=batch_size, **SETTINGS[settings]
    )
    before = parameters_of(problem)
    # State such as an earlier training leaves behind.
    slots = [
        [tuple(np.abs(each) + 0.5 for each in own) for own in slot]
        for slot in start_slots(problem, before)
    ]
    with closing(engine_class(problem)) as engine:
        engine.load(before, slots)
        train(engine, problem, data_of(problem, few(27, 9)), epochs=(0, 1))
        found = engine.parameters(), *engine.slots()
    for start, copy in zip((before, *slots), found, strict=True):
        for dense, own, other in zip(problem.network.dense, start, copy, strict=True):
            for one, after in zip(own[:1], other[:1], strict=True):
                assert np.array_equal(one, after) != dense.trainable
            if not dense.trainable:
                assert all(map(np.array_equal, own, other))


@pytest.mark.parametrize("rule", OPTIMIZERS)
@pytest.mark.parametrize(
    "layers", [[Dense(1)], [Dense(3)], [Dense(9, "prelu"), Dense(17, "prelu")]]
)
def test_a_factor_of_every_layer_is_a_factor_of_the_rate(engine_class, layers, rule):
    settings = {"l1": 0.05, "l2": 0.1, "clip_norm": 0.5}
    plain = problem_of(5, layers, "mse", OPTIMIZERS[rule], **settings)
    data = data_of(plain, 20)
    expected = run(engine_class, plain, data, rate=0.025)
    layers = [replace(each, rate_factor=0.25) for each in layers]
    slower = problem_of(5, layers, "mse", OPTIMIZERS[rule], **settings)
    found = run(engine_class, slower, data, rate=0.1)
    for one, other in zip(found.groups(), expected.groups(), strict=True):
        assert_near(one.values(), other.values(), 1e-13, other)


def test_decoupled_decay_of_a_layer_goes_by_its_own_rate(engine_class):
    layers = [Dense(9, "tanh", rate_factor=0.5), Dense(3, rate_factor=4)]
    problem = problem_of(5, layers, "mse", AdamW(0.1, weight_decay=0.25))
    data = data_of(problem, 8)
    ends = []
    for decay in (0.0, 0.25):
        other = replace(problem, optimizer=AdamW(0.1, weight_decay=decay))
        with closing(started(engine_class, other)) as engine:
            train(engine, other, data, rate=0.1)
            ends.append(engine.parameters())
    for dense, (W, _), (one, b), (other, c) in zip(
        layers, parameters_of(problem), *ends, strict=True
    ):
        np.testing.assert_allclose(one - other, 0.1 * dense.rate_factor * 0.25 * W, atol=1e-15)
        assert np.array_equal(b, c)


def test_the_norm_of_the_gradient_is_that_of_the_layers_that_are_trained(engine_class):
    layers = [Dense(9, "tanh"), Dense(7, "tanh", trainable=False), Dense(3)]
    problem = problem_of(5, layers, "mse", clip_norm=0.01)
    data = data_of(problem, 8)
    with closing(started(engine_class, problem)) as engine:
        before = engine.parameters()
        gradients = engine.gradients(data)[1]
        train(engine, problem, data, rate=1.0)
        after = engine.parameters()
    moved = [
        one - other
        for pair in zip(before, after, strict=True)
        for one, other in zip(*pair, strict=True)
    ]
    assert math.sqrt(sum((each**2).sum() for each in moved)) == pytest.approx(0.01, rel=1e-3)
    assert all(each.any() for own in gradients for each in own)  # of all layers, for checks
    assert not moved[2].any() and not moved[3].any()


@needs_jit
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("frozen", [(0,), (1,), (0, 1), (1, 2), (0, 2)], ids=str)
@pytest.mark.parametrize("limits", [{}, {"clip_norm": 0.3}], ids=str)
def test_layers_trained_apart_are_the_same_bits_for_any_number_of_threads(
    fast_class, limits, frozen, dtype
):
    layers = [
        Dense(units, name, max_norm=norm, trainable=index not in frozen)
        for index, (units, name, norm) in enumerate(
            [(301, "relu", None), (302, "relu", 0.9), (3, "identity", None)]
        )
    ]
    problem = problem_of(
        300, layers, "mse", OPTIMIZERS["momentum"], dtype=dtype, batch_size=64, **limits
    )
    data = data_of(problem, 129)
    expected = run(fast_class, problem, data)
    for threads in (2, 3, 5):
        assert run(fast_class, problem, data, threads=threads).bits() == expected.bits()
    if dtype == "float64":
        assert_follows_numpy(fast_class, problem, data, threads=2)
