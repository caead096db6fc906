"""User-defined losses of whole rows: as PyTorch has them, on every target."""

import itertools
from contextlib import closing

import numpy as np
import pytest
from checker import unchecked
from pairs import EVERY_CASE, pairs_among
from row_cases import CASES, targets_for
from target_cases import (
    DTYPES,
    assert_follows_numpy,
    data_of,
    few,
    needs_jit,
    parameters_of,
    problem_of,
    run,
    run_python,
    started,
    zero_slots,
)

from fastnn.graph import exp, log_softmax, logsumexp, one_hot, tanh, where
from fastnn.inputs.data import Data
from fastnn.network import Dense, Dropout

SIZES = [(1, 1), (15, 4), (16, 16), (17, 8), (33, 100), few((70, 40), (37, 19))]  # rows, batch


def problem_for(name, hidden=7, inputs=3, **settings):
    loss, outputs, *_ = CASES[name]
    layers = [Dense(hidden, "tanh")] if hidden else []
    return problem_of(inputs, [*layers, Dense(outputs)], loss, **settings)


def data_for(problem, name, n, *, weighted=False):
    data = data_of(problem, n, weighted=weighted)
    return Data(data.X, targets_for(name, n, problem.dtype), data.weights)


@pytest.mark.parametrize("name", CASES)
def test_the_loss_and_its_gradient_are_those_of_pytorch(engine_class, name):
    torch = pytest.importorskip("torch")
    problem = problem_for(name, hidden=0)
    data, ((W, b),) = data_for(problem, name, 37, weighted=True), parameters_of(problem)
    with closing(started(engine_class, problem)) as found:
        loss, [(dW, db)] = found.gradients(data)
    W, b, X, w, y = (torch.tensor(each) for each in (W, b, data.X, data.weights, data.targets))
    W.requires_grad_(), b.requires_grad_()
    expected = (w * CASES[name][-1](X @ W + b, y)).sum() / w.sum()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    for one, other in ((dW, W.grad.numpy()), (db, b.grad.numpy())):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * max(1, abs(other).max()))


# A formula is compiled for each dtype, for two seconds.
IN_FLOAT32 = ("gaussian", "focal", "extremes", "ranked")


@pytest.mark.parametrize(
    ("name", "size", "weighted", "dtype"),
    pairs_among(
        [
            case
            for case in itertools.product(CASES, SIZES, [False, True], DTYPES)
            if case[-1] == "float64" or case[0] in IN_FLOAT32 or EVERY_CASE
        ]
    ),
)
def test_training_follows_the_numpy_target(fast_class, name, size, weighted, dtype):
    rows, batch = size
    problem = problem_for(name, dtype=dtype, batch_size=batch, l2=0.01)
    data = data_for(problem, name, rows, weighted=weighted)
    assert_follows_numpy(fast_class, problem, data, epochs=2, rate=0.02)


@pytest.mark.parametrize("activation", ["softmax", "relu", "prelu", lambda z: tanh(z) * 2])
@pytest.mark.parametrize("outputs", [1, 16, 17, 33])
def test_any_width_and_last_activation_follow_the_numpy_target(fast_class, activation, outputs):
    layers = [Dropout(0.2), Dense(5, "relu"), Dense(outputs, activation)]
    problem = problem_of(
        3, layers, lambda z, y: logsumexp(2 * z) * y[1] - np.sum(z) * z[0] + (z[-1] - y[0]) ** 2
    )
    data = data_of(problem, 19, weighted=True)
    data = Data(data.X, np.random.default_rng(1).normal(size=(19, 2)), data.weights)
    assert_follows_numpy(fast_class, problem, data)


def test_one_output_with_several_targets_follows_the_numpy_target(fast_class):
    for layers in ([Dense(1)], [Dense(4, "tanh"), Dense(1)]):
        for batch in (1, 8):
            problem = problem_of(
                3, layers, lambda z, y: y[1] * (z[0] - y[0]) ** 2, batch_size=batch
            )
            targets = np.random.default_rng(1).uniform(size=(21, 2))
            data = Data(data_of(problem, 21).X, targets)
            assert_follows_numpy(fast_class, problem, data)


def weighted_entropy(weights):
    """Return the cross-entropy of classes with weights, and some more arrays of constants."""

    def loss(z, y):
        here = one_hot(y[0], len(z))
        other = where(here == 1, 0.3, 0.7)
        return -(weights * here) @ log_softmax(z) + np.sum(weights[1:] * other[1:] * z[1:] ** 2)

    return loss


def test_arrays_of_constants_follow_the_numpy_target(fast_class):
    # 1 and 0 are in the text of code, other numbers are arguments.
    for weights in ([0.5, 2.0, 3.0], [1.0, 2.0, 0.0], [0.5, 4.0]):
        outputs = len(weights)
        loss = weighted_entropy(np.array(weights))
        problem = problem_of(3, [Dense(4, "tanh"), Dense(outputs)], loss)
        labels = np.random.default_rng(2).integers(0, outputs, (13, 1)).astype(problem.dtype)
        assert_follows_numpy(fast_class, problem, Data(data_of(problem, 13).X, labels))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", ["focal", "wide", "ranked"])
