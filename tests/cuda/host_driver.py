"""A fake driver of CUDA, made of the host's memory.

Kernels are noted, and do nothing; or else they are compiled, and run as `ptx` does. What Numba
and fastnn do around kernels is done for real: types of arguments, arrays and their slices, copies,
streams, events, graphs. There may be several devices: what is on one is refused where another one
is current. For a process of its own: `install` cannot be undone.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from types import SimpleNamespace
from typing import Any, NamedTuple

import cuda.core
import numpy as np
from banks import Memory
from cubin import compile_ptx
from cuda.bindings import driver as binding
from cuda.core._utils.cuda_utils import CUDAError
from numba.cuda import dispatcher
from numba.cuda.cudadrv import driver
from ptx import execute, program_of

from fastnn.targets.cuda.host import availability
from fastnn.targets.cuda.host.kernel_cache import Kept

MEMORY = {"free": 100 << 30, "total": 139 << 30}
# What a launch gets of shared memory if it has not asked for more: 48 KB less what kernels declare.
SHARED_BYTES_BY_RIGHT = (48 << 10) - 2048


class Launch(NamedTuple):
    """A kernel that was launched, and with what."""

    name: str
    blocks: int
    threads: int
    shared_bytes: int
    arguments: int
    stream: Any
    cooperative: bool


class Contexts(threading.local):
    """The devices whose contexts a thread has pushed; the last one is current."""

    def __init__(self) -> None:
        self.pushed: list[int] = []

    @property
    def current(self) -> int:
        """The number of the current device; nothing works without one."""
        assert self.pushed, "no device is current"
        return self.pushed[-1]


count = 1  # of devices, until the first is used
contexts = Contexts()
STREAM, EVENT = 7, 9  # handles on the first device; a hundred more on each of the others
interpreting = False  # whether kernels are compiled, and their PTX is run
launches: list[Launch] = []
compiled: list[str] = []
allowed: dict[tuple[int, int], int] = {}  # bytes of shared memory, by kernel and device
graphs: list[Graph] = []
blocks: dict[int, Any] = {}  # memory in use, by address
sizes: dict[int, int] = {}  # bytes of it
owners: dict[int, int | None] = {}  # the device that it is on; None: the host
errors: dict[str, Any] = {}  # what functions of the driver are to fail with, by name


class Kernel(dispatcher._Kernel):
    """A kernel that is not compiled: all that Numba does with it but that."""

    count = 0

    def __init__(self, function: Any, types: tuple[Any, ...], **options: Any) -> None:
        Kernel.count += 1
        compiled.append(function.__name__)
        self.signature, self.debug, self.extensions = SimpleNamespace(args=types), False, []
        self.cooperative = self.launch_config_sensitive = False
        ptx = compile_ptx(function, types) if interpreting else ""
        entry = SimpleNamespace(name=function.__name__, number=Kernel.count, ptx=ptx)
        code = SimpleNamespace(kernel=entry, handle=Kernel.count)
        self._codelibrary = SimpleNamespace(get_cufunc=lambda: code)

    def bind(self) -> None:
        """Load nothing."""


class Stream:
    """What stands for `cuda.core.Stream`."""

    def __init__(self, handle: int) -> None:
        self.handle, self.builder = handle, None

    @staticmethod
    def from_handle(handle: Any) -> Stream:
        """Return a stream of cuda.core for one of the driver."""
        return Stream(int(handle))


class Device:
    """What stands for `cuda.core.Device`."""

    def __init__(self, number: int) -> None:
        self.number = number

    def set_current(self) -> None:
        """Be the current one, which it is already."""
        assert self.number == contexts.current

    def create_graph_builder(self) -> GraphBuilder:
        """Return what captures launches, in a non-blocking stream of its own."""
        return GraphBuilder()


class Graph:
    """A captured graph."""

    def __init__(self, captured: list[Any]) -> None:
        self.captured, self.launched = captured, 0
        graphs.append(self)

    def launch(self, stream: Stream) -> None:
        """Count the launches."""
        assert type(stream) is Stream
        self.launched += 1
        if interpreting:
            for each in self.captured:
                interpret(*each)


class GraphBuilder:
    """Captures what is launched into its stream.

    Where `worthless`, what another thread did ends each capture after so many launches; CUDA says
    so whoever asks next, be it another launch or the end.
    """

    open = 0
    worthless: int | None = None

    def __init__(self) -> None:
        GraphBuilder.open += 1
        self.stream, self.captured, self.building = Stream(8 + 100 * contexts.current), [], False
        self.stream.builder = self

    def close(self) -> None:
        """Capture no more, whatever has happened; an end that has not been told of is told now."""
        GraphBuilder.open -= 1
        self._check()

    def begin_building(self) -> GraphBuilder:
        """Begin to capture."""
        self.building = True
        return self

    def end_building(self) -> GraphBuilder:
        """Capture no more."""
        self._check()
        self.building = False
        return self

    def capture(self, *launch: Any) -> None:
        """Take in what is launched into the stream."""
        if GraphBuilder.worthless == len(self.captured):
            self._check()
        self.captured.append(launch)

    def _check(self) -> None:
        if GraphBuilder.worthless is not None and self.building:
            raise CUDAError("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")

    def complete(self) -> Graph:
        """Return the graph."""
        return Graph(self.captured)


def launch(stream: Stream, config: Any, kernel: Any, *arguments: Any) -> None:
    """Note a launch, if CUDA would let it be."""
    here = contexts.current
    assert config.shmem_size <= allowed.get((kernel.number, here), SHARED_BYTES_BY_RIGHT)
    check_stream(stream.handle)
    assert all(device_of(argument) in (None, here) for argument in arguments), kernel.name
    threads = config.block[0]
    made = Launch(
        kernel.name, config.grid[0], threads, config.shmem_size, len(arguments), stream.handle,
        config.is_cooperative,
    )  # fmt: skip
    launches.append(made)
    if stream.builder is not None:
        stream.builder.capture(config, kernel, arguments)
    elif interpreting:
        interpret(config, kernel, arguments)


def check_stream(handle: Any) -> None:
    """Check that a stream, or an event, is on the current device; 0 is the default stream there."""
    number = int(getattr(handle, "value", handle) or 0)
    assert not number or number // 100 == contexts.current, (number, contexts.pushed)


def device_of(argument: Any) -> int | None:
    """Return the number of the device that an argument points to, None where it is no pointer."""
    place = getattr(argument, "value", argument)
    if not isinstance(place, int):
        return None
    start = max((a for a in list(blocks) if a <= place), default=0)
    return owners[start] if start and place < start + sizes[start] else None


def interpret(config: Any, kernel: Any, arguments: tuple[Any, ...]) -> None:
    """Run a kernel, instruction by instruction."""
    program = program_of(kernel.ptx)
    numbers = [_bits(argument) for argument in arguments]
    blocks_and_threads = config.grid[0], config.block[0]
    execute(program, numbers, Allocated(), *blocks_and_threads, config.shmem_size, False)


def _bits(argument: Any) -> int:
    if isinstance(argument, ctypes.c_double):
        return struct.unpack("q", struct.pack("d", argument.value))[0]
    return int(getattr(argument, "value", argument))


class Allocated:
    """The device's memory, which is where `install` allocates it."""

    def __init__(self) -> None:
        self._memories: dict[int, Memory] = {}

    def find(self, places: Any) -> tuple[Memory, Any]:
        """Return the array that addresses lie in, and where there."""
        start = max((a for a in blocks if a <= places[0]), default=0)
        assert start, f"nothing lies at {places[0]:#x}"
        if start not in self._memories:
            data = np.ctypeslib.as_array(
                ctypes.cast(start, ctypes.POINTER(ctypes.c_uint8)), (sizes[start],)
            )
            self._memories[start] = Memory(data, f"the array at {start:#x}")
        return self._memories[start], places - start


