"""Every update rule with everything that can stand beside it, on every target."""

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
    problem_of,
    run,
    started,
    train,
)

from fastnn.inputs.data import Data
from fastnn.network import SGD, Adam, Dense, Dropout, Nadam
from fastnn.rules.table import ACTIVATIONS, LOSSES
from fastnn.targets import numpy as reference

HIDDEN = [Dense(9, "tanh"), Dense(3)]
# inputs, layers, loss, rows, changes to the problem, weighted
CASES = {
    "plain": (5, HIDDEN, "mse", 20, {}, False),
    "l1": (5, HIDDEN, "mse", 20, {"l1": 0.02}, False),
    "l2": (5, HIDDEN, "mse", 20, {"l2": 0.3}, False),
    "l1 and l2": (5, HIDDEN, "huber", 20, {"l1": 0.02, "l2": 0.3}, False),
    "weights": (5, HIDDEN, "mse", 20, {"l2": 0.3}, True),
    "no bias below": (5, [Dense(9, "tanh", bias=False), Dense(3)], "mse", 20, {}, False),
    "no bias above": (5, [Dense(9, "tanh"), Dense(3, bias=False)], "mse", 20, {"l1": 0.1}, False),
    "dropout on inputs": (5, [Dropout(0.3), *HIDDEN], "mse", 20, {}, False),
    "dropout inside": (5, [HIDDEN[0], Dropout(0.5), HIDDEN[1]], "mse", 20, {}, True),
    "dropout everywhere": (
        19,
        [Dropout(0.2), Dense(33, "relu"), Dropout(0.5), Dense(17, "relu"), Dropout(0.9), Dense(3)],
        "softmax_cross_entropy",
        few(41, 20),
        {"l2": 0.01, "seed": 2**62},
        True,
    ),
    "softmax inside": (5, [Dense(40, "softmax"), Dense(3)], "mse", 20, {"l2": 0.3}, False),
    "softmax after dropout": (
        5,
        [Dense(40, "softmax"), Dropout(0.4), Dense(35, "softmax"), Dense(3)],
        "softmax_cross_entropy",
        20,
        {},
        True,
    ),
    "batch of one": (5, HIDDEN, "mse", 5, {"batch_size": 1}, True),
    "one row": (5, HIDDEN, "mse", 1, {}, False),
    "one row at a time of one": (5, HIDDEN, "mse", 1, {"batch_size": 1}, True),
    "batch as large as the data": (5, HIDDEN, "mse", 20, {"batch_size": 20}, False),
    "batch larger than the data": (5, HIDDEN, "mse", 20, {"batch_size": 1000}, True),
    "last batch of one": (5, HIDDEN, "mse", 17, {"batch_size": 16}, False),
    "softmax regression": (5, [Dense(4)], "softmax_cross_entropy", 20, {"l2": 0.1}, True),
    "linear regression of many outputs": (5, [Dense(37)], "mse", 20, {"l1": 0.1}, True),
    "many labels": (5, [Dense(9, "relu"), Dense(7)], "binary_cross_entropy", 20, {}, True),
    "one input": (1, [Dense(1, "tanh"), Dense(1)], "mse", 20, {}, False),
}


@pytest.mark.parametrize(("case", "rule", "dtype"), all_pairs(CASES, OPTIMIZERS, DTYPES))
def test_training_follows_the_numpy_target(fast_class, case, rule, dtype):
    inputs, layers, loss, rows, changes, weighted = CASES[case]
    problem = problem_of(inputs, layers, loss, OPTIMIZERS[rule], dtype=dtype, **changes)
    data = data_of(problem, rows, weighted=weighted)
    assert_follows_numpy(fast_class, problem, data, epochs=3)


@pytest.mark.parametrize(
    ("loss", "rule", "dtype", "batch_size"),
    all_pairs(
        [name for name, row in LOSSES.items() if not row.rowwise], OPTIMIZERS, DTYPES, [1, 7]
    ),
)
def test_one_output_of_one_layer_follows_the_numpy_target(
    fast_class, loss, rule, dtype, batch_size
):
    problem = problem_of(
        19, [Dense(1)], loss, OPTIMIZERS[rule], dtype=dtype, batch_size=batch_size, l1=0.01, l2=0.1
    )
    rate = 0.005 if loss == "poisson" else 0.05  # its loss grows as exp does
    data = data_of(problem, 30, weighted=True)
    assert_follows_numpy(fast_class, problem, data, rate=rate, epochs=3)


