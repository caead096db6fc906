"""Standardization: the mean and the standard deviation of each column, and what they do to arrays.

Dense arrays are read once, in blocks; what is sparse stays so, and is only divided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.inputs.arrays import BLOCK, first_place, name_value, real_numbers
from fastnn.inputs.parameters import Parameters
from fastnn.inputs.weights import check_weights

_LOWEST = -1022  # 2**-_LOWEST is finite
_EPSILON = float(np.finfo(np.float64).eps)
_SMALLEST = float(np.finfo(np.float64).smallest_subnormal)
_LARGEST = float(np.finfo(np.float64).max)
_FLOATING = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True, eq=False)
class Scaling:
    """What brings each column to mean 0 and variance 1, and back.

    apply(x)_j = (x_j - mean_j) / scale_j,  undo(z)_j = z_j scale_j + mean_j

    >>> X = np.array([[1e5, 3.0, 7.0], [2e5, 5.0, 7.0]])
    >>> scaling = Scaling.fit(X)
    >>> scaling.mean, scaling.scale
    (array([1.5e+05, 4.0e+00, 7.0e+00]), array([5.e+04, 1.e+00, 1.e+00]))
    >>> scaling.apply(X)
    array([[-1., -1.,  0.],
           [ 1.,  1.,  0.]])
    >>> bool((scaling.undo(scaling.apply(X)) == X).all())
    True

    Parameters
    ----------
    mean, scale
        float64 (columns,), finite, `scale` above 0; copied, and not to be written to.

    Raises
    ------
    InvalidInput
        Arrays that are none of this.
    """

    mean: np.ndarray
    scale: np.ndarray

    def __post_init__(self) -> None:
        """Copy the arrays, and check them."""
        for name in ("mean", "scale"):
            array = np.array(real_numbers(getattr(self, name), name), np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.mean.ndim != 1 or self.mean.shape != self.scale.shape:
            raise InvalidInput(
                "mean and scale must have one number a column, but their shapes are "
                f"{self.mean.shape} and {self.scale.shape}"
            )
        wrong = ~np.isfinite(self.mean) | ~np.isfinite(self.scale) | (self.scale <= 0)
        if wrong.any():
            column = int(wrong.argmax())
            raise InvalidInput(
                "mean must be finite, and scale finite and above 0, but column "
                f"{column} has {self.mean[column].item()!r} and {self.scale[column].item()!r}"
            )

    @classmethod
    def fit(cls, X: Any, sample_weight: Any = None) -> Self:
        """Return the mean and the standard deviation of each column.

        mean_j = sum_r w_r x_rj / sum_r w_r,  scale_j^2 = sum_r w_r (x_rj - mean_j)^2 / sum_r w_r

        X is read once. Each block of rows has its mean and its sum of squares about that, and these
        are merged (Chan, Golub & LeVeque 1983, equations 2.1 and 1.7), in units of a power of 2, so
        that nothing overflows. A column that is constant up to the rounding of these sums has scale
        1, by the bound of scikit-learn's StandardScaler, n eps scale^2 + (n eps mean)^2 for
        scale^2, n being the number of rows that count.

        Parameters
        ----------
        X
            (n, columns), or (n,) for one column; floating numbers, integers or bool. Or a sparse
            matrix or array of SciPy: then `mean` is 0, so that zeros stay zeros, and `scale` is the
            standard deviation of all numbers, zeros that are not stored included.
        sample_weight
            (n,), at least 0; None: all count 1. Rows of weight 0 are not looked at.

        Raises
        ------
        InvalidInput
            No rows, another rank, not real numbers, NaN or infinity, or weights that cannot be.
        """
        if _is_sparse(X):
            return cls._fit_sparse(X, sample_weight)
        array = _two_dimensional(X)
        n, columns = array.shape
        weights = _checked_weights(sample_weight, n)
        found, count = _nothing(columns), 0
        for rows in _blocks(n, columns, least=64):
            block, weight = array[rows], None
            if weights is not None:
                weight = weights[rows]
                there = weight > 0
                if not there.all():
                    block, weight = block[there], weight[there]
            count += len(block)
            if len(block):
                found = found.with_other(_moments(block, weight))
        if not found.finite:
            _refuse(array, weights)
        scale = found.deviations(count)
        return cls(np.ldexp(found.mean, found.exponent), scale)

    @classmethod
    def _fit_sparse(cls, X: Any, sample_weight: Any) -> Self:
        """Return what `fit` does for a sparse X."""
        matrix = _compressed(X)
        real_numbers(matrix.data, "X")
        if not matrix.has_canonical_format:  # several entries of one place count by their sum
            matrix = matrix.copy()
            matrix.sum_duplicates()
        n, columns = matrix.shape
        if not n:
            raise InvalidInput(f"X has no rows (shape {matrix.shape}); pass at least one")
        weights = _checked_weights(sample_weight, n)
        rows = np.ones(n) if weights is None else weights
        found, stored = _nothing(columns), np.zeros(columns, np.int64)
        for row, column, values in _entries(matrix):
            there = rows[row] > 0
            row, column, values = row[there], column[there], values[there]
            wrong = ~np.isfinite(values)
            if wrong.any():
                at = int(wrong.argmax())
                raise InvalidInput(
                    f"X value {values[at].item()!r} at row {row[at]}, column {column[at]} "
                    "is not a finite number; drop such rows or fill them"
                )
            stored += np.bincount(column, minlength=columns)
            found = found.with_other(_moments_of_entries(column, values, rows[row], columns))
        count, zeros = int(np.count_nonzero(rows)), _nothing(columns)
        # Where all are stored, what rounding leaves of the weights is no zero.
        zeros.weight[:] = np.where(stored < count, (rows.sum() - found.weight).clip(0.0), 0.0)
        return cls(np.zeros(columns), found.with_other(zeros).deviations(count))

    def apply(self, X: Any, dtype: Any = None) -> Any:
        """Return (X - mean) / scale, computed in float64, in a new array of X's floating dtype.

        Parameters
        ----------
        X
            (m, columns), or (m,) for one column; not changed. A sparse one is only divided, and
            gives a CSC for a CSC, else a CSR; it is refused where `mean` is not 0.
        dtype
            Of the result; None: X's own, if that is float32 or float64, else float64.

        Raises
        ------
        InvalidInput
            Another number of columns, not real numbers, or a result beyond the dtype. NaN and
            infinity in X pass.
        """
        return self._changed(X, dtype, self._standardized, np.divide)

    def undo(self, X: Any, dtype: Any = None) -> Any:
        """Return X scale + mean, in a new array: what `apply` was given, to rounding.

        Parameters and what is raised are as for `apply`.
        """
        return self._changed(X, dtype, self._in_units, np.multiply)

    def fold_inputs(self, parameters: Parameters) -> Parameters:
        """Return parameters that do to X what these do to ``apply(X)``.

        The first layer becomes W / scale[:, None] and b - (mean / scale) W, computed in float64 and
        rounded to the dtype of W. A network that takes columns in such units sums numbers as large
        as mean / scale: where that is 1e4, float32 has 3 decimals left.

        Parameters
        ----------
        parameters
            As `Trainer.parameters`; not changed. The first layer is a Dense. One with bias=False
            may get a b that is not 0, which `Trainer.set_parameters` refuses.

        Raises
        ------
        InvalidInput
            The first layer is none of a Dense with so many inputs, or a number overflows.
        """
        W, b, *rest = self._dense(parameters, 0, axis=0, what="first", of="inputs")
        with np.errstate(over="ignore", invalid="ignore"):
            folded = W / self.scale[:, None], b - (self.mean / self.scale) @ W
        return [(*_rounded(folded, parameters[0]), *rest), *parameters[1:]]

    def fold_outputs(self, parameters: Parameters) -> Parameters:
        """Return parameters of a network whose outputs are what `undo` makes of those of these.

        The last layer becomes W scale and b scale + mean. That is right where its outputs are
        X W + b as they are: with activation "identity" and a loss of plain numbers.

        Parameters
        ----------
        parameters
            As `Trainer.parameters`; not changed. The last layer is a Dense.

        Raises
        ------
        InvalidInput
            The last layer is none of a Dense with so many outputs, it has prelu, or a number
            overflows.
        """
        W, b, *rest = self._dense(parameters, -1, axis=1, what="last", of="outputs")
        if rest:
            raise InvalidInput(
                "the last layer has prelu, which is not linear, so that its outputs cannot be "
                "scaled by its W and b; use undo on what the network predicts"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            folded = W * self.scale, b * self.scale + self.mean
        return [*parameters[:-1], _rounded(folded, parameters[-1])]

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same numbers."""
        if not isinstance(other, Scaling):
            return NotImplemented
        return np.array_equal(self.mean, other.mean) and np.array_equal(self.scale, other.scale)

    def _dense(
        self, parameters: Parameters, index: int, axis: int, what: str, of: str
    ) -> tuple[np.ndarray, ...]:
        """Return the arrays of a layer in float64, if it is a Dense with so many units."""
        layer = tuple(np.asarray(array, np.float64) for array in parameters[index])
        if layer[0].ndim != 2 or layer[0].shape[axis] != len(self.mean):
            shapes = " and ".join(str(array.shape) for array in layer)
            raise InvalidInput(
                f"the {what} layer must be a Dense of {len(self.mean)} {of} to take in a scaling "
                f"of so many columns, but its arrays have the shapes {shapes}"
            )
        return layer

    def _changed(self, X: Any, dtype: Any, dense: Any, sparse: Any) -> Any:
        """Return a new array in which `dense` or `sparse` has changed each number of X."""
        if _is_sparse(X):
            return self._changed_sparse(X, dtype, sparse)
        array = _two_dimensional(X)
        self._check_columns(array.shape)
        result = np.empty(array.shape, _dtype_of(array, dtype))
        for rows in _blocks(*array.shape):
            with np.errstate(over="ignore", invalid="ignore"):
                result[rows] = dense(array[rows])
            _check_rounded(array, result, rows)
        return result.reshape(np.shape(X))

    def _changed_sparse(self, X: Any, dtype: Any, change: Any) -> Any:
        """Return a sparse matrix of the same places, whose numbers are scaled."""
        matrix = _compressed(X)
        real_numbers(matrix.data, "X")
        self._check_columns(matrix.shape)
        if self.mean.any():
            first = int(self.mean.nonzero()[0][0])
            raise InvalidInput(
                f"X is sparse, but this scaling subtracts {self.mean[first]:g} from column "
                f"{first}, which would make it dense; use Scaling.fit on sparse data, or pass "
                "X.toarray()"
            )
        result = matrix.astype(_dtype_of(matrix, dtype), copy=True)
        done = 0
        for _, column, values in _entries(matrix):
            some = slice(done, done + len(values))
            with np.errstate(over="ignore", invalid="ignore"):
                result.data[some] = change(values, self.scale[column])
            _check_rounded(matrix.data.reshape(-1, 1), result.data.reshape(-1, 1), some)
            done = some.stop
        return result

    def _check_columns(self, shape: tuple[int, ...]) -> None:
        """Raise `InvalidInput` for another number of columns."""
        if shape[1] != len(self.mean):
            raise InvalidInput(
                f"X has {shape[1]} columns, but this scaling is for {len(self.mean)}; pass the "
                "columns that it was fitted on"
            )

    def _standardized(self, block: np.ndarray) -> np.ndarray:
        """Return (block - mean) / scale in float64, also where the difference has no number."""
        found = np.subtract(block, self.mean, dtype=np.float64)
        if np.isinf(found).any():
            halves = np.multiply(block, 0.5, dtype=np.float64) - 0.5 * self.mean
            return halves / self.scale * 2.0
        found /= self.scale
        return found

    def _in_units(self, block: np.ndarray) -> np.ndarray:
        """Return block scale + mean in float64."""
        found = np.multiply(block, self.scale, dtype=np.float64)
        found += self.mean
        return found


