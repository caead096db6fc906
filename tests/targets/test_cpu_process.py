"""What the CPU target asks of the machine: memory, and the way out of a long epoch."""

import threading
import time
import tracemalloc
from contextlib import closing

import numba
import numpy as np
import pytest
from checker import unchecked
from ctrl_c import interrupted, needs_signals
from numba.core.runtime import _nrt_python, rtsys
from target_cases import (
    DTYPES,
    OPTIMIZERS,
    data_of,
    environment,
    needs_jit,
    problem_of,
    started,
)

from fastnn.inputs.data import Data
from fastnn.network import Dense, Dropout
from fastnn.targets.cpu import engine as cpu_engine
from fastnn.targets.cpu.engine import Engine
from fastnn.threads import pool

pytestmark = needs_jit

SMALL = [Dropout(0.1), Dense(9, "gelu"), Dropout(0.5), Dense(5, "softmax"), Dense(3)]


def traced_peak(call):
    """Return by how many bytes the memory of Python and NumPy grew at most during `call`."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def epoch_of(engine, problem, data):
    n = len(data.X)
    order, rates = np.arange(n), np.full(-(-n // problem.batch_size), 0.01)
    return lambda: engine.train_epoch(data, order, rates, 0, 0)


def warm_epoch_of(problem, engine, steps):
    """Return a call that trains `steps` steps; room for data of this size is made already."""
    call = epoch_of(engine, problem, data_of(problem, problem.batch_size * steps, weighted=True))
    call()
    return call


def small_problem(layers):
    loss = "mse" if len(layers) == 1 else "softmax_cross_entropy"
    return problem_of(5, layers, loss, OPTIMIZERS["adam"], batch_size=4)


@unchecked
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layers", [SMALL, [Dense(1)]], ids=["network", "one output"])
def test_ten_thousand_steps_take_no_more_memory_than_ten(threads, layers, monkeypatch):
    # However fast the machine is: an epoch in the caller's own thread needs no hand-over.
    monkeypatch.setattr(cpu_engine, "SHORT_SECONDS", 0.0)
    problem = small_problem(layers)
    with closing(started(Engine, problem, threads)) as engine:
        # What a call takes does not depend on steps: the hand-over to the threads, and its arrays.
        # The least of a few, for the interpreter itself frees and keeps memory now and then.
        few, many = (
            min(traced_peak(call) for _ in range(5))
            for call in (warm_epoch_of(problem, engine, steps) for steps in (10, 10_000))
        )
    assert many - few < 500  # a twentieth of a byte a step


@pytest.fixture
def compiled_allocations():
    """Return a function that counts the allocations of compiled code, which Python does not see."""
    enabled = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    yield lambda: rtsys.get_allocation_stats().alloc
    if not enabled:
        _nrt_python.memsys_disable_stats()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layers", [SMALL, [Dense(1)]], ids=["network", "one output"])
def test_compiled_steps_allocate_nothing(threads, layers, compiled_allocations):
    problem = small_problem(layers)
    with closing(started(Engine, problem, threads)) as engine:
        call = warm_epoch_of(problem, engine, 1000)
        before = compiled_allocations()
        call()
        assert compiled_allocations() == before
    numba.njit(lambda n: np.zeros(n).sum())(3)
    assert compiled_allocations() == before + 1  # as it would have shown


@unchecked
@pytest.mark.parametrize("layers", [SMALL[1:], [Dense(1)]], ids=["network", "one output"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_callers_data_are_not_copied(layers, dtype):
    loss = "mse" if len(layers) == 1 else "softmax_cross_entropy"
    problem = problem_of(20, layers, loss, batch_size=500, dtype=dtype)
    small = data_of(problem, 1000)
    every = np.zeros((40_000, 40), dtype)[::-1, ::2]
    other = np.zeros((40_000, 20), np.float32 if dtype == "float64" else np.float64)
    with closing(started(Engine, problem, 2)) as engine:
        # The first calls load kernels, and the first with data of a size make room for a batch.
        epoch_of(engine, problem, small)()
        engine.forward(small.X)
        for X in (every, other):
            data = Data(X, np.resize(small.targets, (len(X), *small.targets.shape[1:])))
            assert traced_peak(epoch_of(engine, problem, data)) < X.nbytes / 4
            outputs = len(X) * problem.network.outputs * problem.dtype.itemsize
            assert traced_peak(lambda X=X: engine.forward(X)) < outputs + X.nbytes / 20


LONG_EPOCH = """
from contextlib import closing
import numpy as np
from fastnn.targets.cpu.engine import Engine
from fastnn.inputs.data import Data
from fastnn.network import Dense
from target_cases import data_of, problem_of, started, train

