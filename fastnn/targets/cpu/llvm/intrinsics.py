"""What Numba's language lacks: reading an address, bits of a float, atomic words, naps.

Where Numba is switched off (``NUMBA_DISABLE_JIT=1``) the same names are plain Python, so that every
line above them can still be run and measured for coverage.
"""

from __future__ import annotations

import ctypes
import sys
import time
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

INT32 = ir.IntType(32)
INT64 = ir.IntType(64)
_REAL = {
    "float32": (types.float32, ir.FloatType(), ctypes.c_float, ir.IntType(32), types.int32),
    "float64": (types.float64, ir.DoubleType(), ctypes.c_double, ir.IntType(64), types.int64),
}


def _declare(module: Any, name: str, result: ir.Type, arguments: list[ir.Type]) -> Any:
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)


def make_load(name: str) -> Any:
    """Return ``load(address)``: the number of type `name` at an address (an int64)."""
    numba_type, llvm_type, c_type = _REAL[name][:3]
    if config.DISABLE_JIT:
        return lambda address: np.dtype(name).type(c_type.from_address(int(address)).value)

    @intrinsic
    def load(typingctx, address):
        def codegen(context, builder, signature, args):
            return builder.load(builder.inttoptr(args[0], llvm_type.as_pointer()))

        return numba_type(types.int64), codegen

    return load


load_float32 = make_load("float32")
load_float64 = make_load("float64")


def make_load_index(bits: int) -> Any:
    """Return ``load(address)``: the signed integer of so many bits at an address, as an int64."""
    if config.DISABLE_JIT:
        c_type = ctypes.c_int32 if bits == 32 else ctypes.c_int64
        return lambda address: np.int64(c_type.from_address(int(address)).value)

    @intrinsic
    def load(typingctx, address):
        def codegen(context, builder, signature, args):
            value = builder.load(builder.inttoptr(args[0], ir.IntType(bits).as_pointer()))
            return builder.sext(value, INT64) if bits == 32 else value

        return types.int64(types.int64), codegen

    return load


load_int32 = make_load_index(32)
load_int64 = make_load_index(64)


@intrinsic
def _address(typingctx, array, at):
    """Return the address of element `at` of a one-dimensional contiguous array."""

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(_word(context, builder, signature, args), INT64)

    return types.int64(array, types.int64), codegen


def make_bits(name: str) -> tuple[Any, Any]:
    """Return ``to_bits(x)`` and ``from_bits(i)``: between a float and the integer of its bits."""
    numba_type, llvm_type, _, llvm_int, numba_int = _REAL[name]
    if config.DISABLE_JIT:
        real, whole = np.dtype(name).type, np.dtype(str(numba_int)).type
        return lambda x: real(x).view(whole), lambda i: whole(i).view(real)

    @intrinsic
    def to_bits(typingctx, x):
        def codegen(context, builder, signature, args):
            return builder.bitcast(args[0], llvm_int)

        return numba_int(numba_type), codegen

    @intrinsic
    def from_bits(typingctx, i):
        def codegen(context, builder, signature, args):
            return builder.bitcast(args[0], llvm_type)

        return numba_type(numba_int), codegen

    return to_bits, from_bits


def _word(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [args[1]])


@intrinsic
def _atomic_add(typingctx, words, at, value):
    def codegen(context, builder, signature, args):
        return builder.atomic_rmw(
            "add", _word(context, builder, signature, args), args[2], "seq_cst"
        )

    return types.int64(words, types.int64, types.int64), codegen


@intrinsic
def _atomic_load(typingctx, words, at):
    def codegen(context, builder, signature, args):
        return builder.load_atomic(_word(context, builder, signature, args), "seq_cst", 8)

    return types.int64(words, types.int64), codegen


@intrinsic
def _atomic_store(typingctx, words, at, value):
    def codegen(context, builder, signature, args):
        builder.store_atomic(args[2], _word(context, builder, signature, args), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(words, types.int64, types.int64), codegen


@intrinsic
def _pause(typingctx):
    """Tell the processor that this is a spin loop: frees its sibling thread and saves power."""

    def codegen(context, builder, signature, args):
        if llvm.get_process_triple().startswith("x86"):
            builder.call(_declare(builder.module, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
        elif llvm.get_process_triple().startswith(("aarch64", "arm64")):
            hint = _declare(builder.module, "llvm.aarch64.hint", ir.VoidType(), [INT32])
            builder.call(hint, [INT32(1)])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _give_way(typingctx):
    """Let another thread that waits for this core have it."""

    def codegen(context, builder, signature, args):
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        builder.call(_declare(builder.module, name, INT32, []), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _nap(typingctx):
    """Sleep for about 50 us, so that a thread with nothing to do leaves the core to others."""

    def codegen(context, builder, signature, args):
        if sys.platform == "win32":
            sleep = _declare(builder.module, "Sleep", ir.VoidType(), [INT32])
            builder.call(sleep, [INT32(0)])
        else:
            builder.call(_declare(builder.module, "usleep", INT32, [INT32]), [INT32(50)])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _prefetch(typingctx, address):
    """Ask for the cache line at an address (second-level cache, for reading)."""

    def codegen(context, builder, signature, args):
        byte = ir.IntType(8).as_pointer()
        prefetch = _declare(
            builder.module, "llvm.prefetch.p0", ir.VoidType(), [byte, INT32, INT32, INT32]
        )
        arguments = [builder.inttoptr(args[0], byte), INT32(0), INT32(2), INT32(1)]
        builder.call(prefetch, arguments)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _python_add(words: np.ndarray, at: int, value: int) -> int:
    # One bytecode thread at a time is not enough for a read-modify-write: only tests of one thread
    # and of tiny shapes run without Numba, and the engine then uses one thread.
    old = int(words[at])
    words[at] = old + value
    return old


def _python_load(words: np.ndarray, at: int) -> int:
    return int(words[at])


def _python_store(words: np.ndarray, at: int, value: int) -> None:
    words[at] = value


def _python_pause() -> None:
    pass


def _python_give_way() -> None:
    time.sleep(0)


def _python_nap() -> None:
    time.sleep(5e-5)


def _python_prefetch(address: int) -> None:
    pass


def _python_address(array: np.ndarray, at: int) -> int:
    return array.ctypes.data + int(at) * array.itemsize


if config.DISABLE_JIT:
    atomic_add, atomic_load, atomic_store = _python_add, _python_load, _python_store
    give_way = _python_give_way
    pause, nap, prefetch, address_of = _python_pause, _python_nap, _python_prefetch, _python_address
else:
    give_way = _give_way
    atomic_add, atomic_load, atomic_store = _atomic_add, _atomic_load, _atomic_store
    pause, nap, prefetch, address_of = _pause, _nap, _prefetch, _address
