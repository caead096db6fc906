"""``fastnn train --tabular``: a population of networks at the prompt, in one file."""

import csv
import datetime
import io
import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from fastnn import CorruptFile, InvalidInput, TabularClassifier, TabularRegressor, Trainer
from fastnn.cli import main
from fastnn.estimators.tabular.scorers import check_task
from fastnn.targets.cuda.host.availability import unavailable

QUICK = ["--tabular", "--target", "numpy", "--members", "2", "--epochs", "4", "--quiet"]


@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    """Return a table with columns of all kinds, in a file."""
    random = np.random.default_rng(0)
    rows = 240
    size = random.normal(size=rows)
    table = pd.DataFrame(
        {
            "row": np.arange(rows),
            "size": [f"{each:.3f}".replace(".", ",") for each in size],
            "city": random.choice(["Ulm", "Kiel", "NA"], rows),
            "open": random.choice(["yes", "no"], rows),
            "since": [f"2{day % 10}.0{day % 9 + 1}.2020" for day in range(rows)],
            "from": [f"{hour % 24:02d}:30" for hour in range(rows)],
            "weight": random.choice([1, 2], rows),
            "kind": np.where(size > 0, "10", np.where(size > -1, "9", "low")),
            "sales": (100 * size).round(2),
        }
    )
    table["sales"] = table["sales"].astype(str).str.replace(".", ",")
    path = tmp_path_factory.mktemp("shops") / "shops.csv"
    table.to_csv(path, index=False, sep=";")
    return str(path)


def train(capsys, *arguments):
    assert main(["train", *arguments, *QUICK]) == 0
    return capsys.readouterr()


def predicted(capsys, *arguments):
    assert main(["predict", *arguments, "--quiet"]) == 0
    return list(csv.reader(io.StringIO(capsys.readouterr().out)))


def test_classes_become_one_file_that_predicts_their_words(shops, tmp_path, capsys):
    path = str(tmp_path / "model.safetensors")
    read = ["--decimal", ","]
    shown = train(
        capsys, shops, "--label", "kind", "--drop", "sales", "--weight", "weight", "--test", "0.2",
        "--out", path, *read,
    )  # fmt: skip
    names = [line.split()[0] for line in shown.out.splitlines() if line[0] != " "]
    assert not shown.err
    assert names == ["task", "members", "validation", "test", "weights", "model", "time"]
    header, *rows = predicted(capsys, path, shops, "--proba", *read)
    assert header == ["kind", *(f"probability of {word}" for word in ("9", "10", "low"))]
    shares = np.array([row[1:] for row in rows], float)
    assert [["9", "10", "low"][place] for place in shares.argmax(axis=1)] == [r[0] for r in rows]
    assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert main(["evaluate", path, shops, "--json", "--quiet", *read]) == 0
    scores = json.loads(capsys.readouterr().out)
    table = pd.read_csv(shops, sep=";", dtype=str, keep_default_na=False)
    truth, weights = table["kind"], table["weight"].astype(float)
    hits = truth == [row[0] for row in rows]
    assert scores["accuracy"] == pytest.approx(np.average(hits, weights=weights))
    right = shares[np.arange(len(truth)), truth.map({"9": 0, "10": 1, "low": 2})]
    assert_allclose(scores["log_loss"], np.average(-np.log(right), weights=weights), rtol=1e-4)
    assert main(["show", path, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["estimator"] == "TabularClassifier" and facts["classes"] == ["9", "10", "low"]
    model = TabularClassifier.load(path)
    assert model.classes_.tolist() == ["10", "9", "low"]
    assert model.feature_names_in_.tolist() == ["size", "city", "open", "since", "from"]
    assert [each.kind for each in model._fields.fields] == [
        "number", "category", "number", "date", "time",
    ]  # fmt: skip


def test_numbers_become_a_regression_of_the_same_file_whatever_the_threads(shops, tmp_path, capsys):
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    asked = [shops, "--label", "sales", "--decimal", ",", "--scoring", "neg_mean_absolute_error"]
    train(capsys, *asked, "--out", one, "--threads", "1")
    train(capsys, *asked, "--out", two, "--threads", "2", "--time-limit", "1000")
    found = predicted(capsys, one, shops, "--decimal", ",")
    assert found == predicted(capsys, two, shops, "--decimal", ",", "--threads", "1")
    assert found[0] == ["sales"] and len(found) == 241
    model = TabularRegressor.load(one)
    assert model.scoring == "neg_mean_absolute_error" and len(model.members_) == 2
    assert main(["predict", one, shops, "--proba"]) == 2
    assert "the label is a number" in capsys.readouterr().err


def test_a_matrix_is_a_table_without_names(tmp_path, capsys):
    random = np.random.default_rng(0)
    X = random.normal(size=(120, 3))
    data, path = str(tmp_path / "data.npz"), str(tmp_path / "model")
    np.savez(data, X=X, y=(X[:, 0] > 0).astype(int))
    train(capsys, data, "--out", path)
    np.save(tmp_path / "new.npy", X[:5])
    rows = predicted(capsys, path, str(tmp_path / "new.npy"))
    assert rows[0] == ["y"] and {row[0] for row in rows[1:]} <= {"0", "1"} and len(rows) == 6
    assert TabularClassifier.load(path).classes_.tolist() == [0, 1]
    assert not hasattr(TabularClassifier.load(path), "feature_names_in_")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--members", "3"], "--members needs --tabular"),
        (["--tabular", "--hidden", "8"], "--hidden is of one network"),
        (["--tabular", "--resume", "x"], "--resume is of one network"),
        (["--tabular", "--mpi"], "--mpi trains one network with several processes"),
        (["--tabular", "--members", "0"], "--members"),
        (["--tabular", "--time-limit", "0"], "--time-limit"),
        (["--tabular", "--validation", "0"], "--validation 0"),
        (["--tabular", "--scoring", "rocauc"], "did you mean 'roc_auc'"),
        (
            [*QUICK, "--scoring", "r2"],
            "r2 is not for a label of 3 classes; choose one",
        ),
        ([*QUICK, "--scoring", "roc_auc"], "roc_auc is not for a label of 3 classes"),
        ([*QUICK, "--scoring", "f1"], "not for a label of 3 classes; choose one such as accuracy"),
        ([*QUICK, "--label", "open", "--scoring", "f1"], "f1_macro, roc_auc, roc_auc_ovr"),
        (
            [*QUICK, "--label", "sales", "--scoring", "accuracy"],
            "not for a regression; choose one",
        ),
        ([*QUICK, "--validation", "0.001"], "larger --validation"),
    ],
)
def test_what_cannot_be_is_one_line(shops, tmp_path, capsys, given, said):
    path = tmp_path / "model"
    label = ["--label", "kind", "--decimal", ",", "--out", str(path)]
    assert main(["train", shops, *label, *given]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("fastnn: ") and said in line and not path.exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--task", "regression", "--scoring", "roc_auc"], "roc_auc is not for a regression; "),
        (
            ["--task", "classification", "--scoring", "r2"],
            "not for a label of 2 or 3 classes",
        ),
        (["--target", "cuda"], "target 'cuda' cannot run here"),
    ],
)
def test_what_no_table_can_mend_is_refused_before_it_is_read(given, said, monkeypatch, capsys):
    if "cuda" in given and not unavailable():
        pytest.skip("there is a device")
    monkeypatch.setattr("fastnn.cli.rows.read_data", None)
    for also in (["--tabular"], *([[]] if "--target" in given else [])):
        assert main(["train", "x.csv", "--label", "y", *also, *given]) == 2
        assert said in capsys.readouterr().err


