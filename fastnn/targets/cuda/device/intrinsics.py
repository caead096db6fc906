"""What Numba's CUDA lacks for the matrix product: 16-byte loads and stores, sums held in registers.

Each is LLVM code written in one straight line, so that arrays of `cuda.local.array` are only ever
indexed by constants and become registers, whatever the optimiser thinks of unrolling. In Numba's
simulator the same names are plain Python functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from fastnn.targets.cuda.host.numba_cuda import SIMULATED, cuda

INT32 = ir.IntType(32)
INT64 = ir.IntType(64)
REAL = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
# How inline PTX writes a number of each type: the suffix of instructions, the letter of operands.
PTX = {"float32": ("f32", "f"), "float64": ("f64", "d")}


def vector_length(dtype: np.dtype[Any]) -> int:
    """Return how many numbers one 16-byte load brings."""
    return 16 // dtype.itemsize


def intrinsic(function: Callable[..., Any]) -> Any:
    """Make a function that writes its own LLVM code."""
    return cuda.extending.intrinsic(function)


def pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Return the address of element `index` of a one-dimensional contiguous array."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def element(builder: Any, start: Any, index: int) -> Any:
    """Return the address `index` numbers, a constant, behind `start`."""
    return builder.gep(start, [INT32(index)])


def load_numbers(builder: Any, start: Any, count: int) -> list[Any]:
    """Return the first `count` numbers from an address on, one load each: for registers."""
    return [builder.load(element(builder, start, i)) for i in range(count)]


def store_numbers(builder: Any, start: Any, values: list[Any]) -> None:
    """Store numbers from an address on, one store each: for registers."""
    for i, value in enumerate(values):
        builder.store(value, element(builder, start, i))


def load_vector(builder: Any, start: Any, length: int) -> list[Any]:
    """Return `length` numbers that one aligned load brings."""
    kind = ir.VectorType(start.type.pointee, length)
    whole = builder.load(builder.bitcast(start, kind.as_pointer()), align=length * _bytes(start))
    return [builder.extract_element(whole, INT32(i)) for i in range(length)]


def store_vector(builder: Any, start: Any, values: list[Any]) -> None:
    """Store numbers by one aligned store."""
    kind = ir.VectorType(start.type.pointee, len(values))
    whole = ir.Constant(kind, ir.Undefined)
    for i, value in enumerate(values):
        whole = builder.insert_element(whole, value, INT32(i))
    target = builder.bitcast(start, kind.as_pointer())
    builder.store(whole, target, align=len(values) * _bytes(start))


def _bytes(start: Any) -> int:
    return 8 if isinstance(start.type.pointee, ir.DoubleType) else 4


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a b + c, rounded once."""
    name = f"llvm.fma.{PTX['float64' if isinstance(a.type, ir.DoubleType) else 'float32'][0]}"
    kind = ir.FunctionType(a.type, [a.type] * 3)
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, [a, b, c])


def make_thread_index() -> Any:
    """Return ``thread_index()``: `cuda.threadIdx.x`, known to be from 0 to 1023, asked for anew.

    Known bounds turn divisions by constants into shifts; and what is counted from an index that
    is asked for behind a loop is not held in registers through the loop.
    """
    if SIMULATED:
        return lambda: cuda.threadIdx.x

    @intrinsic
    def thread_index(typingctx):
        def codegen(context, builder, signature, args):
            kind = ir.FunctionType(INT32, [])
            asm = ir.InlineAsm(kind, "mov.u32 $0, %tid.x;", "=r", side_effect=True)
            return builder.and_(builder.zext(builder.call(asm, []), INT64), INT64(1023))

        return cuda.types.int64(), codegen

    return thread_index


class Vectors(NamedTuple):
    """The operations on 16-byte vectors of one dtype.

    ``locate(memory, i)``: where number i lies, as a whole number to count on from.
    ``step``: what brings such a place one number further.
    ``load(registers, at, memory, place, wanted)``: the vector there into registers[at:], of zeros
    where not `wanted`, which then reads nothing.
    ``put(shared, i, registers, at)``: registers[at:] to the aligned shared[i:], one vector.
    ``spread(shared, i, stride, registers, at)``: each number of a vector, `stride` from the last.
    """

    locate: Any
    step: int
    load: Any
    put: Any
    spread: Any


def make_vectors(dtype: np.dtype[Any]) -> Vectors:
    """Return the operations on 16-byte vectors of numbers of one dtype."""
    length = vector_length(dtype)
    return _simulated_vectors(length) if SIMULATED else _device_vectors(dtype, length)


