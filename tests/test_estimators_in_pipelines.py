"""The estimators inside what scikit-learn and others build from them."""

import os

import numpy as np
import pytest

import fastnn

sklearn = pytest.importorskip("sklearn", "1.6")
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.datasets import load_iris  # noqa: E402
from sklearn.ensemble import VotingClassifier  # noqa: E402
from sklearn.inspection import permutation_importance  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[y]


def classifier(**settings):
    settings = {
        "learning_rate_init": 0.02, "max_iter": 30, "random_state": 0, "target": "numpy"
    } | settings  # fmt: skip
    return fastnn.MLPClassifier((8,), **settings)


def test_cross_validation_of_a_pipeline():
    scores = cross_val_score(make_pipeline(StandardScaler(), classifier()), X, NAMES, cv=3)
    assert scores.min() > 0.8


def test_a_grid_search_in_several_processes():
    grid = {"alpha": [1e-4, 1.0], "activation": ["relu", ["gelu"]], "dropout": [0.0, 0.2]}
    search = GridSearchCV(classifier(standardize=True), grid, n_jobs=2, cv=2).fit(X, NAMES)
    assert search.best_score_ > 0.8
    assert search.predict(X[:1])[0] == "setosa"


def test_calibration_voting_and_importance():
    model = classifier(standardize=True)
    calibrated = CalibratedClassifierCV(model, cv=2).fit(X, NAMES, sample_weight=np.ones(150))
    assert calibrated.score(X, NAMES) > 0.8
    voting = VotingClassifier([("a", model), ("b", LogisticRegression())], voting="soft")
    assert voting.fit(X, NAMES).score(X, NAMES) > 0.8
    importance = permutation_importance(model.fit(X, NAMES), X, NAMES, n_repeats=2, random_state=0)
    assert importance.importances_mean.argmax() in (2, 3)


def test_weights_are_routed_to_fit():
    weights = np.where(y == 0, 1.0, 0.0) + 1e-9
    with sklearn.config_context(enable_metadata_routing=True):
        model = (
            classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        )
        scores = cross_val_score(model, X, NAMES, cv=2, params={"sample_weight": weights})
    assert scores.min() == pytest.approx(1.0, abs=1e-6)  # only the first class counts


def test_names_of_columns_are_kept_and_compared():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    model = classifier().fit(frame, NAMES)
    assert list(model.feature_names_in_) == ["a", "b", "c", "d"]
    assert (model.predict(frame) == model.set_params(verbose=0).predict(frame)).all()
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["b", "a", "c", "d"]])
    # Few rows of a checked array are not validated by scikit-learn, but warned of in its words.
    with pytest.warns(UserWarning) as theirs:
        LogisticRegression(max_iter=9).fit(frame, NAMES).predict(X[:1])
    with pytest.warns(UserWarning) as ours:
        found = model.predict(X[:1])
    texts = [str(each[-1].message) for each in (theirs, ours)]
    assert texts[1] == texts[0].replace("LogisticRegression", type(model).__name__)
    assert {each.category for each in ours} == {UserWarning} and len(ours) == 1
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert (model.predict(np.asfortranarray(X.astype(object)))[:1] == found).all()


def test_one_hot_columns_stay_sparse():
    words = np.array([["a", "b", "c"][label] for label in y]).reshape(-1, 1)
    model = make_pipeline(OneHotEncoder(), classifier(max_iter=100)).fit(words, NAMES)
    assert model.score(words, NAMES) == 1.0


@pytest.mark.parametrize("module", ["polars", "pyarrow"])
def test_frames_of_other_libraries_train(module):
    library = pytest.importorskip(module)
    columns = {name: X[:, k] for k, name in enumerate("abcd")}
    frame = library.DataFrame(columns) if module == "polars" else library.table(columns)
    model = classifier().fit(frame, NAMES)
    assert model.n_features_in_ == 4


@pytest.mark.filterwarnings("ignore")
def test_chunks_of_dask_train():
    wrappers = pytest.importorskip("dask_ml.wrappers")
    array = pytest.importorskip("dask.array")
    order = np.random.default_rng(0).permutation(150)
    rows = array.from_array(X[order], chunks=(50, 4))
    labels = array.from_array(y[order], chunks=50)
    model = wrappers.Incremental(classifier())
    for _ in range(30):
        model.partial_fit(rows, labels, classes=[0, 1, 2])
    assert np.mean(np.asarray(model.predict(rows)) == y[order]) > 0.8


