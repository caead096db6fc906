"""From a table to a model at the prompt: train, predict, evaluate and show."""

import csv
import gzip
import io
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnn import CorruptFile, MissingFile, Trainer
from fastnn.cli import main
from fastnn.cli.model import TableModel
from fastnn.cli.rows import split

QUICK = ["--target", "numpy", "--hidden", "8", "--epochs", "3"]


def people(rows=120, seed=0):
    """Return a table of all kinds of columns, whose label follows from two of them."""
    random = np.random.default_rng(seed)
    found = [["id", "born", "age", "city", "member", "pay", "buys"]]
    for row in range(rows):
        age = int(random.integers(18, 80))
        city = str(random.choice(["Rome", "Oslo", "Lima"]))
        found.append(
            [
                str(row), f"20{row % 20:02d}-03-{row % 28 + 1:02d}", str(age) if row % 7 else "",
                city, "yes" if row % 2 else "no", f"{age * 10 + 100 * (city == 'Rome')}",
                "often" if age > 50 else "never",
            ]
        )  # fmt: skip
    return found


def write(path, table, delimiter=","):
    """Write a table as text, in gzip where the name says so; return the path as text."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(table)
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a table and a model of its classes."""
    folder = tmp_path_factory.mktemp("people")
    data, model = write(folder / "people.csv", people()), str(folder / "model.safetensors")
    more = ["--target", "numpy", "--hidden", "16", "--epochs", "40", "--rate", "0.02"]
    assert main(["train", data, "--label", "buys", "--drop", "pay", "--out", model, *more]) == 0
    return data, model


def predicted(capsys, *arguments):
    capsys.readouterr()
    assert main(["predict", *arguments]) == 0
    shown = capsys.readouterr()
    return list(csv.reader(io.StringIO(shown.out))), shown.err


def test_training_says_what_it_does_and_prints_results_alone(tmp_path, capsys):
    data, model = write(tmp_path / "people.csv.gz", people()), str(tmp_path / "model.safetensors")
    assert main(["train", data, "--label", "buys", "--out", model, *QUICK]) == 0
    shown = capsys.readouterr()
    for part in (
        "120 rows, 7 columns", "binary classification", "'never'", "'often'",
        "2 numbers: 'age', 'pay'", "1 date: 'born'", "1 category: 'city'",
        "1 true or false: 'member'", "a number of the row: 'id'",
        "'age': 18 values missing, filled with the median", "epoch 3/3: loss",
    ):  # fmt: skip
        assert part in shown.err
    names = [line.split()[0] for line in shown.out.splitlines() if line[0] != " "]
    assert names == ["task", "epochs", "validation", "model", "time"]
    assert "\r" not in shown.err and "\x1b" not in shown.err + shown.out


def test_predictions_are_words_of_the_label_in_the_order_of_the_rows(trained, capsys):
    data, model = trained
    rows, _ = predicted(capsys, model, data, "--proba")
    assert rows[0] == ["buys", "probability of never", "probability of often"]
    truth = [row[-1] for row in people()[1:]]
    right = [row[0] == word for row, word in zip(rows[1:], truth, strict=True)]
    assert np.mean(right) > 0.75  # a seventh of the ages is missing
    shares = np.array(rows)[1:, 1:].astype(float)
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    likely = [("never", "often")[int(each)] for each in shares[:, 1] >= 0.5]
    assert likely == [row[0] for row in rows[1:]]


def test_other_order_other_columns_and_no_label_predict_the_same(trained, tmp_path, capsys):
    data, model = trained
    table = [row[-2::-1] + ["x"] for row in people()]
    other = write(tmp_path / "other.tsv", table, "\t")
    rows, said = predicted(capsys, model, other)
    assert rows == predicted(capsys, model, data)[0]
    assert "1 column that the model does not know is ignored: 'x'" in said


