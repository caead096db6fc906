"""Tables that other libraries export: estimators know their columns by name, as those of pandas."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastnn
from fastnn import InvalidInput

sklearn = pytest.importorskip("sklearn", "1.6")
pandas = pytest.importorskip("pandas")
arrow = pytest.importorskip("pyarrow", "16")

DRAWN = np.random.default_rng(0)
FRAME = pandas.DataFrame({"a": DRAWN.normal(size=90), "b": DRAWN.normal(size=90)})
LABELS = np.where(FRAME["a"] > 0, "yes", "no")
NUMBERS = FRAME["a"].to_numpy() * 2.0


class Stream:
    """What exports its columns, and is nothing else."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        """Return the table as a stream."""
        return self.table.__arrow_c_stream__(requested_schema)


class Batch:
    """What exports one batch of its columns, and is nothing else."""

    def __init__(self, batch):
        self.batch = batch

    def __arrow_c_array__(self, requested_schema=None):
        """Return the table as an array of structs."""
        return self.batch.__arrow_c_array__(requested_schema)


class Both(Stream):
    """What exports its columns, and is an array, too."""

    @property
    def columns(self):
        """The names of the columns."""
        return self.table.column_names

    def __array__(self, dtype=None, copy=None):
        """Return the numbers alone."""
        return self.table.to_pandas().to_numpy(dtype)


def narwhals_of(frame):
    """Return a frame of narwhals."""
    return pytest.importorskip("narwhals").from_native(frame)


def polars_of(frame):
    """Return a frame of polars."""
    return pytest.importorskip("polars").DataFrame({name: frame[name].to_numpy() for name in frame})


KINDS = {
    "batch": lambda frame: arrow.RecordBatch.from_pandas(frame),
    "reader": lambda frame: arrow.Table.from_pandas(frame).to_reader(),
    "stream": lambda frame: Stream(arrow.Table.from_pandas(frame)),
    "array of structs": lambda frame: Batch(arrow.RecordBatch.from_pandas(frame)),
    "stream and array": lambda frame: Both(arrow.Table.from_pandas(frame)),
    "narwhals, pandas": narwhals_of,
    "narwhals, polars": lambda frame: narwhals_of(polars_of(frame)),
    "narwhals, pyarrow": lambda frame: narwhals_of(arrow.Table.from_pandas(frame)),
}
SMALL = {"target": "numpy", "random_state": 0}
ESTIMATORS = {
    "TabularClassifier": {"n_members": 1, "max_iter": 2, "scoring": "accuracy", **SMALL},
    "TabularRegressor": {"n_members": 1, "max_iter": 2, "scoring": "r2", **SMALL},
    "MLPClassifier": {"max_iter": 2, **SMALL},
    "MLPRegressor": {"max_iter": 2, **SMALL},
    "SGDClassifier": {"max_iter": 2, "tol": None, **SMALL},
    "SGDRegressor": {"max_iter": 2, "tol": None, **SMALL},
    "Perceptron": {"max_iter": 2, "tol": None, **SMALL},
}
pytestmark = pytest.mark.filterwarnings("ignore:.*(aximum|MAXIMUM).*")  # of two epochs


def made(name):
    """Return an estimator, and what it is fitted to."""
    estimator = getattr(fastnn, name)(**ESTIMATORS[name])
    return estimator, NUMBERS if name.endswith("Regressor") else LABELS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_table_is_fitted_and_predicted_as_a_frame_is(name, kind):
    export = KINDS[kind]
    model, y = made(name)
    model.fit(FRAME, y)
    other = made(name)[0].fit(export(FRAME), y)
    assert list(other.feature_names_in_) == ["a", "b"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = model.predict(FRAME)
        assert_array_equal(other.predict(FRAME), expected)
        assert_array_equal(model.predict(export(FRAME)), expected)
        assert model.score(export(FRAME), y) == model.score(FRAME, y)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_columns_in_another_order_are_refused(name, kind):
    model, y = made(name)
    model.fit(FRAME, y)
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        model.predict(KINDS[kind](FRAME[["b", "a"]]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["TabularClassifier", "MLPClassifier", "SGDRegressor"])
def test_rows_to_validate_on_may_be_such_a_table(name, kind):
    export = KINDS[kind]
    (model, y), (other, _) = made(name), made(name)
    weights = np.r_[np.zeros(3), np.ones(87)]
    model.fit(FRAME, y, sample_weight=weights, X_val=FRAME, y_val=y)
    other.fit(export(FRAME), y, sample_weight=weights, X_val=export(FRAME), y_val=y)
    assert_array_equal(other.predict(FRAME), model.predict(FRAME))
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        other.fit(FRAME, y, X_val=export(FRAME[["b", "a"]]), y_val=y)


@pytest.mark.parametrize("name", ["TabularClassifier", "MLPClassifier"])
def test_a_query_of_narwhals_is_to_be_run_first(name):
    polars = pytest.importorskip("polars")
    narwhals = pytest.importorskip("narwhals")
    model, y = made(name)
    query = narwhals.from_native(polars.LazyFrame({"a": NUMBERS}))
    with pytest.raises(InvalidInput, match=r"pass X\.collect\(\)"):
        model.fit(query, y)


def test_a_trainer_knows_the_columns_of_narwhals():
    network = fastnn.Network(2, [fastnn.Dense(1)])
    trainer = fastnn.Trainer(network, "mse", target="numpy")
    trainer.fit(narwhals_of(FRAME), NUMBERS, epochs=1)
    assert trainer.feature_names == ("a", "b")
    with pytest.raises(InvalidInput, match="the same names in another order"):
        trainer.predict(narwhals_of(FRAME[["b", "a"]]))
    predicted = trainer.predict(narwhals_of(FRAME))
    assert_array_equal(predicted, trainer.predict(FRAME))


def gaps_in_the_dictionary():
    """Return a column a missing value of which is one of its dictionary."""
    return arrow.DictionaryArray.from_arrays([0, 1, 2] * 30, arrow.array(["p", "q", None]))


def sliced_chunks():
    """Return a column of two chunks with other dictionaries, each the end of a longer one."""
    first = arrow.array(["x", *["p", "q", None] * 20]).dictionary_encode()
    second = arrow.array([None, "q", *["p", "q", None] * 10]).dictionary_encode()
    return arrow.chunked_array([first[1:], second[2:]])


WORDS = ["p", "q", None] * 30
CODED = {
    "array": lambda: arrow.array(WORDS).dictionary_encode(),
    "chunks": lambda: arrow.chunked_array([WORDS]).dictionary_encode(),
    "gaps in the dictionary": gaps_in_the_dictionary,
    "sliced chunks": sliced_chunks,
}


@pytest.fixture(scope="module")
def of_words():
    """Return a model of a column of words, and its predictions for pandas."""
    frame = pandas.DataFrame({"z": pandas.Categorical(WORDS), "b": np.arange(90) % 7})
    numbers = np.tile([0.0, 10.0, -20.0], 30)
    model = fastnn.TabularRegressor(1, max_iter=20, random_state=0, target="numpy")
    return model.fit(frame, numbers), frame, model.predict(frame)


@pytest.mark.parametrize("kind", CODED)
@pytest.mark.parametrize(
    "exported",
    [
        lambda table: table,
        lambda table: table.combine_chunks().to_batches()[0],
        lambda table: Stream(table),
        narwhals_of,
    ],
    ids=["table", "batch", "stream", "narwhals"],
)
def test_a_missing_category_of_pyarrow_is_missing(of_words, kind, exported):
    model, frame, expected = of_words
    table = arrow.table({"z": CODED[kind](), "b": frame["b"].to_numpy()})
    assert_array_equal(model.predict(exported(table)), expected)


def test_a_missing_category_of_polars_is_missing_in_its_stream(of_words):
    polars = pytest.importorskip("polars")
    model, frame, expected = of_words
    for kind in (polars.Categorical, polars.Enum(["p", "q"])):
        table = polars.DataFrame({"z": polars.Series(WORDS, dtype=kind), "b": frame["b"].tolist()})
        assert_array_equal(model.predict(Stream(table)), expected)


@pytest.mark.parametrize("kind", CODED)
def test_a_missing_label_of_pyarrow_is_refused(kind):
    labels, X = CODED[kind](), FRAME
    for model in (
        fastnn.SGDClassifier(max_iter=2, tol=None),
        fastnn.MLPClassifier(max_iter=2),
        fastnn.TabularClassifier(1, max_iter=2, target="numpy"),
    ):
        with pytest.raises(ValueError, match="y contains None: there is no value in row 2"):
            model.fit(X, labels)


def test_missing_numbers_in_dictionaries_of_pyarrow_are_refused():
    numbers = arrow.chunked_array([[1, 5, None] * 30]).dictionary_encode()
    regressor = fastnn.TabularRegressor(1, max_iter=2, target="numpy")
    with pytest.raises(ValueError, match="y contains NaN"):
        regressor.fit(FRAME, numbers)
    with pytest.raises(ValueError, match="groups contains NaN"):
        regressor.fit(FRAME, NUMBERS, groups=numbers)
    with pytest.raises(ValueError, match="sample_weight contains NaN"):
        regressor.fit(FRAME, NUMBERS, sample_weight=numbers)
    classifier = fastnn.SGDClassifier(max_iter=2, tol=None)
    with pytest.raises(ValueError, match="contains NaN"):
        classifier.fit(arrow.table({"a": numbers, "b": FRAME["b"].to_numpy()}), LABELS)
    with pytest.raises(ValueError, match="sample_weight contains NaN"):
        classifier.fit(FRAME, LABELS, sample_weight=numbers)
