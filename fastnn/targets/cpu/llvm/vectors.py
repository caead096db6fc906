"""Helpers to write code with LLVM vectors."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastnn.storage.kernels.machine import vector_bytes

INT64 = ir.IntType(64)


def llvm_real(dtype: np.dtype) -> ir.Type:
    """Return LLVM's type of one number of `dtype`."""
    return ir.FloatType() if dtype.itemsize == 4 else ir.DoubleType()


def data_pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    """Return a pointer to element `offset` of a one-dimensional contiguous array."""
    pointer = context.make_array(array_type)(context, builder, array).data
    return builder.gep(pointer, [offset])


def loop(builder: Any, count: Any, start: list[Any], body: Callable[..., list[Any]]) -> list[Any]:
    """Run `body(builder, index, carried) -> carried` count >= 0 times; return the last carried."""
    head, inside, after = (builder.append_basic_block(n) for n in ("head", "body", "after"))
    before = builder.block
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(INT64)
    carried = [builder.phi(value.type) for value in start]
    index.add_incoming(INT64(0), before)
    for phi, value in zip(carried, start, strict=True):
        phi.add_incoming(value, before)
    builder.cbranch(builder.icmp_signed("<", index, count), inside, after)
    builder.position_at_end(inside)
    results = body(builder, index, carried)
    end = builder.block
    index.add_incoming(builder.add(index, INT64(1)), end)
    for phi, value in zip(carried, results, strict=True):
        phi.add_incoming(value, end)
    builder.branch(head)
    builder.position_at_end(after)
    return carried


def when(
    builder: Any, condition: Any, start: list[Any], body: Callable[..., list[Any]]
) -> list[Any]:
    """Return ``body(builder)`` where the condition holds, else `start`."""
    before = builder.block
    inside, after = (builder.append_basic_block(name) for name in ("inside", "after"))
    builder.cbranch(condition, inside, after)
    builder.position_at_end(inside)
    results = body(builder)
    end = builder.block
    builder.branch(after)
    builder.position_at_end(after)
    merged = []
    for old, new in zip(start, results, strict=True):
        phi = builder.phi(old.type)
        phi.add_incoming(old, before)
        phi.add_incoming(new, end)
        merged.append(phi)
    return merged


def prefetch(builder: Any, pointer: Any, to_write: bool = False, level: int = 1) -> None:
    """Ask for the cache line at a pointer, to have it in the cache of that level."""
    byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
    module, name = builder.module, "llvm.prefetch.p0"
    callee = module.globals.get(name) or ir.Function(
        module, ir.FunctionType(ir.VoidType(), [byte, word, word, word]), name
    )
    pointer = builder.bitcast(pointer, byte)
    builder.call(callee, [pointer, word(int(to_write)), word(4 - level), word(1)])


