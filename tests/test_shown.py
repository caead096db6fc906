"""What notebooks show: tables of HTML in which names are escaped, and frames of histories."""

import html.parser
import re
from pathlib import Path

import numpy as np
import pytest
from trainer_cases import LABELS, X, trainer_of

import fastnn
from fastnn import Dense, History, sweep
from fastnn.graph import minimize, variables
from fastnn.tables import html_table, html_text


class Tags(html.parser.HTMLParser):
    """Collects cells, and checks that every tag that opens is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.tables = [], []

    def handle_starttag(self, tag, attrs):
        """Begin a table or a row."""
        assert tag in {"table", "caption", "thead", "tbody", "tr", "th", "td", "p"}
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])

    def handle_endtag(self, tag):
        """Check that this is the tag that is open."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Keep the text of a cell."""
        if self.open[-1] in ("th", "td"):
            self.tables[-1][-1].append(data)


def tables_of(value):
    reader = Tags()
    reader.feed(value._repr_html_())
    assert not reader.open
    return reader.tables


EVIL = '<script>alert("x & y")</script>'


def test_whatever_is_a_name_is_escaped():
    found = html_table([[EVIL, EVIL]], EVIL) + html_text(EVIL, "")
    assert "<script" not in found and found.count("&lt;script&gt;") == 4
    assert found.count("<p ") == 1
    trainer = trainer_of()
    trainer.fit(X, LABELS, 1, (X, LABELS), metrics={EVIL: lambda y, outputs: 0.5}, progress=False)
    assert "<script" not in trainer.history._repr_html_()
    assert tables_of(trainer.history)[0][0][-1] == f"validation_{EVIL}"


def test_a_history_is_shown_and_becomes_a_frame():
    trainer = trainer_of()
    trainer.fit(X, LABELS, 2)
    history = trainer.fit(X, LABELS, 2, (X[:9], LABELS[:9]), metrics="f1")
    (table,) = tables_of(history)
    assert [row[0] for row in table] == ["epoch", "1", "2", "3", "4"]
    assert table[1][2] == "-" and float(table[4][1]) == pytest.approx(history.loss[3], rel=1e-3)
    frame = history.to_frame()
    assert frame.index.name == "epoch" and list(frame.index) == [1, 2, 3, 4]
    assert list(frame.columns) == [
        "loss", "validation_loss", "validation_accuracy", "learning_rate", "seconds",
        "validation_f1",
    ]  # fmt: skip
    assert all(dtype == np.float64 for dtype in frame.dtypes)
    assert frame["loss"].tolist() == history.loss
    assert frame["validation_f1"].isna().tolist() == [True, True, False, False]
    assert frame.loc[4, "validation_loss"] == history.validation_loss[3]
    assert History().to_frame().shape == (0, 5)
    assert tables_of(History()) == []
    later = History(first_epoch=7)
    later.append(0.5, 0.1, 0.2)
    assert list(later.to_frame().index) == [8]


def test_restarts_sweeps_tables_and_descents_are_shown_as_they_print():
    trainer = trainer_of([Dense(3)])
    history = trainer.fit(X, LABELS, 2, restarts=3)
    result = sweep(trainer_of([Dense(3)]), X, LABELS, 1, grid={"learning_rate": [0.1, 0.2]})
    x, y = variables("x y")
    table = (x * x + (x - 1) * y * y).table(x=1, y=2)
    descent = minimize(x * x + y * y, start=[1.0, 2.0], steps=3)
    for value, lines in (
        (history.restarts, repr(history.restarts).splitlines()[1:]),
        (result, repr(result).splitlines()[1:]),
        (table, repr(table).splitlines()),
        (descent, repr(descent).splitlines()[1:]),
    ):
        (found,) = tables_of(value)
        for row, line in zip(found, lines, strict=True):
            assert " ".join(row).split() == line.split()
    assert len(tables_of(history)) == 2
    assert "Descent on x*x + y*y" in descent._repr_html_()
    assert type(history.restarts)()._repr_html_() == "Restarts()"


def test_the_guide_shows_what_its_chapter_prints(capsys):
    text = (Path(fastnn.__file__).parent / "guide" / "looking_inside.md").read_text("utf-8")
    code = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    exec(compile("".join(code), "looking_inside.md", "exec"), {})
    shown = "".join(re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert capsys.readouterr().out == shown
