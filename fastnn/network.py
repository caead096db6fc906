"""What to train: layers, networks and optimizers, as frozen plain-Python values.

Nothing here computes or allocates; every setting is checked when it is made, so that whatever holds
a `Network` or an optimizer holds a valid one. The optimizers are written in `fastnn.optimizers`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.arguments import explained
from fastnn.elsewhere import NETWORK, refused
from fastnn.errors import (
    InvalidInput,
    check_own,
    check_takes,
    number,
    shown,
    true_or_false,
    whole,
)
from fastnn.initializers import INITIALISERS, BiasInitialiser, Initialiser, InitialiserName
from fastnn.layers import Layer, Parameter
from fastnn.normalization import BatchNorm, LayerNorm
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
from fastnn.periodic import Periodic
from fastnn.rules.table import unknown_name

if TYPE_CHECKING:
    from fastnn.graph.custom import AnyActivation

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "AveragedSGD",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Initialiser",
    "LayerNorm",
    "Lion",
    "Nadam",
    "Network",
    "Optimizer",
    "Periodic",
    "RMSProp",
]

_MOST_UNITS = 2**31 - 1  # and of inputs: no such layer fits into any memory


@explained
@dataclass(frozen=True)
class Dense(Layer):
    """A fully connected layer: a = activation(x W + b).

    Parameters
    ----------
    units
        Number of outputs, at least 1.
    activation
        A name from `fastnn.rules.table.ACTIVATIONS`, or a user-defined one: a function of one
        number that `fastnn.graph.trace` can trace, such as ``lambda z: graph.tanh(z) * 0.5``, or an
        `Expression` of one variable. Of those the attribute is a
        `fastnn.graph.custom.CustomActivation`.
    init
        How the weights start: a name from `fastnn.initializers.INITIALISERS`, a callable
        ``(generator, inputs, outputs) -> array (inputs, outputs)``, or None for the activation's
        usual one, which is xavier_uniform for a user-defined one. Biases start as `bias_init` says.
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
    bias_rate_factor
        What the learning rate of b is multiplied by beside that, at least 0. With 0.01 an intercept
        moves 100 times less, as scikit-learn's linear models have it on sparse rows; with 0 it
        stays what it is, while its gradient counts in `clip_norm` and its moments go on.
    bias_init
        How b starts: None for zeros, a number for all of it, a name from
        `fastnn.initializers.INITIALISERS` for draws from the distribution that has this name for W
        (all but orthogonal, which is none of single numbers), or a callable ``(generator, inputs,
        outputs) -> array (outputs,)``. Draws have a stream of their own: W starts from the same
        numbers with any `bias_init`.

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
    init: InitialiserName | Initialiser | None = None
    bias: bool = True
    alpha: float | None = None
    l1: float | None = None
    l2: float | None = None
    max_norm: float | None = None
    trainable: bool = True
    rate_factor: float = 1.0
    bias_init: float | InitialiserName | BiasInitialiser | None = None
    bias_rate_factor: float = 1.0

    def __post_init__(self) -> None:
        """Check the settings and fill in the activation's alpha."""
        if isinstance(self.units, str):
            raise InvalidInput(
                f"units of a Dense layer come first, and then its activation: Dense(10, "
                f"{shown(self.units)})"
            )
        object.__setattr__(self, "units", _width(self.units, "units of a Dense layer"))
        if isinstance(self.activation, Integral):
            raise InvalidInput(
                "a Dense layer takes its number of outputs, Dense(10), and as inputs what the "
                f"layer before it gives; {shown(self.activation)} is no activation"
            )
        self.check_activation()
        for name in ("bias", "trainable"):
            object.__setattr__(self, name, true_or_false(getattr(self, name), name))
        if callable(self.init):
            check_takes(self.init, "generator, k, n", "init of a Dense layer")
        elif self.init is not None:
            if not isinstance(self.init, str) or self.init not in INITIALISERS:
                raise unknown_name("initialiser", self.init, INITIALISERS)
        for name in ("l1", "l2", "max_norm"):
            if (value := getattr(self, name)) is not None:
                what = f"{name} of a Dense layer, if not None,"
                object.__setattr__(
                    self, name, number(value, what, 0.0, open_low=name == "max_norm")
                )
        if isinstance(self.rate_factor, (int, float, np.number)) and self.rate_factor == 0:
            raise InvalidInput(
                "rate_factor of a Dense layer must be above 0, not 0; a layer that keeps its "
                "weights is Dense(..., trainable=False)"
            )
        for name in ("rate_factor", "bias_rate_factor"):
            what, above = f"{name} of a Dense layer", name == "rate_factor"
            factor = number(getattr(self, name), what, 0.0, open_low=above)
            object.__setattr__(self, name, factor)
        if not self.bias and self.bias_rate_factor != 1.0:
            raise InvalidInput(
                f"bias_rate_factor={self.bias_rate_factor!r} says how fast b learns, but with "
                "bias=False there is no b; leave one of the two out"
            )
        self._check_bias_init()

    def _check_bias_init(self) -> None:
        init = self.bias_init
        if init is None:
            return
        if not self.bias:
            raise InvalidInput(
                f"bias_init={shown(init)} says how b starts, but with bias=False there is no b; "
                "leave one of the two out"
            )
        if isinstance(init, str):
            known = [name for name in INITIALISERS if name != "orthogonal"]
            if init not in known:
                raise unknown_name("bias_init", init, known)
        elif callable(init):
            check_takes(init, "generator, k, n", "bias_init of a Dense layer")
        else:
            what = "bias_init, if it is neither None, a name nor a function,"
            object.__setattr__(self, "bias_init", number(init, what))

    def outputs_of(self, inputs: int) -> int:
        """Return `units`."""
        return self.units

    def own_parameters(self, inputs: int) -> tuple[Parameter, ...]:
        """Return W (inputs, units) and b (units,), as `init` and `bias_init` start them."""
        return (
            Parameter("weights", (inputs, self.units), "W", start=None, penalised=True),
            Parameter("bias", (self.units,), "b", start=0.0 if self.bias_init is None else None),
        )


