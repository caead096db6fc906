"""Who may import whom, what ``import fastnn`` costs, and how large a module may grow."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import fastnn

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "fastnn"

# Which rooms there are, lowest first: a child of a package imports from the rows above its own and
# from itself, never from its own row or below. Children are modules and folders; where a folder has
# no rows of its own here, its modules import one another in any order but a circle.
HOUSE: dict[str, tuple[tuple[str, ...], ...]] = {
    "fastnn": (
        ("errors",),
        ("threads", "rules", "sanitizer", "tables", "arguments", "elsewhere"),
        ("storage",),
        ("initializers", "schedules"),
        ("optimizers", "losses"),
        ("graph",),
        ("layers",),
        ("normalization", "periodic"),
        ("network",),
        ("inputs",),
        # Other libraries' networks: of values alone, so that whatever trains may offer it.
        ("random", "datasets", "interchange", "tabular"),
        ("ranks",),
        ("targets",),
        ("training",),
        ("plots", "estimators", "typing"),
        ("examples",),
        ("cli",),
        ("command",),
        ("__main__", "build", "guide"),
    ),
    "fastnn.cli": (
        ("screen", "settings", "kernels", "ranks", "option_hints"),
        ("data", "model"),
        ("scores", "resume", "blocks"),
        ("rows",),
        ("population", "streamed"),
        ("train", "predict", "show", "demo", "bench", "info", "cache"),
        ("commands",),
    ),
    "fastnn.tabular": (
        ("table", "words", "dates", "edges", "zones", "curve", "deviations"),
        ("durations", "hints", "cells", "spelling", "matrices"),
        ("categories", "columns"),
        ("rules", "files", "encodings"),
        ("label", "fields", "relevance", "met"),
        ("preparation",),
        ("prepared_rows",),
    ),
    "fastnn.targets": (
        ("engine", "layout", "fields"),
        ("compiled",),
        ("numpy", "cpu", "cuda"),
        ("selection",),
    ),
    "fastnn.targets.cpu": (
        ("dtypes",),
        ("llvm", "kinds", "lanes", "laziness", "scalars", "shuffle", "thread_count"),
        ("parts",),
        ("tiling",),
        ("plan",),
        ("known_plans", "one_layer", "arguments", "products", "bfloat16"),
        ("views", "checked"),
        ("shares",),
        ("team", "working_memory"),
        ("step", "user_rules", "begun", "sums", "resting"),
        ("forward",),
        ("engine",),
        ("side_by_side",),
    ),
    "fastnn.targets.cuda": (
        ("host",),
        ("device",),
        ("block",),
        ("grid", "tiled"),
        ("dispatch",),
        ("engine", "batched_models"),
    ),
    "fastnn.training": (
        ("text_table", "progress", "plain_values", "reach", "series", "views"),
        ("restart_results",),
        ("history", "scores"),
        ("metrics", "combining"),
        ("predictor", "saved_trainer", "selection"),
        ("model_files", "snapshot"),
        ("trainer_state", "reading"),
        ("settings", "convertible", "callbacks", "divergence", "learning_check"),
        ("together",),
        ("loop",),
        ("members", "inspection", "shared_inputs", "population_result"),
        ("executors",),
        ("many",),
        ("restarts", "ensemble"),
        ("trainer",),
        ("sweep_result", "population"),
        ("sweep_settings",),
        ("sweep",),
    ),
}
RANKS = {
    package: {child: rank for rank, row in enumerate(rows) for child in row}
    for package, rows in HOUSE.items()
}

# Beyond NumPy, the standard library and fastnn itself: who may import what at all...
ALLOWED = {
    "numba": (
        "graph",
        "sanitizer",
        "storage.kernels.compiling",
        "storage.kernels.machine_code",
        "targets.cpu",
        "targets.cuda",
    ),
    "llvmlite": ("sanitizer", "storage.kernels", "targets.cpu", "targets.cuda"),
    "setuptools": ("storage.kernels.setup_commands",),
    "cuda": ("targets.cuda",),
    "scipy": ("graph", "tabular", "targets.numpy", "targets.cpu", "estimators"),
    "sklearn": ("examples", "estimators"),
    "matplotlib": ("graph", "plots"),
    "pandas": ("examples", "tables"),
    "pyarrow": ("inputs.frames", "inputs.table_files", "tabular.files"),
    "tqdm": ("training.progress",),
    "safetensors": ("storage.tensor_file",),
    "torch": ("interchange",),
    "onnx": ("interchange",),
    "tensorboard": ("training.callbacks",),
    "tensorboardX": ("training.callbacks",),
    "mpi4py": ("cli.ranks",),
}
# ... and what only inside functions, because not every use of its module needs it.
LAZY = {
    "tqdm", "safetensors", "pandas", "pyarrow", "torch", "onnx", "tensorboard", "tensorboardX",
    "mpi4py",
}  # fmt: skip
LAZY_PLACES = (
    "graph",
    "tabular",
    "storage.kernels.machine",
    "storage.kernels.machine_code",
    "plots",
    "examples",
)

TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "MANIFEST.in",
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


def module_of(path: Path) -> str:
    """Return the dotted name of a file: of fastnn/graph/__init__.py, fastnn.graph."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def place_of(path: Path) -> str:
    return module_of(path).removeprefix("fastnn.")


