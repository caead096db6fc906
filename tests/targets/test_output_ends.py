"""Outputs of a linear model that end each for itself, by their own objectives."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from pairs import all_pairs
from scipy.sparse import csr_matrix
from target_cases import DTYPES, data_of, problem_of, started

from fastnn.inputs.output_ends import first_ends, going, objective
from fastnn.inputs.sparse_rows import check_sparse, is_sparse
from fastnn.network import SGD, Dense
from fastnn.optimizers import Adam, AveragedSGD
from fastnn.rules import ends
from fastnn.targets import numpy as reference

ROWS, EPOCHS = 41, 12
OUTPUTS = [1, 5, 13, 21]  # one; one after another; side by side in vectors; in two panels
RULES = {"sgd": SGD(0.02), "mean": AveragedSGD(0.02), "late mean": AveragedSGD(0.02, 60)}
PENALTIES = {"none": {}, "l1": {"l1": 0.02}, "both": {"l1": 0.01, "l2": 0.1}}


def single(outputs, loss="mse", rule="sgd", **changes):
    return problem_of(7, [Dense(outputs)], loss, RULES[rule], batch_size=1, **changes)


@pytest.fixture(params=["dense", "sparse"])
def rows_of(request):
    """Return a function that makes rows of X of one kind, of which many numbers are 0."""

    def rows_of(problem, **more):
        data = data_of(problem, ROWS, **more)
        X = np.where(np.abs(data.X) < 0.5, 0.0, data.X).astype(problem.dtype)
        if request.param == "sparse":
            X = check_sparse(csr_matrix(X), X.shape[1], problem.dtype, "X")
        return replace(data, X=X)

    return rows_of


def begun(engine_class, problem, data, tol=2e-2, patience=2):
    engine = started(engine_class, problem)
    if ".cuda" in type(engine).__module__:
        engine.close()
        pytest.skip("on CUDA outputs are trained one after another for that")
    if is_sparse(data.X) and problem.network.outputs == 1 and engine_class is not reference.Engine:
        engine.close()
        pytest.skip("one output on sparse rows ends by what its epochs came to")
    assert engine.ends_outputs(data.X)
    share = problem.network.outputs
    engine.ends = first_ends(problem, engine.parameters(), tol, patience, share, ROWS)
    return engine


def orders(epochs=EPOCHS):
    random = np.random.default_rng(5)
    return np.array([random.permutation(ROWS) for _ in range(epochs)])


def epochs_of(engine, data, rows, step=0, epoch=0):
    return engine.train_epochs(data, rows, np.full(rows.shape, 0.02), epoch, step)


def state_of(engine):
    groups = [engine.parameters(), *engine.slots()]
    return np.concatenate([each.ravel() for group in groups for layer in group for each in layer])


def rests(row):
    return row[ends.HEAD + ends.RESTS :: ends.OF_OUTPUT] > 0


@pytest.mark.parametrize(
    ("outputs", "rule", "penalty", "loss", "weighted", "dtype"),
    all_pairs(
        OUTPUTS,
        RULES,
        PENALTIES,
        ["mse", "binary_cross_entropy", "hinge"],
        [False, True, "targets"],
        DTYPES,
    ),
)
def test_ends_follow_the_numpy_target(
    rows_of, fast_class, outputs, rule, penalty, loss, weighted, dtype
):
    problem = single(outputs, loss, rule, dtype=dtype, **PENALTIES[penalty])
    data = rows_of(problem, weighted=weighted)
    if weighted:
        data.weights[::5] = 0.0
    found = []
    for kind in (reference.Engine, fast_class):
        with closing(begun(kind, problem, data)) as engine:
            found.append((epochs_of(engine, data, orders()), state_of(engine)))
    tolerance = 1e-10 if dtype == "float64" else 2e-4
    (mine, after), (its, expected) = found[1], found[0]
    np.testing.assert_allclose(after, expected, rtol=tolerance, atol=tolerance)
    for one, other in zip(mine, its, strict=True):
        np.testing.assert_allclose(one.ends, other.ends, rtol=tolerance, atol=tolerance)
        assert one.loss == pytest.approx(other.loss, rel=tolerance)
    assert len({going(each.ends) for each in mine}) > 1, "they end at different times"


@pytest.mark.parametrize("outputs", OUTPUTS[1:])
def test_an_output_at_rest_is_what_it_was_and_others_are_as_without(rows_of, engine_class, outputs):
    problem = single(outputs, dtype="float64", l2=0.01)
    data = rows_of(problem)
    with (
        closing(begun(engine_class, problem, data)) as engine,
        closing(begun(engine_class, problem, data)) as free,
    ):
        free.ends = None
        states, without, results = [], [], []
        for number, rows in enumerate(orders()):
            results += epochs_of(engine, data, rows[None], number * ROWS, number)
            epochs_of(free, data, rows[None], number * ROWS, number)
            states.append(engine.parameters()[0])
            without.append(free.parameters()[0])
    for number, result in enumerate(results[:-1]):
        still = rests(result.ends)
        for now, then, plain in zip(
            states[number + 1], states[number], without[number + 1], strict=True
        ):
            np.testing.assert_array_equal(now[..., still], then[..., still])
            np.testing.assert_allclose(now[..., ~still], plain[..., ~still], rtol=1e-13)
    assert going(results[-1].ends) < outputs


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_objective_waiting_and_rest_are_as_the_rule_says(rows_of, engine_class, outputs):
    problem = single(outputs, dtype="float64", l2=0.05)
    data, tol, patience = rows_of(problem), 2e-2, 2
    with closing(begun(engine_class, problem, data, tol, patience)) as engine:
        penalty = 0.5 * 0.05 * np.square(engine.parameters()[0][0]).sum(axis=0)
        best, waited = np.full(outputs, np.inf), np.zeros(outputs)
        last = np.zeros(outputs)
        for number, rows in enumerate(orders()):
            busy = waited < patience
            [result] = epochs_of(engine, data, rows[None], number * ROWS, number)
            own = result.ends[ends.HEAD :].reshape(outputs, -1)
            after = 0.5 * 0.05 * np.square(engine.parameters()[0][0]).sum(axis=0)
            share = outputs * (penalty + (after - penalty) * (ROWS - 1) / (2 * ROWS))
            found = own[:, ends.LOSSES] / own[:, ends.WEIGHT] + share
            last = np.where(busy, found, last)
            np.testing.assert_allclose(own[:, ends.OWN_OBJECTIVE], last, rtol=1e-12)
            waited = np.where(busy, np.where(last > best - tol, waited + 1, 0), waited)
            best, penalty = np.where(busy, np.minimum(best, last), best), after
            np.testing.assert_array_equal(rests(result.ends), waited >= patience)
            assert going(result.ends) == (waited < patience).sum()
            assert objective(result.ends) == pytest.approx(last.mean(), rel=1e-12)
            assert own[:, ends.WEIGHT].tolist() == [ROWS] * outputs


@pytest.mark.parametrize("l1", [0.0, 0.01])
@pytest.mark.parametrize("outputs", OUTPUTS[1:])
@pytest.mark.parametrize("rule", ["sgd", "mean"])
def test_epochs_in_a_call_one_by_one_in_parts_and_predicted_are_the_same_bits(
    rows_of, fast_class, rule, outputs, l1
):
    problem = single(outputs, rule=rule, l1=l1, l2=0.01)
    data = rows_of(problem)
    X = data.X[:3]
    rates, found = np.full(ROWS, 0.02), []
    for way in ("call", "one by one", "parts", "predicted"):
        with closing(begun(fast_class, problem, data)) as engine:
            if way == "call":
                rows = [each.ends for each in epochs_of(engine, data, orders())]
            elif way == "predicted":
                done = engine.train_and_predict(
                    data, orders(), np.tile(rates, (EPOCHS, 1)), 0, 0, X
                )
                rows = [each.result.ends for each in done]
            else:
                rows = []
                for number, order in enumerate(orders()):
                    step, stops = number * ROWS, (1, 30) if way == "parts" else ()
                    result = engine.train_epoch_in_parts(
                        data, order, rates, number, step, stops, lambda *_: None
                    )
                    rows.append(result.ends)
            found.append((np.array(rows), state_of(engine)))
    for rows, state in found[1:]:
        np.testing.assert_array_equal(rows, found[0][0])
        np.testing.assert_array_equal(state, found[0][1])


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_when_all_are_at_rest_nothing_changes(rows_of, engine_class, outputs):
    problem = single(outputs, "hinge")
    data = rows_of(problem)
    with closing(begun(engine_class, problem, data, tol=100.0, patience=1)) as engine:
        results = epochs_of(engine, data, orders(2))
        assert [going(each.ends) for each in results] == [outputs, 0]
        before = state_of(engine)
        [result] = epochs_of(engine, data, orders(1), 2 * ROWS, 2)
        np.testing.assert_array_equal(state_of(engine), before)
        np.testing.assert_array_equal(result.ends, results[-1].ends)
        assert result.loss == pytest.approx(results[-1].loss, rel=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 2},
        {"optimizer": Adam()},
        {"loss": "softmax_cross_entropy"},
        {"clip_norm": 1.0},
    ],
    ids=str,
)
def test_other_models_say_that_their_outputs_cannot(engine_class, changes):
    named = {"loss": "mse", "optimizer": SGD(0.1), "batch_size": 1, **changes}
    problem = problem_of(7, [Dense(5)], **named)
    with closing(engine_class(problem)) as engine:
        assert not engine.ends_outputs(np.zeros((2, 7)))


@pytest.mark.parametrize("outputs", OUTPUTS[1:])
def test_who_looks_on_sees_the_losses_of_those_that_are_trained(rows_of, fast_class, outputs):
    problem = single(outputs, dtype="float64")
    data, rates, found = rows_of(problem), np.full(ROWS, 0.02), []
    for kind in (reference.Engine, fast_class):
        with closing(begun(kind, problem, data)) as engine:
            seen = []
            for number, order in enumerate(orders()):
                engine.train_epoch_in_parts(
                    data, order, rates, number, number * ROWS, (7, 30, ROWS),
                    lambda *sums, to=seen: to.append(sums),
                )  # fmt: skip
            found.append(seen)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_no_epoch_is_done_when_all_are_at_rest(rows_of, engine_class, outputs):
    problem = single(outputs, "hinge")
    data = rows_of(problem)
    X = data.X[:3]
    with (
        closing(begun(engine_class, problem, data, tol=100.0, patience=1)) as engine,
        closing(begun(engine_class, problem, data, tol=100.0, patience=1)) as other,
    ):
        results = epochs_of(engine, data, orders(4))
        assert [going(each.ends) for each in results] == [outputs, 0]
        rates = np.full(orders(4).shape, 0.02)
        predicted = other.train_and_predict(data, orders(4), rates, 0, 0, X)
        assert [going(each.result.ends) for each in predicted] == [outputs, 0]
        np.testing.assert_array_equal(state_of(other), state_of(engine))
