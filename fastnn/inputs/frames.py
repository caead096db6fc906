"""Tables of pandas, polars and pyarrow, and of whatever resembles or exports them, as columns.

None of these libraries is imported: what is one of their objects has imported it. A column comes as
a NumPy array, in place where it lies as one, else as a copy of itself alone; missing values as NaN.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import EXHAUSTED, InvalidInput, shown
from fastnn.inputs.device_arrays import on_device

_SHOWN = 5  # names in a message
_NAMED = ("pandas", "polars", "pyarrow", "cudf")  # which scikit-learn knows, or refuses itself

# What to do about values that are no numbers, by the kind of their dtype.
_LABELS = "labels: numpy.unique(y, return_inverse=True)[1]"
REMEDIES = {
    "U": f"turn strings into numbers first, such as with .astype(float) ({_LABELS})",
    "c": "pass real and imaginary parts as columns of their own",
    "M": "turn dates into numbers first, such as days since a start",
    "m": "divide by a unit first, such as numpy.timedelta64(1, 's')",
    "V": "pass a plain array, such as one made with .astype('float32')",
    "O": "pass numbers",
}
REMEDIES["S"] = REMEDIES["T"] = REMEDIES["U"]
TIMES = (REMEDIES["M"], REMEDIES["m"])


class Column(NamedTuple):
    """One column of a frame, or a series.

    Attributes
    ----------
    label
        What the user knows it by; None: nothing.
    kind
        What its library calls the type of its values.
    dtype
        Of the array that `read` returns where no value is missing; None: it depends on the values.
    read
        Returns the values, an array (n,) of any dtype. Those of objects may be anything.
    remedy
        What to do where the values are no numbers and `read` is not to be called; else "".
    zoned
        Whether its type is one of dates with a time zone, which arrays have in UTC.
    exact
        As `read`, but of objects where float64 would round whole numbers or decimals that `read`
        converts, as it does where one is missing; None: `read` rounds nothing.
    """

    label: Any
    kind: str
    dtype: np.dtype[Any] | None
    read: Callable[[], np.ndarray]
    remedy: str = ""
    zoned: bool = False
    exact: Callable[[], np.ndarray] | None = None


@dataclass(frozen=True)
class Frame:
    """A table, or a series where `flat`.

    Attributes
    ----------
    columns
        In the user's order.
    rows
        How many values each has.
    flat
        Whether it is one series, of shape (rows,).
    whole
        Returns the table as an array (rows, columns) if it lies in memory as one; else None.
    fill
        How missing values are filled, as messages have it, with the name of the argument for {0}.
    """

    columns: tuple[Column, ...]
    rows: int
    flat: bool
    whole: Callable[[], np.ndarray | None]
    fill: str

    @property
    def shape(self) -> tuple[int, ...]:
        """As of a NumPy array."""
        return (self.rows,) if self.flat else (self.rows, len(self.columns))

    def chosen(self, places: Iterable[int]) -> Frame:
        """Return some columns alone, in this order."""
        order = list(places)

        def whole() -> np.ndarray | None:
            array = self.whole()
            return None if array is None else array[:, order]

        return replace(self, columns=tuple(self.columns[place] for place in order), whole=whole)

    @property
    def labels(self) -> tuple[Any, ...] | None:
        """What the user knows the columns by; None of a series without a name."""
        labels = tuple(column.label for column in self.columns)
        return None if self.flat and labels == (None,) else labels


def frame_of(value: Any, what: str) -> Frame | None:
    """Return `value` as a frame; None: it is none, but perhaps an array.

    Raises
    ------
    InvalidInput
        A query that has not been run yet, or a table that no library here can read.
    """
    if isinstance(value, (np.ndarray, list, tuple, Frame)):
        return value if isinstance(value, Frame) else None
    value = _unwrapped(value, what)
    if type(value).__module__.partition(".")[0] == "cudf":
        return None  # on a device, and it says itself how it is brought to the host
    if hasattr(type(value), "__dask_graph__") and _has(value, "dtypes"):
        raise InvalidInput(f"{what} is a query without rows yet; pass {what}.compute()")
    if _has(value, "iloc", "dtypes", "columns", "items"):
        return _of_pandas(value, what)
    if _is(value, "pandas", "Index", "api.extensions.ExtensionArray"):
        value = sys.modules["pandas"].Series(value)
    if _has(value, "iloc", "dtype", "name"):
        column = _pandas_column(lambda: value, value.dtype, value.name, what, what)
        return Frame((column,), len(value), True, _none, _PANDAS)
    if _is(value, "polars", "LazyFrame"):
        raise InvalidInput(
            f"{what} is a LazyFrame, a query without rows yet; pass {what}.collect()"
        )
    if _is(value, "polars", "DataFrame"):
        columns = tuple(
            _polars_column(each, each.name, what, f"{what}[{each.name!r}]") for each in value
        )
        return Frame(columns, value.height, False, lambda: _polars_whole(value), _POLARS)
    if _is(value, "polars", "Series"):
        column = _polars_column(value, value.name or None, what, what)
        return Frame((column,), len(value), True, _none, _POLARS)
    if _is(value, "pyarrow", "Table", "RecordBatch"):
        names = value.schema.names
        columns = tuple(
            _arrow_column(name, value.column(place), f"{what}.column({place})")
            for place, name in enumerate(names)
        )
        return Frame(columns, value.num_rows, False, _none, _ARROW)
    if _is(value, "pyarrow", "Array", "ChunkedArray"):
        return Frame((_arrow_column(None, value, what),), len(value), True, _none, _ARROW)
    return _exported(value, what)


def as_table(value: Any, what: str) -> Any:
    """Return what exports a table as one of a library whose column names scikit-learn knows.

    That is pandas, polars or a Table of pyarrow; what is one of these, or exports none, as it is.
    A stream, which may be one that is read only once, is read here.

    Raises
    ------
    InvalidInput
        A table that no library here can read.
    """
    if isinstance(value, (np.ndarray, list, tuple, Frame)) or on_device(value):
        return value
    value = _unwrapped(value, what)
    if _is(value, "pyarrow", "RecordBatch"):
        return sys.modules["pyarrow"].Table.from_batches([value])
    library = type(value).__module__.partition(".")[0]
    reader = _is(value, "pyarrow", "RecordBatchReader")
    if hasattr(value, "iloc") or (library in _NAMED and not reader):
        return value
    # What has columns is more than the array that scikit-learn would read.
    table = hasattr(value, "__arrow_c_stream__") and hasattr(value, "columns")
    if hasattr(value, "__array__") and not table:
        return value
    found = _read_export(value, what)
    if _is(found, "pyarrow", "RecordBatch"):
        return sys.modules["pyarrow"].Table.from_batches([found])
    return value if found is None else found


def feature_names(value: Any, what: str) -> tuple[str, ...] | None:
    """Return the names of the columns of a frame; None of what has none, or others than strings.

    >>> feature_names(np.ones((2, 2)), "X") is None
    True

    Raises
    ------
    InvalidInput
        Names of which some are strings and some are not.
    """
    frame = None if on_device(value) else frame_of(value, what)
    if frame is None or frame.flat or not frame.columns:
        return None
    names = [column.label for column in frame.columns]
    strings = sum(isinstance(name, str) for name in names)
    if strings == len(names):
        return tuple(map(str, names))
    if strings:
        other = next(name for name in names if not isinstance(name, str))
        raise InvalidInput(
            f"{what} has columns some of whose names are strings and some, such as {shown(other)}, "
            f"are not; make all of them strings, such as with {what}.columns = "
            f"{what}.columns.astype(str)"
        )
    return None


def check_names(
    given: tuple[str, ...] | None,
    known: tuple[str, ...] | None,
    what: str,
    listed_in: str = "trainer.feature_names",
) -> None:
    """Raise `InvalidInput` where a frame has not the columns that `fit` has seen, in their order.

    What has no names is taken by position. `listed_in` is where the user finds those of `fit`.
    """
    if given is None or known is None or given == known:
        return
    parts = []
    if unseen := [name for name in given if name not in set(known)]:
        parts.append(f"names that fit has not seen: {_listed(unseen)}")
    if missing := [name for name in known if name not in set(given)]:
        parts.append(f"names that fit has seen and that are missing now: {_listed(missing)}")
    if not parts:
        pairs = enumerate(zip(given, known, strict=False))
        place, (name, expected) = next(
            (each for each in pairs if each[1][0] != each[1][1]),
            (min(len(given), len(known)), ("", "")),
        )
        parts.append(
            f"the same names in another order, from column {place} on"
            + (f": {name!r}, not {expected!r}" if name else "")
        )
    raise InvalidInput(
        f"the columns of {what} are not those that fit has seen, in their order; "
        f"{'; '.join(parts)}. Pass those that {listed_in} lists, in that order, or an "
        "array, which is taken by position"
    )


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(f"{name!r:.60}" for name in every[:_SHOWN]) + more


def _has(value: Any, *names: str) -> bool:
    """Return whether the type of a value has all of these attributes."""
    kind = type(value)
    return all(hasattr(kind, name) or hasattr(value, name) for name in names)


def _is(value: Any, library: str, *kinds: str) -> bool:
    """Return whether a value is one of some classes of a library, if that has been imported."""
    for path in kinds:
        found: Any = sys.modules.get(library)
        for name in path.split("."):
            found = getattr(found, name, None)
        if isinstance(found, type) and isinstance(value, found):
            return True
    return False


def _none() -> None:
    return None


# pandas, and what resembles it.

_PANDAS = "{0}.fillna({0}.mean())"
_CATEGORIES = (
    "categories are no numbers: pass their codes with {0}.cat.codes, or a column for each with "
    "pandas.get_dummies({1})"
)


def _of_pandas(value: Any, what: str) -> Frame:
    labels, dtypes = list(value.columns), list(value.dtypes)
    every = cache(lambda: [series for _, series in value.items()])  # quicker than one by one
    columns = tuple(
        _pandas_column(partial(_at, every, place), dtype, label, what, f"{what}[{label!r}]")
        for place, (label, dtype) in enumerate(zip(labels, dtypes, strict=True))
    )
    return Frame(columns, len(value), False, lambda: _pandas_whole(value, columns), _PANDAS)


def _at(every: Callable[[], list[Any]], place: int) -> Any:
    """Return a column of a frame by its place, for names may be there twice."""
    return every()[place]


def _pandas_column(
    series: Callable[[], Any], dtype: Any, label: Any, what: str, place: str
) -> Column:
    kind, name = getattr(dtype, "kind", "O"), str(dtype)

    def read() -> np.ndarray:
        return series().to_numpy()

    if isinstance(dtype, np.dtype) and kind not in "mM":
        return Column(label, name, dtype if kind in "biuf" else None, read)
    if name == "category":
        remedy = _CATEGORIES.format(place, what)
        return Column(label, name, None, read, remedy, exact=lambda: _exact_categories(series()))
    if hasattr(dtype, "subtype") and hasattr(dtype, "fill_value"):  # sparse
        known = dtype.subtype if dtype.subtype.kind in "biuf" else None
        return Column(label, name, known, lambda: np.asarray(series().array.to_dense()))
    if getattr(dtype, "type", None) is str or kind in "mM":
        zone = getattr(getattr(dtype, "pyarrow_dtype", dtype), "tz", None)
        remedy = REMEDIES[kind if kind in "mM" else "U"]
        return Column(label, name, None, read, remedy, zone is not None)
    numbers = getattr(dtype, "numpy_dtype", None)
    if kind in "biuf" and isinstance(numbers, np.dtype):
        return Column(
            label, name, numbers, lambda: _nullable(series(), numbers),
            exact=lambda: _exact_nullable(series(), numbers),
        )  # fmt: skip
    return Column(label, name, None, lambda: series().to_numpy(dtype=object))


def _nullable(series: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """Return a column of a dtype that knows of missing values; NaN where there are any."""
    if series.hasnans:
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    return series.to_numpy(dtype=dtype)


def _exact_nullable(series: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """Return the same, as objects where float64 would round whole numbers beside missing ones."""
    found = _nullable(series, dtype)
    return (
        series.to_numpy(dtype=object)
        if dtype.kind in "iu" and rounds_whole_numbers(found)
        else found
    )


def _exact_categories(series: Any) -> np.ndarray:
    """Return a column of categories, as objects where float64 would round whole numbers."""
    found = series.to_numpy()
    whole = getattr(series.cat.categories.dtype, "kind", "O") in "iu"
    return series.astype(object).to_numpy() if whole and rounds_whole_numbers(found) else found


def rounds_whole_numbers(numbers: np.ndarray) -> bool:
    """Return whether some of them are so large that float64 has not every whole number."""
    if numbers.dtype != np.float64:
        return False
    with np.errstate(invalid="ignore"):
        return bool((np.abs(numbers) >= 2.0**53).any())


def _pandas_whole(value: Any, columns: tuple[Column, ...]) -> np.ndarray | None:
    kinds = {column.kind for column in columns}
    if len(kinds) != 1 or columns[0].dtype is None or not len(value):
        return None
    if columns[0].kind != str(columns[0].dtype):  # one that knows of missing values
        return None
    first, last = (_owner(value.iloc[:, place].to_numpy()) for place in (0, -1))
    return value.to_numpy() if first is last else None


def _owner(array: np.ndarray) -> Any:
    """Return the object that an array is a part of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


