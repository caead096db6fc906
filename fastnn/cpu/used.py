"""Which inputs a batch uses: the columns of X that are not zero in all of its rows.

Where x is zero, so are its products: the first layer goes over the other columns alone, with the
same result. Pictures with an empty margin and one-hot codes have many such columns (MNIST: 39 % of
784 at 48 rows). Where there are none the first rows say so, and looking costs next to nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastnn.cpu import plain
from fastnn.cpu.gemm import ZERO
from fastnn.cpu.job import head_of, layers_of, order_of, sources_of, used_of
from fastnn.cpu.naming import njit
from fastnn.cpu.rules import EXACT, U
from fastnn.cpu.sources import ADDRESS, ROW_STRIDE
from fastnn.cpu.vector import INT64, Writer, data_pointer, loop
from fastnn.plan import BATCH, LOOK_ROWS, SAMPLES, USED_SIZE, K

TOGETHER = 4  # rows between two looks at whether all columns have been found
WORTHWHILE = 128  # columns; with fewer of them there is little to gain
PATIENCE = 16  # steps that go over all columns after one that uses them all


class _Writer(Writer):
    """Writes the function of one dtype."""

    def used(self, module: Any, name: str) -> Any:
        """Return the bits of the columns of a vector that are not zero in one of the rows."""
        arguments = [INT64.as_pointer(), INT64, INT64, INT64]
        function, builder = self.function(module, name, INT64, arguments)
        order, address, stride, samples = function.args
        whole = ir.VectorType(ir.IntType(8 * self.itemsize), self.lanes)
        zero = ir.Constant(whole, [0] * self.lanes)

        def seen(builder: Any, s: Any, bits: Any) -> Any:
            row = builder.mul(builder.load(builder.gep(order, [s])), stride)
            at = builder.inttoptr(builder.add(address, row), whole.as_pointer())
            return builder.or_(bits, builder.load(at, align=self.itemsize))

        def columns(builder: Any, bits: Any) -> Any:
            # Without the sign: -0.0 is zero too.
            shifted = builder.shl(bits, ir.Constant(whole, [1] * self.lanes))
            found = builder.icmp_unsigned("!=", shifted, zero)
            return builder.zext(builder.bitcast(found, ir.IntType(self.lanes)), INT64)

        def several(builder: Any, index: Any, carried: list[Any]) -> list[Any]:
            bits = carried[0]
            for i in range(TOGETHER):
                at = builder.add(builder.mul(index, INT64(TOGETHER)), INT64(i))
                bits = seen(builder, at, bits)
            inside, after = (builder.append_basic_block(n) for n in ("all", "more"))
            everything = INT64((1 << self.lanes) - 1)
            all_found = builder.icmp_unsigned("==", columns(builder, bits), everything)
            builder.cbranch(all_found, inside, after)
            builder.position_at_end(inside)
            builder.ret(everything)
            builder.position_at_end(after)
            return [bits]

        blocks = builder.udiv(samples, INT64(TOGETHER))
        (bits,) = loop(builder, blocks, [zero], several)
        done = builder.mul(blocks, INT64(TOGETHER))

        def single(builder: Any, index: Any, carried: list[Any]) -> list[Any]:
            return [seen(builder, builder.add(done, index), carried[0])]

        (bits,) = loop(builder, builder.sub(samples, done), [bits], single)
        builder.ret(columns(builder, bits))
        return function


def _make_used(dtype: np.dtype) -> Any:
    """Return ``used(order, first, address, stride, samples)``: bits of the columns at `address`."""
    lanes = Writer(dtype).lanes
    if config.DISABLE_JIT:
        return plain.used(dtype, lanes)
    name = f"fastnn_used_{dtype.name}"

    @intrinsic
    def used(typingctx, order, first, address, stride, samples):
        def codegen(context, builder, signature, args):
            module = builder.module
            rows = data_pointer(context, builder, signature.args[0], args[0], args[1])
            callee = module.globals.get(name) or _Writer(dtype).used(module, name)
            return builder.call(callee, [rows, *args[2:]])

        return types.int64(order, *[types.int64] * 4), codegen

    return used


def make_find_used(dtype: np.dtype, panel: int) -> Any:
    """Return ``find_used(job, first, block, samples, me)``: where the list is in `used`.

    It lists the columns used by a block of head[LOOK_ROWS] rows of the batch, in rising order,
    once a step and thread. Behind the list, K numbers on, is how many there are before each panel,
    and last how many in all.
    """
    lanes, itemsize, used_bits = panel // 2, dtype.itemsize, _make_used(dtype)

    @njit(**EXACT)
    def look(job, first, samples, start):
        """Write the list for `samples` rows; return whether all columns are in it."""
        layers, sources, order, used = layers_of(job), sources_of(job), order_of(job), used_of(job)
        k = layers[0, K]
        address, stride = sources[0, ADDRESS], sources[0, ROW_STRIDE]
        count, starts = ZERO, start + k
        for c in range(0, k, lanes):
            if c % panel == 0:
                used[U(starts + c // panel)] = count
            # The last vector of a row ends with the row.
            at = min(c, k - lanes)
            bits = (1 << lanes) - 1
            if k >= WORTHWHILE:
                bits = used_bits(order, first, address + at * itemsize, stride, samples) >> (c - at)
            for i in range(min(lanes, k - c)):
                used[U(start + count)] = c + i
                count += bits >> i & 1
        used[U(starts + (k + panel - 1) // panel)] = count
        return count == k

    @njit(**EXACT)
    def find_used(job, first, block, samples, me):
        head, layers, used = head_of(job), layers_of(job), used_of(job)
        k, size = layers[0, K], head[LOOK_ROWS]
        blocks = (head[BATCH] + size - 1) // size
        start = (me * blocks + block) * head[USED_SIZE]
        known = start + k + (k + panel - 1) // panel + 1
        if first >= used[U(known)]:
            r0 = block * size
            everything = look(job, first + r0, min(size, samples - r0), start)
            used[U(known)] = first + 1
            if k < WORTHWHILE:
                used[U(known)] = head[SAMPLES]
            elif everything:
                used[U(known)] = first + PATIENCE * head[BATCH]
        return start

    return find_used
