"""What to train: layers, networks and optimizers, as frozen plain-Python values.

Nothing here computes or allocates; every setting is checked when it is made, so that whatever holds
a `Network` or an optimizer holds a valid one. The optimizers are written in `fastnn.optimizers`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import InvalidInput, number, shown, whole
from fastnn.initializers import INITIALISERS, Initialiser
from fastnn.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    AveragedSGD,
    Lion,
    Nadam,
    Optimizer,
    RMSProp,
)
from fastnn.rules.table import ACTIVATIONS, activation_row, unknown_name

if TYPE_CHECKING:
    from fastnn.graph.custom import AnyActivation

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "AveragedSGD",
    "Dense",
    "Dropout",
    "Initialiser",
    "Lion",
    "Nadam",
    "Network",
    "Optimizer",
    "RMSProp",
]

_MOST_UNITS = 2**31 - 1  # and of inputs: no such layer fits into any memory


@dataclass(frozen=True)
class Dense:
    """A fully connected layer: a = activation(x W + b).

    Parameters
    ----------
    units
        Number of outputs, at least 1.
    activation
        A name from `fastnn.rules.table.ACTIVATIONS`, or one of your own: a function of one number
        that `fastnn.graph.trace` can trace, such as ``lambda z: graph.tanh(z) * 0.5``, or an
        `Expression` of one variable. Of those the attribute is a
        `fastnn.graph.custom.CustomActivation`.
    init
        How the weights start: a name from `fastnn.initializers.INITIALISERS`, a callable
        ``(generator, inputs, outputs) -> array (inputs, outputs)``, or None for the activation's
        usual one, which is xavier_uniform for one of your own. Biases start at zero.
    bias
        Whether b exists; without it b stays zero.
    alpha
        The parameter of `leaky_relu` (slope below zero), `elu` (limit below zero) and `prelu`
        (where the slopes below zero start, which may be negative: each unit then learns its own);
        None for the usual value.
    l1, l2
        Penalties l1 sum|W| + l2/2 sum W^2 on the weights of this layer, at least 0; None for the
        Trainer's. The first sets weights to exactly 0, see `fastnn.inputs.problem.Problem`. Both
        above 0 are the elastic net (Zou & Hastie 2005). Biases, and the slopes of prelu, have no
        penalty.
    max_norm
        After every update, the weights into a unit (a column w of W) whose 2-norm is above this are
        multiplied by max_norm / (norm + 1e-7), as PyTorch's renorm does; above 0, or None for no
        limit. Biases and slopes are left alone (Srivastava et al. 2014, section 5.1).
    trainable
        Whether training changes this layer. Where it does not, weights, biases and slopes keep
        their bits and their optimizer state: neither an update nor decay, a penalty or max_norm
        touches them, and clip_norm's norm is without their gradient. Layers before it learn
        through it. `fit` needs a layer that is trainable.
    rate_factor
        What the learning rate is multiplied by in this layer, above 0: also in decoupled weight
        decay (`AdamW`, `Lion`) and in the threshold of l1.

    >>> hidden = Dense(8, "relu", trainable=False)
    >>> Network(4, [hidden, Dense(3, rate_factor=0.1)]).first_trained
    1

    Raises
    ------
    InvalidInput
        A setting out of range, an unknown name, or a function that cannot be traced.
    """

    units: int
    activation: AnyActivation = "identity"
    init: str | Initialiser | None = None
    bias: bool = True
    alpha: float | None = None
    l1: float | None = None
    l2: float | None = None
    max_norm: float | None = None
    trainable: bool = True
    rate_factor: float = 1.0

    def __post_init__(self) -> None:
        """Check the settings and fill in the activation's alpha."""
        object.__setattr__(self, "units", _width(self.units, "units of a Dense layer"))
        object.__setattr__(self, "activation", rule_of("activation", self.activation, ACTIVATIONS))
        for name in ("bias", "trainable"):
            if not isinstance(value := getattr(self, name), (bool, np.bool_)):
                raise InvalidInput(f"{name} must be True or False, not {shown(value)}")
        if self.init is not None and not callable(self.init):
            if not isinstance(self.init, str) or self.init not in INITIALISERS:
                raise unknown_name("initialiser", self.init, INITIALISERS)
        row = activation_row(self.activation)
        if self.alpha is None:
            object.__setattr__(self, "alpha", row.alpha)
        elif row.alpha is None:
            raise InvalidInput(f"activation {self.activation!r} has no alpha; leave alpha=None")
        else:
            low = -math.inf if row.trainable else 0.0
            object.__setattr__(self, "alpha", number(self.alpha, "alpha", low))
        for name in ("l1", "l2", "max_norm"):
            if (value := getattr(self, name)) is not None:
                what = f"{name} of a Dense layer, if not None,"
                object.__setattr__(
                    self, name, number(value, what, 0.0, open_low=name == "max_norm")
                )
        factor = number(self.rate_factor, "rate_factor of a Dense layer", 0.0)
        if factor == 0.0:
            raise InvalidInput(
                "rate_factor of a Dense layer must be above 0, not 0; a layer that keeps its "
                "weights is Dense(..., trainable=False)"
            )
        object.__setattr__(self, "rate_factor", factor)


