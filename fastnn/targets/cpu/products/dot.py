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

from fastnn.targets.cpu.llvm import pure_python
from fastnn.targets.cpu.llvm.vectors import INT64, Writer, data_pointer, llvm_real, loop, when

UNROLL = 4  # independent sums, to hide the latency of an addition
FOLLOWING = tuple((shrinks, averages) for shrinks in (False, True) for averages in (False, True))


class _Writer(Writer):
    """Writes the functions for one dtype."""

    def pieces(
        self,
        builder: Any,
        count: Any,
        arrays: list[Any],
        carried: list[Any],
        body: Callable[..., Any],
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
            mine = slice(which * size, (which + 1) * size)

            def rest(
                builder: Any, at: Any = at, part: int = part, own: list[Any] = sums[mine]
            ) -> list[Any]:
                results = body(builder, at_index(builder, at), part, own)
                return [builder.add(at, INT64(part)), *results]

            at, *sums[mine] = when(builder, present, [at, *sums[mine]], rest)
            part //= 2
        return sums

    def add_product(self, builder: Any, a: Any, b: Any, total: Any) -> Any:
        return self.fma(builder, self.widen(builder, a), self.widen(builder, b), total)

    def added(self, builder: Any, sums: list[Any]) -> Any:
        """Add up vectors pairwise."""
        while len(sums) > 1:
            sums = [builder.fadd(a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
        return sums[0]

    def dot(self, module: Any, name: str) -> Any:
        pointer = self.real.as_pointer()
        function, builder = self.function(module, name, self.real, [pointer, pointer, INT64])
        w, x, count = function.args

        def body(builder: Any, at: list[Any], lanes: int, sums: list[Any]) -> list[Any]:
            left, right = (self.load(builder, each, lanes) for each in at)
            return [self.add_product(builder, left, right, sums[0])]

        sums = self.pieces(builder, count, [w, x], [self.zeros(self.lanes)] * UNROLL, body)
        (total,) = self.fold(builder, [self.added(builder, sums)], builder.fadd)
        builder.ret(builder.extract_element(total, INT64(0)))
        return function

    def squares(self, module: Any, name: str, source: np.dtype) -> Any:
        """Write the sum of the squares of a factor times each number of type `source`."""
        real = llvm_real(source)
        arguments = [real.as_pointer(), INT64, self.real]
        function, builder = self.function(module, name, self.real, arguments)
        function.attributes.discard("noinline")  # a column of W is short, and the factor mostly 1
        x, count, factor = function.args

        def body(builder: Any, at: list[Any], lanes: int, sums: list[Any]) -> list[Any]:
            pointer = builder.bitcast(at[0], ir.VectorType(real, lanes).as_pointer())
            value = builder.load(pointer, align=source.itemsize)
            value = builder.fpext(value, self.vector(lanes)) if real != self.real else value
            value = builder.fmul(value, self.splat(builder, factor, lanes))
            return [self.add_product(builder, value, value, sums[0])]

        sums = self.pieces(builder, count, [x], [self.zeros(self.lanes)] * UNROLL, body)
        (total,) = self.fold(builder, [self.added(builder, sums)], builder.fadd)
        builder.ret(builder.extract_element(total, INT64(0)))
        return function

    def axpy(self, module: Any, name: str) -> Any:
        pointer = self.real.as_pointer()
        arguments = [pointer, pointer, INT64, self.real]
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        w, x, count, scale = function.args

        def body(builder: Any, at: list[Any], lanes: int, sums: list[Any]) -> list[Any]:
            factor = self.splat(builder, scale, lanes)
            old, row = (self.load(builder, each, lanes) for each in at)
            self.store(builder, self.fma(builder, factor, row, old), at[0])
            return sums

        self.pieces(builder, count, [w, x], [], body)
        builder.ret_void()
        return function

    def advance(self, module: Any, name: str) -> Any:
        pointer = self.real.as_pointer()
        arguments = [pointer] * 4 + [INT64] + [self.real] * 2
        pair = ir.ArrayType(self.real, 2)
        function, builder = self.function(module, name, pair, arguments)
        w, before, here, after, count, keep, scale = function.args

        def body(builder: Any, at: list[Any], lanes: int, sums: list[Any]) -> list[Any]:
            old, x, y, z = (self.load(builder, each, lanes) for each in at)
            kept = builder.fmul(self.splat(builder, keep, lanes), old)
            new = self.fma(builder, self.splat(builder, scale, lanes), x, kept)
            self.store(builder, new, at[0])
            return [
                self.add_product(builder, new, z, sums[0]),
                self.add_product(builder, y, z, sums[1]),
            ]

        arrays = [w, before, here, after]
        sums = self.pieces(builder, count, arrays, [self.zeros(self.lanes)] * (2 * UNROLL), body)
        totals = [self.added(builder, sums[position::2]) for position in range(2)]
        (both,) = self.fold(builder, totals, builder.fadd)
        result = ir.Constant(pair, ir.Undefined)
        for position in range(2):
            total = builder.extract_element(both, INT64(position))
            result = builder.insert_value(result, total, position)
        builder.ret(result)
        return function

    def follow(self, module: Any, name: str, shrinks: bool, averages: bool) -> Any:
        """Write an update with one row, and the product of what it gives with another row."""
        arguments = [self.real.as_pointer()] * 4 + [INT64] + [self.real] * 4
        function, builder = self.function(module, name, self.real, arguments)
        w, mean, here, after, count, keep, scale, threshold, share = function.args
        least = builder.fneg(threshold)
        alone = builder.fcmp_ordered("==", share, ir.Constant(self.real, 1.0))

        def body(builder: Any, at: list[Any], lanes: int, sums: list[Any]) -> list[Any]:
            old, x, z, *means = (self.load(builder, each, lanes) for each in at)
            kept = builder.fmul(self.splat(builder, keep, lanes), old)
            new = self.fma(builder, self.splat(builder, scale, lanes), x, kept)
            if shrinks:  # as `fastnn.rules.updates.soft_threshold`
                high, low = (self.splat(builder, each, lanes) for each in (threshold, least))
                cut = builder.select(builder.fcmp_ordered(">", new, high), high, new)
                cut = builder.select(builder.fcmp_ordered("<", cut, low), low, cut)
                new = builder.fsub(new, cut)
            self.store(builder, new, at[0])
            if averages:
                part = self.splat(builder, share, lanes)
                joined = self.fma(builder, part, builder.fsub(new, means[0]), means[0])
                self.store(builder, builder.select(alone, new, joined), at[3])
            return [self.add_product(builder, new, z, sums[0])]

        arrays = [w, here, after, mean] if averages else [w, here, after]
        sums = self.pieces(builder, count, arrays, [self.zeros(self.lanes)] * UNROLL, body)
        (total,) = self.fold(builder, [self.added(builder, sums)], builder.fadd)
        builder.ret(builder.extract_element(total, INT64(0)))
        return function


def make_dot(dtype: np.dtype) -> SimpleNamespace:
    """Return the products for one dtype; an address is where `count` numbers lie side by side.

    dot(w, w_at, address, count): sum w x; between(address, other, count): that of two rows.
    axpy(w, w_at, address, count, scale): w += scale x.
    advance(w, w_at, before, here, after, count, keep, scale): w = keep w + scale x_before, and
    returns (sum w x_after, sum x_here x_after).
    follow[shrinks, averages](w, w_at, mean_at, here, after, count, keep, scale, threshold, share):
    w = keep w + scale x_here; its soft threshold, if it shrinks; and the mean at mean_at of what w
    has been, in which this one has that share, if it averages; returns sum w x_after, to the bit as
    `dot` then would.
    """
    if config.DISABLE_JIT:
        return SimpleNamespace(
            dot=pure_python.dot(dtype),
            between=pure_python.rows_product(dtype),
            axpy=pure_python.axpy(dtype),
            advance=pure_python.advance(dtype),
            follow={kind: pure_python.follow(dtype, *kind) for kind in FOLLOWING},
        )
    pointer = llvm_real(dtype).as_pointer()

    def call(operation: str, builder: Any, args: Any, addresses: int) -> Any:
        """Call the shared function: w and offset, then addresses, then what follows them."""
        name = f"fastnn_{operation}_{dtype.name}"
        module = builder.module
        callee = module.globals.get(name) or getattr(_Writer(dtype), operation)(module, name)
        end = 2 + addresses
        rows = [builder.inttoptr(address, pointer) for address in args[2:end]]
        return builder.call(callee, [args[0], *rows, *args[end:]])

    @intrinsic
    def dot(typingctx, w, w_at, address, count):
        def codegen(context, builder, signature, args):
            args = [data_pointer(context, builder, signature.args[0], *args[:2]), *args[1:]]
            return call("dot", builder, args, 1)

        return w.dtype(w, types.int64, types.int64, types.int64), codegen

    own = types.float64 if dtype.itemsize == 8 else types.float32

    @intrinsic
    def between(typingctx, address, other, count):
        def codegen(context, builder, signature, args):
            module, name = builder.module, f"fastnn_dot_{dtype.name}"
            callee = module.globals.get(name) or _Writer(dtype).dot(module, name)
            rows = [builder.inttoptr(each, pointer) for each in args[:2]]
            return builder.call(callee, [*rows, args[2]])

        return own(types.int64, types.int64, types.int64), codegen

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

    def make_follow(shrinks: bool, averages: bool) -> Any:
        name = f"fastnn_follow{'_shrunk' * shrinks}{'_averaged' * averages}_{dtype.name}"

        @intrinsic
        def follow(typingctx, w, w_at, mean_at, here, after, count, keep, scale, threshold, share):
            def codegen(context, builder, signature, args):
                ours = [
                    data_pointer(context, builder, signature.args[0], args[0], at)
                    for at in args[1:3]
                ]
                rows = [builder.inttoptr(address, pointer) for address in args[3:5]]
                module = builder.module
                callee = module.globals.get(name) or _Writer(dtype).follow(
                    module, name, shrinks, averages
                )
                return builder.call(callee, [*ours, *rows, *args[5:]])

            return w.dtype(w, *[types.int64] * 5, *[w.dtype] * 4), codegen

        return follow

    return SimpleNamespace(
        dot=dot,
        between=between,
        axpy=axpy,
        advance=advance,
        follow={kind: make_follow(*kind) for kind in FOLLOWING},
    )


def make_squares(dtype: np.dtype) -> Any:
    """Return ``squares(memory, at, count, unit)``: sum (unit x)^2 in float64, x of `dtype`."""
    if config.DISABLE_JIT:
        return pure_python.squares()
    name = f"fastnn_squares_{dtype.name}"

    @intrinsic
    def squares(typingctx, memory, at, count, unit):
        def codegen(context, builder, signature, args):
            x, module = data_pointer(context, builder, signature.args[0], *args[:2]), builder.module
            writer = _Writer(np.dtype(np.float64))
            callee = module.globals.get(name) or writer.squares(module, name, dtype)
            return builder.call(callee, [x, *args[2:]])

        return types.float64(memory, types.int64, types.int64, types.float64), codegen

    return squares
