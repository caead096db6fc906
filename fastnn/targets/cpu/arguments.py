"""The arguments of an epoch as one array of addresses.

Numba passes an array as seven words, and a step works on some twenty arrays: pushing those through
every call took a fifth of the time of a small network. So compiled functions take one array, `job`,
which holds address and length of all of them, and make a view of what they need (see `views`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.targets.cpu.dtypes import CODES
from fastnn.targets.cpu.plan import LAYER_FIELDS
from fastnn.targets.cpu.tiling import PHASE_FIELDS, TILE_FIELDS

if TYPE_CHECKING:
    from fastnn.inputs.sparse_rows import SparseRows

# Compiled code reads them by address, so that one compilation serves every layout and dtype; the
# latter is a place in `fastnn.targets.cpu.dtypes.SOURCES`.

ADDRESS, ROW_STRIDE, COLUMN_STRIDE, DTYPE, COLUMNS, STRIDED_FIELDS = range(6)  # in bytes


def make_strided_views(*matrices: np.ndarray) -> np.ndarray:
    """Return the table for two-dimensional arrays of `SOURCES`, which must stay alive."""
    rows = [
        (m.__array_interface__["data"][0], *m.strides, CODES[m.dtype.str], m.shape[1])
        for m in matrices
    ]
    return np.array(rows, np.int64)


# What lists sparse features, as `SparseRows` has them: addresses; kinds of numbers; sizes.
(
    VALUES,
    COLUMNS_AT,
    STARTS,
    VALUES_ARE_DOUBLE,
    COLUMNS_ARE_WIDE,  # int64, not int32
    STARTS_ARE_WIDE,
    STORED,  # numbers in VALUES and COLUMNS_AT
    ROWS_STORED,
    SPARSE_FIELDS,
) = range(9)


# Of a run of steps that are made good later (see `step.jumps`), where w and its state s become
# w <- S(A w + B s, CUT); s <- C w + D s + E (w afterwards).
A, B, C, D, E, CUT, JUMP = range(7)
# After a step of plain SGD with a mean: sums of cuts, of shares, and of both (`step.settling`).
RUN_C, RUN_A, RUN_B, SUMS = range(4)


def make_sparse_table(X: SparseRows) -> np.ndarray:
    """Return the table for sparse features, whose arrays must stay alive."""
    arrays = X.values, X.columns, X.starts
    addresses = [array.__array_interface__["data"][0] for array in arrays]
    wide = [array.dtype.itemsize == 8 for array in arrays]
    return np.array([*addresses, *wide, len(X.values), len(X)], np.int64)


# Of a step of a batch that several processes share: how many of its rows are here, at least 1; the
# number within the epoch of the first of them; and how many there are in all, or 0 where the row
# that is here only stands for none.
ROWS_HERE, PLACE, ROWS_IN_ALL, SHARE_FIELDS = range(4)

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
    "strided": (INT64, STRIDED_FIELDS),
    "order": (INT64, 0),
    "classes": (INT64, 0),
    "counting": (INT64, 0),
    "keys": (INT64, 0),
    "gathered": (INT64, 0),
    "nonzero": (INT64, 0),
    "addresses": (INT64, 0),  # of rows of X: see `step.first_rows`
    "sparse": (INT64, 0),
    "touched": (INT64, 0),  # see `step.lazy_rows`
    "edges": (INT64, 0),  # see `step.sparse_ranges`
    "control": (INT64, 0),
    "weights": (REAL, 0),
    "target_weights": (REAL, 0),
    "rates": (REAL, 0),
    "numbers": (REAL, 0),
    "ends": (REAL, 0),  # of outputs, before the epoch and after it: see `fastnn.rules.ends`
    "row_loss": (REAL, 0),
    "parts": (REAL, 0),
    "jumps": (REAL, 0),  # see `step.lazy_rows`
    "shares": (INT64, SHARE_FIELDS),
}
WORDS = 2 * len(ARRAYS)  # of a job
POSITIONS = {name: 2 * index for index, name in enumerate(ARRAYS)}


# Words of `control`, each on a cache line of its own; TICKETS is the first of one for each thread.
# STEP is how many steps are done, and where a call goes on. After the tickets there is a line each
# for the tiles that a thread has begun early (see `team`), and then one each for its notes.
DONE, STOP, STEP, BAD_STEP, FIRST_STEP, TICKETS = range(0, 48, 8)
LINE = 8
FINISHED = 1 << 30  # the phase after the last; phases of an epoch are fewer
TILE_MASK = (1 << 32) - 1
# A ticket of the first phase with no tile left, until thread 0 opens it. Words of tiles begun early
# that are at least that are closed, and notes with it are of no phase.
NOT_OPEN = 1 << 31


def make_job(**arrays: np.ndarray) -> np.ndarray:
    """Return the job for C-contiguous arrays; those not given are empty. They must stay alive."""
    return _enter(np.zeros(WORDS, np.int64), arrays)


def make_jobs(
    fixed: np.ndarray, shared: dict[str, np.ndarray], own: dict[str, np.ndarray]
) -> np.ndarray:
    """Return the jobs of epochs that follow one another, one a row.

    All of them have the arrays of the job `fixed` and those in `shared`, and each has one row of
    every array in `own`.
    """
    first, strides = _enter(fixed.copy(), shared), np.zeros(WORDS, np.int64)
    for name, rows in own.items():
        at = POSITIONS[name]
        first[at] = rows.__array_interface__["data"][0]
        first[at + 1] = rows.shape[1]
        strides[at] = rows.strides[0]
    return first + strides * np.arange(len(next(iter(own.values()))))[:, None]


def _enter(job: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Put address and length of each array into a job."""
    for name, array in arrays.items():
        if length := len(array):
            at = POSITIONS[name]
            job[at] = array.__array_interface__["data"][0]
            job[at + 1] = length
    return job
