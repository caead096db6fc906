"""Batches that several processes share: which rows of each step are in this one, and their place.

A plan that is SHARED has batches of BATCH places in `order`, of which a step uses as many as its
row of the job's array `shares` says. Others have as many rows as are left.
"""

from __future__ import annotations

from fastnn.targets.cpu.arguments import PLACE, ROWS_HERE, ROWS_IN_ALL
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT
from fastnn.targets.cpu.views import head_of, shares_of
from fastnn.targets.fields import BATCH, SAMPLES, SHARED


@njit(**EXACT)
def rows_of(job, step):
    """Return how many rows of a step's batch are here, at least 1."""
    head = head_of(job)
    if head[SHARED] == 1:
        return shares_of(job)[step, ROWS_HERE]
    return min(head[BATCH], head[SAMPLES] - step * head[BATCH])


@njit(**EXACT)
def rows_in_all(job, step, samples):
    """Return what the step's mean is over, where `samples` are here; 0 where those do not count."""
    return shares_of(job)[step, ROWS_IN_ALL] if head_of(job)[SHARED] == 1 else samples


@njit(**EXACT)
def place_of_batch(job, first):
    """Return the number within the epoch of the row order[first], with which a batch begins."""
    head = head_of(job)
    return shares_of(job)[first // head[BATCH], PLACE] if head[SHARED] == 1 else first
