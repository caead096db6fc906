"""Cosines with learned frequencies, forward and backward."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.targets.numpy.layers import Kept, Kind


class PeriodicKind(Kind):
    """Z = (X, cos(2 pi c_jk x_rj))."""

    def forward(
        self, layer: Any, own: tuple[np.ndarray, ...], X: np.ndarray, training: bool
    ) -> Kept:
        """Return Z (m, n_out), and da/d(c x) = -2 pi sin(2 pi c x), (m, columns, frequencies).

        The latter is for training. c x is rounded to the dtype; of what is left of it without whole
        periods, which is exact, cosine and sine are rounded once.
        """
        c = own[0]
        periods = X[:, : len(c), None] * c
        angles = 2 * math.pi * (periods - np.rint(periods)).astype(np.float64)
        cosines = np.cos(angles).astype(X.dtype).reshape(len(X), -1)
        Z = np.concatenate([X, cosines], axis=1)
        if not training:
            return Kept(Z)
        return Kept(Z, ((-2 * math.pi * np.sin(angles)).astype(X.dtype),))

    def backward(
        self,
        layer: Any,
        own: tuple[np.ndarray, ...],
        X: np.ndarray,
        kept: tuple[np.ndarray, ...],
        dZ: np.ndarray,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Return dX, and dL/dc_jk = sum_r x_rj da/d(c x) dL/da."""
        (c,), (slopes,) = own, kept
        inputs, columns = X.shape[1], len(c)
        through = dZ[:, inputs:].reshape(slopes.shape) * slopes
        dX = dZ[:, :inputs].copy()
        dX[:, :columns] += (through * c).sum(axis=2)
        return dX, ((through * X[:, :columns, None]).sum(axis=0),)
