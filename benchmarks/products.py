"""The engine's matrix products and the FMA peak, each alone: GFLOP/s in float32 and float64.

The products are those of the forward pass, done by the engine's own functions. B is a weight
matrix in panels, as the engine keeps it, and C is left in panels. A is "in panels" too, as the
layer before left it; or it is "in place": the caller's row-major array, which first layers of up to
512 outputs read where it lies. With more than one thread, each takes its own columns.

The entry points are compiled once and kept in fastnn's cache, as those of the engine are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from kept_code import compiled
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from timing import SECONDS, best_seconds, of_team

from fastnn.storage.kernels.compiling import as_array
from fastnn.storage.kernels.machine import few_registers, register_shape, vector_bytes
from fastnn.targets.cpu.arguments import ADDRESS, ROW_STRIDE, make_strided_views
from fastnn.targets.cpu.llvm.rule_loops import EXACT
from fastnn.targets.cpu.llvm.vectors import INT64, llvm_real, loop
from fastnn.targets.cpu.plan import LIST_SLACK
from fastnn.targets.cpu.products.gemm import make_gemm
from fastnn.targets.cpu.tiling import LOOK_ROWS
from fastnn.targets.layout import Layout

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
ROWS = LOOK_ROWS  # rows that are read in place at a time
# Independent sums, more than latency times units of any processor; together with what each is
# multiplied by they stay in its registers.
CHAINS = 12 if few_registers() else 16
PEAK_ROUNDS = 100_000


def make_chains(dtype: np.dtype) -> Any:
    """Return ``chains(count)``: rounds of CHAINS independent fused multiply-adds in registers."""
    lanes, real = vector_bytes() // dtype.itemsize, llvm_real(dtype)
    vector = ir.VectorType(real, lanes)

    @intrinsic
    def chains(typingctx: Any, count: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            name = f"llvm.fmuladd.v{lanes}f{8 * dtype.itemsize}"
            module = builder.module
            fma = module.globals.get(name) or ir.Function(
                module, ir.FunctionType(vector, [vector] * 3), name
            )
            factor = ir.Constant(vector, [ir.Constant(real, 0.5)] * lanes)
            # From 1, which x / 2 + 1 / 2 leaves as it is, a chain would be no work for a compiler.
            start = [
                ir.Constant(vector, [ir.Constant(real, i + 2.0)] * lanes) for i in range(CHAINS)
            ]

            def body(builder: Any, index: Any, sums: list[Any]) -> list[Any]:
                return [builder.call(fma, [value, factor, factor]) for value in sums]

            sums = loop(builder, args[0], start, body)
            total = sums[0]
            for value in sums[1:]:
                total = builder.fadd(total, value)
            return builder.extract_element(total, INT64(0))

        return getattr(types, dtype.name)(types.int64), codegen

    return chains


def make_products(dtype: np.dtype) -> tuple[Any, Any]:
    """Return the products with A in panels and with A in place (not yet compiled)."""
    gemm = make_gemm(dtype, register_shape(dtype))
    multiply, multiply_caller, zero = gemm.multiply, gemm.multiply_caller, np.int64(0)

    @njit(**EXACT)
    def in_panels(memory, m, k, n, p0, p1, a, b, c, repeats):
        for _ in range(repeats):
            multiply(memory, a, m | 1, k, zero, m, b, k + 1, k, p0, p1, n, c)

    @njit(**EXACT)
    def in_place(memory, strided, order, nonzero, m, k, n, p0, p1, b, c, repeats):
        address, stride = strided[ADDRESS], strided[ROW_STRIDE]
        for _ in range(repeats):
            for row in range(0, m, ROWS):
                end = min(m, row + ROWS)
                multiply_caller(memory, order, zero, zero, p1 - p0, address, stride, k, nonzero,
                                zero, zero, zero, row, end, b, p0, p1, n, c, m | 1)  # fmt: skip

    return in_panels, in_place


_chains_single, _chains_double = make_chains(FLOAT32), make_chains(FLOAT64)
_in_panels_single, _in_place_single = make_products(FLOAT32)
_in_panels_double, _in_place_double = make_products(FLOAT64)


def peak_float32(count):
    """Run the register-only loop."""
    return _chains_single(count)


def peak_float64(count):
    """Run the register-only loop."""
    return _chains_double(count)


def in_panels_float32(memory, strided, order, nonzero, m, k, n, p0, p1, a, b, c, repeats):
    """Multiply some times, A in panels."""
    _in_panels_single(as_array(memory), m, k, n, p0, p1, a, b, c, repeats)


def in_panels_float64(memory, strided, order, nonzero, m, k, n, p0, p1, a, b, c, repeats):
    """Multiply some times, A in panels."""
    _in_panels_double(as_array(memory), m, k, n, p0, p1, a, b, c, repeats)


def in_place_float32(memory, strided, order, nonzero, m, k, n, p0, p1, a, b, c, repeats):
    """Multiply some times, A in place."""
    arrays = as_array(memory), as_array(strided), as_array(order), as_array(nonzero)
    _in_place_single(*arrays, m, k, n, p0, p1, b, c, repeats)


def in_place_float64(memory, strided, order, nonzero, m, k, n, p0, p1, a, b, c, repeats):
    """Multiply some times, A in place."""
    arrays = as_array(memory), as_array(strided), as_array(order), as_array(nonzero)
    _in_place_double(*arrays, m, k, n, p0, p1, b, c, repeats)


PEAKS = {FLOAT32: peak_float32, FLOAT64: peak_float64}
PRODUCTS = {
    ("in panels", FLOAT32): in_panels_float32,
    ("in panels", FLOAT64): in_panels_float64,
    ("in place", FLOAT32): in_place_float32,
    ("in place", FLOAT64): in_place_float64,
}


def peak(dtype: np.dtype, threads: int, seconds: float = SECONDS) -> float:
    """Return the measured peak in GFLOP/s."""
    run = compiled(PEAKS[dtype], ("int",), dtype.name)
    run(1)
    flops = 2.0 * CHAINS * register_shape(dtype).lanes * PEAK_ROUNDS * threads
    timed = of_team(lambda me, repeats: run(PEAK_ROUNDS * repeats), threads)
    # Three times over: a moment of another process's work here would flatter all that follows.
    return flops / min(best_seconds(timed, seconds) for _ in range(3)) / 1e9


def rate(
    layout: str,
    dtype: np.dtype,
    shape: tuple[int, int, int],
    threads: int,
    seconds: float = SECONDS,
) -> float:
    """Return GFLOP/s of one product on all threads, after checking what it computes."""
    m, k, n = shape
    arrays = f"{dtype.name}s", "words", "words", "words"
    product = compiled(PRODUCTS[layout, dtype], (*arrays, *["int"] * 9))
    tile = register_shape(dtype)
    panels_of = Layout(tile.lanes, tile.panel)
    a_size, b_size = (m | 1) * panels_of.padded(k), (k + 1) * panels_of.padded(n)
    c_size = (m | 1) * panels_of.padded(n)
    rng = np.random.default_rng(0)
    A = rng.standard_normal((m, k), dtype)
    B = np.vstack([rng.standard_normal((k, n), dtype), np.zeros((1, n), dtype)])
    raw = np.zeros(a_size + b_size + c_size + 64, dtype)
    memory = raw[-raw.ctypes.data % 64 // dtype.itemsize :]
    b, c = a_size, a_size + b_size
    panels_of.split(np.vstack([A, np.zeros(((m | 1) - m, k), dtype)]), memory[:b])
    panels_of.split(B, memory[b:c])
    panels = panels_of.panels(n)
    # The list of the nonzero columns, which are all, and its table.
    table = np.minimum(k, np.arange(panels_of.panels(k) + 1) * tile.panel)
    nonzero = np.concatenate([np.arange(k), np.zeros(LIST_SLACK, np.int64), table])
    order, strided = np.arange(m), make_strided_views(A)

    def run(me: int, repeats: int) -> None:
        p0, p1 = me * panels // threads, (me + 1) * panels // threads
        product(memory, strided, order, nonzero, m, k, n, p0, p1, 0, b, c, repeats)

    run(0, 1)  # compiles, or loads from the cache
    found_seconds = best_seconds(of_team(run, threads), seconds)
    found = np.empty((m | 1, n), dtype)
    panels_of.join(memory[c : c + c_size], found)
    np.testing.assert_allclose(found[:m], A @ B[:k], rtol=1e-3, atol=1e-3)
    return 2.0 * m * k * n / found_seconds / 1e9
