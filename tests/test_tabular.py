"""How columns become features and labels become targets."""

import datetime
import json
import re

import numpy as np
import pytest

from fastnn import CorruptFile, InvalidInput
from fastnn.tabular import dates
from fastnn.tabular.dates import date, date_format, readings
from fastnn.tabular.durations import duration
from fastnn.tabular.files import Reading, read
from fastnn.tabular.hints import number_hint
from fastnn.tabular.label import Label
from fastnn.tabular.preparation import Choices, Columns, Scaled, from_file
from fastnn.tabular.rules import CategoryRule, DateRule, NumberRule
from fastnn.tabular.table import Matrix, Table


def texts(*cells):
    found = np.empty(len(cells), object)
    found[:] = cells
    return found


def table(**columns):
    return Table(columns, len(next(iter(columns.values()))))


def test_numbers_have_standard_and_normal_scores():
    from scipy.special import ndtri

    values = np.exp(np.random.default_rng(0).standard_normal(5000))
    rule = NumberRule.learn("x", values)
    features, _ = rule.apply(values)
    assert rule.features == ("x", "x (rank)")
    standard = (values - values.mean()) / values.std()
    assert np.allclose(features[:, 0], np.clip(standard, -10, 10), atol=1e-5)
    scores = ndtri((values.argsort().argsort() + 0.5) / len(values))
    middle = np.abs(scores) < 2
    assert np.abs(features[:, 1] - scores)[middle].max() < 0.1
    assert abs(features[:, 1].mean()) < 1e-3 and abs(features[:, 1].std() - 1) < 1e-3


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_numbers_of_any_size_have_finite_features(scale):
    values = np.array([1.0, 2.0, 4.0, 8.0]) * scale
    features, _ = NumberRule.learn("x", values).apply(np.append(values, 1.7e308))
    assert np.isfinite(features).all() and abs(features[:4, 0].std() - 1) < 1e-6


def test_missing_numbers_are_the_median_and_flagged():
    rule = NumberRule.learn("x", np.array([1.0, np.nan, 2.0, 6.0]))
    features, found = rule.apply(texts("?", "2", " NA ", ""))
    assert rule.features[-1] == "x (missing)" and found.missing == 3
    assert features[:, -1].tolist() == [1, 0, 1, 1]
    assert np.ptp(features[:, 0]) == 0  # the median is 2


def test_dates_are_days_and_cycles():
    days = np.arange("2020-01-01", "2022-01-01", dtype="datetime64[D]")
    rule = DateRule.learn("when", days.astype("datetime64[us]"), "iso")
    features, _ = rule.apply(texts(*map(str, days)))
    names = dict(zip(rule.features, features.T, strict=True))
    assert len(names) == len(rule.features) and not any("day sin" in name for name in names)
    weeks = names["when (week sin)"]
    assert np.allclose(weeks[:-7], weeks[7:], atol=1e-4) and not np.allclose(weeks[:-1], weeks[1:])
    assert np.allclose(np.diff(names["when"]), np.diff(names["when"])[0], atol=1e-5)


MOMENT = np.datetime64("2020-04-14T20:31")


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("%d/%m/%Y", ["14/04/2020 20:31", "14/4/2020 8:31 PM", "14/04/2020T20:31Z"]),
        ("%m/%d/%Y", ["04/14/2020 20:31:00", "4/14/2020, 8:31:00 p.m.", "04/14/2020 22:31 +0200"]),
        ("%d.%m.%Y", ["14.04.2020 20:31", "14.4.2020, 20:31:00.000"]),
        ("%d-%m-%Y", ["14-04-2020 20:31", "14-4-2020 18:31-02:00"]),
        ("%m/%d/%y", ["4/14/20 20:31"]),
        ("%Y/%m/%d", ["2020/04/14 20:31", "2020/4/14 8:31pm"]),
        ("%Y%m%dT%H%M%S", ["20200414T203100", "20200414 20:31", "20200414 203100Z"]),
        (
            "iso",
            [
                "2020-04-14 20:31", "2020-04-14T20:31:00.000", "2020-04-14 22:31+02:00",
                "2020-04-14 20:31:00 UTC", "2020-04-14 22:31 +02:00", "2020-4-14 8:31 PM",
            ],
        ),
        (
            "%d %b %Y",
            [
                "Apr 14, 2020 8:31 PM", "14 April 2020 20:31", "14-APR-20 20:31",
                "2020-Apr-14 20:31",
                "Tue Apr 14 20:31:00 2020", "Tue, 14 Apr 2020 20:31:00 GMT",
                "14/Apr/2020:22:31:00 +0200", "April 14th, 2020 at 8:31 pm",
                "Tue Apr 14 2020 22:31:00 GMT+0200 (Central European Summer Time)",
                "Tue Apr 14 16:31:00 EDT 2020",
            ],
        ),
    ],
)  # fmt: skip
def test_a_date_with_a_time_is_read_in_the_order_of_its_words(form, written):
    for text in written:
        assert date(text, form) == MOMENT, text
    assert date_format(dict.fromkeys(written, 1)) == (form, False)


