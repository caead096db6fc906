"""Files and options that do not go together are answered with what is wrong about them."""

import os
import random

import numpy as np
import pytest

from fastnn.cli import main

QUICK = ["--target", "numpy", "--hidden", "4", "--epochs", "1", "--out", "model.safetensors"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(delimiter=",", header="x,z,y", count=60):
    random.seed(0)
    lines = [[round(random.gauss(0, 1), 3) for _ in range(3)] for _ in range(count)]
    text = "\n".join(delimiter.join(map(str, line)) for line in lines)
    return f"{header.replace(',', delimiter)}\n{text}\n" if header else f"{text}\n"


def train(data, *more):
    return main(["train", data, "--label", "-1", *more, *QUICK])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "UTF-16"])
def test_an_encoding_that_the_file_has_not_is_said_to_be_there(encoding, here, capsys):
    (here / "data.csv").write_text(rows(), encoding="utf-8")
    assert train("data.csv", "--encoding", encoding) == 2
    said = capsys.readouterr().err
    assert "data.csv" in said and f"is not {encoding}" in said and "there is no" not in said
    assert train("data.csv", "--encoding", "utf-99") == 2
    assert "there is no encoding 'utf-99'" in capsys.readouterr().err


@pytest.mark.parametrize("written", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_read_with_a_mark_and_without(written, here):
    (here / "data.csv").write_bytes(rows().encode(written))
    assert train("data.csv", "--encoding", "utf-16") == 0


@pytest.mark.parametrize("more", [[], ["--tabular", "--members", "1"]])
def test_columns_that_are_dropped_are_known(more, here, capsys):
    (here / "data.csv").write_text(rows())
    options = [*QUICK, *more] if not more else [*more, "--epochs", "1", *QUICK[-2:]]
    assert main(["train", "data.csv", "--label", "y", "--drop", "x", *options]) == 0
    assert main(["predict", "model.safetensors", "data.csv"]) == 0
    assert "does not know" not in capsys.readouterr().err
    (here / "other.csv").write_text(rows(header="x,z,other"))
    assert main(["predict", "model.safetensors", "other.csv"]) == 0
    assert "1 column that the model does not know is ignored: 'other'" in capsys.readouterr().err


@pytest.mark.parametrize("header", ["x,z,y", ""])
@pytest.mark.parametrize("delimiter", [" ", "   "])
def test_blanks_between_values_are_met_with_their_option(delimiter, header, here, capsys):
    (here / "data.txt").write_text(rows(delimiter, header))
    assert train("data.txt") == 2
    assert "pass --delimiter ' '" in capsys.readouterr().err
    assert train("data.txt", "--delimiter", " ") == 0


def test_a_label_alone_has_no_blanks(here, capsys):
    (here / "data.csv").write_text("y\n" + "\n".join(map(str, np.arange(60))))
    assert train("data.csv") == 2
    said = capsys.readouterr().err
    assert "the label is the only one" in said and "--delimiter" not in said


def test_several_labels_of_svmlight_are_refused(here, capsys):
    (here / "data.svm").write_text("1,2 1:0.5\n1 1:0.25\n" * 30)
    assert train("data.svm") == 2
    said = capsys.readouterr().err
    assert "data.svm, line 1: '1,2' are several labels" in said and "--decimal" not in said
    assert not os.path.exists("model.safetensors")
