"""The l1 penalty of a Trainer: the Lasso's zeros and coefficients, and a step by hand."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pairs import all_pairs

from fastnn import SGD, AveragedSGD, Dense, Network, Trainer
from fastnn.schedules import Cosine

ROWS, COLUMNS = 200, 40
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, COLUMNS))
X[:, 20:30] += X[:, :10]  # some columns go with others
REAL = np.zeros(COLUMNS)
REAL[:5] = 3.0, -2.0, 1.5, 1.0, -1.0
Y = X @ REAL + 2 + 0.5 * RANDOM.normal(size=ROWS)

TARGETS = ["numpy", "cpu"]


def trained(target, optimizer, epochs, units=1, **settings):
    """Return the weights (40, units) and biases that training on all rows comes to."""
    settings = {"batch_size": ROWS, "dtype": "float64"} | settings
    network = Network(COLUMNS, [Dense(units)])
    trainer = Trainer(network, "mse", optimizer, target=target, **settings)
    trainer.fit(X, Y if units == 1 else np.column_stack([Y, -2 * Y, Y + X[:, 7]]), epochs=epochs)
    [(W, b)] = trainer.parameters
    return W, b


@pytest.mark.parametrize(
    ("target", "l1", "dtype"), all_pairs(TARGETS, [0.02, 0.1, 0.5], ["float32", "float64"])
)
def test_zeros_and_coefficients_are_those_of_the_lasso(target, l1, dtype):
    linear_model = pytest.importorskip("sklearn.linear_model")
    expected = linear_model.Lasso(alpha=l1, tol=1e-12, max_iter=100_000).fit(X, Y)
    W, b = trained(target, SGD(0.2), 2000, l1=l1, dtype=dtype)
    assert np.array_equal(W[:, 0] == 0, expected.coef_ == 0)
    assert 15 <= np.count_nonzero(expected.coef_ == 0) <= 36
    assert_allclose(W[:, 0], expected.coef_, atol=1e-5 if dtype == "float32" else 1e-9)
    assert_allclose(b, expected.intercept_, atol=1e-5 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("target", TARGETS)
def test_minibatches_come_to_the_coefficients_of_the_lasso_and_full_batches_to_its_zeros(target):
    linear_model = pytest.importorskip("sklearn.linear_model")
    expected = linear_model.Lasso(alpha=0.1, tol=1e-12, max_iter=100_000).fit(X, Y)
    W, b = trained(target, SGD(Cosine(0.05, steps=1000 * 10)), 1000, batch_size=20, l1=0.1)
    assert_allclose(W[:, 0], expected.coef_, atol=2e-3)
    # Where a batch's gradient is above l1 a weight leaves 0 for as long as that lasts.
    trainer = Trainer(
        Network(COLUMNS, [Dense(1)]), "mse", SGD(0.2), ROWS, l1=0.1, target=target, dtype="float64"
    )
    trainer.set_parameters([(W, b)])
    trainer.fit(X, Y, epochs=200)
    found = trainer.parameters[0][0][:, 0]
    assert np.array_equal(found == 0, expected.coef_ == 0)
    assert_allclose(found, expected.coef_, atol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
def test_both_penalties_come_to_the_zeros_of_the_elastic_net(target):
    linear_model = pytest.importorskip("sklearn.linear_model")
    model = linear_model.ElasticNet(alpha=0.3, l1_ratio=0.4, tol=1e-12, max_iter=100_000)
    expected = model.fit(X, Y).coef_
    W, _ = trained(target, SGD(0.2), 2000, l1=0.3 * 0.4, l2=0.3 * 0.6)
    assert np.array_equal(W[:, 0] == 0, expected == 0) and (expected == 0).any()
    assert_allclose(W[:, 0], expected, atol=1e-9)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_the_optimum_has_the_conditions_of_karush_kuhn_and_tucker(target, momentum):
    l1 = 0.03
    W, b = trained(target, SGD(0.1, momentum=momentum), 4000, units=3, l1=l1)
    targets = np.column_stack([Y, -2 * Y, Y + X[:, 7]])
    gradient = X.T @ (X @ W + b - targets) / targets.size
    # With momentum a gradient counts 1 / (1 - momentum) times, and the threshold once.
    l1 *= 1 - momentum
    assert 10 < np.count_nonzero(W == 0) < W.size - 15
    assert_allclose(gradient[W != 0], -l1 * np.sign(W[W != 0]), atol=1e-10)
    assert np.abs(gradient[W == 0]).max() <= l1


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("units", [1, 2])
def test_a_step_by_hand(target, units):
    # x = 1, 2, 0, 0 and W = 0.5, -0.25, 0.1, -0.05: z = 0, so with y = -1 the derivative by z is 1,
    # shared by the units. The rate is 1/4 and l1 1/4, so the threshold 1/16.
    network = Network(4, [Dense(units)])
    trainer = Trainer(
        network, "mse", SGD(0.25), 1, l1=0.25, target=target, dtype="float64", clip_value=1.5
    )
    start = np.array([[0.5], [-0.25], [0.1], [-0.05]])
    trainer.set_parameters([(start.repeat(units, 1), np.zeros(units))])
    trainer.fit(np.array([[1.0, 2, 0, 0]]), np.full((1, units), -1.0), epochs=1)
    [(W, b)] = trainer.parameters
    if units == 1:  # the second number of the gradient is 2, and is clipped to 1.5
        step = [0.5 - 0.25 * 1 - 0.0625, -0.25 - 0.25 * 1.5 + 0.0625]
    else:
        step = [0.5 - 0.25 * 0.5 - 0.0625, -0.25 - 0.25 * 1 + 0.0625]
    assert W[:2].tolist() == [[each] * units for each in step]
    assert W[2].tolist() == [0.1 - 0.0625] * units
    assert W[3].tolist() == [0.0] * units
    assert b.tolist() == [-0.25 / units] * units


def test_the_mean_of_weights_is_of_those_after_the_threshold():
    network = Network(1, [Dense(1, bias=False)])
    for target in TARGETS:
        trainer = Trainer(
            network, "mse", AveragedSGD(0.5), 1, l1=0.25, target=target, dtype="float64"
        )
        trainer.set_parameters([(np.array([[0.3]]), np.zeros(1))])
        trainer.fit(np.zeros((1, 1)), np.zeros((1, 1)), epochs=4)
        [(W, _)] = trainer.parameters
        # 0.175, 0.05, 0, 0
        assert_allclose(W, (0.175 + 0.05) / 4, rtol=1e-14)
