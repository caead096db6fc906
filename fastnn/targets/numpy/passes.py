"""One pass of a batch through a network: what is drawn for it, forward, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.inputs.problem import Problem
from fastnn.inputs.weights import row_means
from fastnn.rules.table import activation_row, update_row
from fastnn.targets.numpy.activations import activation_of
from fastnn.targets.numpy.kinds import KINDS, kind_of
from fastnn.targets.numpy.layers import column_sums, dropout_mask, random_slopes
from fastnn.targets.numpy.losses import loss_of, output_gradients

if TYPE_CHECKING:
    from fastnn.layers import Layer as Described

Parameters = list[tuple[np.ndarray, ...]]  # of each layer's arrays: see `Network.parameters`


class Batch(NamedTuple):
    """Rows to learn from: X (m, inputs) of the problem's dtype; targets and weights as in Data.

    `mean_weight` is that of all rows there are; None: these are all.
    """

    X: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    mean_weight: float | None = None

    @property
    def weight(self) -> float:
        """Sum of w_r."""
        return float(len(self.X) if self.weights is None else row_means(self.weights).sum())


class Layer(NamedTuple):
    """What the backward pass needs of one layer: input after dropout, z, and output a.

    Where slopes were drawn, `slope` is da/dz; `kept` is what the kind of layer keeps for itself.
    """

    X: np.ndarray
    Z: np.ndarray
    A: np.ndarray
    slope: np.ndarray | None = None
    kept: tuple[np.ndarray, ...] = ()


def dropout_masks(
    problem: Problem, rows: int, epoch: int, step_in_epoch: int
) -> list[np.ndarray | None]:
    """Return the mask (rows, n_in) on the input of each layer with parameters, or None."""
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
            zip(problem.network.dropouts, problem.network.widths, strict=True)
        )
    ]


def drawn_slopes(
    problem: Problem, rows: int, epoch: int, step_in_epoch: int
) -> list[np.ndarray | None]:
    """Return the slopes (rows, n_out) below 0 of each layer; None where none are drawn."""
    layers = problem.network.parametric
    return [
        random_slopes(
            (rows, problem.network.widths[layer][1]),
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
    training: bool = False,
) -> list[Layer]:
    """Return what every layer with parameters saw and gave, first to last.

    No dropout without `masks`; the mean slope of rrelu without `slopes`; running statistics but in
    training.
    """
    layers: list[Layer] = []
    A = X
    for position, (layer, own) in enumerate(
        zip(problem.network.parametric, parameters, strict=True)
    ):
        mask = masks[position] if masks else None
        X = A if mask is None else A * mask
        kind = kind_of(layer.kind, problem.precision)
        Z, kept = kind.forward(layer, own, X, training)
        drawn = slopes[position] if slopes else None
        if drawn is None:
            A = activation_of(layer.activation).value(Z, alpha_of(layer, own))
            layers.append(Layer(X, Z, A, None, kept))
        else:
            slope = np.where(Z > 0, Z.dtype.type(1), drawn)
            A = Z * slope
            layers.append(Layer(X, Z, A, slope, kept))
    return layers


def alpha_of(layer: Described, own: tuple[np.ndarray, ...]) -> Any:
    """Return the parameter of a layer's activation: a number, or the slopes that it has learned."""
    return own[-1] if activation_row(layer.activation).trainable else layer.alpha or 0.0


def loss_and_gradients(
    problem: Problem,
    parameters: Parameters,
    batch: Batch,
    masks: Sequence[np.ndarray | None] | None = None,
    slopes: Sequence[np.ndarray | None] | None = None,
) -> tuple[float, Parameters]:
    """Return the data loss, and the gradient of data loss and l2 penalty by each parameter."""
    layers = forward(problem, parameters, batch.X, masks, slopes, training=True)
    return backward(problem, parameters, layers, batch, masks)


class Back(NamedTuple):
    """What the backward pass finds of one layer with parameters.

    Attributes
    ----------
    dX
        dL/dX, (m, n_in): by its input before dropout.
    dZ
        dL/dZ, (m, n_out).
    gradients
        By each of its parameters, that of the l2 penalty included.
    """

    dX: np.ndarray
    dZ: np.ndarray
    gradients: tuple[np.ndarray, ...]


def backward(
    problem: Problem,
    parameters: Parameters,
    layers: list[Layer],
    batch: Batch,
    masks: Sequence[np.ndarray | None] | None = None,
    rate: float | None = None,
) -> tuple[float, Parameters]:
    """Return the data loss, and the gradient of data loss and l2 penalty by each parameter.

    The loss is divided by the weights of the batch, the gradient by those of as many rows on
    average. `rate` is the learning rate of the step that this is for, see `Problem.l2_of_step`.
    """
    loss = loss_of(problem, layers[-1].A, batch.targets, batch.weights)
    found = back_through(problem, parameters, layers, batch, masks, rate)
    return loss, [each.gradients for each in found][::-1]


def back_through(
    problem: Problem,
    parameters: Parameters,
    layers: list[Layer],
    batch: Batch,
    masks: Sequence[np.ndarray | None] | None = None,
    rate: float | None = None,
) -> Iterator[Back]:
    """Yield what the backward pass finds of every layer with parameters, last to first.

    The gradient by weights is the layer's own, dW, + l2 W; by the slopes of prelu it is
    sum dA min(0, Z). Of the last layer dA is what `output_gradients` says. `layers` is what
    `forward` returned.
    """
    outputs = layers[-1].A
    dA = output_gradients(problem, outputs, batch.targets, batch.weights, batch.mean_weight)
    for position in reversed(range(len(layers))):
        layer, own = problem.network.parametric[position], parameters[position]
        X, Z, A, slope, kept = layers[position]
        trainable = activation_row(layer.activation).trainable
        below = [column_sums(dA * np.minimum(Z, 0))] if trainable else []
        if slope is None:
            dZ = activation_of(layer.activation).input_gradient(Z, A, dA, alpha_of(layer, own))
        else:
            dZ = dA * slope
        kind = kind_of(layer.kind, problem.precision)
        dA, found = kind.backward(layer, own, X, kept, dZ)
        if masks and (mask := masks[position]) is not None:
            dA = dA * mask
        l2 = problem.l2_of_step(position, rate)
        penalised = [
            g + l2 * w if each.penalised else g
            for g, w, each in zip(found, own, problem.network.parameters[position], strict=False)
        ]
        yield Back(dA, dZ, (*penalised, *below))


def move_statistics(
    problem: Problem, layers: list[Layer], parameters: Parameters, slots: list[Parameters]
) -> tuple[Parameters, list[Parameters]]:
    """Return parameters and slots with what no optimizer trains as a step leaves it.

    `layers` is what `forward` returned. A mean of the parameters has these as they are.
    """
    known = problem.network.parameters
    if all(each.trained for layer in known for each in layer):
        return parameters, slots
    moved = [
        KINDS[layer.kind].moved(layer, own, X, kept)
        for layer, own, (X, _, _, _, kept) in zip(
            problem.network.parametric, parameters, layers, strict=True
        )
    ]
    if update_row(problem.optimizer).mean:
        mean = [
            tuple(m if each.trained else w for m, w, each in zip(means, own, wanted, strict=True))
            for means, own, wanted in zip(slots[-1], moved, known, strict=True)
        ]
        slots = [*slots[:-1], mean]
    return moved, slots
