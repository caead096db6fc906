"""What is the same value is the same to a model, however a frame or a file writes it."""

import csv
import datetime as dt
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from fastnn import InvalidInput
from fastnn.cli import main
from fastnn.tabular.cells import cells_of
from fastnn.tabular.fields import Fields

TRUTHS = np.arange(40) % 3 == 0


def column(values, dtype=object):
    return pd.DataFrame({"c": pd.Series(values, dtype=dtype)})


def of_polars(values, kind=None):
    """Return a column of polars, or skip where there is no polars; `kind` makes the dtype."""
    pl = pytest.importorskip("polars")
    return pl.DataFrame({"c": values}, schema={"c": kind and kind(pl)})


def of_arrow(values, coded=False):
    """Return a column of pyarrow, or skip where there is no pyarrow."""
    pa = pytest.importorskip("pyarrow")
    return pa.table({"c": pa.array(values).dictionary_encode() if coded else values})


def of_both(values):
    """Return a column of pandas that pyarrow keeps, or skip where there is no pyarrow."""
    pytest.importorskip("pyarrow")
    return column(values, "bool[pyarrow]")


def made(columns, name):
    """Return a column of a table of them; those of packages that may be missing are functions."""
    return columns[name]() if callable(columns[name]) else columns[name]


# true and false in every way that a table may have them, and some with gaps.
WAYS = {
    "bool": column(TRUTHS, bool),
    "array": TRUTHS[:, None],
    "nullable": column(TRUTHS, "boolean"),
    "arrow": lambda: of_both(TRUTHS),
    "pyarrow": lambda: of_arrow(TRUTHS),
    "polars": lambda: of_polars(TRUTHS),
    "objects": column(list(TRUTHS)),
    "integers": column(TRUTHS.astype(int), int),
    "floats": column(TRUTHS.astype(float), float),
    "True": column([str(each) for each in TRUTHS]),
    "true": column([str(each).lower() for each in TRUTHS]),
    "YES": column([("NO", "YES")[int(each)] for each in TRUTHS]),
    "t": column([("f", "t")[int(each)] for each in TRUTHS], "string"),
    "1": column([str(int(each)) for each in TRUTHS]),
    "1.0": column([str(float(each)) for each in TRUTHS], "category"),
    "words and bools": column([str(each) if row % 2 else bool(each) for row, each in
                               enumerate(TRUTHS)]),
    "words and numbers": column([str(each) if row % 2 else int(each) for row, each in
                                 enumerate(TRUTHS)]),
    "polars text": lambda: of_polars([str(each) for each in TRUTHS]),
}  # fmt: skip


def as_seen(fields, X):
    """Return the numbers, or the codes, of one column."""
    coded = fields.code(cells_of(X))
    return (coded.numbers if coded.numbers.shape[1] else coded.codes)[:, 0].tolist()


@pytest.mark.parametrize("given", WAYS)
@pytest.mark.parametrize("categorical", [(), [0]])
@pytest.mark.parametrize("seen", WAYS)
def test_truth_values_are_those_of_the_training_however_they_are_written(seen, given, categorical):
    if categorical and seen == "words and numbers":
        pytest.skip("1 and True are two categories where a user says that it has these")
    known, other = made(WAYS, seen), made(WAYS, given)
    fields = Fields.learn(cells_of(known), None, categorical)
    assert len(set(as_seen(fields, known))) == 2
    assert as_seen(fields, other) == as_seen(fields, known)


@pytest.mark.parametrize("seen", WAYS)
def test_what_is_neither_true_nor_false_is_refused_or_new(seen):
    fields = Fields.learn(cells_of(made(WAYS, seen)))
    if fields.fields[0].kind == "number":
        with pytest.raises(InvalidInput, match="row 1: 'maybe' where a number is due"):
            fields.code(cells_of(column(["yes", "maybe"])))
    else:
        assert as_seen(fields, column(["yes", "maybe"]))[1] == -1


NUMBERS = [3, 7, 11, 3, 7, 3] * 5
FORMS = {
    "int": column(NUMBERS, int),
    "uint8": column(NUMBERS, np.uint8),
    "float": column(NUMBERS, float),
    "Int64": column(NUMBERS, "Int64"),
    "category": column(pd.Categorical(NUMBERS), "category"),
    "category of floats": column(pd.Categorical([float(n) for n in NUMBERS]), "category"),
    "category of text": column(pd.Categorical([str(n) for n in NUMBERS]), "category"),
    "text": column([str(n) for n in NUMBERS]),
    "text of floats": column([f"{n}.0" for n in NUMBERS]),
    "text of more digits": column([f"{n}.00" for n in NUMBERS]),
    "text with zeros": column([f"{n:05d}" for n in NUMBERS]),
    "text with blanks": column([f" {n} " for n in NUMBERS]),
    "Decimal": column([Decimal(f"{n}.00") for n in NUMBERS]),
    "Fraction": column([Fraction(n) for n in NUMBERS]),
    "mixed": column([(int, float, str, np.int8)[row % 4](n) for row, n in enumerate(NUMBERS)]),
    "polars": lambda: of_polars([str(n) for n in NUMBERS], lambda pl: pl.Categorical),
    "polars enum": lambda: of_polars([str(n) for n in NUMBERS],
                                     lambda pl: pl.Enum(["7", "3", "11"])),
    "decimal of polars": lambda: of_polars([Decimal(n) for n in NUMBERS]),
    "dictionary": lambda: of_arrow(NUMBERS, coded=True),
}  # fmt: skip


