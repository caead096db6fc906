"""The only door to Numba's CUDA: what kernels are written with, in the simulator too.

`cuda` is Numba's module; kernels and device functions of other files take it from here. In Numba's
simulator (NUMBA_ENABLE_CUDASIM=1) it stands for the module of the kernel that is running, so that
device functions stay plain Python functions there, a hundredth of the cost of simulated ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import cuda as _cuda

# Whether kernels run in Numba's simulator: Python threads in place of a device.
SIMULATED = bool(numba.config.ENABLE_CUDASIM)


class _Running:
    """What `cuda` is in the simulator: the module of the kernel that runs now."""

    def __getattr__(self, name: str) -> Any:
        from numba.cuda.simulator import kernel

        running = kernel._get_kernel_context()
        return getattr(_cuda if running is None else running, name)


cuda: Any = _Running() if SIMULATED else _cuda
# Says that an index is not negative, so that no code is made for counting from the end.
U: Any = int if SIMULATED else numba.uint64


def inner(function: Callable[..., Any]) -> Any:
    """Make a device function, which is compiled into the kernels that call it."""
    return function if SIMULATED else _cuda.jit(device=True, inline="always")(function)


def kernel(function: Callable[..., Any], **options: Any) -> Any:
    """Make a kernel; `options` are those of `numba.cuda.jit`, such as `launch_bounds`."""
    return _cuda.jit(**({} if SIMULATED else options))(function)


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
