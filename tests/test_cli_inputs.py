"""What the commands do with tables, options and names that are out of the ordinary."""

import csv
import io
import os

import numpy as np
import pytest

from fastnn import Trainer
from fastnn.cli import main
from fastnn.cli.rows import split

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
    assert train("--resume", "model.safetensors", "--epochs", "1", data="data.csv") == 0
    assert main(["train", "data.csv", "--resume", "model.safetensors", "--epochs", "1"]) == 0
    capsys.readouterr()
    assert train("--label", "y", "--weight", "1") == 2
    assert "--weight: that column has no name" in capsys.readouterr().err


ROWS = [[i % 5, f"k{i % 3}", i % 7 + 0.5] for i in range(40)]


def test_no_output_replaces_what_is_read(here, capsys):
    write(here / "data.csv", ["a", "k", "y"], ROWS)
    before = (here / "data.csv").read_bytes()
    assert train("--label", "y", "--out", "m.safetensors") == 0
    model = (here / "m.safetensors").read_bytes()
    os.symlink("data.csv", "link.csv")
    os.link("data.csv", "hard.csv")
    for arguments in (
        ["train", "data.csv", "--label", "y", "--out", "data.csv"],
        ["train", "link.csv", "--label", "y", "--out", "./data.csv"],
        ["train", "data.csv", "--label", "y", "--out", "hard.csv"],
        ["train", "data.csv", "--label", "y", "--checkpoint", "data.csv"],
        ["predict", "m.safetensors", "data.csv", "--out", "link.csv"],
        ["predict", "m.safetensors", "data.csv", "--out", "m.safetensors"],
    ):
        capsys.readouterr()
        assert main(arguments) == 2, arguments
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "would be lost; choose another name" in error
    assert (here / "data.csv").read_bytes() == before
    assert (here / "m.safetensors").read_bytes() == model
    # A training may go on in its own file.
    more = ["--resume", "m.safetensors", "--epochs", "1", "--out", "m.safetensors"]
    assert main(["train", "data.csv", *more]) == 0


@pytest.mark.parametrize(
    ("sizes", "validation", "test"),
    [([4] * 50, 0.1, 0.0), ([4] * 50, 0.2, 0.2), ([1, 1, 1, 7], 0.3, 0.3), ([1, 2], 0.5, 0.4)],
)
def test_shares_of_small_classes_come_to_the_share_of_all(sizes, validation, test):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    parts = split(groups, validation, test, seed=1)
    rows, free = len(groups), len(groups) - len(sizes)
    assert len(parts[2]) == min(round(test * rows), free)
    assert len(parts[1]) == min(round(validation * rows), free - len(parts[2]))
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(rows))
    assert set(groups[parts[0]]) == set(groups)
    if len(set(sizes)) == 1:
        assert max(np.bincount(groups[parts[1]])) == 1


def test_a_part_without_rows_is_said(here, capsys):
    write(here / "data.csv", ["a", "k", "y"], ROWS)
    assert train("--label", "y", "--test", "0.01") == 0
    assert "warning: no row is left out to test: --test 0.01 of 40 rows" in capsys.readouterr().err


def test_the_rows_left_out_take_no_part_in_what_is_learnt(here, capsys):
    """Their numbers are out of all bounds, their words and gaps nowhere else."""
    rows = [[i % 5, f"k{i % 3}", "2024-01-05", i % 7 + 0.5] for i in range(40)]
    for i, row in enumerate(rows):
        row[2] = f"2024-01-{i % 9 + 1:02d}"
    train_rows, _, tested = split(np.zeros(40, int), 0.0, 0.1, 0)
    for row in tested:
        rows[row] = [1e9, "new", "2024-01-31", 5e9]
    rows[tested[0]][0] = ""
    write(here / "data.csv", ["a", "k", "d", "y"], rows)
    assert train("--label", "y", "--test", "0.1") == 0
    said = capsys.readouterr().err
    assert "'k' has 1 category that the model does not know, in 4 rows of 40: 'new'" in said
    assert "column 'a' has no value in 1 row, and had one in all rows of the training" in said
    kept = Trainer.load("model.safetensors").preparation
    rules = {rule["name"]: rule for rule in kept["features"]["rules"]}
    assert rules["a"]["mean"] == np.mean([rows[row][0] for row in train_rows])
    assert not rules["a"]["flag"] and sorted(rules["k"]["categories"]) == ["k0", "k1", "k2"]
    y = np.array([rows[row][3] for row in train_rows])
    assert np.allclose([kept["label"]["mean"], kept["label"]["scale"]], [y.mean(), y.std()])
    assert rules["d"]["days"]["mean"] < 19735


