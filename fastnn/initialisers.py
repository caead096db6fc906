"""How weights start: a NumPy generator in, an array out.

Draws are float64 and keyed by (seed, layer) alone: a network starts from the same numbers, rounded,
in float32 and in float64, and what one layer draws leaves the next layer's numbers alone.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.checks import number
from fastnn.errors import InvalidInput
from fastnn.rules.table import activation_row

if TYPE_CHECKING:
    from fastnn.spec import Dense, Initialiser, Network

STREAM = 0x696E6974  # ASCII "init": keeps these draws apart from those of the epochs' orders


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


def initial_parameters(
    network: Network, seed: int, dtype: np.dtype[Any]
) -> list[tuple[np.ndarray, ...]]:
    """Return the parameters that training starts from.

    W of layer l is drawn in float64 from PCG64([seed, STREAM, l]) and then rounded; b is zero, and
    the slopes of prelu are the layer's alpha.

    Parameters
    ----------
    network
        The layers; `Dense.init` says how each starts.
    seed
        Whole, at least 0.
    dtype
        float32 or float64.

    Returns
    -------
    list of (W, b)
        One pair a Dense: W (n_in, n_out) and b (n_out,), new C-ordered arrays of `dtype`; with
        prelu (W, b, slopes), slopes (n_out,).

    Raises
    ------
    InvalidInput
        A caller's initialiser gave something other than finite real numbers of the right shape, or
        alpha is too large for float32.
    """
    parameters: list[tuple[np.ndarray, ...]] = []
    for position, (layer, shape) in enumerate(zip(network.dense, network.shapes, strict=True)):
        row = activation_row(layer.activation)
        init = row.initialiser if layer.init is None else layer.init
        draw = INITIALISERS[init] if isinstance(init, str) else init
        generator = np.random.Generator(np.random.PCG64([seed, STREAM, position]))
        W = _checked(draw(generator, *shape), shape, dtype, f"init of Dense layer {position}")
        slopes = [_slopes(layer, dtype, position)] if row.learned else []
        parameters.append((W, np.zeros(shape[1], dtype), *slopes))
    return parameters


def _slopes(layer: Dense, dtype: np.dtype[Any], position: int) -> np.ndarray:
    """Return the slopes that a layer of prelu starts with, or raise `InvalidInput`."""
    with np.errstate(over="ignore"):
        slopes = np.full(layer.units, layer.alpha, dtype)
    if not np.isfinite(slopes).all():
        raise InvalidInput(
            f"alpha of Dense layer {position} must be finite in {dtype}, not {layer.alpha!r}"
        )
    return slopes


def _checked(values: Any, shape: tuple[int, int], dtype: np.dtype[Any], place: str) -> np.ndarray:
    """Return a caller's initial weights as a new array of `dtype`, or raise `InvalidInput`."""
    try:
        found = np.asarray(values)
    except ValueError as error:
        raise InvalidInput(f"{place} must return an array, not {type(values).__name__}") from error
    if found.dtype.kind not in "fiu":
        raise InvalidInput(f"{place} must return real numbers, not dtype {found.dtype}")
    if found.shape != shape:
        raise InvalidInput(
            f"{place} must return shape {shape}, which is (inputs, outputs), not {found.shape}"
        )
    with np.errstate(over="ignore"):
        weights = np.array(found, dtype, order="C")
    bad = ~np.isfinite(weights)
    if bad.any():
        where = tuple(int(index) for index in np.argwhere(bad)[0])
        raise InvalidInput(
            f"{place} must return numbers that are finite in {dtype};"
            f" at {where} it returned {found[where]!r}"
        )
    return weights
