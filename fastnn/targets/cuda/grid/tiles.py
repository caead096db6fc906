"""What a persistent grid works with: vectors, asynchronous copies, the barrier of blocks.

Vectors are of 4 numbers, and lie where a multiple of 4 would start: every 16 bytes, or twice that.
What Numba's CUDA lacks is written as LLVM code or PTX; in its simulator the same names are plain
Python functions, and the barrier is that of the one block which the simulator can run.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import int32, int64, uint32

from fastnn.targets.cuda.device.vec4 import make_vec4
from fastnn.targets.cuda.host.numba_cuda import SIMULATED, cuda, inner

INT32 = ir.IntType(32)
SHARED_SPACE = 3  # of LLVM's address spaces


def make_tiles(dtype: np.dtype[Any]) -> SimpleNamespace:
    """Return the operations for one dtype.

    load(memory, i) -> 4 numbers;  store(memory, i, four);  fma4(s, x, w): s + x w, of 4 numbers w.
    copy4(shared, i, memory, j): 4 numbers, which have arrived after `arrived()`;
    copy_row(shared, i, matrix, row, column), copy_row4(...): one number of a matrix, or 4.
    divide(a, b): of whole numbers below 2^31.  split(items, team) -> (parts, shift): how many
    threads share each of so many sums; thread me is the one for part me >> shift of sum me modulo
    2^shift, or where parts is 1 (and shift 31) of sum me.
    arrive(counter) -> ticket, wait(counter, ticket): a barrier of all blocks of the grid, in two
    halves, between which a block may do what concerns no other.
    """
    vec4 = make_vec4(dtype)
    basic = _simulated(vec4) if SIMULATED else _compiled(np.dtype(dtype))

    log2_up = basic.log2_up

    @inner
    def split(items, team):
        shift = log2_up(items)
        parts = team >> shift
        return (parts, shift) if parts > 0 else (1, 31)

    return SimpleNamespace(**vars(vec4), **vars(basic), split=split)


def _simulated(vec4: SimpleNamespace) -> SimpleNamespace:
    def copy4(shared, i, memory, j):
        vec4.store(shared, i, vec4.load(memory, j))

    def copy_row(shared, i, matrix, row, column):
        shared[i] = matrix[row, column]

    def copy_row4(shared, i, matrix, row, column):
        for q in range(4):
            assert i % 4 == column % 4 == 0, "a vector is copied from where none starts"
            shared[i + q] = matrix[row, column + q]

    def wait(counter, ticket):
        cuda.cg.this_grid().sync()

    return SimpleNamespace(
        copy4=copy4,
        copy_row=copy_row,
        copy_row4=copy_row4,
        arrived=lambda: None,
        divide=lambda a, b: a // b,
        log2_up=lambda count: max(int(count) - 1, 0).bit_length(),
        arrive=lambda counter: 0,
        wait=wait,
    )


def _compiled(dtype: np.dtype[Any]) -> SimpleNamespace:
    types, intrinsic = cuda.types, cuda.extending.intrinsic

    def element(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
        return builder.gep(context.make_array(kind)(context, builder, array).data, [index])

    def element2(context: Any, builder: Any, kind: Any, array: Any, row: Any, column: Any) -> Any:
        made = context.make_array(kind)(context, builder, array)
        strides = [builder.extract_value(made.strides, d) for d in range(2)]
        offset = builder.add(builder.mul(row, strides[0]), builder.mul(column, strides[1]))
        start = builder.bitcast(made.data, ir.IntType(8).as_pointer())
        return builder.bitcast(builder.gep(start, [offset]), made.data.type)

    def send(builder: Any, target: Any, source: Any, bytes_each: int) -> None:
        """Copy to shared memory, without registers and without waiting."""
        space = ir.PointerType(target.type.pointee, SHARED_SPACE)
        to = builder.ptrtoint(builder.addrspacecast(target, space), INT32)
        origin = builder.ptrtoint(source, ir.IntType(64))
        kind = ir.FunctionType(ir.VoidType(), [INT32, ir.IntType(64)])
        way = "cg" if bytes_each == 16 else "ca"
        text = f"cp.async.{way}.shared.global [$0], [$1], {bytes_each};"
        builder.call(ir.InlineAsm(kind, text, "r,l,~{memory}", side_effect=True), [to, origin])

    def send4(builder: Any, target: Any, source: Any) -> None:
        each = 16 // dtype.itemsize
        for q in range(0, 4, each):
            send(builder, builder.gep(target, [INT32(q)]), builder.gep(source, [INT32(q)]), 16)

    @intrinsic
    def copy4(typingctx, shared, i, memory, j):
        def codegen(context, builder, signature, args):
            to = element(context, builder, signature.args[0], args[0], args[1])
            origin = element(context, builder, signature.args[2], args[2], args[3])
            send4(builder, to, origin)
            return context.get_dummy_value()

        return types.void(shared, types.int64, memory, types.int64), codegen

    @intrinsic
    def copy_row(typingctx, shared, i, matrix, row, column):
        def codegen(context, builder, signature, args):
            to = element(context, builder, signature.args[0], args[0], args[1])
            origin = element2(context, builder, signature.args[2], *args[2:])
            send(builder, to, origin, dtype.itemsize)
            return context.get_dummy_value()

        return types.void(shared, types.int64, matrix, types.int64, types.int64), codegen

    @intrinsic
    def copy_row4(typingctx, shared, i, matrix, row, column):
        def codegen(context, builder, signature, args):
            to = element(context, builder, signature.args[0], args[0], args[1])
            send4(builder, to, element2(context, builder, signature.args[2], *args[2:]))
            return context.get_dummy_value()

        return types.void(shared, types.int64, matrix, types.int64, types.int64), codegen

    @intrinsic
    def arrived(typingctx):
        def codegen(context, builder, signature, args):
            kind = ir.FunctionType(ir.VoidType(), [])
            asm = ir.InlineAsm(kind, "cp.async.wait_all;", "~{memory}", side_effect=True)
            builder.call(asm, [])
            return context.get_dummy_value()

        return types.void(), codegen

    @inner
    def divide(a, b):
        return int64(uint32(a) // uint32(b))

    @inner
    def log2_up(count):
        return int64(32) - int64(cuda.clz(int32(count - 1)))

    arrive, wait = _compiled_barrier()
    return SimpleNamespace(
        copy4=copy4,
        copy_row=copy_row,
        copy_row4=copy_row4,
        arrived=arrived,
        divide=divide,
        log2_up=log2_up,
        arrive=arrive,
        wait=wait,
    )


def _compiled_barrier() -> tuple[Any, Any]:
    """Return ``arrive`` and ``wait``, for blocks which must all be resident.

    Each block adds to counter[0], an int32 that is zero or what an earlier barrier left: block 0
    so much that the sign changes once all have come and nothing else is left. Cooperative groups
    do it so too; theirs are calls to a library, around which registers are saved in memory, and
    come in one piece.
    """
    types, intrinsic = cuda.types, cuda.extending.intrinsic
    i64 = ir.IntType(64)
    # Only the first thread of a block asks, between two barriers of the block: what it releases and
    # acquires counts for the whole block then (PTX ISA, Memory Consistency Model). It looks without
    # acquiring, which would empty the first-level cache each time, until all have come.
    come = "atom.add.release.gpu.global.u32 $0, [$1], $2;"
    stay = (
        "{ .reg .pred p; .reg .u32 now; again_${:uid}: ld.relaxed.gpu.global.u32 now, [$0]; "
        "xor.b32 now, now, $1; setp.ge.s32 p, now, 0; @p bra again_${:uid}; "
        "ld.acquire.gpu.global.u32 now, [$0]; }"
    )

    def address(context: Any, builder: Any, kind: Any, array: Any) -> Any:
        return builder.ptrtoint(context.make_array(kind)(context, builder, array).data, i64)

    @intrinsic
    def add(typingctx, counter, amount):
        def codegen(context, builder, signature, args):
            context.active_code_library.use_cooperative = True
            kind = ir.FunctionType(INT32, [i64, INT32])
            asm = ir.InlineAsm(kind, come, "=r,l,r,~{memory}", side_effect=True)
            at = address(context, builder, signature.args[0], args[0])
            return builder.call(asm, [at, args[1]])

        return types.uint32(counter, types.uint32), codegen

    @intrinsic
    def spin(typingctx, counter, ticket):
        def codegen(context, builder, signature, args):
            kind = ir.FunctionType(ir.VoidType(), [i64, INT32])
            asm = ir.InlineAsm(kind, stay, "l,r,~{memory}", side_effect=True)
            at = address(context, builder, signature.args[0], args[0])
            builder.call(asm, [at, args[1]])
            return context.get_dummy_value()

        return types.void(counter, types.uint32), codegen

    @inner
    def arrive(counter):
        cuda.syncthreads()
        ticket = uint32(0)
        if cuda.threadIdx.x == 0:
            amount = uint32(1)
            if cuda.blockIdx.x == 0:
                amount = uint32(0x80000000 - (cuda.gridDim.x - 1))
            ticket = add(counter, amount)
        return ticket

    @inner
    def wait(counter, ticket):
        if cuda.threadIdx.x == 0:
            spin(counter, ticket)
        cuda.syncthreads()

    return arrive, wait
