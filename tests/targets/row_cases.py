"""Losses of whole rows: what they are in fastnn.graph, and what they are in PyTorch."""

import numpy as np

from fastnn import graph
from fastnn.graph import exp, log_softmax, logsumexp, maximum, one_hot, softmax, softplus, where

try:
    import torch
except ImportError:
    torch = None

QUANTILES = np.array([0.1, 0.5, 0.9])


def quantiles(outputs, targets):
    """Return the loss of three quantiles of one target."""
    error = targets[0] - outputs
    return maximum(QUANTILES * error, (QUANTILES - 1) * error)


def gaussian(outputs, targets):
    """Return the negative log likelihood of a mean and a log variance."""
    mean, log_variance = outputs
    return 0.5 * (log_variance + (targets[0] - mean) ** 2 * exp(-log_variance))


def several_gaussians(outputs, targets):
    mean, log_variance = outputs[:2], outputs[2:]
    return 0.5 * (log_variance + (targets[0:2] - mean) ** 2 * exp(-log_variance))


def focal(outputs, targets):
    return -((1 - softmax(outputs)[targets[0]]) ** 2) * log_softmax(outputs)[targets[0]]


def focal_one_hot(outputs, targets):
    return -np.sum(targets * (1 - softmax(outputs)) ** 1.5 * log_softmax(outputs))


def smoothed(outputs, targets):
    k = len(outputs)
    t = 0.9 * one_hot(targets[0], k) + 0.1 / k
    return -graph.sum(t * log_softmax(outputs))


def tasks(outputs, targets):
    """Return the sum of a regression, a classification of two classes and a count."""
    z = outputs[1]
    return (
        (outputs[0] - targets[0]) ** 2
        + 0.3 * (softplus(z) - targets[1] * z)
        + exp(0.1 * outputs[2]) * targets[2]
    )


def extremes(outputs, targets):
    """Return a margin loss of the largest wrong output, with a smallest and a mean thrown in."""
    right = outputs[targets[0]]
    others = where(one_hot(targets[0], len(outputs)) == 1, -1e3, outputs)
    margin = maximum(0, 1 + graph.max(others) - right)
    return margin + 0.1 * graph.min(outputs) ** 2 + np.mean(outputs) * outputs[-1] / 7


def ranked(outputs, targets):
    """Return what takes slices with steps, products of vectors, and nested sums."""
    spread = outputs - outputs.mean()
    return (spread @ spread) / (1 + targets[0:3:2] @ targets[0:3:2]) + logsumexp(outputs[::2]) * (
        outputs[1] - targets[1]
    )


# name: (loss, outputs, columns of targets, kind of targets, PyTorch's of (z, y) -> (m,))
CASES = {
    "quantiles": (quantiles, 3, 1, "real", lambda z, y: _pinball(z, y)),
    "gaussian": (
        gaussian,
        2,
        1,
        "real",
        lambda z, y: torch.nn.functional.gaussian_nll_loss(
            z[:, 0], y[:, 0], z[:, 1].exp(), reduction="none"
        ),
    ),
    "several gaussians": (
        several_gaussians,
        4,
        2,
        "real",
        lambda z, y: torch.nn.functional.gaussian_nll_loss(
            z[:, :2], y, z[:, 2:].exp(), reduction="none"
        ).mean(1),
    ),
    "focal": (
        focal,
        5,
        1,
        "label",
        lambda z, y: -((1 - _right(z.softmax(1), y)) ** 2) * _right(z.log_softmax(1), y),
    ),
    "focal, one-hot": (
        focal_one_hot,
        4,
        4,
        "one-hot",
        lambda z, y: -(y * (1 - z.softmax(1)) ** 1.5 * z.log_softmax(1)).sum(1),
    ),
    "smoothed": (
        smoothed,
        6,
        1,
        "label",
        lambda z, y: torch.nn.functional.cross_entropy(
            z, y[:, 0].long(), reduction="none", label_smoothing=0.1
        ),
    ),
    "tasks": (
        tasks,
        3,
        3,
        "binary",
        lambda z, y: (
            (z[:, 0] - y[:, 0]) ** 2
            + 0.3
            * torch.nn.functional.binary_cross_entropy_with_logits(
                z[:, 1], y[:, 1], reduction="none"
            )
            + torch.exp(0.1 * z[:, 2]) * y[:, 2]
        ),
    ),
    "extremes": (extremes, 5, 1, "label", lambda z, y: _extremes(z, y)),
    "ranked": (ranked, 5, 3, "real", lambda z, y: _ranked(z, y)),
    "wide": (
        lambda z, y: logsumexp(z) - z[y[0]],
        70,
        1,
        "label",
        lambda z, y: torch.nn.functional.cross_entropy(z, y[:, 0].long(), reduction="none"),
    ),
}


def _pinball(z, y):
    q = torch.tensor(QUANTILES, dtype=z.dtype)
    return torch.maximum(q * (y - z), (q - 1) * (y - z)).mean(1)


def _right(p, y):
    return p.gather(1, y.long())[:, 0]


def _extremes(z, y):
    hit = torch.nn.functional.one_hot(y[:, 0].long(), z.shape[1]).bool()
    largest = z.masked_fill(hit, -1e3).amax(1)
    margin = torch.relu(1 + largest - _right(z, y))
    return margin + 0.1 * z.amin(1) ** 2 + z.mean(1) * z[:, -1] / 7


def _ranked(z, y):
    spread = z - z.mean(1, keepdim=True)
    odd = y[:, 0:3:2]
    total = (spread**2).sum(1) / (1 + (odd**2).sum(1))
    return total + torch.logsumexp(z[:, ::2], 1) * (z[:, 1] - y[:, 1])


def targets_for(name, n, dtype="float64"):
    """Return targets (n, columns) of a case."""
    _, outputs, columns, kind, _ = CASES[name]
    random = np.random.default_rng(4)
    if kind == "label":
        return random.integers(0, outputs, (n, columns)).astype(dtype)
    if kind == "one-hot":
        return np.eye(outputs)[random.integers(0, outputs, n)].astype(dtype)
    if kind == "binary":
        return random.integers(0, 2, (n, columns)).astype(dtype)
    return random.normal(size=(n, columns)).astype(dtype)
