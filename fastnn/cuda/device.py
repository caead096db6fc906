"""The only door to Numba's CUDA: what kernels are written with, in the simulator too.

`cuda` is Numba's module; kernels and device functions of other files take it from here. In Numba's
simulator (NUMBA_ENABLE_CUDASIM=1) it stands for the module of the kernel that is running, so that
device functions stay plain Python functions there, a hundredth of the cost of simulated ones.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import cuda as _cuda

from fastnn.cuda.kept import Kept

# Whether kernels run in Numba's simulator: Python threads in place of a device.
SIMULATED = bool(numba.config.ENABLE_CUDASIM)
# What any kernel may take of shared memory; for more, its limit has to be raised.
SHARED_BYTES_BY_RIGHT = 48 << 10


class _Running:
    """What `cuda` is in the simulator: in a kernel's threads, the module of the kernel."""

    def __getattr__(self, name: str) -> Any:
        if not hasattr(threading.current_thread(), "threadIdx"):
            return getattr(_cuda, name)
        from numba.cuda.simulator import kernel

        running = kernel._get_kernel_context()
        return _Shared(running.shared) if name == "shared" else getattr(running, name)


class _Shared:
    """Shared memory in the simulator, where threads that come at once get one array, not two."""

    _allocating = threading.Lock()

    def __init__(self, simulated: Any) -> None:
        self._simulated = simulated

    def array(self, shape: Any, dtype: Any) -> Any:
        """Return the one array of this line of code, for all threads of the block."""
        if shape == 0:
            return self._simulated.array(0, dtype)
        frame = sys._getframe(1)
        place, every = (frame.f_code.co_filename, frame.f_lineno), self._simulated._allocations
        with self._allocating:
            if place not in every:
                every[place] = np.empty(shape, _numpy_type(dtype))
            return every[place]


def _numpy_type(dtype: Any) -> np.dtype:
    """Return NumPy's name of a type of Numba."""
    return np.dtype(str(dtype))


cuda: Any = _Running() if SIMULATED else _cuda
# Says that an index is not negative, so that no code is made for counting from the end.
U: Any = int if SIMULATED else numba.uint64
# 32-bit whole numbers halve the registers and the work of counting.
I32: Any = int if SIMULATED else numba.int32


def inner(function: Callable[..., Any]) -> Any:
    """Make a device function, which is compiled into the kernels that call it."""
    # Inlined by LLVM: where Numba does it, compiling takes twenty times as long.
    return function if SIMULATED else _cuda.jit(device=True, forceinline=True)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Make a device function that Numba writes into its callers: only such may return an array."""
    return function if SIMULATED else _cuda.jit(device=True, inline="always")(function)


def kernel(function: Callable[..., Any], *made: Any, **options: Any) -> Any:
    """Make a kernel, whose machine code is kept on disk.

    `made`: all that its code depends on beside the sources, as a rule the arguments of the function
    that makes it; their `repr` has to say everything. `options`: those of `numba.cuda.jit`, such as
    `launch_bounds`.
    """
    if SIMULATED:
        # Random numbers wrap around and logits overflow on purpose, of which NumPy's scalars warn.
        return _cuda.jit(np.errstate(all="ignore")(function))
    # Link-time optimisation takes three times as long, and code that the tests do not look at.
    compiled = _cuda.jit(lto=False, **options)(function)
    name = f"{function.__module__}.{function.__qualname__}"
    compiled._cache = Kept(f"{name}{made!r}", compiled.targetoptions)
    return compiled


@dataclass(frozen=True)
class Limits:
    """What a device has: name, processors, bytes of shared memory a block may take, capability."""

    name: str
    processors: int
    shared_bytes: int
    capability: tuple[int, int] = (8, 0)


@cache
def limits() -> Limits:
    """Return what the current device has; the simulator has little, so that tests meet limits."""
    if SIMULATED:
        return Limits("Numba's CUDA simulator", 1, SHARED_BYTES_BY_RIGHT)
    device = _cuda.get_current_device()
    name = device.name.decode() if isinstance(device.name, bytes) else str(device.name)
    shared_bytes = device.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    capability = device.compute_capability
    return Limits(name, device.MULTIPROCESSOR_COUNT, shared_bytes, tuple(capability))


def memory_info() -> tuple[int, int]:
    """Return free and total bytes of the device's memory."""
    if SIMULATED:
        return 1 << 40, 1 << 40
    free, total = _cuda.current_context().get_memory_info()
    return int(free), int(total)


def failures() -> tuple[type[BaseException], ...]:
    """Return the exceptions that a failing device raises, through any of the libraries beneath."""
    if SIMULATED:
        return ()
    from cuda.core._utils.cuda_utils import CUDAError
    from numba.cuda.cudadrv.error import CudaDriverError

    return CudaDriverError, CUDAError


def lacks_memory(error: BaseException) -> bool:
    """Say whether one of `failures` is only that there was no room; the device goes on then."""
    return "CUDA_ERROR_OUT_OF_MEMORY" in str(error)


def reached(event: Any) -> bool:
    """Say whether all that was put into a stream before an event is done."""
    if SIMULATED:
        return True
    from cuda.bindings import driver

    # Numba would log every answer but yes as an error.
    (status,) = driver.cuEventQuery(event.handle)
    return status != driver.CUresult.CUDA_ERROR_NOT_READY and bool(event.query())


