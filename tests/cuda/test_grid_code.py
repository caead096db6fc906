"""The machine code of the persistent grid, and its PTX, run instruction by instruction."""

from __future__ import annotations

import importlib.util
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed: pip install fastnn[cuda]", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "targets"))

import cubin
import ptx
from numba import float64, int32, int64
from pairs import EVERY_CASE, in_turns
from target_cases import OPTIMIZERS, data_of, parameters_of, problem_of, started, zero_slots

from fastnn.network import Dense, Dropout
from fastnn.random.many_keys import layer_keys
from fastnn.rules.table import loss_row
from fastnn.targets import numpy as reference
from fastnn.targets.cuda.device.rules import recipe_of
from fastnn.targets.cuda.grid import body as grid_body
from fastnn.targets.cuda.grid import family as grid
from fastnn.targets.cuda.grid.tiles import make_tiles
from fastnn.targets.cuda.host.arguments import Job, job_type
from fastnn.targets.cuda.host.numba_cuda import Limits
from fastnn.targets.cuda.host.plan import layout_of
from fastnn.targets.cuda.host.scalars import step_table

H200 = Limits("H200", 132, 232448)


@pytest.fixture(autouse=True)
def no_driver(monkeypatch):
    """Compile for a device that is not there, or skip with the reason."""
    if reason := cubin.missing():
        pytest.skip(reason)
    import numba.cuda.dispatcher

    device = types.SimpleNamespace(compute_capability=(8, 0))
    monkeypatch.setattr(numba.cuda.dispatcher, "get_current_device", lambda: device)


def compiled(problem, rule, plan, cc, threads=256):
    body = grid_body.make_body(recipe_of(problem, rule), layout_of(plan), plan.shape, threads)
    types = job_type(problem.dtype), float64[::1], int32[::1], int64, int64, int64
    return cubin.compile_kernel(body, types, cc=cc, launch_bounds=(threads, 1))


@pytest.mark.parametrize(
    ("case", "cc"),
    in_turns(
        [("float32", "sgd", True), ("float64", "nadam", False)],
        cubin.CAPABILITIES,
    ),
    ids=str,
)
def test_no_spills_and_no_local_memory(case, cc):
    dtype, name, cached = case
    layers = [Dropout(0.1), Dense(128, "relu"), Dropout(0.2), Dense(10)]
    problem = problem_of(784, layers, "softmax_cross_entropy", OPTIMIZERS[name], dtype=dtype)
    plan = grid.Grid(problem, name, H200).plan(1000)
    if not cached:
        plan = replace(plan, shape=plan.shape._replace(later=0))
    code = compiled(problem, name, plan, cc)
    assert code.spill_bytes == code.stack_bytes == code.count("LDL|STL") == 0
    assert code.registers * 256 <= 65536
    assert len(code.instructions) <= 10_500  # of which an SM's caches are to hold those of a step
    assert code.count("LDS.128") and code.count("STS.128") and code.count("LDGSTS")
    assert not code.count(r"LD\.|LD$|ST\.|ST$")  # all know in which memory they look


@pytest.mark.parametrize("cc", cubin.CAPABILITIES)
def test_a_barrier_of_the_grid_has_one_fence_and_looks_without_emptying_a_cache(cc):
    tiles = make_tiles(np.dtype(np.float32))
    arrive, wait = tiles.arrive, tiles.wait

    def meet(counter):
        wait(counter, arrive(counter))

    names = [
        cubin.name_of(text)
        for _, text in cubin.compile_kernel(meet, (int32[::1],), cc=cc).instructions
    ]
    fences = [at for at, name in enumerate(names) if name.startswith(("MEMBAR", "CCTL", "ATOM"))]
    look = names.index("LDG.E.STRONG.GPU")
    again = next(at for at in range(look, len(names)) if names[at] == "BRA")
    assert sum(name.startswith("MEMBAR") for name in names) == 1
    assert fences and not any(look <= at <= again for at in fences)
    assert sum(name.startswith("CCTL") for name in names) == 1  # when all have come


@pytest.mark.parametrize(
    ("inputs", "dtype", "loss"),
    # With rows that are read by 16 bytes; others are in test_compiled_runs.
    [(12, "float32", "mse"), *[(9, "float32", "mse"), (12, "float64", "mse")] * EVERY_CASE],
)
def test_compiled_code_follows_numpy(inputs, dtype, loss, monkeypatch):
    threads = 32
    monkeypatch.setattr(grid, "THREADS", threads)
    layers = [Dropout(0.2), Dense(10, "relu"), Dense(3)]
    problem = problem_of(inputs, layers, loss, OPTIMIZERS["momentum"], dtype=dtype, batch_size=6)
    limits, data = Limits("three blocks", 3, 1 << 16), data_of(problem, 11)
    plan = grid.Grid(problem, "momentum", limits).plan(11)
    state = plan.pack(parameters_of(problem), zero_slots(problem))
    order, rates = np.random.default_rng(0).permutation(11), np.array([0.1, 0.05])
    by_class = loss_row(loss).targets == "classes"
    job = Job(
        state=state[None],
        scratch=np.zeros((1, plan.scratch_size), problem.dtype),
        words=plan.words,
        numbers=plan.numbers,
        steps=step_table(problem, "momentum", rates, 0, len(order)),
        keys=layer_keys(problem.seed, range(1), 2 * len(problem.network.dense)),
        X=data.X,
        classes=data.targets if by_class else np.zeros(1, np.int64),
        targets=np.zeros((1, 1), problem.dtype) if by_class else data.targets,
        weights=np.zeros(1),
        orders=order.astype(np.int32)[None],
        results=np.zeros((1, 2)),
        bad=np.full(1, -1),
    )
    code = compiled(problem, "momentum", plan, (8, 0), threads)
    counter = np.zeros(1, np.int32)
    ptx.run(
        code.ptx, plan.shape.blocks, threads, *job, np.zeros(3), counter,
        4 if inputs % 4 == 0 else 1, 0, 2, shared_bytes=plan.shape.shared,
    )  # fmt: skip
    assert plan.shape.blocks == 3 and plan.shape.kg * plan.shape.ng > 1
    expected = started(reference.Engine, problem)
    result = expected.train_epoch(data, order, rates, 0, 0)
    assert job.bad[0] == -1
    np.testing.assert_allclose(job.results[0, 0] / 11, result.loss, rtol=1e-5)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    found = [plan.unpack_copy(job.state[0], copy) for copy in range(plan.copies)]
    for layers, others in zip(found, [expected.parameters(), *expected.slots()], strict=True):
        for pair, other in zip(layers, others, strict=True):
            for a, b in zip(pair, other, strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
