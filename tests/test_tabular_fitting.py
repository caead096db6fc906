"""A fit of a population of a table: how many members there are, and which of them count."""

import itertools
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastnn
from fastnn.tabular.encodings import Coded
from fastnn.training.ensemble import Ensemble
from fastnn.training.snapshot import Snapshot

pytest.importorskip("sklearn", "1.6")
pd = pytest.importorskip("pandas")
from fastnn.estimators.tabular import fitting  # noqa: E402
from fastnn.estimators.tabular.fitting import Fit, Part  # noqa: E402
from fastnn.estimators.tabular.members import draw  # noqa: E402


@pytest.mark.parametrize(
    ("seconds_left", "members", "more"), [(10.0, 40, 14), (10.0, 5, 3), (1.0, 40, 0), (None, 40, 0)]
)
def test_what_is_left_of_a_time_limit_goes_to_more_members(seconds_left, members, more):
    """Two members at a time took a second, and the next ones may take 1.3."""
    fit = Fit.__new__(Fit)
    fit.settings = SimpleNamespace(workers=2, members=members)
    fit.recipes, fit._seconds_left = [None, None], lambda: seconds_left
    assert fit._more(2, 1.0) == more


def test_trees_of_many_columns_are_no_more_than_there_is_time_for():
    """The encodings of the members to come are those that were made, once there are enough."""
    random = np.random.default_rng(0)
    fit = Fit.__new__(Fit)
    fit.recipes = [draw(random, "smooth", 2, False) for _ in range(2)]
    drawn = [draw(random, "steps", 2, False) for _ in range(12)]
    assert fit._with_views(drawn, 99) == drawn
    for most in (1, 3):
        found = fit._with_views(drawn, most)
        assert len({each.view for each in found}) == max(1, most - 1)
        assert [each.seed for each in found] == [each.seed for each in drawn]


@pytest.mark.parametrize(
    ("encoded", "rows", "views", "cuts"),
    [(1e-6, 5000, 1500, "tree"), (4e-4, 5000, 3, "tree"), (1e-2, 5000, 1, "quantile")],
)
def test_bins_are_cut_at_quantiles_where_there_is_no_time_for_trees(encoded, rows, views, cuts):
    """A quarter of thirty seconds may go to features, of 2048 rows at least."""
    numbers = np.zeros((rows, 3))
    fit = Fit.__new__(Fit)
    fit.training = fit.validation = Part(
        Coded(numbers, np.empty((rows, 0), np.int64)), np.zeros(rows), None
    )
    fit.settings = SimpleNamespace(workers=1, members=16, epochs=80)
    fit._seconds_left, fit._seconds_per_row = lambda: 30.0, lambda kind: (1e-9, encoded)
    plan = fit._plan("steps")
    assert (plan.views, plan.cuts) == (views, cuts)


def test_of_many_columns_some_stand_for_all_where_time_is_measured(monkeypatch):
    seen = []
    encode = fitting.encoding_of

    def watch(recipe, coded, *arguments):
        seen.append(coded.numbers.shape[1])
        return encode(recipe, coded, *arguments)

    monkeypatch.setattr(fitting, "encoding_of", watch)
    X = np.random.default_rng(0).normal(size=(60, 700))
    model = fastnn.TabularClassifier(time_limit=0.01, random_state=0, n_jobs=1)
    model.fit(X, X[:, 0] > 0)
    assert seen[0] == 128 and set(seen[1:]) == {700}
    assert len(model.members_) == 2 and model.predict(X).shape == (60,)


def choosing(outputs, targets, weights=None):
    """Return a fit that has trained one member for each of the outputs, and is to choose."""
    network = fastnn.Network(1, [fastnn.Dense(1)])
    trainers = [fastnn.Trainer(network, loss="mse", seed=k) for k in range(len(outputs))]
    fit = Fit.__new__(Fit)
    fit.found = [
        [Snapshot.of(trainer, outputs=each[:, None].astype(np.float32))]
        for trainer, each in zip(trainers, outputs, strict=True)
    ]
    fit.validation = SimpleNamespace(targets=targets.astype(np.float32), weights=weights)
    fit.settings = SimpleNamespace(seed=0, scoring=None)
    return fit


