"""Sparse features: rows of scipy.sparse matrices and arrays, read where they lie.

A matrix in CSR format, with indices in int32 or int64 and numbers in float32 or float64, is not
copied; of other numbers there is a floating copy beside the same indices, in float32 where that
holds them all. Other formats are converted once, and rows whose indices are not in order, or which
have an entry twice, become a copy in which they are. Compiled code follows the indices, so all are
checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput

# Entries looked at together: small enough for the cache, large enough to hide a NumPy call.
BLOCK = 1 << 16
_INDICES = (np.dtype(np.int32), np.dtype(np.int64))
_UNSIGNED = {_INDICES[0]: np.uint32, _INDICES[1]: np.uint64}


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Rows of which only some numbers are stored, as `scipy.sparse.csr_array` has them.

    Row r has the numbers values[starts[r] : starts[r + 1]] in the columns of the same places.
    Every array may be the caller's own memory, and is never written to.

    Attributes
    ----------
    values
        float32 or float64 (entries,), contiguous; 0 is a number like any other.
    columns
        int32 or int64 (entries,), contiguous, ascending in each row: from 0 to inputs - 1.
    starts
        int32 or int64 (rows + 1,), contiguous.
    inputs
        Number of columns.
    """

    values: np.ndarray
    columns: np.ndarray
    starts: np.ndarray
    inputs: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), self.inputs

    @property
    def entries(self) -> int:
        """How many numbers are stored."""
        return int(self.starts[-1]) - int(self.starts[0])

    @cached_property
    def spans(self) -> np.ndarray:
        """The largest size of a stored number in each column, 0 where there is none: float64."""
        found = np.zeros(self.inputs)
        first, last = int(self.starts[0]), int(self.starts[-1])
        for start in range(first, last, BLOCK):
            some = slice(start, min(last, start + BLOCK))
            np.maximum.at(found, self.columns[some], np.abs(self.values[some], dtype=np.float64))
        return found

    def __getitem__(self, rows: slice) -> SparseRows:
        """Return some rows that follow one another; they share the memory of these."""
        start, stop, step = rows.indices(len(self))
        assert step == 1, "rows that follow one another"
        return SparseRows(
            self.values, self.columns, self.starts[start : max(start, stop) + 1], self.inputs
        )

    def dense(self, rows: np.ndarray | slice, dtype: np.dtype) -> np.ndarray:
        """Return some rows, in any order, as an array (m, inputs) of `dtype`."""
        some = self.taken(rows)
        array = np.zeros(some.shape, dtype)
        array[np.repeat(np.arange(len(some)), np.diff(some.starts)), some.columns] = some.values
        return array

    def taken(self, rows: np.ndarray | slice) -> SparseRows:
        """Return a copy of some rows, in any order."""
        chosen = np.arange(len(self))[rows]
        first = self.starts[chosen].astype(np.int64)
        counts = self.starts[chosen + 1].astype(np.int64) - first
        starts = np.concatenate(([0], np.cumsum(counts)))
        # Entry number e of these rows is number e - starts[row] of its own.
        place = np.arange(starts[-1]) + np.repeat(first - starts[:-1], counts)
        return SparseRows(self.values[place], self.columns[place], starts, self.inputs)


@dataclass(frozen=True, eq=False)
class ChosenRows:
    """Some rows of an array, in any order, which `Trainer.fit` goes through without a copy of them.

    Messages call them by their numbers in it.

    Attributes
    ----------
    matrix
        The array (n, columns), or a CSR.
    rows
        Their numbers in it, int64 (m,).
    """

    matrix: Any
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), int(self.matrix.shape[1])

    @property
    def dtype(self) -> Any:
        """Of the numbers."""
        return self.matrix.dtype

    def taken(self) -> Any:
        """Return a copy of the rows."""
        return self.matrix[self.rows]

    def spread(self, values: np.ndarray | None = None) -> np.ndarray:
        """Return an array with a value for each row of `matrix`: 0 for those that are not chosen.

        `values` are (m, ...); None: 1 for each of them.
        """
        own: Any = np.ones(len(self.rows)) if values is None else values
        found = np.zeros((self.matrix.shape[0], *own.shape[1:]), own.dtype)
        found[self.rows] = own
        return found


class ChosenSparseRows(ChosenRows):
    """Those of a CSR: but for `Trainer.fit`, a sparse matrix that is copied when it is read."""

    format = "chosen"

    def tocsr(self) -> Any:
        """Return a copy of the rows."""
        return self.taken()


def chosen_rows(X: Any, rows: np.ndarray) -> ChosenRows:
    """Return some rows of an array or of a CSR, which are not copied."""
    return (ChosenSparseRows if is_sparse(X) else ChosenRows)(X, rows)


