"""``--weight`` counts in scores, as `sample_weight` does in metrics of scikit-learn."""

import csv
import json

import numpy as np
import pytest

from fastnn.cli import main

pytest.importorskip("sklearn", "1.6")
metrics = pytest.importorskip("sklearn.metrics")

RANDOM = np.random.default_rng(0)
ROWS = 160
X = RANDOM.normal(size=(ROWS, 2)).round(3)
WEIGHTS = RANDOM.choice([0.0, 0.5, 1.0, 9.0], ROWS)
LABELS = {
    "regression": (X @ [1.0, -2.0] + RANDOM.normal(size=ROWS)).round(3),
    "binary": np.where(X[:, 0] + RANDOM.normal(size=ROWS) > 0, "yes", "no"),
    "classes": np.array(["a", "b", "c"])[np.digitize(X[:, 0] + RANDOM.normal(size=ROWS), [-1, 1])],
}
ONE = ["--hidden", "8", "--epochs", "2"]
KINDS = {"one network": ONE, "population": ["--tabular", "--members", "2", "--epochs", "2"]}


def write(path, **columns):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])
    return str(path)


def run(capsys, *arguments):
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 0
    return capsys.readouterr()


def train(capsys, data, model, *more):
    options = ["--label", "y", "--weight", "w", "--target", "numpy", "--out", model]
    return run(capsys, "train", data, *options, *more)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", LABELS)
def test_scores_are_those_of_scikit_learn(task, kind, tmp_path, capsys):
    y, model = LABELS[task], str(tmp_path / "model.safetensors")
    data = write(tmp_path / "data.csv", a=X[:, 0], b=X[:, 1], w=WEIGHTS, y=y)
    said = train(capsys, data, model, *KINDS[kind]).out
    assert "16 rows: " in said and "weights     of column 'w'\n" in said
    found = json.loads(run(capsys, "evaluate", model, data, "--json").out)
    assert found.pop("weights") == "w" and found["rows"] == ROWS
    asked = [] if task == "regression" else ["--proba"]
    rows = [*csv.reader(run(capsys, "predict", model, data, *asked).out.splitlines()[1:])]
    predicted = np.array([row[0] for row in rows])
    more = {"sample_weight": WEIGHTS}
    if task == "regression":
        predicted = predicted.astype(float)
        expected = {
            "rmse": metrics.root_mean_squared_error(y, predicted, **more),
            "mae": metrics.mean_absolute_error(y, predicted, **more),
            "r2": metrics.r2_score(y, predicted, **more),
        }
    else:
        shares = np.array([row[1:] for row in rows], float)
        shares /= shares.sum(axis=1, keepdims=True)
        expected = {
            "accuracy": metrics.accuracy_score(y, predicted, **more),
            "log_loss": metrics.log_loss(y, shares, **more),
        }
        if task == "binary":
            expected["auc"] = metrics.roc_auc_score(y == "yes", shares[:, 1], **more)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name
    plain = json.loads(run(capsys, "show", model, "--json").out)
    assert plain["weights"] == "w"


@pytest.mark.parametrize("task", LABELS)
def test_scores_after_the_training_are_those_of_its_rows(task, tmp_path, capsys):
    data = write(tmp_path / "data.csv", a=X[:, 0], b=X[:, 1], w=WEIGHTS, y=LABELS[task])
    model = str(tmp_path / "model.safetensors")
    said = train(capsys, data, model, "--validation", "0", *ONE).out
    found = json.loads(run(capsys, "evaluate", model, data, "--json").out)
    name, shown = ("RMSE", "rmse") if task == "regression" else ("accuracy", "accuracy")
    value = f"{found[shown]:.5g}" if task == "regression" else f"{found[shown]:.4f}"
    assert f"training  {ROWS} rows: {name} {value}," in said


def test_rows_of_a_table_without_the_column_count_alike(tmp_path, capsys):
    columns = {"a": X[:, 0], "b": X[:, 1], "y": LABELS["binary"]}
    data = write(tmp_path / "data.csv", **columns, w=WEIGHTS)
    model = str(tmp_path / "model.safetensors")
    train(capsys, data, model, *ONE)
    bare = run(capsys, "evaluate", model, write(tmp_path / "bare.csv", **columns), "--json")
    assert "warning: " in bare.err and "has no column 'w', the weights of the tra" in bare.err
    alike = write(tmp_path / "alike.csv", **columns, w=np.full(ROWS, 1e300))
    found = json.loads(run(capsys, "evaluate", model, alike, "--json").out)
    assert found.pop("weights") == "w"
    plain = json.loads(bare.out)
    assert found.keys() == plain.keys()
    for name in ("accuracy", "auc", "log_loss"):
        assert found[name] == pytest.approx(plain[name], rel=1e-6)
    assert "rows      160\nweights   of column 'w'\n" in run(capsys, "evaluate", model, alike).out


def test_weights_that_are_none_are_refused(tmp_path, capsys):
    columns = {"a": X[:, 0], "b": X[:, 1], "y": LABELS["binary"]}
    model = str(tmp_path / "model.safetensors")
    train(capsys, write(tmp_path / "data.csv", **columns, w=WEIGHTS), model, *ONE)
    for weights, said in (
        (np.zeros(ROWS), "column 'w', the weights, is 0 in all rows with a label"),
        (-WEIGHTS - 1, "row 1, column 'w'"),
        (np.where(np.arange(ROWS) == 3, "", WEIGHTS.astype(str)), "row 4, column 'w': '' where"),
    ):
        data = write(tmp_path / "other.csv", **columns, w=weights)
        assert main(["evaluate", model, data]) == 2
        shown = capsys.readouterr().err
        assert said in shown
        assert "leave the column out" in shown
