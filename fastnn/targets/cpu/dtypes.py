"""The dtypes that a caller's numbers may have where they are read in place."""

from __future__ import annotations

import numpy as np

# What a number may be; compiled code calls each by its place here.
SOURCES = tuple(
    np.dtype(name)
    for name in (
        "float32", "float64", "float16", "bool", "int8", "uint8", "int16", "uint16", "int32",
        "uint32",
    )
)  # fmt: skip
CODES = {dtype.str: code for code, dtype in enumerate(SOURCES)}
