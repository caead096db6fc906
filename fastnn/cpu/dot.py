"""Products with the caller's rows, read where they lie: x . w and w += c x, and both at once.

A row is taken in vectors, then in halves, quarters, ... of a vector, so nothing beyond its end is
touched, and a number of w is always read in the piece in which it was last written, which a
processor forwards from its store buffer without waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastnn.cpu import plain
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
        self, builder: Any, count: Any, arrays: list[Any], carried: list[Any], body: Callable[..., Any]
    ) -> list[Any]:
        """Call ``body(builder, pointers, lanes, sums) -> sums`` for all of 0..count.

        `carried` holds UNROLL independent groups of sums; a call of `body` gets one of them.
        """
        lanes, wide = self.lanes, self.lanes * UNROLL
        size = len(carried) // UNROLL

        def at_index(builder: Any, at: Any) -> list[Any]:
            return [builder.gep(array, [at]) for array in arrays]

        def block(builder: Any, index: Any, sums: list[Any]) -> list[Any]:
            start = builder.mul(index, INT64(wide))
            result = []
            for piece in range(UNROLL):
                at = builder.add(start, INT64(piece * lanes))
                group = sums[piece * size : (piece + 1) * size]
                result += body(builder, at_index(builder, at), lanes, group)
            return result

        def single(builder: Any, index: Any, sums: list[Any]) -> list[Any]:
            at = builder.add(done, builder.mul(index, INT64(lanes)))
            return body(builder, at_index(builder, at), lanes, sums[:size]) + sums[size:]

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
            mine = sums[which * size : (which + 1) * size]
            changed = body(builder, at_index(builder, at), part, mine)
            onward = builder.add(at, INT64(part))
            builder.branch(after)
            builder.position_at_end(after)
            merged = builder.phi(INT64)
            merged.add_incoming(at, before)
            merged.add_incoming(onward, inside)
            for position, (old, new) in enumerate(zip(mine, changed, strict=True)):
                phi = builder.phi(old.type)
                phi.add_incoming(old, before)
                phi.add_incoming(new, inside)
                sums[which * size + position] = phi
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

    def start(self, module: Any, name: str, result: Any, arguments: list[Any]) -> tuple[Any, Any]:
        function = ir.Function(module, ir.FunctionType(result, arguments), name)
        function.linkage = "linkonce_odr"
        return function, ir.IRBuilder(function.append_basic_block("entry"))

    def splat(self, builder: Any, scalar: Any, lanes: int) -> Any:
        undefined = ir.Constant(ir.VectorType(self.real, lanes), ir.Undefined)
        one = builder.insert_element(undefined, scalar, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        return builder.shuffle_vector(one, undefined, zeros)

    def store(self, builder: Any, value: Any, pointer: Any) -> None:
        pointer = builder.bitcast(pointer, value.type.as_pointer())
        builder.store(value, pointer, align=self.itemsize)

    def zeros(self) -> Any:
        vector = ir.VectorType(self.real, self.lanes)
        return ir.Constant(vector, [ir.Constant(self.real, 0.0)] * self.lanes)

    def add_product(self, builder: Any, a: Any, b: Any, total: Any, lanes: int) -> Any:
        a, b = self.widen(builder, a, lanes), self.widen(builder, b, lanes)
        return self.fma(builder, a, b, total, self.lanes)

    def total(self, builder: Any, sums: list[Any]) -> Any:
        """Add up vectors pairwise, then the lanes of the last."""
        while len(sums) > 1:
            sums = [builder.fadd(a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
        reduce = f"llvm.vector.reduce.fadd.v{self.lanes}{self.kind}"
        callee = builder.module.globals.get(reduce) or ir.Function(
            builder.module, ir.FunctionType(self.real, [self.real, sums[0].type]), reduce
        )
        begin = ir.Constant(self.real, -0.0)
        return builder.call(callee, [begin, sums[0]], fastmath=("reassoc",))

    def dot(self, module: Any, name: str) -> Any:
        pointer = self.real.as_pointer()
        function, builder = self.start(module, name, self.real, [pointer, pointer, INT64])
        w, x, count = function.args

        def body(builder: Any, at: list[Any], lanes: int, sums: list[Any]) -> list[Any]:
            left, right = (self.load(builder, each, lanes) for each in at)
            return [self.add_product(builder, left, right, sums[0], lanes)]

        sums = self.pieces(builder, count, [w, x], [self.zeros()] * UNROLL, body)
        builder.ret(self.total(builder, sums))
        return function

    def axpy(self, module: Any, name: str) -> Any:
        pointer = self.real.as_pointer()
        arguments = [pointer, pointer, INT64, self.real]
        function, builder = self.start(module, name, ir.VoidType(), arguments)
        w, x, count, scale = function.args

        def body(builder: Any, at: list[Any], lanes: int, sums: list[Any]) -> list[Any]:
            factor = self.splat(builder, scale, lanes)
            old, row = (self.load(builder, each, lanes) for each in at)
            self.store(builder, self.fma(builder, factor, row, old, lanes), at[0])
            return sums

        self.pieces(builder, count, [w, x], [], body)
        builder.ret_void()
        return function

    def advance(self, module: Any, name: str) -> Any:
        pointer = self.real.as_pointer()
        arguments = [pointer] * 4 + [INT64] + [self.real] * 2
        pair = ir.ArrayType(self.real, 2)
        function, builder = self.start(module, name, pair, arguments)
        w, before, here, after, count, keep, scale = function.args

        def body(builder: Any, at: list[Any], lanes: int, sums: list[Any]) -> list[Any]:
            old, x, y, z = (self.load(builder, each, lanes) for each in at)
            kept = builder.fmul(self.splat(builder, keep, lanes), old)
            new = self.fma(builder, self.splat(builder, scale, lanes), x, kept, lanes)
            self.store(builder, new, at[0])
            return [
                self.add_product(builder, new, z, sums[0], lanes),
                self.add_product(builder, y, z, sums[1], lanes),
            ]

        arrays = [w, before, here, after]
        sums = self.pieces(builder, count, arrays, [self.zeros()] * (2 * UNROLL), body)
        result = ir.Constant(pair, ir.Undefined)
        for position in range(2):
            total = self.total(builder, sums[position::2])
            result = builder.insert_value(result, total, position)
        builder.ret(result)
        return function


def make_dot(dtype: np.dtype) -> SimpleNamespace:
    """Return the products for one dtype; an address is where `count` numbers lie side by side.

    dot(w, w_at, address, count): sum w x.
    axpy(w, w_at, address, count, scale): w += scale x.
    advance(w, w_at, before, here, after, count, keep, scale): w = keep w + scale x_before, and
    returns (sum w x_after, sum x_here x_after).
    """
    if config.DISABLE_JIT:
        return SimpleNamespace(
            dot=plain.dot(dtype), axpy=plain.axpy(dtype), advance=plain.advance(dtype)
        )
    pointer = llvm_real(dtype).as_pointer()

    def call(operation: str, builder: Any, args: Any, addresses: int) -> Any:
        """Call the shared function: w and offset, then addresses, then what follows them."""
        name = f"fastnn_{operation}_{dtype.name}"
        module = builder.module
        callee = module.globals.get(name) or getattr(_Emitter(dtype), operation)(module, name)
        end = 2 + addresses
        rows = [builder.inttoptr(address, pointer) for address in args[2:end]]
        return builder.call(callee, [args[0], *rows, *args[end:]])

    @intrinsic
    def dot(typingctx, w, w_at, address, count):
        def codegen(context, builder, signature, args):
            args = [data_pointer(context, builder, signature.args[0], *args[:2]), *args[1:]]
            return call("dot", builder, args, 1)

        return w.dtype(w, types.int64, types.int64, types.int64), codegen

    @intrinsic
    def axpy(typingctx, w, w_at, address, count, scale):
        def codegen(context, builder, signature, args):
            args = [data_pointer(context, builder, signature.args[0], *args[:2]), *args[1:]]
            call("axpy", builder, args, 1)
            return context.get_dummy_value()

        return types.void(w, types.int64, types.int64, types.int64, w.dtype), codegen

    @intrinsic
    def advance(typingctx, w, w_at, before, here, after, count, keep, scale):
        def codegen(context, builder, signature, args):
            args = [data_pointer(context, builder, signature.args[0], *args[:2]), *args[1:]]
            return call("advance", builder, args, 3)

        words = [types.int64] * 5
        return types.UniTuple(w.dtype, 2)(w, *words, w.dtype, w.dtype), codegen

    return SimpleNamespace(dot=dot, axpy=axpy, advance=advance)