@dataclass(frozen=True, eq=False)
class ReadRows:
    """A sparse matrix that has been looked through already, as no other array is read meanwhile.

    For all but `check_sparse` it is that matrix, which is not to be written to.

    Attributes
    ----------
    matrix
        In any format.
    rows
        What `check_sparse` returned of it.
    checked
        For which dtype.
    """

    matrix: Any
    rows: SparseRows
    checked: np.dtype[Any]
    format = "read"

    @classmethod
    def of(cls, matrix: Any, dtype: np.dtype[Any]) -> ReadRows:
        """Look through a matrix; raises as `check_sparse` does."""
        return cls(matrix, check_sparse(matrix, matrix.shape[1], dtype, "X"), dtype)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.shape

    @property
    def dtype(self) -> Any:
        """Of the numbers."""
        return self.matrix.dtype

    def tocsr(self) -> Any:
        """Return the matrix in CSR format."""
        return self.matrix.tocsr()


def is_sparse(value: Any) -> bool:
    """Return whether a value is sparse: rows of ours, or of any library that has `tocsr`."""
    return isinstance(value, SparseRows) or hasattr(value, "tocsr")


def check_sparse(value: Any, inputs: int, dtype: np.dtype, what: str) -> SparseRows:
    """Return sparse features (m, inputs), with rows in order, without NaN or infinity.

    Raises
    ------
    InvalidInput
        Wrong rank or width, no rows, not real numbers, NaN, infinity, a number too large for
        `dtype`, or arrays of the matrix that contradict one another, such as an index that is out
        of bounds.
    """
    if isinstance(value, ReadRows):
        if value.rows.inputs == inputs and value.checked.itemsize <= dtype.itemsize:
            return value.rows
        value = value.matrix
    shape = tuple(value.shape)
    if len(shape) != 2:
        raise InvalidInput(
            f"{what} has shape {shape} but must be two-dimensional, one row a sample: "
            f"{what}.reshape(1, -1) for one sample"
        )
    if shape[0] == 0:
        raise InvalidInput(f"{what} has no rows (shape {shape}); pass at least one")
    if shape[1] != inputs:
        raise InvalidInput(
            f"{what} has {shape[1]} columns but the network has {inputs} inputs; "
            f"pass a matrix of shape ({shape[0]}, {inputs})"
        )
    if value.dtype.kind not in "biuf":
        raise InvalidInput(
            f"{what} has dtype {value.dtype}, not real numbers; convert it first, such as with "
            ".astype('float32')"
        )
    matrix = value
    if value.format == "csc":
        _check_structure(value, shape[1], shape[0], what)  # which the conversion does not
    if value.format != "csr":
        matrix = as_compressed(value).tocsr()
    starts, columns = _check_structure(matrix, *shape, what)
    if not _in_order(starts, columns):
        if matrix.dtype.kind in "biu" or matrix.dtype.itemsize < dtype.itemsize:
            # Before sums that it may not hold.
            matrix = matrix.astype(floating(matrix.dtype, np.dtype(np.float64)))
        matrix = matrix.copy() if matrix is value else matrix
        matrix.has_sorted_indices = matrix.has_canonical_format = False
        matrix.sum_duplicates()
        starts, columns = _check_structure(matrix, *shape, what)
    entries = int(starts[-1])
    values = np.asarray(matrix.data)[:entries]
    if values.dtype not in (np.float32, np.float64):
        kept = floating(values.dtype, dtype)
        if values.dtype.kind == "f":
            _check_finite(values, columns, starts, dtype, what)
        values = values.astype(kept)
    rows = SparseRows(np.require(values, None, ["C", "A"]), columns, starts, inputs)
    _check_finite(rows.values, columns, starts, dtype, what)
    return rows


def as_compressed(matrix: Any) -> Any:
    """Return a sparse matrix as the CSR or CSC that it is, or as a CSR.

    Several entries of one place count by their sum, which SciPy takes in the dtype that they have:
    100 and 100 are -56 in int8, and true and true are one. Where it does not hold a sum, the CSR is
    of int64.
    """
    if matrix.format in ("csr", "csc"):
        return matrix
    small = matrix.dtype.kind in "biu" and matrix.dtype.itemsize < 8
    if not small or len(matrix.shape) != 2 or matrix.format not in ("coo", "bsr"):
        return matrix.tocsr()  # of these there is one entry a place, or room
    found = matrix.astype(np.int64).tocsr()
    narrow = found.data.astype(matrix.dtype)
    if np.array_equal(narrow, found.data):
        found.data = narrow
    return found


def floating(given: np.dtype, dtype: np.dtype) -> np.dtype:
    """Return in which of float32 and float64 a network of a dtype is to be given numbers.

    >>> floating(np.dtype(np.int8), np.dtype(np.float64))
    dtype('float32')
    """
    native = given.newbyteorder("=")  # one in foreign byte order equals neither of the two
    if native in (np.float32, np.float64):
        return native
    return np.dtype(np.float32) if given.itemsize < 4 else dtype


