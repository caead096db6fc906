"""Numba's CUDA simulator for tests: whether kernels can run here, and threads that take turns."""

from __future__ import annotations

import copy
import importlib.util
import itertools
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
        found = importlib.util.find_spec("greenlet")
        return "" if found else "no greenlet here: pip install 'fastnn[cuda-test]'"
    from fastnn.targets.cuda.host.numba_cuda import cuda

    if cuda.is_available():
        return ""
    return "no CUDA device, and no simulator: set NUMBA_ENABLE_CUDASIM=1"


def quicken() -> None:
    """Let the simulator's threads, and launches of several callers, take turns.

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

    arguments = tuple(map(bare, arguments))

    class Thread(Turns, BlockThread):
        pass

    threads = [
        Thread(lambda: manager._f(*arguments), manager, block, place, manager._debug)
        for place in np.ndindex(*manager._block_dim)
    ]
    for turn in itertools.count():
        # Each up to its next barrier, which other threads that have ended do not keep closed. An
        # order and its reverse in turns: where a barrier is missing, one of them may tell.
        for thread in reversed(threads) if turn % 2 else threads:
            thread.go_on()
            if thread.exception:
                error, trace = thread.exception
                raise error.with_traceback(trace)
        threads = [thread for thread in threads if thread.within]
        if not threads:
            return


def bare(argument: Any) -> Any:
    """Return an argument of a kernel with NumPy's own arrays in it.

    What the simulator puts around them answers as they do, in three calls for one.
    """
    if isinstance(argument, tuple):
        parts = map(bare, argument)
        return type(argument)(*parts) if hasattr(argument, "_fields") else tuple(parts)
    argument = getattr(argument, "_item", argument)
    return getattr(argument, "_ary", argument)


class Turns:
    """What makes a thread of the simulator run only when it is told to, within its caller's.

    A thread of the system for each would be most of a test's time, and more so beside other
    processes. `threading.current_thread` is what tells them apart.
    """

    within: Any = None  # where it runs, once it does

    def go_on(self) -> None:
        """Run from the start, or from the barrier where it is, to the next one or the end."""
        from greenlet import greenlet

        if self.within is None:
            self.within = greenlet(self.run)
        place, caller = threading.get_ident(), threading.current_thread()
        threading._active[place] = self
        try:
            self.within.switch()
        finally:
            threading._active[place] = caller

    def syncthreads(self) -> None:
        """Wait for the others."""
        self.within.parent.switch()
