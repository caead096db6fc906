"""The loss of a batch and its derivative by the outputs, a row a thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.targets.cuda.device.elementary import top_of
from fastnn.targets.cuda.device.rules import ALONE, Recipe
from fastnn.targets.cuda.device.work import layer_of
from fastnn.targets.cuda.host.numba_cuda import U, inner
from fastnn.targets.cuda.host.scalars import INVERSE, LOSS_ALPHA
from fastnn.targets.fields import LAYERS


def make_loss(recipe: Recipe, rules: Any) -> Any:
    """Return the function ``loss(work, job, weighted)``.

    It writes the derivative of the batch's loss by each output of the rows to DELTA of the last
    layer, and returns the sum of weight times loss over the rows of this thread, in float64.
    The job has `targets`, numbers or soft labels (n, outputs), or `classes`, indices (n,), and of
    the other one a single element; of its `weights` there is one for each row where `weighted` is
    1, for each target where it is 2.
    """
    dtype = np.dtype(recipe.dtype)
    real = dtype.type
    zero, one = real(0), real(1)
    exp, log, value, gradient = rules.exp, rules.log, rules.loss, rules.gradient
    loss_parameter, at_loss = rules.loss_parameter, recipe.places.loss
    formula: Any = rules.make_row_loss(ALONE) if rules.make_row_loss else None

    @inner
    def top_and_total(act, p, n):
        """Return the largest of n numbers, and the sum of exp of what each is above it."""
        top, total = top_of(act, p, n), zero
        for j in range(n):
            total += exp(act[U(p + j)] - top)
        return top, total

    @inner
    def cross_entropy(act, p, d, n, label, share):
        top, total = top_and_total(act, p, n)
        for j in range(n):
            hit = one if j == label else zero
            act[U(d + j)] = (exp(act[U(p + j)] - top) / total - hit) * share
        return np.float64(log(total) - (act[U(p + label)] - top))

    @inner
    def soft_cross_entropy(act, p, d, n, classes, targets, s, share, smoothing):
        """Take sum_j t_j (log sum_i exp(z_i) - z_j) for soft labels t, or a label, smoothed."""
        top, total = top_and_total(act, p, n)
        keep, base = one - smoothing, smoothing / real(n)
        soft = targets.shape[1] == n
        label = -1 if soft else classes[U(s)]
        log_total, whole, found = log(total), zero, 0.0
        for j in range(n):
            t = one if j == label else zero
            if soft:
                t = targets[U(s), U(j)]
            t = keep * t + base
            whole += t
            if t != zero:
                found += np.float64(t * (log_total - (act[U(p + j)] - top)))
            act[U(d + j)] = t
        for j in range(n):
            t = act[U(d + j)]
            act[U(d + j)] = (exp(act[U(p + j)] - top) / total * whole - t) * share
        return found

    @inner
    def mean_loss(act, p, d, n, targets, s, share, alpha):
        total, count = 0.0, real(n)
        for j in range(n):
            output, target = act[U(p + j)], targets[U(s), U(j)]
            total += np.float64(value(output, target, alpha))
            act[U(d + j)] = gradient(output, target, alpha) / count * share
        return total / n

    @inner
    def loss_by_class(act, p, d, n, numbers, classes, targets, s, share, alpha):
        if alpha != zero or targets.shape[1] == n:
            return soft_cross_entropy(act, p, d, n, classes, targets, s, share, alpha)
        return cross_entropy(act, p, d, n, classes[U(s)], share)

    @inner
    def loss_by_number(act, p, d, n, numbers, classes, targets, s, share, alpha):
        return mean_loss(act, p, d, n, targets, s, share, alpha)

    @inner
    def loss_by_formula(act, p, d, n, numbers, classes, targets, s, share, alpha):
        return np.float64(formula(act, p, d, targets, s, share, numbers, at_loss, 0, 0, 1))

    @inner
    def loss_by_target(act, p, d, n, targets, weights, s, inverse, alpha):
        """Do what `mean_loss` does where each target has a weight, and return the sum with it."""
        total, count = 0.0, real(n)
        for j in range(n):
            output, target, weight = act[U(p + j)], targets[U(s), U(j)], weights[U(s * n + j)]
            slope = zero
            if weight > 0.0:
                total += weight * np.float64(value(output, target, alpha))
                slope = gradient(output, target, alpha) / count * real(weight * inverse)
            act[U(d + j)] = slope
        return total / n

    @inner
    def never(act, p, d, n, targets, weights, s, inverse, alpha):
        return 0.0

    row_loss, by_target = loss_by_number, loss_by_target
    if recipe.by_class:
        row_loss, by_target = loss_by_class, never
    elif formula is not None:
        row_loss, by_target = loss_by_formula, never

    @inner
    def loss(work, job, weighted):
        act, weights, inverse = work.act, job.weights, work.step[INVERSE]
        at = layer_of(work.words, work.words[0, LAYERS] - 1)
        n, total = at.n, 0.0
        alpha = loss_parameter(work.numbers, real(work.step[LOSS_ALPHA]))
        r = work.me
        while r < work.rows:
            s = work.order[U(work.first + r)]
            p, d = at.output + r * at.ldn, at.delta + r * at.ldn
            weight = weights[U(s)] if weighted == 1 else 1.0
            if weighted == 2:
                total += by_target(act, p, d, n, job.targets, weights, s, inverse, alpha)
            elif weight > 0.0:
                share = real(weight * inverse)
                total += weight * row_loss(
                    act, p, d, n, work.numbers, job.classes, job.targets, s, share, alpha
                )
            else:  # no derivative, whatever that of its loss is
                for j in range(n):
                    act[U(d + j)] = zero
            r += work.team
        return total

    return loss
