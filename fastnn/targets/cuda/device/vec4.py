"""Four numbers at a time: they lie where a multiple of 4 would start, every 16 bytes or twice that.

Numba's CUDA lacks wide loads and stores, so they are written as LLVM code; in its simulator plain
Python functions stand for them.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.targets.cuda.device.intrinsics import Array, llvm, load_vector, store_vector
from fastnn.targets.cuda.host.numba_cuda import SIMULATED, cuda, inner
from fastnn.targets.cuda.host.plan import QUAD


@cache
def make_vec4(dtype: np.dtype[Any]) -> SimpleNamespace:
    """Return the operations on four numbers of one dtype, which are tuples.

    load(memory, i) -> 4 numbers;  store(memory, i, four);  fma4(s, x, w): s + x w, of 4 numbers w;
    add4(s, t).  first(four, count): only the first of them, zeros behind.
    """
    load, store = _simulated() if SIMULATED else _compiled(np.dtype(dtype))
    zero = np.dtype(dtype).type(0)

    @inner
    def fma4(s, x, w):
        return s[0] + x * w[0], s[1] + x * w[1], s[2] + x * w[2], s[3] + x * w[3]

    @inner
    def add4(s, t):
        return s[0] + t[0], s[1] + t[1], s[2] + t[2], s[3] + t[3]

    @inner
    def first(s, count):
        s1, s2 = s[1] if count > 1 else zero, s[2] if count > 2 else zero
        return s[0], s1, s2, s[3] if count > 3 else zero

    return SimpleNamespace(load=load, store=store, fma4=fma4, add4=add4, first=first)


def _simulated() -> tuple[Any, Any]:
    def load(memory, i):
        assert i % QUAD == 0, "a vector is loaded from where none starts"
        return memory[i], memory[i + 1], memory[i + 2], memory[i + 3]

    def store(memory, i, four):
        assert i % QUAD == 0, "a vector is stored where none starts"
        for q in range(QUAD):
            memory[i + q] = four[q]

    return load, store


def _compiled(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    types = cuda.types
    four = types.UniTuple(types.float32 if dtype.itemsize == 4 else types.float64, QUAD)

    @llvm(Array, types.int64, result=four)
    def load(builder, memory, i):
        return load_vector(builder, memory(i), QUAD)

    @llvm(Array, types.int64, four)
    def store(builder, memory, i, four):
        at, parts = memory(i), [builder.extract_value(four, q) for q in range(QUAD)]
        store_vector(builder, at, parts)

    return load, store