def test_a_matrix_is_scaled_by_the_rows_to_train_on(here):
    X = np.arange(160.0).reshape(40, 2, 2)
    tested = split(np.zeros(40, int), 0.0, 0.1, 0)[2]
    X[tested] = 1e9
    np.savez("data.npz", X=X, y=np.arange(40) + 0.5)
    assert train("--test", "0.1", data="data.npz") == 0
    kept = Trainer.load("model.safetensors").preparation
    assert np.allclose(kept["features"]["mean"], np.delete(X, tested, axis=0).mean(axis=0).ravel())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--restarts", "0"], "--restarts"),
        (["--restarts", "3", "--checkpoint", "ck"], "leave one of the two out"),
        (["--epochs", "-1"], "--epochs"),
        (["--rate", "0"], "--rate"),
        (["--batch", "0"], "--batch"),
        (["--threads", "0"], "--threads"),
        (["--patience", "-1"], "--patience"),
        (["--patience", "3", "--validation", "0"], "--patience needs rows"),
        (["--validation", "1.5"], "--validation"),
        (["--validation", "0.5", "--test", "0.5"], "leave no rows"),
        (["--l1", "-1"], "--l1"),
        (["--dropout", "1"], "--dropout"),
        (["--seed", "-1"], "--seed"),
        (["--hidden", "x"], "--hidden"),
        (["--loss", "mze"], "did you mean 'mse'?"),
        (["--task", "cluster"], "unknown task"),
        (["--target", "gpu"], "unknown target"),
        (["--dtype", "float16"], "unknown dtype"),
        (["--precision", "bf16"], "did you mean 'bfloat16'?"),
        (["--resume", "m", "--optimizer", "adm"], "did you mean 'adam'?"),
    ],
)
def test_options_that_cannot_be_are_refused_before_the_table_is_read(options, said, here, capsys):
    assert main(["train", "no-such.csv", "--label", "y", *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error and "no-such" not in error, error


@pytest.mark.parametrize(
    ("learnt", "met"), [(("0", "1"), ("False", "True")), (("no", "yes"), ("0", "1.0"))]
)
def test_labels_of_0_and_1_match_those_of_false_and_true(learnt, met, here, capsys):
    for name, words in (("data.csv", learnt), ("other.csv", met)):
        write(here / name, ["a", "y"], [[i, words[i % 3 == 0]] for i in range(40)])
    assert train("--label", "y") == 0
    scores = []
    for name in ("data.csv", "other.csv"):
        capsys.readouterr()
        assert main(["evaluate", "model.safetensors", name]) == 0
        scores.append(capsys.readouterr())
    assert scores[0].out == scores[1].out
    assert "labels are written otherwise than in training" in scores[1].err


def test_sparse_columns_counted_from_1_are_those_of_a_matrix(here, capsys):
    """Of columns whose mean is not 0, where 0 is a number like any other."""
    X = np.arange(120.0).reshape(40, 3) % 7
    X[:, 1] = 0.0
    X[::5, 1] = 3.0
    np.savez("data.npz", X=X, y=np.arange(40) + 0.5)
    for first, name in ((1, "one.svm"), (0, "zero.svm")):
        lines = [
            f"{y + 0.5} " + " ".join(f"{at + first}:{x}" for at, x in enumerate(row) if x)
            for y, row in enumerate(X)
        ]
        (here / name).write_text("\n".join(lines) + "\n")
    # Without its last column, nobody knows.
    (here / "short.svm").write_text("1 1:2 2:1\n2 1:1\n")
    assert train(data="data.npz") == 0
    found = []
    for name in ("data.npz", "one.svm", "zero.svm", "short.svm"):
        capsys.readouterr()
        assert main(["predict", "model.safetensors", name]) == 0, name
        found.append(capsys.readouterr())
    assert found[0].out == found[1].out == found[2].out
    assert "taken in their order, since they are as many" in found[1].err
    assert "there are 2 of 3: they are taken by their numbers" in found[3].err
    # And the other way round: a model of columns 1 to 3, and a matrix, or columns 0 to 2.
    assert train(data="one.svm") == 0
    found = []
    for name in ("one.svm", "zero.svm", "data.npz"):
        capsys.readouterr()
        assert main(["predict", "model.safetensors", name]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1] == found[2]


def test_messages_say_what_can_be_done_at_the_prompt(here, capsys):
    write(here / "data.csv", ["a", "k", "y", "minus"], [[*row, row[0] - 1] for row in ROWS])
    for arguments, said, unsaid in (
        (["--label", "y", "--drop", "1,2,4"], "--drop names all of them", "there is none"),
        (["--label", "y", "--number", "k"], "as --number k asks for", "other row"),
        (["--label", "y", "--drop", "a", "--keep", "1"], "--drop and --keep both name", "left"),
        (["--label", "y", "--weight", "y"], "--label and --weight both name column 'y'", "left"),
        (["--label", "y", "--number", "a", "--category", "a"], "both name column 'a'", "left"),
        (["--label", "k", "--loss", "poisson"], "leave --task and --loss out", "found out"),
        (
            ["--label", "minus", "--loss", "poisson"],
            "row 1, column 'minus', the label: -1",
            "row 0",
        ),
        (["--label", "y", "--out", "/proc/x"], "/proc/x: cannot be written", "no such folder"),
    ):
        if "/proc/x" in arguments and not os.path.isdir("/proc"):
            continue
        assert train(*arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and said in error and unsaid not in error, error
    import fastnn.examples.xor  # of which runpy would warn

    assert fastnn.examples.xor
    for arguments, said in (
        (["help", "trian"], "did you mean train? see:"),
        (["examples", "xor", "--hidden", "x"], "invalid int value: 'x'; see:"),
    ):
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code
        error = capsys.readouterr().err
        assert status == 2 and error.count("\n") == 1 and said in error, error


EMPTY = [
    "--hidden", "--drop", "--keep", "--category", "--number", "--duration", "--label", "--weight",
    "--names", "--delimiter", "--decimal", "--encoding", "--task", "--loss", "--optimizer",
    "--schedule", "--activation", "--out", "--checkpoint", "--resume", "--scoring", "--target",
    "--dtype", "--precision",
]  # fmt: skip


@pytest.mark.parametrize("option", EMPTY)
def test_a_value_that_is_empty_is_named_and_not_taken_for_another(option, here, capsys):
    write(here / "data.csv", ["a", "y"], [[i, ["p", "q"][i % 2]] for i in range(20)])
    assert main(["train", "data.csv", *QUICK, "--label", "y", option, ""]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{option}: the value is empty" in error
    assert not (here / "model.safetensors").exists()


def test_a_linear_model_is_asked_for_by_a_word_or_by_zero(here, capsys):
    write(here / "data.csv", ["a", "y"], [[i, ["p", "q"][i % 2]] for i in range(20)])
    for hidden in ("none", "0"):
        assert train("--label", "y", "--hidden", hidden) == 0
        assert "network 2-1; loss binary_cross_entropy" in capsys.readouterr().err


def test_classes_with_commas_are_shown_apart(here, capsys):
    write(here / "data.csv", ["a", "y"], [[i, ["p, q", "r"][i % 2]] for i in range(20)])
    assert train("--label", "y") == 0
    capsys.readouterr()
    assert main(["show", "model.safetensors"]) == 0
    assert "'p, q', 'r'" in capsys.readouterr().out


def test_ctrl_c_before_the_command_is_known_is_one_line(monkeypatch, capsys):
    from fastnn.cli import commands

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "_parser", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "fastnn: interrupted\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_of_any_unicode_is_read_with_and_without_a_mark(encoding, end, here, capsys):
    lines = ["größe,stadt,y", *(f"{i},{['Köln', 'Łódź'][i % 2]},{i % 7 + 0.5}" for i in range(30))]
    (here / "plain.csv").write_bytes("\n".join(lines).encode())
    (here / "data.csv").write_bytes((end.join(lines) + 2 * end).encode(encoding))
    assert train("--label", "y") == 0
    kept = Trainer.load("model.safetensors").preparation
    assert train("--label", "y", data="plain.csv") == 0
    assert Trainer.load("model.safetensors").preparation == kept


def test_whole_numbers_that_no_float_holds_are_categories(here, capsys):
    """Such as numbers of accounts, of which a float would make one of two."""
    first = 2**53
    write(here / "data.csv", ["account", "y"], [[first + i % 2, i % 2 + 0.5] for i in range(40)])
    assert train("--label", "y") == 0
    said = capsys.readouterr().err
    assert f"'account': a category, since '{first}' has more digits than a number keeps" in said
    rules = Trainer.load("model.safetensors").preparation["features"]["rules"]
    assert set(rules[0]["categories"]) == {str(first), str(first + 1)}
    for save in ("parquet", "npz"):
        accounts = np.array([first + i % 2 for i in range(40)])
        y = np.arange(40) % 2 + 0.5
        if save == "npz":
            np.savez("data.npz", account=accounts, y=y)
        else:
            pandas = pytest.importorskip("pandas")
            pytest.importorskip("pyarrow")
            pandas.DataFrame({"account": accounts, "y": y}).to_parquet("data.parquet")
        assert main(["evaluate", "model.safetensors", f"data.{save}"]) == 0
        assert "does not know" not in capsys.readouterr().err
    # Large numbers that are apart are numbers.
    write(here / "data.csv", ["wei", "y"], [[10**18 * i + 7, i + 0.5] for i in range(40)])
    assert train("--label", "y") == 0
    assert "1 number: 'wei'" in capsys.readouterr().err


def test_why_a_column_is_dropped_is_true(here, capsys):
    rows = [[f"w{i}", f"r{i // 2}", 1e15 + i % 9, 5, i % 4, i % 7 + 0.5] for i in range(6000)]
    write(here / "data.csv", ["w", "rare", "alike", "same", "x", "y"], rows)
    assert train("--label", "y", "--keep", "w") == 0
    said = capsys.readouterr().err
    assert "2 columns dropped, of rare categories alone: 'w', 'rare'" in said
    assert "1 column dropped, of numbers too alike to tell apart: 'alike'" in said
    assert "1 column dropped, the same in all rows: 'same'" in said


def test_columns_of_parquet_that_are_no_table_are_left_out_and_said(here, capsys):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "a": list(range(40)), "many": [[1, 2]] * 40, "y": [i % 7 + 0.5 for i in range(40)],
        "__index_level_0__": list(range(100, 140)),
    }  # fmt: skip
    parquet.write_table(arrow.table(columns), "data.parquet")
    assert train("--label", "y", data="data.parquet") == 0
    said = capsys.readouterr().err
    assert "left out, as no numbers, text, dates or times: 'many' (list<" in said
    assert "dropped, a number of the row: '__index_level_0__'" in said


def test_a_table_of_one_column_asks_for_the_delimiter(here, capsys):
    (here / "data.csv").write_text("a b y\n" + "1 2 3\n4 5 6\n" * 9)
    assert train("--label", "y") == 2
    assert "there are 'a b y' alone; is another --delimiter needed?" in capsys.readouterr().err
    assert train("--label", "y", "--delimiter", " ") == 0


def test_an_output_that_cannot_be_and_the_standard_input_are_named(here, capsys, monkeypatch):
    write(here / "data.csv", ["a", "k", "y"], ROWS)
    assert train("--label", "y", "--out", "") == 2
    assert "--out: the value is empty" in capsys.readouterr().err
    assert train("--label", "y", "--out", "no/such/m.safetensors") == 2
    assert "make it first: mkdir -p no/such" in capsys.readouterr().err
    assert train("--label", "y") == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("a,k\n1,k1\n"))
    assert main(["evaluate", "model.safetensors", "-"]) == 2
    assert "standard input has no column 'y'" in capsys.readouterr().err


def test_labels_are_not_called_by_the_number_of_a_column(tmp_path, capsys):
    features = np.random.default_rng(0).normal(size=(40, 3))
    np.savez(tmp_path / "data.npz", X=features, **{"1": features[:, 0] > 0})
    assert main(["train", str(tmp_path / "data.npz"), "--label", "1"]) == 2
    assert "the number of a column, too" in capsys.readouterr().err


@pytest.mark.parametrize(
    "rank, size",
    [
        ("PMI_RANK", "PMI_SIZE"),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ],
)
def test_processes_of_a_launcher_do_not_write_one_file(here, capsys, monkeypatch, rank, size):
    write(here / "data.csv", ["a", "y"], [[i % 5, i % 7 + 0.5] for i in range(30)])
    monkeypatch.setenv(rank, "4711")  # which no folder of the tests has in its name
    monkeypatch.setenv(size, "5000")
    for more in ([], ["--tabular"]):
        assert train("--label", "y", *more) == 2
        error = capsys.readouterr().err
        assert f"one of 5000 processes ({size}=5000)" in error and "--mpi" in error
    assert train("--label", "y", "--out", "model4711x.safetensors") == 2
    assert not list(here.glob("*.safetensors"))
    assert train("--label", "y", "--out", "model-4711.safetensors") == 0
    monkeypatch.setenv(size, "1")
    assert train("--label", "y") == 0


def test_a_rate_that_has_no_end_stays_where_a_training_goes_on(here, capsys):
    write(here / "data.csv", ["a", "y"], [[i % 5, i % 7 + 0.5] for i in range(40)])
    rate = ["--label", "y", "--rate", "0.01"]
    assert train(*rate, "--schedule", "constant", "--epochs", "4", "--out", "whole.st") == 0
    assert train(*rate, "--schedule", "constant", "--epochs", "2") == 0
    on = ["train", "data.csv", "--epochs", "2", "--resume"]
    assert main([*on, "model.safetensors", "--out", "half.st"]) == 0
    assert "the rate of the model" not in capsys.readouterr().err
    whole, half = (Trainer.load(name).parameters for name in ("whole.st", "half.st"))
    for layer, other in zip(whole, half, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(layer, other, strict=True))
    # One that ends goes on with a tenth of the model's own, and not of the usual one.
    assert train(*rate, "--schedule", "onecycle") == 0
    assert main([*on, "model.safetensors"]) == 0
    assert "has come to its end: 0.001 from now on" in capsys.readouterr().err


def test_a_network_without_hidden_layers_has_no_activation_in_what_is_said(here, capsys):
    write(here / "data.csv", ["a", "y"], [[i % 5, i % 7 + 0.5] for i in range(40)])
    assert train("--label", "y", "--hidden", "0") == 0
    assert "network 2-1; loss mse" in capsys.readouterr().err
    assert train("--label", "y", "--validation", "0.03") == 0
    out, err = capsys.readouterr()
    assert "network 2-4-1, relu; loss mse" in err and "validation  1 row: RMSE" in out
