"""The benchmark of estimators of tables: parts, scores, ranks, and that it goes on with a file."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import readme

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

import tabular
import tabular_data
import tabular_peers
import tabular_records
import tabular_reliability
import tabular_report
from processes import ChildFailed
from threadpoolctl import threadpool_limits  # scikit-learn needs it

SEEDS = 2


def peer(title: str, shift: float, **settings: bool) -> tabular_peers.Peer:
    """Return a peer whose predictions of the toy regression are off by `shift` and the seed."""

    def fit(split, seed):
        return lambda X: split.test.y + shift + seed

    return tabular_peers.Peer(title, fit, "numpy", "numpy", **settings)


@pytest.fixture
def fits(monkeypatch, capsys):
    """Let the peers fit in this process, and return the list of those that did."""
    ran = []

    def run_here(arguments, mode, at_most):
        assert at_most is None  # processes may be paused while others measure
        name, peer_name, seed, _ = arguments[2:]
        ran.append((name, peer_name, int(seed)))
        monkeypatch.setattr(sys, "argv", arguments)
        tabular.main()
        return capsys.readouterr().out, 0.0

    known = {"fastnn": peer("fastnn", 1.0), "lightgbm": peer("LightGBM", -3.0, draws=False)}
    known["late"] = peer("slow one", 0.5, slow=True)
    titles = {name: each.title for name, each in known.items()} | {tabular.AVERAGE: "both"}
    monkeypatch.setattr(tabular, "PEERS", known)
    monkeypatch.setattr(tabular, "PEERS_AND_LIMITED", known)
    monkeypatch.setattr(tabular_report, "PEERS_AND_LIMITED", known)
    for script in (tabular, tabular_report):
        monkeypatch.setattr(script, "TITLES", titles)
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
    assert tuple(right) == tabular_records.MEASURES[task]
    assert tabular_records.scores(task, y, predicted) == pytest.approx(right)


def test_the_table_has_means_of_the_seeds_and_the_average_of_the_pair(fits, tmp_path):
    results = tabular_records.Results(tmp_path)
    peers = ["fastnn", "lightgbm", "late", tabular.AVERAGE]
    table = rows_of(tabular.compare(results, "toy-regression", peers, SEEDS))
    assert table["fastnn"][0] == "1.5000 ± 0.5000"  # off by 1 with seed 0, by 2 with seed 1
    assert table["LightGBM"][0] == "3.0000"  # once, as it draws nothing
    assert table["slow one"][0] == "0.5000 (1 of 2)"  # as asked
    assert table["both"][0] == "0.7500 ± 0.2500"  # by -1 and -0.5
    table = rows_of(tabular.compare(results, "toy-regression", ["late"], SEEDS, slow_seeds=3))
    assert table["slow one"][0] == "1.0000 ± 0.5000"
    record = results.records["toy-regression", "fastnn", 1]
    assert record["version"] == f"numpy {np.__version__}"
    assert record["table"] == tabular_data.load("toy-regression").describe()


def test_what_the_file_has_is_not_fitted_again(fits, tmp_path):
    file = tmp_path / "results.jsonl"
    for _ in tabular.compare(
        tabular_records.Results(tmp_path, file), "toy-regression", ["fastnn"], SEEDS
    ):
        pass
    assert len(fits) == SEEDS
    first, second = file.read_text().splitlines()
    file.write_text(f"{first}\n{second[:20]}")  # it was ended while it wrote the second
    lines = list(
        tabular.compare(
            tabular_records.Results(tmp_path, file), "toy-regression", ["fastnn"], SEEDS
        )
    )
    assert fits[SEEDS:] == [("toy-regression", "fastnn", 1)]
    assert rows_of(lines)["fastnn"][0] == "1.5000 ± 0.5000"
    assert [json.loads(line)["seed"] for line in file.read_text().splitlines()] == [0, 1]


def test_a_peer_that_fails_is_named_and_the_others_go_on(fits, tmp_path, monkeypatch):
    run_here = tabular.run_python

    def fail(arguments, mode, at_most):
        if "fastnn" in arguments:
            raise ChildFailed("out of memory")
        return run_here(arguments, mode, at_most)

    monkeypatch.setattr(tabular, "run_python", fail)
    results = tabular_records.Results(tmp_path)
    peers = ["fastnn", "lightgbm", tabular.AVERAGE]
    table = rows_of(tabular.compare(results, "toy-regression", peers, 1))
    assert table["fastnn"][0] == "failed: out of memory"
    assert table["LightGBM"][0] == "3.0000"
    assert table["both"][0].startswith("failed: ")


def test_probabilities_that_come_true_as_often_as_they_say_have_no_calibration_error(
    tmp_path, monkeypatch
):
    random = np.random.default_rng(0)
    probability = random.uniform(size=100_000)
    y = (random.uniform(size=100_000) < probability).astype(int)
    right = np.stack([1 - probability, probability], axis=1)
    assert tabular_reliability.error(right, y) < 0.01
    doubted = 0.25 + right / 2  # off by half of how far it is from 1/2, a quarter on average
    assert tabular_reliability.error(doubted, y) == pytest.approx(0.125, abs=0.01)
    three = np.hstack([right / 2, np.full((100_000, 1), 0.5)])  # the third class never comes
    assert tabular_reliability.error(three, y) == pytest.approx(0.5)
    results = tabular_records.Results(tmp_path)
    data = tabular_data.load("toy-binary")
    monkeypatch.setattr(tabular_reliability, "load", lambda name: data)
    for peer in tabular_peers.PAIR:
        results.add(("adult", peer, 0), "binary", {}, 1.0)
        shares = np.tile([0.5, 0.5], (len(data.test.y), 1))
        np.save(results.predictions("adult", peer, 0), shares)
    curve, errors = readme.tables_in("\n".join(tabular_reliability.report(results, "adult")))
    assert len(curve) == 11 and {row[1] for row in curve[1:]} == {"0.500"}
    assert errors[0][1:] == ["fastnn", "LightGBM"] and errors[1][1] == errors[1][2]


def test_ranks_know_which_scores_are_better_higher():
    results = tabular_records.Results(Path())
    for name, error, loss in (("a", 0.9, 0.3), ("b", 0.8, 0.1), ("c", 0.8, 0.2)):
        measured = {"accuracy": error, "log loss": loss}
        results.add(("table", name, 0), "multiclass", measured, 1.0)
    for which, ranks in ((0, [1, 2.5, 2.5]), (-1, [3, 1, 2])):
        np.testing.assert_array_equal(
            tabular_report.ranks(results, ["table"], "abc", 1, which), [ranks]
        )
    assert not list(tabular_report.summary(results, ["table"], ["a"], 1))  # one has no rank


def kept(file: Path) -> None:
    """Write records: two seeds of three of fastnn, a peer that draws nothing, and a slow one."""
    results = tabular_records.Results(file.parent, file)

    def add(name, peer, seed, error, seconds):
        known = {"table": f"{name}, as it is", "date": f"2026-01-0{seed + 1}"}
        if peer != tabular.AVERAGE:
            known["version"] = peer
        results.add((name, peer, seed), "regression", {"RMSE": error}, seconds, **known)

    for seed, error in enumerate([41_000.0, 45_000.0]):
        add("california", "fastnn", seed, error, 10.0)
        add("california", tabular.AVERAGE, seed, error - 500, 11.0)
        add("computers", "fastnn", seed, 140.0, 2.0)
        add("computers", tabular.AVERAGE, seed, 139.0, 2.0)
    add("california", "lightgbm", 0, 44_000.0, 1.0)
    add("computers", "lightgbm", 0, 138.0, 1.0)
    add("california", "tabm", 0, 42_000.0, 40.0)
    add("california", tabular_peers.LIMITED, 0, 46_000.0, 10.0)
    add("computers", "tabm", 0, 141.0, 8.0)
    add("computers", "fastnn-1", 0, 142.0, 0.1)
    add("computers", "fastnn-2", 0, 141.0, 0.2)
    add("computers", "fastnn-2", 1, 141.0, 0.6)
    add("computers", "fastnn-4", 0, 140.5, 0.8)
    add("computers", tabular_peers.STOPPED, 0, 141.5, 4.0)


def test_a_file_gives_the_tables_without_fits_and_puts_them_into_a_readme(
    tmp_path, monkeypatch, capsys
):
    file, page = tmp_path / "fits.jsonl", tmp_path / "README.md"
    kept(file)
    with file.open("a") as stream:
        stream.write('{"data": "cali')  # a run is under way
    text = file.read_text()
    page.write_text("above\n{}\n{}\nbelow\n".format(*readme.OF_TABLES))
    command = ["tabular.py", "--from", str(file), "--seeds", "3", "--readme", str(page)]
    monkeypatch.setattr(sys, "argv", command)
    tabular.main()
    printed = capsys.readouterr().out
    assert file.read_text() == text
    assert readme.report_in(page.read_text(), readme.OF_TABLES).strip() == printed.strip()
    assert printed.startswith("2026-01-01 to 2026-01-02; fastnn, fastnn-1, ")
    about, errors, seconds, ranks, all_ranks, equal, settings, held = readme.tables_in(printed)
    assert about[1] == ["california", "california, as it is"]
    assert errors[0][1:] == ["fastnn", "LightGBM", "TabM-D", "fastnn + LightGBM"]
    assert errors[1][1:] == [
        "43000 ± 2000 (2 of 3)", "44000", "**42000 (1 of 3)**", "42500 ± 2000 (2 of 3)",
    ]  # fmt: skip
    assert errors[2][3] == "141.00 (1 of 3)"
    assert seconds[1][1:] == ["10", "1", "40", "11"]
    assert [row[2] for row in ranks[1:]] == ["2.50", "2.00", "1.50"]
    assert ranks[0][0] == "average rank of 3 over california, computers"
    assert [row[2] for row in all_ranks[1:]] == ["3.00", "2.50", "2.50", "2.00"]
    assert "is better than either on 1 of 2 tables by RMSE and log loss" in printed
    assert equal[1:] == [
        ["TabM-D, california, RMSE", "42000 (1 of 3)", "40", "43000", "4.0", "–", "–", "–"],
        ["TabM-D, computers, RMSE", "141.00 (1 of 3)", "8", "140.00", "4.0", "2", "141.00", "20.0"],
        [f"{tabular_peers.TITLES[tabular_peers.STOPPED]}, computers, RMSE",
         "141.50 (1 of 3)", "4", "140.00", "2.0", "2", "141.00", "10.0"],
    ]  # fmt: skip
    assert [[row[0], row[1], *row[4:]] for row in settings[1:]] == [
        ["1, TabM-D", "1", "0", "0", "80.0"],
        ["2, TabM-D", "1", "1", "1", "20.0"],
        ["4, TabM-D", "1", "1", "1", "10.0"],
        ["the defaults, TabM-D", "2", "1", "0", "4.0"],
    ]
    assert [row[-1] for row in held[1:]] == ["yes", "no", "yes", "no", "yes", "yes"]
    assert [row[2] for row in held[-3:]] == ["never as good", "20.0 times", "10.0 times"]


def test_fits_that_are_compared_with_nothing_have_no_tables_of_measures():
    results = tabular_records.Results(Path())
    results.add(("california", tabular_peers.LIMITED, 0), "regression", {"RMSE": 4e4}, 10.0)
    lines = list(tabular_report.report(results, ["california"], [tabular_peers.LIMITED], 1))
    about, held = readme.tables_in("\n".join(lines))
    assert about[1][0] == "california"
    assert held[1][1:] == ["at most 45500", "40000", "yes"]


def test_the_readme_has_the_tables_of_the_script():
    page = Path(tabular.__file__).with_name("README.md").read_text("utf-8")
    about, *compared = readme.tables_in(readme.report_in(page, readme.OF_TABLES))
    names = [row[0] for row in about[1:]]
    assert set(names) <= set(tabular_data.TABLES)
    overviews = {
        table[0][0]: table for table in compared if table[0][0] in tabular_report.OVERVIEWS
    }
    assert [*overviews] == [*tabular_report.OVERVIEWS]
    for table in overviews.values():
        assert set(table[0][1:]) <= set(tabular_peers.TITLES.values())
        assert {len(row) for row in table} == {len(table[0])}
        assert {row[0] for row in table[1:]} <= set(names)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--from", "none.jsonl"], "there is no file none.jsonl"),
        (["--readme", "x.md"], "--readme needs --from"),
    ],
)
def test_what_cannot_be_shown_is_said(options, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tabular.py", *options])
    with pytest.raises(SystemExit):
        tabular.main()
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("task", tabular_data.TASKS)
@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "hgb", "mlp"])
def test_peers_learn_from_numbers_and_categories(name, task):
    peer = tabular_peers.PEERS[name]
    pytest.importorskip(peer.module)
    data = tabular_data.load(f"toy-{task}")
    with threadpool_limits(1):
        predict = peer.fit(data, 0)
    score = tabular_records.scores(task, data.test.y, predict(data.test.X))[
        tabular_records.MEASURES[task][0]
    ]
    if task == "regression":
        assert score < 0.8 * data.test.y.std()
    else:
        assert score > {"binary": 0.8, "multiclass": 0.6}[task]
