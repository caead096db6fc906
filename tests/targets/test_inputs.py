"""Inputs of the first layer: columns that are zero, few outputs, arrays of every layout."""

import numpy as np
import pytest
from pairs import all_pairs
from target_cases import (
    DTYPES,
    OPTIMIZERS,
    assert_follows_numpy,
    assert_same_but_for_rounding,
    data_of,
    few,
    problem_of,
    run,
)

from fastnn.inputs.data import Data
from fastnn.network import Dense, Dropout
from fastnn.targets import numpy as reference

LAYOUTS = {
    "C": lambda X: X,
    "rows reversed": lambda X: np.ascontiguousarray(X[::-1])[::-1],
    "every second row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "columns of a wider array": lambda X: np.hstack([X, X])[:, 3 : 3 + X.shape[1]],
    "Fortran": np.asfortranarray,
    "columns reversed": lambda X: X[:, ::-1],
    "the other float": lambda X: X.astype("float64" if X.dtype == "float32" else "float32"),
}


def sparse(X, kind):
    """Return X with columns that are zero in all rows, in blocks of rows, or in single rows."""
    X, random = X.copy(), np.random.default_rng(3)
    n, k = X.shape
    if kind == "none used":
        X[:] = 0
    elif kind == "one used":
        X[:, np.arange(k) != k // 2] = 0
    elif kind == "margin":
        X[:, : k // 3] = 0
        X[:, -(k // 5) :] = -0.0
    elif kind == "one-hot":
        X[:] = np.eye(k)[random.integers(0, k, n)]
    elif kind == "rare":
        X *= random.random(X.shape) < 0.01
    elif kind == "one gap":
        X[:, k // 3] = 0
    elif kind == "changing":
        X[: n // 2, ::2] = 0
        X[n // 2 :, 1::3] = 0
    return X


KINDS = ["none used", "one used", "margin", "one-hot", "rare", "one gap", "changing", "all used"]


@pytest.mark.parametrize(
    ("kind", "inputs", "dtype"),
    all_pairs(KINDS, few([127, 128, 129, 143, 160, 161, 300], [7, 16, 21]), DTYPES),
)
def test_columns_of_zeros_change_no_result(fast_class, kind, inputs, dtype):
    layers, batch_size = [Dense(few(40, 5), "tanh"), Dense(3)], few(70, 7)
    problem = problem_of(inputs, layers, batch_size=batch_size, dtype=dtype, l2=0.1)
    data = data_of(problem, few(200, 20))
    data = Data(sparse(data.X, kind), data.targets, None)
    assert_follows_numpy(fast_class, problem, data)


@pytest.mark.parametrize(
    ("kind", "rule", "batch_size"),
    all_pairs(KINDS, OPTIMIZERS, few([1, 33, 64, 65, 200], [1, 8, 20])),
)
def test_columns_of_zeros_are_updated_by_every_rule(fast_class, kind, rule, batch_size):
    layers = [Dense(few(33, 5), "relu"), Dense(2)]
    problem = problem_of(
        few(150, 13), layers, optimizer=OPTIMIZERS[rule], batch_size=batch_size, l1=0.001, l2=0.01
    )
    data = data_of(problem, few(200, 20), weighted=True)
    data = Data(sparse(data.X, kind), data.targets, data.weights)
    expected = run(reference.Engine, problem, data, rate=1e-3)
    found = run(fast_class, problem, data, rate=1e-3)
    assert_same_but_for_rounding(found, expected, problem.dtype)
    again = run(fast_class, problem, data, rate=1e-3, threads=3)
    assert again.bits() == found.bits()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_one_makes_its_column_used(fast_class, value):
    problem = problem_of(few(200, 13), [Dense(few(40, 5), "tanh"), Dense(3)], batch_size=64)
    data = data_of(problem, 64)
    X = np.zeros_like(data.X)
    X[50, -1] = value
    result = fast_class(problem, 1).train_epoch(
        Data(X, data.targets, None), np.arange(64), np.full(1, 0.1), 0, 0
    )
    assert result.bad_step == 0


@pytest.mark.parametrize(
    ("outputs", "inputs", "dtype"),
    all_pairs(
        [2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13],
        few([32, 33, 47, 63, 64, 65, 100, 300], [32, 33]),
        DTYPES,
    ),
)
def test_few_outputs_follow_the_numpy_target(fast_class, outputs, inputs, dtype):
    problem = problem_of(inputs, [Dense(outputs)], "softmax_cross_entropy", dtype=dtype)
    assert_follows_numpy(fast_class, problem, data_of(problem, 37))


@pytest.mark.parametrize(
    ("rule", "bias", "inputs", "batch_size"),
    all_pairs(OPTIMIZERS, [True, False], few([70, 4000], [70]), few([1, 3, 64], [1, 3, 16])),
)
def test_few_outputs_follow_it_under_every_rule(fast_class, rule, bias, inputs, batch_size):
    layers = [Dense(5, "sigmoid", bias=bias), Dense(9, "relu"), Dense(2)]
    problem = problem_of(
        inputs, layers, optimizer=OPTIMIZERS[rule], batch_size=batch_size, l1=0.001, l2=0.01
    )
    data = data_of(problem, few(70, 20), weighted=True)
    expected = run(reference.Engine, problem, data, rate=1e-3)
    found = run(fast_class, problem, data, rate=1e-3)
    assert_same_but_for_rounding(found, expected, problem.dtype)
    again = run(fast_class, problem, data, rate=1e-3, threads=3)
    assert again.bits() == found.bits()


@pytest.mark.parametrize(
    ("layout", "dropout", "outputs", "dtype"),
    all_pairs(LAYOUTS, [0.0, 0.3], few([1, 5, 40, 600], [1, 5, 40]), DTYPES),
)
def test_a_first_layer_reads_every_layout(fast_class, layout, dropout, outputs, dtype):
    layers = [*([Dropout(dropout)] if dropout else []), Dense(outputs)]
    problem = problem_of(few(140, 14), layers, dtype=dtype)
    data = data_of(problem, 45)
    # Numbers that both float types hold exactly, or the two targets would not see the same.
    X = LAYOUTS[layout](data.X.astype(np.float32).astype(dtype))
    assert_follows_numpy(fast_class, problem, Data(X, data.targets, None))


@pytest.mark.parametrize("classes", [2, 3, 10, 17, 40])
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_far_apart_outputs_follows_the_numpy_target(fast_class, classes, dtype):
    problem = problem_of(6, [Dense(classes)], "softmax_cross_entropy", dtype=dtype)
    data = data_of(problem, 40)
    data = Data(data.X * np.asarray(300, dtype), data.targets, None)
    assert_follows_numpy(fast_class, problem, data, rate=1e-4)
