"""The libraries that compile kernels."""

from __future__ import annotations

import numba


def compilers() -> dict[str, str]:
    """Return the version of each library that kernels are compiled with, "" where it is missing."""
    if numba.config.ENABLE_CUDASIM:
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
