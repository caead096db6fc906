"""``fastnn predict`` and ``fastnn evaluate`` go through a table some rows at a time."""

import datetime
import gzip
import io
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from fastnn.cli import main
from fastnn.tabular.files import Reading, arrays, read, read_in_blocks, reading

ROWS = 700
QUICK = ["--epochs", "3", "--threads", "1", "--quiet"]


def table(rows=ROWS, seed=0):
    """Return columns of all kinds, with gaps, and labels of two kinds."""
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    kind = np.where(x > 0.5, "high", np.where(x > -0.5, "mid", "low")).astype(object)
    kind[::90] = None
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(int(each)) for each in range(rows)]
    open_ = [None if each % 50 == 7 else bool(each % 3) for each in range(rows)]
    z = random.normal(size=rows)
    z[::20] = np.nan
    return pd.DataFrame(
        {
            "x": x, "city": random.choice(["Ulm", "Kiel", "Rom, old"], rows), "day": days,
            "open": open_, "z": z, "code": random.integers(0, 9, rows) + 2**53 - 4,
            "price": 3 * x + z.clip(-1, 1) + 20, "kind": kind,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with models, and one table as each kind of file."""
    path = tmp_path_factory.mktemp("blocks")
    train, test = table(), table(seed=1)
    test.loc[600:, "city"] = "Bonn"
    test.loc[400:401, "kind"] = "other"
    train.to_csv(path / "train.csv", index=False)
    test.to_csv(path / "test.csv", index=False)
    test.to_csv(path / "marks.csv", index=False, sep=";", lineterminator="\r\n", encoding="utf-16")
    with gzip.open(path / "test.csv.gz", "wb") as file:
        file.write((path / "test.csv").read_bytes())
    numbers = np.random.default_rng(2).normal(size=(ROWS, 4))
    numbers[:, 3] = numbers[:, :3].sum(axis=1) > 0
    np.save(path / "rows.npy", numbers)
    np.save(path / "columns.npy", np.asfortranarray(numbers.astype(np.float32)))
    np.savez(path / "wide.npz", X=np.arange(ROWS * 300).reshape(ROWS, 300) % 7, y=numbers[:, 3])
    here = os.getcwd()
    os.chdir(path)
    try:
        for label, more in (("kind", ["--drop", "price"]), ("price", ["--drop", "kind"])):
            arguments = ["train", "train.csv", "--label", label, "--out", f"{label}.safetensors"]
            assert main([*arguments, *more, *QUICK]) == 0
        few = ["--tabular", "--members", "2", "--target", "numpy", "--epochs", "2", "--quiet"]
        for label in ("kind", "price"):
            arguments = ["train", "train.csv", "--label", label, "--out", f"many-{label}"]
            assert main([*arguments, "--drop", "price" if label == "kind" else "kind", *few]) == 0
        assert main(["train", "rows.npy", "--label", "4", "--out", "rows", *QUICK]) == 0
        assert main(["train", "wide.npz", "--out", "wide", *QUICK]) == 0
    finally:
        os.chdir(here)
    return path


@pytest.fixture
def here(folder, monkeypatch):
    """Be in that folder."""
    monkeypatch.chdir(folder)
    return folder


def both(capsys, monkeypatch, *arguments):
    """Return what a command prints when rows are read at once, and some at a time."""
    found = []
    for cells in (1 << 40, 300):
        monkeypatch.setattr(reading, "CELLS", cells)
        assert main(list(arguments)) == 0
        found.append(capsys.readouterr())
    return found


MODELS = ["kind.safetensors", "price.safetensors", "many-kind", "many-price"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("data", ["test.csv", "marks.csv", "test.csv.gz", "test.parquet"])
def test_some_rows_at_a_time_give_what_all_give(model, data, here, capsys, monkeypatch):
    if data == "test.parquet":
        pytest.importorskip("pyarrow")
        pd.read_csv("test.csv", parse_dates=["day"]).to_parquet(data, row_group_size=90)
    more = ["--encoding", "utf-16"] if data == "marks.csv" else []
    proba = ["--proba"] if "kind" in model else []
    more += ["--target", "cpu"] if "many" in model else []  # NumPy's bits are those of a length
    whole, blocks = both(capsys, monkeypatch, "predict", model, data, *proba, *more)
    assert whole == blocks and whole.out.count("\n") == ROWS + 1
    whole, blocks = both(capsys, monkeypatch, "evaluate", model, data, "--json", *more)
    assert whole == blocks
    rows = ROWS - len(range(0, ROWS, 90 if proba else 20))
    assert json.loads(whole.out)["rows"] == rows
    assert "column 'city' has 1 category that the model does not know, in 9" in whole.err
    assert ("labels that the model does not know, such as 'other'" in whole.err) == bool(proba)


@pytest.mark.parametrize(
    ("model", "data"),
    [("rows", "rows.npy"), ("rows", "columns.npy"), ("wide", "wide.npz"), ("rows", "pipe")],
)
def test_arrays_some_rows_at_a_time(model, data, here, capsys, monkeypatch):
    if data == "pipe":
        content = (here / "rows.npy").read_bytes()

        def both_of(*arguments):
            for cells in (1 << 40, 300):
                monkeypatch.setattr(reading, "CELLS", cells)
                monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
                assert main([*arguments, "-"]) == 0
                yield capsys.readouterr()

        for command in ("predict", "evaluate"):
            whole, blocks = both_of(command, model)
            assert whole == blocks
        return
    for command in ("predict", "evaluate"):
        whole, blocks = both(capsys, monkeypatch, command, model, data)
        assert whole == blocks


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_text_is_the_same_table_wherever_it_is_cut(end, encoding, tmp_path, monkeypatch):
    from fastnn.tabular.files import delimited

    rows = [["a", "b"], ["1", 'say "x"'], ["2", f"two{end}lines"], ["", "é€"], ["3", " c "]] * 3
    rows = [*rows[:1], *(row for row in rows if row[0] != "a")]
    text = end.join(",".join('"' + cell.replace('"', '""') + '"' for cell in r) for r in rows)
    path = tmp_path / "data.csv"
    path.write_bytes(f"# title{end}{end}{text}{end}".encode(encoding))
    how = Reading(encoding="utf-8" if encoding != "utf-32" else encoding)
    whole, said = read(str(path), how)
    assert whole.rows == 12 and whole.columns["b"][1] == f"two{end}lines"
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr(delimited, "_READ", size)
        monkeypatch.setattr(reading, "CELLS", 4)
        remarks = []
        blocks = list(read_in_blocks(str(path), how, remarks))
        assert remarks == said and max(block.rows for block in blocks) < 5
        places = np.concatenate([block.places for block in blocks])
        np.testing.assert_array_equal(places, np.arange(12))
        for name, values in whole.columns.items():
            found = np.concatenate([block.columns[name] for block in blocks])
            np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ("500,nope", "row 500, column 'x': 'nope' where a number is due"),
        ("500", "line 501: 1 value where the header has 2"),
        ('500,"nope', "line 501: unexpected end of data; a quotation mark is open"),
    ],
)
@pytest.mark.parametrize("out", ["out.csv", "out.csv.gz"])
def test_an_error_in_a_later_row_names_it_and_leaves_no_output(
    bad, text, out, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    lines = ["y,x", *(f"{row % 2},{row}" for row in range(1, 600))]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    assert main(["train", "train.csv", "--label", "y", *QUICK]) == 0
    lines[500] = bad
    (tmp_path / "bad.csv").write_text("\n".join(lines))
    monkeypatch.setattr(reading, "CELLS", 100)
    predict = ["predict", "model.safetensors", "bad.csv", "--out", out]
    before = sorted(os.listdir())
    assert main(predict) == 2
    assert text in capsys.readouterr().err and sorted(os.listdir()) == before
    (tmp_path / out).write_text("as it was")
    assert main(predict) == 2
    assert text in capsys.readouterr().err and (tmp_path / out).read_text() == "as it was"
    # To a pipe, rows are written as they come.
    assert main(predict[:3]) == 2
    captured = capsys.readouterr()
    assert text in captured.err and 400 < captured.out.count("\n") < 500
    assert main(["predict", "model.safetensors", "train.csv", "--out", out]) == 0
    content = (tmp_path / out).read_bytes()
    written = gzip.decompress(content) if out.endswith("gz") else content
    assert written.count(b"\n") == 600


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.ones((100, 3)))
    blocks = arrays.blocks_of_npy(str(path), 30, 1 << 20)
    assert next(blocks).rows == 10
    np.save(path, np.ones((90, 3)))
    with pytest.raises(arrays.InvalidInput, match="has been changed while it was read"):
        next(blocks)


def test_truths_of_a_file_are_the_same_words_beside_missing_ones(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from fastnn.tabular.files.parquet import column_of
    from fastnn.tabular.label import words_of

    some = arrow.array([True, False, None])
    assert words_of(column_of(some[:2])) == words_of(column_of(some))[:2]


LIMITED = """
import sys
from fastnn.cli import main

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

small, large = sys.argv[1:]
for data in (small, large):
    before = status("VmRSS")
    for command in (["predict", "model", data, "--out", "out.csv"], ["evaluate", "model", data]):
        assert main([*command, "--threads", "1", "--quiet"]) == 0
print((status("VmHWM") - before) >> 20)
"""


def write_large(folder, kind):
    """Write a file of 1000 rows, and one of 70 MB that has them again and again; how often."""
    X = np.random.default_rng(0).normal(size=(1000, 200)).astype(np.float32)
    X[:, 0] = X[:, 1] > 0
    names = [f"x{each}" for each in range(X.shape[1])]
    small, large = folder / f"small.{kind}", folder / f"large.{kind}"
    repeats = 92
    if kind.startswith("csv"):
        # Most of it is a text that differs everywhere, which the model does not take.
        notes = ["".join(map(str, row)) for row in X[:, 5:90].tolist()]
        cells = zip(*X[:, :3].T.tolist(), notes, strict=True)
        lines = "".join(",".join(map(str, row)) + "\n" for row in cells)
        repeats = -(-70_000_000 // len(lines))
        for path, count in ((small, 1), (large, repeats)):
            with gzip.open(path, "wt", 1) if kind == "csv.gz" else open(path, "w") as file:
                file.write("x0,x1,x2,note\n")
                for _ in range(count):
                    file.write(lines)
    elif kind == "npy":
        np.save(small, X)
        np.save(large, np.concatenate([X] * repeats))
    else:
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        part = arrow.table({name: X[:, each] for each, name in enumerate(names)})
        for path, count in ((small, 1), (large, repeats)):
            if kind == "parquet":
                out = parquet.ParquetWriter(path, part.schema, compression="none")
            else:
                out = arrow.ipc.new_file(path, part.schema)
            with out:
                for _ in range(count):
                    out.write_table(part)
    return repeats


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status is Linux's")
@pytest.mark.parametrize("kind", ["csv", "csv.gz", "npy", "parquet", "arrow"])
def test_a_table_larger_than_the_memory_it_takes(kind, tmp_path, monkeypatch, capsys):
    """Files of 70 MB, in less than a half of that."""
    monkeypatch.chdir(tmp_path)
    repeats = write_large(tmp_path, kind)
    label = "1" if kind == "npy" else "x0"
    arguments = ["train", f"small.{kind}", "--label", label, "--hidden", "4", "--out", "model"]
    assert main([*arguments, *QUICK]) == 0
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, f"small.{kind}", f"large.{kind}"],
        capture_output=True, text=True, timeout=900, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 35, done.stdout
    assert (tmp_path / "out.csv").read_bytes().count(b"\n") == 1000 * repeats + 1
