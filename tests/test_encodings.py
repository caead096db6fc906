"""Encodings of columns: each against an independent value, over hostile columns."""

import json
import tracemalloc

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from fastnn.errors import CorruptFile
from fastnn.tabular import encodings
from fastnn.tabular.edges import quantile_edges, spread_edges, tree_edges
from fastnn.tabular.encodings import (
    Bins,
    Coded,
    Encoding,
    Flags,
    NormalScores,
    OneHot,
    PiecewiseLinear,
    Ragged,
    cuts_of,
    gaps,
    varied,
)

HOSTILE = {
    "normal": np.random.default_rng(0).normal(size=60),
    "two values": np.repeat([3.0, 7.0], 30),
    "mostly zero": np.where(np.arange(60) % 9, 0.0, np.arange(60.0)),
    "huge": np.linspace(-1, 1, 60) * 1.7e308,
    "subnormal": np.arange(60) * 5e-324,
    "neighbours": 1.0 + np.arange(60) % 3 * np.finfo(float).eps,
    "gaps": np.where(np.arange(60) % 4, np.arange(60.0), np.nan),
    "one present, one other": np.array([1.0, 2.0] + [np.nan] * 58),
}
NO_CODES = np.empty((60, 0), np.int64)


def coded(*columns):
    numbers = np.stack(columns, axis=1)
    return Coded(numbers, np.empty((len(numbers), 0), np.int64))


def filled(part, table):
    out = np.empty((len(table), part.width), np.float32)
    part.fill(table, out)
    return out


@pytest.mark.parametrize("bins", [2, 8, 64])
@pytest.mark.parametrize("name", HOSTILE)
def test_cuts_separate_the_values_of_any_column(name, bins):
    values = HOSTILE[name][~np.isnan(HOSTILE[name])]
    targets = np.sin(np.arange(len(values)) / 5)
    for cuts in (
        quantile_edges(values, bins),
        spread_edges(values, bins),
        tree_edges(values, targets, bins, 1),
    ):
        assert np.isfinite(cuts).all() and (np.diff(cuts) > 0).all() and len(cuts) < bins
        places = np.searchsorted(cuts, np.unique(values), "right")
        assert set(places) == set(range(len(cuts) + 1))  # no bin is empty


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_tree_cuts_where_that_of_scikit_learn_does(classes):
    tree = pytest.importorskip("sklearn.tree")
    generator = np.random.default_rng(1)
    x = np.round(generator.normal(size=400), 1)
    y = np.sin(3 * x) + generator.normal(size=400) / 2
    if classes:
        y = np.digitize(y, np.quantile(y, np.arange(1, classes) / classes))
    kind = tree.DecisionTreeClassifier if classes else tree.DecisionTreeRegressor
    made = kind(max_leaf_nodes=6, min_samples_leaf=9, random_state=0).fit(x[:, None], y).tree_
    targets = y[:, None] == np.arange(classes) if classes > 2 else y
    expected = np.sort(made.threshold[made.feature >= 0])
    np.testing.assert_allclose(tree_edges(x, targets, 6, 9), expected, atol=1e-9)


def test_a_tree_of_many_values_cuts_off_the_few_rows_that_tell_most():
    x = np.concatenate([np.arange(60_000.0), 1e6 + np.arange(30)])
    y = np.concatenate([np.arange(60_000) % 2, np.ones(30)])
    (cut,) = tree_edges(x, y, 2, 20)
    assert 59_900 < cut < 1e6


def test_a_tree_finds_nothing_where_y_is_alike_or_leaves_would_be_too_small():
    x = np.arange(10.0)
    assert len(tree_edges(x, np.ones(10), 4, 1)) == 0
    assert len(tree_edges(x, x, 4, 6)) == 0
    assert len(tree_edges(np.ones(10), x, 4, 1)) == 0