@pytest.mark.parametrize(
    "text",
    [
        "31/04/2020 20:31", "14/04/2020 24:01", "14/04/2020 20:61", "14/04/2020 13:00 PM",
        "14/04/2020 20", "14/04/2020 soon", "14/04/2020 20:31 CET", "2020-02-30 20:31", "3.10.12",
        "1:60", "16:9", "May", "555-12-1234", "2020-13", "13/2020", "2020-Q5", "2020-W54",
        "1234-05", "April 20", "2020-04T10:00", "2019-20", "2009-10", "2009/10",
        "0001-01-01 00:00+05:00", "x" * 100,
    ],
)  # fmt: skip
def test_what_is_no_date_is_none(text):
    assert date_format({text: 1}) == ("", False)


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("%Y-%m", ["2020-04", "2020-4"]),
        ("%Y/%m", ["2020/04", "2020/4"]),
        ("%m/%Y", ["04/2020", "4/2020"]),
        ("%b %Y", ["Apr 2020", "April 2020", "apr-2020", "2020 Apr", "2020-APR", "April, 2020"]),
        ("quarter", ["2020-Q2", "2020Q2", "q2 2020", "Q2/2020", "2020 Q2"]),
    ],
)
def test_a_month_or_a_quarter_is_its_first_day(form, written):
    for text in written:
        assert date(text, form) == np.datetime64("2020-04-01"), text
    assert date_format(dict.fromkeys(written, 1)) == (form, False)


def test_a_week_of_iso_8601_is_its_monday():
    for text in ("2020-W16", "2020W16", "2020-W16-1", "2020W161"):
        assert date(text, "iso") == np.datetime64("2020-04-13"), text


@pytest.mark.parametrize("mark", "-/")
def test_years_that_follow_each_other_are_no_months_unless_others_are(mark):
    seasons = [f"{year}{mark}{(year + 1) % 100:02d}" for year in range(2001, 2012)]
    assert date_format(dict.fromkeys(seasons, 1)) == ("", False)
    assert date_format(dict.fromkeys([*seasons, f"2012{mark}13"], 1), 0.9) == ("", False)
    assert date_format(dict.fromkeys([*seasons, f"2011{mark}11"], 1)) == (f"%Y{mark}%m", False)


def test_months_are_days_and_the_year_at_training_and_after():
    months = [f"{year}-{month:02d}" for year in range(2015, 2022) for month in range(1, 13)]
    made, said = Columns.learn(table(m=texts(*months)), Choices())
    again = from_file(json.loads(json.dumps(made.to_plain())))
    assert again == made and made.rules[0].form == "%Y-%m" and not said
    names = dict(zip(made.features, again.apply(table(m=texts(*months)))[0].T, strict=True))
    assert np.all(np.diff(names["m"]) > 0) and "m (year sin)" in names
    with pytest.raises(InvalidInput, match="'2020-13' where a date is due, such as 2024-12"):
        made.apply(table(m=texts("2020-13")))
    with pytest.raises(InvalidInput, match="row 85, column 'm': '2022-00' where dates are due"):
        Columns.learn(table(m=texts(*months, "2022-00")), Choices())


