"""One row a batch makes the very updates that textbooks print, on every target.

Each test does the updates of a few rows by hand in NumPy, in order, and compares all parameters.
"""

import numpy as np
import pytest

from fastnn import SGD, Dense, Network, Trainer

RATE = 0.3
X = np.random.default_rng(7).normal(size=(25, 4))
W_START = np.random.default_rng(8).normal(size=4)
LABELS = (X @ [1.0, -2.0, 0.5, 1.0] > 0.2).astype(int)  # W_START gets some right and some wrong
NUMBERS = X @ [0.5, 1.0, -1.0, 2.0] + np.random.default_rng(9).normal(size=25)


@pytest.fixture(params=["numpy", "cpu"])
def target(request):
    return request.param


def trained(target, layers, loss, y, start, epochs=2, **settings):
    """Return the parameters after one-row batches over X in order, from `start`."""
    trainer = Trainer(
        Network(4, layers),
        loss=loss,
        optimizer=SGD(RATE),
        batch_size=1,
        target=target,
        dtype="float64",
        shuffle=False,
        **settings,
    )
    trainer.set_parameters(start)
    trainer.fit(X, y, epochs=epochs)
    return trainer.parameters


def of_one_unit(target, loss, y, **settings):
    """Return w (4,) and b of a single linear unit after training from W_START and 0.1."""
    start = [(W_START[:, None], np.array([0.1]))]
    ((W, b),) = trained(target, [Dense(1)], loss, y, start, **settings)
    return W[:, 0], b[0]


def by_hand(update, y, epochs=2):
    """Return w and b after ``w, b = update(w, b, x, y)`` for every row in order."""
    w, b = W_START.copy(), 0.1
    for _ in range(epochs):
        for x, label in zip(X, y, strict=True):
            w, b = update(w, b, x, label)
    return w, b


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_linear_regression_on_absolute_error_adds_the_sign_of_the_residual(target):
    def update(w, b, x, y):
        side = np.sign(y - (w @ x + b))
        return w + RATE * side * x, b + RATE * side

    assert_same(of_one_unit(target, "mae", NUMBERS), by_hand(update, NUMBERS))


def test_linear_regression_on_half_the_squared_error_adds_the_residual(target):
    def update(w, b, x, y):
        residual = y - (w @ x + b)
        return w + RATE * residual * x, b + RATE * residual

    # A row with RATE * (|x|^2 + 1) > 2 overshoots, which is as it should be: the epochs are few.
    assert_same(of_one_unit(target, "mse", NUMBERS), by_hand(update, NUMBERS))


def test_logistic_regression_on_log_loss_adds_label_minus_probability(target):
    def update(w, b, x, y):
        a = sigmoid(w @ x + b)  # dL/dz = a - y
        return w - RATE * (a - y) * x, b - RATE * (a - y)

    found = of_one_unit(target, "binary_cross_entropy", LABELS)
    assert_same(found, by_hand(update, LABELS))


def test_perceptron_moves_only_for_rows_that_are_wrong(target):
    moved = []

    def update(w, b, x, y):
        p = 1 if w @ x + b >= 0 else 0
        moved.append(p != y)
        return w + RATE * (y - p) * x, b + RATE * (y - p)

    expected = by_hand(update, LABELS)
    assert 0 < sum(moved) < len(moved)
    assert_same(of_one_unit(target, "perceptron", LABELS), expected)


def test_perceptron_leaves_rows_that_are_right_alone(target):
    right = (X @ W_START + 0.1 >= 0).astype(int)
    w, b = of_one_unit(target, "perceptron", right)
    assert w.tolist() == W_START.tolist() and b == 0.1


@pytest.mark.parametrize(("label", "moves"), [(1, False), (0, True)])
def test_perceptron_takes_an_output_of_zero_for_class_1(target, label, moves):
    start = [(np.zeros((4, 1)), np.zeros(1))]
    trainer = Trainer(
        Network(4, [Dense(1)]), loss="perceptron", optimizer=SGD(RATE), target=target,
        dtype="float64",
    )  # fmt: skip
    trainer.set_parameters(start)
    trainer.fit(X[:1], [label], epochs=1)
    ((W, b),) = trainer.parameters
    np.testing.assert_allclose(W[:, 0], -RATE * X[0] if moves else 0 * X[0], rtol=1e-12)
    assert b[0] == (-RATE if moves else 0)


def test_hinge_with_l2_shrinks_all_weights_and_adds_rows_within_the_margin(target):
    l2 = 0.05
    within = []

    def update(w, b, x, y):
        s = 2 * y - 1
        inside = s * (w @ x + b) < 1
        within.append(inside)
        step = RATE * s * inside
        return w - RATE * l2 * w + step * x, b + step  # no penalty on the bias

    expected = by_hand(update, LABELS)
    assert 0 < sum(within) < len(within)
    assert_same(of_one_unit(target, "hinge", LABELS, l2=l2), expected)


def test_softmax_regression_adds_label_minus_probability_to_each_class(target):
    classes = np.argmax(X[:, :3], axis=1)
    W, b = np.random.default_rng(3).normal(size=(4, 3)), np.array([0.1, 0.0, -0.2])
    start = [(W.copy(), b.copy())]
    for _ in range(2):
        for x, label in zip(X, classes, strict=True):
            odds = np.exp(x @ W + b)
            difference = np.eye(3)[label] - odds / odds.sum()
            W += RATE * np.outer(x, difference)
            b += RATE * difference
    (found,) = trained(target, [Dense(3)], "softmax_cross_entropy", classes, start)
    assert_same(found, (W, b))


def test_one_hidden_layer_goes_back_by_the_formulas_of_backpropagation(target):
    generator = np.random.default_rng(4)
    W1, b1 = generator.normal(size=(4, 3)), generator.normal(size=3)
    w2, b2 = generator.normal(size=3), 0.2
    start = [(W1.copy(), b1.copy()), (w2[:, None].copy(), np.array([b2]))]
    for _ in range(2):
        for x, y in zip(X, LABELS, strict=True):
            a1 = sigmoid(x @ W1 + b1)  # forward
            a2 = sigmoid(a1 @ w2 + b2)
            dz2 = a2 - y  # backward, all from the parameters before the update
            dw2, db2 = dz2 * a1, dz2
            dz1 = dz2 * w2 * a1 * (1 - a1)
            dW1, db1 = np.outer(x, dz1), dz1
            W1, b1 = W1 - RATE * dW1, b1 - RATE * db1
            w2, b2 = w2 - RATE * dw2, b2 - RATE * db2
    layers = [Dense(3, "sigmoid"), Dense(1)]
    (first, second) = trained(target, layers, "binary_cross_entropy", LABELS, start)
    assert_same(first, (W1, b1))
    assert_same(second, (w2[:, None], [b2]))
