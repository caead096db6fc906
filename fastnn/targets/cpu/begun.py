"""Epochs and predictions that are ready to be run: their arrays, and the seats of the threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastnn.inputs.problem import EpochResult
from fastnn.inputs.sparse_rows import SparseRows
from fastnn.rules import ends
from fastnn.targets.cpu import arguments as words
from fastnn.targets.cpu.arguments import make_sparse_table
from fastnn.targets.cpu.laziness import COUNTED_STEPS, CUT, CUT_MEAN, MEAN_STEPS, STAMPED
from fastnn.targets.cpu.plan import EPOCH_STEPS, LAZY
from fastnn.targets.cpu.scalars import LOSS_SUM, PENALTY, WEIGHT_SUM
from fastnn.targets.cpu.working_memory import Working

NO_ROWS, NO_WEIGHTS = np.zeros(0, np.int64), np.zeros(0)


class Begun(NamedTuple):
    """Epochs that are ready to be run.

    Attributes
    ----------
    train
        Runs them, in the seat of a thread, from the step where they are to the last that `head`
        says.
    numbers, control
        What changes meanwhile, a row for each epoch.
    head
        What the compiled code reads about the whole.
    alone
        What `train` is where one thread does all.
    touched, jumps
        How far lazy updates are: see `step.lazy_rows`.
    jobs, own
        The addresses of all arrays, a row for each epoch, and the arrays that are of one alone.
    of_epoch
        What `train` is of one of the epochs, by its place among them.
    """

    train: partial[None]
    numbers: np.ndarray
    control: np.ndarray
    head: np.ndarray
    alone: partial[None]
    touched: np.ndarray
    jumps: np.ndarray
    jobs: np.ndarray
    own: dict[str, np.ndarray]
    of_epoch: Callable[[int], partial[None]]

    def ends_after(self, number: int) -> np.ndarray:
        """Return what `fastnn.rules.ends` describes, after one of the epochs."""
        ended = self.own["ends"][number]
        return ended[len(ended) // 2 :]

    def place_order(self, rows: np.ndarray, first: int) -> None:
        """Have the one epoch go on with these rows, int64, which are those of its places `first`...

        Compiled code looks for a place from that of the whole order on, of which no more need be
        there than it reads.
        """
        rows = np.ascontiguousarray(rows, np.int64)
        self.own["order"] = rows  # alive as long as a thread is at work
        at = words.POSITIONS["order"]
        address = rows.__array_interface__["data"][0]
        self.jobs[0, at : at + 2] = address - first * rows.itemsize, first + len(rows)


def results_of(begun: Begun, tells_penalty: bool) -> list[EpochResult]:
    """Return what epochs came to, up to one that failed, or that leaves all outputs at rest."""
    bads, ended = begun.control[:, words.BAD_STEP].tolist(), begun.own.get("ends")
    sums, weights, penalties = begun.numbers[:, [LOSS_SUM, WEIGHT_SUM, PENALTY]].T.tolist()
    losses = [at / of if of > 0 else 0.0 for at, of in zip(sums, weights, strict=True)]
    told = penalties if tells_penalty else [None] * len(losses)
    if ended is None:
        bad_steps = [bad if bad >= 0 else None for bad in bads]
        results = [*map(EpochResult, losses, bad_steps, told)]
        failed = next((number for number, bad in enumerate(bads, 1) if bad >= 0), None)
        return results[:failed]
    results = []
    for bad, loss, penalty in zip(bads, losses, told, strict=True):
        after = begun.ends_after(len(results))
        if bad < 0:
            loss = float(after[ends.LOSS])
        results.append(EpochResult(loss, bad if bad >= 0 else None, penalty, ends=after))
        if results[-1].is_last:
            break
    return results


def sparse_arrays(X: Any, working: Working) -> dict[str, np.ndarray]:
    """Return what a job lists of sparse features, and of what is made good later."""
    if not isinstance(X, SparseRows):
        return dict(sparse=NO_ROWS, touched=NO_ROWS, edges=NO_ROWS, jumps=NO_WEIGHTS)
    head, inputs = working.plan.head, X.inputs
    touched, jumps = NO_ROWS, NO_WEIGHTS
    if head[LAZY] == CUT:
        jumps = np.zeros(inputs)
    elif head[LAZY] == CUT_MEAN:
        steps = min(int(head[EPOCH_STEPS]), MEAN_STEPS)
        jumps = np.zeros(inputs + words.SUMS * 2 * (steps + 1))
    elif head[LAZY] >= STAMPED:
        touched = np.zeros(3 * inputs + len(working.plan.tiles), np.int64)
        jumps = np.zeros(2 * words.JUMP * min(int(head[EPOCH_STEPS]), COUNTED_STEPS))
    return dict(
        sparse=make_sparse_table(X), touched=touched, edges=working.edges_of(X), jumps=jumps
    )


def train_seat(
    train: Callable[..., None], jobs: np.ndarray, threads: tuple[int, ...], kept: Any, seat: int
) -> None:
    """Train the epochs of `jobs`; `threads` is their number, or () where code is for one alone.

    Jobs are addresses; `kept` keeps alive what they are the addresses of.
    """
    if threads:
        train(jobs, len(jobs), seat, *threads)
    else:
        train(jobs, len(jobs))


def alone_of(train: partial[None]) -> partial[None]:
    """Return what a seat does, of `train_seat`, for the one thread that does all."""
    compiled, jobs, threads, kept = train.args
    return partial(train_seat, compiled, jobs, threads and (1,), kept)
