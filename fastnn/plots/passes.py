"""One row through a network, forward and back, as the picture of a network shows it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.inputs.data import check_data, check_features
from fastnn.network import Dense, Network
from fastnn.targets.numpy.epoch import dense_rows, take
from fastnn.targets.numpy.passes import backward, forward

if TYPE_CHECKING:
    from fastnn.training.trainer import Trainer


class OneRow(NamedTuple):
    """What a row comes to in each Dense layer, and the derivatives of its loss.

    Attributes
    ----------
    x
        The inputs (inputs,).
    z, a
        Of each layer (units,).
    loss, dz, dW
        The row's loss, and its derivatives by z (units,) and by W (inputs, units) of each layer,
        that of l2 included in the second; None and empty without a target.
    """

    x: np.ndarray
    z: list[np.ndarray]
    a: list[np.ndarray]
    loss: float | None = None
    dz: list[np.ndarray] = []  # noqa: RUF012
    dW: list[np.ndarray] = []  # noqa: RUF012


@np.errstate(all="ignore")
def of_one_row(trainer: Trainer, x: Any, y: Any = None) -> OneRow:
    """Return one row (inputs,) through a network of Dense layers, without dropout.

    With its target y, the derivatives too. Of one row that by b is that by z: so every layer has a
    bias here.
    """
    problem = trainer.problem
    biased = [
        replace(layer, bias=True) if isinstance(layer, Dense) else layer
        for layer in problem.network.layers
    ]
    problem = problem.changed(network=Network(problem.network.inputs, biased))
    row = np.reshape(np.asarray(x), (1, -1))
    names = None
    if y is None:
        X = check_features(row, problem.network.inputs, problem.dtype, names=names)
        layers = forward(problem, trainer.parameters, dense_rows(problem, X, slice(None)))
        return OneRow(
            layers[0].X[0], [each.Z[0] for each in layers], [each.A[0] for each in layers]
        )
    batch = take(problem, check_data(problem, row, np.asarray(y)[None], names=names), slice(None))
    layers = forward(problem, trainer.parameters, batch.X, training=True)
    loss, gradients = backward(problem, trainer.parameters, layers, batch)
    return OneRow(
        layers[0].X[0],
        [each.Z[0] for each in layers],
        [each.A[0] for each in layers],
        loss,
        [each[1] for each in gradients],
        [each[0] for each in gradients],
    )
