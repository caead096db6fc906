"""Bringing a minibatch in: rows of the caller's arrays, as panels in `memory`, and dropout."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.storage.kernels.machine import Shape
from fastnn.targets.cpu.arguments import ADDRESS, COLUMN_STRIDE, COLUMNS, DTYPE, ROW_STRIDE
from fastnn.targets.cpu.dtypes import CODES
from fastnn.targets.cpu.llvm.conversion import make_convert
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import load_float32, load_float64
from fastnn.targets.cpu.llvm.rule_loops import EXACT, MERGED, U
from fastnn.targets.cpu.llvm.vectors import make_copy
from fastnn.targets.cpu.plan import (
    CAPACITY,
    CLASSES,
    IN_PLACE,
    MASK,
    NARROW,
    ROW_SCALE,
    SPARSE,
    TARGETS,
    UNDROPPED,
)
from fastnn.targets.cpu.products.gemm import ZERO
from fastnn.targets.cpu.shares import place_of_batch
from fastnn.targets.cpu.views import (
    head_of,
    keys_of,
    layers_of,
    make_view,
    order_of,
    strided_of,
    weights_of,
)
from fastnn.targets.fields import INPUT, LAYERS, THRESHOLD, WEIGHTED, K

ONE = np.int64(1)


@njit(**EXACT)
def _rotated(x):
    return (x >> np.uint64(32)) | (x << np.uint64(32))


@njit(**EXACT)
def squares32(counter, key):
    """Return 32 random bits: four rounds of middle-square (Widynski 2020, Squares)."""
    x = counter * key
    y = x
    z = y + key
    x = _rotated(x * x + y)
    x = _rotated(x * x + z)
    x = _rotated(x * x + y)
    return (x * x + z) >> np.uint64(32)


def make_scale_rows(dtype: np.dtype) -> Any:
    """Return ``scale_rows(job, first, r0, r1, inverse_weight)``.

    It writes the weight in the gradient of rows r0..r1 of the batch that begins with row `first`.
    """
    real, memory_of = dtype.type, make_view("memory", dtype)

    @njit(**EXACT)
    def scale_rows(job, first, r0, r1, inverse_weight):
        memory, head, order, weights = memory_of(job), head_of(job), order_of(job), weights_of(job)
        for r in range(r0, r1):
            weight = weights[U(order[U(first + r)])] if head[WEIGHTED] == 1 else 1.0
            memory[U(head[ROW_SCALE] + r)] = real(weight * inverse_weight)

    return scale_rows


def make_gather(dtype: np.dtype, shape: Shape, gemm: Any) -> SimpleNamespace:
    """Return gather_matrix, gather_first, gather_inputs, gather_targets and drop for one dtype."""
    zero, width_of, padded = dtype.type(0), gemm.width_of, gemm.padded
    panel, lanes, copy = shape.panel, shape.lanes, make_copy(dtype)
    memory_of, alphas_of = make_view("memory", dtype), make_view("alphas", dtype)
    scale_rows = make_scale_rows(dtype)
    own_load = load_float64 if dtype.itemsize == 8 else load_float32
    itemsize, own_code, convert = dtype.itemsize, CODES[dtype.str], make_convert(dtype)

    @njit(**EXACT)
    def gather_matrix(memory, strided, which, order, first, r0, r1, rows, to):
        """Copy the caller's rows order[first + r], of any dtype and strides, into panels."""
        n, step = strided[which, COLUMNS], strided[which, COLUMN_STRIDE]
        code = strided[which, DTYPE]
        for r in range(r0, r1):
            row = order[U(first + r)] if order.size > 0 else first + r
            base = strided[which, ADDRESS] + row * strided[which, ROW_STRIDE]
            if code == own_code and step == itemsize:
                for c in range(0, n - lanes + 1, lanes):
                    p = c // panel
                    out = to + p * panel * rows + r * width_of(p, n) + c - p * panel
                    copy(memory, out, base + c * itemsize)
                done = n // lanes * lanes
                p = done // panel
                out = to + p * panel * rows + r * width_of(p, n) - p * panel
                if done > p * panel and done < n:
                    # The last vector overlaps the one before, which lies in the same panel.
                    copy(memory, out + n - lanes, base + (n - lanes) * itemsize)
                else:
                    for c in range(done, n):
                        memory[U(out + c)] = own_load(base + c * itemsize)
                continue
            for p in range((n + panel - 1) // panel):
                out = to + p * panel * rows + r * width_of(p, n)
                start = base + p * panel * step
                convert(memory, out, start, step, min(panel, n - p * panel), code)

    @njit(**MERGED)
    def gather_rows(memory, strided, order, first, r0, r1, to):
        """Copy the caller's rows of X, of any dtype and strides, one after another."""
        n, step = strided[0, COLUMNS], strided[0, COLUMN_STRIDE]
        stride = padded(n)
        for r in range(r0, r1):
            row = order[U(first + r)] if order.size > 0 else first + r
            base = strided[0, ADDRESS] + row * strided[0, ROW_STRIDE]
            convert(memory, to + r * stride, base, step, n, strided[0, DTYPE])

    @njit(**EXACT)
    def gather_first(job, order, first, r0, r1, to):
        """Copy rows of X into the layout that the first layer reads."""
        memory, head, layers, strided = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            strided_of(job),
        )
        if layers[0, NARROW] >= 0 or head[IN_PLACE] > 0:
            gather_rows(memory, strided, order, first, r0, r1, to)
        else:
            gather_matrix(memory, strided, ZERO, order, first, r0, r1, head[CAPACITY], to)

    @njit(**EXACT)
    def drop(job, layer, first, r0, r1, p0, p1, own):
        """Write inputs * mask for rows r0..r1 and panels p0..p1 of the inputs of a layer.

        mask is 0 with the probability of the rate, else 1 / (1 - rate), which is in `alphas`.
        """
        memory, alphas, head, layers, keys = (
            memory_of(job),
            alphas_of(job),
            head_of(job),
            layers_of(job),
            keys_of(job),
        )
        k, rows, place = layers[layer, K], head[CAPACITY], place_of_batch(job, first)
        threshold = np.uint64(layers[layer, THRESHOLD])
        key = np.uint64(keys[layer])
        factor = alphas[head[LAYERS] + layer]
        narrow = layer == 0 and layers[0, NARROW] >= 0
        for p in range(p0, ONE if narrow else p1):
            width = padded(k) if narrow else width_of(p, k)
            for r in range(r0, r1):
                at = p * panel * rows + r * width
                counter = np.uint64((place + r) * k + p * panel)
                for c in range(width):
                    bits = squares32(counter + np.uint64(c), key)
                    mask = factor if bits >= threshold else zero
                    memory[U(layers[layer, MASK] + at + c)] = mask
                    value = memory[U(layers[layer, UNDROPPED] + own + at + c)]
                    memory[U(layers[layer, INPUT] + own + at + c)] = value * mask

    @njit(**EXACT)
    def gather_inputs(job, first, r0, r1, own):
        """Bring the inputs of rows r0..r1 of the batch in, `own` numbers beyond the first copy."""
        head, layers = head_of(job), layers_of(job)
        if head[IN_PLACE] == 1 or head[IN_PLACE] == SPARSE:
            return
        gather_first(job, order_of(job), first, r0, r1, layers[0, UNDROPPED] + own)
        if layers[0, MASK] >= 0:
            panels = (layers[0, K] + panel - 1) // panel
            drop(job, ZERO, first, r0, r1, ZERO, panels, own)

    @njit(**MERGED)
    def gather_targets(job, first, r0, r1, inverse_weight):
        """Bring the targets of rows r0..r1 in, and their weight in the gradient."""
        memory, head, strided, order = (
            memory_of(job),
            head_of(job),
            strided_of(job),
            order_of(job),
        )
        if head[CLASSES] == 0:
            gather_matrix(memory, strided, ONE, order, first, r0, r1, head[CAPACITY], head[TARGETS])
        scale_rows(job, first, r0, r1, inverse_weight)

    return SimpleNamespace(
        gather_matrix=gather_matrix,
        gather_first=gather_first,
        gather_inputs=gather_inputs,
        gather_targets=gather_targets,
        drop=drop,
    )
