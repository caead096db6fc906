"""User-defined losses in classifiers: targets 0 and 1, and a threshold of 0 or of 1/2."""

import math
import pickle
import re

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from fastnn import MLPClassifier, SGDClassifier
from fastnn.errors import InvalidInput
from fastnn.estimators.label_losses import thresholds
from fastnn.graph import (
    erf,
    exp,
    log,
    log_softmax,
    maximum,
    sigmoid,
    softplus,
    sqrt,
    tanh,
    variables,
    where,
)
from fastnn.graph import sum as sum_of
from fastnn.graph.custom import custom_loss

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(400, 2))
SCORE = X[:, 0] + 0.3 * X[:, 1]
WORDS = np.where(SCORE > 0.5, "yes", "no")
SEVERAL = np.c_[SCORE > 0.5, X[:, 1] > -0.3].astype(int)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])

Z, Y = variables("z y")


def log_loss(z, y):
    return softplus(z) - y * z


def hinge(z, y):
    return maximum(0, 1 - (2 * y - 1) * z)


def square(z, y):
    return (z - y) ** 2


def of_row(outputs, targets):
    return sum_of(softplus(outputs) - targets * outputs)


GOOD = [log_loss, hinge, square, of_row, softplus(Z) - Y * Z]


def network(loss, **settings):
    own = dict(max_iter=60, learning_rate_init=0.05, tol=0, random_state=0, target="numpy")
    return MLPClassifier((8,), loss=loss, **{**own, **settings})


def linear(loss, **settings):
    own = dict(learning_rate="constant", eta0=0.1, batch_size=20, max_iter=30, target="numpy")
    return SGDClassifier(loss=loss, **{**own, "random_state": 0, **settings})


@pytest.mark.filterwarnings("ignore:.*aximum")
@pytest.mark.parametrize("loss", GOOD)
@pytest.mark.parametrize("make", [network, linear])
def test_two_classes_are_told_apart_by_any_loss_of_targets_0_and_1(make, loss):
    model = make(loss).fit(X, WORDS)
    assert model.score(X, WORDS) > 0.95
    if make is linear:
        assert np.array_equal(model.decision_function(X) > 0, model.predict(X) == "yes")
        expected = X @ model.coef_[0] + model.intercept_ - (0.5 if loss is square else 0.0)
        np.testing.assert_allclose(model.decision_function(X), expected)


@pytest.mark.filterwarnings("ignore:.*aximum")
@pytest.mark.parametrize("loss", GOOD)
def test_several_labels_and_classes_are_told_by_any_loss_of_targets_0_and_1(loss):
    model = network(loss).fit(X, SEVERAL)
    assert (model.predict(X) == SEVERAL).mean() > 0.97
    for make in (network, linear):
        assert make(loss).fit(X, THREE).score(X, THREE) > (0.95 if make is network else 0.6)


@pytest.mark.filterwarnings("ignore:.*aximum")
@pytest.mark.parametrize(
    ("named", "own"), [("log_loss", log_loss), ("hinge", hinge)], ids=["log_loss", "hinge"]
)
@pytest.mark.parametrize("labels", [WORDS, THREE], ids=["two", "three"])
def test_a_linear_classifier_learns_the_same_by_a_formula_as_by_its_name(named, own, labels):
    settings = dict(max_iter=8, tol=None)
    by_name, by_formula = (linear(loss, **settings).fit(X, labels) for loss in (named, own))
    np.testing.assert_allclose(by_formula.coef_, by_name.coef_, rtol=1e-9)
    assert np.array_equal(by_formula.predict(X), by_name.predict(X))


def test_scores_of_epochs_and_partial_fits_are_of_the_same_decision():
    for make in (network, linear):
        settings = dict(early_stopping=True, tol=1e-4)
        model = make(square, **settings).fit(X, WORDS, X_val=X, y_val=WORDS)
        best = max(model.validation_scores_)
        assert best > 0.95
        assert model.score(X, WORDS) >= best - 0.05
        by_name = make(square, **settings, scoring="accuracy")
        by_name.fit(X, WORDS, X_val=X, y_val=WORDS)
        assert by_name.validation_scores_ == model.validation_scores_
        once = make(square).partial_fit(X, WORDS, classes=["no", "yes"])
        again = pickle.loads(pickle.dumps(once)).set_params(loss="log_loss")
        assert np.array_equal(again.predict(X), once.predict(X))  # of what it was trained by


