"""The NumPy target's update rules against their closed forms."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastnn.network import SGD, Adagrad, Adam, AdamW, AveragedSGD, Lion, Nadam, RMSProp
from fastnn.rules import table
from fastnn.targets.numpy.updates import FACTORS, UPDATES, Hyper, average, held

OPTIMIZERS = [
    SGD(0.1),
    SGD(0.1, momentum=0.9),
    SGD(0.1, momentum=0.9, nesterov=True),
    Adam(0.1),
    AdamW(0.1),
    Nadam(0.1),
    RMSProp(0.1),
    Adagrad(0.1),
    Lion(0.1),
    AveragedSGD(0.1),
]


def run(optimizer, w, gradients, dtype=np.float64):
    """Return parameters and slots after one update a gradient."""
    w, row = np.array(w, dtype), table.UPDATES[optimizer.rule]
    slots = [np.zeros_like(w) for _ in range(row.slots)]
    for t, g in enumerate(gradients, start=1):
        hyper = Hyper(optimizer.learning_rate, optimizer.constants, t)
        means = slots[-1:] if row.mean else []
        w, slots = UPDATES[optimizer.rule](w, np.array(g, dtype), slots, hyper)
        slots = [*slots, *(average(mean, w, hyper) for mean in means)]
    return w, slots


def test_every_rule_of_an_optimizer_exists_and_no_other():
    assert set(UPDATES) == set(table.UPDATES) - {"gradient"}
    assert {optimizer.rule for optimizer in OPTIMIZERS} == set(UPDATES)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.rule)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rule_keeps_shape_and_dtype_and_returns_the_slots_it_was_given(optimizer, dtype):
    w, slots = run(optimizer, np.ones((3, 2)), [np.full((3, 2), 0.5)] * 2, dtype)
    assert len(slots) == table.UPDATES[optimizer.rule].slots
    assert all(each.shape == (3, 2) and each.dtype == dtype for each in (w, *slots))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.rule)
def test_rule_overwrites_nothing(optimizer):
    arrays = [np.full(3, value) for value in (1.0, 2.0, 3.0, 4.0)]
    w, g, *slots = arrays
    given = slots[: table.UPDATES[optimizer.rule].slots]
    UPDATES[optimizer.rule](w, g, given, Hyper(0.1, optimizer.constants, 1))
    assert [each.tolist() for each in arrays] == [[value] * 3 for value in (1.0, 2.0, 3.0, 4.0)]


def test_sgd_goes_down_the_gradient():
    w, _ = run(SGD(0.1), [1.0, 2.0], [[1.0, -1.0], [2.0, 0.0]])
    assert_allclose(w, [1 - 0.1 * 3, 2 + 0.1], rtol=1e-14)


def test_momentum_remembers_with_geometric_weights():
    gradients = [[3.0], [-1.0], [2.0]]
    w, (v,) = run(SGD(0.1, momentum=0.5), [0.0], gradients)
    velocities = [3.0, 3 * 0.5 - 1, (3 * 0.5 - 1) * 0.5 + 2]
    assert_allclose(v, velocities[-1:], rtol=1e-14)
    assert_allclose(w, -0.1 * np.sum(velocities), rtol=1e-14)


def test_nesterov_looks_one_step_ahead():
    w, (v,) = run(SGD(0.1, momentum=0.5, nesterov=True), [0.0], [[3.0], [-1.0]])
    assert_allclose(v, [0.5])
    assert_allclose(w, -0.1 * ((3.0 + 0.5 * 3.0) + (-1.0 + 0.5 * 0.5)), rtol=1e-14)


def test_adams_means_are_geometric_and_its_step_is_bias_corrected():
    optimizer = Adam(0.1, beta1=0.8, beta2=0.9, epsilon=0.01)
    g = np.array([3.0, -1.0, 2.0])
    weights = np.array([2, 1, 0])  # age of each gradient
    w, (m, v) = run(optimizer, [0.0], g[:, None])
    assert_allclose(m, 0.2 * np.sum(0.8**weights * g), rtol=1e-13)
    assert_allclose(v, 0.1 * np.sum(0.9**weights * g**2), rtol=1e-13)
    before, _ = run(optimizer, [0.0], g[:2, None])
    step = 0.1 * (m / (1 - 0.8**3)) / (np.sqrt(v / (1 - 0.9**3)) + 0.01)
    assert_allclose(before - w, step, rtol=1e-13)


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_the_epsilon_with_a_hat_is_beside_the_root_that_is_not_corrected(kind):
    decay = {"weight_decay": 0.0} if kind is AdamW else {}
    optimizer = kind(0.1, beta1=0.8, beta2=0.9, epsilon=0.01, epsilon_hat=True, **decay)
    gradients = [[3.0], [-1.0], [2.0]]
    before, _ = run(optimizer, [0.0], gradients[:2])
    w, (m, v) = run(optimizer, [0.0], gradients)
    step = 0.1 * np.sqrt(1 - 0.9**3) / (1 - 0.8**3) * m / (np.sqrt(v) + 0.01)
    assert_allclose(before - w, step, rtol=1e-13)
    assert repr(optimizer).endswith("epsilon_hat=True)") and "hat" not in repr(kind())


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_adams_first_step_is_the_learning_rate_whatever_the_gradients_scale(scale):
    w, _ = run(Adam(0.1, epsilon=1e-30), [1.0, 1.0], [[scale, -scale]])
    assert_allclose(w, [0.9, 1.1], rtol=1e-12)


def test_adamw_shrinks_weights_besides_adams_step():
    optimizer = AdamW(0.1, weight_decay=0.5)
    assert_allclose(run(optimizer, [2.0], [[0.0]] * 3)[0], 2 * 0.95**3, rtol=1e-14)
    plain, _ = run(Adam(0.1), [2.0], [[1.0]])
    decayed, _ = run(optimizer, [2.0], [[1.0]])
    assert_allclose(plain - decayed, 0.1 * 0.5 * 2.0, rtol=1e-12)


def test_adamw_without_decay_is_adam():
    gradients = [[3.0], [-1.0], [2.0]]
    plain, decayed = (run(each, [1.0], gradients)[0] for each in (Adam(), AdamW(weight_decay=0)))
    assert np.array_equal(plain, decayed)


def test_float32_adam_forgets_at_the_rate_it_was_told():
    # 1 - beta2 must be rounded after the subtraction: float32(1) - float32(0.999) is off by 1e-5.
    _, (_, v) = run(Adam(0.1), [0.0], [[1.0]], np.float32)
    assert_allclose(v, [0.001], rtol=1e-7)


@pytest.mark.parametrize("t", [1, 2, 7])
def test_nadams_step_is_that_of_the_formula(t):
    optimizer = Nadam(0.1, beta1=0.8, beta2=0.9, epsilon=0.01)
    g = np.random.default_rng(0).normal(size=t)
    age = np.arange(t)[::-1]
    mu = 0.8 * (1 - 0.96 ** (0.004 * np.arange(1, t + 2)) / 2)
    before, _ = run(optimizer, [0.0], g[:-1, None])
    after, (m, v) = run(optimizer, [0.0], g[:, None])
    assert_allclose(m, 0.2 * np.sum(0.8**age * g), rtol=1e-12)
    assert_allclose(v, 0.1 * np.sum(0.9**age * g**2), rtol=1e-12)
    ahead = (1 - mu[-2]) * g[-1] / (1 - mu[:-1].prod()) + mu[-1] * m / (1 - mu.prod())
    assert_allclose(before - after, 0.1 * ahead / (np.sqrt(v / (1 - 0.9**t)) + 0.01), rtol=1e-12)


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("t", [0, 1, 30, 3000])
def test_nadams_product_is_the_product(beta1, t):
    product = np.prod([FACTORS.momentum(beta1, i) for i in range(1, t + 1)])
    assert_allclose(FACTORS.product(beta1, t), product, rtol=1e-12, atol=1e-20)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_rmsprop_under_a_constant_gradient_comes_to_steps_of_the_learning_rate(scale):
    w, (v,) = run(RMSProp(0.1, decay=0.5, epsilon=1e-30), [0.0, 0.0], [[scale, -scale]] * 3)
    shares = 1 - 0.5 ** np.arange(1, 4)
    assert_allclose(v, scale**2 * shares[-1], rtol=1e-13)
    assert_allclose(w, np.array([-0.1, 0.1]) * np.sum(1 / np.sqrt(shares)), rtol=1e-13)


def test_rmsprops_mean_is_geometric_and_epsilon_stands_outside_of_the_root():
    g = np.array([3.0, -1.0, 2.0])
    before, _ = run(RMSProp(0.1, decay=0.9, epsilon=0.01), [0.0], g[:2, None])
    w, (v,) = run(RMSProp(0.1, decay=0.9, epsilon=0.01), [0.0], g[:, None])
    assert_allclose(v, 0.1 * (2.0**2 + 0.9 * 1 + 0.81 * 3.0**2), rtol=1e-13)
    assert_allclose(before - w, 0.1 * 2.0 / (np.sqrt(v) + 0.01), rtol=1e-13)


def test_adagrad_divides_by_the_root_of_all_squares_so_far():
    w, (v,) = run(Adagrad(0.1, epsilon=0.01), [1.0], [[3.0], [-4.0], [12.0]])
    assert_allclose(v, [13.0**2])
    assert_allclose(1 - w, 0.1 * (3 / 3.01 - 4 / 5.01 + 12 / 13.01), rtol=1e-13)


def test_lion_steps_by_the_sign_of_its_look_ahead():
    # Chen et al. 2023, algorithm 2, by hand: c is 1.5, then 0.5 * 1.5 - 0.5 * 4 < 0.
    w, (m,) = run(Lion(0.1, beta1=0.5, beta2=0.5), [1.0], [[3.0], [-4.0]])
    assert_allclose(w, [1 - 0.1 + 0.1], rtol=1e-14)
    assert_allclose(m, [0.5 * 1.5 - 0.5 * 4], rtol=1e-14)


def test_lion_interpolates_with_one_beta_and_remembers_with_the_other():
    # After g = 1, m = 0.1; g = -0.5 gives c = 0.8 * 0.1 - 0.2 * 0.5 < 0, m = 0.9 * 0.1 - 0.05.
    w, (m,) = run(Lion(0.1, beta1=0.8, beta2=0.9), [0.0], [[1.0], [-0.5]])
    assert_allclose(w, [0.0], atol=1e-15)
    assert_allclose(m, [0.04], rtol=1e-13)


def test_lion_does_not_step_where_nothing_ever_pulled_and_decays_there():
    assert run(Lion(0.1), [2.0], [[0.0]] * 3)[0] == 2.0
    assert_allclose(run(Lion(0.1, weight_decay=0.5), [2.0], [[0.0]] * 3)[0], 2 * 0.95**3)
    w, _ = run(Lion(0.1, weight_decay=0.5), [2.0], [[1e-9]])
    assert_allclose(w, [2 - 0.1 * (1 + 0.5 * 2)], rtol=1e-14)


@pytest.mark.parametrize("start", [0, 1, 3, 4, 5])
def test_averaged_sgd_keeps_the_mean_of_its_weights_from_the_start(start):
    gradients = [[1.0], [-2.0], [0.5], [4.0], [0.0]]
    w, (mean,) = run(AveragedSGD(0.1, start), [2.0], gradients)
    path = 2.0 - 0.1 * np.cumsum(gradients)
    assert_allclose(w, path[-1:], rtol=1e-14)
    assert_allclose(mean, [path[start:].mean() if start < 5 else path[-1]], rtol=1e-14)


def test_columns_are_held_to_their_norm():
    W = np.array([[3.0, 0.3, 0.0, 1e200], [4.0, 0.4, 0.0, 0.0]])
    found = held(W, 1.0)
    assert_allclose(found[:, 0], np.array([3.0, 4.0]) / (5 + 1e-7), rtol=1e-14)
    assert np.array_equal(found[:, 1:3], W[:, 1:3])
    assert_allclose(found[:, 3], [1.0, 0.0], rtol=1e-14)
    assert held(W[:, :3].astype(np.float32), 1.0).dtype == np.float32
    assert np.isnan(held(np.array([[np.nan], [1.0]]), 1.0)).any()