def test_dates_with_a_time_are_features_in_any_order_of_their_words():
    hours = np.arange(0, 24 * 40, 5).astype("timedelta64[h]")
    moments = (np.datetime64("2020-04-01T00:31") + hours).astype("datetime64[s]").tolist()
    learnt = {}
    for form in ("%d/%m/%Y %H:%M", "%Y-%m-%d %H:%M:%S.000", "%b %d, %Y %I:%M %p"):
        when = texts(*(moment.strftime(form) for moment in moments))
        made, _ = Columns.learn(table(when=when), Choices())
        again = from_file(json.loads(json.dumps(made.to_plain())))
        assert made.rules[0].clock and again == made
        learnt[form] = again.apply(table(when=when))[0]
    assert all(np.array_equal(one, learnt[form]) for one in learnt.values())
    names = dict(zip(made.features, learnt[form].T, strict=True))
    turn = 2 * np.pi * np.array([moment.hour + moment.minute / 60 for moment in moments]) / 24
    assert np.allclose(names["when (day sin)"], np.sin(turn), atol=1e-4)
    assert np.allclose(names["when (day cos)"], np.cos(turn), atol=1e-4)


def test_a_time_of_day_that_is_always_the_same_is_no_feature():
    days = texts(*(f"{day:02d}.03.2024 20:31" for day in range(1, 31)))
    made, _ = Columns.learn(table(when=days), Choices())
    assert not any("(day " in name for name in made.features)
    times = texts(*(f"{hour:02d}:15" for hour in range(24)))
    made, _ = Columns.learn(table(at=times), Choices())
    assert {"at (day sin)", "at (day cos)"} <= {*made.features}
    with pytest.raises(InvalidInput, match="'noon' where a time of day is due, such as 23:59"):
        made.apply(table(at=texts("noon")))


SECONDS = [31_027, 144_420, 185_223, 5_627, 59, 86_400, 3_600, 60, 900, 40]


def written(seconds):
    """Return a duration as spreadsheets, pandas, Python, ISO 8601, Postgres and people write it."""
    hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
    days, hour = divmod(hours, 24)
    return {
        "sheet": f"{hours}:{minutes:02d}:{rest:02d}",
        "pandas": f"{days} days {hour:02d}:{minutes:02d}:{rest:02d}",
        "python": str(datetime.timedelta(seconds=seconds)),
        "iso": f"P{days}DT{hour}H{minutes}M{rest}S",
        "polars": f"PT{seconds}S",
        "sql": f"{days} day {hour}:{minutes:02d}:{rest:02d}.000",
        "net": f"{days}.{hour:02d}:{minutes:02d}:{rest:02d}",
        "short": f"{hours}h {minutes}m {rest}s",
        "words": f"{hours} hours, {minutes} minutes and {rest} seconds",
    }


@pytest.mark.parametrize("kind", [*written(0)])
def test_durations_that_are_text_are_seconds(kind):
    cells = texts(*(written(seconds)[kind] for seconds in SECONDS * 3), "", "NaT")
    made, said = Columns.learn(table(t=cells), Choices())
    assert "1 duration: 't'" in made.describe()
    found = made.rules[0].read(cells)
    assert (found[:30] / np.timedelta64(1, "s")).tolist() == SECONDS * 3
    assert np.isnat(found[30:]).all()
    again = from_file(json.loads(json.dumps(made.to_plain())))
    assert again == made
    due = NumberRule.learn("t", np.array([*SECONDS * 3, np.nan, np.nan])).apply(cells[:0])[0]
    assert again.apply(table(t=cells))[0].shape[1] == due.shape[1]
    with pytest.raises(InvalidInput, match="row 1, column 't': 'soon' where a duration is due"):
        again.apply(table(t=texts("soon")))
    with pytest.raises(InvalidInput, match="row 32, column 't': 'soon' where durations are due"):
        Columns.learn(table(t=texts(*cells[:31], "soon")), Choices())
    with pytest.raises(CorruptFile, match="has durations in the format '%Q'"):
        from_file({**made.to_plain(), "rules": [{**made.to_plain()["rules"][0], "form": "%Q"}]})