@pytest.mark.parametrize("given", FORMS)
@pytest.mark.parametrize("seen", FORMS)
def test_numbers_that_are_categories_are_the_same_in_every_form(seen, given):
    known, other = made(FORMS, seen), made(FORMS, given)
    fields = Fields.learn(cells_of(known), None, [0])
    assert fields.fields[0].kind == "category"
    assert as_seen(fields, known) == [{3: 0, 7: 1, 11: 2}[n] for n in NUMBERS]
    assert as_seen(fields, other) == as_seen(fields, known)


FRACTIONS = [0.1, 2.5, -1e-7, 0.1, 1234.567, 2.5] * 5
SHORT = np.array(FRACTIONS, np.float32)
FRACTION_FORMS = {
    "float": lambda: column(FRACTIONS, float),
    "text": lambda: column([str(n) for n in FRACTIONS]),
    "array": lambda: np.array(FRACTIONS)[:, None],
    "Decimal": lambda: column([Decimal(str(n)) for n in FRACTIONS]),
    "float32": lambda: column(FRACTIONS, np.float32),
    "array of float32": lambda: SHORT[:, None],
    "list of float32": lambda: [[n] for n in SHORT],
    "objects of float32": lambda: column(list(SHORT)),
    "widened": lambda: SHORT.astype(float)[:, None],
    "text of the widened": lambda: column([str(n) for n in SHORT.tolist()]),
    "Float32": lambda: column(FRACTIONS, "Float32"),
    "category of float32": lambda: column(pd.Categorical(SHORT), "category"),
    "polars": lambda: of_polars(FRACTIONS, lambda pl: pl.Float32),
    "pyarrow": lambda: of_arrow(SHORT),
    "dictionary": lambda: of_arrow(SHORT, coded=True),
}


@pytest.mark.parametrize("given", FRACTION_FORMS)
@pytest.mark.parametrize("seen", FRACTION_FORMS)
def test_fractions_that_are_categories_are_the_same_in_every_precision(seen, given):
    fields = Fields.learn(cells_of(FRACTION_FORMS[seen]()), None, [0])
    assert {*fields.fields[0].words} == {"0.1", "2.5", "-1e-07", "1234.567"}
    known = as_seen(fields, FRACTION_FORMS["float"]())
    assert as_seen(fields, FRACTION_FORMS[given]()) == known and min(known) == 0


def test_fractions_of_float16_are_written_as_such():
    half = np.array([0.1, 0.7] * 10, np.float16)
    for X in (half[:, None], [[n] for n in half]):
        assert {*Fields.learn(cells_of(X), None, [0]).fields[0].words} == {"0.1", "0.7"}


GAPS = (None, float("nan"), "", "  ", "NA", "?", "null", pd.NA, pd.NaT, np.datetime64("NaT"),
        np.float32("nan"), np.ma.masked, Decimal("nan"))  # fmt: skip


@pytest.mark.parametrize("gap", GAPS, ids=repr)
def test_what_is_missing_is_a_category_of_its_own_however_it_is_written(gap):
    fields = Fields.learn(cells_of(column(["a", "b", None, "a"] * 5)))
    assert as_seen(fields, column(["a", gap, "b", "c"])) == [0, 2, 1, -1]
    values = np.empty(20, object)
    values[:] = ["a", "b", gap, "a"] * 5
    assert Fields.learn(cells_of(column(values))) == fields


def test_codes_that_differ_stay_apart_and_unknown_ones_are_not_guessed():
    words = ["7", "007", "3.50", "3.5", "1e3"] * 4
    fields = Fields.learn(cells_of(column(words)), None, [0])
    assert len(set(as_seen(fields, column(words)))) == 5
    new = as_seen(fields, column(["07", "3.500", "1000", 1000.0, 7, "true"]))
    known = as_seen(fields, column(["1e3", "7"]))
    assert new == [-1, -1, known[0], known[0], known[1], -1]


DAY = dt.datetime(2024, 12, 31)
SAME = {
    "dates": (DAY.date(), DAY, pd.Timestamp(DAY), np.datetime64("2024-12-31", "ns"),
              np.datetime64("2024-12-31", "D"), "2024-12-31"),
    "moments": (DAY.replace(hour=8), pd.Timestamp("2024-12-31 08:00"), "2024-12-31T08:00:00"),
    "durations": (dt.timedelta(1, 5), pd.Timedelta("1D 5s"), np.timedelta64(86_405, "s")),
}  # fmt: skip


