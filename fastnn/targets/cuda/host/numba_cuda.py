"""The only door to Numba's CUDA: what kernels are written with, in the simulator too.

`cuda` is Numba's module; kernels and device functions of other files take it from here. In Numba's
simulator (NUMBA_ENABLE_CUDASIM=1) it stands for the module of the kernel that is running, so that
device functions stay plain Python functions there, a hundredth of the cost of simulated ones.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np

from fastnn.targets.cuda.host.kernel_cache import Kept

# Whether kernels run in Numba's simulator: Python threads in place of a device.
SIMULATED = bool(numba.config.ENABLE_CUDASIM)
# What any kernel may take of shared memory; for more, its limit has to be raised.
SHARED_BYTES_BY_RIGHT = 48 << 10


def _import_cuda() -> Any:
    """Return Numba's module, all of it imported that a first compilation would import.

    numba-cuda 0.30 is the last of its line, and older than NumPy 2.5: it makes a timedelta without
    a unit, of which NumPy warns, and an overload of `numpy.row_stack`, a second name of `vstack`
    that NumPy has no more. Nothing else sees that name: it is there for the import.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from numba import cuda

        if not SIMULATED and not hasattr(np, "row_stack"):
            vars(np)["row_stack"] = np.vstack
            try:
                import numba.cuda.np.arrayobj  # noqa: F401
            finally:
                del vars(np)["row_stack"]
    return cuda


_cuda: Any = _import_cuda()
if SIMULATED:  # here, since threads of a kernel had better import nothing
    from numba.cuda.simulator import kernel as _simulated_kernel


class _Running:
    """What `cuda` is in the simulator: in a kernel's threads, the module of the kernel."""

    def __getattr__(self, name: str) -> Any:
        if not hasattr(threading.current_thread(), "threadIdx"):
            return getattr(_cuda, name)
        running = _simulated_kernel._get_kernel_context()
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
                every[place] = np.empty(shape, np.dtype(str(dtype)))  # of a type of Numba
            return every[place]


cuda: Any = _Running() if SIMULATED else _cuda
# Says that an index is not negative, so that no code is made for counting from the end.
U: Any = int if SIMULATED else numba.uint64
# 32-bit whole numbers halve the registers and the work of counting.
I32: Any = int if SIMULATED else numba.int32
U32: Any = int if SIMULATED else numba.uint32
I64: Any = int if SIMULATED else numba.int64
MOST_U32 = (1 << 32) - 1


def inner(function: Callable[..., Any]) -> Any:
    """Make a device function, which is compiled into the kernels that call it."""
    if SIMULATED:
        return function
    # Inlined by LLVM: where Numba does it, compiling takes twenty times as long.
    compiled = _cuda.jit(device=True, forceinline=True)(function)
    template_of, unliteral = compiled.get_call_template, numba.types.unliteral

    def for_any_number(args: Any, kws: Any) -> Any:
        """Type a call: one that differs in constants alone is of the same function.

        LLVM knows the constants when it has inlined the call. Numba would compile a copy for each.
        """
        return template_of(tuple(map(unliteral, args)), kws)

    compiled.get_call_template = for_any_number
    return compiled


def inlined(function: Callable[..., Any]) -> Any:
    """Make a device function that Numba writes into its callers: only such may return an array."""
    return function if SIMULATED else _cuda.jit(device=True, inline="always")(function)


def named(*functions: Any, **others: Any) -> SimpleNamespace:
    """Return functions under their own names, and others under those given."""
    return SimpleNamespace(**{each.__name__: each for each in functions}, **others)


def make_shared_array(count: int, number: Any) -> Any:
    """Return a function that gives the block's shared memory, aligned for vectors.

    No count means the memory that the launch has asked for.
    """
    if SIMULATED:  # which knows no alignment
        return inlined(lambda: cuda.shared.array(count, number))
    return inlined(lambda: cuda.shared.array(count, number, 16))


