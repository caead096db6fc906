"""Whether features or targets are too large or too small to train on, and the words for it.

Initial weights, learning rates and the slopes of activations all suppose numbers of about unit
variance (LeCun, Bottou, Orr & Mueller 1998, "Efficient BackProp", section 4.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.graph.custom import CustomRule
from fastnn.graph.rounding import advice
from fastnn.inputs.device_arrays import DeviceArray, to_host
from fastnn.inputs.moments import (
    blocks_of_rows,
    compressed,
    entries,
    moments_of_rows,
    moments_of_sparse,
)
from fastnn.inputs.sparse_rows import is_sparse
from fastnn.network import BatchNorm
from fastnn.rules.table import loss_row

if TYPE_CHECKING:
    from fastnn.inputs.data import Data
    from fastnn.inputs.problem import Problem

# A column is large where one number is beyond 100, which unit variance hardly has, or its root mean
# square beyond 10; small, where all of it is 100 times smaller than another column or than 1.
FAR, LARGE = 100.0, 10.0


@dataclass(frozen=True, eq=False)
class Magnitudes:
    """How large each column is; the rows of weight 0 are not looked at.

    Attributes
    ----------
    mean, deviation
        float64 (columns,); a deviation is 0 where the column is one number.
    largest, row
        The number that is farthest from 0, with its sign, and the first row that has it.
    farthest
        The column of the largest of all.
    rest
        The root mean square of that column without its largest number; 0 without other rows.
    """

    mean: np.ndarray
    deviation: np.ndarray
    largest: np.ndarray
    row: np.ndarray
    farthest: int
    rest: float

    @property
    def size(self) -> np.ndarray:
        """The root mean square of each column."""
        with np.errstate(over="ignore"):
            return np.hypot(self.mean, self.deviation)

    @property
    def large(self) -> np.ndarray:
        """Which columns are large, bool (columns,)."""
        return (np.abs(self.largest) > FAR) | (self.size > LARGE)

    @property
    def small(self) -> np.ndarray:
        """Which columns are small, bool (columns,), of those that are more than one number."""
        span = np.abs(self.largest)
        return (self.deviation > 0) & (span < max(1.0, float(span.max())) / FAR)


@np.errstate(over="ignore", under="ignore")
def magnitudes_of(array: Any, weights: np.ndarray | None) -> Magnitudes:
    """Return how large the columns of checked features or targets are.

    Parameters
    ----------
    array
        (n, columns), of any real dtype; a `DeviceArray` is copied block by block. Or sparse.
    weights
        Of each row, (n,); None: all count 1.
    """
    sparse = is_sparse(array)
    if sparse:
        array = compressed(array)
    largest, at = np.zeros(array.shape[1]), np.zeros(array.shape[1], np.int64)
    if sparse:
        found = moments_of_sparse(array, weights)
        for rows, columns, values in entries(array):
            sizes = np.abs(values) if weights is None else np.abs(values) * (weights[rows] > 0)
            order = np.lexsort((-rows, sizes))  # the last of a column is its largest
            _enter(largest, at, columns[order], values[order], rows[order])
    else:
        found = moments_of_rows(array, weights)
        for some in blocks_of_rows(len(array), array.shape[1]):
            block = np.asarray(to_host(array[some]), np.float64)
            sizes = np.abs(block)
            if weights is not None:
                sizes[weights[some] == 0] = -1.0
            first = sizes.argmax(axis=0)
            columns = np.arange(block.shape[1])
            there = sizes[first, columns] >= 0
            _enter(
                largest, at, columns[there], block[first, columns][there], some.start + first[there]
            )
    far = int(np.abs(largest).argmax())
    others = np.ones(array.shape[0]) if weights is None else weights.copy()
    others[at[far]] = 0.0
    place = 0 if isinstance(array, np.ndarray) else far
    if sparse:
        rest = moments_of_sparse(array, others)
    else:
        rest = moments_of_rows(array if place == far else array[:, far : far + 1], others)
    size = math.hypot(rest.means[place], rest.deviations()[place])
    return Magnitudes(found.means, found.deviations(), largest, at, far, size)


def _enter(
    largest: np.ndarray, at: np.ndarray, columns: np.ndarray, values: np.ndarray, rows: np.ndarray
) -> None:
    """Take the last value of each column for its largest, where it is larger than that."""
    latest = np.full(len(largest), -1)
    latest[columns] = np.arange(len(columns))
    columns = np.flatnonzero(latest >= 0)
    values, rows = values[latest[columns]], rows[latest[columns]]
    more = np.abs(values) > np.abs(largest[columns])
    largest[columns[more]], at[columns[more]] = values[more], rows[more]


def of_features(data: Data) -> Magnitudes | None:
    """Return how large the features are, or None where this cannot read them."""
    X = data.X
    if not (isinstance(X, (np.ndarray, DeviceArray)) or is_sparse(X)):
        return None
    return magnitudes_of(X, data.row_weights)


def of_targets(data: Data) -> Magnitudes | None:
    """Return how large the targets are, each output by itself, or None for labels of classes."""
    if np.dtype(data.targets.dtype).kind != "f":
        return None
    if data.target_weights is None:
        return magnitudes_of(data.targets, data.row_weights)
    each = [
        magnitudes_of(column[:, None], np.ascontiguousarray(weights))
        for column, weights in zip(to_host(data.targets).T, data.target_weights.T, strict=True)
    ]
    mean, deviation, largest, row = (
        np.concatenate([getattr(one, name) for one in each])
        for name in ("mean", "deviation", "largest", "row")
    )
    far = int(np.abs(largest).argmax())
    return Magnitudes(mean, deviation, largest, row, far, each[far].rest)


def large_numbers(problem: Problem, data: Data) -> str:
    """Return which of X and y are large, where, and what to do; "" where none of them is.

    It is what makes a training diverge that would not with the same numbers in other units. All of
    the data is read, once. A user-defined formula that may be infinite or NaN for rounding alone is
    told, too.
    """
    rules = [getattr(layer, "activation", None) for layer in problem.network.layers]
    formulas = [
        advice(rule.expression.node)
        for rule in [problem.loss, *rules]
        if isinstance(rule, CustomRule)
    ]
    return "; ".join([*_told(problem, data, small=False), *filter(None, dict.fromkeys(formulas))])


def out_of_scale(problem: Problem, data: Data) -> str:
    """Return which of X and y are large or small, as `large_numbers` does."""
    return "; ".join(_told(problem, data, small=True))


def _told(problem: Problem, data: Data, small: bool) -> list[str]:
    """Return a sentence for X and one for y, of those that are out of scale."""
    features, targets = data.magnitudes
    kind = loss_row(problem.loss).targets
    if kind in ("classes", "binary"):
        targets = None
    names, told = getattr(data, "names", None), []
    first = problem.network.parametric[0]
    if isinstance(first, BatchNorm) and features is not None:
        # It has other units for each column before anything else, but for squares that overflow,
        # and for variances that are nothing beside its epsilon.
        most = 1e-3 * math.sqrt(np.finfo(problem.dtype).max)
        if np.abs(features.largest).max() < most:
            told = _little(features, first.epsilon, names) if small else []
            features = None
    remedies = {"X": _STANDARDIZE, "y": _divided(targets, kind == "counts")}
    for what, found in (("X", features), ("y", targets)):
        if found is None:
            continue
        if found.large.any():
            told.append(_large(what, found, names if what == "X" else None, remedies[what]))
        elif small and found.small.any():
            told.append(_small(what, found, names if what == "X" else None, remedies[what]))
    return told


_STANDARDIZE = (
    "standardize X: with scaling = fastnn.Scaling.fit(X), pass scaling.apply(X), here and to "
    "predictions (an estimator does so with standardize=True)"
)


def _divided(found: Magnitudes | None, counts: bool) -> str:
    """Return what to do about targets: a power of 10 to divide them by, or to standardize them."""
    if found is None:
        return ""
    power = 10.0 ** round(math.log10(max(float(found.size.max()), 1e-300)))
    divide = f"divide y by {power:g}, and multiply predictions by it"
    if counts:
        return divide
    return (
        "standardize y: with scaling = fastnn.Scaling.fit(y), pass scaling.apply(y), and take "
        f"scaling.undo of predictions (an estimator does so with standardize=True); or {divide}"
    )


def _has(found: Magnitudes, column: int, names: Sequence[str] | None) -> str:
    """Return how a sentence about a column goes on, after what it is a column of."""
    if len(found.mean) == 1 and names is None:
        return ", with"
    called = f" ({names[column]!r})" if names is not None else ""
    return f": column {column}{called} has"


def _large(what: str, found: Magnitudes, names: Sequence[str] | None, remedy: str) -> str:
    """Return what is large, where it is largest, and how large the other columns are."""
    column = found.farthest
    has = _has(found, column, names)
    value = f"the value {found.largest[column]:g} in row {found.row[column]}"
    if abs(found.largest[column]) > FAR * found.rest and found.deviation[column] > 0:
        text = (
            f"{what} has an outlier{has} {value}, while the root mean square of its other rows is "
            f"{found.rest:.3g}"
        )
        remedy = "see whether that row is right, and leave it out or clip it"
    else:
        text = (
            f"{what} is large{has} mean {found.mean[column]:.3g}, standard deviation "
            f"{found.deviation[column]:.3g} and {value}"
        )
    return f"{text}{_others(found, column)}; {remedy}"


def _others(found: Magnitudes, column: int) -> str:
    """Return how large the columns beside one are."""
    others = np.delete(np.abs(found.largest), column)
    if not len(others):
        return ""
    large = int(np.delete(found.large, column).sum())
    also = f", {large} of them large as well" if large else ""
    which = f"the other {len(others)} columns are" if len(others) > 1 else "the other column is"
    return f" ({which} within {others.max():.3g}{also if len(others) > 1 else ''})"


def _small(what: str, found: Magnitudes, names: Sequence[str] | None, remedy: str) -> str:
    """Return what is small, the smallest of its columns, and how large the other columns are."""
    column = int(np.where(found.small, np.abs(found.largest), math.inf).argmin())
    return (
        f"{what} is small{_has(found, column, names)} standard deviation "
        f"{found.deviation[column]:.3g} and no value beyond {abs(found.largest[column]):.3g}"
        f"{_others(found, column)}; {remedy}"
    )


def _little(found: Magnitudes, epsilon: float, names: Sequence[str] | None) -> list[str]:
    """Return what a first BatchNorm leaves small, as a sentence; none where there is nothing."""
    divisor = np.hypot(found.deviation, math.sqrt(epsilon))
    left = (found.deviation > 0) & (found.deviation * LARGE < divisor)
    if not left.any():
        return []
    column = int(np.where(left, found.deviation, math.inf).argmin())
    more = f" ({left.sum()} of {len(left)} columns are like that)" if len(left) > 1 else ""
    return [
        f"X varies little{_has(found, column, names)} mean {found.mean[column]:.3g} and standard "
        f"deviation {found.deviation[column]:.3g}{more}, which BatchNorm(epsilon={epsilon:g}) "
        f"divides by {math.sqrt(epsilon):.3g}, the root of epsilon; {_STANDARDIZE}"
    ]
