"""Activations: value, derivative, and the way of a gradient back through them.

Arrays are (m, units), float32 or float64; results are new arrays of the same shape and dtype. Alpha
is a number, but for prelu also an array (units,): the slopes that each unit has learned.
Sources are named in `fastnn.rules.table.ACTIVATIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.targets.numpy import special

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017
RRELU_MEAN = 11 / 48  # of U[1/8, 1/3]


@dataclass(frozen=True)
class Activation:
    """One activation a = value(z, alpha).

    Attributes
    ----------
    value
        (z, alpha) -> a.
    derivative
        (z, a, alpha) -> da/dz, elementwise; None where an output depends on the whole row. It reads
        z only where the table says `derivative_needs_z`, and a otherwise.
    input_gradient
        (z, a, da, alpha) -> dL/dz from da = dL/da.
    """

    value: Callable[[np.ndarray, Any], np.ndarray]
    derivative: Callable[[np.ndarray, np.ndarray, Any], np.ndarray] | None
    input_gradient: Callable[[np.ndarray, np.ndarray, np.ndarray, Any], np.ndarray]


def _elementwise(
    value: Callable[[np.ndarray, Any], np.ndarray],
    derivative: Callable[[np.ndarray, np.ndarray, Any], np.ndarray],
) -> Activation:
    """Return an activation of each z alone: dz = da * derivative."""
    return Activation(value, derivative, lambda z, a, da, alpha: da * derivative(z, a, alpha))


def _gelu_derivative(z: np.ndarray, a: np.ndarray, alpha: float) -> np.ndarray:
    """Return Phi(z) + z phi(z)."""
    # The density is 0 in float64 beyond 40, and the square of a large z would overflow.
    near = np.clip(z, -40, 40)
    density = np.exp(-near * near / 2) / math.sqrt(2 * math.pi)
    return special.ndtr(z) + z * density


def _silu_derivative(z: np.ndarray, a: np.ndarray, alpha: float) -> np.ndarray:
    """Return s + z s (1 - s), s = sigmoid(z)."""
    return special.expit(z) * (1 + z * special.expit(-z))


def _softplus(z: np.ndarray) -> np.ndarray:
    """Return log(1 + exp(z)), without overflow."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _mish_derivative(z: np.ndarray, a: np.ndarray, alpha: float) -> np.ndarray:
    """Return tanh(s) + z sigmoid(z) / cosh(s)^2, s = softplus(z)."""
    s = _softplus(z)
    # 1 / cosh(s)^2 with q = exp(-2 s): it overflows nowhere, and is 0 where z is enormous.
    q = np.square(np.exp(-s))
    return np.tanh(s) + z * special.expit(z) * (4 * q / ((1 + q) * (1 + q)))


def _hardmax(z: np.ndarray) -> np.ndarray:
    """Return 1 for the first of the largest of each row, 0 for the others; NaN stays NaN."""
    a = np.zeros_like(z)
    best = np.where(np.isnan(z), -np.inf, z).argmax(axis=1)
    a[np.arange(len(z)), best] = 1
    a[np.isnan(z)] = np.nan
    return a


def _softmax_input_gradient(
    z: np.ndarray, a: np.ndarray, da: np.ndarray, alpha: float
) -> np.ndarray:
    """Return the row's Jacobian, diag(a) - a a^T, times da."""
    return a * (da - (a * da).sum(axis=1, keepdims=True))


ACTIVATIONS: dict[str, Activation] = {
    "identity": _elementwise(
        lambda z, alpha: z.copy(),
        lambda z, a, alpha: np.ones_like(a),
    ),
    "sigmoid": _elementwise(
        lambda z, alpha: special.expit(z),
        lambda z, a, alpha: a * (1 - a),
    ),
    "tanh": _elementwise(
        lambda z, alpha: np.tanh(z),
        lambda z, a, alpha: 1 - a * a,
    ),
    "relu": _elementwise(
        lambda z, alpha: np.maximum(z, 0),
        lambda z, a, alpha: (a > 0).astype(a.dtype),
    ),
    "leaky_relu": _elementwise(
        lambda z, alpha: z * np.where(z > 0, 1, alpha).astype(z.dtype),
        lambda z, a, alpha: np.where(a > 0, 1, alpha).astype(a.dtype),
    ),
    "prelu": _elementwise(
        lambda z, alpha: z * np.where(z > 0, 1, alpha).astype(z.dtype),
        lambda z, a, alpha: np.where(z > 0, 1, alpha).astype(a.dtype),
    ),
    "rrelu": _elementwise(
        lambda z, alpha: z * np.where(z > 0, 1, RRELU_MEAN).astype(z.dtype),
        lambda z, a, alpha: np.where(a > 0, 1, RRELU_MEAN).astype(a.dtype),
    ),
    "elu": _elementwise(
        lambda z, alpha: np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0))),
        lambda z, a, alpha: np.where(a > 0, 1, a + alpha),
    ),
    "selu": _elementwise(
        lambda z, alpha: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0))),
        lambda z, a, alpha: np.where(a > 0, SELU_SCALE, a + SELU_SCALE * SELU_ALPHA).astype(
            a.dtype
        ),
    ),
    "gelu": _elementwise(
        lambda z, alpha: z * special.ndtr(z),
        _gelu_derivative,
    ),
    "silu": _elementwise(
        lambda z, alpha: z * special.expit(z),
        _silu_derivative,
    ),
    "mish": _elementwise(
        lambda z, alpha: z * np.tanh(_softplus(z)),
        _mish_derivative,
    ),
    "hardtanh": _elementwise(
        lambda z, alpha: np.clip(z, -1, 1),
        lambda z, a, alpha: (np.abs(a) < 1).astype(a.dtype),
    ),
    "step": _elementwise(
        lambda z, alpha: np.heaviside(z, 1),
        lambda z, a, alpha: np.zeros_like(a),
    ),
    "softplus": _elementwise(
        lambda z, alpha: _softplus(z),
        lambda z, a, alpha: -np.expm1(-a),
    ),
    "softmax": Activation(
        lambda z, alpha: special.softmax(z, axis=1),
        None,
        _softmax_input_gradient,
    ),
    "hardmax": Activation(
        lambda z, alpha: _hardmax(z),
        None,
        lambda z, a, da, alpha: np.zeros_like(da),
    ),
}


def activation_of(rule: Any) -> Activation:
    """Return the activation of a name; a user-defined one is what NumPy makes of its formula.

    `rule` is `fastnn.network.Dense.activation`.
    """
    if isinstance(rule, str):
        return ACTIVATIONS[rule]
    (name,) = rule.expression.names
    return _elementwise(
        lambda z, alpha: rule.expression._values([rule.expression.node], {name: z})[0],
        lambda z, a, alpha: rule.derivative._values([rule.derivative.node], {name: z})[0],
    )
