"""What Numba's CUDA lacks for the matrix product: 16-byte loads and stores, sums held in registers.

Each is LLVM code written in one straight line, so that arrays of `cuda.local.array` are only ever
indexed by constants and become registers, whatever the optimiser thinks of unrolling. In Numba's
simulator the same names are plain Python functions.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from fastnn.targets.cuda.host.numba_cuda import SIMULATED, cuda

INT32 = ir.IntType(32)
INT64 = ir.IntType(64)
SHARED_SPACE = 3  # of LLVM's address spaces
REAL = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
# How inline PTX writes a number of each type: the suffix of instructions, the letter of operands.
PTX = {"float32": ("f32", "f"), "float64": ("f64", "d")}


def vector_length(dtype: np.dtype[Any]) -> int:
    """Return how many numbers one 16-byte load brings."""
    return 16 // dtype.itemsize


ANY = "any"


def llvm(*given: Any, result: Any = None) -> Callable[[Callable[..., Any]], Any]:
    """Make a device function of one that writes its LLVM code, ``write(builder, *arguments)``.

    Parameters
    ----------
    given
        Of each argument the type that Numba converts it to; `ANY`: it is as it comes; or `Array`,
        which `write` then gets.
    result
        The type of what `write` returns, a list for a tuple; None: nothing.
    """

    def made(write: Callable[..., Any]) -> Any:
        def typed(typingctx: Any, *kinds: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                values = [
                    Array(context, builder, kind, arg) if wanted is Array else arg
                    for wanted, kind, arg in zip(given, signature.args, args, strict=True)
                ]
                found = write(builder, *values)
                if isinstance(found, list):
                    return context.make_tuple(builder, signature.return_type, found)
                return context.get_dummy_value() if found is None else found

            pairs = zip(given, kinds, strict=True)
            wanted = [kind if each in (Array, ANY) else each for each, kind in pairs]
            return (result or cuda.types.void)(*wanted), codegen

        names = ["typingctx", *(f"given{i}" for i in range(len(given)))]
        by_place = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        typed.__signature__ = Signature(by_place)  # type: ignore[attr-defined]
        return cuda.extending.intrinsic(typed)

    return made


class Array:
    """An array as LLVM code has it: ``array(i)``, ``array(row, column)``: where a number lies.

    With one index it is contiguous.
    """

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any) -> None:
        """Take apart an array of a type of Numba."""
        made = context.make_array(kind)(context, builder, array)
        self._builder, self.data, self.strides = builder, made.data, made.strides

    def stride(self, dimension: int) -> Any:
        """Return the bytes from one number to the next."""
        return self._builder.extract_value(self.strides, dimension)

    def __call__(self, index: Any, column: Any = None) -> Any:
        """Return an address."""
        builder = self._builder
        if column is None:
            return builder.gep(self.data, [index])
        strides = self.stride(0), self.stride(1)
        offset = builder.add(builder.mul(index, strides[0]), builder.mul(column, strides[1]))
        start = builder.bitcast(self.data, ir.IntType(8).as_pointer())
        return builder.bitcast(builder.gep(start, [offset]), self.data.type)


def assembly(builder: Any, code: str, constraints: str, result: Any, *arguments: Any) -> Any:
    """Write a line of PTX, which is neither moved nor left out; None is no result."""
    kind = ir.FunctionType(result or ir.VoidType(), [each.type for each in arguments])
    made = builder.call(ir.InlineAsm(kind, code, constraints, side_effect=True), arguments)
    return None if result is None else made


def in_shared(builder: Any, start: Any) -> Any:
    """Return an address in shared memory as PTX has it there, of 32 bits."""
    space = ir.PointerType(start.type.pointee, SHARED_SPACE)
    return builder.ptrtoint(builder.addrspacecast(start, space), INT32)


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
    """Return `length` numbers that lie together, from a multiple of 16 bytes or of their size."""
    kind = ir.VectorType(start.type.pointee, length)
    at = builder.bitcast(start, kind.as_pointer())
    whole = builder.load(at, align=_alignment(start, length))
    return [builder.extract_element(whole, INT32(i)) for i in range(length)]


def store_vector(builder: Any, start: Any, values: list[Any]) -> None:
    """Store numbers where `load_vector` would find them."""
    kind = ir.VectorType(start.type.pointee, len(values))
    whole = ir.Constant(kind, ir.Undefined)
    for i, value in enumerate(values):
        whole = builder.insert_element(whole, value, INT32(i))
    at = builder.bitcast(start, kind.as_pointer())
    builder.store(whole, at, align=_alignment(start, len(values)))


def _alignment(start: Any, length: int) -> int:
    return min(16, length * (8 if isinstance(start.type.pointee, ir.DoubleType) else 4))


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

    @llvm(result=cuda.types.int64)
    def thread_index(builder):
        found = assembly(builder, "mov.u32 $0, %tid.x;", "=r", INT32)
        return builder.and_(builder.zext(found, INT64), INT64(1023))

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
    types, int64, real = cuda.types, cuda.types.int64, REAL[dtype.name]
    suffix, letter = PTX[dtype.name]

    @llvm(Array, int64, result=int64)
    def locate(builder, memory, index):
        return builder.ptrtoint(memory(index), INT64)

    # A branch around the load would split the loop into pieces; a predicate does not. `wanted` must
    # come before the zeros are written, for which no register of an input may serve.
    outputs = [f"${i}" for i in range(length)]
    loading = (
        f"{{ .reg .pred p; setp.ne.s32 p, ${length + 1}, 0; "
        + "".join(f"mov.b{8 * dtype.itemsize} {name}, 0; " for name in outputs)
        + f"@p ld.global.v{length}.{suffix} {{{', '.join(outputs)}}}, [${length}]; }}"
    )
    constraints = ",".join([f"=&{letter}"] * length + ["l", "r", "~{memory}"])

    @llvm(Array, int64, Array, int64, types.boolean)
    def load(builder, registers, at, memory, place, wanted):
        values, wanted = ir.LiteralStructType([real] * length), builder.zext(wanted, INT32)
        found = assembly(builder, loading, constraints, values, place, wanted)
        parts = [builder.extract_value(found, i) for i in range(length)]
        store_numbers(builder, registers(at), parts)

    @llvm(Array, int64, Array, int64)
    def put(builder, shared, index, registers, at):
        store_vector(builder, shared(index), load_numbers(builder, registers(at), length))

    @llvm(Array, int64, int64, Array, int64)
    def spread(builder, shared, index, stride, registers, at):
        for i, value in enumerate(load_numbers(builder, registers(at), length)):
            builder.store(value, builder.gep(shared(index), [builder.mul(stride, INT64(i))]))

    return Vectors(locate, dtype.itemsize, load, put, spread)


def make_prefetch() -> Any:
    """Return ``prefetch(array, place)``: ask for a number to come to the first-level cache.

    Its place is a tuple of int64. Nothing waits for it; in the simulator nothing happens.
    """
    if SIMULATED:
        return lambda array, place: None

    @llvm(Array, ANY)
    def prefetch(builder, array, place):
        at = builder.ptrtoint(array.data, INT64)
        for d in range(place.type.count):
            index = builder.extract_value(place, d)
            at = builder.add(at, builder.mul(index, array.stride(d)))
        assembly(builder, "prefetch.global.L1 [$0];", "l", None, at)

    return prefetch


def make_clear(count: int) -> Any:
    """Return ``clear(registers)``: zeros into the first `count` registers."""
    if SIMULATED:

        def clear_simulated(registers):
            registers[:count] = 0

        return clear_simulated

    @llvm(Array)
    def clear(builder, registers):
        start = registers(INT32(0))
        store_numbers(builder, start, [ir.Constant(start.type.pointee, 0)] * count)

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

    @llvm(Array, Array, cuda.types.int64, cuda.types.int64)
    def multiply(builder, sums, shared, a, b):
        def vectors(start: Any, at: int, count: int, stride: int) -> list[Any]:
            found: list[Any] = []
            for place in places(count, stride):
                found += load_vector(builder, element(builder, start, at + place), length)
            return found

        start, left_at, right_at = sums(INT32(0)), shared(a), shared(b)
        total = load_numbers(builder, start, rows * columns)
        for i in range(depth):
            left = vectors(left_at, i * a_depth, rows, row_stride)
            right = vectors(right_at, i * b_depth, columns, column_stride)
            for at, (x, w) in enumerate(product(left, right)):
                total[at] = fused(builder, x, w, total[at])
        store_numbers(builder, start, total)

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

    @llvm(Array, cuda.types.int64, Array, cuda.types.int64)
    def dump(builder, shared, at, registers, part):
        target, start = shared(at), registers(INT32(0))
        done = builder.append_basic_block("dumped")
        switch = builder.switch(part, done)
        for number, stores in enumerate(parts):
            block = builder.append_basic_block(f"part{number}")
            switch.add_case(INT64(number), block)
            builder.position_at_end(block)
            for offset, first in stores:
                values = load_numbers(builder, element(builder, start, first), length)
                store_vector(builder, element(builder, target, offset), values)
            builder.branch(done)
        builder.position_at_end(done)

    return dump
