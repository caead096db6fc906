"""What a persistent grid works with: vectors, asynchronous copies, the barrier of blocks.

Vectors are of 4 numbers, and lie where a multiple of 4 would start: every 16 bytes, or twice that.
What Numba's CUDA lacks is written as LLVM code or PTX; in its simulator the same names are plain
Python functions, and the barrier is that of the one block which the simulator can run.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import int32, int64, uint32

from fastnn.targets.cuda.device.intrinsics import (
    INT32,
    INT64,
    Array,
    assembly,
    element,
    in_shared,
    llvm,
)
from fastnn.targets.cuda.device.vec4 import make_vec4
from fastnn.targets.cuda.host.numba_cuda import SIMULATED, cuda, inner


def make_tiles(dtype: np.dtype[Any]) -> SimpleNamespace:
    """Return the operations for one dtype.

    load(memory, i) -> 4 numbers;  store(memory, i, four);  fma4(s, x, w): s + x w, of 4 numbers w.
    copy4(shared, i, memory, j): 4 numbers, which have arrived after `arrived()`;
    copy_row(shared, i, matrix, row, column), copy_row4(...): one number of a matrix, or 4.
    divide(a, b): of whole numbers below 2^31.  deal(items, most, me, team) -> (parts, p, slot,
    width): how many threads share each of so many sums, at most `most`; that thread `me` is for
    part p of sum `slot`; and how many sums they take at a time.
    leave(left, me, team, s0, s1, s2, s3): a thread's part of four vectors of sums;
    whole(left, q, slot, width, team, parts): vector q of a sum, its parts added up.
    arrive(counter) -> ticket, wait(counter, ticket): a barrier of all blocks of the grid, in two
    halves, between which a block may do what concerns no other.
    """
    vec4 = make_vec4(dtype)
    basic = _simulated(vec4) if SIMULATED else _compiled(np.dtype(dtype))

    log2_up, load, store, add4 = basic.log2_up, vec4.load, vec4.store, vec4.add4

    @inner
    def deal(items, most, me, team):
        shift = log2_up(items)
        parts = team >> shift
        parts, shift = (parts, shift) if parts > 0 else (1, 31)
        p = me >> shift
        return min(parts, most), p, me - (p << shift), team if parts == 1 else 1 << shift

    @inner
    def leave(left, me, team, s0, s1, s2, s3):
        store(left, 4 * me, s0)
        store(left, 4 * (team + me), s1)
        store(left, 4 * (2 * team + me), s2)
        store(left, 4 * (3 * team + me), s3)

    @inner
    def whole(left, q, slot, width, team, parts):
        s = load(left, 4 * (q * team + slot))
        for part in range(1, parts):
            s = add4(s, load(left, 4 * (q * team + part * width + slot)))
        return s

    return SimpleNamespace(**vars(vec4), **vars(basic), deal=deal, leave=leave, whole=whole)


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
    index = cuda.types.int64

    def send(builder: Any, target: Any, source: Any, bytes_each: int) -> None:
        """Copy to shared memory, without registers and without waiting."""
        way = "cg" if bytes_each == 16 else "ca"
        text = f"cp.async.{way}.shared.global [$0], [$1], {bytes_each};"
        to, origin = in_shared(builder, target), builder.ptrtoint(source, INT64)
        assembly(builder, text, "r,l,~{memory}", None, to, origin)

    def send4(builder: Any, target: Any, source: Any) -> None:
        for q in range(0, 4, 16 // dtype.itemsize):
            send(builder, element(builder, target, q), element(builder, source, q), 16)

    @llvm(Array, index, Array, index)
    def copy4(builder, shared, i, memory, j):
        send4(builder, shared(i), memory(j))

    @llvm(Array, index, Array, index, index)
    def copy_row(builder, shared, i, matrix, row, column):
        send(builder, shared(i), matrix(row, column), dtype.itemsize)

    @llvm(Array, index, Array, index, index)
    def copy_row4(builder, shared, i, matrix, row, column):
        send4(builder, shared(i), matrix(row, column))

    @llvm()
    def arrived(builder):
        assembly(builder, "cp.async.wait_all;", "~{memory}", None)

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
    u32 = cuda.types.uint32
    # Only the first thread of a block asks, between two barriers of the block: what it releases and
    # acquires counts for the whole block then (PTX ISA, Memory Consistency Model). It looks without
    # acquiring, which would empty the first-level cache each time, until all have come.
    come = "atom.add.release.gpu.global.u32 $0, [$1], $2;"
    stay = (
        "{ .reg .pred p; .reg .u32 now; again_${:uid}: ld.relaxed.gpu.global.u32 now, [$0]; "
        "xor.b32 now, now, $1; setp.ge.s32 p, now, 0; @p bra again_${:uid}; "
        "ld.acquire.gpu.global.u32 now, [$0]; }"
    )

    def address(builder: Any, counter: Any) -> Any:
        return builder.ptrtoint(counter(INT32(0)), INT64)

    @llvm(Array, u32, result=u32)
    def add(builder, counter, amount):
        return assembly(builder, come, "=r,l,r,~{memory}", INT32, address(builder, counter), amount)

    @llvm(Array, u32)
    def spin(builder, counter, ticket):
        assembly(builder, stay, "l,r,~{memory}", None, address(builder, counter), ticket)

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
