"""The passes of a batch through a network, as the NumPy target defines them, with all they find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import true_or_false
from fastnn.inputs.data import Data, check_data, check_features
from fastnn.inputs.device_arrays import to_host
from fastnn.inputs.memory import check_memory
from fastnn.inputs.parameters import Parameters
from fastnn.inputs.problem import Problem, penalty_of
from fastnn.inputs.sparse_rows import SparseRows
from fastnn.network import Dropout, Network, unknown_inputs
from fastnn.rules.table import update_row
from fastnn.training.inspection.values import Activations, Gradients, LayerValues, named

if TYPE_CHECKING:
    from fastnn.targets.numpy.passes import Back, Batch, Layer
    from fastnn.training.trainer_state import State, Stateful


def predicting(state: State) -> Parameters:
    """Return the parameters that predict, not to be written to."""
    parameters, slots = state.read()
    return slots[-1] if update_row(state.problem.optimizer).mean else parameters


def host_data(data: Data) -> Data:
    """Return data of which nothing is on a device."""
    return Data(to_host(data.X), to_host(data.targets), data.weights)


@np.errstate(all="ignore")
def activations(trainer: Stateful, X: Any) -> Activations:
    """Return what every layer gives for X in prediction; see `Inspectable.activations`."""
    from fastnn.targets.numpy.epoch import PREDICTED_ROWS, dense_rows
    from fastnn.targets.numpy.passes import forward

    state = trainer._state
    problem, network = state.problem, state.problem.network
    if network.inputs is None:
        raise unknown_inputs("have activations")
    features = to_host(
        check_features(
            X, network.inputs, problem.dtype, reader=trainer._reader(X), names=state.feature_names
        )
    )
    parameters = predicting(state)
    size = PREDICTED_ROWS if isinstance(features, SparseRows) else len(features)
    pieces = []
    for at in range(0, len(features), size):
        rows = dense_rows(problem, features, slice(at, at + size))
        pieces.append(layer_values(network, rows, forward(problem, parameters, rows)))
    if len(pieces) == 1:
        return Activations(pieces[0])
    return Activations(
        LayerValues(
            of_layer[0].name,
            np.concatenate([each.z for each in of_layer]),
            np.concatenate([each.a for each in of_layer]),
        )
        for of_layer in zip(*pieces, strict=True)
    )


def layer_values(
    network: Network, X: np.ndarray, layers: Sequence[Layer]
) -> tuple[LayerValues, ...]:
    """Return the values of every layer, dropout included, of a pass that began with X.

    `layers` is what `fastnn.targets.numpy.passes.forward` returned.
    """
    found: list[LayerValues] = []
    names, position = iter(network.names), 0
    A = X
    for number, layer in enumerate(network.layers):
        if isinstance(layer, Dropout):
            # Several in a row have one mask, which the last of them then is.
            last = not isinstance(network.layers[number + 1], Dropout)
            kept = layers[position].X if last else A
            found.append(LayerValues("Dropout", A, kept))
        else:
            _, Z, A, *_ = layers[position]
            found.append(LayerValues(next(names), Z, A))
            position += 1
    return tuple(found)


@dataclass(frozen=True)
class Passes:
    """A batch forward and back: its loss, the values of layers, and what the way back finds."""

    loss: float
    values: tuple[LayerValues, ...]
    back: list[Back]


@np.errstate(all="ignore")
def there_and_back(
    problem: Problem,
    parameters: Parameters,
    batch: Batch,
    masks: Sequence[np.ndarray | None] | None = None,
    slopes: Sequence[np.ndarray | None] | None = None,
    rate: float | None = None,
) -> Passes:
    """Return both passes of a step of training on a batch, with l2 as it counts at a rate."""
    from fastnn.targets.numpy.losses import loss_of
    from fastnn.targets.numpy.passes import back_through, forward

    layers = forward(problem, parameters, batch.X, masks, slopes, training=True)
    loss = loss_of(problem, layers[-1].A, batch.targets, batch.weights)
    back = list(back_through(problem, parameters, layers, batch, masks, rate))[::-1]
    return Passes(loss, layer_values(problem.network, batch.X, layers), back)


def gradients(trainer: Stateful, X: Any, y: Any, sample_weight: Any, inputs: bool) -> Gradients:
    """Return loss and gradients on all rows of X; see `Inspectable.gradients`."""
    from fastnn.targets.numpy.epoch import take

    state = trainer._state
    problem, network = state.problem, state.problem.network
    inputs = true_or_false(inputs, "inputs")
    if network.inputs is None:
        raise unknown_inputs("have gradients")
    reader = trainer._reader(X, y, sample_weight)
    data = check_data(problem, X, y, sample_weight, reader=reader, names=state.feature_names)
    if isinstance(data.X, SparseRows):
        check_memory(
            len(data) * network.inputs * problem.dtype.itemsize,
            "the rows of X, dense for the gradient of all of them together,",
            "pass fewer rows",
        )
    if len(data) == 1:
        problem.check_batches(1)
    parameters = predicting(state)
    found = there_and_back(problem, parameters, take(problem, host_data(data), slice(None)))
    return Gradients(
        found.loss,
        penalty_of(problem, parameters),
        named(network, (each.gradients for each in found.back), "d"),
        tuple(each.dZ for each in found.back),
        found.back[0].dX if inputs else None,
        network.names,
    )
