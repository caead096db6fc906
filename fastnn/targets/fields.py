"""What the plans of all compiled targets say in the same words: of a network, and of each layer.

A plan is a row of whole numbers for the network and one for each layer, which kernels read. These
fields come first in both; a target's own follow, in its `plan`. Subscripts as there: m rows of a
batch, k inputs and n outputs of a layer. Offsets are places in the target's memory, or -1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.rules.table import activation_row

if TYPE_CHECKING:
    from fastnn.inputs.problem import Problem

# Of the whole network.
(
    LAYERS,
    BATCH,  # rows of a batch: the batch size, or fewer if there are fewer rows
    SAMPLES,  # rows of the data
    SIZE,  # numbers in one copy of the parameters
    MEAN_SLOT,  # from a parameter to its mean, which is the last slot, or 0 where none is kept
    WEIGHTED,  # 1: rows have weights, 2: so has each of their targets
    CLIPS,  # 1: the gradient is clipped, by value or by norm
    SHARED,  # 1: several processes share each batch
    NETWORK_FIELDS,
) = range(9)

# Of each layer.
(
    K,  # inputs
    N,  # outputs
    ROWWISE,  # 1: the activation is softmax, 2: hardmax, of whole rows; 0: it is one of numbers
    NEEDS_Z,  # 1: the derivative needs z, which is kept at Z
    BIAS,  # 1: the bias is trained
    WEIGHTS,  # offset of the (k + 1, n) weights
    THRESHOLD,  # dropout rate as a fraction of 2^32
    INPUT,  # offset of the (m, k) inputs, after dropout
    Z,  # offset of (m, n): z where NEEDS_Z, else OUTPUT; in the end, derivatives by slopes
    OUTPUT,  # offset of (m, n): activations
    DELTA,  # offset of (m, n): derivative of the loss by z
    LAYER_FIELDS,
) = range(12)


def describe(
    problem: Problem, samples: int, own_rule: bool, head: np.ndarray, layers: np.ndarray
) -> None:
    """Write what is known before there are any offsets; `layers` are zeros.

    Parameters
    ----------
    problem, samples
        What is trained, on how many rows.
    own_rule
        Whether by the rule of the problem's optimizer, which alone has limits.
    head, layers
        The plan's row of the network, and those of its layers in `Network.parametric`.
    """
    network = problem.network
    head[LAYERS], head[BATCH] = len(layers), min(problem.batch_size, samples)
    head[SAMPLES], head[CLIPS] = samples, own_rule and problem.clips
    for row, layer, shape, rate in zip(
        layers, network.parametric, network.widths, network.dropouts, strict=True
    ):
        activation = activation_row(layer.activation)
        row[[K, N]], row[BIAS] = shape, getattr(layer, "bias", False)
        row[ROWWISE] = {"softmax": 1, "hardmax": 2}.get(activation.name, 0)
        row[NEEDS_Z], row[THRESHOLD] = activation.derivative_needs_z, int(rate * 2**32)
