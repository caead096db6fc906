"""Whether the CUDA target can run here, and what is missing where it cannot. Nothing raises."""

from __future__ import annotations

import os
import sys
from functools import cache

from fastnn.targets.cuda.host import driver as asked
from fastnn.targets.cuda.host import installed
from fastnn.targets.cuda.host.driver import Device, Driver
from fastnn.targets.cuda.host.installed import package as package  # which it tells, too
from fastnn.targets.cuda.host.installed import version_of

# CUDA 13, which fastnn[cuda] installs, has compilers for nothing older than Turing.
OLDEST = (7, 5)
# mma.sync on TF32 and bfloat16 numbers came with Ampere.
TENSOR_CORES = (8, 0)

INSTALL = '`pip install "fastnn[cuda]"`'
DRIVER_PAGE = "https://www.nvidia.com/drivers"
_ELSE = "Without it use target='cpu', or 'auto' for the fastest that this machine can run"


def driver() -> Driver:
    """Return what NVIDIA's driver says."""
    return asked.driver()


def devices() -> list[Device]:
    """Return all CUDA devices, also such as kernels cannot run on; empty in the simulator."""
    return [] if simulated() else list(driver().devices)


def current() -> int:
    """Return the number of the device that this thread uses: what "cuda" without a number means.

    It is the one that `torch.cuda.set_device`, `cupy.cuda.Device.use` or Numba has made current,
    the first where nothing has.
    """
    if not simulated():
        return asked.current()
    from fastnn.targets.cuda.host import numba_cuda

    return numba_cuda.current_device()


def usable(precision: str = "float32", number: int = 0) -> Device | None:
    """Return the device of a number if kernels can run on it by what the driver says, or None."""
    some = devices()[number : number + 1]
    return some[0] if some and some[0].capability >= _needed(precision) else None


def simulated() -> bool:
    """Return whether kernels would run in Numba's simulator; does not import Numba."""
    config = getattr(sys.modules.get("numba"), "config", None)
    if config is not None:  # Numba has looked already, in a file of settings too
        return bool(config.ENABLE_CUDASIM)
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0").strip() not in ("", "0")


@cache
def compilers() -> dict[str, str]:
    """Return the version of each library that compiles kernels, "" where it is missing.

    Empty where numba-cuda cannot be imported, and in the simulator.
    """
    if not package():
        return {}
    try:
        import fastnn.targets.cuda.host.numba_cuda  # noqa: F401 - it knows how to import Numba's

        return installed.compilers()
    except Exception:  # whatever a broken installation raises; `unavailable` tells of it
        return {}


def unavailable(precision: str = "float32", device: int | None = None) -> str:
    """Return "" if kernels can run here, on a device or in the simulator, or why they cannot.

    `device` is its number, None: the current one, or in the simulator the first. The text names
    what was looked for, what of it was found, and how to install the rest.
    """
    if device is None:
        device = 0 if simulated() else current()
    return _verdict(precision, device, os.getpid())


@cache
def _verdict(precision: str, number: int, process: int) -> str:
    """Return what `unavailable` does; of each process, since CUDA does not survive a fork."""
    del process
    found, remedies = _simulator(number) if simulated() else _device(precision, number)
    if not remedies:
        return ""
    return f"looked for {'; '.join(found)}. To have it, {' and '.join(remedies)}. {_ELSE}"


def _simulator(number: int) -> tuple[list[str], list[str]]:
    """Return what was looked for with its finding, and what to do, for Numba's simulator."""
    found = ["Numba's simulator: switched on by NUMBA_ENABLE_CUDASIM"]
    remedies: list[str] = []
    if _look_at_package(found, remedies):
        from fastnn.targets.cuda.host import numba_cuda

        there = numba_cuda.count_devices()
        if number >= there:
            _miss(found, remedies, number, there)
    return found, remedies


def _miss(found: list[str], remedies: list[str], number: int, there: int) -> None:
    """Say that there are too few devices for one of this number."""
    several = f"{there} devices, cuda:0 to cuda:{there - 1}" if there > 1 else "1 device, cuda:0"
    found.append(f"device {number}: there {'are' if there > 1 else 'is'} {several}")
    remedies.append("choose one of those" if there > 1 else "choose that one")


