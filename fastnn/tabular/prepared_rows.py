"""Rows of Parquet and Arrow files whose columns become features while they are read.

What `fastnn.tabular.preparation` makes of a table that is in memory, it makes here of a few rows at
a time, so that no more than these are there as columns.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastnn.inputs import table_files
from fastnn.inputs.table_files import TableFiles, TableRows
from fastnn.tabular.files.parquet import columns_of, zoned_in
from fastnn.tabular.met import Met
from fastnn.tabular.preparation import Columns
from fastnn.tabular.table import Table


class PreparedRows(TableRows):
    """Features of some of the rows of files: those to train on, say.

    Parameters
    ----------
    files
        What has the rows.
    preparation
        What makes their features.
    rows
        (rows of the files,) bool: which of them.
    decimal
        The decimal mark of numbers in text.

    Attributes
    ----------
    met
        What there is to say of the rows, once they have been `looked_through`.
    """

    def __init__(
        self, files: TableFiles, preparation: Columns, rows: np.ndarray, decimal: str
    ) -> None:
        vars(self).update(vars(files))
        self.dtype, self.met = np.dtype(np.float32), Met()
        self._source, self._preparation, self._decimal = files, preparation, decimal
        self._columns, self._rows = list(preparation.names), rows
        kept = np.add.reduceat(rows, files.edges[:-1], dtype=np.int64)
        self._groups = np.flatnonzero(kept)  # of those of the files
        self.groups = kept[self._groups]
        vars(self).pop("edges", None)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return len(self), self._preparation.width

    @property
    def names(self) -> None:
        """Features are not the columns of a frame."""
        return None

    def checked(self, dtype: np.dtype[Any], streams: bool) -> np.ndarray | TableRows:
        """Return the rows of a dtype: in memory, unless they `stream` and are many."""
        found = copy.copy(self)
        found.dtype = np.dtype(dtype)
        if not streams or len(self) * found.row_bytes <= table_files.HELD_BYTES:
            return found.whole()
        return found

    def looked_through(self) -> None:
        """Make all features once, and keep what there is to say of the rows.

        Raises
        ------
        InvalidInput
            A cell that its column's rule cannot read, with its row.
        """
        for _ in self._blocks(self._groups.tolist(), self._source.all_batches, self.met):
            pass

    def whole(self) -> np.ndarray:
        """Return all rows, in memory."""
        array, at = np.empty(self.shape, self.dtype), 0
        for block in self._blocks(self._groups.tolist(), self._source.all_batches):
            array[at : at + len(block)] = block
            at += len(block)
        return array

    def decode(self, group: int, out: np.ndarray, files: dict[int, Any]) -> None:
        """Write the rows of a group to `out`; `files` are those that are open."""
        at = 0
        place = int(self._groups[group])
        number, _ = self._places[place]
        if number not in files:
            files[number] = self._open(number)

        def batches(columns: Sequence[str], groups: list[int]) -> Iterator[tuple[int, Any]]:
            first = int(self._source.edges[place])
            for batch in self._source._batches(files[number], groups[0], columns):
                yield first, batch
                first += batch.num_rows

        for block in self._blocks([place], batches):
            out[at : at + len(block)] = block
            at += len(block)

    def _blocks(self, groups: list[int], batches: Any, met: Met | None = None) -> Iterator[Any]:
        for first, batch in batches(self._columns, groups):
            places = first + np.flatnonzero(self._rows[first : first + batch.num_rows])
            if not len(places):
                continue
            columns = columns_of(batch, self._columns, places - first)
            table = Table(columns, len(places), False, places, zoned_in(batch.schema))
            block, found = self._preparation.apply(table, False, self._decimal)
            if met is not None:
                met.join(found)
            yield block
