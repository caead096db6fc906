"""Periodic features: cosines of numbers, with frequencies that are learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastnn.errors import InvalidInput, number, shown, whole
from fastnn.layers import Layer, Parameter

CLIP = 3.0  # first frequencies lie within so many times their scale


@dataclass(frozen=True)
class Periodic(Layer):
    """Put cosines of each number beside it, of frequencies that are learned.

    Of x_1 ... x_n, of which the first m are numbers to be spread out, it gives n + m K numbers:

    a = (x_1, ..., x_n, cos(2 pi c_11 x_1), ..., cos(2 pi c_1K x_1), cos(2 pi c_21 x_2), ...).

    A network sees small differences of x in cosines that it would have to build up from many kinks
    otherwise: of standardized columns of a table this is often worth more than wider layers. It is
    usually the first layer; a `Dense` follows, so there are no weights here.

    >>> from fastnn import Dense, Network, Periodic
    >>> network = Network(9, [Periodic(16, columns=4), Dense(64, "relu"), Dense(1)])
    >>> network.parameter_shapes[0], network.parameter_shapes[1]["weights"]
    ({'frequencies': (4, 16)}, (73, 64))

    Parameters
    ----------
    frequencies
        How many cosines each number gets, K, at least 1.
    scale
        Standard deviation of the frequencies as training starts, above 0, in periods per unit of x:
        c_jk is drawn from N(0, scale^2) and clipped to 3 scale. It decides how fine a structure is
        seen at first.
    columns
        How many numbers get cosines, the first m; those after them, such as one-hot columns, only
        pass. None for all.
    trainable
        Whether training changes the frequencies.
    rate_factor
        What the learning rate is multiplied by for the frequencies, above 0.

    Raises
    ------
    InvalidInput
        A setting out of range, or in a `Network` more columns than come in.

    Notes
    -----
    The frequencies c (m, K) are parameters that every optimizer trains and clip_norm counts; there
    is no penalty, no weight decay and no max_norm on them. c x is rounded once, and its whole
    periods are left out before the cosine is taken, so that large numbers lose nothing more.

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko, "On Embeddings for Numerical Features in Tabular Deep
    Learning", NeurIPS 2022, arXiv:2203.05556, section 3.3; cosines beside the number itself are of
    D. Holzmueller, L. Grinsztajn, I. Steinwart, "Better by Default: Strong Pre-Tuned MLPs and
    Boosted Trees on Tabular Data", NeurIPS 2024, arXiv:2407.04491.
    """

    frequencies: int = 16
    scale: float = 3.0
    columns: int | None = None
    trainable: bool = True
    rate_factor: float = 1.0

    activation = "identity"
    alpha = None

    def __post_init__(self) -> None:
        """Check the settings."""
        count = whole(self.frequencies, "frequencies of Periodic", 1, 2**31 - 1)
        object.__setattr__(self, "frequencies", count)
        for name in ("scale", "rate_factor"):
            value = number(getattr(self, name), f"{name} of Periodic", 0.0, open_low=True)
            object.__setattr__(self, name, value)
        if self.columns is not None:
            what = "columns of Periodic, if not None,"
            object.__setattr__(self, "columns", whole(self.columns, what, 0, 2**31 - 1))
        if not isinstance(self.trainable, (bool, np.bool_)):
            raise InvalidInput(f"trainable must be True or False, not {shown(self.trainable)}")

    def outputs_of(self, inputs: int) -> int:
        """Return how many numbers come out: those that come in, and the cosines."""
        return inputs + self._columns_of(inputs) * self.frequencies

    def own_parameters(self, inputs: int) -> tuple[Parameter, ...]:
        """Return the frequencies, (columns, frequencies)."""
        shape = self._columns_of(inputs), self.frequencies
        return (Parameter("frequencies", shape, "c", start=None),)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return the frequencies that training starts from, float64."""
        return self.scale * generator.normal(size=shape).clip(-CLIP, CLIP)

    def _columns_of(self, inputs: int) -> int:
        """Return how many of so many inputs get cosines."""
        if self.columns is None:
            return inputs
        if self.columns > inputs:
            raise InvalidInput(
                f"columns of Periodic is {self.columns}, but only {inputs} come in; "
                "columns=None takes all of them"
            )
        return self.columns
