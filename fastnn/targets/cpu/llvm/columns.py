"""Some columns of many rows: copied, or made of the numbers of one column.

Columns are taken in vectors, then in halves, quarters, ... of one, and within each the rows are
gone through: nothing beyond the columns is touched. A loop over few columns inside one over rows
is left by compilers to single numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastnn.targets.cpu.llvm import pure_python
from fastnn.targets.cpu.llvm.vectors import INT64, Writer, data_pointer, loop, when


class _Writer(Writer):
    """Writes the functions of one dtype."""

    def pieces(self, builder: Any, count: Any, body: Callable[[Any, Any, int], None]) -> None:
        """Call ``body(builder, at, lanes)`` for all of 0..count."""

        def whole(builder: Any, index: Any, carried: list[Any]) -> list[Any]:
            body(builder, builder.mul(index, INT64(self.lanes)), self.lanes)
            return []

        vectors = builder.udiv(count, INT64(self.lanes))
        loop(builder, vectors, [], whole)
        at, part = builder.mul(vectors, INT64(self.lanes)), self.lanes // 2
        while part:
            present = builder.icmp_unsigned("!=", builder.and_(count, INT64(part)), INT64(0))

            def rest(builder: Any, at: Any = at, part: int = part) -> list[Any]:
                body(builder, at, part)
                return [builder.add(at, INT64(part))]

            (at,) = when(builder, present, [at], rest)
            part //= 2

    def spread(self, module: Any, name: str) -> Any:
        real = self.real.as_pointer()
        arguments = [real, INT64, real, real, real, INT64, INT64, INT64]
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        x, apart, c, b, to, width, count, rows = function.args

        def units(builder: Any, at: Any, lanes: int) -> None:
            factor, shift = (self.load(builder, builder.gep(each, [at]), lanes) for each in (c, b))

            def row(builder: Any, r: Any, carried: list[Any]) -> list[Any]:
                value = builder.load(builder.gep(x, [builder.mul(r, apart)]))
                result = self.fma(builder, self.splat(builder, value, lanes), factor, shift)
                place = builder.add(at, builder.mul(r, width))
                self.store(builder, result, builder.gep(to, [place]))
                return []

            loop(builder, rows, [], row)

        self.pieces(builder, count, units)
        builder.ret_void()
        return function

    def copy(self, module: Any, name: str) -> Any:
        real = self.real.as_pointer()
        arguments = [real, INT64, real, INT64, INT64, INT64]
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        source, stride, to, width, count, rows = function.args

        def columns(builder: Any, at: Any, lanes: int) -> None:
            def row(builder: Any, r: Any, carried: list[Any]) -> list[Any]:
                places = (builder.add(at, builder.mul(r, each)) for each in (stride, width))
                old, new = (
                    builder.gep(array, [place])
                    for array, place in zip((source, to), places, strict=True)
                )
                self.store(builder, self.load(builder, old, lanes), new)
                return []

            loop(builder, rows, [], row)

        self.pieces(builder, count, columns)
        builder.ret_void()
        return function


def make_columns(dtype: np.dtype) -> SimpleNamespace:
    """Return the functions of one dtype.

    spread(memory, x, apart, c, b, to, width, count, rows): memory[to + r width + i] =
    memory[x + r apart] memory[c + i] + memory[b + i] for i < count and r < rows.
    copy(memory, at, stride, target, to, width, count, rows): target[to + r width + i] =
    memory[at + r stride + i]; the two places do not overlap.
    """
    if config.DISABLE_JIT:
        return SimpleNamespace(spread=pure_python.spread(), copy=pure_python.copy_columns())

    def called(operation: str, builder: Any, args: list[Any]) -> None:
        name, module = f"fastnn_{operation}_columns_{dtype.name}", builder.module
        callee = module.globals.get(name) or getattr(_Writer(dtype), operation)(module, name)
        builder.call(callee, args)

    @intrinsic
    def spread(typingctx, memory, x, apart, c, b, to, width, count, rows):
        def codegen(context, builder, signature, args):
            column, factors, shifts, out = (
                data_pointer(context, builder, signature.args[0], args[0], args[place])
                for place in (1, 3, 4, 5)
            )
            called("spread", builder, [column, args[2], factors, shifts, out, *args[6:]])
            return context.get_dummy_value()

        return types.void(memory, *[types.int64] * 8), codegen

    @intrinsic
    def copy(typingctx, memory, at, stride, target, to, width, count, rows):
        def codegen(context, builder, signature, args):
            source, out = (
                data_pointer(context, builder, signature.args[array], args[array], args[array + 1])
                for array in (0, 3)
            )
            called("copy", builder, [source, args[2], out, *args[5:]])
            return context.get_dummy_value()

        i = types.int64
        return types.void(memory, i, i, target, i, i, i, i), codegen

    return SimpleNamespace(spread=spread, copy=copy)
