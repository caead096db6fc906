"""Arrays that are on a CUDA device already: how they are known, and what may be asked of them.

They are known by what their type offers (``__cuda_array_interface__``, or DLPack on a CUDA device),
so that neither CuPy nor PyTorch nor Numba has to be imported. Only the CUDA target reads them.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from fastnn.errors import InvalidInput

_CUDA = (2, 13)  # DLPack's kDLCUDA and kDLCUDAManaged

# How to bring an array to the host, by the library that its type is of.
_TO_HOST = {
    "torch": "{0}.detach().cpu().numpy()",
    "cupy": "{0}.get()",
    "numba": "{0}.copy_to_host()",
    "cudf": "{0}.to_numpy()",
}


class Reader(Protocol):
    """What the CUDA target does with arrays on a device; `memory` is as its kernels take it."""

    @property
    def device(self) -> int | None:
        """The number of the device; None: `at` says of each array."""

    def at(self, value: Any) -> Reader:
        """Return the reader for the device that an array of any library is to be read on."""

    def open(self, value: Any) -> Any:
        """Return the memory of an array of any library, with `shape`, `strides` and `dtype`.

        Nothing is copied, and all that its library still had to do with it is done. Raises
        TypeError, ValueError or RuntimeError for what no kernel can read.
        """

    def strided(
        self, memory: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> Any:
        """Return the same memory, `offset` bytes further on, with another shape and strides."""

    def first_place(self, memory: Any, wrong: str, limit: float) -> int:
        """Return which number of a 2-D array, counted row by row, is the first wrong one, or -1.

        `wrong` is a name in `fastnn.inputs.arrays.WRONG`.
        """

    def item(self, memory: Any, row: int, column: int) -> np.generic:
        """Return one number of a 2-D array."""

    def converted(self, memory: Any, dtype: np.dtype) -> Any:
        """Return a new C-contiguous 2-D array of another dtype."""

    def to_host(self, memory: Any) -> np.ndarray:
        """Return a copy on the host of a C-contiguous array."""


class DeviceArray:
    """An array on the device of one or two dimensions, whose values only kernels see.

    Attributes
    ----------
    memory
        What kernels take: an array of Numba. It keeps the caller's array alive.
    device
        The number of the device.
    shape, strides, dtype, ndim
        As of a NumPy array.
    """

    def __init__(self, memory: Any, reader: Reader) -> None:
        assert reader.device is not None, "a reader of one device, as `at` returns it"
        self.memory, self._reader, self.device = memory, reader, reader.device
        self.shape: tuple[int, ...] = tuple(int(size) for size in memory.shape)
        self.strides: tuple[int, ...] = tuple(int(step) for step in memory.strides)
        self.dtype: np.dtype[Any] = np.dtype(memory.dtype)
        self.ndim: int = len(self.shape)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def __getitem__(self, key: slice | tuple[int, int]) -> Any:
        """Return some rows as they lie (a slice without a step), or one number (row, column)."""
        if isinstance(key, tuple):
            return self._reader.item(self.memory, *key)
        start, stop, step = key.indices(len(self))
        if step != 1:
            raise ValueError("rows of an array on the device are taken without a step")
        shape = (max(0, stop - start), *self.shape[1:])
        return self._seen(start * self.strides[0], shape, self.strides)

    @property
    def contiguous(self) -> bool:
        """Whether numbers lie as in a C array, row after row without gaps."""
        expected = self.dtype.itemsize
        for size, step in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size > 1 and step != expected:
                return False
            expected *= size
        return True

    def column(self) -> DeviceArray:
        """Return an array (n,) as (n, 1), not copied."""
        return self._seen(0, (len(self), 1), (self.strides[0], self.dtype.itemsize))

    def flat(self) -> DeviceArray:
        """Return an array (n, 1) as (n,), not copied."""
        return self._seen(0, self.shape[:1], self.strides[:1])

    def first_place(self, wrong: str, limit: float = 0.0) -> tuple[int, int] | None:
        """Return row and column of the first value, row by row, that is wrong; see `arrays`."""
        at = self._reader.first_place(self.memory, wrong, limit)
        return None if at < 0 else divmod(at, self.shape[1])

    def converted(self, dtype: Any) -> DeviceArray:
        """Return the array (n, k) as C-contiguous of a dtype, not copied if it is that already."""
        dtype = np.dtype(dtype)
        if self.dtype == dtype and self.contiguous:
            # Of one row or column NumPy says what it likes about strides; kernels do not.
            strides = (self.shape[1] * dtype.itemsize, dtype.itemsize)
            return self if self.strides == strides else self._seen(0, self.shape, strides)
        return DeviceArray(self._reader.converted(self.memory, dtype), self._reader)

    def to_host(self) -> np.ndarray:
        """Return a copy of an array (n, k) or (n,) as a NumPy array."""
        array = self if self.ndim == 2 else self.column()
        return self._reader.to_host(array.converted(self.dtype).memory).reshape(self.shape)

    def _seen(self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> DeviceArray:
        return DeviceArray(self._reader.strided(self.memory, offset, shape, strides), self._reader)


def on_device(value: Any) -> bool:
    """Return whether `value` is an array in the memory of a CUDA device.

    NumPy arrays and CPU tensors are not, though they offer DLPack too.

    >>> on_device(np.ones(3))
    False
    """
    kind = type(value)
    if isinstance(value, np.ndarray) or getattr(value, "is_cuda", None) is False:
        return False  # a tensor of PyTorch knows, and a sparse one has no interface to ask
    if getattr(kind, "__cuda_ndarray__", False):  # Numba's own, in its simulator too
        return True
    if hasattr(kind, "__cuda_array_interface__"):
        try:
            return value.__cuda_array_interface__ is not None
        except AttributeError:  # a tensor of PyTorch on the CPU
            pass
        except Exception:  # one on a device that wants to be asked differently; `open` says how
            return True
    if hasattr(kind, "__dlpack_device__") and hasattr(kind, "__dlpack__"):
        try:
            return int(value.__dlpack_device__()[0]) in _CUDA
        except Exception:  # neither: the usual way finds what to say
            return False
    return False


def open_device_array(value: Any, what: str, reader: Reader | None) -> DeviceArray:
    """Return an array of which `on_device` is true, for a target that reads such, or None.

    Raises
    ------
    InvalidInput
        The target reads no arrays on a device, or no kernel can read this one.
    """
    if reader is None:
        raise refusal(value, what)
    try:
        there = reader.at(value)
        return DeviceArray(there.open(value), there)
    except (AttributeError, TypeError, ValueError, RuntimeError, BufferError) as error:
        raise InvalidInput(
            f"{what} ({_name(value)}) cannot be read on the device: {error}; pass "
            f"{_to_host(value, what)}"
        ) from error


def wrong_device(there: int, here: int) -> str:
    """Return what is wrong with an array on one device where another one computes."""
    return f"it is on device {there}, but fastnn computes on device {here}: choose 'cuda:{there}'"


def refusal(value: Any, what: str) -> InvalidInput:
    """Return the error for an array on a device where only arrays on the host will do."""
    return InvalidInput(
        f"{what} ({_name(value)}) is in the memory of a CUDA device, which only the target 'cuda' "
        f"reads; pass {_to_host(value, what)}, or choose target='cuda'"
    )


def to_host(array: Any) -> np.ndarray:
    """Return `array` if it is on the host, else a copy of it there."""
    return array.to_host() if isinstance(array, DeviceArray) else array


def _name(value: Any) -> str:
    kind = type(value)
    return f"{kind.__module__.partition('.')[0]} {kind.__name__}"


def _to_host(value: Any, what: str) -> str:
    library = type(value).__module__.partition(".")[0]
    return _TO_HOST.get(library, "a NumPy array of it").format(what)
