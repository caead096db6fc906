"""The NumPy target's gradients by central differences, for every activation with every loss."""

import numpy as np
import pytest
from last_layer_cases import suits

from fastnn.inputs.problem import Problem
from fastnn.network import SGD, Dense, Dropout, Network
from fastnn.rules.table import ACTIVATIONS, LOSSES
from fastnn.targets.numpy.layers import dropout_mask
from fastnn.targets.numpy.passes import Batch, dropout_masks, loss_and_gradients

H = 1e-5
ROWS = 6


def problem_of(loss: str, layers: list[Dense | Dropout], l1=0.03, l2=0.2) -> Problem:
    """Return a problem with penalties; that of l1 is in no gradient."""
    return Problem(Network(4, layers), loss, SGD(0.1), ROWS, l1, l2, np.dtype(np.float64), 0)


def batch_of(problem: Problem, *, weighted: bool = True) -> Batch:
    random = np.random.default_rng(5)
    outputs = problem.network.outputs
    X = random.normal(size=(ROWS, 4))
    weights = random.uniform(0.1, 3, ROWS) if weighted else None
    kind = LOSSES[problem.loss].targets
    if kind == "classes":
        return Batch(X, random.integers(0, outputs, ROWS), weights)
    if kind == "binary":
        return Batch(X, random.integers(0, 2, (ROWS, outputs)).astype(float), weights)
    if kind == "counts":
        return Batch(X, random.poisson(2.0, (ROWS, outputs)).astype(float), weights)
    return Batch(X, random.normal(0, 2, (ROWS, outputs)), weights)


def parameters_of(problem: Problem) -> list[tuple[np.ndarray, ...]]:
    random = np.random.default_rng(6)
    return [
        tuple(random.normal(0, 0.7 if len(shape) > 1 else 0.3, shape) for shape in layer.values())
        for layer in problem.network.parameter_shapes
    ]


def objective(problem, parameters, batch, masks) -> float:
    """Return data loss plus l2 penalty, the penalty written out."""
    loss, _ = loss_and_gradients(problem, parameters, batch, masks)
    for W, *_ in parameters:
        loss += problem.l2 / 2 * (W * W).sum()
    return loss


def relative_error(problem, batch, masks=None) -> float:
    """Return the largest error of a layer's gradient, relative to that gradient's largest entry."""
    parameters = parameters_of(problem)
    _, gradients = loss_and_gradients(problem, parameters, batch, masks)
    worst = 0.0
    for pair, gradient_pair in zip(parameters, gradients, strict=True):
        for values, gradient in zip(pair, gradient_pair, strict=True):
            numeric = np.empty_like(values)
            for place in np.ndindex(values.shape):
                kept = values[place]
                values[place] = kept + H
                above = objective(problem, parameters, batch, masks)
                values[place] = kept - H
                below = objective(problem, parameters, batch, masks)
                values[place] = kept
                numeric[place] = (above - below) / (2 * H)
            assert numeric.any()
            worst = max(worst, abs(gradient - numeric).max() / abs(numeric).max())
    return worst


@pytest.mark.parametrize("activation", [n for n, row in ACTIVATIONS.items() if not row.flat])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_the_derivative_with_the_activation_in_the_hidden_layer(loss, activation):
    problem = problem_of(loss, [Dense(5, activation), Dense(3)])
    assert relative_error(problem, batch_of(problem)) < 1e-6


@pytest.mark.parametrize(
    ("loss", "activation"),
    [
        (loss, name)
        for loss in LOSSES
        for name, row in ACTIVATIONS.items()
        if suits(loss, name) and not row.flat
    ],
)
def test_gradient_is_the_derivative_with_the_activation_in_both_layers(loss, activation):
    problem = problem_of(loss, [Dense(5, activation), Dense(3, activation)])
    assert relative_error(problem, batch_of(problem)) < 1e-6


