"""The mean and the deviation of each column, against exact sums, and what they do to data."""

import copy
import pickle
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
import scipy.sparse
from sklearn.preprocessing import StandardScaler

from fastnn import BatchNorm, Dense, InvalidInput, LayerNorm, Network, Periodic, Trainer
from fastnn.inputs.scaling import Scaling


def exact(X, weights=None):
    """Return mean and deviation of each column by fractions of whole numbers, without rounding."""
    weights = [1] * len(X) if weights is None else weights
    w = [Fraction(float(each)) for each in weights]
    means, scales = [], []
    for column in np.asarray(X, np.float64).T:
        x = [Fraction(value) for value in column.tolist()]
        mean = sum(a * b for a, b in zip(w, x, strict=True)) / sum(w)
        variance = sum(a * (b - mean) ** 2 for a, b in zip(w, x, strict=True)) / sum(w)
        # sqrt(p / q) = sqrt(p q) / q, with 64 binary places more than p q has.
        root = isqrt(variance.numerator * variance.denominator << 128)
        means.append(float(mean))
        scales.append(float(Fraction(root, variance.denominator << 64)))
    return np.array(means), np.array(scales)


def normal(rows, columns=3, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns))


HOSTILE = {
    "usual": normal(500),
    "an offset of 1e8": normal(500) + 1e8,
    "an offset of 1e12": normal(500) + 1e12,
    "1e300": 1e300 * normal(300),
    "the largest numbers": np.array([[1.0], [-1.0], [1.0]]) * np.finfo(np.float64).max,
    "denormals": 1e-310 * normal(300),
    "the smallest number": np.array([[5e-324], [0.0], [5e-324], [0.0]]) * np.arange(1, 3),
    "zeros, then denormals": np.vstack([np.zeros((70_000, 1)), 1e-310 * normal(50, 1)]),
    "an outlier": np.vstack([normal(200), [[1e9, -1e9, 1e300]]]),
    "an outlier first": np.vstack([[[1e9, -1e9, 1e15]], normal(200)]),
    "float32 with a large mean": (normal(500) + 1e4).astype(np.float32),
    "int8": np.random.default_rng(1).integers(-128, 128, (300, 4), np.int8),
    "uint64": np.random.default_rng(1).integers(0, 2**64, (300, 2), np.uint64),
    "bool": np.random.default_rng(1).random((300, 4)) < 0.3,
    "columns apart": normal(300, 4) * [1e5, 1.0, 1e-8, 1e-200],
    "wide": normal(3, 2000) + 5.0,
}


@pytest.mark.parametrize("X", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("order", ["C", "F"])
def test_mean_and_deviation_are_exact_to_rounding(X, order):
    mean, scale = exact(X)
    found = Scaling.fit(np.asarray(X, order=order))
    np.testing.assert_allclose(found.scale, scale, rtol=1e-10, atol=5e-324)
    assert (np.abs(found.mean - mean) <= 4e-16 * np.abs(X).max(axis=0).astype(float)).all()
    assert found.mean.dtype == found.scale.dtype == np.float64


@pytest.mark.parametrize("block", [1, 7, 64, 100])
def test_blocks_of_any_length_give_the_same_sums(block, monkeypatch):
    X = normal(300) * [1.0, 1e200, 1e-200] + [1e8, 0.0, 0.0]
    X[40:] *= 100.0
    monkeypatch.setattr(
        "fastnn.inputs.moments.blocks_of_rows",
        lambda n, *_, **__: (slice(at, min(n, at + block)) for at in range(0, n, block)),
    )
    mean, scale = exact(X)
    found = Scaling.fit(X)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-12)
    assert (np.abs(found.mean - mean) <= 1e-15 * np.abs(X).max(axis=0)).all()


