"""What the compiled code is made of, where a slower form of it would give the same results."""

import re

import numpy as np
import pytest
from checker import unchecked
from numba import njit, types
from target_cases import DTYPES, needs_jit

from fastnn.graph import maximum, trace
from fastnn.graph.source import activation_source
from fastnn.rules import activations
from fastnn.storage.kernels.machine import on_x86, register_shape
from fastnn.targets.cpu.llvm.elementary import make_elementary
from fastnn.targets.cpu.llvm.rule_loops import _activate_loop
from fastnn.targets.cpu.products.kernels import (
    make_accumulate,
    make_accumulate_scattered,
    make_multiply,
    make_multiply_scattered,
)

pytestmark = [needs_jit, pytest.mark.skipif(not on_x86(), reason="reads x86 assembly")]


def own_relu(real, m):
    namespace = {}
    exec(activation_source(trace(lambda z: maximum(z, 0))).text, namespace)
    return namespace["rule"](real, m)


@unchecked
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


def calls(dtype, tile):
    """Return a function around each micro-kernel: (m, k, o) for its arrays, numbers and lists."""
    product, sums = make_multiply(dtype, *tile), make_accumulate(dtype, *tile)
    scattered_product = make_multiply_scattered(dtype, *tile)
    scattered_sums, one = make_accumulate_scattered(dtype, *tile), dtype.type(1)
    return {
        "multiply": lambda m, k, o: product(m, k, k, k, k, k, k, k, k, k, k, k, k, k, k),
        "multiply_scattered": lambda m, k, o: scattered_product(
            o, k, k, k, k, k, k, o, k, k, m, k, k, k, k, k, k, k
        ),
        "accumulate": lambda m, k, o: sums(m, k, k, k, k, k, k, k, k, one, one),
        "accumulate_scattered": lambda m, k, o: scattered_sums(
            o, k, o, k, m, k, k, k, k, k, one, one
        ),
    }


@unchecked
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vectors", [1, 2, 3])
@pytest.mark.parametrize(
    "kind", ["multiply", "multiply_scattered", "accumulate", "accumulate_scattered"]
)
def test_the_sums_of_a_full_tile_stay_in_registers(kind, vectors, dtype):
    dtype = np.dtype(dtype)
    shape = register_shape(dtype)
    rows = {1: shape.rows_narrow, 2: shape.rows, 3: shape.rows_odd}[vectors]
    call = njit(calls(dtype, (rows, vectors))[kind])
    call.compile((getattr(types, dtype.name)[::1], types.int64, types.int64[::1]))
    (code,) = call.inspect_asm().values()
    start = code.index(f"\nfastnn_{kind}_{dtype.name}_{rows}x{vectors}:")
    # The loop over k is the one with most multiplications between two labels.
    blocks = re.split(r"\n\.LBB\w+:", code[start : code.index(".Lfunc_end", start)])
    products = r"v?f?n?m(ul|add\w*)p[sd]"
    inner = max(blocks, key=lambda block: len(re.findall(products, block)))
    assert len(re.findall(products, inner)) >= rows * vectors
    assert not re.search(r"movup[sd].*%[xyz]mm\d+, -?\d*\(%rsp\)", inner)
