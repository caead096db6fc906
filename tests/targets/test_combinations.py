"""Activations with losses: training, gradients and outputs of any size, on every target."""

from contextlib import closing

import numpy as np
import pytest
from pairs import in_turns, pairs_among
from target_cases import (
    COMBINATIONS,
    DTYPES,
    TOLERANCE,
    assert_follows_numpy,
    assert_layers_near,
    data_of,
    parameters_of,
    problem_of,
    started,
    zero_slots,
)

from fastnn.network import Dense
from fastnn.rules.table import ACTIVATIONS, LOSSES
from fastnn.targets import numpy as reference

H = 1e-5
# Those through which the first layer learns something.
CURVED = [name for name, row in ACTIVATIONS.items() if not row.flat]
EACH = pytest.mark.parametrize(("hidden", "last", "loss"), pairs_among(COMBINATIONS))
EACH_IN_EACH_DTYPE = pytest.mark.parametrize(
    ("hidden", "last", "loss", "dtype"),
    pairs_among([(*case, dtype) for case in COMBINATIONS for dtype in DTYPES]),
)


@EACH_IN_EACH_DTYPE
def test_training_follows_the_numpy_target(fast_class, hidden, last, loss, dtype):
    layers = [Dense(5, hidden), Dense(3, last)]
    problem = problem_of(3, layers, loss, batch_size=4, dtype=dtype)
    assert_follows_numpy(fast_class, problem, data_of(problem, 11))


@EACH_IN_EACH_DTYPE
def test_loss_and_gradients_are_the_numpy_targets(fast_class, hidden, last, loss, dtype):
    layers = [Dense(5, hidden), Dense(3, last)]
    problem = problem_of(3, layers, loss, l1=0.03, l2=0.2, dtype=dtype)
    data = data_of(problem, 11, weighted=True)
    answers = []
    for each in (fast_class, reference.Engine):
        with closing(started(each, problem)) as engine:
            answers.append(engine.gradients(data))
    (loss, gradients), (expected_loss, expected) = answers
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE[dtype])
    assert_layers_near(gradients, expected, TOLERANCE[dtype])


# Every loss of plain outputs, and every activation in both layers. All pairs are in the test above
# and, of the NumPy target, in tests/test_reference_gradients.py.
@pytest.mark.parametrize(
    ("loss", "hidden", "last"),
    [*in_turns(LOSSES, CURVED, ["identity"]), *[("mse", name, name) for name in CURVED]],
)
def test_gradients_are_the_differences_of_loss_plus_penalty(engine_class, hidden, last, loss):
    layers = [Dense(3, hidden), Dense(3, last)]
    problem = problem_of(2, layers, loss, l1=0.03, l2=0.2)
    data = data_of(problem, 7, weighted=True)
    parameters = parameters_of(problem)

    def objective():
        engine.load(parameters, zero_slots(problem))
        value = engine.gradients(data)[0]
        return value + sum(0.1 * (W * W).sum() for W, *_ in parameters)

    with closing(started(engine_class, problem)) as engine:
        _, gradients = engine.gradients(data)
        for pair, gradient_pair in zip(parameters, gradients, strict=True):
            for values, gradient in zip(pair, gradient_pair, strict=True):
                numeric = np.empty_like(values)
                for place in np.ndindex(values.shape):
                    kept = values[place]
                    values[place] = kept + H
                    above = objective()
                    values[place] = kept - H
                    numeric[place] = (above - objective()) / (2 * H)
                    values[place] = kept
                assert numeric.any()
                assert abs(gradient - numeric).max() < 1e-6 * abs(numeric).max()


@pytest.mark.parametrize("dtype", DTYPES)
def test_threshold_units_set_by_hand_compute_exclusive_or(engine_class, dtype):
    problem = problem_of(2, [Dense(2, "step"), Dense(1, "step")], dtype=dtype)
    either_and_both = np.ones((2, 2)), np.array([-1.0, -2.0])
    either_but_not_both = np.array([[1.0], [-1.0]]), np.array([-1.0])
    with closing(engine_class(problem, 1)) as engine:
        engine.load([either_and_both, either_but_not_both], [])
        outputs = engine.forward(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype))
    assert outputs.tolist() == [[0], [1], [1], [0]]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.7])
@pytest.mark.parametrize("activation", ["leaky_relu", "elu"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_layer_has_its_own_alpha(fast_class, activation, alpha, dtype):
    layers = [Dense(5, activation, alpha=alpha), Dense(2, activation, alpha=0.1)]
    problem = problem_of(3, layers, dtype=dtype)
    assert_follows_numpy(fast_class, problem, data_of(problem, 11))


@pytest.mark.parametrize(
    ("hidden", "last", "loss"),
    [case for case in pairs_among(COMBINATIONS) if case[2] != "poisson"],  # whose rate is exp
)
def test_huge_outputs_give_finite_losses_and_gradients(engine_class, hidden, last, loss):
    # Half of float64's exponents are left for squares, sums and products.
    layers = [Dense(2, hidden), Dense(2, last)]
    problem = problem_of(2, layers, loss)
    with closing(engine_class(problem, 1)) as engine:
        weights = np.array([[1e20, -1e20], [-1e20, 1e20]])
        slopes = [own[2:] for own in parameters_of(problem)]
        parameters = [(weights, np.ones(2), *slopes[0]), (weights, np.zeros(2), *slopes[1])]
        engine.load(parameters, zero_slots(problem))
        found, gradients = engine.gradients(data_of(problem, 9))
        assert np.isfinite(found)
        assert all(np.isfinite(array).all() for pair in gradients for array in pair)
        assert np.isfinite(engine.forward(data_of(problem, 9).X)).all()
