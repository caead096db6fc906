"""One pass of a batch through a network: what is drawn for it, forward, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.inputs.problem import Problem
from fastnn.rules.table import activation_row
from fastnn.targets.numpy.activations import activation_of
from fastnn.targets.numpy.layers import dropout_mask, linear_backward, linear_forward, random_slopes
from fastnn.targets.numpy.losses import definition_of, loss_of, row_weights

if TYPE_CHECKING:
    from fastnn.network import Dense

Parameters = list[tuple[np.ndarray, ...]]  # of (W, b), with prelu (W, b, slopes)


class Batch(NamedTuple):
    """Rows to learn from: X (m, inputs) of the problem's dtype; targets and weights as in Data."""

    X: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None

    @property
    def weight(self) -> float:
        """Sum of w_r."""
        return float(len(self.X) if self.weights is None else self.weights.sum())


class Layer(NamedTuple):
    """What the backward pass needs of one Dense layer: input after dropout, z, and output a.

    Where slopes were drawn, `slope` is da/dz.
    """

    X: np.ndarray
    Z: np.ndarray
    A: np.ndarray
    slope: np.ndarray | None = None


def dropout_masks(
    problem: Problem, rows: int, epoch: int, step_in_epoch: int
) -> list[np.ndarray | None]:
    """Return the mask (rows, n_in) on the input of each Dense layer; None where nothing drops."""
    return [
        dropout_mask(
            rate,
            (rows, width),
            seed=problem.seed,
            epoch=epoch,
            step=step_in_epoch,
            layer=layer,
            batch_size=problem.batch_size,
            dtype=problem.dtype,
        )
        if rate
        else None
        for layer, (rate, (width, _)) in enumerate(
            zip(problem.network.dropouts, problem.network.shapes, strict=True)
        )
    ]


def drawn_slopes(
    problem: Problem, rows: int, epoch: int, step_in_epoch: int
) -> list[np.ndarray | None]:
    """Return the slopes (rows, n_out) below 0 of each Dense layer; None where none are drawn."""
    layers = problem.network.dense
    return [
        random_slopes(
            (rows, dense.units),
            seed=problem.seed,
            epoch=epoch,
            step=step_in_epoch,
            layer=len(layers) + layer,
            batch_size=problem.batch_size,
            dtype=problem.dtype,
        )
        if activation_row(dense.activation).random
        else None
        for layer, dense in enumerate(layers)
    ]


def forward(
    problem: Problem,
    parameters: Parameters,
    X: np.ndarray,
    masks: Sequence[np.ndarray | None] | None = None,
    slopes: Sequence[np.ndarray | None] | None = None,
) -> list[Layer]:
    """Return what every Dense layer saw and gave, first to last.

    No dropout without `masks`; the mean slope of rrelu without `slopes`.
    """
    layers: list[Layer] = []
    A = X
    for position, (dense, own) in enumerate(zip(problem.network.dense, parameters, strict=True)):
        mask = masks[position] if masks else None
        X = A if mask is None else A * mask
        Z = linear_forward(X, own[0], own[1])
        drawn = slopes[position] if slopes else None
        if drawn is None:
            A = activation_of(dense.activation).value(Z, _alpha(dense, own))
            layers.append(Layer(X, Z, A))
        else:
            slope = np.where(Z > 0, Z.dtype.type(1), drawn)
            A = Z * slope
            layers.append(Layer(X, Z, A, slope))
    return layers


def _alpha(dense: Dense, own: tuple[np.ndarray, ...]) -> Any:
    """Return the parameter of a layer's activation: a number, or the slopes that it has learned."""
    return own[2] if activation_row(dense.activation).trainable else dense.alpha or 0.0


def loss_and_gradients(
    problem: Problem,
    parameters: Parameters,
    batch: Batch,
    masks: Sequence[np.ndarray | None] | None = None,
    slopes: Sequence[np.ndarray | None] | None = None,
) -> tuple[float, Parameters]:
    """Return the data loss, and the gradient (dW, db) of data loss and penalty by each (W, b).

    dW = X^T dZ + l1 sign(W) + l2 W; db = sum dZ, or 0 for a layer without bias; by the slopes of
    prelu sum dA min(0, Z).
    """
    layers = forward(problem, parameters, batch.X, masks, slopes)
    outputs = layers[-1].A
    loss = loss_of(problem, outputs, batch.targets, batch.weights)
    share = row_weights(len(outputs), batch.weights).astype(problem.dtype)
    dA = definition_of(problem).output_gradient(outputs, batch.targets) * share[:, None]
    gradients: Parameters = []
    for position in reversed(range(len(layers))):
        dense = problem.network.dense[position]
        X, Z, A, slope = layers[position]
        own = parameters[position]
        W, b = own[:2]
        below = [(dA * np.minimum(Z, 0)).sum(axis=0)] if len(own) > 2 else []
        if slope is None:
            dZ = activation_of(dense.activation).input_gradient(Z, A, dA, _alpha(dense, own))
        else:
            dZ = dA * slope
        dA, dW, db = linear_backward(X, W, dZ)
        if masks and (mask := masks[position]) is not None:
            dA = dA * mask
        l1, l2 = problem.penalties[position]
        dW = dW + l1 * np.sign(W) + l2 * W
        gradients.insert(0, (dW, db if dense.bias else np.zeros_like(b), *below))
    return loss, gradients
