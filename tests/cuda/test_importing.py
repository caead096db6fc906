"""numba-cuda is imported as fastnn does it, whatever NumPy has no more and warns of."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest
from simulator import SIMULATED

WITHOUT = """
import numpy as np

if hasattr(np, "row_stack"):
    del np.row_stack
    np.__all__ = [name for name in np.__all__ if name != "row_stack"]
from fastnn.targets.cuda.host.numba_cuda import cuda
from numba import float32


def plus_one(a):
    a[cuda.grid(1)] += 1


assert ".entry" in cuda.compile_ptx(plus_one, (float32[::1],), cc=(9, 0))[0]
assert not hasattr(np, "row_stack")
"""


@pytest.mark.skipif(SIMULATED, reason="the simulator compiles nothing")
@pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="no numba_cuda here: pip install numba-cuda[cu13]"
)
def test_kernels_compile_with_a_numpy_without_row_stack() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT], capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
