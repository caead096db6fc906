"""Train a sweep of settings on the CPU target, and compare with NumPy's: ``arm64_check.py DTYPE``.

The settings are those of `tests/routes.py`: activations, losses, optimizers, threads, limits,
penalties, sparse rows. Kernels have to be there, for nothing is compiled.
"""

from __future__ import annotations

import dataclasses
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

import routes

import fastnn
from fastnn.storage.kernels.machine import processor

# As in tests/targets/target_cases.py, relative to the largest number beside it.
TOLERANCE = {"float32": 3e-5, "float64": 1e-12}


def steady(more: dict[str, Any]) -> dict[str, Any]:
    """Return settings by which a rounding stays one: a step is not its sign, nor far too long."""
    optimizer = more.get("optimizer", fastnn.SGD(0.01))
    if hasattr(optimizer, "epsilon"):
        optimizer = dataclasses.replace(optimizer, epsilon=1e-2)
    return more | {"optimizer": optimizer}


def main(dtype: str) -> int:
    """Compare, print what differs by more than rounding, and return how many settings do."""
    begun, count, refused, wrong, largest = time.process_time(), 0, 0, 0, 0.0
    for *rest, more in routes.settings():
        more = steady(more)
        found = routes.numbers((*rest, more), dtype)
        threads = {"threads": None} if "threads" in more else {}
        expected = routes.numbers((*rest, more | threads), dtype, "numpy")
        count += 1
        if isinstance(found, str) or isinstance(expected, str):
            refused += 1
            error = 0.0 if type(found) is type(expected) else np.inf
        else:
            pairs = zip(found, expected, strict=True)
            sizes = [(np.abs(a - b).max(), np.abs(b).max()) for a, b in pairs]
            error = max(apart / max(size, 1.0) for apart, size in sizes) / TOLERANCE[dtype]
        if not error <= 1:
            wrong += 1
            print(f"    {rest[0]}, {more}: {error:.3g} times the tolerance", flush=True)
        else:
            largest = max(largest, error)
    seconds = time.process_time() - begun
    print(
        f"{platform.machine()}, {processor().name}, {dtype}: {count} settings ({refused} refused), "
        f"{wrong} wrong, the others within {largest:.2g} of the tolerance; {seconds:.0f} s"
    )
    if "numba" in sys.modules:
        print("    something was compiled")
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) > 0)
