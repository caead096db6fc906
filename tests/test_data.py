"""What fastnn accepts as data, what it makes of it, and what it says of the rest."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fastnn.errors import InvalidInput
from fastnn.inputs.data import check_data, check_features, check_targets, check_weights
from fastnn.inputs.problem import Problem
from fastnn.network import SGD, Dense, Network

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
READ_IN_PLACE = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "float16", "float32", "float64",
)  # fmt: skip
CLASSES, BINARY, REAL = "softmax_cross_entropy", "binary_cross_entropy", "mse"


class ArrayLike:
    """Something that is no array but gives one, as PyTorch's tensors and pandas' frames do."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """Return the array, or raise what it holds."""
        if isinstance(self.values, Exception):
            raise self.values
        return np.asarray(self.values, dtype)


@pytest.mark.parametrize("problem_dtype", [FLOAT32, FLOAT64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "layout", ["C", "Fortran", "strided", "reversed", "broadcast", "read-only"]
)
def test_floating_features_pass_as_they_lie(layout, dtype, problem_dtype):
    base = np.arange(48, dtype=dtype).reshape(6, 8)
    frozen = base[:, :4].copy()
    frozen.flags.writeable = False
    X = {
        "C": base[:, :4].copy(),
        "Fortran": np.asfortranarray(base[:, :4]),
        "strided": base[:, ::2],
        "reversed": base[::-1, 3::-1],
        "broadcast": np.broadcast_to(base[0, :4], (6, 4)),
        "read-only": frozen,
    }[layout]
    assert check_features(X, 4, problem_dtype) is X


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
@pytest.mark.parametrize("kind", READ_IN_PLACE)
@pytest.mark.parametrize("layout", ["C", "Fortran", "reversed"])
def test_small_numbers_pass_as_they_lie(layout, kind, dtype):
    base = np.array([[0, 1], [1, 0], [1, 1]], kind)
    X = {"C": base, "Fortran": np.asfortranarray(base), "reversed": base[::-1, ::-1]}[layout]
    assert check_features(X, 2, dtype) is X


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
@pytest.mark.parametrize(
    "kind", ["int64", "uint64", "longdouble", ">f2", ">i2", ">f4", ">f8", "list"]
)
def test_other_numbers_become_the_problems_dtype(kind, dtype):
    numbers = [[0, 1], [1, 0], [1, 1]]
    X = numbers if kind == "list" else np.array(numbers, kind)
    made = check_features(X, 2, dtype)
    assert made.dtype == dtype and made.dtype.isnative
    assert made.tolist() == numbers


@pytest.mark.parametrize("kind", [int, float, bool, np.float16, np.uint64, Decimal, Fraction])
def test_objects_that_are_numbers_are_numbers(kind):
    X = np.array([[kind(0), 1], [True, np.int8(-3)]], object)
    assert check_features(X, 2, FLOAT32).tolist() == [[0.0, 1.0], [1.0, -3.0]]


def test_unaligned_features_are_copied_into_aligned_ones():
    X = np.zeros(6 * 8 + 1, np.uint8)[1:].view(np.float64).reshape(3, 2)
    made = check_features(X, 2, FLOAT64)
    assert not X.flags.aligned and made.flags.aligned


def test_an_array_like_is_read_through_its_array_protocol():
    X = np.ones((3, 2), np.float32)
    assert check_features(ArrayLike(X), 2, FLOAT32) is X


def test_a_masked_array_without_masks_is_accepted():
    X = np.ma.MaskedArray(np.ones((3, 2), np.float32))
    assert check_features(X, 2, FLOAT32).tolist() == X.data.tolist()


class Sparse:
    """What a SciPy matrix looks like from outside."""

    def toarray(self) -> np.ndarray:
        """Return the dense array."""
        return np.ones((3, 2))


@pytest.mark.parametrize(
    ("X", "said"),
    [
        (np.zeros(2), r"\(2,\).*reshape\(-1, 1\).*reshape\(1, -1\)"),
        (np.float32(3), r"shape \(\) .*two-dimensional"),
        (np.zeros((3, 2, 2)), r"\(3, 2, 2\).*reshape\(len\(X\), -1\)"),
        ([], "no rows"),
        (np.zeros((0, 2)), r"no rows \(shape \(0, 2\)\)"),
        (np.zeros((3, 5)), r"5 columns but the network has 2 inputs.*\(3, 2\)"),
        (np.zeros((3, 0)), "0 columns but the network has 2 inputs"),
        ([[1, 2], [3]], "list.*cannot be read as an array"),
        ([["a", "b"]], "dtype <U1, not real numbers; turn strings into numbers"),
        (np.array([[b"a", b"b"]]), r"dtype \|S1"),
        ([[1, None]], "dtype object, .* value None at row 0, column 1 is no number; fill"),
        (np.array([[1, 2], [3, "b"]], object), "value 'b' at row 1, column 1 .*turn strings"),
        (
            np.array([[1, "2"]], object),
            "dtype object, .* value '2' at row 0, column 1 is no number",
        ),
        (np.array([[1, 10**400]], object), "value 1.* at row 0, column 1 is too large for float64"),
        (np.array([[1, 2j]], object), "value 2j at row 0, column 1 is no number"),
        (np.array([[1, Decimal("sNaN")]], object), "value Decimal.* at row 0, column 1 is no num"),
        (np.array([[1, Decimal("1e39")]], object), "1e[+]39 at row 0, column 1 is too large for f"),
        (None, "X is None and no array of numbers"),
        (np.ones((3, 2), complex), "dtype complex128.*real and imaginary parts"),
        (np.zeros((3, 2), "M8[s]"), r"dtype datetime64\[s\].*days since"),
        (np.zeros((3, 2), "m8[s]"), r"dtype timedelta64\[s\].*divide by a unit"),
        (np.zeros((3, 2), [("a", "f4")]), r"dtype \[.*plain array.*structured_to_unstructured"),
        (np.zeros((3, 2), "V4"), r"dtype [|]V4.*pass a plain array.*astype"),
        (Sparse(), r"sparse \(Sparse\).*X\.toarray\(\)"),
        (np.ma.MaskedArray(np.ones((1, 2)), [[True, False]]), r"masked.*X\.filled"),
        (ArrayLike(RuntimeError("requires grad")), "ArrayLike.*requires grad"),
        (
            np.array([[1, 2], [3, 1e39]]),
            "1e[+]39 at row 1, column 1 is too large for float32.*float64",
        ),
        (np.array([[1, 2], [-1e39, 0]], ">f8"), "-1e[+]39 at row 1, column 0 is too large"),
    ],
)
def test_features_that_cannot_be_used_are_named(X, said):
    with pytest.raises(InvalidInput, match=said):
        check_features(X, 2, FLOAT32)


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64", "float16", "float64", ">i4"])
def test_labels_become_int64(dtype, column):
    y = np.array([2, 0, 1], dtype)
    made = check_targets(y.reshape(3, 1) if column else y, CLASSES, 3, 3, FLOAT32)
    assert made.dtype == np.int64 and made.dtype.isnative and made.flags.c_contiguous
    assert made.tolist() == [2, 0, 1]


def test_boolean_labels_are_classes_0_and_1():
    assert check_targets([True, False], CLASSES, 2, 2, FLOAT32).tolist() == [1, 0]


def test_labels_are_a_copy_that_the_caller_cannot_change():
    y = np.array([0, 1])
    assert not np.shares_memory(check_targets(y, CLASSES, 2, 2, FLOAT32), y)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (
            [0, 1, 2, 10],
            "label 10 at row 3, but the network has 10 outputs: labels are 0..9; number",
        ),
        ([0, 300, 2, 1], "label 300 at row 1, .*one unit a class"),
        ([0, -1, 2, 1], "label -1 at row 1, .*number the classes from 0"),
        (np.array([0, 1, 2**63, 1], np.uint64), "label 9223372036854775808 at row 2"),
        ([0, 1e30, 1, 1], "label 1e[+]30 at row 1"),
        ([0, 1, 1.5, 2], 'value 1.5 at row 2 is fractional.*0..9.*loss="mse"'),
        ([0, np.nan, 1, 2], "value nan at row 1 is not a finite number"),
        ([0, np.inf, 1, 2], "value inf at row 1 is not a finite number"),
        (["a", "b", "a", "b"], r"dtype <U1.*numpy\.unique"),
        (np.array(["a", "b", "a", "b"], object), r"dtype object.*labels: numpy\.unique"),
        (np.eye(4, 9), r"\(4, 9\).*takes \(4,\) or \(4, 1\); of one-hot rows pass y\.argmax"),
        (np.zeros((4, 1, 1)), r"shape \(4, 1, 1\)"),
        (3, r"shape \(\)"),
        ([0, 1, 2], "y has 3 rows but there are 4 samples"),
        ([], "y has 0 rows but there are 4 samples"),
    ],
)
def test_labels_that_cannot_be_used_are_named(y, said):
    with pytest.raises(InvalidInput, match=said):
        check_targets(y, CLASSES, 10, 4, FLOAT32)


def test_a_label_beyond_its_own_dtype_is_compared_rightly():
    y = np.array([0, 255], np.uint8)
    assert check_targets(y, CLASSES, 1000, 2, FLOAT32).tolist() == [0, 255]


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
@pytest.mark.parametrize("loss", [BINARY, REAL, "hinge", "perceptron", "huber"])
@pytest.mark.parametrize("y", [[0, 1, 1], [[0], [1], [1]], [False, True, True]])
def test_targets_of_one_output_become_a_column(y, loss, dtype):
    made = check_targets(y, loss, 1, 3, dtype)
    assert made.dtype == dtype and made.flags.c_contiguous
    assert made.tolist() == [[0.0], [1.0], [1.0]]


@pytest.mark.parametrize("loss", [BINARY, REAL])
def test_targets_of_several_outputs_are_c_contiguous(loss):
    y = np.asfortranarray([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    made = check_targets(y, loss, 2, 3, FLOAT32)
    assert made.dtype == np.float32 and made.flags.c_contiguous
    assert made.tolist() == y.tolist()


@pytest.mark.parametrize(
    ("loss", "outputs", "y", "said"),
    [
        (BINARY, 1, [1, -1, 1], r"value -1 at row 1, but binary_cross.* 0 and 1; .*\(y \+ 1\) / 2"),
        ("hinge", 1, [1.0, -1.0, 1.0], r"value -1.0 at row 1, but hinge takes.*\(y \+ 1\) / 2"),
        (BINARY, 1, [0, 1, 2], "value 2 at row 2.*softmax_cross_entropy"),
        (BINARY, 1, [0, 1, 0.5], "value 0.5 at row 2"),
        (BINARY, 1, [0, 1, np.nan], "value nan at row 2 is not a finite number"),
        (BINARY, 2, [[0, 1], [1, 1], [0, 3]], "value 3 at row 2, column 1"),
        (BINARY, 1, np.eye(3, 2), r"\(3, 2\) but .* with 1 output takes \(3,\) or \(3, 1\)"),
        (REAL, 1, np.ones((3, 2)), r"\(3, 2\) but mse with 1 output takes \(3,\) or \(3, 1\)"),
        (REAL, 2, np.ones(3), r"\(3,\) but mse with 2 outputs takes \(3, 2\)"),
        (REAL, 2, np.ones((4, 2)), "y has 4 rows but there are 3 samples"),
        (REAL, 1, [0, np.inf, 1], "value inf at row 1 is not a finite number"),
        (REAL, 1, [0, 1e300, 1], "value 1e[+]300 at row 1 is too large for float32"),
        (REAL, 1, ["0", "1", "2"], "dtype <U1"),
        ("mes", 1, [0, 1, 2], "unknown loss 'mes'; did you mean 'mse'"),
    ],
)
def test_targets_that_cannot_be_used_are_named(loss, outputs, y, said):
    with pytest.raises(InvalidInput, match=said):
        check_targets(y, loss, outputs, 3, FLOAT32)


@pytest.mark.parametrize(
    "weights", [[0, 1, 2], [False, True, True], np.array([0, 0.5, 1], np.float32)]
)
def test_weights_become_float64(weights):
    made = check_weights(weights, 3)
    assert made.dtype == np.float64 and made.flags.c_contiguous
    assert made.tolist() == np.asarray(weights, float).tolist()


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1, 1], r"shape \(2,\) but must be \(3,\)"),
        ([[1, 2], [1, 1], [1, 2]], r"shape \(3, 2\) but must be \(3,\), one weight a row$"),
        (1.0, r"shape \(\)"),
        ([1, -0.5, 1], "value -0.5 at row 1 is negative"),
        ([1, np.nan, 1], "value nan at row 1 is not a finite number"),
        ([1, 1, np.inf], "value inf at row 2 is not a finite number"),
        ([0, 0, 0], "is 0 in every row"),
        (["1", "1", "1"], "dtype <U1"),
    ],
)
def test_weights_that_cannot_be_used_are_named(weights, said):
    with pytest.raises(InvalidInput, match=f"sample_weight.*{said}"):
        check_weights(weights, 3)


def problem(outputs: int = 2) -> Problem:
    """Return a softmax regression of 4 inputs."""
    network = Network(4, [Dense(outputs)])
    return Problem(network, CLASSES, SGD(0.1), 2, 0.0, 0.0, FLOAT32, 0)


def test_data_holds_what_the_problem_needs():
    X = np.ones((3, 4))
    data = check_data(problem(), X, [0, 1, 1], [1, 2, 3])
    assert data.X is X and len(data) == 3
    assert data.targets.tolist() == [0, 1, 1]
    assert data.weights is not None and data.weights.tolist() == [1.0, 2.0, 3.0]
    assert check_data(problem(), X, [0, 1, 1]).weights is None


def test_messages_use_the_callers_names():
    what = ("validation X", "validation y")
    with pytest.raises(InvalidInput, match="^validation X has 3 columns"):
        check_data(problem(), np.ones((2, 3)), [0, 1], what=what)
    with pytest.raises(InvalidInput, match="^validation y has label 2"):
        check_data(problem(), np.ones((2, 4)), [0, 2], what=what)
