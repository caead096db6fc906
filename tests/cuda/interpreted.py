"""A device that is not there: the engine runs as on one, every launch instruction by instruction.

What the engine asks of Numba is answered here: arrays lie in NumPy, a kernel is compiled for the
types that Numba finds for its arguments and run by `ptx`. Not shown: CUDA graphs, whose launches
are put one by one; that work in a stream is done later than it is asked for; more than one block at
a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import ptx
from cubin import CAPABILITIES, compile_ptx

CAPABILITY = min(CAPABILITIES)  # whose code newer devices take, too
# Kernels are made once a process, so their code is kept too: (kernel, types) -> PTX.
_code: dict[Any, str] = {}
# By what each is known on disk: no two may be known by the same.
_known: dict[str, Any] = {}


class Lent(np.ndarray):
    """An array on the device, with what Numba's has."""

    def copy_to_host(self, ary: Any = None, stream: Any = 0) -> np.ndarray[Any, Any]:
        """Return the content, in an array of the host."""
        if ary is None:
            return np.array(self, subok=False)
        assert ary.shape == self.shape and ary.dtype == self.dtype
        ary[...] = self
        return ary

    def copy_to_device(self, ary: Any, stream: Any = 0) -> None:
        """Take the content of an array of the same shape."""
        assert ary.shape == self.shape and ary.dtype == self.dtype
        self[...] = ary

    @property
    def device_ctypes_pointer(self) -> Any:
        """Where it begins, on the host."""
        return SimpleNamespace(value=self.ctypes.data)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """What other libraries take; the address is the one that kernels get."""
        (address,) = itertools.islice(ptx.flatten([self.view(np.ndarray)], []), 4, 5)
        return self.__array_interface__ | {"data": (address, False), "version": 3}


class Event:
    """Something that has happened."""

    def record(self, stream: Any) -> None:
        """Say nothing."""

    def wait(self, stream: Any) -> None:
        """Wait no more."""

    def synchronize(self) -> None:
        """Wait no more."""

    def query(self) -> bool:
        """Say that it has happened."""
        return True


class Device:
    """What runs kernels, and the names of those that it ran."""

    def __init__(self) -> None:
        """Begin with no launch."""
        self.launched: list[str] = []
        self.late: set[str] = set()  # those whose first launch had to compile them
        self.free_bytes = 1 << 36
        self._prepared: set[Any] = set()

    def compile(self, kernel: Any, types: tuple[Any, ...]) -> str:
        """Return the PTX of a kernel for arguments of these types."""
        self._prepared.add((kernel, types))
        assert _known.setdefault(kernel._cache.made, kernel) is kernel
        if (kernel, types) not in _code:
            bounds = kernel.targetoptions.get("launch_bounds")
            options = {"launch_bounds": bounds} if bounds else {}
            _code[kernel, types] = compile_ptx(kernel.py_func, types, CAPABILITY, **options)
        return _code[kernel, types]

    @property
    def prepared(self) -> dict[str, str]:
        """What was compiled before a launch or for one: names of kernels, and their PTX."""
        return {kernel.py_func.__name__: _code[kernel, types] for kernel, types in self._prepared}

    def launch(self, kernel: Any, where: tuple[Any, ...], arguments: tuple[Any, ...]) -> None:
        """Run a kernel to its end."""
        blocks, threads, _, shared_bytes = where
        assert min(blocks, threads) > 0
        bounds = np.atleast_1d(kernel.targetoptions.get("launch_bounds") or 1024)
        assert threads <= bounds[0], "more threads than the kernel was compiled for"
        arguments = tuple(map(_plain, arguments))
        types = tuple(kernel.typeof_pyval(each) for each in arguments)
        self.launched.append(kernel.py_func.__name__)
        if (kernel, types) not in self._prepared:
            self.late.add(kernel.py_func.__name__)
        code = self.compile(kernel, types)
        ptx.run(code, blocks, threads, *arguments, shared_bytes=shared_bytes, count=False)


def _plain(argument: Any) -> Any:
    """Return an argument with NumPy's arrays in place of the device's."""
    if isinstance(argument, tuple):
        return type(argument)(*map(_plain, argument))
    assert isinstance(argument, (int, float, Lent)), "kernels take numbers and arrays of the device"
    return argument.view(np.ndarray) if isinstance(argument, Lent) else argument


def device_array(shape: Any, dtype: Any = np.float64, stream: Any = 0) -> Lent:
    """Return an array on the device, of NaN: what was there before is nobody's."""
    found = np.empty(shape, dtype).view(Lent)
    found.reshape(-1).view(np.uint8)[...] = 0xFF
    return found


def to_device(array: Any, stream: Any = 0) -> Lent:
    """Return a copy on the device."""
    found = device_array(array.shape, array.dtype)
    found[...] = array
    return found


class Replay:
    """`fastnn.targets.cuda.host.launching.Replay` without a graph."""

    def launch(self, put: Any, times: int, stream: Any) -> None:
        """Put launches into a stream so many times."""
        for _ in range(times):
            put(stream)


@contextmanager
def device(processors: int = 2, shared_bytes: int = 227 << 10) -> Iterator[Device]:
    """Let the engine find a device with so many processors, and so much shared memory a block."""
    from numba import cuda
    from numba.cuda.dispatcher import CUDADispatcher

    from fastnn.targets.cuda.host import launching, memory, reader, session
    from fastnn.targets.cuda.host import numba_cuda as door
    from fastnn.targets.cuda.host.kernel_cache import Kept
    from fastnn.targets.cuda.tiled import family as tiled

    there = Device()
    current = SimpleNamespace(
        name="no device",
        id=0,
        compute_capability=CAPABILITY,
        MULTIPROCESSOR_COUNT=processors,
        MAX_SHARED_MEMORY_PER_BLOCK_OPTIN=shared_bytes,
    )
    context = SimpleNamespace(
        get_memory_info=lambda: (there.free_bytes, 1 << 36),
        memory_manager=SimpleNamespace(deallocations=SimpleNamespace(clear=lambda: None)),
    )
    stream = SimpleNamespace(synchronize=lambda: None)

    def configured(kernel: Any, where: Any) -> Any:
        assert len(where) == 4 and where[3] <= shared_bytes
        return lambda *arguments: there.launch(kernel, where, arguments)

    replaced: list[tuple[Any, str, Any]] = [
        (cuda, "to_device", to_device),
        (cuda, "device_array", device_array),
        (cuda, "pinned_array", lambda shape, dtype: np.empty(shape, dtype)),
        (cuda, "stream", lambda: stream),
        (cuda, "event", lambda timing=True: Event()),
        (cuda, "get_current_device", lambda: current),
        (cuda, "gpus", [current]),
        (cuda, "current_context", lambda: context),
        (CUDADispatcher, "__getitem__", configured),
        (Kept, "has", lambda *_: True),
        (CUDADispatcher, "compile", lambda kernel, types: there.compile(kernel, types)),
        (launching, "_make_ready", lambda *_: None),
        (session, "reached", lambda event: True),
        (memory, "clear", lambda array, stream: array.fill(0)),
        (tiled, "Replay", Replay),
    ]
    with ExitStack() as stack:
        for owner, name, value in replaced:
            stack.enter_context(patch.object(owner, name, value))
        door._limits.cache_clear()
        reader._streams.cache_clear()
        stack.callback(door._limits.cache_clear)
        stack.callback(reader._streams.cache_clear)
        yield there