# polars

_POLARS = "{0}.fill_null(0).fill_nan(0)"


def _polars_column(series: Any, label: Any, what: str, place: str) -> Column:
    polars, kind = sys.modules["polars"], series.dtype
    name = str(kind)
    if kind in (polars.Categorical, polars.Enum):
        remedy = (
            f"categories are no numbers: pass their codes with {place}.to_physical(), or a column "
            f"for each with {what}.to_dummies()"
        )
        return Column(label, name, None, series.to_numpy, remedy)
    if kind == polars.Object:
        return Column(label, name, None, lambda: _objects(series.to_list()))
    if not (kind.is_numeric() or kind in (polars.Boolean, polars.Null)):
        remedy = REMEDIES["M" if kind.is_temporal() else "U" if kind == polars.String else "O"]
        zoned = getattr(kind, "time_zone", None) is not None
        return Column(label, name, None, series.to_numpy, remedy, zoned)
    real = polars.Float64

    def read() -> np.ndarray:
        if series.null_count() or name not in _NAMES:
            return series.cast(real).fill_null(float("nan")).to_numpy()
        return series.to_numpy()

    def exact() -> np.ndarray:
        found = read()
        whole = kind.is_integer() or kind.is_decimal()
        return _objects(series.to_list()) if whole and rounds_whole_numbers(found) else found

    return Column(label, name, _NAMES.get(name), read, exact=exact)


