"""Rows shuffled within windows: an order of which a part at a time is made, and read.

An epoch goes through data that are larger than memory in windows. The rows of one are read
together, so they must come from all over the data, and lie together in pieces that are long enough
to be read at the speed of the disk. So blocks of rows are shuffled, and then the rows within each
window of blocks (Xu et al. 2022, "In-Database Machine Learning with CorgiPile: Stochastic Gradient
Descent without Full Data Shuffle", SIGMOD, section 4).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastnn.random.keys import BLOCKS, GAMMA, ORDER, WINDOWS, WORD, random_key
from fastnn.random.many_keys import mixed, random_keys

# How many blocks fill a window: so many that each window has some of all that is in the data, and
# so few that a block is still a long read.
BLOCKS_IN_WINDOW = 64

# keys uint64 (k,), n -> the numbers 0..n-1 in the order of each, int64 (k, n), as
# `fastnn.random.row_orders.shuffled` defines it
Shuffle = Callable[[np.ndarray, int], np.ndarray]


class InOrder:
    """Rows as they come, in the order 0..n-1: what a `WindowOrder` is where nothing is shuffled.

    ``order[first:last]`` is int64: the rows at these places of the epoch.

    Parameters
    ----------
    n
        Rows.
    window
        How many are read together, at least 1.
    """

    def __init__(self, n: int, window: int) -> None:
        self.n, self.window = n, window

    @property
    def windows(self) -> int:
        """How many windows there are; the last one may be shorter."""
        return -(-self.n // self.window)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.n

    def __getitem__(self, places: slice) -> np.ndarray:
        """Return the rows at places first:last of the epoch, int64."""
        first, last, _ = places.indices(self.n)
        return np.arange(first, last)

    def runs(self, first: int, last: int) -> np.ndarray:
        """Return where the rows of windows first..last-1 lie: [start, stop), int64 (runs, 2)."""
        start, stop = first * self.window, min(self.n, last * self.window)
        return np.array([(start, stop)] if start < stop else []).reshape(-1, 2)


class WindowOrder(InOrder):
    """The order of an epoch whose rows are shuffled within windows of `window` rows.

    Blocks of b = max(1, floor(window / 64)) rows of the data that follow one another, but for the
    first, which is shorter by a number drawn from 0..b-1, and the last, are shuffled. Window k is
    rows k window .. (k + 1) window - 1 of what they then make, shuffled: each window has rows of
    about 64 places. All of that follows from seed, epoch, n and window.

    >>> from fastnn.random.row_orders import shuffled
    >>> order = WindowOrder(seed=0, epoch=3, n=1000, window=256, shuffle=shuffled)
    >>> rows = order[256:512]
    >>> bool(np.array_equal(np.sort(rows), np.sort(np.concatenate(
    ...     [np.arange(start, stop) for start, stop in order.runs(1, 2)]))))
    True

    Parameters
    ----------
    seed, epoch, n, window
        What the order follows from; window is below n, and at least 1.
    shuffle
        `fastnn.random.row_orders.shuffled`, or code that computes the same.
    """

    def __init__(self, seed: int, epoch: int, n: int, window: int, shuffle: Shuffle) -> None:
        super().__init__(n, window)
        self._shuffle = shuffle
        edges = self._edges(random_key(seed, epoch, BLOCKS + 1))
        blocks = shuffle(np.array([random_key(seed, epoch, BLOCKS)], np.uint64), len(edges) - 1)[0]
        self._starts, self._stops = edges[:-1][blocks], edges[1:][blocks]
        self._places = np.concatenate(([0], np.cumsum(self._stops - self._starts)))
        # From which the key of window k is GAMMA and a mix away: see `splitmix64`.
        self._key = (random_key(seed, epoch, WINDOWS) + GAMMA) % WORD
        self._made: tuple[int, int, np.ndarray] = 0, 0, np.zeros(0, np.int64)

    def _edges(self, key: int) -> np.ndarray:
        """Return where blocks begin, and where the last one ends."""
        size = max(1, self.window // BLOCKS_IN_WINDOW)
        first = (key >> 11) * size >> 53
        return np.concatenate(([0], np.arange(first or size, self.n, size), [self.n]))

    def __getitem__(self, places: slice) -> np.ndarray:
        """Return the rows at places first:last of the epoch, int64; made a few windows at a time.

        The windows that these lie in are kept for the next call.
        """
        first, last, _ = places.indices(self.n)
        begin, end = first // self.window, -(-last // self.window)
        there, until, rows = self._made
        if begin < there or end > until:
            parts = []
            if there <= begin < until:  # the next ones
                parts.append(rows[(begin - there) * self.window :])
                parts.append(self._rows(until, end))
            else:
                parts.append(self._rows(begin, end))
            rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
            there = begin
            self._made = begin, end, rows
        start = there * self.window
        return rows[first - start : last - start]

    def runs(self, first: int, last: int) -> np.ndarray:
        """Return where the rows of windows first..last-1 lie: [start, stop), int64 (runs, 2)."""
        start, stop = first * self.window, min(self.n, last * self.window)
        if start >= stop:
            return np.zeros((0, 2), np.int64)
        begin = int(np.searchsorted(self._places, start, "right")) - 1
        end = int(np.searchsorted(self._places, stop, "left"))
        found = np.column_stack((self._starts[begin:end], self._stops[begin:end]))
        found[0, 0] += start - self._places[begin]
        found[-1, 1] -= self._places[end] - stop
        return found

    def _rows(self, first: int, last: int) -> np.ndarray:
        """Return the rows of windows first..last-1."""
        runs = self.runs(first, last)
        lengths = runs[:, 1] - runs[:, 0]
        before = np.cumsum(lengths) - lengths
        rows = np.arange(int(lengths.sum())) + np.repeat(runs[:, 0] - before, lengths)
        # uint64 arrays wrap around, as splitmix64 does.
        keys = mixed(np.arange(first, last, dtype=np.uint64) + np.uint64(self._key))
        full = len(rows) // self.window
        done = full * self.window
        parts = []
        if full:
            within = self._shuffle(keys[:full], self.window)
            within += np.arange(full)[:, None] * self.window
            parts.append(rows[within.ravel()])
        if done < len(rows):
            within = self._shuffle(keys[full:], len(rows) - done)[0]
            parts.append(rows[done:][within])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class GroupOrder(WindowOrder):
    """A `WindowOrder` whose blocks are the row groups of a file, however many fill a window.

    Parameters
    ----------
    seed, epoch, window, shuffle
        As for `WindowOrder`.
    edges
        Where groups begin, and where the last one ends; int64 (groups + 1,).
    """

    def __init__(
        self, seed: int, epoch: int, edges: np.ndarray, window: int, shuffle: Shuffle
    ) -> None:
        self._groups = edges
        super().__init__(seed, epoch, int(edges[-1]), window, shuffle)

    def _edges(self, key: int) -> np.ndarray:
        """Return where groups begin, and where the last one ends."""
        return self._groups


def orders_of(seed: int, epochs: range, n: int, window: int | None, shuffle: Shuffle) -> np.ndarray:
    """Return the orders of some epochs, int64 (len(epochs), n).

    Parameters
    ----------
    seed, epochs, n
        What they follow from.
    window
        How many rows are shuffled together; None, or n and more: all of them.
    shuffle
        As for `WindowOrder`.
    """
    if window is None or window >= n:
        return shuffle(random_keys(seed, epochs, ORDER), n)
    orders = [WindowOrder(seed, epoch, n, window, shuffle)[:] for epoch in epochs]
    return orders[0][None] if len(orders) == 1 else np.stack(orders)
