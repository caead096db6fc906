"""One matrix is the same to every command, in whichever of NumPy's files and by whichever names."""

import io
import itertools
import json
import zipfile

import numpy as np
import pytest
from scipy import sparse

from fastnn import Trainer
from fastnn.cli import main

QUICK = ["--target", "numpy", "--hidden", "4", "--epochs", "2", "--seed", "1"]


def matrix(rows=60, columns=3, missing=True):
    random = np.random.default_rng(0)
    X = random.standard_normal((rows, columns)).round(3)
    y = (X[:, 0] + 0.1 * random.standard_normal(rows)).round(3)
    if missing:
        X[4, 1] = np.nan
    return X, y


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return a folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys, *arguments):
    capsys.readouterr()
    status = main(list(arguments))
    shown = capsys.readouterr()
    assert status == 0, shown.err
    return shown.out


def refused(capsys, *arguments):
    capsys.readouterr()
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def save_all(X, y):
    """Save a matrix in every way, and return the option that names its label in each."""
    whole = np.column_stack([X, y])
    np.save("whole.npy", whole)
    np.savez("whole.npz", whole)
    np.savez_compressed("named.npz", table=whole)
    np.savez("pair.npz", X=X, y=y)
    np.savez("upper.npz", Data=X, TARGET=y[:, None])
    np.savez("positions.npz", X, y)
    np.savez("other.npz", X=X, y=y * 0, price=y)
    np.savez("lone.npz", y, grid=X)
    return {
        "whole.npy": "4", "whole.npz": "-1", "named.npz": "4", "pair.npz": None,
        "upper.npz": None, "positions.npz": None, "other.npz": "price", "lone.npz": "arr_0",
    }  # fmt: skip


def test_a_matrix_trains_and_predicts_the_same_from_any_of_its_files(here, capsys):
    X, y = matrix()
    labels = save_all(X, y)
    np.save("new.npy", X)
    np.savez("new.npz", X=X)
    np.savez("new0.npz", X)
    found = set()
    for source, label in labels.items():
        asked = [] if label is None else ["--label", label]
        assert main(["train", source, *asked, *QUICK, "--out", "m.safetensors"]) == 0, source
        trainer = Trainer.load("m.safetensors")
        assert len(trainer.preparation["features"]["rules"]) == 3
        found.add(trainer.parameters[0][0].tobytes())
        if source not in ("whole.npy", "pair.npz", "lone.npz"):
            continue
        for other in ("new.npy", "new.npz", "new0.npz", *labels):
            if other in ("other.npz", "lone.npz") and source != other:
                continue  # whose labels only their own model can name
            out = printed(capsys, "predict", "m.safetensors", other)
            found.add(out.partition("\n")[2])
            if not other.startswith("new"):
                scores = printed(capsys, "evaluate", "m.safetensors", other)
                found.add(scores)
    assert len(found) == 3, "one network, one list of predictions, and one list of scores"


def test_labels_in_any_column_are_found_whether_apart_or_not(here, capsys):
    X, y = matrix()
    np.save("first.npy", np.column_stack([y, X]))
    np.savez("pair.npz", X=X, y=y)
    assert main(["train", "first.npy", "--label", "1", *QUICK, "--out", "m"]) == 0
    assert printed(capsys, "evaluate", "m", "pair.npz") == printed(
        capsys, "evaluate", "m", "first.npy"
    )


def test_training_goes_on_with_the_matrix_in_another_file(here, capsys):
    X, y = matrix()
    save_all(X, y)
    assert main(["train", "whole.npy", "--label", "4", *QUICK, "--out", "a"]) == 0
    more = ["--resume", "a", "--epochs", "2", "--rate", "0.001"]
    weights = []
    for name in ("whole.npy", "pair.npz", "positions.npz"):
        assert main(["train", name, *more, "--out", "b"]) == 0
        weights.append(Trainer.load("b").parameters[0][0])
    assert all(np.array_equal(weights[0], each) for each in weights)


@pytest.mark.parametrize("shape", [(60, 4, 5), (60, 300)])
def test_a_model_of_images_or_of_a_wide_matrix_predicts_from_an_array(shape, here, capsys):
    X = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    flat = X.reshape(len(X), -1)
    np.savez("images.npz", X=X, y=flat[:, 0])
    np.save("flat.npy", flat)
    np.savez("flat.npz", flat)
    assert main(["train", "images.npz", *QUICK, "--out", "m"]) == 0
    assert Trainer.load("m").preparation["features"]["kind"] == "scaled"
    first, *others = (
        printed(capsys, "predict", "m", f"{n}") for n in ("images.npz", "flat.npy", "flat.npz")
    )
    assert others == [first, first]
    flat[3, 2] = np.nan
    np.save("flat.npy", flat)
    assert "row 4, column '3'" in refused(capsys, "predict", "m", "flat.npy")
    np.save("flat.npy", flat[:, 1:])
    assert "but the model was trained on" in refused(capsys, "predict", "m", "flat.npy")


