"""That running PTX in NumPy finds what it is there to find."""

from __future__ import annotations

from typing import Any

import cubin
import numpy as np
import ptx
import pytest


@pytest.fixture(autouse=True)
def _compiler() -> None:
    if reason := cubin.missing():
        pytest.skip(reason)


def compiled(function: Any) -> str:
    from numba import float32, int64

    return cubin.compile_ptx(function, (float32[::1], int64), (8, 0))


def turned(barrier: bool) -> Any:
    from numba import cuda, float32, uint64

    def kernel(memory, size):
        shared = cuda.shared.array(64, float32)
        thread = cuda.threadIdx.x
        shared[thread] = memory[uint64(cuda.blockIdx.x * size + thread)]
        if barrier:
            cuda.syncthreads()
        memory[uint64(cuda.blockIdx.x * size + thread)] = shared[size - 1 - thread]

    return kernel


def test_blocks_run_to_their_ends() -> None:
    memory = np.arange(128, dtype=np.float32)
    ptx.run(compiled(turned(barrier=True)), 2, 64, memory, 64)
    np.testing.assert_array_equal(memory.reshape(2, 64)[:, ::-1].ravel(), np.arange(128))


def test_a_missing_barrier_is_a_race() -> None:
    with pytest.raises(ptx.Wrong, match="race"):
        ptx.run(compiled(turned(barrier=False)), 1, 64, np.zeros(64, np.float32), 64)


def test_a_read_outside_is_found() -> None:
    with pytest.raises(ptx.Wrong, match="outside array 0"):
        ptx.run(compiled(turned(barrier=True)), 1, 64, np.zeros(63, np.float32), 64)


def test_bank_conflicts_are_counted() -> None:
    from numba import cuda, float32, uint64

    def kernel(memory, stride):
        shared = cuda.shared.array(1024, float32)
        shared[uint64(cuda.threadIdx.x * stride)] = memory[0]

    code = compiled(kernel)
    for stride, times in [(1, 1), (2, 2), (32, 32), (33, 1)]:
        asked = ptx.run(code, 1, 31, np.zeros(4, np.float32), stride)
        assert list(asked.values()) == [(31 if times == 32 else times, 1)]