def test_any_number_of_threads_gives_the_same_bits(fast_class, threads, name):
    problem = problem_for(name, hidden=few(200, 9), inputs=few(90, 5), batch_size=40)
    data = data_for(problem, name, 130, weighted=True)
    alone, together = (run(fast_class, problem, data, threads=n, epochs=1) for n in (1, threads))
    assert alone.bits() == together.bits()


@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_of_any_size_leave_the_softmax_finite(engine_class, dtype):
    for name in ("smoothed", "wide"):
        problem = problem_for(name, hidden=0, dtype=dtype)
        data = data_for(problem, name, 9)
        data = Data(data.X * data.X.dtype.type(1e6), data.targets)
        with closing(started(engine_class, problem)) as found:
            loss, gradients = found.gradients(data)
        assert np.isfinite(loss) and all(np.isfinite(each).all() for each in gradients[0])


def test_equal_largest_outputs_share_the_derivative(engine_class):
    problem = problem_of(1, [Dense(4, bias=False)], lambda z, y: np.max(z) * y[0])
    with closing(engine_class(problem, 1)) as found:
        found.load([(np.array([[2.0, 1.0, 2.0, 2.0]]), np.zeros(4))], [])
        _, [(dW, _)] = found.gradients(Data(np.ones((1, 1)), np.array([[6.0]])))
    assert dW.tolist() == [[2, 0, 2, 2]]


@pytest.mark.parametrize("label", [-1, 4, 1.5])
def test_a_label_that_no_output_has_stops_the_training(engine_class, label):
    problem = problem_of(2, [Dense(4)], lambda z, y: logsumexp(z) - z[y[0]], batch_size=2)
    data = data_of(problem, 8)
    labels = np.where(np.arange(8) == 5, label, 1.0)[:, None]
    with closing(started(engine_class, problem)) as found:
        result = found.train_epoch(Data(data.X, labels), np.arange(8), np.full(4, 0.1), 0, 0)
    assert result.bad_step == 2


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("quantiles", "extremes")])
def test_gradients_are_the_differences_of_the_loss(engine_class, name):
    problem = problem_for(name, hidden=2, inputs=2)
    data, parameters, h = data_for(problem, name, 5, weighted=True), parameters_of(problem), 1e-5
    with closing(started(engine_class, problem)) as engine:
        _, gradients = engine.gradients(data)
        for pair, found in zip(parameters, gradients, strict=True):
            for values, gradient in zip(pair, found, strict=True):
                for place in list(np.ndindex(values.shape))[-4:]:
                    losses, kept = [], values[place]
                    for values[place] in (kept + h, kept - h):
                        engine.load(parameters, zero_slots(problem))
                        losses.append(engine.gradients(data)[0])
                    values[place] = kept
                    numeric = (losses[0] - losses[1]) / (2 * h)
                    assert gradient[place] == pytest.approx(numeric, rel=1e-5, abs=1e-7)


# Counts what is compiled for formulas that differ in their numbers alone.
COUNT = """
from contextlib import closing
from target_cases import data_of, problem_of, started, train
from fastnn.targets.cpu import user_rules
from fastnn.targets.cpu.engine import Engine
from fastnn.graph import logsumexp, tanh
from fastnn.inputs.data import Data
from fastnn.network import Dense
import numpy as np

def loop(layers, loss, columns):
    problem = problem_of(5, layers, loss)
    data = data_of(problem, 20)
    y = np.random.default_rng(0).normal(size=(20, columns))
    with closing(started(Engine, problem)) as engine:
        return train(engine, problem, Data(data.X, y))[0].loss

for factor in (0.1, 0.2, 0.7):
    rules = [Dense(9, lambda z: tanh(z * factor) / factor), Dense(3)]
    loss = loop(rules, lambda z, y: (z - y) ** 2 * factor, 3)
    line = loop([Dense(1)], lambda z, y: (z - y) ** 2 * factor, 1)
    whole = loop([Dense(3)], lambda z, y: logsumexp(z * factor) - factor * z[0] * y[0], 1)
    print(len(user_rules._compiled), loss, line, whole)
"""


@unchecked
@needs_jit
def test_other_numbers_in_formulas_compile_nothing():
    lines = [line.split() for line in run_python(COUNT).splitlines()]
    counts, *losses = zip(*lines, strict=True)
    assert len(set(counts)) == 1 and all(len(set(each)) == 3 for each in losses)


def test_other_numbers_are_not_mixed_up(fast_class):
    for factor in (0.25, 3.0):
        layers = [Dense(9, lambda z, f=factor: tanh(z * f) / f), Dense(3)]
        losses = (
            lambda z, y, f=factor: exp(f * (z - y)) - f * (z - y),
            lambda z, y, f=factor: f * logsumexp(z) - f * 0.5 * z[0] + np.sum((z - y) ** 2) * f,
        )
        for loss in losses:
            problem = problem_of(3, layers, loss)
            assert_follows_numpy(fast_class, problem, data_of(problem, 23))
