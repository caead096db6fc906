"""Update rules as scalar formulas, once, for every compiled target.

Each function returns ``step(w, g, s, t, h...)``: the weight w, its gradient g (penalty included)
and two state slots s and t go in, the new ``(w, s, t)`` comes out. A rule with fewer slots hands
the rest back as it got them. The hyperparameters h are, in this order: learning_rate; momentum or
beta1; rest1 = 1 - beta1; beta2; rest2 = 1 - beta2 (both rounded once, from float64); epsilon;
shrink = 1 - learning_rate weight_decay, 1 for biases; and Adam's bias corrections c1 = 1 - beta1^n
and c2 = sqrt(1 - beta2^n) after n updates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def sgd(real: Any, m: Any) -> Callable[..., Any]:
    """Return the step w -= lr g."""

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2):
        return w - lr * g, s, t

    return step


def momentum(real: Any, m: Any) -> Callable[..., Any]:
    """Return the step s = mu s + g; w -= lr s."""

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2):
        s = beta1 * s + g
        return w - lr * s, s, t

    return step


def nesterov(real: Any, m: Any) -> Callable[..., Any]:
    """Return the step s = mu s + g; w -= lr (g + mu s)."""

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2):
        s = beta1 * s + g
        return w - lr * (g + beta1 * s), s, t

    return step


def adam(real: Any, m: Any) -> Callable[..., Any]:
    """Return Adam's step, s and t being the running mean of g and of g^2."""
    sqrt = m.sqrt

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2):
        s = beta1 * s + rest1 * g
        t = beta2 * t + rest2 * g * g
        return shrink * w - lr / c1 * s / (sqrt(t) / c2 + epsilon), s, t

    return step


adamw = adam  # the decay is in `shrink`, which is 1 for plain Adam


def gradient(real: Any, m: Any) -> Callable[..., Any]:
    """Return the step that only stores the gradient: s = g."""

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2):
        return w, g, t

    return step