def _polars_whole(value: Any) -> np.ndarray | None:
    kinds = set(value.dtypes)
    if len(kinds) != 1 or str(next(iter(kinds))) not in _NAMES or not value.height:
        return None
    try:
        return value.to_numpy(allow_copy=False)
    except RuntimeError:  # its columns lie apart, or values are missing
        return None


# pyarrow

_ARROW = "pyarrow.compute.fill_null"


def _arrow_column(label: Any, column: Any, place: str) -> Column:
    arrow, kind = sys.modules["pyarrow"], column.type
    types, name = arrow.types, str(kind)
    if types.is_dictionary(kind):
        remedy = f"categories are no numbers: pass their codes, the indices of {place}'s chunks"
        return Column(
            label, name, None, lambda: _arrow_values(column), remedy,
            exact=lambda: _exact_arrow_values(without_dictionaries(column)),
        )  # fmt: skip
    exact = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    if not (exact or types.is_decimal(kind) or types.is_null(kind)):
        text = name in ("string", "large_string", "string_view")
        remedy = REMEDIES["M" if types.is_temporal(kind) else "U" if text else "O"]
        zoned = getattr(kind, "tz", None) is not None
        return Column(label, name, None, lambda: _arrow_values(column), remedy, zoned)

    def read() -> np.ndarray:
        plain = exact and not column.null_count
        return _arrow_values(column if plain else column.cast(arrow.float64(), safe=False))

    def unrounded() -> np.ndarray:
        return _exact_arrow_values(column, read)

    dtype = np.dtype(kind.to_pandas_dtype()) if exact else None
    return Column(label, name, dtype, read, exact=unrounded)


