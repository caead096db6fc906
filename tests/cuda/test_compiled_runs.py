"""Whole epochs of training by the compiled kernels, run instruction by instruction.

The engine is the real one, on the device of `interpreted`; what comes out is compared with the
NumPy target. Shown here beside the values: types that the compiler finds, sizes of launches and of
shared memory, accesses outside of arrays, and that a barrier lies between any two accesses of
different threads of which one writes.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cubin
import numpy as np
import pytest
from pairs import in_turns

if reason := cubin.missing():
    pytest.skip(reason, allow_module_level=True)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "targets"))

import interpreted
from target_cases import (
    OPTIMIZERS,
    assert_follows_numpy,
    assert_layers_near,
    assert_near,
    assert_runs_near,
    data_of,
    parameters_of,
    problem_of,
    run,
    started,
    train,
    zero_slots,
)

from fastnn.graph import exp, log_softmax, tanh
from fastnn.inputs.data import Data
from fastnn.network import Dense, Dropout
from fastnn.targets import numpy as reference
from fastnn.targets.cuda.engine import Engine

TINY = 2 << 10  # bytes of shared memory, in which no network fits
EVERY = pytest.mark.parametrize("family", ["block", "grid", "tiled"])


def engine_of(family: str) -> Any:
    return partial(Engine, family="block" if family == "distant" else family)


def device_for(family: str) -> Any:
    """Return a device on which a family of kernels runs; "distant" is "block" in global memory.

    The two differ in where a network lies, and each runs a part of what "block" can do.
    """
    shared_bytes = TINY if family == "distant" else 227 << 10
    return interpreted.device(3 if family == "grid" else 1, shared_bytes)


def kernel_of(family: str) -> str:
    return {"block": "train_resident", "tiled": "update"}.get(family, "train")


def classifier(**biases: Any) -> Any:
    """Return the problem of most tests here: a kernel, its batch included, is compiled once."""
    layers = [Dense(6, "relu", **biases), Dense(3, **biases)]
    return problem_of(5, layers, "softmax_cross_entropy", dtype="float32", batch_size=4)


def regulated(limited: bool = True) -> Any:
    """Return a problem with all that goes beyond gradient descent, of four layers."""
    layers = [
        Dropout(0.1),
        Dense(7, "prelu", max_norm=0.9 if limited else None, l1=0.1),
        Dropout(0.3),
        Dense(5, "softmax"),
        Dense(3, "rrelu"),
        Dropout(0.2),
        Dense(2, "tanh", bias=False),
    ]
    return problem_of(
        4, layers, "huber", OPTIMIZERS["adam"], l1=1e-3, l2=1e-2, batch_size=6, clip_value=0.2,
        clip_norm=0.5 if limited else None,
    )  # fmt: skip


def of_rows(family: str, factor: float = 0.4) -> Any:
    """Return a problem whose loss is a formula of whole rows, with layers trained apart."""
    outputs = 33 if family == "grid" else 3  # there a wide row is shared by threads
    layers = [
        Dense(3, "hardmax", trainable=False),
        Dense(4, "prelu", rate_factor=0.5, l1=0.01),
        Dense(outputs, lambda z: tanh(factor * z) / factor),
    ]
    return problem_of(
        2, layers,
        lambda z, y: factor * log_softmax(z)[2] - factor * 0.5 * exp(-z[1]) * y[0] + z @ z,
        OPTIMIZERS["averaged"], dtype="float32", batch_size=5,
        clip_norm=None if family == "grid" else 0.5,
    )  # fmt: skip


@EVERY
def test_classes_in_float32(family: str) -> None:
    problem = classifier()
    with device_for(family) as there:
        assert_follows_numpy(engine_of(family), problem, data_of(problem, 19))
    assert kernel_of(family) in there.launched


@pytest.mark.parametrize("family", ["distant", "grid", "tiled"])
@pytest.mark.parametrize("weighted", [False, True, "targets"])
def test_dropout_slopes_softmax_adam_and_every_limit(family: str, weighted: bool | str) -> None:
    problem = regulated() if family != "grid" else regulated(limited=False)
    with device_for(family):
        data = data_of(problem, 15, weighted=weighted)
        assert_follows_numpy(engine_of(family), problem, data, epochs=1)


@pytest.mark.parametrize(("precision", "limit"), in_turns(["tf32", "bfloat16"], [0.5, None]))
def test_tensor_cores(precision: str, limit: float | None) -> None:
    problem = problem_of(
        9, [Dense(40, "tanh"), Dense(3)], dtype="float32", batch_size=35, precision=precision,
        clip_norm=limit,
    )  # fmt: skip
    data = data_of(problem, 70)
    with device_for("tiled"):
        found = run(engine_of("tiled"), problem, data, epochs=1)
    exact = run(reference.Engine, replace(problem, precision="float32"), data, epochs=1)
    rounding = {"tf32": 2.0**-11, "bfloat16": 2.0**-8}[precision]
    assert_runs_near(found, exact, 20 * rounding)


def test_what_follows_tensor_cores_is_what_follows_other_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four numbers at a time, in float32 throughout, so that any difference shows.

    Updates are made as products end; `test_tensor_cores` has gradients that are kept for a limit.
    """
    from fastnn.targets.cuda.tiled import family as tiled

    monkeypatch.setattr(tiled, "by_four", lambda precision: True)
    layers = [
        Dropout(0.1),
        Dense(7, "prelu"),
        Dropout(0.3),
        Dense(5, "softmax"),
        Dropout(0.2),
        Dense(6, "rrelu"),
        Dense(6, "tanh", bias=False),
    ]
    problem = problem_of(
        4, layers, "mse", OPTIMIZERS["adam"], l1=1e-3, l2=1e-2, batch_size=6,
        clip_value=0.2, dtype="float32",
    )  # fmt: skip
    with device_for("tiled"):
        assert_follows_numpy(engine_of("tiled"), problem, data_of(problem, 15), epochs=1)


