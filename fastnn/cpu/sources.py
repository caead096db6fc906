"""Where the caller's arrays are: rows of `sources`, one for X and one for y.

Compiled code reads them by address, so that one compilation serves every layout and both float
types.
"""

from __future__ import annotations

import numpy as np

ADDRESS, ROW_STRIDE, COLUMN_STRIDE, IS_DOUBLE, COLUMNS, SOURCE_FIELDS = range(6)  # in bytes


def make_sources(*matrices: np.ndarray) -> np.ndarray:
    """Return the table for two-dimensional float32 or float64 arrays, which must stay alive."""
    rows = [
        (m.__array_interface__["data"][0], *m.strides, m.dtype.itemsize == 8, m.shape[1])
        for m in matrices
    ]
    return np.array(rows, np.int64)
