"""Periodic features: cosines of numbers, with frequencies and phases that are learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, number, true_or_false, whole
from fastnn.layers import Layer, Parameter

CLIP = 3.0  # first frequencies lie within so many times their scale


@explained
@dataclass(frozen=True)
class Periodic(Layer):
    """Put cosines of each number beside it, of frequencies and phases that are learned.

    Of x_1 ... x_n, of which the first m are numbers to be spread out, it gives n + m K numbers:

    a = (x_1, ..., x_n, A cos(2 pi (c_11 x_1 + b_11)), ..., A cos(2 pi (c_1K x_1 + b_1K)),
    A cos(2 pi (c_21 x_2 + b_21)), ...).

    A network sees small differences of x in cosines that it would have to build up from many kinks
    otherwise: of standardized columns of a table this is often worth more than wider layers. It is
    usually the first layer; a `Dense` follows, so there are no weights here.

    >>> from fastnn import Dense, Network, Periodic
    >>> network = Network(9, [Periodic(16, columns=4), Dense(64, "relu"), Dense(1)])
    >>> network.parameter_shapes[0], network.parameter_shapes[1]["weights"]
    ({'frequencies': (4, 16), 'phases': (4, 16)}, (73, 64))

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
    amplitude
        A, above 0: how large the cosines are beside the numbers. With a small one a network begins
        with the numbers themselves, and takes from the cosines what these do not tell it.
    trainable
        Whether training changes frequencies and phases.
    rate_factor
        What the learning rate is multiplied by for frequencies and phases, above 0; 5 to 10 is
        often better than 1.

    Raises
    ------
    InvalidInput
        A setting out of range, or in a `Network` more columns than come in.

    Notes
    -----
    The frequencies c and the phases b, both (m, K), are parameters that every optimizer trains and
    clip_norm counts; there is no penalty, no weight decay and no max_norm on them. Phases start
    anywhere in [0, 1): without them a feature of c x would be the same for x and for -x. Whole
    periods of c x + b are left out before the cosine is taken, so that large numbers lose nothing
    more.

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko, "On Embeddings for Numerical Features in Tabular Deep
    Learning", NeurIPS 2022, arXiv:2203.05556, section 3.3; cosines beside the number itself are of
    D. Holzmueller, L. Grinsztajn, I. Steinwart, "Better by Default: Strong Pre-Tuned MLPs and
    Boosted Trees on Tabular Data", NeurIPS 2024, arXiv:2407.04491.
    """

    frequencies: int = 16
    scale: float = 2.0
    columns: int | None = None
    amplitude: float = 0.1
    trainable: bool = True
    rate_factor: float = 1.0

    activation = "identity"
    alpha = None

    def __post_init__(self) -> None:
        """Check the settings."""
        count = whole(self.frequencies, "frequencies of Periodic", 1, 2**31 - 1)
        object.__setattr__(self, "frequencies", count)
        for name in ("scale", "amplitude", "rate_factor"):
            value = number(getattr(self, name), f"{name} of Periodic", 0.0, open_low=True)
            object.__setattr__(self, name, value)
        if self.columns is not None:
            what = "columns of Periodic, if not None,"
            object.__setattr__(self, "columns", whole(self.columns, what, 0, 2**31 - 1))
        object.__setattr__(self, "trainable", true_or_false(self.trainable, "trainable"))

    def outputs_of(self, inputs: int) -> int:
        """Return how many numbers come out: those that come in, and the cosines."""
        return inputs + self._columns_of(inputs) * self.frequencies

    def own_parameters(self, inputs: int) -> tuple[Parameter, ...]:
        """Return frequencies and phases, both (columns, frequencies)."""
        shape = self._columns_of(inputs), self.frequencies
        return (
            Parameter("frequencies", shape, "c", start=None),
            Parameter("phases", shape, "b", start=None),
        )

    def draw(self, generator: np.random.Generator, parameter: Parameter) -> np.ndarray:
        """Return what training starts from, float64: frequencies first, then phases."""
        if parameter.name == "phases":
            return generator.random(parameter.shape)
        return self.scale * generator.normal(size=parameter.shape).clip(-CLIP, CLIP)

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
