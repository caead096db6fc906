"""The activation rrelu: slopes drawn in training, alike on every target, and their mean after."""

from contextlib import closing

import numpy as np
import pytest
from target_cases import (
    DTYPES,
    OPTIMIZERS,
    assert_follows_numpy,
    data_of,
    parameters_of,
    problem_of,
    run,
    started,
    train,
)

from fastnn.reference.layers import dropout_key, random_slopes
from fastnn.spec import Dense, Dropout

# inputs, layers, loss, rows, batch
CASES = [
    (3, [Dense(1, "rrelu")], "mse", 11, 4),
    (19, [Dense(3, "rrelu"), Dense(1)], "mse", 11, 4),
    (1, [Dense(1, "rrelu"), Dense(2)], "softmax_cross_entropy", 1, 1),
    (5, [Dense(17, "rrelu"), Dense(33, "rrelu"), Dense(2)], "huber", 23, 23),
    (4, [Dropout(0.2), Dense(40, "rrelu"), Dropout(0.5), Dense(31, "rrelu")], "mse", 37, 16),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_training_follows_the_numpy_target(fast_class, case, optimizer, dtype):
    inputs, layers, loss, rows, batch = case
    problem = problem_of(inputs, layers, loss, OPTIMIZERS[optimizer], batch_size=batch, dtype=dtype)
    assert_follows_numpy(fast_class, problem, data_of(problem, rows, weighted=True))


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same_bits(fast_class, threads):
    layers = [Dense(300, "rrelu"), Dense(200, "rrelu"), Dense(3)]
    problem = problem_of(70, layers, batch_size=40)
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