def test_what_could_be_times_of_day_are_unless_an_hour_or_the_user_says_otherwise():
    clock = texts(*(f"{hour}:{minute:02d}" for hour in range(24) for minute in (5, 50)))
    made, said = Columns.learn(table(t=clock), Choices())
    assert "1 time of day: 't'" in made.describe() and "--duration t" in said[0]
    asked, said = Columns.learn(table(t=clock), Choices(durations=["t"]))
    assert "1 duration: 't'" in asked.describe() and not said
    assert asked.rules[0].read(clock)[0] == np.timedelta64(300, "s")
    longer, said = Columns.learn(table(t=np.append(clock, ["24:00"])), Choices())
    assert "1 duration: 't'" in longer.describe() and not said
    races, said = Columns.learn(table(t=texts(*["59:12", "1:02:03"] * 9)), Choices())
    assert "minutes and seconds" in said[0]
    seconds = races.rules[0].read(texts("59:12", "1:02:03")) / np.timedelta64(1, "s")
    assert seconds.tolist() == [3552, 3723]
    with pytest.raises(InvalidInput, match="row 2, column 't': 'a' .* as --duration t asks for"):
        Columns.learn(table(t=texts("8:00", "a", "b")), Choices(durations=["t"]))
    with pytest.raises(InvalidInput, match="--duration t: that column has numbers"):
        Columns.learn(table(t=np.arange(9.0)), Choices(durations=["t"]))


@pytest.mark.parametrize(
    "text", ["h", "5", "1:60", "16:9", "1:2:3", "P", "PT", "5 metres", "1h 2h", "m 5"]
)
def test_what_is_no_duration_is_none(text):
    with pytest.raises(ValueError, match=text):
        duration(text)


@pytest.mark.parametrize(
    ("form", "second"), [("{}h", 3600), ("{} h", 3600), ("{}H", 3600), ("{} ms", 1e-3)]
)
def test_hours_and_milliseconds_alone_are_durations(form, second):
    made, said = Columns.learn(
        table(t=texts(*(form.format(7 * n) for n in range(1, 30)))), Choices()
    )
    assert "1 duration: 't'" in made.describe() and not said
    read = made.rules[0].read(texts(form.format(198), form.format(9)))
    assert (read / np.timedelta64(1, "us")).tolist() == [198e6 * second, 9e6 * second]


@pytest.mark.parametrize(("letter", "second"), [("s", 1), ("m", 60), ("d", 86_400), ("w", 604_800)])
def test_numbers_with_another_letter_are_durations_where_others_or_the_user_say_so(letter, second):
    cells = [f"{n}{letter}" for n in range(3, 40)]
    made, said = Columns.learn(table(t=texts(*cells)), Choices(keep=["t"]))
    assert "1 category: 't'" in made.describe()
    assert "or pass --duration t if these are durations, or pass --category t if" in said[0]
    made, said = Columns.learn(table(t=texts(*cells)), Choices(durations=["t"]))
    assert "1 duration: 't'" in made.describe() and not said
    assert made.rules[0].read(texts(f"5{letter}"))[0] == np.timedelta64(5 * second, "s")
    made, said = Columns.learn(table(t=texts(*cells, "1h 20m")), Choices())
    assert "1 duration: 't'" in made.describe() and not said
    for other in ("8:15", "A"):  # a time of day, and nothing
        made, _ = Columns.learn(table(t=texts(*cells, other)), Choices(keep=["t"]))
        assert "1 category: 't'" in made.describe()


def test_which_of_day_and_month_is_first_can_be_chosen_where_both_fit():
    either = table(d=texts(*["01/02/2024 20:31", "03/04/2024 8:15"] * 15))
    made, said = Columns.learn(either, Choices())
    assert made.rules[0].form == "%m/%d/%Y" and "--day-first" in said[0]
    made, said = Columns.learn(either, Choices(day_first=True))
    assert made.rules[0].form == "%d/%m/%Y" and "day first, though month first fits" in said[0]
    only = table(d=texts(*["01/02/2024", "03/31/2024"] * 15))
    made, said = Columns.learn(only, Choices(day_first=True))
    assert made.rules[0].form == "%m/%d/%Y" and not said


