"""Losses that have a parameter: frozen values, checked when they are made.

All others are names, see `fastnn.rules.table.LOSSES`.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastnn.errors import number
from fastnn.rules.table import LOSSES, Loss

__all__ = ["Quantile"]


@dataclass(frozen=True)
class Quantile:
    """The quantile (pinball) loss: what the network gives is the q-quantile of y, given x.

    l(p, y) = q (y - p) where p < y, (1 - q) (p - y) elsewhere;  dl/dp = -q, 1 - q, and 0 at p = y.
    For q = 1/2 it is half the absolute error. Another q compiles nothing.

    >>> from fastnn import Dense, Network, Quantile, Trainer
    >>> Trainer(Network(3, [Dense(1)]), loss=Quantile(0.9)).problem.loss
    Quantile(q=0.9)

    Parameters
    ----------
    q
        The quantile, above 0 and below 1. The name "quantile" stands for Quantile(0.5).

    Raises
    ------
    InvalidInput
        q out of range.

    References
    ----------
    Koenker & Bassett 1978, Regression Quantiles, eq. 3.1.
    """

    q: float = 0.5

    def __post_init__(self) -> None:
        """Check the quantile."""
        value = number(self.q, "the quantile q", 0.0, 1.0, open_low=True, open_high=True)
        object.__setattr__(self, "q", value)

    @property
    def row(self) -> Loss:
        """What has to be known of it."""
        return LOSSES["quantile"]

    @property
    def alpha(self) -> float:
        """The parameter of the rule."""
        return self.q


KINDS = (Quantile,)
# What a name of a loss with a parameter stands for.
BY_NAME = {"quantile": Quantile()}
