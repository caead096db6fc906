"""LLVM vectors: how wide they are here, and the micro-kernels written in them.

A micro-kernel multiplies a few rows of A with a panel of B and keeps the whole result in registers:

    C[r, :] = init[r, :] + sum_k A[r, k] B[k, :]               (`multiply`)
    C[r, :] = beta C[r, :] + alpha sum_s A[s, r] B[s, :]       (`accumulate`)

It is written as LLVM IR because neither Numba nor LLVM's vectoriser keeps an accumulator tile in
registers over the k-loop. Numbers of one product are summed in the order of k, whatever the tile.
Where Numba is switched off (``NUMBA_DISABLE_JIT=1``) the same names are plain Python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

INT64 = ir.IntType(64)


class Shape(NamedTuple):
    """Register tile of a dtype on this processor.

    lanes: numbers in a vector; panel: columns of a full panel (two vectors); rows: rows of A that
    a full tile takes, and rows_narrow for the half-wide last panel. Rows are halved for tails.
    """

    lanes: int
    panel: int
    rows: int
    rows_narrow: int


def host_features() -> dict[str, bool]:
    """Return the processor features that Numba compiles for (its own settings included)."""
    if config.CPU_FEATURES is not None:
        return {name[1:]: name[0] == "+" for name in config.CPU_FEATURES.split(",") if name}
    if config.CPU_NAME == "generic":
        return {}
    return dict(llvm.get_host_cpu_features())


def vector_bytes() -> int:
    """Return the width of a vector register of this processor in bytes."""
    features = host_features()
    if features.get("avx512f"):
        return 64
    if features.get("avx"):
        return 32
    return 16  # SSE2 and NEON


def register_shape(dtype: np.dtype) -> Shape:
    """Return the register tile for `dtype`: as many accumulators as the register file holds."""
    lanes = vector_bytes() // dtype.itemsize
    many_registers = vector_bytes() == 64 or not llvm.get_process_triple().startswith("x86")
    rows, narrow = (8, 16) if many_registers else (4, 8)
    return Shape(lanes, 2 * lanes, rows, narrow)


def llvm_real(dtype: np.dtype) -> ir.Type:
    return ir.FloatType() if dtype.itemsize == 4 else ir.DoubleType()


def data_pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    """Return a pointer to element `offset` of a one-dimensional contiguous array."""
    pointer = context.make_array(array_type)(context, builder, array).data
    return builder.gep(pointer, [offset])


def loop(
    builder: Any, count: Any, start: list[Any], body: Callable[..., list[Any]]
) -> list[Any]:
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


class _Emitter:
    """Writes one micro-kernel of `rows` x `vectors` vectors as a function of an LLVM module."""

    def __init__(self, dtype: np.dtype, rows: int, vectors: int) -> None:
        self.rows, self.vectors = rows, vectors
        self.lanes = vector_bytes() // dtype.itemsize
        self.real = llvm_real(dtype)
        self.vector = ir.VectorType(self.real, self.lanes)
        self.align = dtype.itemsize  # callers promise no more than natural alignment
        self.cells = [(r, v) for r in range(rows) for v in range(vectors)]

    def function(self, module: Any, name: str, arguments: list[ir.Type]) -> Any:
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
        function.linkage = "linkonce_odr"
        function.attributes.add("noinline")
        return function

    def load(self, builder: Any, pointer: Any, v: int) -> Any:
        pointer = builder.gep(pointer, [INT64(v * self.lanes)])
        return builder.load(builder.bitcast(pointer, self.vector.as_pointer()), align=self.align)

    def store(self, builder: Any, value: Any, pointer: Any, v: int) -> None:
        pointer = builder.gep(pointer, [INT64(v * self.lanes)])
        builder.store(value, builder.bitcast(pointer, self.vector.as_pointer()), align=self.align)

    def splat(self, builder: Any, scalar: Any) -> Any:
        one = builder.insert_element(ir.Constant(self.vector, ir.Undefined), scalar, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return builder.shuffle_vector(one, ir.Constant(self.vector, ir.Undefined), mask)

    def fma(self, builder: Any, a: Any, b: Any, c: Any) -> Any:
        # fmuladd: fused where the processor can, two roundings elsewhere, never a library call.
        kind = "f32" if isinstance(self.real, ir.FloatType) else "f64"
        name = f"llvm.fmuladd.v{self.lanes}{kind}"
        module = builder.module
        callee = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(self.vector, [self.vector] * 3), name
        )
        return builder.call(callee, [a, b, c])

    def prefetch(self, builder: Any, pointer: Any) -> None:
        byte = ir.IntType(8).as_pointer()
        word = ir.IntType(32)
        module = builder.module
        name = "llvm.prefetch.p0"
        callee = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(ir.VoidType(), [byte, word, word, word]), name
        )
        builder.call(callee, [builder.bitcast(pointer, byte), word(1), word(3), word(1)])

    def products(self, builder: Any, a: list[Any], b: Any, carried: list[Any]) -> list[Any]:
        """One k: add the outer product of a column of A and a row of B to the accumulators."""
        vectors = [self.load(builder, b, v) for v in range(self.vectors)]
        results = []
        for r, pointer in enumerate(a):
            scalar = self.splat(builder, builder.load(pointer))
            sums = carried[r * self.vectors : (r + 1) * self.vectors]
            results += [self.fma(builder, scalar, x, y) for x, y in zip(vectors, sums, strict=True)]
        return results

    def multiply(self, module: Any, name: str) -> Any:
        """C = init + A B, A in chunks of `inner` columns that lie `chunk_stride` apart."""
        real = self.real.as_pointer()
        function = self.function(
            module, name, [real, INT64, INT64, INT64, INT64, real, real, INT64, real, INT64]
        )
        a, chunks, inner, chunk_stride, row_stride, b, init, init_stride, c, c_stride = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        width = INT64(self.vectors * self.lanes)
        start = []
        for r, v in self.cells:
            row = builder.gep(init, [builder.mul(INT64(r), init_stride)])
            start.append(self.load(builder, row, v))

        def chunk(builder: Any, index: Any, carried: list[Any]) -> list[Any]:
            base = builder.gep(a, [builder.mul(index, chunk_stride)])
            rows = [builder.gep(base, [builder.mul(INT64(r), row_stride)]) for r in range(self.rows)]

            def step(builder: Any, k: Any, carried: list[Any]) -> list[Any]:
                pointer = carried[0]
                cells = self.products(builder, [builder.gep(row, [k]) for row in rows], pointer, carried[1:])
                return [builder.gep(pointer, [width]), *cells]

            return loop(builder, inner, carried, step)

        carried = loop(builder, chunks, [b, *start], chunk)
        for value, (r, v) in zip(carried[1:], self.cells, strict=True):
            row = builder.gep(c, [builder.mul(INT64(r), c_stride)])
            self.store(builder, value, row, v)
        builder.ret_void()
        return function

    def accumulate(self, module: Any, name: str) -> Any:
        """C = beta C + alpha A^T B, A with samples in rows that lie `a_stride` apart."""
        real = self.real.as_pointer()
        function = self.function(
            module, name, [real, INT64, real, INT64, real, INT64, self.real, self.real]
        )
        a, a_stride, b, samples, c, c_stride, alpha, beta = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        width = INT64(self.vectors * self.lanes)
        rows = [builder.gep(c, [builder.mul(INT64(r), c_stride)]) for r in range(self.rows)]
        for row in rows:  # C is touched only after the loop: its misses hide behind the arithmetic
            for v in range(self.vectors):
                self.prefetch(builder, builder.gep(row, [INT64(v * self.lanes)]))
        zero = ir.Constant(self.vector, [ir.Constant(self.real, 0.0)] * self.lanes)

        def step(builder: Any, s: Any, carried: list[Any]) -> list[Any]:
            left, right = carried[:2]
            pointers = [builder.gep(left, [INT64(r)]) for r in range(self.rows)]
            cells = self.products(builder, pointers, right, carried[2:])
            return [builder.gep(left, [a_stride]), builder.gep(right, [width]), *cells]

        carried = loop(builder, samples, [a, b] + [zero] * len(self.cells), step)
        scale, keep = self.splat(builder, alpha), self.splat(builder, beta)
        for value, (r, v) in zip(carried[2:], self.cells, strict=True):
            old = builder.fmul(keep, self.load(builder, rows[r], v))
            self.store(builder, self.fma(builder, scale, value, old), rows[r], v)
        builder.ret_void()
        return function


def _shared(module: Any, name: str, emit: Callable[[Any, str], Any]) -> Any:
    return module.globals.get(name) or emit(module, name)


def make_multiply(dtype: np.dtype, rows: int, vectors: int) -> Any:
    """Return ``multiply(a, a_at, chunks, inner, chunk_stride, row_stride, b, b_at, init, init_at, init_stride, c, c_at, c_stride)``."""
    width = vectors * (vector_bytes() // dtype.itemsize)
    if config.DISABLE_JIT:
        return _plain_multiply(rows, width)
    name = f"fastnn_multiply_{dtype.name}_{rows}x{vectors}"

    @intrinsic
    def multiply(
        typingctx, a, a_at, chunks, inner, chunk_stride, row_stride,
        b, b_at, init, init_at, init_stride, c, c_at, c_stride,
    ):  # fmt: skip
        i = types.int64
        signature = types.void(a, i, i, i, i, i, b, i, init, i, i, c, i, i)

        def codegen(context, builder, signature, args):
            kind = signature.args
            pointers = [data_pointer(context, builder, kind[n], args[n], args[n + 1]) for n in (0, 6, 8, 11)]
            callee = _shared(builder.module, name, _Emitter(dtype, rows, vectors).multiply)
            left, right, start, out = pointers
            builder.call(callee, [left, *args[2:6], right, start, args[10], out, args[13]])
            return context.get_dummy_value()

        return signature, codegen

    return multiply


def make_accumulate(dtype: np.dtype, rows: int, vectors: int) -> Any:
    """Return ``accumulate(a, a_at, a_stride, b, b_at, samples, c, c_at, c_stride, alpha, beta)``."""
    width = vectors * (vector_bytes() // dtype.itemsize)
    if config.DISABLE_JIT:
        return _plain_accumulate(rows, width)
    name = f"fastnn_accumulate_{dtype.name}_{rows}x{vectors}"

    @intrinsic
    def accumulate(typingctx, a, a_at, a_stride, b, b_at, samples, c, c_at, c_stride, alpha, beta):
        i = types.int64
        signature = types.void(a, i, i, b, i, i, c, i, i, a.dtype, a.dtype)

        def codegen(context, builder, signature, args):
            kind = signature.args
            left, right, out = (
                data_pointer(context, builder, kind[n], args[n], args[n + 1]) for n in (0, 3, 6)
            )
            callee = _shared(builder.module, name, _Emitter(dtype, rows, vectors).accumulate)
            builder.call(callee, [left, args[2], right, args[5], out, args[8], args[9], args[10]])
            return context.get_dummy_value()

        return signature, codegen

    return accumulate


def make_copy(dtype: np.dtype) -> Any:
    """Return ``copy(to, to_at, address)``: one vector from anywhere in memory, as it lies there."""
    lanes = vector_bytes() // dtype.itemsize
    if config.DISABLE_JIT:
        return _plain_copy(dtype, lanes)
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


def _plain_copy(dtype: np.dtype, lanes: int) -> Any:
    def copy(to, to_at, address):
        source = (ctypes.c_byte * (lanes * dtype.itemsize)).from_address(int(address))
        to[to_at : to_at + lanes] = np.frombuffer(source, dtype)

    return copy


def _plain_multiply(rows: int, width: int) -> Any:
    def multiply(
        a, a_at, chunks, inner, chunk_stride, row_stride,
        b, b_at, init, init_at, init_stride, c, c_at, c_stride,
    ):  # fmt: skip
        for r in range(rows):
            total = init[init_at + r * init_stride :][:width].copy()
            for chunk in range(chunks):
                for k in range(inner):
                    scalar = a[a_at + chunk * chunk_stride + r * row_stride + k]
                    total += scalar * b[b_at + (chunk * inner + k) * width :][:width]
            c[c_at + r * c_stride :][:width] = total

    return multiply


def _plain_accumulate(rows: int, width: int) -> Any:
    def accumulate(a, a_at, a_stride, b, b_at, samples, c, c_at, c_stride, alpha, beta):
        for r in range(rows):
            total = np.zeros(width, c.dtype)
            for s in range(samples):
                total += a[a_at + s * a_stride + r] * b[b_at + s * width :][:width]
            target = c[c_at + r * c_stride :][:width]
            target[:] = beta * target + alpha * total

    return accumulate