@pytest.mark.parametrize("mark", ["/", "-", ".", ":"])
def test_the_commonest_dates_and_times_are_read_as_all_others_are(mark, monkeypatch):
    random = np.random.default_rng(0)
    some = []
    for _ in range(3000):
        parts = random.integers(0, (35, 35, 2200), 3) % (100 if random.random() < 0.5 else 9999)
        text = mark.join(f"{part:0{random.integers(1, 3)}d}" for part in parts.tolist())
        if random.random() < 0.5:
            hour, minute = random.integers(0, (27, 63)).tolist()
            text += random.choice([" ", ", "]) + f"{hour}:{minute:02d}"
            text += random.choice(["", ":07", ":60", " PM"])
        some += [text, text.partition(" ")[2]]
    found = [readings(text) for text in some]
    for name in ("_PLAIN", "_PLAIN_CLOCK"):
        monkeypatch.setattr(dates, name, re.compile("(?!)"))
    for text, here in zip(some, found, strict=True):
        there = readings(text)
        assert here == there and [*here] == [*there], text
    assert sum(map(bool, found)) > 300


def test_a_format_of_dates_that_nobody_knows_is_refused():
    days = np.arange("2024-01-01", "2024-01-31", dtype="datetime64[D]").astype("datetime64[us]")
    kept = Columns.learn(table(w=days), Choices())[0].to_plain()
    kept["rules"][0]["form"] = "%Q"
    with pytest.raises(CorruptFile, match="'w' has dates in the format '%Q'"):
        from_file(kept)


def test_rare_categories_count_as_one_and_new_ones_belong_to_them():
    rule = CategoryRule.learn("c", texts(*["a"] * 5, *["b"] * 3, "x", "y", None), least=2)
    assert rule.features == ("c=a", "c=b", "c (missing)", "c (other)")
    codes, found = rule.codes(texts("b", "x", "new", "", "a"))
    assert codes.tolist() == [1, 3, 3, 2, 0] and not found.unknown
    rule = CategoryRule.learn("c", texts("a", "b", "a"), least=1)
    codes, found = rule.codes(texts("b", "new", "new", ""))
    assert codes.tolist() == [1, -1, -1, -1] and found.unknown == {"new": 2}
    new = [f"new {row * 7 % 40}" for row in range(40)]  # whatever order a set has
    assert [*rule.codes(texts("b", *new, *new))[1].unknown] == new


def test_the_same_number_is_the_same_category_in_any_kind_of_file():
    rule = CategoryRule.learn("c", texts("1", "2.0", "007"), least=1)
    assert rule.codes(np.array([2.0, 1.0]))[0].tolist() == rule.codes(texts("2", "1.0"))[0].tolist()
    assert "007" in rule.categories


def test_sparse_and_dense_features_are_the_same_numbers():
    random = np.random.default_rng(0)
    data = table(
        x=random.standard_normal(60),
        c=texts(*random.choice(list("abcdefgh"), 60)),
        d=texts(*random.choice(list("pqrstuvw"), 60)),
        t=texts(*random.choice(["yes", "no"], 60)),
    )
    made, _ = Columns.learn(data, Choices())
    assert made.sparse
    sparse, _ = made.apply(data)
    dense, _ = made.apply(data, sparse=False)
    assert sparse.has_canonical_format and (sparse.toarray() == dense).all()
    assert dense.shape == (60, len(made.features)) and sparse.dtype == dense.dtype == np.float32


def test_a_preparation_is_the_same_from_plain_values():
    data = table(
        x=np.arange(30.0),
        c=texts(*["a", "b", None] * 10),
        w=np.arange("2024-01-01", "2024-01-31", dtype="datetime64[D]").astype("datetime64[us]"),
        same=np.zeros(30),
    )
    made, _ = Columns.learn(data, Choices())
    again = from_file(json.loads(json.dumps(made.to_plain())))
    assert again == made and made.dropped == {"same": "the same in all rows"}
    assert (again.apply(data)[0] == made.apply(data)[0]).all()
    with pytest.raises(CorruptFile):
        from_file({"kind": "columns"})


