"""Matrix products alone, as a fraction of the FMA peak measured in the same run.

The products are those of the forward pass, done by the engine's own functions. B is a weight
matrix in panels, as the engine keeps it, and C is left in panels. A is in panels too, as the layer
before left it; or it is the caller's row-major array, which first layers of up to 512 outputs
read in place. With more than one thread, each takes its own columns.

    python benchmarks/gemm.py
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from fastnn.cpu.gemm import make_gemm
from fastnn.cpu.rules import EXACT
from fastnn.cpu.sources import ADDRESS, ROW_STRIDE, make_sources
from fastnn.cpu.vector import INT64, loop, register_shape, vector_bytes
from fastnn.layout import Layout
from fastnn.plan import MOST_LOOK_ROWS

DTYPE = np.dtype(np.float32)
SHAPE = register_shape(DTYPE)
LAYOUT = Layout(SHAPE.lanes, SHAPE.panel)
SHAPES = [(n, n, n) for n in (128, 256, 512, 1024, 2048)]
SHAPES += [(128, 2048, 128), (2048, 128, 2048), (512, 784, 128), (64, 784, 128)]
TINY = (32, 20, 32)
ROWS = MOST_LOOK_ROWS  # rows that are read in place at a time
CHAINS = 16  # independent sums, more than latency times units of any processor
SECONDS = 0.15


@intrinsic
def fused_chains(typingctx: Any, count: Any) -> Any:
    """Do `count` rounds of CHAINS independent fused multiply-adds on vectors held in registers."""
    lanes = vector_bytes() // DTYPE.itemsize
    vector = ir.VectorType(ir.FloatType(), lanes)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name = f"llvm.fmuladd.v{lanes}f32"
        module = builder.module
        fma = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(vector, [vector] * 3), name
        )
        factor = ir.Constant(vector, [ir.Constant(ir.FloatType(), 0.5)] * lanes)
        start = [
            ir.Constant(vector, [ir.Constant(ir.FloatType(), float(i))] * lanes)
            for i in range(CHAINS)
        ]

        def body(builder: Any, index: Any, sums: list[Any]) -> list[Any]:
            return [builder.call(fma, [value, factor, factor]) for value in sums]

        sums = loop(builder, args[0], start, body)
        total = sums[0]
        for value in sums[1:]:
            total = builder.fadd(total, value)
        return builder.extract_element(total, INT64(0))

    return types.float32(types.int64), codegen


@njit(nogil=True)
def peak_rounds(count: int) -> Any:
    """Run the register-only loop."""
    return fused_chains(count)


def make_products() -> tuple[Any, Any]:
    """Return the products with A in panels and with A in place.

    ``product(memory, sources, order, used, m, k, n, p0, p1, a, b, c, repeats)``
    """
    gemm = make_gemm(DTYPE, SHAPE)
    multiply, multiply_caller, zero = gemm.multiply, gemm.multiply_caller, np.int64(0)

    @njit(nogil=True, **EXACT)
    def in_panels(memory, sources, order, used, m, k, n, p0, p1, a, b, c, repeats):
        for _ in range(repeats):
            multiply(memory, a, m | 1, k, zero, m, b, k + 1, k, p0, p1, n, c)

    @njit(nogil=True, **EXACT)
    def in_place(memory, sources, order, used, m, k, n, p0, p1, a, b, c, repeats):
        address, stride = sources[0, ADDRESS], sources[0, ROW_STRIDE]
        for _ in range(repeats):
            for row in range(0, m, ROWS):
                end = min(m, row + ROWS)
                multiply_caller(memory, order, zero, zero, p1 - p0, address, stride, k, used, zero,
                                k, row, end, b, p0, p1, n, c, m | 1)  # fmt: skip

    return in_panels, in_place


def best_rate(run: Callable[[int, int], None], flops: float, threads: int) -> float:
    """Return the best GFLOP/s of several timings of run(thread, repeats) on a team of threads."""

    def timed(repeats: int) -> float:
        team = [threading.Thread(target=run, args=(me, repeats)) for me in range(threads)]
        start = time.perf_counter()
        for member in team:
            member.start()
        for member in team:
            member.join()
        return time.perf_counter() - start

    repeats = 1
    while (seconds := timed(repeats)) < SECONDS / 4:
        repeats *= 2
    repeats = max(1, int(repeats * SECONDS / seconds))
    return flops * repeats / min(timed(repeats) for _ in range(5)) / 1e9


def peak(threads: int) -> float:
    """Return the measured peak in GFLOP/s."""
    rounds = 100_000
    flops = 2.0 * CHAINS * SHAPE.lanes * rounds * threads
    # Three times over: a moment of another process's work here would flatter all that follows.
    return max(
        best_rate(lambda me, repeats: peak_rounds(rounds * repeats), flops, threads)
        for _ in range(3)
    )


def rate(product: Any, shape: tuple[int, int, int], threads: int) -> float:
    """Return GFLOP/s of one product on all threads."""
    m, k, n = shape
    a_size, b_size = (m | 1) * LAYOUT.padded(k), (k + 1) * LAYOUT.padded(n)
    c_size = (m | 1) * LAYOUT.padded(n)
    rng = np.random.default_rng(0)
    A = rng.standard_normal((m, k), np.float32)
    B = np.vstack([rng.standard_normal((k, n), np.float32), np.zeros((1, n), np.float32)])
    raw = np.zeros(a_size + b_size + c_size + 64, np.float32)
    memory = raw[-raw.ctypes.data % 64 // 4 :]
    b, c = a_size, a_size + b_size
    LAYOUT.split(np.vstack([A, np.zeros(((m | 1) - m, k), np.float32)]), memory[:b])
    LAYOUT.split(B, memory[b:c])
    panels = LAYOUT.panels(n)
    order, used, sources = np.arange(m), np.arange(k), make_sources(A)

    def run(me: int, repeats: int) -> None:
        p0, p1 = me * panels // threads, (me + 1) * panels // threads
        product(memory, sources, order, used, m, k, n, p0, p1, 0, b, c, repeats)

    run(0, 1)
    result = best_rate(run, 2.0 * m * k * n, threads)
    found = np.empty((m | 1, n), np.float32)
    LAYOUT.join(memory[c : c + c_size], found)
    np.testing.assert_allclose(found[:m], A @ B[:k], rtol=1e-3, atol=1e-3)
    return result


def loop_nest_rate(shape: tuple[int, int, int]) -> float:
    """Return GFLOP/s of three loops compiled for the very shape, row-major."""
    m, k, n = shape
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
    C = np.zeros((m, n), np.float32)

    @njit(nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy")
    def nest(A, B, C, repeats):
        for _ in range(repeats):
            for i in range(m):
                for j in range(n):
                    C[i, j] = 0
                for s in range(k):
                    for j in range(n):
                        C[i, j] += A[i, s] * B[s, j]

    nest(A, B, C, 1)
    return best_rate(lambda me, repeats: nest(A, B, C, repeats), 2.0 * m * k * n, 1)


def lines() -> Iterator[str]:
    """Yield the table in Markdown."""
    in_panels, in_place = make_products()
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    teams = sorted({1, cores})
    peak_rounds(1)
    peaks = {threads: peak(threads) for threads in teams}
    heads = [f"{t} thread{'s' * (t > 1)}" for t in teams]
    heads += [f"in place, {head}" for head in heads]
    yield f"| m x k x n, GFLOP/s (of peak) | {' | '.join(heads)} |"
    yield "|---" * (1 + len(heads)) + "|"
    rest = " | " * len(teams)
    yield f"| FMA peak, registers only | {' | '.join(f'{peaks[t]:.0f}' for t in teams)}{rest} |"
    for shape in SHAPES:
        cells = []
        for product in in_panels, in_place:
            for threads in teams:
                found = rate(product, shape, threads)
                cells.append(f"{found:.0f} ({found / peaks[threads]:.0%})")
        yield f"| {' x '.join(map(str, shape))} | {' | '.join(cells)} |"
    tiny, nest = rate(in_panels, TINY, 1), loop_nest_rate(TINY)
    rest = " | " * (len(heads) - 1)
    yield f"| {' x '.join(map(str, TINY))} | {tiny:.0f}, loop nest {nest:.0f}{rest} |"


if __name__ == "__main__":
    for line in lines():
        print(line, flush=True)
