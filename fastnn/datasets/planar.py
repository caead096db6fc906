"""Labelled points in the plane: shapes that a network must bend a boundary around."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastnn.arguments import explained
from fastnn.errors import number, whole
from fastnn.inputs.memory import check_memory

_MOST_SEED = 2**128  # as PCG64 has it
Samples = tuple[NDArray[np.float32], NDArray[np.int64]]


@explained
def moons(n: int = 1000, noise: float = 0.1, seed: int = 0) -> Samples:
    """Return two interleaved half circles.

    Class 0: (cos t, sin t); class 1: (1 - cos t, 1/2 - sin t); t uniform in [0, pi).
    Then normal noise of standard deviation `noise` is added to each coordinate.

    Parameters
    ----------
    n
        Number of points, at least one a class. Classes differ by one point at most.
    noise
        0 puts every point on its curve; the seed alone decides which points these are.
    seed
        Decides points, noise and order.

    Returns
    -------
    X
        (n, 2) float32.
    y
        (n,) int64, in shuffled order.

    Raises
    ------
    InvalidInput
        An argument out of range.
    """
    y, generator = _start(n, 2, seed)
    angle = np.pi * generator.random(n)
    outer = np.column_stack((np.cos(angle), np.sin(angle)))
    inner = np.array((1.0, 0.5)) - outer
    return _finish(np.where(y[:, None] == 0, outer, inner), y, noise, generator)


@explained
def rings(n: int = 1000, noise: float = 0.05, seed: int = 0, factor: float = 0.5) -> Samples:
    """Return two circles around the origin, one inside the other.

    r (cos t, sin t); r = 1 for class 0, `factor` for class 1; t uniform in [0, 2 pi).
    `n`, `noise`, `seed` and the result are those of `moons`; 0 < factor < 1.
    """
    y, generator = _start(n, 2, seed)
    inner = number(factor, "factor", 0.0, 1.0, open_low=True, open_high=True)
    angle = 2 * np.pi * generator.random(n)
    radius = np.where(y == 0, 1.0, inner)
    return _finish(_polar(radius, angle), y, noise, generator)


@explained
def spirals(
    n: int = 1000, classes: int = 3, noise: float = 0.02, seed: int = 0, turns: float = 1.0
) -> Samples:
    """Return spiral arms from the origin to the unit circle, one a class.

    s (cos t, sin t), t = 2 pi (turns s + c / classes) for class c; s uniform in (0, 1].
    `n`, `noise`, `seed` and the result are those of `moons`; classes >= 2, 0 < turns <= 1000.
    """
    y, generator = _start(n, whole(classes, "classes", 2), seed)
    turns = number(turns, "turns", 0.0, 1000.0, open_low=True)
    radius = 1.0 - generator.random(n)
    angle = 2 * np.pi * (turns * radius + y / classes)
    return _finish(_polar(radius, angle), y, noise, generator)


@explained
def xor(n: int = 1000, noise: float = 0.0, seed: int = 0) -> Samples:
    """Return points of the square [-1, 1] x [-1, 1] whose class is whether their signs differ.

    y = (x1 > 0) xor (x2 > 0), before noise; uniform in each quadrant, quadrants differ by one
    point at most. `n`, `noise`, `seed` and the result are those of `moons`.
    """
    y, generator = _start(n, 2, seed)
    first = np.where(np.arange(n) // 2 % 2 == 0, 1.0, -1.0)
    signs = np.column_stack((first, np.where(y == 0, first, -first)))
    # 1 - random() is never 0, so every point lies strictly inside its quadrant.
    return _finish(signs * (1.0 - generator.random((n, 2))), y, noise, generator)


def _start(n: int, classes: int, seed: int) -> tuple[NDArray[np.int64], np.random.Generator]:
    """Check `n` and `seed`; return balanced labels, unshuffled, and the generator."""
    count, start = whole(n, "n", classes), whole(seed, "seed", 0, _MOST_SEED)
    check_memory(10 * 8 * count, f"n={count} points", "make fewer")
    labels = np.arange(count, dtype=np.int64) % classes
    return labels, np.random.Generator(np.random.PCG64(start))


def _polar(radius: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack((radius * np.cos(angle), radius * np.sin(angle)))


def _finish(
    X: NDArray[np.float64], y: NDArray[np.int64], noise: float, generator: np.random.Generator
) -> Samples:
    """Add the noise and shuffle."""
    # Noise beyond the limit could overflow float32.
    X = X + number(noise, "noise", 0.0, 1e30) * generator.standard_normal(X.shape)
    order = generator.permutation(len(y))
    return X[order].astype(np.float32), y[order]
