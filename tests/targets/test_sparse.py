"""Sparse rows are trained on as the dense rows of the same numbers are, by every update rule."""

import itertools
from contextlib import closing

import numpy as np
import pytest
from pairs import all_pairs
from scipy import sparse
from simulator import SIMULATED
from target_cases import (
    DTYPES,
    OPTIMIZERS,
    TOLERANCE,
    assert_near,
    assert_runs_near,
    data_of,
    needs_jit,
    problem_of,
    run,
    started,
    train,
)

from fastnn import SGD, AveragedSGD, Dense, Dropout, LayerNorm, graph
from fastnn.inputs.data import Data
from fastnn.inputs.sparse_rows import check_sparse
from fastnn.targets import numpy as reference

if SIMULATED:
    pytest.skip("the CUDA target reads no sparse rows", allow_module_level=True)

from fastnn.targets.cpu import laziness
from fastnn.targets.cpu.engine import Engine
from fastnn.targets.cpu.laziness import (
    CUT,
    CUT_MEAN,
    EAGER,
    SCALED,
    STAMPED,
    STEPWISE,
    choose_laziness,
)
from fastnn.threads import pool
from fastnn.threads.processors import available_threads

INPUTS, ROWS = 300, 90
NETWORKS = {
    "hidden": [Dense(37, "tanh"), Dense(3)],
    "narrow": [Dense(5, "tanh"), Dense(3)],
    "one output": [Dense(1)],
    "a squashed output": [Dense(1, "sigmoid")],
    "no bias": [Dense(1, bias=False)],
    "a slow bias": [Dense(1, rate_factor=0.5, bias_rate_factor=0.01)],
    "a bias that stays": [Dense(1, bias_rate_factor=0.0, bias_init=0.5)],
    "slow biases": [Dense(20, "tanh", bias_rate_factor=0.01), Dense(3, bias_rate_factor=3.0)],
    "outputs": [Dense(3)],
    "many outputs": [Dense(75)],
    "deep": [Dense(20, "relu"), Dropout(0.3), Dense(300, "tanh"), Dense(150, "tanh"), Dense(3)],
    "normalized": [Dense(33), LayerNorm(activation="tanh"), Dropout(0.2), Dense(3)],
    "dropped inputs": [Dropout(0.3), Dense(20, "tanh"), Dense(3)],
    "held": [Dense(20, "tanh", max_norm=0.4), Dense(3)],
    "by itself": [Dense(20, "tanh", rate_factor=0.5, l1=0.01, l2=0.0), Dense(3)],
    "frozen": [Dense(20, "tanh", trainable=False), Dense(3)],
    "drawn slopes": [Dense(20, "rrelu"), Dense(3)],
    "learned slopes": [Dense(20, "prelu"), Dense(3)],
}
SETTINGS = {
    "no penalty": {},
    "l2": {"l2": 0.1},
    "l1": {"l1": 0.01},
    "elastic net": {"l1": 0.01, "l2": 0.1},
    "clipped": {"clip_value": 0.01},
    "clipped, l2": {"clip_value": 0.01, "l2": 0.1},
    "within a norm": {"clip_norm": 0.1, "l1": 0.01, "l2": 0.1},
    "l2 that turns weights around": {"l2": 30.0},
}


