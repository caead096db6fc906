"""Text that is meant as numbers or dates, but not read so: what is said of it, by both ways in."""

import datetime
import json
from pathlib import Path

import numpy as np
import pytest

from fastnn import InvalidInput
from fastnn.tabular import columns
from fastnn.tabular.cells import cells_of
from fastnn.tabular.fields import Fields
from fastnn.tabular.hints import compact_date, text_hint
from fastnn.tabular.label import Label
from fastnn.tabular.preparation import Choices, Columns
from fastnn.tabular.table import Table

NUMBERS = [f"{number:.1f}" for number in np.random.default_rng(0).lognormal(3, 1, 120)]
DAYS = [datetime.date(2018, 1, 1) + datetime.timedelta(37 * day) for day in range(60)]


def column(cells):
    found = np.empty(len(cells), object)
    found[:] = cells
    return found


def of_numbers(form):
    return column([form.format(number) for number in NUMBERS])


def of_days(form):
    return column([day.strftime(form) for day in DAYS])


def with_others(cells, other, every=3):
    return column([other if row % every == 0 else cell for row, cell in enumerate(cells)])


@pytest.mark.parametrize(
    ("form", "what"),
    [
        ("{} kg", "a unit or a sign beside them"),
        ("{}GB", "a unit or a sign beside them"),
        ("{} km/h", "a unit or a sign beside them"),
        ("{} m2", "a unit or a sign beside them"),
        ("{}\u00b0C", "a unit or a sign beside them"),
        ("USD {}", "a unit or a sign beside them"),
        ("{} EUR", "a unit or a sign beside them"),
        ("R$ {}", "a unit or a sign beside them"),
        ("~{}", "a unit or a sign beside them"),
        ("'{}'", "a unit or a sign beside them"),
        ("{}k", "a unit or a sign beside them"),
        ("\u20b9{}", "the sign of a currency"),
        ("({})", "a minus behind or brackets around negative ones"),
        ("(${})", "a minus behind or brackets around negative ones"),
        ("{}-", "a minus behind or brackets around negative ones"),
    ],
)
def test_numbers_with_something_beside_them_are_said(form, what):
    cells = of_numbers(form)
    hint = text_hint(cells)
    assert hint.what.startswith(f"all values are numbers with {what}") and hint.kind == "numbers"
    assert hint.what.endswith(f"such as {min(cells)!r}")


@pytest.mark.parametrize("other", ["-", "..", "unknown", "0000-00-00", "see notes"])
@pytest.mark.parametrize(
    ("cells", "what"),
    [(NUMBERS, "numbers"), ([f"{day}" for day in DAYS], "dates")],
    ids=["numbers", "dates"],
)
def test_other_texts_among_numbers_and_dates_are_said(cells, what, other):
    hint = text_hint(with_others(cells, other))
    count = len(cells) - len(cells[::3])
    assert hint.what == (
        f"{count} of {len(cells)} values are {what} and the others are not, such as {other!r}"
    )
    assert hint.kind == what


@pytest.mark.parametrize(
    "form", ["%d.%m.%y", "%y-%m-%d", "%d-%m-%y", "%d. M\u00e4rz %Y", "%Y\u5e74%m\u6708%d\u65e5"]
)
def test_dates_in_a_form_that_is_not_read_are_said(form):
    assert "all values seem to be dates" in text_hint(of_days(form)).what


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        (["12.5 kg", "13 kg", "9 kg", "7.1 kg"], "all values are numbers with a unit"),
        (["1 door", "2 doors", "3 doors", "5 doors"], "all values are numbers with a unit"),
        (["1st", "2nd", "3rd", "4th"], "all values are numbers with a unit"),
        (["0", "1", "2", "3", "4+"], "all values are numbers with a unit or a sign"),
        (["10s", "20s", "30s", "40s"], "all values are numbers with a unit"),
        ([*"12345678", "-"], "48 of 54 values are numbers and the others are not, such as '-'"),
        ([*"2468", "..", "not asked"], "24 of 36 values are numbers and the others are not"),
        ([f"{day:02d}.01.24" for day in range(1, 6)], "all values seem to be dates"),
        ([*(f"2024-0{month}" for month in range(1, 7)), "?!"], "36 of 42 values are dates"),
        (["8:15", "9:15", "10:15", "11:15", "closed"], "24 of 30 values are times of day"),
        (["2024-01-02", "2024-01-03", "3/1/2024", "4/1/2024"], "dates, but in several forms"),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_few_numbers_and_dates_are_said_as_many_are(cells, what):
    assert what in text_hint(column(cells * 6)).what
    with pytest.warns(
        UserWarning, match="'x' is read as categories: .*" + what.replace("?", r"\?")
    ):
        learn(x=column(cells * 6), n=np.arange(6 * len(cells)))
    _, said = Columns.learn(Table({"x": column(cells * 6)}, 6 * len(cells)), Choices())
    assert "warning: 'x' is read as text" in said[0] and what in said[0]


