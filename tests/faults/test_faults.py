"""The short form of every fault; ``python tests/faults --long`` is the long one."""

import sys

import pytest
from fault_table import load
from numba import config
from simulator import SIMULATED

from fastnn.sanitizer import CHECKED

if sys.platform == "win32":
    pytest.skip("needs POSIX signals, forks and limits", allow_module_level=True)

PARTS = {name: each for name, each in load().items() if each.short}


@pytest.mark.skipif(bool(config.DISABLE_JIT or SIMULATED), reason="needs compiled kernels")
@pytest.mark.parametrize("name", PARTS)
def test_nothing_is_lost_and_nothing_crashes(name):
    if CHECKED and "cache" in name:
        pytest.skip("checked code is kept elsewhere")
    count = PARTS[name].run(PARTS[name].short)
    assert count.tries > 0
    assert not count.broken, count.broken[0]
