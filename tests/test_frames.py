"""Frames of pandas, polars and pyarrow: what is read of them, and how a column is named."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from decimal import Decimal

import numpy as np
import pandas
import pytest
from frame_cases import (
    COLUMNS,
    DAY,
    LABELS,
    NAMES,
    REAL,
    ROWS,
    TABLE,
    TABLES,
    Exported,
    Interchanged,
    arrow_table,
    bits,
    pandas_frame,
    polars_frame,
    trainer_of,
)

from fastnn import Dense, InvalidInput, Network, Scaling, Trainer, sweep
from fastnn.inputs.data import check_features
from fastnn.inputs.frames import feature_names

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


@pytest.mark.parametrize("target", ["numpy", "cpu"])
@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_what_its_array_is(table, target):
    frame = TABLES[table]()
    found, expected = trainer_of(target=target), trainer_of(target=target)
    expected.fit(TABLE.astype(np.float32), LABELS, 2)
    found.fit(frame, LABELS, 2, validation_data=(frame, LABELS))
    assert bits(found) == bits(expected)
    assert np.array_equal(found.predict(frame), expected.predict(TABLE.astype(np.float32)))
    assert found.evaluate(frame, LABELS) == expected.evaluate(TABLE.astype(np.float32), LABELS)


@pytest.mark.parametrize("kind", ["float32", "float64", "uint8", "bool", "int64", "float16"])
def test_columns_of_one_dtype_are_what_their_array_is(kind):
    X = np.random.default_rng(0).integers(0, 2, (ROWS, 3)).astype(kind)
    expected = trainer_of()
    expected.fit(X, LABELS, 2)
    for frame in (pandas.DataFrame(X), pandas.DataFrame({str(i): X[:, i] for i in range(3)})):
        found = trainer_of()
        found.fit(frame, LABELS, 2)
        assert bits(found) == bits(expected)


def test_a_frame_that_is_one_array_is_not_copied():
    X = np.random.default_rng(0).normal(size=(1000, 20))
    frame = pandas.DataFrame(X)
    assert np.shares_memory(check_features(frame, 20, FLOAT32), frame.iloc[:, 0].to_numpy())
    bytes_ = pandas.DataFrame((X > 0).astype(np.uint8))
    assert np.shares_memory(check_features(bytes_, 20, FLOAT32), bytes_.iloc[:, 3].to_numpy())


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("kind", ["float64", "uint8", "mixed"])
def test_other_frames_are_copied_once(library, kind):
    random = np.random.default_rng(0)
    columns = {f"c{i}": random.integers(0, 2, 20_000).astype("uint8") for i in range(70)}
    if kind != "uint8":
        columns = {name: values.astype("float64") for name, values in columns.items()}
    if kind == "mixed":
        columns["c7"] = columns["c7"].astype(bool)
    if library == "pandas":
        frame = pandas.concat([pandas.Series(v, name=name) for name, v in columns.items()], axis=1)
    else:
        module = pytest.importorskip(library)
        frame = module.DataFrame(columns) if library == "polars" else module.table(columns)
    check_features(frame, 70, FLOAT32)
    tracemalloc.start()
    try:
        made = check_features(frame, 70, FLOAT32)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert made.dtype == ("uint8" if kind == "uint8" else "float32") or kind == "float64"
    assert np.array_equal(made, np.column_stack(list(columns.values())))
    assert peak < 1.2 * made.nbytes + 2e6


def test_a_stream_that_can_be_read_once_is_read_once():
    table = arrow_table()
    found = Trainer(Network(None, [Dense(4, "tanh"), Dense(3)]), batch_size=8, target="numpy")
    expected = trainer_of()
    found.fit(table.to_reader(), LABELS, 2, validation_data=(table.to_reader(), LABELS))
    expected.fit(table, LABELS, 2)
    assert bits(found) == bits(expected) and found.feature_names == NAMES
    assert np.array_equal(found.predict(table.to_reader()), expected.predict(table))
    assert len(sweep(found, table.to_reader(), LABELS, 1, grid={"batch_size": [4, 8]})) == 2


def test_a_wide_frame_and_a_long_one_are_copied_right():
    for rows, width in ((3, 200), (2500, 70)):
        columns = {i: np.arange(rows) + 0.5 * i for i in range(width)}
        columns[3] = columns[3].astype(int)
        frame = pandas.DataFrame(columns)
        expected = np.column_stack(list(columns.values()))
        assert np.array_equal(check_features(frame, width, FLOAT64), expected)


# What is wrong with a column, and what is said of it.
BAD = {
    "NaN": (
        lambda: pandas_frame(rooms=np.where(np.arange(ROWS) == 7, np.nan, 1.0)),
        r"X value nan at row 7, column 'rooms' is not a finite number; .*X\.fillna",
    ),
    "NaN in one array": (
        lambda: pandas.DataFrame(np.full((ROWS, 3), np.nan), columns=["a", "b", "c"]),
        "X value nan at row 0, column 'a' is not",
    ),
    "NaN in a column without a name that is a string": (
        lambda: pandas.DataFrame({4: COLUMNS["age"], 5: np.nan, 6: 1.0}),
        "X value nan at row 0, column 5 is not",
    ),
    "NA": (
        lambda: pandas_frame(rooms=pandas.array([1] * 9 + [None] * (ROWS - 9), dtype="Int64")),
        "X value nan at row 9, column 'rooms' is not",
    ),
    "NA of booleans": (
        lambda: pandas_frame(member=pandas.array([True, None] * (ROWS // 2), dtype="boolean")),
        "X value nan at row 1, column 'member' is not",
    ),
    "NA of floats": (
        lambda: pandas_frame(age=pandas.array([1.5, None] * (ROWS // 2), dtype="Float32")),
        "X value nan at row 1, column 'age' is not",
    ),
    "infinity": (
        lambda: pandas_frame(age=np.where(np.arange(ROWS) == 2, -np.inf, 0.0)),
        "X value -inf at row 2, column 'age' is not",
    ),
    "too large": (
        lambda: pandas_frame(age=np.where(np.arange(ROWS) == 2, 1e39, 0.0)),
        "X value 1e[+]39 at row 2, column 'age' is too large for float32",
    ),
    "a large Decimal": (
        lambda: pandas_frame(age=[Decimal("1e50")] * ROWS),
        "X value 1e[+]50 at row 0, column 'age' is too large for float32",
    ),
    "a large whole number": (
        lambda: pandas_frame(age=pandas.Series([10**400] * ROWS, dtype=object)),
        "X column 'age' has dtype object, .* value 1000.* at row 0 is too large for float64",
    ),
    "None": (
        lambda: pandas_frame(age=pandas.Series([1] * 5 + [None] * (ROWS - 5), dtype=object)),
        "X column 'age' has dtype object, .* value None at row 5 is no number; fill or drop",
    ),
    "pandas.NA among objects": (
        lambda: pandas_frame(age=pandas.Series([1, pandas.NA] * (ROWS // 2), dtype=object)),
        "X column 'age' has dtype object, .* value <NA> at row 1 is no number; fill or drop",
    ),
    "strings": (
        lambda: pandas_frame(rooms=["two"] * ROWS),
        "X column 'rooms' has dtype (str|object).*turn strings into numbers",
    ),
    "numbers as strings": (
        lambda: pandas_frame(rooms=pandas.Series(["2"] * ROWS, dtype=object)),
        "X column 'rooms' has dtype object, .* value '2' at row 0 is no number; turn strings",
    ),
    "nullable strings": (
        lambda: pandas_frame(rooms=pandas.array(["two"] * ROWS, dtype="string")),
        "X column 'rooms' has dtype string.*turn strings into numbers",
    ),
    "categories": (
        lambda: pandas_frame(rooms=pandas.Categorical(COLUMNS["rooms"])),
        r"X column 'rooms' has dtype category.*X\['rooms'\]\.cat\.codes.*get_dummies\(X\)",
    ),
    "dates": (
        lambda: pandas_frame(rooms=pandas.Timestamp(DAY)),
        "X column 'rooms' has dtype datetime64.*turn dates into numbers",
    ),
    "dates of a zone": (
        lambda: pandas_frame(rooms=pandas.Timestamp(DAY, tz="UTC")),
        "X column 'rooms' has dtype datetime64.*UTC.*turn dates into numbers",
    ),
    "durations": (
        lambda: pandas_frame(rooms=pandas.Timedelta("1h")),
        "X column 'rooms' has dtype timedelta64.*divide by a unit",
    ),
    "dates among objects": (
        lambda: pandas_frame(rooms=pandas.Series([DAY] * ROWS, dtype=object)),
        "X column 'rooms' has dtype object, .* value datetime.date.* at row 0 is no number; turn d",
    ),
    "periods": (
        lambda: pandas_frame(rooms=pandas.Period("2020")),
        "X column 'rooms' has dtype period.*Period.* at row 0 is no number",
    ),
    "complex numbers": (
        lambda: pandas_frame(rooms=1j),
        "X column 'rooms' has dtype complex128.*real and imaginary",
    ),
    "lists": (
        lambda: pandas_frame(rooms=pandas.Series([[1]] * ROWS)),
        r"X column 'rooms' has dtype object, .* value \[1\] at row 0 is no number",
    ),
    "names of two kinds": (
        lambda: pandas_frame().rename(columns={"rooms": 3}),
        r"X has columns some of whose names are strings and some, such as 3, are not; .*astype",
    ),
    "one of two columns of one name": (
        lambda: pandas.concat([pandas_frame(), pandas_frame(age=np.nan)], axis=1),
        "X value nan at row 0, column 'age' is not",
    ),
    "no rows": (lambda: pandas_frame()[:0], r"X has no rows \(shape \(0, 3\)\)"),
    "no columns": (lambda: pandas_frame()[[]], "X has 0 columns but the network has 3 inputs"),
    "too many columns": (
        lambda: pandas_frame(more=1.0),
        "X has 4 columns but the network has 3 inputs",
    ),
    "a series": (
        lambda: pandas_frame().age,
        r"X has shape \(30,\) but must be two-dimensional.* a frame of one column",
    ),
    "polars, null": (
        lambda: polars_frame(rooms=[1, 2, None] * (ROWS // 3)),
        "X value nan at row 2, column 'rooms' is not a finite number; .*fill_null",
    ),
    "polars, NaN": (
        lambda: polars_frame(age=np.where(np.arange(ROWS) == 4, np.nan, 0.0)),
        "X value nan at row 4, column 'age' is not",
    ),
    "polars, null of booleans": (
        lambda: polars_frame(member=[True, None] * (ROWS // 2)),
        "X value nan at row 1, column 'member' is not",
    ),
    "polars, all null": (
        lambda: polars_frame(rooms=[None] * ROWS),
        "X value nan at row 0, column 'rooms' is not",
    ),
    "polars, strings": (
        lambda: polars_frame(rooms=["two"] * ROWS),
        "X column 'rooms' has dtype String.*turn strings into numbers",
    ),
    "polars, dates": (
        lambda: polars_frame(rooms=[DAY] * ROWS),
        "X column 'rooms' has dtype Date.*turn dates into numbers",
    ),
    "polars, categories": (
        lambda: polars_frame(rooms=["two"] * ROWS).cast(
            {"rooms": sys.modules["polars"].Categorical}
        ),
        r"X column 'rooms' has dtype Categorical.*X\['rooms'\]\.to_physical\(\)",
    ),
    "polars, an enumeration": (
        lambda: polars_frame(rooms=["two"] * ROWS).cast(
            {"rooms": sys.modules["polars"].Enum(["two"])}
        ),
        r"X column 'rooms' has dtype Enum.*to_physical\(\)",
    ),
    "polars, lists": (
        lambda: polars_frame(rooms=[[1]] * ROWS),
        "X column 'rooms' has dtype List.*pass numbers",
    ),
    "polars, objects": (
        lambda: polars_frame(
            rooms=sys.modules["polars"].Series([{1}] * ROWS, dtype=sys.modules["polars"].Object)
            if polars_frame() is not None
            else None
        ),
        r"X column 'rooms' has dtype Object, .* value \{1\} at row 0 is no number",
    ),
    "polars, a query": (lambda: polars_frame().lazy(), r"X is a LazyFrame.*X\.collect\(\)"),
    "polars, a series": (lambda: polars_frame()["age"], r"X has shape \(30,\) but must be two-dim"),
    "pyarrow, null": (
        lambda: arrow_table(rooms=[1, 2, None] * (ROWS // 3)),
        "X value nan at row 2, column 'rooms' is not",
    ),
    "pyarrow, null of booleans": (
        lambda: arrow_table(member=[True, None] * (ROWS // 2)),
        "X value nan at row 1, column 'member' is not",
    ),
    "pyarrow, all null": (
        lambda: arrow_table(member=[None] * ROWS),
        "X value nan at row 0, column 'member' is not",
    ),
    "pyarrow, strings": (
        lambda: arrow_table(rooms=["two"] * ROWS),
        "X column 'rooms' has dtype string.*turn strings into numbers",
    ),
    "pyarrow, dates": (
        lambda: arrow_table(rooms=[DAY] * ROWS),
        "X column 'rooms' has dtype date32.*turn dates into numbers",
    ),
    "pyarrow, categories": (
        lambda: arrow_table().set_column(
            2, "rooms", arrow_table(rooms=["two"] * ROWS)["rooms"].dictionary_encode()
        ),
        "X column 'rooms' has dtype dictionary.*categories are no numbers",
    ),
    "an Arrow stream with null": (
        lambda: Exported(arrow_table(rooms=[None] * ROWS)),
        "X value nan at row 0, column 'rooms' is not",
    ),
}


@pytest.mark.parametrize(("make", "said"), BAD.values(), ids=BAD)
def test_a_bad_column_is_named(make, said):
    frame, trainer = make(), trainer_of()
    before = bits(trainer)
    with pytest.raises(InvalidInput, match=f"^{said}"):
        trainer.fit(frame, LABELS, 1)
    with pytest.raises(InvalidInput, match=f"^in validation_data, {said}"):
        trainer.fit(TABLE, LABELS, 1, validation_data=(frame, LABELS))
    for call in (trainer.predict, trainer.forward, trainer.predict_proba):
        with pytest.raises(InvalidInput, match=f"^{said}"):
            call(frame)
    with pytest.raises(InvalidInput, match=f"^{said}"):
        trainer.evaluate(frame, LABELS)
    with pytest.raises(InvalidInput, match=said):
        sweep(trainer, frame, LABELS, 1, grid={"l2": [0.0]})
    assert bits(trainer) == before and trainer.feature_names is None and not trainer.epoch


SERIES = {
    "pandas": pandas.Series,
    "pandas, another index": lambda y: pandas.Series(y, index=range(ROWS, 0, -1)),
    "pandas, nullable": lambda y: pandas.Series(y).convert_dtypes(),
    "pandas, objects": lambda y: pandas.Series(y, dtype=object),
    "pandas, an index": pandas.Index,
    "pandas, an array": pandas.array,
    "pandas, a frame": lambda y: pandas.DataFrame({"y": y}),
    "polars": lambda y: pytest.importorskip("polars").Series("y", y),
    "polars, a frame": lambda y: pytest.importorskip("polars").DataFrame({"y": y}),
    "pyarrow": lambda y: pytest.importorskip("pyarrow").array(y),
    "pyarrow, in chunks": lambda y: pytest.importorskip("pyarrow").chunked_array([y[:5], y[5:]]),
    "an Arrow stream": lambda y: Exported(pytest.importorskip("pyarrow").chunked_array([y])),
    "an Arrow stream of one column": lambda y: Exported(
        pytest.importorskip("pyarrow").table({"y": y})
    ),
    "a reader": lambda y: pytest.importorskip("pyarrow").table({"y": y}).to_reader(),
    "pyarrow, a table": lambda y: pytest.importorskip("pyarrow").table({"y": y}),
    "a list": lambda y: y.tolist(),
    "a tuple": lambda y: tuple(y.tolist()),
    "objects": lambda y: y.astype(object),
}


@pytest.mark.parametrize("make", SERIES.values(), ids=SERIES)
def test_labels_numbers_and_weights_may_be_series(make):
    weights = np.linspace(0.5, 2.0, ROWS)
    cases = ((3, "softmax_cross_entropy", LABELS), (1, "mse", REAL), (1, "hinge", LABELS % 2))
    for outputs, loss, y in cases:
        found, expected = (trainer_of(outputs, loss=loss) for _ in range(2))
        expected.fit(TABLE, y, 2, sample_weight=weights)
        validation = TABLE, make(y), make(weights)
        found.fit(TABLE, make(y), 2, validation, sample_weight=make(weights))
        assert bits(found) == bits(expected)


def test_a_frame_of_several_columns_is_a_target_of_several_outputs():
    y = np.column_stack([REAL, REAL[::-1], REAL**2])
    expected = trainer_of(3, loss="mse")
    expected.fit(TABLE, y, 2)
    frames = [pandas.DataFrame(y), pandas.DataFrame({"a": y[:, 0], "b": y[:, 1], "c": y[:, 2]})]
    for frame in frames:
        found = trainer_of(3, loss="mse")
        found.fit(TABLE, frame, 2)
        assert bits(found) == bits(expected)


def test_a_column_of_targets_is_named():
    def said(y, loss, outputs, **settings):
        with pytest.raises(InvalidInput) as found:
            trainer_of(outputs, loss=loss, **settings).fit(TABLE, y, 1)
        return str(found.value)

    prices = pandas.Series(REAL, name="price")
    gap = prices.where(prices.index != 3)
    assert said(gap, "mse", 1).startswith("y value nan at row 3, column 'price' is not")
    assert "row 3 is not" in said(gap.rename(None), "mse", 1)
    several = pandas.DataFrame({"low": REAL, "high": gap})
    assert said(several, "mse", 2).startswith("y value nan at row 3, column 'high' is not")
    assert said(several, "hinge", 2).startswith("y value nan at row 3, column 'high'")
    assert "column 'low', but hinge takes 0 and 1" in said(several[["low"]], "hinge", 1)
    words = pandas.Series(["a"] * ROWS, name="animal")
    assert said(words, "softmax_cross_entropy", 3).startswith("y column 'animal' has dtype ")
    categories = words.astype("category")
    assert "pass their codes with y.cat.codes" in said(categories, "softmax_cross_entropy", 3)
    halves = pandas.Series(LABELS + 0.5, name="animal")
    assert "column 'animal' is fractional" in said(halves, "softmax_cross_entropy", 3)
    counts = pandas.Series(-np.ones(ROWS), name="visits")
    assert "value -1.0 at row 0, column 'visits' is negative" in said(counts, "poisson", 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda y: pandas.Series(y),
        lambda y: pandas.Series(y).convert_dtypes(),
        lambda y: pandas.Series([None if np.isnan(each) else each for each in y], dtype=object),
        lambda y: [None if np.isnan(each) else each for each in y],
        lambda y: pytest.importorskip("polars").Series(y, nan_to_null=True),
        lambda y: pytest.importorskip("pyarrow").array(y, from_pandas=True),
    ],
)
def test_targets_may_be_missing_in_every_way(make):
    y = np.where(np.arange(ROWS) % 4 == 1, np.nan, REAL)
    found, expected = (trainer_of(1, loss="mse", ignore_nan=True) for _ in range(2))
    expected.fit(TABLE, y, 2)
    found.fit(TABLE, make(y), 2)
    assert bits(found) == bits(expected)


def test_a_negative_weight_and_a_missing_one_are_named():
    weights = pandas.Series(np.where(np.arange(ROWS) == 3, -1.0, 1.0), name="count")
    with pytest.raises(InvalidInput, match="sample_weight value -1.0 at row 3, column 'count' is"):
        trainer_of().fit(TABLE, LABELS, 1, sample_weight=weights)
    with pytest.raises(InvalidInput, match="sample_weight value nan at row 3, column 'count' is"):
        trainer_of().fit(TABLE, LABELS, 1, sample_weight=weights.where(weights > 0))


def test_rows_go_together_by_position():
    shuffled = pandas.Series(LABELS).sample(frac=1, random_state=0)
    found, expected = trainer_of(), trainer_of()
    found.fit(pandas_frame(), shuffled, 2)
    expected.fit(TABLE.astype(np.float32), shuffled.to_numpy(), 2)
    assert bits(found) == bits(expected)


@pytest.mark.parametrize("table", TABLES)
def test_a_scaling_takes_tables_too(table):
    expected = Scaling.fit(TABLE)
    assert Scaling.fit(TABLES[table]()) == expected
    assert np.array_equal(expected.apply(TABLES[table]()), expected.apply(TABLE))


def test_a_scaling_names_columns():
    with pytest.raises(InvalidInput, match="X value nan at row 0, column 'rooms' is .*X.fillna"):
        Scaling.fit(pandas_frame(rooms=np.nan))


def test_names_are_strings_or_none():
    assert feature_names(pandas_frame(), "X") == ("age", "member", "rooms")
    assert feature_names(pandas.DataFrame(TABLE), "X") is None
    assert feature_names(pandas.DataFrame({("a", "b"): [1]}), "X") is None
    assert feature_names(pandas.Series([1], name="a"), "X") is None
    assert feature_names([[1, 2]], "X") is None


LATER = """
import sys
import numpy as np
import fastnn
trainer = fastnn.Trainer(fastnn.Network(2, [fastnn.Dense(2)]), target="numpy")
trainer.fit(np.ones((4, 2)), [0, 1, 0, 1], 1)
trainer.predict([[1, 2]])
print(sorted(sys.modules.keys() & {"pandas", "polars", "pyarrow"}))
"""


def test_no_library_of_frames_is_imported():
    done = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_table_for_others_needs_one_of_them(monkeypatch):
    table, other = Exported(arrow_table()), Interchanged(arrow_table())
    monkeypatch.delitem(sys.modules, "pyarrow")
    monkeypatch.delitem(sys.modules, "polars", raising=False)
    with pytest.raises(InvalidInput, match=r"X \(Exported\) is a table.*pyarrow\.table\(X\)"):
        trainer_of().fit(table, LABELS, 1)
    with pytest.raises(InvalidInput, match=r"interchange\.from_dataframe\(X\)"):
        trainer_of().fit(other, LABELS, 1)
