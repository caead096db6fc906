"""What to train: layers, networks and optimizers, as frozen plain-Python values.

Nothing here computes or allocates; every setting is checked when it is made, so that whatever holds
a `Network` or an optimizer holds a valid one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from fastnn.checks import number, whole
from fastnn.errors import InvalidInput
from fastnn.rules.table import ACTIVATIONS, unknown_name
from fastnn.schedules import LearningRate, check_rate

Initialiser = Callable[[np.random.Generator, int, int], np.ndarray]


@dataclass(frozen=True)
class Dense:
    """A fully connected layer: a = activation(x W + b).

    Parameters
    ----------
    units
        Number of outputs, at least 1.
    activation
        A name from `fastnn.rules.table.ACTIVATIONS`.
    init
        How the weights start: a name from `fastnn.initialisers.INITIALISERS`, a callable
        ``(generator, inputs, outputs) -> array (inputs, outputs)``, or None for the activation's
        usual one. Biases start at zero.
    bias
        Whether b exists; without it b stays zero.
    alpha
        The parameter of `leaky_relu` (slope below zero) and `elu` (limit below zero); None for
        the usual value.

    Raises
    ------
    InvalidInput
        A setting out of range, or an unknown name.
    """

    units: int
    activation: str = "identity"
    init: str | Initialiser | None = None
    bias: bool = True
    alpha: float | None = None

    def __post_init__(self) -> None:
        """Check the settings and fill in the activation's alpha."""
        object.__setattr__(self, "units", whole(self.units, "units of a Dense layer", 1))
        if not isinstance(self.activation, str) or self.activation not in ACTIVATIONS:
            raise unknown_name("activation", self.activation, ACTIVATIONS)
        if not isinstance(self.bias, (bool, np.bool_)):
            raise InvalidInput(f"bias must be True or False, not {self.bias!r}")
        if self.init is not None and not callable(self.init):
            from fastnn.initialisers import INITIALISERS

            if not isinstance(self.init, str) or self.init not in INITIALISERS:
                raise unknown_name("initialiser", self.init, INITIALISERS)
        default = ACTIVATIONS[self.activation].alpha
        if self.alpha is None:
            object.__setattr__(self, "alpha", default)
        elif default is None:
            raise InvalidInput(f"activation {self.activation!r} has no alpha; leave alpha=None")
        else:
            object.__setattr__(self, "alpha", number(self.alpha, "alpha", 0.0))


@dataclass(frozen=True)
class Dropout:
    """Zero each value with probability `rate` in training, scale the others by 1 / (1 - rate).

    In prediction it does nothing (inverted dropout; Srivastava et al. 2014, section 10).
    """

    rate: float

    def __post_init__(self) -> None:
        """Check the rate."""
        rate = number(self.rate, "dropout rate", 0.0, 1.0, open_high=True)
        object.__setattr__(self, "rate", rate)


