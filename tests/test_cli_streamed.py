"""``fastnn train`` on Parquet and Arrow files that are larger than memory, or read as such."""

import datetime
import subprocess
import sys

import numpy as np
import pytest

from fastnn import InvalidInput, Trainer
from fastnn.cli import main, streamed
from fastnn.inputs import memory, table_files
from fastnn.tabular.files.parquet import column_in, table_of
from fastnn.tabular.prepared_rows import PreparedRows

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS = 3000
QUICK = ["--hidden", "6", "--dropout", "0", "--epochs", "3", "--threads", "1", "--quiet"]


def table(rows=ROWS):
    random = np.random.default_rng(0)
    x = random.normal(size=rows)
    city = np.array(["Oslo", "Rome", "Bonn"])[random.integers(0, 3, rows)]
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(int(each)) for each in range(rows)]
    gaps = [None if each < 0.1 else float(each) for each in random.random(rows)]
    label = np.where(3 * x + 4 * (city == "Rome") > 1, "yes", "no").astype(object)
    label[::100] = None
    columns = {
        "x": x, "city": city, "day": days, "z": gaps, "list": [[1, 2]] * rows,
        "w": random.random(rows) + 0.5, "label": label,
    }  # fmt: skip
    return arrow.table(columns)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return a folder to work in, with one table as each kind of file."""
    monkeypatch.chdir(tmp_path)
    whole = table()
    parquet.write_table(whole, "data.parquet", row_group_size=250)
    with arrow.OSFile("data.arrow", "wb") as file, arrow.ipc.new_file(file, whole.schema) as out:
        out.write_table(whole, max_chunksize=250)
    (tmp_path / "folder").mkdir()
    parquet.write_table(whole[:1100], "folder/a.parquet", row_group_size=250)
    parquet.write_table(whole[1100:], "folder/b.parquet", row_group_size=90)
    return tmp_path


def train(data, *more, label="label"):
    return main(["train", data, "--label", label, "--weight", "w", "--test", "0.1", *QUICK, *more])


def results(capsys, *left):
    """Return the lines of the standard output, without time and others."""
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if line.split()[0] not in ("time", "model", *left)]


def parameters(path="model.safetensors"):
    return [each.tobytes() for layer in Trainer.load(path).parameters for each in layer]


def test_files_of_all_kinds_are_one_table(here, capsys):
    assert train("data.parquet") == 0
    expected, trained = results(capsys), parameters()
    assert expected[2].startswith("validation  297 rows: accuracy 0.")
    for data in ("data.arrow", "folder"):
        assert train(data) == 0
        assert results(capsys) == expected and parameters() == trained
    # What is small is read into memory once, when it is asked to be read from the files.
    for data in ("data.parquet", "data.arrow", "folder"):
        assert train(data, "--stream") == 0
        found = results(capsys)
        assert "read from the files while training, as --stream asks for" in found[1]
        assert found[:1] + found[2:] == expected and parameters() == trained
    assert main(["predict", "model.safetensors", "folder", "--out", "a.csv", "--quiet"]) == 0
    assert main(["predict", "model.safetensors", "data.parquet", "--out", "b.csv", "--quiet"]) == 0
    assert (here / "a.csv").read_bytes() == (here / "b.csv").read_bytes()


@pytest.mark.parametrize("data", ["data.parquet", "folder"])
def test_rows_that_stay_in_their_files_train_as_well_and_go_on(data, here, capsys, monkeypatch):
    monkeypatch.setattr(table_files, "HELD_BYTES", 0)
    monkeypatch.setattr(table_files, "WINDOW_BYTES", 30_000)
    assert train(data, "--stream", "--epochs", "6") == 0
    found, whole = results(capsys), parameters()
    names = ["task", "rows", "epochs", "validation", "test", "weights"]
    assert [line.split()[0] for line in found] == names
    assert all(float(line.split("accuracy ")[1][:6]) > 0.85 for line in found[3:5])
    train(data, "--stream", "--epochs", "6", "--checkpoint", "saved.safetensors")
    assert parameters() == whole, "the same bits once more"
    model = Trainer.load("model.safetensors")
    assert train(data, "--no-stream", "--epochs", "6") == 0
    in_memory = Trainer.load("model.safetensors")
    assert in_memory.preparation == model.preparation
    assert not np.array_equal(in_memory.parameters[0][0], model.parameters[0][0])
    assert in_memory.history.loss[-1] == pytest.approx(model.history.loss[-1], rel=0.2)
    capsys.readouterr()
    more = ["--resume", "saved.safetensors", "--epochs", "1", "--rate", "0.001", "--quiet"]
    assert main(["train", data, "--stream", *more]) == 0
    assert results(capsys)[2].split() == ["epochs", "7"]
    assert train(data, "--stream", "--validation", "0", "--test", "0") == 0
    assert f"training  {ROWS - ROWS // 100} rows: accuracy" in capsys.readouterr().out


def test_features_are_those_of_the_table_in_memory(here, monkeypatch):
    files = table_files.TableFiles([(str(here / "data.parquet"), "parquet")], "data")
    chosen = np.random.default_rng(1).random(ROWS) < 0.7
    chosen[250:500] = False  # no row of a group
    rows = np.flatnonzero(chosen)
    from fastnn.tabular import preparation

    whole = table_of(files, ["x", "city", "day", "z"], np.arange(ROWS))
    learnt, _ = preparation.learn(whole, preparation.Choices(), rows)
    expected, met = learnt.apply(whole.take(rows), False)
    prepared = PreparedRows(files, learnt, chosen, ".")
    prepared.looked_through()
    assert prepared.met.missing == met.missing and not prepared.met.unknown
    assert prepared.shape == expected.shape and len(prepared.groups) == ROWS // 250 - 1
    np.testing.assert_array_equal(prepared.whole(), expected)
    decoded = np.full(expected.shape, np.nan, np.float32)
    for group, (first, last) in enumerate(zip(prepared.edges, prepared.edges[1:], strict=False)):
        prepared.decode(group, decoded[first:last], {})
    np.testing.assert_array_equal(decoded, expected)
    assert column_in(files, "list") is None


def test_what_no_rule_can_read_is_named_before_anything_trains(here, capsys, monkeypatch):
    monkeypatch.setattr(streamed, "_LEARNT", 50)
    monkeypatch.setattr(streamed, "_LEAST_LEARNT", 50)
    texts = [str(each) for each in range(ROWS)]
    texts[1234] = "n/b"
    cities = ["a", "b"] * (ROWS // 2)
    cities[-3:] = ["new", "other", "new"]
    columns = {"n": texts, "city": cities, "y": np.arange(ROWS) % 7 + 0.5}
    parquet.write_table(arrow.table(columns), "odd.parquet", row_group_size=100)
    arguments = ["train", "odd.parquet", "--label", "y", "--stream", *QUICK]
    assert main(arguments) == 2
    assert "row 1235, column 'n': 'n/b' where" in capsys.readouterr().err
    assert main([*arguments[:-1], "--drop", "n"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "is learnt from 50 of 2700 rows to train on" in said
    assert "column 'city' has " in said and "that the model does not know" in said


def test_what_cannot_be_read_from_files_is_refused(here, capsys, monkeypatch):
    (here / "data.csv").write_text("a,y\n" + "1,2\n3,4\n" * 20)
    (here / "empty").mkdir()
    for data, more, text in [
        ("data.csv", [], "--stream reads Parquet and Arrow files, and data.csv is none"),
        ("empty", [], "--stream reads Parquet and Arrow files, and empty is none"),
        ("data.parquet", ["--label", "list"], "there is no column 'list'"),
        ("data.parquet", ["--drop", "nope"], "--drop: there is no column 'nope'"),
        ("data.parquet", ["--target", "auto"], 'which target "cpu" does; leave --target out'),
    ]:
        assert main(["train", data, "--label", "label", "--stream", *QUICK, *more]) == 2
        assert text in " ".join(capsys.readouterr().err.split())
    assert main(["train", "data.parquet", "--label", "label", "--stream", "--tabular"]) == 2
    assert "--tabular needs all rows in memory" in capsys.readouterr().err
    assert main(["train", "empty", "--label", "label"]) == 2
    assert "a folder without Parquet or Arrow files" in capsys.readouterr().err
    monkeypatch.setattr(streamed, "_VALIDATION_ROWS", 100)
    assert train("data.parquet", "--stream") == 0
    assert "validation  100 rows" in capsys.readouterr().out
    monkeypatch.setattr(memory, "available_bytes", lambda: 5_000)
    assert train("data.parquet") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "two row groups of" in said
    assert "row_group_size=50_000" in said
    with pytest.raises(InvalidInput, match="--no-stream reads them into memory"):
        streamed.source_of(
            type("O", (), {
                "stream": None, "format": None, "data": "data.parquet", "tabular": True,
                "mpi": False, "target": None,
            })()
        )  # fmt: skip


LARGE = """
import sys
from fastnn.cli import main
from fastnn.cli import streamed
from fastnn.inputs import memory, table_files

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

