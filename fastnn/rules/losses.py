"""Losses as scalar formulas: the value and the gradient, once, for every compiled target.

Each function returns ``(value, gradient)`` for numbers of type `real`: the loss value(p, y, alpha)
of one output p against its target y, and its derivative by p. `alpha` is the one parameter of those
that have one, and 0 for the others. See `activations` for `real` and `m`.
Losses of a whole row (softmax_cross_entropy) are not scalar: targets write those themselves.
"""

from __future__ import annotations

from typing import Any

from fastnn.rules.activations import Rule

# What the derivative of a square of how far an output is off is held within, with 1e12 as in
# scikit-learn: beyond, steps that multiply the error by more than one would go on to infinity.
STEEPEST = 1e12


def binary_cross_entropy(real: Any, m: Any) -> Rule:
    """Return log(1 + exp(p)) - y p for the raw output p; the gradient is sigmoid(p) - y."""
    zero, one, exp, log1p = real(0), real(1), m.exp, m.log1p

    def value(p, y, alpha):
        return (zero if p < zero else p) - y * p + log1p(exp(-abs(p)))

    def gradient(p, y, alpha):
        return one / (one + exp(-p)) - y

    return value, gradient


def mse(real: Any, m: Any) -> Rule:
    """Return (p - y)^2 / 2."""
    half = real(0.5)

    def value(p, y, alpha):
        return half * (p - y) * (p - y)

    def gradient(p, y, alpha):
        return p - y

    return value, gradient


def poisson(real: Any, m: Any) -> Rule:
    """Return exp(p) - y p for p, the logarithm of a rate; the gradient is exp(p) - y."""
    exp = m.exp

    def value(p, y, alpha):
        return exp(p) - y * p

    def gradient(p, y, alpha):
        return exp(p) - y

    return value, gradient


def quantile(real: Any, m: Any) -> Rule:
    """Return alpha (y - p) where p < y, (1 - alpha) (p - y) elsewhere; the gradient is 0 at p = y.

    alpha is the quantile, between 0 and 1.
    """
    zero, one = real(0), real(1)

    def value(p, y, alpha):
        return alpha * (y - p) if p < y else (one - alpha) * (p - y)

    def gradient(p, y, alpha):
        return -alpha if p < y else (one - alpha if p > y else zero)

    return value, gradient


def epsilon_insensitive(real: Any, m: Any) -> Rule:
    """Return max(0, |p - y| - alpha); the gradient is sign(p - y) where |p - y| > alpha, else 0."""
    zero, one = real(0), real(1)

    def value(p, y, alpha):
        beyond = abs(p - y) - alpha
        return zero if beyond < zero else beyond

    def gradient(p, y, alpha):
        e = p - y
        return (one if e > alpha else zero) - (one if e < -alpha else zero)

    return value, gradient


mae = epsilon_insensitive  # whose alpha is 0: |p - y|, and sign(p - y) with sign(0) = 0


def squared_epsilon_insensitive(real: Any, m: Any) -> Rule:
    """Return max(0, |p - y| - alpha)^2; the gradient is held within STEEPEST."""
    zero, two, most = real(0), real(2), real(STEEPEST / 2)

    def value(p, y, alpha):
        beyond = abs(p - y) - alpha
        return zero if beyond < zero else beyond * beyond

    def gradient(p, y, alpha):
        e = p - y
        beyond = (e - alpha if e > alpha else zero) + (e + alpha if e < -alpha else zero)
        beyond = most if beyond > most else beyond
        return two * (-most if beyond < -most else beyond)

    return value, gradient


def huber(real: Any, m: Any) -> Rule:
    """Return e^2 / 2 for |e| = |p - y| up to alpha and alpha (|e| - alpha / 2) beyond."""
    half = real(0.5)

    def value(p, y, alpha):
        e = abs(p - y)
        return half * e * e if e <= alpha else alpha * (e - half * alpha)

    def gradient(p, y, alpha):
        e = p - y
        return alpha if e > alpha else (-alpha if e < -alpha else e)

    return value, gradient


def perceptron(real: Any, m: Any) -> Rule:
    """Return (step(p) - y) p with step(0) = 1: |p| if the class is wrong, 0 if it is right."""
    zero, one = real(0), real(1)

    def value(p, y, alpha):
        return ((zero if p < zero else one) - y) * p

    def gradient(p, y, alpha):
        return (zero if p < zero else one) - y

    return value, gradient


def hinge(real: Any, m: Any) -> Rule:
    """Return max(0, 1 - s p) with s = 2 y - 1; the gradient at the kink is 0."""
    zero, one, two = real(0), real(1), real(2)

    def value(p, y, alpha):
        margin = one - (two * y - one) * p
        return zero if margin < zero else margin

    def gradient(p, y, alpha):
        s = two * y - one
        return -s if one - s * p > zero else zero

    return value, gradient


def squared_hinge(real: Any, m: Any) -> Rule:
    """Return max(0, 1 - s p)^2 with s = 2 y - 1; the gradient is held within STEEPEST."""
    zero, one, two, most = real(0), real(1), real(2), real(STEEPEST / 2)

    def value(p, y, alpha):
        margin = one - (two * y - one) * p
        return zero if margin < zero else margin * margin

    def gradient(p, y, alpha):
        s = two * y - one
        margin = one - s * p
        margin = most if margin > most else margin
        return -two * s * margin if margin > zero else zero

    return value, gradient


def margin(real: Any, m: Any) -> Rule:
    """Return max(0, alpha - s p) with s = 2 y - 1; at the kink the gradient is -s, as before it."""
    zero, one, two = real(0), real(1), real(2)

    def value(p, y, alpha):
        short = alpha - (two * y - one) * p
        return zero if short < zero else short

    def gradient(p, y, alpha):
        s = two * y - one
        return zero if s * p > alpha else -s

    return value, gradient


def modified_huber(real: Any, m: Any) -> Rule:
    """Return max(0, 1 - s p)^2 where s p >= -1 and -4 s p elsewhere, with s = 2 y - 1."""
    zero, one, two, four = real(0), real(1), real(2), real(4)

    def value(p, y, alpha):
        z = (two * y - one) * p
        short = one - z
        return (zero if short < zero else short * short) if z >= -one else -four * z

    def gradient(p, y, alpha):
        s = two * y - one
        short = one - s * p
        short = two if short > two else short
        return -two * s * short if short > zero else zero

    return value, gradient
