"""Several entries of one place of a sparse matrix count by their sum, in whatever dtype."""

import io

import numpy as np
import pytest
from scipy import sparse

import fastnn
from fastnn import Dense, Ensemble, Network, Scaling, Trainer
from fastnn.inputs.sparse_rows import as_compressed, check_sparse
from fastnn.tabular.files.arrays import read_npz

DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"]
FORMATS = ["coo", "csr", "csc", "bsr"]


def several(dtype, kind="coo", rows=30):
    """Return a matrix with each of its numbers in two or three parts, and it as float64, dense."""
    random = np.random.default_rng(0)
    row, column = random.integers(0, rows, 60), random.integers(0, 4, 60)
    most = 1 if dtype == "bool" else min(np.iinfo(dtype).max, 2**31 - 1)
    data = random.integers(max(1, most - 9), most + 1, 60)
    row, column, data = (np.tile(each, 3) for each in (row, column, data))
    dense = np.zeros((rows, 4))
    np.add.at(dense, (row, column), data.astype(np.float64))
    matrix = sparse.coo_array((data.astype(dtype), (row, column)), shape=(rows, 4))
    if kind == "bsr":
        order = np.argsort(row, kind="stable")
        starts = np.searchsorted(row[order], np.arange(rows + 1))
        blocks = matrix.data[order].reshape(-1, 1, 1)
        return sparse.bsr_array((blocks, column[order], starts), shape=(rows, 4)), dense
    if kind != "coo":  # without SciPy's conversion, which would sum them
        major, minor = (row, column) if kind == "csr" else (column, row)
        order = np.argsort(major, kind="stable")
        starts = np.searchsorted(major[order], np.arange((rows if kind == "csr" else 4) + 1))
        made = sparse.csr_array if kind == "csr" else sparse.csc_array
        matrix = made((matrix.data[order], minor[order], starts), shape=(rows, 4))
    return matrix, dense


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_features_are_the_sums_of_their_entries(dtype, kind):
    matrix, dense = several(dtype, kind)
    before = matrix.data.copy()
    for network in (np.float32, np.float64):
        rows = check_sparse(matrix, 4, np.dtype(network), "X")
        found = np.zeros_like(dense)
        found[np.repeat(np.arange(30), np.diff(rows.starts)), rows.columns] = rows.values
        np.testing.assert_allclose(found, dense, rtol=1e-6)
    scaling, expected = Scaling.fit(matrix), Scaling.fit(sparse.csr_array(dense))
    np.testing.assert_allclose(scaling.scale, expected.scale, rtol=1e-12)
    np.testing.assert_allclose(scaling.apply(matrix).toarray(), dense / scaling.scale, rtol=1e-6)
    assert matrix.dtype == dtype and (matrix.data == before).all()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", ["bool", "int8", "int32"])
@pytest.mark.filterwarnings("ignore:.*(aximum|MAXIMUM|large).*")
def test_trainers_and_estimators_read_sums(dtype, kind):
    matrix, dense = several(dtype, kind)
    y = dense[:, 0] > dense[:, 0].mean()
    trainer = Trainer(Network(4, [Dense(2)]), target="numpy", dtype="float64")
    np.testing.assert_allclose(trainer.forward(matrix), trainer.forward(dense), rtol=1e-6)
    part = Trainer(Network(2, [Dense(2)]), target="numpy", dtype="float64")
    ensemble = Ensemble([part], views=[[0, 2]])
    np.testing.assert_allclose(ensemble.forward(matrix), ensemble.forward(dense), rtol=1e-6)
    for name in ("SGDClassifier", "SGDRegressor", "MLPClassifier", "MLPRegressor"):
        settings = {"max_iter": 2, "tol": 0.0, "random_state": 0, "target": "numpy"}
        settings |= {"hidden_layer_sizes": (3,)} if "MLP" in name else {"shuffle": False}
        kind_of = getattr(fastnn, name)
        one, other = (
            kind_of(**settings, standardize=True).fit(each, y * 1)
            for each in (matrix, sparse.csr_array(dense))
        )
        np.testing.assert_allclose(one.predict(matrix), other.predict(dense), rtol=1e-5)


def test_the_dtype_stays_where_it_holds_the_sums():
    matrix, dense = several("int8")
    once = sparse.coo_array((dense != 0).astype(np.int8))
    assert as_compressed(once).dtype == np.int8
    assert as_compressed(matrix).dtype == np.int64
    assert check_sparse(once, 4, np.dtype(np.float64), "X").values.dtype == np.float32
    half = sparse.coo_array((np.int8([50, 50]), ([0, 0], [1, 1])), shape=(2, 2))
    assert as_compressed(half).dtype == np.int8 and as_compressed(half).toarray()[0, 1] == 100


@pytest.mark.parametrize("kind", ["coo", "csr", "csc"])
def test_a_file_of_scipy_has_sums(kind):
    matrix, dense = several("uint8", kind)
    file = io.BytesIO()
    sparse.save_npz(file, matrix)
    found, _ = read_npz("data.npz", file.getvalue(), "train", "y")
    np.testing.assert_array_equal(found.X.toarray(), dense)
