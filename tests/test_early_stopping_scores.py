"""Early stopping by R^2 needs rows of which there is one: two or more that differ."""

import numpy as np
import pytest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import SGDRegressor as TheirRegressor

from fastnn import InvalidInput, MLPRegressor, SGDRegressor

DRAWN = np.random.default_rng(0)
X = DRAWN.normal(size=(40, 3))
Y = X @ [1.0, -2.0, 0.5]
SETTINGS = {"early_stopping": True, "max_iter": 20, "random_state": 0, "target": "numpy"}
KINDS = (MLPRegressor,)  # which go back to the best epoch
pytestmark = pytest.mark.filterwarnings("ignore:.*aximum.*iteration.*", "ignore:.*The network.*")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scoring", [None, "r2", "explained_variance"])
@pytest.mark.parametrize(
    ("y_val", "weights", "said"),
    [
        (Y[:1], None, "1 row that counts"),
        (np.full(5, 3.0), None, "the same number in all 5 rows"),
        (Y[:3], [0.0, 1.0, 0.0], "1 row that counts"),
        (np.array([1.0, 2.0, 2.0]), [0.0, 1.0, 3.0], "the same number in all 2 rows"),
    ],
)
def test_given_rows_without_a_score_are_refused(kind, scoring, y_val, weights, said):
    model = kind(scoring=scoring, **SETTINGS)
    by = r"R\^2" if scoring is None else f"scoring='{scoring}'"
    text = (
        rf"^X_val and y_val: early_stopping goes by {by}, which has no value where y has {said}; "
        "give X_val and y_val of two or more that differ, or set scoring='neg_mean_squared_error'"
    )
    with pytest.raises(InvalidInput, match=text):
        model.fit(X, Y, X_val=X[: len(y_val)], y_val=y_val, sample_weight_val=weights)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("y_val", [Y[:1], np.full(5, 3.0)])
def test_another_score_takes_them(kind, y_val):
    held = {"X_val": X[: len(y_val)], "y_val": y_val}
    model = kind(scoring="neg_mean_squared_error", **SETTINGS).fit(X, Y, **held)
    assert len(set(model.validation_scores_)) > 1
    noted = kind(**{**SETTINGS, "early_stopping": False}).fit(X, Y, **held)  # decides nothing
    assert len(noted.validation_scores_) == noted.n_iter_


@pytest.mark.parametrize("kind", KINDS)
def test_two_rows_that_differ_have_a_score(kind):
    model = kind(**SETTINGS).fit(X, Y, X_val=X[:2], y_val=Y[:2])
    assert len(set(model.validation_scores_)) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_one_row_set_aside_is_refused(kind):
    with pytest.raises(ValueError, match="take a larger validation_fraction|set is too small"):
        kind(**SETTINGS, validation_fraction=0.1).fit(X[:8], Y[:8])
    with pytest.raises(InvalidInput, match="1 row that counts; take a larger validation_fraction"):
        kind(**SETTINGS).fit(X, Y, sample_weight=one_of_those_set_aside(kind))


def one_of_those_set_aside(kind):
    """Return weights by which one of the rows that are set aside counts, and all others."""
    seen = []

    def note(model, X, y):
        seen.append(y)
        return 0.0

    kind(scoring=note, **SETTINGS).fit(X, Y)
    return 1.0 - np.isin(Y, seen[0][1:])


WITHOUT = {
    "one row": (Y[:1], None, "1 row that counts"),
    "one number": (np.ones(5), None, "the same number in all 5 rows"),
    "one that counts": (Y[:3], [0.0, 1.0, 0.0], "1 row that counts"),
}


@pytest.mark.parametrize("scoring", [None, "r2", "explained_variance"])
@pytest.mark.parametrize("name", WITHOUT)
def test_scores_without_a_value_do_not_end_a_fit_which_says_so(name, scoring):
    y_val, weights, said = WITHOUT[name]
    text = (
        "^early_stopping has nothing to go by, so that the fit ends after max_iter epochs: it goes "
        rf"by .*, which has no value where y has {said}; give X_val and y_val of two or more that"
    )
    model = SGDRegressor(scoring=scoring, **SETTINGS)
    with pytest.warns(UndefinedMetricWarning, match=text) as told:
        model.fit(X, Y, X_val=X[: len(y_val)], y_val=y_val, sample_weight_val=weights)
    assert len([each for each in told if "nothing to go by" in str(each.message)]) == 1
    assert model.n_iter_ == 20
    assert np.isnan(model.validation_scores_).all() and len(model.validation_scores_) == 20
    same = SGDRegressor(**{**SETTINGS, "early_stopping": False, "tol": None}).fit(X, Y)
    np.testing.assert_array_equal(model.coef_, same.coef_)


def test_one_row_set_aside_does_not_end_a_fit_as_in_scikit_learn():
    for kind in (SGDRegressor, TheirRegressor):
        given = {name: value for name, value in SETTINGS.items() if name != "target"}
        with pytest.warns(UndefinedMetricWarning) as told:
            assert kind(**given).fit(X[:9], Y[:9]).n_iter_ == 20
    ours = SGDRegressor(**SETTINGS)
    with pytest.warns(UndefinedMetricWarning, match="take a larger validation_fraction") as told:
        ours.fit(X[:9], Y[:9])
    assert len([each for each in told if each.category is UndefinedMetricWarning]) == 1
    weights = one_of_those_set_aside(SGDRegressor)
    with pytest.warns(UndefinedMetricWarning, match="1 row that counts; take a larger"):
        ours.fit(X, Y, sample_weight=weights)


def test_restarts_without_a_score_keep_the_best_objective():
    model = SGDRegressor(**SETTINGS, n_restarts=4)
    with pytest.warns(UndefinedMetricWarning) as told:
        model.fit(X, Y, X_val=X[:1], y_val=Y[:1])
    assert len([each for each in told if each.category is UndefinedMetricWarning]) == 1
    first = SGDRegressor(**{**SETTINGS, "early_stopping": False, "tol": None}, n_restarts=4)
    assert model.loss_curve_[-1] == first.fit(X, Y).loss_curve_[-1]


def test_rows_that_decide_nothing_are_not_warned_of():
    settings = {**SETTINGS, "early_stopping": False}
    model = SGDRegressor(**settings).fit(X, Y, X_val=X[:1], y_val=Y[:1])
    assert np.isnan(model.validation_scores_).all()
    by_error = SGDRegressor(scoring="neg_mean_squared_error", **SETTINGS)
    by_error.fit(X, Y, X_val=X[:1], y_val=Y[:1])
    assert np.isfinite(by_error.validation_scores_).all()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_set_aside_may_be_all_of_one_number_as_in_scikit_learn(kind):
    model = kind(**SETTINGS).fit(X, np.zeros(40) + 2.0)
    assert len(model.validation_scores_) == model.n_iter_


def test_one_output_that_varies_is_enough_for_a_score():
    y = np.c_[Y, np.ones(40)]
    model = MLPRegressor(**SETTINGS).fit(X, y, X_val=X[:9], y_val=y[:9])
    assert len(set(model.validation_scores_)) > 1
    with pytest.raises(InvalidInput, match="the same number in all 9 rows"):
        MLPRegressor(**SETTINGS).fit(X, y, X_val=X[:9], y_val=np.tile(y[0], (9, 1)))


def test_counts_go_by_r2_as_well():
    counts = DRAWN.poisson(2.0, 40).astype(float)
    for kind in KINDS:
        with pytest.raises(InvalidInput, match="the same number in all 4 rows"):
            kind(loss="poisson", **SETTINGS).fit(X, counts, X_val=X[:4], y_val=np.ones(4))
