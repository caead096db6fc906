"""Tables whose numbers are as large, or as small, as numbers can be, beside usual ones."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastnn
from fastnn.cli import main
from fastnn.tabular.curve import interpolated
from fastnn.tabular.encodings import Coded, NormalScores, PiecewiseLinear, Ragged
from fastnn.tabular.label import Label
from fastnn.tabular.rules import NumberRule

pytest.importorskip("sklearn", "1.6")

LARGEST = float(np.finfo(np.float64).max)
RANDOM = np.random.default_rng(0)
Z = RANDOM.normal(size=400)
SENTINELS = [LARGEST, -LARGEST, 1e308, 1e307, 1e300]


def with_sentinels(values, *sentinels):
    found = values.copy()
    for place, each in enumerate(sentinels):
        found[place::7] = each
    return found


@pytest.mark.parametrize("unit", [1.0, 1e-20, 1e-300])
@pytest.mark.parametrize("sentinels", [[each] for each in SENTINELS] + [[-LARGEST, LARGEST]])
def test_a_huge_sentinel_leaves_the_scores_of_other_numbers_what_they_are(sentinels, unit):
    """As they are with one that is merely large."""
    usual = with_sentinels(Z, *(1e6 * np.sign(each) for each in sentinels))[:, None]
    extreme = with_sentinels(unit * Z, *sentinels)[:, None]
    columns = np.array([0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = []
        for numbers, middle in ((usual, 0.5), (extreme, 0.5 * unit)):
            scores = np.empty((400, 1), np.float32)
            NormalScores.learn(numbers, columns).fill(Coded(numbers, np.empty((400, 0))), scores)
            part = PiecewiseLinear.learn(numbers, columns, Ragged.of([[-middle, middle]]))
            shares = np.empty((400, part.width), np.float32)
            part.fill(Coded(numbers, np.empty((400, 0))), shares)
            found.append((scores, shares))
    assert_allclose(found[1][0], found[0][0], rtol=1e-6)
    assert np.isfinite(found[1][1]).all() and found[1][1].min() == 0 and found[1][1].max() == 1
    assert_allclose(found[1][1][:, 1], found[0][1][:, 1], atol=1e-6)  # within the middle bin


def test_a_curve_is_that_of_numpy_where_nothing_overflows():
    x = np.sort(RANDOM.normal(size=9))
    y, at = RANDOM.normal(size=9), np.concatenate([2 * RANDOM.normal(size=50), x])
    assert_array_equal(interpolated(at, x, y), np.interp(at, x, y))
    huge = np.concatenate([x, [LARGEST]])  # where it takes the other way
    found = interpolated(at, np.concatenate([[-LARGEST], huge]), [y[0], *y, y[-1]])
    assert_allclose(found, np.interp(at, x, y), rtol=1e-12, atol=1e-15)
    assert interpolated(np.array([-1.0, np.inf, 3.0]), [2.0], [5.0]).tolist() == [5.0] * 3


@pytest.mark.parametrize("sentinels", [[each] for each in SENTINELS] + [[-LARGEST, LARGEST]])
def test_a_column_of_the_command_line_may_have_huge_sentinels(sentinels):
    values = with_sentinels(1e-5 * Z, *sentinels)
    rule = NumberRule.learn("a", values)
    found, _ = rule.apply(values)
    assert rule.x and np.isfinite(found).all()
    usual = NumberRule.learn("a", with_sentinels(Z, *(1e6 * np.sign(each) for each in sentinels)))
    rank = usual.apply(with_sentinels(Z, *(1e6 * np.sign(each) for each in sentinels)))[0][:, 1]
    assert np.corrcoef(rank, found[:, 1])[0, 1] > 0.98


@pytest.mark.parametrize("kind", ["TabularRegressor", "TabularClassifier"])
@pytest.mark.parametrize("sentinels", [[LARGEST], [1e308], [-LARGEST, LARGEST]])
def test_estimators_of_tables_take_huge_sentinels(kind, sentinels):
    X = np.column_stack([with_sentinels(Z, *sentinels), RANDOM.normal(size=400)])
    y = Z + X[:, 1]
    y = y if kind == "TabularRegressor" else (y > 0).astype(int)
    model = getattr(fastnn, kind)(2, max_iter=30, random_state=0, n_jobs=1)
    assert model.fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.7


@pytest.mark.parametrize("least", [-1.0, 0.0, 0.5])
def test_targets_may_be_as_large_as_numbers_can_be(least, tmp_path):
    y = (least + (1 - least) * (np.sin(2 * Z) / 2 + 0.5)) * LARGEST
    X = Z[:, None]
    model = fastnn.TabularRegressor(2, max_iter=40, random_state=0, n_jobs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.9
        assert model.feature_importances_.tolist() == [1.0]
    label = Label("y").scaled_by(y)
    assert_allclose(label.undo(label.standard(y)) / LARGEST, y / LARGEST, rtol=1e-12, atol=1e-15)
    assert np.isfinite(label.undo(np.array([99.0, -99.0]))).all()
    data, out = tmp_path / "data.csv", str(tmp_path / "model")
    rows = "".join(f"{a!r},{b!r}\n" for a, b in zip(Z.tolist(), y.tolist(), strict=True))
    data.write_text(f"z,y\n{rows}")
    given = ["train", str(data), "--label", "y", "--epochs", "3", "--target", "numpy"]
    assert main([*given, "--out", out, "--quiet"]) == 0
