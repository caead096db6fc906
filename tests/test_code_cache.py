"""Compiled code on disk: what its folder is named after, and what happens to it at its worst."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checker import unchecked
from numba import config

import fastnn
from fastnn.storage.kernels import kernel_cache
from fastnn.storage.kernels.entries import ENTRIES

PACKAGE = Path(fastnn.__file__).parent


def test_every_module_that_compiled_code_comes_from_changes_the_folder(tmp_path, monkeypatch):
    found = kernel_cache.sources(*kernel_cache.COMPILED)
    assert {
        "fastnn.random.keys",
        "fastnn.targets.cpu.tiling",
        "fastnn.targets.cpu.plan",
        "fastnn.targets.layout",
    } < found.keys()
    assert {
        "fastnn.targets.cpu.step.update",
        "fastnn.rules.losses",
        "fastnn.targets.cpu.shuffle",
    } < found.keys()
    shutil.copytree(PACKAGE, tmp_path / "fastnn", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(kernel_cache, "_ROOT", str(tmp_path))
    seen = {kernel_cache.source_hash(*kernel_cache.COMPILED)}
    for count, name in enumerate(found, 1):
        file = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        file = file if file.exists() else tmp_path.joinpath(*name.split("."), "__init__.py")
        file.write_bytes(file.read_bytes() + b"\n")
        seen.add(kernel_cache.source_hash(*kernel_cache.COMPILED))
        assert len(seen) == count + 1, name
    (tmp_path / "fastnn" / "cli.py").write_text("")
    assert kernel_cache.source_hash(*kernel_cache.COMPILED) in seen


@pytest.mark.parametrize("name", sorted(kernel_cache.sources(*kernel_cache.COMPILED)))
def test_what_such_a_module_imports_at_its_top_is_among_them(name):
    """Python's parser says it otherwise than the pattern that finds them."""
    found = kernel_cache.sources(*kernel_cache.COMPILED)
    modules = kernel_cache._modules()
    for node in ast.parse(found[name]).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fastnn"):
            assert node.module in found
            for each in node.names:
                inner = f"{node.module}.{each.name}"
                assert inner not in modules or inner in found
        elif isinstance(node, ast.Import):
            assert not [each for each in node.names if each.name.startswith("fastnn")]


def test_every_entry_is_in_such_a_module():
    found = kernel_cache.sources(*kernel_cache.COMPILED)
    assert {each.module for each in ENTRIES.values()} < found.keys()


DESCEND = """
import os, sys
from fastnn.graph import minimize
for change in sys.argv[1:]:
    minimize(lambda x: (x - 2)**2, start=0.0, steps=1)
    os.chdir(change)
print(minimize(lambda x: (x - 3)**2, start=0.0, learning_rate=0.5, steps=1).x[0])
"""


def descend(folder, *arguments, **environment):
    """Minimise in a new process; return what it warns of."""
    environment = {"HOME": str(folder), "NUMBA_DISABLE_JIT": "0"} | environment
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", DESCEND, *map(str, arguments)],
        env=os.environ | environment,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "3.0\n"), done.stderr
    return [line for line in done.stderr.splitlines() if "Warning:" in line]


def files_in(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.parametrize("chosen", ["near", "~/near"])
def test_caches_are_where_they_were_meant_to_be(tmp_path, chosen):
    (tmp_path / "away").mkdir()
    assert descend(tmp_path, "away", FASTNN_CACHE_DIR=chosen) == []
    assert len(files_in(tmp_path / "near")) == 2
    assert files_in(tmp_path) == files_in(tmp_path / "near")


@unchecked
def test_a_damaged_cache_says_so_once_and_is_mended(tmp_path):
    descend(tmp_path, FASTNN_CACHE_DIR=str(tmp_path))
    for file in files_in(tmp_path):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (said,) = descend(tmp_path, FASTNN_CACHE_DIR=str(tmp_path))
    assert "CacheWarning: fastnn's cache: " in said and "compiled anew" in said
    assert descend(tmp_path, FASTNN_CACHE_DIR=str(tmp_path)) == []


@unchecked
@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled")
def test_a_warm_start_compiles_nothing_and_reads_one_file_a_function(tmp_path):
    descend(tmp_path, FASTNN_CACHE_DIR=str(tmp_path))
    (file,) = files_in(tmp_path)
    stamp = file.stat().st_mtime_ns
    descend(tmp_path, FASTNN_CACHE_DIR=str(tmp_path))
    assert [each.stat().st_mtime_ns for each in files_in(tmp_path)] == [stamp]