@EVERY
def test_biases_have_a_rate_of_their_own_and_stay_to_the_bit_where_it_is_nothing(
    family: str,
) -> None:
    with device_for(family):
        for factor in (0.3, 0.0):
            problem = classifier(bias_rate_factor=factor, l2=0.1)
            data = data_of(problem, 19)
            assert_follows_numpy(engine_of(family), problem, data)
            engine = started(engine_of(family), problem)
            before = engine.parameters()
            train(engine, problem, data)
            for (W, b), (other, c) in zip(before, engine.parameters(), strict=True):
                assert not np.array_equal(W, other)
                assert np.array_equal(b, c) == (factor == 0.0)


@EVERY
def test_losses_of_whole_rows_and_other_numbers_compile_nothing(family: str) -> None:
    compiled = []
    for factor in (0.4, 1.3):
        problem = of_rows(family, factor)
        data = data_of(problem, 11, weighted=True)
        data = Data(data.X, data.targets[:, :1].copy(), data.weights)
        with device_for(family):
            assert_follows_numpy(engine_of(family), problem, data, epochs=1)
        compiled.append(len(interpreted._code))
    assert compiled[0] == compiled[1]


@pytest.mark.parametrize(
    ("family", "made", "capability"),
    [
        ("block", "of_rows", (8, 0)),
        ("distant", "regulated", (9, 0)),
        ("grid", "of_rows", (9, 0)),
        ("grid", "regulated", (8, 0)),
        ("tiled", "of_rows", (8, 0)),
        ("tiled", "regulated", (9, 0)),
    ],
)
def test_their_kernels_stay_in_registers(
    family: str, made: str, capability: tuple[int, int]
) -> None:
    """Of the kernels that the tests above run, those that ask most of registers."""
    problem = of_rows(family) if made == "of_rows" else regulated(limited=family != "grid")
    with device_for(family) as there:
        started(engine_of(family), problem).prepare()
    assert kernel_of(family) in there.prepared
    for name, ptx in there.prepared.items():
        cubin.assert_in_registers(cubin.assemble(ptx, capability), name)


@EVERY
def test_prepared_kernels_are_those_that_are_launched(family: str) -> None:
    problem = classifier()
    with device_for(family) as there:
        engine = started(engine_of(family), problem)
        engine.prepare()
        train(engine, problem, data_of(problem, 8))
    assert there.late == set()


@EVERY
def test_a_step_without_a_finite_loss_changes_nothing(family: str) -> None:
    problem = classifier()
    data = data_of(problem, 19)
    results = []
    for engine_class in (engine_of(family), reference.Engine):
        with device_for(family):
            engine = started(engine_class, problem)
            engine.load(parameters_of(problem), zero_slots(problem))
            data.X[np.random.default_rng(0).permutation(19)[10]] = np.inf
            results.append((train(engine, problem, data)[0].bad_step, engine.parameters()))
    (found, weights), (expected, others) = results
    assert found == expected == 2
    assert_layers_near(weights, others, 3e-5)


def test_predictions_of_more_rows_than_blocks_take_at_a_time() -> None:
    problem = classifier()
    X = data_of(problem, 300).X
    with device_for("block"):
        found = started(engine_of("block"), problem).forward(X)
    assert_near([found], [started(reference.Engine, problem).forward(X)], 3e-5)