def _simulated_vectors(length: int) -> Vectors:
    def locate(memory, index):
        return int(index)

    def load(registers, at, memory, place, wanted):
        assert place % length == 0 or not wanted, "a vector is loaded from where none starts"
        registers[at : at + length] = memory[place : place + length] if wanted else 0

    def put(shared, index, registers, at):
        assert index % length == 0, "a vector is stored where none starts"
        shared[index : index + length] = registers[at : at + length]

    def spread(shared, index, stride, registers, at):
        shared[index : index + length * stride : stride] = registers[at : at + length]

    return Vectors(locate, 1, load, put, spread)


def _device_vectors(dtype: np.dtype[Any], length: int) -> Vectors:
    types, real = cuda.types, REAL[dtype.name]
    suffix, letter = PTX[dtype.name]

    @intrinsic
    def locate(typingctx, memory, index):
        def codegen(context, builder, signature, args):
            place = pointer(context, builder, signature.args[0], args[0], args[1])
            return builder.ptrtoint(place, INT64)

        return types.int64(memory, types.int64), codegen

    # A branch around the load would split the loop into pieces; a predicate does not. `wanted` must
    # come before the zeros are written, for which no register of an input may serve.
    outputs = [f"${i}" for i in range(length)]
    loading = (
        f"{{ .reg .pred p; setp.ne.s32 p, ${length + 1}, 0; "
        + "".join(f"mov.b{8 * dtype.itemsize} {name}, 0; " for name in outputs)
        + f"@p ld.global.v{length}.{suffix} {{{', '.join(outputs)}}}, [${length}]; }}"
    )
    constraints = ",".join([f"=&{letter}"] * length + ["l", "r", "~{memory}"])

    @intrinsic
    def load(typingctx, registers, at, memory, place, wanted):
        def codegen(context, builder, signature, args):
            values = ir.LiteralStructType([real] * length)
            asm = ir.InlineAsm(
                ir.FunctionType(values, [INT64, INT32]), loading, constraints, side_effect=True
            )
            found = builder.call(asm, [args[3], builder.zext(args[4], INT32)])
            start = pointer(context, builder, signature.args[0], args[0], args[1])
            parts = [builder.extract_value(found, i) for i in range(length)]
            store_numbers(builder, start, parts)
            return context.get_dummy_value()

        given = (registers, types.int64, memory, types.int64, types.boolean)
        return types.void(*given), codegen

    @intrinsic
    def put(typingctx, shared, index, registers, at):
        def codegen(context, builder, signature, args):
            target = pointer(context, builder, signature.args[0], args[0], args[1])
            start = pointer(context, builder, signature.args[2], args[2], args[3])
            store_vector(builder, target, load_numbers(builder, start, length))
            return context.get_dummy_value()

        return types.void(shared, types.int64, registers, types.int64), codegen

    @intrinsic
    def spread(typingctx, shared, index, stride, registers, at):
        def codegen(context, builder, signature, args):
            target = pointer(context, builder, signature.args[0], args[0], args[1])
            start = pointer(context, builder, signature.args[3], args[3], args[4])
            for i, value in enumerate(load_numbers(builder, start, length)):
                builder.store(value, builder.gep(target, [builder.mul(args[2], INT64(i))]))
            return context.get_dummy_value()

        return types.void(shared, types.int64, types.int64, registers, types.int64), codegen

    return Vectors(locate, dtype.itemsize, load, put, spread)


def make_prefetch() -> Any:
    """Return ``prefetch(array, place)``: ask for a number to come to the first-level cache.

    Its place is a tuple of int64. Nothing waits for it; in the simulator nothing happens.
    """
    if SIMULATED:
        return lambda array, place: None

    @intrinsic
    def prefetch(typingctx, array, place):
        def codegen(context, builder, signature, args):
            made = context.make_array(signature.args[0])(context, builder, args[0])
            at = builder.ptrtoint(made.data, INT64)
            for dimension in range(place.count):
                index = builder.extract_value(args[1], dimension)
                stride = builder.extract_value(made.strides, dimension)
                at = builder.add(at, builder.mul(index, stride))
            kind = ir.FunctionType(ir.VoidType(), [INT64])
            code = "prefetch.global.L1 [$0];"
            builder.call(ir.InlineAsm(kind, code, "l", side_effect=True), [at])
            return context.get_dummy_value()

        return cuda.types.void(array, place), codegen

    return prefetch


