"""Several epochs in one call are the same bits as one by one."""

import math
from contextlib import closing

import numpy as np
import pytest
from pairs import all_pairs
from target_cases import OPTIMIZERS, data_of, few, problem_of, started

from fastnn.inputs.problem import penalty_of
from fastnn.network import Dense, Dropout

NETWORKS = {"network": [Dropout(0.1), Dense(9, "gelu"), Dense(3)], "linear": [Dense(1)]}


def state_of(engine):
    pairs = [*engine.parameters(), *(pair for slot in engine.slots() for pair in slot)]
    return [array.tobytes() for pair in pairs for array in pair]


@pytest.mark.parametrize(
    ("network", "rule", "rows", "weighted"),
    all_pairs(
        NETWORKS,
        ["sgd", "adam", "nadam"],
        [(37, 8), (8, 8), (5, 8), (few(20, 6), 1)],
        [False, True],
    ),
)
def test_epochs_in_one_call_are_those_one_by_one(engine_class, network, rule, rows, weighted):
    n, batch_size = rows
    problem = problem_of(4, NETWORKS[network], "mse", OPTIMIZERS[rule], batch_size=batch_size)
    data = data_of(problem, n, weighted=weighted)
    steps = math.ceil(n / batch_size)
    orders = np.array([np.random.default_rng(epoch).permutation(n) for epoch in range(5)])
    rates = np.linspace(0.05, 0.01, 5 * steps).reshape(5, steps)
    with (
        closing(started(engine_class, problem)) as one,
        closing(started(engine_class, problem)) as many,
    ):
        expected = [
            one.train_epoch(data, orders[epoch], rates[epoch], epoch, epoch * steps)
            for epoch in range(5)
        ]
        found = many.train_epochs(data, orders[:2], rates[:2], 0, 0)
        found += many.train_epochs(data, orders[2:], rates[2:], 2, 2 * steps)
        assert found == expected
        assert state_of(many) == state_of(one)


@pytest.mark.parametrize(
    "layers",
    [
        [Dense(9, "gelu"), Dense(3)],
        [Dense(1, l2=2.0), Dense(17, "relu", l2=0.0), Dense(33, "tanh", trainable=False), Dense(2)],
        [Dense(8, bias=False), Dense(1)],
        [Dense(1)],
    ],
)
def test_the_penalty_after_each_epoch_is_that_of_its_weights(engine_class, layers):
    problem = problem_of(5, layers, "mse", OPTIMIZERS["adam"], l2=0.3)
    data = data_of(problem, 20)
    orders = np.tile(np.arange(20), (2, 1))
    rates = np.full((2, math.ceil(20 / problem.batch_size)), 0.05)
    with closing(started(engine_class, problem)) as engine:
        for epoch in range(2):
            results = engine.train_epochs(
                data, orders[:1], rates[:1], epoch, epoch * rates.size // 2
            )
            expected = penalty_of(problem, engine.parameters())
            assert expected > 0
            if engine.tells_penalty:
                assert results[0].penalty == pytest.approx(expected, rel=1e-6)
            else:
                assert results[0].penalty is None


@pytest.mark.parametrize("batch_size", [16, 64, 100])
def test_every_epoch_looks_for_its_own_columns_of_zeros(engine_class, batch_size):
    layers = [Dense(few(40, 5), "relu"), Dense(3)]
    problem = problem_of(few(150, 15), layers, batch_size=batch_size)
    data, steps = data_of(problem, 100), math.ceil(100 / batch_size)
    data.X[np.random.default_rng(0).random(data.X.shape) < 0.98] = 0
    orders = np.array([np.random.default_rng(epoch).permutation(100) for epoch in range(4)])
    rates = np.full((4, steps), 0.05)
    with (
        closing(started(engine_class, problem)) as one,
        closing(started(engine_class, problem)) as many,
    ):
        for epoch in range(4):
            one.train_epoch(data, orders[epoch], rates[epoch], epoch, epoch * steps)
        many.train_epochs(data, orders, rates, 0, 0)
        assert state_of(many) == state_of(one)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_loss_that_is_not_finite_ends_the_epochs(engine_class, network):
    problem = problem_of(4, NETWORKS[network])
    data = data_of(problem, 20)
    orders = np.tile(np.arange(20), (4, 1))
    rates = np.full((4, 3), 0.05)
    rates[1] = 1e200
    with closing(started(engine_class, problem)) as engine:
        results = engine.train_epochs(data, orders, rates, 0, 0)
    assert len(results) in (2, 3)
    assert [result.bad_step is None for result in results] == [True] * (len(results) - 1) + [False]
