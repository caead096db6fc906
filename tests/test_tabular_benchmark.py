"""The benchmark of estimators of tables: parts, scores, ranks, and that it goes on with a file."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

import tabular
import tabular_data
import tabular_peers
from processes import ChildFailed
from threadpoolctl import threadpool_limits  # scikit-learn needs it

SEEDS = 2


def peer(title: str, shift: float, slow: bool = False) -> tabular_peers.Peer:
    """Return a peer whose predictions of the toy regression are off by `shift` and the seed."""

    def fit(split, seed):
        return lambda X: split.test.y + shift + seed

    return tabular_peers.Peer(title, fit, "numpy", "numpy", slow)


@pytest.fixture
def fits(monkeypatch, capsys):
    """Let the peers fit in this process, and return the list of those that did."""
    ran = []

    def run_here(arguments, mode):
        name, peer_name, seed, _ = arguments[2:]
        ran.append((name, peer_name, int(seed)))
        monkeypatch.setattr(sys, "argv", arguments)
        tabular.main()
        return capsys.readouterr().out, 0.0

    known = {"fastnn": peer("fastnn", 1.0), "lightgbm": peer("LightGBM", -3.0)}
    known["late"] = peer("slow one", 0.5, slow=True)
    monkeypatch.setattr(tabular, "PEERS", known)
    monkeypatch.setattr(tabular, "TITLES", {name: each.title for name, each in known.items()} | {
        tabular.AVERAGE: "both"})  # fmt: skip
    monkeypatch.setattr(tabular, "run_python", run_here)
    return ran


def rows_of(lines):
    split = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    return {cells[0]: cells[1:] for cells in split if len(cells) > 1}


def test_the_parts_of_a_table_are_fixed_and_share_no_row():
    task, X, y, _ = tabular_data.toy("binary")
    X["row"] = np.arange(len(y))
    y = y.where(y.index >= 50)  # the first have no label
    first, second = (tabular_data.split(task, X, y) for _ in range(2))
    rows = [part.X["row"].to_numpy() for part in (first.train, first.validation, first.test)]
    assert [len(part) for part in rows] == [160, 40, 50]
    assert sorted(np.concatenate(rows)) == list(range(50, 300))
    np.testing.assert_array_equal(rows[2], second.test.X["row"])
    np.testing.assert_array_equal(first.test.y, y[rows[2]] == "low")  # "high" is 0
    assert str(first.train.X["kind"].dtype) == "category"


def test_a_table_with_test_rows_of_its_own_keeps_them():
    task, X, y, _ = tabular_data.toy("regression")
    parts = tabular_data.split(task, X, y, tested_from=200)
    assert (len(parts.train.y), len(parts.validation.y)) == (160, 40)
    np.testing.assert_array_equal(parts.test.y, y[200:])


@pytest.mark.parametrize("task", tabular_data.TASKS)
def test_scores_are_those_of_scikit_learn(task):
    from sklearn import metrics

    random = np.random.default_rng(0)
    if task == "regression":
        y, predicted = random.normal(size=(2, 50))
        right = {"RMSE": metrics.root_mean_squared_error(y, predicted)}
    else:
        classes = 2 if task == "binary" else 4
        y, predicted = random.integers(classes, size=50), random.dirichlet([1.0] * classes, 50)
        right = {"accuracy": metrics.accuracy_score(y, predicted.argmax(axis=1))}
        if task == "binary":
            right["AUC"] = metrics.roc_auc_score(y, predicted[:, 1])
        right["log loss"] = metrics.log_loss(y, predicted)
    assert tuple(right) == tabular.MEASURES[task]
    assert tabular.scores(task, y, predicted) == pytest.approx(right)


def test_the_table_has_means_of_the_seeds_and_the_average_of_the_pair(fits, tmp_path):
    results = tabular.Results(tmp_path)
    peers = ["fastnn", "lightgbm", "late", tabular.AVERAGE]
    table = rows_of(tabular.compare(results, "toy-regression", peers, SEEDS))
    assert table["fastnn"][0] == "1.5000 ± 0.5000"  # off by 1 with seed 0, by 2 with seed 1
    assert table["LightGBM"][0] == "2.5000 ± 0.5000"  # by -3 and -2
    assert table["slow one"][0] == "0.5000"  # with one seed
    assert table["both"][0] == "0.5000 ± 0.5000"  # by -1 and 0
    assert results.records["toy-regression", tabular.AVERAGE, 0]["scores"]["RMSE"] == pytest.approx(
        1.0
    )


def test_what_the_file_has_is_not_fitted_again(fits, tmp_path):
    file = tmp_path / "results.jsonl"
    for _ in tabular.compare(tabular.Results(tmp_path, file), "toy-regression", ["fastnn"], SEEDS):
        pass
    assert len(fits) == SEEDS
    first, second = file.read_text().splitlines()
    file.write_text(f"{first}\n{second[:20]}")  # it was ended while it wrote the second
    lines = list(
        tabular.compare(tabular.Results(tmp_path, file), "toy-regression", ["fastnn"], SEEDS)
    )
    assert fits[SEEDS:] == [("toy-regression", "fastnn", 1)]
    assert rows_of(lines)["fastnn"][0] == "1.5000 ± 0.5000"
    assert [json.loads(line)["seed"] for line in file.read_text().splitlines()] == [0, 1]


def test_a_peer_that_fails_is_named_and_the_others_go_on(fits, tmp_path, monkeypatch):
    run_here = tabular.run_python

    def fail(arguments, mode):
        if "fastnn" in arguments:
            raise ChildFailed("out of memory")
        return run_here(arguments, mode)

    monkeypatch.setattr(tabular, "run_python", fail)
    results = tabular.Results(tmp_path)
    peers = ["fastnn", "lightgbm", tabular.AVERAGE]
    table = rows_of(tabular.compare(results, "toy-regression", peers, 1))
    assert table["fastnn"][0] == "failed: out of memory"
    assert table["LightGBM"][0] == "3.0000"
    assert table["both"][0].startswith("failed: ")


def test_ranks_know_which_scores_are_better_higher():
    results = tabular.Results(Path())
    for name, error, loss in (("a", 0.9, 0.3), ("b", 0.8, 0.1), ("c", 0.8, 0.2)):
        measured = {"accuracy": error, "log loss": loss}
        results.add(("table", name, 0), "multiclass", measured, 1.0)
    for which, ranks in ((0, [1, 2.5, 2.5]), (-1, [3, 1, 2])):
        np.testing.assert_array_equal(tabular.ranks(results, ["table"], "abc", 1, which), [ranks])
    summary = rows_of(tabular.summary(results, ["table"], ["mlp"], 1))
    assert not summary  # one peer has no rank


@pytest.mark.parametrize("task", tabular_data.TASKS)
@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "hgb", "mlp"])
def test_peers_learn_from_numbers_and_categories(name, task):
    peer = tabular_peers.PEERS[name]
    pytest.importorskip(peer.module)
    data = tabular_data.load(f"toy-{task}")
    with threadpool_limits(1):
        predict = peer.fit(data, 0)
    score = tabular.scores(task, data.test.y, predict(data.test.X))[tabular.MEASURES[task][0]]
    if task == "regression":
        assert score < 0.8 * data.test.y.std()
    else:
        assert score > {"binary": 0.8, "multiclass": 0.6}[task]
