"""Where a column of numbers is cut into bins: at quantiles, between values, or where y changes."""

from __future__ import annotations

import heapq

import numpy as np

_CANDIDATES = 1 << 14  # places among which a tree cuts


def quantile_edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Return at most ``bins - 1`` cuts that leave about as many rows in each bin, increasing.

    A cut lies midway between two neighbouring values, so that no value is on one.

    >>> quantile_edges(np.array([0.0, 1.0, 2.0, 3.0]), 2)
    array([1.5])

    Parameters
    ----------
    values
        (n,) finite, in any order.
    bins
        How many there may be.
    """
    ordered = np.sort(values)
    places = np.arange(1, bins) * len(ordered) // bins
    return _between(ordered, places[places > 0])


def spread_edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Return cuts of which half are at quantiles of the rows, half at those of distinct values.

    Of a column that is 0 in most rows, quantiles alone would tell hardly anything else apart.

    >>> spread_edges(np.array([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0]), 4)
    array([0.5, 1.5])
    """
    rest = bins - bins // 2
    return np.union1d(
        quantile_edges(values, bins // 2), quantile_edges(np.unique(values), rest + 1)
    )[: bins - 1]


def tree_edges(values: np.ndarray, targets: np.ndarray, bins: int, least: int) -> np.ndarray:
    """Return the thresholds of a decision tree of one column, grown best split first.

    A split of n rows into n_1 and n_2 gains

        S_1^2 / n_1 + S_2^2 / n_2 - S^2 / n,    S = sum of the targets,

    summed over the columns of `targets`: the squared error of a regression, and with indicators of
    classes the Gini impurity times n. Of more than 16384 different values only splits at quantiles
    are tried, of the rows and of the different values: a few rows far out may tell most.

    >>> x = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> tree_edges(x, np.array([0.0, 0.0, 0.0, 0.0, 9.0, 9.0]), 2, 1)
    array([4.5])

    Parameters
    ----------
    values
        (n,) finite, in any order.
    targets
        (n,), or (n, outputs).
    bins
        The most leaves.
    least
        The fewest rows of a leaf.

    Source: Breiman et al., Classification and Regression Trees, 1984; as bins of a network's
    features, Gorishniy, Rubachev and Babenko 2022, section 3.2.2.
    """
    order = np.argsort(values, kind="stable")
    ordered, y = values[order], targets[order].reshape(len(values), -1).astype(np.float64)
    starts = np.flatnonzero(np.diff(ordered)) + 1
    if not len(starts):
        return np.empty(0)
    if len(starts) > _CANDIDATES:
        shares = np.arange(1, _CANDIDATES // 2) / (_CANDIDATES // 2)
        of_values = starts[(shares * len(starts)).astype(np.int64)]
        starts = np.union1d(of_values, _starts(ordered, (shares * len(ordered)).astype(np.int64)))
    bounds = np.concatenate([[0], starts, [len(ordered)]])
    sums = np.concatenate([np.zeros((1, y.shape[1])), np.cumsum(y - y.mean(axis=0), axis=0)])
    sums = sums[bounds]  # of all rows before each place; centred, so that differences keep digits

    def squares(differences: np.ndarray) -> np.ndarray:
        """Return the sum of the squares of each row."""
        squared = np.square(differences)
        return squared[:, 0] if squared.shape[1] == 1 else squared.sum(axis=1)

    def best(low: int, high: int) -> tuple[float, int]:
        """Return the largest gain of a split of the rows between two places, and where that is."""
        first, last = bounds[low], bounds[high]
        start, end = np.searchsorted(bounds, (first + least, last - least + 1))
        start, end = max(int(start), low + 1), min(int(end), high)
        if start >= end:
            return 0.0, -1
        gain = squares(sums[start:end] - sums[low]) / (bounds[start:end] - first)
        gain += squares(sums[high] - sums[start:end]) / (last - bounds[start:end])
        gain -= squares(sums[high : high + 1] - sums[low]) / (last - first)
        place = int(gain.argmax())
        return float(gain[place]), start + place

    spread = float(np.square(y - y.mean(axis=0)).sum())
    cuts: list[int] = []
    leaves: list[tuple[float, int, int, int]] = []

    def grow(low: int, high: int) -> None:
        gain, at = best(low, high)
        if at >= 0 and gain > 1e-10 * spread:
            heapq.heappush(leaves, (-gain, low, high, at))

    grow(0, len(bounds) - 1)
    while leaves and len(cuts) < bins - 1:
        _, low, high, at = heapq.heappop(leaves)
        cuts.append(at)
        grow(low, at)
        grow(at, high)
    return _between(ordered, bounds[np.array(sorted(cuts), np.int64)])


def _starts(ordered: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return where runs of equal values begin that hold some places, but for the first run."""
    starts = np.unique(np.searchsorted(ordered, ordered[places], "left"))
    return starts[starts > 0]


def _between(ordered: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return numbers midway between the values before and from some places on, increasing."""
    starts = _starts(ordered, places) if len(places) else places
    if not len(starts):
        return np.empty(0)
    below, above = ordered[starts - 1], ordered[starts]
    middle = below / 2 + above / 2  # whose sum might overflow
    # Neighbouring doubles have none between them; a value on a cut belongs to the bin above it.
    return np.unique(np.where(middle > below, middle, above))