@pytest.mark.parametrize(
    ("loss", "outputs", "expected"),
    [
        (lambda z, y: maximum(0.9 * (y - z), 0.1 * (z - y)), 1, 0.5),
        (lambda z, y: 2 * abs(z - y) ** 1.5, 1, 0.5),
        (lambda z, y: (z - (0.1 + 0.8 * y)) ** 2, 1, 0.5),  # smoothed labels
        (lambda z, y: softplus(z) - (0.05 + 0.9 * y) * z, 1, 0.0),
        (lambda z, y: maximum(0, 1 - (2 * y - 1) * (z - 0.5)), 1, 0.0),
        (lambda z, y: exp(-(2 * y - 1) * z), 1, 0.0),
        (lambda z, y: softplus(z) - y * z + 1e9 * y, 1, 0.0),
        (lambda z, y: -(y * log(z) + (1 - y) * log(1 - z)), 1, 0.5),
        (lambda z, y: maximum(0.1 * (y - z), 0.9 * (z - y)), 1, 0.5),
        (lambda z, y: maximum(y - z, 2 * (z - y)), 1, 0.5),
        (lambda z, y: where(z >= y, z - y, y - z), 1, 0.5),
        (lambda z, y: -(y * log(z + 1e-7) + (1 - y) * log(1 - z + 1e-7)), 1, 0.5),
        (lambda z, y: (z - (1.2 * y - 0.1)) ** 2, 1, 0.5),
        (lambda z, y: (z - y) ** 2 + 0.1 * z, 1, 0.5),
        (lambda z, y: maximum(0, abs(z - y) - 0.5), 1, 0.5),
        (lambda z, y: exp(2 * (z - y)) - 2 * (z - y) - 1, 1, 0.5),
        (lambda z, y: (z - y) ** 10, 1, 0.5),
        (lambda z, y: maximum(0, -(2 * y - 1) * z), 1, 0.0),  # the perceptron's
        (lambda z, y: maximum(0, -(2 * y - 1) * z) ** 2, 1, 0.0),
        (lambda z, y: exp(-7 * (2 * y - 1) * z), 1, 0.0),
        (lambda z, y: (z - 0.2 * (2 * y - 1)) ** 2, 1, 0.0),
        (lambda z, y: maximum(0, 1 - 30 * (2 * y - 1) * z), 1, 0.0),
        (lambda z, y: (z[0] - y[0]) ** 2 + softplus(z[1]) - y[1] * z[1], 2, [0.5, 0.0]),
        (of_row, 3, 0.0),
    ],
)
def test_the_threshold_is_the_one_at_which_the_loss_parts_both_labels(loss, outputs, expected):
    assert np.array_equal(thresholds(custom_loss(loss, outputs)), expected)


def focal(z, y):
    p = sigmoid(z)
    return -(y * (1 - p) ** 2 * log(p) + (1 - y) * p**2 * log(1 - p))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (log_loss, 0.0),
        (lambda z, y: log(1 + exp(z)) - y * z, 0.0),  # infinite for large outputs
        (focal, 0.0),
        (hinge, 0.0),
        (lambda z, y: hinge(z, y) ** 2, 0.0),
        (lambda z, y: (tanh(z) - (2 * y - 1)) ** 2, 0.0),
        (lambda z, y: (sigmoid(z) - y) ** 2, 0.0),
        (lambda z, y: 1 - (2 * y - 1) * z / sqrt(1 + z**2), 0.0),
        (lambda z, y: 1 - erf((2 * y - 1) * z), 0.0),
        (lambda z, y: -(2 * y - 1) * z, 0.0),
        (square, 0.5),
        (lambda z, y: abs(z - y), 0.5),
        (lambda z, y: 1 - exp(-((z - y) ** 2)), 0.5),
        (lambda z, y: maximum(0, abs(z - y) - 0.25), 0.5),
    ],
)
@pytest.mark.parametrize("factor", [1e-3, 1 / 9, 9.0, 1e3])
def test_a_factor_for_one_label_does_not_move_the_threshold(loss, expected, factor):
    assert thresholds(custom_loss(lambda z, y: (1 + (factor - 1) * y) * loss(z, y), 1)) == expected


