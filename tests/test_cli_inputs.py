"""What `fastnn train` and its kin do with tables, options and names that are out of the ordinary."""

import csv
import io
import json
import os

import numpy as np
import pytest

from fastnn import Trainer
from fastnn.cli import main

QUICK = ["--target", "numpy", "--hidden", "4", "--epochs", "1", "--validation", "0"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return a folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, header, rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    path.write_text(text.getvalue())


def train(*arguments, data="data.csv"):
    return main(["train", data, *QUICK, *arguments])


def test_a_column_without_a_name_is_learnt_from_like_others(here, capsys):
    write(here / "data.csv", ["", "a", "y"], [[i % 5, i % 3, i % 7 + 0.5] for i in range(30)])
    assert train("--label", "y") == 0
    assert main(["predict", "model.safetensors", "data.csv"]) == 0
    assert main(["evaluate", "model.safetensors", "data.csv"]) == 0
    assert train("--resume", "model.safetensors", "--epochs", "1", data="data.csv") == 2
    assert main(["train", "data.csv", "--resume", "model.safetensors", "--epochs", "1"]) == 0
    capsys.readouterr()
    assert train("--label", "y", "--weight", "1") == 2
    assert "--weight: that column has no name" in capsys.readouterr().err