@pytest.mark.parametrize(
    "cells",
    [
        ["1", "2", "3", "-"],
        ["-"],
        ["1", "-"],
        ["A1", "A2", "A3", "A4"],
        ["1A", "2B", "3A", "4C"],
        ["1", "2", "3", "4A"],
        ["1", "2", "3", "4", "A"],
        ["1", "2", "3", "4", "N5"],
        ["1", "2", "3", "4", "S", "M", "L"],
        ["Type 1", "Type 2", "Type 3", "Type 4"],
        ["3 days or so", "4", "5", "6"],
        ["18-25", "26-35", "36-45", "46+"],
        ["01.01.24", "02.01.24", "03.01.24"],
    ],
    ids=" ".join,
)
def test_few_codes_and_names_have_no_hint(cells):
    assert text_hint(column(cells * 6)) is None


@pytest.mark.parametrize(
    "cells",
    [
        ["red", "green"] * 9,
        [f"A{row}" for row in range(40)],
        [f"{row}{letter}" for row in range(20) for letter in "ABCDEF"],  # seats
        [f"{row}.{row % 7}.{row % 3}" for row in range(40)],  # versions
        [f"192.168.{row}.1" for row in range(40)],
        [f"{row}-{row + 4}" for row in range(0, 100, 5)],  # ranges
        [f"{hour}{half}" for hour in range(1, 13) for half in ("am", "pm")],
        [f"Room {row}, left" for row in range(40)],
        [f"customer {row}" for row in range(40)],
        ["36 months", "60 months"] * 9,
        ["1", "2", "3", "S", "M", "L"] * 9,
        [],
    ],
    ids=lambda cells: str(cells[0]) if cells else "none",
)
def test_words_and_codes_have_no_hint(cells):
    assert text_hint(column(cells)) is None


@pytest.mark.parametrize("form", ["%Y%m%d", "%Y%m", "%Y%m%d%H%M", "%Y%m%d%H%M%S"])
def test_whole_numbers_that_are_dates_are_told_from_others(form):
    numbers = np.array([float(day.strftime(form)) for day in DAYS])
    assert compact_date(numbers) == DAYS[0].strftime(form)
    assert compact_date(np.append(numbers, np.nan)) == DAYS[0].strftime(form)
    for wrong in (numbers + 0.5, numbers + 60, -numbers, numbers * 1000, numbers[:5]):
        assert not compact_date(wrong)
    assert not compact_date(np.full(20, np.nan)) and not compact_date(np.zeros(0))


def test_the_command_says_it_with_its_options():
    columns = {
        "weight": of_numbers("{} kg"),
        "height": with_others(NUMBERS, "-"),
        "day": np.array([float(day.strftime("%Y%m%d")) for day in [*DAYS, *DAYS]]),
    }
    _, said = Columns.learn(Table(columns, 120), Choices())
    text = "\n".join(said)
    assert "warning: 'weight' is read as text: all values are numbers with a unit" in text
    assert "or pass --category weight if these are names" in text
    assert "warning: 'height' is read as text: 80 of 120 values are numbers" in text
    assert "warning: 'day' is read as numbers: all values seem to be dates" in text
    _, said = Columns.learn(
        Table(columns, 120), Choices(categories=["weight", "height"], numbers=["day"])
    )
    assert "warning" not in "\n".join(said)
    with pytest.raises(InvalidInput, match="these are no classes; all values are numbers with a u"):
        Label.learn("y", of_numbers("{} kg"))


def test_dates_may_have_dots_after_the_year():
    made, said = Columns.learn(Table({"day": of_days("%Y.%m.%d")}, 60), Choices())
    same, _ = Columns.learn(Table({"day": of_days("%Y-%m-%d")}, 60), Choices())
    assert made.rules[0].days == same.rules[0].days and not said


