"""Losses as scalar formulas: the value and the gradient, once, for every compiled target.

Each function returns ``(value, gradient)`` for numbers of type `real`: the loss value(p, y) of one
output p against its target y, and its derivative by p. See `activations` for `real` and `m`.
Losses of a whole row (softmax_cross_entropy) are not scalar: targets write those themselves.
"""

from __future__ import annotations

from typing import Any

from fastnn.rules.activations import Rule


def binary_cross_entropy(real: Any, m: Any) -> Rule:
    """Return log(1 + exp(p)) - y p for the raw output p; the gradient is sigmoid(p) - y."""
    zero, one, exp, log1p = real(0), real(1), m.exp, m.log1p

    def value(p, y):
        return (zero if p < zero else p) - y * p + log1p(exp(-abs(p)))

    def gradient(p, y):
        return one / (one + exp(-p)) - y

    return value, gradient


def mse(real: Any, m: Any) -> Rule:
    """Return (p - y)^2 / 2."""
    half = real(0.5)

    def value(p, y):
        return half * (p - y) * (p - y)

    def gradient(p, y):
        return p - y

    return value, gradient


def mae(real: Any, m: Any) -> Rule:
    """Return |p - y|; the gradient is sign(p - y), 0 at 0."""
    zero, one = real(0), real(1)

    def value(p, y):
        return abs(p - y)

    def gradient(p, y):
        return (one if p > y else zero) - (one if p < y else zero)

    return value, gradient


def huber(real: Any, m: Any) -> Rule:
    """Return e^2 / 2 for |e| = |p - y| up to 1 and |e| - 1/2 beyond."""
    half, one = real(0.5), real(1)

    def value(p, y):
        e = abs(p - y)
        return half * e * e if e <= one else e - half

    def gradient(p, y):
        e = p - y
        return one if e > one else (-one if e < -one else e)

    return value, gradient


def perceptron(real: Any, m: Any) -> Rule:
    """Return (step(p) - y) p with step(0) = 1: |p| if the class is wrong, 0 if it is right."""
    zero, one = real(0), real(1)

    def value(p, y):
        return ((zero if p < zero else one) - y) * p

    def gradient(p, y):
        return (zero if p < zero else one) - y

    return value, gradient


def hinge(real: Any, m: Any) -> Rule:
    """Return max(0, 1 - s p) with s = 2 y - 1; the gradient at the kink is 0."""
    zero, one, two = real(0), real(1), real(2)

    def value(p, y):
        margin = one - (two * y - one) * p
        return zero if margin < zero else margin

    def gradient(p, y):
        s = two * y - one
        return -s if one - s * p > zero else zero

    return value, gradient


def squared_hinge(real: Any, m: Any) -> Rule:
    """Return max(0, 1 - s p)^2 with s = 2 y - 1."""
    zero, one, two = real(0), real(1), real(2)

    def value(p, y):
        margin = one - (two * y - one) * p
        return zero if margin < zero else margin * margin

    def gradient(p, y):
        s = two * y - one
        margin = one - s * p
        return -two * s * margin if margin > zero else zero

    return value, gradient
