"""The NumPy target's losses against closed forms, SciPy and differences."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special

from fastnn.rules import table
from fastnn.targets.numpy.losses import LOSSES, loss_of, row_weights

DTYPES = [np.float32, np.float64]
ELEMENTWISE = [name for name, row in table.LOSSES.items() if not row.rowwise]
RANDOM = np.random.default_rng(0)
OUTPUTS = RANDOM.normal(0, 2, (50, 3))


def targets_for(name: str, outputs: np.ndarray) -> np.ndarray:
    random = np.random.default_rng(1)
    kind = table.LOSSES[name].targets
    if kind == "classes":
        return random.integers(0, outputs.shape[1], len(outputs))
    if kind == "binary":
        return random.integers(0, 2, outputs.shape).astype(outputs.dtype)
    if kind == "counts":
        return random.poisson(2.0, outputs.shape).astype(outputs.dtype)
    return random.normal(0, 2, outputs.shape).astype(outputs.dtype)


# One loop an element: dull, and so unlike the code under test.
CLOSED = {
    "binary_cross_entropy": lambda p, y: -np.log(special.expit(p if y else -p)),
    "mse": lambda p, y: 0.5 * (p - y) ** 2,
    "mae": lambda p, y: abs(p - y),
    "huber": lambda p, y: special.huber(1.0, p - y),
    "poisson": lambda p, y: np.exp(p) - y * p,
    "quantile": lambda p, y: 0.5 * max(y - p, p - y),
    "perceptron": lambda p, y: 0.0 if (p >= 0) == (y == 1) else abs(p),
    "hinge": lambda p, y: max(0.0, 1 - p if y else 1 + p),
    "squared_hinge": lambda p, y: max(0.0, 1 - p if y else 1 + p) ** 2,
    "margin": lambda p, y: max(0.0, 1 - p if y else 1 + p),
    "modified_huber": lambda p, y: (
        max(0.0, 1 - p if y else 1 + p) ** 2 if (p if y else -p) >= -1 else -4 * (p if y else -p)
    ),
    "epsilon_insensitive": lambda p, y: max(0.0, abs(p - y) - 0.1),
    "squared_epsilon_insensitive": lambda p, y: max(0.0, abs(p - y) - 0.1) ** 2,
}


def test_the_tables_hold_the_same_names_in_the_same_order():
    assert list(LOSSES) == list(table.LOSSES)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_row_loss_is_the_mean_over_outputs_of_the_closed_form(name, dtype):
    p = OUTPUTS.astype(dtype)
    y = targets_for(name, p)
    found = LOSSES[name].row_loss(p, y)
    expected = [
        np.mean([CLOSED[name](float(p[r, j]), float(y[r, j])) for j in range(3)]) for r in range(50)
    ]
    assert found.dtype == np.float64 and found.shape == (50,)
    assert_allclose(found, expected, rtol=20 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_is_log_sum_exp_less_the_labels_logit(dtype):
    z = OUTPUTS.astype(dtype)
    y = targets_for("softmax_cross_entropy", z)
    found = LOSSES["softmax_cross_entropy"].row_loss(z, y)
    wide = z.astype(np.float64)
    expected = special.logsumexp(wide, axis=1) - wide[np.arange(50), y]
    assert found.dtype == np.float64 and found.shape == (50,)
    assert_allclose(found, expected, rtol=1e-5 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_output_gradient_is_the_derivative_of_the_row_loss(name, dtype):
    p, h = OUTPUTS.astype(dtype), 1e-6
    y = targets_for(name, p)
    found = LOSSES[name].output_gradient(p, y)
    assert found.dtype == dtype and found.shape == p.shape
    wide = p.astype(np.float64)
    for column in range(3):
        shift = h * np.eye(3)[column]
        above, below = (LOSSES[name].row_loss(wide + s, y) for s in (shift, -shift))
        expected = (above - below) / (2 * h)
        assert_allclose(found[:, column], expected, rtol=0, atol=max(1e-8, 8 * np.finfo(dtype).eps))


@pytest.mark.parametrize(
    "name", [name for name in LOSSES if name != "poisson"]
)  # whose rate is exp
@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_of_ten_thousand_give_finite_losses_and_gradients_without_a_warning(name, dtype):
    p = np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4], [-1e4, -1e4], [0, 0]], dtype)
    y = np.array([0, 0, 1, 1, 0])
    if table.LOSSES[name].targets != "classes":
        y = np.stack([y, y], axis=1).astype(dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert np.isfinite(LOSSES[name].row_loss(p, y)).all()
        assert np.isfinite(LOSSES[name].output_gradient(p, y)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_huge_logits_cost_their_own_size_when_wrong_and_nothing_when_right(dtype):
    z = np.array([[1e4, -1e4]] * 2, dtype)
    softmax, binary = LOSSES["softmax_cross_entropy"], LOSSES["binary_cross_entropy"]
    assert np.array_equal(softmax.row_loss(z, np.array([0, 1])), [0, 2e4])
    assert np.array_equal(binary.row_loss(z, np.array([[1, 0], [0, 1]], dtype)), [0, 1e4])
    assert np.array_equal(softmax.output_gradient(z, np.array([0, 1])), [[0, 0], [1, -1]])


def test_log_loss_keeps_its_relative_accuracy_where_it_is_tiny():
    z, one = np.array([[30.0]]), np.array([[1.0]])
    found = LOSSES["binary_cross_entropy"].row_loss(z, one)[0]
    assert_allclose(found, np.exp(-30), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "p", "y", "gradient"),
    [
        ("mae", 2.0, 2.0, 0.0),
        ("huber", 3.0, 2.0, 1.0),
        ("huber", 1.0, 2.0, -1.0),
        ("quantile", 2.0, 2.0, 0.0),
        ("quantile", 1.0, 2.0, -0.5),
        ("quantile", 3.0, 2.0, 0.5),
        ("perceptron", 0.0, 1.0, 0.0),
        ("perceptron", 0.0, 0.0, 1.0),
        ("perceptron", -0.0, 0.0, 1.0),
        ("hinge", 1.0, 1.0, 0.0),
        ("hinge", -1.0, 0.0, 0.0),
        ("hinge", 0.0, 1.0, -1.0),
        ("hinge", 0.0, 0.0, 1.0),
        ("margin", 1.0, 1.0, -1.0),
        ("margin", -1.0, 0.0, 1.0),
        ("margin", 1.5, 1.0, 0.0),
        ("modified_huber", 1.0, 1.0, 0.0),
        ("modified_huber", -1.0, 1.0, -4.0),
        ("modified_huber", 3.0, 0.0, 4.0),
        ("epsilon_insensitive", 2.0, 2.0, 0.0),
        ("epsilon_insensitive", 1.5, 2.0, -1.0),
        ("squared_epsilon_insensitive", 3.0, 2.0, 1.8),
        ("squared_hinge", 1.0, 1.0, 0.0),
        ("squared_hinge", 0.0, 1.0, -2.0),
    ],
)
def test_gradient_at_a_kink_is_the_stated_one(name, p, y, gradient):
    assert LOSSES[name].gradient(np.array([[p]]), np.array([[y]])) == gradient


def test_row_loss_adds_up_in_float64():
    # 1e4 of 0.1 added in float32 would be off by about 1e-6 and more of their sum.
    p = np.full((1, 10_000), 0.1, np.float32)
    found = LOSSES["mae"].row_loss(p, np.zeros_like(p))[0]
    assert_allclose(found, np.float64(np.float32(0.1)), rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_neither_outputs_nor_targets_are_overwritten(name):
    p = OUTPUTS.copy()
    y = targets_for(name, p)
    before = y.copy()
    LOSSES[name].row_loss(p, y)
    LOSSES[name].output_gradient(p, y)
    assert np.array_equal(p, OUTPUTS) and np.array_equal(y, before)


def test_loss_of_a_batch_is_the_weighted_mean_over_rows():
    problem = SimpleNamespace(loss="mae")
    p, y = np.array([[1.0], [2.0], [6.0]]), np.zeros((3, 1))
    assert loss_of(problem, p, y, None) == 3.0
    assert loss_of(problem, p, y, np.array([3.0, 0.0, 1.0])) == (3 * 1 + 6) / 4
    assert type(loss_of(problem, p, y, None)) is float


def test_weights_that_sum_to_zero_give_loss_zero_and_no_share_to_any_row():
    problem, zeros = SimpleNamespace(loss="mse"), np.zeros(4)
    assert loss_of(problem, np.ones((4, 1)), np.zeros((4, 1)), zeros) == 0.0
    assert np.array_equal(row_weights(4, zeros), zeros)


def test_overflow_in_a_loss_is_a_value_and_not_a_warning():
    p = np.full((2, 1), 1e30, np.float32)
    assert loss_of(SimpleNamespace(loss="mse"), p, np.zeros_like(p), None) == np.inf