def one_by_one(function: Any, layers: Sequence[int]) -> Any:
    """Return a device function that calls ``function(given, layer)`` for each of these layers.

    Each call is a copy of its own, in which the layer is a constant.
    """
    if not layers:
        return inner(lambda given: None)
    first, *rest = layers
    others = one_by_one(function, rest)

    @inner
    def call(given):
        function(given, first)
        others(given)

    return call


@inner
def quotient(a, b):
    """Return a // b of whole numbers a from 0 and b from 1 to 2^32 - 1."""
    # Devices have no division: of 32 bits it takes a fifth of the instructions of 64.
    return I64(U32(a) // U32(b)) if a <= MOST_U32 else a // b


def kernel(
    function: Callable[..., Any], *made: Any, cooperative: bool = False, **options: Any
) -> Any:
    """Make a kernel, whose machine code is kept on disk.

    `made`: all that its code depends on beside the sources, as a rule the arguments of the function
    that makes it; their `repr` has to say everything. `cooperative`: all blocks of a launch have to
    run at once. `options`: those of `numba.cuda.jit`, such as `launch_bounds`.
    """
    if SIMULATED:
        # Random numbers wrap around and logits overflow on purpose, of which NumPy's scalars warn.
        return _cuda.jit(np.errstate(all="ignore")(function))
    # Link-time optimisation takes three times as long, and code that the tests do not look at.
    compiled = _cuda.jit(lto=False, **options)(function)
    name = f"{function.__module__}.{function.__qualname__}"
    compiled._cache = Kept(f"{name}{made!r}", compiled.targetoptions)
    compiled.cooperative = cooperative
    return compiled


@dataclass(frozen=True)
class Limits:
    """What a device has: name, SMs, bytes of shared memory a block may take, capability."""

    name: str
    sms: int
    shared_bytes: int
    capability: tuple[int, int] = (8, 0)


def limits(number: int | None = None) -> Limits:
    """Return what the device of a number has, None: the current one.

    The simulator has little, so that tests meet limits.
    """
    if SIMULATED:
        return Limits("Numba's CUDA simulator", 1, SHARED_BYTES_BY_RIGHT)
    return _limits(current_device() if number is None else number)


@cache
def _limits(number: int) -> Limits:
    """Return what `limits` does; where there are several devices, the name says which it is."""
    device = _cuda.gpus[number]
    name = device.name.decode() if isinstance(device.name, bytes) else str(device.name)
    name += f" (cuda:{number})" * (count_devices() > 1)
    shared_bytes = device.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    capability = device.compute_capability
    return Limits(name, device.MULTIPROCESSOR_COUNT, shared_bytes, tuple(capability))


class _Simulated(threading.local):
    """The number of the device that a thread uses in the simulator, where all are the same one."""

    device = 0


_simulated = _Simulated()


def current_device() -> int:
    """Return the number of the device that this thread uses."""
    return _simulated.device if SIMULATED else int(_cuda.get_current_device().id)


def count_devices() -> int:
    """Return how many devices there are."""
    return 1 if SIMULATED else len(_cuda.gpus)


@contextmanager
def on_device(number: int) -> Iterator[None]:
    """Let this thread use the device of a number for so long, whichever it used before."""
    before = current_device()
    if number == before:
        yield
    elif SIMULATED:
        _simulated.device = number
        try:
            yield
        finally:
            _simulated.device = before
    else:
        with _cuda.gpus[number]:
            yield


def memory_info() -> tuple[int, int]:
    """Return free and total bytes of the device's memory."""
    if SIMULATED:
        return 1 << 40, 1 << 40
    free, total = _cuda.current_context().get_memory_info()
    return int(free), int(total)


def clear(array: Any, stream: Any) -> None:
    """Fill a C-contiguous array with zeros; does not wait."""
    if SIMULATED:
        array.copy_to_device(np.zeros(array.shape, array.dtype))
        return
    from numba.cuda.cudadrv.driver import device_memset

    device_memset(array, 0, array.nbytes, stream)


class Refused(RuntimeError):
    """A launch that the device, or CUDA's library for it, does not take; one of `failures`."""


def failures() -> tuple[type[BaseException], ...]:
    """Return the exceptions that a failing device raises, through any of the libraries beneath.

    So do compilers that a driver is too old for, or that know no such device.
    """
    if SIMULATED:
        return ()
    from cuda.bindings.nvjitlink import nvJitLinkError
    from cuda.core._utils.cuda_utils import CUDAError
    from numba.cuda.cudadrv.driver import LinkerError
    from numba.cuda.cudadrv.error import CudaDriverError, NvrtcError, NvvmError

    compilers = NvvmError, NvrtcError, nvJitLinkError, LinkerError
    return CudaDriverError, CUDAError, Refused, *compilers


def lacks_memory(error: BaseException) -> bool:
    """Return whether one of `failures` is only that there was no room; the device goes on then."""
    return "CUDA_ERROR_OUT_OF_MEMORY" in str(error)


def reached(event: Any) -> bool:
    """Return whether all that was put into a stream before an event is done."""
    if SIMULATED:
        return True
    from cuda.bindings import driver

    # Numba would log every answer but yes as an error.
    (status,) = driver.cuEventQuery(event.handle)
    return status != driver.CUresult.CUDA_ERROR_NOT_READY and bool(event.query())


def _flags_by_name() -> Any:
    """Return Numba's class of flags if it keeps those that are set in a dict; None where not.

    That is private to numba-cuda, and may be otherwise in another version.
    """
    try:
        from numba.cuda.core.targetconfig import TargetConfig

        return TargetConfig if isinstance(TargetConfig()._values, dict) else None
    except (ImportError, AttributeError, TypeError):
        return None


@contextmanager
def quick_comparisons() -> Iterator[None]:
    """Let Numba compare flags of compilations by those that are set, with the same answers.

    It asks for the values of all that there are, twice for each function that a call may be of, in
    Python: a third of the time of a compilation. Its hash of them is that of their names. Where it
    keeps them otherwise, it compares as it does.
    """
    TargetConfig = _flags_by_name()
    if TargetConfig is None:
        yield
        return
    equal, hash_of, hashes = TargetConfig.__eq__, TargetConfig.__hash__, dict[type, int]()

    def quick_equal(flags: Any, other: Any) -> Any:
        if type(flags) is not type(other):
            return equal(flags, other)
        # What is set in neither is what all have at first.
        names = {*flags._values, *other._values} if flags._values != other._values else ()
        return all(getattr(flags, name) == getattr(other, name) for name in names)

    def quick_hash(flags: Any) -> int:
        kind = type(flags)
        if kind not in hashes:
            hashes[kind] = hash_of(flags)
        return hashes[kind]

    TargetConfig.__eq__, TargetConfig.__hash__ = quick_equal, quick_hash
    try:
        yield
    finally:
        TargetConfig.__eq__, TargetConfig.__hash__ = equal, hash_of


def pretend_device(capability: tuple[int, int]) -> None:
    """Let Numba find a device of this capability in this process, into which it loads nothing.

    It compiles for it as for one that is there.
    """
    from numba.cuda import dispatcher
    from numba.cuda.cudadrv import devices

    device = SimpleNamespace(compute_capability=capability, id=0)
    _cuda.get_current_device = dispatcher.get_current_device = lambda: device
    devices.get_context = lambda *_: SimpleNamespace(device=device)
    dispatcher._Kernel.bind = lambda kernel: kernel.library.get_cubin()


def fault() -> str:
    """Return why Numba cannot use the driver, "" where it can; starts the driver."""
    if SIMULATED or _cuda.is_available():
        return ""
    return " ".join(str(_cuda.cuda_error() or "NVVM is missing").split())
