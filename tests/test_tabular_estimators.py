"""TabularClassifier and TabularRegressor: tables as they are, chosen members, nothing half done."""

import copy
import datetime
import importlib.util
import pickle
import time

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal

import fastnn
from fastnn.errors import CorruptFile, InvalidInput

sklearn = pytest.importorskip("sklearn", "1.6")
pd = pytest.importorskip("pandas")
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.inspection import partial_dependence  # noqa: E402
from sklearn.metrics import log_loss, roc_auc_score  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402

from fastnn.estimators.tabular.splitting import split  # noqa: E402
from fastnn.tabular.cells import cells_of  # noqa: E402
from fastnn.tabular.fields import Fields  # noqa: E402

N = 240
RNG = np.random.default_rng(0)


def table(rows=N):
    """Return a frame with a column of each kind, of which "size" and "city" decide."""
    generator = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "size": generator.lognormal(size=rows),
            "city": generator.choice(["Ulm", "Bonn", "Kiel"], rows),
            "kind": pd.Categorical(generator.choice(["a", "b"], rows)),
            "rooms": pd.array(generator.integers(1, 6, rows), "Int64"),
            "new": generator.uniform(size=rows) < 0.3,
            "sold": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(rows) % 500, "D"),
            "noise": generator.normal(size=rows),
        }
    )
    frame.loc[::7, "rooms"] = pd.NA
    frame.loc[::5, "noise"] = np.nan
    frame.loc[::9, "city"] = None
    return frame


X = table()
PRICE = np.log(X["size"].to_numpy()) + 1.5 * (X["city"] == "Ulm").to_numpy()
NUMBERS = X[["size", "noise"]].to_numpy()
BOUGHT = np.where(PRICE > np.median(PRICE), "yes", "no")


def classifier(**settings):
    settings = {"n_members": 2, "max_iter": 8, "random_state": 0} | settings
    return fastnn.TabularClassifier(**settings)


def regressor(**settings):
    settings = {"n_members": 2, "max_iter": 8, "random_state": 0} | settings
    return fastnn.TabularRegressor(**settings)


CLASSIFIER, REGRESSOR = classifier().fit(X, BOUGHT), regressor().fit(X, PRICE)


def state(model):
    return {name: id(value) for name, value in vars(model).items()}


def test_a_table_of_every_kind_of_column_is_learnt_as_it_is():
    model = classifier(n_members=4, max_iter=40).fit(X[:200], BOUGHT[:200])
    assert model.score(X[200:], BOUGHT[200:]) > 0.85
    assert regressor(n_members=4, max_iter=60).fit(X[:200], PRICE[:200]).score(
        X[200:], PRICE[200:]
    ) > 0.8  # fmt: skip
    assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    assert_array_equal(model.predict(X), model.classes_[model.predict_proba(X).argmax(axis=1)])
    assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)))


def test_frames_of_three_libraries_and_arrays_of_objects_give_the_same_bits():
    polars, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    expected = CLASSIFIER.predict_proba(X)
    for other in (polars.from_pandas(X), arrow.Table.from_pandas(X)):
        assert_array_equal(classifier().fit(other, BOUGHT).predict_proba(other), expected)
        assert_array_equal(CLASSIFIER.predict_proba(other), expected)
    plain = X.drop(columns=["sold"])
    objects = plain.astype(object).to_numpy()
    assert_array_equal(
        regressor().fit(plain, PRICE).predict(plain),
        regressor().fit(objects, PRICE).predict(objects),
    )
    assert_array_equal(
        regressor().fit(objects, PRICE).predict(objects.tolist()),
        regressor().fit(objects.tolist(), PRICE).predict(objects),
    )


ARROW = importlib.util.find_spec("pyarrow") is not None


