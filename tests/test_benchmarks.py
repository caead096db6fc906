"""The asv suites say what they measure; .ci/run shows that they work."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import numba
import products
import pytest

SUITES = Path(__file__).resolve().parent.parent / "benchmarks"
KINDS = "time_", "timeraw_", "track_", "peakmem_"


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for path in sorted(SUITES.glob("bench_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and benchmarks(node):
                yield f"{path.stem}.{node.name}", node


def benchmarks(node: ast.ClassDef) -> list[ast.FunctionDef]:
    functions = [each for each in node.body if isinstance(each, ast.FunctionDef)]
    return [each for each in functions if each.name.startswith(KINDS)]


def assigned(node: ast.ClassDef) -> set[str]:
    statements = [each for each in node.body if isinstance(each, ast.Assign)]
    return {ast.unparse(target) for each in statements for target in each.targets}


CLASSES = dict(classes())


def imports(path: Path) -> list[tuple[str, str]]:
    """Return the module and the name of all that a script takes from fastnn."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    found = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return [
        (str(node.module), each.name)
        for node in found
        if node.module and node.module.partition(".")[0] == "fastnn"
        for each in node.names
    ]


@pytest.mark.parametrize("path", sorted(SUITES.rglob("*.py")), ids=lambda path: path.stem)
def test_what_a_script_takes_from_fastnn_is_there(path):
    """Those that need another library are not imported by any other test."""
    for module, name in imports(path):
        there = importlib.import_module(module)
        assert hasattr(there, name) or importlib.util.find_spec(f"{module}.{name}"), (module, name)


def test_there_is_a_suite_for_every_part():
    parts = "cuda epoch gemm layers losses memory optimizers predict restarts rules startup threads"
    assert {name.split(".")[0] for name in CLASSES} == {f"bench_{part}" for part in parts.split()}


@pytest.mark.parametrize("name", CLASSES)
def test_every_figure_says_what_it_is(name):
    missing = [each.name for each in benchmarks(CLASSES[name]) if not ast.get_docstring(each)]
    assert not missing


@pytest.mark.parametrize("name", CLASSES)
def test_figures_that_are_no_seconds_have_a_unit(name):
    tracked = {each.name for each in benchmarks(CLASSES[name]) if each.name.startswith("track_")}
    assert {f"{each}.unit" for each in tracked} <= assigned(CLASSES[name])


@pytest.mark.parametrize("path", sorted(SUITES.rglob("*.py")), ids=lambda path: path.name)
def test_no_script_has_what_asv_would_run(path):
    if path.name.startswith("bench_"):
        return
    names = [
        node.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    ]
    assert not [name for name in names if re.match(r"(time|timeraw|track|mem|peakmem)_", name)]


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.py")), ids=lambda path: path.name)
def test_every_script_can_be_imported_without_other_libraries(path):
    """Asv imports them all."""
    others = {"torch", "jax", "tensorflow", "keras", "xgboost", "lightgbm", "pytabkit", "cupy"}
    for node in ast.parse(path.read_text("utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not others & {name.partition(".")[0] for name in names}


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
@pytest.mark.parametrize("peak", products.PEAKS.values(), ids=lambda peak: peak.__name__)
def test_no_compiler_leaves_out_a_part_of_the_peak(peak):
    compiled = numba.njit(peak)
    compiled(3)
    code = compiled.inspect_llvm(compiled.signatures[0])
    rounds, rest = divmod(len(re.findall(r" call [^\n]*@llvm\.fmuladd\.", code)), products.CHAINS)
    assert rounds > 0 and rest == 0