@pytest.mark.parametrize("cells", SAME.values(), ids=SAME)
def test_dates_that_are_categories_are_the_same_of_any_type_and_unit(cells):
    for cell in cells:
        values = np.empty(20, object)
        values[:] = [cell, "b"] * 10
        fields = Fields.learn(cells_of(column(values)), None, [0])
        for other in cells:
            assert as_seen(fields, column([other, "b"])) == as_seen(fields, column([cell, "b"]))
    days = np.array(["2024-12-31", "2024-06-30"] * 9, "datetime64[ns]")
    fields = Fields.learn(cells_of(days[:, None]), None, [0])
    assert as_seen(fields, days.astype("datetime64[D]")[:, None]) == as_seen(fields, days[:, None])


def test_bytes_among_words_are_refused():
    with pytest.raises(InvalidInput, match="column 'c', row 1: b'b' is bytes; decode"):
        Fields.learn(cells_of(column(["a", b"b"] * 9)))


def test_fields_of_before_are_read():
    fields = Fields.learn(cells_of(WAYS["bool"]))
    plain = [{**each, "cycles": [], "words": []} for each in fields.to_plain()]
    assert Fields.from_plain(plain) == fields
    del plain[0]["truth"], plain[0]["zone"]
    assert as_seen(Fields.from_plain(plain), WAYS["bool"]) == TRUTHS.astype(float).tolist()


def written(path, cells, kind):
    """Write a column and a label as text or Parquet; return the path as text."""
    path = path.with_suffix(f".{kind}")
    rows = [float(row) for row in range(len(cells))]
    if kind == "parquet":
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.table({"c": cells, "other": rows[::-1], "y": rows}), path)
    else:
        with open(path, "w", newline="") as stream:
            every = zip(cells, rows[::-1], rows, strict=True)
            csv.writer(stream).writerows([["c", "other", "y"], *every])
    return str(path)


IN_FILES = {
    "bool": (TRUTHS, "parquet"),
    "integers": (TRUTHS.astype(int), "parquet"),
    "floats": (TRUTHS.astype(float), "parquet"),
    "nullable": ([bool(each) for each in TRUTHS[:-1]] + [None], "parquet"),
    "True": (TRUTHS, "csv"),
    "no": ([("no", "yes")[int(each)] for each in TRUTHS], "csv"),
    "1": (TRUTHS.astype(int), "csv"),
    "1.0": (TRUTHS.astype(float), "csv"),
}


@pytest.mark.parametrize("how", ["one", "tabular", "category"])
@pytest.mark.parametrize("seen", IN_FILES)
def test_files_write_truth_values_in_any_way(tmp_path, capsys, seen, how):
    model = str(tmp_path / "model.safetensors")
    more = {"tabular": ["--tabular", "--members", "2"], "category": ["--category", "c"]}
    data = written(tmp_path / "train", *IN_FILES[seen])
    quick = ["--epochs", "3", "--quiet", "--out", model, *more.get(how, ())]
    assert main(["train", data, "--label", "y", *quick]) == 0
    found = {}
    for given, (cells, kind) in IN_FILES.items():
        capsys.readouterr()
        path = written(tmp_path / "other", cells, kind)
        assert main(["predict", model, path, "--quiet"]) == 0, capsys.readouterr().err
        found[given] = capsys.readouterr().out.splitlines()[:-1]
    assert all(each == found["bool"] for each in found.values())


def test_two_is_neither_true_nor_false_in_any_file(tmp_path, capsys):
    model = str(tmp_path / "model.safetensors")
    data = written(tmp_path / "train", TRUTHS, "csv")
    assert main(["train", data, "--label", "y", "--epochs", "2", "--out", model]) == 0
    for kind in ("csv", "parquet"):
        assert main(["predict", model, written(tmp_path / "two", [0, 2], kind)]) == 2
        assert "row 2, column 'c': " in capsys.readouterr().err


def test_words_for_true_beside_other_numbers_are_categories_or_refused_as_before():
    for numbers in ([True, False, "yes", "5"], [1, 0, "yes", "0.5"]):
        fields = Fields.learn(cells_of(column(numbers * 10)))
        assert [each.kind for each in fields.fields] == ["category"]


def test_what_words_stand_for_is_known_by_all_rows_and_not_by_those_of_the_training():
    cells = cells_of(column([None] * 20 + [True, "yes"] * 10))
    with pytest.warns(UserWarning, match="no column is left"):  # those of the training are None
        fields = Fields.learn(cells, np.arange(20))
    numbers = fields.code(cells).numbers
    assert np.isnan(numbers[:20]).all() and (numbers[20:] == 1).all()
