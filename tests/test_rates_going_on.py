"""The size of a network's steps where `partial_fit` goes on: from elsewhere, and by other rules."""

import numpy as np
import pytest
import sklearn.neural_network

import fastnn

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(40, 3))
NUMBERS = np.c_[X[:, 0], X[:, 1] ** 2, X[:, 2]]
THREE = np.arange(40) % 3
SETTINGS = dict(
    hidden_layer_sizes=(), alpha=0, batch_size=40, learning_rate_init=0.01, shuffle=False,
    random_state=0,
)  # fmt: skip
SGD = dict(solver="sgd", momentum=0)


def regressor(**settings):
    return fastnn.MLPRegressor(**{**SETTINGS, "target": "numpy", **settings})


def classifier(**settings):
    return fastnn.MLPClassifier(**{**SETTINGS, "target": "numpy", **settings})


def step(model, y):
    before = model.coefs_[0].copy()
    return model.partial_fit(X, y).coefs_[0] - before


def gradient(model, y):
    """Return that of the sum over outputs of half of the squared errors, the mean over rows."""
    errors = X @ model.coefs_[0] + model.intercepts_[0] - y
    return X.T @ errors / len(X)


@pytest.mark.parametrize(
    ("kind", "y"),
    [("MLPRegressor", NUMBERS), ("MLPRegressor", NUMBERS[:, 0]), ("MLPClassifier", NUMBERS > 0),
     ("MLPClassifier", THREE), ("MLPClassifier", THREE > 0)],
)  # fmt: skip
@pytest.mark.parametrize(
    ("momentum", "learning_rate"),
    [(0.0, "constant"), (0.0, "invscaling"), (0.0, "adaptive"), (0.9, "constant")],
)
def test_the_steps_from_scikit_learns_weights_are_its_own(kind, y, momentum, learning_rate):
    settings = dict(
        SETTINGS, solver="sgd", momentum=momentum, learning_rate=learning_rate, max_iter=1
    )
    with pytest.warns(UserWarning, match="Maximum iterations"):
        theirs = getattr(sklearn.neural_network, kind)(**settings).fit(X, y)
    if momentum:
        del theirs._optimizer  # whose velocity `from_sklearn` leaves behind
    ours = getattr(fastnn, kind).from_sklearn(theirs).set_params(target="numpy")
    for _ in range(2):
        theirs.partial_fit(X, y), ours.partial_fit(X, y)
        np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-12)


def test_another_solver_steps_by_its_own_rate():
    model = regressor(**SGD).partial_fit(X, NUMBERS).set_params(solver="adam")
    np.testing.assert_allclose(np.abs(step(model, NUMBERS)), 0.01, rtol=1e-3)
    model.set_params(**SGD)
    expected = -0.01 * gradient(model, NUMBERS)
    np.testing.assert_allclose(step(model, NUMBERS), expected, rtol=1e-9)


def test_an_optimizer_in_the_place_of_the_solver_steps_by_its_own_rate():
    model = regressor(**SGD).partial_fit(X, NUMBERS).set_params(optimizer=fastnn.AdamW(0.01))
    assert np.abs(step(model, NUMBERS)).max() == pytest.approx(0.01, rel=0.02)
    # The engine's own SGD takes the mean over outputs, and scikit-learn's the sum.
    model.set_params(optimizer=fastnn.SGD(0.01))
    expected = -0.01 * gradient(model, NUMBERS)
    np.testing.assert_allclose(step(model, NUMBERS), expected / 3, rtol=1e-9)
    model.set_params(optimizer=None)
    expected = -0.01 * gradient(model, NUMBERS)
    np.testing.assert_allclose(step(model, NUMBERS), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("before", "after"),
    [("log_loss", "binary_cross_entropy"), ("binary_cross_entropy", "softmax_cross_entropy")],
)
def test_another_loss_steps_by_the_sum_over_its_outputs(before, after):
    model = classifier(**SGD, loss=before).partial_fit(X, THREE, classes=[0, 1, 2])
    other = classifier(**SGD, loss=after).partial_fit(X, THREE, classes=[0, 1, 2])
    other.coefs_, other.intercepts_ = [model.coefs_[0].copy()], [model.intercepts_[0].copy()]
    model.set_params(loss=after)
    np.testing.assert_allclose(step(model, THREE), step(other, THREE), rtol=1e-9)


def test_a_velocity_goes_on_with_steps_as_long_as_they_were():
    model = classifier(solver="sgd", momentum=0.9, nesterovs_momentum=False)
    model.partial_fit(X, THREE, classes=[0, 1, 2])
    last = step(model, THREE)
    plain = classifier(**SGD, loss="binary_cross_entropy").partial_fit(X, THREE, classes=[0, 1, 2])
    plain.coefs_, plain.intercepts_ = [model.coefs_[0].copy()], [model.intercepts_[0].copy()]
    model.set_params(loss="binary_cross_entropy")
    np.testing.assert_allclose(step(model, THREE), 0.9 * last + step(plain, THREE), rtol=1e-9)


def divided():
    """Return a model of one output whose rate "adaptive" has divided by 5, at least once."""
    settings = dict(SGD, learning_rate="adaptive", tol=10.0, n_iter_no_change=1, max_iter=4)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        model = regressor(**settings).fit(X, NUMBERS[:, 0])
    assert model._trainer.rate_factor < 0.5
    return model


@pytest.mark.parametrize(
    "changed",
    [{"learning_rate": "constant"}, {"learning_rate_init": 0.02}, {"solver": "adam"},
     {"optimizer": fastnn.SGD(0.01)}, {"learning_rate": "invscaling"}],
)  # fmt: skip
def test_a_rate_that_was_divided_is_as_given_once_another_is_asked_for(changed):
    model = divided().set_params(**changed)
    expected = -model.learning_rate_init * gradient(model, NUMBERS[:, :1])
    if changed == {"learning_rate": "invscaling"}:
        expected /= (model.t_ + 1) ** 0.5
    found = step(model, NUMBERS[:, 0])
    if changed == {"solver": "adam"}:
        np.testing.assert_allclose(np.abs(found), 0.01, rtol=1e-3)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_rate_that_was_divided_stays_so_while_nobody_asks_for_another():
    model = divided()
    factor = model._trainer.rate_factor
    expected = -0.01 * factor * gradient(model, NUMBERS[:, :1])
    np.testing.assert_allclose(step(model, NUMBERS[:, 0]), expected, rtol=1e-9)


@pytest.mark.parametrize("settings", [{"learning_rate": "invscaling"}, {"standardize": True}])
def test_a_trainer_that_goes_on_has_the_steps_of_the_sum_over_outputs(settings):
    model = regressor(**SGD, **settings).partial_fit(X, NUMBERS)
    assert model.to_trainer().rate_factor == 3.0
