"""Parquet and Arrow, through pyarrow."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, importing
from fastnn.inputs.frames import without_dictionaries
from fastnn.tabular.table import Table, listed
from fastnn.tabular.words import exact

if TYPE_CHECKING:
    from fastnn.inputs.table_files import TableFiles


def read_files(path: str, files: Any) -> tuple[Table, list[str]]:
    """Return the table of Arrow files, or of all files of a folder; raises as `read_content`.

    Parameters
    ----------
    files
        The `fastnn.inputs.table_files.TableFiles` of the path.
    """
    import pyarrow as arrow

    names = [name for name, _ in files.columns]
    batches = [batch for _, batch in files.all_batches(names)]
    return _table(path, arrow.Table.from_batches(batches) if batches else None, names)


def blocks_of_files(
    path: str, files: TableFiles, cells: int, most: int, said: list[str]
) -> Iterator[Table]:
    """Yield the rows of files, as `read_files`: so many at a time as have so many cells.

    Or `most` bytes, about.
    """
    import pyarrow as arrow

    names = [name for name, _ in files.columns]
    rows, waiting, first = max(1, cells // max(1, len(names))), list[Any](), 0

    def block() -> Table:
        table = arrow.Table.from_batches(waiting) if waiting else None
        found, remarks = _table(path, table, names)
        said.extend(each for each in remarks if each not in said)
        return replace(found, places=np.arange(first, first + found.rows))

    for _, batch in files.all_batches(names):
        some = min(rows, max(1, most * batch.num_rows // max(1, batch.nbytes)))
        for begin in range(0, batch.num_rows, some):
            waiting.append(batch.slice(begin, some))
            count = sum(each.num_rows for each in waiting)
            if count >= rows or sum(each.nbytes for each in waiting) >= most:
                yield block()
                first += count
                waiting.clear()
    if waiting or not first:
        yield block()


def read_content(name: str, content: bytes, form: str) -> tuple[Table, list[str]]:
    """Return the table of a Parquet file or a stream of Arrow, and which columns are left out.

    Parameters
    ----------
    name
        What messages call it.
    content
        Its bytes.
    form
        "parquet" or "arrow".

    Raises
    ------
    MissingExtra
        There is no pyarrow.
    CorruptFile
        Bytes that pyarrow cannot read.
    InvalidInput
        No rows, or no column of numbers, text or dates.
    """
    what = "Parquet" if form == "parquet" else "a stream of Arrow"
    with importing(
        f"{name} is {what}, which pyarrow reads, and that",
        'pip install "fastnn[tables]", or save the table as CSV',
    ):
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    try:
        if form == "parquet":
            table = parquet.read_table(io.BytesIO(content))
        else:
            table = arrow.ipc.open_stream(content).read_all()
    except (arrow.ArrowException, OSError) as error:
        raise CorruptFile(f"{name} is damaged ({error}); make it again") from error
    names = table.column_names
    if len(set(names)) < len(names):
        raise InvalidInput(f"{name}: columns share a name: {listed(names)}")
    return _table(name, table, names)


def _table(name: str, table: Any, names: list[str]) -> tuple[Table, list[str]]:
    """Return a table of pyarrow's, and which columns are left out of it."""
    if table is None or not table.num_rows:
        raise InvalidInput(f"{name} has columns ({listed(names)}) but no rows")
    read = {}
    for each in names:
        try:
            read[each] = column_of(table.column(each))
        except InvalidInput as error:
            raise InvalidInput(f"{name}, column {each!r}: {error}") from error
    columns = {each: values for each, values in read.items() if values is not None}
    left = [f"{each!r} ({table.column(each).type})" for each in names if read[each] is None]
    said = [f"left out, as no numbers, text, dates or times: {', '.join(left)}"] if left else []
    if not columns:
        raise InvalidInput(
            f"{name}: no column has numbers, text, dates or times: {', '.join(left)}"
        )
    return Table(columns, table.num_rows, zoned=zoned_in(table.schema)), said


def table_of(files: TableFiles, names: Sequence[str], rows: np.ndarray) -> Table:
    """Return the columns of some rows, given by ascending numbers; none that can be none."""
    import pyarrow as arrow

    types = dict(files.columns)
    groups = np.unique(np.searchsorted(files.edges, rows, "right") - 1).tolist()
    parts: dict[str, list[Any]] = {name: [] for name in names if _is_column(types[name])}
    for first, batch in files.all_batches(list(parts), groups) if parts else ():
        begin, end = np.searchsorted(rows, [first, first + batch.num_rows])
        if begin < end:
            here = arrow.array(rows[begin:end] - first)
            for name, taken in parts.items():
                values = batch.column(batch.schema.get_field_index(name))
                taken.append(_plain(values).take(here))
    read = {name: column_of(arrow.chunked_array(taken)) for name, taken in parts.items()}
    columns = {name: values for name, values in read.items() if values is not None}
    schema = arrow.schema([arrow.field(name, types[name]) for name in parts])
    return Table(columns, len(rows), False, rows, zoned_in(schema))