@EVERY
def test_epochs_in_one_call(family: str) -> None:
    problem = classifier()
    data = data_of(problem, 19)
    orders = np.array([np.random.default_rng(epoch).permutation(19) for epoch in range(3)])
    rates, found = np.linspace(0.1, 0.02, 15).reshape(3, 5), []
    for engine_class in (engine_of(family), reference.Engine):
        with device_for(family):
            engine = started(engine_class, problem)
            results = engine.train_epochs(data, orders, rates, 0, 0)
            losses = np.array([each.loss for each in results], np.float64)
            found.append([losses, *(array for layer in engine.parameters() for array in layer)])
    assert_near(*found, 3e-5)


@pytest.mark.parametrize("family", ["block", "distant"])
def test_networks_side_by_side_are_those_of_their_seeds(family: str) -> None:
    from fastnn.targets.cuda.batched_models import Several

    problem, seeds = classifier(), [3, 2**63 - 11, 7]
    rates = np.array([[0.1, 0.08, 0.07, 0.06, 0.05]] * 2)
    data = data_of(problem, 19)
    with device_for(family) as there:
        problems = [replace(problem, seed=seed, l2=0.1 * (seed == 3)) for seed in seeds]
        several = Several(problems)
        for network, seat in enumerate(several.seats):
            seat.load(parameters_of(problem, network), [])
        asked = [(rates, 4, 12), (0.5 * rates, 7, 21)]
        several.seats[1].forecast = lambda: (several.seats[1].state, *asked[1])
        results = [
            seat.train_epochs(data, seat.orders(range(own[1], own[1] + 2), 19), *own)
            for seat, own in zip(several.seats, asked, strict=False)
        ]
    # A distant network's device has too little shared memory for an order, too.
    shuffle = "shuffle_near" if family == "block" else "shuffle_far"
    assert there.launched == [shuffle, kernel_of(family)]
    for network, seed in enumerate(seeds[:2]):
        assert problems[network].seed == seed
        alone = reference.Engine(problems[network])
        alone.load(parameters_of(problem, network), [])
        rates, epoch, step = asked[network]
        orders = alone.orders(range(epoch, epoch + 2), 19)
        expected = alone.train_epochs(data, orders, rates, epoch, step)
        for one, other in zip(results[network], expected, strict=True):
            assert one.loss == pytest.approx(other.loss, rel=3e-5)
        for one, other in zip(several.seats[network].parameters(), alone.parameters(), strict=True):
            assert_near(one, other, 3e-5)
    untouched = zip(several.seats[2].parameters(), parameters_of(problem, 2), strict=True)
    for one, other in untouched:
        assert_near(one, other, 0)


@EVERY
def test_rows_that_do_not_fit_are_streamed(family: str) -> None:
    problem = classifier()
    data = data_of(problem, 19)
    with device_for(family) as there:
        there.free_bytes = 19 * 28 - 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fastnn.targets.cuda.host.memory.check_room", lambda *_: None)
            patch.setattr("fastnn.targets.cuda.host.streaming.CHUNK_BYTES", 8 * 28)
            assert_follows_numpy(engine_of(family), problem, data)
            streamed = started(engine_of(family), problem)
            train(streamed, problem, data)
            assert len(streamed._session.placed.placed) == 2


@EVERY
def test_a_number_that_is_not_finite_is_found(family: str) -> None:
    problem = classifier()
    with device_for(family) as there:
        engine = started(engine_of(family), problem)
        engine.forward(data_of(problem, 2).X)
        found = []
        for value in (1.0, np.nan, -np.inf):
            engine._device[0, -1] = value
            engine._host = None
            found.append(engine.finite())
    assert found == [True, False, False]
    assert there.launched[-1] == "search"


@pytest.mark.parametrize(
    ("n", "shared", "runs"),
    # What is drawn while something is swapped: three times 512 rows; and far ones, by 16 a launch.
    [
        (1, 1 << 16, "near"),
        (1100, 1 << 16, "near"),
        (50, 0, "far far far far"),
        (33, 0, "far far far"),
        (1, 0, "far"),
    ],
)
def test_device_orders_are_those_of_the_host(
    n: int, shared: int, runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numba import cuda

    from fastnn.random.row_orders import order_key
    from fastnn.random.shuffling import make_orders as on_host
    from fastnn.targets.cuda.block import row_orders as orders

    with device_for("block") as there:
        monkeypatch.setattr(orders, "limits", lambda: SimpleNamespace(shared_bytes=shared))
        monkeypatch.setattr(orders, "FAR_SWAPS", 16)
        keys = np.array([order_key(2**63 - 5, epoch) for epoch in range(33)], np.uint64)
        found = orders.make_orders(keys, n, cuda.stream()).copy_to_host()
    assert there.launched == [f"shuffle_{run}" for run in runs.split()]
    np.testing.assert_array_equal(found, on_host(2**63 - 5, range(33), n))
