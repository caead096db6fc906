"""The short form of every fault; ``python tests/faults --long`` is the long one."""

import pytest
from ctrl_c import needs_signals
from fault_table import load
from numba import config
from simulator import SIMULATED

PARTS = load()


@needs_signals
@pytest.mark.skipif(bool(config.DISABLE_JIT or SIMULATED), reason="needs compiled kernels")
@pytest.mark.parametrize("name", PARTS)
def test_nothing_is_lost_and_nothing_crashes(name):
    count = PARTS[name].run(PARTS[name].short)
    assert count.tries > 0
    assert not count.broken, count.broken[0]