def zoned_in(schema: Any) -> frozenset[str]:
    """Return the names of the columns of dates with a time zone."""
    kinds = {field.name: getattr(field.type, "value_type", field.type) for field in schema}
    return frozenset(name for name, kind in kinds.items() if getattr(kind, "tz", None) is not None)


def column_in(files: TableFiles, name: str) -> np.ndarray | None:
    """Return a column of all rows; None where it has no numbers, text or dates."""
    import pyarrow as arrow

    chunks = [batch.column(0) for _, batch in files.all_batches([name])]
    return column_of(arrow.chunked_array(chunks))


def columns_of(batch: Any, names: Sequence[str], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of some rows of a batch."""
    columns = {}
    for name in names:
        values = column_of(batch.column(batch.schema.get_field_index(name)))
        assert values is not None, "columns that are nothing are not learnt from"
        columns[name] = values if len(rows) == len(values) else values[rows]
    return columns


def column_of(values: Any) -> np.ndarray | None:
    """Return a column of pyarrow's as a `Table` has it, None where it can have none such.

    Raises
    ------
    InvalidInput
        Dates beyond those that there are.
    """
    import pyarrow as arrow

    if not _is_column(values.type):
        return None
    values = _plain(values)
    types, kind = arrow.types, values.type
    if types.is_boolean(kind):
        if not values.null_count:
            return np.array(values.to_pylist(), bool)
        truths = np.empty(len(values), object)  # in the words that those of others have as classes
        truths[:] = [None if each is None else str(each) for each in values.to_pylist()]
        return truths
    if types.is_integer(kind) and not values.null_count:
        return exact(values.to_numpy())
    if types.is_integer(kind):
        there = exact(np.asarray(values.drop_null()))
        whole = np.full(len(values), None if there.dtype == object else np.nan, there.dtype)
        whole[np.asarray(values.is_valid())] = there
        return whole
    if types.is_floating(kind):
        return np.asarray(values, np.float64)
    if types.is_decimal(kind):
        return _of_decimals(values.to_pylist())
    if types.is_date(kind) or types.is_timestamp(kind):
        try:
            stamps = values.cast(arrow.timestamp("us"), safe=False).to_pylist()
        except (OverflowError, ValueError) as error:
            raise InvalidInput(
                f"{kind} cannot be read: {error}; correct it, or leave the column out of the file"
            ) from error
        naive = [None if each is None else each.replace(tzinfo=None) for each in stamps]
        return np.array(naive, "datetime64[us]")
    if types.is_duration(kind):
        return np.asarray(values.cast(arrow.duration("us"), safe=False))
    if types.is_time(kind):
        clock = np.empty(len(values), object)
        clock[:] = [None if each is None else str(each) for each in values.to_pylist()]
        return clock
    # Of equal texts there is one.
    coded = arrow.chunked_array([values], kind) if isinstance(values, arrow.Array) else values
    coded = coded.combine_chunks().dictionary_encode()
    if isinstance(coded, arrow.ChunkedArray):
        coded = coded.combine_chunks()
    words = np.empty(len(coded.dictionary) + 1, object)
    words[:-1], words[-1] = coded.dictionary.to_pylist(), None
    return words[np.asarray(coded.indices.fill_null(len(coded.dictionary)))]


def _is_column(kind: Any) -> bool:
    """Return whether a type is one of numbers, text, dates or times, or of codes for such."""
    import pyarrow.types as types

    while types.is_dictionary(kind):
        kind = kind.value_type
    return (
        types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_date(kind)
        or types.is_timestamp(kind)
        or types.is_duration(kind)
        or types.is_time(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_null(kind)
        or _is_view(kind)
    )


def _is_view(kind: Any) -> bool:
    """Return whether a type is text as polars has it, of which pyarrow neither takes nor codes."""
    return str(kind) == "string_view"  # which older versions lack


def _plain(values: Any) -> Any:
    """Return a column of values where it has codes of them, and of a type that pyarrow handles."""
    import pyarrow as arrow

    values = without_dictionaries(values)
    return values.cast(arrow.large_string()) if _is_view(values.type) else values


def _of_decimals(cells: list[Decimal | None]) -> np.ndarray:
    """Return decimals as float64, NaN where one is missing, or as text and None.

    They are text where one is as large as whole numbers that float64 does not hold, as `exact` has
    these, or where two that differ would be the same.
    """
    there = set(cells) - {None}
    numbers = {each: float(each) for each in there if each is not None}
    if len({*numbers.values()}) == len(there) and all(
        abs(number) < 2.0**53 for number in numbers.values()
    ):
        return np.array([np.nan if each is None else numbers[each] for each in cells], np.float64)
    words = {each: _digits(each) for each in there if each is not None}
    texts = np.empty(len(cells), object)
    texts[:] = [None if each is None else words[each] for each in cells]
    return texts


def _digits(value: Decimal) -> str:
    """Return all digits of a decimal, and none of the zeros that its type has after them."""
    whole = int(value)
    return str(whole) if whole == value else format(value, "f").rstrip("0")