def _exact_arrow_values(column: Any, read: Callable[[], np.ndarray] | None = None) -> np.ndarray:
    """Return the values of a column, as objects where float64 would round those it is read as."""
    types = sys.modules["pyarrow"].types
    found = _arrow_values(column) if read is None else read()
    whole = types.is_integer(column.type) or types.is_decimal(column.type)
    return _objects(column.to_pylist()) if whole and rounds_whole_numbers(found) else found


def without_dictionaries(value: Any) -> Any:
    """Return a table or a column of pyarrow with values where it has codes of them.

    Anything else as it is. NumPy would take what pyarrow makes of codes, whose -1 for a missing
    value is the last of the dictionary.
    """
    if _is(value, "pyarrow", "Table"):
        for place, field in enumerate(value.schema):
            if _has_codes(field.type):
                column = without_dictionaries(value.column(place))
                value = value.set_column(place, field.name, column)
        return value
    if not _is(value, "pyarrow", "Array", "ChunkedArray") or not _has_codes(value.type):
        return value
    if not _is(value, "pyarrow", "ChunkedArray"):
        words = value.dictionary
        if str(words.type) == "string_view":  # polars' text, of which pyarrow takes no rows
            words = words.cast(sys.modules["pyarrow"].large_string())
        try:
            return without_dictionaries(words.take(value.indices))
        except NotImplementedError:
            return sys.modules["pyarrow"].array(value.to_pylist(), value.type.value_type)
    chunks = [without_dictionaries(chunk) for chunk in value.chunks]
    kind = value.type
    while _has_codes(kind):
        kind = kind.value_type
    if str(kind) == "string_view":
        kind = sys.modules["pyarrow"].large_string()
    return sys.modules["pyarrow"].chunked_array(chunks, kind)