def test_normal_scores_are_those_of_middle_ranks():
    values = np.array([5.0, 1.0, 1.0, 9.0, 7.0, 1.0])
    part = NormalScores.learn(values[:, None], np.array([0]), 0.5)
    expected = 0.5 * norm.ppf((rankdata(values) - 0.5) / 6)
    np.testing.assert_allclose(filled(part, coded(values))[:, 0], expected, rtol=1e-6)
    beyond = filled(part, coded(np.array([-1e300, 1e300, np.nan, 6.0])))[:, 0]
    middle = (expected[0] + expected[4]) / 2  # of 5 and 7
    np.testing.assert_allclose(beyond, [expected[1], expected[3], expected[1], middle], rtol=1e-6)


def test_many_different_numbers_have_scores_between_knots():
    values = np.random.default_rng(2).lognormal(size=20_000)
    part = NormalScores.learn(values[:, None], np.array([0]))
    expected = norm.ppf((rankdata(values) - 0.5) / len(values))
    error = np.abs(filled(part, coded(values))[:, 0] - expected)
    assert len(part.x[0]) == encodings.KNOTS and np.quantile(error, 0.995) < 0.01


@pytest.mark.parametrize("name", HOSTILE)
def test_normal_scores_keep_the_order_of_any_column(name):
    values = HOSTILE[name][~np.isnan(HOSTILE[name])]
    part = NormalScores.learn(values[:, None], np.array([0]))
    expected = norm.ppf((rankdata(values) - 0.5) / len(values))
    np.testing.assert_allclose(filled(part, coded(values))[:, 0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", HOSTILE)
def test_piecewise_linear_features_reach_from_0_to_their_weight_one_after_another(name):
    values = HOSTILE[name]
    cuts = cuts_of(values[:, None], np.array([0]), "quantile", 8, values)
    part = PiecewiseLinear.learn(values[:, None], np.array([0]), cuts, 0.25)
    found = filled(part, coded(np.sort(values[~np.isnan(values)])))
    assert 0 < found.shape[1] <= len(cuts[0]) + 1
    assert (found >= 0).all() and (found <= 0.25).all() and (np.diff(found, axis=0) >= 0).all()
    assert (found[0] == 0).all() and (found[-1] == 0.25).all()
    assert ((found[:, :-1] == 0.25) | (found[:, 1:] == 0)).all()  # a bin begins where one is full


def test_piecewise_linear_features_are_shares_of_bins():
    part = PiecewiseLinear.learn(
        np.array([[0.0], [4.0]]), np.array([0]), Ragged.of([[1.0, 3.0]]), 1.0
    )
    found = filled(part, coded(np.array([-1.0, 0.5, 2.0, 5.0, np.nan])))
    expected = [[0, 0, 0], [0.5, 0, 0], [1, 0.5, 0], [1, 1, 1], [0, 0, 0]]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_number_is_in_one_bin_and_a_missing_one_too(name):
    values = HOSTILE[name]
    cuts = cuts_of(values[:, None], np.array([0]), "spread", 8, values)
    part = Bins.learn(values[:, None], np.array([0]), cuts)
    found = part.choose(coded(values))[:, 0]
    missing = np.isnan(values)
    assert part.width == len(cuts[0]) + 1 + missing.any()
    assert (found[~missing] == np.digitize(values[~missing], cuts[0])).all()
    assert (found[missing] == part.width - 1).all()
    alone = part.choose(coded(np.array([np.nan])))[0, 0]
    if not missing.any():  # it is the median
        assert alone == np.digitize(np.sort(values)[29], cuts[0])


def test_columns_without_two_values_have_no_features_and_those_with_gaps_flags():
    numbers = np.array([[1.0, np.nan, 5.0, 2.0], [1.0, np.nan, np.nan, 3.0]])
    assert varied(numbers).tolist() == [3]
    assert gaps(numbers).tolist() == [2]
    assert filled(Flags(gaps(numbers)), Coded(numbers, NO_CODES[:2])).tolist() == [[0], [1]]


def whole(rows=300, columns=9, categories=(5, 2, 90)):
    """Return a table, and an encoding of it with every part."""
    generator = np.random.default_rng(3)
    numbers = generator.normal(size=(rows, columns))
    numbers[generator.uniform(size=numbers.shape) < 0.2] = np.nan
    codes = np.stack([generator.integers(-1, n, rows) for n in categories], axis=1)
    chosen = np.arange(columns)
    cuts = cuts_of(numbers, chosen, "tree", 16, generator.normal(size=rows), 5)
    filling = (
        NormalScores.learn(numbers, chosen),
        PiecewiseLinear.learn(numbers, chosen[:1], cuts, 0.2),
        Flags(gaps(numbers)),
    )
    choosing = Bins.learn(numbers, chosen, cuts), OneHot(np.array(categories))
    return Coded(numbers, codes), Encoding(filling, choosing)


def test_sparse_and_dense_rows_are_the_same_and_each_row_is_encoded_alone(monkeypatch):
    table, encoding = whole()
    monkeypatch.setattr(encodings, "_BLOCK", 64)
    assert encoding.sparse
    sparse = encoding.apply(table)
    monkeypatch.setattr(encodings, "DENSEST", 0.0)
    assert not encoding.sparse
    dense = encoding.apply(table)
    assert dense.dtype == np.float32 and dense.shape == (300, encoding.width)
    assert sparse.dtype == np.float32 and sparse.has_canonical_format
    assert (sparse.toarray() == dense).all()
    assert (np.concatenate([encoding.apply(table.take(np.array([i]))) for i in (0, 299)])
            == dense[[0, 299]]).all()  # fmt: skip
    ones = encoding.choosing[1].width
    assert (dense[:, -ones:].sum(axis=1) == (table.codes >= 0).sum(axis=1)).all()


def test_an_encoding_goes_through_plain_values_and_arrays_to_the_same_bits():
    table, encoding = whole()
    plain, arrays = encoding.to_arrays()
    again = Encoding.from_arrays(json.loads(json.dumps(plain)), arrays)
    assert (again.apply(table) != encoding.apply(table)).nnz == 0
    for parts in ([{"kind": "magic"}], [{"kind": "bins"}], 3, [None]):
        with pytest.raises(CorruptFile):
            Encoding.from_arrays({"dense": False, "parts": parts}, arrays)
    del arrays["0.x.starts"]
    with pytest.raises(CorruptFile, match="0.x.starts"):
        Encoding.from_arrays(plain, arrays)


def test_nothing_to_learn_from_is_one_feature_that_is_0():
    table = Coded(np.ones((4, 1)), NO_CODES[:4])
    encoding = Encoding((NormalScores.learn(table.numbers, varied(table.numbers)),), ())
    assert encoding.apply(table).tolist() == [[0], [0], [0], [0]]


def test_encoding_needs_no_more_memory_than_its_features_and_a_block():
    table, encoding = whole(rows=40_000, columns=4, categories=(300,))
    tracemalloc.start()
    features = encoding.apply(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = sum(part.nbytes for part in (features.data, features.indices, features.indptr))
    assert peak < 2.5 * size + 20e6


def test_the_word_of_a_cell_does_not_depend_on_other_rows():
    from fastnn.tabular.columns import words_of

    for cells in ([1, True], [True, 1], [True], [1.0, True, 1]):
        found = words_of(np.array([*cells, "x"], object), "c")[:-1]
        assert found == ["True" if cell is True else "1" for cell in cells]


def test_categories_of_a_few_rows_count_by_themselves_and_a_column_of_rare_ones_warns():
    from fastnn.tabular.cells import Cells
    from fastnn.tabular.fields import Fields

    def learnt(each, count):
        words = np.array([f"u{number}" for number in np.repeat(np.arange(count), each)], object)
        columns = words, np.arange(len(words))
        cells = Cells(columns, ("column 'id'", "column 'n'"), (False, False), len(words))
        return Fields.learn(cells).fields[0]

    assert len(learnt(7, 800).words) == 800
    with pytest.warns(UserWarning, match="2000 categories .* count as one, in 4000 of 4000 rows"):
        assert not learnt(2, 2000).words


def test_durations_and_times_of_day_are_numbers_whatever_library_they_come_from():
    import datetime

    from fastnn.errors import InvalidInput
    from fastnn.tabular.cells import cells_of
    from fastnn.tabular.fields import Fields

    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    took = [datetime.timedelta(days=1, seconds=row, microseconds=500_000) for row in range(24)]
    at = [datetime.time(row, 30) for row in range(24)]
    took[3] = at[4] = None
    text = [None if each is None else each.strftime("%H:%M") for each in at]
    numpy = np.array([None if each is None else np.timedelta64(each) for each in took], object)
    columns = {"took": took, "at": at, "text": text}
    frames = (
        pd.DataFrame(columns),
        pd.DataFrame({**columns, "took": pd.Series(numpy, dtype=object)}),
        pl.DataFrame(columns),
    )
    seconds = np.arange(24.0) + 86_400.5
    seconds[3] = np.nan
    clock = np.arange(24.0) * 3600 + 1800
    clock[4] = np.nan
    angle = 2 * np.pi * clock / 86_400
    due = np.stack([seconds, *2 * [clock, np.cos(angle), np.sin(angle)]], axis=1)
    for frame in frames:
        fields = Fields.learn(cells_of(frame))
        assert [field.kind for field in fields.fields] == ["duration", "time", "time"]
        again = Fields.from_plain(fields.to_plain())
        assert again == fields
        for other in frames:
            np.testing.assert_allclose(again.code(cells_of(other)).numbers, due, rtol=1e-12)
    nothing = pd.DataFrame(dict.fromkeys(columns, [None, None]))
    assert np.isnan(fields.code(cells_of(nothing)).numbers).all()
    for name, cells, words in (
        ("took", [1, 2], r"'took' has numbers \(int64\) where there were durations"),
        ("took", ["soon", None], "'took', row 0: 'soon' where a duration is due"),
        ("at", ["25:00", None], "'at', row 0: '25:00' where a time is due"),
        ("text", [pd.Timestamp(0)] * 2, "'text' has dates"),
    ):
        with pytest.raises(InvalidInput, match=words):
            fields.code(cells_of(nothing.assign(**{name: cells})))


@pytest.mark.parametrize("dense", [True, False])
def test_weights_of_columns_multiply_all_of_their_features(dense):
    from fastnn.tabular.encodings import Flags, NormalScores, OneHot, Ragged

    random = np.random.default_rng(0)
    numbers = random.normal(size=(50, 3))
    numbers[::7, 2] = np.nan
    columns, cuts = np.array([0, 2]), Ragged.of([np.linspace(-2, 2, 40), [0.0, 1.0]])
    coded = Coded(numbers, random.integers(-1, 40, (50, 2)))
    plain = Encoding(
        (
            NormalScores.learn(numbers, columns),
            PiecewiseLinear.learn(numbers, columns, cuts),
            Flags(np.array([2])),
        ),
        (Bins.learn(numbers, columns, cuts), OneHot(np.array([40, 40]))),
        dense,
    )
    weighed = plain.weighed(np.array([0.5, 9.0, 0.25]), np.array([2.0, 4.0]))
    assert weighed.sparse == plain.sparse
    found, base = (np.asarray(each.toarray() if hasattr(each, "toarray") else each)
                   for each in (weighed.apply(coded), plain.apply(coded)))  # fmt: skip
    each_scale = np.concatenate(
        [np.repeat([0.5, 0.25], n) for n in ([1, 1], [41, 3])] + [[0.25]]
        + [np.repeat([0.5, 0.25], [41, 4]), np.repeat([2.0, 4.0], 40)]
    )  # fmt: skip
    np.testing.assert_allclose(found, base * each_scale, rtol=1e-6)
    again = Encoding.from_arrays(*weighed.to_arrays())
    assert np.array_equal(again.scale, weighed.scale)
    assert Encoding.from_arrays(*plain.to_arrays()).scale is None
