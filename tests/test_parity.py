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
# Where each target's Engine is, the class that all of them are made from, and the one between it
# and those that are compiled.
BASE = PACKAGE / "targets" / "engine.py"
COMPILED = PACKAGE / "targets" / "compiled.py"
SOURCES = {
    "numpy": PACKAGE / "targets" / "numpy" / "epoch.py",
    "cpu": PACKAGE / "targets" / "cpu" / "engine.py",
    "cuda": PACKAGE / "targets" / "cuda" / "engine.py",
}
Parameters = list[tuple[str, bool]]  # their names, and whether each can be left out


class Operations(NamedTuple):
    """What an Engine shows of itself."""

    methods: dict[str, Parameters]
    needed: set[str]  # which of them are abstract
    made_with: Parameters
    bases: list[str]
    statements: list[str]  # of __init__


def parameters(method: ast.FunctionDef) -> Parameters:
    """Return the names of a method's parameters but self, and whether each has a default."""
    given = method.args
    assert not (given.vararg or given.kwarg or given.kwonlyargs), method.name
    names = [each.arg for each in given.posonlyargs + given.args]
    needed = len(names) - len(given.defaults)
    return [(name, place >= needed) for place, name in enumerate(names)][1:]


def operations(source: str, name: str = "Engine") -> Operations:
    """Return what the class Engine in a source shows, or the one of another name."""
    [engine] = [
        each
        for each in ast.parse(source).body
        if isinstance(each, ast.ClassDef) and each.name == name
    ]
    methods = {each.name: each for each in engine.body if isinstance(each, ast.FunctionDef)}
    public = {name: parameters(each) for name, each in methods.items() if name[0] != "_"}
    needed = {
        name
        for name in public
        if "abstractmethod" in map(ast.unparse, methods[name].decorator_list)
    }
    bases = [ast.unparse(each) for each in engine.bases]
    if "__init__" not in methods:
        return Operations(public, needed, [], bases, [])
    start = methods["__init__"]
    statements = [ast.unparse(each) for each in start.body]
    return Operations(public, needed, parameters(start), bases, statements)


OPERATIONS = operations(BASE.read_text())
DEFINED = [
    (target, operation)
    for target, path in SOURCES.items()
    for operation in operations(path.read_text()).methods
]


def lacks(source: str, compiled: str | None = None) -> list[str]:
    """Return in what the Engine of a source differs from what all have in common.

    `compiled` is the source of the class between, for those that are compiled.
    """
    found = operations(source)
    between = operations(compiled or COMPILED.read_text(), "CompiledEngine")
    if found.bases == ["interface.Engine"]:
        between = Operations({}, set(), [], ["Engine"], [])
    methods = {**between.methods, **found.methods}
    have = {*found.methods, *(between.methods.keys() - between.needed)}
    known = {**OPERATIONS.methods, **dict.fromkeys(between.needed, [])}
    faults = [f"no {name}" for name in (OPERATIONS.needed | between.needed) - have]
    faults += [
        f"{name}{given}, not {known.get(name)}"
        for name, given in methods.items()
        if known.get(name) != given
    ]
    made_from = found.bases in (["interface.Engine"], ["CompiledEngine"])
    made_from = made_from and between.bases == ["Engine"]
    if not made_from or "super().__init__(problem)" not in found.statements:
        faults.append("not made from the Engine of all targets")
    if [name for name, _ in found.made_with[:2]] != ["problem", "threads"]:
        faults.append(f"made with {found.made_with}, not with problem and threads")
    faults += [f"cannot be made without {name}" for name, free in found.made_with[2:] if not free]
    return faults


def test_the_operations_of_all_targets_are_those_of_their_base():
    assert OPERATIONS.needed >= {"pack", "unpack", "snapshot", "restore", "train_epochs", "forward"}
    own = {operation for _, operation in DEFINED}
    assert (
        OPERATIONS.methods.keys() >= own - operations(COMPILED.read_text(), "CompiledEngine").needed
    )


@pytest.mark.parametrize("target", SOURCES)
def test_a_target_has_all_operations_and_no_others_with_the_same_arguments(target):
    assert lacks(SOURCES[target].read_text()) == []


@pytest.mark.parametrize(("target", "operation"), DEFINED)
def test_an_operation_that_is_missing_or_has_another_name_is_noticed(target, operation):
    source = SOURCES[target].read_text()
    assert lacks(source.replace(f"    def {operation}(", "    def another("))
    hidden = lacks(source.replace(f"    def {operation}(", f"    def _{operation}("))
    between = operations(COMPILED.read_text(), "CompiledEngine")
    needed = OPERATIONS.needed
    if target != "numpy":
        needed = (needed - between.methods.keys()) | between.needed
    assert bool(hidden) == (operation in needed)


@pytest.mark.parametrize("target", SOURCES)
@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("def forward(self, X: Any)", "def forward(self, rows: np.ndarray)"),
        ("def forward(self, X: Any)", "def forward(self, X: Any, threads: int = 1)"),
        ("epoch: int,\n        step: int", "step: int,\n        epoch: int"),
        ("progress: ", "each_step: "),
        ("super().__init__(problem)", "self.problem = problem"),
        ("(interface.Engine)", ""),
        ("(CompiledEngine)", ""),
        ("(Engine)", ""),
        ("problem: Problem,", "task: Problem,"),
    ],
)
def test_arguments_and_bases_of_other_names_or_order_are_noticed(target, text, change):
    source, compiled = SOURCES[target].read_text(), COMPILED.read_text()
    within = source if target == "numpy" else source + compiled
    elsewhere = ["(CompiledEngine)", "(Engine)"] if target == "numpy" else ["(interface.Engine)"]
    assert (text in within) == (text not in elsewhere)
    if text in within:
        assert lacks(source.replace(text, change), compiled.replace(text, change))
