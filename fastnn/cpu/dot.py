"""Products with one of the caller's rows, read where it lies: x . w and w += c x.

A row is taken in vectors, then in halves, quarters, ... of a vector, so nothing beyond its end is
touched, and a number of w is always read in the piece in which it was last written, which a
processor forwards from its store buffer without waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastnn.cpu.plain import caller_row
from fastnn.cpu.vector import INT64, data_pointer, llvm_real, loop, vector_bytes

UNROLL = 4  # independent sums, to hide the latency of an addition


class _Emitter:
    """Writes the two functions for one dtype."""

    def __init__(self, dtype: np.dtype) -> None:
        self.real, self.itemsize = llvm_real(dtype), dtype.itemsize
        self.kind = "f32" if dtype.itemsize == 4 else "f64"
        self.lanes = vector_bytes() // dtype.itemsize

    def load(self, builder: Any, pointer: Any, lanes: int) -> Any:
        kind = ir.VectorType(self.real, lanes).as_pointer()
        return builder.load(builder.bitcast(pointer, kind), align=self.itemsize)

    def fma(self, builder: Any, a: Any, b: Any, c: Any, lanes: int) -> Any:
        vector = ir.VectorType(self.real, lanes)
        name = f"llvm.fmuladd.v{lanes}{self.kind}"
        callee = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(vector, [vector] * 3), name
        )
        return builder.call(callee, [a, b, c])

    def pieces(
        self, builder: Any, w: Any, x: Any, count: Any, carried: list[Any], body: Callable[..., Any]
    ) -> list[Any]:
        """Call ``body(builder, w, x, lanes, sums) -> sums`` for all of 0..count."""
        lanes, wide = self.lanes, self.lanes * UNROLL

        def block(builder: Any, index: Any, sums: list[Any]) -> list[Any]:
            start = builder.mul(index, INT64(wide))
            result = []
            for piece in range(UNROLL):
                at = builder.add(start, INT64(piece * lanes))
                one = sums[piece : piece + 1]
                result += body(builder, builder.gep(w, [at]), builder.gep(x, [at]), lanes, one)
            return result

        def single(builder: Any, index: Any, sums: list[Any]) -> list[Any]:
            at = builder.add(done, builder.mul(index, INT64(lanes)))
            first = body(builder, builder.gep(w, [at]), builder.gep(x, [at]), lanes, sums[:1])
            return first + sums[1:]

        blocks = builder.udiv(count, INT64(wide))
        done = builder.mul(blocks, INT64(wide))
        sums = loop(builder, blocks, carried, block)
        left = builder.udiv(builder.sub(count, done), INT64(lanes))
        sums = loop(builder, left, sums, single)
        at = builder.add(done, builder.mul(left, INT64(lanes)))
        part, which = lanes // 2, 0
        while part:
            which = (which + 1) % UNROLL  # a sum of its own: the parts need not wait for each other
            present = builder.icmp_unsigned("!=", builder.and_(count, INT64(part)), INT64(0))
            before = builder.block
            inside, after = (builder.append_basic_block(n) for n in ("part", "after"))
            builder.cbranch(present, inside, after)
            builder.position_at_end(inside)
            mine = sums[which : which + 1]
            changed = body(builder, builder.gep(w, [at]), builder.gep(x, [at]), part, mine)
            onward = builder.add(at, INT64(part))
            builder.branch(after)
            builder.position_at_end(after)
            merged = builder.phi(INT64)
            merged.add_incoming(at, before)
            merged.add_incoming(onward, inside)
            if sums:
                phi = builder.phi(mine[0].type)
                phi.add_incoming(mine[0], before)
                phi.add_incoming(changed[0], inside)
                sums = [*sums[:which], phi, *sums[which + 1 :]]
            at = merged
            part //= 2
        return sums

    def widen(self, builder: Any, value: Any, lanes: int) -> Any:
        """Return `value` with zeros in the lanes it lacks."""
        if lanes == self.lanes:
            return value
        zeros = ir.Constant(value.type, [ir.Constant(self.real, 0.0)] * lanes)
        picks = [*range(lanes), *([lanes] * (self.lanes - lanes))]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), picks)
        return builder.shuffle_vector(value, zeros, mask)

    def dot(self, module: Any, name: str) -> Any:
        pointer = self.real.as_pointer()
        function = ir.Function(module, ir.FunctionType(self.real, [pointer, pointer, INT64]), name)
        function.linkage = "linkonce_odr"
        w, x, count = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        vector = ir.VectorType(self.real, self.lanes)
        zero = ir.Constant(vector, [ir.Constant(self.real, 0.0)] * self.lanes)

        def body(builder: Any, w: Any, x: Any, lanes: int, sums: list[Any]) -> list[Any]:
            left = self.widen(builder, self.load(builder, w, lanes), lanes)
            right = self.widen(builder, self.load(builder, x, lanes), lanes)
            return [self.fma(builder, left, right, sums[0], self.lanes)]

        sums = self.pieces(builder, w, x, count, [zero] * UNROLL, body)
        while len(sums) > 1:
            sums = [builder.fadd(a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
        reduce = f"llvm.vector.reduce.fadd.v{self.lanes}{self.kind}"
        callee = module.globals.get(reduce) or ir.Function(
            module, ir.FunctionType(self.real, [self.real, vector]), reduce
        )
        start = ir.Constant(self.real, -0.0)
        builder.ret(builder.call(callee, [start, sums[0]], fastmath=("reassoc",)))
        return function

    def axpy(self, module: Any, name: str) -> Any:
        pointer = self.real.as_pointer()
        function = ir.Function(
            module, ir.FunctionType(ir.VoidType(), [pointer, pointer, INT64, self.real]), name
        )
        function.linkage = "linkonce_odr"
        w, x, count, scale = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))

        def body(builder: Any, w: Any, x: Any, lanes: int, sums: list[Any]) -> list[Any]:
            vector = ir.VectorType(self.real, lanes)
            undefined = ir.Constant(vector, ir.Undefined)
            one = builder.insert_element(undefined, scale, ir.IntType(32)(0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
            factor = builder.shuffle_vector(one, undefined, zeros)
            old = self.load(builder, w, lanes)
            new = self.fma(builder, factor, self.load(builder, x, lanes), old, lanes)
            builder.store(new, builder.bitcast(w, vector.as_pointer()), align=self.itemsize)
            return sums

        self.pieces(builder, w, x, count, [], body)
        builder.ret_void()
        return function


def make_dot(dtype: np.dtype) -> tuple[Any, Any]:
    """Return ``dot(w, w_at, address, count)`` and ``axpy(w, w_at, address, count, scale)``.

    `address` is where `count` numbers x of the dtype lie one after another. dot returns sum w x;
    axpy adds scale x to w.
    """
    if config.DISABLE_JIT:
        return _plain_dot(dtype), _plain_axpy(dtype)
    pointer = llvm_real(dtype).as_pointer()
    name = dtype.name

    def shared(module: Any, operation: str) -> Any:
        full = f"fastnn_{operation}_{name}"
        return module.globals.get(full) or getattr(_Emitter(dtype), operation)(module, full)

    @intrinsic
    def dot(typingctx, w, w_at, address, count):
        def codegen(context, builder, signature, args):
            left = data_pointer(context, builder, signature.args[0], args[0], args[1])
            right = builder.inttoptr(args[2], pointer)
            return builder.call(shared(builder.module, "dot"), [left, right, args[3]])

        return w.dtype(w, types.int64, types.int64, types.int64), codegen

    @intrinsic
    def axpy(typingctx, w, w_at, address, count, scale):
        def codegen(context, builder, signature, args):
            left = data_pointer(context, builder, signature.args[0], args[0], args[1])
            right = builder.inttoptr(args[2], pointer)
            builder.call(shared(builder.module, "axpy"), [left, right, args[3], args[4]])
            return context.get_dummy_value()

        return types.void(w, types.int64, types.int64, types.int64, w.dtype), codegen

    return dot, axpy


def _plain_dot(dtype: np.dtype) -> Any:
    def dot(w, w_at, address, count):
        return (
            dtype.type(w[w_at : w_at + count] @ caller_row(dtype, address, count))
            if count
            else dtype.type(0)
        )

    return dot


def _plain_axpy(dtype: np.dtype) -> Any:
    def axpy(w, w_at, address, count, scale):
        w[w_at : w_at + count] += scale * caller_row(dtype, address, count)

    return axpy