def test_by_few_rows_alike_members_count_about_alike():
    """Members that err as much, and mostly together, are best averaged with equal weights."""
    random = np.random.default_rng(0)
    targets = random.normal(size=200)
    outputs = targets + random.normal(size=200) + 0.3 * random.normal(size=(12, 200))
    off = {}
    for rows in (200, 50):
        chosen = choosing(outputs[:, :rows], targets[:rows])._chosen()
        weights = np.zeros(12)
        weights[[each.problem.seed for each in chosen.members]] = chosen.weights
        assert_allclose(weights.sum(), 1)
        off[rows] = np.abs(weights - 1 / 12).sum()
    assert off[50] == pytest.approx(0)  # of fewer than 100 rows there is no choice
    once = Ensemble.select([one for (one,) in choosing(outputs, targets).found], targets)
    weights = np.zeros(12)
    weights[[each.problem.seed for each in once.members]] = once.weights
    assert 0 < off[200] < 0.8 * np.abs(weights - 1 / 12).sum()


def test_rows_of_weight_0_have_no_part_in_the_choice():
    random = np.random.default_rng(1)
    targets, outputs = random.normal(size=(1, 150))[0], random.normal(size=(5, 150))
    worse = np.hstack([outputs, 99 * random.normal(size=(5, 50))])
    weights = np.repeat([2.0, 0.0], [150, 50])
    expected = choosing(outputs, targets, np.full(150, 2.0))._chosen()
    found = choosing(worse, np.append(targets, np.zeros(50)), weights)._chosen()
    assert [each.problem.seed for each in found.members] == [
        each.problem.seed for each in expected.members
    ]
    assert_allclose(found.weights, expected.weights)


@pytest.mark.parametrize(
    ("classes", "columns", "members", "kinds"),
    [
        (2, "numbers", 1, ["smooth"]),
        (2, "both", 1, ["steps"]),
        (2, "numbers", 2, ["steps", "smooth"]),
        (3, "both", 5, ["steps", "smooth"]),
        (2, "words", 3, ["steps"]),
        (0, "both", 2, ["smooth"]),
    ],
)
def test_few_members_of_classes_begin_with_one_of_each_kind(classes, columns, members, kinds):
    """The others are all of the kind that did better."""
    random = np.random.default_rng(0)
    number, word = random.normal(size=120), random.choice(["a", "b", "c"], 120)
    table = {"numbers": {"number": number}, "words": {"word": word}}
    table["both"] = table["numbers"] | table["words"]
    X = pd.DataFrame(table[columns])
    y = random.integers(0, classes, 120) if classes else number
    kind = fastnn.TabularClassifier if classes else fastnn.TabularRegressor
    model = kind(members, max_iter=2, random_state=0, n_jobs=1).fit(X, y)
    found = [each.kind for each in model.members_]
    assert len(found) == members and found[: len(kinds)] == kinds
    assert len(set(found[len(kinds) :])) <= 1


@pytest.mark.parametrize("name", ["w", Path("w.npy"), b"w"])
@pytest.mark.parametrize("what", ["y", "sample_weight", "groups", "y_val", "sample_weight_val"])
def test_names_of_columns_do_not_stand_for_their_values(what, name):
    X, y = np.arange(40.0)[:, None], np.arange(40) % 2
    given = {"y": y} | ({"X_val": X, "y_val": y} if what.endswith("_val") else {}) | {what: name}
    with pytest.raises(
        fastnn.InvalidInput, match=f"^{what} is .*, where one value a row is due; pass th"
    ):
        fastnn.TabularClassifier().fit(X, **given)


@pytest.mark.parametrize(("limit", "a_look", "told"), [(4.0, 3.0, True), (90.0, 0.01, False)])
def test_a_fit_that_takes_longer_than_its_limit_says_so(monkeypatch, limit, a_look, told):
    clock = itertools.count(0.0, a_look)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    X = np.random.default_rng(0).normal(size=(60, 5))
    model = fastnn.TabularClassifier(time_limit=limit, random_state=0, n_jobs=1, max_iter=1)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model.fit(X, X[:, 0] > 0)
    over = [each for each in found if "time_limit=4" in str(each.message)]
    assert len(over) == told
    assert not over or ("5 columns" in str(over[0].message) and over[0].filename == __file__)
