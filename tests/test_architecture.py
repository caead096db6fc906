"""Who may import whom, what ``import fastnn`` costs, and how large a module may grow."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import fastnn

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "fastnn"

# Lowest first. A part, which is a module or a folder of fastnn, imports from itself and from the
# rows above its own, never from its own row or below.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("atomic", "pool", "processors", "machine"),
    ("sanitizer", "device_arrays", "workers", "machine_code"),
    ("checks", "whole_files"),
    ("folders", "keys", "layout", "memory", "rules", "text_table"),
    ("initialisers", "schedules", "code_cache", "restarts"),
    ("kernel_cache", "compiling", "entries"),
    ("compiled",),
    ("graph",),
    ("optimizers", "custom"),
    ("spec",),
    ("problem", "history", "datasets", "arrays", "progress"),
    ("data", "serialise", "checkpoint", "callback_states", "parameters", "orders"),
    ("tiling", "shuffling"),
    ("plan",),
    ("reference", "cpu", "cuda"),
    ("target", "predictions", "state"),
    ("model", "predictor"),
    ("stateful",),
    ("callbacks", "restoring"),
    ("training", "storing"),
    ("together",),
    ("restarting",),
    ("trainer",),
    ("plots",),
    ("sweep_result",),
    ("sweep_settings",),
    ("sweeps",),
    ("examples",),
    ("cli",),
    ("__main__", "build", "setup_commands"),
)
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}

# Beyond NumPy, the standard library and fastnn itself: who may import what at all...
ALLOWED = {
    "numba": {"cpu", "cuda", "graph", "compiling", "machine_code", "sanitizer"},
    "llvmlite": {"cpu", "cuda", "compiling", "machine", "machine_code", "sanitizer"},
    "cuda": {"cuda"},
    "scipy": {"reference", "cpu", "graph"},
    "sklearn": {"examples"},
    "matplotlib": {"plots", "graph"},
    "pandas": {"sweep_result"},
    "tqdm": {"progress"},
    "setuptools": {"setup_commands"},
    "safetensors": {"checkpoint"},
    "tensorboard": {"callbacks"},
    "tensorboardX": {"callbacks"},
}
# ... and what only inside functions, because not every use of its module needs it.
LAZY = {"tqdm", "safetensors", "pandas", "tensorboard", "tensorboardX"}
LAZY_PARTS = {"graph", "machine", "machine_code", "plots", "examples"}
# What `import fastnn` leaves to whoever uses it.
HEAVY = {"numba", "llvmlite", "scipy", "tqdm", "safetensors", "sklearn", "matplotlib", "pandas"}
CUDA_BORDER = [PACKAGE / "cuda" / name for name in ("device.py", "launching.py", "kept.py")]

TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "fastnn",
    "tests",
    "benchmarks",
    "asv.conf.json",
}
# What the README's own commands leave in a checkout; .gitignore has them too.
BUILD_OUTPUT = {"build", "dist", "fastnn.egg-info"}

MOST_LINES = {"fastnn": 700, "benchmarks": 700, "tests": 700}


class Import(NamedTuple):
    """One imported module as written in a file, with its line and whether a function holds it."""

    module: str
    line: int
    in_function: bool


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def part_of(path: Path) -> str:
    """Return the first name below fastnn: of fastnn/cpu/gemm.py, cpu; of fastnn/data.py, data."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST, package: str, in_function: bool = False) -> Iterator[Import]:
    """Yield what is imported at run time; ``if TYPE_CHECKING`` imports are for the type checker."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from imports(ast.Module(node.orelse, []), package, in_function)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, in_function)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = [*above, node.module] if node.level else [node.module]
            module = ".".join(name for name in base if name)
            for alias in node.names:
                yield Import(f"{module}.{alias.name}", node.lineno, in_function)
        else:
            function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from imports(node, package, in_function or function)


def imports_of(path: Path) -> list[Import]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    return list(imports(ast.parse(path.read_text("utf-8")), package))


MODULES = [path for path in sources("fastnn") if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_has_a_place_in_the_layers(path):
    assert part_of(path) in RANK, f"give {part_of(path)} a row in LAYERS"


def test_every_name_in_the_tables_is_that_of_a_part_that_exists():
    parts = {part_of(path) for path in MODULES}
    assert RANK.keys() == parts
    assert sum(map(len, LAYERS)) == len(RANK)  # none has two rows
    assert LAZY_PARTS <= parts
    assert {part for allowed in ALLOWED.values() for part in allowed} <= parts
    assert {*LAZY, *HEAVY} <= {*ALLOWED}
    assert all(path in MODULES for path in CUDA_BORDER)


@pytest.mark.parametrize("library", ALLOWED)
def test_a_part_that_may_import_a_library_does(library):
    naming = {part_of(path) for path in MODULES if library in path.read_text("utf-8")}
    assert ALLOWED[library] - naming == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_imports_only_from_layers_above_its_own(path):
    part = part_of(path)
    wrong = []
    for module, line, _ in imports_of(path):
        names = module.split(".")
        if names[0] != "fastnn" or module in ("fastnn.__version__", "fastnn.__started_in__"):
            continue
        other = names[1] if len(names) > 1 else "fastnn itself"
        if part == "examples" and other in fastnn.__all__:
            continue  # they are written as a user would write them
        if other != part and RANK.get(other, len(LAYERS)) >= RANK[part]:
            wrong.append(f"{name_of(path)}:{line}: {part} must not import {module}")
    assert not wrong


@pytest.mark.parametrize("path", [PACKAGE / "__init__.py", *MODULES], ids=name_of)
def test_module_imports_other_libraries_only_where_they_belong(path):
    part = part_of(path)
    wrong = []
    for module, line, in_function in imports_of(path):
        library = module.split(".")[0]
        if library in sys.stdlib_module_names or library in ("fastnn", "numpy"):
            continue
        if part == "cli" and in_function:
            continue  # it reports versions
        lazy = library in LAZY or part in LAZY_PARTS
        if part not in ALLOWED.get(library, ()) or (lazy and not in_function):
            wrong.append(f"{name_of(path)}:{line}: {part} must not import {library} here")
    assert not wrong


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_modules_at_the_border_import_cuda(path):
    cuda = [each for each in imports_of(path) if each.module.startswith("numba.cuda")]
    assert not cuda or path in CUDA_BORDER


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import numba", ["numba"]),
        ("from numba import cuda", ["numba.cuda"]),
        ("from . import gemm", ["fastnn.cpu.gemm"]),
        ("from ..cuda import device", ["fastnn.cuda.device"]),
        ("from ..errors import InvalidInput as E", ["fastnn.errors.InvalidInput"]),
        ("if TYPE_CHECKING:\n import a\nelse:\n import b", ["b"]),
        ("try:\n import a\nexcept ImportError:\n import b", ["a", "b"]),
        ("class A:\n def f(self):\n  import a", ["a"]),
    ],
)
def test_every_way_to_write_an_import_is_seen(statement, expected):
    found = list(imports(ast.parse(statement), "fastnn.cpu"))
    assert [each.module for each in found] == expected
    assert [each.in_function for each in found] == ["def " in statement] * len(found)


def loaded_after(code: str) -> set[str]:
    """Return the top-level names of the modules that a new interpreter has after `code`."""
    report = "import sys, json; print(json.dumps([name.split('.')[0] for name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "code",
    [
        "import fastnn",
        "from fastnn import *",
        "from fastnn import Network, Dense, SGD; Network(4, [Dense(2, init='zeros')]); SGD(0.1)",
        "import fastnn; fastnn.datasets.digits()",
        "import fastnn.cli",
        "from fastnn.plots import loss_curves",
        "from fastnn import Dense, Network, Trainer; Trainer(Network(4, [Dense(2)])).parameters",
        "from fastnn import Dense, Network, Trainer as T; T(Network(4, [Dense(2)]), target='auto')",
        "from fastnn.graph import exp, minimize, trace; trace(lambda x: exp(x) + 1).gradient(x=1)",
    ],
)
def test_importing_and_setting_up_load_neither_numba_nor_scipy_nor_an_extra(code):
    assert not loaded_after(code) & HEAVY


def test_fastnn_imports_within_a_tenth_of_a_second_of_numpy():
    code = (
        "import numpy, time; start = time.perf_counter()\n"
        "import fastnn; print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3)]
    assert min(float(run.stdout) for run in runs) <= 0.1


def test_every_public_name_can_be_imported():
    assert {name for name in fastnn.__all__ if getattr(fastnn, name, None) is None} == set()
    assert set(fastnn.__all__) <= set(dir(fastnn))


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Netwrok'"):
        _ = fastnn.Netwrok


@pytest.mark.parametrize("path", sources(*MOST_LINES), ids=name_of)
def test_module_has_a_docstring_and_one_subject(path):
    text = path.read_text("utf-8")
    assert ast.get_docstring(ast.parse(text)), "a module says in its first line what it is"
    assert len(text.splitlines()) <= MOST_LINES[path.relative_to(ROOT).parts[0]]


def test_the_top_level_holds_only_what_belongs_there():
    names = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert names - BUILD_OUTPUT - {"__pycache__"} == TOP_LEVEL
