"""Compiled kernels on disk: used by every later process, not mixed up, free of allocations."""

import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from target_cases import DTYPES, needs_jit, run_python

from fastnn.cpu import epoch, linear

pytestmark = needs_jit

ENTRIES = [
    getattr(module, f"{name}_{dtype}")
    for module in (epoch, linear)
    for name in ("train_epoch", "forward")
    for dtype in DTYPES
]

# Every entry point, every call of an engine; prints what was compiled and what came from the cache.
USE_EVERYTHING = """
from contextlib import closing
import numba.core.event as event

with event.install_recorder("numba:compile") as recorder:
    from target_cases import DTYPES, data_of, problem_of, started, train
    from fastnn.cpu.engine import Engine
    from fastnn.spec import Adam, Dense, Dropout

    for dtype in DTYPES:
        for layers, threads in (
            ([Dense(1)], 1),
            ([Dropout(0.1), Dense(9, "gelu"), Dense(3, "softmax")], 1),
            ([Dense(300, "relu"), Dense(301, "relu"), Dense(3)], 2),
        ):
            problem = problem_of(5, layers, "mse", Adam(), dtype=dtype)
            data = data_of(problem, 20, weighted=True)
            with closing(started(Engine, problem, threads)) as engine:
                train(engine, problem, data)
                engine.forward(data.X)
                engine.gradients(data)
print(len(recorder.buffer))
from test_cpu_cache import ENTRIES
for entry in ENTRIES:
    print(len(entry.stats.cache_hits), len(entry.stats.cache_misses))
"""


@pytest.fixture(scope="module")
def code():
    """Return the stored object code of each entry point, by its name with its module's."""
    run_python(USE_EVERYTHING)  # compiles whatever no process before it has
    found = {}
    for entry in ENTRIES:
        function = entry.py_func
        pattern = f"{function.__module__.rpartition('.')[2]}.{function.__name__}-*.nbc"
        stored = sorted(Path(entry.stats.cache_path).glob(pattern))
        assert stored, pattern
        found[pattern[:-6]] = b"".join(path.read_bytes() for path in stored)
    return found


def test_a_second_process_compiles_nothing(code):
    compilations, *entries = run_python(USE_EVERYTHING).splitlines()
    assert compilations == "0"
    assert entries == ["1 0"] * len(ENTRIES)


def test_compiled_code_does_not_allocate(code):
    # That names of what is called can be seen there at all: threads without work sleep.
    assert b"usleep" in code["epoch.train_epoch_float32"] or sys.platform == "win32"
    for name, stored in code.items():
        for allocation in (b"NRT_", b"malloc", b"calloc"):
            assert allocation not in stored, f"{allocation!r} in {name}"


def closures_of(stored):
    """Return the symbols of compiled closures: name and types -> numbers of the functions.

    Numba names a function by module, qualified name, a number that counts the functions of the
    process that compiles, options and argument types.
    """
    symbols = defaultdict(set)
    for symbol in set(re.findall(rb"_ZN6fastnn3cpu\w+", stored)):
        parts = re.fullmatch(rb"(\w+?)B\d+v(\d+)(B\w+)", symbol)
        if parts and b"clocals" in symbol:
            symbols[parts[1] + parts[3]].add(int(parts[2]))
    return symbols


def test_closures_that_differ_have_names_that_differ(code):
    """A number alone does not tell functions apart that different processes have compiled.

    Where two entry points are loaded whose closures have the same name, number and types, the linker
    takes the first one's code for both: see numba issue 10486.
    """
    for name, stored in code.items():
        closures = closures_of(stored)
        assert closures
        ambiguous = {symbol for symbol, numbers in closures.items() if len(numbers) > 1}
        assert not ambiguous, f"{name}: one name, several functions"


@pytest.mark.parametrize("module", ["epoch", "linear"])
@pytest.mark.parametrize("entry", ["train_epoch", "forward"])
def test_closures_of_the_two_dtypes_have_names_that_differ(code, module, entry):
    single, double = (closures_of(code[f"{module}.{entry}_{dtype}"]) for dtype in DTYPES)
    assert not set(single) & set(double)