def frame_of(**columns):
    """Return a frame of pandas, or skip where there is no pandas."""
    return pytest.importorskip("pandas").DataFrame(columns)


def learn(**columns):
    return Fields.learn(cells_of(frame_of(**columns)))


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        (of_numbers("${}"), "'x' is read as categories: all values are numbers with the sign of a"),
        (of_numbers("{} %"), "numbers with a percent sign, .*pandas.to_numeric"),
        (of_numbers("{} kg"), "numbers with a unit"),
        (with_others([*map(float, NUMBERS)], "-"), "80 of 120 values are numbers and the others"),
        (of_days("%d.%m.%y"), "seem to be dates .*pandas.to_datetime"),
        (np.array([int(day.strftime("%Y%m%d")) for day in DAYS]), "'x' is read as numbers: all v"),
    ],
)
def test_estimators_of_tables_warn_of_it(cells, match):
    with pytest.warns(UserWarning, match=match):
        learn(x=cells, n=np.arange(len(cells)))
    if cells.dtype == object:
        frame = frame_of(x=cells, n=np.arange(len(cells)))
        Fields.learn(cells_of(frame), categorical=[0])  # says nothing


def test_estimators_of_tables_read_hours_alone_and_say_how_seconds_are_read():
    assert learn(t=[f"{n} h" for n in range(30)]).fields[0].kind == "duration"
    assert learn(t=[f"{n}s" for n in range(30)] + ["3 min"]).fields[0].kind == "duration"
    with pytest.warns(UserWarning, match=r"or with pandas.to_timedelta\(column\) if these are dur"):
        learn(t=[f"{n}s" for n in range(30)], n=np.arange(30))


@pytest.mark.parametrize(
    "cells",
    [
        np.ones(30),
        np.full(30, np.nan),
        np.full(30, "a"),
        [f"u{row}" for row in range(30)],
        np.full(30, np.datetime64("2024-01-01", "us")),
    ],
)
def test_a_table_of_which_nothing_can_be_learnt_warns(cells):
    with pytest.warns(UserWarning, match="no column is left to learn from"):
        learn(x=cells)
    learn(x=cells, n=np.arange(30))  # says nothing


@pytest.mark.parametrize("value", [1.0, True, "7", "yes", DAYS[0], datetime.timedelta(1)])
def test_a_value_that_is_there_or_not_is_something_to_learn_from(value):
    cells = column([value if row % 3 else None for row in range(60)])
    made = learn(x=cells)  # says nothing
    assert made.fields[0].kind != "unused"
    with pytest.warns(UserWarning, match="no column is left to learn from"):
        Fields.learn(cells_of(frame_of(x=cells)), np.flatnonzero(np.arange(60) % 3))


@pytest.mark.parametrize("word", ["NA", "None", " null"])
@pytest.mark.parametrize("declared", ["type", "setting", "not"])
def test_a_category_that_is_a_word_for_a_missing_value_is_one_where_it_is_declared(word, declared):
    pandas = pytest.importorskip("pandas")
    texts = [word, "EU", None, "", "US"] * 12
    plain = frame_of(x=texts, n=range(60))
    typed = plain.assign(x=pandas.Series(texts, dtype="category"))
    made = Fields.learn(
        cells_of(typed if declared == "type" else plain),
        categorical=[0] if declared == "setting" else (),
    )
    again = Fields.from_plain(json.loads(json.dumps(made.to_plain())))
    for fields in (made, again):
        for X in (plain, typed):  # of which the fields know what is declared
            codes = fields.code(cells_of(X)).codes[:5, 0].tolist()
            assert codes[2] == codes[3] == len(fields.fields[0].words)
            assert (codes[0] != codes[2]) == (declared != "not")
            assert len({codes[0], codes[1], codes[2], codes[4]}) == 4 - (declared == "not")


def test_words_for_missing_categories_are_named_by_the_command():
    for words, said in (
        (["NA", "EU", ""], "'x': 40 values missing, a category of its own; 'NA' stands for a miss"),
        (["null", "None"], "; 'None', 'null' stand for a missing value"),
        (["?", ""], "'x': 40 values missing, a category of its own"),
    ):
        cells = column([*words, *"abc"] * 20)
        _, found = Columns.learn(Table({"x": cells}, len(cells)), Choices())
        assert len(found) == 1 and said in found[0] and ("stand" in said) == ("stand" in found[0])