def test_a_sparse_matrix_of_scipy_predicts_as_a_dense_one(here, capsys):
    X = np.random.default_rng(0).integers(0, 3, (60, 5)).astype(float)
    np.savez("dense.npz", X=X, y=X @ np.arange(5.0))
    assert main(["train", "dense.npz", *QUICK, "--out", "m"]) == 0
    expected = printed(capsys, "predict", "m", "dense.npz")
    for kind in (sparse.csr_array, sparse.csc_array, sparse.coo_array):
        sparse.save_npz("sparse.npz", kind(X))
        assert printed(capsys, "predict", "m", "sparse.npz") == expected
    assert "no labels" in refused(capsys, "train", "sparse.npz", *QUICK)


def _wrong():
    X, y = matrix(missing=False)
    grid = {"a": X, "b": X, "c": y}
    objects = {"X": np.array([{}, []], object), "y": y}
    return [
        ({"X": X[:, 0], "y": y}, [], "--label is missing; which column"),
        ({"X": X[:, 0]}, [], "features must be numbers (rows, columns), not float64 (60,)"),
        ({"X": X[:, 0], "y": X}, [], "name its arrays X and y"),
        ({"X": X, "y": y[:-1]}, [], "labels must be one for each of 60 rows, not (59,)"),
        ({"X": X, "y": X}, [], "labels must be one for each of 60 rows, not (60, 3)"),
        ({"X": X[:0], "y": y[:0]}, [], "there are no rows"),
        ({"X": X}, [], "--label is missing"),
        ({"X": X, "y": y}, ["--label", "2"], "a matrix with labels of its own, y"),
        (grid, [], "name its arrays X and y, or pass --label"),
        (grid, ["--label", "c"], "which of 'a', 'b' has the features? Call that array X"),
        ({"X": np.where(X == X[3, 1], np.inf, X), "y": y}, [], "row 4, column '2': inf"),
        (objects, [], "an array of objects, which only pickle reads"),
        ({"X": X.astype(complex), "y": y}, [], "not complex128"),
        ({"a": X, "b": X, "c": y}, ["--label", "nobody"], "name its arrays X and y"),
        ({}, [], "no array"),
    ]  # fmt: skip


@pytest.mark.parametrize(("arrays", "label", "said"), _wrong())
def test_arrays_that_are_no_table_are_refused_in_one_line(arrays, label, said, here, capsys):
    np.savez("data.npz", **arrays)
    assert said in refused(capsys, "train", "data.npz", *label, *QUICK)


def test_arrays_that_are_not_used_are_said(here, capsys):
    X, y = matrix()
    np.savez("data.npz", X=X, y=y, weights=y, x_test=X)
    assert main(["train", "data.npz", *QUICK]) == 0
    assert "features are X, labels y; not used: 'weights', 'x_test'" in capsys.readouterr().err


def test_numbers_of_any_kind_are_read_from_arrays(here, capsys):
    whole = np.arange(120).reshape(40, 3) % 11
    found = []
    for dtype, file in itertools.product(("i1", "u1", "i8", "u4", "f2", "f8"), ("npy", "npz")):
        kept = whole.astype(dtype)
        if file == "npy":
            np.save("data.npy", kept)
        else:
            np.savez("data.npz", X=kept[:, :2], y=kept[:, 2])
        label = ["--label", "3"] if file == "npy" else []
        assert main(["train", f"data.{file}", *label, *QUICK, "--task", "regression"]) == 0
        out = printed(capsys, "predict", "model.safetensors", f"data.{file}")
        found.append(np.genfromtxt(io.StringIO(out), skip_header=1))
    assert all(np.array_equal(found[0], each) for each in found)


def test_columns_may_have_names_that_matrices_have(here, capsys):
    X, y = matrix()
    np.savez("data.npz", x=X[:, 0], y=X[:, 2], inputs=X[:, 1], target=y)
    (here / "data.csv").write_text(
        "x,y,inputs,target\n"
        + "".join(
            f"{a},{c},{'' if np.isnan(b) else b},{t}\n" for (a, b, c), t in zip(X, y, strict=True)
        )
    )
    found = []
    for name in ("data.npz", "data.csv"):
        assert main(["train", name, "--label", "target", *QUICK]) == 0
        found += [
            printed(capsys, "predict", "model.safetensors", f"data.{n}") for n in ("npz", "csv")
        ]
    assert len(set(found)) == 1


def parts(**names):
    """Return arrays of 120 rows to train on and 80 to test with, by the names given for them."""
    random = np.random.default_rng(3)
    X = random.standard_normal((200, 3))
    y = (X[:, 0] > 0).astype(int)
    found = {"X": X[:120], "y": y[:120], "X_test": X[120:], "y_test": y[120:], "all": y}
    return {name: found[of] for of, each in names.items() for name in each.split()}


