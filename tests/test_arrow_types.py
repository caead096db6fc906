"""Tables of pyarrow and polars with text and codes as polars writes them: files, and in memory."""

import numpy as np
import pytest

import fastnn
from fastnn import Dense, InvalidInput, Network, Trainer
from fastnn.cli import main
from fastnn.tabular.files.parquet import table_of
from fastnn.tabular.files.reading import Reading, files_of, opened, read, read_in_blocks

arrow = pytest.importorskip("pyarrow", "18")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS = 600
RANDOM = np.random.default_rng(0)
NUMBER = RANDOM.normal(size=ROWS)
PLACES = RANDOM.integers(0, 3, ROWS)
WORDS = [None if row % 17 == 0 else ("red", "green", "blue")[p] for row, p in enumerate(PLACES)]
ANSWERS = np.where((PLACES == 1) | (NUMBER > 1), "yes", "no")
VIEW = arrow.string_view()


def coded(values, kind):
    """Return a column of codes of values of a type."""
    found = arrow.array(values).dictionary_encode()
    return arrow.DictionaryArray.from_arrays(found.indices, found.dictionary.cast(kind))


def runs(values):
    ends = arrow.array([ROWS // 2, ROWS], arrow.int32())
    return arrow.RunEndEncodedArray.from_arrays(ends, arrow.array(values))


TEXT = {
    "view": arrow.array(WORDS, VIEW),
    "codes of a view": coded(WORDS, VIEW),
    "small codes of a view": arrow.DictionaryArray.from_arrays(
        coded(WORDS, VIEW).indices.cast(arrow.uint8()), coded(WORDS, VIEW).dictionary
    ),
    "large": arrow.array(WORDS, arrow.large_string()),
    "codes of a large one": coded(WORDS, arrow.large_string()),
    "codes": coded(WORDS, arrow.string()),
}
BYTES = [(word or "").encode() for word in WORDS]
LEFT_OUT = {
    "bytes": arrow.array(BYTES, arrow.binary_view()),
    "codes of bytes": coded(BYTES, arrow.binary_view()),
    "lists": arrow.array([[1, 2]] * ROWS, arrow.list_view(arrow.int64())),
    "large lists": arrow.array([[1, 2]] * ROWS, arrow.large_list_view(arrow.int64())),
    "lists of text": arrow.array([["a"]] * ROWS, arrow.list_(VIEW)),
    "records": arrow.array([{"a": "b"}] * ROWS, arrow.struct([("a", VIEW)])),
    "runs": runs(["a", "b"]),
    "runs of numbers": runs([1, 2]),
}


def write(path, table, rows=ROWS):
    if str(path).endswith(".parquet"):
        parquet.write_table(table, path, row_group_size=rows)
    else:
        with arrow.ipc.new_file(str(path), table.schema) as out:
            out.write_table(table, max_chunksize=rows)
    return str(path)


def cells(table):
    return {name: values.tolist() for name, values in table.columns.items()}


@pytest.mark.parametrize("name", [*TEXT, *LEFT_OUT])
@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_columns_of_files_are_the_same_however_they_are_read(name, form, tmp_path):
    column = (TEXT | LEFT_OUT)[name]
    try:
        path = write(tmp_path / f"t.{form}", arrow.table({"n": NUMBER, "t": column}))
    except (NotImplementedError, arrow.ArrowInvalid):
        pytest.skip("pyarrow does not write it so")
    expected = {"n": NUMBER.tolist()} | ({"t": WORDS} if name in TEXT else {})
    files = opened(path, files_of(path))
    kind = dict(files.columns)["t"]  # Parquet has lists of one kind
    whole, said = read(path, Reading())
    assert cells(whole) == expected
    assert said == ([] if name in TEXT else [f"left out, as no numbers, text, dates or times: "
                                             f"'t' ({kind})"])  # fmt: skip
    (block,) = read_in_blocks(path, Reading(), [])
    assert cells(block) == expected
    some = table_of(files, ["n", "t"], np.arange(1, ROWS, 3))
    assert cells(some) == {name: values[1::3] for name, values in expected.items()}


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_a_table_as_polars_writes_it_trains_alike_from_files_and_in_memory(
    form, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    columns = {
        "n": NUMBER, "view": TEXT["view"], "answer": arrow.array(ANSWERS.tolist(), VIEW),
        "bytes": LEFT_OUT["bytes"],
    }  # fmt: skip
    if form == "arrow":  # one dictionary a file is what pyarrow reads with it
        columns |= {"codes": TEXT["codes of a view"], "runs": LEFT_OUT["runs"]}
    path = write(f"t.{form}", arrow.table(columns))
    plain = {"n": NUMBER, "view": WORDS, "answer": ANSWERS.tolist()}
    if form == "arrow":
        plain |= {"codes": WORDS}
    write("plain.parquet", arrow.table(plain))
    found = []
    for data, how in ((path, "--no-stream"), (path, "--stream"), ("plain.parquet", "--no-stream")):
        given = ["--label", "answer", "--epochs", "3", "--hidden", "4", "--dropout", "0"]
        assert main(["train", data, *given, how, "--threads", "1"]) == 0
        told = capsys.readouterr()
        assert ("'bytes' (binary_view)" in told.out + told.err) == (data == path)
        assert main(["predict", "model.safetensors", data, "--out", "out.csv", "--quiet"]) == 0
        found.append((tmp_path / "out.csv").read_bytes())
    assert found[0] == found[1] == found[2]


def test_a_group_that_cannot_be_read_is_said_to_be_damaged(tmp_path):
    inner = coded([word or "red" for word in WORDS], arrow.string())
    twice = arrow.DictionaryArray.from_arrays(arrow.array(PLACES.astype(np.int32)), inner)
    path = write(tmp_path / "t.arrow", arrow.table({"t": twice}))
    try:
        found, _ = read(path, Reading())
    except fastnn.CorruptFile as error:
        assert "row group 0" in str(error)
    else:  # which a later pyarrow may read
        assert len(found.columns["t"]) == ROWS


def table(column):
    return arrow.table({"n": NUMBER, "t": column})


def accuracy(estimator, X, y):
    """Score as a scorer does that looks at rows of X."""
    assert X.num_rows == len(y) == len(X.column("t").to_pylist())
    return float((estimator.predict(X) == y).mean())


@pytest.mark.parametrize("name", [*TEXT, "runs", "runs of numbers"])
@pytest.mark.parametrize("scoring", [None, accuracy])
def test_tables_of_pyarrow_in_memory_train_as_plain_ones(name, scoring):
    column = (TEXT | LEFT_OUT)[name]
    weights = (np.arange(ROWS) >= 50) * 1.0
    plain = arrow.array(column.to_pylist())

    def probabilities(X):
        settings = {"n_members": 1, "max_iter": 2, "random_state": 0, "target": "numpy"}
        model = fastnn.TabularClassifier(scoring=scoring, **settings)
        return model.fit(X, ANSWERS, sample_weight=weights).predict_proba(X)

    # In the type of the plain one, whose column is not one of categories by its type.
    expected = probabilities(table(plain.dictionary_encode() if "codes" in name else plain))
    for given in (table(column), table(column).to_batches()[0]):
        assert np.array_equal(probabilities(given), expected)


def test_labels_and_weights_may_be_views_and_codes():
    X, settings = table(TEXT["view"]), {"n_members": 1, "max_iter": 1, "target": "numpy"}
    answers, plain = coded(ANSWERS.tolist(), VIEW), np.arange(ROWS) % 2 + 1.0
    weights = arrow.array(plain).dictionary_encode()

    def probabilities(y, w, **held_out):
        model = fastnn.TabularClassifier(random_state=0, **settings)
        return model.fit(X, y, sample_weight=w, **held_out).predict_proba(X)

    expected = probabilities(ANSWERS, plain, X_val=X, y_val=ANSWERS, sample_weight_val=plain)
    for y, w in (
        (answers, weights),
        (arrow.chunked_array([answers]), arrow.chunked_array([weights])),
        (arrow.array(ANSWERS.tolist(), VIEW), arrow.array(plain)),
    ):
        found = probabilities(y, w, X_val=X, y_val=y, sample_weight_val=w)
        assert np.array_equal(found, expected)
    groups = np.arange(ROWS) // 9
    named = arrow.array([f"{each:03}" for each in groups], VIEW)
    assert np.array_equal(
        probabilities(answers, None, groups=named), probabilities(ANSWERS, None, groups=groups)
    )


def test_what_numpy_has_no_type_for_is_read_as_objects():
    nanoseconds = arrow.array([(row % 24) * 3600 * 10**9 + 1 for row in range(ROWS)])
    numbers = arrow.UnionArray.from_dense(
        arrow.array([0] * ROWS, arrow.int8()), arrow.array(range(ROWS), arrow.int32()),
        [arrow.array(NUMBER)],
    )  # fmt: skip
    for column in (nanoseconds.cast(arrow.time64("ns")), numbers):
        settings = {"n_members": 1, "max_iter": 1, "random_state": 0, "target": "numpy"}
        model = fastnn.TabularClassifier(**settings).fit(table(column), ANSWERS)
        assert np.isfinite(model.predict_proba(table(column))).all()


def trainer():
    return Trainer(Network(1, [Dense(2)]), target="numpy")


@pytest.mark.parametrize("name", ["view", "codes", "large"])
def test_a_label_of_text_is_said_to_be_one(name, tmp_path):
    columns = {"n": NUMBER, "m": NUMBER, "t": TEXT[name]}
    path = write(tmp_path / "t.arrow", arrow.table(columns))
    weighted = {"y": "m", "sample_weight": "t"}
    for given, role in (
        ({"y": "t"}, "y"), ({"y": ["t"]}, "y"), (weighted, "sample_weight"),
    ):  # fmt: skip
        with pytest.raises(InvalidInput) as caught:
            trainer().fit(path, **given)
        said = str(caught.value)
        assert said.startswith(f"{role} names column 't' of type ") and "leave it out" not in said
        assert "where numbers are due" in said and ("factorize" in said) == (role == "y")
    with pytest.raises(InvalidInput, match="X has column 't' .*leave it out of the file"):
        trainer().fit(path, "n")


def stream(path, table):
    with arrow.ipc.new_stream(str(path), table.schema) as out:
        out.write_table(table, max_chunksize=100)
    return str(path)


@pytest.mark.parametrize("file", ["t.arrows", "t.arrow", "t.feather", "t.csv", "t"])
def test_a_stream_of_arrow_is_read_by_the_command_and_named_by_a_trainer(file, tmp_path):
    given = table(TEXT["view"])
    path = stream(tmp_path / file, given)
    for reading in (Reading(), Reading(form="arrow")):
        whole, _ = read(path, reading)
        assert cells(whole) == {"n": NUMBER.tolist(), "t": WORDS}
        (block,) = read_in_blocks(path, reading, [])
        assert cells(block) == cells(whole)
    said = r"is a stream of Arrow.* pyarrow\.ipc\.open_stream\(path\)\.read_all\(\)"
    with pytest.raises(InvalidInput, match=said):
        trainer().fit(path, np.zeros(ROWS, np.int64))


def test_a_damaged_stream_of_arrow_is_said_to_be_damaged(tmp_path):
    path = tmp_path / "t.arrows"
    stream(path, table(TEXT["view"]))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(fastnn.CorruptFile, match="is damaged"):
        read(str(path), Reading())


@pytest.mark.parametrize("kind", ["TabularClassifier", "TabularRegressor", "Ensemble", "Trainer"])
def test_a_model_that_is_not_there_is_one_of_the_class_that_reads_it(kind, tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    other = tmp_path / "other.safetensors"
    numpy.save_file({"a": np.zeros(3)}, other)
    load = getattr(fastnn, kind).load
    with pytest.raises(fastnn.MissingFile, match=rf"pass the path of one that {kind}\.save wrote"):
        load(tmp_path / "nope.safetensors")
    with pytest.raises(fastnn.CorruptFile, match=rf"pass a file that {kind}\.save wrote"):
        load(other)
