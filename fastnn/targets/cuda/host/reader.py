"""Arrays that a caller has on the device: opened in place, searched, converted.

The rules by which values are wrong are those of `fastnn.inputs.arrays.WRONG`, number by number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.inputs.device_arrays import wrong_device
from fastnn.targets.cuda.host.launching import launch
from fastnn.targets.cuda.host.memory import guarded, new_array
from fastnn.targets.cuda.host.numba_cuda import (
    SIMULATED,
    U,
    cuda,
    current_device,
    inner,
    kernel,
    limits,
    on_device,
)

THREADS = 2 if SIMULATED else 256


WRONG = {
    "beyond": inner(lambda x, limit: not abs(x) <= limit),  # NaN too
    "fractional": inner(lambda x, limit: x % 1.0 != 0.0),
    "outside": inner(lambda x, limit: x < 0.0 or x >= limit),
    "binary": inner(lambda x, limit: x != 0.0 and x != 1.0),
    "negative": inner(lambda x, limit: x < 0.0),
}


@cache
def make_search(wrong: str) -> Any:
    """Return the kernel ``search(X, limit, found)``.

    It lowers found[0] to the number, counted row by row, of the first value of the 2-D array `X`
    that is wrong. Every real number is a float64 for it, which changes none of the answers.
    """
    test = WRONG[wrong]

    def search(X, limit, found):
        columns = X.shape[1]
        for i in range(cuda.grid(1), X.shape[0] * columns, cuda.gridsize(1)):
            r = i // columns
            if test(np.float64(X[r, i - r * columns]), limit):
                cuda.atomic.min(found, 0, i)
                break

    return kernel(search, wrong)


@cache
def make_convert() -> Any:
    """Return the kernel ``convert(X, out)``: out[r, c] = X[r, c], in the dtype of `out`."""

    def convert(X, out):
        columns = X.shape[1]
        for i in range(cuda.grid(1), X.shape[0] * columns, cuda.gridsize(1)):
            r = i // columns
            out[U(r), U(i - r * columns)] = X[r, i - r * columns]

    return kernel(convert)


@dataclass(frozen=True)
class DeviceReader:
    """Reads arrays on the device of a number, as `fastnn.inputs.device_arrays.Reader` says."""

    device: int | None = 0

    def at(self, value: Any) -> DeviceReader:
        """Return the reader of the device that an array is on, where this one is of none."""
        return self if self.device is not None else DeviceReader(_device_of(value))

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        """Make the device the current one for so long."""
        assert self.device is not None
        with on_device(self.device):
            yield

    @contextmanager
    def _guarded(self, doing: str) -> Iterator[None]:
        """Do that, and turn errors of the device into a `DeviceFailure`."""
        with self._on_device(), guarded(doing):
            yield

    def open(self, value: Any) -> Any:
        """Return the memory of an array of any library, in place."""
        if SIMULATED:
            memory = value if isinstance(getattr(value, "_ary", None), np.ndarray) else None
            if memory is None:
                raise TypeError("the simulator has arrays of numba.cuda.to_device alone")
        else:
            with self._guarded("waiting for what other libraries began"):
                cuda.synchronize()
            with self._on_device():
                memory = _open(value)
        itemsize = memory.dtype.itemsize
        if not memory.dtype.isnative:
            raise ValueError(f"its byte order is foreign (dtype {memory.dtype})")
        if any(step % itemsize for step in memory.strides) and memory.size:
            raise ValueError(f"its strides {memory.strides} are no multiples of {itemsize} bytes")
        return memory

    def strided(
        self, memory: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> Any:
        """Return the same memory in another shape."""
        if SIMULATED:
            address = memory._ary.__array_interface__["data"][0] + offset
            return type(memory)(_numpy_view(memory._ary, address, shape, strides))
        described = dict(memory.__cuda_array_interface__)
        described.pop("stream", None)
        described |= {"shape": shape, "strides": strides}
        described["data"] = (described["data"][0] + offset, described["data"][1])
        with self._on_device():
            return cuda.as_cuda_array(_Described(described, memory))

    def first_place(self, memory: Any, wrong: str, limit: float) -> int:
        """Return which number is the first wrong one, or -1."""
        with self._guarded("looking through arrays"):
            return first_place(memory, wrong, limit, _stream())

    def item(self, memory: Any, row: int, column: int) -> np.generic:
        """Return one number."""
        place = row * memory.strides[0] + column * memory.strides[1]
        one = self.strided(memory, place, (1,), (memory.dtype.itemsize,))
        return self.to_host(one)[0]

    def converted(self, memory: Any, dtype: np.dtype) -> Any:
        """Return a new C-contiguous array of another dtype."""
        remedy = f"pass it as a C-contiguous array of {np.dtype(dtype)}, which is used in place"
        with self._guarded("converting an array"):
            found = new_array(
                tuple(memory.shape), dtype, "a converted copy of an array needs", remedy
            )
            launch(make_convert(), _blocks(memory), THREADS, _stream(), 0, memory, found)
            _stream().synchronize()
        return found

    def to_host(self, memory: Any) -> np.ndarray:
        """Return a copy on the host."""
        with self._guarded("copying an array to the host"):
            return memory.copy_to_host()


def first_place(memory: Any, wrong: str, limit: float, stream: Any) -> int:
    """Return which number of a 2-D array is the first wrong one, or -1; waits for the stream."""
    none = np.iinfo(np.int64).max
    found = cuda.to_device(np.full(1, none), stream=stream)
    search = make_search(wrong)
    launch(search, _blocks(memory), THREADS, stream, 0, memory, float(limit), found)
    at = found.copy_to_host(stream=stream)
    stream.synchronize()
    return -1 if at[0] == none else int(at[0])


def all_finite(memory: Any, stream: Any) -> bool:
    """Return whether all numbers of a C-contiguous array of one or two dimensions are finite."""
    flat = memory.reshape(1, memory.size)
    return first_place(flat, "beyond", float(np.finfo(memory.dtype).max), stream) < 0


def _blocks(memory: Any) -> int:
    return max(1, min(-(-memory.size // THREADS), 8 * limits().sms))


def _stream() -> Any:
    """Return this module's stream on the current device."""
    return _streams(current_device())


