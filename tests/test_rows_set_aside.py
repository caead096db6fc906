"""Rows that `early_stopping` sets aside: the others are not copied, and keep their numbers."""

import tracemalloc
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy import sparse  # noqa: E402

import fastnn  # noqa: E402
from fastnn import Diverged, MLPClassifier, MLPRegressor, SGDClassifier, SGDRegressor  # noqa: E402
from fastnn.estimators.base import Rows  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*(aximum|MAXIMUM).*")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 3))
NUMBERS, KINDS = X[:, 0] * 1.0, np.array(["a", "b", "c"])[RANDOM.integers(0, 3, 300)]


def fitted_or_said(model, X, y, **given):
    """Return what is said of rows of X or y where a fit diverges, or warns."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            model.fit(X, y, **given)
        except (Diverged, fastnn.InvalidInput) as error:
            return str(error)
    return " ".join(str(each.message) for each in told)


CASES = {
    "MLPRegressor": (MLPRegressor, {"max_iter": 20}, NUMBERS),
    "SGDRegressor": (SGDRegressor, {"loss": "squared_epsilon_insensitive", "max_iter": 8}, NUMBERS),
    "MLPClassifier": (MLPClassifier, {"max_iter": 20}, KINDS),
    "SGDClassifier": (SGDClassifier, {"loss": "squared_hinge", "max_iter": 8}, KINDS),
}


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_the_row_of_a_large_number_is_the_callers(case, weighted, form):
    kind, settings, y = CASES[case]
    model = kind(early_stopping=True, random_state=0, target="numpy", **settings)
    model.classes_ = np.unique(y)
    for row in (290, 280, 270):  # some of them are set aside, which nothing is said of
        large = X.copy()
        large[row, 1] = 1e200
        weights = RANDOM.random(300) + 0.5 if weighted else None
        said = fitted_or_said(model, form(large), y, sample_weight=weights)
        if "in row " in said:
            assert f"column 1 has the value 1e+200 in row {row}," in said
            return
    pytest.fail("none of the rows is trained on")


@pytest.mark.parametrize("kind", [MLPRegressor, SGDRegressor])
def test_the_row_of_a_large_target_is_the_callers(kind):
    settings = {"loss": "squared_epsilon_insensitive"} if kind is SGDRegressor else {}
    model = kind(early_stopping=True, random_state=0, target="numpy", max_iter=8, **settings)
    for row in (250, 260, 270):
        y = NUMBERS.copy()
        y[row] = -1e200
        said = fitted_or_said(model, X, y)
        if "in row" in said:
            assert f"-1e+200 in row {row}," in said
            return
    pytest.fail("none of the rows is trained on")


def test_of_several_outputs_the_row_is_the_callers():
    for row in (250, 260, 270):
        Y = np.column_stack((NUMBERS, -NUMBERS))
        Y[row, 1] = 1e200
        model = MLPRegressor(early_stopping=True, random_state=0, target="numpy", max_iter=20)
        said = fitted_or_said(model, X, Y)
        if "in row" in said:
            assert f"column 1 has the value 1e+200 in row {row}," in said
            return
    pytest.fail("none of the rows is trained on")


def test_a_target_that_cannot_be_is_named_by_the_callers_row():
    y = NUMBERS**2
    for value, settings, said in (
        (-1.0, {"loss": "poisson"}, "is negative"),
        (1e300, {"dtype": "float32"}, "is too large for float32"),
    ):
        named = 0
        for row in range(200, 225):  # some of which are set aside
            wrong = y.copy()
            wrong[row] = value
            model = MLPRegressor(early_stopping=True, random_state=0, target="numpy", **settings)
            found = fitted_or_said(model, X, wrong)
            if said in found:
                assert f"at row {row} {said}" in found
                named += 1
        assert named


def test_a_row_that_is_set_aside_is_not_named_for_what_others_do():
    """Features that are set aside do not make a training diverge."""
    y = NUMBERS.copy()
    model = SGDRegressor(
        "squared_epsilon_insensitive", early_stopping=True, random_state=0, max_iter=8
    )
    aside = sorted({*range(300)} - {*model._split(Rows(X, y))[0].X.rows.tolist()})
    large = X * [1.0, 1e60, 1.0]
    large[aside[0], 2] = 1e150
    said = fitted_or_said(model.set_params(target="numpy"), large, y)
    assert "column 1" in said
    assert f"row {aside[0]}," not in said


def fitted(kind, X, y, weights, chosen, monkeypatch, **settings):
    """Return an estimator whose rows to train on are a copy, unless they are to be chosen."""
    if not chosen:
        monkeypatch.setattr("fastnn.estimators.base.chosen_rows", lambda X, rows: X[rows])
    model = kind(random_state=0, early_stopping=True, **settings).fit(X, y, sample_weight=weights)
    monkeypatch.undo()
    return model


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("dtype", "more"),
    [
        (np.float64, {}),
        (np.float64, {"standardize": True}),
        (np.float64, {"shuffle": False}),
        (np.float32, {"batch_size": 16}),
        (np.uint8, {}),
    ],
)
def test_rows_to_train_on_are_chosen_as_if_they_were_copied(case, more, dtype, monkeypatch):
    kind, _, y = CASES[case]
    own = (X > 0).astype(dtype) if dtype is np.uint8 else X.astype(dtype)
    settings = {"max_iter": 4, "validation_fraction": 0.3, **more}
    if kind in (MLPClassifier, MLPRegressor):
        settings["hidden_layer_sizes"] = (5,)
    for weights in (None, np.random.default_rng(1).random(len(y)) + 0.5):
        one, other = (
            fitted(kind, own, y, weights, chosen, monkeypatch, **settings)
            for chosen in (True, False)
        )
        close = 1e-5 if dtype is np.float32 else 1e-9
        np.testing.assert_allclose(one.validation_scores_, other.validation_scores_, close)
        np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, close)


@pytest.mark.parametrize("kind", [SGDRegressor, MLPRegressor, SGDClassifier, MLPClassifier])
def test_early_stopping_copies_a_tenth_of_dense_rows(kind):
    many = np.random.default_rng(0).integers(0, 2, (40_000, 500)).astype(np.uint8)
    y = np.arange(len(many)) % 2
    model = kind(early_stopping=True, max_iter=2, random_state=0, batch_size=256)
    if kind in (MLPRegressor, MLPClassifier):
        model.set_params(hidden_layer_sizes=(4,), tol=0.0)
    else:
        model.set_params(tol=None)
    model.fit(many[:1000], y[:1000])
    tracemalloc.start()
    model.fit(many, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.1 * many.nbytes + 160 * len(y) + (6 << 20), peak / many.nbytes


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("kind", [SGDClassifier, SGDRegressor, MLPRegressor, MLPClassifier])
@pytest.mark.parametrize("standardize", [False, True])
def test_predictions_take_no_floating_copy_of_rows(kind, standardize, dtype):
    many = np.random.default_rng(0).integers(0, 9, (60_000, 300)).astype(dtype)
    y = np.arange(len(many)) % 3
    settings = {} if "MLP" not in kind.__name__ else {"hidden_layer_sizes": (4,)}
    model = kind(max_iter=2, random_state=0, standardize=standardize, dtype="float64", **settings)
    model.fit(many[:1000], y[:1000])
    some = [model.predict(many[at : at + 7000]) for at in range(0, len(many), 7000)]
    tracemalloc.start()
    found = model.predict(many)
    model.score(many, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (40 << 20) + 200 * len(y), peak / many.size
    if kind is SGDClassifier:
        assert (found == np.concatenate(some)).all()
    elif kind is not MLPClassifier:
        np.testing.assert_allclose(found, np.concatenate(some), 1e-9, 1e-9)
