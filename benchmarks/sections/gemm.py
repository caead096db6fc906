"""Matrix products alone, beside the FMA peak measured in the same run; see products.py."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from libraries import Settings
from markdown_tables import Table
from numba import njit
from processes import cores
from products import FLOAT32, peak, rate
from timing import SECONDS, best_seconds, of_calls

SHAPES = [(n, n, n) for n in (128, 256, 512, 1024, 2048)]
SHAPES += [(128, 2048, 128), (2048, 128, 2048), (512, 784, 128), (64, 784, 128)]
TINY = (32, 20, 32)
QUICK_SECONDS = 0.02

TEXT = """\
Matrix products of fastnn alone, float32. A is in panels, as a layer leaves it for the next, or the
caller's rows are read in place, as in a first layer. The loop nest is three loops compiled by Numba
for the very shape."""


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


def tables(settings: Settings) -> list[Table]:
    """Return the outline: the peak, and a row for each shape."""
    rows = {"peak": "FMA peak, registers only"}
    rows |= {name_of(shape): name_of(shape) for shape in (*SHAPES, TINY)}
    heads = ("1 thread", "all threads")
    in_place = (f"in place, {head}" for head in heads)
    return [Table(("m x k x n, GFLOP/s (of peak)", *heads, *in_place), rows)]


def name_of(shape: tuple[int, int, int]) -> str:
    """Return m x k x n."""
    return " x ".join(map(str, shape))


def measure(settings: Settings, table: Table) -> Iterator[str]:
    """Time the products."""
    yield from table.head()
    seconds = QUICK_SECONDS if settings.quick else SECONDS
    teams = (1, cores())
    peaks = {threads: peak(FLOAT32, threads, seconds) for threads in set(teams)}
    rates = {"peak": list(peaks.values())}
    yield table.line("peak", *(f"{peaks[threads]:.0f}" for threads in teams))
    for shape in SHAPES:
        found = [
            (rate(layout, FLOAT32, shape, threads, seconds), peaks[threads])
            for layout in ("in panels", "in place")
            for threads in teams
        ]
        rates[name_of(shape)] = [each for each, _ in found]
        yield table.line(
            name_of(shape), *(f"{each:.0f} ({each / most:.0%})" for each, most in found)
        )
    tiny, nest = rate("in panels", FLOAT32, TINY, 1, seconds), loop_nest_rate(TINY)
    rates[name_of(TINY)] = [tiny, nest]
    yield table.line(name_of(TINY), f"{tiny:.0f}, loop nest {nest:.0f}")
    settings.record["gemm"] = rates
