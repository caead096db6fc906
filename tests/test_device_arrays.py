"""Arrays on a CUDA device: what is taken for one, who refuses it, and that all else is as before.

The arrays here only say that they are on a device; a reader on the host stands for its kernels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastnn import Dense, InvalidInput, Network, Trainer, sweep
from fastnn.inputs.arrays import WRONG, real_numbers
from fastnn.inputs.data import (
    check_data,
    check_features,
    check_targets,
    check_validation,
    check_weights,
)
from fastnn.inputs.device_arrays import DeviceArray, on_device, to_host
from fastnn.inputs.problem import Problem
from fastnn.network import SGD
from fastnn.training.scores import scores

FLOAT32 = np.dtype(np.float32)
X = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
LABELS = np.arange(9) % 3
PROBLEM = Problem(
    Network(3, [Dense(3)]), "softmax_cross_entropy", SGD(0.1), 4, 0.0, 0.0, "float32", 0
)


class Cuda:
    """An array with CUDA's array interface; its values are for the reader alone."""

    def __init__(self, array: Any) -> None:
        self.hidden = np.asarray(array)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Describe the memory."""
        described: dict[str, Any] = dict(self.hidden.__array_interface__)
        return described

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """Fail: nobody is to copy it to the host unasked."""
        raise AssertionError("copied to the host")


class CudaByDlpack:
    """An array on a device that only DLPack tells about."""

    def __init__(self, array: Any, device: int = 2) -> None:
        self.hidden, self.device = np.asarray(array), device

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the kind of the device, and which one."""
        return self.device, 0

    def __dlpack__(self, **options: Any) -> Any:
        """Hand it over."""
        return self.hidden.__dlpack__()

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """Give the values where that may be."""
        assert self.device == 1, "copied to the host"
        return self.hidden


class OnlySometimes:
    """A tensor whose interface depends on where it is, as PyTorch's does."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Say that there is none."""
        raise self.error

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """Give the values."""
        return X


class HostReader:
    """What kernels do, done by NumPy."""

    device = 0

    def at(self, value: Any) -> Any:
        """Return itself: there is one device."""
        return self

    def open(self, value: Any) -> Any:
        """Return the memory."""
        if isinstance(value, OnlySometimes):
            raise value.error
        return value.hidden

    def strided(self, memory: Any, offset: int, shape: Any, strides: Any) -> Any:
        """Return the same memory in another shape."""
        described = dict(memory.__array_interface__, shape=shape, strides=strides)
        described["data"] = (described["data"][0] + offset, False)
        holder = type("Holder", (), {"__array_interface__": described, "owner": memory})
        return np.asarray(holder())

    def first_place(self, memory: Any, wrong: str, limit: float) -> int:
        """Return the first number that is wrong."""
        found = np.flatnonzero(WRONG[wrong](memory, limit))
        return int(found[0]) if len(found) else -1

    def item(self, memory: Any, row: int, column: int) -> Any:
        """Return one number."""
        return memory[row, column]

    def converted(self, memory: Any, dtype: np.dtype) -> Any:
        """Return a copy."""
        return memory.astype(dtype, order="C")

    def to_host(self, memory: Any) -> np.ndarray:
        """Return a copy."""
        return np.array(memory)


READER = HostReader()
# As the library that it comes from would have it.
TORCH = type("Tensor", (Cuda,), {"__module__": "torch"})
CUPY = type("ndarray", (Cuda,), {"__module__": "cupy"})
NUMBA = type("DeviceNDArray", (Cuda,), {"__module__": "numba.cuda.cudadrv", "__cuda_ndarray__": 1})


@pytest.mark.parametrize("value", [Cuda(X), CudaByDlpack(X), CudaByDlpack(X, 13), NUMBA(X)])
def test_arrays_on_a_device_are_known(value):
    assert on_device(value)


@pytest.mark.parametrize(
    "value",
    [
        X,
        X[0, 0],
        X.tolist(),
        None,
        Cuda,  # the class itself
        np.ma.masked_array(X),
        CudaByDlpack(X, 1),
        OnlySometimes(AttributeError("Can't get __cuda_array_interface__ on non-CUDA tensor")),
    ],
)
def test_everything_else_is_on_the_host(value):
    assert not on_device(value)