@pytest.mark.parametrize("weights", ["any", "whole", "huge", "tiny", "zeros"])
def test_weights_count_as_numpy_average_has_them(weights):
    rng = np.random.default_rng(3)
    X = normal(400) + [0.0, 1e6, -3.0]
    w = rng.random(400)
    if weights == "whole":
        w = rng.integers(0, 5, 400).astype(float)
        repeated = Scaling.fit(np.repeat(X, w.astype(int), axis=0))
        np.testing.assert_allclose(Scaling.fit(X, w).scale, repeated.scale, rtol=1e-10)
    elif weights == "zeros":
        w[rng.random(400) < 0.5] = 0.0
        X[w == 0] = 1e305
    w *= {"huge": 1e300, "tiny": 1e-305}.get(weights, 1.0)
    mean, scale = exact(X, w)
    found = Scaling.fit(X, w)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-10)
    if weights == "any":
        np.testing.assert_allclose(found.mean, np.average(X, axis=0, weights=w), rtol=1e-9)


@pytest.mark.parametrize("rows", [1, 2, 10, 1000, 100_000])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.3, 1e8 + 0.1, 1e100, 1e-7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_column_of_one_number_is_not_scaled(rows, value, dtype):
    with np.errstate(over="ignore"):
        X = np.full((rows, 2), value, dtype)
    if not np.isfinite(X).all():
        return
    X[:, 1] += np.arange(rows) % 2
    found = Scaling.fit(X)
    assert found.scale[0] == 1.0
    np.testing.assert_allclose(found.mean[0], float(X[0, 0]), rtol=1e-15)


def test_what_is_constant_is_decided_as_scikit_learn_does():
    rng = np.random.default_rng(5)
    columns = [
        10.0**power + 10.0**spread * rng.normal(size=1000)
        for power in (-3, 0, 4)
        for spread in range(-20, -4)
    ]
    X = np.column_stack(columns)
    expected = StandardScaler().fit(X).scale_ == 1.0
    assert 0 < expected.sum() < len(columns)
    assert ((Scaling.fit(X).scale == 1.0) == expected).all()


@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("block", [5, 1 << 16])
def test_sparse_columns_have_the_deviation_of_dense_ones(kind, weighted, block, monkeypatch):
    monkeypatch.setattr("fastnn.inputs.moments.BLOCK", block)
    rng = np.random.default_rng(7)
    X = rng.normal(size=(60, 9)) * (rng.random((60, 9)) < 0.3)
    X[:, 0], X[:, 1], X[:, 2] = 0.0, 1e8 + rng.normal(size=60), 4.25
    X[:, 3] *= 1e-310
    X[:, 4] *= 1e300
    X[:, 5] = 0.0
    X[17, 5] = 3.0
    weights = np.where(rng.random(60) < 0.3, 0.0, rng.random(60)) if weighted else None
    matrix = kind(X)
    found, dense = Scaling.fit(matrix, weights), Scaling.fit(X, weights)
    assert not found.mean.any()
    np.testing.assert_allclose(found.scale, dense.scale, rtol=1e-8)
    if not weighted:
        wanted = StandardScaler(with_mean=False).fit(X[:, 5:]).scale_
        np.testing.assert_allclose(found.scale[5:], wanted, rtol=1e-12)
    scaled = found.apply(matrix)
    assert type(scaled) is kind and scaled.nnz == matrix.nnz
    np.testing.assert_array_equal(scaled.toarray(), X / found.scale)
    np.testing.assert_allclose(found.undo(scaled).toarray(), X, rtol=1e-15)
    assert not np.shares_memory(scaled.indices, matrix.indices)


@pytest.mark.parametrize("seed", range(6))
def test_what_rounding_leaves_of_the_weights_is_no_zero(seed):
    X = 1e8 + normal(3000, 1, seed)
    weights = np.random.default_rng(seed).random(3000)
    found = Scaling.fit(scipy.sparse.csr_array(X), weights)
    np.testing.assert_allclose(found.scale, Scaling.fit(X, weights).scale, rtol=1e-8)


