"""Predictions of a network are computed in its dtype, however many rows are asked for."""

import numpy as np
import pytest
from scipy.sparse import csr_array

import fastnn

# So many rows times products go to the engine, and half of a tenth of them to NumPy.
ROWS, COLUMNS, FEW = 1000, 50, 50


def rows_of(kind):
    X = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)) * 3
    return csr_array(X * (np.abs(X) > 4)) if kind == "sparse" else X.astype(kind)


def fitted(name, X, y, **settings):
    kind = getattr(fastnn, name)
    settings = {"max_iter": 1, "random_state": 0, "batch_size": 50, **settings}
    return kind(hidden_layer_sizes=(100,), **settings).fit(X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("standardize", [False, True], ids=["as given", "standardized"])
@pytest.mark.parametrize("kind", ["f4", "f8", "i4", "sparse"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["MLPRegressor", "MLPClassifier"])
def test_a_few_rows_are_predicted_in_the_dtype_in_which_many_are(name, dtype, kind, standardize):
    X = rows_of(kind)
    numbers = np.ravel(X.sum(axis=1))
    regression = name == "MLPRegressor"
    y = numbers if regression else numbers > 0
    model = fitted(name, X[:200], y[:200], dtype=dtype, standardize=standardize)
    predict = model.predict if regression else model.predict_proba
    many, few = predict(X), predict(X[:FEW])
    of_targets = regression and standardize  # which are scaled back in float64
    assert many.dtype == few.dtype == (np.float64 if of_targets else dtype)
    np.testing.assert_allclose(
        few, many[:FEW], rtol=1e-5 if dtype == "float32" else 1e-12, atol=np.finfo(dtype).eps * 200
    )


@pytest.mark.filterwarnings("ignore::UserWarning")  # X is far from 0
@pytest.mark.parametrize("rows", [1, FEW, ROWS])
def test_numbers_are_rounded_to_float32_for_one_row_as_for_many(rows):
    X = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)) + 1e9
    settings = {"dtype": "float32", "activation": "identity", "learning_rate_init": 1e-12}
    model = fitted("MLPRegressor", X[:200], X[:200, 0] - 1e9, **settings)
    for arrays in (model.coefs_, model.intercepts_):  # which are to give the first column
        for array in arrays:
            array[:] = 0.0
            array.flat[0] = array.ndim == 2
    np.testing.assert_array_equal(model.predict(X[:rows]), X[:rows, 0].astype("f4"))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("standardize", [False, True], ids=["as given", "standardized"])
@pytest.mark.parametrize("kind", ["f8", "sparse"])
@pytest.mark.parametrize("target", ["cpu", "numpy"])
def test_a_number_too_large_for_float32_is_refused_by_its_row(kind, standardize, target):
    X = rows_of(kind)
    y = np.ravel(X.sum(axis=1))
    settings = {"dtype": "float32", "standardize": standardize, "target": target}
    model = fitted("MLPRegressor", X[:200], y[:200], **settings)
    large = X.toarray() if kind == "sparse" else X.copy()
    large[700, 3] = -1e41
    large = csr_array(large) if kind == "sparse" else large
    for first, last in ((0, ROWS), (690, 710), (700, 701)):
        where = rf"at row {700 - first}, column 3 is too large for float32"
        with pytest.raises(fastnn.InvalidInput, match=where):
            model.predict(large[first:last])
        model.predict(X[first:last])


def test_the_largest_numbers_of_float32_are_taken_and_what_rounds_to_them_is_not():
    largest = float(np.finfo("f4").max)
    X = np.array([[0.0], [1.0], [2.0], [3.0]])
    model = fastnn.MLPRegressor(hidden_layer_sizes=(), max_iter=1, dtype="float32", batch_size=2)
    with pytest.warns(UserWarning):
        model.fit(X, X[:, 0])
    model.coefs_[0][:] = 0.5
    assert model.predict([[largest]])[0] == pytest.approx(largest / 2)
    with pytest.raises(fastnn.InvalidInput, match="too large for float32"):
        model.predict([[np.nextafter(largest, np.inf)]])
