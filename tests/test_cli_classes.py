"""Classes that are numbers are the same ones in every file, and in models of before."""

import json

import numpy as np
import pytest

from fastnn.cli import main
from fastnn.tabular.label import Label, words_of

QUICK = ["--target", "numpy", "--hidden", "none", "--epochs", "20", "--rate", "0.1"]
X = np.random.default_rng(0).normal(size=120).round(3)
PLACES = (X > 0).astype(int)


def train(data, *more):
    return main(["train", data, "--label", "y", *more, *QUICK])


def scores_of(capsys, data, model="model.safetensors"):
    capsys.readouterr()
    assert main(["evaluate", model, data, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, labels):
    """Write X and labels as CSV, Parquet or svmlight, as the name ends."""
    if name.endswith(".parquet"):
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.table({"x": X, "y": labels}), name)
        return
    rows = [
        f"{label} 1:{x}\n" if name.endswith(".svm") else f"{x},{label}\n"
        for x, label in zip(X, labels, strict=True)
    ]
    with open(name, "w") as file:
        file.write("" if name.endswith(".svm") else "x,y\n")
        file.writelines(rows)


def text(*classes):
    return [classes[place] for place in PLACES]


FORMS = {
    "text.csv": text("0.1", "0.7"),
    "double.parquet": np.array([0.1, 0.7])[PLACES],
    "single.parquet": np.array([0.1, 0.7], np.float32)[PLACES],
    "widened.parquet": np.array([0.1, 0.7], np.float32).astype(np.float64)[PLACES],
    "words.parquet": text("0.1", "0.7"),
    "widened.csv": np.array([0.1, 0.7], np.float32).astype(np.float64)[PLACES].tolist(),
}


@pytest.mark.parametrize("seen", FORMS)
def test_fractions_are_the_same_classes_in_every_file(seen, here, capsys):
    write(seen, FORMS[seen])
    assert train(seen, "--task", "classification") == 0
    assert main(["predict", "model.safetensors", seen, "--out", "out.csv"]) == 0
    assert set((here / "out.csv").read_text().split()) == {"y", "0.1", "0.7"}
    for given, labels in FORMS.items():
        write(given, labels)
        assert scores_of(capsys, given)["accuracy"] > 0.9, given


ZEROS = {
    "text.csv": [["-0.0", "0.0", "1.0"][place] for place in np.arange(120) % 3],
    "whole.csv": [["-0", "0", "1"][place] for place in np.arange(120) % 3],
    "typeset.csv": [["\u22120", "0", "1"][place] for place in np.arange(120) % 3],
    "double.parquet": np.array([-0.0, 0.0, 1.0])[np.arange(120) % 3],
    "single.parquet": np.array([-0.0, 0.0, 1.0], np.float32)[np.arange(120) % 3],
    "data.svm": [["-0", "0", "1"][place] for place in np.arange(120) % 3],
}


@pytest.mark.parametrize("name", ZEROS)
@pytest.mark.parametrize("more", [[], ["--task", "classification"]])
def test_zero_is_one_class_whatever_its_sign(name, more, here, capsys):
    write(name, ZEROS[name])
    label = [] if name.endswith(".svm") else ["--label", "y"]
    assert main(["train", name, *label, *more, *QUICK]) == 0
    assert scores_of(capsys, name)["classes"] == ["0", "1"]


def test_zeros_of_two_decimals_are_one_class(here, capsys):
    write("data.csv", [["-0.00", "0.00", "1.00"][place] for place in np.arange(120) % 3])
    assert train("data.csv") == 0
    assert scores_of(capsys, "data.csv")["classes"] == ["0.00", "1.00"]


WAYS = [text("-1", "+1"), text("-1", "1"), text("-1.0", "1.00"), text("-1e0", "1e0")]


@pytest.mark.parametrize("seen", range(len(WAYS)))
@pytest.mark.parametrize("given", range(len(WAYS)))
def test_equal_numbers_are_the_same_class_in_svmlight(seen, given, here, capsys):
    write("seen.svm", WAYS[seen])
    write("given.svm", WAYS[given])
    assert main(["train", "seen.svm", *QUICK]) == 0
    assert scores_of(capsys, "given.svm") == scores_of(capsys, "seen.svm")


def coded(classes, values, dtype=object):
    """Return which classes values are, as `fastnn evaluate` has them."""
    label = Label("y", classes)
    values = np.array(values, dtype)
    return label.encode(label.forgiving(values)[0])[0].tolist()


def test_numbers_that_could_be_several_classes_are_none():
    assert coded(("1", "1.0"), ["1", "1.0", "1.00", "+1"]) == [0, 1, -1, -1]
    assert coded(("01", "1", "2"), ["01", "1", "1.0", "+1", "02", "2.00"]) == [0, 1, 1, -1, 2, 2]
    assert coded(("-0", "0"), ["-0", "0", "0.00"]) == [0, 1, -1]
    assert coded(("9007199254740992", "5"), ["9007199254740993", "5.0"]) == [-1, 1]
    assert coded(("a", "b"), ["A.", "1", "c"]) == [0, -1, -1]
    assert coded(("no", "yes"), ["0", "1.0", "TRUE.", "2"]) == [0, 1, 1, -1]


def test_classes_of_models_of_before_are_known():
    single = np.array([0.1, 0.7], np.float32).astype(np.float64).tolist()
    for old in ([0.1, 0.7], single):
        classes = tuple(f"{value:.17g}" for value in old)
        for values in ([0.1, 0.7], single):
            assert coded(classes, values, np.float64) == [0, 1]
            assert coded(classes, [str(value) for value in values]) == [0, 1]
        assert coded(classes, [0.1, 0.7], np.float32) == [0, 1]
        assert coded(classes, classes) == [0, 1]
    assert coded(("-0", "1"), [0.0, -0.0, 1.0], np.float64) == [0, 0, 1]
    assert coded(("1e+17", "2e+17"), [1e17, 2e17], np.float64) == [0, 1]


def test_words_of_numbers_do_not_depend_on_their_type():
    assert words_of(np.array([-0.0, 0.0, 3.0, 0.1, 1e22])) == ["0", "0", "3", "0.1", "1e+22"]
    assert words_of(np.array([0.1, 2.5], np.float32)) == ["0.1", "2.5"]


@pytest.mark.parametrize(
    "word", ["1:1_0", "1:0x1", "1:1e", "1:+-1", "1:", "1_0:1", "\u0661:2", "1:nan", "1:1e999"]
)
def test_svmlight_takes_the_numbers_that_other_text_has(word, here, capsys):
    (here / "data.svm").write_text(f"1 1:2 2:.5\n-1 {word}\n" * 30)
    assert main(["train", "data.svm", *QUICK]) == 2
    assert f"data.svm, line 2: {word!r} where INDEX:NUMBER is due" in capsys.readouterr().err
