"""Versions of what CUDA needs: packages, without importing any of them, and compilers."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec


def package() -> str:
    """Return the version of the package numba-cuda, "" where it is not installed."""
    if find_spec("numba_cuda") is None:
        return ""
    return version_of("numba-cuda") or "of unknown version"


def version_of(distribution: str) -> str:
    """Return the version of a distribution, "" where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def wheels() -> dict[str, str]:
    """Return the versions of the compilers' packages, "" of what is not installed as one.

    The libraries themselves tell no more than major and minor.
    """
    parts = "nvidia-nvvm", "nvidia-cuda-nvcc", "nvidia-cuda-nvrtc", "nvidia-nvjitlink"
    names = [part + of for part in parts for of in ("", "-cu12", "-cu13")]
    return {name: version_of(name) for name in names}


def compilers() -> dict[str, str]:
    """Return the version of each library that kernels are compiled with, "" where it is missing."""
    import numba

    if numba.config.ENABLE_CUDASIM:
        return {}
    from numba.cuda.cudadrv import nvrtc, nvvm

    found = dict.fromkeys(("NVVM", "NVRTC"), "")
    for name, ask in (
        ("NVVM", lambda: nvvm.NVVM().get_version()),
        ("NVRTC", lambda: nvrtc._get_nvrtc_version()),
    ):
        try:
            found[name] = ".".join(map(str, ask()))
        except Exception:  # each library has errors of its own for what it misses
            continue
    return found