def both(problem, rows=ROWS, *, density=0.01, weighted=False, index=np.int32, values=None):
    """Return the same data twice: dense, and sparse with explicit zeros and empty rows."""
    data = data_of(problem, rows, weighted=weighted)
    random = np.random.default_rng(5)
    k = problem.network.inputs
    stored = random.random((rows, k)) < density
    stored[::7] = False
    stored[:, : k // 50] |= random.random((rows, k // 50)) < 0.5  # some inputs are frequent
    matrix = sparse.csr_array(stored.astype(values or problem.dtype))
    matrix.data[:] = random.normal(size=matrix.nnz)
    matrix.data[::11] = 0
    matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(index)
    X = check_sparse(matrix, k, problem.dtype, "X")
    assert X.columns.dtype == index
    dense = matrix.toarray().astype(problem.dtype)
    return Data(dense, data.targets, data.weights), Data(X, data.targets, data.weights)


@pytest.mark.parametrize(
    ("network", "rule", "setting", "batch_size", "dtype"),
    all_pairs(NETWORKS, OPTIMIZERS, SETTINGS, [1, 2, 7, 33, 90], DTYPES),
)
def test_sparse_rows_train_as_dense_ones_do(network, rule, setting, batch_size, dtype):
    """Numbers that rounding decides, such as which side of 0 a sum is on, are those of a target."""
    problem = problem_of(
        INPUTS, NETWORKS[network], optimizer=OPTIMIZERS[rule], batch_size=batch_size, dtype=dtype,
        **SETTINGS[setting],
    )  # fmt: skip
    dense, rows = both(problem, weighted=batch_size == 7)
    # Many large steps, each on a few rows, would make anything of a rounding in float32.
    rate = 0.05 if batch_size > 2 else 0.002
    expected = run(Engine, problem, dense, rate=rate)
    found = run(Engine, problem, rows, rate=rate)
    assert_runs_near(found, expected, 10 * TOLERANCE[dtype])
    again = run(Engine, problem, rows, rate=rate, threads=3)
    assert again.bits() == found.bits()


# Optimizers that models of one output follow lazily; means that begin late, forget fast or slowly.
ONE_OUTPUT = {
    "sgd": SGD(0.1),
    "mean": AveragedSGD(0.1),
    "late mean": AveragedSGD(0.1, 9),
    "ema": SGD(0.1, ema=0.9),
    "short ema": SGD(0.1, ema=0.2),
}


@pytest.fixture
def in_ranges(monkeypatch):
    """Return what has inputs of one output cut into so many ranges, however few they are."""

    def cut(ranges):
        for name, value in zip(
            ("RANGE_ENTRIES", "RANGES_ENTRIES", "MOST_RANGES"), (1, 0, ranges), strict=True
        ):
            monkeypatch.setattr(laziness, name, value)

    return cut


@pytest.mark.parametrize(
    ("ranges", "rule", "network", "setting", "batch_size", "dtype", "index", "values"),
    all_pairs(
        [1, 2, 4, 8],
        ONE_OUTPUT,
        ["one output", "a squashed output", "no bias", "a slow bias"],
        ["no penalty", "l2", "l1", "elastic net", "l2 that turns weights around"],
        [1, 7, 33, 90],
        DTYPES,
        "il",
        "fd",
    ),
)
def test_inputs_in_ranges_train_as_numpy_does(
    in_ranges, ranges, rule, network, setting, batch_size, dtype, index, values
):
    in_ranges(ranges)
    problem = problem_of(
        INPUTS, NETWORKS[network], optimizer=ONE_OUTPUT[rule], batch_size=batch_size, dtype=dtype,
        **SETTINGS[setting],
    )  # fmt: skip
    dense, rows = both(
        problem, density=0.05, weighted=batch_size == 7, index=np.dtype(index),
        values=np.dtype(values),
    )  # fmt: skip
    rate = 0.05 if batch_size > 2 else 0.002
    expected = run(reference.Engine, problem, dense, rate=rate)
    found = [run(Engine, problem, rows, rate=rate, threads=threads) for threads in (1, 2, 3, 8)]
    assert_runs_near(found[0], expected, 10 * TOLERANCE[dtype])
    assert all(each.bits() == found[0].bits() for each in found[1:])


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("l2", [0.0, 1e-4, 0.5, 3.0])
@pytest.mark.parametrize("rule", list(ONE_OUTPUT)[1:])
def test_a_mean_over_many_epochs_keeps_its_digits(rule, l2, dtype, batch_size):
    problem = problem_of(
        INPUTS, NETWORKS["one output"], optimizer=ONE_OUTPUT[rule], batch_size=batch_size,
        dtype=dtype, l2=l2, loss="hinge",
    )  # fmt: skip
    dense, rows = both(problem)
    expected = run(reference.Engine, problem, dense, rate=0.02, epochs=20)
    found = run(Engine, problem, rows, rate=0.02, epochs=20)
    assert_runs_near(found, expected, 20 * TOLERANCE[dtype])


@pytest.mark.parametrize("rule", ["sgd", "averaged"])
@pytest.mark.parametrize("setting", ["l2", "elastic net"])
def test_inputs_in_ranges_in_one_call_or_in_parts_are_the_same_bits(in_ranges, setting, rule):
    in_ranges(4)
    test_epochs_in_one_call_or_in_parts_are_the_same_bits("one output", rule, setting)


def test_long_rows_in_large_batches_are_shared_by_threads():
    def ranges(entries, batch_size, layers=NETWORKS["one output"]):
        problem = problem_of(20_000, layers, optimizer=OPTIMIZERS["sgd"], batch_size=batch_size)
        return choose_laziness(problem, "sgd", entries, layers is NETWORKS["one output"]).ranges

    assert [ranges(200.0, size) for size in (1, 16, 32)] == [1, 1, 2]
    assert [ranges(entries, 1000) for entries in (5.0, 127.0, 128.0, 1e4)] == [1, 1, 2, 8]
    assert ranges(1e4, 1000, NETWORKS["outputs"]) == 1
    problem = problem_of(2000, NETWORKS["one output"], batch_size=40)
    dense, rows = both(problem, 120, density=0.2)
    with closing(Engine(problem)) as engine:
        for data, expected in ((dense, 1), (rows, min(4, available_threads()))):
            engine.prepare(data.X)
            assert engine.threads == expected
    expected = run(reference.Engine, problem, dense)
    assert_runs_near(run(Engine, problem, rows), expected, 10 * TOLERANCE["float64"])


@pytest.mark.parametrize("rule", OPTIMIZERS)
@pytest.mark.parametrize("setting", ["no penalty", "l2", "l1", "elastic net"])
def test_numpy_defines_what_a_step_on_sparse_rows_is(rule, setting):
    problem = problem_of(
        INPUTS, NETWORKS["hidden"], optimizer=OPTIMIZERS[rule], **SETTINGS[setting]
    )
    dense, rows = both(problem)
    expected = run(reference.Engine, problem, dense)
    assert run(reference.Engine, problem, rows).bits() == expected.bits()
    assert_runs_near(run(Engine, problem, rows), expected, TOLERANCE["float64"])


def mode_of(rule, layers=NETWORKS["hidden"], entries=3.0, *, one_output=False, **changes):
    problem = problem_of(INPUTS, layers, optimizer=OPTIMIZERS[rule], **changes)
    return choose_laziness(problem, problem.optimizer.rule, entries, one_output).mode


def test_what_a_step_updates_lazily():
    """The rest of this file takes every way: were one not taken, nothing here would test it."""
    assert [mode_of("sgd"), mode_of("sgd", l2=0.1)] == [SCALED] * 2
    one = {"layers": [Dense(1)], "one_output": True}
    for layers in ({}, one):
        assert mode_of("sgd", l1=0.1, l2=0.1, **layers) == CUT
        assert [mode_of("averaged", l2=0.1, **layers)] == [SCALED]
        assert [mode_of("averaged", l1=0.1, **layers)] == [CUT_MEAN]
    assert [mode_of(rule, l2=0.1) for rule in ("momentum", "nesterov")] == [STAMPED] * 2
    assert [mode_of(rule, l1=0.1) for rule in ("momentum", "nesterov")] == [STEPWISE] * 2
    assert mode_of("sgd", clip_value=0.1, l1=0.1) == STAMPED
    assert mode_of("averaged", clip_value=0.1, l1=0.1) == STEPWISE
    assert [mode_of(rule, l1=0.1) for rule in ("rmsprop", "adagrad")] == [STAMPED] * 2
    assert [mode_of(rule, l2=0.1) for rule in ("rmsprop", "adagrad")] == [EAGER] * 2
    assert {mode_of(rule) for rule in ("adam", "adamw", "nadam", "lion")} == {EAGER}
    assert mode_of("momentum", clip_value=0.1) == STAMPED
    assert mode_of("momentum", clip_value=0.1, l2=0.1) == EAGER
    assert mode_of("sgd", clip_norm=0.1) == EAGER
    assert mode_of("sgd", NETWORKS["held"]) == EAGER
    assert mode_of("sgd", NETWORKS["frozen"]) == EAGER
    assert [mode_of(rule, entries=100.0, l1=0.1) for rule in ("sgd", "averaged")] == [EAGER] * 2
    assert mode_of("momentum", entries=100.0) == EAGER


@pytest.mark.parametrize("setting", ["l2", "elastic net"])
@pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov", "averaged", "adagrad"])
@pytest.mark.parametrize("layers", ["one output", "hidden"])
def test_a_scale_that_becomes_small_is_brought_back(layers, rule, setting):
    """Many steps at a large penalty, of which most rows of W see few."""
    changes = SETTINGS[setting] | {"l2": 5.0}
    problem = problem_of(
        INPUTS, NETWORKS[layers], optimizer=OPTIMIZERS[rule], batch_size=1, **changes
    )
    dense, rows = both(problem, 300, density=0.003)
    expected, found = (run(Engine, problem, each, rate=0.1) for each in (dense, rows))
    assert_runs_near(found, expected, 1e-9)


@pytest.mark.parametrize(("index", "values"), [(i, v) for i in "il" for v in "fd"])
@pytest.mark.parametrize("layers", ["one output", "hidden"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_kind_of_index_and_of_number_is_read_in_place(layers, dtype, index, values):
    problem = problem_of(INPUTS, NETWORKS[layers], dtype=dtype, l2=0.1)
    _, plain = both(problem, values="f")
    _, rows = both(problem, index=np.dtype(index), values="f")
    other = Data(
        type(rows.X)(rows.X.values.astype(values), rows.X.columns, rows.X.starts, INPUTS),
        rows.targets,
    )
    assert run(Engine, problem, other).bits() == run(Engine, problem, plain).bits()


@pytest.mark.parametrize("layers", [[Dense(1)], [Dense(3, "tanh"), Dense(2)]])
@pytest.mark.parametrize("inputs", [1, 2, 31, 32, 33, 65])
@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam"])
def test_any_number_of_inputs_and_rows_longer_than_a_block(layers, inputs, rule):
    problem = problem_of(inputs, layers, optimizer=OPTIMIZERS[rule], batch_size=2)
    dense, rows = both(problem, 9, density=0.5)
    assert_runs_near(run(Engine, problem, rows), run(Engine, problem, dense), 1e-12)


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam"])
def test_a_row_may_have_more_numbers_than_are_unpacked_together(rule):
    problem = problem_of(1700, NETWORKS["hidden"], optimizer=OPTIMIZERS[rule], l1=0.001)
    dense, rows = both(problem, 20, density=0.9)
    expected = run(Engine, problem, dense)
    for threads in (1, 2):
        assert_runs_near(run(Engine, problem, rows, threads=threads), expected, 1e-12)


def bits(engine):
    layers = [*engine.parameters(), *itertools.chain(*engine.slots())]
    return [array.tobytes() for layer in layers for array in layer]


@pytest.mark.parametrize(("rule", "setting"), all_pairs(OPTIMIZERS, SETTINGS))
@pytest.mark.parametrize("layers", ["one output", "hidden"])
def test_epochs_in_one_call_or_in_parts_are_the_same_bits(layers, rule, setting):
    problem = problem_of(INPUTS, NETWORKS[layers], optimizer=OPTIMIZERS[rule], **SETTINGS[setting])
    dense, data = both(problem)
    steps = -(-ROWS // problem.batch_size)
    orders = np.stack([np.random.default_rng(epoch).permutation(ROWS) for epoch in range(3)])
    rates = 0.05 * np.linspace(1, 0.5, 3 * steps).reshape(3, steps)
    apart, together, parted = (started(Engine, problem) for _ in range(3))
    for epoch in range(3):
        apart.train_epoch(data, orders[epoch], rates[epoch], epoch, epoch * steps)
    together.train_epochs(data, orders, rates, 0, 0)
    seen = []
    for epoch in range(3):

        def look(step, loss, weight):
            # Also with dense rows, for which there is another plan.
            np.testing.assert_allclose(parted.forward(data.X), parted.forward(dense.X), rtol=1e-9)
            seen.append(parted.parameters()[0][0])

        parted.train_epoch_in_parts(
            data, orders[epoch], rates[epoch], epoch, epoch * steps, (1, 5, steps - 1, steps), look
        )
    assert bits(together) == bits(apart)
    assert bits(parted) == bits(apart)
    # What is seen between steps is what training on dense rows has there.
    other, between = started(Engine, problem), []
    if other.hides_steps(problem):
        return
    other.train_epoch_in_parts(
        dense, orders[0], rates[0], 0, 0, (1, 5, steps - 1, steps),
        lambda *_: between.append(other.parameters()[0][0]),
    )  # fmt: skip
    for one, expected in zip(seen, between, strict=False):
        np.testing.assert_allclose(one, expected, rtol=0, atol=1e-12)


def test_gradients_are_those_of_the_dense_rows():
    problem = problem_of(INPUTS, NETWORKS["hidden"], l2=0.1)
    dense, rows = both(problem, weighted=True)
    for engine_class in (Engine, reference.Engine):
        loss, gradients = started(engine_class, problem).gradients(rows)
        expected_loss, expected = started(reference.Engine, problem).gradients(dense)
        assert loss == pytest.approx(expected_loss, rel=1e-12)
        for one, other in zip(gradients, expected, strict=True):
            assert_near(one, other, 1e-12)


def test_sparse_and_dense_rows_take_turns():
    """The state is the same whatever plan it has been in."""
    for layers in ([Dense(1)], [Dense(5, "tanh"), Dense(2)], NETWORKS["hidden"]):
        problem = problem_of(INPUTS, layers, optimizer=OPTIMIZERS["adam"])
        dense, rows = both(problem)
        mixed, plain = started(Engine, problem, 2), started(Engine, problem, 2)
        for epoch in range(4):
            train(mixed, problem, (dense, rows)[epoch % 2], [epoch])
            train(plain, problem, dense, [epoch])
        state, expected = mixed.unpack(mixed.snapshot()), plain.unpack(plain.snapshot())
        for one, other in zip((state[0], *state[1]), (expected[0], *expected[1]), strict=True):
            for a, b in zip(one, other, strict=True):
                assert_near(a, b, 1e-12)


def test_losses_and_activations_of_ones_own_over_sparse_rows():
    def loss(z, y):
        return graph.softplus(-y * z)

    for layers in ([Dense(1)], [Dense(20, lambda z: graph.tanh(z) * 0.5), Dense(1)]):
        problem = problem_of(INPUTS, layers, loss)
        dense, rows = both(problem)
        assert_runs_near(run(Engine, problem, rows), run(Engine, problem, dense), 1e-12)


def test_memory_for_dense_rows_is_not_written_to_where_rows_are_sparse(monkeypatch):
    from fastnn.targets.cpu import working_memory

    written, wrote = [], working_memory.wrote

    def note(memory):
        written.append(len(memory))
        wrote(memory)

    monkeypatch.setattr(working_memory, "wrote", note)
    problem = problem_of(INPUTS, NETWORKS["hidden"])
    dense, rows = both(problem)
    for data in (rows, dense):
        written.clear()
        engine = started(Engine, problem, 1)
        train(engine, problem, data, [0])
        assert len(written) == 1, written


@needs_jit
def test_every_number_of_threads_comes_to_the_same_bits():
    for rule in OPTIMIZERS:
        problem = problem_of(
            1000, NETWORKS["deep"], optimizer=OPTIMIZERS[rule], batch_size=40, l1=0.001, l2=0.01
        )
        _, rows = both(problem, 100)
        found = [run(Engine, problem, rows, threads=threads).bits() for threads in (1, 2, 3, 8)]
        assert all(each == found[0] for each in found[1:]), rule


@needs_jit
@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("started_threads", [0, 1, 2])
def test_threads_that_cannot_be_started_are_done_without(
    in_ranges, monkeypatch, threads, started_threads
):
    in_ranges(4)
    problem = problem_of(INPUTS, NETWORKS["one output"], batch_size=33, l1=0.01)
    _, rows = both(problem, density=0.05)
    expected = run(Engine, problem, rows)
    left, start = [started_threads], pool.start_new_thread

    def few(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("no thread can be started")
        return start(*arguments)

    monkeypatch.setattr(pool, "_pool", pool._Pool())
    monkeypatch.setattr(pool, "start_new_thread", few)
    assert run(Engine, problem, rows, threads=threads).bits() == expected.bits()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ["mean", "late mean", "ema"])
@pytest.mark.parametrize("network", ["one output", "outputs"])
def test_sums_of_steps_begin_anew_and_inputs_are_seen_seldom_or_never(network, rule, dtype):
    """More steps than there are sums for, weights that become 0 long after they were used."""
    rows = laziness.MEAN_STEPS + 900
    problem = problem_of(
        90, NETWORKS[network], optimizer=ONE_OUTPUT[rule], batch_size=1, dtype=dtype, l1=0.003,
        l2=0.002, loss="huber",
    )  # fmt: skip
    dense, data = both(problem, rows, density=0.002)
    assert (np.bincount(data.X.columns, minlength=90) == 0).sum() < 90
    found, expected = (
        run(engine, problem, each, rate=0.02)
        for engine, each in ((Engine, data), (reference.Engine, dense))
    )
    assert_runs_near(found, expected, 30 * TOLERANCE[dtype])
    assert (found.parameters[0][0] == 0).any() and (found.parameters[0][0] != 0).any()
