"""Update rules as scalar formulas, once: steps for every compiled target, factors for every target.

A rule returns ``step(w, g, s, t, h...)``: the weight w, its gradient g (with that of the l2
penalty) and two state slots s and t go in, the new ``(w, s, t)`` comes out. A rule with fewer slots
hands the rest back as it got them. The hyperparameters h are, in this order: learning_rate;
momentum or beta1; rest1 = 1 - beta1; beta2 or decay; rest2 = 1 - beta2 (both rounded once, from
float64); epsilon; shrink = 1 - learning_rate weight_decay, 1 for biases; and c1, c2 and c3, which
follow from the number of the update as `make_factors` says.

What follows the step of every rule is `soft_threshold`, and where the state has the mean of the
weights in one more slot, the last, `mean_of_weights`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

# A gradient of norm above c is scaled by c / (norm + this), as PyTorch's clip_grad_norm_ does.
CLIP_EPSILON = 1e-6
# A weight in float32 that loses less than the first of these a step loses a multiple of the second:
# 1 less so little would be rounded to 1, or to 1 less twice as much.
SLIGHT, LOSS_QUANTUM = 2.0**-16, 2.0**-20
GOLDEN = 0.6180339887498949  # whose multiples, modulo 1, fill [0, 1) evenly
# A column of W of norm above c is scaled by c / (norm + this), as PyTorch's renorm does.
NORM_EPSILON = 1e-7


def make_factors(
    sqrt: Callable[..., Any],
    maximum: Callable[..., Any],
    compiled: Callable[..., Any] = lambda formula: formula,
) -> SimpleNamespace:
    """Return what update rules take of t, the number of the update, from 1; all of it in float64.

    adam(beta1, beta2, t, hat): 1 - beta1^t and sqrt(1 - beta2^t) (Kingma & Ba 2015, algorithm 1);
    with hat, for the epsilon with a hat of their section 2, the ratio of the two, and 1.
    momentum(beta1, t): Nadam's mu_t = beta1 (1 - 0.96^(0.004 t) / 2), which grows from beta1 / 2 to
    beta1 (Dozat 2016, with PyTorch's numbers).
    product(beta1, t): P_t = mu_1 ... mu_t, or a number below 1e-20 for one below 1e-20.
    nadam(beta1, beta2, t, P_t): the factor (1 - mu_t) / (1 - P_t) of the gradient,
    sqrt(1 - beta2^t), and the factor mu_(t+1) / (1 - P_(t+1)) of the mean gradient.
    averaged(start, t): how many weights are in their mean (Polyak & Juditsky 1992).
    share(ema, start, t): the part of the latest weights in their mean: 1 / averaged, or with an ema
    above 0 (1 - ema) / (1 - ema^t), that is 1 / sum_(k<t) ema^k.
    lost(part, t): the part that a weight in float32 loses in update t where it is to lose `part`:
    if that is slight, one of the two multiples of LOSS_QUANTUM around it, so often that it is
    `part` in the mean of any updates that follow one another.

    `sqrt` and `maximum` are of numbers, or of NumPy's arrays for t an array (but in `product`).
    """

    @compiled
    def adam(beta1, beta2, t, hat):
        c1, c2 = 1.0 - beta1**t, sqrt(1.0 - beta2**t)
        return (c1 / c2, 1.0) if hat else (c1, c2)

    @compiled
    def momentum(beta1, t):
        return beta1 * (1.0 - 0.5 * 0.96 ** (0.004 * t))

    @compiled
    def product(beta1, t):
        found = 1.0
        for i in range(t):
            # Below this 1 - P_t is 1, and the number of updates may be anything.
            if found < 1e-20:
                break
            found *= momentum(beta1, i + 1.0)
        return found

    @compiled
    def nadam(beta1, beta2, t, product):
        now, following = momentum(beta1, t), momentum(beta1, t + 1.0)
        return (
            (1.0 - now) / (1.0 - product),
            sqrt(1.0 - beta2**t),
            following / (1.0 - product * following),
        )

    @compiled
    def averaged(start, t):
        return maximum(1.0, t - start)

    @compiled
    def share(ema, start, t):
        return (1.0 - ema) / (1.0 - ema**t) if ema > 0.0 else 1.0 / averaged(start, t)

    @compiled
    def lost(part, t):
        slight = part < SLIGHT
        quanta, turns = slight * part / LOSS_QUANTUM, t * GOLDEN
        whole = np.floor(quanta)  # % and // would be calls of a library, once a row
        more = turns - np.floor(turns) < quanta - whole
        return LOSS_QUANTUM * (whole + more) + (1.0 - slight) * part

    return SimpleNamespace(
        adam=adam,
        momentum=momentum,
        product=product,
        nadam=nadam,
        averaged=averaged,
        share=share,
        lost=lost,
    )


def soft_threshold(real: Any) -> Callable[..., Any]:
    """Return ``shrunk(w, threshold)``: sign(w) max(|w| - threshold, 0), the l1 penalty's step.

    The threshold is learning_rate l1, at least 0; with 0 it is w (Duchi & Singer 2009, section 3).
    NaN stays NaN.
    """

    def shrunk(w, threshold):
        cut = threshold if w > threshold else w
        return w - (-threshold if cut < -threshold else cut)

    return shrunk


def mean_of_weights(real: Any) -> Callable[..., Any]:
    """Return ``mean(s, w, share)``: the mean s with w in it, which is w itself where share is 1.

    share is that of `make_factors`.
    """
    one = real(1)

    def mean(s, w, share):
        return w if share == one else s + share * (w - s)

    return mean


def sgd(real: Any, m: Any) -> Callable[..., Any]:
    """Return the step w -= lr g; a target may have that of the l2 penalty in `shrink` instead."""

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3):
        return shrink * w - lr * g, s, t

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
    """Return Adam's step, s and t being the running mean of g and of g^2.

    lr / c1 s / (sqrt(t) / c2 + epsilon), times c2 above and below: a division less for a weight.
    """
    sqrt = m.sqrt

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3):
        s = beta1 * s + rest1 * g
        t = beta2 * t + rest2 * g * g
        return shrink * w - lr * (c2 / c1) * s / (sqrt(t) + c2 * epsilon), s, t

    return step


adamw = adam  # the decay is in `shrink`, which is 1 for plain Adam


def nadam(real: Any, m: Any) -> Callable[..., Any]:
    """Return Nadam's step: `adam` with the gradient itself beside its running mean s."""
    sqrt = m.sqrt

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3):
        s = beta1 * s + rest1 * g
        t = beta2 * t + rest2 * g * g
        return w - lr * c2 * (c1 * g + c3 * s) / (sqrt(t) + c2 * epsilon), s, t

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


averaged_sgd = sgd  # the mean is taken after the penalty, by `mean_of_weights`


def gradient(real: Any, m: Any) -> Callable[..., Any]:
    """Return the step that only stores the gradient: s = g."""

    def step(w, g, s, t, lr, beta1, rest1, beta2, rest2, epsilon, shrink, c1, c2, c3):
        return w, g, t

    return step
