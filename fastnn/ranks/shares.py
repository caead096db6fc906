"""Which rows each process takes of every batch.

Where all processes hold all rows, the order of an epoch is that of one process alone, and rank r
takes the r-th part of each batch. Where each holds rows of its own, each step takes from all of
them, in proportion to how many they hold: batches are as long as those of one process, and every
row comes once an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from fastnn.random.keys import RANKS, random_key
from fastnn.rules.table import unknown_name

Rows = Literal["all", "own"]
ROWS: tuple[Rows, ...] = get_args(Rows)


@dataclass(frozen=True, eq=False)
class Shares:
    """What one process takes of every step of an epoch.

    Attributes
    ----------
    total
        Rows of all processes.
    weight
        This process's part of them.
    counts, in_all
        Rows of each step: those of this process, and all, int64 (steps,).
    starts
        Where its rows of a step begin in its order of the epoch.
    places
        The number within the epoch of the first of these, as one process would count all rows.
    stream
        0: orders are those of the seed; else which others this process has.
    """

    total: int
    weight: float
    counts: np.ndarray
    in_all: np.ndarray
    starts: np.ndarray
    places: np.ndarray
    stream: int = 0

    def seed(self, seed: int) -> int:
        """Return the seed of this process's orders."""
        return random_key(seed, self.stream, RANKS) if self.stream else seed

    @cached_property
    def capacity(self) -> int:
        """The most rows of a step, at least 1."""
        return max(1, int(self.counts.max()))

    @property
    def padded(self) -> int:
        """Length of what `spread` returns."""
        return len(self.counts) * self.capacity

    def spread(self, order: np.ndarray) -> np.ndarray:
        """Return `capacity` rows for each step, int64, the first of which are the step's.

        What follows them is any; and so is the first where a step has none.
        """
        places = self.starts[:, None] + np.arange(self.capacity)
        return order[np.minimum(places, len(order) - 1).ravel()]

    def at_places(self, order: np.ndarray) -> np.ndarray:
        """Return an order of all rows, int32, in which those of this process have their places."""
        found = np.zeros(self.total, np.int32)
        for count, start, place in zip(self.counts, self.starts, self.places, strict=True):
            found[place : place + count] = order[start : start + count]
        return found

    def table(self, apart: bool) -> np.ndarray:
        """Return what compiled code reads: see `fastnn.targets.cpu.arguments.ROWS_HERE`.

        Means are over the rows of all processes, or with `apart` over those of this one.
        """
        means = np.where(self.counts > 0, self.counts if apart else self.in_all, 0)
        return np.column_stack([np.maximum(self.counts, 1), self.places, means])


def check_rows(rows: Any) -> Rows:
    """Return "all" or "own", or raise `InvalidInput`."""
    if not isinstance(rows, str) or rows not in ROWS:
        raise unknown_name("rows", rows, ROWS)
    return rows


def parts_of_batches(n: int, size: int, rank: int, batch: int) -> Shares:
    """Return the shares of a rank where each of `size` processes holds all n rows.

    >>> parts_of_batches(n=10, size=3, rank=2, batch=8).counts  # of steps of 8 and of 2 rows
    array([2, 0])
    """
    begins = np.arange(0, n, batch)
    in_all = np.minimum(n, begins + batch) - begins
    counts = in_all // size + (rank < in_all % size)
    starts = begins + rank * (in_all // size) + np.minimum(rank, in_all % size)
    return Shares(n, 1.0 / size, counts, in_all, starts, starts)


def batches_of_own(sizes: list[int], rank: int, batch: int) -> Shares:
    """Return the shares of a rank where the processes hold so many rows each.

    Of the first c rows of the epoch, rank 0 has floor(c n_0 / n), rank 1 the same share of what is
    left, and so on: whole numbers, none of which falls as c grows, and n_r of them in the end.

    >>> [batches_of_own([30, 10], rank, batch=16).counts.tolist() for rank in (0, 1)]
    [[12, 12, 6], [4, 4, 2]]
    """
    n = total = sum(sizes)
    cuts = np.append(np.arange(0, n, batch), n)
    left, before = cuts, np.zeros_like(cuts)
    for each in sizes[:rank]:
        taken = left * each // total
        left, before, total = left - taken, before + taken, total - each
    own = left * sizes[rank] // total
    places = cuts[:-1] + np.diff(before)
    return Shares(n, sizes[rank] / n, np.diff(own), np.diff(cuts), own[:-1], places, rank)
