"""The notebooks of the course run as they stand, and are kept without outputs."""

import json
from pathlib import Path

import pytest

BOOKS = sorted((Path(__file__).resolve().parent.parent / "fastnn" / "examples").glob("*.ipynb"))


def cells_of(book):
    found = json.loads(book.read_text("utf-8"))
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    return found["cells"]


def test_there_is_a_notebook_a_chapter():
    assert 5 <= len(BOOKS) <= 9


@pytest.mark.parametrize("book", BOOKS, ids=[book.stem for book in BOOKS])
def test_a_notebook_runs_top_to_bottom(book, tmp_path, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": book.stem}
    for number, cell in enumerate(cells_of(book)):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{book.name}, cell {number}", "exec"), names)


@pytest.mark.parametrize("book", BOOKS, ids=[book.stem for book in BOOKS])
def test_a_notebook_is_kept_without_outputs_and_explains_each_cell(book):
    cells = cells_of(book)
    assert len({cell["id"] for cell in cells}) == len(cells)
    for before, cell in zip(cells, cells[1:], strict=False):
        assert {before["cell_type"], cell["cell_type"]} == {"code", "markdown"}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    assert "".join(cells[0]["source"]).startswith("# ")
