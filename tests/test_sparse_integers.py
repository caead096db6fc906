"""Sparse features that are integers or bool: no floating copy but of what is stored, and small."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from fastnn import MLPClassifier, MLPRegressor, SGDClassifier, SGDRegressor
from fastnn.inputs.sparse_rows import check_sparse

# Of numbers that are out of scale, and few epochs.
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = ["bool", "int8", "uint8", "int16", "uint16"]
ROWS, COLUMNS = 300, 40


def matrix_of(dtype, rows=ROWS, columns=COLUMNS, density=0.2):
    random = np.random.default_rng(0)
    matrix = sparse.random_array((rows, columns), density=density, format="csr", rng=random)
    matrix.data = random.integers(1, 100, matrix.nnz).astype(dtype)
    return matrix


Y = matrix_of("float64").toarray()[:, :3].sum(axis=1) > 10


@pytest.mark.parametrize("dtype", [*SMALL, "int32", "uint32", "int64"])
@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_integers_train_and_predict_as_the_same_floats(dtype, kind):
    X = matrix_of(dtype).asformat(kind)
    floats = X.astype(np.float64)
    for standardize in (False, True):
        settings = {
            "random_state": 0, "max_iter": 3, "tol": None, "early_stopping": True,
            "standardize": standardize,
        }  # fmt: skip
        one = SGDClassifier("log_loss", **settings).fit(X, Y)
        other = SGDClassifier("log_loss", **settings).fit(floats, Y)
        np.testing.assert_array_equal(one.coef_, other.coef_)
        assert one.coef_.dtype == np.float64
        np.testing.assert_array_equal(one.decision_function(X), other.decision_function(floats))
    settings = {"hidden_layer_sizes": (5,), "random_state": 0, "max_iter": 2, "tol": 0.0}
    one, other = (MLPClassifier(**settings).fit(each, Y) for each in (X, floats))
    for W, V in zip(one.coefs_, other.coefs_, strict=True):
        np.testing.assert_array_equal(W, V)
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(floats))


def test_many_stored_numbers_are_predicted_a_part_at_a_time(monkeypatch):
    X = matrix_of("int8")
    model = SGDRegressor(random_state=0, max_iter=3, tol=None).fit(X, Y * 1.0)
    expected = model.predict(X.astype(np.float64))
    monkeypatch.setattr("fastnn.estimators.linear_outputs._STORED", 100)
    for each in (X, X.tocsc()):
        np.testing.assert_array_equal(model.predict(each), expected)


@pytest.mark.parametrize("dtype", ["bool", "int8"])
@pytest.mark.parametrize("network", [np.float32, np.float64])
def test_entries_of_one_place_are_added_up_in_what_holds_their_sum(dtype, network):
    values = np.array([100, 100, 5], dtype)
    X = sparse.csr_array((values, [1, 1, 0], [0, 2, 3]), shape=(2, 2))
    rows = check_sparse(X, 2, np.dtype(network), "X")
    expected = [[0, 2], [1, 0]] if dtype == "bool" else [[0, 200], [5, 0]]
    np.testing.assert_array_equal(rows.dense(slice(None), np.dtype(network)), expected)
    assert len(X.data) == 3, "X is not changed"


@pytest.mark.parametrize("dtype", ["int8", "int32"])
@pytest.mark.parametrize("network", [None, "float32"])
def test_fitting_takes_no_more_than_the_numbers_as_small_floats(dtype, network):
    X = matrix_of(dtype, 100_000, 200, 0.1)
    y = np.zeros(X.shape[0])
    y[::2] = 1
    settings = {"random_state": 0, "dtype": network, "batch_size": 64}
    size = 8 if dtype == "int32" and network is None else 4
    for model in (
        SGDRegressor(max_iter=1, tol=None, **settings),
        MLPRegressor(hidden_layer_sizes=(4,), max_iter=1, tol=0.0, **settings),
    ):
        model.fit(X[:1000], y[:1000]).predict(X[:9])  # so that nothing is compiled
        tracemalloc.start()
        model.fit(X, y)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < size * X.nnz * 1.1 + 60 * len(y) + (2 << 20), peak / X.nnz
        tracemalloc.start()
        model.predict(X)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < size * X.nnz * 1.1 + 60 * len(y) + (4 << 20), peak / X.nnz


def fitted(kind, X, y, weights, chosen, monkeypatch, **settings):
    """Return an estimator whose rows to train on are a copy, unless they are to be chosen."""
    if not chosen:
        monkeypatch.setattr("fastnn.estimators.base.chosen_rows", lambda X, rows: X[rows])
    model = kind(random_state=0, early_stopping=True, **settings).fit(X, y, sample_weight=weights)
    monkeypatch.undo()
    return model


@pytest.mark.parametrize("target", ["cpu", "numpy"])
@pytest.mark.parametrize("kind", [SGDClassifier, SGDRegressor, MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_to_train_on_are_chosen_as_if_they_were_copied(target, kind, weighted, monkeypatch):
    X, names = matrix_of("float32"), np.where(Y, "yes", "no")
    y = names if kind.__name__.endswith("Classifier") else np.stack([Y, ~Y], axis=1)[:, 0] * 2.5
    weights = np.random.default_rng(1).random(ROWS) + 0.5 if weighted else None
    settings = {"target": target, "max_iter": 4, "validation_fraction": 0.3}
    if kind.__name__.startswith("MLP"):
        settings["hidden_layer_sizes"] = (5,)
    one, other = (
        fitted(kind, X, y, weights, chosen, monkeypatch, **settings) for chosen in (True, False)
    )
    assert one.validation_scores_ == other.validation_scores_
    np.testing.assert_array_equal(one.loss_curve_, other.loss_curve_)
    for W, V in zip(
        *([*each.coefs_] if hasattr(each, "coefs_") else [each.coef_] for each in (one, other)),
        strict=True,
    ):
        np.testing.assert_array_equal(W, V)


@pytest.mark.parametrize("kind", [SGDRegressor, MLPRegressor])
def test_early_stopping_takes_a_tenth_of_the_csr_and_what_rows_take(kind):
    X = matrix_of("float64", 30_000, 800, 0.1)
    y = np.arange(X.shape[0]) % 2 * 1.0
    model = kind(early_stopping=True, max_iter=2, random_state=0, batch_size=64, tol=None)
    if kind is MLPRegressor:
        model.set_params(hidden_layer_sizes=(4,), tol=0.0)
    model.fit(X[:1000], y[:1000])
    size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    tracemalloc.start()
    model.fit(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Numbers are looked at some 65536 together; a copy of the rows would be 26 MB.
    assert peak < 0.1 * size + 120 * len(y) + (8 << 20), peak / size
