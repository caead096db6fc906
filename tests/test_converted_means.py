"""From and to scikit-learn with `average`: the last weights go along with their mean."""

import pickle

import numpy as np
import pytest
from sklearn import linear_model as theirs

import fastnn

DRAWN = np.random.default_rng(0)
X = DRAWN.normal(size=(60, 4))
TARGETS = {
    "two": (X[:, 0] > 0.2).astype(int),
    "classes": np.digitize(X[:, 0], [-0.5, 0.5]),
    "numbers": X @ [1.0, 2.0, 3.0, 4.0] + 0.7,
}
SETTINGS = {
    "shuffle": False, "random_state": 0, "max_iter": 2, "tol": None, "eta0": 0.01, "alpha": 0.01,
}  # fmt: skip


def fitted(module, name, **settings):
    kind = getattr(module, "SGDRegressor" if name == "numbers" else "SGDClassifier")
    return kind(**{**SETTINGS, **settings}).fit(X, TARGETS[name])


def assert_alike(one, other, intercepts=True):
    np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-9, atol=1e-12)
    if intercepts:
        np.testing.assert_allclose(one.intercept_, other.intercept_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("rate", ["constant", "invscaling"])
@pytest.mark.parametrize("average", [True, 90, 150, 1000])  # of 120 updates, and 60 more
@pytest.mark.parametrize("intercept", [True, False])
def test_partial_fit_after_from_sklearn_goes_on_as_scikit_learn(name, rate, average, intercept):
    given = {"learning_rate": rate, "average": average, "fit_intercept": intercept}
    model = fitted(theirs, name, **given)
    ours = type(fitted(fastnn, name, **given)).from_sklearn(model)
    assert_alike(ours, model)
    for _ in range(2 - intercept):  # they forget the last intercept after a call
        for each in (model, ours):
            each.partial_fit(X, TARGETS[name])
        # Of several classes theirs mixes up last and mean intercepts.
        assert_alike(ours, model, intercepts=name != "classes" or average == 1000)
    assert ours.t_ == model.t_


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("rate", ["constant", "invscaling"])
@pytest.mark.parametrize("average", [True, 90, 150, 1000])
def test_partial_fit_after_to_sklearn_goes_on_as_before(name, rate, average):
    ours = fitted(fastnn, name, learning_rate=rate, average=average)
    model, back = ours.to_sklearn(), type(ours).from_sklearn(ours.to_sklearn())
    again = type(ours).from_sklearn(pickle.loads(pickle.dumps(back)).to_sklearn())
    for each in (ours, model, back, again):
        each.partial_fit(X, TARGETS[name])
    for each in (model, back, again):
        assert_alike(each, ours)


def test_weights_set_by_hand_are_what_both_go_on_from():
    ours = fitted(fastnn, "numbers", average=True)
    ours.coef_ = np.array([1.0, 0.0, 2.0, 0.0])
    model = ours.to_sklearn()
    np.testing.assert_array_equal(model._standard_coef, ours.coef_)
    np.testing.assert_array_equal(model._average_coef, ours.coef_)


def test_what_is_converted_shares_no_arrays_and_predicts_the_same_in_a_trainer():
    model = fitted(theirs, "classes", average=True)
    ours = fastnn.SGDClassifier.from_sklearn(model)
    before = model.coef_.copy(), model._standard_coef.copy()
    np.testing.assert_allclose(ours.to_trainer().forward(X), model.decision_function(X), rtol=1e-9)
    ours.partial_fit(X, TARGETS["classes"])
    np.testing.assert_array_equal(model.coef_, before[0])
    np.testing.assert_array_equal(model._standard_coef, before[1])


def test_weights_of_standardized_columns_go_along_in_units_of_the_data():
    ours = fitted(fastnn, "numbers", average=True, standardize=True)
    model = ours.to_sklearn()
    state = ours._trainer.__getstate__()
    coef, intercept = ours._outside(state.parameters)
    np.testing.assert_array_equal(model._standard_coef, coef)
    np.testing.assert_array_equal(model._standard_intercept, intercept)
    np.testing.assert_array_equal(model._average_coef, ours.coef_)
    assert np.abs(coef - ours.coef_).max() > 1e-3
