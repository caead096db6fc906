"""What the compiled code is made of, where a slower form of it would give the same results."""

import re

import numpy as np
import pytest
from numba import njit, types
from target_cases import DTYPES, needs_jit

from fastnn.cpu.elementary import make_elementary
from fastnn.cpu.kernels import make_accumulate, make_multiply
from fastnn.cpu.rules import _activate_loop
from fastnn.cpu.vector import on_x86, register_shape
from fastnn.graph import maximum, trace
from fastnn.graph.source import activation_source
from fastnn.rules import activations

pytestmark = [needs_jit, pytest.mark.skipif(not on_x86(), reason="reads x86 assembly")]


def own_relu(real, m):
    namespace = {}
    exec(activation_source(trace(lambda z: maximum(z, 0))).text, namespace)
    return namespace["rule"](real, m)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "rule",
    [activations.relu, activations.leaky_relu, activations.elu, activations.hardtanh, own_relu],
    ids=lambda rule: rule.__name__,
)
def test_an_activation_stores_every_number_of_a_vector(rule, dtype):
    dtype = np.dtype(dtype)
    activate = _activate_loop(rule, dtype.type, make_elementary(dtype))
    real = getattr(types, dtype.name)
    activate.compile((real[::1], types.int64, types.int64, real))
    (code,) = activate.inspect_asm().values()
    assert "maskmov" not in code  # what LLVM makes of a store under a condition
    assert not re.search(r"vmovup[sd]\s+%[xyz]mm\d+, .*\{%k\d\}", code)
    assert re.search(r"v?(min|max|cmp\w*|and|blendv|add)p[sd]\s", code)  # vectorised at all


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vectors", [1, 2])
@pytest.mark.parametrize("kind", ["multiply", "accumulate"])
def test_the_sums_of_a_full_tile_stay_in_registers(kind, vectors, dtype):
    dtype = np.dtype(dtype)
    shape = register_shape(dtype)
    rows = shape.rows if vectors == 2 else shape.rows_narrow
    i, array = types.int64, getattr(types, dtype.name)[::1]
    if kind == "multiply":
        kernel = make_multiply(dtype, rows, vectors)

        @njit
        def call(m, k):
            kernel(m, k, k, k, k, k, k, k, m, k, m, k, k, m, k, k)
    else:
        kernel, one = make_accumulate(dtype, rows, vectors), dtype.type(1)

        @njit
        def call(m, k):
            kernel(m, k, k, m, k, k, m, k, k, one, one)

    call.compile((array, i))
    (code,) = call.inspect_asm().values()
    name = f"fastnn_{kind}_{dtype.name}_{rows}x{vectors}"
    body = code[code.index(f"\n{name}:") : code.index(".Lfunc_end", code.index(f"\n{name}:"))]
    # The loop over k is the one with most multiplications between two labels.
    loops = re.split(r"\n\.LBB\w+:", body)
    inner = max(loops, key=lambda block: len(re.findall(r"v?f?n?m(ul|add\w*)p[sd]", block)))
    assert len(re.findall(r"v?f?n?m(ul|add\w*)p[sd]", inner)) >= rows * vectors
    assert not re.search(r"movup[sd].*%[xyz]mm\d+, -?\d*\(%rsp\)", inner)
