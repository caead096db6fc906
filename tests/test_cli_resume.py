"""Trainings at the prompt that go on with the options of before."""

import csv
import os

import numpy as np
import pytest

from fastnn import Trainer
from fastnn.cli import main

SETTINGS = ["--label", "y", "--target", "numpy", "--hidden", "8", "--epochs", "4"]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Return a table whose label follows from its columns, as do all files of a test."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    X = random.normal(size=(120, 2)).round(3)
    write("data.csv", [["a", "b", "y"], *np.c_[X, X @ [1.0, -2.0]].round(3).tolist()])
    return "data.csv"


def write(path, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)


def assert_same_bits(one, other):
    one, other = Trainer.load(one), Trainer.load(other)
    assert one.epoch == other.epoch
    for layer, same in zip(one.parameters, other.parameters, strict=True):
        assert all(map(np.array_equal, layer, same))


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["--rate", "0.01"],
        ["--rate", "0.01", "--schedule", "onecycle"],
        ["--rate", "0.01", "--schedule", "constant"],
        ["--patience", "3", "--seed", "2", "--batch", "16"],
    ],
)
def test_the_same_options_end_in_the_same_bits(more, data, capsys):
    settings = [*SETTINGS, *more, "--checkpoint", "all"]
    assert main(["train", data, *settings, "--out", "whole.st"]) == 0
    for epoch in (3, 4):  # as if killed before them
        os.unlink(f"all/model-000{epoch}.safetensors")
    capsys.readouterr()
    assert main(["train", data, *settings, "--out", "ended.st", "--resume", "all"]) == 0
    said = capsys.readouterr().err
    assert "goes on after epoch 2: 2 more epochs, 4 in all as before" in said
    assert "the rate of the model" not in said
    assert_same_bits("whole.st", "ended.st")


def test_another_number_of_epochs_is_so_many_more(data, capsys):
    assert main(["train", data, *SETTINGS, "--checkpoint", "all", "--out", "whole.st"]) == 0
    for source, epochs, end in (
        ("all/model-0002.safetensors", 3, 5),
        ("all/model-0002.safetensors", 1, 3),
        ("whole.st", 4, 8),  # a training that has ended
    ):
        on = ["--resume", source, "--epochs", str(epochs), "--out", "more.st"]
        assert main(["train", data, *on]) == 0
        assert Trainer.load("more.st").epoch == end
    assert "the rate of the model has come to its end" in capsys.readouterr().err


def test_another_rate_is_constant(data):
    assert main(["train", data, *SETTINGS, "--checkpoint", "all", "--out", "whole.st"]) == 0
    on = ["--resume", "all/model-0002.safetensors", "--out", "more.st"]
    assert main(["train", data, *on, "--rate", "0.5"]) == 0
    assert Trainer.load("more.st").problem.optimizer.learning_rate == 0.5


@pytest.mark.parametrize("kind", ["numbers", "classes", "streamed"])
def test_rows_in_another_order_are_told(kind, data, capsys):
    with open(data, newline="") as file:
        names, *rows = csv.reader(file)
    settings, ending = SETTINGS, "csv"
    if kind == "classes":
        rows = [[a, b, "yes" if float(y) > 0 else "no"] for a, b, y in rows]
    others = {
        "same": rows,
        "turned": rows[::-1],
        "other": [[a, b, {"yes": "no", "no": "yes"}.get(y, f"{y}5")] for a, b, y in rows],
        "features": [[b, a, y] for a, b, y in rows],
        "spelt": [[f" {a}", b, y] for a, b, y in rows],
    }
    if kind == "streamed":
        parquet = pytest.importorskip("pyarrow.parquet")
        arrow = pytest.importorskip("pyarrow")
        settings, ending = ["--label", "y", "--hidden", "8", "--epochs", "4", "--stream"], "parquet"
    for name, table in others.items():
        if kind == "streamed":
            columns = np.array(table, float).T
            parquet.write_table(
                arrow.table(dict(zip(names, columns, strict=True))), f"{name}.{ending}"
            )
        else:
            write(f"{name}.{ending}", [names, *table])
    assert main(["train", f"same.{ending}", *settings, "--out", "model.st"]) == 0
    capsys.readouterr()
    for name in others:
        again = ["--resume", "model.st", "--epochs", "1", "--out", "more.st"]
        assert main(["train", f"{name}.{ending}", *again]) == 0
        told = "warning: the labels of the data are not those" in capsys.readouterr().err
        assert told == (name in ("turned", "other")), name


def test_models_without_a_digest_of_their_labels_go_on(data, capsys):
    assert main(["train", data, *SETTINGS, "--out", "model.st"]) == 0
    trainer = Trainer.load("model.st")
    known = trainer.preparation
    assert known["plan"].pop("labels")
    trainer.keep_preparation(known)
    trainer.save("old.st")
    on = ["--resume", "old.st", "--epochs", "1", "--out", "more.st"]
    assert main(["train", data, *on]) == 0
    assert "labels of the data" not in capsys.readouterr().err
