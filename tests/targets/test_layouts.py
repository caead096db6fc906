"""Features in every layout that NumPy can make give the bits of a contiguous copy.

Not so on the NumPy target, whose BLAS takes other paths for other strides.
"""

from contextlib import closing

import numpy as np
import pytest
from pairs import all_pairs
from target_cases import DTYPES, data_of, few, needs_jit, problem_of, run, started

from fastnn.inputs.data import Data
from fastnn.network import Dense, Dropout


def spread(X, row_step, column_step):
    """Return `X` seen through steps of a larger array."""
    (rows, columns), place = X.shape, np.s_[::row_step, ::column_step]
    larger = np.full((rows * abs(row_step), columns * abs(column_step)), np.nan, X.dtype)
    larger[place] = X
    return larger[place]


def offset(X, numbers):
    """Return `X` some numbers behind the start of its memory, off every vector's alignment."""
    flat = np.zeros(X.size + numbers, X.dtype)
    flat[numbers:] = X.ravel()
    return flat[numbers:].reshape(X.shape)


def inside(X, left, right):
    """Return `X` as columns of a wider array."""
    return np.pad(X, ((0, 0), (left, right)), constant_values=np.nan)[:, left : left + X.shape[1]]


def read_only(X):
    X = X.copy()
    X.setflags(write=False)
    return X


def diagonal(X):
    """Return rows that overlap in memory: row r starts one number after row r - 1."""
    flat = np.resize(X.ravel(), X.shape[0] + X.shape[1])
    return np.lib.stride_tricks.as_strided(flat, X.shape, (X.itemsize, X.itemsize))


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "rows reversed": lambda X: spread(X, -1, 1),
    "columns reversed": lambda X: spread(X, 1, -1),
    "both reversed": lambda X: X.copy()[::-1, ::-1],
    "Fortran reversed": lambda X: np.asfortranarray(X)[::-1, ::-1],
    "every third row": lambda X: spread(X, 3, 1),
    "every second column": lambda X: spread(X, 1, 2),
    "steps both ways": lambda X: spread(X, -2, 3),
    "columns of a wider array": lambda X: inside(X, 3, 2),
    "one row repeated": lambda X: np.broadcast_to(X[:1], X.shape),
    "one column repeated": lambda X: np.broadcast_to(X[:, :1], X.shape),
    "one number repeated": lambda X: np.broadcast_to(X[:1, :1], X.shape),
    "overlapping rows": diagonal,
    "read-only": read_only,
    **{f"offset by {n}": lambda X, n=n: offset(X, n) for n in (1, 2, 3, 5, 7, 15)},
}
# One of each way that the compiled target takes its inputs: by blocks of rows, all at once (a large
# first layer), through dropout, and without copying (one output).
NETWORKS = {
    "small": (19, [Dense(9, "relu"), Dense(3)], {}),
    "narrow": (1, [Dense(3)], {}),
    "dropout": (37, [Dropout(0.3), Dense(9, "relu"), Dense(3)], {}),
    "one output": (19, [Dense(1)], {}),
    "large": (300, [Dense(301, "relu"), Dense(3)], {"batch_size": 32}),
}
TRIED = few(list(NETWORKS), [name for name in NETWORKS if name != "large"])

SOME_LAYOUTS = ["Fortran", "both reversed", "every second column", "offset by 1"]


def assert_bits_of_a_copy(fast_class, problem, data, view, threads=1):
    copy = Data(np.array(view, view.dtype, order="C"), data.targets)
    before = copy.X.tobytes()
    expected = run(fast_class, problem, copy, threads=threads)
    found = run(fast_class, problem, Data(view, data.targets), threads=threads)
    assert found.bits() == expected.bits()
    assert view.tobytes() == before  # nobody writes to the caller's memory


@pytest.mark.parametrize(("layout", "network", "dtype"), all_pairs(LAYOUTS, TRIED, DTYPES))
def test_any_layout_gives_the_bits_of_a_contiguous_copy(fast_class, layout, network, dtype):
    inputs, layers, changes = NETWORKS[network]
    problem = problem_of(inputs, layers, dtype=dtype, **changes)
    data = data_of(problem, 41)
    assert_bits_of_a_copy(fast_class, problem, data, LAYOUTS[layout](data.X))


@needs_jit
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("threads", [2, 4])
def test_any_layout_gives_the_bits_of_a_contiguous_copy_to_a_team(fast_class, layout, threads):
    inputs, layers, changes = NETWORKS["large"]
    problem = problem_of(inputs, layers, dtype="float32", **changes)
    data = data_of(problem, 41)
    assert_bits_of_a_copy(fast_class, problem, data, LAYOUTS[layout](data.X), threads)


@pytest.mark.parametrize(("layout", "network", "dtype"), all_pairs(SOME_LAYOUTS, TRIED, DTYPES))
def test_features_of_the_other_dtype_are_rounded_to_the_problems(
    fast_class, layout, network, dtype
):
    inputs, layers, changes = NETWORKS[network]
    problem = problem_of(inputs, layers, dtype=dtype, **changes)
    data = data_of(problem, 41)
    other = np.float64 if dtype == "float32" else np.float32
    wild = data.X.astype(other) * other(1 + 1e-9)
    view = LAYOUTS[layout](wild)
    found = run(fast_class, problem, Data(view, data.targets))
    expected = run(fast_class, problem, Data(view.astype(dtype, order="C"), data.targets))
    assert found.bits() == expected.bits()


@needs_jit
@pytest.mark.parametrize("layout", ["every third row", "rows reversed", "offset by 1", "Fortran"])
def test_data_larger_than_the_cache_give_the_same_bits(fast_class, layout):
    # From 1 MiB on rows are asked for ahead of time, by address.
    problem = problem_of(300, [Dense(9, "relu"), Dense(3)], batch_size=100, dtype="float32")
    data = data_of(problem, 1050)
    assert data.X.nbytes > 1 << 20
    assert_bits_of_a_copy(fast_class, problem, data, LAYOUTS[layout](data.X))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [1, 2])
def test_an_array_of_one_or_two_rows_has_odd_strides_and_the_same_bits(fast_class, layout, rows):
    problem = problem_of(3, [Dense(4, "relu"), Dense(2)])
    data = data_of(problem, rows)
    assert_bits_of_a_copy(fast_class, problem, data, LAYOUTS[layout](data.X))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_any_layout_are_those_of_a_contiguous_copy(fast_class, layout, dtype):
    problem = problem_of(19, [Dense(9, "relu"), Dense(3)], dtype=dtype)
    data = data_of(problem, 41)
    view = LAYOUTS[layout](data.X)
    with closing(started(fast_class, problem)) as engine:
        loss, gradients = engine.gradients(Data(view, data.targets))
        copy = Data(np.array(view, order="C"), data.targets)
        expected_loss, expected = engine.gradients(copy)
    assert loss == expected_loss
    for pair, other in zip(gradients, expected, strict=True):
        assert all(np.array_equal(one, two) for one, two in zip(pair, other, strict=True))
