"""A step of plain SGD takes at most all of a weight away, however large rate l2 is."""

from contextlib import closing

import numpy as np
import pytest
from pairs import all_pairs
from target_cases import (
    DTYPES,
    TOLERANCE,
    assert_layers_near,
    data_of,
    few,
    parameters_of,
    problem_of,
    started,
    train,
)

from fastnn import SGD, AveragedSGD, Dense
from fastnn.targets import numpy as reference

RULES = {
    "sgd": SGD(0.1),
    "mean": AveragedSGD(0.1),
    "late mean": AveragedSGD(0.1, 3),
    "ema": SGD(0.1, ema=0.8),
    "momentum": SGD(0.1, momentum=0.5),
}
NETWORKS = {
    "one output": (9, [Dense(1)], "mse"),
    "a squashed output": (9, [Dense(1, "sigmoid", rate_factor=0.5)], "mse"),
    "few outputs": (few(40, 9), [Dense(3, rate_factor=2.0)], "mse"),
    "outputs in lanes": (9, [Dense(7)], "softmax_cross_entropy"),
    "narrow": (few(70, 9), [Dense(3, "tanh"), Dense(2)], "mse"),
    "hidden": (few(37, 9), [Dense(few(33, 7), "tanh", rate_factor=0.5), Dense(3)], "mse"),
    "one of two": (9, [Dense(7, "tanh", l2=0.1), Dense(3)], "mse"),
}
SETTINGS = {
    "alone": {},
    "with l1": {"l1": 0.05},
    "clipped": {"clip_value": 0.05},
    "within a norm": {"clip_norm": 0.5},
}


def trained(engine_class, problem, data, threads=1):
    """Train steps of which l2 takes less than all of a weight, all, and more, in turns."""
    steps = -(-len(data) // problem.batch_size)
    rates = np.tile([0.2, 1.0, 1.7, 30.0], steps)[:steps] / 50.0
    with closing(started(engine_class, problem, threads)) as engine:
        for epoch in range(2):
            order = np.random.default_rng(epoch).permutation(len(data))
            engine.train_epoch(data, order, rates, epoch, epoch * steps)
        return engine.parameters(), *engine.slots()


@pytest.mark.parametrize(
    ("network", "rule", "setting", "batch_size", "dtype"),
    all_pairs(NETWORKS, [each for each in RULES if each != "momentum"], SETTINGS, [1, 8], DTYPES),
)
def test_targets_limit_the_decay_as_numpy_does(
    fast_class, network, rule, setting, batch_size, dtype
):
    inputs, layers, loss = NETWORKS[network]
    problem = problem_of(
        inputs, layers, loss, RULES[rule], dtype=dtype, batch_size=batch_size, l2=50.0,
        **SETTINGS[setting],
    )  # fmt: skip
    data = data_of(problem, 19, weighted=True)
    expected = trained(reference.Engine, problem, data)
    for found, wanted in zip(trained(fast_class, problem, data), expected, strict=True):
        assert_layers_near(found, wanted, 10 * TOLERANCE[dtype])


@pytest.mark.parametrize("batch_size", [1, 4])
def test_what_is_left_of_weights_is_the_step_by_the_data(engine_class, batch_size):
    settings = {"batch_size": batch_size}
    plain = problem_of(5, [Dense(1)], **settings)
    data, W = data_of(plain, batch_size), parameters_of(plain)[0][0]
    ends = []
    for l2 in (0.0, 1e6):
        problem = problem_of(5, [Dense(1)], l2=l2, **settings)
        with closing(started(engine_class, problem)) as engine:
            train(engine, problem, data)
            ends.append(engine.parameters()[0][0])
    np.testing.assert_allclose(ends[1], ends[0] - W, rtol=0, atol=1e-14)


def test_another_rule_is_not_limited(engine_class):
    problem = problem_of(5, [Dense(1)], optimizer=RULES["momentum"], batch_size=4, l2=100.0)
    data, ends = data_of(problem, 4), []
    plain = problem_of(5, [Dense(1)], optimizer=RULES["momentum"], batch_size=4)
    for each in (plain, problem):
        with closing(started(engine_class, each)) as engine:
            train(engine, each, data)
            ends.append(engine.parameters()[0][0])
    np.testing.assert_allclose(ends[1], ends[0] - 5.0 * parameters_of(problem)[0][0], rtol=1e-12)