def test_entries_of_one_place_count_by_their_sum():
    doubled = scipy.sparse.csr_matrix(
        (np.array([1.0, 2.0, 5.0]), np.array([0, 0, 1]), np.array([0, 2, 3])), shape=(2, 2)
    )
    before = doubled.data.copy()
    assert Scaling.fit(doubled) == Scaling(np.zeros(2), np.array([1.5, 2.5]))
    assert (doubled.data == before).all()
    np.testing.assert_array_equal(
        Scaling(np.zeros(2), np.array([1.5, 2.5])).apply(doubled).toarray(), [[2, 0], [0, 2]]
    )


@pytest.mark.parametrize("form", ["coo", "lil", "dok"])
def test_other_sparse_forms_become_csr(form):
    X = np.array([[0.0, 2.0], [4.0, 0.0]])
    matrix = scipy.sparse.csr_array(X).asformat(form)
    found = Scaling.fit(matrix)
    assert found == Scaling([0, 0], [2, 1])
    assert found.apply(matrix).format == "csr"


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", "int16", "bool", "float16"])
def test_apply_keeps_the_floating_dtype(dtype):
    X = np.array([[0, 1], [1, 1], [1, 0]]).astype(dtype)
    before = X.copy()
    result = Scaling.fit(X).apply(X)
    assert result.dtype == ("float32" if dtype in ("float32", ">f4") else "float64")
    assert result.flags.c_contiguous and not np.shares_memory(result, X)
    np.testing.assert_allclose(result.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(result.std(axis=0), 1.0, rtol=1e-6)
    assert (before == X).all()
    assert Scaling.fit(X).apply(X, "float32").dtype == np.float32
    sparse = scipy.sparse.csr_array(X.astype(dtype.strip(">")) if dtype != "float16" else X > 0)
    assert Scaling.fit(sparse).apply(sparse).dtype == result.dtype


def test_float32_with_a_large_mean_is_subtracted_in_float64():
    X = (1e4 + normal(1000, 1)).astype(np.float32)
    wide = X.astype(np.float64)
    np.testing.assert_allclose(
        Scaling.fit(X).apply(X), (wide - wide.mean()) / wide.std(), rtol=1e-6, atol=1e-7
    )


def test_numbers_whose_difference_has_no_number_are_scaled():
    largest = np.finfo(np.float64).max
    X = np.array([[largest], [-largest], [-largest], [-largest]])
    scaling = Scaling.fit(X)
    np.testing.assert_allclose(scaling.apply(X)[:, 0], np.array([3, -1, -1, -1]) / 3**0.5)


def test_one_column_may_be_a_vector():
    y = np.array([1.0, 3.0], np.float32)
    scaling = Scaling.fit(y)
    assert scaling == Scaling([2.0], [1.0])
    assert scaling.apply(y).tolist() == [-1.0, 1.0] and scaling.apply(y).shape == (2,)
    assert scaling.undo(scaling.apply(y)).tolist() == y.tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_folded_parameters_do_to_the_callers_units_what_the_network_does_to_scaled_ones(dtype):
    rng = np.random.default_rng(11)
    X = rng.normal(size=(50, 3)) * [100.0, 1.0, 1e-3] + [300.0, -2.0, 0.0]
    y = 1e5 * rng.normal(size=(50, 2)) + 3e5
    inputs, outputs = Scaling.fit(X), Scaling.fit(y)
    network = Network(3, [Dense(4, "tanh"), Dense(2)])
    trainer = Trainer(network, "mse", target="numpy", dtype=dtype, seed=3)
    start = trainer.parameters
    expected = outputs.undo(trainer.predict(inputs.apply(X)))
    folded = outputs.fold_outputs(inputs.fold_inputs(start))
    assert all(array.dtype == dtype for layer in folded for array in layer)
    trainer.set_parameters(folded)
    rtol = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(trainer.predict(X), expected, rtol=rtol)
    assert all((a == b).all() for a, b in zip(start[0], Trainer(
        network, "mse", target="numpy", dtype=dtype, seed=3
    ).parameters[0], strict=True))  # fmt: skip


def test_slopes_of_the_first_layer_stay():
    trainer = Trainer(Network(2, [Dense(3, "prelu"), Dense(1)]), "mse", target="numpy")
    scaling = Scaling([1.0, 2.0], [4.0, 5.0])
    folded = scaling.fold_inputs(trainer.parameters)
    assert (folded[0][2] == trainer.parameters[0][2]).all()


@pytest.mark.parametrize(
    ("layers", "fold", "message"),
    [
        ([LayerNorm(), Dense(2)], "fold_inputs", "first layer must be a Dense of 2 inputs"),
        ([Dense(3), Dense(2, "prelu")], "fold_outputs", "last layer has prelu"),
        ([Dense(3)], "fold_outputs", "last layer must be a Dense of 2 outputs"),
        ([Dense(2)], "fold_inputs", "infinite in float32"),
    ],
)
def test_what_cannot_be_folded_is_refused(layers, fold, message):
    parameters = Trainer(Network(2, layers), "mse", target="numpy").parameters
    with pytest.raises(InvalidInput, match=message):
        getattr(Scaling([0.0, 0.0], [1.0, 1e-300]), fold)(parameters)


@pytest.mark.parametrize("fold", ["fold_inputs", "fold_outputs"])
@pytest.mark.parametrize(
    "layer",
    [
        *(Periodic(f, columns=c) for f in (1, 2, 3) for c in (None, 1)),
        Periodic(2, columns=2),
        LayerNorm(),
        BatchNorm(),
    ],
)
def test_only_a_dense_takes_a_scaling_in(layer, fold):
    network = Network(3, [layer, Dense(3), Dense(1)])
    first = Trainer(network, "mse", target="numpy").parameters[0]
    with pytest.raises(InvalidInput, match="layer must be a Dense of 3 (in|out)puts"):
        getattr(Scaling([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), fold)([first])


@pytest.mark.parametrize(
    "shapes", [[(3, 3), (3, 3)], [(3, 3), (1,)], [(3, 3), ()], [(3, 3), (3,), (3, 3)]]
)
def test_arrays_of_other_shapes_than_a_dense_has_are_not_folded(shapes):
    scaling = Scaling([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    for fold in (scaling.fold_inputs, scaling.fold_outputs):
        with pytest.raises(InvalidInput, match="must be a Dense of 3"):
            fold([tuple(np.ones(shape) for shape in shapes)])


@pytest.mark.parametrize("parameters", [[3], [None], ["ab"], [(np.ones((2, 2)),)], [("a", "b")]])
@pytest.mark.parametrize("fold", ["fold_inputs", "fold_outputs"])
def test_what_are_no_parameters_are_not_folded(fold, parameters):
    with pytest.raises(InvalidInput, match=r"the (first|last) layer"):
        getattr(Scaling([0.0, 0.0], [1.0, 1.0]), fold)(parameters)


@pytest.mark.parametrize("dtype", ["abc", 3, "int32", [1, 2], bool])
def test_a_dtype_that_is_not_floating_is_refused(dtype):
    scaling = Scaling([0.0], [1.0])
    for call in (scaling.apply, scaling.undo):
        with pytest.raises(InvalidInput, match="dtype must be a floating one, such as float32"):
            call([[1.0]], dtype)


@pytest.mark.parametrize(
    ("X", "weights", "message"),
    [
        (np.zeros((0, 3)), None, "no rows"),
        (np.zeros((2, 3, 4)), None, "must be two-dimensional"),
        (np.array([["a"]]), None, "not real numbers"),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), None, "value nan at row 1, column 1"),
        (np.array([[1.0, -np.inf], [3.0, 4.0]]), None, "value -inf at row 0, column 1"),
        (np.array([[np.nan], [1.0], [np.inf]]), [0, 1, 1], "value inf at row 2"),
        (scipy.sparse.csr_array([[0.0, np.nan]]), None, "nan at row 0, column 1"),
        (np.ones((2, 1)), [1.0, -1.0], "negative"),
        (np.ones((2, 1)), [0.0, 0.0], "0 in every row"),
        (np.ones((2, 1)), [1.0], "must be"),
    ],
)
def test_what_has_no_moments_is_refused(X, weights, message):
    with pytest.raises(InvalidInput, match=message):
        Scaling.fit(X, weights)


def test_what_cannot_be_scaled_is_refused():
    scaling = Scaling([1.0, 0.0], [1e-30, 1.0])
    with pytest.raises(InvalidInput, match="has 3 columns, but this scaling is for 2"):
        scaling.apply(np.ones((4, 3)))
    with pytest.raises(InvalidInput, match="subtracts 1 from column 0"):
        scaling.apply(scipy.sparse.csr_array(np.eye(2)))
    with pytest.raises(InvalidInput, match="value 1.* at row 1, column 0 is infinite in float32"):
        scaling.apply(np.array([[1.0, 2.0], [1e10, 2.0]], np.float32))
    passed = scaling.apply(np.array([[np.nan, np.inf]]))
    assert np.isnan(passed[0, 0]) and passed[0, 1] == np.inf


@pytest.mark.parametrize(
    ("mean", "scale"),
    [([0.0], [0.0]), ([0.0], [-1.0]), ([np.nan], [1.0]), ([0.0], [np.inf]), ([0.0, 1.0], [1.0])],
)
def test_a_scaling_has_one_finite_mean_and_positive_scale_a_column(mean, scale):
    with pytest.raises(InvalidInput):
        Scaling(mean, scale)


def test_a_scaling_is_a_value():
    scaling = Scaling.fit(normal(20))
    for again in (pickle.loads(pickle.dumps(scaling)), copy.deepcopy(scaling), copy.copy(scaling)):
        assert again == scaling
    assert scaling != Scaling.fit(normal(20, seed=1)) and scaling != 3
    with pytest.raises(ValueError, match="read-only"):
        scaling.mean[0] = 3.0
    with pytest.raises(AttributeError):
        scaling.mean = np.zeros(3)


def test_no_copy_of_the_data_is_made(tmp_path):
    import tracemalloc

    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, (400_000, 10))
    X[::3] = 1.0
    tracemalloc.start()
    Scaling.fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes / 4


def test_skops_keeps_a_scaling():
    skops = pytest.importorskip("skops.io")
    scaling = Scaling.fit(normal(20))
    data = skops.dumps(scaling)
    assert skops.loads(data, trusted=skops.get_untrusted_types(data=data)) == scaling


def test_columns_in_another_order_are_refused_and_files_are_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    X = np.random.default_rng(0).normal([5.0, -3.0], [1.0, 100.0], size=(50, 2))
    frame = pandas.DataFrame(X, columns=["a", "b"])
    scaling = Scaling.fit(frame)
    assert scaling.names == ("a", "b") and scaling == Scaling.fit(X)
    for change in (scaling.apply, scaling.undo):
        assert np.array_equal(change(frame), change(X))
        with pytest.raises(InvalidInput, match="another order.*Pass those that scaling.names"):
            change(frame[["b", "a"]])
    assert pickle.loads(pickle.dumps(scaling)).names == ("a", "b")
    np.save(tmp_path / "rows.npy", X)
    read = Scaling.fit(tmp_path / "rows.npy")
    assert read == scaling
    assert np.array_equal(read.apply(str(tmp_path / "rows.npy")), scaling.apply(X))


def test_what_scaling_cannot_do_is_said():
    scaling = Scaling.fit(np.eye(3))
    for call, said in (
        (lambda: Scaling.fit(np.empty((3, 0))), "no columns"),
        (lambda: scaling.apply(np.eye(3), dtype=int), "floating one, such as float32, not int64"),
        (lambda: scaling.fold_inputs(scaling), "trainer.parameters"),
    ):
        with pytest.raises(InvalidInput, match=said):
            call()
