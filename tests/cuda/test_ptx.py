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


def moved(write: int, read: int) -> Any:
    """Return a kernel in which thread t of block b writes and then reads device memory."""
    from numba import cuda, uint64

    def kernel(memory, size):
        thread = cuda.threadIdx.x
        own = cuda.blockIdx.x * size + thread
        memory[uint64(own + write)] = thread
        memory[uint64(4096 + own)] = memory[uint64(own + read)]

    return kernel


@pytest.mark.parametrize(
    ("write", "read", "raced"),
    [
        (0, 0, False),
        (0, 1, True),  # what the next thread wrote, or nobody
        (0, 32, True),  # what the next block wrote, or nobody: blocks are of 32 threads
        (32, 0, True),  # what the block before wrote, or nobody
        (512, 1024, False),
    ],
)
def test_races_in_the_device_s_memory(write: int, read: int, raced: bool) -> None:
    code, memory = compiled(moved(write, read)), np.zeros(8192, np.float32)
    if not raced:
        ptx.run(code, 2, 32, memory, 32)
        return
    with pytest.raises(ptx.Wrong, match="race"):
        ptx.run(code, 2, 32, memory, 32)


def test_numbers_are_those_of_python() -> None:
    from numba import cuda, int64, uint64

    def kernel(memory, size):
        i = int64(cuda.threadIdx.x)
        n = i - 20
        x = memory[uint64(i)]
        found = int64(n / size) * 0 + int(n // size) * 100 + n % size
        found += (uint64(i) * uint64(0x9E3779B97F4A7C15)) >> uint64(60)
        below = 1 if x < 3 else 0
        not_above = 2 if not x > 3 else 0
        differs = 4 if x != 3 else 0
        memory[uint64(64 + i)] = found
        memory[uint64(128 + i)] = below + not_above + differs

    memory = np.zeros(192, np.float32)
    memory[:64] = np.arange(64) / 4
    memory[40:] = np.nan
    before = memory[:64].copy()
    ptx.run(compiled(kernel), 1, 64, memory, 7)
    for i, x in enumerate(before.tolist()):
        expected = (i - 20) // 7 * 100 + (i - 20) % 7 + ((i * 0x9E3779B97F4A7C15 % 2**64) >> 60)
        assert memory[64 + i] == expected
        assert memory[128 + i] == (x < 3) + 2 * (not x > 3) + 4 * (x != 3)
