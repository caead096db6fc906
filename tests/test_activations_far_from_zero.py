"""Activations and derivatives where z is as large as numbers can be: they are their limits."""

import numpy as np
import pytest

from fastnn.targets.numpy.activations import ACTIVATIONS, RRELU_MEAN, SELU_ALPHA, SELU_SCALE

ALPHA = 0.25
# Value and slope on the left, and on the right: a value is slope * z where that is not 0.
LIMITS = {
    "identity": ((0, 1), (0, 1)),
    "sigmoid": ((0, 0), (1, 0)),
    "tanh": ((-1, 0), (1, 0)),
    "relu": ((0, 0), (0, 1)),
    "leaky_relu": ((0, ALPHA), (0, 1)),
    "prelu": ((0, ALPHA), (0, 1)),
    "rrelu": ((0, RRELU_MEAN), (0, 1)),
    "elu": ((-ALPHA, 0), (0, 1)),
    "selu": ((-SELU_SCALE * SELU_ALPHA, 0), (0, SELU_SCALE)),
    "gelu": ((0, 0), (0, 1)),
    "silu": ((0, 0), (0, 1)),
    "mish": ((0, 0), (0, 1)),
    "hardtanh": ((-1, 0), (1, 0)),
    "step": ((0, 0), (1, 0)),
    "softplus": ((0, 0), (0, 1)),
}
SIZES = {"f4": [1e3, 1e10, 1e30, 1e38], "f8": [1e3, 1e30, 1e69, 1e70, 1e100, 1e300, 1.7e308]}


def test_every_elementwise_activation_has_its_limits_here():
    assert {name for name, each in ACTIVATIONS.items() if each.derivative} == set(LIMITS)


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("name", LIMITS)
def test_an_activation_and_its_derivative_are_their_limits_far_from_zero(name, dtype):
    rule, sizes = ACTIVATIONS[name], np.array(SIZES[dtype], dtype)
    for side, (value, slope) in zip((-1, 1), LIMITS[name], strict=True):
        z = side * sizes.reshape(1, -1)
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            a = rule.value(z, ALPHA)
            derivative = rule.derivative(z, a, ALPHA)
        assert a.dtype == derivative.dtype == dtype
        expected = slope * z if slope else np.full_like(z, value)
        np.testing.assert_allclose(a, expected, rtol=1e-6)
        np.testing.assert_allclose(derivative, np.full_like(z, slope), rtol=1e-6, atol=1e-7)


def test_the_derivative_of_mish_is_that_of_central_differences():
    z, step = np.linspace(-60, 60, 481).reshape(1, -1), 1e-5
    mish = ACTIVATIONS["mish"]
    expected = (mish.value(z + step, 0) - mish.value(z - step, 0)) / (2 * step)
    np.testing.assert_allclose(mish.derivative(z, mish.value(z, 0), 0), expected, atol=1e-9)
