"""The progress bar of a notebook: one of widgets or of text, and nothing else beside it."""

import io
import re

import numpy as np
import pytest

from fastnn import SGD, Dense, Network, Trainer
from fastnn.training import progress

FIT = """
import warnings
warnings.simplefilter("always")
import numpy as np
from fastnn import SGD, Dense, Network, Trainer

X = np.random.default_rng(0).standard_normal((400, 4)).astype("f4")
y = (X[:, 0] > 0).astype(int)
network = Network(4, [Dense(8, "relu"), Dense(2)])
trainer = Trainer(network, optimizer=SGD(0.1), target="numpy")
history = trainer.fit(X[:300], y[:300], 3, (X[300:], y[300:]))
"""
END = r"epoch.3/3.100%\|.*\|.*, 00:00.left, loss.0\.\d+, validation.loss.0\.\d+"


def outputs_of(code):
    """Return what a cell puts out in a notebook, and the widgets of it."""
    why = "there is no nbclient and ipykernel, which run a notebook: pip install nbclient ipykernel"
    client = pytest.importorskip("nbclient", reason=why)
    pytest.importorskip("ipykernel", reason=why)
    import nbformat

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    client.NotebookClient(book, kernel_name="python3", timeout=120).execute()
    widgets = book.metadata.get("widgets", {})
    state = widgets.get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    return book.cells[0].outputs, [each["state"] for each in state.values()]


@pytest.mark.filterwarnings("ignore")  # those of Jupyter's own
def test_a_notebook_with_widgets_has_one_bar_that_ends_full():
    pytest.importorskip("ipywidgets", reason="there is no ipywidgets: pip install ipywidgets")
    outputs, widgets = outputs_of(FIT)
    assert [each["output_type"] for each in outputs] == ["display_data"]
    assert "application/vnd.jupyter.widget-view+json" in outputs[0]["data"]
    [bar] = [each for each in widgets if each.get("_model_name") == "FloatProgressModel"]
    assert bar["value"] == bar["max"] == 900 and bar["bar_style"] == "success"
    text = "".join(each.get("value") or "" for each in widgets if "HTML" in each["_model_name"])
    assert "epoch\\u20073/3" in text.encode("ascii", "backslashreplace").decode()
    assert "validation" in text and "loss" in text


@pytest.mark.filterwarnings("ignore")
def test_a_notebook_without_widgets_has_a_bar_of_text():
    outputs, _ = outputs_of('import sys\nsys.modules["ipywidgets"] = None\n' + FIT)
    assert {(each["output_type"], each.get("name")) for each in outputs} == {("stream", "stderr")}
    check_text("".join(each["text"] for each in outputs))


def check_text(text):
    """Check that text is a bar, drawn over itself in one line, and no warning."""
    assert text.startswith("\r") and text.endswith("\n") and text.count("\n") == 1
    lines = text.strip("\r\n").split("\r")
    assert all(re.match(r"(epoch \d/3)? +\d+%\|", line) for line in lines), lines
    assert re.fullmatch(END, lines[-1].rstrip()), lines[-1]
    assert max(map(len, lines)) <= 100


def test_the_bar_of_text_goes_to_a_stream_that_is_no_terminal(monkeypatch):
    """As the one of a notebook, which this pretends to be."""
    check_text(drawn(monkeypatch))


def test_the_bar_of_restarts_ends_full(monkeypatch):
    text = drawn(monkeypatch, restarts=3)
    assert text.startswith("\r") and text.count("\n") == 1
    assert re.fullmatch(r"3 restarts 100%\|.*", text.strip("\r\n").split("\r")[-1])


def drawn(monkeypatch, **settings):
    """Return what a training draws in what seems a notebook without widgets."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    X = np.random.default_rng(0).standard_normal((400, 4)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    trainer = Trainer(Network(4, [Dense(8, "relu"), Dense(2)]), optimizer=SGD(0.1), target="numpy")
    trainer.fit(X[:300], y[:300], 3, (X[300:], y[300:]), **settings)
    return stream.getvalue()