@pytest.mark.parametrize(
    ("activation", "layers", "bias", "dtype"),
    all_pairs(
        [name for name in ACTIVATIONS if name != "identity"],
        [[], [Dropout(0.4)]],
        [True, False],
        DTYPES,
    ),
)
def test_one_output_with_an_activation_follows_the_numpy_target(
    fast_class, activation, layers, bias, dtype
):
    problem = problem_of(6, [*layers, Dense(1, activation, bias=bias)], dtype=dtype)
    assert_follows_numpy(fast_class, problem, data_of(problem, 30), epochs=3)


@pytest.mark.parametrize("rule", OPTIMIZERS)
@pytest.mark.parametrize("layers", [[Dense(1)], HIDDEN], ids=["one layer", "two layers"])
def test_a_batch_whose_weights_sum_to_zero_has_no_data_gradient(fast_class, rule, layers):
    problem = problem_of(5, layers, "mse", OPTIMIZERS[rule], l2=0.3)
    data = data_of(problem, 24)
    # The order of `train` is a permutation, so that the rows of the middle batch are these.
    middle = np.random.default_rng(0).permutation(24)[8:16]
    weights = np.ones(24)
    weights[middle] = 0
    data = Data(data.X, data.targets, weights)
    assert_follows_numpy(fast_class, problem, data, epochs=1)


@pytest.mark.parametrize("rule", OPTIMIZERS)
@pytest.mark.parametrize("layers", [[Dense(1)], HIDDEN], ids=["one layer", "two layers"])
def test_weights_that_are_all_zero_give_loss_zero(engine_class, rule, layers):
    problem = problem_of(5, layers, "mse", OPTIMIZERS[rule])
    data = data_of(problem, 20)
    data = Data(data.X, data.targets, np.zeros(20))
    assert run(engine_class, problem, data).losses == [0.0, 0.0]


@pytest.mark.parametrize("layers", [[Dense(1)], HIDDEN], ids=["one layer", "two layers"])
def test_rates_are_taken_step_by_step_and_zero_changes_nothing(engine_class, layers):
    problem = problem_of(5, layers)
    data, order = data_of(problem, 24), np.arange(24)
    with closing(started(engine_class, problem)) as engine:
        before = engine.parameters()
        engine.train_epoch(data, order, np.zeros(3), 0, 0)
        for pair, other in zip(before, engine.parameters(), strict=True):
            assert np.array_equal(pair[0], other[0]) and np.array_equal(pair[1], other[1])
        engine.train_epoch(data, order, np.array([0.1, 0.0, 0.0]), 0, 0)
        first = engine.parameters()
    with closing(started(engine_class, problem)) as engine:
        part = Data(data.X[:8], data.targets[:8])
        engine.train_epoch(part, order[:8], np.array([0.1]), 0, 0)
        for pair, other in zip(first, engine.parameters(), strict=True):
            assert np.array_equal(pair[0], other[0]) and np.array_equal(pair[1], other[1])


@pytest.mark.parametrize(
    ("layers", "step", "optimizer"),
    all_pairs(
        [[Dense(1)], HIDDEN], [0, 1, 1000, 10**9], [Adam(0.1), Nadam(0.1), Nadam(0.1, beta1=0.999)]
    ),
)
def test_adam_and_nadam_count_updates_from_the_step_given(fast_class, optimizer, step, layers):
    problem = problem_of(5, layers, optimizer=optimizer)
    data, order, rates = data_of(problem, 20), np.arange(20), np.full(3, 0.1)
    ends = []
    for each in (fast_class, reference.Engine):
        with closing(started(each, problem)) as engine:
            engine.train_epoch(data, order, rates, 0, step)
            ends.append(engine.parameters())
    for pair, other in zip(*ends, strict=True):
        np.testing.assert_allclose(pair[0], other[0], rtol=1e-9)
        np.testing.assert_allclose(pair[1], other[1], rtol=1e-9)


def test_dropout_masks_change_with_seed_epoch_and_layer(engine_class):
    layers = [Dropout(0.5), Dense(8, "tanh"), Dropout(0.5), Dense(3)]
    ends = set()
    for seed in (0, 1, 2**63 - 1):
        problem = problem_of(8, layers, seed=seed)
        for epoch in (0, 1, 2**31):
            with closing(started(engine_class, problem)) as engine:
                [result] = train(engine, problem, data_of(problem, 8), [epoch])
                ends.add(result.loss)
    assert len(ends) == 9


@pytest.mark.parametrize("rate", [1e-9, 0.999999])
@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_dropout_rates_follow_the_numpy_target(fast_class, rate, dtype):
    layers = [Dropout(rate), Dense(8, "tanh"), Dropout(rate), Dense(3)]
    problem = problem_of(8, layers, "huber", SGD(0.1), dtype=dtype)
    assert_follows_numpy(fast_class, problem, data_of(problem, 20))
