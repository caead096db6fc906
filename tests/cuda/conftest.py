"""What the tests of CUDA kernels share: when they run."""

from __future__ import annotations

import pytest
from simulator import nowhere_to_run, quicken


@pytest.fixture(scope="session")
def running() -> None:
    """Let kernels run: on a device or in the simulator. Skips where there is neither."""
    if reason := nowhere_to_run():
        pytest.skip(reason)
    quicken()
