"""Versions of the packages that CUDA needs, without importing any of them."""

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
