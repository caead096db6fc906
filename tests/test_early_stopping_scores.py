"""Early stopping by R^2 needs rows of which there is one: two or more that differ."""

import numpy as np
import pytest

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


def test_what_does_not_go_back_takes_rows_without_a_score():
    small = SGDRegressor(**SETTINGS).fit(X[:9], Y[:9])  # one row is set aside, as in scikit-learn
    assert len(small.validation_scores_) == small.n_iter_
    constant = SGDRegressor(**SETTINGS).fit(X, Y, X_val=X[:5], y_val=np.ones(5))
    assert constant.score(X, Y) > 0.5


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
