"""How weights start: a NumPy generator in, an array out.

Draws are float64 and keyed by (seed, layer) alone: a network starts from the same numbers, rounded,
in float32 and in float64, and what one layer draws leaves the next layer's numbers alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np

from fastnn.errors import number

Initialiser = Callable[[np.random.Generator, int, int], np.ndarray]
# The names of `INITIALISERS`, for type checkers.
InitialiserName = Literal[
    "xavier_uniform", "xavier_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal",
    "orthogonal", "normal", "zeros",
]  # fmt: skip


def xavier_uniform(generator: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Return draws from U[-c, c], c = sqrt(6 / (n_in + n_out)); Glorot & Bengio 2010, eq. 16."""
    limit = math.sqrt(6 / (n_in + n_out))
    return generator.uniform(-limit, limit, (n_in, n_out))


def xavier_normal(generator: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Return draws from N(0, 2 / (n_in + n_out)); Glorot & Bengio 2010, eq. 12."""
    return generator.normal(0.0, math.sqrt(2 / (n_in + n_out)), (n_in, n_out))


def he_uniform(generator: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Return draws from U[-c, c], c = sqrt(6 / n_in): he_normal's variance; He et al. 2015."""
    limit = math.sqrt(6 / n_in)
    return generator.uniform(-limit, limit, (n_in, n_out))


def he_normal(generator: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Return draws from N(0, 2 / n_in); He et al. 2015, eq. 10."""
    return generator.normal(0.0, math.sqrt(2 / n_in), (n_in, n_out))


def lecun_uniform(generator: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Return draws from U[-c, c], c = sqrt(3 / n_in): lecun_normal's variance."""
    limit = math.sqrt(3 / n_in)
    return generator.uniform(-limit, limit, (n_in, n_out))


def lecun_normal(generator: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Return draws from N(0, 1 / n_in); LeCun et al. 1998, Efficient BackProp, eq. 16."""
    return generator.normal(0.0, math.sqrt(1 / n_in), (n_in, n_out))


def orthogonal(generator: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Return orthonormal columns, or rows where there are fewer of them; Saxe et al. 2014.

    Q of the QR decomposition of a normal matrix, each column with the sign of R's diagonal, which
    makes it uniform among all orthogonal matrices (Mezzadri 2007, section 5).
    """
    high, low = max(n_in, n_out), min(n_in, n_out)
    Q, R = np.linalg.qr(generator.normal(size=(high, low)))
    Q *= np.where(np.diag(R) < 0, -1.0, 1.0)
    return Q if n_in >= n_out else Q.T


def normal(generator: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Return draws from N(0, 0.01^2); Krizhevsky et al. 2012, section 5."""
    return generator.normal(0.0, 0.01, (n_in, n_out))


def zeros(generator: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Return zeros: right for a single layer, where nothing has to break the symmetry."""
    del generator
    return np.zeros((n_in, n_out))


def constant(value: float) -> Initialiser:
    """Return the initialiser that gives `value` to every weight.

    >>> constant(0.5)(np.random.default_rng(0), 1, 3)
    array([[0.5, 0.5, 0.5]])

    Raises
    ------
    InvalidInput
        A value that is not a finite number.
    """
    return partial(_filled, number(value, "constant"))


def _filled(value: float, generator: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Return an array of one value; unlike a closure, a part of this function can be pickled."""
    del generator
    return np.full((n_in, n_out), value)


INITIALISERS: dict[str, Initialiser] = {
    rule.__name__: rule
    for rule in (
        xavier_uniform,
        xavier_normal,
        he_uniform,
        he_normal,
        lecun_uniform,
        lecun_normal,
        orthogonal,
        normal,
        zeros,
    )
}
