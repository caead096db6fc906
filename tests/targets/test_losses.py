"""Soft labels, label smoothing, counts and quantiles: on every target, and against PyTorch's."""

from contextlib import closing

import numpy as np
import pytest
from pairs import all_pairs
from target_cases import (
    DTYPES,
    assert_follows_numpy,
    data_of,
    few,
    parameters_of,
    problem_of,
    run,
    started,
    zero_slots,
)

from fastnn import Quantile
from fastnn.inputs.data import Data
from fastnn.network import Dense

SOFTMAX = "softmax_cross_entropy"


def soft(problem, n, *, hard=False, weighted=False):
    """Return data with rows of probabilities, some of them 0; or, for `hard`, with labels."""
    data, random = data_of(problem, n, weighted=weighted), np.random.default_rng(3)
    if hard:
        return data
    labels = random.dirichlet(np.full(problem.network.outputs, 0.5), n)
    labels[::3] = np.eye(problem.network.outputs)[
        random.integers(0, labels.shape[1], len(labels[::3]))
    ]
    return Data(data.X, labels.astype(problem.dtype), data.weights)


@pytest.mark.parametrize(
    ("outputs", "smoothing", "hard", "batch", "dtype"),
    all_pairs([2, 3, 9, 16, 17, 33], [0.0, 0.25], [False, True], [1, 8, 40], DTYPES),
)
def test_soft_and_smoothed_labels_follow_the_numpy_target(
    fast_class, outputs, smoothing, hard, batch, dtype
):
    problem = problem_of(
        3, [Dense(7, "tanh"), Dense(outputs)], SOFTMAX, dtype=dtype, batch_size=batch,
        label_smoothing=smoothing,
    )  # fmt: skip
    assert_follows_numpy(fast_class, problem, soft(problem, 23, hard=hard, weighted=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize("hard", [False, True])
def test_the_loss_and_its_gradient_are_those_of_pytorch(engine_class, smoothing, hard):
    torch = pytest.importorskip("torch")
    problem = problem_of(3, [Dense(4)], SOFTMAX, label_smoothing=smoothing)
    data, ((W, b),) = soft(problem, 13, hard=hard, weighted=True), parameters_of(problem)
    with closing(started(engine_class, problem)) as engine:
        loss, [(dW, db)] = engine.gradients(data)
    W, b, X, w, y = (torch.tensor(each) for each in (W, b, data.X, data.weights, data.targets))
    W.requires_grad_(), b.requires_grad_()
    rows = torch.nn.functional.cross_entropy(
        X @ W + b, y, reduction="none", label_smoothing=smoothing
    )
    expected = (w * rows).sum() / w.sum()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(dW, W.grad.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(db, b.grad.numpy(), rtol=0, atol=1e-12)


def test_one_hot_labels_are_labels(engine_class):
    problem = problem_of(3, [Dense(5, "tanh"), Dense(4)], SOFTMAX)
    hard = data_of(problem, 21)
    one_hot = Data(hard.X, np.eye(4)[hard.targets])
    found, expected = (run(engine_class, problem, each) for each in (one_hot, hard))
    for one, other in zip(found.groups(), expected.groups(), strict=True):
        for name, array in other.items():
            np.testing.assert_allclose(one[name], array, rtol=1e-12, err_msg=name)


def test_the_gradient_is_that_of_the_loss_where_probabilities_do_not_quite_sum_to_one(engine_class):
    problem = problem_of(2, [Dense(3)], SOFTMAX, label_smoothing=0.1)
    data, parameters, h = soft(problem, 5), parameters_of(problem), 1e-5
    data.targets[:] *= 1.0009

    def objective(bias):
        engine.load([(parameters[0][0], bias)], zero_slots(problem))
        return engine.gradients(data)[0]

    with closing(started(engine_class, problem)) as engine:
        _, [(_, db)] = engine.gradients(data)
        bias, steps = parameters[0][1], h * np.eye(3)
        numeric = [(objective(bias + s) - objective(bias - s)) / (2 * h) for s in steps]
    np.testing.assert_allclose(db, numeric, rtol=0, atol=1e-9)


def test_huge_logits_give_finite_losses_with_soft_labels(fast_class):
    problem = problem_of(2, [Dense(2)], SOFTMAX)
    with closing(fast_class(problem, 1)) as engine:
        engine.load([(np.array([[1e20, -1e20], [-1e20, 1e20]]), np.zeros(2))], zero_slots(problem))
        found, gradients = engine.gradients(soft(problem, 9))
    assert np.isfinite(found) and all(np.isfinite(each).all() for each in gradients[0])


@pytest.mark.parametrize(
    ("q", "layers", "batch", "dtype"),
    all_pairs([0.1, 0.9], [[Dense(1)], [Dense(5, "relu"), Dense(3)]], [1, 8], DTYPES),
)
def test_a_quantile_follows_the_numpy_target(fast_class, q, layers, batch, dtype):
    problem = problem_of(4, layers, Quantile(q), dtype=dtype, batch_size=batch)
    assert_follows_numpy(fast_class, problem, data_of(problem, 21, weighted=True))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("hard", [False, True])
def test_any_number_of_threads_gives_the_same_bits(fast_class, threads, hard):
    layers = [Dense(few(200, 9), "relu"), Dense(few(35, 5))]
    problem = problem_of(few(90, 5), layers, SOFTMAX, batch_size=40, label_smoothing=0.1)
    data = soft(problem, few(130, 50), hard=hard, weighted=True)
    alone, together = (run(fast_class, problem, data, threads=n, epochs=1) for n in (1, threads))
    assert alone.bits() == together.bits()
