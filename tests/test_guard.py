"""What benchmarks/guard.py prints of the times, and which options the scripts refuse."""

from math import exp
from pathlib import Path

import guard
import peers
import pytest
import readme
from processes import MODES
from verdicts import Triple, Verdict
from workloads import WORKLOADS, load

from fastnn import InvalidInput

ROOT = Path(__file__).resolve().parent.parent
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")
BEFORE_A_MERGE = CONTRIBUTING.partition("## Before a merge")[2].partition("\n## ")[0]


def sessions(slowdown: float, count: int, noise: float = 0.002) -> list[list[Triple]]:
    """Return sessions of one triple each, off by `noise` in turns."""
    times = [(1.0, exp(sign * noise), slowdown) for sign in (1, -1)]
    return [[Triple(*times[i % 2], elapsed=3.0)] for i in range(count)]


def comparison(slowdown: float, noise: float = 0.002) -> guard.Comparison:
    """Return a comparison in which one workload is slower by a factor and another is as it was."""
    measured = {
        ("tiny", "one"): sessions(slowdown, 5, noise),
        ("logistic", "all"): sessions(1.0, 5),
    }
    return guard.Comparison(0.05, measured)


def test_what_is_slower_is_named_and_fails():
    found = comparison(1.2)
    assert found.cases(Verdict.SLOWER) == ["tiny (one)"]
    assert list(guard.conclusion(found)) == [
        "FAILED: slower by more than 5% beyond the noise: tiny (one)."
    ]
    (table,) = readme.tables_in("\n".join(found.table()))
    cells = dict(zip(table[0], table[1], strict=True))
    assert cells["workload"] == WORKLOADS["tiny"].title
    assert (cells["time / base"], cells["sessions"], cells["verdict"]) == ("1.200", "5", "SLOWER")


def test_what_is_as_it_was_passes():
    found = comparison(1.0)
    assert found.cases(Verdict.SLOWER) == found.cases(Verdict.OPEN) == []
    assert list(guard.conclusion(found)) == [
        "Passed: nothing is slower by more than 5% beyond the noise."
    ]


def test_what_stays_unclear_is_named_and_does_not_fail():
    found = comparison(1.1, noise=0.2)
    unclear, end = guard.conclusion(found)
    assert unclear == "Too noisy to exclude a slowdown of 10%: tiny (one)."
    assert end.startswith("Passed")


def test_only_what_is_unclear_has_another_session():
    found = comparison(1.1, noise=0.2)
    assert found.undecided("one") == ["tiny"]
    assert found.undecided("all") == []


def test_the_readme_has_the_rows_and_columns_that_the_guard_prints():
    cases = {(name, mode): sessions(1.0, 3) for name in guard.USUAL for mode in MODES}
    (printed,) = readme.tables_in("\n".join(guard.Comparison(0.05, cases).table()))
    (written,) = readme.tables_in(BEFORE_A_MERGE)
    assert written[0] == printed[0]
    assert [row[:2] for row in written] == [row[:2] for row in printed]


@pytest.mark.parametrize(
    ("script", "options", "message"),
    [
        (peers, ["--rounds", "0"], "--rounds: 0 is not above 0"),
        (peers, ["--rounds", "two"], "--rounds: 'two' is no number"),
        (peers, ["--epochs-seconds", "nan"], "--epochs-seconds: nan is not above 0"),
        (peers, ["--peers", "theano"], "'theano' is not one of sklearn, torch"),
        (peers, ["--json", "no/such/folder.json"], "there is no folder"),
        (peers, ["--plot", "ratios.docx"], "not .docx"),
        (peers, ["--plot", "a.png", "--sections", "gemm"], "--sections has neither"),
        (peers, ["--readme", "README.md", "--quick"], "--readme takes a whole report"),
        (peers, ["--readme", "none.md"], "none.md"),
        (guard, ["--triples", "0"], "--triples: 0 is not above 0"),
        (guard, ["--threshold", "-1"], "--threshold: -1 is not above 0"),
        (guard, ["--sessions", "4"], "5 are needed"),
        (guard, ["--json", "no/such/folder.json"], "there is no folder"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_before_anything_is_measured(
    script, options, message, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["script", *options])
    with pytest.raises(SystemExit) as ended:
        script.parse()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("script", [peers, guard])
def test_data_that_are_nowhere_are_refused_before_random_ones_take_their_place(
    script, monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "mnist.npz"))
    monkeypatch.setattr("sys.argv", ["script"])
    with pytest.raises(SystemExit):
        script.parse()
    assert "which is not a folder" in capsys.readouterr().err
    with pytest.raises(InvalidInput, match="not a folder"):
        load(WORKLOADS["mnist-64"])


def test_a_readme_without_marks_is_refused_before_anything_is_measured(
    monkeypatch, capsys, tmp_path
):
    file = tmp_path / "README.md"
    file.write_text("no marks", "utf-8")
    monkeypatch.setattr("sys.argv", ["peers.py", "--readme", str(file)])
    with pytest.raises(SystemExit):
        peers.parse()
    assert "the text needs" in capsys.readouterr().err
