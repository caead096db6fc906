"""The table and the picture that a sweep gives."""

import sys

import numpy as np
import pandas
import pytest

from fastnn import AdamW, InvalidInput, MissingExtra
from fastnn.training.sweep_result import RESULTS, Run, SweepResult, short


def run_of(settings, seed, loss, **others):
    results = dict.fromkeys(RESULTS) | {"seconds": 0.5, "epochs": 3, "diverged": False}
    return Run(settings=settings, **(results | {"seed": seed, "training_loss": loss} | others))


def table_of():
    small, large = {"batch_size": 8, "init": None}, {"batch_size": 512, "init": None}
    rows = [
        run_of(small, 0, 0.5), run_of(small, 1, 0.7), run_of(large, 0, 0.1), run_of(large, 1, 2.0),
    ]  # fmt: skip
    return SweepResult(rows, ("batch_size", "init"))


def test_the_table_has_settings_and_what_there_is_of_results():
    result = table_of()
    lines = [line.split() for line in repr(result).splitlines()]
    assert lines[0] == ["4", "runs"]
    assert lines[1] == ["batch_size", "init", "seed", "epochs", "training_loss", "seconds"]
    assert lines[2] == ["8", "None", "0", "3", "0.5", "0.5"]
    assert result.columns == tuple(lines[1])
    assert result.column("seed") == [0, 1, 0, 1]
    assert result.rows[1:3] == result[1:3] and result[-1].training_loss == 2.0
    with pytest.raises(InvalidInput, match="unknown column 'training_los'; did you mean"):
        result.column("training_los")


def test_a_long_table_shows_its_first_and_last_rows():
    result = SweepResult([run_of({}, seed, 1.0) for seed in range(100)], ())
    lines = repr(result).splitlines()
    assert "the first and the last 30" in lines[0] and len(lines) == 62
    assert [lines[row].split()[0] for row in (2, 31, 32, 61)] == ["0", "29", "70", "99"]


def test_the_best_run_may_be_lucky_and_the_best_settings_are_not():
    result = table_of()
    assert result.best.training_loss == 0.1
    assert result.best_settings == {"batch_size": 8, "init": None}


def test_a_frame_has_a_row_a_run():
    frame = table_of().to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == ["batch_size", "init", *RESULTS]
    assert frame["training_loss"].tolist() == [0.5, 0.7, 0.1, 2.0]


def test_a_frame_without_pandas_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r'pip install "fastnn\[tables\]"'):
        table_of().to_frame()


def test_the_picture_has_a_line_for_the_other_settings_through_medians(pyplot):
    ax = table_of().plot()
    line, points = ax.lines
    np.testing.assert_allclose(line.get_xydata(), [[8, 0.6], [512, 1.05]])
    assert len(points.get_xydata()) == 4
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("batch_size", "training_loss")
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["8", "512"]
    again = table_of().plot("seed", "epochs", ax=ax)
    assert again is ax


def test_settings_that_are_no_numbers_are_drawn_by_name(pyplot):
    rows = [run_of({"init": name}, 0, 1.0) for name in ("zeros", None, "normal")]
    ax = SweepResult([*rows, run_of({"init": "zeros"}, 1, 9.0, diverged=True)], ("init",)).plot()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["zeros", "None", "normal"]
    assert ax.get_legend() is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda z: z, lambda z: z * z),
        (AdamW(1e-3, weight_decay=0.1), AdamW(1e-3, weight_decay=0.2)),
        (np.array([1, 2]), np.array([1, 2])),
    ],
    ids=["lambda", "AdamW", "array"],
)
def test_different_settings_of_one_text_stay_apart(first, second, pyplot):
    settings = [{"of": value, "batch_size": size} for value in (first, second) for size in (8, 16)]
    rows = [run_of(each, seed, 1.0 + seed) for each in settings for seed in (0, 1)]
    result = SweepResult(rows, ("of", "batch_size"))
    text = short(first)
    ax = result.plot("of")
    assert [each.get_text() for each in ax.get_xticklabels()] == [text, f"{text} (2)"]
    labels = [each.get_text() for each in result.plot("batch_size").get_legend().get_texts()]
    assert labels == [f"of {text}", f"of {text} (2)"]
    column = [line[: line.index("  ", len(text))].strip() for line in repr(result).splitlines()[2:]]
    assert column == [text] * 4 + [f"{text} (2)"] * 4


def test_a_picture_of_nothing_is_refused(pyplot):
    with pytest.raises(InvalidInput, match="no run has a number for 'seconds_to_accuracy'"):
        table_of().plot(y="seconds_to_accuracy")
    with pytest.raises(InvalidInput, match="unknown column 'batch'; did you mean 'batch_size'"):
        table_of().plot("batch")


def test_a_picture_without_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r'pip install "fastnn\[plots\]"'):
        table_of().plot()
