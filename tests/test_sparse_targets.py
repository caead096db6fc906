"""Targets that are sparse: numbers have to be dense, in scikit-learn's words."""

import numpy as np
import pytest
import scipy.sparse

import fastnn

X = np.random.default_rng(0).normal(size=(30, 3))
COLUMNS = (X[:, :2] > 0).astype(float)
KINDS = {
    "two columns": scipy.sparse.csr_matrix(COLUMNS),
    "two columns of an array": scipy.sparse.csr_array(COLUMNS),
    "two columns of places": scipy.sparse.coo_array(COLUMNS),
    "one column": scipy.sparse.csc_array(COLUMNS[:, :1]),
}
REFUSED = "Sparse data was passed for y, but dense data is required"


@pytest.mark.parametrize("y", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("name", ["MLPRegressor", "SGDRegressor", "TabularRegressor"])
def test_a_regression_refuses_sparse_targets_wherever_it_takes_some(name, y):
    model = getattr(fastnn, name)(random_state=0, target="numpy")
    with pytest.raises(TypeError, match=REFUSED):
        model.fit(X, y)
    if hasattr(model, "partial_fit"):
        with pytest.raises(TypeError, match=REFUSED):
            model.partial_fit(X, y)
    with pytest.raises(TypeError, match=REFUSED):
        model.score(X, y)


@pytest.mark.parametrize("y", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("name", ["MLPRegressor", "SGDRegressor"])
def test_a_regression_refuses_sparse_targets_to_validate_on(name, y):
    model = getattr(fastnn, name)(random_state=0, target="numpy")
    with pytest.raises(TypeError, match=f"X_val and y_val: {REFUSED}"):
        model.fit(X, COLUMNS if name == "MLPRegressor" else COLUMNS[:, 0], X_val=X, y_val=y)


@pytest.mark.parametrize("y", KINDS.values(), ids=KINDS)
def test_a_classifier_of_tables_refuses_sparse_labels(y):
    with pytest.raises(TypeError, match=REFUSED):
        fastnn.TabularClassifier(target="numpy").fit(X, y)
