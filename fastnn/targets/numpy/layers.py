"""The linear layer, forward and backward, the dropout on its input, and rrelu's random slopes.

`Kind` is what every kind of layer with parameters does here; `fastnn.targets.numpy.kinds` has them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.random.keys import random_key
from fastnn.rules.rounding import rounded


class Kept(NamedTuple):
    """What a layer makes of its input: z, and what its backward pass needs besides input and z."""

    Z: np.ndarray
    values: tuple[np.ndarray, ...] = ()


class Kind:
    """What one kind of layer does; the activation after it is none of its business."""

    def forward(
        self, layer: Any, own: tuple[np.ndarray, ...], X: np.ndarray, training: bool
    ) -> Kept:
        """Return z (m, n_out) of X (m, n_in), and what is kept; `own` are the layer's arrays."""
        raise NotImplementedError

    def backward(
        self,
        layer: Any,
        own: tuple[np.ndarray, ...],
        X: np.ndarray,
        kept: tuple[np.ndarray, ...],
        dZ: np.ndarray,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Return dX, and the gradient by each of the arrays that z depends on."""
        raise NotImplementedError

    def moved(
        self,
        layer: Any,
        own: tuple[np.ndarray, ...],
        X: np.ndarray,
        kept: tuple[np.ndarray, ...],
    ) -> tuple[np.ndarray, ...]:
        """Return the arrays with those that no optimizer trains as this step leaves them."""
        return own


class LinearKind(Kind):
    """Z = X W + b, where the factors of products may be rounded: see `fastnn.rules.rounding`."""

    def __init__(self, precision: str = "float32") -> None:
        self.precision = precision

    def factor(self, numbers: np.ndarray) -> np.ndarray:
        """Return a factor of a product as it is multiplied."""
        return numbers if self.precision == "float32" else rounded(self.precision, numbers)

    def forward(
        self, layer: Any, own: tuple[np.ndarray, ...], X: np.ndarray, training: bool
    ) -> Kept:
        """See `linear_forward`."""
        return Kept(linear_forward(self.factor(X), self.factor(own[0]), own[1]))

    def backward(
        self,
        layer: Any,
        own: tuple[np.ndarray, ...],
        X: np.ndarray,
        kept: tuple[np.ndarray, ...],
        dZ: np.ndarray,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """See `linear_backward`; db is 0 where there is no bias."""
        dX, dW, db = linear_backward(self.factor(X), self.factor(own[0]), self.factor(dZ))
        if self.precision != "float32":
            db = column_sums(dZ)  # which is no product
        return dX, (dW, db if layer.bias else np.zeros_like(own[1]))


def linear_forward(X: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Z = X W + b, (m, n_out), for X (m, n_in), W (n_in, n_out) and b (n_out,)."""
    return X @ W + b


def linear_backward(
    X: np.ndarray, W: np.ndarray, dZ: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (dX, dW, db) = (dZ W^T, X^T dZ, sum of dZ over rows), for dZ (m, n_out)."""
    return dZ @ W.T, X.T @ dZ, column_sums(dZ)


def column_sums(values: np.ndarray) -> np.ndarray:
    """Return the sums over the rows in float64, as NumPy adds rows one after another."""
    sums: np.ndarray = values.sum(axis=0, dtype=np.float64)
    return sums.astype(values.dtype)


def squares32(counter: np.ndarray, key: int) -> np.ndarray:
    """Return 32 random bits for each counter (Widynski 2020, "Squares", four rounds).

    Parameters
    ----------
    counter
        uint64, any shape.
    key
        Odd, below 2**64.

    Returns
    -------
    ndarray
        uint64, shape of `counter`, values below 2**32.
    """
    x = y = counter * np.uint64(key)
    z = y + np.uint64(key)
    for addend in (y, z, y):
        x = x * x + addend
        x = x >> np.uint64(32) | x << np.uint64(32)  # swap halves
    return (x * x + z) >> np.uint64(32)


def dropout_key(seed: int, epoch: int, layer: int) -> int:
    """Return the key of one layer's masks in one epoch."""
    return random_key(seed, epoch, layer) | 1


def _random_bits(
    shape: tuple[int, int], seed: int, epoch: int, step: int, layer: int, batch_size: int
) -> np.ndarray:
    """Return 32 random bits for each element (r, u) of a batch of a layer, uint64 of `shape`.

    They are squares32(step batch_size width + r width + u), whoever computes them and in whatever
    order; see `dropout_mask` for the rest.
    """
    rows, width = shape
    first = np.uint64(step * batch_size * width)
    counter = first + np.arange(rows * width, dtype=np.uint64).reshape(shape)
    return squares32(counter, dropout_key(seed, epoch, layer))


def dropout_mask(
    rate: float,
    shape: tuple[int, int],
    *,
    seed: int,
    epoch: int,
    step: int,
    layer: int,
    batch_size: int,
    dtype: np.dtype[Any],
) -> np.ndarray:
    """Return what the input of a Dense layer is multiplied by: 0, or 1 / (1 - rate).

    Element (r, u) is kept where squares32(step batch_size width + r width + u) >= floor(rate 2^32),
    so a mask follows from its keywords alone, whoever computes it and in whatever order.

    Parameters
    ----------
    rate
        Share of elements to drop, in [0, 1).
    shape
        (rows, width); the last batch of an epoch may have fewer rows than `batch_size`.
    seed, epoch, step, layer
        Whose mask: `step` counts batches within the epoch, `layer` counts Dense layers, from 0.
    batch_size
        Rows of a full batch.
    dtype
        Of the result.
    """
    bits = _random_bits(shape, seed, epoch, step, layer, batch_size)
    keep = bits >= np.uint64(int(rate * 2**32))
    return keep.astype(dtype) * (1 / (1 - rate))


def random_slopes(
    shape: tuple[int, int],
    *,
    seed: int,
    epoch: int,
    step: int,
    layer: int,
    batch_size: int,
    dtype: np.dtype[Any],
) -> np.ndarray:
    """Return the slopes below 0 of a layer of rrelu in one step: 1/8 + (1/3 - 1/8) bits / 2^32.

    The bits are those of `dropout_mask`, of the key of `layer`, which counts on after all layers
    whose inputs may be dropped. See there for the rest.
    """
    bits = _random_bits(shape, seed, epoch, step, layer, batch_size)
    return (1 / 8 + (1 / 3 - 1 / 8) * (bits / 2**32)).astype(dtype)
