"""Rows in Parquet and Arrow files, of which a few row groups are in memory at a time.

A row group (of Parquet), or a record batch (of Arrow and Feather), is what such a file is read by:
whoever wants one row of it decodes all. So these take the place of the blocks that windows of other
files have (`fastnn.random.windows`), and an epoch reads each of them once, in an order of its own.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import mmap
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, MissingExtra, MissingFile, UnusableFile, shown
from fastnn.inputs.memory import check_memory
from fastnn.inputs.npy_files import ARROW_STREAM, OF_STREAM
from fastnn.storage.tensor_file import regular_file

KINDS = {
    ".parquet": "parquet", ".pq": "parquet", ".feather": "ipc", ".arrow": "ipc", ".ipc": "ipc",
}  # fmt: skip
# Tables of fewer bytes, as numbers of the network's dtype, are read into memory once and for all.
HELD_BYTES = 256 << 20
# A window, where `shuffle` names none. Two of them are in memory at a time.
WINDOW_BYTES = 128 << 20
_DECODED_BYTES, _TILE_BYTES = 1 << 23, 1 << 20  # at a time
_PAGE = mmap.PAGESIZE
# Files, as they were, whose columns have been found to be numbers of a dtype.
_CHECKED: set[Any] = set()
# Address space that takes no memory before it is written to; Python names the flag from 3.12 on.
_RESERVED = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


class TableFiles:
    """Parquet or Arrow files of the same columns, of any type, one file after another.

    They are those of the files as they were at first: whatever reads them later raises
    `InvalidInput` where a file has been written since.

    Parameters
    ----------
    files
        Paths and their kinds, "parquet" or "ipc".
    what
        What messages call them.

    Attributes
    ----------
    groups
        How many rows each row group has, int64.
    bytes
        What all columns take in memory, about.
    """

    def __init__(self, files: Sequence[tuple[str, str]], what: str) -> None:
        self._files, self._what, self.bytes = list(files), what, 0
        self._places: list[tuple[int, int]] = []  # file and number in it, of each group
        self._stamps: list[tuple[int, int]] = []  # of each file
        rows: list[int] = []
        self._types: dict[str, Any] = {}
        for number, (path, kind) in enumerate(self._files):
            with contextlib.suppress(OSError):  # which opening it tells
                self._stamps.append(_stamp(path))
            file = _File(path, kind, what)
            types = {field.name: field.type for field in file.schema}
            if number and types != self._types:
                raise InvalidInput(
                    f"{what}: {self._files[number][0]} has other columns than {self._files[0][0]}: "
                    f"{_difference(types, self._types)}; pass files of the same columns and types"
                )
            if len(types) < len(file.schema):
                raise InvalidInput(f"{what}: {self._files[number][0]} has a column's name twice")
            self._types = self._types or types  # in the order of the first file
            for group in range(file.groups):
                if count := file.rows(group):
                    self._places.append((number, group))
                    rows.append(count)
                    self.bytes += file.bytes(group)
        self.groups: np.ndarray = np.array(rows, np.int64)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.groups.sum())

    @cached_property
    def edges(self) -> np.ndarray:
        """Where row groups begin, and where the last one ends; int64 (groups + 1,)."""
        return np.concatenate(([0], np.cumsum(self.groups)))

    @property
    def files(self) -> list[tuple[str, str]]:
        """Paths and kinds."""
        return self._files

    @property
    def columns(self) -> list[tuple[str, Any]]:
        """Names and types of all columns, features or not."""
        return list(self._types.items())

    def all_batches(
        self, columns: Sequence[str], groups: Iterable[int] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Yield batches of some columns, in order, with the number of the first row of each.

        Of all row groups, or of some.
        """
        file, opened = None, -1
        for group in range(len(self.groups)) if groups is None else groups:
            number, _ = self._places[group]
            if number != opened:
                file, opened = self._open(number), number
            assert file is not None
            first = int(self.edges[group])
            for batch in self._batches(file, group, columns):
                yield first, batch
                first += batch.num_rows

    def _batches(self, file: _File, group: int, columns: Sequence[str]) -> Iterator[Any]:
        """Yield batches that are a group, of the file as it was at first and as many rows."""
        (number, place), left = self._places[group], int(self.groups[group])
        if place >= file.groups:
            raise self._changed(number)
        batches = file.batches(place, columns, max(1, _DECODED_BYTES // max(1, self.row_bytes)))
        while True:
            try:
                batch = next(batches, None)
            except Exception:
                self._check_stamp(number)  # which says more
                raise
            self._check_stamp(number)
            left -= 0 if batch is None else batch.num_rows
            if left < 0 or (batch is None and left):
                raise self._changed(number)
            if batch is None:
                return
            yield batch

    @property
    def row_bytes(self) -> int:
        """Of a row that is read."""
        return 8 * len(self._types)

    def _open(self, number: int) -> _File:
        self._check_stamp(number)
        return _File(*self._files[number], self._what)

    def _check_stamp(self, number: int) -> None:
        path, _ = self._files[number]
        try:
            stamp = _stamp(path)
        except FileNotFoundError:
            raise MissingFile(
                errno.ENOENT, f"{self._what}: there is no such file any more", path
            ) from None
        if stamp != self._stamps[number]:
            raise self._changed(number)

    def _changed(self, number: int) -> InvalidInput:
        return InvalidInput(
            f"{self._what}: {self._files[number][0]} has been changed while it was read; "
            "call again, and write other rows to another file meanwhile"
        )


class _Part(NamedTuple):
    """Features that follow one another in a column: of lists, some of their places."""

    name: str
    first: int
    width: int


class TableRows(TableFiles):
    """Rows of numbers in Parquet or Arrow files.

    Parameters
    ----------
    files, what
        As of `TableFiles`.
    without
        Columns that are no features.

    Attributes
    ----------
    dtype
        What rows are decoded to; the network's, once they have been `checked`.
    """

    def __init__(
        self, files: Sequence[tuple[str, str]], what: str, without: Sequence[str] = ()
    ) -> None:
        super().__init__(files, what)
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        for name in without:
            if name not in self._types:
                raise InvalidInput(
                    f"{what} has no column {name!r}, but {', '.join(map(repr, self._types))}"
                )
        self._columns = [name for name in self._types if name not in without]
        self._parts = [
            _Part(name, 0, _width(self._types[name], name, what)) for name in self._columns
        ]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features; a column of lists of a fixed size has as many as these are long."""
        return len(self), sum(part.width for part in self._parts)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the features, where each is a column."""
        names = [part.name for part in self._parts]
        widths = [_width(self._types[name], name, self._what) for name in names]
        return tuple(names) if set(widths) <= {1} else None

    def chosen(self, features: Iterable[int]) -> TableRows:
        """Return the rows with some features alone, in this order, by their numbers from 0."""
        places = [
            (part.name, part.first + place) for part in self._parts for place in range(part.width)
        ]
        parts: list[_Part] = []
        for name, place in (places[feature] for feature in features):
            before = parts[-1] if parts else None
            if before and before.name == name and before.first + before.width == place:
                parts[-1] = before._replace(width=before.width + 1)
            else:
                parts.append(_Part(name, place, 1))
        found = copy.copy(self)
        found._parts, found._columns = parts, list(dict.fromkeys(part.name for part in parts))
        return found

    @property
    def row_bytes(self) -> int:
        """Of a row that is decoded."""
        return self.shape[1] * self.dtype.itemsize

    def checked(self, dtype: np.dtype[Any], streams: bool) -> np.ndarray | TableRows:
        """Return the rows as numbers of a dtype: in memory, unless they `stream` and are many.

        All are read, but for those in files that have been found good before.

        Raises
        ------
        InvalidInput
            A number that is missing, NaN or infinite, or too large for the dtype.
        """
        found = copy.copy(self)
        found.dtype = np.dtype(dtype)
        if not streams or len(self) * found.row_bytes <= HELD_BYTES:
            return found.whole()
        known = tuple(self._files), tuple(self._stamps), tuple(self._parts), found.dtype
        if known in _CHECKED:
            return found
        rows = max(1, _DECODED_BYTES // found.row_bytes)
        scratch = np.empty((rows, self.shape[1]), dtype)
        for first, batch in found.all_batches(self._columns):
            found._check(found._fill(batch, scratch), first)
        _CHECKED.add(known)
        return found

    def whole(self) -> np.ndarray:
        """Return all rows, in memory and checked."""
        check_memory(
            len(self) * self.row_bytes, self._what, "pass fewer rows, or fewer columns of them"
        )
        array = np.empty(self.shape, self.dtype)
        for first, batch in self.all_batches(self._columns):
            self._check(self._fill(batch, array[first:]), first)
        return array

    def read(self, names: Sequence[str], flat: bool, missing: bool, role: str) -> np.ndarray:
        """Return some columns of all rows, as they are: (n, columns), or (n,) of one if `flat`.

        With `missing`, what is missing is NaN, and an error otherwise. `role` is the argument that
        names them.
        """
        parts = []
        for name in names:
            _check_outcome(self._types[name], name, role)
            found = [
                _values(batch, name, first, missing) for first, batch in self.all_batches([name])
            ]
            parts.append(np.concatenate(found))
        return parts[0] if flat else np.column_stack(parts)

    def decode(self, group: int, out: np.ndarray, files: dict[int, _File]) -> None:
        """Write the rows of a group to `out`; `files` are those that are open."""
        number, _ = self._places[group]
        if number not in files:
            files[number] = self._open(number)
        at = 0
        for batch in self._batches(files[number], group, self._columns):
            at += len(self._fill(batch, out[at:]))

    def _fill(self, batch: Any, out: np.ndarray) -> np.ndarray:
        """Write a batch to the first rows of `out`, and return these."""
        rows = out[: batch.num_rows]
        columns = {name: _values(batch, name, None) for name in self._columns}
        # So many rows at a time that columns become rows in the cache.
        tile = max(1, _TILE_BYTES // self.row_bytes)
        with np.errstate(over="ignore"):
            for first in range(0, len(rows), tile):
                part, at = rows[first : first + tile], 0
                for name, place, width in self._parts:
                    some = columns[name][first : first + tile]
                    if width == 1:
                        part[:, at] = some if some.ndim == 1 else some[:, place]
                    else:
                        part[:, at : at + width] = some[:, place : place + width]
                    at += width
        return rows

    def _check(self, rows: np.ndarray, first: int) -> None:
        finite = np.isfinite(rows)
        if finite.all():
            return
        row, place = np.argwhere(~finite)[0].tolist()
        ends = np.cumsum([part.width for part in self._parts])
        name = self._parts[int(np.searchsorted(ends, place, "right"))].name
        raise InvalidInput(
            f"{self._what} has {rows[row, place]} in row {first + row}, column {name!r}, as "
            f"{self.dtype.name}; leave such rows out, or fill them, before the file is written"
        )


class TablePages:
    """Memory for all rows of a table, of which those that are asked for are there.

    It has an address for each row, as a file that is mapped has; a thread decodes row groups to
    their places, and what is let go takes no memory any more.
    """

    def __init__(self, rows: TableRows) -> None:
        self._rows, self.row_bytes = rows, rows.row_bytes
        size = len(rows) * rows.row_bytes
        try:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _RESERVED
            self._memory = mmap.mmap(-1, size, flags)
            self._let_go = mmap.MADV_DONTNEED
        except AttributeError:
            raise InvalidInput(
                "this system cannot take memory for parts of a table alone; write the table as a "
                ".npy file, which is read in place"
            ) from None
        except OSError as error:
            raise UnusableFile(error.errno, f"no addresses for {size} bytes of rows") from error
        with contextlib.suppress(AttributeError, OSError):  # a page is let go by itself
            self._memory.madvise(mmap.MADV_NOHUGEPAGE)
        self.array: np.ndarray = np.frombuffer(self._memory, rows.dtype).reshape(rows.shape)
        self._thread = ThreadPoolExecutor(1, "fastnn-reader")
        self._groups: dict[int, Future[None]] = {}
        self._files: dict[int, _File] = {}

    def ask(self, runs: np.ndarray) -> None:
        """Have the row groups of some runs, int64 (runs, 2), decoded, and do not wait for it."""
        for group in self._of(runs):
            if group not in self._groups:
                first, last = self._rows.edges[group : group + 2].tolist()
                out = self.array[first:last]
                decode = self._rows.decode
                self._groups[group] = self._thread.submit(decode, group, out, self._files)

    def wait(self, runs: np.ndarray) -> None:
        """Wait for what has been asked for, or raise what reading it has raised."""
        for group in self._of(runs):
            self._groups[group].result()

    def let_go(self, runs: np.ndarray) -> None:
        """Give back the memory of some runs: of pages on which no other rows are."""
        for first, last in runs.tolist():
            start = -(-first * self.row_bytes // _PAGE) * _PAGE
            end = last * self.row_bytes // _PAGE * _PAGE
            if start < end:
                self._memory.madvise(self._let_go, start, end - start)

    def close(self) -> None:
        """Read no more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _of(self, runs: np.ndarray) -> list[int]:
        edges = self._rows.edges
        found: list[int] = []
        for first, last in runs.tolist():
            begin, end = np.searchsorted(edges, [first, last - 1], "right") - 1
            found += range(int(begin), int(end) + 1)
        return found


class _File:
    """An open file: its schema, and batches of its groups."""

    def __init__(self, path: str, kind: str, what: str) -> None:
        _pyarrow(path)
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path, self._what = path, what
        try:
            if kind == "parquet":
                self._file: Any = pq.ParquetFile(path)
                self.schema, self.groups = self._file.schema_arrow, self._file.num_row_groups
            else:
                self._file = pa.ipc.open_file(pa.OSFile(path))
                self.schema, self.groups = self._file.schema, self._file.num_record_batches
        except FileNotFoundError:
            raise MissingFile(errno.ENOENT, f"{what}: there is no such file", path) from None
        except pa.ArrowException as error:
            with open(path, "rb") as stream:
                if stream.read(4) == ARROW_STREAM:
                    raise InvalidInput(f"{what}: {path} {OF_STREAM}") from None
            raise CorruptFile(
                f"{what}: {path} is damaged, or no {kind} file ({error}); use another copy of it"
            ) from error
        except OSError as error:
            raise UnusableFile(error.errno, f"{what} cannot be read: {error}", path) from error
        self._parquet = kind == "parquet"
        self._reader: tuple[tuple[str, ...], Any] = (), self._file

    def rows(self, group: int) -> int:
        """Return how many rows a group has."""
        if self._parquet:
            return int(self._file.metadata.row_group(group).num_rows)
        # What is read to be counted is one column.
        with self._reading(group):
            return int(self._of(self.schema.names[:1]).get_batch(group).num_rows)

    def bytes(self, group: int) -> int:
        """Return what a group takes in memory, about."""
        if self._parquet:
            return int(self._file.metadata.row_group(group).total_byte_size)
        return os.stat(self._path).st_size // max(1, self.groups)

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
        """Yield batches of at most so many rows, which together are a group."""
        with self._reading(group):
            if self._parquet:
                yield from self._file.iter_batches(
                    rows, row_groups=[group], columns=list(columns), use_threads=False
                )
                return
            batch = self._of(columns).get_batch(group)
            for first in range(0, batch.num_rows, rows):
                yield batch.slice(first, rows)

    @contextlib.contextmanager
    def _reading(self, group: int) -> Iterator[None]:
        """Have what pyarrow finds wrong with a group said of it."""
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise CorruptFile(
                f"{self._what}: row group {group} of {self._path} cannot be read ({error}); use "
                "another copy of the file"
            ) from error

    def _of(self, columns: Sequence[str]) -> Any:
        """Return what reads these columns of an Arrow file, and no others."""
        import pyarrow as pa

        wanted = tuple(columns)
        if self._reader[0] != wanted:
            places = sorted(self.schema.get_field_index(name) for name in wanted)
            options = pa.ipc.IpcReadOptions(included_fields=places, use_threads=False)
            self._reader = wanted, pa.ipc.open_file(pa.OSFile(self._path), options=options)
        return self._reader[1]


def of_table(X: Any, y: Any, sample_weight: Any, what: str = "X") -> tuple[Any, Any, Any]:
    """Return X, y and weights, where X is files of a table as `TableRows` without the others.

    `y` and `sample_weight` may then name columns. A missing value of y is NaN.

    Raises
    ------
    InvalidInput
        No such column, or columns that are no numbers.
    MissingFile, UnusableFile, CorruptFile, MissingExtra
        Files that cannot be read.
    """
    files = table_files(X, what)
    if files is None:
        return X, y, sample_weight
    targets, weights = _columns(y), _columns(sample_weight)
    table = TableRows(files, what, [*targets, *weights])
    check_source(X, table, what)
    if not len(table) or not table.shape[1]:
        raise InvalidInput(f"{what} has no {'rows' if not len(table) else 'features'}")
    if targets:
        y = table.read(targets, isinstance(y, str), True, "y")
    if weights:
        sample_weight = table.read(weights, isinstance(sample_weight, str), False, "sample_weight")
    return table, y, sample_weight


def _columns(value: Any) -> list[str]:
    """Return names of columns; none of what is an array, or the path of one."""
    if isinstance(value, str):
        return [] if value.endswith(".npy") else [value]
    if isinstance(value, (list, tuple)) and value and all(isinstance(each, str) for each in value):
        return list(value)
    return []


def table_files(value: Any, what: str) -> list[tuple[str, str]] | None:
    """Return the files that a path, or a dataset of pyarrow, stands for; None of anything else."""
    if _is_dataset(value):
        import pyarrow.fs

        name = getattr(getattr(value, "format", None), "default_extname", "")
        kind = KINDS.get("." + name)
        local = isinstance(getattr(value, "filesystem", None), pyarrow.fs.LocalFileSystem)
        if kind is None or not local or not all(os.path.isfile(path) for path in value.files):
            raise InvalidInput(
                f"{what} is a {type(value).__name__} of pyarrow"
                + (f" of {name} files" if name and kind is None else "")
                + " that has no Parquet or Arrow files on this machine; write it to some, or pass "
                "its .to_table()"
            )
        return [(os.path.abspath(path), kind) for path in value.files]
    if not isinstance(value, (str, bytes, os.PathLike)):
        return None
    # Workers may be in other folders.
    path = Path(os.path.abspath(os.fsdecode(value)))
    folder = os.path.isdir(path)  # Path.is_dir raises where a name is too long
    if path.suffix.lower() in KINDS and not folder:
        try:
            regular_file(path)  # before it is opened, for which a pipe would wait
        except InvalidInput:
            raise InvalidInput(
                f"{what} is {shown(value):.80}, which is no path; pass that of a Parquet or Arrow "
                "file, or of a folder of them"
            ) from None
        return [(str(path), KINDS[path.suffix.lower()])]
    if folder:
        found = [
            (str(each), KINDS[each.suffix.lower()])
            for each in sorted(path.rglob("*"))
            if each.suffix.lower() in KINDS
            and each.is_file()
            # What others keep beside the data, which pyarrow leaves out as well.
            and not any(part.startswith((".", "_")) for part in each.relative_to(path).parts)
        ]
        return found or None
    return None


def _is_dataset(value: Any) -> bool:
    return type(value).__module__ == "pyarrow._dataset"


def check_source(source: Any, table: TableFiles, what: str) -> None:
    """Raise `InvalidInput` where a dataset, or a folder, stands for more or less than its files."""
    known = dict(table.columns)
    if not _is_dataset(source):
        folder = Path(os.path.abspath(os.fsdecode(source)))
        for path, _ in table.files:
            parts = Path(path).relative_to(folder).parts[:-1]
            for part in parts:
                name, equals, _ = part.partition("=")
                if equals and name not in known:
                    raise InvalidInput(
                        f"{what} is a folder whose parts, as {part}, have a column {name!r} that "
                        "is not in the files; write it into them, or pass "
                        "pyarrow.dataset.dataset(folder) to train without it"
                    )
        return
    wanted = dict(zip(source.schema.names, source.schema.types, strict=True))
    for name in [*wanted, *known]:
        if wanted.get(name) != known.get(name):
            here, there = (
                f"{name!r} of type {types[name]}" if name in types else f"no column {name!r}"
                for types in (wanted, known)
            )
            raise InvalidInput(
                f"{what} is a dataset of pyarrow with {here}, where its files have {there}; write "
                "it to files as it is to be, or pass its .to_table()"
            )
    if list(wanted) != list(known):
        raise InvalidInput(
            f"{what} is a dataset of pyarrow whose columns are in another order than those of its "
            "files; write it to files as it is to be, or pass its .to_table()"
        )
    rows = source.count_rows()
    if rows != len(table):
        raise InvalidInput(
            f"{what} is a dataset of pyarrow with {rows} rows, where its files have {len(table)}; "
            "write what a filter leaves to files, or pass its .to_table()"
        )


def _stamp(path: str) -> tuple[int, int]:
    """Return what is another one when a file has been written."""
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


def _difference(types: dict[str, Any], first: dict[str, Any]) -> str:
    """Return in which column the types of a file differ from those of the first one."""
    for name in first:
        if name not in types:
            return f"it has no column {name!r}"
        if types[name] != first[name]:
            return f"column {name!r} is {types[name]}, and there {first[name]}"
    return f"there is no column {next(name for name in types if name not in first)!r} there"


def _inner(kind: Any) -> tuple[Any, int]:
    """Return of which type the numbers of a column are to be, and how many a row has."""
    import pyarrow.types as types

    return (kind.value_type, kind.list_size) if types.is_fixed_size_list(kind) else (kind, 1)


def _is_numeric(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _width(kind: Any, name: str, what: str) -> int:
    """Return how many numbers a column has in each row, or raise `InvalidInput`."""
    inner, width = _inner(kind)
    if not _is_numeric(inner):
        raise InvalidInput(
            f"{what} has column {name!r} of type {kind}, which is no number; leave it out of the "
            "file, encode it, or train on the table with fastnn.TabularClassifier"
        )
    return int(width)


def _check_outcome(kind: Any, name: str, role: str) -> None:
    """Raise `InvalidInput` where a column that an argument names has no numbers."""
    if _is_numeric(_inner(kind)[0]):
        return
    remedy = "make it one of numbers"
    if role != "sample_weight":
        remedy = (
            "number the classes from 0, such as with pandas.factorize, or make it one of numbers"
        )
    raise InvalidInput(
        f"{role} names column {name!r} of type {kind}, where numbers are due; {remedy}, before the "
        "file is written, or train on the table by `fastnn train` or fastnn.TabularClassifier, "
        "which take text"
    )


def _values(batch: Any, name: str, first: int | None, missing: bool = False) -> np.ndarray:
    """Return a column of a batch: (rows,) or, of lists, (rows, their length).

    With `missing`, a number that is missing is NaN.
    """
    column = batch.column(batch.schema.get_field_index(name))
    rows = len(column)
    listed = hasattr(column, "flatten") and hasattr(column.type, "list_size")
    values = column.flatten() if listed else column  # without those of lists that are missing
    nulls = column.null_count or values.null_count
    if nulls and not missing:
        raise InvalidInput(
            f"column {name!r} has missing values"
            + ("" if first is None else f" in rows {first}..{first + rows - 1}")
            + "; leave such rows out, or fill them, before the file is written"
        )
    found: np.ndarray = values.to_numpy(zero_copy_only=False)
    if nulls and found.dtype.kind != "f":
        found = found.astype(np.float64)  # None becomes NaN
    if not listed:
        return found
    found = found.reshape(-1, column.type.list_size)
    if len(found) < rows:
        whole = np.full((rows, column.type.list_size), np.nan, found.dtype)
        whole[np.asarray(column.is_valid())] = found
        found = whole
    return found


def _pyarrow(path: str) -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f"{shown(path)} is read by pyarrow, which is not installed: "
            "pip install 'fastnn[tables]'"
        ) from error