def test_errors_name_the_row_of_the_file():
    data = table(x=texts("1", "2", "3", "4", "five", "6", "7", "8", "9", "10", "11"))
    late = data.take(np.arange(3, 11))
    made, _ = Columns.learn(data.take(np.arange(3)), Choices())
    with pytest.raises(InvalidInput, match="row 5, column 'x': 'five' where a number is due"):
        made.apply(late)


def test_names_of_rows_are_dropped_unless_they_are_to_stay():
    data = table(
        id=np.arange(40.0), name=texts(*(f"n{row}" for row in range(40))), x=np.arange(40.0) % 7
    )
    made, _ = Columns.learn(data, Choices())
    assert made.names == ("x",) and {*made.dropped} == {"id", "name"}
    made, _ = Columns.learn(data, Choices(keep=["id", "name"]))
    assert "id" in made.names and "name" in made.names


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (texts("b", "a", "b"), "binary", ("a", "b")),
        (np.array([True, False]), "binary", ("False", "True")),
        (np.array([0.0, 1.0, 1.0]), "binary", ("0", "1")),
        (np.repeat(np.arange(12.0), 9), "12 classes", tuple(map(str, range(12)))),
        (texts(*["10", "9", "2.0"] * 5), "3 classes", ("2", "9", "10")),
        (np.arange(100.0), "regression", ()),
        (np.array([0.5, 1.5, 2.5] * 9), "regression", ()),
    ],
)
def test_the_task_follows_from_the_label(values, task, classes):
    label = Label.learn("y", values)
    assert (label.task, label.classes) == (task, classes)
    assert Label.from_plain(json.loads(json.dumps(label.to_plain()))) == label


def test_a_regression_is_scaled_and_back():
    numbers = np.array([1e5, 2e5, 4e5])
    label = Label.learn("y", numbers, "regression")
    standard = label.standard(numbers)
    assert abs(standard.mean()) < 1e-12 and abs(standard.std() - 1) < 1e-12
    assert np.allclose(label.undo(standard), numbers)


def test_a_sparse_matrix_stays_so_and_files_may_be_narrower(tmp_path):
    (tmp_path / "a.svm").write_text("1 1:2 3:4\n0 2:1 # a remark\n")
    (tmp_path / "b.svm").write_text("0 1:1 2:1\n1 5:3 3:2\n")
    first, _ = read(str(tmp_path / "a.svm"), Reading())
    second, _ = read(str(tmp_path / "b.svm"), Reading())
    assert first.first == 1 and first.X.toarray().tolist() == [[2, 0, 4], [0, 1, 0]]
    made, _ = Scaled.learn(first, Choices())
    features, met = made.apply(second)
    assert features.toarray().tolist() == [[0.5, 1, 0], [0, 0, 0.5]] and met.ignored == ("5",)
    assert made.apply(Matrix(first.X[:, :2], None, 1))[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a;b\n1,5;2\n", ["a", "b"]),
        ("a\tb\n1\t2\n", ["a", "b"]),
        ("a|b\n1|2\n", ["a", "b"]),
        ('"a, x", b\n1, 2\n', ["a, x", "b"]),
        ("\ufeffa,b\r\n1,2\r\n\r\n", ["a", "b"]),
        ("1,2\n3,4\n", ["1", "2"]),
        ("|1x3 Cross validator\n25, Private\n38, Private\n", ["1", "2"]),
    ],
)
def test_delimiter_header_and_marks_are_found_out(text, names, tmp_path):
    (tmp_path / "data.csv").write_bytes(text.encode())
    found, _ = read(str(tmp_path / "data.csv"), Reading())
    assert list(found.columns) == names and found.numbered == (names == ["1", "2"])


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["1,5", "2,25", "3"] * 9, "pass --decimal ,"),
        (["1,234", "12,345,678", "7", "1,234.5"] * 9, "with a mark of thousands, such as"),
        (["1,234", "2,345"] * 9, "leave that out or pass --decimal ,"),
        (["1 234", "12 345 678", "7"] * 9, "with a mark of thousands, such as"),
        (["1'234.5", "-7"] * 9, "with a mark of thousands, such as"),
        (["1.234,5", "12.345.678,25", "7"] * 9, "pass --decimal , and leave the other out"),
        (["1\xa0234,5", "3,25"] * 9, "pass --decimal , and leave the other out"),
        (["5%", "7 %", "12.5%"] * 9, "a percent sign"),
        (["5,5 %", "7 %"] * 9, "a percent sign"),
        (["$1,000.50", "$3"] * 9, "the sign of a currency"),
        (["-$5", "3 \u20ac"] * 9, "the sign of a currency"),
    ],
)
def test_numbers_that_are_written_otherwise_are_said(cells, said):
    made, lines = Columns.learn(table(a=np.arange(len(cells)) % 4.0, p=texts(*cells)), Choices())
    assert len(made.rules) == 2 and any("warning: 'p'" in line and said in line for line in lines)
    with pytest.raises(InvalidInput, match="row 1, column 'p'.*all values are numbers"):
        Columns.learn(table(p=texts(*cells)), Choices(numbers=["p"]))


