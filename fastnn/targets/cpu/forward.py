"""A forward pass of rows: what compiled code is given for it, and how threads share the rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.inputs.sparse_rows import SparseRows
from fastnn.targets.cpu.arguments import make_job, make_sparse_table, make_strided_views
from fastnn.targets.cpu.begun import NO_ROWS
from fastnn.targets.cpu.plan import INFERENCE_ROWS, NONZERO_SIZE

if TYPE_CHECKING:
    from fastnn.targets.cpu.working_memory import Working


def forward_jobs(
    working: Working, alphas: np.ndarray, X: Any, threads: int
) -> tuple[list[np.ndarray], Any]:
    """Return the job of each thread for X, and what has to stay alive while they are used."""
    counting = np.arange(INFERENCE_ROWS)
    if isinstance(X, SparseRows):
        strided, sparse = NO_ROWS, make_sparse_table(X)
    else:
        strided, sparse = make_strided_views(X), NO_ROWS
    size = int(working.plan.head[NONZERO_SIZE]) * (working.sparse is not None)
    unpacked = np.zeros((threads, size), np.int64)
    jobs = [
        make_job(
            memory=working.memory,
            alphas=alphas,
            head=working.plan.inference_heads[me],
            layers=working.plan.inference[me],
            strided=strided,
            counting=counting,
            sparse=sparse,
            nonzero=unpacked[me],
        )
        for me in range(threads)
    ]
    return jobs, (working, strided, counting, X, sparse, unpacked)


class Here:
    """Predicts dense rows in the calling thread, as long as the working memory is the same one.

    For a few rows at a time: it keeps its job, and says in it where the rows of a call are.
    """

    def __init__(
        self, compiled: Callable[..., None], working: Working, alphas: np.ndarray, columns: int
    ) -> None:
        nowhere = np.empty((1, columns), working.memory.dtype)
        (self._job,), self._kept = forward_jobs(working, alphas, nowhere, 1)
        self.working, self._compiled, self._strided = working, compiled, self._kept[1]

    def __call__(self, X: np.ndarray, outputs: int) -> np.ndarray:
        """Return the outputs (m, outputs) of X."""
        self._strided[:] = make_strided_views(X)
        found = np.empty((len(X), outputs), self.working.memory.dtype)
        self._compiled(self._job, 0, len(X), found)
        return found


def forward_seat(
    forward: Callable[..., None],
    jobs: list[np.ndarray],
    count: int,
    left: deque[int],
    outputs: np.ndarray,
    kept: Any,
    seat: int,
) -> None:
    """Predict `count` rows at a time, from those that `left` says, until none are left.

    Jobs are addresses; `kept` keeps alive what they are the addresses of.
    """
    while left:
        try:
            start = left.popleft()
        except IndexError:  # another thread was quicker
            return
        forward(jobs[seat], start, min(start + count, len(outputs)), outputs)