@dataclass(frozen=True)
class Network:
    """A feed-forward network: `inputs` features through `layers` in order.

    >>> Network(784, [Dense(128, "relu"), Dropout(0.2), Dense(10)]).outputs
    10

    Raises
    ------
    InvalidInput
        No layer, one that is neither `Dense` nor `Dropout`, or a last one that is not `Dense`.
    """

    inputs: int
    layers: tuple[Dense | Dropout, ...]

    def __init__(self, inputs: int, layers: Iterable[Dense | Dropout]) -> None:
        object.__setattr__(self, "inputs", whole(inputs, "inputs of a Network", 1))
        if isinstance(layers, (Dense, Dropout, str)) or not isinstance(layers, Iterable):
            raise InvalidInput(f"layers must be a list of Dense and Dropout, not {layers!r}")
        object.__setattr__(self, "layers", tuple(layers))
        for position, layer in enumerate(self.layers):
            if not isinstance(layer, (Dense, Dropout)):
                raise InvalidInput(f"layer {position} must be a Dense or a Dropout, not {layer!r}")
        if not self.layers or not isinstance(self.layers[-1], Dense):
            raise InvalidInput("a Network must end in a Dense layer, which gives its outputs")

    @property
    def dense(self) -> tuple[Dense, ...]:
        """The Dense layers, in order: those that have parameters."""
        return tuple(layer for layer in self.layers if isinstance(layer, Dense))

    @property
    def outputs(self) -> int:
        """Units of the last layer."""
        return self.dense[-1].units

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each Dense layer: the shape of its W."""
        widths = (self.inputs, *(layer.units for layer in self.dense))
        return tuple(zip(widths[:-1], widths[1:], strict=True))

    @property
    def dropouts(self) -> tuple[float, ...]:
        """The dropout rate on the input of each Dense layer; 0.0 where there is none.

        Dropouts in a row act as one that keeps the product of their keeping probabilities.
        """
        rates: list[float] = []
        keep = 1.0
        for layer in self.layers:
            if isinstance(layer, Dropout):
                keep *= 1.0 - layer.rate
            else:
                rates.append(1.0 - keep)
                keep = 1.0
        return tuple(rates)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, with momentum as PyTorch defines it.

    v = momentum v + g;  w -= learning_rate v,  with Nesterov  w -= learning_rate (g + momentum v).
    The learning rate is a number, a schedule from `fastnn.schedules`, or a function of the step.
    Robbins & Monro 1951; Polyak 1964; Sutskever et al. 2013.
    """

    learning_rate: LearningRate
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        object.__setattr__(self, "learning_rate", check_rate(self.learning_rate))
        object.__setattr__(
            self, "momentum", number(self.momentum, "momentum", 0.0, 1.0, open_high=True)
        )
        if not isinstance(self.nesterov, (bool, np.bool_)):
            raise InvalidInput(f"nesterov must be True or False, not {self.nesterov!r}")
        if self.nesterov and self.momentum == 0.0:
            raise InvalidInput("nesterov=True needs a momentum above 0")

    @property
    def rule(self) -> str:
        """Name of the update rule in `fastnn.rules.table.UPDATES`."""
        if self.momentum == 0.0:
            return "sgd"
        return "nesterov" if self.nesterov else "momentum"

    @property
    def constants(self) -> tuple[float, float, float, float]:
        """(momentum or beta1, beta2, epsilon, weight_decay) as the update rules take them."""
        return (self.momentum, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1).

    m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
    w -= learning_rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon), t from 1.
    The learning rate is a number, a schedule from `fastnn.schedules`, or a function of the step.
    """

    learning_rate: LearningRate = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        """Check the settings."""
        object.__setattr__(self, "learning_rate", check_rate(self.learning_rate))
        for name in ("beta1", "beta2"):
            value = number(getattr(self, name), name, 0.0, 1.0, open_high=True)
            object.__setattr__(self, name, value)
        epsilon = number(self.epsilon, "epsilon", 0.0, open_low=True)
        object.__setattr__(self, "epsilon", epsilon)

    @property
    def rule(self) -> str:
        """Name of the update rule in `fastnn.rules.table.UPDATES`."""
        return "adam"

    @property
    def constants(self) -> tuple[float, float, float, float]:
        """(momentum or beta1, beta2, epsilon, weight_decay) as the update rules take them."""
        return (self.beta1, self.beta2, self.epsilon, 0.0)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2, PyTorch's form).

    w -= learning_rate weight_decay w, then Adam's step. Decay acts on weights, never on biases.
    """

    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        """Check Adam's settings and the decay."""
        super().__post_init__()
        decay = number(self.weight_decay, "weight_decay", 0.0)
        object.__setattr__(self, "weight_decay", decay)

    @property
    def rule(self) -> str:
        """Name of the update rule in `fastnn.rules.table.UPDATES`."""
        return "adamw"

    @property
    def constants(self) -> tuple[float, float, float, float]:
        """(momentum or beta1, beta2, epsilon, weight_decay) as the update rules take them."""
        return (self.beta1, self.beta2, self.epsilon, self.weight_decay)


Optimizer = SGD | Adam
