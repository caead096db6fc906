"""What is written into `coefs_` and `intercepts_` of a network: it predicts, and is trained on."""

import numpy as np
import pytest
from sklearn import neural_network

import fastnn

X = np.random.default_rng(0).normal(size=(60, 4))
Y = X[:, 0] - X[:, 1]
SETTINGS = {"random_state": 0, "shuffle": False, "learning_rate_init": 0.01}


def trained(kind=fastnn.MLPRegressor, calls=3, **settings):
    model = kind(hidden_layer_sizes=(5,), **SETTINGS, **settings)
    for _ in range(calls):
        model.partial_fit(X, Y)
    return model


@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_keeps_the_optimizer_where_weights_were_written(solver, name):
    mine, theirs = (
        trained(kind, solver=solver) for kind in (fastnn.MLPRegressor, neural_network.MLPRegressor)
    )
    for model in (mine, theirs):
        arrays = getattr(model, name)
        arrays[0] *= 0.5
        arrays[1] = arrays[1] + 0.25
        model.partial_fit(X, Y).partial_fit(X, Y)
    for one, other in zip(mine.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-12)
    assert mine._trainer.step == 5


def test_weights_in_another_dtype_that_hold_the_same_numbers_change_nothing():
    as_they_were, wider = (trained(dtype="float32") for _ in range(2))
    wider.coefs_ = [W.astype("f8") for W in wider.coefs_]
    assert wider.predict(X[:2]).dtype == np.float32
    for model in (as_they_were, wider):
        model.partial_fit(X, Y)
    np.testing.assert_array_equal(wider.coefs_[0], as_they_were.coefs_[0])


@pytest.mark.filterwarnings("ignore::fastnn.TrainingWarning")
def test_a_mean_of_weights_starts_anew_from_those_that_were_written():
    model = trained(optimizer=fastnn.AveragedSGD(1e-9))
    model.coefs_[0][:] = 0.25
    model.partial_fit(X, Y)
    np.testing.assert_allclose(model.coefs_[0], 0.25, atol=1e-6)
    assert model._trainer.step == 1


def test_weights_may_be_written_as_lists():
    model = trained()
    expected = model.predict(X)
    model.coefs_ = [W.tolist() for W in model.coefs_]
    model.intercepts_ = tuple(b.tolist() for b in model.intercepts_)
    np.testing.assert_array_equal(model.predict(X), expected)
    model.partial_fit(X, Y)


WRONG = {
    "too few": (lambda W: W[:1], r"coefs_ must be a list of 2 arrays, .* \(4, 5\), \(5, 1\)"),
    "too many": (lambda W: [*W, W[1]], "coefs_ must be a list of 2 arrays, .* a list of 3"),
    "no list": (lambda W: None, "coefs_ must be a list of 2 arrays, .* a NoneType"),
    "shape": (lambda W: [W[0].T, W[1]], r"coefs_\[0\] has shape \(5, 4\)"),
    "ragged": (lambda W: [[[1.0], [1.0, 2.0]], W[1]], r"coefs_\[0\] .* cannot be read"),
    "text": (lambda W: [W[0], [["x"]] * 5], r"coefs_\[1\] has dtype .* not real numbers"),
    "NaN": (lambda W: [W[0] * np.nan, W[1]], r"coefs_\[0\] has nan at \[0, 0\]"),
    "large": (lambda W: [W[0].astype("f8") * 0 + 1e39, W[1]], "1e.39 .* float32, the dtype"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("way", ["predict", "fit", "partial_fit", "to_trainer", "to_sklearn"])
def test_weights_that_cannot_be_are_refused_by_their_name(case, way):
    model = trained(dtype="float32")
    change, message = WRONG[case]
    model.coefs_ = change(model.coefs_)
    with pytest.raises(fastnn.InvalidInput, match=message):
        if way == "predict":
            model.predict(X)
        elif way.endswith("fit"):
            getattr(model.set_params(warm_start=True), way)(X, Y)
        else:
            getattr(model, way)()


def test_too_few_intercepts_are_refused_by_their_name():
    model = trained()
    del model.intercepts_[0]
    with pytest.raises(fastnn.InvalidInput, match=r"intercepts_ must be a list of 2 .* \(5,\)"):
        model.predict(X)
