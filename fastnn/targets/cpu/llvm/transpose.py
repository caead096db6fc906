"""Transposes of square blocks, as wide and as high as a vector, in registers."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastnn.targets.cpu.llvm import pure_python
from fastnn.targets.cpu.llvm.vectors import INT64, Writer, data_pointer


class _Writer(Writer):
    """Writes the function of one dtype."""

    def transpose(self, module: Any, name: str) -> Any:
        real, lanes = self.real.as_pointer(), self.lanes
        arguments = [real, INT64, INT64, real, INT64, INT64]
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        source, stride, height, out, out_stride, width = function.args
        vectors = []
        for i in range(lanes):
            present = builder.icmp_unsigned("<", INT64(i), height)
            at = builder.select(present, builder.mul(INT64(i), stride), INT64(0))
            value = self.load(builder, builder.gep(source, [at]), lanes)
            vectors.append(builder.select(present, value, self.zeros(lanes)))
        vectors = self.transposed(builder, vectors)
        done = function.append_basic_block("done")
        for j, vector in enumerate(vectors):
            following = function.append_basic_block("row")
            builder.cbranch(builder.icmp_unsigned("<", INT64(j), width), following, done)
            builder.position_at_end(following)
            self.store(builder, vector, builder.gep(out, [builder.mul(INT64(j), out_stride)]))
        builder.branch(done)
        builder.position_at_end(done)
        builder.ret_void()
        return function


def make_transpose(dtype: np.dtype) -> Any:
    """Return ``transpose(memory, at, stride, height, to, to_stride, width)``.

    Column j < width of the block at `at` becomes row j of the one at `to`. Rows are read as whole
    vectors; those from `height` on are taken as zero. Neither exceeds the lanes of a vector.
    """
    if config.DISABLE_JIT:
        return pure_python.transpose(Writer(dtype).lanes)
    name = f"fastnn_transpose_{dtype.name}"

    @intrinsic
    def transpose(typingctx, memory, at, stride, height, to, to_stride, width):
        def codegen(context, builder, signature, args):
            kind, module = signature.args[0], builder.module
            source, out = (data_pointer(context, builder, kind, args[0], args[i]) for i in (1, 4))
            callee = module.globals.get(name) or _Writer(dtype).transpose(module, name)
            builder.call(callee, [source, args[2], args[3], out, args[5], args[6]])
            return context.get_dummy_value()

        return types.void(memory, *[types.int64] * 6), codegen

    return transpose
