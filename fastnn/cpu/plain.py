"""The micro-kernels in plain Python, for runs with Numba switched off; see `fastnn.cpu.kernels`."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np


def caller_row(dtype: np.dtype, address: int, count: int) -> np.ndarray:
    """Return a view of `count` numbers at an address."""
    raw = (ctypes.c_byte * (int(count) * dtype.itemsize)).from_address(int(address))
    return np.frombuffer(memoryview(raw), dtype)


def multiply(rows: int, width: int) -> Any:
    """Return the product with an A in panels."""

    def kernel(
        a, a_at, chunks, inner, chunk_stride, row_stride,
        b, b_at, init, init_at, init_stride, c, c_at, c_stride,
    ):  # fmt: skip
        for r in range(rows):
            total = init[init_at + r * init_stride :][:width].copy()
            for chunk in range(chunks):
                for k in range(inner):
                    scalar = a[a_at + chunk * chunk_stride + r * row_stride + k]
                    total += scalar * b[b_at + (chunk * inner + k) * width :][:width]
            c[c_at + r * c_stride :][:width] = total

    return kernel


def accumulate(rows: int, width: int) -> Any:
    """Return the transposed product with an A in panels."""

    def kernel(a, a_at, a_stride, b, b_at, samples, c, c_at, c_stride, alpha, beta):
        for r in range(rows):
            total = np.zeros(width, c.dtype)
            for s in range(samples):
                total += a[a_at + s * a_stride + r] * b[b_at + s * width :][:width]
            target = c[c_at + r * c_stride :][:width]
            target[:] = beta * target + alpha * total

    return kernel


def multiply_scattered(dtype: np.dtype, rows: int, width: int) -> Any:
    """Return the product with rows of the caller's array."""
    inside = multiply(rows, width)

    def kernel(
        order, first, ahead, mask, address, row_stride, inner,
        b, b_at, init, init_at, init_stride, c, c_at, c_stride,
    ):  # fmt: skip
        starts = address + order[first : first + rows] * row_stride
        a = np.concatenate([caller_row(dtype, start, inner) for start in starts])
        inside(a, 0, 1, inner, 0, inner, b, b_at, init, init_at, init_stride, c, c_at, c_stride)

    return kernel


def accumulate_scattered(dtype: np.dtype, rows: int, width: int) -> Any:
    """Return the transposed product with rows of the caller's array."""
    inside = accumulate(rows, width)

    def kernel(order, first, address, row_stride, b, b_at, samples, c, c_at, c_stride, alpha, beta):
        starts = address + order[first : first + samples] * row_stride
        a = np.concatenate([caller_row(dtype, start, rows) for start in starts])
        inside(a, 0, rows, b, b_at, samples, c, c_at, c_stride, alpha, beta)

    return kernel


def dot(dtype: np.dtype) -> Any:
    """Return w . x for one of the caller's rows."""

    def kernel(w, w_at, address, count):
        return dtype.type(w[w_at : w_at + count] @ caller_row(dtype, address, count))

    return kernel


def axpy(dtype: np.dtype) -> Any:
    """Return w += scale x for one of the caller's rows."""

    def kernel(w, w_at, address, count, scale):
        w[w_at : w_at + count] += scale * caller_row(dtype, address, count)

    return kernel


def advance(dtype: np.dtype) -> Any:
    """Return an update with one row together with products of the next."""

    def kernel(w, w_at, before, here, after, count, keep, scale):
        x, y, z = (caller_row(dtype, address, count) for address in (before, here, after))
        part = w[w_at : w_at + count]
        part[:] = keep * part + scale * x
        return dtype.type(part @ z), dtype.type(y @ z)

    return kernel