@pytest.mark.parametrize("length", ["M", "Q", "W", "D", "h", "Y"])
@pytest.mark.parametrize("kept", ["periods", "objects", "gaps"])
def test_periods_are_the_dates_of_their_begin(length, kept):
    pandas = pytest.importorskip("pandas")
    periods = pandas.Series(pandas.period_range("2000-01-01", periods=80, freq=length))
    dates = periods.dt.to_timestamp()
    if kept == "gaps":
        there = periods.index % 7 > 0
        periods, dates = periods.where(there), dates.where(there)
    if kept == "objects":
        periods = periods.astype(object)
    here, others = (cells_of(frame_of(x=each, n=range(80))) for each in (periods, dates))
    for learnt in (Fields.learn(here), Fields.learn(others)):  # which say nothing
        assert learnt.fields[0].kind == "date"
        numbers = learnt.code(here).numbers
        assert np.array_equal(numbers, learnt.code(others).numbers, equal_nan=True)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, object, "M8[D]", "m8[s]"])
def test_masked_cells_are_missing(dtype):
    values = np.arange(24).reshape(12, 2).astype(dtype)
    mask = np.zeros(values.shape, bool)
    mask[3, 0] = mask[5, 1] = True
    cells = cells_of(np.ma.masked_array(values, mask))
    found = Fields.learn(cells).code(cells).numbers
    assert np.isnan(found[3, 0]) and np.isnan(found).any(axis=1).sum() == 2
    without = cells_of(np.ma.masked_array(values))
    assert np.array_equal(Fields.learn(without).code(without).numbers[[0]], found[[0]])


@pytest.mark.parametrize(
    ("X", "match"),
    [
        ({"a": [1, 2]}, "X is a dict of columns; pass pandas.DataFrame"),
        ([{"a": 1}, {"a": 2}], "X is a list of dicts; pass pandas.DataFrame"),
        ([[1, 2], [3]], "X: row 1 has 1 values, and row 0 has 2"),
        (np.array([(1, 2.0)], [("a", int), ("b", float)]), "X is an array of records"),
    ],
)
def test_what_is_no_table_is_said_by_what_it_is(X, match):
    with pytest.raises(InvalidInput, match=match):
        cells_of(X)


def test_columns_of_one_name_are_refused():
    twice = frame_of(a=[1], b=[2], c=[3]).set_axis(["a", "b", "a"], axis=1)
    with pytest.raises(InvalidInput, match="columns 0 and 2 are both called 'a'"):
        cells_of(twice)


def test_complex_numbers_are_refused_in_columns_of_objects_too():
    with pytest.raises(InvalidInput, match="column 'x' has complex numbers"):
        learn(x=column([1j, 2.0] * 9))


def test_estimators_refuse_masked_labels_and_weights_and_take_any_numbers_as_labels():
    pytest.importorskip("sklearn", "1.6")
    from fastnn import TabularClassifier, TabularRegressor

    X, y = np.arange(40.0).reshape(-1, 1), np.arange(40) % 2
    half = np.arange(40) < 20
    masked = np.ma.masked_array(np.ones(40), half)
    with pytest.raises(InvalidInput, match="y has masked values"):
        TabularRegressor().fit(X, masked)
    with pytest.raises(InvalidInput, match="sample_weight has masked values"):
        TabularClassifier().fit(X, y, sample_weight=masked)
    settings = {"n_members": 1, "max_iter": 1, "random_state": 0}
    mixed = column([1, 2.0] * 20)
    assert TabularClassifier(**settings).fit(X, mixed).classes_.tolist() == [1.0, 2.0]
    shown = np.ma.masked_array(X, half[:, None])
    model = TabularRegressor(**settings).fit(X, X[:, 0])
    gaps = np.where(half[:, None], np.nan, X)
    assert np.array_equal(model.predict(shown), model.predict(gaps))