units, threads, rows = {units}, {threads}, {rows}
problem = problem_of(512, [Dense(n, "relu") for n in units], batch_size=64, dtype="float32")
small = data_of(problem, 640)
long = Data(
    np.broadcast_to(small.X[:1], (rows, 512)), np.broadcast_to(small.targets[:1], (rows, units[-1]))
)
with closing(started(Engine, problem, threads)) as engine:
    snapshot = engine.snapshot()
    expected = train(engine, problem, small)
    engine.restore(snapshot)
    order, rates = np.zeros(rows, np.int64), np.zeros(-(-rows // 64))
    print("ready", flush=True)
    try:
        engine.train_epoch(long, order, rates, 0, 0)
    except KeyboardInterrupt:
        print("stopped", flush=True)
    engine.restore(snapshot)
    print(train(engine, problem, small) == expected)
"""


@needs_signals
@pytest.mark.parametrize(
    ("units", "threads", "rows"),
    [([512, 512, 10], 1, 20_000_000), ([512, 512, 10], 2, 20_000_000), ([1], 1, 60_000_000)],
)
def test_ctrl_c_ends_a_long_epoch_soon_and_leaves_the_engine_usable(units, threads, rows):
    code = LONG_EPOCH.format(units=units, threads=threads, rows=rows)
    assert interrupted(code, env=environment()) == "True\n"


@pytest.mark.parametrize("threads", [1, 2])
def test_progress_comes_on_the_callers_thread_and_never_goes_back(threads, monkeypatch):
    monkeypatch.setattr(pool, "TICK_SECONDS", 0.001)
    problem = problem_of(100, [Dense(200, "relu"), Dense(3)], batch_size=10)
    data = data_of(problem, 20_000)
    calls = []

    def progress(steps, loss):
        calls.append((steps, loss, threading.current_thread()))

    with closing(started(Engine, problem, threads)) as engine:
        result = engine.train_epoch(data, np.arange(20_000), np.zeros(2000), 0, 0, progress)
    steps = [step for step, _, _ in calls]
    assert len(calls) > 3 and steps == sorted(steps)
    assert 0 <= steps[0] and steps[-1] <= 2000 and steps[0] < steps[-1]
    assert {thread for *_, thread in calls} == {threading.current_thread()}
    assert calls[-1][1] == pytest.approx(result.loss, rel=0.5)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_in_progress_ends_the_epoch_and_reaches_the_caller(threads, monkeypatch):
    monkeypatch.setattr(pool, "TICK_SECONDS", 0.001)
    problem = problem_of(100, [Dense(200, "relu"), Dense(3)], batch_size=10)
    row = data_of(problem, 1)
    many = 5_000_000
    data = Data(np.broadcast_to(row.X, (many, 100)), np.broadcast_to(row.targets, (many, 3)))
    order, rates = np.zeros(many, np.int64), np.zeros(many // 10)

    def fail(steps, loss):
        raise RuntimeError("mine")

    with closing(started(Engine, problem, threads)) as engine:
        start = time.monotonic()
        with pytest.raises(RuntimeError, match="mine"):
            engine.train_epoch(data, order, rates, 0, 0, fail)
        assert time.monotonic() - start < 2.0
