"""Losses with a parameter and formulas in estimators, and scores that are no numbers."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastnn import (
    EpsilonInsensitive,
    Huber,
    Margin,
    MLPClassifier,
    MLPRegressor,
    Quantile,
    SGDClassifier,
    SGDRegressor,
)
from fastnn.errors import InvalidInput
from fastnn.graph import maximum, softplus, tanh, variables
from fastnn.graph.custom import custom_activation, custom_loss
from fastnn.losses import SquaredEpsilonInsensitive

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(120, 3))
NUMBERS = X @ [1.0, -2.0, 0.5]
LABELS = np.where(NUMBERS > 0.3, "yes", "no")
TWO = np.c_[NUMBERS, -NUMBERS]
Z, Y = variables("z y")
HINGE = maximum(0, 1 - (2 * Y - 1) * Z)

REGRESSIONS = [
    Huber(0.5), Quantile(0.3), EpsilonInsensitive(0.1), SquaredEpsilonInsensitive(0.1),
    (Z - Y) ** 2, custom_loss((Z - Y) ** 2, 1),
]  # fmt: skip
CLASSIFICATIONS = [*REGRESSIONS, Margin(0.5), HINGE, softplus(Z) - Y * Z]


def network(kind, loss, **settings):
    own = dict(hidden_layer_sizes=(6,), learning_rate_init=0.05, max_iter=80, tol=0)
    return kind(loss=loss, **{**own, "random_state": 0, "target": "numpy", **settings})


def linear(kind, loss):
    settings = dict(learning_rate="constant", eta0=0.05, batch_size=10, max_iter=40, tol=None)
    return kind(loss=loss, random_state=0, target="numpy", **settings)


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*aximum")
        yield


@pytest.mark.parametrize("loss", REGRESSIONS, ids=repr)
def test_regressors_learn_by_a_loss_with_a_parameter_and_by_a_formula(loss):
    least = 0.5 if isinstance(loss, Quantile) else 0.9
    assert network(MLPRegressor, loss).fit(X, NUMBERS).score(X, NUMBERS) > least
    assert network(MLPRegressor, loss).fit(X, TWO).score(X, TWO) > least
    assert linear(SGDRegressor, loss).fit(X, NUMBERS).score(X, NUMBERS) > least


@pytest.mark.parametrize("loss", CLASSIFICATIONS, ids=repr)
def test_classifiers_learn_by_a_loss_with_a_parameter_and_by_a_formula(loss):
    for model in (network(MLPClassifier, loss), linear(SGDClassifier, loss)):
        assert model.fit(X, LABELS).score(X, LABELS) > 0.8
        again = clone(model).fit(X, LABELS)
        assert np.array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("make", [network, linear])
def test_a_loss_of_labels_is_refused_by_regressors(make):
    kind = MLPRegressor if make is network else SGDRegressor
    with pytest.raises(ValueError, match="The 'loss' parameter of"):
        make(kind, Margin(0.5)).fit(X, NUMBERS)


@pytest.mark.parametrize("activation", [tanh(Z) * 0.5, custom_activation(tanh(Z) * 0.5)])
def test_networks_take_a_formula_as_the_activation_of_all_layers(activation):
    for kind, y in ((MLPClassifier, LABELS), (MLPRegressor, NUMBERS)):
        loss = kind().loss
        one = network(kind, loss, activation=activation).fit(X, y)
        each = network(kind, loss, activation=[lambda z: tanh(z) * 0.5]).fit(X, y)
        np.testing.assert_array_equal(one.coefs_[0], each.coefs_[0])


@pytest.mark.parametrize(
    "model",
    [network(MLPClassifier, HINGE), linear(SGDClassifier, HINGE), linear(SGDRegressor, HINGE),
     network(MLPRegressor, HINGE), network(MLPRegressor, "mae", activation=Z * HINGE),
     network(MLPRegressor, "mae", activation=[HINGE])],
)  # fmt: skip
def test_estimators_with_a_formula_are_shown_in_notebooks(model):
    formula = "maximum(0, 1 - (2*y - 1)*z)"
    for each in (model, make_pipeline(StandardScaler(), model)):
        assert formula in each._repr_html_()
    assert formula in repr(model)
    assert not isinstance(model.loss, str) or model.loss == "mae"  # as it was given


@pytest.mark.parametrize(
    ("given", "text"),
    [(None, "NoneType None"), (np.array([0.5, 0.6]), r"ndarray array\("),
     (np.array([0.5]), r"ndarray array\("), ([0.5], "list"), ("0.5", "str '0.5'"), ({}, "dict"),
     (0.5 + 0j, "complex"), (np.complex128(1), "complex128"),
     (np.ma.masked, "MaskedConstant masked"),
     (10**400, "int 1000"), (np.float32("nan"), "nan"), (float("nan"), "nan")],
)  # fmt: skip
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor, SGDClassifier, SGDRegressor])
def test_a_score_that_is_no_number_is_refused_as_such(kind, given, text):
    y = NUMBERS if kind in (MLPRegressor, SGDRegressor) else LABELS
    model = kind(early_stopping=True, max_iter=3, target="numpy", scoring=lambda *_: given)
    with pytest.raises(InvalidInput, match=f"scoring=<.*> gave {text}.*a number for every epoch"):
        model.fit(X, y)
    assert not hasattr(model, "n_features_in_")


@pytest.mark.parametrize("given", [0.5, 1, np.float32(0.5), np.array(0.5), True])
def test_a_score_may_be_a_number_of_any_type(given):
    model = network(MLPClassifier, "log_loss", early_stopping=True, scoring=lambda *_: given)
    assert model.fit(X, LABELS).best_validation_score_ == float(given)


@pytest.mark.parametrize("kind", [SGDClassifier, SGDRegressor])
def test_masked_first_weights_of_linear_models_are_refused(kind):
    masked = np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0])
    y = NUMBERS if kind is SGDRegressor else LABELS
    with pytest.raises(InvalidInput, match="coef_init has masked values"):
        kind(target="numpy").fit(X, y, coef_init=masked)
    with pytest.raises(InvalidInput, match="intercept_init has masked values"):
        kind(target="numpy").fit(X, y, intercept_init=masked[1:2])
