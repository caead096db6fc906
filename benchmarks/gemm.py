"""Matrix products alone, as a fraction of the FMA peak measured in the same run.

    python benchmarks/gemm.py

prints a table for float32, A in panels and A in place; see products.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from numba import njit
from products import FLOAT32, peak, rate
from timing import best_seconds, of_calls

SHAPES = [(n, n, n) for n in (128, 256, 512, 1024, 2048)]
SHAPES += [(128, 2048, 128), (2048, 128, 2048), (512, 784, 128), (64, 784, 128)]
TINY = (32, 20, 32)


def loop_nest_rate(shape: tuple[int, int, int]) -> float:
    """Return GFLOP/s of three loops compiled for the very shape, row-major."""
    m, k, n = shape
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
    C = np.zeros((m, n), np.float32)
    repeats = 100

    @njit(nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy")
    def nest(A, B, C):
        for _ in range(repeats):
            for i in range(m):
                for j in range(n):
                    C[i, j] = 0
                for s in range(k):
                    for j in range(n):
                        C[i, j] += A[i, s] * B[s, j]

    nest(A, B, C)
    return 2.0 * m * k * n * repeats / best_seconds(of_calls(lambda: nest(A, B, C))) / 1e9


def lines() -> Iterator[str]:
    """Yield the table in Markdown."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    teams = sorted({1, cores})
    peaks = {threads: peak(FLOAT32, threads) for threads in teams}
    heads = [f"{t} thread{'s' * (t > 1)}" for t in teams]
    heads += [f"in place, {head}" for head in heads]
    yield f"| m x k x n, GFLOP/s (of peak) | {' | '.join(heads)} |"
    yield "|---" * (1 + len(heads)) + "|"
    rest = " | " * len(teams)
    yield f"| FMA peak, registers only | {' | '.join(f'{peaks[t]:.0f}' for t in teams)}{rest} |"
    for shape in SHAPES:
        cells = []
        for layout in "in panels", "in place":
            for threads in teams:
                found = rate(layout, FLOAT32, shape, threads)
                cells.append(f"{found:.0f} ({found / peaks[threads]:.0%})")
        yield f"| {' x '.join(map(str, shape))} | {' | '.join(cells)} |"
    tiny, nest = rate("in panels", FLOAT32, TINY, 1), loop_nest_rate(TINY)
    rest = " | " * (len(heads) - 1)
    yield f"| {' x '.join(map(str, TINY))} | {tiny:.0f}, loop nest {nest:.0f}{rest} |"


if __name__ == "__main__":
    for line in lines():
        print(line, flush=True)