@pytest.mark.parametrize(
    "labels",
    [
        BOUGHT,
        BOUGHT.astype(object),
        BOUGHT == "yes",
        np.where(BOUGHT == "yes", 7, -3),
        np.where(BOUGHT == "yes", 2.0, 1.0),
        pd.Series(BOUGHT, dtype="category"),
        np.char.add(BOUGHT, np.where(X["city"] == "Ulm", " Ulm", "")),
        BOUGHT.astype(np.dtypes.StringDType()),
        (BOUGHT == "yes").astype(object),
        pd.Series(np.where(BOUGHT == "yes", 7, -3), dtype=object),
        np.array([np.int8(label == "yes") for label in BOUGHT], object),
        np.where(BOUGHT == "yes", 2.0, 1.0).astype(object),
        pd.Series(BOUGHT == "yes", dtype="boolean"),
        *(pd.Series(BOUGHT == "yes", dtype="bool[pyarrow]") for _ in range(ARROW)),
        pd.Series(np.where(BOUGHT == "yes", 7, -3), dtype="Int64"),
    ],
)
def test_labels_of_any_kind_are_given_back_and_kept_in_a_file(labels, tmp_path):
    model = classifier().fit(X, labels)
    assert_array_equal(model.classes_, np.unique(labels))
    assert model.classes_.dtype.kind in "biUf" and model.score(X, labels) > 0.5
    fractional = isinstance(np.asarray(labels).item(0), float)
    assert (model.classes_.dtype.kind == "f") == fractional
    assert model.predict(X).dtype == model.classes_.dtype
    assert model.predict_proba(X).shape == (N, len(model.classes_))
    model.save(tmp_path / "model.safetensors")
    again = fastnn.TabularClassifier.load(tmp_path / "model.safetensors")
    assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("scale", [1e-300, 1e6, 1e300])
def test_predictions_are_in_the_units_of_y_and_within_its_range(scale):
    y = PRICE * scale
    model = regressor().fit(X, y)
    assert_allclose(model.predict(X), REGRESSOR.predict(X) * scale, rtol=1e-4, atol=1e-4 * scale)
    wild = X.assign(size=1e300)
    assert y.min() <= model.predict(wild).min() and model.predict(wild).max() <= y.max()
    constant = regressor().fit(X, np.full(N, 3 * scale))
    assert_allclose(constant.predict(X), 3 * scale)


def test_hostile_columns_are_learnt_and_later_ones_may_be_worse():
    frame = X.assign(
        alike=1.0,
        empty=np.nan,
        nothing=None,
        huge=np.where(np.arange(N) % 2, 1e300, -1.7e308),
        big=2**60 + np.arange(N),
        unsigned=np.uint64(2**64 - 1) - np.arange(N, dtype=np.uint64),
        once=["x"] * (N - 1) + ["y"],
        number=[f"n{row}" for row in range(N)],
        text=np.arange(N).astype(str),
    )
    model = classifier().fit(frame, BOUGHT)
    assert np.isfinite(model.predict_proba(frame)).all()
    later = frame.assign(city="Atlantis", kind=None, noise=np.nan, size=np.nan, new=None, sold=None)
    assert np.isfinite(model.predict_proba(later)).all()
    assert np.isfinite(model.predict_proba(later.assign(empty=1.0, once=3, huge=0.5))).all()
    assert np.isfinite(model.predict_proba(frame[:1])).all()


def test_each_row_is_predicted_alone():
    assert_allclose(CLASSIFIER.predict_proba(X[:1]), CLASSIFIER.predict_proba(X)[:1], rtol=1e-5)
    order = RNG.permutation(N)
    assert_array_equal(CLASSIFIER.predict(X.iloc[order]), CLASSIFIER.predict(X)[order])


def fit(*given, kind=classifier, settings=None, **more):
    """Return what fits a model anew."""
    return lambda: kind(**settings or {}).fit(*given, **more)


def predict(**columns):
    """Return what predicts for a table with other columns."""
    return lambda: CLASSIFIER.predict(X.assign(**columns))