@pytest.mark.parametrize(
    "cells", [["a", "1,5"], ["1,2,3"], ["1 2"], ["%"], ["$"], ["12%5"], ["1.2.3"]]
)
def test_words_are_no_numbers_written_otherwise(cells):
    assert not number_hint(texts(*cells))


def test_codes_that_begin_with_a_zero_are_categories():
    data = table(zip=texts("00123", "123", "04567", "123"), x=texts("0.5", "0", "10", "-0.25"))
    made, said = Columns.learn(data, Choices())
    rules = {rule.name: rule for rule in made.rules}
    assert rules["zip"].categories == ("123", "00123", "04567") and rules["x"].kind == "number"
    assert any("'zip': a category, since '00123' begins with a zero" in line for line in said)
    forced, _ = Columns.learn(data, Choices(numbers=["zip"]))
    assert {rule.kind for rule in forced.rules} == {"number"}
    assert Label.learn("y", texts("01", "02", "1")).classes == ("01", "1", "02")


def test_a_mistake_among_dates_is_named_as_one_among_numbers_is():
    days = [f"2024-02-{day:02d}" for day in range(1, 30)]
    with pytest.raises(InvalidInput, match="row 30, column 'd': '2024-02-30' where dates are due"):
        Columns.learn(table(d=texts(*days, "2024-02-30")), Choices())
    made, _ = Columns.learn(table(d=texts(*days, "2024-02-30")), Choices(categories=["d"]))
    assert made.rules[0].kind == "category"
    mixed = texts(*(days[:6] + ["soon", "late"] * 2))
    assert Columns.learn(table(d=mixed), Choices())[0].rules[0].kind == "category"
    # Those that most of all fit, though others fit nearly as many.
    british = ["01/02/2024"] * 38 + ["13/02/2024", "31/02/2024"]
    with pytest.raises(InvalidInput, match="row 40, column 'd': '31/02/2024'"):
        Columns.learn(table(d=texts(*british)), Choices())
    # Which of the two is first, all rows tell, though only some are learnt from.
    when = texts(*["01/02/2024", "03/04/2024"] * 5, "31/12/2024")
    made, _ = Columns.learn(table(d=when), Choices(), np.arange(10))
    assert made.rules[0].form == "%d/%m/%Y"


@pytest.mark.parametrize("unit", ["M", "Q"])
def test_months_and_quarters_as_text_are_dates_beside_periods(unit):
    pd = pytest.importorskip("pandas")
    from fastnn.tabular.cells import cells_of
    from fastnn.tabular.fields import Fields

    months = pd.DataFrame({"on": pd.period_range("2000-01", periods=40, freq=unit)})
    fields = Fields.learn(cells_of(months))
    expected = fields.code(cells_of(months)).numbers
    for text in (
        months.astype(str),
        months["on"].dt.to_timestamp().dt.strftime("%b %Y").to_frame(),
    ):
        assert fields.code(cells_of(text)).numbers.tolist() == expected.tolist()
    mixed = months.astype(object)
    mixed.loc[3, "on"] = str(mixed.loc[3, "on"])
    assert Fields.learn(cells_of(mixed)).code(cells_of(mixed)).numbers.tolist() == expected.tolist()
    with pytest.raises(InvalidInput, match="'soon' where a date is due"):
        fields.code(cells_of(pd.DataFrame({"on": ["2000-01", "soon"]})))
