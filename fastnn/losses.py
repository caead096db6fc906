"""The losses by name, and those that have a parameter: frozen values, checked when they are made.

With p the output and y the target; z where a loss takes raw outputs and applies sigmoid, softmax or
exp itself, so that it stays exact far from 0; s = 2 y - 1, which is -1 or +1. The loss of a row is
the mean of l over its outputs, but for softmax_cross_entropy, which is one of the whole row.

=============================== ============================== =================================
name                            l                              dl/dp, or dl/dz
=============================== ============================== =================================
"mse"                           (p - y)^2 / 2                  p - y
"mae"                           abs(p - y)                     sign(p - y), sign(0) = 0
"huber", delta = 1              e^2 / 2 where abs(e) <= delta, e = p - y, clipped to
                                delta (abs(e) - delta / 2)     [-delta, delta]
                                beyond
"quantile", q = 1/2             q (y - p) where p < y, else    -q, 1 - q, and 0 at p = y
                                (1 - q) (p - y)
"epsilon_insensitive"           max(0, abs(p - y) - epsilon)   sign(p - y) beyond epsilon, else 0
"squared_epsilon_insensitive"   the square of that             2 sign(p - y) times that, held
                                                               within 1e12
"poisson"                       exp(z) - y z                   exp(z) - y
"binary_cross_entropy"          log(1 + exp(z)) - y z, which   sigmoid(z) - y
                                is - y log a -
                                (1 - y) log(1 - a) with
                                a = sigmoid(z)
"softmax_cross_entropy"         log sum_j exp(z_j) - z_y,      softmax(z) - onehot(y)
                                which is - log softmax(z)_y
"perceptron"                    (step(p) - y) p                step(p) - y, step(0) = 1
"hinge"                         max(0, 1 - s p)                -s where s p < 1, else 0
"squared_hinge"                 max(0, 1 - s p)^2              -2 s max(0, 1 - s p), held
                                                               within 1e12
"modified_huber"                max(0, 1 - s p)^2,             -2 s max(0, 1 - s p),
                                -4 s p where s p < -1          -4 s where s p < -1
"margin", margin = 1            max(0, margin - s p)           -s where s p <= margin, else 0
=============================== ============================== =================================

The gradient of a batch is the mean of these over its rows, each times dp/dw. Logarithms are
natural. Sources are in `fastnn.rules.table.LOSSES`. A user-defined function is a loss, too: see the
guide.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastnn.arguments import explained
from fastnn.errors import number
from fastnn.rules.table import LOSSES, Loss

__all__ = ["EpsilonInsensitive", "Huber", "Margin", "Quantile", "SquaredEpsilonInsensitive"]


@explained
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


@explained
@dataclass(frozen=True)
class Huber:
    """The Huber loss: squared for small errors, linear for large ones.

    With e = p - y, l(p, y) = e^2 / 2 where |e| <= delta, delta (|e| - delta / 2) beyond;
    dl/dp = e clipped to [-delta, delta].

    >>> from fastnn import Dense, Huber, Network, Trainer
    >>> Trainer(Network(3, [Dense(1)]), loss=Huber(0.1)).problem.loss
    Huber(delta=0.1)

    Parameters
    ----------
    delta
        The size of an error from which on the loss is linear, in the units of y; at least 0, and
        above 0 to train with. The name "huber" stands for Huber(1.0).

    Raises
    ------
    InvalidInput
        A delta that is no finite number of at least 0.

    References
    ----------
    Huber 1964, Robust Estimation of a Location Parameter.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        """Check delta."""
        object.__setattr__(self, "delta", number(self.delta, "delta of Huber", 0.0))

    @property
    def row(self) -> Loss:
        """What has to be known of it."""
        return LOSSES["huber"]

    @property
    def alpha(self) -> float:
        """The parameter of the rule."""
        return self.delta


@explained
@dataclass(frozen=True)
class EpsilonInsensitive:
    """The loss of support vector regression: errors up to epsilon cost nothing.

    l(p, y) = max(0, |p - y| - epsilon);  dl/dp = sign(p - y) where |p - y| > epsilon, else 0.

    Parameters
    ----------
    epsilon
        Half the width of the band in which nothing is lost, in the units of y; at least 0. The name
        "epsilon_insensitive" stands for an epsilon of 0.1.

    Raises
    ------
    InvalidInput
        An epsilon that is no finite number of at least 0.

    References
    ----------
    Vapnik 1995, The Nature of Statistical Learning Theory, chapter 6.
    """

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        """Check epsilon."""
        value = number(self.epsilon, f"epsilon of {type(self).__name__}", 0.0)
        object.__setattr__(self, "epsilon", value)

    @property
    def row(self) -> Loss:
        """What has to be known of it."""
        return LOSSES["epsilon_insensitive"]

    @property
    def alpha(self) -> float:
        """The parameter of the rule."""
        return self.epsilon


@explained
@dataclass(frozen=True)
class SquaredEpsilonInsensitive(EpsilonInsensitive):
    """The square of `EpsilonInsensitive`: max(0, |p - y| - epsilon)^2.

    dl/dp = 2 sign(p - y) max(0, |p - y| - epsilon), but not beyond -1e12 and 1e12: what is far off
    scale comes to finite numbers, as with scikit-learn.
    """

    @property
    def row(self) -> Loss:
        """What has to be known of it."""
        return LOSSES["squared_epsilon_insensitive"]


@explained
@dataclass(frozen=True)
class Margin:
    """The hinge at any margin: 1 is that of the support vector machine, 0 the perceptron's.

    l(p, y) = max(0, margin - s p) with s = 2 y - 1;  dl/dp = -s where s p <= margin, else 0.

    At the kink a step is made, which "hinge" and "perceptron" do not, or only for label 0: so a
    perceptron that starts from 0 learns from its first row, whatever the label (Rosenblatt 1958).

    Parameters
    ----------
    margin
        How far on the right side of 0 an output has to be, at least 0. The name "margin" stands for
        Margin(1.0).

    Raises
    ------
    InvalidInput
        A margin that is no finite number of at least 0.
    """

    margin: float = 1.0

    def __post_init__(self) -> None:
        """Check the margin."""
        object.__setattr__(self, "margin", number(self.margin, "margin of Margin", 0.0))

    @property
    def row(self) -> Loss:
        """What has to be known of it."""
        return LOSSES["margin"]

    @property
    def alpha(self) -> float:
        """The parameter of the rule."""
        return self.margin


KINDS = (Quantile, Huber, EpsilonInsensitive, SquaredEpsilonInsensitive, Margin)
ParametricLoss = Quantile | Huber | EpsilonInsensitive | Margin
# What a name of a loss with a parameter stands for.
BY_NAME: dict[str, ParametricLoss] = {kind().row.name: kind() for kind in KINDS}