@dataclass(frozen=True)
class _Moments:
    """Of each column: weights, mean and sum of weighted squares about it, in units of powers of 2.

    With the exponent e of the largest number, `mean` is in 2**e and `squares` in 4**e.
    """

    weight: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    exponent: np.ndarray

    @property
    def finite(self) -> bool:
        """Whether no number was NaN or infinite."""
        return bool(np.isfinite(self.mean).all() and np.isfinite(self.squares).all())

    def with_other(self, other: _Moments) -> _Moments:
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
            return _Moments(
                total,
                mean + share * step,
                squares + its_squares + self.weight * share * step**2,
                exponent,
            )

    def deviations(self, count: int) -> np.ndarray:
        """Return the standard deviation of each column, 1 where it is one number."""
        weight = np.where(self.weight > 0, self.weight, 1.0)
        variance = np.maximum(self.squares, 0.0) / weight
        rounding = count * _EPSILON * variance + (count * _EPSILON * self.mean) ** 2
        with np.errstate(over="ignore"):
            scale = np.ldexp(np.sqrt(variance), self.exponent).clip(_SMALLEST, _LARGEST)
        return np.where(variance <= rounding, 1.0, scale)


def _nothing(columns: int) -> _Moments:
    """Return the moments of no rows."""
    zeros = np.zeros(columns)
    return _Moments(zeros.copy(), zeros, zeros, np.full(columns, _LOWEST))


