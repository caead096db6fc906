"""Mean and standard deviation of each column, of dense rows and of sparse ones, in one pass.

Nothing overflows or loses digits that the data have: sums are those of deviations from a mean, in
units of a power of 2 (Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastnn.inputs.arrays import BLOCK
from fastnn.inputs.device_arrays import to_host
from fastnn.inputs.sparse_rows import SparseRows, as_compressed

_LOWEST = -1022  # 2**-_LOWEST is finite
_EPSILON = float(np.finfo(np.float64).eps)
_SMALLEST = float(np.finfo(np.float64).smallest_subnormal)
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a CSR, by the names that SciPy has for its arrays."""

    shape: tuple[int, int]
    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    format: str = "csr"


@dataclass(frozen=True)
class Moments:
    """Of each column: weights, mean and sum of weighted squares about it, in units of powers of 2.

    With the exponent e of the largest number, `mean` is in 2**e and `squares` in 4**e. `rows` is
    how many rows there are, which bounds what rounding leaves of a deviation.
    """

    weight: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    exponent: np.ndarray
    rows: int

    @property
    def means(self) -> np.ndarray:
        """The mean of each column."""
        return np.ldexp(self.mean, self.exponent)

    @property
    def finite(self) -> bool:
        """Whether no number was NaN or infinite."""
        return bool(np.isfinite(self.mean).all() and np.isfinite(self.squares).all())

    def with_other(self, other: Moments) -> Moments:
        """Return the moments of both sets of rows together (Chan et al. 1983, equation 2.1)."""
        exponent = np.maximum(self.exponent, other.exponent)
        (mean, squares), (its, its_squares) = (
            (
                np.ldexp(each.mean, each.exponent - exponent),
                np.ldexp(each.squares, 2 * (each.exponent - exponent)),
            )
            for each in (self, other)
        )
        total = self.weight + other.weight
        share = np.divide(other.weight, total, out=np.zeros(len(total)), where=total > 0)
        with np.errstate(over="ignore", invalid="ignore"):
            step = its - mean
            return Moments(
                total,
                mean + share * step,
                squares + its_squares + self.weight * share * step**2,
                exponent,
                self.rows + other.rows,
            )

    def deviations(self) -> np.ndarray:
        """Return the standard deviation of each column, 0 where it is one number.

        It is 0 up to the rounding of the sums: within n eps s^2 + (n eps mean)^2 of s^2, n being
        the number of rows, which is the bound of scikit-learn's StandardScaler.
        """
        weight = np.where(self.weight > 0, self.weight, 1.0)
        variance = np.maximum(self.squares, 0.0) / weight
        rounding = self.rows * _EPSILON * variance + (self.rows * _EPSILON * self.mean) ** 2
        with np.errstate(over="ignore"):
            found = np.ldexp(np.sqrt(variance), self.exponent).clip(_SMALLEST, _LARGEST)
        return np.where(variance <= rounding, 0.0, found)


def moments_of_rows(array: Any, weights: np.ndarray | None) -> Moments:
    """Return the moments of rows, each of its weight; those of weight 0 are not looked at.

    Parameters
    ----------
    array
        (n, columns), any real dtype; a `DeviceArray` is copied block by block.
    weights
        float64 (n,); None: all count 1.
    """
    found = _nothing(array.shape[1])
    for rows in blocks_of_rows(len(array), array.shape[1], least=64):
        block, weight = to_host(array[rows]), None
        if weights is not None:
            weight = weights[rows]
            there = weight > 0
            if not there.all():
                block, weight = block[there], weight[there]
        if len(block):
            found = found.with_other(_moments(block, weight))
    return found


def moments_of_sparse(matrix: Any, weights: np.ndarray | None) -> Moments:
    """Return the moments of the rows of a CSR or CSC, in which no place has two entries.

    Zeros that are not stored count; the memory that it takes is that of some rows.
    """
    n, columns = matrix.shape
    rows = np.ones(n) if weights is None else weights
    found, stored = _nothing(columns), np.zeros(columns, np.int64)
    for row, column, values in entries(matrix):
        there = rows[row] > 0
        row, column, values = row[there], column[there], values[there]
        stored += np.bincount(column, minlength=columns)
        found = found.with_other(_moments_of_entries(column, values, rows[row], columns))
    count, zeros = int(np.count_nonzero(rows)), _nothing(columns)
    # Where all are stored, what rounding leaves of the weights is no zero.
    zeros.weight[:] = np.where(stored < count, (rows.sum() - found.weight).clip(0.0), 0.0)
    return replace(found.with_other(zeros), rows=count)


