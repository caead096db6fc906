"""Linear models on sparse rows: scikit-learn's numbers, its slow intercept included."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

sklearn = pytest.importorskip("sklearn")

import scipy.sparse  # noqa: E402
from sklearn import linear_model  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_iris  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.preprocessing import scale  # noqa: E402

import fastnn  # noqa: E402
from fastnn import SGDClassifier, SGDRegressor  # noqa: E402
from fastnn.inputs import sparse_rows  # noqa: E402

ORDER = np.random.default_rng(0).permutation(150)[:50]
IRIS = scale(load_iris().data)[ORDER] / 4
FLOWERS = load_iris().target[ORDER]
NAMES = np.array(["setosa", "versicolor", "virginica"])[FLOWERS]
SPARSE = scipy.sparse.csr_array(np.where(np.abs(IRIS) > 0.2, IRIS, 0))


@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet"])
@pytest.mark.parametrize("kind", ["csr_matrix", "csc_matrix", "csr_array"])
def test_sparse_rows_train_as_dense_ones_but_for_the_intercept(kind, penalty):
    data = SPARSE.toarray()
    sparse = getattr(scipy.sparse, kind)(data)
    settings = dict(penalty=penalty, max_iter=3, tol=None, random_state=0, alpha=0.01)
    settings["fit_intercept"] = False
    for estimator, y in (
        (SGDClassifier("log_loss", **settings), NAMES),
        (SGDRegressor(**settings), IRIS[:, 0]),
    ):
        dense, found = clone(estimator).fit(data, y), estimator.fit(sparse, y)
        assert_allclose(found.coef_, dense.coef_, rtol=0, atol=1e-8)
        assert found.score(sparse, y) == pytest.approx(dense.score(data, y))


@pytest.mark.parametrize("target", ["cpu", "numpy"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("SGDClassifier", dict(loss="hinge", class_weight="balanced")),
        ("SGDClassifier", dict(loss="log_loss", alpha=0.1, average=True)),
        ("SGDClassifier", dict(loss="modified_huber", alpha=0.1, average=40)),
        ("SGDClassifier", dict(loss="log_loss", alpha=0.1, penalty=None)),
        ("Perceptron", dict(penalty="l2", alpha=1e-3)),
        ("SGDRegressor", dict(average=True)),
        ("SGDRegressor", dict(loss="huber", learning_rate="adaptive", tol=1e-3, max_iter=30)),
        ("SGDRegressor", dict(fit_intercept=False)),
    ],
)
@pytest.mark.parametrize("two_classes", [False, True])
def test_unshuffled_fits_to_sparse_rows_are_scikit_learns(name, settings, two_classes, target):
    settings = dict(max_iter=4, tol=None, shuffle=False) | settings
    y = IRIS[:, 0] if name == "SGDRegressor" else NAMES if not two_classes else FLOWERS > 0
    mine = getattr(fastnn, name)(**settings, target=target)
    theirs = getattr(linear_model, name)(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for each in (mine, theirs):
            each.fit(SPARSE, y)
    assert mine.n_iter_ == theirs.n_iter_ and mine.t_ == theirs.t_
    for _ in range(3):
        assert_allclose(mine.coef_, theirs.coef_, rtol=1e-8, atol=1e-10)
        assert_allclose(mine.intercept_, theirs.intercept_, rtol=1e-8, atol=1e-10)
        if settings.get("average") or settings.get("learning_rate") == "adaptive":
            break  # of later chunks scikit-learn takes another mean, and another rate
        for each in (mine, theirs):  # rows that are dense in turn, of which the intercept is faster
            each.partial_fit(SPARSE.toarray() if mine.t_ % 2 else SPARSE, y)


@pytest.mark.parametrize("kind", ["csr_array", "csc_array"])
def test_sparse_numbers_are_looked_through_once_for_all_classes(monkeypatch, kind):
    looked, check = [], sparse_rows._check_finite

    def counted(values, *others):
        looked.append(len(values))
        check(values, *others)

    monkeypatch.setattr(sparse_rows, "_check_finite", counted)
    rows = getattr(scipy.sparse, kind)(SPARSE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for settings in ({}, {"standardize": True}, {"early_stopping": True}):
            looked.clear()
            fitted = SGDClassifier(max_iter=2, target="numpy", random_state=0, **settings)
            fitted.fit(rows, NAMES)
            # What is scaled are other numbers, and rows set aside are parted from the others.
            assert looked[0] == rows.nnz and len(looked) == (1 if not settings else 2)
            assert "_rows" not in vars(fitted)
    wrong = rows.copy()
    wrong.data[3] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        fitted.fit(wrong, NAMES)


def test_an_optimizer_moves_the_intercept_alike_on_sparse_and_dense_rows():
    settings = dict(optimizer=fastnn.SGD(0.1), max_iter=3, tol=None, random_state=0)
    for fitted in (SGDRegressor(**settings), SGDClassifier(average=False, **settings)):
        y = IRIS[:, 0] if isinstance(fitted, SGDRegressor) else NAMES
        dense = clone(fitted).fit(SPARSE.toarray(), y)
        assert_allclose(fitted.fit(SPARSE, y).intercept_, dense.intercept_, rtol=0, atol=1e-12)


def test_the_trainer_inside_goes_on_with_the_rate_of_the_intercept():
    for standardize in (False, True):
        fitted = SGDRegressor(standardize=standardize, max_iter=2, tol=None).fit(SPARSE, IRIS[:, 0])
        assert fitted.to_trainer().network.dense[0].bias_rate_factor == 0.01
        fitted.fit(SPARSE.toarray(), IRIS[:, 0])
        assert fitted.to_trainer().network.dense[0].bias_rate_factor == 1.0


@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet", None])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("rows", [5, 60, 300])
def test_weights_have_the_same_bits_until_their_mean_begins(rows, classes, penalty):
    random = np.random.default_rng(rows)
    X = scipy.sparse.random_array((rows, 6), density=0.5, rng=random, format="csr")
    y = random.permutation(np.arange(rows) % classes)
    for epochs in (1, 3):
        settings = {
            "penalty": penalty, "alpha": 0.01, "max_iter": epochs, "tol": None, "random_state": 0,
        }  # fmt: skip
        plain = SGDClassifier(**settings).fit(X, y)
        late = SGDClassifier(**settings, average=rows * epochs + 1).fit(X, y)
        if classes == 2:
            np.testing.assert_array_equal(late.coef_, plain.coef_)
            np.testing.assert_array_equal(late.intercept_, plain.intercept_)
        else:  # of several, their mean may be another way of computing
            np.testing.assert_allclose(late.coef_, plain.coef_, rtol=1e-10, atol=1e-13)
        # From then on it is their mean: of the last step alone, the weights after it.
        last = SGDClassifier(**settings, average=rows * epochs).fit(X, y)
        np.testing.assert_allclose(last.coef_, plain.coef_, rtol=1e-10, atol=1e-13)
