"""The loss of a Trainer that an estimator with `standardize` has made: of y in its own units."""

import numpy as np
import pytest

import fastnn
from fastnn import EpsilonInsensitive, Huber, Quantile, SGDClassifier, SGDRegressor
from fastnn.graph import exp, where
from fastnn.losses import SquaredEpsilonInsensitive

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3)) * [1.0, 30.0, 0.01] + [0.0, 100.0, 1.0]
Y = 1000.0 + 50.0 * X[:, 0] + 5.0 * RNG.standard_cauchy(80)
SETTINGS = {"random_state": 0, "target": "numpy", "dtype": "float64", "standardize": True}
LINEAR = {**SETTINGS, "max_iter": 5, "tol": None}


def skewed(output, target):
    error = output - target
    return where(error > 0.25, error, exp(-error) + 0.1 * target * error)


def of_deviations(loss, r):
    """Return the mean of a loss for errors r, by its formula."""
    r = np.abs(r)
    delta = getattr(loss, "delta", None)
    if delta is not None:
        return np.where(r < delta, r * r / 2, delta * (r - delta / 2)).mean()
    beyond = np.maximum(0, r - loss.epsilon)
    return (beyond**2 if isinstance(loss, SquaredEpsilonInsensitive) else beyond).mean()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("huber", Huber),
        ("epsilon_insensitive", EpsilonInsensitive),
        ("squared_epsilon_insensitive", SquaredEpsilonInsensitive),
    ],
)
@pytest.mark.parametrize("epsilon", [1.35, 7.0])
@pytest.mark.parametrize("partial", [False, True])
def test_epsilon_of_a_linear_model_is_in_the_units_of_y(name, kind, epsilon, partial):
    model = SGDRegressor(name, epsilon=epsilon, **LINEAR)
    model = model.partial_fit(X, Y) if partial else model.fit(X, Y)
    trainer = model.to_trainer()
    assert trainer.loss == kind(epsilon)
    expected = of_deviations(kind(epsilon), Y - model.predict(X))
    assert trainer.evaluate(X, Y)["loss"] == pytest.approx(expected)
    np.testing.assert_allclose(trainer.predict(X), model.predict(X), rtol=1e-9)
    small = SGDRegressor(name, epsilon=epsilon, **LINEAR | {"standardize": False})
    assert small.fit(X[:, :1], X[:, 0]).to_trainer().loss == kind(epsilon)


MODELS = {
    "linear": lambda loss: SGDRegressor(loss, **LINEAR),
    "network": lambda loss: fastnn.MLPRegressor(loss, (4,), "tanh", max_iter=5, **SETTINGS),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("which", "loss", "inside"),
    [
        ("linear", Huber(0.3), Huber(0.3)),
        ("linear", EpsilonInsensitive(0.2), EpsilonInsensitive(0.2)),
        ("linear", SquaredEpsilonInsensitive(), SquaredEpsilonInsensitive()),
        ("network", "huber", Huber(1.0)),
        ("network", "epsilon_insensitive", EpsilonInsensitive(0.1)),
        ("network", "squared_epsilon_insensitive", SquaredEpsilonInsensitive(0.1)),
    ],
)
def test_numbers_in_a_loss_are_deviations_of_y_and_become_its_units(which, loss, inside):
    model = MODELS[which](loss).fit(X, Y)
    trainer, scale = model.to_trainer(), Y.std()
    (before,), (after,) = vars(inside).values(), vars(trainer.loss).values()
    assert type(trainer.loss) is type(inside) and after == pytest.approx(before * scale)
    np.testing.assert_allclose(trainer.predict(X), model.predict(X), rtol=1e-9)
    expected = of_deviations(trainer.loss, Y - model.predict(X))
    assert trainer.evaluate(X, Y)["loss"] == pytest.approx(expected)
    # The objective is that of the fit, but for a factor.
    fitted = of_deviations(inside, (Y - model.predict(X)) / scale)
    power = 1 if type(inside) is EpsilonInsensitive else 2
    assert expected == pytest.approx(fitted * scale**power)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("which", MODELS)
def test_a_user_defined_loss_reads_what_it_was_fitted_with(which):
    model = MODELS[which](skewed).fit(X, Y)
    trainer = model.to_trainer()
    r = (model.predict(X) - Y) / Y.std()
    small = np.exp(np.minimum(-r, 500)) + 0.1 * (Y - Y.mean()) / Y.std() * r
    expected = np.where(r > 0.25, r, small).mean()
    assert trainer.evaluate(X, Y)["loss"] == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("which", MODELS)
@pytest.mark.parametrize("loss", ["mae", "mse", "squared_error", Quantile(0.9)])
def test_losses_without_such_numbers_stay(which, loss):
    trainer = MODELS[which](loss).fit(X, Y).to_trainer()
    if which == "linear" and loss == "squared_error":
        assert trainer.loss == Huber(1e12)
    else:
        assert trainer.loss == (loss if loss != "squared_error" else "mse")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_of_several_outputs_delta_is_in_the_mean_of_their_deviations():
    both = np.stack([Y, X[:, 1]], axis=1)
    model = fastnn.MLPRegressor("huber", (4,), "tanh", max_iter=5, **SETTINGS).fit(X, both)
    trainer = model.to_trainer()
    assert trainer.loss.delta == pytest.approx(both.std(axis=0).mean())
    np.testing.assert_allclose(trainer.predict(X), model.predict(X), rtol=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_estimator_itself_goes_on_with_the_loss_of_its_fit():
    models = [MODELS["network"]("huber").fit(X, Y) for _ in range(2)]
    models[0].to_trainer().fit(X / X.max(axis=0), Y, 1)
    for model in models:
        model.partial_fit(X, Y)
    assert np.array_equal(models[0].predict(X), models[1].predict(X))


@pytest.mark.parametrize("loss", [Huber(1e200), EpsilonInsensitive(1e200)])
def test_a_delta_beyond_all_numbers_is_the_largest(loss):
    trainer = SGDRegressor(loss, **LINEAR).fit(X, 1e200 * Y).to_trainer()
    (number,) = vars(trainer.loss).values()
    assert number == np.finfo(np.float64).max


def test_epsilon_of_labels_stays():
    labels = Y > np.median(Y)
    model = SGDClassifier("huber", epsilon=1.35, **LINEAR).fit(X, labels)
    assert model.to_trainer().loss == Huber(1.35)
