"""Compiled kernels on disk: used by every later process, not mixed up, free of allocations."""

import sys
import types
from collections import defaultdict
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic
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
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        stored = sorted(Path(entry.stats.cache_path).glob(f"*{name}-*.code"))
        assert stored, name
        found[name] = b"".join(path.read_bytes() for path in stored)
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


def name_of(function):
    return f"{function.__module__}.{function.__qualname__}"


def captured_by(function):
    """Yield the names and values that a function reads and that are not its own."""
    names = [function.__code__]
    for code in names:
        names += [each for each in code.co_consts if isinstance(each, types.CodeType)]
    read = {name for code in names for name in code.co_names}
    for name in sorted(read & function.__globals__.keys()):
        yield name, function.__globals__[name]
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        yield name, cell.cell_contents


def describe(value, found):
    """Return what a captured value is, and add the compiled functions in it to `found`."""
    if isinstance(value, Dispatcher):
        found.append(value.py_func)
        return name_of(value.py_func)
    if isinstance(value, _Intrinsic):
        value = value._defn
    if isinstance(value, types.FunctionType):
        inside = [(name, describe(each, found)) for name, each in captured_by(value)]
        numbers = [
            each for each in value.__code__.co_consts if not isinstance(each, types.CodeType)
        ]
        return name_of(value), value.__code__.co_code, repr(numbers), inside
    if isinstance(value, types.SimpleNamespace):
        return [(name, describe(each, found)) for name, each in sorted(vars(value).items())]
    return type(value).__name__, repr(value)


def test_compiled_functions_that_differ_have_names_that_differ():
    """What a closure captures has to show in its name, for Numba does not put it there.

    It tells closures apart by a number that counts the functions of one process. So objects that
    were cached by several processes can hold several functions of one name and number, and whoever
    loads them calls the first one for all: see numba issue 10486.
    """
    meanings = defaultdict(list)
    waiting = [entry.py_func for entry in ENTRIES]
    for function in waiting:
        reached = []
        meaning = describe(function, reached)
        if meaning not in meanings[name_of(function)]:
            meanings[name_of(function)].append(meaning)
            waiting += reached
    assert len(meanings) > 50
    assert {name: len(several) for name, several in meanings.items() if len(several) > 1} == {}
