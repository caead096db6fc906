"""Putting kernels into a stream, one by one or as a CUDA graph."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from fastnn.targets.cuda.host.numba_cuda import (
    SIMULATED,
    Refused,
    cuda,
    failures,
    quick_comparisons,
)

# numba-cuda compiles, loads and configures kernels as if there were one thread in the process: two
# that load one kernel at once end in a segmentation fault.
_launching = threading.Lock()


def compile_now(compiled: Any, *arguments: Any) -> None:
    """Compile a kernel for arguments of these types, so that its first launch does not have to."""
    if not SIMULATED:
        with _launching, _compiling():
            compiled.compile(arguments)


@contextmanager
def _compiling() -> Iterator[None]:
    """Let Python look for no garbage meanwhile, and Numba compare no more than it has to.

    Numba makes millions of objects that are needed to the end; to look at them all again and again
    is a fifth of the time of a compilation.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        with quick_comparisons():
            yield
    finally:
        if enabled:
            gc.enable()


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
        with _launching:  # it runs one kernel at a time
            compiled[blocks, threads, stream, shared_bytes](*arguments)
        return
    # A kernel that nobody prepared is compiled by its first launch.
    with _launching, nullcontext() if compiled.overloads else _compiling():
        # What a launch may ask for without that is 48 KB less what the kernel itself declares.
        if shared_bytes > 0:
            _make_ready(compiled, arguments, shared_bytes)
        configured = _configured(compiled, blocks, threads, stream, shared_bytes)
        try:
            configured(*arguments)
        except ValueError as error:  # more blocks than can run at once, where all of them must
            raise Refused(f"{blocks} blocks of {threads} threads: {error}") from error


def _configured(compiled: Any, *configuration: Any) -> Any:
    """Return a kernel with its launch configuration.

    Numba warns of grids of fewer than 128 blocks, which all families launch on purpose.
    """
    from numba.cuda.core import config

    wanted = config.CUDA_LOW_OCCUPANCY_WARNINGS
    config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
    try:
        return compiled[configuration]
    finally:
        config.CUDA_LOW_OCCUPANCY_WARNINGS = wanted


_raised: dict[tuple[Any, int], int] = {}


def _make_ready(compiled: Any, arguments: tuple[Any, ...], shared_bytes: int) -> None:
    """Raise the limit of a kernel's dynamic shared memory, once for each kernel and device.

    And say of one that is cooperative that it is: had Numba known when it was compiled, it would
    have linked CUDA's library of barriers, ten times as much code, for none of it to be called.
    """
    from cuda.bindings import driver

    device = cuda.get_current_device().id
    if _raised.get((compiled, device), 0) >= shared_bytes:
        return
    signature = tuple(compiled.typeof_pyval(each) for each in arguments)
    ready = compiled.compile(signature)
    ready.cooperative |= compiled.cooperative
    code = ready.library.get_cufunc()
    which = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    (status,) = driver.cuKernelSetAttribute(which, shared_bytes, code.handle, device)
    if status != driver.CUresult.CUDA_SUCCESS:
        raise Refused(f"{shared_bytes} bytes of shared memory a block: {status.name}")
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
            self._capture(put)
            self._names = dict(_launched.names)
        _launched.names.update(self._names)
        for _ in range(times):
            if self._refused:
                put(stream)
            else:
                self._graph.launch(core)

    def _capture(self, put: Callable[[Any], None]) -> None:
        """Make the graph, or warn why there is none.

        The builder has a non-blocking stream of its own. While one that blocks captures, nothing
        in the process may use the default stream, and whatever does makes the capture worthless.
        """
        from cuda.core import Device

        device = Device(cuda.get_current_device().id)
        device.set_current()
        builder = device.create_graph_builder()
        # RuntimeError: cuda.core says so too where a capture is worthless.
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
            # A builder whose capture is worthless ends it, and then raises what it was told.
            with suppress(*broken):
                builder.close()
