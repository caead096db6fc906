"""Numbers of any dtype that users keep their data in, as those that products are made of.

So an array of bytes is read where it lies, a row at a time, and never becomes an array of floats.
Each number becomes what NumPy's `astype` makes of it, to the bit.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastnn.targets.cpu.dtypes import SOURCES
from fastnn.targets.cpu.llvm.vectors import INT64, Writer, data_pointer, llvm_real, loop

_SIGN, _REST, _SHIFT, _SCALE = 0x8000, 0x7FFF, 13, 2.0**112  # of half precision
_INFINITE, _EXPONENT = 0x7C00, 0x7F800000  # of half precision, and of single


def _like(kind: ir.Type, element: ir.Type) -> ir.Type:
    """Return the type of as many elements as `kind` has: a vector, or one number."""
    return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element


def _constant(kind: ir.Type, value: float) -> ir.Constant:
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [ir.Constant(kind.element, value)] * kind.count)
    return ir.Constant(kind, value)


class _Writer(Writer):
    """Writes the function of one dtype."""

    def convert(self, module: Any, name: str) -> Any:
        """Write `count` numbers, which lie `step` bytes apart, one behind another."""
        arguments = [self.real.as_pointer(), INT64, INT64, INT64, INT64]
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        out, address, step, count, code = function.args
        end = function.append_basic_block("end")
        choice = builder.switch(code, end)
        for number, dtype in enumerate(SOURCES):
            block = function.append_basic_block(dtype.name)
            choice.add_case(INT64(number), block)
            builder.position_at_end(block)
            self.loops(builder, dtype, out, address, step, count)
            builder.branch(end)
        builder.position_at_end(end)
        builder.ret_void()
        return function

    def loops(
        self, builder: Any, dtype: np.dtype, out: Any, address: Any, step: Any, count: Any
    ) -> None:
        """Write the loops of one source: whole vectors of numbers side by side, then the rest."""
        side_by_side = builder.icmp_signed("==", step, INT64(dtype.itemsize))
        whole = builder.udiv(count, INT64(self.lanes))
        vectors = builder.select(side_by_side, whole, INT64(0))

        def one(builder: Any, at: Any, kind: ir.Type) -> None:
            here = builder.inttoptr(builder.add(address, builder.mul(at, step)), kind.as_pointer())
            value = self.converted(builder, dtype, builder.load(here, align=dtype.itemsize))
            to = builder.bitcast(builder.gep(out, [at]), value.type.as_pointer())
            builder.store(value, to, align=self.itemsize)

        element = _element(dtype)

        def of_vector(builder: Any, index: Any, _: list[Any]) -> list[Any]:
            at = builder.mul(index, INT64(self.lanes))
            one(builder, at, ir.VectorType(element, self.lanes))
            return []

        done = builder.mul(vectors, INT64(self.lanes))

        def of_number(builder: Any, index: Any, _: list[Any]) -> list[Any]:
            one(builder, builder.add(done, index), element)
            return []

        loop(builder, vectors, [], of_vector)
        loop(builder, builder.sub(count, done), [], of_number)

    def converted(self, builder: Any, dtype: np.dtype, value: Any) -> Any:
        """Return a number, or a vector of them, as those of this dtype."""
        real = _like(value.type, self.real)
        if dtype.kind == "b":  # whatever is not 0 is True
            value = builder.icmp_unsigned("!=", value, _constant(value.type, 0))
            return builder.uitofp(builder.zext(value, _like(real, ir.IntType(8))), real)
        if dtype.kind == "u":
            return builder.uitofp(value, real)
        if dtype.kind == "i":
            return builder.sitofp(value, real)
        if dtype.itemsize == 2:
            value = self.single_of_half(builder, value)
        if value.type == real:
            return value
        wider = self.itemsize > 4
        return builder.fpext(value, real) if wider else builder.fptrunc(value, real)

    def single_of_half(self, builder: Any, bits: Any) -> Any:
        """Return numbers of half precision, given as bits, in single precision.

        Their bits without the sign, moved to where single precision has them, are those of the
        number times 2^-112, also where it is subnormal; infinity and NaN have an exponent of their
        own. LLVM's conversion is a call of a library where the processor has no instruction for it.
        """
        word, single = _like(bits.type, ir.IntType(32)), _like(bits.type, ir.FloatType())
        bits = builder.zext(bits, word)
        rest = builder.and_(bits, _constant(word, _REST))
        infinite = builder.icmp_unsigned(">=", rest, _constant(word, _INFINITE))
        rest = builder.shl(rest, _constant(word, _SHIFT))
        size = builder.fmul(builder.bitcast(rest, single), _constant(single, _SCALE))
        size = builder.select(
            infinite, builder.or_(rest, _constant(word, _EXPONENT)), builder.bitcast(size, word)
        )
        sign = builder.shl(builder.and_(bits, _constant(word, _SIGN)), _constant(word, 16))
        return builder.bitcast(builder.or_(size, sign), single)


def _element(dtype: np.dtype) -> ir.Type:
    """Return LLVM's type of a number of a source as it is loaded."""
    if dtype.kind == "f" and dtype.itemsize > 2:
        return llvm_real(dtype)
    return ir.IntType(8 * dtype.itemsize)


def make_convert(dtype: np.dtype) -> Any:
    """Return ``convert(to, to_at, address, step, count, code)``.

    It writes `count` numbers of the dtype SOURCES[code], which lie `step` bytes apart from
    `address` on, one behind another from element `to_at` of `to` on, as numbers of `dtype`.
    """
    if config.DISABLE_JIT:
        return _python_convert
    name = f"fastnn_convert_{dtype.name}"

    @intrinsic
    def convert(typingctx, to, to_at, address, step, count, code):
        def codegen(context, builder, signature, args):
            out = data_pointer(context, builder, signature.args[0], args[0], args[1])
            module = builder.module
            callee = module.globals.get(name) or _Writer(dtype).convert(module, name)
            builder.call(callee, [out, *args[2:]])
            return context.get_dummy_value()

        return types.void(to, *[types.int64] * 5), codegen

    return convert


def _python_convert(to, to_at, address, step, count, code):
    dtype = SOURCES[code]
    for i in range(count):
        raw = (ctypes.c_byte * dtype.itemsize).from_address(int(address + i * step))
        to[to_at + i] = np.frombuffer(memoryview(raw), dtype)[0]