def _device(precision: str, number: int) -> tuple[list[str], list[str]]:
    """Return what was looked for with its finding, and what to do, for a device."""
    said = driver()
    found: list[str] = []
    remedies: list[str] = []
    if not said.loaded:
        found.append(f"NVIDIA's driver ({said.library or 'none'}): {said.fault}")
        remedies.append(
            f"install NVIDIA's driver from {DRIVER_PAGE}"
            if said.library
            else "use Linux or Windows with an NVIDIA device"
        )
    else:
        found.append(f"NVIDIA's driver: {said.version or said.library}, CUDA {said.cuda_text}")
        needed = _dotted(_needed(precision))
        if said.fault:
            found.append(f"a device: {said.fault}")
            remedies.append("see that `nvidia-smi` and CUDA_VISIBLE_DEVICES show a device")
        elif number >= len(said.devices):
            _miss(found, remedies, number, len(said.devices))
        elif usable(precision, number) is None:
            this = said.devices[number]
            found.append(f"a device of compute capability {needed} or later: {this}")
            able = [n for n in range(len(said.devices)) if usable(precision, n)]
            if able:
                remedies.append(f"use target='cuda:{able[0]}'")
            else:
                remedies.append(
                    f"use precision='float32', since {precision!r} needs tensor cores"
                    if this.capability >= OLDEST
                    else "set CUDA_VISIBLE_DEVICES to a later device"
                )
        else:
            found.append(f"a device: {said.devices[number].name}")
    importable = _look_at_package(found, remedies)
    bindings = version_of("cuda-bindings").partition(".")[0]
    if said.cuda > (0, 0) and bindings.isdecimal() and int(bindings) > said.cuda[0]:
        found.append(f"a driver for cuda-bindings {bindings}: CUDA {said.cuda_text}")
        remedies.append(
            f"install a later driver from {DRIVER_PAGE}, or "
            f'`pip install "numba-cuda[cu{said.cuda[0]}]"`'
        )
    if importable:
        _look_at_compilers(found, remedies)
        if not remedies:
            _look_at_numba(found, remedies)
    return found, remedies


def _look_at_package(found: list[str], remedies: list[str]) -> bool:
    """Look for numba-cuda; return whether it can be imported."""
    name = package()
    if not name:
        found.append("the package numba-cuda: not installed")
        remedies.append(INSTALL)
        return False
    try:
        import fastnn.targets.cuda.host.numba_cuda  # noqa: F401
    except Exception as error:  # a driver, a compiler or a package of another version
        found.append(f"the package numba-cuda: {name}, which cannot be imported ({_line(error)})")
        remedies.append(f"{INSTALL} again")
        return False
    found.append(f"the package numba-cuda: {name}")
    return True


def _look_at_compilers(found: list[str], remedies: list[str]) -> None:
    """Look for the libraries that kernels are compiled with."""
    missing = [name for name, version in compilers().items() if not version]
    if missing:
        found.append(f"CUDA's compilers: {', '.join(missing)} not found")
        remedies.append(INSTALL)


def _look_at_numba(found: list[str], remedies: list[str]) -> None:
    """Ask Numba, once all else is there: it may be switched off, or have its own trouble."""
    from fastnn.targets.cuda.host import numba_cuda

    try:
        fault = numba_cuda.fault()
    except Exception as error:  # of the driver; see numba.cuda.cudadrv.error
        fault = _line(error)
    if fault:
        found.append(f"a driver that Numba can use: {fault}")
        remedies.append("mend that, or unset NUMBA_DISABLE_CUDA")


def _needed(precision: str) -> tuple[int, int]:
    """Return the compute capability that a precision needs."""
    return OLDEST if precision == "float32" else TENSOR_CORES


def _dotted(number: tuple[int, int]) -> str:
    return f"{number[0]}.{number[1]}"


def _line(error: BaseException) -> str:
    """Return an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
