"""Products with sparse rows: sums over rows of a panel that lie anywhere in it.

The stored numbers of a sparse row lie side by side, and so do the inputs that they belong to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastnn.targets.cpu.llvm import pure_python
from fastnn.targets.cpu.llvm.vectors import INT64, Writer, data_pointer, loop


class _Writer(Writer):
    """Writes the functions for one dtype and number of vectors in a row of a panel."""

    def __init__(self, dtype: np.dtype, vectors: int) -> None:
        super().__init__(dtype)
        self.vectors = vectors

    def row(self, builder: Any, pointer: Any) -> list[Any]:
        """Return pointers to the vectors of the row at a pointer."""
        places = [INT64(each * self.lanes) for each in range(self.vectors)]
        return [builder.gep(pointer, [place]) for place in places]

    def entry(self, builder: Any, w: Any, columns: Any, x: Any, index: Any) -> tuple[Any, Any]:
        """Return the row of w that an entry belongs to, and its number in all lanes."""
        column = builder.load(builder.gep(columns, [index]))
        place = builder.mul(column, INT64(self.vectors * self.lanes))
        scalar = builder.load(builder.gep(x, [index]))
        return builder.gep(w, [place]), self.splat(builder, scalar, self.lanes)

    def gather(self, module: Any, name: str) -> Any:
        """Write out[:] += sum_e x_e w[column_e, :]."""
        pointer, words = self.real.as_pointer(), INT64.as_pointer()
        arguments = [pointer, pointer, words, pointer, INT64]
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        out, w, columns, x, count = function.args
        outs = self.row(builder, out)
        sums = [self.load(builder, each, self.lanes) for each in outs]

        def body(builder: Any, index: Any, sums: list[Any]) -> list[Any]:
            at, factor = self.entry(builder, w, columns, x, index)
            rows = [self.load(builder, each, self.lanes) for each in self.row(builder, at)]
            return [
                self.fma(builder, factor, row, total) for row, total in zip(rows, sums, strict=True)
            ]

        sums = loop(builder, count, sums, body)
        for to, total in zip(outs, sums, strict=True):
            self.store(builder, total, to)
        builder.ret_void()
        return function

    def scatter(self, module: Any, name: str) -> Any:
        """Write w[column_e, :] += (alpha d[:]) x_e for each e."""
        pointer, words = self.real.as_pointer(), INT64.as_pointer()
        arguments = [pointer, pointer, words, pointer, INT64, self.real]
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        d, w, columns, x, count, alpha = function.args
        scale = self.splat(builder, alpha, self.lanes)
        row = [
            builder.fmul(scale, self.load(builder, each, self.lanes))
            for each in self.row(builder, d)
        ]

        def body(builder: Any, index: Any, carried: list[Any]) -> list[Any]:
            at, factor = self.entry(builder, w, columns, x, index)
            for to, part in zip(self.row(builder, at), row, strict=True):
                old = self.load(builder, to, self.lanes)
                self.store(builder, self.fma(builder, factor, part, old), to)
            return carried

        loop(builder, count, [], body)
        builder.ret_void()
        return function


def make_scattered(dtype: np.dtype, vectors: int) -> tuple[Any, Any]:
    """Return gather and scatter for rows of so many vectors.

    gather(memory, out, w, columns, at, x, count): memory[out:] += sum_e x_e w[column_e, :].
    scatter(memory, d, w, columns, at, x, count, alpha): w[column_e, :] += (alpha memory[d:]) x_e.

    `out`, `d`, `w` and `x` are offsets in `memory`, of one row, of one, of a panel's row 0, and of
    the numbers x_e; columns[at + e] is the input that number e belongs to.
    """
    if config.DISABLE_JIT:
        return pure_python.gather(dtype, vectors), pure_python.scatter(dtype, vectors)
    suffix = f"{dtype.name}_{vectors}"

    def call(operation: str, context: Any, builder: Any, signature: Any, args: Any) -> Any:
        memory_type, columns_type = signature.args[0], signature.args[3]
        name, module = f"fastnn_{operation}_{suffix}", builder.module
        writer = _Writer(dtype, vectors)
        callee = module.globals.get(name) or getattr(writer, operation)(module, name)
        memory, row, w, columns, at, x = args[:6]
        pointers = [
            data_pointer(context, builder, memory_type, memory, row),
            data_pointer(context, builder, memory_type, memory, w),
            data_pointer(context, builder, columns_type, columns, at),
            data_pointer(context, builder, memory_type, memory, x),
        ]
        builder.call(callee, [*pointers, *args[6:]])
        return context.get_dummy_value()

    words = [types.int64] * 2

    @intrinsic
    def gather(typingctx, memory, out, w, columns, at, x, count):
        def codegen(context, builder, signature, args):
            return call("gather", context, builder, signature, args)

        return types.void(memory, *words, columns, *words, types.int64), codegen

    @intrinsic
    def scatter(typingctx, memory, d, w, columns, at, x, count, alpha):
        def codegen(context, builder, signature, args):
            return call("scatter", context, builder, signature, args)

        return types.void(memory, *words, columns, *words, types.int64, memory.dtype), codegen

    return gather, scatter