def _exponents(largest: np.ndarray) -> np.ndarray:
    """Return e with 2**e above each number, so that all are within 1 in units of it."""
    return np.where(largest > 0, np.frexp(largest)[1], _LOWEST).clip(_LOWEST)


def _moments(block: np.ndarray, weight: np.ndarray | None) -> _Moments:
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
    return _Moments(np.full(len(mean), total), mean + left, squares, exponent)


def _sums(numbers: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Return the weighted sum of each row."""
    return numbers.sum(axis=1) if weight is None else numbers @ weight


def _moments_of_entries(
    column: np.ndarray, values: np.ndarray, weight: np.ndarray, columns: int
) -> _Moments:
    """Return the moments of single numbers, each with its column; of those that are there."""
    largest = np.zeros(columns)
    np.maximum.at(largest, column, np.abs(values))
    exponent = _exponents(largest)
    values = values * np.ldexp(1.0, -exponent)[column]
    total = np.bincount(column, weight, columns)
    safe = np.where(total > 0, total, 1.0)
    mean = np.bincount(column, weight * values, columns) / safe
    values -= mean[column]
    left = np.bincount(column, weight * values, columns) / safe
    squares = np.bincount(column, weight * values**2, columns) - total * left**2
    return _Moments(total, mean + left, squares, exponent)


def _blocks(rows: int, columns: int, least: int = 1) -> Iterator[slice]:
    """Yield slices of rows that hold few enough numbers for the cache."""
    height = max(least, BLOCK // max(1, columns))
    for start in range(0, rows, height):
        yield slice(start, min(start + height, rows))


def _entries(matrix: Any) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield rows, columns and values of the stored numbers of a CSR or CSC, as they lie."""
    step = max(BLOCK, 4 * matrix.shape[1])
    for start in range(0, len(matrix.data), step):
        end = min(start + step, len(matrix.data))
        major = np.searchsorted(matrix.indptr, np.arange(start, end), side="right") - 1
        minor = matrix.indices[start:end]
        values = np.asarray(matrix.data[start:end], np.float64)
        yield (major, minor, values) if matrix.format == "csr" else (minor, major, values)


def _is_sparse(X: Any) -> bool:
    """Return whether X is a sparse matrix or array, as SciPy has them, without importing that."""
    return hasattr(X, "tocsr") and hasattr(X, "nnz")


def _compressed(X: Any) -> Any:
    """Return a sparse X as the CSR or CSC that it is, or as a CSR."""
    return X if X.format in ("csr", "csc") else X.tocsr()


def _two_dimensional(X: Any) -> np.ndarray:
    """Return X as a real array (n, columns), not copied if it is one; one column of (n,)."""
    array = real_numbers(X, "X")
    if array.ndim == 1:
        array = array.reshape(-1, 1)
    if array.ndim != 2:
        raise InvalidInput(
            f"X has shape {array.shape} but must be two-dimensional, one row a sample, or (n,) for "
            "one column"
        )
    return array


def _checked_weights(sample_weight: Any, n: int) -> np.ndarray | None:
    """Return weights (n,) as float64, or None."""
    if not n:
        raise InvalidInput("X has no rows; pass at least one")
    return None if sample_weight is None else check_weights(sample_weight, n)


def _dtype_of(array: Any, dtype: Any) -> np.dtype[Any]:
    """Return the dtype of what becomes of an array."""
    if dtype is not None:
        return np.dtype(dtype)
    native = array.dtype.newbyteorder("=")
    return native if native in _FLOATING else _FLOATING[1]


def _refuse(array: np.ndarray, weights: np.ndarray | None) -> None:
    """Raise for the first value that is not finite, in a row that counts."""
    rows = np.arange(len(array)) if weights is None else weights.nonzero()[0]
    limit = float(np.finfo(array.dtype).max)
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        place = first_place(array[some], "beyond", limit)
        if place is not None:
            value = name_value(array, (int(some[place[0]]), place[1]))
            raise InvalidInput(
                f"X {value} is not a finite number; drop such rows or fill them, such as with "
                "numpy.nan_to_num"
            )


def _check_rounded(array: np.ndarray, result: np.ndarray, rows: slice) -> None:
    """Raise where a finite number became infinite."""
    if np.isfinite(result[rows]).all():
        return
    wrong = np.isfinite(array[rows]) & ~np.isfinite(result[rows])
    if wrong.any():
        row, column = divmod(int(wrong.argmax()), wrong.shape[1])
        raise InvalidInput(
            f"X {name_value(array, (rows.start + row, column))} is infinite in {result.dtype} once "
            "it is scaled; pass float64, or data like those that the scaling was fitted on"
        )


def _rounded(
    folded: tuple[np.ndarray, np.ndarray], layer: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, ...]:
    """Return arrays in the dtypes of those of a layer, or raise where one overflows."""
    with np.errstate(over="ignore"):
        found = tuple(
            array.astype(np.asarray(like).dtype) for array, like in zip(folded, layer, strict=False)
        )
    if not all(np.isfinite(array).all() for array in found):
        raise InvalidInput(
            f"the parameters would be infinite in {found[0].dtype} in units of such a scale; keep "
            "the scaling beside the network, or pass float64 parameters"
        )
    return found
