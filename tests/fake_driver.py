"""A driver library that is not there, and a fake one: for tests of what is found."""

import ctypes
from functools import cache
from types import SimpleNamespace

from fastnn.targets.cuda.host import availability, driver


class Library:
    """Stands for libcuda: one device, of which everything can be chosen, and errors by call.

    `current` is the number of the device that is current in all threads, None: none is.
    """

    def __init__(self, capability=(9, 0), cuda=13000, count=1, errors=None, current=None) -> None:
        self.attributes = {75: capability[0], 76: capability[1], 16: 132}
        self.current = current
        self.cuda, self.count = cuda, count
        self.errors = errors or {}
        for name in ("cuInit", "cuDeviceGet"):
            setattr(self, name, lambda *arguments, name=name: self.errors.get(name, 0))

    def answer(self, name, pointer, value) -> int:
        """Put a value to where a pointer shows, and return no error or the one of this call."""
        pointer._obj.value = value
        return self.errors.get(name, 0)

    def cuDriverGetVersion(self, version) -> int:
        """CUDA 13.0 is 13000."""
        return self.answer("cuDriverGetVersion", version, self.cuda)

    def cuDeviceGetCount(self, count) -> int:
        """How many devices there are."""
        return self.answer("cuDeviceGetCount", count, self.count)

    def cuCtxGetDevice(self, device) -> int:
        """Tell of the current one, or that there is none (CUDA_ERROR_INVALID_CONTEXT)."""
        if self.current is None:
            return self.answer("cuCtxGetDevice", device, -1) or 201
        return self.answer("cuCtxGetDevice", device, self.current)

    def cuDeviceGetName(self, name, length, device) -> int:
        """Fill a buffer of characters."""
        name.value = b"Some Card"
        return 0

    def cuDeviceTotalMem_v2(self, memory, device) -> int:
        """Two gibibytes."""
        return self.answer("cuDeviceTotalMem_v2", memory, 2 << 30)

    def cuDeviceGetAttribute(self, value, attribute, device) -> int:
        """One of those that are asked for."""
        return self.answer("cuDeviceGetAttribute", value, self.attributes[attribute])

    def cuGetErrorName(self, code, name) -> int:
        """Know two errors."""
        names = {3: b"CUDA_ERROR_NOT_INITIALIZED", 100: b"CUDA_ERROR_NO_DEVICE"}
        if code not in names:
            return 1
        name._obj.value = names[code]
        return 0


def _loader(monkeypatch, load) -> None:
    """Have the driver's library loaded by `load`, and forget what was found before."""
    byref, c_int, c_size_t = ctypes.byref, ctypes.c_int, ctypes.c_size_t
    fake = SimpleNamespace(
        CDLL=load, byref=byref, c_int=c_int, c_size_t=c_size_t, c_char_p=ctypes.c_char_p,
        create_string_buffer=ctypes.create_string_buffer,
    )  # fmt: skip
    monkeypatch.setattr(driver, "ctypes", fake)
    monkeypatch.setattr(driver, "_driver", cache(driver._driver.__wrapped__))
    monkeypatch.setattr(driver, "LIBRARIES", {driver.sys.platform: "libcuda.so.1"})
    monkeypatch.setattr(availability, "_verdict", cache(availability._verdict.__wrapped__))
    monkeypatch.setattr(availability, "simulated", lambda: False)


def no_driver(monkeypatch, message="libcuda.so.1: cannot open shared object file") -> None:
    """Make this a machine without the driver's library, or with one that cannot be loaded."""

    def load(name):
        raise OSError(message)

    _loader(monkeypatch, load)


def with_device(monkeypatch, **settings) -> None:
    """Make this a machine with a device, as `Library` has it."""
    _loader(monkeypatch, lambda name: Library(**settings))
