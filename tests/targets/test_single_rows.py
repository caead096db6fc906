"""Models without hidden layers that step on one row at a time: the loops of scikit-learn's SGD."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from pairs import all_pairs
from target_cases import (
    DTYPES,
    OPTIMIZERS,
    assert_follows_numpy,
    data_of,
    parameters_of,
    problem_of,
    started,
    train,
)

from fastnn.inputs.data import Data
from fastnn.inputs.problem import penalty_of
from fastnn.network import SGD, Dense
from fastnn.optimizers import AveragedSGD
from fastnn.rules.table import LOSSES
from fastnn.targets import numpy as reference

RULES = {"sgd": SGD(0.05), "mean": AveragedSGD(0.05), "late mean": AveragedSGD(0.05, 40)}
PENALTIES = {"none": {}, "l1": {"l1": 0.02}, "l2": {"l2": 0.1}, "both": {"l1": 0.02, "l2": 0.1}}
ELEMENTWISE = [name for name, row in LOSSES.items() if not row.rowwise]


def single(inputs, outputs, loss="mse", rule="sgd", **changes):
    layers = [Dense(outputs, bias=changes.pop("bias", True))]
    return problem_of(inputs, layers, loss, RULES[rule], batch_size=1, **changes)


def state_of(engine):
    groups = [engine.parameters(), *engine.slots()]
    return np.concatenate([each.ravel() for group in groups for layer in group for each in layer])


@pytest.mark.parametrize(
    ("inputs", "outputs", "rule", "penalty", "weighted", "dtype"),
    all_pairs([1, 7, 9, 33], [1, 2, 65], RULES, PENALTIES, [False, True, "targets"], DTYPES),
)
def test_single_rows_follow_the_numpy_target(
    fast_class, inputs, outputs, rule, penalty, weighted, dtype
):
    problem = single(inputs, outputs, rule=rule, dtype=dtype, **PENALTIES[penalty])
    data = data_of(problem, 37, weighted=weighted)
    if weighted:
        data.weights[::5] = 0.0
    assert_follows_numpy(fast_class, problem, data, rate=0.01, epochs=2)


@pytest.mark.parametrize(
    ("loss", "outputs", "rule"), all_pairs(ELEMENTWISE, [1, 3], ["sgd", "mean"])
)
def test_single_rows_follow_the_numpy_target_with_every_loss(fast_class, loss, outputs, rule):
    problem = single(11, outputs, loss, rule, l2=0.1, bias=rule == "mean")
    rate = 0.005 if loss == "poisson" else 0.02
    assert_follows_numpy(fast_class, problem, data_of(problem, 70), rate=rate)


def softmax_data(problem, n, kind, weighted):
    """Return rows with labels or with soft labels, some of which sum to less than 1."""
    data, outputs = data_of(problem, n, weighted=weighted), problem.network.outputs
    if weighted:
        data.weights[::5] = 0.0
    if kind != "soft":
        return data
    shares = np.random.default_rng(4).dirichlet(np.full(outputs, 0.3), n)
    shares[::3] = np.eye(outputs)[data.targets[::3]]
    return replace(data, targets=(0.9995 * shares).astype(problem.dtype))


@pytest.mark.parametrize(
    ("inputs", "outputs", "rule", "penalty", "kind", "weighted", "dtype"),
    all_pairs(
        [1, 7, 33], [2, 3, 10, 32, 33], RULES, PENALTIES, ["labels", "soft"], [False, True], DTYPES
    ),
)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_softmax_of_single_rows_follows_the_numpy_target(
    fast_class, inputs, outputs, rule, penalty, kind, weighted, dtype, smoothing
):
    problem = single(
        inputs, outputs, "softmax_cross_entropy", rule, dtype=dtype, bias=inputs > 1,
        label_smoothing=smoothing, **PENALTIES[penalty],
    )  # fmt: skip
    data = softmax_data(problem, 37, kind, weighted)
    assert_follows_numpy(fast_class, problem, data, rate=0.1, epochs=2)


def test_softmax_of_large_outputs_is_that_of_the_numpy_target(fast_class):
    problem = single(4, 3, "softmax_cross_entropy")
    data = data_of(problem, 30)
    data.X[:] *= 300.0  # exp of which is beyond any number
    assert_follows_numpy(fast_class, problem, data, rate=0.1)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_row_of_infinite_outputs_stops_a_softmax_unless_it_has_no_weight(fast_class, weight):
    problem = single(5, 3, "softmax_cross_entropy")
    data = data_of(problem, 30)
    data.X[17] = 1e308  # times a weight it is infinite
    data = replace(data, weights=np.where(np.arange(30) == 17, weight, 1.0))
    ends = []
    for kind in (fast_class, reference.Engine):
        with closing(kind(problem)) as engine:
            engine.load([(100 * W, b) for W, b in parameters_of(problem)], [])
            result = engine.train_epoch(data, np.arange(30), np.full(30, 0.01), 0, 0)
            assert result.bad_step == (17 if weight else None)
            ends.append(state_of(engine))
    if not weight:
        np.testing.assert_allclose(*ends, rtol=0, atol=1e-12)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("layout", ["rows", "columns", "bytes"])
def test_single_rows_of_any_layout_come_to_the_same_bits(fast_class, outputs, layout):
    problem = single(9, outputs, rule="mean")
    data = data_of(problem, 20)
    X = np.round(10 * data.X)
    other = {"rows": X.repeat(2, axis=0)[::2], "columns": np.asfortranarray(X)}
    other = other.get(layout, X.astype(np.int8))
    ends = []
    for each in (X, other):
        with closing(started(fast_class, problem)) as engine:
            train(engine, problem, Data(each, data.targets), rate=1e-4)
            ends.append(state_of(engine))
    assert np.array_equal(*ends)


@pytest.mark.parametrize("layout", ["float", "double", "int8", "columns"])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(
    ("rule", "outputs", "loss"),
    [
        ("sgd", 3, "binary_cross_entropy"),
        ("sgd", 11, "binary_cross_entropy"),
        ("mean", 1, "binary_cross_entropy"),
        ("mean", 3, "binary_cross_entropy"),
        ("mean", 11, "binary_cross_entropy"),
        ("sgd", 3, "softmax_cross_entropy"),
        ("sgd", 11, "softmax_cross_entropy"),
        ("mean", 3, "softmax_cross_entropy"),
        ("mean", 11, "softmax_cross_entropy"),
    ],
)
def test_single_rows_in_parts_come_to_the_same_bits(
    fast_class, rule, outputs, loss, penalty, layout
):
    problem = single(9, outputs, loss, rule, **PENALTIES[penalty])
    data, order, rates = data_of(problem, 90), np.arange(90)[::-1].copy(), np.full(90, 0.02)
    kinds = {"float": np.float32, "double": np.float64, "int8": np.int8, "columns": np.float32}
    X = (data.X * 3).astype(kinds[layout])
    data = Data(np.asfortranarray(X) if layout == "columns" else X, data.targets)
    ends = []
    for stops in ((), (1, 2, 30, 64, 89)):
        with closing(started(fast_class, problem)) as engine:
            if engine.hides_steps(problem):
                pytest.skip("it says so")
            seen = []
            result = engine.train_epoch_in_parts(
                data, order, rates, 0, 0, stops, lambda step, *_, seen=seen: seen.append(step)
            )
            assert seen == list(stops)
            ends.append((result.loss, state_of(engine)))
    assert ends[0][0] == ends[1][0] and np.array_equal(ends[0][1], ends[1][1])


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "softmax_cross_entropy"])
@pytest.mark.parametrize("rule", ["sgd", "mean"])
@pytest.mark.parametrize("outputs", [3, 11, 19])
def test_who_looks_on_sees_each_update_done(fast_class, outputs, rule, loss):
    problem = single(9, outputs, loss, rule, l2=0.05, dtype="float64")
    data, order, rates = data_of(problem, 40), np.arange(40)[::-1].copy(), np.full(40, 0.05)
    seen = []
    for kind in (reference.Engine, fast_class):
        with closing(started(kind, problem)) as engine:
            states = []
            engine.train_epoch_in_parts(
                data, order, rates, 0, 0, (1, 2, 7, 33),
                lambda *_, e=engine, s=states: s.append(state_of(e)),
            )  # fmt: skip
            seen.append(np.array([*states, state_of(engine)]))
    np.testing.assert_allclose(seen[1], seen[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("outputs", [1, 4])
def test_the_penalty_after_an_epoch_has_its_l1(engine_class, outputs):
    problem = single(6, outputs, l1=0.03, l2=0.2)
    with closing(started(engine_class, problem)) as engine:
        [result] = train(engine, problem, data_of(problem, 12))
        expected = penalty_of(problem, engine.parameters())
    assert result.penalty is None or result.penalty == pytest.approx(expected, rel=1e-12)
    assert result.penalty is not None or not engine.tells_penalty


def test_a_loss_that_is_not_finite_stops_single_rows_where_it_is(engine_class):
    problem = single(5, 3)
    data = data_of(problem, 30)
    data.X[17] = 1e200  # a product of two such is infinite
    with closing(engine_class(problem)) as engine:
        engine.load(parameters_of(problem), [])
        result = engine.train_epoch(data, np.arange(30), np.full(30, 0.01), 0, 0)
    assert result.bad_step == 17


def test_optimizers_that_take_more_than_a_row_are_left_to_others(engine_class):
    problem = problem_of(5, [Dense(3)], optimizer=OPTIMIZERS["adam"], batch_size=1)
    assert_follows_numpy(engine_class, problem, data_of(problem, 12))