SURE = [*QUICK[:2], "--hidden", "none", "--epochs", "20", "--rate", "0.1"]


@pytest.mark.parametrize(
    ("names", "label"),
    [
        ({"X": "X", "y": "y", "X_test": "X_test", "y_test": "y_test"}, []),
        ({"X": "X", "y": "y", "X_test": "X_test", "y_test": "y_test"}, ["--label", "y"]),
        ({"X": "X_train", "y": "y_train", "X_test": "X_test", "y_test": "y_test"}, []),
        (
            {"X": "X_train", "y": "y_train", "X_test": "X_test", "y_test": "y_test"},
            ["--label", "y_train"],
        ),
        ({"X": "train_x", "y": "train_y", "X_test": "test_x", "y_test": "test_y"}, []),
        ({"X": "x_train", "y": "y_train", "X_test": "x_test", "y_test": "y_test", "all": "y"}, []),
        (
            {"X": "X", "y": "kind", "X_test": "X_test", "y_test": "kind_test"},
            ["--label", "kind"],
        ),
        (
            {"X": "X_train", "y": "kind_train", "X_test": "X_test", "y_test": "kind_test"},
            ["--label", "kind_train"],
        ),
        (
            {"X": "X_train", "y": "kind", "X_test": "X_test", "y_test": "y_test"},
            ["--label", "kind"],
        ),
        ({"X": "X", "y": "target", "X_test": "X_test", "y_test": "target_test"}, []),
        ({"X": "data", "y": "y", "X_test": "x_test", "y_test": "Y_TEST"}, []),
    ],
)
@pytest.mark.parametrize("rows", [120, 80])
def test_test_features_are_measured_on_labels_of_their_own(names, label, rows, here, capsys):
    arrays = parts(**names)
    to_train = {each for of in ("X", "y") for each in names[of].split()}
    if rows == 80:  # as many to train on as to test with, where lengths tell nothing
        arrays = {n: each[:80] if n in to_train else each for n, each in arrays.items()}
    np.savez("data.npz", **arrays)
    assert main(["train", "data.npz", *label, *SURE]) == 0
    printed(capsys, "predict", "model.safetensors", "data.npz")
    scores = json.loads(printed(capsys, "evaluate", "model.safetensors", "data.npz", "--json"))
    assert scores["rows"] == 80 and scores["accuracy"] > 0.9


def test_test_features_without_labels_are_predicted_and_not_measured_on_others(here, capsys):
    np.savez("data.npz", **parts(X="X", y="y", X_test="X_test"))
    assert main(["train", "data.npz", *SURE]) == 0
    assert len(printed(capsys, "predict", "model.safetensors", "data.npz").split()) == 81
    said = refused(capsys, "evaluate", "model.safetensors", "data.npz")
    assert "no column 'y', the label to compare with (features are X_test; not used" in said
    np.savez("data.npz", **parts(X="X", y="y", X_test="X_test"), notes=np.array([[{}]], object))
    with zipfile.ZipFile("data.npz", "a") as archive:
        archive.writestr("readme.txt", "which rows are whose")
    assert len(printed(capsys, "predict", "model.safetensors", "data.npz").split()) == 81
    np.savez("new.npz", **parts(X_test="X_test", y_test="y"))
    scores = json.loads(printed(capsys, "evaluate", "model.safetensors", "new.npz", "--json"))
    assert scores["accuracy"] > 0.9


def test_labels_of_all_rows_are_none_of_those_to_test_with(here, capsys):
    every = parts(X="X_train", y="y_train", X_test="X_test", all="y")
    np.savez("data.npz", **every)
    assert main(["train", "data.npz", "--label", "y_train", *SURE]) == 0
    del every["y_train"]
    np.savez("new.npz", **{"a note\nof two lines": every["X_test"]}, **every)
    assert len(printed(capsys, "predict", "model.safetensors", "new.npz").split()) == 81


def test_labels_of_other_features_are_not_learnt_from(here, capsys):
    np.savez("data.npz", **parts(X="X_train", y="y_train", X_test="X_test", y_test="y_test"))
    said = refused(capsys, "train", "data.npz", "--label", "y_test", *SURE)
    assert "y_test has the labels of X_test, and the features are X_train" in said


@pytest.mark.parametrize("label", [[], ["--label", "y_train"]])
def test_a_training_goes_on_with_the_labels_of_its_features(label, here, capsys):
    names = {"X": "X_train", "y": "y_train", "X_test": "X_test", "y_test": "y_test", "all": "y"}
    np.savez("data.npz", **parts(**names))
    assert main(["train", "data.npz", *label, *SURE]) == 0
    again = ["--resume", "model.safetensors", "--epochs", "1"]
    assert main(["train", "data.npz", *again]) == 0
    assert "warning" not in capsys.readouterr().err
