"""Slopes below 0 on every target: rrelu draws them and then takes their mean, prelu learns them."""

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
from fastnn.targets.numpy.layers import dropout_key, random_slopes

WIDE, ROWS = few(40, 17), few(37, 20)
# inputs, layers, loss, rows, batch
CASES = [
    (3, [Dense(1, "rrelu")], "mse", 11, 4),
    (19, [Dense(3, "rrelu"), Dense(1)], "mse", 11, 4),
    (1, [Dense(1, "rrelu"), Dense(2)], "softmax_cross_entropy", 1, 1),
    (5, [Dense(17, "rrelu"), Dense(33, "rrelu"), Dense(2)], "huber", 23, 23),
    (4, [Dropout(0.2), Dense(WIDE, "rrelu"), Dropout(0.5), Dense(31, "rrelu")], "mse", ROWS, 16),
    (1, [Dense(1, "prelu")], "mae", 1, 1),
    (97, [Dense(1, "prelu")], "mae", 11, 1),
    (97, [Dense(3, "prelu"), Dense(1, "prelu")], "hinge", 11, 4),
    (97, [Dense(3, "prelu", bias=False), Dense(2)], "softmax_cross_entropy", 70, 64),
    (5, [Dense(15, "prelu"), Dense(16, "prelu"), Dense(17, "prelu")], "huber", 23, 7),
    (7, [Dense(31, "prelu"), Dense(32, "prelu"), Dense(33, "prelu")], "squared_hinge", 9, 16),
    (4, [Dropout(0.2), Dense(WIDE, "prelu"), Dropout(0.5), Dense(31, "prelu")], "mse", ROWS, 16),
]
LARGE = [Dense(300, "prelu"), Dropout(0.2), Dense(200, "prelu"), Dense(65, "prelu", bias=False)]


@pytest.mark.parametrize(
    ("case", "optimizer", "dtype"), all_pairs(CASES, OPTIMIZERS, DTYPES), ids=str
)
def test_training_follows_the_numpy_target(fast_class, case, optimizer, dtype):
    inputs, layers, loss, rows, batch = case
    problem = problem_of(
        inputs, layers, loss, OPTIMIZERS[optimizer], batch_size=batch, dtype=dtype, l1=0.01, l2=0.1
    )
    assert_follows_numpy(fast_class, problem, data_of(problem, rows, weighted=True))


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same_bits(fast_class, threads):
    layers = [Dense(few(300, 9), "rrelu"), Dense(few(200, 7), "rrelu"), Dense(3)]
    problem = problem_of(few(70, 5), layers, batch_size=40)
    data = data_of(problem, 130)
    alone, together = (
        run(fast_class, problem, data, threads=count, epochs=1) for count in (1, threads)
    )
    assert alone.bits() == together.bits()


def test_one_step_of_one_layer_uses_the_slopes_of_its_rows(engine_class):
    problem = problem_of(2, [Dense(3, "rrelu")], batch_size=4)
    data, (W, b) = data_of(problem, 10), parameters_of(problem)[0]
    with closing(started(engine_class, problem)) as engine:
        engine.train_epoch(data, np.arange(10), np.array([0.0, 0.0, 0.1]), 5, 0)
        found = engine.parameters()[0]
    X, Y = data.X[8:], data.targets[8:]
    slopes = random_slopes(
        (2, 3), seed=7, epoch=5, step=2, layer=1, batch_size=4, dtype=problem.dtype
    )
    Z = X @ W + b
    slope = np.where(Z > 0, 1, slopes)
    dZ = (Z * slope - Y) * slope / Y.size
    np.testing.assert_allclose(found[0], W - 0.1 * X.T @ dZ, rtol=1e-13)
    np.testing.assert_allclose(found[1], b - 0.1 * dZ.sum(axis=0), rtol=1e-13)


