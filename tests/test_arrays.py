"""Searching arrays: right in any layout, and with almost no memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from fastnn.errors import InvalidInput
from fastnn.inputs import arrays
from fastnn.inputs.arrays import check_finite, first_place, real_numbers

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def layouts() -> dict[str, np.ndarray]:
    """Return writable 6 x 4 arrays that lie in memory in every way NumPy knows."""
    base = np.arange(24, dtype=np.float32).reshape(6, 4)
    return {
        "C": base.copy(),
        "Fortran": np.asfortranarray(base),
        "rows reversed": base.copy()[::-1],
        "both reversed": base.copy()[::-1, ::-1],
        "Fortran, columns reversed": np.asfortranarray(base)[:, ::-1],
        "columns of a wider array": np.ones((6, 9), np.float32)[:, 1::2],
        "every second row": np.ones((12, 4), np.float32)[::2],
        "one row broadcast": as_strided(base.copy(), (6, 4), (0, 4)),
        "one column broadcast": as_strided(base.copy(), (6, 4), (4, 0)),
        "one value broadcast": as_strided(base.copy(), (6, 4), (0, 0)),
        "windows": as_strided(base.copy(), (6, 4), (4, 4)),
        "foreign byte order": base.astype(">f4"),
    }


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", layouts())
def test_the_first_value_that_is_not_finite_is_named(layout, bad):
    X = layouts()[layout]
    check_finite(X, FLOAT32, "X")
    X[2, 3] = X[4, 0] = bad
    row, column = np.argwhere(~np.isfinite(X))[0]
    with pytest.raises(InvalidInput, match=f"X value {bad} at row {row}, column {column} is not"):
        check_finite(X, FLOAT32, "X")


@given(
    rows=st.integers(1, 40),
    columns=st.integers(2, 40),
    block=st.integers(1, 50),
    steps=st.tuples(st.sampled_from([1, 2, -1, -3]), st.sampled_from([1, 2, -1, -3])),
    fortran=st.booleans(),
    data=st.data(),
)
def test_one_bad_value_is_found_with_any_block_size(rows, columns, block, steps, fortran, data):
    shape = rows * abs(steps[0]), columns * abs(steps[1])
    X = np.ones(shape, np.float32, order="F" if fortran else "C")[:: steps[0], :: steps[1]]
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "BLOCK", block)
        check_finite(X, FLOAT32, "X")
        X[rows - 1, columns - 1] = np.inf
        X[row, column] = np.nan
        with pytest.raises(InvalidInput, match=f"nan at row {row}, column {column} "):
            check_finite(X, FLOAT32, "X")


def test_finite_values_whose_sum_overflows_are_accepted():
    check_finite(np.full((300, 300), np.finfo(np.float32).max), FLOAT32, "X")


@pytest.mark.parametrize("sign", [1, -1])
def test_a_value_is_too_large_only_for_the_narrower_dtype(sign):
    X = np.array([[sign * 3.4e38], [sign * 3.5e38]])
    check_finite(X, FLOAT64, "X")
    check_finite(X[:1], FLOAT32, "X")
    with pytest.raises(
        InvalidInput, match='3.5e[+]38 at row 1 is too large for float32.*"float64"'
    ):
        check_finite(X, FLOAT32, "X")


def test_a_thousand_million_broadcast_rows_are_checked_at_once():
    check_finite(np.broadcast_to(np.ones(4, np.float32), (10**9, 4)), FLOAT32, "X")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("columns", [2000, 1999])
def test_checking_needs_little_memory(order, columns):
    X = np.ones((2000, 2000), np.float32, order=order)[:, :columns]
    X[-1, -1] = np.inf
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="row 1999"):
            check_finite(X, FLOAT32, "X")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < X.nbytes / 10


@pytest.mark.parametrize("shape", [(1, 1), (1, 100), (100, 1), (7, 13)])
def test_the_first_place_is_the_first_row_by_row(monkeypatch, shape):
    monkeypatch.setattr(arrays, "BLOCK", 30)
    X = np.arange(shape[0] * shape[1]).reshape(shape)
    for value in range(X.size):
        assert first_place(X, "outside", value) == divmod(value, shape[1])
    assert first_place(X, "negative") is None


@pytest.mark.parametrize("kind", ["?", "u1", "i8", "f2", "f4", ">f8", "g"])
def test_real_arrays_are_not_copied(kind):
    array = np.ones((2, 3), kind)
    assert real_numbers(array, "X") is array


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("place", [(0, 0), (777, 1234), (1099, 2047)])
def test_large_arrays_are_looked_at_by_threads_and_the_place_is_the_same(bad, place):
    array = np.ones((1100, 2048))
    assert array.size >= arrays.MANY
    for view in (array, array.T, array[::-1], np.asfortranarray(array)):
        check_finite(view, np.dtype(np.float32), "X")
    array[place] = bad
    with pytest.raises(InvalidInput, match=f"at row {place[0]}, column {place[1]}"):
        check_finite(array, np.dtype(np.float32), "X")
