"""A step of several outputs in the lanes of vectors: an update with one row, and a product.

Where outputs are few, a vector takes all of them, or some vectors do: a panel of W has one vector a
row, whose lanes are the weights of outputs that lie side by side, and each number of a row of X is
multiplied with all lanes at once. What an output has one number of lies in a block behind one
another, the fields below, each as wide as all panels together; lanes beyond the outputs have a
change of 0, so that their weights stay 0.

`follow` waits for the derivatives of a row before it can begin the pass over W that gives z of the
next. Without a soft threshold and means, z of the next row is

    z' = keep (W x') + change (x . x') + b,

whose products need nothing of this row's derivatives: `advance` does them in the pass that does the
update of the row before, and `arrive` adds up. So only that waits for derivatives, and they for it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastnn.storage.kernels.machine import vector_bytes
from fastnn.targets.cpu.lanes import (
    BIASES,
    CHANGE,
    LAST_CHANGE,
    LAST_KEEP,
    MEANS,
    PRODUCT,
    TRAINED,
    Z,
)
from fastnn.targets.cpu.llvm import pure_python
from fastnn.targets.cpu.llvm.elementary import exp_numbers
from fastnn.targets.cpu.llvm.vectors import INT64, Writer, data_pointer, llvm_real, loop
from fastnn.targets.cpu.products.dot import FOLLOWING

UNROLL = 4  # independent sums, to hide the latency of an addition


def lanes_of(dtype: np.dtype) -> int:
    """Return how many outputs a vector takes."""
    return vector_bytes() // dtype.itemsize


class _Writer(Writer):
    """Writes the functions for one dtype."""

    def __init__(self, dtype: np.dtype) -> None:
        super().__init__(dtype)
        self._exp = exp_numbers(dtype)

    def follow(self, module: Any, name: str, shrinks: bool, averages: bool) -> Any:
        pointer = self.real.as_pointer()
        arguments = [pointer] * 5 + [INT64] * 2 + [self.real] * 4
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        w, mean, block, here, after, apart, count, trained, *common = function.args
        lanes, width = self.lanes, INT64(self.lanes)

        def place(field: int) -> Any:
            return builder.gep(block, [builder.mul(apart, INT64(field))])

        change, bias = (self.load(builder, place(field), lanes) for field in (CHANGE, BIASES))
        change, keep, threshold, share = self.of_trained(builder, place(TRAINED), change, *common)
        alone = builder.fcmp_ordered("==", share, self.number(1.0, lanes))
        least = builder.fneg(threshold)

        def averaged(builder: Any, new: Any, at: Any) -> None:
            old = self.load(builder, at, lanes)
            joined = self.fma(builder, share, builder.fsub(new, old), old)
            self.store(builder, builder.select(alone, new, joined), at)

        def step(builder: Any, index: Any, total: Any) -> Any:
            at = builder.mul(index, width)
            own = builder.gep(w, [at])
            x, z = (
                self.splat(builder, builder.load(builder.gep(row, [index])), lanes)
                for row in (here, after)
            )
            kept = builder.fmul(keep, self.load(builder, own, lanes))
            new = self.fma(builder, change, x, kept)
            if shrinks:  # as `fastnn.rules.updates.soft_threshold`
                cut = builder.select(builder.fcmp_ordered(">", new, threshold), threshold, new)
                cut = builder.select(builder.fcmp_ordered("<", cut, least), least, cut)
                new = builder.fsub(new, cut)
            self.store(builder, new, own)
            if averages:
                averaged(builder, new, builder.gep(mean, [at]))
            return self.fma(builder, new, z, total)

        total = self.over_rows(builder, count, step)
        bias = self.fma(builder, self.splat(builder, trained, lanes), change, bias)
        self.store(builder, bias, place(BIASES))
        if averages:
            averaged(builder, bias, place(MEANS))
        self.store(builder, builder.fadd(total, bias), place(Z))
        builder.ret_void()
        return function

    def over_rows(self, builder: Any, count: Any, step: Any) -> Any:
        """Return the sum of what ``step(builder, row, sum so far)`` adds for each row of W."""

        def together(builder: Any, index: Any, totals: list[Any]) -> list[Any]:
            first = builder.mul(index, INT64(UNROLL))
            return [
                step(builder, builder.add(first, INT64(part)), total)
                for part, total in enumerate(totals)
            ]

        def single(builder: Any, index: Any, totals: list[Any]) -> list[Any]:
            return [step(builder, builder.add(done, index), totals[0]), *totals[1:]]

        times = builder.udiv(count, INT64(UNROLL))
        done = builder.mul(times, INT64(UNROLL))
        totals = loop(builder, times, [self.zeros(self.lanes)] * UNROLL, together)
        totals = loop(builder, builder.sub(count, done), totals, single)
        pairs = builder.fadd(totals[0], totals[1]), builder.fadd(totals[2], totals[3])
        return builder.fadd(*pairs)

    def of_trained(
        self, builder: Any, trained: Any, change: Any, keep: Any, *others: Any
    ) -> list[Any]:
        """Return vectors of what outputs have in common, but for those that stay as they are."""
        lanes, zeros = self.lanes, self.zeros(self.lanes)
        moves = builder.fcmp_unordered("!=", self.load(builder, trained, lanes), zeros)
        found = [builder.select(moves, change, zeros)]
        one = self.number(1.0, lanes)
        found.append(builder.select(moves, self.splat(builder, keep, lanes), one))
        for each in others:
            found.append(builder.select(moves, self.splat(builder, each, lanes), zeros))
        return found

    def advance(self, module: Any, name: str) -> Any:
        pointer = self.real.as_pointer()
        arguments = [pointer] * 4 + [INT64] * 2
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        w, block, before, after, apart, count = function.args
        lanes, width = self.lanes, INT64(self.lanes)

        def place(field: int) -> Any:
            return builder.gep(block, [builder.mul(apart, INT64(field))])

        change, keep = (self.load(builder, place(each), lanes) for each in (LAST_CHANGE, LAST_KEEP))

        def step(builder: Any, index: Any, total: Any) -> Any:
            own = builder.gep(w, [builder.mul(index, width)])
            x, z = (
                self.splat(builder, builder.load(builder.gep(row, [index])), lanes)
                for row in (before, after)
            )
            kept = builder.fmul(keep, self.load(builder, own, lanes))
            new = self.fma(builder, change, x, kept)
            self.store(builder, new, own)
            return self.fma(builder, new, z, total)

        total = self.over_rows(builder, count, step)
        self.store(builder, total, place(PRODUCT))
        builder.ret_void()
        return function

    def arrive(self, module: Any, name: str) -> Any:
        arguments = [self.real.as_pointer(), INT64, INT64, *[self.real] * 3]
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        function.attributes.discard("noinline")
        block, apart, vectors, trained, common, rows = function.args
        lanes = self.lanes

        def panel(builder: Any, index: Any, found: list[Any]) -> list[Any]:
            at = builder.mul(index, INT64(lanes))

            def place(field: int) -> Any:
                return builder.gep(block, [builder.add(builder.mul(apart, INT64(field)), at)])

            change, ahead, bias = (
                self.load(builder, place(each), lanes) for each in (CHANGE, PRODUCT, BIASES)
            )
            change, keep = self.of_trained(builder, place(TRAINED), change, common)
            bias = self.fma(builder, self.splat(builder, trained, lanes), change, bias)
            kept = self.fma(builder, keep, ahead, bias)
            z = self.fma(builder, change, self.splat(builder, rows, lanes), kept)
            # A row of weight 0 may be so large that its product with the next one is infinite.
            still = builder.fcmp_ordered("==", change, self.zeros(lanes))
            z = builder.select(still, kept, z)
            known = ((BIASES, bias), (Z, z), (LAST_CHANGE, change), (LAST_KEEP, keep))
            for field, value in known:
                self.store(builder, value, place(field))
            return []

        loop(builder, vectors, [], panel)
        builder.ret_void()
        return function

    def number(self, value: Any, lanes: int) -> Any:
        """Return a constant in all lanes."""
        return ir.Constant(self.vector(lanes), [ir.Constant(self.real, float(value))] * lanes)

    def exponential(self, builder: Any, x: Any) -> Any:
        """Return exp of each lane, as `elementary.exp` computes it."""
        lanes, of = self.lanes, self._exp
        bits = ir.VectorType(ir.IntType(8 * self.itemsize), lanes)

        def whole(value: int) -> Any:
            return ir.Constant(bits, [ir.Constant(bits.element, value)] * lanes)

        def power_of_two(n: Any) -> Any:
            raised = builder.shl(builder.add(n, whole(of.bias)), whole(of.mantissa))
            return builder.bitcast(raised, x.type)

        low, high, magic = (self.number(each, lanes) for each in (of.low, of.high, of.magic))
        x = builder.select(builder.fcmp_ordered("<", x, low), low, x)
        x = builder.select(builder.fcmp_ordered(">", x, high), high, x)
        shifted = self.fma(builder, x, self.number(of.per_ln2, lanes), magic)
        less = builder.fneg(builder.fsub(shifted, magic))
        r = self.fma(builder, less, self.number(of.ln2_high, lanes), x)
        r = self.fma(builder, less, self.number(of.ln2_low, lanes), r)
        n = builder.sub(builder.bitcast(shifted, bits), builder.bitcast(magic, bits))
        terms, power = [self.number(each, lanes) for each in of.tail], r
        square = builder.fmul(r, r)
        while len(terms) > 1:  # by Estrin's scheme
            pairs = zip(terms[::2], terms[1::2], strict=False)
            odd = terms[len(terms) // 2 * 2 :]
            terms = [self.fma(builder, power, right, left) for left, right in pairs] + odd
            power = square if power is r else builder.fmul(power, power)
        p = self.fma(builder, square, terms[0], r)
        first = builder.ashr(n, whole(1))
        scale = power_of_two(first)
        return builder.fmul(self.fma(builder, scale, p, scale), power_of_two(builder.sub(n, first)))

    def softmax(self, module: Any, name: str) -> Any:
        pointer, pair = self.real.as_pointer(), ir.ArrayType(self.real, 2)
        arguments = [pointer, INT64, INT64, INT64, self.real]
        function, builder = self.function(module, name, pair, arguments)
        block, apart, vectors, label, factor = function.args
        lanes = self.lanes
        z, to = (builder.gep(block, [builder.mul(apart, INT64(field))]) for field in (Z, CHANGE))

        def part(builder: Any, numbers: Any, index: Any) -> Any:
            return builder.gep(numbers, [builder.mul(index, INT64(lanes))])

        def larger(a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        def all_lanes(vector: Any, join: Any) -> Any:
            """Return a vector that has in each lane what the lanes come to together."""
            half = lanes // 2
            while half:
                other = self.shuffle(builder, vector, vector, [at ^ half for at in range(lanes)])
                vector, half = join(vector, other), half // 2
            return vector

        def most(builder: Any, index: Any, found: list[Any]) -> list[Any]:
            return [larger(found[0], self.load(builder, part(builder, z, index), lanes))]

        (largest,) = loop(builder, vectors, [self.number(-np.inf, lanes)], most)
        largest = all_lanes(largest, larger)

        def exponentials(builder: Any, index: Any, found: list[Any]) -> list[Any]:
            own = builder.fsub(self.load(builder, part(builder, z, index), lanes), largest)
            power = self.exponential(builder, own)
            self.store(builder, power, part(builder, to, index))
            return [builder.fadd(found[0], power)]

        (total,) = loop(builder, vectors, [self.zeros(lanes)], exponentials)
        total = all_lanes(total, builder.fadd)
        factors = self.splat(builder, factor, lanes)
        share = builder.fdiv(factors, total)
        words = ir.VectorType(ir.IntType(32), lanes)
        numbered = ir.Constant(words, [ir.Constant(words.element, at) for at in range(lanes)])

        def changes(builder: Any, index: Any, found: list[Any]) -> list[Any]:
            own = builder.sub(label, builder.mul(index, INT64(lanes)))
            own = builder.trunc(own, words.element)
            undefined = ir.Constant(words, ir.Undefined)
            one = builder.insert_element(undefined, own, ir.IntType(32)(0))
            own = self.shuffle(builder, one, undefined, [0] * lanes)
            there = builder.icmp_signed("==", numbered, own)
            less = builder.select(there, factors, self.zeros(lanes))
            at = part(builder, to, index)
            power = builder.fmul(self.load(builder, at, lanes), share)
            self.store(builder, builder.fsub(power, less), at)
            return []

        loop(builder, vectors, [], changes)
        result = ir.Constant(pair, ir.Undefined)
        for place, vector in enumerate((largest, total)):
            first = builder.extract_element(vector, INT64(0))
            result = builder.insert_value(result, first, place)
        builder.ret(result)
        return function


def make_outputs(dtype: np.dtype) -> SimpleNamespace:
    """Return the functions of one dtype.

    follow[shrinks, averages](memory, w, mean, block, apart, here, after, count, trained, keep,
    threshold, share): of one panel, W <- keep W + change x_here; its soft threshold, if it shrinks;
    and the mean of what W has been, if it averages; so the biases, without `keep` and threshold,
    where `trained` is 1; and z of x_after with what they are then. `block` is where the panel's
    part of the first field is, and `apart` the distance between two fields. Outputs whose TRAINED
    is 0 stay as they are.

    advance(memory, w, block, apart, before, after, count): of one panel, the last update, with
    x_before, and the product with x_after; arrive(memory, block, apart, vectors, trained, keep,
    rows): of all panels, z of x_after, the biases, and this update as the last, `rows` being the
    product of x_here and x_after.

    softmax(memory, block, apart, vectors, label, factor): the changes of all panels become
    factor (softmax(z) - [label]); returns max z and sum exp(z - max z). Lanes beyond the outputs
    must have a z far below.
    """
    if config.DISABLE_JIT:
        return SimpleNamespace(
            lanes=lanes_of(dtype),
            follow={kind: pure_python.follow_outputs(dtype, *kind) for kind in FOLLOWING},
            advance=pure_python.advance_outputs(dtype),
            arrive=pure_python.arrive_outputs(dtype),
            softmax=pure_python.softmax_lanes(dtype),
        )
    pointer = llvm_real(dtype).as_pointer()

    def make_follow(shrinks: bool, averages: bool) -> Any:
        kind = f"{'_shrunk' * shrinks}{'_averaged' * averages}_{dtype.name}"
        name = f"fastnn_follow_outputs{kind}"

        @intrinsic
        def follow(
            typingctx, memory, w, mean, block, apart, here, after, count, trained, keep, threshold,
            share,
        ):  # fmt: skip
            def codegen(context, builder, signature, args):
                array, places, distance = args[0], args[1:4], args[4]
                ours = [
                    data_pointer(context, builder, signature.args[0], array, at) for at in places
                ]
                rows = [builder.inttoptr(address, pointer) for address in args[5:7]]
                module = builder.module
                callee = module.globals.get(name) or _Writer(dtype).follow(
                    module, name, shrinks, averages
                )
                builder.call(callee, [*ours, *rows, distance, *args[7:]])
                return context.get_dummy_value()

            return types.void(memory, *[types.int64] * 7, *[memory.dtype] * 4), codegen

        return follow

    def called(operation: str, builder: Any, args: Any) -> Any:
        name, module = f"fastnn_{operation}_outputs_{dtype.name}", builder.module
        callee = module.globals.get(name) or getattr(_Writer(dtype), operation)(module, name)
        return builder.call(callee, args)

    @intrinsic
    def advance(typingctx, memory, w, block, apart, before, after, count):
        def codegen(context, builder, signature, args):
            ours = [
                data_pointer(context, builder, signature.args[0], args[0], at) for at in args[1:3]
            ]
            rows = [builder.inttoptr(address, pointer) for address in args[4:6]]
            called("advance", builder, [*ours, *rows, args[3], args[6]])
            return context.get_dummy_value()

        return types.void(memory, *[types.int64] * 6), codegen

    @intrinsic
    def arrive(typingctx, memory, block, apart, vectors, trained, keep, rows):
        def codegen(context, builder, signature, args):
            at = data_pointer(context, builder, signature.args[0], *args[:2])
            called("arrive", builder, [at, *args[2:]])
            return context.get_dummy_value()

        return types.void(memory, *[types.int64] * 3, *[memory.dtype] * 3), codegen

    @intrinsic
    def softmax(typingctx, memory, block, apart, vectors, label, factor):
        def codegen(context, builder, signature, args):
            at = data_pointer(context, builder, signature.args[0], *args[:2])
            return called("softmax", builder, [at, *args[2:]])

        own = memory.dtype
        return types.UniTuple(own, 2)(memory, *[types.int64] * 4, own), codegen

    return SimpleNamespace(
        lanes=lanes_of(dtype),
        follow={kind: make_follow(*kind) for kind in FOLLOWING},
        advance=advance,
        arrive=arrive,
        softmax=softmax,
    )