def check_compressed(value: Any, what: str) -> None:
    """Raise `InvalidInput` for a CSR or CSC whose arrays contradict one another.

    SciPy follows them wherever they lead: to other numbers, or to the end of the process.
    """
    shape: tuple[int, ...] = getattr(value, "shape", ())
    kind = getattr(value, "format", "")
    if len(shape) == 2 and kind in ("csr", "csc"):
        rows, width = shape if kind == "csr" else shape[::-1]
        _check_structure(value, rows, width, what)


def _check_structure(
    matrix: Any, rows: int, width: int, what: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return starts and columns of a compressed matrix, or raise where they cannot be followed."""
    remedy = f"its arrays contradict one another; make {what} anew, and see {what}.check_format()"
    starts, columns = (_contiguous(np.asarray(array)) for array in (matrix.indptr, matrix.indices))
    stored = min(len(columns), len(np.asarray(matrix.data)))
    if starts.shape != (rows + 1,) or columns.ndim != 1:
        raise InvalidInput(
            f"{what}.indptr has shape {starts.shape}, but of {rows} rows it is ({rows + 1},): "
            + remedy
        )
    if int(starts[0]) != 0 or int(starts[-1]) > stored:
        raise InvalidInput(
            f"{what}.indptr goes from {starts[0]} to {starts[-1]}, but {what} has entries 0 to "
            f"{stored}: {remedy}"
        )
    for start in range(0, rows, BLOCK):
        block = starts[start : start + BLOCK + 1]
        falls = block[1:] < block[:-1]
        if falls.any():
            row = start + int(falls.argmax())
            raise InvalidInput(
                f"{what}.indptr falls from {starts[row]} to {starts[row + 1]} at row {row}: "
                + remedy
            )
    columns = columns[: int(starts[-1])]
    for start, block in _blocks(columns):
        # As if there were no signs, what is below 0 is huge.
        if block.view(_UNSIGNED[block.dtype]).max() >= width:
            entry = start + int(((block < 0) | (block >= width)).argmax())
            row = int(np.searchsorted(starts, entry, side="right")) - 1
            raise InvalidInput(
                f"{what}.indices has {columns[entry]} in row {row}, but there are columns 0 to "
                f"{width - 1}: {remedy}"
            )
    return starts, columns


def _contiguous(indices: np.ndarray) -> np.ndarray:
    """Return indices as they are, or where no target can read them so, as int64."""
    if indices.dtype in _INDICES and indices.flags.c_contiguous and indices.flags.aligned:
        return indices
    return np.ascontiguousarray(indices, np.int64)


def _blocks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield where blocks of an array start, and views of them."""
    for start in range(0, len(array), BLOCK):
        yield start, array[start : start + BLOCK]


def _in_order(starts: np.ndarray, columns: np.ndarray) -> bool:
    """Return whether the columns of each row ascend: only from row to row may they not."""
    falls = 0
    for start in range(1, len(columns), BLOCK):
        stop = min(len(columns), start + BLOCK)
        falls += int(np.count_nonzero(columns[start:stop] <= columns[start - 1 : stop - 1]))
    if not falls:
        return True
    for start in range(1, len(starts) - 1, BLOCK):
        stop = min(len(starts) - 1, start + BLOCK)
        first = starts[start:stop]
        # Of empty rows, which begin where the next one does, the last counts.
        first = first[(first > 0) & (first < len(columns)) & (starts[start + 1 : stop + 1] > first)]
        falls -= int(np.count_nonzero(columns[first] <= columns[first - 1]))
    return falls == 0


def _check_finite(
    values: np.ndarray, columns: np.ndarray, starts: np.ndarray, dtype: np.dtype, what: str
) -> None:
    """Raise unless each number is finite, also once it is a `dtype`."""
    limit = min(np.finfo(values.dtype).max, np.finfo(dtype).max)
    for start, block in _blocks(values):
        with np.errstate(invalid="ignore"):
            if -limit <= block.min() and block.max() <= limit:
                continue
            entry = start + int((~(np.abs(block) <= limit)).argmax())
        row = int(np.searchsorted(starts, entry, side="right")) - 1
        where = f"value {values[entry].item()!r} at row {row}, column {columns[entry]}"
        if np.isfinite(values[entry]):
            raise InvalidInput(
                f"{what} {where} is too large for {np.dtype(dtype)}; scale {what}, "
                'or choose dtype="float64"'
            )
        raise InvalidInput(
            f"{what} {where} is not a finite number; drop such rows or fill them, "
            f"such as with {what}.data = numpy.nan_to_num({what}.data)"
        )
