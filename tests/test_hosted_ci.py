"""Hosted CI tests the bounds that pyproject.toml promises, with what cannot change underneath."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
BOUND = re.compile(r"^([\w-]+)>=([\d.]+)$")


def test_the_oldest_dependencies_are_the_lower_bounds_of_the_project():
    needed = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    bounds = {name: version for name, version in (BOUND.match(each).groups() for each in needed)}
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)", _text("oldest.txt"), re.MULTILINE))
    assert pinned.keys() >= bounds.keys()
    for name, version in bounds.items():  # a pin may say more: 8.0.0 is 8
        assert (pinned[name] + ".0.0").startswith(version + "."), name


def test_the_oldest_dependencies_are_tested_on_the_oldest_python():
    (oldest,) = re.findall(r">=(3\.\d+)", PROJECT["requires-python"])
    runs = re.findall(r'python: "(3\.\d+)", dependencies: oldest', _text("workflows/tests.yml"))
    assert runs and set(runs) == {oldest}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_to_a_commit_that_names_its_version(workflow):
    lines = re.findall(r"uses: (.*)", workflow.read_text("utf-8"))
    assert lines
    for line in lines:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def _text(name):
    return (ROOT / ".github" / name).read_text("utf-8")
