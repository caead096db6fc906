"""Dates with a time zone and dates without are not mixed: in a column, nor after a training."""

import csv
import datetime as dt

import numpy as np
import pandas as pd
import pytest

from fastnn import InvalidInput
from fastnn.cli import main
from fastnn.tabular.cells import cells_of
from fastnn.tabular.fields import Fields

ROWS = 60
MOMENTS = [dt.datetime(2024, 1, 1, 12) + dt.timedelta(days=9 * row) for row in range(ROWS)]
AWARE = [each.replace(tzinfo=dt.UTC) for each in MOMENTS]
BERLIN = [each.astimezone(dt.timezone(dt.timedelta(hours=2))) for each in AWARE]
NAIVE = np.array(MOMENTS, "datetime64[us]")


def of_pandas(values):
    """Return a table of pandas with one column."""
    return pd.DataFrame({"when": values})


def of_both(values, dtype):
    """Return a table of pandas that pyarrow keeps, or skip where there is no pyarrow."""
    pytest.importorskip("pyarrow")
    return of_pandas(pd.Series(values).astype(dtype))


def of_polars(values):
    """Return a table of polars with one column, or skip where there is no polars."""
    return pytest.importorskip("polars").DataFrame({"when": values})


def of_arrow(values, zone=None):
    """Return a table of pyarrow with one column, or skip where there is no pyarrow."""
    pa = pytest.importorskip("pyarrow")
    return pa.table({"when": pa.array(values, pa.timestamp("us", zone))})


# A table of the same dates in every way that one may have them, without a zone and with one; those
# of packages that may be missing are functions.
PAIRS = {
    "pandas": (of_pandas(MOMENTS), of_pandas(AWARE)),
    "pandas ns": (
        of_pandas(NAIVE.astype("M8[ns]")),
        of_pandas(pd.Series(AWARE).astype("M8[ns, UTC]")),
    ),
    "pandas objects": tuple(of_pandas(pd.Series(each, dtype=object)) for each in (MOMENTS, BERLIN)),
    "pandas text": tuple(of_pandas([each.isoformat() for each in x]) for x in (MOMENTS, BERLIN)),
    "pandas of arrow": (
        lambda: of_both(MOMENTS, "timestamp[us][pyarrow]"),
        lambda: of_both(AWARE, "timestamp[us, tz=Europe/Berlin][pyarrow]"),
    ),
    "polars": (lambda: of_polars(MOMENTS), lambda: of_polars(AWARE)),
    "polars text": (
        lambda: of_polars([f"{each:%Y-%m-%d %H:%M}" for each in MOMENTS]),
        lambda: of_polars([f"{each:%Y-%m-%d %H:%M} +0200" for each in MOMENTS]),
    ),
    "pyarrow": (lambda: of_arrow(MOMENTS), lambda: of_arrow(AWARE, "UTC")),
    "datetime64": (NAIVE[:, None], np.array(AWARE, object)[:, None]),
    "rows": ([[each] for each in MOMENTS], [[each] for each in BERLIN]),
}


def table(name, zone):
    """Return a table of `PAIRS`."""
    found = PAIRS[name][zone]
    return found() if callable(found) else found


@pytest.mark.parametrize("seen", PAIRS)
@pytest.mark.parametrize("given", PAIRS)
@pytest.mark.parametrize("zone", [0, 1])
def test_a_zone_that_the_training_had_is_due_afterwards_however_a_table_comes(seen, given, zone):
    fields = Fields.learn(cells_of(table(seen, zone)))
    assert fields.fields[0].kind == "date"
    assert np.isfinite(fields.code(cells_of(table(given, zone))).numbers).all()
    have = ("a time zone", "no time zone")[zone]
    with pytest.raises(InvalidInput, match=rf"column '?(when|0)'?, row 0: .* has {have}, and in t"):
        fields.code(cells_of(table(given, 1 - zone)))


MIXED = {
    "objects": [*MOMENTS[:-1], AWARE[-1]],
    "text": [*(each.isoformat() for each in MOMENTS[:-1]), "2024-03-01T12:00:00Z"],
    "text of another form": [*["31 Dec 2023 12:00 GMT"] * 9, "30 Dec 2023 12:00"],
    "a day among moments": [*(each.isoformat() for each in AWARE[:-1]), "2024-03-01"],
    "days and a moment": [*(str(each.date()) for each in MOMENTS[:-1]), AWARE[-1]],
    "times of day": [*(dt.time(row % 24) for row in range(9)), dt.time(9, tzinfo=dt.UTC)],
}