@pytest.mark.filterwarnings("ignore:.*aximum")
@pytest.mark.parametrize(
    ("make", "labels"),
    [(network, False), (network, True), (linear, False)],
    ids=["network-two", "network-several", "linear-two"],
)
def test_a_factor_in_a_loss_finds_what_class_weight_does(make, labels):
    rare = SCORE + np.random.default_rng(1).normal(size=400) > 1.8
    y = np.c_[rare, rare].astype(int) if labels else rare.astype(int)
    weight = {0: 1.0, 1: 9.0}

    def weighted(z, y):
        return 9 * y * softplus(-z) + (1 - y) * softplus(z)

    by_factor = make(weighted).fit(X, y).predict(X)
    by_weight = make("log_loss", class_weight=[weight] * 2 if labels else weight).fit(X, y)
    assert (by_factor == by_weight.predict(X)).mean() > 0.97
    assert by_factor[rare].mean() > by_weight.predict(X)[rare].mean() - 0.05


def margin(z, y):
    return maximum(0, 1 - y * z)


def before(model):
    """Return what a pickle of version 0.1 gives: without the threshold."""
    old = pickle.loads(pickle.dumps(model))
    del old._threshold
    return old


@pytest.mark.filterwarnings("ignore:.*aximum")
@pytest.mark.parametrize("y", [WORDS, SEVERAL, THREE], ids=["two", "labels", "three"])
def test_a_network_pickled_before_thresholds_were_kept_predicts_as_it_did(y):
    for named, own in [("mse", square), ("binary_cross_entropy", log_loss)]:
        for model, threshold in [(network(named).fit(X, y), named == "mse"), (network(own), 1)]:
            model = model if hasattr(model, "coefs_") else model.fit(X, y)
            old, outputs = before(model), model.to_trainer().forward(X)
            there = outputs.argmax(axis=1) if y is THREE else outputs > 0.5 * threshold
            expected = there if y is not WORDS else np.where(there[:, 0], "yes", "no")
            assert np.array_equal(old.predict(X), expected)
            old.partial_fit(X, y)
            assert np.array_equal(old._threshold, model._threshold)


