"""Every target has every operation, with the same arguments; needs neither Numba nor a device.

Read from the sources, so that a target is looked at also where it cannot be imported. What the
operations do, and that each knows every rule, is the suite's in tests/targets (test_parity_of_rules
and all others).
"""

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

import fastnn

PACKAGE = Path(fastnn.__file__).parent
# Where each target's Engine is, the protocol's first.
SOURCES = {
    "protocol": PACKAGE / "targets" / "selection.py",
    "numpy": PACKAGE / "targets" / "numpy" / "epoch.py",
    "cpu": PACKAGE / "targets" / "cpu" / "engine.py",
    "cuda": PACKAGE / "targets" / "cuda" / "engine.py",
}


class Operations(NamedTuple):
    """What an Engine shows of itself."""

    methods: dict[str, list[tuple[str, bool]]]  # parameters, and whether each can be left out
    attributes: set[str]
    made_with: list[tuple[str, bool]]


def parameters(method: ast.FunctionDef) -> list[tuple[str, bool]]:
    """Return the names of a method's parameters but self, and whether each has a default."""
    given = method.args
    assert not (given.vararg or given.kwarg or given.kwonlyargs), method.name
    names = [each.arg for each in given.posonlyargs + given.args]
    needed = len(names) - len(given.defaults)
    return [(name, place >= needed) for place, name in enumerate(names)][1:]


def operations(source: str) -> Operations:
    """Return what the class Engine in a source shows; it inherits from nobody but Protocol."""
    [engine] = [
        each
        for each in ast.parse(source).body
        if isinstance(each, ast.ClassDef) and each.name == "Engine"
    ]
    assert [ast.unparse(base) for base in engine.bases] in ([], ["Protocol"])
    methods = {each.name: each for each in engine.body if isinstance(each, ast.FunctionDef)}
    attributes = {
        each.target.id
        for each in engine.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    } | {
        each.attr
        for each in ast.walk(methods.get("__init__", engine))
        if isinstance(each, ast.Attribute)
        and isinstance(each.ctx, ast.Store)
        and ast.unparse(each.value) == "self"
    }
    public = {name: parameters(each) for name, each in methods.items() if name[0] != "_"}
    made_with = parameters(methods["__init__"]) if "__init__" in methods else []
    return Operations(public, attributes, made_with)


PROTOCOL = operations(SOURCES["protocol"].read_text())
TARGETS = [name for name in SOURCES if name != "protocol"]


def lacks(source: str) -> list[str]:
    """Return in what the Engine of a source differs from the protocol."""
    found = operations(source)
    faults = [
        f"{name}{given}, not {found.methods.get(name)}"
        for name, given in PROTOCOL.methods.items()
        if found.methods.get(name) != given
    ]
    faults += [
        f"{name} is of this target alone" for name in found.methods.keys() - PROTOCOL.methods
    ]
    faults += [f"no attribute {name}" for name in PROTOCOL.attributes - found.attributes]
    if [name for name, _ in found.made_with[:2]] != ["problem", "threads"]:
        faults.append(f"made with {found.made_with}, not with problem and threads")
    faults += [f"cannot be made without {name}" for name, free in found.made_with[2:] if not free]
    return faults


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_has_all_operations_and_no_others_with_the_same_arguments(target):
    assert lacks(SOURCES[target].read_text()) == []


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("operation", PROTOCOL.methods)
def test_an_operation_that_is_missing_or_has_another_name_is_noticed(target, operation):
    source = SOURCES[target].read_text()
    assert lacks(source.replace(f"    def {operation}(", "    def another("))
    assert lacks(source.replace(f"    def {operation}(", f"    def _{operation}("))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("def forward(self, X: np.ndarray)", "def forward(self, rows: np.ndarray)"),
        ("def forward(self, X: np.ndarray)", "def forward(self, X: np.ndarray, threads: int = 1)"),
        ("epoch: int,\n        step: int", "step: int,\n        epoch: int"),
        ("progress: ", "each_step: "),
        ("self.threads", "self.team"),
        ("seconds_per_row = ", "seconds_a_row = "),
        ("problem: Problem,", "task: Problem,"),
    ],
)
def test_arguments_and_attributes_of_other_names_or_order_are_noticed(target, text, change):
    source = SOURCES[target].read_text()
    assert text in source
    assert lacks(source.replace(text, change))
