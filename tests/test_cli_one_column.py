"""Tables of one column, of which a row may be nothing but a missing value."""

import csv
import io
import random

import pytest

from fastnn.cli import main

QUICK = ["--target", "numpy", "--hidden", "4", "--epochs", "1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return a model of one column with a missing value, with names or without."""
    random.seed(0)
    folder = tmp_path_factory.mktemp("models")
    rows = [[random.gauss(0, 1), random.gauss(0, 1)] for _ in range(60)]
    text = io.StringIO()
    csv.writer(text).writerows([*rows, ["", 1.5]])
    for name, header in (("named", "x,y\n"), ("numbered", "")):
        data = folder / f"{name}.csv"
        data.write_text(header + text.getvalue())
        out = str(folder / f"{name}.safetensors")
        assert main(["train", str(data), "--label", "-1", "--out", out, *QUICK]) == 0
    return lambda name: str(folder / f"{name}.safetensors")


def predictions(model, path, content, capsys, *options):
    path.write_text(content)
    capsys.readouterr()
    assert main(["predict", model, str(path), *options]) == 0
    shown = capsys.readouterr()
    return len(shown.out.splitlines()) - 1, shown.err


@pytest.mark.parametrize("missing", ['""', '" "', "NA", ' ""'])
def test_a_missing_value_alone_in_its_line_is_a_row(missing, model, tmp_path, capsys):
    content = f"x\n1\n{missing}\n2\n{missing}\n"
    found, said = predictions(model("named"), tmp_path / "data.csv", content, capsys)
    assert found == 4 and "empty" not in said


@pytest.mark.parametrize("options", [(), ("--no-header",), ("--names", "x")])
def test_so_is_one_in_the_first_line_of_a_table_without_names(options, model, tmp_path, capsys):
    name = "named" if "--names" in options else "numbered"
    content = '""\n1\n""\n2\n'
    assert predictions(model(name), tmp_path / "data.csv", content, capsys, *options)[0] == 4


@pytest.mark.parametrize("above", ["# made by x, y\n", "| a, b\n", "sep=;\n"])
def test_so_is_one_below_lines_that_are_none_of_the_table(above, model, tmp_path, capsys):
    content = f'{above}x\n1\n""\n2\n'
    assert predictions(model("named"), tmp_path / "data.csv", content, capsys)[0] == 3


def test_empty_lines_are_no_rows_and_are_counted(model, tmp_path, capsys):
    content = "\n\nx\n1\n\n2\n  \n3\n\n\n"
    found, said = predictions(model("named"), tmp_path / "data.csv", content, capsys)
    assert found == 3 and "2 empty lines left out" in said


def test_lines_of_quotation_marks_are_no_rows_of_wider_tables(model, tmp_path, capsys):
    content = '""\nx,y\n1,2\n""\n3,4\n\n'
    found, said = predictions(model("named"), tmp_path / "data.csv", content, capsys)
    assert found == 2 and "empty" not in said


def test_many_such_rows_are_read_in_blocks_as_well(model, tmp_path, capsys):
    content = "x\n" + '1\n""\n' * 150_000
    assert predictions(model("named"), tmp_path / "data.csv", content, capsys)[0] == 300_000
