"""The same table in every form that people keep tables in."""

from __future__ import annotations

import datetime
import sys
from decimal import Decimal

import numpy as np
import pandas
import pytest

from fastnn import SGD, Dense, Network, Trainer

ROWS = 30
RANDOM = np.random.default_rng(0)
COLUMNS = {
    "age": RANDOM.normal(size=ROWS),
    "member": RANDOM.random(ROWS) < 0.5,
    "rooms": RANDOM.integers(0, 5, ROWS),
}
NAMES = tuple(COLUMNS)
TABLE = np.column_stack(list(COLUMNS.values()))
LABELS = RANDOM.integers(0, 3, ROWS)
REAL = RANDOM.normal(size=ROWS)
DAY = datetime.date(2020, 2, 29)


def pandas_frame(**changes):
    """Return the table as a frame of pandas, with other columns where they are given."""
    return pandas.DataFrame(COLUMNS | changes)


def polars_frame(**changes):
    """Return the table as a frame of polars, with other columns where they are given."""
    return pytest.importorskip("polars").DataFrame(COLUMNS | changes)


def arrow_table(**changes):
    """Return the table of pyarrow, with other columns where they are given."""
    return pytest.importorskip("pyarrow").table(COLUMNS | changes)


class Exported:
    """A table that only exports itself, as those of many data bases do."""

    def __init__(self, table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        """Export the table."""
        return self.table.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self):
        """Export what it is a table of."""
        kind = self.table.schema if hasattr(self.table, "schema") else self.table.type
        return kind.__arrow_c_schema__()


class Interchanged:
    """A table that exports itself by the older protocol alone."""

    def __init__(self, table) -> None:
        self.table = table

    def __dataframe__(self, nan_as_null=False, allow_copy=True):
        """Export the table."""
        return self.table.__dataframe__(nan_as_null, allow_copy)


class LikePandas:
    """A frame of a library that resembles pandas."""

    def __init__(self, frame) -> None:
        self.iloc, self.dtypes, self.columns = frame.iloc, frame.dtypes, frame.columns
        self.frame, self.items = frame, frame.items

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.frame)

    def to_numpy(self):
        """Return the table as an array."""
        return self.frame.to_numpy()


def _subclass():
    class Mine(pandas.DataFrame):
        """A frame of a user-defined class."""

    return Mine(COLUMNS)


TABLES = {
    "pandas": pandas_frame,
    "pandas, nullable": lambda: pandas_frame().convert_dtypes(),
    "pandas, Float32 and Int8": lambda: pandas_frame().astype({"age": "Float64", "rooms": "Int8"}),
    "pandas, objects": lambda: pandas_frame().astype(object),
    "pandas, decimals": lambda: pandas_frame(rooms=[Decimal(int(n)) for n in COLUMNS["rooms"]]),
    "pandas, sparse": lambda: pandas_frame(rooms=pandas.arrays.SparseArray(COLUMNS["rooms"])),
    "pandas, another index": lambda: pandas_frame().set_index(pandas.Index(range(ROWS, 0, -1))),
    "pandas, of a class of its own": _subclass,
    "like pandas": lambda: LikePandas(pandas_frame()),
    "polars": polars_frame,
    "polars, Int128": lambda: polars_frame().cast({"rooms": sys.modules["polars"].Int128}),
    "polars, in two chunks": lambda: polars_frame()[:9].extend(polars_frame()[9:]),
    "pyarrow": arrow_table,
    "pyarrow, in two chunks": lambda: (
        sys.modules["pyarrow"].concat_tables([arrow_table()[:9], arrow_table()[9:]])
        if arrow_table()
        else None
    ),
    "pyarrow, a batch": lambda: arrow_table().to_batches()[0],
    "an Arrow stream": lambda: Exported(arrow_table()),
    "an interchange object": lambda: Interchanged(arrow_table()),
}


def arrow_backed():
    """Return the table as a frame of pandas whose columns are pyarrow's."""
    pytest.importorskip("pyarrow")
    return pandas_frame().convert_dtypes(dtype_backend="pyarrow")


TABLES["pandas, of pyarrow"] = arrow_backed


def trainer_of(outputs=3, inputs=3, **settings) -> Trainer:
    """Return a trainer for the table on the NumPy target, but for `settings`."""
    defaults = {"optimizer": SGD(0.1), "batch_size": 8, "target": "numpy"}
    return Trainer(Network(inputs, [Dense(4, "tanh"), Dense(outputs)]), **(defaults | settings))


def bits(trainer: Trainer) -> list[bytes]:
    """Return the bits of a trainer's parameters."""
    return [array.tobytes() for layer in trainer.parameters for array in layer]
