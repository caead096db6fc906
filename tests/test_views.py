"""Views: columns that members read keep the names of a frame, and those of a file are its own."""

import numpy as np
import pytest

from fastnn import (
    Adam,
    Dense,
    Ensemble,
    InvalidInput,
    Network,
    Trainer,
    train_population,
)
from fastnn.inputs import table_files
from fastnn.inputs.table_files import of_table

pd = pytest.importorskip("pandas")

RANDOM = np.random.default_rng(3)
ROWS = 120
X = RANDOM.normal(size=(ROWS, 3))
Y = (X[:, 0] > 0).astype(np.int64)
WEIGHTS = RANDOM.uniform(0.1, 3.0, ROWS)
ABC = pd.DataFrame(X, columns=["a", "b", "c"])
BAC = ABC[["b", "a", "c"]]
ORDER = r"the columns of {}X\[:, {}\] are not those .*the same names in another order"


def trainer_of(seed=0):
    return Trainer(Network(None, [Dense(2)]), optimizer=Adam(0.1), seed=seed, target="numpy")


def population_of(X, y, validation, views, epochs=4, **more):
    trainers = [trainer_of(seed) for seed in range(len(views))]
    return train_population(
        trainers, X, y, epochs, validation_data=validation, views=views, progress=False, **more
    )


def polars(frame):
    return pytest.importorskip("polars").DataFrame({name: frame[name] for name in frame})


def arrow(frame):
    return pytest.importorskip("pyarrow").table({name: frame[name].to_numpy() for name in frame})


@pytest.mark.parametrize("kind", [lambda frame: frame, polars, arrow, "mixed"])
@pytest.mark.parametrize("view", [[0, 1], range(2), slice(0, 2)])
def test_columns_of_a_frame_keep_their_names(kind, view):
    if kind == "mixed":  # whose columns are no single array

        def kind(frame):
            return frame.assign(c=frame["c"].astype(np.float32))

    abc, bac = kind(ABC), kind(BAC)
    text = ORDER.format("", "0:2" if view != [0, 1] else r"\[0, 1\]")
    population = population_of(abc, Y, (abc, Y), [view], 30)
    ensemble = Ensemble.select(population)
    assert ensemble.members[0].feature_names == ("a", "b")
    assert population[0].trainer.feature_names == ("a", "b")
    assert ensemble.evaluate(abc, Y)["accuracy"] > 0.9
    for wrong in (ensemble.predict, ensemble.forward, ensemble.predict_proba):
        with pytest.raises(InvalidInput, match=text):
            wrong(bac)
    with pytest.raises(InvalidInput, match=text):
        ensemble.evaluate(bac, Y)
    with pytest.raises(InvalidInput, match=ORDER.format("validation ", ".*")):
        population_of(abc, Y, (bac, Y), [view])
    bare = population_of(X, Y, (X, Y), [view], 30)  # a frame gives what its numbers give
    assert (bare[0].trainer.forward(X[:, :2]) == population[0].trainer.forward(X[:, :2])).all()
    assert (ensemble.predict(X) == ensemble.predict(abc)).all()  # which is taken by position


def test_a_member_whose_names_are_known_reads_no_other_columns():
    trainer = trainer_of()
    trainer.fit(ABC[["a", "b"]], Y, 5)
    ensemble = Ensemble([trainer], views=[[0, 1]])
    assert (ensemble.predict(ABC) == trainer.predict(ABC[["a", "b"]])).all()
    with pytest.raises(InvalidInput, match=ORDER.format("", r"\[0, 1\]")):
        ensemble.predict(BAC)
    assert (Ensemble([trainer], views=[[1, 0]]).predict(BAC) == ensemble.predict(ABC)).all()
    with pytest.raises(InvalidInput, match=r"member 0: the columns of X\[:, \[0, 1\]\] are not"):
        train_population(
            [trainer], BAC, Y, 1, validation_data=(BAC, Y), views=[[0, 1]], progress=False
        )
    with pytest.raises(InvalidInput, match=r"X\[:, \[2\]\] .*names that fit has not seen: 'a'"):
        Ensemble.select(population_of(ABC, Y, (ABC, Y), [[2]])).predict(ABC[["b", "c", "a"]])


def test_names_of_columns_are_kept_in_files(tmp_path):
    ensemble = Ensemble.select(population_of(ABC, Y, (ABC, Y), [[2, 0]]))
    ensemble.save(tmp_path / "ensemble.st")
    loaded = Ensemble.load(tmp_path / "ensemble.st")
    assert loaded.members[0].feature_names == ("c", "a")
    assert (loaded.predict(ABC) == ensemble.predict(ABC)).all()
    with pytest.raises(InvalidInput, match="another order|has not seen"):
        loaded.predict(BAC)


def test_words_in_columns_that_nobody_reads_are_no_fault():
    frame = ABC.assign(word="x")[["word", "a", "b"]]
    population = population_of(frame, Y, (frame, Y), [[1, 2]])
    assert population[0].trainer.feature_names == ("a", "b")
    with pytest.raises(InvalidInput, match="'word'"):
        population_of(frame, Y, (frame, Y), [[0, 2]])