def test_standard_input_and_output_files(trained, tmp_path, capsys, monkeypatch):
    data, model = trained
    with open(data, "rb") as stream:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stream.read())))
    rows, _ = predicted(capsys, model, "-")
    out = tmp_path / "out.tsv.gz"
    assert main(["predict", model, data, "--out", str(out)]) == 0
    assert not capsys.readouterr().out
    with gzip.open(out, "rt") as stream:
        assert list(csv.reader(stream, delimiter="\t")) == rows


def test_new_categories_are_counted_and_missing_ones_flagged(trained, tmp_path, capsys):
    _, model = trained
    table = [[cell.replace("Oslo", "Bern") for cell in row] for row in people()]
    table[1][3] = ""
    count = sum(row[3] == "Bern" for row in table)
    _, said = predicted(capsys, model, write(tmp_path / "new.csv", table))
    assert f"column 'city' has 1 category that the model does not know, in {count} rows" in said
    assert "column 'city' has no value in 1 row, and had one in all rows of the training" in said


def test_evaluation_is_that_of_the_predictions(trained, capsys):
    from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, roc_auc_score

    data, model = trained
    rows, _ = predicted(capsys, model, data, "--proba")
    assert main(["evaluate", model, data, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    truth, words = [row[-1] for row in people()[1:]], [row[0] for row in rows[1:]]
    shares = np.array(rows)[1:, 1:].astype(float)
    shares /= shares.sum(axis=1, keepdims=True)  # written in nine digits
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, words))
    assert found["auc"] == pytest.approx(roc_auc_score(np.array(truth) == "often", shares[:, 1]))
    assert found["log_loss"] == pytest.approx(log_loss(truth, shares), rel=1e-4)
    assert found["confusion"] == confusion_matrix(truth, words).tolist()
    assert main(["evaluate", model, data]) == 0
    text = capsys.readouterr().out
    assert f"accuracy  {found['accuracy']:.4f}" in text and "actual \\ predicted" in text