table_files.HELD_BYTES, table_files.WINDOW_BYTES, streamed._LEARNT = 0, 2 << 20, 5000
streamed._VALIDATION_ROWS = 5000
options = ["--label", "y", "--hidden", "4", "--epochs", "1", "--threads", "1", "--quiet"]
assert main(["train", "small.parquet", "--stream", *options]) == 0  # all libraries are there
memory.available_bytes = lambda: int(sys.argv[1])
before = status("VmRSS")
assert main(["train", "large.parquet", *options, "--batch", "512"]) == 0
print((status("VmHWM") - before) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status is Linux's")
def test_a_table_larger_than_memory_is_read_from_its_file(tmp_path):
    random = np.random.default_rng(0)
    limit, columns, rows = 50 << 20, 100, 150_000
    some = {f"x{each}": random.normal(size=50_000).astype(np.float32) for each in range(columns)}
    some["c"] = np.array(["a", "b"])[random.integers(0, 2, 50_000)]
    some["y"] = (some["x0"] + (some["c"] == "a") > 0.5).astype(np.int8)
    part = arrow.table(some)
    parquet.write_table(part[:2000], tmp_path / "small.parquet")
    with parquet.ParquetWriter(
        tmp_path / "large.parquet", part.schema, compression="none", use_dictionary=["c"]
    ) as out:
        for _ in range(rows // len(part)):
            out.write_table(part, row_group_size=2000)
    assert (tmp_path / "large.parquet").stat().st_size > 1.1 * limit
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(limit)],
        capture_output=True, text=True, timeout=200, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "while training, since they would take" in done.stdout
    assert int(done.stdout.split()[-1]) << 20 < limit, done.stdout
