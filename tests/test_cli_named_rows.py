"""Errors at the prompt name a row by its place in the file, however many are left out before it."""

import importlib.util

import numpy as np
import pytest
import scipy.sparse

from fastnn.cli import main
from fastnn.tabular.preparation import Scaled
from fastnn.tabular.table import Matrix, WrongCell

QUICK = ["--target", "numpy", "--quiet"]
ONE = ["--hidden", "4", "--epochs", "1"]
MANY = ["--tabular", "--members", "2", "--epochs", "2"]
ROWS, UNLABELLED, WRONG = 60, 5, 20
X = np.random.default_rng(0).normal(size=ROWS).round(3)
KINDS = ["csv", "parquet"] if importlib.util.find_spec("pyarrow") else ["csv"]
# Text is not read while training.
WAYS = [
    pytest.param(kind, more, id=f"{kind}-{name}")
    for kind in KINDS
    for name, more in {"one": ONE, "many": MANY, "streamed": [*ONE, "--stream"]}.items()
    if (kind, name) != ("csv", "streamed")
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return a folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(kind, columns):
    """Write a table whose first rows have no label, and return its name."""
    name = f"data.{kind}"
    if kind == "parquet":
        import pyarrow
        from pyarrow import parquet

        lists = {each: np.asarray(values).tolist() for each, values in columns.items()}
        lists["y"][:UNLABELLED] = [None] * UNLABELLED
        parquet.write_table(pyarrow.table(lists), name, row_group_size=8)
        return name
    rows = [list(map(str, row)) for row in zip(*columns.values(), strict=True)]
    for row in rows[:UNLABELLED]:
        row[list(columns).index("y")] = ""
    with open(name, "w", encoding="utf-8") as file:
        file.writelines(",".join(row) + "\n" for row in [list(columns), *rows])
    return name


def changed(values, value):
    """Return values as a list, with another one in the wrong row."""
    found = np.asarray(values).tolist()
    found[WRONG] = value
    return found


def refused(capsys, *arguments):
    """Return what a command says as it refuses."""
    capsys.readouterr()
    assert main([*map(str, arguments), *QUICK]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(("kind", "more"), WAYS)
def test_a_negative_weight_is_named_by_its_row_of_the_file(kind, more, here, capsys):
    data = write(kind, {"x": X, "w": changed(np.ones(ROWS), -1.0), "y": (X > 0) * 1})
    said = refused(capsys, "train", data, "--label", "y", "--weight", "w", *more)
    cell = "'-1.0'" if kind == "csv" else "-1"
    assert f"row 21, column 'w': {cell} where a weight of at least 0 is due" in said


@pytest.mark.parametrize("stream", [[], ["--stream"]], ids=["in memory", "streamed"])
@pytest.mark.parametrize("wrong", ["label", "weight"])
def test_a_training_that_goes_on_names_rows_of_the_file(wrong, stream, here, capsys):
    kind = "parquet" if stream else "csv"
    if kind not in KINDS:
        pytest.skip("pyarrow, which reads Parquet, is not installed")
    columns = {"x": X, "w": np.ones(ROWS), "y": 10 * X}
    data = write(kind, columns)
    given = ["train", data, "--label", "y", "--weight", "w", *ONE, *stream, "--out", "m.st"]
    assert main([*given, *QUICK]) == 0
    if wrong == "weight":
        columns["w"], due = changed(columns["w"], -2.5), "column 'w': "
    else:
        columns["y"] = changed(columns["y"], "bad" if kind == "csv" else np.inf)
        due = "column 'y', the label: " + ("'bad'" if kind == "csv" else "inf")
    said = refused(capsys, "train", write(kind, columns), "--resume", "m.st", *stream)
    assert f"row 21, {due}" in said and "np.float64" not in said
    if wrong == "label":
        assert f"row 21, {due}" in refused(capsys, "evaluate", "m.st", data)


@pytest.mark.parametrize(
    ("loss", "value", "due"),
    [("poisson", -2.0, "-2, but --loss poisson takes counts"), ("mse", 1e300, "1e+300 is too")],
)
def test_labels_that_a_loss_or_a_dtype_cannot_have_are_named_where_a_training_goes_on(
    loss, value, due, here, capsys
):
    y = np.abs(10 * X)
    data = write("csv", {"x": X, "y": y})
    given = ["train", data, "--label", "y", "--loss", loss, *ONE, "--out", "m.st"]
    assert main([*given, *QUICK]) == 0
    data = write("csv", {"x": X, "y": changed(y, value)})
    said = refused(capsys, "train", data, "--resume", "m.st", "--epochs", 1)
    assert f"row 21, column 'y', the label: {due}" in said


def test_numbers_too_large_for_a_matrix_are_named(here, capsys):
    rows = [f"{int(x > 0)} 1:{x} 3:{x * x}\n" for x in X]
    (here / "data.svm").write_text("".join(rows))
    given = ["train", "data.svm", *ONE, "--out", "m.st"]
    assert main([*given, *QUICK]) == 0
    rows[WRONG] = "1 1:0.5 3:1e300\n"
    (here / "data.svm").write_text("".join(rows))
    for command in ("train data.svm --epochs 1 --resume m.st", "evaluate m.st data.svm"):
        assert "row 21, column 3: 1e+300 is not finite" in refused(capsys, *command.split())


def test_numbers_too_large_for_dense_rows_are_named(here, capsys):
    x = np.random.default_rng(0).integers(0, 256, (ROWS, 2, 2)).astype(np.uint8)
    np.savez("data.npz", X=x, y=X > 0)
    assert main(["train", "data.npz", *ONE, "--out", "m.st", *QUICK]) == 0
    large = x.astype(np.float64)
    large[WRONG, 0, 1] = 1e300
    np.savez("data.npz", X=large, y=X > 0)
    assert "row 21, column 2: 1e+300" in refused(capsys, "evaluate", "m.st", "data.npz")


@pytest.mark.parametrize("first", [0, 1])
def test_sparse_rows_of_a_model_of_dense_ones_name_the_columns_of_their_file(first):
    dense = np.random.default_rng(0).normal(5.0, 1.0, (6, 3))
    prepared = Scaled(dense.mean(axis=0), dense.std(axis=0), first)
    dense[4, 1] = 1e300
    data = Matrix(scipy.sparse.csr_array(dense), None, first)
    with pytest.raises(WrongCell, match=rf"column {first + 1}: 1e\+300"):
        prepared.apply(data)


@pytest.mark.parametrize(("kind", "more"), WAYS)
def test_weights_that_are_all_0_are_named_by_their_option(kind, more, here, capsys):
    columns = {"x": X, "my w": np.zeros(ROWS), "y": (X > 0) * 1}
    given = ["train", write(kind, columns), "--label", "y", "--weight", "my w", *more]
    said = refused(capsys, *given)
    assert "--weight: column 'my w' is 0 in each of" in said and "--scoring" not in said
    assert "rows to train on" in said


def test_weights_that_are_0_in_all_rows_left_out_are_named_by_their_option(here, capsys):
    columns = {"x": X, "w": np.arange(ROWS) == 7, "y": (X > 0) * 1}
    data = write("csv", {**columns, "w": columns["w"] * 1})
    given = ["train", data, "--label", "y", "--weight", "w", "--validation", "0.1"]
    for more in (ONE, MANY):
        assert "--weight: column 'w' is 0 in each of 6 rows to" in refused(capsys, *given, *more)
