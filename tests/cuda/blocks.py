"""Run a kernel of several blocks that wait for each other, which Numba's simulator cannot.

Threads run one at a time, each up to its next barrier, in an order that is the caller's choice, so
what comes out is the same in every run. An order and its reverse together show a missing barrier:
in one of them a thread reads before another one, which it should have waited for, has written.
Threads that wait at different barriers, or have ended while others of their block wait, are errors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.cuda.simulator import kernel as simulator
from numba.cuda.simulator.kernelapi import Dim3, FakeCUDAModule
from simulator import Turns, bare

BLOCK, GRID, DONE = "syncthreads", "the barrier of the grid", "the end"


class _Thread(Turns):
    """A thread of a block, and the barrier that it is at."""

    def __init__(self, body: Callable[[], None], module: Any, block: int, index: int) -> None:
        self.run, self.module, self.at = body, module, ""
        self.blockIdx, self.threadIdx = Dim3(block, 0, 0), Dim3(index, 0, 0)
        self.thread_id = index

    def syncthreads(self) -> None:
        self.wait_at(BLOCK)

    def wait_at(self, barrier: str) -> None:
        self.at = barrier
        super().syncthreads()

    def step(self) -> None:
        """Run up to the next barrier."""
        self.at = DONE
        self.go_on()


class _Group:
    def this_grid(self) -> _Group:
        return self

    def sync(self) -> None:
        threading.current_thread().wait_at(GRID)


class _Module(FakeCUDAModule):
    """What `cuda` is in a kernel, with shared memory of each block's own."""

    def __init__(self, blocks: int, threads: int, shared_bytes: int) -> None:
        super().__init__((blocks, 1, 1), (threads, 1, 1), shared_bytes)
        self._cg = _Group()


def run_grid(
    function: Callable[..., None],
    blocks: int,
    threads: int,
    shared_bytes: int,
    *arguments: Any,
    backwards: bool = False,
) -> int:
    """Run the Python function of a kernel; return how many barriers of the grid it came to.

    `backwards`: the last block first, and of each block the last thread.
    """
    given = [bare(each) for each in arguments]

    def body() -> None:
        with np.errstate(all="ignore"):
            function(*given)

    grid = []
    for block in range(blocks):
        module = _Module(blocks, threads, shared_bytes)
        grid.append([_Thread(body, module, block, index) for index in range(threads)])
    before, barriers = simulator._get_kernel_context, 0
    simulator._get_kernel_context = lambda: getattr(threading.current_thread(), "module", None)
    try:
        while True:
            for team in reversed(grid) if backwards else grid:
                _run_block(team[::-1] if backwards else team)
            places = {thread.at for team in grid for thread in team}
            assert len(places) == 1, f"threads of one grid wait at {places}"
            if places == {DONE}:
                return barriers
            barriers += 1
    finally:
        simulator._get_kernel_context = before


def _run_block(team: list[_Thread]) -> None:
    """Run the threads of a block until all wait for other blocks, or have ended."""
    while True:
        for thread in team:
            thread.step()
        places = {thread.at for thread in team}
        assert len(places) == 1, f"threads of one block wait at {places}"
        if places != {BLOCK}:
            return
