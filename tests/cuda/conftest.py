"""What the tests of CUDA kernels share: when they run."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import pytest
from simulator import nowhere_to_run, quicken

if find_spec("numba_cuda") is not None:
    # Comes first: it knows how to import numba.cuda, whatever NumPy there is.
    import_module("fastnn.targets.cuda.host.numba_cuda")


@pytest.fixture(scope="session")
def running() -> None:
    """Let kernels run: on a device or in the simulator. Skips where there is neither."""
    if reason := nowhere_to_run():
        pytest.skip(reason)
    quicken()