@pytest.mark.parametrize(
    ("X", "text"),
    [
        (iter([[1.0], [2.0]]), r"X is a list_iterator; pass list\(X\)"),
        ((row for row in [[1.0]]), r"X is a generator; pass list\(X\)"),
        (zip([1.0], [2.0], strict=True), r"X is a zip; pass list\(X\)"),
        ({1.0, 2.0}, r"X is a set; pass list\(X\)"),
        ("table.csv", r"X is a path; read the table first, as with pandas\.read_csv\(X\)"),
        (Path("table.csv"), r"X is a path; read the table first"),
        (None, "X is None; pass a frame"),
        ([[object()], [object()]], "column 0, row 0: <object object .* has no text that tells it"),
    ],
    ids=["iterator", "generator", "zip", "set", "text", "path", "None", "objects"],
)
def test_what_is_no_table_is_refused_by_what_it_is(X, text):
    with pytest.raises(InvalidInput, match=text):
        Fields.learn(cells_of(X))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_a_matrix_and_a_view_of_memory_are_arrays():
    pytest.importorskip("sklearn", "1.6")
    from fastnn import TabularRegressor

    array = np.arange(40.0).reshape(20, 2)
    for X in (np.matrix(array), memoryview(array)):
        model = TabularRegressor(2, max_iter=1, random_state=0).fit(X, array[:, 0])
        assert (model.predict(X) == model.predict(array)).all()


@pytest.mark.parametrize(
    ("form", "module", "reader"),
    [("%m/%d/%Y %H:%M", columns, "moment"), ("{}h 5m", columns, "duration")],
)
def test_text_is_read_once_for_a_fit(form, module, reader, monkeypatch):
    start = datetime.datetime(2001, 2, 3)
    texts = [
        form.format(n) if "{}" in form else f"{start + n * datetime.timedelta(1, 77):{form}}"
        for n in range(400)
    ]
    plain, read = getattr(module, reader), []
    monkeypatch.setattr(module, reader, lambda text, *rest: read.append(text) or plain(text, *rest))
    cells = cells_of(frame_of(x=texts * 2))
    made = Fields.learn(cells, np.arange(600))
    coded = made.code(cells)
    assert sorted(read) == sorted(texts)
    assert np.array_equal(made.code(cells_of(frame_of(x=texts * 2))).numbers, coded.numbers)


def test_dates_of_several_forms_in_one_column_are_said():
    days = [f"2024-01-{day:02d}" for day in range(1, 13)]
    text = r"'d' is read as categories: all values are dates, but in several forms, such as '01/"
    both = [*days, *(f"{day:02d}/01/2024" for day in range(1, 13))]
    with pytest.warns(UserWarning, match=text + r"01/2024' and '2024-01-01'; make dates"):
        learn(d=[*both, "27/01/2024"] * 2)
    assert text_hint(np.array(days, object)) is None


def test_numbers_too_large_for_floats_warn_of_nothing_but_what_they_are():
    with pytest.raises(InvalidInput, match="Input X contains infinity"):
        fields = Fields.learn(cells_of(np.arange(20)[:, None] * np.longdouble("1e4000")))
        fields.code(cells_of(np.arange(20)[:, None] * np.longdouble("1e4000")))
    with pytest.warns(UserWarning, match="no column is left to learn from"):
        Fields.learn(cells_of([[10**40 + row] for row in range(20)]))


def test_numbers_of_a_regression_that_are_none_are_named_with_their_row():
    pytest.importorskip("sklearn", "1.6")
    from fastnn import TabularRegressor

    with pytest.raises(
        InvalidInput, match="y must be numbers for a regression, and is 'b' in row 1"
    ):
        TabularRegressor().fit(np.ones((3, 1)), ["1", "b", "3"])


@pytest.mark.parametrize(
    "values",
    [
        ["2", "3", "4", "5more"], ["2", "3", "4", "5", "more"], ["2G", "3G", "4G", "5G"],
        ["1A", "2A", "3A", "4A"], ["1", "2", "3", "4", "EXP"],
        ["1", "2", "3", "4", "Basement"], ["36", "38", "40", "42", "XL"],
        ["10.04.01", "10.10.02", "12.04.03", "14.04.01"], ["11.01.02", "11.02.03", "12.01.02"],
    ],
)  # fmt: skip
def test_few_names_and_codes_with_numbers_are_not_told(values):
    assert text_hint(np.array(values * 50, object)) is None


@pytest.mark.parametrize(
    "values",
    [
        ["2.0L", "1.6L", "3.0L", "2.2L"], ["3 cyl", "4 cyl", "6 cyl", "8 cyl"],
        ["1", "2", "3", "4", "*"], ["1", "2", "3", "4", "Unknown"], ["1", "2", "3", "4", "5+"],
        ["01.01.24", "02.01.24", "03.01.24", "09.01.24"],
    ],
)  # fmt: skip
def test_few_numbers_and_dates_that_are_hardly_names_are_told(values):
    assert text_hint(np.array(values * 50, object)) is not None
