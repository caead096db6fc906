"""How weights start: a NumPy generator in, an array out.

Draws are float64 and keyed by (seed, layer) alone: a network starts from the same numbers, rounded,
in float32 and in float64, and what one layer draws leaves the next layer's numbers alone. Biases
that are drawn have a key of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fastnn.errors import InvalidInput, number, shown

Initialiser = Callable[[np.random.Generator, int, int], np.ndarray]  # -> (inputs, outputs)
BiasInitialiser = Callable[[np.random.Generator, int, int], np.ndarray]  # -> (outputs,)
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
    return ConstantInitialiser(value)


@dataclass(frozen=True)
class ConstantInitialiser:
    """What `constant` returns: a value, which files keep and which can be compared."""

    value: float

    def __post_init__(self) -> None:
        """Check the value."""
        object.__setattr__(self, "value", number(self.value, "constant"))

    def __call__(self, generator: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        """Return an array (n_in, n_out) of the value."""
        del generator
        return np.full((n_in, n_out), self.value)

    def __repr__(self) -> str:
        """Show the call that makes it."""
        return f"constant({self.value!r})"


def _filled(value: float, generator: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Return an array of one value; older pickles have it where now there is `constant`."""
    return ConstantInitialiser(value)(generator, n_in, n_out)


@dataclass(frozen=True)
class LostInitialiser:
    """Stands for a user-defined initialiser in what was read from a file, which keeps no code.

    Parameters are there without it; what would draw others is refused, for the usual initialiser
    would be another start, and nobody would know.
    """

    name: str

    def __post_init__(self) -> None:
        """Check the name."""
        if not isinstance(self.name, str):
            raise InvalidInput(f"a function's name cannot be {shown(self.name):.80}")

    def __call__(self, generator: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        """Raise `InvalidInput`."""
        raise self.refusal("an initialiser")

    def refusal(self, place: str) -> InvalidInput:
        """Return the error that says what cannot be drawn, and what to do; `place` is whose."""
        return InvalidInput(
            f"{place} was the function {self.name!r}, which the file that this was read from does "
            "not have, so that no new weights can be drawn; give the layer its function, or the "
            "name of an initialiser, again: trainer.set(network=...) takes the same layers with it "
            "and keeps the weights"
        )

    def __repr__(self) -> str:
        """Show which function it was."""
        return f"<function {self.name}, not in the file>"


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
