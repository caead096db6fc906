"""The functions in activations and losses: nanoseconds a number."""

from __future__ import annotations

import numpy as np

SECONDS = 0.05  # of one of the batches of calls of which the fastest counts


class Functions:
    """exp, log and tanh in the loop over a tile that the engine makes of a rule, one thread."""

    params = (["exp", "log", "tanh"], ["float32", "float64"])
    param_names = ["function", "dtype"]

    def setup(self, function: str, dtype: str) -> None:
        """Compile the loop, or load it from the cache."""
        from elementwise import function_nanoseconds

        self.measure = function_nanoseconds
        self.measure(function, np.dtype(dtype), 1e-3)

    def track_number(self, function: str, dtype: str) -> float:
        """Nanoseconds for one number, in the second-level cache, argument from 0.1 to 10."""
        return round(self.measure(function, np.dtype(dtype), SECONDS), 3)

    track_number.unit = "ns"


class Softmax:
    """softmax of 64 rows as the engine takes it, one thread."""

    params = ([10, 256], ["float32", "float64"])
    param_names = ["outputs", "dtype"]

    def setup(self, outputs: int, dtype: str) -> None:
        """Compile the function, or load it from the cache."""
        from elementwise import softmax_nanoseconds

        self.measure = softmax_nanoseconds
        self.measure(outputs, np.dtype(dtype), 1e-3)

    def track_number(self, outputs: int, dtype: str) -> float:
        """Nanoseconds for one number of a row, with its share of the row's maximum and sum."""
        return round(self.measure(outputs, np.dtype(dtype), SECONDS), 3)

    track_number.unit = "ns"
