"""Paths of data as bytes, as `os.listdir(b".")` gives them: what a path of text is, they are."""

import os

import numpy as np
import pytest

import fastnn

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X[:, 0]
WEIGHTS = np.linspace(0.5, 1.5, 40)


@pytest.fixture
def paths(tmp_path):
    for name, array in {"x": X, "y": Y, "w": WEIGHTS}.items():
        np.save(tmp_path / f"{name}.npy", array)
    return [os.fsencode(tmp_path / f"{name}.npy") for name in "xyw"]


def trainer():
    network = fastnn.Network(3, [fastnn.Dense(1)])
    return fastnn.Trainer(network, "mse", fastnn.SGD(0.1), target="numpy")


def test_a_trainer_reads_them_wherever_it_takes_paths(paths):
    x, y, w = paths
    by_path, in_memory = trainer(), trainer()
    by_path.fit(x, y, 2, validation_data=(x, y), sample_weight=w)
    in_memory.fit(X, Y, 2, validation_data=(X, Y), sample_weight=WEIGHTS)
    np.testing.assert_array_equal(by_path.predict(x), in_memory.predict(X))
    assert by_path.evaluate(x, y) == in_memory.evaluate(X, Y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["MLPRegressor", "SGDRegressor"])
def test_estimators_read_them_wherever_they_take_paths(name, paths):
    x, y, w = paths
    kind = getattr(fastnn, name)
    settings = {"max_iter": 2, "random_state": 0, "target": "numpy"}
    by_path = kind(**settings).fit(x, y, sample_weight=w)
    in_memory = kind(**settings).fit(X, Y, sample_weight=WEIGHTS)
    np.testing.assert_allclose(by_path.predict(x), in_memory.predict(X))
    assert by_path.score(x, y, w) == pytest.approx(in_memory.score(X, Y, WEIGHTS))


def test_scalings_and_ensembles_read_them(paths):
    x, y, _ = paths
    assert fastnn.Scaling.fit(x) == fastnn.Scaling.fit(X)
    np.testing.assert_array_equal(fastnn.Scaling.fit(X).apply(x), fastnn.Scaling.fit(X).apply(X))
    members = [trainer(), trainer()]
    ensemble = fastnn.Ensemble(members)
    np.testing.assert_array_equal(ensemble.predict(x), ensemble.predict(X))


def test_a_table_of_named_columns_is_read_from_one(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": Y}), path)
    by_path, in_memory = trainer(), trainer()
    by_path.fit(os.fsencode(path), "y", 1)
    in_memory.fit(X, Y, 1)
    np.testing.assert_allclose(by_path.predict(X), in_memory.predict(X))


@pytest.mark.parametrize("path", [b"", b"nothing-here.npy", b"a\0b"])
def test_bytes_that_lead_to_no_file_are_refused_as_text_is(path):
    messages = []
    for each in (path, os.fsdecode(path)):
        with pytest.raises((fastnn.InvalidInput, OSError)) as caught:
            trainer().fit(each, Y, 1)
        messages.append(str(caught.value).replace("b'", "'"))
    assert messages[0] == messages[1]