def test_predictions_and_gradients_take_the_mean_slope(engine_class):
    answers = []
    for activation, alpha in (("rrelu", None), ("leaky_relu", 11 / 48)):
        layers = [Dense(9, activation, alpha=alpha), Dense(2)]
        problem = problem_of(3, layers)
        data = data_of(problem, 21)
        with closing(started(engine_class, problem)) as engine:
            loss, gradients = engine.gradients(data)
            answers.append([engine.forward(data.X), np.array(loss), *sum(gradients, ())])
    for one, other in zip(*answers, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


def test_epochs_and_seeds_draw_other_slopes(engine_class):
    found = set()
    for seed, epoch in ((7, 0), (7, 1), (8, 0)):
        problem = problem_of(3, [Dense(9, "rrelu"), Dense(2)], seed=seed, batch_size=100)
        data = data_of(problem, 21)
        with closing(started(engine_class, problem)) as engine:
            found.add(engine.train_epoch(data, np.arange(21), np.zeros(1), epoch, epoch).loss)
    assert len(found) == 3


def test_slopes_are_uniform_and_apart_from_dropout():
    slopes = random_slopes(
        (500, 400), seed=0, epoch=0, step=0, layer=2, batch_size=500, dtype=np.dtype(np.float64)
    )
    assert 1 / 8 <= slopes.min() and slopes.max() < 1 / 3
    shares = np.histogram(slopes, 20, (1 / 8, 1 / 3))[0] / slopes.size
    np.testing.assert_allclose(shares, 0.05, atol=5 * np.sqrt(0.05 / slopes.size))
    assert slopes.mean() == pytest.approx(11 / 48, abs=5e-4)
    keys = {dropout_key(3, 4, layer) for layer in range(64)}
    assert len(keys) == 64


def test_one_row_at_a_time_draws_anew_for_each(engine_class):
    problem = problem_of(1, [Dense(1, "rrelu"), Dense(1)], batch_size=1)
    data = data_of(problem, 50)
    with closing(started(engine_class, problem)) as engine:
        first = train(engine, problem, data)[0].loss
        again = train(engine, problem, data, [1])[0].loss
    assert first != again


@needs_jit
@pytest.mark.parametrize(
    ("optimizer", "limits", "dtype"),
    all_pairs(["sgd", "averaged"], [{}, {"clip_value": 0.01, "clip_norm": 0.05}], DTYPES),
)
def test_trainable_slopes_are_the_same_bits_for_any_number_of_threads(
    fast_class, optimizer, limits, dtype
):
    problem = problem_of(
        70, LARGE, optimizer=OPTIMIZERS[optimizer], batch_size=40, dtype=dtype, **limits
    )
    data = data_of(problem, 130)
    alone = run(fast_class, problem, data)
    for threads in (2, 3, 5):
        assert run(fast_class, problem, data, threads=threads).bits() == alone.bits()
    if dtype == "float64":
        assert_follows_numpy(fast_class, problem, data, threads=2)


@pytest.mark.parametrize("units", [1, 3, 40])
@pytest.mark.parametrize("inputs", [2, 97])
def test_one_step_of_trainable_slopes_is_the_formula(engine_class, units, inputs):
    problem = problem_of(inputs, [Dense(units, "prelu")], optimizer=SGD(1.0), l1=0.3, l2=0.2)
    data, [(W, b, slopes)] = data_of(problem, 8), parameters_of(problem)
    with closing(started(engine_class, problem)) as engine:
        train(engine, problem, data, rate=0.1)
        [found] = engine.parameters()
    Z = data.X @ W + b
    dA = (np.where(Z > 0, Z, slopes * Z) - data.targets) / Z.size
    dZ = np.where(Z > 0, dA, slopes * dA)
    moved = W - 0.1 * (data.X.T @ dZ + 0.2 * W)
    shrunk = np.sign(moved) * np.maximum(np.abs(moved) - 0.1 * 0.3, 0)
    expected = shrunk, b - 0.1 * dZ.sum(0), slopes - 0.1 * (dA * np.minimum(0, Z)).sum(0)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_slopes_count_in_the_norm_of_the_gradient(engine_class):
    problem = problem_of(5, [Dense(9, "prelu"), Dense(3, "prelu")], "mse", SGD(1.0), clip_norm=0.1)
    data, before = data_of(problem, 8), parameters_of(problem)
    with closing(started(engine_class, problem)) as engine:
        train(engine, problem, data, rate=1.0)
        after = engine.parameters()
    both = zip(sum(before, ()), sum(after, ()), strict=True)
    changes = [one - other for one, other in both]
    assert len(changes) == 6 and all(change.any() for change in changes)
    total = sum(np.square(change).sum() for change in changes)
    assert np.sqrt(total) == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("rule", ["adamw", "lion"])
def test_weight_decay_leaves_slopes_alone(engine_class, rule):
    problem = problem_of(5, [Dense(9, "prelu")], optimizer=OPTIMIZERS[rule])
    data = data_of(problem, 8)
    data.X[:] = 0
    with closing(engine_class(problem, 1)) as engine:
        [(W, _, slopes)] = parameters_of(problem)
        zeros = [tuple(map(np.zeros_like, (W, slopes, slopes)))] * 2
        engine.load([(W, 0 * slopes, slopes)], [zeros[:1]] * (2 if rule == "adamw" else 1))
        engine.train_epoch(data, np.arange(8), np.array([0.1]), 0, 0)
        [(decayed, _, kept)] = engine.parameters()
    np.testing.assert_allclose(decayed, W * (1 - 0.1 * 0.1), rtol=1e-14)
    assert np.array_equal(kept, slopes)  # at z = 0 the slope has no derivative


def test_prelu_with_equal_slopes_is_leaky_relu(engine_class):
    runs = []
    for activation, slopes in (("leaky_relu", ()), ("prelu", (np.full(9, 0.3),))):
        problem = problem_of(3, [Dense(9, activation, alpha=0.3), Dense(2)])
        data = data_of(problem, 21)
        with closing(engine_class(problem, 1)) as engine:
            first, second = parameters_of(problem_of(3, [Dense(9), Dense(2)]))
            engine.load([(*first, *slopes), second], [])
            loss, gradients = engine.gradients(data)
            runs.append([np.array(loss), engine.forward(data.X), *gradients[0][:2], *gradients[1]])
    for one, other in zip(*runs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-16)