def compile_now(compiled: Any, *arguments: Any) -> None:
    """Compile a kernel for arguments of these types, so that its first launch does not have to."""
    if not SIMULATED:
        compiled.compile(arguments)


class _Launched(threading.local):
    """Names of the kernels that this thread has launched since `forget_launched`, each once."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}


_launched = _Launched()


def forget_launched() -> None:
    """Begin a new list of the kernels that are launched, when none is under way."""
    _launched.names = {}


def launched() -> str:
    """Return the kernels launched since, for the message where one of them fails."""
    return ", ".join(_launched.names)


def launch(
    compiled: Any, blocks: int, threads: int, stream: Any, shared_bytes: int, *arguments: Any
) -> None:
    """Put a kernel into a stream; raise its limit of shared memory first.

    `stream` is one of `numba.cuda.stream`, or the builder of a graph.
    """
    _launched.names[compiled.py_func.__name__] = None
    if SIMULATED:
        compiled[blocks, threads, stream, shared_bytes](*arguments)
        return
    # What a launch may ask for without that is 48 KB less what the kernel itself declares.
    if shared_bytes > 0:
        _allow_shared(compiled, arguments, shared_bytes)
    _configured(compiled, blocks, threads, stream, shared_bytes)(*arguments)


_configuring = threading.Lock()


def _configured(compiled: Any, *configuration: Any) -> Any:
    """Return a kernel with its launch configuration.

    Numba warns of grids of fewer than 128 blocks, which all families launch on purpose.
    """
    from numba.cuda.core import config

    with _configuring:
        wanted = config.CUDA_LOW_OCCUPANCY_WARNINGS
        config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
        try:
            return compiled[configuration]
        finally:
            config.CUDA_LOW_OCCUPANCY_WARNINGS = wanted


_raised: dict[tuple[Any, int], int] = {}


def _allow_shared(compiled: Any, arguments: tuple[Any, ...], shared_bytes: int) -> None:
    """Raise the limit of a kernel's dynamic shared memory, once for each kernel and device."""
    from cuda.bindings import driver

    device = _cuda.get_current_device().id
    if _raised.get((compiled, device), 0) >= shared_bytes:
        return
    signature = tuple(compiled.typeof_pyval(each) for each in arguments)
    code = compiled.compile(signature).library.get_cufunc()
    which = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    (status,) = driver.cuKernelSetAttribute(which, shared_bytes, code.handle, device)
    if status != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"{shared_bytes} bytes of shared memory a block: {status.name}")
    _raised[compiled, device] = shared_bytes


class Replay:
    """A list of launches, captured as a CUDA graph when it is first wanted.

    Where CUDA refuses to capture it, which is warned of, each launch is made anew: the same result
    in more of the host's time.
    """

    def __init__(self) -> None:
        """Capture nothing yet."""
        self._graph: Any = None
        self._refused = False
        self._names: dict[str, None] = {}

    def launch(self, put: Callable[[Any], None], times: int, stream: Any) -> None:
        """Put all of it into a stream, so many times.

        `put` puts the launches into the stream that it is given, always the same ones. It is not
        kept, for it holds their arrays; a graph has no more than addresses.
        """
        from cuda.core import Stream

        if self._graph is None and times:
            put(stream)  # what is not compiled or loaded yet must be, before the capture
            times -= 1
        core = Stream.from_handle(int(stream.handle))
        if self._graph is None and times and not self._refused:
            self._capture(put, core)
            self._names = dict(_launched.names)
        _launched.names.update(self._names)
        for _ in range(times):
            if self._refused:
                put(stream)
            else:
                self._graph.launch(core)

    def _capture(self, put: Callable[[Any], None], core: Any) -> None:
        """Make the graph, or warn why there is none."""
        builder = core.create_graph_builder()
        # RuntimeError: what another thread did has made the capture worthless.
        broken: tuple[type[BaseException], ...] = (*failures(), RuntimeError)
        try:
            builder.begin_building()
            put(builder)
            self._graph = builder.end_building().complete()
        except broken as error:
            self._refused = True
            warnings.warn(
                f"CUDA captures no graph of a training step ({error}); steps are launched kernel "
                "by kernel, which takes more of the host's time",
                RuntimeWarning,
                stacklevel=2,
            )
        finally:
            # Also after Ctrl-C: the stream would go on to capture, and nothing could be waited for.
            builder.close()


def compilers() -> dict[str, str]:
    """Return the version of each library that kernels are compiled with, "" where it is missing."""
    if SIMULATED:
        return {}
    from numba.cuda.cudadrv import nvrtc, nvvm

    found = dict.fromkeys(("NVVM", "NVRTC"), "")
    for name, version in (
        ("NVVM", lambda: nvvm.NVVM().get_version()),
        ("NVRTC", lambda: nvrtc._get_nvrtc_version()),
    ):
        try:
            found[name] = ".".join(map(str, version()))
        except Exception:  # each library has errors of its own for what it misses
            continue
    return found


def fault() -> str:
    """Return why Numba cannot use the driver, "" where it can; starts the driver."""
    if SIMULATED or _cuda.is_available():
        return ""
    return " ".join(str(_cuda.cuda_error() or "NVVM is missing").split())