def test_tensors_of_pytorch_on_the_cpu_go_the_usual_way():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensor = torch.from_numpy(X)
    assert not on_device(tensor)
    np.testing.assert_array_equal(check_features(tensor, 3, FLOAT32, reader=READER), X)
    with pytest.raises(InvalidInput, match=r"X \(Tensor\) cannot be read as an array: can't conv"):
        check_features(tensor.to_sparse(), 3, FLOAT32)


def test_arrays_of_the_host_that_offer_dlpack_go_the_usual_way():
    np.testing.assert_array_equal(check_features(CudaByDlpack(X, 1), 3, FLOAT32), X)


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (TORCH, "pass X.detach().cpu().numpy(),"),
        (CUPY, "pass X.get(),"),
        (NUMBA, "pass X.copy_to_host(),"),
        (CudaByDlpack, "pass a NumPy array of it,"),
    ],
)
def test_other_targets_refuse_them_and_say_how_to_copy(kind, remedy):
    with pytest.raises(InvalidInput, match="in the memory of a CUDA device") as caught:
        check_features(kind(X), 3, FLOAT32)
    assert remedy in str(caught.value)
    assert "target='cuda'" in str(caught.value)


@pytest.mark.parametrize("target", ["cpu", "numpy"])
def test_no_method_of_a_trainer_copies_them_to_the_host(target):
    trainer = Trainer(Network(3, [Dense(3)]), target=target)
    there, labels = CUPY(X), CUPY(LABELS)
    calls = [
        lambda: trainer.fit(there, LABELS),
        lambda: trainer.fit(X, labels),
        lambda: trainer.fit(X, LABELS, sample_weight=CUPY(np.ones(9))),
        lambda: trainer.fit(X, LABELS, validation_data=(there, LABELS)),
        lambda: trainer.predict(there),
        lambda: trainer.forward(there),
        lambda: trainer.evaluate(there, LABELS),
        lambda: trainer.set_parameters([(CUPY(np.ones((3, 3))), np.ones(3))]),
        lambda: sweep(trainer, there, LABELS, 1, grid={"l2": [0.0]}),
    ]
    for call in calls:
        with pytest.raises(InvalidInput, match="in the memory of a CUDA device"):
            call()
    assert trainer.epoch == 0


def test_a_target_that_reads_them_has_them_in_place():
    data = check_data(PROBLEM, Cuda(X), Cuda(LABELS), Cuda(np.ones(9)), reader=READER)
    assert isinstance(data.X, DeviceArray)
    assert len(data) == len(data.X) == 9
    assert (data.X.shape, data.X.dtype, data.X.ndim) == ((9, 3), FLOAT32, 2)
    assert np.shares_memory(data.X.memory, X)
    assert np.shares_memory(data.targets.memory, LABELS)
    assert data.targets.shape == (9,)
    # The sums of the weights of batches are made on the host.
    assert isinstance(data.weights, np.ndarray)


def test_missing_targets_and_weights_of_targets_may_be_on_the_device():
    problem = replace(PROBLEM, loss="mse", ignore_nan=True)
    y, weights = np.ones((9, 3), np.float32), np.linspace(1, 2, 27).reshape(9, 3)
    y[4, 1] = np.nan
    data = check_data(problem, Cuda(X), Cuda(y), Cuda(weights), reader=READER)
    expected = check_data(problem, X, y, weights)
    assert np.array_equal(data.targets, expected.targets)
    assert np.array_equal(data.weights, np.where(np.isnan(y), 0, weights))
    assert np.array_equal(data.weights, expected.weights)
    whole = check_data(problem, Cuda(X), Cuda(np.ones((9, 3), np.float32)), reader=READER)
    assert isinstance(whole.targets, DeviceArray) and whole.weights is None


def test_either_of_features_and_targets_may_be_on_the_device():
    data = check_data(PROBLEM, Cuda(X), LABELS, reader=READER)
    assert isinstance(data.targets, np.ndarray) and np.array_equal(data.targets, LABELS)
    data = check_data(PROBLEM, X, Cuda(LABELS), reader=READER)
    assert data.X is X


