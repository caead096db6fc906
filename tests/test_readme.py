"""What is written as an example runs: Python blocks of README and guide, and docstrings."""

import ast
import doctest
import importlib
import pkgutil
import re
import shlex
from pathlib import Path

import pytest

import fastnn
import fastnn.guide as fastnn_guide
from fastnn.cli import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("fastnn/guide/*.md"))]
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TORCH_BLOCK = re.compile(r"^```py\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_blocks_of_a_page_run_top_to_bottom(page, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    if page.name == "README.md":  # whose commands are on a table that the guide makes
        exec(BLOCK.search((ROOT / "fastnn/guide/command_line.md").read_text("utf-8"))[2], {})
    for number, (kind, text) in enumerate(BLOCK.findall(page.read_text("utf-8")), start=1):
        if kind == "python":
            exec(compile(text, f"{page.name}, block {number}", "exec"), names)
            continue
        for command in text.removeprefix("$ fastnn ").split("\n$ fastnn "):
            arguments, *lines = command.strip().splitlines()
            capfd.readouterr()
            assert main(shlex.split(arguments)) == 0
            shown = "".join(capfd.readouterr()).splitlines()
            assert [line for line in lines if line not in shown] == []


def test_the_block_on_torch_runs_where_torch_and_onnx_are_installed(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    (text,) = TORCH_BLOCK.findall((ROOT / "fastnn/guide/moving.md").read_text("utf-8"))
    exec(compile(text, "moving.md", "exec"), {"__name__": "moving"})
    assert (tmp_path / "model.onnx").stat().st_size > 1000


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_links_of_a_page_lead_to_files(page):
    for link in LINK.findall(page.read_text("utf-8")):
        assert (page.parent / link).exists(), link


def test_the_chapter_on_the_course_runs_the_same_code_in_both_languages():
    english, chinese = (
        [
            ast.unparse(ast.parse(text))
            for kind, text in BLOCK.findall(page.read_text("utf-8"))
            if kind == "python"
        ]
        for page in (ROOT / f"fastnn/guide/from_the_course{end}.md" for end in ("", "_zh"))
    )
    assert len(english) == 20 and chinese == english


def test_the_guide_has_every_chapter():
    assert fastnn_guide.__doc__ is not None
    listed = re.findall(r"include:: (\S+)", fastnn_guide.__doc__)
    assert sorted(listed) == [page.name for page in PAGES[1:]]


MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fastnn.__path__, "fastnn.")
    if not module.name.startswith("fastnn.targets.cuda")
    and module.name not in ("fastnn.__main__", "fastnn.storage.kernels.setup_commands")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_give_what_they_say(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
