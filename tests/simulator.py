"""Numba's CUDA simulator for tests: whether kernels can run here, and barriers that do not poll."""

from __future__ import annotations

import importlib.util
import threading
from typing import Any

import numba
import numpy as np

SIMULATED = bool(numba.config.ENABLE_CUDASIM)


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
    """Let the simulator's threads sleep at a barrier until the last one comes.

    They look at each other in turns, a millisecond a barrier, and most of a test's time.
    """
    if SIMULATED:
        from numba.cuda.simulator import kernel

        kernel.BlockManager.run = _run_block


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