@pytest.mark.parametrize("dtype", ["i4", "u1", "f8", "?"])
def test_labels_of_other_types_are_converted(dtype):
    labels = (LABELS > 1).astype(dtype)
    found = check_targets(Cuda(labels), PROBLEM.loss, 3, 9, FLOAT32, reader=READER)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found.to_host(), labels)


def test_integers_become_the_problems_dtype_and_float64_stays():
    found = check_features(Cuda(np.ones((2, 3), int)), 3, FLOAT32, reader=READER)
    assert found.dtype == FLOAT32
    found = check_features(Cuda(np.ones((2, 3))), 3, FLOAT32, reader=READER)
    assert found.dtype == np.float64


def broken(array, place, value):
    array = np.array(array, np.float64)
    array[place] = value
    return array


@pytest.mark.parametrize(
    "arrays",
    [
        (broken(X, (4, 1), np.nan), LABELS),
        (broken(X, (4, 1), 1e39), LABELS),
        (X[:, :2], LABELS),
        (X[0], LABELS),
        (X[:0], LABELS),
        (X.astype(complex), LABELS),
        (X, LABELS[:5]),
        (X, broken(LABELS, 4, 0.5)),
        (X, LABELS + 1),
        (X, 2 * np.eye(3)[LABELS]),
        (X, LABELS, broken(np.ones(9), 4, -1)),
        (X, LABELS, np.ones((9, 2))),
    ],
    ids=lambda arrays: "",
)
def test_bad_ones_have_the_messages_of_numpy_arrays(arrays):
    with pytest.raises(InvalidInput) as expected:
        check_data(PROBLEM, *arrays)
    with pytest.raises(InvalidInput) as found:
        check_data(PROBLEM, *map(Cuda, arrays), reader=READER)
    assert str(found.value) == str(expected.value)


def test_validation_data_may_be_on_the_device():
    found = check_validation(PROBLEM, (Cuda(X), Cuda(LABELS), Cuda(np.ones(9))), READER)
    assert isinstance(found.X, DeviceArray)
    with pytest.raises(InvalidInput, match="in validation_data, X value nan at row 2, column 0"):
        check_validation(PROBLEM, (Cuda(broken(X, (2, 0), np.nan)), LABELS), READER)


def test_what_no_kernel_can_read_is_refused_with_the_reason():
    tensor = OnlySometimes(RuntimeError("it requires grad. Use var.detach()"))
    assert on_device(tensor)
    with pytest.raises(InvalidInput, match=r"X .*cannot be read on the device: .*var\.detach\(\)"):
        check_features(tensor, 3, FLOAT32, reader=READER)


def test_weights_and_parameters_ask_for_the_host_too():
    with pytest.raises(InvalidInput, match="sample_weight .* in the memory of a CUDA device"):
        check_weights(Cuda(np.ones(9)), 9)
    with pytest.raises(InvalidInput, match="W .* in the memory of a CUDA device"):
        real_numbers(Cuda(X), "W")


@pytest.mark.parametrize(
    "array", [X, X[::2], X[::-1], X[:, ::2], np.asfortranarray(X), np.broadcast_to(X[:1], (4, 3))]
)
def test_rows_and_copies_are_those_of_the_array(array):
    there = DeviceArray(array, READER)
    assert there.contiguous == array.flags.c_contiguous
    for rows in (slice(0, 2), slice(1, 3), slice(3, 99), slice(99, 100), slice(None)):
        np.testing.assert_array_equal(there[rows].to_host(), array[rows])
    assert there[1, 0] == array[1, 0]
    np.testing.assert_array_equal(to_host(there), array)
    with pytest.raises(ValueError, match="without a step"):
        _ = there[::2]


def test_scores_of_data_on_the_device_are_those_of_the_same_data_on_the_host():
    weights = np.random.default_rng(1).normal(size=(3, 3)).astype(np.float32)

    def forward(rows):
        return to_host(rows) @ weights

    there = check_data(PROBLEM, Cuda(X), Cuda(LABELS), reader=READER)
    assert scores(PROBLEM, forward, there) == scores(
        PROBLEM, forward, check_data(PROBLEM, X, LABELS)
    )
