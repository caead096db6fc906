"""Where compiled kernels are, for the commands that print or clear them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def kernels() -> dict[str, Any]:
    """Return what the CPU target's kernels are made for, and where each of them is.

    Each is "shipped" with the package, "compiled" by an earlier process and kept, or "missing", so
    that the first training compiles it.
    """
    from fastnn.storage.kernels.entries import ENTRIES
    from fastnn.storage.kernels.loading import state_of
    from fastnn.storage.kernels.machine import DISABLE_JIT, processor

    if DISABLE_JIT:
        return {"made for": "plain Python (NUMBA_DISABLE_JIT)"}
    made_for = processor()
    states = {name: state_of(name, made_for) for name in ENTRIES}
    return {"made for": made_for.name or made_for.cpu, **states}


def caches() -> list[Path]:
    """Return the folders of kernels that there are, of this version and of others."""
    from fastnn.storage.kernels.kernel_cache import folder, is_folder_of_kernels

    place = folder()
    if not place.parent.is_dir():
        return []
    others = (each for each in sorted(place.parent.iterdir()) if is_folder_of_kernels(each))
    return [each for each in others if each.is_dir() and not each.is_symlink()]