def make_clear(count: int) -> Any:
    """Return ``clear(registers)``: zeros into the first `count` registers."""
    if SIMULATED:

        def clear_simulated(registers):
            registers[:count] = 0

        return clear_simulated

    @intrinsic
    def clear(typingctx, registers):
        def codegen(context, builder, signature, args):
            start = pointer(context, builder, signature.args[0], args[0], INT32(0))
            store_numbers(builder, start, [ir.Constant(start.type.pointee, 0)] * count)
            return context.get_dummy_value()

        return cuda.types.void(registers), codegen

    return clear


class Outer(NamedTuple):
    """The shape of the sums of outer products that one thread forms.

    A thread has `rows` rows and `columns` columns of sums, in vectors of `length` neighbours;
    vectors lie `row_stride` and `column_stride` numbers apart, the depths `a_depth` and `b_depth`.
    """

    depth: int
    length: int
    rows: int
    columns: int
    row_stride: int
    column_stride: int
    a_depth: int
    b_depth: int


def make_outer_products(shape: Outer) -> Any:
    """Return ``multiply(sums, shared, a, b)``: a tile's worth of outer products onto the sums.

    sums[r, c] += sum_i shared[a + i a_depth + row r] shared[b + i b_depth + column c]
    """
    depth, length, rows, columns, row_stride, column_stride, a_depth, b_depth = shape

    def places(count: int, stride: int) -> list[int]:
        return [vector * stride for vector in range(count // length)]

    if SIMULATED:
        own_rows = np.add.outer(places(rows, row_stride), np.arange(length)).ravel()
        own_columns = np.add.outer(places(columns, column_stride), np.arange(length)).ravel()

        def multiply_simulated(sums, shared, a, b):
            with np.errstate(all="ignore"):
                for i in range(depth):
                    left = shared[a + i * a_depth + own_rows]
                    right = shared[b + i * b_depth + own_columns]
                    sums += np.outer(left, right).ravel()

        return multiply_simulated

    @intrinsic
    def multiply(typingctx, sums, shared, a, b):
        def codegen(context, builder, signature, args):
            start = pointer(context, builder, signature.args[0], args[0], INT32(0))
            left_at = pointer(context, builder, signature.args[1], args[1], args[2])
            right_at = pointer(context, builder, signature.args[1], args[1], args[3])
            total = load_numbers(builder, start, rows * columns)
            for i in range(depth):
                left: list[Any] = []
                right: list[Any] = []
                for at in places(rows, row_stride):
                    left += load_vector(
                        builder, element(builder, left_at, i * a_depth + at), length
                    )
                for at in places(columns, column_stride):
                    place = element(builder, right_at, i * b_depth + at)
                    right += load_vector(builder, place, length)
                for r in range(rows):
                    for c in range(columns):
                        at = r * columns + c
                        total[at] = fused(builder, left[r], right[c], total[at])
            store_numbers(builder, start, total)
            return context.get_dummy_value()

        return cuda.types.void(sums, shared, cuda.types.int64, cuda.types.int64), codegen

    return multiply


def make_dump(parts: list[list[tuple[int, int]]], length: int) -> Any:
    """Return ``dump(shared, at, registers, part)``: one part of the registers into shared memory.

    A part is a list of (offset from `at`, first of `length` registers that one store takes there).
    Which part is known only when the kernel runs; that the registers are constants is kept by a
    switch over the parts.
    """
    if SIMULATED:

        def dump_simulated(shared, at, registers, part):
            for offset, first in parts[part]:
                shared[at + offset : at + offset + length] = registers[first : first + length]

        return dump_simulated

    @intrinsic
    def dump(typingctx, shared, at, registers, part):
        def codegen(context, builder, signature, args):
            target = pointer(context, builder, signature.args[0], args[0], args[1])
            start = pointer(context, builder, signature.args[2], args[2], INT32(0))
            done = builder.append_basic_block("dumped")
            switch = builder.switch(args[3], done)
            for number, part in enumerate(parts):
                block = builder.append_basic_block(f"part{number}")
                switch.add_case(INT64(number), block)
                builder.position_at_end(block)
                for offset, first in part:
                    values = load_numbers(builder, element(builder, start, first), length)
                    store_vector(builder, element(builder, target, offset), values)
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return cuda.types.void(shared, cuda.types.int64, registers, cuda.types.int64), codegen

    return dump
