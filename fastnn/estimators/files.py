"""Arrays in .npy files in the place of those in memory, as a `Trainer` takes them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_array
from sklearn.utils.validation import _check_sample_weight

from fastnn.arguments import explained
from fastnn.errors import InvalidInput
from fastnn.estimators.scoring import is_extreme, r2
from fastnn.inputs.frames import as_table, without_dictionaries
from fastnn.inputs.npy_files import open_npy
from fastnn.inputs.sparse_rows import as_compressed, is_sparse
from fastnn.inputs.table_files import table_files


class ScoredNumbers(RegressorMixin):
    """A regressor of scikit-learn's, whose `score` takes y from a file, too."""

    @explained
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R^2 of the predictions for X, the mean over outputs, weighted.

        Numbers whose squares no float holds have the one they would have in other units.
        """
        y, sample_weight = opened(y, "y"), opened(sample_weight, "sample_weight")
        refuse_sparse(y)
        numbers = np.asarray(y) if hasattr(y, "__array__") or isinstance(y, list) else None
        if numbers is None or not is_extreme(numbers):
            return float(super().score(X, y, sample_weight))
        predicted = self.predict(X)
        with np.errstate(invalid="ignore"):  # of a sum that tells what is finite
            numbers = check_array(numbers, ensure_2d=False, dtype="numeric", input_name="y")
        columns, found = (each.reshape(len(each), -1) for each in (numbers, predicted))
        if columns.shape != found.shape:  # which is refused
            return float(r2_score(numbers, predicted, sample_weight=sample_weight))
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, numbers)
        return r2(columns, found, weights)


def opened(value: Any, what: str) -> Any:
    """Return the array in a file, a read-only map of it; nearly anything else as it is.

    What exports a table becomes one whose names scikit-learn knows, as `as_table` has it, and
    codes of pyarrow become values.
    Sparse integers whose format allows several entries of one place are made a CSR of sums here,
    since scikit-learn would sum them in their dtype.

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
    if isinstance(value, (str, bytes, os.PathLike)):
        return open_npy(value, what)
    if type(value) is not np.ndarray and not issparse(value):
        value = without_dictionaries(as_table(value, what))
    several = issparse(value) and value.format in ("coo", "bsr")
    return as_compressed(value) if several and value.dtype.kind in "biu" else value


def refuse_sparse(values: Any, what: str = "y") -> None:
    """Raise `TypeError`, in scikit-learn's words, for targets that are sparse."""
    if is_sparse(values):
        raise TypeError(
            f"Sparse data was passed for {what}, but dense data is required. Use '.toarray()' to "
            "convert to a dense numpy array."
        )


def window_of(shuffle: Any) -> bool | int:
    """Return the parameter `shuffle` as a Trainer takes it: whether, or how many rows together."""
    return bool(shuffle) if isinstance(shuffle, (bool, np.bool_)) else int(shuffle)
