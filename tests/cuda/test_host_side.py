"""What the host does around kernels, with Numba's own code, where no device is at hand.

The simulator has arrays, streams and launches of its own, and is lenient. Here they are those of
numba-cuda, over a fake driver (see `host_driver`). But in one case kernels do nothing,
so that numbers mean nothing. Warnings are errors.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from simulator import SIMULATED

HERE = Path(__file__).parent

CASES = {
    "everything": "training, prediction and gradients, with kernels compiled once",
    "few_rows": "fewer rows than a batch have kernels of their own, which are prepared",
    "shared_memory": "a launch asks for its limit of shared memory first",
    "memory_of_data": "data of earlier calls take no memory of the device",
    "device_arrays": "arrays on the device are read in place",
    "streamed": "data that do not fit come in chunks",
    "several": "several networks at once",
    "refused": "what a device does not take is an error that says so",
    "elsewhere": "arrays on another device are refused",
    "current": "without a number, a device is the current one and arrays are where they are",
    "two_devices": "an engine works on its own device in every thread",
    "worthless_capture": "steps are launched kernel by kernel where CUDA captures no graph",
    "numbers": "compiled kernels, run instruction by instruction, agree with the NumPy target",
    "failure": "a device that is lost leaves the parameters of the last good epoch",
}


@pytest.mark.parametrize("case", CASES)
def test_the_host_does_its_part(case: str) -> None:
    if SIMULATED:
        pytest.skip("is not about the simulator, and runs without it")
    if find_spec("numba_cuda") is None:
        pytest.skip("no numba_cuda here: pip install numba-cuda[cu13]")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE)])}
    environment.pop("NUMBA_ENABLE_CUDASIM", None)
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", HERE / "host_side.py", case],
        env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr or done.stdout
