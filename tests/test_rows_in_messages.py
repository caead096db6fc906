"""Errors of a fit on tables name the row of the user's table, whichever rows are read, and how."""

import numpy as np
import pytest

import fastnn
from fastnn import InvalidInput

pytest.importorskip("sklearn", "1.6")
pd = pytest.importorskip("pandas")

ROWS, ROW = 300, 150
RANDOM = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "word": RANDOM.choice(["a", "b", "c"], ROWS).astype(object),
        "number": RANDOM.normal(size=ROWS).astype(object),
        "date": pd.date_range("2020-01-01", periods=ROWS).strftime("%Y-%m-%d").astype(object),
        "time": [f"{row % 24:02}:{row % 60:02}" for row in range(ROWS)],
        "kind": pd.Series(RANDOM.choice(["a", "b"], ROWS)).astype(object),
    }
)
Y = np.arange(ROWS) % 2
WEIGHTS = (np.arange(ROWS) >= 100) * 1.0  # of which those of 0 are read by nobody
WRONG = {
    "a list": ("word", [1, 2]),
    "a dict": ("word", {}),
    "bytes": ("word", b"a"),
    "an object": ("word", object()),
    "text": ("number", "five"),
    "infinity": ("number", np.inf),
    "text among dates": ("date", "soon"),
    "a time zone": ("date", "2020-01-01T00:00+01:00"),
    "text among times": ("time", "noon"),
    "a list among chosen categories": ("kind", [1]),
}


def classifier(**settings):
    return fastnn.TabularClassifier(
        n_members=1, max_iter=1, random_state=0, target="numpy", **settings
    )


def with_wrong(name):
    column, value = WRONG[name]
    table = TABLE.copy()
    table[column] = table[column].astype(object)
    table.at[ROW, column] = value
    return table, rf"column '{column}', row {ROW}[:.]"


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["all", "some"])
def test_errors_of_fit_name_the_row_of_the_table(name, weights):
    table, said = with_wrong(name)
    with pytest.raises(InvalidInput, match=said) as caught:
        classifier(categorical_features=["kind"]).fit(table, Y, sample_weight=weights)
    assert "X_val" not in str(caught.value)


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["all", "some"])
def test_errors_on_rows_to_validate_on_name_these_and_the_row(name, weights):
    table, said = with_wrong(name)
    with pytest.raises(InvalidInput, match=rf"^X_val and y_val: (.|\n)*{said}"):
        classifier(categorical_features=["kind"]).fit(
            TABLE, Y, X_val=table, y_val=Y, sample_weight_val=weights
        )


def test_errors_of_predict_name_the_row_of_the_table():
    model = classifier(categorical_features=["kind"]).fit(TABLE, Y, sample_weight=WEIGHTS)
    for name in WRONG:
        table, said = with_wrong(name)
        with pytest.raises(InvalidInput, match=said):
            model.predict(table)


def test_numbers_that_are_chosen_name_the_row_of_the_table():
    numbers = [[1] if row == ROW else str(row) for row in range(ROWS)]
    with pytest.raises(InvalidInput, match=f"column 'word', row {ROW}: "):
        classifier(numeric_features=["word"]).fit(
            TABLE.assign(word=numbers), Y, sample_weight=WEIGHTS
        )


@pytest.mark.parametrize(("value", "said"), [("five", "is 'five' in row 150"), (np.inf, "row 150")])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["all", "some"])
def test_numbers_to_learn_name_the_row_of_the_table(value, said, weights):
    y = np.array([value if row == ROW else str(each) for row, each in enumerate(Y)])
    if value is np.inf:
        y = y.astype(float)
    model = fastnn.TabularRegressor(n_members=1, max_iter=1, random_state=0, target="numpy")
    with pytest.raises(InvalidInput, match=said):
        model.fit(TABLE, y, sample_weight=weights)
    with pytest.raises(InvalidInput, match=rf"^X_val and y_val: (.|\n)*{said}"):
        model.fit(TABLE, Y, X_val=TABLE, y_val=y, sample_weight_val=weights)


def test_rows_that_weigh_nothing_may_have_anything():
    table, _ = with_wrong("a list")
    weights = np.where(np.arange(ROWS) == ROW, 0.0, 1.0)
    y = np.array(["" if row == ROW else str(each) for row, each in enumerate(Y)])
    model = fastnn.TabularRegressor(n_members=1, max_iter=1, random_state=0, target="numpy")
    model.fit(table, y, sample_weight=weights)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"X_val": TABLE[["number"]], "y_val": Y}, "The feature names should match"),
        ({"X_val": TABLE.to_numpy()[:, :1], "y_val": Y}, "X has 1 features"),
        ({"X_val": TABLE, "y_val": Y[:4]}, "Found input variables with inconsistent"),
        ({"X_val": TABLE, "y_val": Y, "sample_weight_val": -WEIGHTS}, "Negative values"),
    ],
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_what_cannot_be_validated_on_is_named(given, said):
    with pytest.raises(ValueError, match=f"^X_val and y_val: {said}"):
        classifier().fit(TABLE, Y, **given)


def test_a_scorer_is_given_the_rows_that_it_scores():
    seen = []

    def accuracy(estimator, X, y):
        seen.append((X["number"].to_numpy(float), y))
        return float((estimator.predict(X) == y).mean())

    number = TABLE["number"].to_numpy(float)
    answers = number > 0
    given = {"X_val": TABLE, "y_val": answers, "sample_weight_val": WEIGHTS}
    for held_out in ({}, given):
        classifier(scoring=accuracy).fit(TABLE, answers, sample_weight=WEIGHTS, **held_out)
        assert seen and all(np.array_equal(values > 0, y) for values, y in seen)
        assert all(np.isin(values, number[WEIGHTS > 0]).all() for values, _ in seen)
        seen.clear()
