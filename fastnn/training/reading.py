"""Epochs over rows in files: those of the next steps are read ahead, those of past ones let go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.inputs import pages as files
from fastnn.inputs.pages import Pages, pages_of
from fastnn.random.windows import InOrder, WindowOrder
from fastnn.threads.pool import Task

if TYPE_CHECKING:
    from fastnn.inputs.data import Data
    from fastnn.inputs.problem import EpochResult
    from fastnn.targets.engine import Engine, Progress


@contextmanager
def scattered_reads(data: Data, shuffle: bool | int) -> Iterator[None]:
    """Have the system read single rows of files meanwhile, if they are shuffled.

    Else it would read much more around each of them, which windows do by themselves.
    """
    pages = [] if shuffle is False else _pages(data)
    try:
        for each in pages:
            each.read_scattered(True)
        yield
    finally:
        for each in pages:
            each.read_scattered(False)


def file_pages(data: Data, shuffle: bool | int, engine: Engine) -> list[Pages]:
    """Return the pages of the arrays that epochs are to read in pieces; none where they are not.

    Rows that are shuffled all together are read one here and one there, so that nothing can be read
    ahead; and the steps of some engines cannot be parted.
    """
    if shuffle is True or (shuffle is not False and shuffle >= len(data)):
        return []
    pages = _pages(data)
    return [] if pages and engine.hides_steps(engine.problem) else pages


def _pages(data: Data) -> list[Pages]:
    found = [pages_of(array) for array in (data.X, data.targets, data.weights)]
    return [each for each in found if each is not None]


def begin_reading(data: Data, shuffle: bool | int, engine: Engine, epoch: int) -> Reading | None:
    """Return what reads an epoch in pieces; None where `file_pages` returns none."""
    pages, n, problem = file_pages(data, shuffle, engine), len(data), engine.problem
    if not pages:
        return None
    if shuffle is False:
        order = InOrder(n, max(1, files.PIECE_BYTES // sum(each.row_bytes for each in pages)))
    else:
        order = WindowOrder(problem.seed, epoch, n, shuffle, engine.shuffled)
    return Reading(pages, order, problem.batch_size)


class Reading:
    """One epoch over rows that lie in files, read a piece ahead of the training.

    A piece is one window, or several small ones. While the steps of one are done, a thread reads
    the rows of the next; when they are done, the rows are let go. So rows of two pieces are in
    memory at a time, and the order of no more.

    Parameters
    ----------
    pages
        Of the arrays that are read.
    order
        Of the epoch.
    batch_size
        Rows in a step.
    """

    def __init__(self, pages: list[Pages], order: InOrder, batch_size: int) -> None:
        self._pages, self._order = pages, order
        row_bytes = sum(each.row_bytes for each in pages)
        windows = max(1, -(-files.PIECE_BYTES // (order.window * row_bytes)))
        # After how many steps a piece ends, and with which window: a step that has rows of two
        # pieces is one of the second.
        ends = {
            edge * order.window // batch_size: edge
            for edge in range(windows, order.windows, windows)
        }
        ends.pop(0, None)
        self._stops = list(ends)
        self._edges = [0, *ends.values(), order.windows]
        self._done = 0  # pieces
        self._task: Task | None = None

    def train(
        self,
        engine: Engine,
        data: Data,
        rates: np.ndarray,
        epoch: int,
        step: int,
        look: Any = None,
        progress: Progress | None = None,
    ) -> EpochResult:
        """Train the epoch as `Engine.train_epoch_in_parts` does, whose arguments these are.

        `look`, if any, has its own `stops`.
        """
        stops = sorted({*self._stops, *(look.stops if look is not None else ())})

        def look_on(done: int, loss_sum: float, weight_sum: float) -> None:
            if self._done < len(self._stops) and done == self._stops[self._done]:
                loss = loss_sum / weight_sum if weight_sum > 0 else 0.0
                self._go_on(self._done + 1, progress and partial(progress, done, loss))
            if look is not None:
                look(done, loss_sum, weight_sum)

        try:
            self._read(0)
            self._go_on(0, progress and partial(progress, 0, 0.0))
            return engine.train_epoch_in_parts(
                data, self._order, rates, epoch, step, stops, look_on, progress
            )
        finally:
            if self._task is not None:
                self._task.settle()
            self._let_go(len(self._edges) - 1)

    def _go_on(self, piece: int, tick: Callable[[], None] | None) -> None:
        """Let go of the pieces before this one, wait for its rows, and begin to read the next."""
        self._let_go(piece)
        if self._task is not None:
            self._task.join(tick or (lambda: None))
        self._read(piece + 1)

    def _runs(self, first: int, last: int) -> np.ndarray:
        """Return where the rows of pieces first..last-1 lie, as far as there are so many."""
        pieces = len(self._edges) - 1
        return self._order.runs(self._edges[min(first, pieces)], self._edges[min(last, pieces)])

    def _read(self, piece: int) -> None:
        """Have a thread read a piece, if there is one."""
        runs = self._runs(piece, piece + 1)
        if not len(runs):
            return

        def work(seat: int) -> None:
            for each in self._pages:
                each.read(runs, lambda: task.stopped)

        task = self._task = Task(work, 1)
        task.begin()

    def _let_go(self, until: int) -> None:
        """Let go of the pieces below `until`."""
        runs = self._runs(self._done, until)
        for each in self._pages:
            each.let_go(runs)
        self._done = until