def lies_in(place: str, places: Iterable[str]) -> bool:
    """Return whether a place is one of some, or in one of them."""
    return any(f"{place}.".startswith(f"{each}.") for each in places)


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


@cache
def imports_of(path: Path) -> list[Import]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    return list(imports(ast.parse(path.read_text("utf-8")), package))


MODULES = [path for path in sources("fastnn") if path != PACKAGE / "__init__.py"]
NAMES = {module_of(path) for path in MODULES}


def imported_modules(path: Path, in_functions: bool = True) -> Iterator[tuple[str, int]]:
    """Yield the modules of fastnn that a file imports, each with a line: "fastnn" for itself."""
    for name, line, in_function in imports_of(path):
        if name.split(".")[0] == "fastnn" and (in_functions or not in_function):
            while name != "fastnn" and name not in NAMES:
                name = name.rpartition(".")[0]
            yield name, line


def parting(module: str, other: str) -> tuple[str, str, str]:
    """Return the package in which two modules part, and the child of it that each lies in."""
    package = "fastnn"
    while True:
        rest = [name.removeprefix(f"{package}.").split(".")[0] for name in (module, other)]
        child = f"{package}.{rest[0]}"
        if rest[0] != rest[1] or child in (module, other):
            return package, rest[0], rest[1]
        package = child


def test_every_module_has_a_place_in_the_house():
    homeless = [
        f"give {package}.{child} a row in HOUSE"
        for package, ranks in RANKS.items()
        for name in sorted(NAMES)
        if name.startswith(f"{package}.")
        and (child := name.removeprefix(f"{package}.").split(".")[0]) not in ranks
    ]
    assert not homeless


@pytest.mark.parametrize("package", HOUSE)
def test_every_place_in_the_house_is_there(package):
    folder = ROOT.joinpath(*package.split("."))
    for child in RANKS[package]:
        assert (folder / f"{child}.py").is_file() or (folder / child / "__init__.py").is_file()


@pytest.mark.parametrize("library", ALLOWED)
def test_a_place_that_may_import_a_library_does(library):
    naming = {place_of(path) for path in MODULES if library in path.read_text("utf-8")}
    assert [each for each in ALLOWED[library] if not any(lies_in(n, [each]) for n in naming)] == []


def test_imports_run_one_way_between_rooms():
    wrong = []
    for path in MODULES:
        for other, line in imported_modules(path):
            if other == "fastnn":  # its version, and in examples whatever a user would import
                continue
            package, here, there = parting(module_of(path), other)
            ranks = RANKS.get(package)
            if here != there and ranks is not None and ranks[there] >= ranks[here]:
                wrong.append(f"{name_of(path)}:{line}: {package}.{here} must not import {other}")
    assert not wrong


def test_no_module_imports_itself_in_a_circle():
    """Of imports as a module begins: one inside a function is there because it must be late."""
    graph = {module_of(path): {to for to, _ in imported_modules(path, False)} for path in MODULES}
    while free := [name for name, to in graph.items() if not to & graph.keys() - {name}]:
        for name in free:
            del graph[name]
    assert not graph


def test_only_examples_import_public_names_from_the_top():
    """All others know where a name lives, so that imports show who needs whom."""
    allowed = NAMES | {"fastnn.__version__", "fastnn.__started_in__"}
    wrong = [
        f"{name_of(path)}:{line}: {name}"
        for path in MODULES
        if not lies_in(place_of(path), ["examples"])
        for name, line, _ in imports_of(path)
        if name.startswith("fastnn.") and name.count(".") == 1 and name not in allowed
    ]
    assert not wrong


def test_modules_import_other_libraries_only_where_they_belong():
    wrong = []
    for path in [PACKAGE / "__init__.py", *MODULES]:
        place = place_of(path)
        for module, line, in_function in imports_of(path):
            library = module.split(".")[0]
            if library in sys.stdlib_module_names or library in ("fastnn", "numpy"):
                continue
            lazy = library in LAZY or lies_in(place, LAZY_PLACES)
            if not lies_in(place, ALLOWED.get(library, ())) or (lazy and not in_function):
                wrong.append(f"{name_of(path)}:{line}: {place} must not import {library} here")
    assert not wrong


