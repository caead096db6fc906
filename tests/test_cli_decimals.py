"""Decimals of Parquet and Arrow files, which databases export: no digit of a label is lost."""

from decimal import Decimal

import numpy as np
import pytest

from fastnn.cli import main

arrow = pytest.importorskip("pyarrow", "16")
feather = pytest.importorskip("pyarrow.feather")
parquet = pytest.importorskip("pyarrow.parquet")

QUICK = ["--target", "numpy", "--hidden", "8", "--epochs", "30", "--rate", "0.03"]
X = np.random.default_rng(0).normal(size=200).round(3)
BEYOND = {
    "whole numbers": (arrow.decimal128(38, 0), ["10000000000000001", "10000000000000003"]),
    "negative ones": (arrow.decimal128(38, 0), ["-10000000000000001", "-10000000000000003"]),
    "of 256 bits": (arrow.decimal256(76, 0), [f"1{'0' * 60}1", f"1{'0' * 60}2"]),
    "with zeros after the point": (
        arrow.decimal128(38, 10),
        ["10000000000000001", "10000000000000003"],
    ),
    "with digits after it": (
        arrow.decimal128(38, 4),
        ["10000000000000000.25", "10000000000000000.75"],
    ),
    "alike up to 18 digits": (arrow.decimal128(38, 18), ["1", "1.000000000000000001"]),
}


def write(path, **columns):
    """Write a table as Parquet or Feather, as its name says; return the path as text."""
    table = arrow.table(columns)
    if path.suffix == ".feather":
        feather.write_feather(table, str(path))
    else:
        parquet.write_table(table, path, row_group_size=50)
    return str(path)


@pytest.mark.parametrize("ending", ["parquet", "feather"])
@pytest.mark.parametrize("kind", BEYOND)
def test_a_label_of_decimals_is_predicted_in_its_own_digits(kind, ending, tmp_path, capsys):
    dtype, words = BEYOND[kind]
    y = arrow.array([Decimal(words[int(x > 0)]) for x in X], dtype)
    data, model = write(tmp_path / f"data.{ending}", x=X, y=y), str(tmp_path / "model.safetensors")
    asked = ["--label", "y", "--task", "classification", "--out", model]
    assert main(["train", data, *asked, *QUICK]) == 0
    capsys.readouterr()
    assert main(["predict", model, data]) == 0
    found = capsys.readouterr().out.split()[1:]
    assert set(found) == set(words)
    assert np.mean([each == words[int(x > 0)] for each, x in zip(found, X, strict=True)]) > 0.9
    assert main(["evaluate", model, data]) == 0
    assert "does not know" not in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--category", "id"], ["--stream"]])
def test_ids_of_decimals_are_categories(more, tmp_path, capsys):
    ids = arrow.array(
        [Decimal(10**30 + row % 4) if row % 9 else None for row in range(len(X))],
        arrow.decimal128(38, 0),
    )
    data = write(tmp_path / "data.parquet", id=ids, x=X, y=X + np.arange(len(X)) % 4)
    model = str(tmp_path / "model.safetensors")
    target = ["--hidden", "8", "--epochs", "1"] if "--stream" in more else QUICK
    assert main(["train", data, "--label", "y", "--out", model, *more, *target]) == 0
    assert "1 category: 'id'" in capsys.readouterr().err
    assert main(["predict", model, data]) == 0
    assert "warning" not in capsys.readouterr().err


def test_decimals_that_floats_hold_are_numbers(tmp_path, capsys):
    money = arrow.array(
        [Decimal(f"{x:.2f}") if x > -1 else None for x in X], arrow.decimal128(38, 2)
    )
    data = write(tmp_path / "data.parquet", pay=money, y=X)
    asked = ["--label", "y", "--decimal", ",", "--out", str(tmp_path / "model.safetensors")]
    assert main(["train", data, *asked, *QUICK]) == 0
    said = capsys.readouterr().err
    assert "1 number: 'pay'" in said and "values missing" in said
