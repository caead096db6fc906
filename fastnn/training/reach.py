"""How large features may be for outputs of a network that are finite beyond doubt."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.inputs.pages import in_pieces
from fastnn.inputs.parameters import Parameters
from fastnn.inputs.problem import Problem
from fastnn.inputs.sparse_rows import SparseRows
from fastnn.network import Dense
from fastnn.normalization import BatchNorm, LayerNorm
from fastnn.periodic import Periodic
from fastnn.rules.table import activation_row

_FEW = 1 << 14  # numbers that are not worth a look whether they lie in a file


def reach_of(problem: Problem, parameters: Parameters) -> float:
    """Return r such that no sum in the network overflows where all |x| < r; 0 where unknown.

    Layer by layer |z| <= g r + s with g = prod max_j sum_i |W_ij|, and every activation of fastnn
    has |a| <= 1.06 |z| + 2, or where it has alphas, max(1.06, |alpha|) |z| + 2 + |alpha|. All of
    them are to be below a quarter of the root of the largest number, so that squares are, too.
    """
    most = float(np.sqrt(np.finfo(problem.dtype).max)) / 4
    gain, shift, found = 1.0, 0.0, most
    network = problem.network
    with np.errstate(all="ignore"):
        for layer, own, (inputs, _) in zip(
            network.parametric, parameters, network.widths, strict=True
        ):
            if not isinstance(layer.activation, str):
                return 0.0
            sizes = [np.abs(each.astype(np.float64)) for each in own]
            if isinstance(layer, Dense):
                factor, more = float(sizes[0].sum(axis=0).max()), float(sizes[1].max())
            elif isinstance(layer, BatchNorm):
                scale = sizes[0] / np.sqrt(sizes[3] + layer.epsilon)
                factor, more = float(scale.max()), float((scale * sizes[2] + sizes[1]).max())
            elif isinstance(layer, LayerNorm):
                factor, more = 0.0, float((np.sqrt(inputs) * sizes[0] + sizes[1]).max())
            elif isinstance(layer, Periodic):  # as many numbers as there are, and cosines
                factor = max(1.0, 7.0 * float(sizes[0].max()))
                more = 7.0 * float(sizes[1].max()) + layer.amplitude
            else:
                return 0.0
            gain, shift = gain * factor, shift * factor + more
            slopes = activation_row(layer.activation).trainable
            alpha = float(sizes[-1].max()) if slopes else abs(layer.alpha or 0.0)
            slope = max(1.06, alpha)
            gain, shift = gain * slope, shift * slope + 2.0 + alpha
            if not shift < most:  # NaN is not
                return 0.0
            found = min(found, (most - shift) / gain) if gain > 0.0 else found
    return found


def largest(features: Any) -> float:
    """Return a number that no |x| of checked features is above; infinity where unknown."""
    if isinstance(features, SparseRows):
        return _largest(features.values)
    if not isinstance(features, np.ndarray):
        return math.inf
    if features.size <= _FEW:
        return _largest(features)
    return max(map(_largest, in_pieces(features)))


def _largest(numbers: np.ndarray) -> float:
    if numbers.dtype.kind == "f" and numbers.flags.c_contiguous:
        # The root of the sum of squares, in one pass; the sum is rounded, and may underflow.
        return 1.0 + 2.0 * math.sqrt(np.vdot(numbers, numbers))
    return max(abs(float(numbers.max())), abs(float(numbers.min()))) if numbers.size else 0.0