def _width(value: Any, what: str) -> int:
    return whole(value, what, 1, _MOST_UNITS)


def rule_of(what: str, value: Any, known: Collection[str], outputs: int = 1) -> Any:
    """Return a known name as it is, and a user-defined rule as a `CustomRule`.

    `what` is "activation" or "loss", of a network with so many outputs.
    """
    if not isinstance(value, str):
        from fastnn.graph import Expression, custom

        kinds = custom.LOSS_KINDS if what == "loss" else (custom.CustomActivation,)
        if isinstance(value, kinds):
            return value
        if callable(value) or isinstance(value, Expression):
            return (
                custom.custom_loss(value, outputs)
                if what == "loss"
                else custom.custom_activation(value)
            )
    elif value in known:
        return value
    raise unknown_name(what, value, known)


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
        object.__setattr__(self, "inputs", _width(inputs, "inputs of a Network"))
        if isinstance(layers, (Dense, Dropout, str)) or not isinstance(layers, Iterable):
            raise InvalidInput(f"layers must be a list of Dense and Dropout, not {shown(layers)}")
        object.__setattr__(self, "layers", tuple(layers))
        for position, layer in enumerate(self.layers):
            if not isinstance(layer, (Dense, Dropout)):
                raise InvalidInput(
                    f"layer {position} must be a Dense or a Dropout, not {shown(layer)}"
                )
        if not self.layers or not isinstance(self.layers[-1], Dense):
            raise InvalidInput("a Network must end in a Dense layer, which gives its outputs")

    @cached_property
    def dense(self) -> tuple[Dense, ...]:
        """The Dense layers, in order: those that have parameters."""
        return tuple(layer for layer in self.layers if isinstance(layer, Dense))

    @property
    def first_trained(self) -> int:
        """Which of the Dense layers is the first that is trainable, from 0; 0 where none is."""
        return next((i for i, layer in enumerate(self.dense) if layer.trainable), 0)

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
    def parameter_shapes(self) -> tuple[dict[str, tuple[int, ...]], ...]:
        """Names and shapes of the parameters of each Dense layer, in their order everywhere.

        >>> Network(4, [Dense(3, "prelu")]).parameter_shapes
        ({'weights': (4, 3), 'bias': (3,), 'slopes': (3,)},)
        """
        found: list[dict[str, tuple[int, ...]]] = []
        for dense, shape in zip(self.dense, self.shapes, strict=True):
            trainable = {"slopes": shape[1:]} if activation_row(dense.activation).trainable else {}
            found.append({"weights": shape, "bias": shape[1:], **trainable})
        return tuple(found)

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
