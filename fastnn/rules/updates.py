"""Update rules as scalar formulas, once, for every compiled target.

Each function returns ``step(w, g, s, t, h...)``: the weight w, its gradient g (penalty included)
and two state slots s and t go in, the new ``(w, s, t)`` comes out. A rule with fewer slots hands
the rest back as it got them. The hyperparameters h are, in this order: learning_rate; momentum or
beta1; rest1 = 1 - beta1; beta2 or decay; rest2 = 1 - beta2 (both rounded once, from float64);
epsilon; shrink = 1 - learning_rate weight_decay, 1 for biases; and what follows from the number n
of the update, from 1: c2 = sqrt(1 - beta2^n), Adam's c1 = 1 - beta1^n, and Nadam's factors of the
gradient, c1 = (1 - mu_n) / (1 - mu_1 ... mu_n), and of its mean,
c3 = mu_(n+1) / (1 - mu_1 ... mu_(n+1)); and c1, the part that w has in the mean of weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# A gradient of norm above c is scaled by c / (norm + this), as PyTorch's clip_grad_norm_ does.
CLIP_EPSILON = 1e-6
# A column of W of norm above c is scaled by c / (norm + this), as PyTorch's renorm does.
NORM_EPSILON = 1e-7


def sgd(real: Any, m: Any) -> Callable[..., Any]:
    """Return the step w -= lr g."""

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3):
        return w - lr * g, s, t

    return step


def momentum(real: Any, m: Any) -> Callable[..., Any]:
    """Return the step s = mu s + g; w -= lr s."""

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3):
        s = beta1 * s + g
        return w - lr * s, s, t

    return step


def nesterov(real: Any, m: Any) -> Callable[..., Any]:
    """Return the step s = mu s + g; w -= lr (g + mu s)."""

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3):
        s = beta1 * s + g
        return w - lr * (g + beta1 * s), s, t

    return step


def adam(real: Any, m: Any) -> Callable[..., Any]:
    """Return Adam's step, s and t being the running mean of g and of g^2."""
    sqrt = m.sqrt

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3):
        s = beta1 * s + rest1 * g
        t = beta2 * t + rest2 * g * g
        return shrink * w - lr / c1 * s / (sqrt(t) / c2 + epsilon), s, t

    return step


adamw = adam  # the decay is in `shrink`, which is 1 for plain Adam


def nadam(real: Any, m: Any) -> Callable[..., Any]:
    """Return Nadam's step: Adam's with the gradient itself beside its running mean s."""
    sqrt = m.sqrt

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3):
        s = beta1 * s + rest1 * g
        t = beta2 * t + rest2 * g * g
        return w - lr * (c1 * g + c3 * s) / (sqrt(t) / c2 + epsilon), s, t

    return step


def rmsprop(real: Any, m: Any) -> Callable[..., Any]:
    """Return the step w -= lr g / (sqrt(s) + epsilon), s being the running mean of g^2."""
    sqrt = m.sqrt

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3):
        s = beta2 * s + rest2 * g * g
        return w - lr * g / (sqrt(s) + epsilon), s, t

    return step


def adagrad(real: Any, m: Any) -> Callable[..., Any]:
    """Return the step w -= lr g / (sqrt(s) + epsilon), s being the sum of all g^2."""
    sqrt = m.sqrt

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3):
        s = s + g * g
        return w - lr * g / (sqrt(s) + epsilon), s, t

    return step


def lion(real: Any, m: Any) -> Callable[..., Any]:
    """Return the step w -= lr sign(beta1 s + (1 - beta1) g) after decay; s = beta2 s + rest2 g."""
    zero, one = real(0), real(1)

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3):
        c = beta1 * s + rest1 * g
        sign = (one if c > zero else zero) - (one if c < zero else zero)
        return shrink * w - lr * sign, beta2 * s + rest2 * g, t

    return step


def averaged_sgd(real: Any, m: Any) -> Callable[..., Any]:
    """Return the step w -= lr g; s += c1 (w - s), which is w itself where c1 is 1."""
    one = real(1)

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3):
        w = w - lr * g
        return w, w if c1 == one else s + c1 * (w - s), t

    return step


def gradient(real: Any, m: Any) -> Callable[..., Any]:
    """Return the step that only stores the gradient: s = g."""

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3):
        return w, g, t

    return step
