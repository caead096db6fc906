"""Update rules: parameters, gradient and optimizer state in, parameters and state out.

All arrays have the shape and dtype of the parameter; nothing is overwritten. A rule takes and
returns as many state slots as `fastnn.rules.table.UPDATES` says, which names the sources too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Slots = Sequence[np.ndarray]
Update = Callable[[np.ndarray, np.ndarray, Slots, "Hyper"], tuple[np.ndarray, Slots]]


class Hyper(NamedTuple):
    """What an update rule takes besides arrays.

    Attributes
    ----------
    learning_rate
        Of this step.
    constants
        (momentum or beta1, beta2, epsilon, weight_decay), from the optimizer.
    t
        Number of this update, from 1.
    """

    learning_rate: float
    constants: tuple[float, float, float, float]
    t: int


def sgd(w: np.ndarray, g: np.ndarray, slots: Slots, hyper: Hyper) -> tuple[np.ndarray, Slots]:
    """Gradient descent: w -= lr g."""
    return w - hyper.learning_rate * g, []


def momentum(w: np.ndarray, g: np.ndarray, slots: Slots, hyper: Hyper) -> tuple[np.ndarray, Slots]:
    """Momentum: v = mu v + g;  w -= lr v."""
    v = hyper.constants[0] * slots[0] + g
    return w - hyper.learning_rate * v, [v]


def nesterov(w: np.ndarray, g: np.ndarray, slots: Slots, hyper: Hyper) -> tuple[np.ndarray, Slots]:
    """Nesterov's momentum: v = mu v + g;  w -= lr (g + mu v)."""
    mu = hyper.constants[0]
    v = mu * slots[0] + g
    return w - hyper.learning_rate * (g + mu * v), [v]


def adam(w: np.ndarray, g: np.ndarray, slots: Slots, hyper: Hyper) -> tuple[np.ndarray, Slots]:
    """Adam: m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  then the step, bias-corrected.

    w -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + epsilon), PyTorch's order of operations.
    """
    beta1, beta2, epsilon, _ = hyper.constants
    m = beta1 * slots[0] + (1 - beta1) * g
    v = beta2 * slots[1] + (1 - beta2) * g * g
    rate = hyper.learning_rate / (1 - beta1**hyper.t)
    return w - rate * m / (np.sqrt(v) / math.sqrt(1 - beta2**hyper.t) + epsilon), [m, v]


def adamw(w: np.ndarray, g: np.ndarray, slots: Slots, hyper: Hyper) -> tuple[np.ndarray, Slots]:
    """Decoupled decay: w *= 1 - lr decay;  then `adam`."""
    decay = hyper.constants[3]
    return adam(w * (1 - hyper.learning_rate * decay), g, slots, hyper)


UPDATES: dict[str, Update] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam": adam,
    "adamw": adamw,
}
