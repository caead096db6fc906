"""Whole numbers that float64 does not hold are the same in every column that may have them."""

import datetime
from decimal import Decimal

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastnn
from fastnn import InvalidInput
from fastnn.tabular.cells import cells_of
from fastnn.tabular.columns import origin_of
from fastnn.tabular.fields import Fields

pytest.importorskip("sklearn", "1.6")
pd = pytest.importorskip("pandas")

LONG = [2**60 + each for each in range(4)]
LACKING = [*LONG[:3], None]
FRAME = pd.DataFrame({"id": LONG * 10, "b": np.arange(40) % 7 + 0.5})


def decimals(values):
    return [None if each is None else Decimal(each) for each in values]


def nullable(values, dtype="Int64"):
    return pd.DataFrame({"id": pd.array(values, dtype), "b": 0.5})


def of_categories(values):
    codes = [-1 if each is None else place for place, each in enumerate(values)]
    return pd.DataFrame({"id": pd.Categorical.from_codes(codes, categories=LONG), "b": 0.5})


def of_objects(values):
    return pd.DataFrame({"id": np.array(values, object), "b": 0.5})


def of_polars(values, dtype="Int64"):
    pl = pytest.importorskip("polars")
    kind = pl.Decimal(38, 2) if dtype == "Decimal" else getattr(pl, dtype)
    given = decimals(values) if dtype == "Decimal" else values
    return pl.DataFrame({"id": pl.Series(given, dtype=kind), "b": [0.5] * 4})


def of_pyarrow(values, dtype="int64"):
    pa = pytest.importorskip("pyarrow")
    ids = pa.array(values)
    if dtype == "decimal":
        ids = pa.array(decimals(values), pa.decimal128(25, 2))
    if dtype == "dictionary":
        ids = ids.dictionary_encode()
    return pa.table({"id": ids, "b": [0.5] * 4})


COLUMNS = {
    "Int64": nullable,
    "UInt64": lambda values: nullable(values, "UInt64"),
    "categories": of_categories,
    "objects": of_objects,
    "decimals": lambda values: of_objects(decimals(values)),
    "text": lambda values: of_objects([each if each is None else str(each) for each in values]),
    "rows": lambda values: [[each, 0.5] for each in values],
    "polars": of_polars,
    "polars unsigned": lambda values: of_polars(values, "UInt64"),
    "polars decimals": lambda values: of_polars(values, "Decimal"),
    "pyarrow": of_pyarrow,
    "pyarrow decimals": lambda values: of_pyarrow(values, "decimal"),
    "pyarrow dictionary": lambda values: of_pyarrow(values, "dictionary"),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_long_numbers_are_the_same_in_every_column(kind):
    fields = Fields.learn(cells_of(FRAME))
    for values, expected in ((LONG, [0, 1, 2, 3]), (LACKING, [0, 1, 2, np.nan])):
        numbers = fields.code(cells_of(COLUMNS[kind](values))).numbers
        assert_array_equal(numbers[:, 0], expected)


@pytest.mark.parametrize("kind", COLUMNS)
def test_long_categories_are_the_same_in_every_column(kind):
    fields = Fields.learn(cells_of(FRAME), categorical=[0])
    for values in (LONG, LACKING):
        codes = fields.code(cells_of(COLUMNS[kind](values))).codes
        assert codes[:3, 0].tolist() == [0, 1, 2]


def test_a_long_category_that_was_not_there_is_no_other_one():
    fields = Fields.learn(cells_of(FRAME), categorical=[0])
    unknown = of_objects([LONG[0] + 4, LONG[0] + 5, LONG[0] + 4, LONG[0] + 5])
    assert fields.code(cells_of(unknown)).codes.ravel().tolist() == [-1] * 4
    fields = Fields.learn(cells_of(of_objects([LONG[0], 7] * 20)), categorical=[0])
    assert fields.code(cells_of(of_objects([LONG[1], LONG[0]]))).codes.ravel().tolist() == [-1, 0]


@pytest.mark.parametrize("kind", ["Int64", "objects", "decimals", "text"])
def test_long_numbers_beside_missing_ones_are_learnt(kind):
    cells = cells_of(pd.concat([COLUMNS[kind](LACKING)] * 10))
    fields = Fields.learn(cells, numeric=[0])
    assert_array_equal(fields.code(cells).numbers[:4, 0], [0, 1, 2, np.nan])


def test_a_gap_leaves_predictions_of_other_rows_what_they_are():
    frame, answers = FRAME, np.tile([0.0, 5.0, -5.0, 1.0], 10)
    model = fastnn.TabularRegressor(1, max_iter=2, random_state=0, target="numpy")
    model.fit(frame, answers)
    whole = frame[:4].assign(id=pd.array(LONG, "Int64"))
    lacking = frame[:4].assign(id=pd.array(LACKING, "Int64"))
    assert_array_equal(model.predict(lacking)[:3], model.predict(whole)[:3])
    assert_array_equal(model.predict(whole), model.predict(frame[:4]))


@pytest.mark.parametrize(
    ("cells", "origin"),
    [
        ([1, 2.5, None], 0),
        ([2**60 + 1, 2.0**60, None], 2**60),
        ([-(2**63), 1 - 2**63, "nan"], -(2**63)),
        ([2**60, 1], 0),
        ([10**400, 10**400 + 1], 0),
        ([Decimal("1e9999999"), Decimal(2**60)], 0),
        ([Decimal("NaN"), Decimal(2**60) + Decimal("0.5")], 2**60),
        ([float("inf"), 2**60], 2**60),
        ([str(2**60 + 1), f"{2**60}.5", "a word without end"], 2**60),
        (["1000000000000000001", "1e18", None], 10**18),
        (["1e-99999999999999999999", "2.25"], 0),
        (["0.1234567890123456789", " 12 ", "-5"], 0),
    ],
)
def test_the_origin_of_objects_is_their_least_where_floats_would_round(cells, origin):
    assert origin_of(np.array(cells, object)) == origin


@pytest.mark.parametrize("trained", [[1, 2], [True, False], ["1", "2"], [2**60, 2**60 + 1]])
def test_durations_where_there_were_numbers_are_refused(trained):
    numbers = pd.DataFrame({"a": trained * 20})
    fields = Fields.learn(cells_of(numbers))
    for given in (pd.to_timedelta([1, 2], "s"), [datetime.timedelta(1), np.timedelta64(1, "D")]):
        with pytest.raises(InvalidInput, match="column 'a'.* (durations|a number)"):
            fields.code(cells_of(pd.DataFrame({"a": given})))
    mixed = pd.DataFrame({"a": np.array([1, np.timedelta64(1, "D")], object)})
    with pytest.raises(InvalidInput, match="column 'a', row 1: .* where a number is due"):
        fields.code(cells_of(mixed))


def test_durations_are_no_numeric_features():
    spent = pd.DataFrame({"a": pd.to_timedelta(np.arange(40), "s")})
    with pytest.raises(InvalidInput, match="column 'a' has durations, but numeric_features names"):
        Fields.learn(cells_of(spent), numeric=[0])
