"""What softmax does with whole rows: their largest number, their sum, a number for each of them.

A row of n numbers is spread over panels (see `fastnn.plan`): vector v of it lies in panel v // 2.
Rows are reduced several at a time, their vectors folded together: a third of the shuffles.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastnn.cpu import plain
from fastnn.cpu.gemm import ZERO
from fastnn.cpu.inner import njit
from fastnn.cpu.rules import EXACT
from fastnn.cpu.vector import INT64, Writer, data_pointer, loop, when

TOGETHER = 8  # rows reduced in one go


class _Writer(Writer):
    """Writes the functions of one dtype."""

    def larger(self, builder: Any, a: Any, b: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", a, b), a, b)

    def without_padding(self, builder: Any, value: Any, window: Any, instead: Any) -> Any:
        """Return `value` with that of `instead` in lanes where the window holds a 1."""
        flags = self.load(builder, window, self.lanes)
        real = builder.fcmp_ordered("==", flags, self.zeros(self.lanes))
        return builder.select(real, value, instead)

    def reduce(self, module: Any, name: str, operation: str, rows: int) -> Any:
        """Write the largest number, or the sum, of rows r, r + 1, ... of n numbers to `out`."""
        real, lanes = self.real.as_pointer(), self.lanes
        arguments = [real, INT64, INT64, INT64, real, real]
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        matrix, panel_stride, r, n, padding, out = function.args
        wide = builder.udiv(builder.add(n, INT64(lanes - 1)), INT64(2 * lanes))

        def join(a: Any, b: Any) -> Any:
            return self.larger(builder, a, b) if operation == "max" else builder.fadd(a, b)

        def vectors(builder: Any, v: Any) -> list[Any]:
            p = builder.lshr(v, INT64(1))
            full = builder.icmp_unsigned("<", p, wide)
            stride = builder.select(full, INT64(2 * lanes), INT64(lanes))
            at = builder.add(builder.mul(p, panel_stride), builder.mul(r, stride))
            at = builder.add(at, builder.mul(builder.and_(v, INT64(1)), INT64(lanes)))
            start = builder.gep(matrix, [at])
            return [
                self.load(builder, builder.gep(start, [builder.mul(INT64(i), stride)]), lanes)
                for i in range(rows)
            ]

        def whole(builder: Any, v: Any, results: list[Any]) -> list[Any]:
            return [join(a, b) for a, b in zip(results, vectors(builder, v), strict=True)]

        def rest(builder: Any) -> list[Any]:
            window = builder.gep(padding, [builder.sub(INT64(lanes), left)])
            found = [
                self.without_padding(builder, each, window, start)
                for each in vectors(builder, count)
            ]
            return [join(a, b) for a, b in zip(results, found, strict=True)]

        begin = -np.inf if operation == "max" else 0.0
        start = ir.Constant(self.vector(lanes), [ir.Constant(self.real, begin)] * lanes)
        count, left = builder.udiv(n, INT64(lanes)), builder.urem(n, INT64(lanes))
        results = loop(builder, count, [start] * rows, whole)
        results = when(builder, builder.icmp_unsigned("!=", left, INT64(0)), results, rest)
        step = min(rows, lanes)
        for index, folded in enumerate(self.fold(builder, results, join)):
            value = self.shuffle(builder, folded, folded, list(range(step)))
            self.store(builder, value, builder.gep(out, [INT64(index * lanes)]))
        builder.ret_void()
        return function


def _make_reduce(dtype: np.dtype, operation: str, rows: int) -> Any:
    """Return ``reduce(memory, at, panel_stride, r, n, padding_at, out_at)``."""
    if config.DISABLE_JIT:
        return plain.reduce(operation, rows)
    name = f"fastnn_{operation}_{dtype.name}_{rows}"

    @intrinsic
    def reduce(typingctx, memory, at, panel_stride, r, n, padding_at, out_at):
        def codegen(context, builder, signature, args):
            kind, module = signature.args[0], builder.module
            matrix, padding, out = (
                data_pointer(context, builder, kind, args[0], args[i]) for i in (1, 5, 6)
            )
            callee = module.globals.get(name)
            callee = callee or _Writer(dtype).reduce(module, name, operation, rows)
            builder.call(callee, [matrix, *args[2:5], padding, out])
            return context.get_dummy_value()

        return types.void(memory, *[types.int64] * 6), codegen

    return reduce


def _make_scale(dtype: np.dtype) -> Any:
    """Return ``scale(memory, at, window, factor)``: one vector times a number, in place."""
    writer = _Writer(dtype)
    if config.DISABLE_JIT:
        return plain.scale(writer.lanes)

    @intrinsic
    def scale(typingctx, memory, at, window, factor):
        def codegen(context, builder, signature, args):
            kind, lanes = signature.args[0], writer.lanes
            pointer, flags = (data_pointer(context, builder, kind, args[0], i) for i in args[1:3])
            value = writer.load(builder, pointer, lanes)
            value = builder.fmul(value, writer.splat(builder, args[3], lanes))
            value = writer.without_padding(builder, value, flags, writer.zeros(lanes))
            writer.store(builder, value, pointer)
            return context.get_dummy_value()

        return types.void(memory, types.int64, types.int64, memory.dtype), codegen

    return scale


def _make_shift(dtype: np.dtype) -> Any:
    """Return ``shift(memory, to, at, window, amount)``: one vector minus a number."""
    writer = _Writer(dtype)
    if config.DISABLE_JIT:
        return plain.shift(writer.lanes)

    @intrinsic
    def shift(typingctx, memory, to, at, window, amount):
        def codegen(context, builder, signature, args):
            kind, lanes = signature.args[0], writer.lanes
            out, source, flags = (
                data_pointer(context, builder, kind, args[0], each) for each in args[1:4]
            )
            value = writer.load(builder, source, lanes)
            value = builder.fsub(value, writer.splat(builder, args[4], lanes))
            value = writer.without_padding(builder, value, flags, writer.zeros(lanes))
            writer.store(builder, value, out)
            return context.get_dummy_value()

        i = types.int64
        return types.void(memory, i, i, i, memory.dtype), codegen

    return shift


def make_lanes(dtype: np.dtype, panel: int) -> SimpleNamespace:
    """Return row operations on a matrix of n columns in panels; `rows` is the capacity.

    largest, total(memory, at, rows, n, r0, r1, padding, out): the largest number, or the sum, of
    rows r0..r1, to out + r0 and on.
    shift_rows(memory, to, at, rows, n, r0, r1, padding, amounts): row r minus the number at
    amounts + r.
    scale_rows(memory, at, rows, n, r0, r1, padding, factors): row r times that at factors + r.
    Columns beyond the last do not count, and become 0. `padding` is where a vector of zeros is
    followed by one of ones; a window on both tells which lanes of a row's last vector are padding.
    """
    lanes = panel // 2
    pairs = {
        operation: (_make_reduce(dtype, operation, TOGETHER), _make_reduce(dtype, operation, 1))
        for operation in ("max", "sum")
    }
    scale, shift = _make_scale(dtype), _make_shift(dtype)

    def reduction(operation: str) -> Any:
        several, single = pairs[operation]

        @njit(**EXACT)
        def reduce(memory, at, rows, n, r0, r1, padding, out):
            r = r0
            while r + TOGETHER <= r1:
                several(memory, at, rows * panel, r, n, padding, out + r)
                r += TOGETHER
            while r < r1:
                single(memory, at, rows * panel, r, n, padding, out + r)
                r += 1

        return reduce

    @njit(**EXACT)
    def shift_rows(memory, to, at, rows, n, r0, r1, padding, amounts):
        for c in range(0, n, lanes):
            p = c // panel
            width = lanes if n - p * panel <= lanes else panel
            start = p * panel * rows + c - p * panel
            window = padding + max(ZERO, lanes - (n - c))
            for r in range(r0, r1):
                cell = start + r * width
                shift(memory, to + cell, at + cell, window, memory[np.uint64(amounts + r)])

    @njit(**EXACT)
    def scale_rows(memory, at, rows, n, r0, r1, padding, factors):
        for c in range(0, n, lanes):
            p = c // panel
            width = lanes if n - p * panel <= lanes else panel
            start = at + p * panel * rows + c - p * panel
            window = padding + max(ZERO, lanes - (n - c))
            for r in range(r0, r1):
                scale(memory, start + r * width, window, memory[np.uint64(factors + r)])

    return SimpleNamespace(
        largest=reduction("max"),
        total=reduction("sum"),
        shift_rows=shift_rows,
        scale_rows=scale_rows,
    )