def test_labels_written_otherwise_are_read_and_unknown_ones_count_as_wrong(
    trained, tmp_path, capsys
):
    data, model = trained
    assert main(["evaluate", model, data, "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    table = [[*row[:-1], f"{row[-1]}."] if at else row for at, row in enumerate(people())]
    assert main(["evaluate", model, write(tmp_path / "stops.csv", table), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == before and "labels are written otherwise" in shown.err
    for row in table[1:13]:
        row[-1] = "sometimes"
    assert main(["evaluate", model, write(tmp_path / "new.csv", table), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["accuracy"] <= 108 / 120
    assert (
        "12 rows of 120 have labels that the model does not know, such as 'sometimes'" in shown.err
    )


def test_a_regression_predicts_in_its_units_and_is_measured_in_them(tmp_path, capsys):
    data, model = write(tmp_path / "people.csv", people()), str(tmp_path / "model.safetensors")
    more = ["--target", "numpy", "--hidden", "16", "--epochs", "60", "--drop", "buys", "--quiet"]
    assert main(["train", data, "--label", "pay", "--out", model, "--test", "0.2", *more]) == 0
    shown = capsys.readouterr()
    assert "regression" in shown.out and "test        24 rows: RMSE" in shown.out and not shown.err
    rows, _ = predicted(capsys, model, data)
    pay = np.array([float(row[5]) for row in people()[1:]])
    error = np.array([float(row[0]) for row in rows[1:]]) - pay
    assert main(["evaluate", model, data, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
    assert found["mae"] == pytest.approx(np.mean(np.abs(error)), rel=1e-5)
    assert (
        found["r2"] == pytest.approx(1 - np.mean(error**2) / pay.var(), rel=1e-5)
        and found["r2"] > 0.5
    )


def test_a_file_without_names_has_columns_by_number(tmp_path, capsys):
    table = [[*row[2:6], row[6]] for row in people()[1:]]
    table[0][0] = "44"
    data, model = write(tmp_path / "plain.data", table), str(tmp_path / "model.safetensors")
    assert main(["train", data, "--label", "-1", "--out", model, *QUICK]) == 0
    assert "columns are 1 to 5" in capsys.readouterr().err
    rows, _ = predicted(capsys, model, data)
    assert rows[0] == ["prediction of column 5"] and len(rows) == 121
    assert rows == predicted(capsys, model, write(tmp_path / "b.csv", [r[:-1] for r in table]))[0]
    named = [["age", "city", "member", "pay", "buys"], *table]
    again, said = predicted(capsys, model, write(tmp_path / "named.csv", named))
    assert again == rows and "taken in their order" in said


@pytest.mark.parametrize("kind", ["npz", "svmlight", "npy", "parquet"])
def test_other_kinds_of_files_train_and_predict(kind, tmp_path, capsys):
    random = np.random.default_rng(0)
    X = random.standard_normal((100, 3)).round(3)
    y = (X[:, 0] > 0).astype(int)
    data, label = str(tmp_path / f"data.{kind}"), []
    if kind == "npz":
        np.savez(data, X=X, y=y)
    elif kind == "npy":
        np.save(data, np.column_stack([X, y]))
        label = ["--label", "4"]
    elif kind == "parquet":
        pandas = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        frame = pandas.DataFrame(X, columns=list("abc")).assign(y=y == 1, when=pandas.Timestamp(0))
        frame.to_parquet(data)
        label = ["--label", "y"]
    else:
        rows = [
            f"{label} "
            + " ".join(f"{at + 1}:{value}" for at, value in enumerate(row) if value > -1)
            for label, row in zip(y, X, strict=True)
        ]
        (tmp_path / "data.svmlight").write_text("\n".join(rows))
    model = str(tmp_path / "model.safetensors")
    more = [*QUICK, "--epochs", "40", "--rate", "0.03", "--dropout", "0", "--out", model]
    assert main(["train", data, *label, *more]) == 0
    capsys.readouterr()
    assert main(["evaluate", model, data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.9


def test_a_training_that_goes_on_ends_in_the_same_bits(tmp_path, capsys):
    data = write(tmp_path / "people.csv", people())
    whole, first, last = (str(tmp_path / f"{name}.safetensors") for name in ("a", "b", "c"))
    more = ["--label", "pay", "--target", "numpy", "--hidden", "8", "--seed", "3", "--epochs", "4"]
    checkpoints = str(tmp_path / "checkpoints")
    assert main(["train", data, *more, "--out", whole, "--checkpoint", checkpoints]) == 0
    os.unlink(os.path.join(checkpoints, "model-0004.safetensors"))  # as if killed before it
    os.unlink(os.path.join(checkpoints, "model-0003.safetensors"))
    assert main(["train", data, "--resume", checkpoints, "--out", first]) == 0
    one, two = Trainer.load(whole), Trainer.load(first)
    assert one.preparation == two.preparation is not None and two.epoch == one.epoch
    for layer, other in zip(one.parameters, two.parameters, strict=True):
        assert all((a == b).all() for a, b in zip(layer, other, strict=True))
    assert main(["train", data, "--resume", first, "--out", last]) == 2
    assert "pass --epochs to do more" in capsys.readouterr().err
    assert main(["train", data, "--resume", first, "--hidden", "3", "--out", last]) == 2
    assert "--hidden 3 (it is 8) cannot be changed" in capsys.readouterr().err


SETTINGS = {
    "--label": ("pay", ["buys", "-1", "2"]),
    "--task": ("regression", ["classification"]),
    "--drop": ("member", ["age", "member,age", "id"]),
    "--keep": ("age", ["id"]),
    "--category": ("city", ["age"]),
    "--number": ("age", ["city"]),
    "--weight": ("id", ["age"]),
    "--hidden": ("8,4", ["8", "4,8", "0"]),
    "--activation": ("tanh", ["relu"]),
    "--dropout": ("0.2", ["0.1", "0"]),
    "--loss": ("huber", ["mse"]),
    "--optimizer": ("nesterov", ["sgd", "adam"]),
    "--schedule": ("constant", ["cosine"]),
    "--batch": ("20", ["21", "500"]),
    "--validation": ("0.2", ["0.1", "0"]),
    "--test": ("0.1", ["0"]),
    "--l1": ("0.001", ["0"]),
    "--l2": ("0.002", ["0.001"]),
    "--seed": ("3", ["0"]),
    "--dtype": ("float64", ["float32"]),
}


@pytest.fixture(scope="module")
def set_up(tmp_path_factory):
    """Return a table and a model whose settings are all unlike the usual ones."""
    folder = tmp_path_factory.mktemp("set_up")
    rows = people(60)
    for row in rows[1:]:
        row[0] = str(int(row[0]) % 7)
    data, model = write(folder / "people.csv", rows), str(folder / "model.safetensors")
    given = [part for name, (value, _) in SETTINGS.items() for part in (name, value)]
    assert main(["train", data, *given, "--epochs", "1", "--target", "numpy", "--out", model]) == 0
    return data, model, folder


def going_on(set_up, *options):
    data, model, folder = set_up
    more = ["--resume", model, "--epochs", "1", "--out", str(folder / "again.safetensors")]
    return main(["train", data, *more, *options])


def test_a_training_that_goes_on_takes_the_settings_that_it_has(set_up):
    whole = [part for name, (value, _) in SETTINGS.items() for part in (name, value)]
    same = ["--label", "-2", "--task", "auto", "--hidden", "8, 4", "--drop", "5", "--restarts", "1"]
    assert going_on(set_up, *whole) == 0
    assert going_on(set_up, *same) == 0
    assert going_on(set_up, "--l1", "1e-3", "--dropout", ".20", "--category", "4") == 0


@pytest.mark.parametrize(
    ("name", "other"), [(name, each) for name, (_, others) in SETTINGS.items() for each in others]
)
def test_a_training_that_goes_on_refuses_another_setting_with_both_values(
    name, other, set_up, capsys
):
    assert going_on(set_up, name, other) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{name} {other} (" in error, error
    value = SETTINGS[name][0]
    if name not in ("--drop", "--keep", "--category", "--number"):
        assert f"it is {value})" in error.replace("'", ""), error


def test_products_are_rounded_where_that_is_asked_for(tmp_path, capsys):
    data, model = write(tmp_path / "people.csv", people(40)), str(tmp_path / "model.safetensors")
    command = ["train", data, "--label", "member", "--epochs", "1", "--target", "numpy"]
    assert main([*command, "--precision", "bfloat16", "--out", model]) == 0
    assert Trainer.load(model).precision == "bfloat16"
    capsys.readouterr()
    assert main(["show", model]) == 0
    assert "bfloat16" in capsys.readouterr().out
    assert main(["predict", model, data, "--target", "numpy"]) == 0
    capsys.readouterr()
    again = ["train", data, "--resume", model, "--epochs", "1", "--out", model]
    assert main([*again, "--precision", "float32"]) == 2
    assert "it is bfloat16" in capsys.readouterr().err.replace("'", "")
    assert main([*again, "--precision", "bfloat16"]) == 0
    for options, said in (
        (["--dtype", "float64", "--precision", "bfloat16"], "is for dtype 'float32'"),
        (["--precision", "tf32", "--target", "cpu"], "needs target 'cuda'"),
        (["--tabular", "--precision", "bfloat16"], "--precision"),
    ):
        capsys.readouterr()
        assert main([*command, "--out", model, *options]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and said in error, error


def test_a_training_of_restarts_goes_on_with_the_one_that_was_kept(tmp_path, capsys):
    data, model = write(tmp_path / "people.csv", people()), str(tmp_path / "m.safetensors")
    settings = ["--label", "buys", "--restarts", "3", *QUICK]
    assert main(["train", data, *settings, "--out", model]) == 0
    again = ["--resume", model, "--out", str(tmp_path / "n.safetensors")]
    assert main(["train", data, *settings, *again]) == 0
    assert main(["train", data, *settings, "--restarts", "2", *again]) == 2
    assert "--restarts 2 (it is 3)" in capsys.readouterr().err


def test_the_last_epoch_is_kept_but_with_patience_the_best(tmp_path, capsys):
    source = str(write(tmp_path / "people.csv", people()))
    settings = ["--label", "buys", "--target", "numpy", "--hidden", "64", "--rate", "0.05"]
    folder, last, resumed, best = (str(tmp_path / name) for name in "abcd")
    checkpoints = ["--epochs", "30", "--checkpoint", folder]
    assert main(["train", source, *settings, *checkpoints, "--out", last]) == 0
    [before, *_] = sorted(Path(folder).glob("*29*"))
    again = ["--resume", str(before), "--label"]
    assert main(["train", source, *again, "pay", "--out", resumed]) == 2
    assert main(["train", source, *again, "buys", "--out", resumed]) == 0
    kept, again = Trainer.load(last), Trainer.load(resumed)
    assert kept.epoch == again.epoch == 30
    assert min(kept.history.validation_loss) < kept.history.validation_loss[-1]
    for one, other in zip(kept.parameters, again.parameters, strict=True):
        assert all(map(np.array_equal, one, other))
    capsys.readouterr()
    patient = ["--epochs", "30", "--patience", "2", "--out", best]
    assert main(["train", source, *settings, *patient]) == 0
    epoch = Trainer.load(best).epoch
    assert epoch == np.argmin(kept.history.validation_loss[: epoch + 3]) + 1 < 30
    assert f"of which {epoch} are kept" in capsys.readouterr().out


def test_ctrl_c_ends_with_130_and_says_what_is_saved(tmp_path, capsys, monkeypatch):
    data = write(tmp_path / "people.csv", people())

    def interrupted(self, *arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", interrupted)
    out = tmp_path / "model.safetensors"
    assert main(["train", data, "--label", "pay", "--out", str(out), *QUICK, "--quiet"]) == 130
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--checkpoint PATH saves each epoch" in error
    assert not out.exists()


def test_restarts_keep_how_features_are_made(tmp_path, capsys):
    data, model = write(tmp_path / "people.csv", people()), str(tmp_path / "model.safetensors")
    more = ["--label", "pay", "--restarts", "2", "--out", model]
    assert main(["train", data, *more, *QUICK]) == 0
    assert main(["evaluate", model, data]) == 0


@pytest.mark.parametrize("validation", ["0", "0.2"])
def test_the_losses_of_all_restarts_are_printed(validation, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    data, model = write(tmp_path / "people.csv", people()), str(tmp_path / "model.safetensors")
    more = ["--label", "pay", "--restarts", "3", "--validation", validation, "--out", model]
    assert main(["train", data, *more, *QUICK]) == 0
    _, _, shown = capsys.readouterr().out.partition("\n\n")
    header, *rows = shown.splitlines()
    ends = Trainer.load(model).history.restarts
    assert header.split() == ["restart", "loss", *["validation"] * (validation != "0"), "epochs"]
    assert all(len(line) <= 40 for line in (header, *rows)) and len(rows) == len(ends) == 3
    for number, (row, end) in enumerate(zip(rows, ends, strict=True)):
        assert row.startswith(f"{number} (kept)" if number == ends.best else f"{number}  ")
        assert f"{end.loss:.4g}" in row and row.endswith(" 3")
        assert validation == "0" or f"{end.validation_loss:.4g}" in row


def test_show_and_the_trainer_of_a_program(trained, tmp_path, capsys):
    _, model = trained
    assert main(["show", model, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["predicts"] == "buys" and found["classes"] == ["never", "often"]
    assert {*found["columns"]} == {"born", "age", "city", "member"}
    assert found["epochs"] == 40 and found["network"].endswith(
        "16 relu -> Dropout 0.1 -> 1 identity"
    )
    trainer = Trainer.load(model)
    trainer.keep_preparation(None)
    plain = str(tmp_path / "plain.safetensors")
    trainer.save(plain)
    assert main(["show", plain]) == 0
    assert main(["predict", plain, trained[0]]) == 2
    assert "the model of a Python program" in capsys.readouterr().err


def test_a_file_whose_preparation_is_damaged_is_refused(trained, tmp_path, capsys):
    data, model = trained
    trainer, bad = Trainer.load(model), str(tmp_path / "bad.safetensors")
    good = trainer.preparation
    for path, value in (
        (("format",), 0),
        (("format",), 99),
        (("label",), 3),
        (("label", "classes"), ["one"]),
        (("plan", "rows"), "many"),
        (("features", "kind"), "x"),
        (("features", "rules"), []),
        (("features", "rules", 1, "scale"), 0.0),
        (("features", "rules", 1, "mean"), None),
    ):
        values = json.loads(json.dumps(good))
        place = values
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        trainer.keep_preparation(values)
        trainer.save(bad)
        assert main(["predict", bad, data]) == 2, path
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "bad.safetensors" in error, error


def test_split_takes_shares_of_each_class_and_all_rows_once():
    groups = np.repeat([0, 1, 2], [100, 20, 1])
    parts = split(groups, 0.1, 0.2, seed=5)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(121))
    counts = [np.bincount(groups[part], minlength=3).tolist() for part in parts]
    assert counts == [[70, 14, 1], [10, 2, 0], [20, 4, 0]]
    assert all((a == b).all() for a, b in zip(parts, split(groups, 0.1, 0.2, 5), strict=True))


GOOD = "a,b,y\n" + "".join(f"{i % 7},{'pq'[i % 2]},{i % 3 + 0.5}\n" for i in range(40))
BAD = {
    "empty": ("", "is empty"),
    "blank": ("\n\n", "is empty"),
    "header": ("a,b,y\n", "but no rows"),
    "ragged": (GOOD + "1,p\n", "line 42: 2 values where the header has 3"),
    "text": (GOOD.replace("\n6,p", "\nsix,p", 1), "column 'a': 'six' where numbers are due"),
    "twice": (GOOD.replace("a,b", "b,b", 1), "columns 1 and 2 are both called 'b'"),
    "quote": (GOOD + '1,"p,2\n', "quotation mark"),
    "one class": ("a,y\n1,no\n2,no\n", "one class only, 'no', in all 2 rows"),
    "constant": ("a,y\n1,1.5\n1,2.5\n1,3\n", "no column is left"),
    "same": ("a,y\n1,2.5\n2,2.5\n3,2.5\n", "is 2.5 in every row: there is nothing to learn"),
    "no label": ("a,y\n1,\n2,\n", "has no value in any row"),
    "NUL": ("a,y\n1,\x002\n", "a NUL byte"),
    "workbook": ("PK\x03\x04 and so on", "an Excel workbook"),
    "delimiter": ("a:y\n1:2\n", "there is no column 'y'"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_table_that_cannot_be_trained_on_is_one_line_and_ends_with_2(kind, tmp_path, capsys):
    text, said = BAD[kind]
    data = tmp_path / "data.csv"
    data.write_text(text)
    out = tmp_path / "model.safetensors"
    assert main(["train", str(data), "--label", "y", "--out", str(out), *QUICK, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastnn: ") and error.count("\n") == 1 and said in error, error
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--label", "z"], "there is no column 'z'"),
        ([], "--label is missing"),
        (["--label", "y", "--drop", "bb"], "did you mean 'b'?"),
        (["--label", "y", "--loss", "hinge"], "--loss hinge is not for a"),
        (["--label", "y", "--loss", "mze"], "did you mean 'mse'?"),
        (["--label", "y", "--optimizer", "adm"], "did you mean 'adam'?"),
        (["--label", "y", "--activation", "rulu"], "did you mean 'relu'?"),
        (["--label", "y", "--hidden", "8,x"], "--hidden must be numbers of units"),
        (["--label", "y", "--validation", "1"], "--validation"),
        (["--label", "y", "--validation", "0.6", "--test", "0.5"], "leave no rows"),
        (["--label", "y", "--target", "gpu"], "did you mean 'cuda'?"),
        (["--label", "y", "--epochs", "-1"], "--epochs"),
        (["--label", "y", "--weight", "b"], "where a weight of at least 0 is due"),
        (["--label", "y", "--encoding", "utf-9"], "there is no encoding 'utf-9'"),
        (["--label", "y", "--delimiter", "::"], "--delimiter must be one character"),
        (["--label", "y", "--names", "a,b"], "--names has 2 names"),
        (["--label", "y", "--restarts", "2", "--checkpoint", "c"], "restarts"),
        (["--label", "y", "--patience", "3", "--validation", "0"], "--patience needs rows"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line_and_ends_with_2(
    arguments, said, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text(GOOD)
    usual = [] if "--target" in arguments else ["--target", "numpy"]
    assert main(["train", "data.csv", *arguments, *usual, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastnn: ") and error.count("\n") == 1 and said in error, error
    assert os.listdir(tmp_path) == ["data.csv"]


def test_files_that_are_none_are_one_line_and_near_names_are_offered(trained, tmp_path, capsys):
    data, model = trained
    (tmp_path / "houses.csv").write_text(GOOD)
    (tmp_path / "plain.csv.gz").write_text(GOOD)
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(GOOD.encode())[:-9])
    (tmp_path / "latin.csv").write_bytes(GOOD.replace("p", "\xe9").encode("latin-1"))
    for arguments, said in (
        (["train", str(tmp_path / "house.csv")], "did you mean 'houses.csv'?"),
        (["train", str(tmp_path)], "this is a folder"),
        (["train", str(tmp_path / "plain.csv.gz")], "no gzip file"),
        (["train", str(tmp_path / "cut.csv.gz")], "damaged or cut off"),
        (["train", str(tmp_path / "latin.csv")], "is not utf-8; pass the encoding"),
        (["train", model, "--label", "y"], "is no table but a model"),
        (["predict", data, data], "people.csv"),
        (["predict", model.replace("model.", "mode."), data], "did you mean 'model.safetensors'?"),
        (["predict", model, str(tmp_path / "houses.csv")], "4 columns that the model needs"),
        (["predict", model, data, "--out", str(tmp_path / "no" / "x.csv")], "no such folder"),
        (["predict", model, data, "--out", str(tmp_path)], "this is a folder"),
        (["evaluate", model, str(tmp_path / "houses.csv")], "has no column 'buys'"),
    ):
        assert main(arguments) == 2, arguments
        error = capsys.readouterr().err
        assert error.startswith("fastnn: ") and error.count("\n") == 1 and said in error, error


def test_the_errors_are_of_the_family(tmp_path):
    from fastnn.tabular.files import Reading, read

    with pytest.raises(MissingFile):
        read(str(tmp_path / "none.csv"), Reading())
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(CorruptFile):
        read(str(tmp_path / "bad.parquet"), Reading())


@pytest.mark.parametrize("columns", ["40", "80"])
def test_answers_fit_the_terminal(columns, trained, capsys, monkeypatch):
    data, model = trained
    monkeypatch.setenv("COLUMNS", columns)
    for arguments in (["show", model], ["evaluate", model, data]):
        assert main(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(len(line) for line in lines if "/" not in line) <= int(columns)


@pytest.mark.parametrize("columns", [40, 80])
def test_remarks_fit_a_terminal_and_are_whole_lines_in_a_log(
    columns, tmp_path, capsys, monkeypatch
):
    write(tmp_path / "people.csv", people())
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.chdir(tmp_path)
    train = ["train", "people.csv", "--label", "buys", "--out", "m.safetensors", *QUICK]
    assert main(train) == 0
    log = capsys.readouterr().err
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda stream: True, raising=False)
    assert main([*train, "--restarts", "2"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "%|" not in line]
    assert max(map(len, lines)) <= columns and max(map(len, log.splitlines())) > columns
    remark = "'age': 18 values missing, filled with the median"
    assert remark in log and remark in re.sub(r"\s+", " ", " ".join(lines))


@pytest.mark.skipif("FASTNN_DATA" not in os.environ, reason="FASTNN_DATA names no folder of data")
def test_the_census_is_learnt_from_few_rows(tmp_path, capsys):
    folder = os.environ["FASTNN_DATA"]
    train, test = (os.path.join(folder, f"adult-{part}.csv.gz") for part in ("train", "test"))
    if not os.path.exists(train):
        pytest.skip(f"{folder} has no {train}")
    with gzip.open(train, "rt") as stream:
        head = tmp_path / "head.csv"
        head.write_text("".join(line for line, _ in zip(stream, range(3000), strict=False)))
    model = str(tmp_path / "model.safetensors")
    more = ["--label", "-1", "--out", model, *QUICK, "--epochs", "10", "--rate", "0.01"]
    assert main(["train", str(head), *more]) == 0
    capsys.readouterr()
    assert main(["evaluate", model, test, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.83


@pytest.mark.parametrize("kind", [["--hidden", "8", "--epochs", "60"], ["--tabular"]])
@pytest.mark.parametrize("large", [0.0, 1e9, -1e13, 2.0**54])
def test_predictions_of_large_numbers_are_written_with_the_digits_that_differ(
    large, kind, tmp_path, capsys
):
    z = np.random.default_rng(0).normal(size=300)
    z = np.round(1000 * z) if large == 2.0**54 else z
    y = large + z
    rows = [["z", "y"], *([repr(a), repr(b)] for a, b in zip(z.tolist(), y.tolist(), strict=True))]
    data, model = write(tmp_path / "q.csv", rows), str(tmp_path / "q.safetensors")
    more = ["--members", "1", "--epochs", "30"] if kind == ["--tabular"] else kind
    kind = kind if kind == ["--tabular"] else []
    assert main(["train", data, "--label", "y", "--out", model, *kind, *more]) == 0
    table, _ = predicted(capsys, model, data)
    texts = [row[0] for row in table[1:]]
    assert main(["evaluate", model, data, "--json"]) == 0
    r2 = json.loads(capsys.readouterr().out)["r2"]
    found = np.array(texts, float)
    assert 1 - ((found - y) ** 2).mean() / y.var() == pytest.approx(r2, abs=1e-6) and r2 > 0.9
    assert large or max(map(len, texts)) <= 16, "no more digits than float32 has"


def test_probabilities_are_written_with_all_digits_of_float32(trained, capsys, monkeypatch):
    data, model = trained
    shares = np.array([[1 - 2e-7, 2e-7], [1 - 3e-7, 3e-7], [1 / 3, 2 / 3]] * 40, np.float32)
    monkeypatch.setattr(TableModel, "probabilities", lambda self, outputs: shares)
    rows, _ = predicted(capsys, model, data, "--proba")
    written = np.array([row[1:] for row in rows[1:]], np.float32)
    assert (written == shares).all() and rows[3][1:] == ["0.333333343", "0.666666687"]


@pytest.mark.parametrize("form", ["1h {}m", "2024-01-01 10:{}", "10:{}:00", "1{}", "c{}", "yes"])
@pytest.mark.parametrize("more", [[], ["--tabular", "--members", "1"]])
def test_missing_values_are_new_only_where_the_training_had_none(form, more, tmp_path, capsys):
    cells = [form.format(10 + row % 30) if row % 9 else "" for row in range(120)]
    if form == "yes":
        cells = [cell and ("yes" if row % 2 else "no") for row, cell in enumerate(cells)]
    table = [["t", "x", "y"], *[[cell, row % 5, 0.1 * row] for row, cell in enumerate(cells)]]
    data, model = write(tmp_path / "data.csv", table), str(tmp_path / "model.safetensors")
    options = [*more, "--target", "numpy", "--epochs", "1", "--keep", "t", "--out", model]
    assert main(["train", data, "--label", "y", *options]) == 0
    assert main(["evaluate", model, data]) == 0
    assert main(["predict", model, data]) == 0
    said = capsys.readouterr().err
    assert "values missing" in said and "had one in all rows" not in said
    whole = write(tmp_path / "whole.csv", [row for row in table if row[0]])
    assert main(["train", whole, "--label", "y", *options]) == 0
    assert main(["predict", model, data]) == 0
    assert "column 't' has no value in 14 rows, and had one in all rows" in capsys.readouterr().err
