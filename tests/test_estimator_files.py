"""Estimators read .npy files where they lie, and shuffle their rows in windows."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastnn  # noqa: E402
from fastnn import MLPClassifier, MLPRegressor, Perceptron, SGDClassifier, SGDRegressor  # noqa: E402
from fastnn.inputs.pages import pages_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*(aximum|MAXIMUM).*")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(400, 5)).astype(np.float32)
WORDS = np.where(X[:, 0] > 0, "yes", "no")
NUMBERS = X[:, 1].astype(np.float64)
WEIGHTS = RANDOM.random(400)
KINDS = {
    MLPClassifier: WORDS, MLPRegressor: NUMBERS, SGDClassifier: WORDS, SGDRegressor: NUMBERS,
    Perceptron: WORDS,
}  # fmt: skip


@pytest.fixture
def files(tmp_path):
    """Return the paths of files of X, labels, numbers and weights."""
    for name, array in (("X", X), ("words", WORDS), ("numbers", NUMBERS), ("weights", WEIGHTS)):
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path


def made(kind, **settings):
    """Return an estimator of a few epochs."""
    if kind in (MLPClassifier, MLPRegressor):
        settings["hidden_layer_sizes"] = (4,)
    return kind(max_iter=3, random_state=0, target="numpy", **settings)


def weights_of(model):
    """Return the weights of the first layer."""
    return model.coefs_[0] if hasattr(model, "coefs_") else model.coef_


def given(kind, weighted):
    """Return X, y and weights as arrays, and as the names of their files."""
    y = KINDS[kind]
    names = "X.npy", "words.npy" if y is WORDS else "numbers.npy", "weights.npy"
    more = weighted and kind is not Perceptron
    return (X, y, WEIGHTS if more else None), [*names[:2], names[2] if more else None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("as_path", [str, Path])
def test_files_train_and_predict_as_their_arrays_do(kind, as_path, files):
    (_, y, weights), names = given(kind, True)
    paths = [None if name is None else as_path(files / name) for name in names]
    mine, theirs = made(kind), made(kind)
    if kind in (MLPClassifier, MLPRegressor):
        mine.fit(*paths), theirs.fit(X, y, weights)
    else:
        mine.fit(*paths[:2], sample_weight=paths[2])
        theirs.fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(weights_of(mine), weights_of(theirs))
    assert mine.n_features_in_ == 5
    np.testing.assert_array_equal(mine.predict(paths[0]), theirs.predict(X))
    assert mine.score(*paths[:2]) == theirs.score(X, y)
    held = mine.fit(X, y, X_val=paths[0], y_val=paths[1]).validation_scores_
    assert held == theirs.fit(X, y, X_val=X, y_val=y).validation_scores_
    first = {"classes": np.unique(y)} if y is WORDS else {}
    mine.partial_fit(*paths[:2]), theirs.partial_fit(X, y)
    np.testing.assert_array_equal(weights_of(mine), weights_of(theirs))
    begun = made(kind).partial_fit(*paths[:2], **first)
    np.testing.assert_array_equal(
        weights_of(begun), weights_of(made(kind).partial_fit(X, y, **first))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_such_file_is_said(kind, files):
    y = KINDS[kind]
    model = made(kind)
    with pytest.raises(fastnn.errors.MissingFile, match="X is taken for a path"):
        model.fit(str(files / "none.npy"), y)
    with pytest.raises(fastnn.errors.MissingFile, match="y is taken for a path"):
        model.fit(X, files / "none.npy")
    np.save(files / "nan.npy", np.where(X > 2, np.nan, X))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.fit(files / "nan.npy", y)
    with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
        model.fit(files / "numbers.npy", y)
    assert not hasattr(model, "n_features_in_")
    model.fit(X, y)
    np.save(files / "wide.npy", np.zeros((3, 6)))
    with pytest.raises(ValueError, match="X has 6 features, but"):
        model.predict(files / "wide.npy")


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_tables_are_refused_with_what_to_do(kind, tmp_path):
    pandas, path = pytest.importorskip("pandas"), tmp_path / "rows.parquet"
    pytest.importorskip("pyarrow")
    pandas.DataFrame(X, columns=list("abcde")).to_parquet(path)
    for table in (path, str(path), str(tmp_path)):
        with pytest.raises(fastnn.InvalidInput, match=r"rows\.parquet.*read_parquet.*Trainer"):
            made(kind).fit(table, KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_shuffled_in_windows(kind, files):
    y = KINDS[kind]
    orders = {}
    for shuffle in (True, 50, np.int64(50), 400, False):
        model = made(kind, shuffle=shuffle).fit(X, y)
        orders[repr(shuffle)] = weights_of(model)
        again = made(kind, shuffle=shuffle).fit(files / "X.npy", y)
        np.testing.assert_array_equal(weights_of(again), weights_of(model))
    distinct = {each.tobytes() for each in orders.values()}
    assert len(distinct) == 3  # a window of all rows is none
    for wrong in (1, 0, -3, 2.5, "5"):
        with pytest.raises(ValueError, match="The 'shuffle' parameter"):
            made(kind, shuffle=wrong).fit(X, y)
    theirs = made(kind, shuffle=50).fit(X, y).to_sklearn()
    assert theirs.shuffle is True
    theirs.fit(X, y)


@pytest.mark.parametrize("kind", [MLPClassifier, SGDRegressor])
def test_a_window_is_that_of_a_trainer(kind):
    y = KINDS[kind]
    model = made(kind, shuffle=64, batch_size=20).set_params(max_iter=1).fit(X, y)
    assert model.to_trainer().shuffle == 64
    stopped = made(kind, shuffle=64, early_stopping=True).fit(X, y)
    assert len(stopped.validation_scores_) == stopped.n_iter_


def test_a_large_file_is_not_read_into_memory(tmp_path):
    import tracemalloc

    path = tmp_path / "large.npy"
    rows = np.lib.format.open_memmap(path, "w+", "float32", (60_000, 300))
    rows[:] = RANDOM.integers(0, 3, 300)
    rows[:, 0] = RANDOM.normal(size=len(rows))
    rows.flush()
    y = rows[:, 0] > 0
    for model in (
        MLPClassifier(
            (2,), activation="tanh", max_iter=1, shuffle=10_000, batch_size=500, random_state=0
        ),
        SGDClassifier(max_iter=1, tol=None, shuffle=10_000, batch_size=500, random_state=0),
    ):
        model.fit(rows[:500], y[:500])
        checked, _ = model._check_X_y(path, y, reset=True)
        assert pages_of(checked) is not None
        tracemalloc.start()
        model.fit(path, y)
        model.predict(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 0.3 * rows.nbytes, peak / rows.nbytes
