"""A forward pass of rows: what compiled code is given for it, and how threads share the rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.inputs.pages import pages_of
from fastnn.inputs.sparse_rows import SparseRows
from fastnn.targets.cpu.arguments import make_job, make_sparse_table, make_strided_views
from fastnn.targets.cpu.begun import NO_ROWS
from fastnn.targets.cpu.kinds import LINEAR
from fastnn.targets.cpu.plan import (
    INFERENCE_ROWS,
    LAYER_KIND,
    NARROW,
    NONZERO_SIZE,
    ROUNDED,
    Plan,
)
from fastnn.threads.pool import Task

if TYPE_CHECKING:
    from fastnn.targets.cpu.working_memory import Working

# Work that makes a second thread worth waking for a prediction, and what is done of it in one call:
# a few hundredths of a second.
PREDICT_FLOPS_PER_THREAD, PREDICT_FLOPS_PER_CALL, PREDICT_ROWS_PER_CALL = 2e7, 5e8, 1 << 17
TILE_ROWS = 8  # of products of any kind, about
NOTHING = np.zeros(0, np.int64)


def forward_jobs(
    working: Working,
    alphas: np.ndarray,
    X: Any,
    threads: int,
    done: np.ndarray | None = None,
) -> tuple[list[np.ndarray], Any]:
    """Return the job of each thread for X, and what has to stay alive while they are used.

    In a row of `done` each counts, at DONE, the rows whose sums in the first layer are finite,
    where it reads rows in place. A number that is not finite has no finite sum with any weight.
    """
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
            control=NOTHING if done is None else done[me],
        )
        for me in range(threads)
    ]
    return jobs, (working, strided, counting, X, sparse, unpacked, done)


def reads_in_place(plan: Plan, X: np.ndarray) -> bool:
    """Return whether the first layer of a prediction reads rows of this dense X where they lie.

    As `fastnn.targets.cpu.step.epoch` has it, where X is of the dtype of the network.
    """
    head, layer, itemsize = plan.inference_heads[0], plan.inference[0, 0], X.itemsize
    products = layer[LAYER_KIND] == LINEAR and layer[NARROW] < 0 and head[ROUNDED] == 0
    lie = X.strides[1] == itemsize and X.strides[0] % itemsize == 0
    return bool(products and lie and plan.layout.panel > 1 and pages_of(X) is None)


def rows_of_a_call(rows: int, most: int, threads: int) -> int:
    """Return how many rows each call takes where one takes about so many at most.

    Those are whole blocks; but a share of a thread that is smaller is of whole tiles, so that few
    rows of a large network are shared evenly.
    """
    return min(_whole(most, INFERENCE_ROWS), _whole(-(-rows // threads), TILE_ROWS))


def _whole(rows: int, together: int) -> int:
    return max(1, -(-rows // together)) * together


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


def predicting(
    run_task: Callable[[Task], object],
    compiled: Callable[..., None],
    working: Working,
    alphas: np.ndarray,
    X: Any,
    outputs: int,
    flops: float,
    threads: int,
    done: np.ndarray | None,
) -> Callable[[], np.ndarray]:
    """Return what predicts X on at most so many threads, which is work of `flops`."""
    rows = len(X)
    threads = min(threads, max(1, int(flops / PREDICT_FLOPS_PER_THREAD)))
    most = min(PREDICT_ROWS_PER_CALL, int(PREDICT_FLOPS_PER_CALL / flops * rows))
    jobs, kept = forward_jobs(working, alphas, X, threads, done)
    count = rows_of_a_call(rows, most, threads)

    def predict() -> np.ndarray:
        found = np.empty((rows, outputs), working.memory.dtype)
        left = deque(range(0, rows, count))
        seat = partial(forward_seat, compiled, jobs, count, left, found, kept)
        if threads == 1:
            seat(0)
        else:
            run_task(Task(seat, threads, left.clear))
        return found

    return predict