@pytest.mark.parametrize("frame", [pd.DataFrame, dict, "rows"])
@pytest.mark.parametrize("cells", MIXED.values(), ids=MIXED)
def test_zones_in_some_cells_of_a_column_are_refused_with_the_row(cells, frame):
    values = np.empty((len(cells), 1), object)
    values[:, 0] = cells
    X = values if frame != pd.DataFrame else pd.DataFrame({"when": values[:, 0]})
    X = values.tolist() if frame == "rows" else X
    with pytest.raises(
        InvalidInput, match=rf"row {len(cells) - 1}: .*before it has (one|none); gi"
    ):
        Fields.learn(cells_of(X))


def test_several_zones_are_one_time_and_missing_dates_have_none():
    cells = [AWARE[0], BERLIN[1], None, pd.NaT, float("nan"), *AWARE[2:]]
    fields = Fields.learn(cells_of(pd.DataFrame({"when": pd.Series(cells, dtype=object)})))
    numbers = fields.code(cells_of(pd.DataFrame({"when": pd.Series(AWARE)}))).numbers
    assert fields.fields[0].zone == "with"
    assert numbers[1, 0] - numbers[0, 0] == 9
    nothing = pd.DataFrame({"when": pd.Series([pd.NaT] * 3)})
    assert np.isnan(fields.code(cells_of(nothing)).numbers).all()


def test_fields_of_before_take_dates_of_both_kinds():
    fields = Fields.learn(cells_of(pd.DataFrame({"when": pd.Series(AWARE)})))
    plain = [{**each, "cycles": list(each["cycles"]), "words": []} for each in fields.to_plain()]
    assert Fields.from_plain(plain) == fields
    del plain[0]["zone"]
    before = Fields.from_plain(plain)
    for column in (MOMENTS, AWARE):
        assert len(before.code(cells_of(pd.DataFrame({"when": pd.Series(column)}))).numbers)


def file(path, dates, kind):
    """Write a table of dates and a label as text or Parquet; return its path as text."""
    columns = {"when": dates, "y": [float(row) for row in range(len(dates))]}
    path = path.with_suffix(f".{kind}")
    if kind == "parquet":
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.table(columns), path)
    else:
        with open(path, "w", newline="") as stream:
            rows = zip((each.isoformat() for each in dates), columns["y"], strict=True)
            csv.writer(stream).writerows([["when", "y"], *rows])
    return str(path)


@pytest.mark.parametrize("tabular", [[], ["--tabular", "--members", "2"], ["--stream"]])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("zone", [0, 1])
def test_files_of_the_other_kind_are_refused_at_the_prompt(tmp_path, capsys, kind, zone, tabular):
    if "--stream" in tabular and kind == "csv":
        pytest.skip("only Parquet and Arrow files are read while training")
    model = str(tmp_path / "model.safetensors")
    columns = MOMENTS, AWARE
    quick = [*tabular, "--epochs", "2", "--quiet"]
    data = file(tmp_path / "train", columns[zone], kind)
    assert main(["train", data, "--label", "y", "--out", model, *quick]) == 0
    for other in ("csv", "parquet"):
        assert main(["predict", model, file(tmp_path / "same", columns[zone], other)]) == 0
        capsys.readouterr()
        assert main(["predict", model, file(tmp_path / "else", columns[1 - zone], other)]) == 2
        said = capsys.readouterr().err
        assert "row 1, column 'when': " in said and "in training the dates had" in said


@pytest.mark.parametrize("tabular", [[], ["--tabular", "--members", "2"]])
def test_a_mixed_column_of_text_is_refused_at_the_prompt(tmp_path, capsys, tabular):
    data = file(tmp_path / "train", [*MOMENTS[:-1], AWARE[-1]], "csv")
    assert main(["train", data, "--label", "y", "--epochs", "2", *tabular]) == 2
    said = capsys.readouterr().err
    assert f"row {ROWS}, column 'when': " in said and "has a time zone" in said


def test_times_of_several_zones_are_those_of_the_clock_though_they_are_equal():
    east = dt.time(8, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    utc = dt.time(6, tzinfo=dt.UTC)
    assert east == utc
    cells = cells_of(pd.DataFrame({"t": pd.Series([east, utc] * 20, dtype=object)}))
    seconds = Fields.learn(cells).code(cells).numbers[:, 0]
    assert seconds[:2].tolist() == [8 * 3600, 6 * 3600]
