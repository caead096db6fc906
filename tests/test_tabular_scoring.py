"""Scorers of tables: those that take weights of rows, and those that take none."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastnn

sklearn = pytest.importorskip("sklearn", "1.6")
from sklearn.metrics import accuracy_score, make_scorer  # noqa: E402

DRAWN = np.random.default_rng(0)
X = DRAWN.normal(size=(120, 3))
PRICE = X[:, 0] + 0.1 * X[:, 1]
BOUGHT = np.where(PRICE > 0, "yes", "no")
WEIGHTS = DRAWN.uniform(0.1, 2.0, 120)
SETTINGS = {"n_members": 1, "max_iter": 3, "random_state": 0, "target": "numpy"}


def plain(estimator, X, y):
    return float(np.mean(estimator.predict(X) == y))


def share(y, predicted):
    return float(np.mean(y == predicted))


class Scorer:
    """A scorer that is an object."""

    def __call__(self, estimator, X, y):
        """Return the share of rows that are right."""
        return plain(estimator, X, y)


@pytest.mark.parametrize(
    "scoring",
    [plain, lambda model, X, y: plain(model, X, y), Scorer(), Scorer().__call__,
     make_scorer(share)],
    ids=["function", "lambda", "object", "method", "metric"],
)  # fmt: skip
@pytest.mark.parametrize("held_out", [False, True])
def test_a_scorer_that_takes_no_weights_is_given_none(scoring, held_out):
    model = fastnn.TabularClassifier(scoring=scoring, **SETTINGS)
    more = {"X_val": X[:40], "y_val": BOUGHT[:40], "sample_weight_val": WEIGHTS[:40]}
    model.fit(X, BOUGHT, sample_weight=WEIGHTS, **(more if held_out else {}))
    assert 0.3 < model.validation_score_ <= 1.0
    if held_out:
        assert model.validation_score_ == plain(model, X[:40], BOUGHT[:40])


def test_a_scorer_that_takes_weights_is_given_them():
    seen = []

    def weighed(estimator, X, y, sample_weight=None):
        seen.append(sample_weight)
        return accuracy_score(y, estimator.predict(X), sample_weight=sample_weight)

    model = fastnn.TabularClassifier(scoring=weighed, **SETTINGS)
    held = {"X_val": X[:40], "y_val": BOUGHT[:40], "sample_weight_val": WEIGHTS[:40]}
    model.fit(X, BOUGHT, sample_weight=WEIGHTS, **held)
    assert_array_equal(np.sort(seen[-1]), np.sort(WEIGHTS[:40]))
    assert model.validation_score_ == pytest.approx(model.score(X[:40], BOUGHT[:40], WEIGHTS[:40]))


def test_a_regressor_takes_a_scorer_without_weights():
    def closeness(estimator, X, y):
        return -float(np.abs(estimator.predict(X) - y).mean())

    model = fastnn.TabularRegressor(scoring=closeness, **SETTINGS)
    model.fit(X, PRICE, sample_weight=WEIGHTS)
    assert np.isfinite(model.validation_score_)
