"""What ``FASTNN_CHECK=1`` finds: a process compiles small functions with faults on purpose."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from numba import config

from fastnn import InvalidInput, sanitizer
from fastnn.sanitizer.table import run_lengths
from fastnn.targets.layout import Allocator

needs_jit = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="needs compiled code")

# Each function touches number `at` of an array of N last, or a vector that ends or begins there.
# What it does elsewhere is allowed. What lies before and behind is nobody's.
PLANTED = """
import json
import numpy as np
from numba import njit
import fastnn.storage.kernels.compiling
from fastnn.targets.cpu.llvm.intrinsics import address_of, atomic_add, load_float32
from fastnn.targets.cpu.llvm.vectors import make_copy
from fastnn.storage.kernels.machine import vector_bytes
from fastnn.sanitizer.table import Range, allowing, run_lengths, take_stray, whole

LANES, N = vector_bytes() // 4, 48
copy = make_copy(np.dtype(np.float32))


def fastnn_write(x, y, at):
    x[np.uint64(at)] = 1


def fastnn_read(x, y, at):
    x[0] = y[np.uint64(at)]


def fastnn_sum(x, y, at):
    for i in range(at, at + 1):
        x[0] += y[np.uint64(i)]


def fastnn_two_dimensions(x, y, at):
    z = y.reshape(N // 4, 4)
    x[0] = z[np.uint64(at >> 2), np.uint64(at & 3)]


def fastnn_vector_write(x, y, at):
    copy(x, at - (LANES - 1 if at > 0 else 0), address_of(y, 0))


def fastnn_vector_read(x, y, at):
    copy(x, 0, address_of(y, at - (LANES - 1 if at > 0 else 0)))


def fastnn_address(x, y, at):
    x[0] = load_float32(address_of(y, at))


def fastnn_atomic(x, y, at):
    atomic_add(x.view(np.int64), at >> 1, 1)


def numbers():
    return np.zeros(N + 128, np.float32)[64 : 64 + N]


found = {}
functions = (
    fastnn_write, fastnn_read, fastnn_sum, fastnn_two_dimensions, fastnn_vector_write,
    fastnn_vector_read, fastnn_address, fastnn_atomic,
)
for function in functions:
    compiled = njit(nogil=True)(function)
    for at in (0, N - 1, N, -1):
        x, y = numbers(), numbers()
        with allowing([whole(x), whole(y)]):
            compiled(x, y, at)
        stray = take_stray()
        found[f"{function.__name__} {at}"] = stray and [stray.write, stray.size, str(stray)]
write, x, y = njit(nogil=True)(fastnn_write), numbers(), numbers()
runs = run_lengths(np.arange(N) != 20)
for at in (19, 20, 21):
    with allowing([Range(x.ctypes.data, x.ctypes.data + x.nbytes, runs), whole(y)]):
        write(x, y, at)
    found[f"gap {at}"] = take_stray() is not None
write(x, y, 0)
found["over"] = take_stray() is not None
print(json.dumps(found))
"""
LONGER = ("fastnn_vector_write", "fastnn_vector_read", "fastnn_atomic")


def run(code, **environment):
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_jit
def test_an_access_by_one_number_outside_is_found_and_none_inside():
    found = json.loads(run(PLANTED, FASTNN_CHECK="1"))
    assert [found.pop(f"gap {at}") for at in (19, 20, 21)] == [False, True, False]
    assert found.pop("over")  # what a call was allowed is not allowed after it
    kinds = {name.split()[0] for name in found}
    assert len(kinds) == 8
    for kind in sorted(kinds):
        assert found[f"{kind} 0"] is found[f"{kind} 47"] is None, kind
        for at in (48, -1):
            write, size, text = found[f"{kind} {at}"]
            assert write == ("write" in kind or "atomic" in kind), (kind, at)
            assert size == 4 or kind in LONGER
            assert text.startswith("__main__.fastnn_"), text


@needs_jit
def test_nothing_is_checked_without_it():
    code = "from fastnn.storage.kernels.kernel_cache import folder; print(folder().name)"
    plain, checked = run(code, FASTNN_CHECK="").strip(), run(code, FASTNN_CHECK="1").strip()
    assert not plain.endswith("-checked") and checked.endswith("-checked")
    code = "from numba.core.codegen import CPUCodeLibrary as C\n"
    code += "import fastnn.storage.kernels.compiling\n"
    code += "print(C.add_ir_module.__module__)"
    assert run(code, FASTNN_CHECK="0") == "numba.core.codegen\n"


@pytest.mark.parametrize("value", ["yes", "2", " 1"])
def test_another_value_is_refused(value, monkeypatch):
    monkeypatch.setenv("FASTNN_CHECK", value)
    with pytest.raises(InvalidInput, match=f"FASTNN_CHECK must be 1 or 0, not {value!r}"):
        sanitizer.enabled()


def test_run_lengths_count_the_words_up_to_the_next_that_is_not_valid():
    assert run_lengths(np.array([1, 1, 0, 1, 0, 0, 1, 1], bool)).tolist() == [
        2,
        1,
        0,
        1,
        0,
        0,
        2,
        1,
    ]
    assert run_lengths(np.zeros(2, bool)).tolist() == [0, 0]
    assert run_lengths(np.ones(3, bool)).tolist() == [3, 2, 1]
    assert run_lengths(np.zeros(0, bool)).tolist() == []


@pytest.mark.parametrize("checked", [False, True])
def test_buffers_lie_apart_where_accesses_are_checked(checked, monkeypatch):
    monkeypatch.setattr("fastnn.targets.layout.CHECKED", checked)
    take = Allocator(16)
    assert take(17) == 0
    apart = 32 + 16 * sanitizer.GAP_LINES * checked
    assert take(1) == apart
    size = take.used
    take.copy(2)
    again = take.like_first(size)
    assert take.buffers == [
        (start + at, count) for start in (0, size, again) for at, count in ((0, 17), (apart, 1))
    ]