@cache
def _streams(device: int) -> Any:
    return cuda.stream()


def _numpy_view(
    array: np.ndarray, address: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> np.ndarray:
    """Return a NumPy array at an address within the memory of another one."""
    interface = {
        "data": (address, False),
        "shape": shape,
        "strides": strides,
        "typestr": array.dtype.str,
        "version": 3,
    }
    return np.asarray(SimpleNamespace(__array_interface__=interface, owner=array))


class _Described:
    """Memory on the device as Numba takes it from other libraries; keeps its owner alive."""

    def __init__(self, described: dict[str, Any], owner: Any) -> None:
        self.__cuda_array_interface__, self.owner = described, owner


def _open(value: Any) -> Any:
    """Return Numba's view of an array of another library, or raise TypeError or ValueError."""
    if getattr(type(value), "__cuda_ndarray__", False):
        # Numba's own description of a broadcast array leaves out that it is one.
        return _here(value, value.device_ctypes_pointer.value)
    if hasattr(type(value), "__cuda_array_interface__"):
        described = value.__cuda_array_interface__
        if described.get("mask") is not None:
            raise ValueError("it has a mask")
        return _here(cuda.as_cuda_array(value), described["data"][0])
    from cuda.core.utils import StridedMemoryView

    view = StridedMemoryView.from_dlpack(value, stream_ptr=-1)
    dtype = np.dtype(view.dtype)
    steps = view.strides  # in numbers
    described = {
        "shape": tuple(view.shape),
        "strides": None if steps is None else tuple(step * dtype.itemsize for step in steps),
        "typestr": dtype.str,
        "data": (view.ptr, bool(view.readonly)),
        "version": 3,
    }
    return _here(cuda.as_cuda_array(_Described(described, view)), view.ptr)


def _device_of(value: Any) -> int:
    """Return the number of the device that an array is on, of the current one where none says."""
    if SIMULATED:
        return current_device()
    if getattr(type(value), "__cuda_ndarray__", False):
        return _device_at(value.device_ctypes_pointer.value)
    if hasattr(type(value), "__cuda_array_interface__"):
        return _device_at(value.__cuda_array_interface__["data"][0])
    return int(value.__dlpack_device__()[1])


def _device_at(address: int) -> int:
    """Return the number of the device of an address, that of the current one where none is."""
    from cuda.bindings import driver

    current = current_device()  # which sees to it that there is one to ask
    which = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    status, device = driver.cuPointerGetAttribute(which, address)
    return int(device) if status == driver.CUresult.CUDA_SUCCESS else current


def _here(memory: Any, address: int) -> Any:
    """Return an array if it is on the device in use, at an address that loads can read."""
    if not memory.size:
        return memory
    device, current = _device_at(address), current_device()
    if device != current:
        raise ValueError(wrong_device(device, current))
    if address % memory.dtype.itemsize:
        raise ValueError(f"it begins at no multiple of {memory.dtype.itemsize} bytes")
    return memory
