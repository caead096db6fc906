"""What is written as an example runs: the README's Python blocks, and the docstrings' prompts."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import fastnn

README = Path(__file__).resolve().parent.parent / "README.md"
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_python_blocks_of_the_readme_run_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = PYTHON_BLOCK.findall(README.read_text("utf-8"))
    assert blocks
    names: dict[str, object] = {"__name__": "readme"}
    for number, text in enumerate(blocks, start=1):
        exec(compile(text, f"README.md, Python block {number}", "exec"), names)


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
