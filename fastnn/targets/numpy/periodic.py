"""Cosines with learned frequencies, forward and backward."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.targets.numpy.layers import Kept, Kind, column_sums


class PeriodicKind(Kind):
    """Z = (X, A cos(2 pi (c_jk x_rj + b_jk)))."""

    def forward(
        self, layer: Any, own: tuple[np.ndarray, ...], X: np.ndarray, training: bool
    ) -> Kept:
        """Return Z (m, n_out), and da/db = -2 pi A sin(2 pi (c x + b)), (m, columns, frequencies).

        The latter is for training. c x + b is rounded to the dtype; of what is left of it without
        whole periods, which is exact, cosine and sine are rounded.
        """
        c, b = own
        amplitude = X.dtype.type(layer.amplitude)
        periods = X[:, : len(c), None] * c + b
        angles = 2 * math.pi * (periods - np.rint(periods)).astype(np.float64)
        cosines = amplitude * np.cos(angles).astype(X.dtype).reshape(len(X), -1)
        Z = np.concatenate([X, cosines], axis=1)
        if not training:
            return Kept(Z)
        return Kept(Z, (amplitude * (-2 * math.pi * np.sin(angles)).astype(X.dtype),))

    def backward(
        self,
        layer: Any,
        own: tuple[np.ndarray, ...],
        X: np.ndarray,
        kept: tuple[np.ndarray, ...],
        dZ: np.ndarray,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Return dX, dL/dc_jk = sum_r x_rj da/db dL/da and dL/db_jk = sum_r da/db dL/da."""
        (c, _), (slopes,) = own, kept
        inputs, columns = X.shape[1], len(c)
        through = dZ[:, inputs:].reshape(slopes.shape) * slopes
        dX = dZ[:, :inputs].copy()
        dX[:, :columns] += (through * c).sum(axis=2)
        return dX, (column_sums(through * X[:, :columns, None]), column_sums(through))
