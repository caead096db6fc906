"""The arguments of an epoch as one array of addresses.

Numba passes an array as seven words, and a step works on some twenty arrays: pushing those through
every call took a fifth of the time of a small network. So compiled functions take one array, `job`,
which holds address and length of all of them, and make a view of what they need.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from fastnn.cpu.sources import SOURCE_FIELDS
from fastnn.plan import LAYER_FIELDS
from fastnn.tiling import PHASE_FIELDS, TILE_FIELDS

INT64, REAL = np.dtype(np.int64), np.dtype(np.float64)
# name -> dtype (None: that of the problem), columns (0: one-dimensional)
ARRAYS: dict[str, tuple[np.dtype | None, int]] = {
    "memory": (None, 0),
    "alphas": (None, 0),
    "head": (INT64, 0),
    "layers": (INT64, LAYER_FIELDS),
    "tiles": (INT64, TILE_FIELDS),
    "owners": (INT64, 0),
    "phases": (INT64, PHASE_FIELDS),
    "sources": (INT64, SOURCE_FIELDS),
    "order": (INT64, 0),
    "classes": (INT64, 0),
    "counting": (INT64, 0),
    "keys": (INT64, 0),
    "gathered": (INT64, 0),
    "used": (INT64, 0),
    "control": (INT64, 0),
    "weights": (REAL, 0),
    "rates": (REAL, 0),
    "numbers": (REAL, 0),
    "row_loss": (REAL, 0),
    "parts": (REAL, 0),
}
_POSITIONS = {name: 2 * index for index, name in enumerate(ARRAYS)}


def make_job(**arrays: np.ndarray) -> np.ndarray:
    """Return the job for C-contiguous arrays; those not given are empty. They must stay alive."""
    return _enter(np.zeros(2 * len(ARRAYS), np.int64), arrays)


def make_jobs(
    fixed: np.ndarray, shared: dict[str, np.ndarray], own: dict[str, np.ndarray]
) -> np.ndarray:
    """Return the jobs of epochs that follow one another, one a row.

    All of them have the arrays of the job `fixed` and those in `shared`, and each has one row of
    every array in `own`.
    """
    first = _enter(fixed.copy(), shared)
    for name, rows in own.items():
        at = _POSITIONS[name]
        first[at] = rows.__array_interface__["data"][0]
        first[at + 1] = rows.shape[1]
    count = len(next(iter(own.values())))
    if count == 1:
        return first[None]
    jobs = np.repeat(first[None], count, axis=0)
    for name, rows in own.items():
        jobs[:, _POSITIONS[name]] += rows.strides[0] * np.arange(count)
    return jobs


def _enter(job: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Put address and length of each array into a job."""
    for name, array in arrays.items():
        at = _POSITIONS[name]
        job[at] = array.__array_interface__["data"][0]
        job[at + 1] = len(array)
    return job


def make_view(name: str, dtype: np.dtype) -> Any:
    """Return ``view(job)``: the array of that name, for a problem of that dtype."""
    own, columns = ARRAYS[name]
    at, dtype = _POSITIONS[name], own or dtype
    if config.DISABLE_JIT:
        return _plain_view(at, dtype, columns)
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


def _plain_view(at: int, dtype: np.dtype, columns: int) -> Any:
    def view(job):
        count = int(job[at + 1]) * (columns or 1)
        if count == 0:
            return np.zeros(0, dtype)
        raw = (ctypes.c_byte * (count * dtype.itemsize)).from_address(int(job[at]))
        flat = np.frombuffer(memoryview(raw), dtype)
        return flat.reshape(-1, columns) if columns else flat

    return view


# Those that are the same for every dtype.
head_of, layers_of, tiles_of, owners_of, phases_of, sources_of, order_of, classes_of = (
    make_view(name, INT64)
    for name in ("head", "layers", "tiles", "owners", "phases", "sources", "order", "classes")
)
counting_of, keys_of, gathered_of, used_of, control_of = (
    make_view(name, INT64) for name in ("counting", "keys", "gathered", "used", "control")
)
weights_of, rates_of, numbers_of, row_loss_of, parts_of = (
    make_view(name, REAL) for name in ("weights", "rates", "numbers", "row_loss", "parts")
)
