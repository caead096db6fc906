"""NVIDIA's driver, asked without Numba: which devices there are, and what is in the way of them.

A processor without a device is told apart by one look for a library, so that what asks before every
training costs nothing there. Nothing here raises.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# The library that the driver brings, as loaders know it; it is on no other system.
LIBRARIES = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}
_VERSION_FILE = Path("/sys/module/nvidia/version")  # Linux; cuDriverGetVersion gives CUDA's version

# Of CUdevice_attribute in cuda.h.
_MULTIPROCESSORS = 16
_MAJOR, _MINOR = 75, 76

_NOT_INITIALIZED = 3  # of CUresult


@dataclass(frozen=True)
class Device:
    """One device: name, compute capability, bytes of memory, streaming multiprocessors."""

    name: str
    capability: tuple[int, int]
    memory: int
    multiprocessors: int

    def __str__(self) -> str:
        """Return the device in words, for a report."""
        major, minor = self.capability
        return (
            f"{self.name}, compute capability {major}.{minor}, "
            f"{self.memory / 2**30:.1f} GiB, {self.multiprocessors} multiprocessors"
        )


@dataclass(frozen=True)
class Driver:
    """What the driver said.

    Attributes
    ----------
    library
        Its library, also where it could not be loaded; empty on a system that has none.
    loaded
        Whether it could be loaded.
    cuda
        The latest version of CUDA that it runs, (0, 0) where it did not say.
    version
        Its own version, empty where that is not known.
    devices
        All devices that this process may use, in the driver's order.
    fault
        Why there are none, empty where there are.
    """

    library: str
    loaded: bool
    cuda: tuple[int, int]
    version: str
    devices: tuple[Device, ...]
    fault: str

    @property
    def cuda_text(self) -> str:
        """The latest version of CUDA in words, such as 13.0."""
        return ".".join(map(str, self.cuda)) if self.cuda > (0, 0) else "an unknown version"


def driver() -> Driver:
    """Return what the driver says, asked once a process: a forked one may have lost its devices."""
    return _driver(os.getpid())


def current() -> int:
    """Return the number of the device that is current in this thread; 0 where none is.

    Whichever library has made it so: they share what the driver keeps for each thread.
    """
    said, number = driver(), ctypes.c_int()
    if not said.devices:
        return 0
    none = ctypes.CDLL(said.library).cuCtxGetDevice(ctypes.byref(number))
    return 0 if none else number.value


@cache
def _driver(process: int) -> Driver:
    """Return what the driver says to this process."""
    del process
    name = LIBRARIES.get(sys.platform, "")
    if not name:
        return Driver("", False, (0, 0), "", (), f"CUDA has no driver for {sys.platform}")
    try:
        library = ctypes.CDLL(name)  # the calling convention of nvcuda.dll is the same in 64 bits
    except OSError as error:
        # A library that is there but cannot be loaded is another fault than one that is not.
        missing = sys.platform == "win32" or f"{name}: cannot open" in str(error)
        fault = "driver library not found" if missing else f"driver library unusable: {error}"
        return Driver(name, False, (0, 0), "", (), fault)
    try:
        cuda, devices, fault = _ask(library)
    except (AttributeError, OSError, ValueError) as error:  # a library of that name, but no driver
        cuda, devices, fault = (0, 0), (), f"driver library unusable: {error}"
    return Driver(name, True, cuda, _version(), devices, fault)


def _ask(library: Any) -> tuple[tuple[int, int], tuple[Device, ...], str]:
    """Return the version of CUDA, the devices and the fault that a loaded driver tells of."""
    number = ctypes.c_int()
    code = library.cuDriverGetVersion(ctypes.byref(number))
    cuda = (0, 0) if code else (number.value // 1000, number.value % 1000 // 10)
    code = library.cuInit(0)
    if not code:
        code = library.cuDeviceGetCount(ctypes.byref(number))
    if code:
        return cuda, (), f"the driver answered {_error(library, code)}"
    found = []
    for ordinal in range(number.value):
        device = _device(library, ordinal)
        if isinstance(device, int):
            return cuda, (), f"the driver answered {_error(library, device)} for device {ordinal}"
        found.append(device)
    return cuda, tuple(found), "" if found else "the driver knows of no device"


def _device(library: Any, ordinal: int) -> Device | int:
    """Return one device, or the driver's error."""
    handle, memory = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    code = (
        library.cuDeviceGet(ctypes.byref(handle), ordinal)
        or library.cuDeviceGetName(name, len(name), handle)
        or library.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    )
    attributes = []
    for attribute in (_MAJOR, _MINOR, _MULTIPROCESSORS):
        value = ctypes.c_int()
        code = code or library.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle)
        attributes.append(value.value)
    if code:
        return int(code)
    major, minor, multiprocessors = attributes
    title = name.value.decode("utf-8", "replace")
    return Device(title, (major, minor), memory.value, multiprocessors)


def _error(library: Any, code: int) -> str:
    """Return an error of the driver by number and, where it knows it, by name."""
    name = ctypes.c_char_p()
    if library.cuGetErrorName(code, ctypes.byref(name)) or not name.value:
        return f"error {code}"
    forked = ", as in a process forked from one that used CUDA" * (code == _NOT_INITIALIZED)
    return f"error {code} ({name.value.decode()}{forked})"


def _version() -> str:
    """Return the driver's own version where the system tells it."""
    try:
        return _VERSION_FILE.read_text().strip()
    except OSError:
        return ""
