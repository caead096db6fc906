"""Weights of rows that are nearly as large as numbers can be."""

import warnings

import numpy as np
import pytest

import fastnn

X = np.random.default_rng(0).normal(size=(60, 3))
Y = X[:, 0] - X[:, 1]


def fitted(name, *data, early_stopping=True, **more):
    kind = getattr(fastnn, name)
    model = kind(max_iter=2, random_state=0, target="numpy", early_stopping=early_stopping)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of so few epochs
        return model.fit(*data, **more)


@pytest.mark.parametrize("name", ["MLPRegressor", "MLPClassifier", "SGDRegressor", "SGDClassifier"])
def test_weights_whose_sum_overflows_are_refused(name):
    y = Y if name.endswith("Regressor") else Y > 0
    message = "sample_weight and class_weight make, .* overflows; divide sample_weight"
    with pytest.raises(fastnn.InvalidInput, match=message):
        fitted(name, X, y, sample_weight=np.full(60, 1e307), early_stopping=False)


@pytest.mark.parametrize("name", ["MLPRegressor", "MLPClassifier"])
def test_the_mean_of_weights_in_float32_does_not_overflow(name):
    y = Y if name.endswith("Regressor") else Y > 0
    weights = np.full(60, 1e38, "f4")
    found = fitted(name, X, y, sample_weight=weights, early_stopping=False)
    wide = fitted(name, X, y, sample_weight=weights.astype("f8"), early_stopping=False)
    np.testing.assert_allclose(found.predict(X), wide.predict(X))


@pytest.mark.parametrize("name", ["MLPRegressor", "MLPClassifier", "SGDRegressor", "SGDClassifier"])
def test_a_score_does_not_depend_on_the_size_of_weights(name):
    y = Y if name.endswith("Regressor") else Y > 0
    weights = np.linspace(0.5, 1.0, 60)
    scores = [
        fitted(name, X, y, X_val=X, y_val=y, sample_weight_val=weights * size).validation_scores_
        for size in (1.0, 2.0**1023)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-12)
