"""Update rules: parameters, gradient and optimizer state in, parameters and state out.

All arrays have the shape and dtype of the parameter; nothing is overwritten. A rule takes and
returns as many state slots as `fastnn.rules.table.UPDATES` says, which names the sources too, less
the mean of the weights: `average` takes that, after all else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fastnn.rules.updates import CLIP_EPSILON, NORM_EPSILON, make_factors

Parameters = list[tuple[np.ndarray, ...]]  # of (W, b), with prelu (W, b, slopes)
Slots = Sequence[np.ndarray]
Update = Callable[[np.ndarray, np.ndarray, Slots, "Hyper"], tuple[np.ndarray, Slots]]
FACTORS = make_factors(math.sqrt, max)


class Hyper(NamedTuple):
    """What an update rule takes besides arrays.

    Attributes
    ----------
    learning_rate
        Of this step.
    constants
        Those of the optimizer, see `fastnn.optimizers.Optimizer.constants`.
    t
        Number of this update, from 1.
    ema
        Decay of the mean of the weights; 0: it is that of `AveragedSGD`.
    """

    learning_rate: float
    constants: tuple[float, float, float, float, float]
    t: int
    ema: float = 0.0


def clipped(gradients: Parameters, value: float | None, norm: float | None) -> Parameters:
    """Return gradients [(dW, db), ...] within `value` and then `norm`; None is no limit.

    g = min(max(g, -value), value);  g *= min(1, norm / (|all g| + 1e-6)).
    """
    if value is not None:
        gradients = [tuple(np.clip(g, -value, value) for g in layer) for layer in gradients]
    if norm is not None:
        every = np.concatenate([g.ravel() for layer in gradients for g in layer]).astype(np.float64)
        # In this unit no square overflows.
        unit = max(1.0, float(np.abs(every).max()))
        length = float(np.linalg.norm(every / unit))
        factor = min(1.0, norm / unit / (length + CLIP_EPSILON / unit))
        factor = factor if math.isfinite(length) else math.nan
        gradients = [tuple(g * factor for g in layer) for layer in gradients]
    return gradients


def shrunk(W: np.ndarray, threshold: float) -> np.ndarray:
    """Return sign(W) max(|W| - threshold, 0), the soft threshold of the l1 penalty."""
    return W - np.clip(W, -threshold, threshold)


def held(W: np.ndarray, limit: float) -> np.ndarray:
    """Return W (k, n) with columns of norm above `limit` scaled by limit / (norm + 1e-7)."""
    # In this unit no square overflows.
    unit = np.maximum(1.0, np.abs(W).max(axis=0).astype(np.float64))
    norm = np.sqrt(np.square(W / unit).sum(axis=0))
    within = norm <= limit / unit
    return (W * np.where(within, 1.0, limit / unit / (norm + NORM_EPSILON / unit))).astype(W.dtype)


def average(mean: np.ndarray, w: np.ndarray, hyper: Hyper) -> np.ndarray:
    """Return the mean of w over all updates, with w in it: see `Optimizer.ema`.

    That of `AveragedSGD` is over those from number `start` (from 0) on, and w before it.
    """
    if hyper.ema:
        share = FACTORS.share(hyper.ema, 0, hyper.t)
        return w if share == 1 else mean + (w - mean) * share
    count = FACTORS.averaged(hyper.constants[0], hyper.t)
    return w if count == 1 else mean + (w - mean) / count


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

    w -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + epsilon), PyTorch's order of operations;
    with epsilon_hat  w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon).
    """
    beta1, beta2, epsilon, _, hat = hyper.constants
    m = beta1 * slots[0] + (1 - beta1) * g
    v = beta2 * slots[1] + (1 - beta2) * g * g
    c1, c2 = FACTORS.adam(beta1, beta2, hyper.t, hat)
    return w - hyper.learning_rate / c1 * m / (np.sqrt(v) / c2 + epsilon), [m, v]


def adamw(w: np.ndarray, g: np.ndarray, slots: Slots, hyper: Hyper) -> tuple[np.ndarray, Slots]:
    """Decoupled decay: w *= 1 - lr decay;  then `adam`."""
    decay = hyper.constants[3]
    return adam(w * (1 - hyper.learning_rate * decay), g, slots, hyper)


def nadam(w: np.ndarray, g: np.ndarray, slots: Slots, hyper: Hyper) -> tuple[np.ndarray, Slots]:
    """Nadam: m and v as in `adam`, mu_i = b1 (1 - 0.96^(0.004 i) / 2), P_t = mu_1 ... mu_t.

    w -= lr ((1 - mu_t) / (1 - P_t) g + mu_(t+1) / (1 - P_(t+1)) m)
    / (sqrt(v / (1 - b2^t)) + epsilon).
    """
    beta1, beta2, epsilon, _, _ = hyper.constants
    m = beta1 * slots[0] + (1 - beta1) * g
    v = beta2 * slots[1] + (1 - beta2) * g * g
    c1, c2, c3 = FACTORS.nadam(beta1, beta2, hyper.t, FACTORS.product(beta1, hyper.t))
    return w - hyper.learning_rate * (c1 * g + c3 * m) / (np.sqrt(v) / c2 + epsilon), [m, v]


def rmsprop(w: np.ndarray, g: np.ndarray, slots: Slots, hyper: Hyper) -> tuple[np.ndarray, Slots]:
    """RMSProp: v = decay v + (1 - decay) g^2;  w -= lr g / (sqrt(v) + epsilon)."""
    _, decay, epsilon, _, _ = hyper.constants
    v = decay * slots[0] + (1 - decay) * g * g
    return w - hyper.learning_rate * g / (np.sqrt(v) + epsilon), [v]


def adagrad(w: np.ndarray, g: np.ndarray, slots: Slots, hyper: Hyper) -> tuple[np.ndarray, Slots]:
    """Adagrad: v += g^2;  w -= lr g / (sqrt(v) + epsilon)."""
    v = slots[0] + g * g
    return w - hyper.learning_rate * g / (np.sqrt(v) + hyper.constants[2]), [v]


def lion(w: np.ndarray, g: np.ndarray, slots: Slots, hyper: Hyper) -> tuple[np.ndarray, Slots]:
    """Lion: w -= lr (sign(b1 m + (1 - b1) g) + decay w);  m = b2 m + (1 - b2) g."""
    beta1, beta2, _, decay, _ = hyper.constants
    direction = np.sign(beta1 * slots[0] + (1 - beta1) * g)
    m = beta2 * slots[0] + (1 - beta2) * g
    return w * (1 - hyper.learning_rate * decay) - hyper.learning_rate * direction, [m]


UPDATES: dict[str, Update] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam": adam,
    "adamw": adamw,
    "nadam": nadam,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "lion": lion,
    "averaged_sgd": sgd,  # and the `average` of its weights
}