DAY = np.datetime64("2024-01-01", "ns")
GAPS = np.where(np.arange(N) == 3, None, BOUGHT)
SPARSE = scipy.sparse.eye_array(9)
MIXED = ["?!"] + ["1.5"] * (N - 1)
REFUSED = {
    "sparse": (fit(SPARSE, [0] * 9), TypeError, "Sparse data was passed"),
    "infinity": (fit(X.assign(size=np.inf), BOUGHT), ValueError, "infinity.*\n.*'size', row 0"),
    "infinity later": (predict(noise=-np.inf), ValueError, "'noise', row 0"),
    "text among numbers": (
        fit(X.assign(noise=MIXED), BOUGHT),
        InvalidInput,
        r"column 'noise', row 0: '\?!' where a number is due.*categorical_features",
    ),
    "text later": (predict(noise="loud"), InvalidInput, "'noise', row 0: 'loud'"),
    "dates later": (predict(noise=X["sold"]), InvalidInput, "'noise' has dates where"),
    "numbers for dates": (predict(sold=1.5), InvalidInput, "'sold' has numbers"),
    "other columns": (
        lambda: CLASSIFIER.predict(X.rename(columns={"size": "Size"})),
        ValueError,
        "feature names should match",
    ),
    "fewer columns": (
        lambda: regressor().fit(NUMBERS, PRICE).predict(NUMBERS[:, :1]),
        ValueError,
        "expecting 2 features",
    ),
    "one class": (fit(X, np.ones(N)), ValueError, "got 1 class"),
    "numbers as classes": (fit(X, PRICE), ValueError, "Unknown label type"),
    "words as numbers": (fit(X, BOUGHT, kind=regressor), ValueError, "y must be numbers"),
    "missing y": (fit(X, PRICE * np.nan, kind=regressor), ValueError, "y contains NaN"),
    "missing label": (fit(X, GAPS), InvalidInput, "contains None: there is no value in row 3"),
    "NA label": (fit(X, pd.Series(GAPS, dtype="string")), InvalidInput, "contains NaN: .* row 3"),
    "NA truth": (
        fit(X, pd.Series([*(BOUGHT[:-1] == "yes"), None], dtype="boolean")),
        InvalidInput,
        f"contains NaN: .* row {N - 1}",
    ),
    "NA number": (
        fit(X, pd.Series([*PRICE[:-1], None], dtype="Float64"), kind=regressor),
        InvalidInput,
        f"contains NaN: .* row {N - 1}",
    ),
    "labels that are dates": (
        fit(X, np.where(BOUGHT == "yes", DAY, DAY + 1)),
        InvalidInput,
        "labels cannot be such as",
    ),
    "labels that are durations": (
        fit(X, np.where(BOUGHT == "yes", DAY - DAY, DAY - DAY + 1)),
        InvalidInput,
        "labels cannot",
    ),
    "labels that are objects": (
        fit(X, [datetime.date(2024, 1, 1 + (each == "yes")) for each in BOUGHT]),
        InvalidInput,
        r"labels cannot be such as datetime.date\(2024",
    ),
    "missing text": (
        fit(X, np.array(GAPS, np.dtypes.StringDType(na_object=None))),
        InvalidInput,
        "contains None: .* row 3",
    ),
    "missing group": (fit(X, BOUGHT, groups=GAPS), InvalidInput, "groups contains None: .* row 3"),
    "missing y_val": (fit(X, BOUGHT, X_val=X, y_val=GAPS), InvalidInput, "y_val contains None"),
    "labels of two types": (
        fit(X, np.array(["a", 1] * (N // 2), object)),
        InvalidInput,
        r"several types, 'a' \(str\) and 1 \(int\)",
    ),
    "bytes": (fit(X, BOUGHT.astype("S")), InvalidInput, "decode them"),
    "no y": (fit(X, None, kind=regressor), ValueError, "requires y to be passed"),
    "new class": (
        fit(X, BOUGHT, X_val=X, y_val=["maybe"] * N),
        ValueError,
        r"y_val has labels that y does not have: \['maybe'\]",
    ),
    "half a validation": (fit(X, BOUGHT, X_val=X), InvalidInput, "y_val is None"),
    "groups and X_val": (
        fit(X, BOUGHT, groups=np.arange(N), X_val=X, y_val=BOUGHT),
        InvalidInput,
        "groups decide which rows",
    ),
    "no weight": (fit(X, BOUGHT, np.zeros(N)), ValueError, "non-zero number|0 for all rows"),
    "n_members": (fit(X, BOUGHT, settings={"n_members": 0}), ValueError, "'n_members' parameter"),
    "time_limit": (fit(X, BOUGHT, settings={"time_limit": -1}), ValueError, "'time_limit' param"),
    "n_jobs": (fit(X, BOUGHT, settings={"n_jobs": 0}), InvalidInput, "n_jobs must be"),
    "scoring": (fit(X, BOUGHT, settings={"scoring": "nice"}), ValueError, "nice"),
    "no such category": (
        fit(X, BOUGHT, settings={"categorical_features": ["town"]}),
        ValueError,
        r"no feature names of the training data: \['town'\]",
    ),
    "category 9": (fit(X, BOUGHT, settings={"categorical_features": [9]}), ValueError, "be in"),
    "short mask": (
        fit(X, BOUGHT, settings={"categorical_features": [True]}),
        ValueError,
        "boolean mask",
    ),
    "not fitted": (lambda: classifier().predict(X), NotFittedError, "not fitted"),
    "two rows": (fit(X[:2], PRICE[:2], kind=regressor), ValueError, "n_samples=2 are too few"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_with_the_reason(name):
    ask, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        ask()


def fail(model, X, y):
    raise ZeroDivisionError


@pytest.mark.parametrize("wrong", [{"y": None}, {"X": X.assign(size=np.inf)}, {"scoring": fail}])
def test_a_fit_that_fails_leaves_the_model_as_it_was(wrong):
    model = copy.deepcopy(CLASSIFIER)
    if "scoring" in wrong:
        model.set_params(scoring=wrong["scoring"])
    before = state(model)
    with pytest.raises((ValueError, ZeroDivisionError)):
        model.fit(wrong.get("X", X), wrong.get("y", BOUGHT))
    assert state(model) == before
    assert_array_equal(model.predict_proba(X), CLASSIFIER.predict_proba(X))


def test_a_fit_forgets_the_one_before():
    model = classifier().fit(X, BOUGHT)
    _ = model.feature_importances_
    model.fit(NUMBERS, BOUGHT)
    assert not hasattr(model, "feature_names_in_") and model.n_features_in_ == 2
    assert model.feature_importances_.shape == (2,)


def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads():
    expected = CLASSIFIER.predict_proba(X)
    for jobs in (1, 2, -1):
        assert_array_equal(classifier(n_jobs=jobs).fit(X, BOUGHT).predict_proba(X), expected)
    assert (classifier(random_state=1).fit(X, BOUGHT).predict_proba(X) != expected).any()


def test_rows_of_weight_0_are_as_if_they_were_not_there():
    weights = np.where(np.arange(N) % 3 == 0, 0.0, 1.0)
    kept = weights > 0
    expected = classifier().fit(X[kept], BOUGHT[kept]).predict_proba(X)
    found = classifier().fit(X, BOUGHT, weights).predict_proba(X)
    assert_allclose(found, expected, rtol=1e-6)


def test_weights_of_rows_and_of_classes_move_predictions():
    plain = classifier().fit(X, BOUGHT).predict_proba(X)[:, 1].mean()
    weights = np.where(BOUGHT == "yes", 9.0, 1.0)
    given = classifier().fit(X, BOUGHT, weights).predict_proba(X)
    by_class = classifier(class_weight={"yes": 9.0}).fit(X, BOUGHT).predict_proba(X)
    assert given[:, 1].mean() > plain + 0.1
    assert_allclose(by_class, given, atol=0.05)


def test_rows_to_validate_on_have_each_class_in_its_share():
    y = np.repeat([0, 1, 2, 3], [60, 29, 10, 1])
    random = np.random.RandomState(0)
    training, validation = split(y, 4, 0.2, None, random)
    assert sorted([*training, *validation]) == list(range(100))
    shares = np.bincount(y[validation], minlength=4)
    assert_allclose(shares, [12, 6, 2, 0], atol=1)
    assert shares.sum() == 20 and shares[3] == 0
    numbers = np.random.default_rng(0).lognormal(size=100)
    training, validation = split(numbers, 0, 0.2, None, random)
    assert len(validation) == 20
    assert np.histogram(numbers[validation], np.quantile(numbers, np.arange(5) / 4))[0].min() >= 4
    assert numbers.argmax() in training and numbers.argmin() in training


@pytest.mark.parametrize("classes", [0, 3])
def test_groups_are_kept_together(classes):
    groups = np.repeat(np.arange(20), 5)
    y = np.arange(100) % 3 if classes else np.linspace(0, 1, 100)
    training, validation = split(y, classes, 0.2, groups, np.random.RandomState(0))
    assert not set(groups[training]) & set(groups[validation])
    assert len(training) + len(validation) == 100 and 10 <= len(validation) <= 30
    with pytest.raises(InvalidInput, match="at least 2"):
        split(y, classes, 0.2, np.zeros(100), np.random.RandomState(0))
    assert regressor().fit(X, PRICE, groups=np.arange(N) % 12).predict(X).shape == (N,)


def test_a_class_of_one_group_is_trained_on_and_nothing_is_said_of_it():
    groups, y = np.repeat(np.arange(20), 5), np.arange(100) % 2
    y[7] = 2
    for seed in range(8):
        training, validation = split(y, 3, 0.2, groups, np.random.RandomState(seed))
        assert 7 in training and not set(groups[training]) & set(groups[validation])
    with pytest.raises(InvalidInput, match="groups leave no row of some classes"):
        split(np.arange(2), 2, 0.5, np.arange(2), np.random.RandomState(0))


def test_rows_to_validate_on_may_be_given_and_score_the_ensemble():
    model = classifier().fit(X[:180], BOUGHT[:180], X_val=X[180:], y_val=BOUGHT[180:])
    expected = -log_loss(BOUGHT[180:], model.predict_proba(X[180:]))
    assert_allclose(model.validation_score_, expected, rtol=1e-5)
    numbers = regressor().fit(X[:180], PRICE[:180], X_val=X[180:], y_val=PRICE[180:])
    error = np.sqrt(np.mean((numbers.predict(X[180:]) - PRICE[180:]) ** 2))
    assert_allclose(numbers.validation_score_, -error, rtol=1e-5)


@pytest.mark.parametrize(
    "scoring", ["roc_auc", lambda m, X, y: roc_auc_score(y, m.predict_proba(X)[:, 1])]
)
def test_any_scorer_of_scikit_learn_may_choose(scoring):
    rows = {"X_val": X[120:], "y_val": BOUGHT[120:]}
    model = classifier(scoring=scoring).fit(X[:120], BOUGHT[:120], **rows)
    expected = roc_auc_score(BOUGHT[120:], model.predict_proba(X[120:])[:, 1])
    assert_allclose(model.validation_score_, expected)
    numbers = regressor(scoring="neg_mean_absolute_error").fit(
        X[:120], PRICE[:120], X_val=X[120:], y_val=PRICE[120:]
    )
    error = np.abs(numbers.predict(X[120:]) - PRICE[120:]).mean()
    assert_allclose(numbers.validation_score_, -error, rtol=1e-6)


def test_members_and_their_weights_are_there():
    model = classifier(n_members=5, max_iter=4).fit(X, BOUGHT)
    assert len(model.members_) == len(model.weights_) == 5
    assert_allclose(model.weights_.sum(), 1)
    assert 1 <= model.n_iter_ <= 4
    assert len({member.learning_rate for member in model.members_}) == 5
    assert len(model.ensemble_) >= np.count_nonzero(model.weights_)


def test_a_time_limit_ends_the_fit_and_keeps_what_there_is():
    begun = time.monotonic()
    model = regressor(n_members=10_000, max_iter=100, time_limit=0.5).fit(X, PRICE)
    assert time.monotonic() - begun < 20  # of the minutes that it would take
    assert 1 <= len(model.members_) < 10_000
    assert np.isfinite(model.predict(X)).all()


def test_importances_tell_what_predictions_rest_on():
    model = regressor(n_members=4, max_iter=60).fit(X, PRICE)
    found = dict(zip(X.columns, model.feature_importances_, strict=True))
    assert_allclose(sum(found.values()), 1)
    assert found["size"] > found["city"] > 5 * max(found["noise"], found["kind"], found["new"])
    with pytest.raises(NotFittedError):
        _ = regressor().feature_importances_


def test_columns_of_numbers_may_be_named_as_categories():
    frame = pd.DataFrame({"code": RNG.integers(0, 4, N), "x": RNG.normal(size=N)})
    for chosen in (["code"], [0], [True, False]):
        model = regressor(categorical_features=chosen).fit(frame, PRICE)
        assert [field.kind for field in model._fields.fields] == ["category", "number"]
    assert [field.kind for field in regressor().fit(frame, PRICE)._fields.fields] == ["number"] * 2


@pytest.mark.parametrize("model", [CLASSIFIER, REGRESSOR], ids=["classifier", "regressor"])
def test_a_fitted_model_goes_through_a_file_a_pickle_and_a_copy_to_the_same_bits(model, tmp_path):
    path = tmp_path / "model.safetensors"
    importances = model.feature_importances_
    model.save(path)
    predict = model.predict if model is REGRESSOR else model.predict_proba
    for again in (type(model).load(path), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        found = again.predict(X) if model is REGRESSOR else again.predict_proba(X)
        assert_array_equal(found, predict(X))
        assert_array_equal(again.feature_importances_, importances)
        assert again.get_params() == model.get_params()
        for name in ("n_features_in_", "n_iter_", "validation_score_", "members_"):
            assert getattr(again, name) == getattr(model, name)
        assert_array_equal(again.weights_, model.weights_)
        assert_array_equal(again.feature_names_in_, model.feature_names_in_)
    assert b"Ulm" in path.read_bytes()  # a category; of the rows there is nothing
    own = type(model).__name__
    for kind in {
        fastnn.TabularClassifier,
        fastnn.TabularRegressor,
        fastnn.Trainer,
        fastnn.Ensemble,
    } - {type(model)}:
        with pytest.raises(CorruptFile, match=f"holds a {own}; fastnn.{own}.load reads it"):
            kind.load(path)
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFile):
        type(model).load(path)


def test_what_a_file_cannot_keep_is_refused(tmp_path):
    model = classifier(scoring=lambda m, X, y: m.score(X, y)).fit(X, BOUGHT)
    with pytest.raises(InvalidInput, match="scoring=.* cannot be saved"):
        model.save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
    plain = classifier().fit(X, BOUGHT)
    plain.save(tmp_path / "model.safetensors")
    with pytest.raises(AttributeError, match="a file keeps no rows"):
        _ = fastnn.TabularClassifier.load(tmp_path / "model.safetensors").feature_importances_


def test_the_tools_of_scikit_learn_work():
    fast = classifier(max_iter=2)
    search = GridSearchCV(fast, {"n_members": [1, 2]}, cv=2).fit(X, BOUGHT)
    assert search.best_params_["n_members"] in (1, 2)
    assert cross_val_score(clone(fast), X, BOUGHT, cv=2).shape == (2,)
    found = partial_dependence(REGRESSOR, X, ["size"], grid_resolution=5)
    assert found["average"].shape == (1, 5) and np.ptp(found["average"]) > 0


@pytest.mark.parametrize("rows", [6, 20])
def test_some_rows_are_enough(rows):
    y = np.arange(rows) % 2
    x = (y + np.random.default_rng(0).normal(0, 0.1, rows))[:, None]
    assert fastnn.TabularClassifier(n_members=2, random_state=0).fit(x, y).score(x, y) > 0.9


def test_the_numpy_target_trains_too():
    model = regressor(target="numpy", max_iter=2, n_members=1).fit(X, PRICE)
    assert_allclose(
        model.predict(X), regressor(max_iter=2, n_members=1).fit(X, PRICE).predict(X), atol=0.02
    )


def weighed(estimator, X, y, sample_weight=None):
    return estimator.score(X, y, sample_weight)


@pytest.mark.parametrize(
    ("scoring", "settings", "weights"),
    [
        ("accuracy", {"class_weight": "balanced"}, None),
        ("roc_auc", {}, np.linspace(0.1, 1.0, N)),
        (weighed, {"class_weight": {"yes": 2.0, "no": 1.0}}, np.linspace(0.1, 1.0, N)),
    ],
)
def test_a_scorer_of_the_callers_goes_with_weights(scoring, settings, weights):
    model = classifier(scoring=scoring, **settings).fit(X, BOUGHT, sample_weight=weights)
    assert 0.5 < model.validation_score_ <= 1.0


@pytest.mark.parametrize("scoring", [None, "accuracy"])
def test_what_a_short_time_leaves_of_sorted_rows_has_all_classes(scoring):
    generator = np.random.default_rng(4)
    rows = generator.normal(size=(50_000, 6))
    labels = np.where(rows[:, 0] > 1.5, 2, (rows[:, 0] > 0).astype(int))
    labels[np.flatnonzero(labels == 1)[:2]] = 3  # two rows among so many
    order = np.argsort(labels, kind="stable")
    rows, labels = rows[order], labels[order]
    model = classifier(time_limit=0.2, scoring=scoring, max_iter=80)
    model.fit(rows, labels, X_val=rows[::5], y_val=labels[::5])
    assert len(model.classes_) == 4
    assert model.score(rows, labels) > 0.6  # the commonest class has half of the rows


def fields_of(column):
    return Fields.learn(cells_of(pd.DataFrame({"t": column}, dtype=object)))


def test_text_of_durations_is_durations_also_among_objects():
    seconds = [31_027, 144_420, 185_223, 5_627] * 5
    deltas = [datetime.timedelta(seconds=each) for each in seconds]
    for column in (
        [str(each) for each in deltas],
        [str(pd.Timedelta(each)) for each in deltas],
        [pd.Timedelta(each).isoformat() for each in deltas],
        [*deltas[:19], "1:33:47"],
        [*map(np.timedelta64, deltas[:19]), "0 days 01:33:47"],
    ):
        fields = fields_of([*column, "NaT", None])
        assert fields.fields[0].kind == "duration"
        found = fields.code(cells_of(pd.DataFrame({"t": column}, dtype=object))).numbers[:, 0]
        assert found.tolist() == seconds
    assert fields_of([f"{hour}:56" for hour in range(24)]).fields[0].kind == "time"


@pytest.mark.parametrize(
    "cell",
    [
        datetime.timedelta(3), datetime.datetime(2024, 3, 1), datetime.time(3), "2 days, 3:27:03",
        "2024-03-01", "3:56",
    ],
)  # fmt: skip
@pytest.mark.parametrize("wrong", ["soon", 3.5])
def test_one_cell_does_not_make_categories_of_all_others(cell, wrong):
    if isinstance(cell, str) and not isinstance(wrong, str):
        return
    with pytest.raises(InvalidInput, match=r"column 't', row 12: .* categorical_features"):
        fields_of([cell] * 12 + [wrong])
    assert fields_of([cell] * 5 + [wrong] * 5).fields[0].kind == "category"


def test_dates_that_may_be_day_first_warn_with_the_remedy():
    generator = np.random.default_rng(5)
    days = [f"{a:02}/{b:02}/2024" for a, b in generator.integers(1, 13, (60, 2))]
    frame = pd.DataFrame({"day": days, "size": generator.normal(size=60)})
    with pytest.warns(UserWarning, match=r"column 'day': .*month first.*dayfirst=True") as caught:
        regressor().fit(frame, frame["size"])
    assert caught[0].filename == __file__


def damaged(content, tensors):
    """Yield the name of a damage, and contents and arrays that have it."""
    yield (
        "labels in another order",
        {"targets": {**content["targets"], "classes": ["yes", "no"]}},
        {},
    )
    yield "a label too many", {"targets": {**content["targets"], "classes": ["a", "b", "c"]}}, {}
    yield "weights", {"weights": [1.0]}, {}
    yield "the score", {"score": float("nan")}, {}
    for name, array in tensors.items():
        if name.endswith(".columns"):
            yield name, {}, {name: array + 999}
        if name.endswith(".counts"):
            yield name, {}, {name: array[::-1] + 1}
        if name.endswith(".starts"):
            yield name, {}, {name: array[::-1].copy()}


def test_damaged_files_are_refused_before_they_predict(tmp_path):
    from fastnn.storage import tensor_file

    path = tmp_path / "model"
    classifier().fit(X, BOUGHT).save(path)
    tensors, content = tensor_file.read(path)
    seen = 0
    for what, values, arrays in damaged(content, tensors):
        tensor_file.write(tmp_path / "bad", tensors | arrays, content | values)
        with pytest.raises(CorruptFile):
            print(what, fastnn.TabularClassifier.load(tmp_path / "bad"))
        seen += 1
    assert seen > 6


def test_a_clock_that_stands_still_leaves_time_for_all(monkeypatch):
    monkeypatch.setattr(time, "perf_counter", lambda: 5.0)
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    model = classifier(time_limit=9.0, n_members=2, max_iter=1).fit(X, BOUGHT)
    assert len(model.members_) == 2


def test_a_time_limit_holds_for_a_wide_table():
    wide = np.random.default_rng(0).normal(size=(400, 600))
    begun = time.process_time()  # which is what it takes alone, whatever else the machine does
    classifier(time_limit=2.0, n_members=8).fit(wide, np.arange(400) % 2)
    assert time.process_time() - begun < 10


def test_columns_that_tell_little_count_less_where_there_are_many():
    random = np.random.default_rng(0)
    columns = random.normal(size=(600, 100))
    y = columns[:, 0] > 0
    model = classifier(n_members=3, max_iter=2).fit(columns, y)
    views = [each.view for each in model.members_]
    assert len({each.screening for each in model.members_}) > 1
    for view, each in zip(views, model.members_, strict=True):
        scale = model._encodings[view].scale if view in model._encodings else None
        assert (scale is None) == (view not in model._encodings or not each.screening)
        if scale is not None:
            assert scale.max() == 1 and np.median(scale) < 0.5
    narrow = classifier(n_members=3, max_iter=2).fit(columns[:, :9], y)
    assert {each.screening for each in narrow.members_} == {0.0}


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([[1, 2]], "list"),
        ([{"a": 1}], "dict"),
        ([{1}], "set"),
        ([np.array([1, 2])], "ndarray"),
        ([([1],)], "tuple"),
    ],
)
def test_cells_that_hold_several_values_are_refused(cells, kind):
    plain = X[["size"]]
    frame = plain.assign(held=pd.Series([None, *cells * (N - 1)], dtype=object))
    with pytest.raises(InvalidInput, match=f"column 'held', row .*a {kind}, where one value"):
        classifier().fit(frame, BOUGHT)
    words = plain.assign(held=np.where(BOUGHT == "yes", "u", "v"))
    with pytest.raises(InvalidInput, match=f"column 'held', row 1: .* is a {kind}"):
        classifier().fit(words, BOUGHT).predict(frame)


def test_columns_of_lists_and_records_of_other_libraries_are_refused():
    polars, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    for values in ([[1, 2]] * N, [{"u": 1}] * N, [{"u": 1, "v": "a"}] * N):
        for frame in (
            polars.DataFrame({"size": X["size"].to_numpy(), "held": values}),
            arrow.table({"size": X["size"].to_numpy(), "held": values}),
        ):
            with pytest.raises(InvalidInput, match="column 'held'"):
                classifier().fit(frame, BOUGHT)


@pytest.mark.parametrize(
    ("labels", "weights"),
    [
        (np.where(BOUGHT == "yes", 7, -3), {7: 9.0, -3: 1.0}),
        (np.where(BOUGHT == "yes", 1.5 * 2, 1.0), {3.0: 9.0, 1.0: 1.0}),
        (BOUGHT == "yes", {True: 9.0, False: 1.0}),
        (BOUGHT, {np.str_("yes"): np.float64(9.0)}),
        (np.where(BOUGHT == "yes", 7, -3), {np.int64(7): 9.0}),
    ],
)
def test_weights_of_classes_come_back_from_a_file_with_the_labels_they_are_of(
    labels, weights, tmp_path
):
    model = classifier(class_weight=weights).fit(X, labels)
    model.save(tmp_path / "model.safetensors")
    again = fastnn.TabularClassifier.load(tmp_path / "model.safetensors")
    assert again.class_weight == weights
    assert_array_equal(again.fit(X, labels).predict_proba(X), model.predict_proba(X))