def _width(value: Any, what: str) -> int:
    return whole(value, what, 1, _MOST_UNITS)


@explained
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


def unknown_inputs(action: str) -> InvalidInput:
    """Return the error for what a network cannot do that does not know its number of inputs."""
    return InvalidInput(
        f"this network takes its number of inputs from the first X that fit sees, and cannot "
        f"{action} before; call fit, or write the number in place of None: Network(784, [...])"
    )


def _instead(layer: Any) -> str:
    """Return what to write in the place of what is no layer, or ""."""
    if isinstance(layer, Integral):
        return f"; one of {layer} units is Dense({layer})"
    if isinstance(layer, str):
        return f"; an activation is a setting of its layer: Dense(10, {shown(layer)})"
    return "; write its settings: Dense(10)" if layer is Dense else ""


LAYERS = (Dense, Dropout, LayerNorm, BatchNorm, Periodic)  # every kind of layer
_KNOWN = "Dense, Dropout, LayerNorm, BatchNorm or Periodic"


@explained
@dataclass(frozen=True)
class Network:
    """A feed-forward network: `inputs` features through `layers` in order.

    >>> Network(784, [Dense(128, "relu"), Dropout(0.2), Dense(10)]).outputs
    10

    The last layer is a `Dense`; the others come in any order. Layers follow one another and nothing
    else: there are no residual connections yet.

    With `inputs` None a `Trainer` takes the number from the first X that its `fit` sees, and
    ``trainer.network`` has it from then on; this network stays as it is.

    >>> Network(None, [Dense(3)]).with_inputs(4) == Network(4, [Dense(3)])
    True

    Raises
    ------
    InvalidInput
        No layer, one that is none of `Dense`, `Dropout`, `LayerNorm`, `BatchNorm` and `Periodic`,
        also one of a class derived from these, a last one that is not `Dense`, or a `Periodic` of
        more columns than come in. Shapes of parameters, of a network that does not know its inputs.
    """

    inputs: int | None
    layers: tuple[Layer | Dropout, ...]

    if not TYPE_CHECKING:  # to which a misspelt attribute would be one like any other

        def __getattr__(self, name: str) -> object:
            """Raise for an attribute that is not there, with what to write instead."""
            return refused(self, name, NETWORK)

    def __init__(self, inputs: int | None, layers: Iterable[Layer | Dropout]) -> None:
        if inputs is not None:
            if not isinstance(inputs, Real):
                raise InvalidInput(
                    f"inputs of a Network must be a whole number, not {shown(inputs)}; its layers "
                    'follow as a list: Network(784, [Dense(128, "relu"), Dense(10)])'
                )
            inputs = _width(inputs, "inputs of a Network")
        object.__setattr__(self, "inputs", inputs)
        if isinstance(layers, (*LAYERS, str)) or not isinstance(layers, Iterable):
            raise InvalidInput(
                f"layers must be a list of {_KNOWN}, not {shown(layers)}; write a list: "
                'Network(784, [Dense(128, "relu"), Dense(10)])'
            )
        object.__setattr__(self, "layers", tuple(layers))
        for position, layer in enumerate(self.layers):
            if not isinstance(layer, LAYERS):
                hint = _instead(layer)
                raise InvalidInput(f"layer {position} must be a {_KNOWN}, not {shown(layer)}{hint}")
            check_own(layer, LAYERS, f"layer {position}")
        if not self.layers or not isinstance(self.layers[-1], Dense):
            raise InvalidInput("a Network must end in a Dense layer, which gives its outputs")
        if inputs is not None:
            for _, outputs in self.widths:
                _width(outputs, "numbers that come out of a layer")

    @cached_property
    def parametric(self) -> tuple[Layer, ...]:
        """The layers that have parameters, in order: all but dropout."""
        return tuple(layer for layer in self.layers if isinstance(layer, Layer))

    @cached_property
    def widths(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each layer in `parametric`."""
        found: list[tuple[int, int]] = []
        inputs = self.inputs
        if inputs is None:
            raise unknown_inputs("know the shapes of its parameters")
        for layer in self.parametric:
            found.append((inputs, layer.outputs_of(inputs)))
            inputs = found[-1][1]
        return tuple(found)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What messages call each layer in `parametric`: its kind and its position there.

        >>> Network(4, [Dense(3), Dropout(0.1), LayerNorm(), Dense(2)]).names
        ('Dense layer 0', 'LayerNorm layer 1', 'Dense layer 2')
        """
        kinds = [layer.kind for layer in self.parametric]
        return tuple(f"{kind} layer {position}" for position, kind in enumerate(kinds))

    @cached_property
    def dense(self) -> tuple[Dense, ...]:
        """The Dense layers, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Dense))

    @cached_property
    def other_kinds(self) -> tuple[str, ...]:
        """The kinds of layers with parameters that are no `Dense`, by name."""
        kinds = [layer.kind for layer in self.parametric if not isinstance(layer, Dense)]
        return tuple(dict.fromkeys(kinds))

    def with_inputs(self, inputs: int | None) -> Network:
        """Return this network with another number of inputs."""
        return Network(inputs, self.layers)

    def with_trainable(self, trainable: Iterable[bool]) -> Network:
        """Return this network with other layers frozen: `trainable` has one bool a Dense.

        >>> network = Network(4, [Dense(3), Dropout(0.1), Dense(2)]).with_trainable([False, True])
        >>> [layer.trainable for layer in network.dense]
        [False, True]
        """
        flags = list(trainable) if isinstance(trainable, Iterable) else [trainable]
        if isinstance(trainable, str) or len(flags) != len(self.dense):
            raise InvalidInput(
                f"trainable must have one True or False for each of the {len(self.dense)} Dense "
                f"layers, not {shown(trainable)}"
            )
        left = iter(flags)
        return Network(
            self.inputs,
            [
                replace(layer, trainable=next(left)) if isinstance(layer, Dense) else layer
                for layer in self.layers
            ],
        )

    @cached_property
    def first_trained(self) -> int:
        """Which of the layers in `parametric` is the first that is trainable; 0 where none is."""
        return next((i for i, layer in enumerate(self.parametric) if layer.trainable), 0)

    @cached_property
    def outputs(self) -> int:
        """Units of the last layer."""
        return self.dense[-1].units

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each Dense layer: the shape of its W."""
        return tuple(
            widths
            for layer, widths in zip(self.parametric, self.widths, strict=True)
            if isinstance(layer, Dense)
        )

    @cached_property
    def parameters(self) -> tuple[tuple[Parameter, ...], ...]:
        """What there is to know of the parameters of each layer in `parametric`."""
        return tuple(
            layer.parameters_of(inputs)
            for layer, (inputs, _) in zip(self.parametric, self.widths, strict=True)
        )

    @property
    def parameter_shapes(self) -> tuple[dict[str, tuple[int, ...]], ...]:
        """Names and shapes of the parameters of each layer, in their order everywhere.

        >>> Network(4, [Dense(3, "prelu")]).parameter_shapes
        ({'weights': (4, 3), 'bias': (3,), 'slopes': (3,)},)
        """
        return tuple({each.name: each.shape for each in layer} for layer in self.parameters)

    @cached_property
    def dropouts(self) -> tuple[float, ...]:
        """The dropout rate on the input of each layer in `parametric`; 0.0 where there is none.

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
