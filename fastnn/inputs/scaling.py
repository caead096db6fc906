"""Standardization: the mean and the standard deviation of each column, and what they do to arrays.

Dense arrays are read once, in blocks; what is sparse stays so, and is only divided.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fastnn.errors import InvalidInput, RoundingWarning, shown
from fastnn.inputs.arrays import Labels, as_table, labels_of, name_column, name_value, real_numbers
from fastnn.inputs.frames import check_names, feature_names
from fastnn.inputs.moments import (
    blocks_of_rows,
    compressed,
    entries,
    moments_of_rows,
    moments_of_sparse,
)
from fastnn.inputs.npy_files import open_npy
from fastnn.inputs.parameters import Parameters
from fastnn.inputs.sparse_rows import is_sparse
from fastnn.inputs.weights import check_weights

_FLOATING = (np.dtype(np.float32), np.dtype(np.float64))
SMALL = 2.0**-12  # of a standard deviation, up to which nothing is said of rounding


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
    names
        Those of the columns, where `fit` was given a frame that has them: `apply` and `undo` refuse
        a frame of others, or of these in another order.

    Raises
    ------
    InvalidInput
        Arrays that are none of this.
    """

    mean: np.ndarray
    scale: np.ndarray
    names: tuple[str, ...] | None = None

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

        X is read once, and not copied; see `fastnn.inputs.moments`. A column that is one number up
        to rounding has scale 1, as scikit-learn's StandardScaler decides: where scale^2 is at most
        n eps scale^2 + (n eps mean)^2, n being the number of rows that count.

        Parameters
        ----------
        X
            (n, columns), or (n,) for one column; floating numbers, integers or bool; or the path of
            a .npy file of such, of which a block is in memory at a time. Or a sparse
            matrix or array of SciPy: then `mean` is 0, so that zeros stay zeros, and `scale` is the
            standard deviation of all numbers, zeros that are not stored included.
        sample_weight
            (n,), at least 0; None: all count 1. Rows of weight 0 are not looked at.

        Raises
        ------
        InvalidInput
            No rows, another rank, not real numbers, NaN or infinity, or weights that cannot be.
        """
        X, sparse = _table(X), is_sparse(X)
        array = compressed(X) if sparse else _two_dimensional(X)
        if sparse:
            real_numbers(array.data, "X")
        if not array.shape[0]:
            raise InvalidInput(f"X has no rows (shape {array.shape}); pass at least one")
        if not array.shape[1]:
            raise InvalidInput(f"X has no columns (shape {array.shape}); pass at least one")
        weights = None if sample_weight is None else check_weights(sample_weight, array.shape[0])
        found = (moments_of_sparse if sparse else moments_of_rows)(array, weights)
        if not found.finite:
            _refuse(array, weights, labels_of(X, "X"))
        scale = found.deviations()
        scale[scale == 0] = 1.0
        names = None if sparse else feature_names(X, "X")
        return cls(np.zeros_like(scale) if sparse else found.means, scale, names)

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
            Other columns, not real numbers, a dtype that is not floating, or a result beyond it.
            NaN and infinity in X pass.
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
        as mean / scale, and its dtype rounds them, and X: where that is 1e4, float32 has 3 decimals
        left, and where it is 1e7, none. So pass float64 parameters, and set them in a Trainer of
        dtype "float64", where columns are that far from 0.

        Parameters
        ----------
        parameters
            As `Trainer.parameters`; not changed. The first layer is a Dense. One with bias=False
            may get a b that is not 0, which `Trainer.set_parameters` refuses.

        Raises
        ------
        InvalidInput
            The first layer is not a Dense with as many inputs as there are columns, or a number
            overflows.

        Warns
        -----
        RoundingWarning
            Sums of the first layer may be rounded by more than 2^-12 in the dtype of W.
        """
        W, b, *rest = self._dense(parameters, 0, axis=0, what="first", of="inputs")
        with np.errstate(over="ignore", invalid="ignore"):
            folded = W / self.scale[:, None], b - (self.mean / self.scale) @ W
        found = _rounded(folded, parameters[0])
        size = self.size_of_inputs(parameters)
        _tell_rounding(size, found[0].dtype, "sums of the first layer", "X", "apply to X")
        return [(*found, *rest), *parameters[1:]]

    def fold_outputs(self, parameters: Parameters) -> Parameters:
        """Return parameters of a network whose outputs are what `undo` makes of those of these.

        The last layer becomes W scale and b scale + mean. That is right where its outputs are
        X W + b as they are: with activation "identity" and a loss of plain numbers. They are then
        rounded to the dtype of W: float32 has 3 decimals of a standard deviation left where
        mean / scale is 1e4, and none where it is 1e7.

        Parameters
        ----------
        parameters
            As `Trainer.parameters`; not changed. The last layer is a Dense.

        Raises
        ------
        InvalidInput
            The last layer is not a Dense with as many outputs, it has prelu, or a number
            overflows.

        Warns
        -----
        RoundingWarning
            Outputs may be rounded by more than 2^-12 of `scale` in the dtype of W.
        """
        W, b, *rest = self._dense(parameters, -1, axis=1, what="last", of="outputs")
        if rest:
            raise InvalidInput(
                "the last layer has prelu, which is not linear, so that its outputs cannot be "
                "scaled by its W and b; use undo on what the network predicts"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            folded = W * self.scale, b * self.scale + self.mean
        found = _rounded(folded, parameters[-1])
        size = self.size_of_outputs()
        _tell_rounding(size, found[0].dtype, "outputs, in scale,", "y", "undo of predictions")
        return [*parameters[:-1], found]

    def size_of_inputs(self, parameters: Parameters) -> float:
        """Return the largest of the sums |mean / scale| |W| for the W of a first Dense.

        Times the precision of a dtype it bounds what a network loses that `fold_inputs` has been at
        work on, to rounding.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            W = np.abs(np.asarray(parameters[0][0], np.float64))
            return float((np.abs(self.mean / self.scale) @ W).max(initial=0.0))

    def size_of_outputs(self) -> float:
        """Return the largest |mean / scale|, as `size_of_inputs`, of what `fold_outputs` does."""
        with np.errstate(over="ignore"):
            return float(np.abs(self.mean / self.scale).max(initial=0.0))

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same numbers."""
        if not isinstance(other, Scaling):
            return NotImplemented
        return np.array_equal(self.mean, other.mean) and np.array_equal(self.scale, other.scale)

    def _dense(
        self, parameters: Parameters, index: int, axis: int, what: str, of: str
    ) -> tuple[np.ndarray, ...]:
        """Return the arrays of a layer in float64, if it is a Dense of the right size."""
        if not isinstance(parameters, (list, tuple)) or not parameters:
            raise InvalidInput(
                f"parameters must be those of a trainer, trainer.parameters, not "
                f"{shown(parameters):.80}"
            )
        arrays = parameters[index]
        if not isinstance(arrays, (list, tuple)) or len(arrays) < 2:
            raise InvalidInput(
                f"the arrays of the {what} layer must be a tuple such as (W, b), not "
                f"{shown(arrays):.80}"
            )
        layer = tuple(
            real_numbers(array, f"an array of the {what} layer").astype(np.float64)
            for array in arrays
        )
        W, *vectors = layer
        # (c, b) of a Periodic has the shapes (columns, frequencies), both.
        dense = W.ndim == 2 and all(each.shape == W.shape[1:] for each in vectors)
        if not dense or len(vectors) > 2 or W.shape[axis] != len(self.mean):
            shapes = " and ".join(str(array.shape) for array in layer)
            raise InvalidInput(
                f"the {what} layer must be a Dense of {len(self.mean)} {of} to take in a scaling "
                f"of so many columns, but its arrays have the shapes {shapes}"
            )
        return layer

    def _changed(self, X: Any, dtype: Any, dense: Any, sparse: Any) -> Any:
        """Return a new array in which `dense` or `sparse` has changed each number of X."""
        if is_sparse(X):
            return self._changed_sparse(X, dtype, sparse)
        X = _table(X)
        check_names(feature_names(X, "X"), self.names, "X", "scaling.names")
        array = _two_dimensional(X)
        self._check_columns(array.shape)
        result = np.empty(array.shape, _dtype_of(array, dtype))
        for rows in blocks_of_rows(*array.shape):
            with np.errstate(over="ignore", invalid="ignore"):
                result[rows] = dense(array[rows])
            _check_rounded(array, result, rows)
        return result.reshape(np.shape(X))

    def _changed_sparse(self, X: Any, dtype: Any, change: Any) -> Any:
        """Return a sparse matrix of the same places, whose numbers are scaled."""
        matrix = compressed(X)
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
        for _, column, values in entries(matrix):
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


def _table(X: Any) -> Any:
    """Return X as `as_table` does, and the array in a file."""
    return open_npy(X, "X") if isinstance(X, (str, bytes, os.PathLike)) else as_table(X, "X")


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


def _dtype_of(array: Any, dtype: Any) -> np.dtype[Any]:
    """Return the dtype of what becomes of an array."""
    if dtype is not None:
        try:
            asked = np.dtype(dtype)
        except (TypeError, ValueError):
            asked = None
        if asked is None or asked.kind != "f":
            called = shown(dtype) if asked is None else asked
            raise InvalidInput(f"dtype must be a floating one, such as float32, not {called!s:.80}")
        return asked
    native = array.dtype.newbyteorder("=")
    return native if native in _FLOATING else _FLOATING[1]


def _refuse(array: Any, weights: np.ndarray | None, labels: Labels | None) -> None:
    """Raise for a value that is not finite, the first one of a row that counts."""
    for rows, columns, values in entries(array) if is_sparse(array) else _numbers(array):
        wrong = ~np.isfinite(values)
        if weights is not None:
            wrong &= weights[rows] > 0
        if wrong.any():
            at = int(wrong.argmax())
            beside = name_column(int(columns[at]), array.shape[1], labels)
            raise InvalidInput(
                f"X value {values[at].item()!r} at row {rows[at]}{beside} is not a finite number; "
                f"drop such rows or fill them, such as with "
                f"{labels.fill if labels else 'numpy.nan_to_num'}"
            )


def _numbers(array: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield rows, columns and values of a dense array, as `entries` does of a sparse one."""
    for rows in blocks_of_rows(*array.shape):
        block = array[rows]
        places = np.indices(block.shape)
        yield rows.start + places[0].ravel(), places[1].ravel(), block.ravel()


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
    kinds = [np.asarray(array).dtype for array in layer]
    with np.errstate(over="ignore"):
        found = tuple(
            array.astype(kind if kind.kind == "f" else np.float64)
            for array, kind in zip(folded, kinds, strict=False)
        )
    if not all(np.isfinite(array).all() for array in found):
        raise InvalidInput(
            f"the parameters would be infinite in {found[0].dtype} in units of such a scale; keep "
            "the scaling beside the network, or pass float64 parameters"
        )
    return found


def _tell_rounding(size: float, dtype: np.dtype[Any], sums: str, what: str, instead: str) -> None:
    """Warn, at the line that called fastnn, where a dtype rounds numbers of some size too much."""
    lost = float(np.finfo(dtype).eps) * size
    if lost <= SMALL:
        return
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("fastnn."):
        level, frame = level + 1, frame.f_back
    wider = 'pass parameters in float64, for a Trainer of dtype "float64", or '
    warnings.warn(
        f"{sums} may be off by {lost:.2g}, since {dtype} rounds numbers as far from 0 as {what} is "
        f"for its standard deviation; {wider if dtype.itemsize < 8 else ''}keep the scaling beside "
        f"the network, as scaling.{instead}",
        RoundingWarning,
        stacklevel=level,
    )
