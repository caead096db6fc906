"""The persistent grid against the NumPy target.

Shown here: what each block reads and writes and between which barriers, for any number of blocks
and threads, with the threads of all blocks run in turns (`blocks`). `test_grid_code` runs what is
compiled: the barrier between blocks, copies that arrive late, vector loads. Shown nowhere without a
device: the order in which memory is seen by other processors, and that as many blocks as the device
has processors are resident at once.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from pairs import all_pairs

if importlib.util.find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed: pip install fastnn[cuda]", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "targets"))

from target_cases import (
    DTYPES,
    LOSSES,
    OPTIMIZERS,
    assert_follows_numpy,
    data_of,
    parameters_of,
    problem_of,
    run,
    started,
    train,
)

from fastnn.graph import logsumexp
from fastnn.graph.vectors import max as largest
from fastnn.inputs.data import Data
from fastnn.network import Dense, Dropout
from fastnn.targets import numpy as reference
from fastnn.targets.cuda import dispatch, engine
from fastnn.targets.cuda.grid import family as grid
from fastnn.targets.cuda.grid.shape import make_shape
from fastnn.targets.cuda.host import session
from fastnn.targets.cuda.host.numba_cuda import SIMULATED, Limits

H200 = Limits("H200", 132, 232448)
SIMULATED_BYTES = 1 << 17
simulated = pytest.mark.skipif(not SIMULATED, reason="needs the simulator: NUMBA_ENABLE_CUDASIM=1")


class Blocks:
    """Makes engines whose kernels run on so many blocks of so many threads, and counts barriers."""

    def __init__(self, monkeypatch):
        self.patch, self.barriers, self.launches = monkeypatch, 0, 0
        monkeypatch.setitem(dispatch.FAMILIES, "grid", grid.Grid)

    def __call__(self, blocks, threads, *, backwards=False, shared_bytes=SIMULATED_BYTES):
        """Return what makes an engine of the grid family, as `Engine` of other targets does."""
        from blocks import run_grid

        def launch(compiled, count, _, stream, shared, *arguments):
            self.barriers += run_grid(
                compiled.fn, count, threads, shared, *arguments, backwards=backwards
            )
            self.launches += 1

        self.patch.setattr(grid, "launch", launch)
        self.patch.setattr(grid, "THREADS", threads)
        has = Limits("some blocks", blocks, shared_bytes)
        self.patch.setattr(session, "limits", lambda device: has)
        return lambda problem, _=1: engine.Engine(problem, family="grid")


@pytest.fixture
def blocks(monkeypatch):
    """Give a maker of engines, see `Blocks`."""
    return Blocks(monkeypatch)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_launch_of_the_simulator_or_the_device_follows_numpy(dtype, running, monkeypatch):
    monkeypatch.setitem(dispatch.FAMILIES, "grid", grid.Grid)
    problem = problem_of(
        9, [Dropout(0.2), Dense(6, "tanh"), Dense(3)], "softmax_cross_entropy", dtype=dtype
    )
    assert_follows_numpy(
        lambda problem, _=1: engine.Engine(problem, family="grid"), problem, data_of(problem, 19)
    )


@simulated
@pytest.mark.parametrize(
    ("dtype", "threads", "count"), all_pairs(DTYPES, [1, 3, 8, 32], [1, 2, 5, 12])
)
def test_any_number_of_blocks_and_threads_follows_numpy(count, threads, dtype, blocks):
    problem = problem_of(
        13,
        [Dropout(0.1), Dense(10, "prelu"), Dropout(0.3), Dense(7, "elu"), Dense(4)],
        "softmax_cross_entropy",
        OPTIMIZERS["momentum"],
        dtype=dtype,
        l1=0.01,
        l2=0.1,
    )
    data = data_of(problem, 19, weighted=True)
    assert_follows_numpy(blocks(count, threads), problem, data)


@simulated
@pytest.mark.parametrize(
    ("inputs", "layers", "batch", "rows"),
    [
        (1, [Dense(1)], 1, 1),
        (1, [Dense(1)], 8, 8),
        (1, [Dense(9, "tanh"), Dense(1)], 1, 3),
        (17, [Dense(1, "sigmoid"), Dense(1)], 4, 9),
        (4, [Dense(4)], 4, 4),
        (5, [Dense(5, "relu"), Dense(5)], 5, 11),
        (33, [Dense(3)], 7, 15),
        (3, [Dense(33, "tanh"), Dense(2)], 16, 17),
        (8, [Dense(3, "relu"), Dense(21, "tanh"), Dense(2)], 100, 23),
        (6, [Dense(8, "relu", bias=False), Dense(2, bias=False)], 3, 10),
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [1, 7, 24])
def test_hostile_shapes(count, inputs, layers, batch, rows, blocks):
    problem = problem_of(inputs, layers, "mse", OPTIMIZERS["adam"], batch_size=batch)
    assert_follows_numpy(blocks(count, 6), problem, data_of(problem, rows))


def wide(outputs, targets):
    """Return a loss whose derivative is of all outputs, of slices of them, and of single ones."""
    right = outputs[targets[0]] + outputs[3] * targets[1]
    return (
        logsumexp(outputs) - right + (outputs[1::5] @ outputs[1::5]) * 0.3 + 0.1 * largest(outputs)
    )


@simulated
@pytest.mark.parametrize("outputs", [31, 32, 45])
@pytest.mark.parametrize(("count", "threads"), [(1, 1), (5, 3), (2, 40), (1, 64), (3, 70)])
def test_threads_that_share_a_row_follow_numpy(outputs, count, threads, blocks):
    problem = problem_of(4, [Dense(5, "tanh"), Dense(outputs)], wide)
    data, random = data_of(problem, 11, weighted=True), np.random.default_rng(0)
    data.weights[::4] = 0.0
    targets = np.column_stack((random.integers(0, outputs, 11), random.normal(size=11)))
    data = Data(data.X, targets, data.weights)
    assert_follows_numpy(blocks(count, threads), problem, data, epochs=1)


@simulated
@pytest.mark.parametrize("hidden", ["prelu", "rrelu", "softmax", "hardmax", "gelu", "identity"])
@pytest.mark.parametrize("place", ["first", "second"])
def test_activations_that_need_more_than_a_number(hidden, place, blocks):
    layers = [Dense(6, hidden), Dropout(0.3), Dense(5, "tanh"), Dense(3)]
    if place == "second":
        layers = [Dense(5, "tanh"), Dropout(0.3), Dense(6, hidden), Dense(3)]
    problem = problem_of(5, layers, "softmax_cross_entropy")
    assert_follows_numpy(blocks(4, 8), problem, data_of(problem, 19, weighted=True))


@simulated
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_optimizers(dtype, name, blocks):
    problem = problem_of(
        7,
        [Dropout(0.2), Dense(6, "tanh", l2=0.3), Dense(3, "sigmoid", bias=False)],
        "mse",
        OPTIMIZERS[name],
        dtype=dtype,
        l1=0.01,
        l2=0.1,
        clip_value=0.05,
    )
    assert_follows_numpy(blocks(5, 4), problem, data_of(problem, 19))


@simulated
@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss, blocks):
    problem = problem_of(5, [Dense(7, "elu"), Dense(3)], loss, OPTIMIZERS["averaged"])
    assert_follows_numpy(blocks(5, 4), problem, data_of(problem, 19, weighted=True))


@simulated
@pytest.mark.parametrize("layers", [[Dense(3)], [Dense(6, "tanh"), Dense(3)]], ids=str)
def test_the_rule_that_only_keeps_the_gradient(layers, blocks):
    problem = problem_of(5, layers, "softmax_cross_entropy", l2=0.1, batch_size=19, clip_norm=0.1)
    data = data_of(problem, 19)
    blocks(4, 4)
    one = engine.Engine(problem, rule="gradient", family="grid")
    one.load(parameters_of(problem), [])
    loss = one.train_epoch(data, np.arange(19), np.zeros(1), 0, 0).loss
    expected_loss, expected = started(reference.Engine, problem).gradients(data)
    assert math.isclose(loss, expected_loss, rel_tol=1e-12)
    for pair, other in zip(one.slots()[0], expected, strict=True):
        for a, b in zip(pair, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@simulated
@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("threads", [4, 16])
def test_the_order_in_which_threads_run_changes_no_bit(count, threads, blocks):
    problem = problem_of(
        9, [Dropout(0.2), Dense(10, "prelu"), Dropout(0.2), Dense(4)], "softmax_cross_entropy",
        dtype="float32",
    )  # fmt: skip
    data = data_of(problem, 21, weighted=True)
    one = run(blocks(count, threads), problem, data)
    other = run(blocks(count, threads, backwards=True), problem, data)
    assert one.bits() == other.bits()


@simulated
@pytest.mark.parametrize("buffers", [1, 2])
@pytest.mark.parametrize("cached", [False, True])
def test_all_that_may_be_in_shared_memory(cached, buffers, blocks, monkeypatch):
    problem = problem_of(30, [Dropout(0.2), Dense(10, "prelu"), Dense(4)], batch_size=16)
    data = data_of(problem, 40)
    rows = grid.row_plan(problem, "sgd", 4)
    shape = make_shape(rows, (30, 10), 16, problem.dtype, 4, 4, 4, 16, 8, buffers, cached)
    assert (shape.buffers, shape.later > 0) == (buffers, cached) and shape.blocks == 4
    monkeypatch.setattr(grid, "_shape", lambda *_: shape)
    for backwards in (False, True):
        assert_follows_numpy(blocks(4, 4, backwards=backwards), problem, data)


@simulated
@pytest.mark.parametrize("inputs", [24, 25])  # of which 4 numbers can be copied at a time, or 1
@pytest.mark.parametrize(("kb", "nb"), [(4, 4), (8, 4), (4, 16), (16, 8), (28, 16)])
def test_any_split(kb, nb, inputs, blocks, monkeypatch):
    layers = [Dropout(0.2), Dense(14, "tanh"), Dense(4)]
    problem = problem_of(inputs, layers, batch_size=10)
    rows = grid.row_plan(problem, "sgd", 1)
    shape = make_shape(rows, (inputs, 14), 10, problem.dtype, 28, 8, 4, kb, nb, 2, True)
    monkeypatch.setattr(grid, "_shape", lambda *_: shape)
    assert_follows_numpy(blocks(28, 8), problem, data_of(problem, 36), epochs=1)


@simulated
def test_a_step_has_two_barriers_of_the_grid(blocks):
    problem = problem_of(9, [Dense(10, "tanh"), Dense(8, "tanh"), Dense(4)])
    one = started(blocks(5, 4), problem)
    train(one, problem, data_of(problem, 21), epochs=range(3))
    steps = 3 * math.ceil(21 / 8)
    assert blocks.barriers == 2 * steps


@simulated
@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_launches_of_some_steps_come_to_the_same_bits(pieces, blocks, monkeypatch):
    problem = problem_of(9, [Dropout(0.2), Dense(10, "tanh"), Dense(4)])
    data = data_of(problem, 21)
    whole = run(blocks(5, 4), problem, data, epochs=3)
    monkeypatch.setattr(session, "FIRST_STEPS", pieces)
    monkeypatch.setattr(session, "LAUNCH_SECONDS", 0.0)
    made = blocks(5, 4)
    before = blocks.launches
    assert run(made, problem, data, epochs=3).bits() == whole.bits()
    assert blocks.launches > before + 3


@simulated
@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("epochs_at_once", [False, True])
def test_a_step_whose_loss_is_not_finite_changes_nothing(epochs_at_once, count, blocks):
    problem = problem_of(5, [Dense(8, "relu"), Dense(4)], "mse", OPTIMIZERS["adam"])
    data = data_of(problem, 24)
    data.X[13, 2] = np.inf
    order = np.roll(np.arange(24), -1)  # row 13 comes in the second of three steps
    found = []
    for kind in (blocks(count, 4), reference.Engine):
        one = started(kind, problem)
        if epochs_at_once:
            orders, rates = np.stack([order, order]), np.full((2, 3), 0.05)
            result = one.train_epochs(data, orders, rates, 0, 0)[0]
        else:
            result = one.train_epoch(data, order, np.full(3, 0.05), 0, 0)
        assert result.bad_step == 1 and not math.isfinite(result.loss)
        found.append([*one.parameters(), *(pair for slot in one.slots() for pair in slot)])
    for one, other in zip(*found, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


@simulated
def test_a_missing_barrier_shows_in_one_of_the_two_orders():
    from blocks import run_grid

    from fastnn.targets.cuda.host.numba_cuda import cuda

    def kernel(numbers, waits):
        block = cuda.blockIdx.x
        numbers[block] = block + 1
        if waits:
            cuda.cg.this_grid().sync()
        numbers[3 + block] = numbers[(block + 1) % 3]

    for waits in (True, False):
        found = []
        for backwards in (False, True):
            numbers = np.zeros(6)
            assert run_grid(kernel, 3, 1, 0, numbers, waits, backwards=backwards) == waits
            found.append(numbers[3:].tolist())
        assert (found[0] == found[1] == [2, 3, 1]) == waits


SHAPES = [(784, 128, 64), (784, 128, 512), (784, 10, 100), (1, 1, 1), (3, 900, 40), (900, 3, 33)]


@pytest.mark.parametrize("processors", [1, 5, 108, 132])
@pytest.mark.parametrize(("k", "n", "m"), SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_slices_cover_the_first_layer_once_and_fit(dtype, k, n, m, processors):
    problem = problem_of(k, [Dense(n, "relu"), Dense(10)], dtype=dtype, batch_size=m)
    limits = Limits("a device", processors, H200.shared_bytes)
    reason = grid.Grid.reason_against(problem, "sgd", limits)
    assert bool(reason) == (grid._shape(problem, "sgd", limits, m) is None)
    if reason:
        assert "shared memory" in reason
        assert processors < 100 or (dtype, m) == ("float64", 512)
        return
    shape = grid.Grid(problem, "sgd", limits).plan(10 * m).shape
    assert shape.kb % 4 == shape.nb % 4 == 0
    assert (shape.kg - 1) * shape.kb < k <= shape.kg * shape.kb
    assert (shape.ng - 1) * shape.nb < n <= shape.ng * shape.nb
    assert (shape.row_blocks - 1) * shape.rows < m <= shape.row_blocks * shape.rows
    assert max(shape.kg * shape.ng, shape.row_blocks) <= shape.blocks <= processors
    assert shape.shared <= limits.shared_bytes
    assert shape.ldx >= shape.kb and shape.ldx // 4 % 2 == 1
    assert all(type(each) is int for each in shape)


def test_what_it_does_not_support_is_said():
    layers = [Dense(8, "relu"), Dense(4)]
    assert grid.Grid.reason_against(problem_of(9, layers), "sgd", H200) == ""
    assert "clip_norm" in grid.Grid.reason_against(
        problem_of(9, layers, clip_norm=1.0), "sgd", H200
    )
    held = problem_of(9, [Dense(8, max_norm=1.0), Dense(4)])
    assert "max_norm" in grid.Grid.reason_against(held, "sgd", H200)
    assert grid.Grid.reason_against(held, "gradient", H200) == ""
    wide = problem_of(4096, [Dense(4096), Dense(4)])
    assert "232448 bytes" in grid.Grid.reason_against(wide, "sgd", H200)

    def long(z):
        for i in range(240):
            z = z * (0.9 + i / 1000)
        return z

    deep = problem_of(9, [Dense(4, long), *[Dense(4)] * 30])
    assert "31 layers and the numbers" in grid.Grid.reason_against(deep, "sgd", H200)
    turing = Limits("T4", 40, 65536, (7, 5))
    assert "cp.async" in grid.Grid.reason_against(problem_of(9, layers), "sgd", turing)
    assert grid.Grid.seconds(wide, H200) == math.inf
