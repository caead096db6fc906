"""Activations as scalar formulas: the value and the derivative, once, for every compiled target.

Each function returns ``(value, derivative)`` for numbers of type `real`: a = value(z, alpha) and
da/dz = derivative(z, a, alpha). `m` holds the elementary functions of the target (exp, expm1,
log1p, tanh, normal_cdf). The functions returned are compiled into the loops of the target; their
constants are of type `real`, since a Python float would turn float32 arithmetic into float64. Where
the table says that a derivative does not need z, a target may pass anything for it. Sources are in
`table`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# What keeps mean 0 and variance 1 from layer to layer; Klambauer et al. 2017, section 2.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

# Between these the slope of rrelu below 0 is drawn; Xu et al. 2015, section 3.4.
RRELU_LOW, RRELU_HIGH = 1 / 8, 1 / 3
RRELU_MEAN = (RRELU_LOW + RRELU_HIGH) / 2

Rule = tuple[Callable[..., Any], Callable[..., Any]]


def identity(real: Any, m: Any) -> Rule:
    """Return a = z."""
    one = real(1)

    def value(z, alpha):
        return z

    def derivative(z, a, alpha):
        return one

    return value, derivative


def sigmoid(real: Any, m: Any) -> Rule:
    """Return a = 1 / (1 + exp(-z)), derivative a (1 - a)."""
    one, exp = real(1), m.exp

    def value(z, alpha):
        return one / (one + exp(-z))

    def derivative(z, a, alpha):
        return a * (one - a)

    return value, derivative


def tanh(real: Any, m: Any) -> Rule:
    """Return a = tanh(z), derivative 1 - a^2."""
    one, function = real(1), m.tanh

    def value(z, alpha):
        return function(z)

    def derivative(z, a, alpha):
        return one - a * a

    return value, derivative


def relu(real: Any, m: Any) -> Rule:
    """Return a = max(0, z); the derivative at 0 is 0. NaN stays NaN."""
    zero, one = real(0), real(1)

    def value(z, alpha):
        return zero if z < zero else z

    def derivative(z, a, alpha):
        return one if a > zero else zero

    return value, derivative


def leaky_relu(real: Any, m: Any) -> Rule:
    """Return a = z above 0, alpha z elsewhere."""
    zero, one = real(0), real(1)

    def value(z, alpha):
        return z if z > zero else alpha * z

    def derivative(z, a, alpha):
        return one if a > zero else alpha

    return value, derivative


def elu(real: Any, m: Any) -> Rule:
    """Return a = z above 0, alpha (exp(z) - 1) elsewhere, where the derivative is a + alpha."""
    zero, one, expm1 = real(0), real(1), m.expm1

    def value(z, alpha):
        return z if z > zero else alpha * expm1(z)

    def derivative(z, a, alpha):
        return one if a > zero else a + alpha

    return value, derivative


def selu(real: Any, m: Any) -> Rule:
    """Return a = scale z above 0, scale alpha (exp(z) - 1) elsewhere, with selu's own constants."""
    zero, scale, expm1 = real(0), real(SELU_SCALE), m.expm1
    limit = real(SELU_SCALE * SELU_ALPHA)

    def value(z, alpha):
        return scale * z if z > zero else limit * expm1(z)

    def derivative(z, a, alpha):
        return scale if a > zero else a + limit

    return value, derivative


def gelu(real: Any, m: Any) -> Rule:
    """Return a = z Phi(z), derivative Phi(z) + z phi(z) (of the normal distribution)."""
    half, root = real(0.5), real(0.3989422804014327)  # 1 / sqrt(2 pi)
    exp, normal_cdf = m.exp, m.normal_cdf

    def value(z, alpha):
        return z * normal_cdf(z)

    def derivative(z, a, alpha):
        return normal_cdf(z) + z * root * exp(-half * z * z)

    return value, derivative


def silu(real: Any, m: Any) -> Rule:
    """Return a = z s with s = sigmoid(z), derivative s (1 + z (1 - s))."""
    one, exp = real(1), m.exp

    def value(z, alpha):
        return z / (one + exp(-z))

    def derivative(z, a, alpha):
        s = one / (one + exp(-z))
        return s * (one + z * (one - s))

    return value, derivative


def mish(real: Any, m: Any) -> Rule:
    """Return a = z T with T = tanh(softplus(z)), derivative T + z (1 - T^2) sigmoid(z).

    With u = exp(-|z|), so that nothing overflows: T = p / q, p = u^2 + 2u and q = p + 2 below 0,
    p = 1 + 2u and q = p + 2u^2 above; and 1 - T^2 = (q - p) (q + p) / q^2.
    """
    zero, one, two, exp = real(0), real(1), real(2), m.exp

    def value(z, alpha):
        u = exp(-abs(z))
        p = u * (u + two) if z < zero else one + two * u
        return z * p / (p + (two if z < zero else two * u * u))

    def derivative(z, a, alpha):
        u = exp(-abs(z))
        p = u * (u + two) if z < zero else one + two * u
        gap = two if z < zero else two * u * u
        q = p + gap
        sigmoid = (u if z < zero else one) / (one + u)
        return p / q + z * sigmoid * gap * (q + p) / (q * q)

    return value, derivative


def hardtanh(real: Any, m: Any) -> Rule:
    """Return a = z between -1 and 1, the nearer of the two elsewhere, where the derivative is 0."""
    zero, one = real(0), real(1)

    def value(z, alpha):
        return -one if z < -one else (one if z > one else z)

    def derivative(z, a, alpha):
        return one if abs(a) < one else zero

    return value, derivative


def step(real: Any, m: Any) -> Rule:
    """Return a = 1 where z >= 0, otherwise 0; the derivative is 0 everywhere. NaN stays NaN."""
    zero, one = real(0), real(1)

    def value(z, alpha):
        return zero if z < zero else (one if z >= zero else z)

    def derivative(z, a, alpha):
        return zero

    return value, derivative


def softplus(real: Any, m: Any) -> Rule:
    """Return a = log(1 + exp(z)) = max(z, 0) + log1p(exp(-|z|)), derivative 1 - exp(-a)."""
    zero, exp, expm1, log1p = real(0), m.exp, m.expm1, m.log1p

    def value(z, alpha):
        return (zero if z < zero else z) + log1p(exp(-abs(z)))

    def derivative(z, a, alpha):
        return -expm1(-a)

    return value, derivative
