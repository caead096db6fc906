"""How much single columns tell of the targets: what a member looks at least of many columns."""

from __future__ import annotations

import numpy as np

from fastnn.tabular.edges import quantile_edges
from fastnn.tabular.encodings import Coded

_BINS = 16  # of a number
_NEAR = 3.0  # times less than the most telling column, from which on a weight is below 1
_LEAST = 0.02  # weight


def relevance(coded: Coded, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how much more each column tells of the targets than chance would have it.

    eta^2 / ((groups - 1) / (n - 1)),   eta^2 = sum_g n_g (mean_g - mean)^2 / sum_i (y_i - mean)^2

    The correlation ratio over its expectation for a column that tells nothing, which is about 1
    then. Groups are categories, or 16 bins of a number with as many rows, missing ones apart.

    >>> numbers = np.arange(64.0)[:, None] * [1.0, 0.0] + [0.0, 1.0]
    >>> coded = Coded(numbers, np.arange(64)[:, None] % 2)
    >>> of_numbers, of_codes = relevance(coded, numbers[:, 0] > 31)
    >>> of_numbers.round(1), of_codes.round(1)
    (array([4.2, 0. ]), array([0.]))

    Parameters
    ----------
    coded
        Rows.
    targets
        (rows,), or (rows, outputs).

    Returns
    -------
    numbers, codes
        Of the columns of each kind; 0 for one that is the same in all rows.

    Source: Pearson 1911, on a correction to be made to the correlation ratio.
    """
    y = targets.reshape(len(targets), -1).astype(np.float64)
    y = y - y.mean(axis=0)

    def of_groups(groups: np.ndarray) -> float:
        sizes = np.bincount(groups)
        sums = np.stack([np.bincount(groups, each) for each in y.T], axis=1)
        there = sizes > 0
        between = (np.square(sums[there]) / sizes[there, None]).sum()
        number = int(there.sum())
        if number < 2:
            return 0.0
        return float(between * (len(y) - 1) / (np.square(y).sum() * (number - 1) or 1.0))

    numbers = []
    for column in coded.numbers.T:
        missing = np.isnan(column)
        groups = np.zeros(len(column), np.int64)
        edges = quantile_edges(column[~missing], _BINS) if not missing.all() else np.empty(0)
        groups[~missing] = np.searchsorted(edges, column[~missing], "right") + 1
        numbers.append(of_groups(groups))
    codes = [of_groups(column + 1) for column in coded.codes.T]
    return np.array(numbers), np.array(codes)


def weights(found: tuple[np.ndarray, np.ndarray], power: float) -> tuple[np.ndarray, np.ndarray]:
    """Return weights of columns by their relevance: 1 for those that tell most, less for others.

    >>> weights((np.array([90.0, 30.0, 3.0]), np.array([1.0])), 1.0)
    (array([1. , 1. , 0.1]), array([0.03333333]))
    """
    top = max(1.0, np.concatenate([*found, np.ones(1)]).max() / _NEAR)
    numbers, codes = (np.clip((each / top) ** power, _LEAST, 1.0) for each in found)
    return numbers, codes
