"""Numba's CUDA simulator for tests: whether kernels can run here, and barriers that do not poll."""

from __future__ import annotations

import copy
import importlib.util
import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

SIMULATED = bool(numba.config.ENABLE_CUDASIM)
needs_speed = pytest.mark.skipif(SIMULATED, reason="takes minutes in Numba's simulator")


def nowhere_to_run() -> str:
    """Return why kernels can run neither on a device nor in the simulator, or nothing."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed: pip install 'fastnn[cuda]'"
    if SIMULATED:
        return ""
    from numba import cuda

    if cuda.is_available():
        return ""
    return "no CUDA device, and no simulator: set NUMBA_ENABLE_CUDASIM=1"


def quicken() -> None:
    """Let the simulator's threads sleep at a barrier, and launches of several callers take turns.

    Otherwise its threads look at each other in turns, a millisecond a barrier, which is most of a
    test's time; and a launch beside another one is an error, which it is not on a device.
    """
    if SIMULATED:
        from numba.cuda.simulator import kernel

        if kernel.BlockManager.run is not _run_block:
            kernel.BlockManager.run = _run_block
            kernel._get_kernel_context = _context_of(kernel)
            kernel.FakeCUDAKernel.__call__ = _in_turns(kernel.FakeCUDAKernel.__call__)
            kernel.FakeCUDAKernel.__getitem__ = _configured(kernel.FakeCUDAKernel.__getitem__)


def _context_of(kernel: Any) -> Callable[[], Any]:
    """Stand for ``_get_kernel_context``: only threads of a kernel are within one."""

    def context() -> Any:
        within = isinstance(threading.current_thread(), kernel.BlockThread)
        return kernel._kernel_context if within else None

    return context


def _in_turns(call: Callable[..., Any]) -> Callable[..., Any]:
    """Stand for ``FakeCUDAKernel.__call__``: one launch at a time."""
    turn = threading.Lock()

    def launch(self: Any, *arguments: Any) -> Any:
        with turn:
            return call(self, *arguments)

    return launch


def _configured(getitem: Callable[..., Any]) -> Callable[..., Any]:
    """Stand for ``FakeCUDAKernel.__getitem__``: a kernel keeps its grid from other callers."""
    return lambda self, configuration: getitem(copy.copy(self), configuration)


def _run_block(manager: Any, block: Any, *arguments: Any) -> None:
    """Stand for ``BlockManager.run``: run all threads of one block to their end."""
    from numba.cuda.simulator.kernel import BlockThread

    lock = threading.RLock()
    live, waiting = 0, []  # threads that have not ended; locks of those that are at a barrier

    def let_go() -> None:
        """Open the barrier if all are there; the caller holds the lock."""
        if any(thread.exception for thread in threads):
            for thread in threads:
                thread.abort = True
        elif len(waiting) < live:
            return
        for each in waiting:
            each.release()
        waiting.clear()

    class Thread(BlockThread):
        def run(self) -> None:
            nonlocal live
            super().run()
            with lock:
                live -= 1
                let_go()

        def syncthreads(self) -> None:
            own = threading.Lock()
            own.acquire()
            with lock:
                waiting.append(own)
                let_go()
            own.acquire()
            if self.abort:
                raise RuntimeError("another thread of the block failed")

    threads = [
        Thread(lambda: manager._f(*arguments), manager, block, place, manager._debug)
        for place in np.ndindex(*manager._block_dim)
    ]
    live = len(threads)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    faults = [thread.exception for thread in threads if thread.exception]
    own = [each for each in faults if "another thread of the block" not in str(each[0])]
    for error, trace in own or faults:
        raise error.with_traceback(trace)
