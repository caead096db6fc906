"""Compiled code, which checks no index, stays inside the caller's arrays and inside its own."""

import sys

import pytest
from target_cases import needs_jit, run_python

pytestmark = [
    needs_jit,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX page protection"),
]

# Arrays lie between two pages that may not be touched, close to the one or to the other. Whoever
# reads or writes a vector too far there ends the process.
GUARDED = """
import ctypes, faulthandler, mmap
from contextlib import closing
import numpy as np
from pairs import all_pairs
from target_cases import DTYPES, OPTIMIZERS, data_of, problem_of, started
from fastnn.targets.cpu import checked as cpu_checked, engine as cpu_engine
from fastnn.targets.cpu.bfloat16 import missing
from fastnn.targets.layout import aligned_zeros
from fastnn.inputs.data import Data
from fastnn.network import Dense, Dropout

faulthandler.enable()
PAGE = mmap.PAGESIZE
protect = ctypes.CDLL(None).mprotect
protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
areas = []


def guarded(array, at_end):
    size = -(-array.nbytes // PAGE) * PAGE
    area = mmap.mmap(-1, size + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    for page in (start, start + PAGE + size):
        assert protect(page, PAGE, 0) == 0
    areas.append(area)  # whose memory must outlive the views of it
    offset = PAGE + (size - array.nbytes if at_end else 0)
    flat = np.frombuffer(area, array.dtype, array.size, offset)
    flat[:] = array.ravel()
    return flat.reshape(array.shape)


def guarded_zeros(count, dtype):
    return guarded(np.zeros(count, dtype), True)


assert cpu_checked.aligned_zeros is aligned_zeros
cpu_checked.aligned_zeros = guarded_zeros


def layouts(X, at_end):
    yield guarded(X, at_end)
    yield guarded(np.ascontiguousarray(X.T), at_end).T
    yield guarded(X, at_end)[::-1, ::-1]
    wide = np.zeros((len(X), X.shape[1] + 3), X.dtype)
    columns = slice(3, None) if at_end else slice(0, -3)
    wide[:, columns] = X
    yield guarded(wide, at_end)[:, columns]
    yield guarded(X.astype(np.float32 if X.dtype == np.float64 else np.float64), at_end)
    yield guarded((X > 0).astype(np.int8), at_end)
    yield guarded(np.ascontiguousarray(X.astype(np.float16).T), at_end).T


def use(problem, data, threads):
    n = len(data.X)
    with closing(started(cpu_engine.Engine, problem, threads)) as engine:
        for at_end in (True, False):
            order = guarded(np.random.default_rng(0).permutation(n), at_end)
            rates = guarded(np.full(-(-n // problem.batch_size), 0.01), at_end)
            targets, weights = guarded(data.targets, at_end), guarded(data.weights, at_end)
            for X in layouts(data.X, at_end):
                part = Data(X, targets, weights)
                assert engine.train_epoch(part, order, rates, 0, 0).bad_step is None
                assert np.isfinite(engine.forward(X)).all()
                engine.gradients(part)


NETWORKS = [
    (1, [Dense(1)], 1),
    (5, [Dense(1)], 3),
    (37, [Dense(1, "tanh")], 8),
    (1, [Dense(1), Dense(1)], 2),
    (3, [Dense(17, "gelu"), Dense(2)], 7),
    (17, [Dropout(0.3), Dense(33, "softmax"), Dropout(0.3), Dense(5)], 9),
    (33, [Dense(9, "silu"), Dense(65, "elu"), Dense(31)], 16),
    (131, [Dense(151, "relu"), Dropout(0.5), Dense(157, "tanh"), Dense(3)], 33),
    (521, [Dense(523, "relu"), Dense(7)], 19),
]
for (inputs, layers, batch_size), dtype, rule, threads in all_pairs(
    NETWORKS, DTYPES, ("sgd", "adamw"), (1, 2)
):
    problem = problem_of(
        inputs, layers, "mse", OPTIMIZERS[rule], batch_size=batch_size, dtype=dtype, l2=0.1
    )
    problems = [problem]
    if dtype == "float32" and not missing():
        problems.append(problem.changed(precision="bfloat16"))
    for problem in problems:
        for rows in (1, 2 * batch_size + 3):
            for weighted in (True, "targets") if layers[-1].units > 1 else (True,):
                use(problem, data_of(problem, rows, weighted=weighted), threads)
    areas.clear()
print("inside")
"""


def test_training_and_prediction_stay_inside_all_arrays():
    assert run_python(GUARDED) == "inside\n"
