"""What an installed fastnn calls itself is the newest version of the changelog."""

import re
import tomllib
from pathlib import Path

import fastnn

ROOT = Path(__file__).resolve().parent.parent


def test_the_version_is_that_of_the_changelog_and_written_once():
    newest, note = re.search(
        r"^## (\S+)(?: \((.+)\))?$", (ROOT / ".github/CHANGELOG.md").read_text(), re.MULTILINE
    ).groups()
    assert fastnn.__version__ == newest + ".dev0" * (note == "not released")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "fastnn.__version__"}
