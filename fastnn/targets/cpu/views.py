"""Views of the arrays that a job lists, for compiled code: see `fastnn.targets.cpu.arguments`."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from fastnn.targets.cpu.arguments import ARRAYS, INT64, POSITIONS, REAL, WORDS

_WORD = ir.IntType(64)


@intrinsic
def _job_at(typingctx, jobs, index):
    """Return job number `index` of those that lie behind one another at a pointer."""
    array_type = types.Array(types.int64, 1, "C")

    def codegen(context, builder, signature, args):
        start = builder.gep(args[0], [builder.mul(args[1], _WORD(WORDS))])
        array = context.make_array(array_type)(context, builder)
        populate_array(
            array,
            data=start,
            shape=[_WORD(WORDS)],
            strides=[_WORD(8)],
            itemsize=_WORD(8),
            meminfo=None,
        )
        return array._getvalue()

    return array_type(jobs, types.int64), codegen


def _python_job_at(jobs: np.ndarray, index: int) -> np.ndarray:
    return jobs[index * WORDS : (index + 1) * WORDS]


job_at = _python_job_at if config.DISABLE_JIT else _job_at


def make_view(name: str, dtype: np.dtype) -> Any:
    """Return ``view(job)``: the array of that name, for a problem of that dtype."""
    own, columns = ARRAYS[name]
    at, dtype = POSITIONS[name], own or dtype
    if config.DISABLE_JIT:
        return _python_view(at, dtype, columns)
    scalar = types.int64 if dtype == INT64 else getattr(types, dtype.name)
    array_type = types.Array(scalar, 2 if columns else 1, "C")

    @intrinsic
    def view(typingctx, job):
        def codegen(context, builder, signature, args):
            words = context.make_array(signature.args[0])(context, builder, args[0]).data
            word = ir.IntType(64)
            address = builder.load(builder.gep(words, [word(at)]))
            length = builder.load(builder.gep(words, [word(at + 1)]))
            shape, strides = [length], [word(dtype.itemsize)]
            if columns:
                shape.append(word(columns))
                strides.insert(0, word(columns * dtype.itemsize))
            array = context.make_array(array_type)(context, builder)
            data = context.get_data_type(scalar).as_pointer()
            populate_array(
                array,
                data=builder.inttoptr(address, data),
                shape=shape,
                strides=strides,
                itemsize=word(dtype.itemsize),
                meminfo=None,
            )
            return array._getvalue()

        return array_type(job), codegen

    return view


def _python_view(at: int, dtype: np.dtype, columns: int) -> Any:
    def view(job):
        count = int(job[at + 1]) * (columns or 1)
        if count == 0:
            return np.zeros(0, dtype)
        raw = (ctypes.c_byte * (count * dtype.itemsize)).from_address(int(job[at]))
        flat = np.frombuffer(memoryview(raw), dtype)
        return flat.reshape(-1, columns) if columns else flat

    return view


# Those that are the same for every dtype.
head_of, layers_of, tiles_of, owners_of, phases_of, strided_of, order_of, classes_of = (
    make_view(name, INT64)
    for name in ("head", "layers", "tiles", "owners", "phases", "strided", "order", "classes")
)
counting_of, keys_of, gathered_of, nonzero_of, addresses_of, control_of, sparse_of, touched_of = (
    make_view(name, INT64)
    for name in (
        "counting", "keys", "gathered", "nonzero", "addresses", "control", "sparse", "touched",
    )
)  # fmt: skip
shares_of, edges_of = make_view("shares", INT64), make_view("edges", INT64)
weights_of, target_weights_of, rates_of, numbers_of = (
    make_view(name, REAL) for name in ("weights", "target_weights", "rates", "numbers")
)
ends_of, row_loss_of, parts_of, jumps_of = (
    make_view(name, REAL) for name in ("ends", "row_loss", "parts", "jumps")
)