@pytest.mark.filterwarnings("ignore:.*aximum")
def test_a_network_whose_loss_is_refused_now_predicts_and_keeps_its_weights(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("fastnn.estimators.mlp.threshold_of", lambda *_: 0.5)
        old = before(network(margin).fit(X, WORDS))
    outputs = old.to_trainer().forward(X)[:, 0]
    assert np.array_equal(old.predict(X), np.where(outputs > 0.5, "yes", "no"))
    with pytest.raises(InvalidInput, match="same at every output for target 0"):
        old.partial_fit(X, WORDS)
    assert np.array_equal(old.to_trainer().forward(X)[:, 0], outputs)


@pytest.mark.filterwarnings("ignore:.*aximum")
@pytest.mark.parametrize("y", [WORDS, THREE], ids=["two", "three"])
def test_a_linear_classifier_of_targets_before_predicts_and_does_not_go_on(y):
    old = before(linear(square, warm_start=True).fit(X, y))
    found, coef = old._outputs_for(X), old.coef_.copy()
    places = found.argmax(axis=1) if y is THREE else (found > 0).astype(int)
    assert np.array_equal(old.predict(X), old.classes_[places])
    for again in (lambda: old.fit(X, y), lambda: old.partial_fit(X, y)):
        with pytest.raises(InvalidInput, match="before version 0.2.* -1 and 1.*fit anew"):
            again()
    assert np.array_equal(old.coef_, coef)
    assert np.array_equal(old._outputs_for(X), found)
    assert old.set_params(warm_start=False).fit(X, y).partial_fit(X, y).score(X, y) > 0.6
    by_name = before(linear("hinge", warm_start=True).fit(X, y))
    by_name.fit(X, y).partial_fit(X, y).set_params(loss=square).partial_fit(X, y)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda z, y: maximum(0, 1 - y * z), r"same at every output for target 0.*\(2\*y - 1\)\*z"),
        (lambda z, y: maximum(0, -y * z), r"same at every output for target 0.*\(2\*y - 1\)\*z"),
        (lambda z, y: softplus(-y * z), r"same at every output for target 0.*\(2\*y - 1\)\*z"),
        (lambda z, y: (1 - y * z) ** 2, r"same at every output for target 0.*\(2\*y - 1\)\*z"),
        (lambda z, y: softplus(z) - (1 - y) * z, "down for target 1; write -z"),
        (lambda z, y: (1 + 9 * y) * (z + y) ** 2, "down for target 1; write -z"),
        (lambda z, y: (1 + 9 * y) * z**2, "every output the same way for both targets"),
        (lambda z, y: (1 + 9 * y) * softplus(z), "every output the same way for both targets"),
        (lambda z, y: maximum(0, abs(z) - y), "others the other way, so that the output does"),
        (lambda z, y: (z**2 - y) ** 2, "others the other way, so that the output does not"),
        (lambda z, y: (z**2 - 4 * y) ** 2 + 9 * y * z, "others the other way"),
        (
            lambda z, y: maximum(0, abs(z - y) - 1),
            "away from 0, nor to 0 and 1",
        ),  # flat between
        (lambda z, y: (z - 3 * y) ** 2, "away from 0, nor to 0 and 1; let label 1 be above"),
        (lambda z, y: abs(z - 3 * y), "away from 0, nor to 0 and 1; let label 1 be above"),
        (lambda z, y: maximum(0.1 * (3 * y - z), 0.9 * (z - 3 * y)), "away from 0, nor to 0 and 1"),
        (lambda z, y: (z / 10 - y) ** 2, "away from 0, nor to 0 and 1; let label 1 be above"),
        (lambda z, y: exp(z) - y * z - y, "away from 0, nor to 0 and 1; let label 1 be above"),
        (lambda z, y: -sum_of(y * log_softmax(z)), "same at every output for target 0"),
        (maximum(0, 1 - Y * Z), r"same at every output for target 0.*\(2\*y - 1\)\*z"),
    ],
)
@pytest.mark.parametrize("make", [network, linear])
def test_a_loss_that_does_not_tell_labels_0_and_1_is_refused_by_what_to_write(make, loss, message):
    with pytest.raises(InvalidInput, match=f"(?s)targets of a .* loss are 0 and 1, but.*{message}"):
        make(loss).fit(X, WORDS)
    with pytest.raises(InvalidInput, match=message):
        make(loss).partial_fit(X, WORDS, classes=["no", "yes"])
    if make is network:
        with pytest.raises(InvalidInput, match=message):
            make(loss).fit(X, SEVERAL)


@pytest.mark.parametrize("make", [network, linear])
def test_of_several_classes_what_makes_the_largest_output_another_is_refused(make):
    for loss, what in [
        (lambda z, y: maximum(0, 1 - y * z), "(2*y - 1)*z"),
        (lambda z, y: softplus(z) - (1 - y) * z, "write -z"),
    ]:
        with pytest.raises(InvalidInput, match=re.escape(what)):
            make(loss).fit(X, THREE)


@pytest.mark.filterwarnings("ignore:.*aximum")
def test_poisson_of_labels_decides_at_half_of_a_rate():
    labels = (X[:, 0] + 0.3 * GENERATOR.normal(size=400) > 0).astype(int)
    model = network("poisson").fit(X, labels)
    rates = np.exp(model.to_trainer().forward(X)[:, 0])
    assert np.array_equal(model.predict(X), (rates > 0.5).astype(int))
    assert abs(model.predict(X).mean() - labels.mean()) < 0.05
    several = network("poisson").fit(X, SEVERAL)
    outputs = several.to_trainer().forward(X)
    assert np.array_equal(several.predict(X), (outputs > math.log(0.5)).astype(int))


@pytest.mark.filterwarnings("ignore:.*aximum")
def test_losses_as_formulas_go_through_a_search():
    losses = [softplus(Z) - Y * Z, "hinge", square]
    for make in (network, linear):
        search = GridSearchCV(make("hinge"), {"loss": losses}, cv=2).fit(X, WORDS)
        assert search.best_score_ > 0.9
        assert search.predict(X).shape == (400,)