def threads_of_a_fit(data, labels):
    model = fastnn.MLPClassifier((2000,), max_iter=1, tol=0.0).fit(data, labels)
    return model.to_trainer().history.threads, os.environ.get("OMP_NUM_THREADS")


@pytest.mark.filterwarnings("ignore")
def test_a_worker_of_joblib_has_no_more_threads_than_it_is_granted():
    joblib = pytest.importorskip("joblib")
    rng = np.random.default_rng(0)
    data, labels = rng.normal(size=(2000, 50)), rng.integers(0, 2, 2000)
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        found = joblib.Parallel(n_jobs=2)(
            joblib.delayed(threads_of_a_fit)(data, labels) for _ in range(2)
        )
    assert found == [(1, "1")] * 2


@pytest.mark.parametrize(
    ("estimator", "name", "value", "text"),
    [
        (kind(optimizer=fastnn.SGD(0.1, 0.5)), "optimizer__learning_rate", 0.2, text)
        for text in [r"\{'optimizer': \[SGD\(.*=0.1, .*=0.5, .*\), SGD\(.*=0.2, .*=0.5, .*\)\]\}"]
        for kind in (
            fastnn.MLPClassifier, fastnn.MLPRegressor, fastnn.SGDClassifier, fastnn.SGDRegressor,
        )
    ]
    + [
        (fastnn.MLPClassifier(), "optimizer__learning_rate", 0.2, "optimizer is None"),
        (fastnn.SGDRegressor(fastnn.losses.Huber(0.5)), "loss__delta", 2.0, r"loss=Huber\(.*2.0"),
        (fastnn.MLPClassifier(optimizer=fastnn.Adam()), "optimizer__lr", 0.2, r"optimizer=\.\.\."),
        (fastnn.TabularClassifier(), "class_weight__a", 2.0, "class_weight is None"),
        (fastnn.MLPClassifier(optimizer=fastnn.SGD(0.1)), "optimizer__learning_rate", 0.1,
         r"\(optimizer=\.\.\.\)"),
        (fastnn.MLPClassifier(optimizer=fastnn.SGD(0.1)), "optimizer__learning_rate", -1,
         r"\(optimizer=\.\.\.\)"),
    ],
)  # fmt: skip
def test_a_setting_of_an_optimizer_is_answered_with_how_to_give_it(estimator, name, value, text):
    """scikit-learn's own error was of a method that no optimizer has."""
    for call in (
        lambda: estimator.set_params(verbose=3, **{name: value}),
        lambda: GridSearchCV(estimator, {name: [value]}, cv=2, error_score="raise").fit(X, y),
    ):
        with pytest.raises(fastnn.InvalidInput, match=f"{name} cannot be set, .*{text}"):
            call()
    assert not estimator.verbose and not any("__" in each for each in estimator.get_params())


def test_several_settings_of_an_optimizer_are_answered_together():
    settings = {"optimizer__learning_rate": 0.2, "optimizer__momentum": 0.5}
    with pytest.raises(fastnn.InvalidInput, match=r"set_params\(optimizer=SGD\(.*0.2, .*0.5"):
        fastnn.MLPClassifier(optimizer=fastnn.SGD(0.1)).set_params(**settings)


def test_optimizers_are_searched_as_a_whole():
    grid = {"optimizer": [fastnn.SGD(1e-9), fastnn.SGD(0.05)]}
    search = GridSearchCV(classifier(standardize=True), grid, cv=2).fit(X, y)
    assert search.best_params_ == {"optimizer": fastnn.SGD(0.05)}
    pipeline = make_pipeline(StandardScaler(), classifier())
    pipeline.set_params(mlpclassifier__alpha=1.0, standardscaler__with_mean=False)
    assert pipeline[1].alpha == 1.0
    with pytest.raises(ValueError, match="Invalid parameter 'nothing'"):
        classifier().set_params(nothing__a=1)
