"""What a user says of a column by its name, and commands that name it for a shell to take.

Beside it, what is masked in a list of rows, which is as in an array.
"""

import csv
import shlex
import warnings

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn")
from fastnn import (  # noqa: E402
    Dense,
    InvalidInput,
    MLPRegressor,
    Network,
    SGDClassifier,
    TabularClassifier,
    TabularRegressor,
    Trainer,
)
from fastnn.cli import main  # noqa: E402
from fastnn.cli.data import names_in  # noqa: E402
from fastnn.cli.screen import one_line  # noqa: E402
from fastnn.tabular.cells import cells_of  # noqa: E402
from fastnn.tabular.fields import Fields  # noqa: E402
from fastnn.tabular.table import naming  # noqa: E402

ROWS = 60
DAYS = np.array([int(f"2024{row % 12 + 1:02d}{row % 28 + 1:02d}") for row in range(ROWS)])
Y = np.arange(ROWS) % 2
QUICK = {"n_members": 2, "max_iter": 2, "random_state": 0}


def regressor(**settings):
    return TabularRegressor(**QUICK, **settings)


@pytest.mark.parametrize(
    "named", [["day"], [0], [True, False], np.array(["day"]), np.array([0]), ("day",)], ids=repr
)
def test_numbers_that_seem_to_be_dates_are_numbers_without_a_word_where_the_user_says_so(named):
    X = pd.DataFrame({"day": DAYS, "x": np.arange(ROWS) / 7})
    with pytest.warns(UserWarning, match="'day' is read as numbers.* or name .* numeric_features"):
        told = regressor().fit(X, DAYS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = regressor(numeric_features=named).fit(X, DAYS)
        TabularClassifier(**QUICK, numeric_features=named).fit(X, Y)
    assert (model.predict(X) == told.predict(X)).all()


NUMBERS = {
    "codes": [f"{row:03d}" for row in range(ROWS)],
    "text": [str(row) for row in range(ROWS)],
    "a categorical dtype": pd.Categorical(range(ROWS)),
    "text of a categorical dtype": pd.Categorical([f"{row:03d}" for row in range(ROWS)]),
    "numbers": range(ROWS),
}


@pytest.mark.parametrize("cells", NUMBERS.values(), ids=NUMBERS)
def test_columns_that_are_named_are_numbers_whatever_they_could_be(cells):
    fields = Fields.learn(cells_of(pd.DataFrame({"c": cells})), None, (), (0,))
    assert fields.fields[0].kind == "number"
    found = fields.code(cells_of(pd.DataFrame({"c": NUMBERS["codes"]}))).numbers
    assert (found[:, 0] == np.arange(ROWS)).all()


def test_what_is_named_as_numbers_and_is_none_is_refused():
    X = pd.DataFrame({"c": ["1", "two"] * 30, "d": pd.date_range("2024", periods=ROWS)})
    with pytest.raises(InvalidInput, match="column 'c', row 1: 'two' where a number is due"):
        regressor(numeric_features=["c"]).fit(X, Y)
    with pytest.raises(InvalidInput, match="column 'd' has dates, but numeric_features names it"):
        regressor(numeric_features=["d"]).fit(X, Y)
    with pytest.raises(ValueError, match="numeric_features has names that are no feature names"):
        regressor(numeric_features=["e"]).fit(X, Y)
    with pytest.raises(ValueError, match="numeric_features set as integer indices must be in"):
        regressor(numeric_features=[2]).fit(X, Y)
    with pytest.raises(ValueError, match="both name column 'c'"):
        regressor(numeric_features=["c"], categorical_features=[0]).fit(X, Y)


def test_a_file_keeps_which_columns_are_numbers(tmp_path):
    X = pd.DataFrame({"c": NUMBERS["codes"]})
    model = regressor(numeric_features=np.array(["c"])).fit(X, DAYS)
    model.save(tmp_path / "model")
    again = TabularRegressor.load(tmp_path / "model")
    assert again.numeric_features == ["c"]
    assert (again.predict(X) == model.predict(X)).all()


NAMES = ["plain", "two words", "it's", 'a "b"', "a,b", "-x", " edge ", "$HOME `date` \\", "a;b|c&d",
         "\u00e9t\u00e9 \u5e74", "*", "x y's \"z\", -w"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_an_option_that_is_printed_is_read_as_the_column(name):
    from fastnn.cli.data import names_in

    option, *value = shlex.split(one_line(f"pass {naming('--category', name)} if"))[1:-1]
    found = value[0] if value else option.partition("=")[2]
    assert option.startswith("--category") and names_in(found) == (name,)


@pytest.mark.parametrize("name", NAMES)
def test_commands_that_errors_print_can_be_pasted(name, tmp_path, capsys):
    path, model = str(tmp_path / "data.csv"), str(tmp_path / "model")
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([name.strip(), "other", "y"])
        writer.writerows([row, ROWS - row, row % 2] for row in range(ROWS - 1))
        writer.writerow(["eleven", "3", "1"])
    train = ["train", path, "--label", "y", "--epochs", "1", "--out", model, "--quiet"]
    assert main(train) == 2
    said = capsys.readouterr().err
    advice = said[said.index("pass --") + 5 : said.index(" if these are names")]
    assert main([*train, *shlex.split(advice)]) == 0


def test_lines_of_a_terminal_end_outside_of_names(monkeypatch):
    from fastnn.cli import screen

    monkeypatch.setattr(screen.sys.stderr, "isatty", lambda: True, raising=False)
    text = f"{'word ' * 14}pass {naming('--number', 'a name of some words')} if these are names"
    assert "--number 'a name of some words'" in screen.wrapped(text)
    assert "\n" in screen.wrapped(text)


MASKED = {
    "arrays": [np.ma.array([1.0, row], mask=[False, row == 3]) for row in range(9)],
    "lists": [[1.0, row if row != 3 else np.ma.masked] for row in range(9)],
    "tuples": tuple((1.0, row if row != 3 else np.ma.masked) for row in range(9)),
    "some": [*([1.0, row] for row in range(3)), np.ma.array([1.0, 9.0], mask=[False, True]),
             *([1.0, row] for row in range(4, 9))],
    "whole numbers": [np.ma.array([1, row], mask=[False, row == 3]) for row in range(9)],
    "words": [np.ma.array(["a", str(row)], mask=[False, row == 3]) for row in range(9)],
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rows", MASKED.values(), ids=MASKED)
def test_what_is_masked_in_a_list_of_rows_is_missing_in_tables(rows):
    fields = Fields.learn(cells_of(rows))
    second = fields.code(cells_of(rows)).numbers[:, -1]
    assert np.flatnonzero(np.isnan(second)).tolist() == [3] and second[4] == 4


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rows", [each for name, each in MASKED.items() if name != "words"])
def test_lists_with_masked_values_are_refused_where_nothing_may_be_missing(rows):
    text = r"X has masked values; fill them first with numpy\.ma\.array\(X\)\.filled"
    for model in (MLPRegressor(), SGDClassifier()):
        with pytest.raises(InvalidInput, match=text):
            model.fit(rows, Y[:9])
    with pytest.raises(InvalidInput, match=text):
        Trainer(Network(2, [Dense(1)]), "mse", target="numpy").fit(rows, Y[:9], 1)
    labels = [row[1] for row in MASKED["lists"]]
    for model in (regressor(), MLPRegressor(max_iter=1), TabularClassifier()):
        with pytest.raises(InvalidInput, match="y has masked values"):
            model.fit(np.ones((9, 2)), labels)
    with pytest.raises(InvalidInput, match="sample_weight has masked values"):
        regressor().fit(np.arange(18.0).reshape(9, 2), Y[:9], sample_weight=labels)
    if isinstance(rows[0], np.ma.MaskedArray):
        assert np.ma.array(rows).filled(-1)[3, 1] == -1


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('age , "a,b"', ("age", "a,b")),
        ('"A, B" , C', ("A, B", "C")),
        ('"a\nb",c\nd', ("a\nb", "c\nd")),
        ('"say ""x""",,z', ('say "x"', "z")),
        ('" c"', (" c",)),
    ],
)
def test_names_are_kept_whole_in_quotes_and_stripped_without(text, names):
    assert names_in(text) == names
