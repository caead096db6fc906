"""What the tests of CUDA kernels share: when they run, and how long a barrier of the simulator is."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator

import numba
import pytest


def nowhere_to_run() -> str:
    """Return why kernels cannot run here, or nothing."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed: pip install fastnn[cuda]"
    if numba.config.ENABLE_CUDASIM:
        return ""
    from numba import cuda

    if cuda.is_available():
        return ""
    return "no CUDA device, and no simulator: set NUMBA_ENABLE_CUDASIM=1"


@pytest.fixture(scope="session")
def running() -> Iterator[None]:
    """Let kernels run: on a device or in the simulator. Skips where there is neither."""
    if reason := nowhere_to_run():
        pytest.skip(reason)
    # Threads of the simulator wait for each other at every barrier, five milliseconds by default.
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)
