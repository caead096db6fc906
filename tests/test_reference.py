"""The NumPy target's engine: steps by hand, and what an epoch is made of."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from reference_cases import LAYERS, RANDOM, X, Y, assert_same, problem_of, started, train

from fastnn.inputs.data import Data
from fastnn.network import SGD, Adam, AdamW, Dense, Dropout


@pytest.mark.parametrize(
    ("loss", "activation", "predict"),
    [
        ("mse", "identity", lambda z: z),
        ("binary_cross_entropy", "identity", lambda z: 1 / (1 + np.exp(-z))),
        ("perceptron", "identity", lambda z: float(z >= 0)),
    ],
)
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_a_step_on_one_row_adds_lr_times_y_minus_p_times_x(loss, activation, predict, y):
    x, W, b = np.array([0.5, -2.0, 3.0]), np.array([0.2, 0.4, -0.1]), 0.3
    problem = problem_of([Dense(1, activation)], loss, batch_size=1, inputs=3)
    engine = started(problem, [(W[:, None], np.array([b]))])
    train(engine, Data(x[None], np.array([[y]])), problem, rate=0.25)
    error = y - predict(x @ W + b)
    [(new_W, new_b)] = engine.parameters()
    assert_allclose(new_W[:, 0], W + 0.25 * error * x, rtol=1e-14)
    assert_allclose(new_b, [b + 0.25 * error], rtol=1e-14)


def test_a_perceptron_learns_or_as_on_paper():
    # Zero weights, learning rate 1, step(0) = 1: only the first and second rows are mistakes.
    problem = problem_of([Dense(1)], "perceptron", batch_size=1, inputs=2)
    engine = started(problem, [(np.zeros((2, 1)), np.zeros(1))])
    data = Data(np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0.0], [1], [1], [1]]))
    train(engine, data, problem, rate=1.0)
    [(W, b)] = engine.parameters()
    assert (W.ravel().tolist(), b.tolist()) == ([0, 1], [0])
    train(engine, data, problem, epochs=[1, 2, 3], rate=1.0)
    assert np.array_equal(engine.forward(data.X) >= 0, data.targets == 1)


def test_softmax_regression_step_moves_each_class_by_its_error():
    problem = problem_of([Dense(3)], "softmax_cross_entropy", batch_size=2)
    engine = started(problem, [(np.zeros((4, 3)), np.zeros(3))])
    train(engine, Data(X[:2], np.array([2, 0])), problem)
    errors = np.array([[-1, -1, 2], [2, -1, -1]]) / 3  # onehot - 1/3
    [(W, b)] = engine.parameters()
    assert_allclose(W, 0.1 * X[:2].T @ errors / 2, rtol=1e-13)
    assert_allclose(b, 0.1 * errors.mean(axis=0), atol=1e-16)


def test_epoch_loss_is_the_mean_over_rows_of_the_loss_before_each_update():
    problem = problem_of([Dense(2)])
    engine = started(problem)
    still = started(problem)
    losses, sizes = [], []
    for first in range(0, 23, 5):
        rows = slice(first, first + 5)
        still.load(engine.parameters(), [])
        part = Data(X[rows], Y[rows])
        losses.append(still.gradients(part)[0])
        sizes.append(len(part))
        train(engine, part, problem)
    assert sizes == [5, 5, 5, 5, 3]
    whole = started(problem)
    [result] = train(whole, Data(X, Y), problem)
    assert result.bad_step is None and type(result.loss) is float
    assert result.loss == pytest.approx(np.average(losses, weights=sizes), rel=1e-14)
    assert_same(whole.parameters(), engine.parameters())


def test_epoch_loss_weighs_rows():
    weights = RANDOM.uniform(0, 2, 23)
    problem = problem_of([Dense(2)])
    [result] = train(started(problem), Data(X, Y, weights), problem, rate=0.0)
    rows = (started(problem).forward(X) - Y) ** 2 / 2
    assert result.loss == pytest.approx(np.average(rows.mean(axis=1), weights=weights), rel=1e-13)


def test_a_batch_whose_weights_sum_to_zero_changes_nothing():
    weights = np.ones(23)
    weights[5:10] = 0
    problem = problem_of([Dense(2)])
    engine, shorter = started(problem), started(problem)
    kept = weights > 0
    results = [
        *train(engine, Data(X, Y, weights), problem, rate=0.1 * 18 / 23),  # by the mean weight
        *train(shorter, Data(X[kept], Y[kept]), problem, rate=0.1),
    ]
    assert results[0].loss == pytest.approx(results[1].loss, rel=1e-14)
    for pair, other in zip(engine.parameters(), shorter.parameters(), strict=True):
        assert_allclose(pair[0], other[0], rtol=1e-12)


def test_weights_that_sum_to_zero_over_the_epoch_give_loss_zero():
    problem = problem_of()
    engine = started(problem)
    before = engine.parameters()
    [result] = train(engine, Data(X, Y, np.zeros(23)), problem)
    assert (result.loss, result.bad_step) == (0.0, None)
    assert_same(engine.parameters(), before)


def test_rows_are_taken_in_the_order_given():
    problem = problem_of([Dense(2)])
    order = RANDOM.permutation(23)
    shuffled, sorted_rows = started(problem), started(problem)
    rates = np.full(5, 0.1)
    one = shuffled.train_epoch(Data(X, Y), order, rates, 0, 0)
    other = sorted_rows.train_epoch(Data(X[order], Y[order]), np.arange(23), rates, 0, 0)
    assert one == other
    assert_same(shuffled.parameters(), sorted_rows.parameters())


def test_each_step_has_its_own_learning_rate():
    problem = problem_of([Dense(2)])
    engine, first_only = started(problem), started(problem)
    engine.train_epoch(Data(X, Y), np.arange(23), np.array([0.1, 0, 0, 0, 0]), 0, 0)
    train(first_only, Data(X[:5], Y[:5]), problem)
    assert_same(engine.parameters(), first_only.parameters())


def test_a_batch_larger_than_the_data_is_all_of_it():
    engines = [started(problem_of([Dense(2)], batch_size=size)) for size in (23, 1000)]
    for engine in engines:
        engine.train_epoch(Data(X, Y), np.arange(23), np.array([0.1]), 0, 0)
    assert_same(engines[0].parameters(), engines[1].parameters())


def test_adam_counts_updates_over_epochs():
    problem = problem_of([Dense(2)], optimizer=Adam(), batch_size=23)
    ends = []
    for step in (0, 10):
        engine = started(problem)
        engine.train_epoch(Data(X, Y), np.arange(23), np.array([0.1]), 0, step)
        ends.append(engine.parameters()[0][0])
    start = started(problem).parameters()[0][0]
    # From zero state, bias correction alone tells t = 1 from t = 11.
    ratio = (1 - 0.9) / (1 - 0.9**11) * math.sqrt((1 - 0.999**11) / (1 - 0.999))
    assert_allclose((ends[1] - start) / (ends[0] - start), ratio, rtol=1e-4)


def test_weight_decay_leaves_biases_alone():
    problem = problem_of([Dense(2)], optimizer=AdamW(weight_decay=0.5), batch_size=23)
    engine = started(problem, [(np.ones((4, 2)), np.ones(2))])
    engine.train_epoch(Data(X, Y, np.zeros(23)), np.arange(23), np.array([0.1]), 0, 0)
    [(W, b)] = engine.parameters()
    assert_allclose(W, 0.95, rtol=1e-14)
    assert np.array_equal(b, [1.0, 1.0])


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, 0.9), AdamW()])
def test_a_layer_without_bias_keeps_it_at_zero(optimizer):
    problem = problem_of([Dense(5, "relu", bias=False), Dense(2)], optimizer=optimizer)
    engine = started(problem)
    train(engine, Data(X, Y), problem, epochs=range(2))
    (_, first), (_, second) = engine.parameters()
    assert not first.any() and second.any()


def test_dropout_acts_in_training_and_depends_on_the_epoch():
    problem = problem_of([Dropout(0.5), Dense(2)])
    losses = [train(started(problem), Data(X, Y), problem, epochs=[e])[0].loss for e in (0, 1, 0)]
    assert losses[0] == losses[2] != losses[1]


def test_dropout_does_not_act_in_prediction_or_in_gradients():
    with_dropout, without = problem_of(LAYERS), problem_of([LAYERS[0], LAYERS[2]])
    engines = [started(problem) for problem in (with_dropout, without)]
    assert np.array_equal(engines[0].forward(X), engines[1].forward(X))
    (loss, gradients), (other_loss, other) = (each.gradients(Data(X, Y)) for each in engines)
    assert loss == other_loss
    assert_same(gradients, other)


def test_dropout_of_rate_zero_is_no_dropout():
    ends = []
    for layers in ([Dense(5), Dropout(0.0), Dense(2)], [Dense(5), Dense(2)]):
        problem = problem_of(layers)
        engine = started(problem)
        train(engine, Data(X, Y), problem)
        ends.append(engine.parameters())
    assert_same(*ends)


def test_a_network_can_overfit_a_few_rows():
    problem = problem_of([Dense(30, "tanh"), Dense(2)], optimizer=Adam(0.01), batch_size=23)
    engine = started(problem)
    results = train(engine, Data(X, Y), problem, epochs=range(800), rate=0.01)
    assert results[-1].loss < 0.01 * results[0].loss