def test_a_frame_that_does_not_fit_is_told_what_reads_files(shops, tmp_path, capsys):
    path = str(tmp_path / "model.safetensors")
    train(capsys, shops, "--label", "kind", "--decimal", ",", "--out", path)
    model, frame = TabularClassifier.load(path), pd.read_csv(shops, sep=";")
    for wrong in (frame, frame[model.feature_names_in_]):
        with pytest.raises(InvalidInput, match="\n.*`fastnn predict MODEL FILE` reads files as"):
            model.predict(wrong)
    plain = frame[model.feature_names_in_].assign(open=frame["open"] == "yes")
    for name in ("size", "sales"):
        plain[name] = plain[name].str.replace(",", ".").astype(float)
    plain["since"] = pd.to_datetime(plain["since"], dayfirst=True)
    rows = predicted(capsys, path, shops, "--decimal", ",")
    assert model.predict(plain).tolist() == [row[0] for row in rows[1:]]


def test_scorers_of_the_task_are_taken():
    for name, tasks in {
        "f1": [np.arange(2)], "roc_auc": [np.array(["no", "yes"])], "f1_macro": [np.arange(3)],
        "roc_auc_ovr": [np.array(["a", "b", "c"])], "neg_log_loss": [np.arange(2), np.arange(3)],
        "r2": [None], "neg_mean_squared_log_error": [None], "adjusted_rand_score": [np.arange(4)],
    }.items():  # fmt: skip
        for task in tasks:
            check_task(name, [task], "--scoring")


def test_the_target_is_no_column(shops, capsys):
    assert main(["train", shops, "--tabular", "--target", "kind"]) == 2
    assert "--label kind" in capsys.readouterr().err


def test_estimators_of_programs_say_so(tmp_path, capsys):
    X = np.random.default_rng(0).normal(size=(60, 2))
    path = str(tmp_path / "model")
    TabularRegressor(1, max_iter=1, target="numpy").fit(X, X[:, 0]).save(path)
    assert main(["predict", path, path]) == 2
    assert "fastnn.TabularRegressor.load" in capsys.readouterr().err
    assert main(["show", path]) == 0
    assert "TabularRegressor" in capsys.readouterr().out
    with pytest.raises(CorruptFile, match=r"a TabularRegressor; fastnn\.TabularRegressor\.load"):
        Trainer.load(path)


@pytest.mark.parametrize(
    "given", [["--tabular", "--members", "1", "--epochs", "20"], ["--epochs", "60"]]
)
def test_durations_are_learnt_from_and_kept_in_the_file(given, tmp_path, capsys):
    seconds = np.random.default_rng(0).integers(60, 400_000, 300)
    texts = [str(datetime.timedelta(seconds=each)) for each in seconds.tolist()]
    data, out = str(tmp_path / "t.csv"), str(tmp_path / "t.safetensors")
    pd.DataFrame({"t": texts, "z": 1, "y": seconds / 3600}).to_csv(data, index=False)
    assert main(["train", data, "--label", "y", "--out", out, *given]) == 0
    said = capsys.readouterr().err
    assert "1 duration: 't'" in said and "nearly all rows" not in said
    found = [float(row[0]) for row in predicted(capsys, out, data)[1:]]
    assert np.corrcoef(found, seconds)[0, 1] > 0.95
    assert main(["train", data, "--label", "y", "--duration", "z,q", *given]) == 2
    assert "there is no column 'q'" in capsys.readouterr().err
