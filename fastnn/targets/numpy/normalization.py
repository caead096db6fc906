"""Layer and batch normalization, forward and backward, and the running statistics of the latter."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.targets.numpy.layers import Kept, Kind, column_sums

LayerArrays = tuple[np.ndarray, ...]


class LayerNormKind(Kind):
    """Each row by its own mean and variance."""

    axis = 1

    def forward(self, layer: Any, own: LayerArrays, X: np.ndarray, training: bool) -> Kept:
        """Return Z = gamma x_hat + beta, (m, n), and (x_hat, 1 / sqrt(variance + epsilon))."""
        return self._normalized(layer, own, X, *self._statistics(X))

    def backward(
        self, layer: Any, own: LayerArrays, X: np.ndarray, kept: LayerArrays, dZ: np.ndarray
    ) -> tuple[np.ndarray, LayerArrays]:
        """Return dX and (dgamma, dbeta) = (sum dZ x_hat, sum dZ) over rows.

        With g = gamma dZ, and means over what the statistics were taken over:
        dX = (g - mean g - x_hat mean(g x_hat)) / sqrt(variance + epsilon).
        """
        x_hat, inverse = kept[:2]
        g = own[0] * dZ
        dX = inverse * (g - self._mean(g) - x_hat * self._mean(g * x_hat))
        return dX, (column_sums(dZ * x_hat), column_sums(dZ))

    def _statistics(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = self._mean(X)
        return mean, self._mean(np.square(X - mean))

    def _mean(self, values: np.ndarray) -> np.ndarray:
        # Summed in float64, so that columns far from zero, and many rows, keep their digits.
        mean: np.ndarray = values.mean(axis=self.axis, keepdims=True, dtype=np.float64)
        return mean.astype(values.dtype)

    def _normalized(
        self, layer: Any, own: LayerArrays, X: np.ndarray, mean: np.ndarray, variance: np.ndarray
    ) -> Kept:
        inverse = 1 / np.sqrt(variance + X.dtype.type(layer.epsilon))
        x_hat = (X - mean) * inverse
        return Kept(own[0] * x_hat + own[1], (x_hat, inverse, mean, variance))


class BatchNormKind(LayerNormKind):
    """Each column by its mean and variance over the batch; in prediction by the running ones."""

    axis = 0

    def forward(self, layer: Any, own: LayerArrays, X: np.ndarray, training: bool) -> Kept:
        """Return Z = gamma x_hat + beta, (m, n), and what `backward` and `moved` need."""
        statistics = self._statistics(X) if training else own[2:4]
        return self._normalized(layer, own, X, *statistics)

    def backward(
        self, layer: Any, own: LayerArrays, X: np.ndarray, kept: LayerArrays, dZ: np.ndarray
    ) -> tuple[np.ndarray, LayerArrays]:
        """Return dX and the gradient, which is zero for the running statistics."""
        dX, trained = super().backward(layer, own, X, kept, dZ)
        return dX, (*trained, np.zeros_like(own[2]), np.zeros_like(own[3]))

    def moved(self, layer: Any, own: LayerArrays, X: np.ndarray, kept: LayerArrays) -> LayerArrays:
        """Return the arrays with the running statistics one batch further."""
        _, _, mean, variance = kept
        rows, share = len(X), X.dtype.type(layer.momentum)
        unbiased = variance[0] * X.dtype.type(rows / (rows - 1))
        running = own[2] + share * (mean[0] - own[2]), own[3] + share * (unbiased - own[3])
        return (*own[:2], *running, *own[4:])
