"""numba-cuda is imported as fastnn does it, whatever NumPy has no more and warns of."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from simulator import SIMULATED

HERE = Path(__file__).parent

WITHOUT = """
import os
from pathlib import Path

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

# What a device's path has beside that: machine code, which is kept, and a launch.
import test_kept

with test_kept.absent_device():
    assert test_kept.machine_code()
assert [*Path(os.environ["FASTNN_CACHE_DIR"]).glob("*/cuda-*.kernel")]

import host_driver

host_driver.install()
from fastnn.targets.cuda.host.reader import DeviceReader

memory = DeviceReader().converted(cuda.to_device(np.ones((3, 2))), np.dtype("f4"))
assert memory.dtype == "f4" and host_driver.launches[-1].name == "convert"
assert not hasattr(np, "row_stack")
"""


@pytest.mark.skipif(SIMULATED, reason="the simulator compiles nothing")
@pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="no numba_cuda here: pip install numba-cuda[cu13]"
)
def test_kernels_compile_and_run_with_a_numpy_without_row_stack(tmp_path: Path) -> None:
    paths = [str(HERE.parents[1]), str(HERE.parent), str(HERE)]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "FASTNN_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT],
        env=os.environ | environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