@pytest.mark.parametrize("activation", [n for n, row in ACTIVATIONS.items() if row.flat])
def test_a_flat_activation_leaves_nothing_but_the_penalty_to_what_lies_before_it(activation):
    problem = problem_of("mse", [Dense(5, "tanh"), Dense(5, activation), Dense(3)])
    parameters = parameters_of(problem)
    _, gradients = loss_and_gradients(problem, parameters, batch_of(problem))
    for (W, _), (dW, db) in zip(parameters[:2], gradients[:2], strict=True):
        np.testing.assert_allclose(dW, 0.2 * W, rtol=1e-14)
        assert not db.any()
    assert gradients[2][1].all()


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_the_derivative_without_hidden_layer_weights_or_penalty(loss):
    problem = problem_of(loss, [Dense(2)], l1=0.0, l2=0.0)
    assert relative_error(problem, batch_of(problem, weighted=False)) < 1e-6


def test_gradient_is_the_derivative_under_dropout_on_every_input():
    hidden = [Dense(8, "tanh"), Dropout(0.5), Dense(8, "silu")]
    problem = problem_of("softmax_cross_entropy", [Dropout(0.3), *hidden, Dropout(0.2), Dense(3)])
    masks = dropout_masks(problem, ROWS, epoch=2, step_in_epoch=1)
    assert all(mask is not None and (mask == 0).any() for mask in masks)
    assert relative_error(problem, batch_of(problem), masks) < 1e-6


def test_masks_are_those_of_their_layer_and_none_where_nothing_drops():
    problem = problem_of("mse", [Dense(5), Dropout(0.5), Dense(3)])
    first, second = dropout_masks(problem, 2, epoch=4, step_in_epoch=3)
    assert first is None
    expected = dropout_mask(
        0.5, (2, 5), seed=0, epoch=4, step=3, layer=1, batch_size=ROWS, dtype=np.dtype(np.float64)
    )
    assert np.array_equal(second, expected)


def test_the_gradient_has_the_l2_penalty_of_weights_alone_and_no_l1():
    problem = problem_of("mse", [Dense(1)], l1=0.5, l2=2.0)
    batch = Batch(np.zeros((1, 4)), np.zeros((1, 1)), None)
    W = np.array([[3.0], [-2.0], [0.0], [-0.0]])
    _, [(dW, db)] = loss_and_gradients(problem, [(W, np.array([0.0]))], batch)
    assert dW.tolist() == [[6.0], [-4.0], [0.0], [0.0]]
    assert db.tolist() == [0.0]


def test_a_layer_without_bias_has_bias_gradient_zero():
    problem = problem_of("mse", [Dense(5, "tanh", bias=False), Dense(3)])
    _, [(_, first), (_, second)] = loss_and_gradients(
        problem, parameters_of(problem), batch_of(problem)
    )
    assert not first.any() and second.any()


def test_weights_that_sum_to_zero_leave_the_penaltys_gradient_alone():
    problem = problem_of("mse", [Dense(3)], l1=0.0, l2=0.2)
    parameters = parameters_of(problem)
    batch = batch_of(problem)._replace(weights=np.zeros(ROWS))
    loss, [(dW, db)] = loss_and_gradients(problem, parameters, batch)
    assert loss == 0.0
    assert np.array_equal(dW, 0.2 * parameters[0][0])
    assert not db.any()


def test_a_row_of_weight_two_counts_as_two_rows():
    problem = problem_of("huber", [Dense(5, "gelu"), Dense(3)])
    batch = batch_of(problem)
    twice = [0, 1, 1, 2, 3, 4, 5]
    repeated = Batch(batch.X[twice], batch.targets[twice], None)
    weighted = batch._replace(weights=np.array([1.0, 2, 1, 1, 1, 1]))
    both = [loss_and_gradients(problem, parameters_of(problem), b) for b in (repeated, weighted)]
    assert both[0][0] == pytest.approx(both[1][0], rel=1e-14)
    for one, other in zip(both[0][1], both[1][1], strict=True):
        np.testing.assert_allclose(one[0], other[0], rtol=1e-12)
        np.testing.assert_allclose(one[1], other[1], rtol=1e-12)
