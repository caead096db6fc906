"""The NumPy target's activations against closed forms, SciPy and differences."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special, stats

from fastnn.rules import table
from fastnn.targets.numpy.activations import ACTIVATIONS

DTYPES = [np.float32, np.float64]
ELEMENTWISE = [name for name, row in table.ACTIVATIONS.items() if not row.rowwise]
Z = np.linspace(-6, 6, 240).reshape(40, 6)  # no zero: every derivative exists
EXTREME = [[-1e30, -1e4, -100.0, -1e-30, -0.0], [0.0, 1e-30, 100.0, 1e4, 1e30]]
# The fixed point of mean 0 and variance 1 (Klambauer et al. 2017, appendix A1).
ALPHA = -np.sqrt(2 / np.pi) / (special.erfc(np.sqrt(0.5)) * np.exp(0.5) - 1)
SCALE = 1.0507009873554805

CLOSED = {
    "identity": lambda z, alpha: z,
    "sigmoid": lambda z, alpha: 1 / (1 + np.exp(-z)),
    "tanh": lambda z, alpha: (np.exp(2 * z) - 1) / (np.exp(2 * z) + 1),
    "relu": lambda z, alpha: np.array([[max(0.0, each) for each in row] for row in z]),
    "leaky_relu": lambda z, alpha: (1 + alpha) / 2 * z + (1 - alpha) / 2 * abs(z),
    "prelu": lambda z, alpha: np.maximum(0, z) + alpha * np.minimum(0, z),
    "rrelu": lambda z, alpha: (1 + 11 / 48) / 2 * z + (1 - 11 / 48) / 2 * abs(z),
    "elu": lambda z, alpha: (z > 0) * z + (z < 0) * alpha * (np.exp(z) - 1),
    "selu": lambda z, alpha: SCALE * ((z > 0) * z + (z < 0) * ALPHA * (np.exp(z) - 1)),
    "gelu": lambda z, alpha: z * (1 + special.erf(z / np.sqrt(2))) / 2,
    "silu": lambda z, alpha: z / (1 + np.exp(-z)),
    "mish": lambda z, alpha: z * ((1 + np.exp(z)) ** 2 - 1) / ((1 + np.exp(z)) ** 2 + 1),
    "hardtanh": lambda z, alpha: (abs(z + 1) - abs(z - 1)) / 2,
    "step": lambda z, alpha: (np.sign(z) + 1) / 2,
    "softplus": lambda z, alpha: np.log(1 + np.exp(z)),
    "softmax": lambda z, alpha: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
    "hardmax": lambda z, alpha: (z == z.max(axis=1, keepdims=True)) * 1.0,
}


def alphas(name: str) -> list[float]:
    default = table.ACTIVATIONS[name].alpha
    return [0.0] if default is None else [default, 0.0, 0.3, 1.7]


def test_the_tables_hold_the_same_names_in_the_same_order():
    assert list(ACTIVATIONS) == list(table.ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_value_is_the_closed_form(name, dtype):
    for alpha in alphas(name):
        found = ACTIVATIONS[name].value(Z.astype(dtype), alpha)
        assert found.dtype == dtype and found.shape == Z.shape
        expected = CLOSED[name](Z.astype(dtype).astype(np.float64), alpha)
        eps = np.finfo(dtype).eps
        assert_allclose(found, expected, rtol=20 * eps, atol=4 * eps)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_derivative_is_that_of_the_value(name, dtype):
    rule, h = ACTIVATIONS[name], 1e-5
    for alpha in alphas(name):
        z = Z.astype(dtype)
        wide = z.astype(np.float64)
        expected = (rule.value(wide + h, alpha) - rule.value(wide - h, alpha)) / (2 * h)
        found = rule.derivative(z, rule.value(z, alpha), alpha)
        assert found.dtype == dtype and found.shape == Z.shape
        assert_allclose(found, expected, rtol=0, atol=max(1e-9, 8 * np.finfo(dtype).eps))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_derivative_reads_z_only_where_the_table_says_so(name):
    rule = ACTIVATIONS[name]
    a = rule.value(Z, 0.3)
    same = np.array_equal(
        rule.derivative(np.full_like(Z, np.nan), a, 0.3), rule.derivative(Z, a, 0.3)
    )
    assert same != table.ACTIVATIONS[name].derivative_needs_z


@pytest.mark.parametrize(
    ("name", "alpha", "derivative"),
    [
        ("relu", 0.0, 0.0),
        ("leaky_relu", 0.2, 0.2),
        ("prelu", 0.2, 0.2),
        ("elu", 0.7, 0.7),
        ("selu", 0.0, ALPHA * SCALE),
        ("gelu", 0.0, 0.5),
        ("step", 0.0, 0.0),
    ],
)
def test_derivative_at_zero_is_the_one_from_the_left(name, alpha, derivative):
    zero = np.array([[0.0, -0.0]])
    rule = ACTIVATIONS[name]
    found = rule.derivative(zero, rule.value(zero, alpha), alpha)
    assert_allclose(found, [[derivative, derivative]], rtol=1e-15)


def test_prelu_has_a_slope_of_any_sign_for_each_unit():
    z, slopes = np.array([[-2.0, -2.0, -2.0], [3.0, 3.0, 3.0]]), np.array([-0.5, 0.0, 1.5])
    rule = ACTIVATIONS["prelu"]
    a = rule.value(z, slopes)
    assert np.array_equal(a, [[1, 0, -3], [3, 3, 3]])
    assert np.array_equal(rule.derivative(z, a, slopes), [slopes, [1, 1, 1]])


def test_hardtanh_is_flat_where_it_meets_its_ends():
    z = np.array([[-1.0, 1.0]])
    assert np.array_equal(ACTIVATIONS["hardtanh"].derivative(z, z, 0.0), [[0, 0]])


def test_step_is_one_from_zero_on():
    z = np.array([[-1e-300, -0.0, 0.0, 1e-300]])
    assert np.array_equal(ACTIVATIONS["step"].value(z, 0.0), [[0, 1, 1, 1]])


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_flat_is_what_has_no_derivative_anywhere(name):
    rule = ACTIVATIONS[name]
    assert rule.derivative(Z, rule.value(Z, 0.3), 0.3).any() != table.ACTIVATIONS[name].flat


def test_selu_keeps_mean_zero_and_variance_one():
    z, h = np.linspace(-12, 12, 240_001, retstep=True)
    a = ACTIVATIONS["selu"].value(z, 0.0)
    density = stats.norm.pdf(z) * h
    assert_allclose([(a * density).sum(), (a * a * density).sum()], [0, 1], atol=1e-8)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_inputs_give_finite_values_and_derivatives_without_a_warning(name, dtype):
    rule, z = ACTIVATIONS[name], np.array(EXTREME, dtype)
    a = rule.value(z, 0.5)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        dz = rule.input_gradient(z, a, np.ones_like(z), 0.5)
    assert np.isfinite(a).all() and np.isfinite(dz).all()


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_far_from_zero_an_activation_is_its_asymptote(name):
    z = np.array([[-1e4, 1e4]])
    value, derivative = {
        "identity": ([-1e4, 1e4], [1, 1]),
        "sigmoid": ([0, 1], [0, 0]),
        "tanh": ([-1, 1], [0, 0]),
        "relu": ([0, 1e4], [0, 1]),
        "leaky_relu": ([-2500, 1e4], [0.25, 1]),
        "prelu": ([-2500, 1e4], [0.25, 1]),
        "rrelu": ([-11e4 / 48, 1e4], [11 / 48, 1]),
        "elu": ([-0.25, 1e4], [0, 1]),
        "selu": ([-SCALE * ALPHA, SCALE * 1e4], [0, SCALE]),
        "gelu": ([0, 1e4], [0, 1]),
        "mish": ([0, 1e4], [0, 1]),
        "hardtanh": ([-1, 1], [0, 0]),
        "step": ([0, 1], [0, 0]),
        "silu": ([0, 1e4], [0, 1]),
        "softplus": ([0, 1e4], [0, 1]),
    }[name]
    a = ACTIVATIONS[name].value(z, 0.25)
    assert_allclose(a, [value], rtol=1e-15, atol=0)
    assert_allclose(ACTIVATIONS[name].derivative(z, a, 0.25), [derivative], rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_nan(name):
    assert np.isnan(ACTIVATIONS[name].value(np.array([[np.nan, 1.0]]), 0.3))[0, 0]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_is_a_new_array_and_its_input_stays_as_it_was(name):
    z = Z.copy()
    a = ACTIVATIONS[name].value(z, 0.3)
    assert not np.shares_memory(a, z)
    assert np.array_equal(z, Z)


def test_values_keep_their_relative_accuracy_near_the_axis():
    small = np.array([[-1e-9, 1e-9]])
    assert_allclose(ACTIVATIONS["elu"].value(small, 2.0), [[-2e-9, 1e-9]], rtol=1e-8)
    far = np.array([[-30.0]])
    assert_allclose(ACTIVATIONS["softplus"].value(far, 0.0), np.exp(far), rtol=1e-12)
    assert_allclose(ACTIVATIONS["gelu"].value(far, 0.0), far * stats.norm.sf(30), rtol=1e-12)
    assert_allclose(ACTIVATIONS["mish"].value(far, 0.0), far * np.exp(far), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_rows_sum_to_one_and_ignore_a_shift(dtype):
    z = Z.astype(dtype)
    a = ACTIVATIONS["softmax"].value(z, 0.0)
    eps = np.finfo(dtype).eps
    assert_allclose(a.sum(axis=1), 1, rtol=8 * eps)
    assert_allclose(ACTIVATIONS["softmax"].value(z + 8, 0.0), a, rtol=40 * eps)


def test_softmax_of_one_huge_logit_is_one_hot():
    z = np.array([[1e4, -1e4, 0.0]])
    assert np.array_equal(ACTIVATIONS["softmax"].value(z, 0.0), [[1, 0, 0]])


def test_softmax_input_gradient_is_the_jacobian_times_da():
    z, da = Z[:1], np.arange(6.0)[None]
    a = ACTIVATIONS["softmax"].value(z, 0.0)
    jacobian = np.diag(a[0]) - np.outer(a[0], a[0])
    found = ACTIVATIONS["softmax"].input_gradient(z, a, da, 0.0)
    assert_allclose(found[0], jacobian @ da[0], rtol=1e-12)


def test_hardmax_gives_the_first_of_equals_and_no_gradient():
    z = np.array([[1.0, 3.0, 3.0], [-np.inf, -np.inf, -np.inf], [-1.0, -2.0, -0.5]])
    rule = ACTIVATIONS["hardmax"]
    assert np.array_equal(rule.value(z, 0.0), [[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    assert not rule.input_gradient(z, z, z + 1, 0.0).any()