def test_a_stream_is_read_once_for_all_views():
    pa = pytest.importorskip("pyarrow")
    views = [[0, 1], [2], None]

    def stream():
        return pa.RecordBatchReader.from_batches(arrow(ABC).schema, arrow(ABC).to_batches())

    population = population_of(stream(), Y, (stream(), Y), views)
    whole = population_of(ABC, Y, (ABC, Y), views)
    for one, other in zip(population, whole, strict=True):
        assert one.trainer.history.loss == other.trainer.history.loss
        assert one.trainer.feature_names == other.trainer.feature_names
    ensemble = Ensemble([each.trainer for each in population], views=views)
    assert (ensemble.predict(stream()) == ensemble.predict(ABC)).all()


@pytest.fixture
def file(tmp_path):
    """Return the path of a table of features, labels and weights."""
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"y": Y, "a": X[:, 0], "b": X[:, 1], "w": WEIGHTS, "c": X[:, 2]})
    path = str(tmp_path / "table.parquet")
    frame.to_parquet(path, row_group_size=50)
    return path


@pytest.mark.parametrize("held", [1 << 28, 0], ids=["held", "streamed"])
@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_columns_of_a_file_are_those_of_its_features(held, target, file, monkeypatch):
    monkeypatch.setattr(table_files, "HELD_BYTES", held)
    views = [[2, 0], range(1, 3), None]
    trainers = [
        Trainer(Network(None, [Dense(2)]), seed=seed, target=target, batch_size=16)
        for seed in range(3)
    ]
    settings = {"epochs": 3, "views": views, "progress": False, "workers": 1}
    population = train_population(
        trainers, file, "y", sample_weight="w", validation_data=(file, "y", "w"), **settings
    )
    names = [each.trainer.feature_names for each in population]
    assert names == [("c", "a"), ("b", "c"), ("a", "b", "c")]
    assert (population.y_val == Y).all() and (population.sample_weight == WEIGHTS).all()
    ensemble = Ensemble.select(population)
    features = ABC.astype(np.float32)
    if held:
        expected = train_population(
            trainers, features, Y, sample_weight=WEIGHTS,
            validation_data=(features, Y, WEIGHTS), **settings,
        )  # fmt: skip
        for one, other in zip(population, expected, strict=True):
            assert one.trainer.history.loss == other.trainer.history.loss
            assert one.trainer.history.validation_loss == other.trainer.history.validation_loss
        same = Ensemble.select(expected)
        assert (same.weights == ensemble.weights).all()
    measured = ensemble.evaluate(features, Y, WEIGHTS)
    assert ensemble.evaluate(file, "y", "w") == measured
    bare = file.replace("table", "bare")
    features.to_parquet(bare)
    assert (ensemble.predict_proba(bare) == ensemble.predict_proba(features)).all()
    BAC.to_parquet(bare)
    with pytest.raises(InvalidInput, match=r"X\[:, 1:3\] .* not seen: 'a'"):
        Ensemble([population[1].trainer], views=[range(1, 3)]).predict(bare)


def test_columns_that_a_file_does_not_have_are_named(file):
    with pytest.raises(InvalidInput, match=r"shape \(120, 3\), but a member reads its column 3"):
        population_of(file, "y", (file, "y"), [[3]], sample_weight="w")
    with pytest.raises(InvalidInput, match="validation X has no column 'z'"):
        population_of(file, "y", (file, "z"), [[0]])


def test_arrays_of_a_mapping_may_be_files_whose_columns_are_the_targets(file):
    parts = {"table": file, "array": X}
    population = population_of(parts, "y", (parts, "y", "w"), ["array", "table"], sample_weight="w")
    assert (population.y_val == Y).all() and (population.sample_weight == WEIGHTS).all()
    assert population[1].trainer.feature_names == ("a", "b", "c")
    ensemble = Ensemble.select(population)
    assert len(ensemble.predict({"table": ABC, "array": X})) == ROWS
    found = Ensemble([each.trainer for each in population], views=["array", "table"])
    expected = found.evaluate({"table": ABC, "array": X}, Y, WEIGHTS)
    assert found.evaluate(parts, "y", "w") == pytest.approx(expected)


def test_columns_of_lists_are_chosen_by_their_features(tmp_path):
    pa = pytest.importorskip("pyarrow")
    wide = np.arange(40.0).reshape(10, 4)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(wide.ravel()), 4)
    path = str(tmp_path / "lists.parquet")
    pytest.importorskip("pyarrow.parquet").write_table(
        pa.table({"a": np.arange(10.0), "many": lists, "b": np.arange(10.0) + 100}), path
    )
    whole = np.column_stack([np.arange(10.0), wide, np.arange(10.0) + 100])
    table, _, _ = of_table(path, None, None)
    for features in ([5, 0], [0, 1, 2, 5], [4, 3], [2, 3, 4], [1, 1, 0], range(6)):
        chosen = table.chosen(features)
        assert chosen.shape == (10, len(features))
        assert (chosen.checked(np.dtype(np.float64), False) == whole[:, features]).all()
    assert table.names is table.chosen([1, 0]).names is None
    assert table.chosen([5, 0]).names == ("b", "a")
