"""Arrays in .npy files in the place of those in memory, as a `Trainer` takes them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from fastnn.errors import InvalidInput
from fastnn.inputs.npy_files import open_npy
from fastnn.inputs.table_files import table_files


class ScoredNumbers(RegressorMixin):
    """A regressor of scikit-learn's, whose `score` takes y from a file, too."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R^2 of the predictions for X, the mean over outputs, weighted."""
        y, sample_weight = opened(y, "y"), opened(sample_weight, "sample_weight")
        return float(super().score(X, y, sample_weight))


def opened(value: Any, what: str) -> Any:
    """Return the array in a file, a read-only map of it; anything but a path as it is.

    Raises
    ------
    InvalidInput, MissingFile, UnusableFile, CorruptFile
        No .npy file that can be read; or files of a table, which only a Trainer reads.
    """
    files = table_files(value, what)
    if files:
        raise InvalidInput(
            f"{what} is files of a table ({files[0][0]}), which an estimator does not read; pass "
            "the table itself, such as pandas.read_parquet(path) without the column of y, or train "
            "a fastnn.Trainer, which reads files larger than memory"
        )
    return open_npy(value, what) if isinstance(value, (str, os.PathLike)) else value


def window_of(shuffle: Any) -> bool | int:
    """Return the parameter `shuffle` as a Trainer takes it: whether, or how many rows together."""
    return bool(shuffle) if isinstance(shuffle, (bool, np.bool_)) else int(shuffle)