def install() -> None:
    """Put this driver into the place of the real one, in this process."""
    made = driver.driver
    driver._logger = driver.make_logger()
    made.is_initialized, made.initialization_error, made.pid = True, None, driver._getpid()

    def allocate(size: int, flags: int = 0) -> Any:
        block = ctypes.create_string_buffer(int(size) + 256)
        address = (ctypes.addressof(block) + 255) // 256 * 256
        blocks[address], sizes[address] = block, int(size)
        owners[address] = contexts.current
        return binding.CUdeviceptr(address)

    def copy(target: Any, source: Any, size: int, stream: Any = None) -> None:
        check_stream(stream)
        assert {device_of(int(target)), device_of(int(source))} <= {None, contexts.current}
        ctypes.memmove(int(target), int(source), int(size))

    def clear(place: Any, value: int, size: int, stream: Any) -> None:
        check_stream(stream)
        ctypes.memset(int(place), value, size)

    def free(address: Any) -> None:
        assert contexts.pushed, "memory is let go where no device is current"
        blocks.pop(int(address))

    def on_stream(*handles: Any) -> None:
        check_stream(handles[0])

    def host(address: int) -> int:
        owners[address] = None  # it is on no device
        return address

    def nothing(*arguments: Any) -> None:
        pass

    functions = {
        "cuCtxGetCurrent": lambda: binding.CUcontext(([-1] + contexts.pushed)[-1] + 1),
        "cuCtxGetDevice": lambda: contexts.current,
        "cuCtxPushCurrent": lambda context: contexts.pushed.append(int(context) - 1),
        "cuCtxPopCurrent": lambda: binding.CUcontext(contexts.pushed.pop() + 1),
        "cuMemAlloc": allocate,
        "cuMemHostAlloc": lambda size, flags: host(int(allocate(size))),
        "cuMemFree": free,
        "cuMemFreeHost": free,
        "cuMemGetInfo": lambda: (MEMORY["free"], MEMORY["total"]),
        "cuMemsetD8Async": clear,
        "cuStreamCreate": lambda flags: binding.CUstream(STREAM + 100 * contexts.current),
        "cuEventCreate": lambda flags: binding.CUevent(EVENT + 100 * contexts.current),
        "cuPointerGetAttribute": lambda attribute, address: address,
    }
    functions |= dict.fromkeys(
        ("cuMemcpyHtoD", "cuMemcpyDtoH", "cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync"), copy
    )
    silent = "cuInit cuCtxSynchronize cuStreamDestroy cuEventDestroy cuEventQuery"
    functions |= dict.fromkeys(silent.split(), nothing)
    streamed = "cuStreamSynchronize cuEventRecord cuEventSynchronize cuStreamWaitEvent"
    functions |= dict.fromkeys(streamed.split(), on_stream)

    def failing(name: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            if name in errors:
                raise driver.CudaAPIError(
                    errors[name], f"Call to {name} results in {errors[name].name}"
                )
            return function(*arguments)

        call.__name__ = name
        return call

    for name, function in functions.items():
        setattr(made, name, failing(name, function))

    class OwnDevice:
        name, compute_capability = "A device", (9, 0)
        MULTIPROCESSOR_COUNT, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 132, 232448
        context: Any = None

        def __init__(self, number: int) -> None:
            self.id = number

        def get_primary_context(self) -> Any:
            if self.context is None:
                self.context = driver.Context(self, binding.CUcontext(self.id + 1))
            return self.context

    devices: dict[int, Any] = {}

    def device(number: int = 0) -> Any:
        return devices.setdefault(number, OwnDevice(number))

    made.get_device, made.get_device_count = device, lambda: count

    def set_attribute(which: Any, value: int, kernel: Any, device: int) -> tuple[Any]:
        assert which.name == "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES"
        allowed[int(kernel), device] = value
        return (binding.CUresult.CUDA_SUCCESS,)

    asked: list[int] = []

    def query(event: Any) -> tuple[Any]:
        asked.append(int(event))
        ready, late = binding.CUresult.CUDA_SUCCESS, binding.CUresult.CUDA_ERROR_NOT_READY
        return (late if len(asked) % 2 else errors.get("cuEventQuery", ready),)

    binding.cuEventQuery = query
    binding.cuKernelSetAttribute = set_attribute
    binding.cuPointerGetAttribute = lambda which, address: (
        binding.CUresult.CUDA_SUCCESS, device_of(address) or 0
    )  # fmt: skip
    dispatcher._Kernel, dispatcher.launch = Kernel, launch
    dispatcher.LaunchConfig = SimpleNamespace
    driver.ExperimentalStream, driver.GraphBuilder = Stream, GraphBuilder
    cuda.core.Stream, cuda.core.Device = Stream, Device
    # Which device is current fastnn asks the driver itself, for it may be before Numba is there.
    availability.current = lambda: ([0] + contexts.pushed)[-1]
    # What is fake is not kept on disk, nor is there what a real one left.
    Kept.load_overload, Kept.save_overload, Kept.has = nothing, nothing, lambda *_: True