def _nothing(columns: int) -> Moments:
    """Return the moments of no rows."""
    zeros = np.zeros(columns)
    return Moments(zeros.copy(), zeros, zeros, np.full(columns, _LOWEST), 0)


def _exponents(largest: np.ndarray) -> np.ndarray:
    """Return e with 2**e above each number, so that all are within 1 in units of it."""
    return np.where(largest > 0, np.frexp(largest)[1], _LOWEST).clip(_LOWEST)


def _moments(block: np.ndarray, weight: np.ndarray | None) -> Moments:
    """Return the moments of rows (m, columns), each of a weight above 0 if there are any.

    A column is contiguous in the copy, so that NumPy adds it up in pairs. The sum of what the mean
    leaves corrects mean and squares for its rounding (Chan et al. 1983, equation 1.7).
    """
    numbers = np.array(block.T, np.float64, order="C")
    with np.errstate(over="ignore", invalid="ignore"):  # of what is not finite `finite` tells
        exponent = _exponents(np.maximum(numbers.max(axis=1), -numbers.min(axis=1)))
        numbers *= np.ldexp(1.0, -exponent)[:, None]
        total = float(len(block)) if weight is None else float(weight.sum())
        mean = _sums(numbers, weight) / total
        numbers -= mean[:, None]
        left = _sums(numbers, weight) / total
        numbers *= numbers
        squares = _sums(numbers, weight) - total * left**2
    return Moments(np.full(len(mean), total), mean + left, squares, exponent, len(block))


def _sums(numbers: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Return the weighted sum of each row."""
    return numbers.sum(axis=1) if weight is None else numbers @ weight


def _moments_of_entries(
    column: np.ndarray, values: np.ndarray, weight: np.ndarray, columns: int
) -> Moments:
    """Return the moments of single numbers, each with its column; of those that are there."""
    largest = np.zeros(columns)
    with np.errstate(invalid="ignore"):
        np.maximum.at(largest, column, np.abs(values))
    exponent = _exponents(largest)
    total = np.bincount(column, weight, columns)
    safe = np.where(total > 0, total, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):  # of what is not finite `finite` tells
        values = values * np.ldexp(1.0, -exponent)[column]
        mean = np.bincount(column, weight * values, columns) / safe
        values -= mean[column]
        left = np.bincount(column, weight * values, columns) / safe
        squares = np.bincount(column, weight * values**2, columns) - total * left**2
    return Moments(total, mean + left, squares, exponent, len(values))


def blocks_of_rows(rows: int, columns: int, least: int = 1) -> Iterator[slice]:
    """Yield slices of rows that hold few enough numbers for the cache."""
    height = max(least, BLOCK // max(1, columns))
    for start in range(0, rows, height):
        yield slice(start, min(start + height, rows))


def entries(matrix: Any) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield rows, columns and values of the stored numbers of a CSR or CSC, as they lie."""
    step = max(BLOCK, 4 * matrix.shape[1])
    for start in range(0, len(matrix.data), step):
        end = min(start + step, len(matrix.data))
        major = np.searchsorted(matrix.indptr, np.arange(start, end), side="right") - 1
        minor = matrix.indices[start:end]
        values = np.asarray(matrix.data[start:end], np.float64)
        yield (major, minor, values) if matrix.format == "csr" else (minor, major, values)


def compressed(X: Any) -> Any:
    """Return a sparse X as the CSR or CSC that it is, or as a CSR; with one entry a place."""
    if isinstance(X, SparseRows):
        first, last = int(X.starts[0]), int(X.starts[-1])
        return Rows(X.shape, X.starts - first, X.columns[first:last], X.values[first:last])
    matrix = as_compressed(X)
    if not matrix.has_canonical_format:  # several entries of one place count by their sum
        # Before sums that small integers may not hold.
        matrix = matrix.astype(np.float64 if matrix.dtype.kind in "biu" else matrix.dtype)
        matrix.sum_duplicates()
    return matrix