def test_only_the_modules_at_the_border_import_cuda():
    host = PACKAGE / "targets" / "cuda" / "host"
    names = "numba_cuda.py", "launching.py", "kernel_cache.py", "installed.py"
    border = [host / name for name in names]
    wrong = [
        f"{name_of(path)}:{each.line}"
        for path in MODULES
        for each in imports_of(path)
        if each.module.startswith("numba.cuda") and path not in border
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import numba", ["numba"]),
        ("from numba import cuda", ["numba.cuda"]),
        ("from . import table", ["fastnn.graph.table"]),
        ("from ..rules import losses", ["fastnn.rules.losses"]),
        ("from ..errors import InvalidInput as E", ["fastnn.errors.InvalidInput"]),
        ("if TYPE_CHECKING:\n import a\nelse:\n import b", ["b"]),
        ("try:\n import a\nexcept ImportError:\n import b", ["a", "b"]),
        ("class A:\n def f(self):\n  import a", ["a"]),
    ],
)
def test_every_way_to_write_an_import_is_seen(statement, expected):
    found = list(imports(ast.parse(statement), "fastnn.graph"))
    assert [each.module for each in found] == expected
    assert [each.in_function for each in found] == ["def " in statement] * len(found)


def loaded_after(code: str) -> set[str]:
    """Return the top-level names of the modules that a new interpreter has after `code`."""
    report = "import sys, json; print(json.dumps([name.split('.')[0] for name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


HEAVY = {
    "numba", "llvmlite", "scipy", "tqdm", "safetensors", "sklearn", "matplotlib", "pandas", "torch",
    "onnx",
}  # fmt: skip


@pytest.mark.parametrize(
    "code",
    [
        "import fastnn",
        "from fastnn import *",
        "from fastnn import Network, Dense, SGD; Network(4, [Dense(2, init='zeros')]); SGD(0.1)",
        "import fastnn; fastnn.datasets.digits()",
        "import fastnn.cli.commands as c; c._parser().format_help()",
        "from fastnn.plots import loss_curves",
        "from fastnn import Dense, Network, Trainer; Trainer(Network(4, [Dense(2)])).parameters",
        "from fastnn import Dense, Network, Trainer as T; T(Network(4, [Dense(2)]), target='auto')",
        "from fastnn.graph import exp, minimize, trace; trace(lambda x: exp(x) + 1).gradient(x=1)",
    ],
)
def test_importing_and_setting_up_load_neither_numba_nor_scipy_nor_an_extra(code):
    assert not loaded_after(code) & HEAVY


def test_the_command_line_helps_without_numpy():
    assert "numpy" not in loaded_after("import fastnn.cli.commands as c; c._parser().format_help()")


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


def test_every_module_has_a_docstring_and_one_subject():
    wrong = []
    for path in sources(*MOST_LINES):
        text = path.read_text("utf-8")
        if not ast.get_docstring(ast.parse(text)):
            wrong.append(f"{name_of(path)} does not say in its first line what it is")
        if len(text.splitlines()) > MOST_LINES[path.relative_to(ROOT).parts[0]]:
            wrong.append(f"{name_of(path)} is too long")
    assert not wrong


def test_the_top_level_holds_only_what_belongs_there():
    names = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert names - BUILD_OUTPUT - {"__pycache__"} == TOP_LEVEL


def test_no_handler_of_any_error_renames_what_a_process_runs_out_of():
    """Memory, say: it is no fault of the data, and whoever catches it does so by its name."""
    wrong = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Try):
                continue
            let_out = False
            for handler in node.handlers:
                caught = ast.unparse(handler.type) if handler.type else "BaseException"
                if "EXHAUSTED" in caught:
                    let_out = True
                broad = caught in ("Exception", "RuntimeError")
                renames = any(
                    isinstance(each, ast.Raise) and each.exc is not None and each.cause is not None
                    for each in ast.walk(handler)
                )
                if broad and renames and not let_out:
                    wrong.append(f"{name_of(path)}:{handler.lineno}")
    assert not wrong


def test_filters_of_warnings_which_all_threads_share_are_changed_where_there_is_one_thread():
    """That is the command line, and the first import of numba-cuda."""
    changing = ("warnings.catch_warnings", "warnings.simplefilter", "warnings.filterwarnings")
    found = {
        name_of(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in changing
    }
    assert found == {"fastnn/cli/commands.py", "fastnn/targets/cuda/host/numba_cuda.py"}
