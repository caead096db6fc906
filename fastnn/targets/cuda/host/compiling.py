"""Compiling all that a training needs, on all processors.

Numba compiles in Python, where one thread works at a time. So other processes, which need no
device, compile a share each into the folder of kernels, and this one loads what they have made. A
share that comes to nothing is compiled here.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fastnn.storage.kernels.kernel_cache import folder
from fastnn.targets.cuda.host.arguments import Family
from fastnn.targets.cuda.host.launching import compile_now
from fastnn.targets.cuda.host.numba_cuda import SIMULATED, Limits, pretend_device
from fastnn.threads.processors import available_threads

# Kernels that a process compiles at least: it takes as long as one of them to begin.
SHARE = 2
# Looks for modules where this process does. What `site` does comes before: numba-cuda needs it.
_OTHER = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from fastnn.targets.cuda.host.compiling import compile_share
compile_share(sys.stdin.buffer.read())
"""
# Several trainings that begin at once want the same kernels.
_compiling = threading.Lock()


def compile_all(family: Family, limits: Limits, samples: int, predicts: bool = False) -> None:
    """Compile the kernels with which a family trains on so many rows, for the current device.

    And those that predict, if there will be predictions.
    """
    if SIMULATED:
        return
    with _compiling:
        wanted = _wanted(family, samples, predicts)
        missing = [
            number
            for number, (kernel, types) in enumerate(wanted)
            if types not in kernel.overloads and not kernel._cache.has(types)
        ]
        count = max(1, min(available_threads(), len(missing) // SHARE))
        made = family, limits, samples, predicts
        with _others([(*made, missing[first::count]) for first in range(1, count)]):
            for number in missing[::count]:
                kernel, types = wanted[number]
                compile_now(kernel, *types)
        for kernel, types in wanted:
            compile_now(kernel, *types)


@contextmanager
def _others(shares: list[tuple[Any, ...]]) -> Iterator[None]:
    """Have other processes compile shares meanwhile; wait for them in the end."""
    able = shares and sys.executable and not getattr(sys, "frozen", False)
    able = able and os.access(folder(), os.W_OK)
    paths = json.dumps([path for path in sys.path if isinstance(path, str)])
    processes: list[subprocess.Popen[bytes]] = []
    try:
        # OSError: no process can be started. The others: a formula of the user's stays here.
        with suppress(OSError, pickle.PicklingError, AttributeError, TypeError):
            for share in shares if able else []:
                given = pickle.dumps(share)
                process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _OTHER, paths],
                    env=os.environ | {"FASTNN_CACHE_DIR": str(folder().parent)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
                processes.append(process)
                assert process.stdin is not None
                process.stdin.write(given)
                process.stdin.close()
        yield
        for process in processes:
            process.wait()
    finally:
        for process in processes:
            process.kill()
            process.wait()


def compile_share(given: bytes) -> None:
    """Compile a share in a process of its own, for the device that another one has."""
    family, limits, samples, predicts, numbers = pickle.loads(given)
    pretend_device(limits.capability)
    wanted = _wanted(family, samples, predicts)
    for number in numbers:
        kernel, types = wanted[number]
        compile_now(kernel, *types)


def _wanted(family: Family, samples: int, predicts: bool) -> list[tuple[Any, tuple[Any, ...]]]:
    """Return the kernels that `compile_all` compiles, with their arguments' types."""
    return [*family.kernels(samples), *(family.predicting() if predicts else [])]
