"""Epochs over rows in files: those of the next steps are asked for, those of past ones let go.

The system is asked and told so by the thread that also starts each part of an epoch: to ask takes
it about a millisecond for 200 MB that are in memory, and what is not there it reads by itself. A
thread that reads would take one of the processors that the training has, and Python's lock when the
threads of the next part are about to start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.inputs import pages as files
from fastnn.inputs import table_files as tables
from fastnn.inputs.data import ChosenData, Data
from fastnn.inputs.pages import Pages, pages_of
from fastnn.inputs.table_files import TablePages
from fastnn.random.windows import GroupOrder, InOrder, WindowOrder

if TYPE_CHECKING:
    from fastnn.inputs.problem import EpochResult
    from fastnn.targets.engine import Engine, Progress

# Rows of an epoch whose order is made at a time where nothing has to be read: 32 MiB of orders.
ORDERED_ROWS = 1 << 22


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
    if isinstance(data, ChosenData):  # rows that follow one another here do not in the file
        return []
    pages = _pages(data)
    return [] if pages and engine.hides_steps(engine.problem) else pages


def _pages(data: Data) -> list[Pages]:
    found = [pages_of(array) for array in (data.X, data.targets, data.weights)]
    return [each for each in found if each is not None]


def begin_reading(data: Data, shuffle: bool | int, engine: Engine, epoch: int) -> Reading | None:
    """Return what reads an epoch in pieces; None where `file_pages` returns none."""
    if data.streams:
        return _of_table(data, shuffle, engine, epoch)
    pages, n, problem = file_pages(data, shuffle, engine), len(data), engine.problem
    if not pages:
        return None
    rows = max(1, files.PIECE_BYTES // sum(each.row_bytes for each in pages))
    if all(each.resident() for each in pages):
        pages, rows = [], max(rows, ORDERED_ROWS)
    if shuffle is False:
        order = InOrder(n, rows)
    else:
        order = WindowOrder(problem.seed, epoch, n, shuffle, engine.shuffled)
    return Reading(pages, order, rows, problem.batch_size)


def _of_table(data: Data, shuffle: bool | int, engine: Engine, epoch: int) -> Reading:
    """Return what decodes row groups of files for an epoch, in pieces of whole steps.

    Raises
    ------
    InvalidInput
        An engine whose steps cannot be parted.
    """
    problem, table = engine.problem, data.X
    if why := engine.hides_steps(problem):
        raise InvalidInput(f"X is in the files of a table, which cannot be read for {why}")
    size = problem.batch_size
    if type(shuffle) is int:
        wanted = min(shuffle, len(data))
    else:  # of one length, since the last one could be no fair sample of the data
        windows = -(-len(data) * table.row_bytes // tables.WINDOW_BYTES)
        wanted = -(-len(data) // windows)
    window = -(-wanted // size) * size
    if shuffle is False:
        order: InOrder = InOrder(len(data), window)
    else:
        order = GroupOrder(problem.seed, epoch, table.edges, window, engine.shuffled)
    return TableReading(TablePages(table), order, window, size)


class Reading:
    """One epoch over rows that lie in files, in pieces of which the next one is asked for.

    A piece is one window, or several small ones. Before its steps begin, the system is asked for
    the rows of the next one; when they are done, its rows are let go. So rows of two pieces are in
    memory at a time, and the order of no more.

    Parameters
    ----------
    pages
        Of the arrays that are read; none where all of them are in memory, and stay there.
    order
        Of the epoch.
    rows
        How many a piece has, about.
    batch_size
        Rows in a step.
    """

    def __init__(self, pages: list[Pages], order: InOrder, rows: int, batch_size: int) -> None:
        self._pages, self._order = pages, order
        windows = max(1, -(-rows // order.window))
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
                self._let_go(self._done + 1)
                self._ask(self._done + 1)
            if look is not None:
                look(done, loss_sum, weight_sum)

        try:
            self._ask(0)
            self._ask(1)
            return engine.train_epoch_in_parts(
                data, self._order, rates, epoch, step, stops, look_on, progress
            )
        finally:
            self._let_go(len(self._edges) - 1)

    def _runs(self, first: int, last: int) -> np.ndarray:
        """Return where the rows of pieces first..last-1 lie, as far as there are so many."""
        pieces = len(self._edges) - 1
        return self._order.runs(self._edges[min(first, pieces)], self._edges[min(last, pieces)])

    def _ask(self, piece: int) -> None:
        """Ask for the rows of a piece, if there is one."""
        for each in self._pages:
            each.ask(self._runs(piece, piece + 1))

    def _let_go(self, until: int) -> None:
        """Let go of the pieces below `until`."""
        for each in self._pages:
            each.let_go(self._runs(self._done, until))
        self._done = until


class TableReading(Reading):
    """One epoch over row groups of files, which a thread decodes while the steps before are done.

    A piece is one window of whole steps. Its rows are there when its steps begin.
    """

    def __init__(self, pages: TablePages, order: InOrder, rows: int, batch_size: int) -> None:
        self._table = pages
        super().__init__([], order, rows, batch_size)

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
        """Train the epoch as `Reading.train` does."""
        data = replace(data, X=self._table.array)
        try:
            self._ask(0)
            self._table.wait(self._runs(0, 1))
            return super().train(engine, data, rates, epoch, step, look, progress)
        finally:
            self._table.close()

    def _ask(self, piece: int) -> None:
        self._table.ask(self._runs(piece, piece + 1))

    def _let_go(self, until: int) -> None:
        self._table.let_go(self._runs(self._done, until))
        self._done = until
        # Whose steps begin now, unless the epoch is over, or has failed.
        if until < len(self._edges) - 1:
            self._table.wait(self._runs(until, until + 1))
