"""What the engine's rules take for one number: exp, log and tanh in the loop of an activation.

And softmax of whole rows. All are run by the engine's own functions on numbers in the second-level
cache, by one thread.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from time import perf_counter

import numpy as np
from kept_code import compiled
from timing import best_seconds, of_calls

from fastnn import graph
from fastnn.graph.custom import CustomActivation
from fastnn.storage.kernels.machine import register_shape
from fastnn.targets.cpu import user_rules
from fastnn.targets.cpu.arguments import make_job
from fastnn.targets.cpu.llvm.elementary import make_elementary
from fastnn.targets.cpu.plan import CAPACITY, HEAD_FIELDS, PADDING, ROW_SCRATCH
from fastnn.targets.cpu.products.gemm import make_gemm
from fastnn.targets.cpu.step.softmax import make_lanes, make_softmax
from fastnn.targets.cpu.views import job_at
from fastnn.targets.layout import Layout

FUNCTIONS = {"exp": graph.exp, "log": graph.log, "tanh": graph.tanh}
COUNT = 1 << 15  # numbers in one call
ROWS = 64  # of which softmax is taken


def _softmax(dtype: np.dtype) -> Callable[..., None]:
    shape = register_shape(dtype)
    gemm, lanes = make_gemm(dtype, shape), make_lanes(dtype, shape.panel)
    return make_softmax(dtype, shape.panel, gemm, lanes, make_elementary(dtype)).softmax_forward


_softmax_single, _softmax_double = (_softmax(np.dtype(name)) for name in ("float32", "float64"))


def softmax_float32(job, n, rows, repeats):
    """Take the softmax of rows of n numbers in place, again and again."""
    for _ in range(repeats):
        _softmax_single(job_at(job, 0), 0, n, 0, rows)


def softmax_float64(job, n, rows, repeats):
    """Take the softmax of rows of n numbers in place, again and again."""
    for _ in range(repeats):
        _softmax_double(job_at(job, 0), 0, n, 0, rows)


def function_nanoseconds(name: str, dtype: np.dtype, seconds: float) -> float:
    """Return the nanoseconds a number of the loop that replaces z by a function of it."""
    source = CustomActivation(graph.trace(FUNCTIONS[name])).source
    assert not source.constants
    kinds = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
    address = user_rules.compiled(source.text, 0, "activate", dtype).address
    loop = ctypes.CFUNCTYPE(None, *kinds)(address)
    z = np.random.default_rng(0).uniform(0.1, 10.0, COUNT).astype(dtype)
    memory = z.copy()
    numbers = np.zeros(1, dtype)  # of the formula, which has none
    at, none = memory.ctypes.data, numbers.ctypes.data

    def timed(repeats: int) -> float:
        total = 0.0
        for _ in range(repeats):
            memory[:] = z  # or it would soon be all infinities
            start = perf_counter()
            loop(none, at, 0, COUNT)
            total += perf_counter() - start
        return total

    loop(none, at, 0, COUNT)
    np.testing.assert_allclose(memory, getattr(np, name)(z), rtol=1e-5, atol=1e-6)
    # A call from Python is nearly a tenth of what exp takes.
    empty = best_seconds(of_calls(lambda: loop(none, at, 0, 0)), seconds)
    return (best_seconds(timed, seconds) - empty) / COUNT * 1e9


def softmax_nanoseconds(n: int, dtype: np.dtype, seconds: float) -> float:
    """Return the nanoseconds a number of the softmax of rows of n numbers."""
    function = softmax_float32 if dtype.itemsize == 4 else softmax_float64
    run = compiled(function, ("words", "int", "int", "int"))
    shape = register_shape(dtype)
    layout = Layout(shape.lanes, shape.panel)
    capacity = ROWS | 1
    z = np.random.default_rng(0).standard_normal((capacity, n)).astype(dtype)
    size = capacity * layout.padded(n)
    memory = np.zeros(size + 2 * capacity + 2 * shape.lanes, dtype)
    layout.split(z, memory[:size])
    head = np.zeros(HEAD_FIELDS, np.int64)
    head[CAPACITY], head[ROW_SCRATCH], head[PADDING] = capacity, size, size + 2 * capacity
    memory[-shape.lanes :] = 1
    job = make_job(memory=memory, head=head)

    def timed(repeats: int) -> float:
        start = perf_counter()
        run(job, n, ROWS, repeats)
        return perf_counter() - start

    run(job, n, ROWS, 1)
    found = np.empty_like(z)
    layout.join(memory[:size], found)
    exponentials = np.exp(z[:ROWS])
    expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found[:ROWS], expected, rtol=1e-5)
    return best_seconds(timed, seconds) / (ROWS * n) * 1e9
