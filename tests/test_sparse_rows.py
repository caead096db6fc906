"""Sparse features as they are handed in: every format, and what is wrong with them by its place."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from fastnn import InvalidInput
from fastnn.inputs.data import check_features
from fastnn.inputs.sparse_rows import BLOCK, SparseRows

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
DENSE = np.array([[0, 1.5, 0, -2], [0, 0, 0, 0], [3, 0, 0, 4], [0, 0, 0, 0]])


def read(matrix, dtype=FLOAT64, inputs=4):
    rows = check_features(matrix, inputs, dtype)
    assert isinstance(rows, SparseRows)
    return rows


def broken(**arrays):
    """Return a matrix whose arrays SciPy has not seen."""
    matrix = sparse.csr_array(DENSE)
    for name, array in arrays.items():
        setattr(matrix, name, np.asarray(array))
    return matrix


@pytest.mark.parametrize("name", ["csr", "csc", "coo", "bsr", "dok", "lil"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_format_holds_the_same_numbers(name, kind):
    matrix = getattr(sparse, f"{name}_{kind}")(DENSE)
    rows = read(matrix)
    assert rows.shape == (4, 4) and len(rows) == 4 and rows.entries == 4
    assert rows.dense(slice(None), FLOAT64).tolist() == DENSE.tolist()
    assert rows.dense(np.array([2, 0, 2]), FLOAT64).tolist() == DENSE[[2, 0, 2]].tolist()
    assert matrix.toarray().tolist() == DENSE.tolist()


def test_some_rows_share_the_memory_of_all():
    rows = read(sparse.csr_array(DENSE))
    part = rows[2:4]
    assert part.values is rows.values and part.entries == 2
    assert part.dense(slice(None), FLOAT64).tolist() == DENSE[2:].tolist()
    assert len(rows[1:1]) == 0 and len(rows[3:99]) == 1


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_csr_is_not_copied(index, dtype):
    matrix = sparse.csr_array(DENSE.astype(dtype))
    matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(index)
    for asked in (FLOAT32, FLOAT64):
        rows = read(matrix, asked)
        assert np.shares_memory(rows.values, matrix.data)
        assert np.shares_memory(rows.columns, matrix.indices)
        assert np.shares_memory(rows.starts, matrix.indptr)


def test_reading_a_large_matrix_takes_a_tenth_of_its_memory_at_most():
    matrix = sparse.csr_array(sparse.random(20_000, 5_000, 0.01, "csr", random_state=0))
    size = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    tracemalloc.start()
    read(matrix, inputs=5_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 10


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int32", "int64", "float16", ">f8", "g"]
)
def test_other_numbers_are_converted(dtype):
    numbers = np.abs(DENSE).astype(int).astype(dtype)
    matrix = sparse.csr_array(np.abs(DENSE).astype(int))
    matrix.data = matrix.data.astype(dtype)
    rows = read(matrix, FLOAT32)
    assert rows.values.dtype in (FLOAT32, FLOAT64) and rows.values.dtype.isnative
    assert rows.dense(slice(None), FLOAT64).tolist() == numbers.astype(float).tolist()


def test_entries_in_any_order_are_put_in_order_and_those_of_one_place_added_up():
    matrix = sparse.csr_array(
        (np.array([1.0, 2, 3, 4, 5]), np.array([3, 1, 3, 0, 0]), np.array([0, 3, 3, 5])), (3, 4)
    )
    data, indices = matrix.data, matrix.indices
    rows = read(matrix)
    assert rows.dense(slice(None), FLOAT64).tolist() == [[0, 2, 0, 4], [0] * 4, [9, 0, 0, 0]]
    assert rows.columns.tolist() == [1, 3, 0]
    # Nothing of the caller's has changed, not even what SciPy knows of it.
    assert matrix.data is data and data.tolist() == [1, 2, 3, 4, 5]
    assert matrix.indices is indices and indices.tolist() == [3, 1, 3, 0, 0]


def test_order_is_looked_at_whatever_a_matrix_says_of_itself():
    matrix = sparse.csr_array((np.array([1.0, 2.0]), np.array([2, 1]), np.array([0, 2])), (1, 4))
    matrix.has_sorted_indices = matrix.has_canonical_format = True
    assert read(matrix).columns.tolist() == [1, 2]


@pytest.mark.parametrize("at", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1])
def test_one_entry_out_of_order_is_found_anywhere(at):
    n = 2 * BLOCK
    matrix = sparse.csr_array(
        (np.ones(n), np.arange(n), np.array([0, BLOCK - 2, BLOCK - 2, n])), (3, n)
    )
    assert read(matrix, inputs=n).columns is not None
    matrix.indices[at] = matrix.indices[at - 1]
    found = read(matrix, inputs=n)
    # Where the row changes there is nothing to put in order.
    assert found.entries == (n if at == BLOCK - 2 else n - 1)


def test_explicit_zeros_are_numbers():
    matrix = sparse.csr_array((np.zeros(2), np.array([0, 2]), np.array([0, 1, 2])), (2, 4))
    assert read(matrix).entries == 2


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (sparse.csr_array((3, 5)), r"5 columns but the network has 4 inputs.*\(3, 4\)"),
        (sparse.csr_array((0, 4)), r"no rows \(shape \(0, 4\)\)"),
        pytest.param(
            sparse.coo_array(np.ones(4)),
            r"shape \(4,\) .*two-dimensional",
            marks=pytest.mark.skipif(
                sparse.coo_array(np.ones(4)).ndim == 2, reason="SciPy 1.12 and older make a row"
            ),
        ),
        (sparse.csr_array(DENSE * 1j), "dtype complex128, not real numbers"),
        (
            broken(data=[1, 2, np.nan, 4]),
            "value nan at row 2, column 0 is not a finite.*nan_to_num",
        ),
        (broken(data=[1, -np.inf, 3, 4]), "value -inf at row 0, column 3 is not"),
        (broken(data=[1, 2, 3, 1e39]), "1e[+]39 at row 2, column 3 is too large for float32"),
        (broken(data=np.array([1, 2, 3, 1e39], ">f8")), "at row 2, column 3 is too large"),
        (
            broken(data=np.array([1, 2, 3, np.longdouble("1e400")])),
            "at row 2, column 3 is too large",
        ),
        (broken(indices=[1, 4, 0, 3]), "indices has 4 in row 0, .* columns 0 to 3.*check_format"),
        (broken(indices=[1, 3, -1, 3]), "indices has -1 in row 2"),
        (broken(indptr=[0, 2, 2, 5, 5]), "indptr goes from 0 to 5, but X has entries 0 to 4"),
        (broken(indptr=[1, 2, 2, 4, 4]), "indptr goes from 1 to 4"),
        (broken(indptr=[0, 2, 1, 4, 4]), "indptr falls from 2 to 1 at row 1"),
        (broken(indptr=[0, 2, 4]), r"indptr has shape \(3,\), but of 4 rows it is \(5,\)"),
        (broken(data=[1.0]), "entries 0 to 1"),
        (broken(indices=[1]), "entries 0 to 1"),
    ],
)
def test_what_cannot_be_used_is_named_by_its_place(matrix, said):
    with pytest.raises(InvalidInput, match=said):
        check_features(matrix, 4, FLOAT32)


def test_a_corrupted_csc_matrix_is_refused_before_it_is_converted():
    matrix = sparse.csc_array(DENSE)
    matrix.indices = np.full_like(matrix.indices, 1 << 30)
    with pytest.raises(InvalidInput, match="indices has 1073741824"):
        check_features(matrix, 4, FLOAT32)


def test_indices_that_no_kernel_reads_are_converted():
    matrix = broken(
        indices=np.array([1, 3, 0, 3], np.uint16), indptr=np.array([0, 2, 2, 4, 4], ">i4")
    )
    rows = read(matrix)
    assert rows.columns.dtype == rows.starts.dtype == np.int64
    assert rows.dense(slice(None), FLOAT64).tolist() == DENSE.tolist()
    spread = np.arange(8)[::2]
    assert read(broken(indices=spread % 4, indptr=[0, 2, 2, 4, 4])).entries == 4