def arrow_rows(value: Any, rows: np.ndarray) -> Any:
    """Return some rows of a table of pyarrow, by their numbers; None of anything else.

    Text as polars has it, and what else pyarrow takes no rows of, becomes the type that has the
    same values and of which it does.
    """
    if not _is(value, "pyarrow", "Table"):
        return None
    arrow: Any = sys.modules["pyarrow"]
    indices, columns = arrow.array(rows), []
    for column in value.columns:
        if str(column.type) == "string_view":
            column = column.cast(arrow.large_string())
        try:
            columns.append(column.take(indices))
        except NotImplementedError:
            every, kind = column.to_pylist(), column.type
            while str(kind).startswith(("dictionary", "run_end_encoded")):
                kind = kind.value_type
            columns.append(arrow.array([every[row] for row in rows.tolist()], kind))
    return arrow.Table.from_arrays(columns, names=value.column_names)


def _has_codes(kind: Any) -> bool:
    return bool(sys.modules["pyarrow"].types.is_dictionary(kind))


def _arrow_values(column: Any) -> np.ndarray:
    column, arrow = without_dictionaries(column), sys.modules["pyarrow"]
    try:
        if isinstance(column, arrow.ChunkedArray):
            return column.to_numpy()
        return column.to_numpy(zero_copy_only=False)
    except (arrow.ArrowInvalid, NotImplementedError):  # such as unions, or times in nanoseconds
        return _objects(column.to_pylist())


# Anything that exports a table, read by whichever library there is.


def _exported(value: Any, what: str) -> Frame | None:
    found = None if hasattr(value, "__array__") else _read_export(value, what)
    return None if found is None else frame_of(found, what)


def _read_export(value: Any, what: str) -> Any:
    """Return what exports a table as an object of one of these libraries; None: it does not."""
    arrow: Any = sys.modules.get("pyarrow")
    polars: Any = sys.modules.get("polars")
    found: Any = None
    try:
        if hasattr(value, "__arrow_c_stream__"):
            found = _from_stream(value, arrow, polars)
        elif hasattr(value, "__arrow_c_array__"):
            found = None if arrow is None else arrow.array(value)
            if found is not None and arrow.types.is_struct(found.type):
                found = arrow.RecordBatch.from_struct_array(found)
        elif hasattr(value, "__dataframe__"):
            found = None if arrow is None else _from_interchange(value)
        else:
            return None
    except EXHAUSTED:
        raise
    except Exception as error:  # each of these libraries has errors of its own
        raise InvalidInput(
            f"{what} ({type(value).__name__}) cannot be read as a table: {error}; pass a NumPy "
            "array"
        ) from error
    if found is None:
        reader = "pyarrow.table"
        if not hasattr(value, "__arrow_c_stream__") and hasattr(value, "__dataframe__"):
            reader = "pyarrow.interchange.from_dataframe"
        raise InvalidInput(
            f"{what} ({type(value).__name__}) is a table for other libraries to read, but none "
            f"that can has been imported; pass {reader}({what}), or a NumPy array"
        )
    return found


def _unwrapped(value: Any, what: str) -> Any:
    """Return what is inside a frame or series of narwhals; anything else as it is.

    Raises
    ------
    InvalidInput
        A query of narwhals that has not been run yet.
    """
    if _is(value, "narwhals", "LazyFrame"):
        raise InvalidInput(
            f"{what} is a LazyFrame, a query without rows yet; pass {what}.collect()"
        )
    return value.to_native() if _is(value, "narwhals", "DataFrame", "Series") else value


def _from_stream(value: Any, arrow: Any, polars: Any) -> Any:
    """Return what exports a stream as an object of one of these libraries, or None."""
    if arrow is None:
        return None if polars is None else polars.DataFrame(value)
    if not isinstance(value, arrow.RecordBatchReader):  # which can be read only once
        schema = arrow.field(value).type if hasattr(value, "__arrow_c_schema__") else None
        if schema is not None and not arrow.types.is_struct(schema):
            return arrow.chunked_array(value)
    return arrow.table(value)


def _from_interchange(value: Any) -> Any:
    """Return what has `__dataframe__` alone as a table of pyarrow; polars reads it no longer."""
    from pyarrow.interchange import from_dataframe

    return from_dataframe(value)


def _objects(values: list[Any]) -> np.ndarray:
    """Return a one-dimensional array of objects, whatever they are."""
    found = np.empty(len(values), object)
    found[:] = values
    return found


# What polars calls the types that NumPy has too.
_NAMES = {
    name: np.dtype(name.lower())
    for name in (
        "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32",
        "Float64",
    )
} | {"Boolean": np.dtype(bool)}  # fmt: skip
