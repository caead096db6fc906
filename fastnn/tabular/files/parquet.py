"""Parquet, through whichever library of it there is."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, MissingExtra
from fastnn.tabular.table import Table, listed


def read_parquet(name: str, content: bytes) -> Table:
    """Return the table of a Parquet file.

    Raises
    ------
    MissingExtra
        There is no pyarrow.
    CorruptFile
        A file that pyarrow cannot read.
    InvalidInput
        No rows, or columns that are neither numbers, text nor dates.
    """
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtra(
            f"{name} is Parquet, which pyarrow reads, and that cannot be imported here ({error}); "
            'install it with: pip install "fastnn[tables]", or save the table as CSV'
        ) from error
    try:
        table = parquet.read_table(io.BytesIO(content))
    except (arrow.ArrowException, OSError) as error:
        raise CorruptFile(f"{name} is damaged ({error}); make it again") from error
    names = table.column_names
    if len(set(names)) < len(names):
        raise InvalidInput(f"{name}: columns share a name: {listed(names)}")
    if not table.num_rows:
        raise InvalidInput(f"{name} has columns ({listed(names)}) but no rows")
    columns = {each: _column(name, each, table.column(each), arrow) for each in names}
    return Table(columns, table.num_rows)


def _column(name: str, column: str, values: Any, arrow: Any) -> np.ndarray:
    types, kind = arrow.types, values.type
    if types.is_dictionary(kind):
        values = values.cast(kind.value_type)
        kind = values.type
    if types.is_boolean(kind):
        if not values.null_count:
            return np.array(values.to_pylist(), bool)
        kind, values = arrow.string(), values.cast(arrow.string())
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        found = [np.nan if each is None else float(each) for each in values.to_pylist()]
        return np.array(found, np.float64)
    if types.is_date(kind) or types.is_timestamp(kind):
        stamps = values.cast(arrow.timestamp("us"), safe=False).to_pylist()
        naive = [None if each is None else each.replace(tzinfo=None) for each in stamps]
        return np.array(naive, "datetime64[us]")
    if types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind):
        texts = np.empty(len(values), object)
        texts[:] = values.to_pylist()
        return texts
    raise InvalidInput(
        f"{name}, column {column!r}: {kind} is neither numbers, text nor dates; drop the column "
        f"with --drop {column}, or make one of these of it"
    )