class Writer:
    """Writes vector code for one dtype into LLVM modules; loads and stores need no alignment."""

    def __init__(self, dtype: np.dtype) -> None:
        self.real, self.itemsize = llvm_real(dtype), dtype.itemsize
        self.lanes = vector_bytes() // dtype.itemsize
        self._kind = "f32" if dtype.itemsize == 4 else "f64"

    def function(
        self, module: Any, name: str, result: Any, arguments: list[Any]
    ) -> tuple[Any, Any]:
        """Return a new function of the module and a builder at its start."""
        function = ir.Function(module, ir.FunctionType(result, arguments), name)
        function.linkage = "linkonce_odr"
        function.attributes.add("noinline")
        return function, ir.IRBuilder(function.append_basic_block("entry"))

    def vector(self, lanes: int) -> Any:
        """Return the type of `lanes` numbers."""
        return ir.VectorType(self.real, lanes)

    def zeros(self, lanes: int) -> Any:
        """Return a vector of zeros."""
        return ir.Constant(self.vector(lanes), [ir.Constant(self.real, 0.0)] * lanes)

    def load(self, builder: Any, pointer: Any, lanes: int) -> Any:
        """Return the vector at a pointer."""
        pointer = builder.bitcast(pointer, self.vector(lanes).as_pointer())
        return builder.load(pointer, align=self.itemsize)

    def store(self, builder: Any, value: Any, pointer: Any) -> None:
        """Write a vector to a pointer."""
        pointer = builder.bitcast(pointer, value.type.as_pointer())
        builder.store(value, pointer, align=self.itemsize)

    def shuffle(self, builder: Any, a: Any, b: Any, picks: list[int]) -> Any:
        """Return the picked lanes of a, followed by those of b."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(picks)), picks)
        return builder.shuffle_vector(a, b, mask)

    def splat(self, builder: Any, scalar: Any, lanes: int) -> Any:
        """Return a vector of one number."""
        undefined = ir.Constant(self.vector(lanes), ir.Undefined)
        one = builder.insert_element(undefined, scalar, ir.IntType(32)(0))
        return self.shuffle(builder, one, undefined, [0] * lanes)

    def fma(self, builder: Any, a: Any, b: Any, c: Any) -> Any:
        """Return a b + c."""
        # fmuladd: fused where the processor can, two roundings elsewhere, never a library call.
        name = f"llvm.fmuladd.v{c.type.count}{self._kind}"
        callee = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(c.type, [c.type] * 3), name
        )
        return builder.call(callee, [a, b, c])

    def widen(self, builder: Any, value: Any) -> Any:
        """Return `value` with zeros in the lanes that it lacks."""
        lanes = value.type.count
        if lanes == self.lanes:
            return value
        picks = [*range(lanes), *([lanes] * (self.lanes - lanes))]
        return self.shuffle(builder, value, self.zeros(lanes), picks)

    def fold(self, builder: Any, vectors: list[Any], join: Callable[..., Any]) -> list[Any]:
        """Join the lanes of every vector; return the results side by side, in order, in vectors.

        Halves of the lanes first, then quarters and so on: the same order for any number of them.
        """
        group = self.lanes
        while group > 1:
            half = group // 2
            pairs = [(v, v) for v in vectors]
            if len(vectors) > 1:
                pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
            low = [at + i for at in range(0, 2 * self.lanes, group) for i in range(half)]
            high = [each + half for each in low]
            vectors = [
                join(self.shuffle(builder, a, b, low), self.shuffle(builder, a, b, high))
                for a, b in pairs
            ]
            group = half
        return vectors

    def transposed(self, builder: Any, vectors: list[Any]) -> list[Any]:
        """Return the columns of as many vectors as each has lanes, which may be of any type.

        Eklundh's method (1972): in stage b = 1, 2, 4, ... rows i and i + b exchange blocks of b
        lanes.
        """
        lanes = len(vectors)
        block = 1
        while block < lanes:
            low = [i if i & block == 0 else lanes + i - block for i in range(lanes)]
            high = [i + block if i & block == 0 else lanes + i for i in range(lanes)]
            exchanged = list(vectors)
            for i in range(lanes):
                if i & block == 0:
                    a, b = vectors[i], vectors[i + block]
                    exchanged[i] = self.shuffle(builder, a, b, low)
                    exchanged[i + block] = self.shuffle(builder, a, b, high)
            vectors, block = exchanged, 2 * block
        return vectors


def make_copy(dtype: np.dtype) -> Any:
    """Return ``copy(to, to_at, address)``: one vector from anywhere in memory, as it lies there."""
    lanes = vector_bytes() // dtype.itemsize
    if config.DISABLE_JIT:
        return _python_copy(dtype, lanes)
    vector = ir.VectorType(llvm_real(dtype), lanes).as_pointer()

    @intrinsic
    def copy(typingctx, to, to_at, address):
        def codegen(context, builder, signature, args):
            # The vectoriser does not join scalar loads from an address that may overlap the target.
            value = builder.load(builder.inttoptr(args[2], vector), align=dtype.itemsize)
            out = data_pointer(context, builder, signature.args[0], args[0], args[1])
            builder.store(value, builder.bitcast(out, vector), align=dtype.itemsize)
            return context.get_dummy_value()

        return types.void(to, types.int64, types.int64), codegen

    return copy


def _python_copy(dtype: np.dtype, lanes: int) -> Any:
    def copy(to, to_at, address):
        source = (ctypes.c_byte * (lanes * dtype.itemsize)).from_address(int(address))
        to[to_at : to_at + lanes] = np.frombuffer(memoryview(source), dtype)

    return copy
